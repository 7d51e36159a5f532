"""How other programs call the weights of a Conv-TasNet, and what each does that no weight says."""

import itertools
import re
from typing import NamedTuple

import numpy as np

from fgsep_jax import files
from fgsep_jax.names import shown


class Layout(NamedTuple):
    """The names of one implementation.

    Attributes:
      name: of the implementation.
      encoder, decoder: weights of the two bases.
      norm, bottleneck, mask: layers of the separator.
      block: in front of the layers of a block; '#' are its numbers.
      expand, prelu_1, norm_1, depthwise, prelu_2, norm_2, residual: layers of a block.
      skip: another, where there are skip connections.
      prelu: before the masks; '' where there is none.
      affine: names of a norm's gain and offset.
      model: keys of the configuration, as this implementation is unless something says otherwise;
        `causal` where its names are of causal models alone, or of others alone.
      biases: whether the separator's convolutions have them.
      late: whether its causal convolutions end half their span before the frame they are for.
    """

    name: str
    encoder: str
    decoder: str
    norm: str
    bottleneck: str
    block: str
    expand: str
    prelu_1: str
    norm_1: str
    depthwise: str
    prelu_2: str
    norm_2: str
    residual: str
    skip: str
    prelu: str
    mask: str
    affine: tuple[str, str]
    model: dict
    biases: bool = True
    late: bool = False

    def names(self):
        """{our path, '#' for the block: theirs}."""
        scale, bias = self.affine
        paths = {'encoder/kernel': self.encoder, 'decoder/kernel': self.decoder}
        paths['encoder/bias'], paths['decoder/bias'] = (
            re.sub(r'[^.]+$', 'bias', name) for name in (self.encoder, self.decoder)
        )
        layers = {
            'separator/norm': self.norm,
            'separator/bottleneck': self.bottleneck,
            'separator/prelu': self.prelu,
            'separator/mask': self.mask,
        }
        of_block = Layout._fields[Layout._fields.index('expand') : Layout._fields.index('prelu')]
        for part in of_block:
            theirs = getattr(self, part)
            layers[f'separator/block_#/{part}'] = theirs and f'{self.block}.{theirs}'
        for ours, theirs in layers.items():
            if not theirs:
                continue
            kind = re.sub(r'_\d$', '', ours.rpartition('/')[2])
            if kind == 'norm':
                paths |= {f'{ours}/scale': f'{theirs}.{scale}', f'{ours}/bias': f'{theirs}.{bias}'}
            elif kind == 'prelu':
                paths[f'{ours}/slope'] = f'{theirs}.weight'
            else:
                paths[f'{ours}/kernel'] = f'{theirs}.weight'
                if self.biases:
                    paths[f'{ours}/bias'] = f'{theirs}.bias'
        return paths


_ASTEROID = Layout(
    name='asteroid',
    encoder='encoder.filterbank._filters',
    decoder='decoder.filterbank._filters',
    norm='masker.bottleneck.0',
    bottleneck='masker.bottleneck.1',
    block='masker.TCN.#',
    expand='shared_block.0',
    prelu_1='shared_block.1',
    norm_1='shared_block.2',
    depthwise='shared_block.3',
    prelu_2='shared_block.4',
    norm_2='shared_block.5',
    residual='res_conv',
    skip='skip_conv',
    prelu='masker.mask_net.0',
    mask='masker.mask_net.1',
    affine=('gamma', 'beta'),
    model=dict(framing='plain', mask='sigmoid', causal=False),
)
_ASTEROID_CAUSAL = _ASTEROID._replace(
    depthwise='shared_block.3.0', model={**_ASTEROID.model, 'causal': True, 'norm': 'frame'}
)
_TORCHAUDIO = Layout(
    name='torchaudio',
    encoder='encoder.weight',
    decoder='decoder.weight',
    norm='mask_generator.input_norm',
    bottleneck='mask_generator.input_conv',
    block='mask_generator.conv_layers.#',
    expand='conv_layers.0',
    prelu_1='conv_layers.1',
    norm_1='conv_layers.2',
    depthwise='conv_layers.3',
    prelu_2='conv_layers.4',
    norm_2='conv_layers.5',
    residual='res_out',
    skip='skip_out',
    prelu='mask_generator.output_prelu',
    mask='mask_generator.output_conv',
    affine=('weight', 'bias'),
    model=dict(framing='aligned', mask='sigmoid'),
)
# What torchaudio's `conv_tasnet_base`, whose weights are published, has, and its masks are by relu.
_BASE = dict(
    basis=512, window=16, bottleneck=128, hidden=512, skip=128, kernel=3, repeats=3, blocks=8,
)  # fmt: skip
_NAPLAB = Layout(
    name='naplab',
    encoder='encoder.weight',
    decoder='decoder.weight',
    norm='TCN.LN',
    bottleneck='TCN.BN',
    block='TCN.TCN.#',
    expand='conv1d',
    prelu_1='nonlinearity1',
    norm_1='reg1',
    depthwise='dconv1d',
    prelu_2='nonlinearity2',
    norm_2='reg2',
    residual='res_out',
    skip='skip_out',
    prelu='TCN.output.0',
    mask='TCN.output.1',
    affine=('weight', 'bias'),
    model=dict(framing='padded', mask='sigmoid', causal=False),
)
_KAITUOXU = Layout(
    name='kaituoxu',
    encoder='encoder.conv1d_U.weight',
    decoder='decoder.basis_signals.weight',
    norm='separator.network.0',
    bottleneck='separator.network.1',
    block='separator.network.2.#.#',
    expand='net.0',
    prelu_1='net.1',
    norm_1='net.2',
    depthwise='net.3.net.0',
    prelu_2='net.3.net.1',
    norm_2='net.3.net.2',
    residual='net.3.net.3',
    skip='',
    prelu='',
    mask='separator.network.3',
    affine=('gamma', 'beta'),
    model=dict(framing='plain', mask='relu', rectify=True, input_norm='frame', causal=False),
    biases=False,
)


def _causal(layout):
    """The same where a layer that cuts what causal padding added stands behind the convolution."""
    return layout._replace(
        prelu_2='net.3.net.2',
        norm_2='net.3.net.3',
        residual='net.3.net.4',
        model={**layout.model, 'causal': True, 'norm': 'frame'},
    )


_ESPNET = _KAITUOXU._replace(
    name='espnet',
    encoder='encoder.conv1d.weight',
    decoder='decoder.convtrans1d.weight',
    **{
        part: getattr(_KAITUOXU, part).replace('separator.', 'separator.tcn.')
        for part in ('norm', 'bottleneck', 'block', 'mask')
    },
    # What it adds to variances is the distance from 1 to the next float32.
    model={**_KAITUOXU.model, 'eps': float(np.finfo(np.float32).eps)},
)
_SPEECHBRAIN = Layout(
    name='speechbrain',
    encoder='encoder.conv1d.weight',
    decoder='decoder.weight',
    norm='masknet.layer_norm',
    bottleneck='masknet.bottleneck_conv1x1.conv',
    block='masknet.temporal_conv_net.temporalblock_#_#.layers',
    expand='conv.conv',
    prelu_1='act',
    norm_1='norm',
    depthwise='DSconv.conv_0.conv',
    prelu_2='DSconv.act',
    norm_2='DSconv.act_0',
    residual='DSconv.conv_1.conv',
    skip='',
    prelu='',
    mask='masknet.mask_conv1x1.conv',
    affine=('gamma', 'beta'),
    model=dict(framing='plain', mask='relu', rectify=True, input_norm='frame', padding='reflect'),
    biases=False,
    late=True,
)
_ESPNET_PRELU = _ESPNET._replace(prelu='separator.tcn.network.3', mask='separator.tcn.network.4')
LAYOUTS = (
    _ASTEROID,
    _ASTEROID_CAUSAL,
    _TORCHAUDIO,
    _NAPLAB,
    _NAPLAB._replace(
        affine=('gain', 'bias'), model={**_NAPLAB.model, 'causal': True, 'norm': 'cln'}
    ),
    _KAITUOXU,
    _causal(_KAITUOXU),
    _ESPNET,
    _causal(_ESPNET),
    _ESPNET_PRELU,
    _causal(_ESPNET_PRELU),
    _SPEECHBRAIN,
)
# Layers of other implementations that no key of the configuration stands for.
FOREIGN = {
    r'conv1d_U\.conv\.': 'an encoder of speechbrain that mirrors the recording at its ends, where'
    ' frames of conv_tasnet see zeros or end; its dual_path.Encoder does not',
    r'\.dsconv\.': 'an early version of kaituoxu, which rectifies what each block gives',
    r'num_batches_tracked|running_mean': 'a batch norm; conv_tasnet has layer norms only',
    r'dense_skip\.': 'TDCN++, with connections between its repeats',
    r'(intra|inter)_(mdl|rnn|model)|dual_mdl|dual_rnn': 'a dual-path model',
    r'TCN_enc\.': 'an early version of naplab, which cuts recordings into pieces',
}


def check_array(name: str, value, shape: str, sizes: dict) -> np.ndarray:
    """One array of a state dict.

    Args:
      name: of the array, for the message.
      value: what stands under it.
      shape: a letter an axis: '1', or the name of a size.
      sizes: {letter: size} of the arrays before; sizes met for the first time are added.

    Raises:
      ValueError: it is no array of floats of that shape.
    """
    array = _array(name, value)
    met = {'1': 1, **sizes}
    wanted = [met.get(letter, letter) for letter in shape]
    fits = array.ndim == len(shape) and all(
        size == sizes.setdefault(letter, size) if letter != '1' else size == 1
        for letter, size in zip(shape, array.shape)
    )
    if (
        not fits
        or not array.size
        or not (array.dtype.kind == 'f' or array.dtype.name == 'bfloat16')
    ):
        raise ValueError(
            f'{name} is {array.dtype}{list(array.shape)}: must be floats of the shape'
            f' [{", ".join(map(str, wanted))}]'
        )
    return array


def _array(name, value):
    try:
        return np.asarray(value)
    except Exception as error:  # whatever another library's tensors raise
        raise ValueError(f'{name} is no array: {files.why(error)}') from error


class Converted(NamedTuple):
    """Weights of another program as ours.

    Attributes:
      layout: whose they are.
      model: {key: value} of the configuration's section `model` and of those in it, together.
      sources: how many the model gives.
      parameters: the tree.
    """

    layout: Layout
    model: dict
    sources: int
    parameters: dict


def convert(state, told=None, claimed=()):
    """Makes weights of another program ours.

    Args:
      state: {name: array}.
      told: {key, as of `Converted.model`, or 'sources': value}, as far as something says it.
      claimed: those of these keys that the file of the weights says, beside them.

    Returns:
      A Converted.

    Raises:
      ValueError: names the layer that is missing, left over, of another shape, or does what
        `conv_tasnet` does not.
    """
    told = dict(told or {})
    weights = _recognise({str(name): _array(name, value) for name, value in state.items()})
    layout, sizes = weights.layout, weights.sizes
    # asteroid alone replaces a norm that sees ahead in a causal model, and says so in a warning.
    if layout is _ASTEROID_CAUSAL and 'norm' in claimed and told['norm'] == 'gln':
        told['norm'] = layout.model['norm']
    model = {**weights.repeats(), **layout.model, **told}
    late = layout.late and model.get('causal', False)
    if late:  # only what looks both ways mirrors
        model['padding'] = told.get('padding', 'zeros')
    if layout.late and model['mask'] == 'softmax':
        raise ValueError(f"{layout.name}'s softmax is over the basis, not over the sources")
    last = 'S' if weights.has_skips else 'B'
    weights.check_blocks()
    basis = weights.need('encoder/kernel', 'N1L')
    tcn = {'bottleneck': weights.layer('bottleneck', 'BN1')}
    if model.get('input_norm') != 'none':
        tcn['norm'] = weights.norm('norm', 'N')
    for index in range(weights.blocks):
        tcn[f'block_{index}'] = weights.block(index, late)
    tcn['prelu'] = weights.prelu('prelu', last)
    tcn['mask'] = weights.layer('mask', f'M{last}1')
    decoder = weights.decoder()
    if sizes['M'] % sizes['N']:
        raise ValueError(
            f'{weights.name("separator/mask/kernel")} makes {sizes["M"]} channels, no multiple of'
            f' the {sizes["N"]} of {weights.name("encoder/kernel")}'
        )
    if 'stride' not in model:
        model['stride'] = sizes['L'] // 2
    decided = dict(
        basis=sizes['N'],
        window=sizes['L'],
        bottleneck=sizes['B'],
        hidden=sizes['H'],
        skip=sizes['S'] if weights.has_skips else 0,
        kernel=len(tcn['block_0']['depthwise']['kernel']),
        decoder_bias='bias' in decoder,
        prelu='channel' if weights.by_channel else 'shared',
    )
    _agree(told, decided)
    if 'causal' in claimed and 'causal' in layout.model:
        _agree(told, {'causal': layout.model['causal']})
    model |= decided
    if 'blocks' not in model:
        raise ValueError(
            f'nothing says how many of the {weights.blocks} blocks make a repeat, with dilations'
            ' 1, 2, 4, ...: --config.model.separator.blocks=N does'
        )
    if model['blocks'] < 1 or weights.blocks % model['blocks']:
        raise ValueError(
            f'model.separator.blocks = {model["blocks"]}: must be at least 1 and divide'
            f' {weights.blocks} blocks'
        )
    model['repeats'] = weights.blocks // model['blocks']
    sources = sizes['M'] // sizes['N']
    _agree(told, {'repeats': model['repeats'], 'sources': sources})
    model.pop('sources', None)
    is_base = layout is _TORCHAUDIO and sources == 2 and _BASE.items() <= model.items()
    if is_base and 'mask' not in told:
        layout, model['mask'] = layout._replace(name="torchaudio's conv_tasnet_base"), 'relu'
    parameters = {'encoder': {'kernel': basis[:, 0].T}, 'separator': tcn, 'decoder': decoder}
    return Converted(layout, model, sources, parameters)


def _agree(told, decided):
    """Raises ValueError where what is said of weights is not what they are."""
    for key, value in decided.items():
        if told.get(key, value) != value:
            raise ValueError(f'{key} = {told[key]!r}: its weights have {value!r}')


class _Weights:
    """A state dict whose layout is known.

    Attributes:
      layout: of it.
      theirs: {our path: their name}.
      blocks: how many there are.
      sizes: {letter of the paper (M: the masks' channels): size}, as met so far.
      has_skips: whether there are skip connections.
      by_channel: whether a PReLU has more than one slope.
    """

    def __init__(self, state, layout):
        self.layout, self._state, self._names = layout, state, layout.names()
        self.sizes, matches = {}, {}
        for ours, theirs in self._names.items():
            pattern = re.compile(re.escape(theirs).replace(r'\#', r'(\d{1,4})'))
            for name in state:
                if match := pattern.fullmatch(name):
                    matches[ours, tuple(map(int, match.groups()))] = name
        self._places = sorted({place for _, place in matches if place})
        self.blocks = len(self._places)
        order = {place: str(index) for index, place in enumerate(self._places)}
        self.theirs = {
            ours.replace('#', order.get(place, '')): name for (ours, place), name in matches.items()
        }
        self.has_skips = any('/skip/' in ours for ours in self.theirs)
        self.by_channel = any(
            ours.endswith('/slope') and np.size(state[name]) > 1
            for ours, name in self.theirs.items()
        )

    def name(self, ours):
        """What the layout calls one of our paths; '' if it has no such layer."""
        if ours in self.theirs:
            return self.theirs[ours]
        block = re.search(r'block_(\d+)', ours)
        name = self._names.get(re.sub(r'block_\d+', 'block_#', ours), '')
        for number in self._places[int(block[1])] if block else ():
            name = name.replace('#', str(number), 1)
        return name

    def check_blocks(self):
        """Raises ValueError where one is not there, though later ones are."""
        for place in np.ndindex(*np.max(self._places, axis=0) + 1):
            if place not in self._places:
                name = self.layout.block
                for number in place:
                    name = name.replace('#', str(number), 1)
                raise ValueError(f'{name} is missing, a block before {self.blocks} others')

    def repeats(self):
        """{'blocks': X} where the names or the usual number say how many make a repeat."""
        if self._places and len(self._places[0]) > 1:
            return {'blocks': sum(place[0] == self._places[0][0] for place in self._places)}
        return {'blocks': 8} if self.blocks % 8 == 0 else {}

    def need(self, ours, shape):
        """An array by our path; of vectors axes of length 1 are left out."""
        name = self.name(ours)
        if name not in self._state:
            raise ValueError(f'{name} is missing')
        array = self._state[name]
        if len(shape) == 1 and array.ndim == 3:  # kept as [1, N, 1] by some
            array = array.reshape(-1)
        with np.errstate(over='ignore'):  # to infinity, which is refused
            array = check_array(name, array, shape, self.sizes).astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f'{name} holds nan or inf, or more than float32 can hold')
        return array

    def layer(self, where, shape):
        """A convolution, its kernel in our order of axes; its bias is zero where none has one."""
        where = f'separator/{where}'
        kernel = np.squeeze(self.need(f'{where}/kernel', shape), shape.index('1')).T
        if self.layout.biases:
            return {'kernel': kernel, 'bias': self.need(f'{where}/bias', shape[0])}
        return {'kernel': kernel, 'bias': np.zeros(kernel.shape[1], np.float32)}

    def norm(self, where, size):
        return {key: self.need(f'separator/{where}/{key}', size) for key in ('scale', 'bias')}

    def prelu(self, where, size):
        """Slopes; 1, which changes nothing, where the layout has no PReLU."""
        where = f'separator/{where}/slope'
        slope = np.ones(1, np.float32)
        if name := self.name(where):
            several = np.size(self._state.get(name, 0)) > 1
            slope = self.need(where, size if several else '1')
        wide = (self.sizes[size],) if self.by_channel else ()
        return {'slope': np.array(np.broadcast_to(slope, wide) if wide else slope[0])}

    def block(self, index, late=False):
        at, wide = f'block_{index}', []
        # The last residual is read by nothing where there are skip connections.
        if index < self.blocks - 1 or not self.has_skips:
            wide.append(self.layer(f'{at}/residual', 'BH1'))
        if self.has_skips:
            wide.append(self.layer(f'{at}/skip', 'SH1'))
        depthwise = self.layer(f'{at}/depthwise', 'H1P')
        if late:  # as later taps that are 0, and as many earlier ones: the number stays odd
            half = (self.sizes['P'] - 1) // 2
            depthwise['kernel'] = np.pad(depthwise['kernel'], ((half, half), (0, 0)))
        return {
            'expand': self.layer(f'{at}/expand', 'HB1'),
            'prelu_1': self.prelu(f'{at}/prelu_1', 'H'),
            'norm_1': self.norm(f'{at}/norm_1', 'H'),
            'depthwise': depthwise,
            'prelu_2': self.prelu(f'{at}/prelu_2', 'H'),
            'norm_2': self.norm(f'{at}/norm_2', 'H'),
            'output': {
                key: np.concatenate([layer[key] for layer in wide], axis=-1)
                for key in ('kernel', 'bias')
            },
        }

    def decoder(self):
        linear = np.ndim(self._state.get(self.name('decoder/kernel'))) == 2
        kernel = self.need('decoder/kernel', 'LN' if linear else 'N1L')
        made = {'kernel': kernel.T if linear else kernel[:, 0]}
        if 'decoder/bias' in self.theirs:
            made['bias'] = np.array(self.need('decoder/bias', '1')[0])
        return made


def _recognise(state):
    """The _Weights of a state dict; ValueError names the layer that no known layout has."""
    names = list(state)
    if not names:
        raise ValueError('it holds no weights')
    for pattern, what in FOREIGN.items():
        if layer := next((name for name in names if re.search(pattern, name)), None):
            raise ValueError(f'{shown(layer)}: {what}')
    best = max(
        (_Weights(state, layout) for layout in LAYOUTS), key=lambda weights: len(weights.theirs)
    )
    if not best.blocks:
        some = ', '.join(map(shown, itertools.islice(names, 3)))
        programs = ', '.join(dict.fromkeys(layout.name for layout in LAYOUTS))
        raise ValueError(f'its weights ({some}, ...) are called as in none of {programs}')
    if left := [name for name in names if name not in {*best.theirs.values()}]:
        raise ValueError(
            f'{shown(left[0])} is no layer of the Conv-TasNet of {best.layout.name}, as whose the'
            ' others are called'
        )
    if 'encoder/bias' in best.theirs:
        raise ValueError(f'{best.theirs["encoder/bias"]}: the basis of conv_tasnet has no bias')
    return best
