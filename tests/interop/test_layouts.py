"""Weights of other programs give, imported, the output that the other program gives.

asteroid, torchaudio, speechbrain and espnet run beside it as their wheels have them. naplab and
kaituoxu have none: from the names of its weights to the waveform, theirs is written once more here,
in PyTorch.
"""

import functools
import io
import itertools
import os
import pickle
import re
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
import torch.nn.functional as F

from fgsep_jax.config import ConfigError
from fgsep_jax.interop import import_model, layouts, model_file
from fgsep_jax.tasks import make_task
from tiny import build

BLOCKS, REPEATS = 2, 2
SIZES = dict(N=6, L=8, B=5, H=7, S=3, P=3, M=12)
NAMES = {
    'asteroid': """
        encoder.filterbank._filters N1L
        masker.bottleneck.0.gamma N
        masker.bottleneck.0.beta N
        masker.bottleneck.1.weight BN1
        masker.bottleneck.1.bias B
        masker.TCN.#.shared_block.0.weight HB1
        masker.TCN.#.shared_block.0.bias H
        masker.TCN.#.shared_block.1.weight 1
        masker.TCN.#.shared_block.2.gamma H
        masker.TCN.#.shared_block.2.beta H
        masker.TCN.#.shared_block.3.weight H1P
        masker.TCN.#.shared_block.3.bias H
        masker.TCN.#.shared_block.4.weight 1
        masker.TCN.#.shared_block.5.gamma H
        masker.TCN.#.shared_block.5.beta H
        masker.TCN.#.res_conv.weight BH1
        masker.TCN.#.res_conv.bias B
        masker.TCN.#.skip_conv.weight SH1
        masker.TCN.#.skip_conv.bias S
        masker.mask_net.0.weight 1
        masker.mask_net.1.weight MS1
        masker.mask_net.1.bias M
        decoder.filterbank._filters N1L""",
    'naplab': """
        encoder.weight N1L
        TCN.LN.weight N
        TCN.LN.bias N
        TCN.BN.weight BN1
        TCN.BN.bias B
        TCN.TCN.#.conv1d.weight HB1
        TCN.TCN.#.conv1d.bias H
        TCN.TCN.#.nonlinearity1.weight 1
        TCN.TCN.#.reg1.weight H
        TCN.TCN.#.reg1.bias H
        TCN.TCN.#.dconv1d.weight H1P
        TCN.TCN.#.dconv1d.bias H
        TCN.TCN.#.nonlinearity2.weight 1
        TCN.TCN.#.reg2.weight H
        TCN.TCN.#.reg2.bias H
        TCN.TCN.#.res_out.weight BH1
        TCN.TCN.#.res_out.bias B
        TCN.TCN.#.skip_out.weight SH1
        TCN.TCN.#.skip_out.bias S
        TCN.output.0.weight 1
        TCN.output.1.weight MS1
        TCN.output.1.bias M
        decoder.weight N1L""",
    'kaituoxu': """
        encoder.conv1d_U.weight N1L
        separator.network.0.gamma 1N1
        separator.network.0.beta 1N1
        separator.network.1.weight BN1
        separator.network.2.#.net.0.weight HB1
        separator.network.2.#.net.1.weight 1
        separator.network.2.#.net.2.gamma 1H1
        separator.network.2.#.net.2.beta 1H1
        separator.network.2.#.net.3.net.0.weight H1P
        separator.network.2.#.net.3.net.1.weight 1
        separator.network.2.#.net.3.net.2.gamma 1H1
        separator.network.2.#.net.3.net.2.beta 1H1
        separator.network.2.#.net.3.net.3.weight BH1
        separator.network.3.weight MB1
        decoder.basis_signals.weight LN""",
}
NAMES['espnet'] = (
    NAMES['kaituoxu']
    .replace('separator.network', 'separator.tcn.network')
    .replace('encoder.conv1d_U', 'encoder.conv1d')
    .replace('decoder.basis_signals.weight LN', 'decoder.convtrans1d.weight N1L')
)
NAMES['espnet_prelu'] = NAMES['espnet'].replace(
    'network.3.weight MB1', 'network.3.weight 1\n        separator.tcn.network.4.weight MB1'
)


def state_dict(layout, *, edit=lambda text: text, **sizes):
    """Random weights {name: tensor} by a layout's names and shapes."""
    sizes = {**SIZES, '1': 1, **sizes}
    generator, state = torch.Generator().manual_seed(0), {}
    lines = [line.split() for line in edit(NAMES[layout]).split('\n') if line.strip()]
    for in_block, group in itertools.groupby(lines, lambda line: '#' in line[0]):
        group = list(group)
        for r, x in np.ndindex(REPEATS, BLOCKS) if in_block else [(0, 0)]:
            for name, letters in group:
                number = f'{r}.{x}' if 'network' in name else f'{r * BLOCKS + x}'
                shape = [sizes[letter] for letter in letters]
                state[name.replace('#', number)] = 0.5 * torch.randn(shape, generator=generator)
    return state


def normalised(x, kind, eps):
    """[batch, channels, frames] less its mean over its deviation, of all, a frame, or so far."""
    if kind == 'cln':
        parts = [normalised(x[..., : k + 1], 'gln', eps)[..., -1:] for k in range(x.shape[-1])]
        return torch.cat(parts, -1)
    axes = (1, 2) if kind == 'gln' else (1,)
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps)


def other_program(
    state, mixture_BT, *, norm='gln', input_norm='', mask=torch.sigmoid, rectify=False,
    causal=False, padded=False,
):  # fmt: skip
    """A Conv-TasNet from the paper's figure 1, layer after layer as the weights come."""
    window, stride, eps = SIZES['L'], SIZES['L'] // 2, 1e-8
    mixture_BT, samples = torch.from_numpy(mixture_BT)[:, None], mixture_BT.shape[1]
    if padded:
        rest = window - (stride + samples % window) % window
        mixture_BT = F.pad(mixture_BT, (stride, rest + stride))
    queue = list(state.items())

    def take(*wanted):
        """The next arrays, as many as there are of the kinds wanted one after another."""
        got = []
        for kind in wanted:
            there = queue and re.search(rf'\.({kind})$', queue[0][0])
            got.append(queue.pop(0)[1] if there else None)
        return got

    def conv(x, **how):
        weight, bias = take('weight', 'bias')
        return F.conv1d(x, weight, bias, **how)

    def prelu(x):
        return F.prelu(x, take('weight')[0])

    def affine_norm(x, kind):
        scale, bias = take('gamma|weight|gain', 'beta|bias')
        return normalised(x, kind, eps) * scale.reshape(1, -1, 1) + bias.reshape(1, -1, 1)

    code = F.conv1d(mixture_BT, take('.*')[0], stride=stride)
    code = torch.relu(code) if rectify else code
    x, total = conv(affine_norm(code, input_norm or norm)), 0
    has_skips = any('skip' in name for name in state)
    while any(part in queue[0][0] for part in ('.TCN.', 'network.2')):
        number = re.search(r'(?:TCN|network\.2\.\d)\.(\d+)\.', queue[0][0])[1]
        dilation = 2 ** (int(number) % BLOCKS)
        y = affine_norm(prelu(conv(x)), norm)
        span = (SIZES['P'] - 1) * dilation
        y = F.pad(y, (span, 0) if causal else (span // 2, span // 2))
        y = affine_norm(prelu(conv(y, dilation=dilation, groups=y.shape[1])), norm)
        x = x + conv(y)
        if has_skips:
            total = total + conv(y)
    x = total if has_skips else x
    if queue[0][1].numel() == 1 or queue[0][1].ndim == 1:
        x = prelu(x)
    masks = mask(conv(x).reshape(len(x), -1, *code.shape[1:]))
    coded = (masks * code[:, None]).flatten(0, 1)
    weight, bias = take('.*', 'bias')
    weight = weight.T[:, None] if weight.ndim == 2 else weight
    signal = F.conv_transpose1d(coded, weight, bias, stride=stride)[:, 0]
    signal = signal[:, stride : stride + samples] if padded else signal
    assert not queue
    return F.pad(signal, (0, samples - signal.shape[1])).unflatten(0, (-1, masks.shape[1])).numpy()


def asteroid(state, **args):
    plain = dict(n_src=2, n_blocks=BLOCKS, n_repeats=REPEATS, stride=4, sample_rate=8000.0)
    infos = {'software_versions': {'torch_version': torch.__version__}}
    return {'state_dict': state, 'model_args': {**plain, **args}, 'infos': infos}


def package(state, **said):
    return {'state_dict': state, 'X': BLOCKS, 'R': REPEATS, 'epoch': 3, **said}


def chomped(text):
    """A layer without weights stands behind the depthwise convolution of causal models."""
    for before, after in [('3.weight', '4.weight'), ('2.', '3.'), ('1.weight', '2.weight')]:
        text = text.replace(f'net.3.net.{before}', f'net.3.net.{after}')
    return text


def sequential(text):
    """asteroid has the depthwise convolution of a causal model in a layer of its own."""
    return text.replace('shared_block.3.', 'shared_block.3.0.')


def gained(text):
    """naplab's cumulative norms, of causal models, call their scale a gain."""
    return re.sub(r'(LN|reg[12])\.weight (\w)', r'\1.gain 1\g<2>1', text)


RATE, TYPED = dict(sample_rate=8000), {'model.separator.blocks': '2'}
RELU, SOFTMAX = torch.relu, lambda x: torch.softmax(x, 1)
# what is saved, from the state dict; how it is made; what is said; how the other program computes
CASES = {
    'naplab decoder bias': (
        lambda s: s, dict(edit=lambda t: t + '\n decoder.bias 1'), dict(**RATE, keys=TYPED),
        dict(padded=True),
    ),
    'naplab causal': (
        lambda s: s,
        dict(edit=gained), dict(**RATE, keys=TYPED),
        dict(padded=True, causal=True, norm='cln'),
    ),
    'kaituoxu': (
        package, {}, RATE, dict(mask=RELU, rectify=True, input_norm='frame'),
    ),
    'kaituoxu causal': (
        lambda s: package(s, norm_type='cLN', causal=1 == 1, mask_nonlinear='softmax'),
        dict(edit=chomped), RATE, dict(mask=SOFTMAX, rectify=True, norm='frame', causal=True),
    ),
}  # fmt: skip


def imported_like(tmp_path, saved, theirs, **said):
    """Saves what another program saves, imports it, and holds the two outputs together."""
    torch.save(saved, tmp_path / 'theirs.pth')
    output = str(tmp_path / 'ours.safetensors')
    import_model.import_model(tmp_path / 'theirs.pth', output, **said)
    about, parameters = model_file.read(output)
    mixture_BT = np.random.default_rng(0).standard_normal((2, 46)).astype(np.float32)
    expected_BST = theirs(mixture_BT)
    estimate_BST = np.asarray(jax.jit(make_task(about.config).separate)(parameters, mixture_BT))
    assert np.abs(expected_BST).max() > 0.1
    np.testing.assert_allclose(estimate_BST, expected_BST, atol=1e-5 * np.abs(expected_BST).max())


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_imported_it_gives_what_the_other_program_gives(name, tmp_path):
    save, made, said, computes = CASES[name]
    state = state_dict(name.split()[0], **made)
    imported_like(tmp_path, save(state), lambda x: other_program(state, x, **computes), **said)


def stirred(*modules):
    """The modules, with weights and slopes that are all different."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in modules:
            for one in module.eval().parameters():
                one.add_(0.3 * torch.randn_like(one))


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:In causal configuration')
@pytest.mark.parametrize('args', [
    {},
    dict(n_src=1, mask_act='relu', encoder_activation='relu', stride=2),
    dict(n_src=3, conv_kernel_size=5, norm_type='cLN', mask_act='softmax', skip_chan=0),
    dict(norm_type='cgLN', causal=True),
    dict(norm_type='gLN', causal=True),  # it takes the norm of a frame then
], ids=str)  # fmt: skip
def test_imported_it_gives_what_asteroid_gives(asteroid_model, tmp_path, args):
    sizes = dict(n_filters=6, kernel_size=8, stride=4, bn_chan=5, hid_chan=7, skip_chan=3)
    plain = dict(n_src=2, n_blocks=BLOCKS, n_repeats=REPEATS)
    model = asteroid_model(**{**sizes, **plain, **args})
    said, save = {}, functools.partial(asteroid, **model.get_model_args())
    if not args:  # by its trainer, of a version whose slopes were the channels' own
        model.masker.mask_net[0] = torch.nn.PReLU(3)
        for block in model.masker.TCN:
            block.shared_block[1], block.shared_block[4] = torch.nn.PReLU(7), torch.nn.PReLU(7)
        said = dict(**RATE, keys=TYPED)

        def save(state):
            return {'state_dict': {f'model.{name}': one for name, one in state.items()}}

    stirred(model)
    with torch.no_grad():
        imported_like(
            tmp_path, save(model.state_dict()), lambda x: model(torch.from_numpy(x)).numpy(), **said
        )


@pytest.mark.slow
@pytest.mark.parametrize('args', [
    dict(pre_mask_nonlinear='linear'),
    dict(norm_type='cLN', nonlinear='sigmoid', num_spk=3, kernel=5),
    dict(norm_type='cLN', causal=True),
], ids=str)  # fmt: skip
def test_imported_it_gives_what_espnet_gives(espnet_parts, tmp_path, args):
    plain = dict(layer=BLOCKS, stack=REPEATS, bottleneck_dim=5, hidden_dim=7)
    make_encoder, make_separator, make_decoder = espnet_parts
    encoder, decoder = make_encoder(6, 8, 4), make_decoder(6, 8, 4)
    separator = make_separator(6, **plain, **args)
    parts = dict(encoder=encoder, separator=separator, decoder=decoder)
    stirred(*parts.values())
    lines = [f'    {key}: {value}' for key, value in {**plain, **args}.items()]
    conf = 'encoder_conf:\n    channel: 6\n    kernel_size: 8\n    stride: 4\nseparator_conf:\n'
    (tmp_path / 'config.yaml').write_text(conf + '\n'.join(lines) + '\n')

    @torch.no_grad()
    def theirs(mixture_BT):
        samples = torch.full((len(mixture_BT),), mixture_BT.shape[1])
        code, frames = encoder(torch.from_numpy(mixture_BT), samples)
        masked, *_ = separator(code, frames)
        return np.stack([decoder(one, samples)[0].numpy() for one in masked], 1)

    state = {f'{k}.{name}': one for k, part in parts.items() for name, one in
             part.state_dict().items()}  # fmt: skip
    imported_like(tmp_path, {'model': state}, theirs, **RATE)


def refused(tmp_path, content, message, suffix='.pth', **said):
    path = tmp_path / f'theirs{suffix}'
    torch.save(content, path) if suffix == '.pth' else path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        import_model.import_model(path, str(tmp_path / 'ours.safetensors'), **said)
    assert '\n' not in str(error.value) and str(path) in str(error.value)
    assert not (tmp_path / 'ours.safetensors').exists()


def without(*names):
    return lambda state: {name: one for name, one in state.items() if name not in names}


SHAPES = state_dict('asteroid')


@pytest.mark.parametrize(
    'state, message',
    [
        ({}, 'it holds no weights'),
        ({'state_dict': {}}, 'it holds no weights'),
        (
            {'fc.weight': torch.ones(2, 2)},
            r'its weights \(fc.weight, ...\) are called as in none of asteroid, torchaudio, naplab,'
            ' kaituoxu, espnet, speechbrain',
        ),
        (without('masker.TCN.2.res_conv.weight')(SHAPES), 'TCN.2.res_conv.weight is missing'),
        (without('masker.TCN.0.res_conv.bias')(SHAPES), 'masker.TCN.0.res_conv.bias is missing'),
        (without('masker.mask_net.0.weight')(SHAPES), 'masker.mask_net.0.weight is missing'),
        (without('decoder.filterbank._filters')(SHAPES), 'decoder.filterbank._filters is missing'),
        (SHAPES | {'masker.extra': torch.ones(2)}, 'masker.extra is no layer of'),
        (
            SHAPES | {'masker.bottleneck.0.running_mean': torch.ones(2)},
            'masker.bottleneck.0.running_mean: a batch norm',
        ),
        (
            SHAPES | {'masker.TCN.1.skip_conv.weight': torch.ones(3, 8, 1)},
            r'masker.TCN.1.skip_conv.weight is float32\[3, 8, 1\]: must be .* \[3, 7, 1\]',
        ),
        (
            SHAPES | {'encoder.filterbank._filters': torch.ones(6, 2, 8)},
            r'encoder.filterbank._filters is float32\[6, 2, 8\]',
        ),
        (
            SHAPES | {f'masker.mask_net.1.{n}': torch.ones(s) for n, s in
                      [('weight', (13, 3, 1)), ('bias', (13,))]},
            'masker.mask_net.1.weight makes 13 channels, no multiple of the 6',
        ),
        ({'encoder.conv1d_U.conv.weight': torch.ones(2)}, 'conv1d_U.conv.weight: .* mirrors'),
        ({'separator.temporal_conv_net.0.0.dsconv.net.0.weight': torch.ones(2)}, 'early version'),
        ({'masker.intra_mdl.0.weight': torch.ones(2)}, 'a dual-path model'),
        ({'masker.dense_skip.0.weight': torch.ones(2)}, r'TDCN\+\+'),
        ({'TCN_enc.0.weight': torch.ones(2)}, 'TCN_enc.0.weight: an early version of naplab'),
        (SHAPES, r'nothing says how many of the 4 blocks'),
        (asteroid(SHAPES, norm_type='fgLN'), "its norm_type is 'fgLN'; must be of gLN, cLN"),
        (asteroid(SHAPES, norm_type=['gLN']), r"its norm_type is \['gLN'\]; must"),
        (asteroid(SHAPES, norm_type={}), 'its norm_type is {}; must'),
        (asteroid(SHAPES, norm_type=torch.ones(2, 2)), r'its norm_type is tensor.*; must'),
        (asteroid(SHAPES, fb_name='stft'), "encoder.filterbank is 'stft'"),
        (
            asteroid(SHAPES, mask_act='tanh'),
            r"model.separator.mask = 'tanh': .* \(its mask_act is our mask\)",
        ),
        (asteroid(SHAPES, mask_act=['relu']), r"its mask_act is \['relu'\], must be of type str"),
        (asteroid(SHAPES, encoder_activation='prelu'), "its encoder_activation is 'prelu'; must"),
        *(
            (asteroid(SHAPES, n_blocks=n), f'blocks = {n}: must be at least 1 and divide 4 blocks')
            for n in (3, 0, -2)
        ),
        (asteroid(SHAPES, n_blocks='2'), "its n_blocks is '2', must be of type int"),
        (asteroid(SHAPES, stride=3), 'model.encoder.window = 8: must be a multiple of stride'),
        (asteroid(SHAPES, sample_rate=None), 'does not say its sample rate'),
        (asteroid(SHAPES, sample_rate=np.nan), 'its sample_rate is nan, must be of type int'),
        (asteroid(SHAPES, sample_rate=np.inf), 'its sample_rate is inf, must be of type int'),
        (asteroid(SHAPES, sample_rate='8k'), "its sample_rate is '8k', must be of type int"),
        (asteroid(SHAPES, sample_rate=8000.4), 'its sample_rate is 8000.4, must be of type int'),
        (asteroid(SHAPES, sample_rate=0), 'pth: sample_rate = 0: must be at least 1$'),
        (asteroid(SHAPES, sample_rate=-8000), 'pth: sample_rate = -8000: must be at least 1$'),
        (
            asteroid(SHAPES) | {'sample_rate': 16000},
            'its sample_rate at the top is 16000, and its sample_rate 8000: must be the same',
        ),
        ({'state_dict': {'a': 3}}, 'a is int, not a tensor'),
        ([1, 2], 'holds list, not a dict'),
    ],
)  # fmt: skip
def test_what_cannot_be_represented_is_refused_by_name(tmp_path, state, message):
    refused(tmp_path, state, message)


@pytest.mark.parametrize('gone, message', [
    ([2, 3], r'masker.TCN.2 is missing, a block before 4 others'),
    ([0, 1], r'masker.TCN.0 is missing'),
    ([4], r'masker.TCN.4 is missing'),
    ([5], r'blocks = 2: must be at least 1 and divide 5 blocks'),
    ([4, 5], r'repeats = 3: its weights have 2 \(its n_repeats is our repeats\)'),
])  # fmt: skip
def test_a_block_that_is_missing_is_named(tmp_path, gone, message):
    state = {
        name.replace('TCN.1', f'TCN.{number}'): one
        for number in {*range(6)} - {*gone}
        for name, one in SHAPES.items()
        if not re.search(r'TCN\.[023]', name)
    }
    refused(tmp_path, asteroid(state, n_repeats=3), message)


def test_a_block_of_a_repeat_that_is_missing_is_named(tmp_path):
    state = {n: one for n, one in state_dict('kaituoxu').items() if '2.0.1.' not in n}
    refused(tmp_path, package(state), r'separator.network.2.0.1 is missing', **RATE)


SAID = dict(n_repeats='repeats', n_src='sources', n_filters='basis', kernel_size='window',
            bn_chan='bottleneck', hid_chan='hidden', skip_chan='skip', conv_kernel_size='kernel',
            in_chan='basis', out_chan='basis')  # fmt: skip
LETTERS = dict(N=6, L=8, B=5, H=7, P=3, C=2)


@pytest.mark.parametrize('theirs', SAID)
def test_what_a_file_says_against_its_weights_is_refused(tmp_path, theirs):
    ours = SAID[theirs]
    words = rf'{ours} = 99: its weights have \d+ \(its {theirs} is our {ours}\)'
    refused(tmp_path, asteroid(SHAPES, **{theirs: 99}), words)


PLAIN = dict(asteroid=asteroid, naplab=package, kaituoxu=package)
AS_CAUSAL = dict(asteroid=sequential, naplab=gained, kaituoxu=chomped, espnet=chomped)


def imported(tmp_path, content, **said):
    torch.save(content, tmp_path / 'theirs.pth')
    output = str(tmp_path / 'ours.safetensors')
    return import_model.import_model(tmp_path / 'theirs.pth', output, **said)


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('program', AS_CAUSAL)
def test_what_a_file_says_of_causality_is_as_its_layers_are_called(tmp_path, program, causal):
    state = state_dict(program, edit=AS_CAUSAL[program] if causal else lambda text: text)
    for told in (causal, not causal):
        content = PLAIN.get(program, lambda s, **_: s)(state, causal=told, norm_type='cLN')
        text = ESPNET.replace('causal: false', f'causal: {told}')
        (tmp_path / 'config.yaml').write_text(text)
        if told == causal:
            assert imported(tmp_path, content, **RATE)[1].model.causal is causal
            os.remove(tmp_path / 'ours.safetensors')
        else:
            refused(tmp_path, content, f'causal = {told}: its weights have {causal}', **RATE)


def test_causality_that_is_typed_stands_above_what_layers_are_called(tmp_path):
    said = dict(keys={'model.causal': 'True', 'model.norm': 'cln'})
    for told in (False, True):
        _, config, _ = imported(tmp_path, asteroid(SHAPES, causal=told), **said)
        assert config.model.causal and config.model.norm == 'cln'


def test_causality_that_no_layer_is_called_by_is_as_told(torchaudio_model, tmp_path):
    state = torchaudio_model(enc_num_feats=6, enc_kernel_size=8).state_dict()
    _, config, _ = imported(tmp_path, package(state, X=8, causal=True, norm_type='cLN'), **RATE)
    assert config.model.causal and config.model.norm == 'frame'


@pytest.mark.parametrize('told', [{}, {'causal': True}, {'causal': None}], ids=str)
def test_a_causal_model_of_asteroid_has_no_norm_that_sees_ahead(tmp_path, told):
    content = asteroid(state_dict('asteroid', edit=sequential), norm_type='gLN', **told)
    refused(tmp_path, content, "norm = 'gln': sees the whole", keys={'model.norm': 'gln'})
    _, config, guessed = imported(tmp_path, content)
    assert (config.model.causal, config.model.norm) == (True, 'frame') and 'norm' not in guessed


@pytest.mark.parametrize('save', [
    lambda: asteroid(SHAPES, sample_rate=None), lambda: asteroid(SHAPES, sample_rate=16000),
    lambda: {'state_dict': SHAPES, 'X': BLOCKS},
], ids=['not in the arguments', 'there too', 'without arguments'])  # fmt: skip
def test_a_rate_beside_the_weights_is_read(tmp_path, save):
    _, config, _ = imported(tmp_path, save() | {'sample_rate': 16000.0})
    assert config.data.sample_rate == 16000


def test_what_is_given_ends_what_a_file_says_against_itself(tmp_path):
    content = asteroid(SHAPES, n_filters=6, in_chan=5, norm_type='fgLN') | {'sample_rate': 16000}
    keys = {'model.encoder.basis': '6', 'model.norm': 'gln'}
    assert imported(tmp_path, content, **RATE, keys=keys)[1].data.sample_rate == 8000


def test_what_a_file_says_against_itself_is_refused(tmp_path):
    said = asteroid(SHAPES, n_filters=6, in_chan=5)
    refused(tmp_path, said, 'its in_chan is 5, and its n_filters 6: must be the same')


@pytest.mark.parametrize('letter', [*LETTERS, 'R'])
def test_what_kaituoxus_package_says_against_its_weights_is_refused(tmp_path, letter):
    said = package(state_dict('kaituoxu'), **LETTERS) | {letter: 99}
    refused(tmp_path, said, rf'= 99: its weights have \d+ \(its {letter} is our', **RATE)


@pytest.mark.parametrize('theirs', ['channel', 'kernel_size', 'num_spk', 'stack', 'hidden_dim'])
def test_what_espnets_config_says_against_its_weights_is_refused(tmp_path, theirs):
    text = re.sub(rf'{theirs}: .*', f'{theirs}: 99', f'{ESPNET}')
    text += '' if theirs in ESPNET else f'separator_conf:\n    {theirs}: 99\n'
    (tmp_path / 'config.yaml').write_text(text)
    words = rf'= 99: its weights have \d+ \(its {theirs} is our'
    refused(tmp_path, state_dict('espnet'), words, **RATE)


@pytest.mark.parametrize('causal', [0, 1])
def test_a_switch_may_be_a_number(tmp_path, causal):
    """kaituoxu's command line takes --causal as a number."""
    state = state_dict('kaituoxu', edit=chomped if causal else lambda text: text)
    torch.save(package(state, causal=causal, norm_type='cLN'), tmp_path / 'theirs.pth')
    output = str(tmp_path / 'ours.safetensors')
    _, config, _ = import_model.import_model(tmp_path / 'theirs.pth', output, **RATE)
    assert config.model.causal is bool(causal)


def test_only_asteroid_replaces_a_norm_that_sees_ahead(tmp_path):
    """kaituoxu keeps its gLN in a causal model, which is none then."""
    state = state_dict('kaituoxu', edit=chomped)
    refused(tmp_path, package(state, causal=True, norm_type='gLN'), "norm = 'gln': sees", **RATE)


ESPNET = f"""encoder: conv
encoder_conf:
    channel: 6
    kernel_size: 8
    stride: 2
separator: tcn
separator_conf:
    num_spk: 2
    layer: {BLOCKS}
    stack: {REPEATS}
    causal: false
    norm_type: "cLN"
    nonlinear: sigmoid
decoder: conv
decoder_conf:
    stride: 4
"""


def test_what_espnet_was_told_stands_beside_its_weights(tmp_path):
    (tmp_path / 'config.yaml').write_text(ESPNET)
    torch.save(state_dict('espnet'), tmp_path / 'theirs.pth')
    _, config, guessed = import_model.import_model(
        tmp_path / 'theirs.pth', str(tmp_path / 'ours.safetensors'), **RATE
    )
    mask, norm = config.model.separator.mask, config.model.norm
    assert (config.model.encoder.stride, norm, mask) == (2, 'frame', 'sigmoid')
    assert not {'stride', 'norm', 'mask', 'causal', 'blocks'} & {*guessed}


@pytest.mark.parametrize('said', ['masking: false', 'predict_noise: True'])
def test_what_espnet_gives_beside_masks_is_refused(tmp_path, said):
    (tmp_path / 'config.yaml').write_text(f'{ESPNET}separator_conf:\n    {said}\n')
    refused(tmp_path, state_dict('espnet'), f'config.yaml says {said.lower()}', **RATE)


@pytest.mark.parametrize('key, value, words', [
    ('encoder.window', '32', 'window = 32: its weights have 8'),
    ('separator.hidden', '8', 'hidden = 8: its weights have 7'),
    ('separator.prelu', 'channel', "prelu = 'channel': its weights have 'shared'"),
    ('separator.repeats', '7', 'repeats = 7: its weights have 2'),
    ('encoder.stride', '0', 'stride = 0: must be at least 1'),
])  # fmt: skip
def test_what_is_typed_against_the_weights_is_refused(tmp_path, key, value, words):
    keys = {**TYPED, f'model.{key}': value}
    refused(tmp_path, asteroid(SHAPES), words, keys=keys)


@pytest.mark.parametrize('part, name', [('encoder', 'glu'), ('separator', 'pyramid')])
def test_other_parts_than_weights_have_are_refused(tmp_path, part, name):
    torch.save(asteroid(SHAPES), tmp_path / 'theirs.pth')
    keys = {**TYPED, f'model.{part}.name': name}
    with pytest.raises(ConfigError, match=f"{part}.name = '{name}'.* 'linear' encoder and a 'tcn'"):
        output = str(tmp_path / 'ours.safetensors')
        import_model.import_model(tmp_path / 'theirs.pth', output, **RATE, keys=keys)


def test_speechbrains_softmax_is_refused(tmp_path):
    names = (
        'encoder.conv1d.weight',
        'masknet.bottleneck_conv1x1.conv.weight',
        'masknet.temporal_conv_net.temporalblock_0_0.layers.conv.conv.weight',
    )
    state = {name: torch.ones(1, 1, 1) for name in names}
    said = dict(**RATE, keys={'model.separator.mask': 'softmax'})
    refused(tmp_path, state, "speechbrain's softmax is over the basis", **said)


@pytest.mark.parametrize(
    'prefix',
    [
        'module.',
        'model.',
        'separation_model.',
        'mods.',
        'module.mods.',
        'model.module.',
        '_orig_mod.',
    ],
)
def test_what_trainers_put_before_all_names_is_left_out(tmp_path, prefix):
    state = {f'{prefix}{name}': one for name, one in SHAPES.items()}
    if prefix == 'model.':  # as Lightning keeps a model
        state |= {'loss_func.window': torch.ones(3)}
        state |= {f'ema_model.{name}': 2 * one for name, one in SHAPES.items()}
    torch.save(state, tmp_path / 'theirs.pth')
    output = str(tmp_path / 'ours.safetensors')
    import_model.import_model(tmp_path / 'theirs.pth', output, **RATE, keys=TYPED)
    kernel = model_file.read(output)[1]['encoder']['kernel']
    np.testing.assert_array_equal(kernel, SHAPES['encoder.filterbank._filters'][:, 0].T)


TRAINED = dict(
    filterbank=dict(n_filters=6, kernel_size=8, stride=2),
    masknet=dict(n_blocks=BLOCKS, mask_act='relu', norm_type='cLN', causal=None),
    data=dict(sample_rate=16000, task='sep_clean'),
)
FLAT = {f'{section}_{key}': one for section in TRAINED for key, one in TRAINED[section].items()}


@pytest.mark.parametrize('said', [
    {'training_config': TRAINED},
    {'hyper_parameters': TRAINED},
    {'hyper_parameters': FLAT | {'masknet_causal': 'None'}},
], ids=['config', 'nested', 'flat'])  # fmt: skip
def test_what_asteroids_trainer_writes_down_is_read(tmp_path, said):
    state = {f'model.{name}': one for name, one in SHAPES.items()}
    torch.save({'state_dict': state, **said}, tmp_path / 'theirs.ckpt')
    output = str(tmp_path / 'ours.safetensors')
    _, config, guessed = import_model.import_model(tmp_path / 'theirs.ckpt', output)
    assert config.data.sample_rate == 16000 and {*guessed} == {'causal', 'rectify'}
    assert (config.model.norm, config.model.separator.mask) == ('frame', 'relu')
    assert (config.model.encoder.stride, config.model.separator.blocks) == (2, BLOCKS)


@pytest.mark.parametrize('its, given, rate', [
    (16000.0, None, 16000), (16000.0, 8000, 8000), (np.nan, 8000, 8000),
])  # fmt: skip
def test_the_rate_that_is_given_wins_over_the_files(tmp_path, its, given, rate):
    torch.save(asteroid(SHAPES, sample_rate=its), tmp_path / 'theirs.pth')
    output = str(tmp_path / 'ours.safetensors')
    _, config, _ = import_model.import_model(tmp_path / 'theirs.pth', output, sample_rate=given)
    assert config.data.sample_rate == model_file.read_about(output).config.data.sample_rate == rate
    with pytest.raises(ConfigError, match='sample_rate = 0'):
        import_model.import_model(tmp_path / 'theirs.pth', output, sample_rate=0)


@pytest.mark.parametrize(
    'content, suffix, message',
    [
        (b'', '.pt', 'is no model'),
        (b'RIFF\x24\0\0\0WAVEfmt ', '.wav', 'is no model'),
        (b'a text', '.ckpt', 'is no model'),
        (b'PK\x03\x04 torn', '.pt', 'is cut short or damaged: .* copy it anew'),
        (b'RIFF', '.onnx', 'cannot be read as ONNX'),
        (b'\x08\x07', '.onnx', 'it has 0 Conv and 0 ConvTranspose'),
        (b'{}', '.safetensors', 'cannot be read'),
    ],
)
def test_files_that_are_something_else(tmp_path, content, suffix, message):
    refused(tmp_path, content, message, suffix)


@pytest.mark.parametrize('zipped', [True, False])
def test_weights_that_are_cut_short_are_said_to_be(tmp_path, zipped):
    whole = io.BytesIO()
    torch.save({'a': torch.zeros(9)}, whole, _use_new_zipfile_serialization=zipped)
    for cut in (1, 30, len(whole.getvalue()) // 2):
        refused(tmp_path, whole.getvalue()[:-cut], 'is cut short or damaged', '.pt')


def test_a_bit_that_fell_over_in_a_zip_is_seen(tmp_path):
    """PyTorch reads another weight without a word."""
    whole = io.BytesIO()
    torch.save(asteroid(SHAPES), whole)
    content = bytearray(whole.getvalue())
    basis = SHAPES['encoder.filterbank._filters'].numpy().tobytes()
    content[content.index(basis) + 2] ^= 1
    refused(tmp_path, bytes(content), r'damaged: the checksum of .*data/\d+ does not match', '.pt')


def kept(name, change):
    return {**SHAPES, name: change(SHAPES[name])}


BASES = 'encoder.filterbank._filters'
NO_ARRAY = {
    'int32': (lambda one: one.int(), 'is int32.* must be floats'),
    'bool': (lambda one: one.bool(), 'is bool.* must be floats'),
    'complex': (lambda one: one.to(torch.complex64), 'is complex64.* must be floats'),
    'float8': (lambda one: one.to(torch.float8_e4m3fn), r'is torch.float8_e4m3fn .*: must be'),
    'meta': (lambda one: one.to('meta'), r'is torch.float32 \(torch.strided, meta; 48 numbers\)'),
    'quantised': (
        lambda one: torch.quantize_per_tensor(one, 0.1, 0, torch.qint8), 'is torch.qint8 .*: must',
    ),
    'sparse': (
        lambda one: torch.sparse_coo_tensor(
            torch.zeros(3, 1, dtype=torch.long), torch.ones(1), (10**6, 1, 10**6)
        ),
        r'is torch.float32 \(torch.sparse_coo, .*: must be plain floats',
    ),
    'huge': (
        lambda one: torch.zeros(1).expand(16, 1, 10**9),
        r'is torch.float32 \(.*16,000,000,000 numbers\): .* all of them in the file',
    ),
    'nan': (lambda one: one * torch.nan, 'holds nan or inf'),
}  # fmt: skip


@pytest.mark.filterwarnings('ignore:(torch.quantize|Sparse inv|TypedStorage)')
@pytest.mark.parametrize('kind', NO_ARRAY)
def test_weights_that_are_no_plain_floats_are_refused(tmp_path, kind):
    change, message = NO_ARRAY[kind]
    refused(tmp_path, asteroid(kept(BASES, change)), f'{BASES} {message}')


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_floats_of_other_sizes_are_read(tmp_path, kind, suffix):
    path, output = tmp_path / f'theirs{suffix}', str(tmp_path / 'ours.safetensors')
    state = kept(BASES, lambda one: one.to(kind))
    (torch.save if suffix == '.pth' else safetensors.torch.save_file)(state, path)
    import_model.import_model(path, output, **RATE, keys=TYPED)
    kernel = model_file.read(output)[1]['encoder']['kernel']
    np.testing.assert_array_equal(kernel, state[BASES][:, 0].T.float())


@pytest.mark.parametrize('change, message', [
    (lambda one: one.to(torch.float8_e4m3fn), f'{BASES} is F8_E4M3: must be plain floats'),
    (lambda one: one.int(), f'{BASES} is int32.* must be floats'),
    (lambda one: one.double() * 1e300, f'{BASES} holds nan or inf, or more'),
])  # fmt: skip
def test_safetensors_of_no_floats_are_refused(tmp_path, change, message):
    content = safetensors.torch.save(kept(BASES, change))
    refused(tmp_path, content, message, '.safetensors', **RATE, keys=TYPED)


def test_a_script_of_torch_is_refused_in_our_words_alone(tmp_path, recwarn):
    with zipfile.ZipFile(tmp_path / 'script.pt', 'w') as file:
        file.writestr('script/constants.pkl', b'')
        file.writestr('script/version', b'3')
    refused(tmp_path, (tmp_path / 'script.pt').read_bytes(), 'read safely .*TorchScript', '.pt')
    assert not [warning for warning in recwarn if 'TorchScript' in str(warning.message)]


class Touch:
    """A pickle that, opened, would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_no_pickle_is_opened(tmp_path):
    refused(tmp_path, {'state_dict': Touch(tmp_path / 'touched')}, 'read safely .it holds .*open')
    for protocol, reason in [(2, 'it holds .*open'), (4, 'Unsupported operand')]:
        attack = pickle.dumps(Touch(tmp_path / 'touched'), protocol)
        refused(tmp_path, attack, f'read safely .{reason}', '.ckpt')
    assert not (tmp_path / 'touched').exists()


def test_a_command_in_a_pickle_is_named(tmp_path):
    """Of modules that PyTorch takes never, it says so in other words."""

    class Attack:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/touched',)

    refused(tmp_path, {'state_dict': Attack()}, r'read safely .it holds \w+\.system')
    assert not (tmp_path / 'touched').exists()


def test_weights_as_safetensors(tmp_path):
    state = {name: one.numpy() for name, one in SHAPES.items()}
    safetensors.numpy.save_file(state, tmp_path / 'theirs.safetensors')
    output = str(tmp_path / 'ours.safetensors')
    said = dict(**RATE, keys=TYPED, sources=('a', 'b'), licence='CC0', origin='me')
    import_model.import_model(tmp_path / 'theirs.safetensors', output, **said)
    about, parameters = model_file.read(output)
    assert about[1:5] == (('a', 'b'), 0, 'me', 'CC0')
    kernel = parameters['encoder']['kernel']
    np.testing.assert_array_equal(kernel, state['encoder.filterbank._filters'][:, 0].T)
    with pytest.raises(ConfigError, match='is a model file of fgsep_jax already'):
        import_model.import_model(output, output, **said)


def test_the_command_says_what_was_taken_for_granted(tmp_path, capsys):
    torch.save(SHAPES, tmp_path / 'theirs.pth')
    flags = ['--sample_rate=8000', f'--output={tmp_path / "m.safetensors"}']
    import_model.main([str(tmp_path / 'theirs.pth'), *flags, '--config.model.separator.blocks=2'])
    said = capsys.readouterr().out
    assert 'does not say norm=gln, causal=False, stride=4, mask=sigmoid' in said
    assert 'blocks=' not in said and 'licence is unknown' in said
    with pytest.raises(SystemExit) as left:
        import_model.main([str(tmp_path / 'theirs.pth'), *flags, '--config.data.sources=3'])
    assert left.value.code == 2 and 'm.safetensors is there already' in capsys.readouterr().err
    flags.append('--overwrite')
    with pytest.raises(SystemExit) as left:
        import_model.main([str(tmp_path / 'theirs.pth'), *flags, '--config.data.sources=3'])
    assert left.value.code == 2
    assert 'only keys of model' in capsys.readouterr().err


def test_the_command_does_not_replace_what_it_reads(tmp_path, capsys):
    theirs, link = tmp_path / 'theirs.safetensors', tmp_path / 'link.safetensors'
    theirs.write_bytes(b'foreign weights')
    link.symlink_to(theirs)
    for output in (theirs, link):
        with pytest.raises(SystemExit) as left:
            import_model.main([str(theirs), f'--output={output}', '--overwrite'])
        assert left.value.code == 2 and 'is what is imported' in capsys.readouterr().err
    assert theirs.read_bytes() == b'foreign weights'


@pytest.mark.parametrize('flags, said', [
    ('--output={tmp}/m.pth', 'm.pth: the name of a model file ends in .safetensors'),
    ('--output={tmp}/gone/m.safetensors', 'cannot be written: there is no folder {tmp}/gone'),
    ('--output={tmp}/m.safetensors --licence=\udcff', r'licence = \xff: must be UTF-8; --licence='),
    ('--output={tmp}/m.safetensors --origin=\udcff', r'origin = \xff: must be UTF-8; --origin='),
])  # fmt: skip
def test_what_cannot_be_written_is_said_before_anything_is_read(tmp_path, capsys, flags, said):
    (tmp_path / 'theirs.pth').write_text('what is no model')
    with pytest.raises(SystemExit) as left:
        import_model.main([str(tmp_path / 'theirs.pth'), *flags.format(tmp=tmp_path).split()])
    assert left.value.code == 2 and said.format(tmp=tmp_path) in capsys.readouterr().err


def test_a_file_whose_name_is_no_utf_8_is_named_as_it_is_shown(tmp_path):
    torch.save(asteroid(SHAPES), tmp_path / 'a\udcff.pth')
    output = str(tmp_path / 'ours.safetensors')
    import_model.import_model(tmp_path / 'a\udcff.pth', output)
    assert model_file.read_about(output).origin == r'asteroid, a\xff.pth'


def test_every_length_is_torchaudios(torchaudio_model):
    """Its framing is a key, so that no length is another at the end."""
    torch.manual_seed(0)
    peer = torchaudio_model(
        enc_kernel_size=8, enc_num_feats=6, msk_num_feats=5, msk_num_hidden_feats=7,
        msk_num_layers=2, msk_num_stacks=1,
    )  # fmt: skip
    state = {name: one.numpy() for name, one in peer.state_dict().items()}
    made = layouts.convert(state, {'blocks': 2})
    assert (made.layout.name, made.sources, made.model['framing']) == ('torchaudio', 2, 'aligned')
    model = build(**made.model, sources=2)
    longest = np.random.default_rng(0).standard_normal((1, 41)).astype(np.float32)
    separate = jax.jit(lambda mixture_BT, length_B: model.apply(
        {'params': made.parameters}, mixture_BT, length_B
    ))  # fmt: skip
    for samples in range(1, 42):
        expected = peer(torch.from_numpy(longest[:, None, :samples])).detach().numpy()
        # As if alone, padded to the longest: one compilation for all.
        estimate = np.asarray(separate(longest, np.array([samples])))[..., :samples]
        np.testing.assert_allclose(estimate, expected, atol=1e-5, err_msg=f'{samples} samples')


def test_a_layer_that_torchaudios_weights_lack_is_named(torchaudio_model):
    """Whichever of them it is."""
    peer = torchaudio_model(
        enc_kernel_size=8, enc_num_feats=6, msk_num_feats=5, msk_num_hidden_feats=7,
        msk_num_layers=2, msk_num_stacks=1,
    )  # fmt: skip
    state = {name: one.numpy() for name, one in peer.state_dict().items()}
    for gone in state:
        with pytest.raises(ValueError, match=f'^{re.escape(gone)} is missing'):
            layouts.convert(without(gone)(state), {'blocks': 2})


@pytest.mark.parametrize('sources, told, mask', [
    (2, {}, 'relu'), (2, {'mask': 'sigmoid'}, 'sigmoid'), (3, {}, 'sigmoid'),
])  # fmt: skip
def test_torchaudios_published_size_has_its_masks(torchaudio_model, sources, told, mask):
    """No weight says them: `conv_tasnet_base` has others than the class by itself."""
    state = {
        k: one.numpy() for k, one in torchaudio_model(num_sources=sources).state_dict().items()
    }
    made = layouts.convert(state, told)
    assert made.model['mask'] == mask
    assert (made.layout.name == "torchaudio's conv_tasnet_base") == (mask == 'relu')


PARTS = ('encoder', 'masknet', 'decoder')


def speechbrain(models, *, sources=1, **said):
    """Its model with random weights, in three parts."""
    conv_tasnet, dual_path = models
    torch.manual_seed(0)
    parts = (
        dual_path.Encoder(kernel_size=8, out_channels=6),
        conv_tasnet.MaskNet(6, 5, 7, 3, 3, REPEATS, sources, **said),
        dual_path.Decoder(6, 1, kernel_size=8, stride=4, bias=False),
    )
    for part in parts:
        for weight in part.parameters():
            weight.data = 0.5 * torch.randn(weight.shape)
    return parts


def speechbrains_output(parts, mixture_BT):
    """As its `separate_batch` computes it."""
    encoder, masknet, decoder = parts
    with torch.no_grad():
        code = encoder(torch.from_numpy(mixture_BT))
        estimates = [decoder(code * mask) for mask in masknet(code)]
    estimate_BST = torch.stack(estimates, 1).reshape(len(mixture_BT), len(estimates), -1)
    return F.pad(estimate_BST, (0, mixture_BT.shape[1] - estimate_BST.shape[-1])).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    'theirs, keys',
    [
        (dict(), {}),
        (dict(sources=2, norm_type='cLN'), {'model.norm': 'frame'}),
        (dict(norm_type='cLN', causal=True), {'model.norm': 'frame', 'model.causal': 'True'}),
    ],
    ids=str,
)
def test_it_gives_what_speechbrain_gives(speechbrain_models, theirs, keys, tmp_path):
    """Whole, and each row of a padded batch, however short."""
    parts = speechbrain(speechbrain_models, **theirs)
    for name, part in zip(PARTS, parts):
        torch.save(part.state_dict(), tmp_path / f'{name}.ckpt')
    (tmp_path / 'brain.ckpt').write_text('something else')
    output = str(tmp_path / 'ours.safetensors')
    whose, config, _ = import_model.import_model(tmp_path, output, **RATE, keys=keys)
    assert whose == 'speechbrain' and config.model.separator.repeats == REPEATS
    assert config.model.separator.padding == ('zeros' if theirs.get('causal') else 'reflect')
    about, parameters = model_file.read(output)
    longest_BT = np.random.default_rng(0).standard_normal((4, 70)).astype(np.float32)
    lengths = [70, 47, 30, 28]  # PyTorch mirrors no more frames than there are: at least 6
    separate = jax.jit(make_task(about.config).separate)
    estimate_BST = np.asarray(separate(parameters, longest_BT, np.array(lengths)))
    for row, length in enumerate(lengths):
        expected_ST = speechbrains_output(parts, longest_BT[row : row + 1, :length])[0]
        error = np.linalg.norm(estimate_BST[row, :, :length] - expected_ST)
        assert 20 * np.log10(error / np.linalg.norm(expected_ST)) < -100, length


@pytest.mark.slow
def test_speechbrains_parts_come_as_files_and_as_one(speechbrain_models, tmp_path):
    parts, state = speechbrain(speechbrain_models), {}
    paths = [tmp_path / f'{name}.ckpt' for name in PARTS]
    for name, path, part in zip(PARTS, paths, parts):
        torch.save(part.state_dict(), path)
        state |= {f'mods.{name}.{key}': value for key, value in part.state_dict().items()}
    torch.save(state, tmp_path / 'whole.ckpt')
    made = []
    for name, given in [('files', paths), ('folder', [tmp_path]), ('w', [tmp_path / 'whole.ckpt'])]:
        output = str(tmp_path / f'{name}.safetensors')
        import_model.main([*map(str, given), f'--output={output}', '--sample_rate=8000'])
        made.append(model_file.read(output)[1])
    for one in made[1:]:
        jax.tree.map(np.testing.assert_array_equal, made[0], one)
    for given in (paths[:2], [*paths, paths[0]]):
        with pytest.raises(ConfigError, match='a file for each of encoder, masknet, decoder'):
            import_model.import_model(given, output, **RATE)
    paths[1].unlink()
    with pytest.raises(ConfigError, match='a file for each of encoder, masknet, decoder'):
        import_model.import_model(tmp_path, output, **RATE)
    with pytest.raises(ConfigError, match="speechbrain's softmax is over the basis"):
        whole = tmp_path / 'whole.ckpt'
        import_model.import_model(whole, output, **RATE, keys={'model.separator.mask': 'softmax'})
