"""Weights of the linear Conv-TasNet in the names and shapes of torchaudio's, and back.

The other side is `torchaudio.models.conv_tasnet.ConvTasNet` (torchaudio 2.11.0). State dicts hold
numpy arrays, so neither direction needs PyTorch: load with
`{name: torch.from_numpy(array) for ...}`, give `{name: tensor.numpy() for ...}`. Both maps are
linear, so gradients can be carried over as well.

torchaudio pads fewer zeros at the end of the signal: both models see the same frames, and give
the same output, where (samples - 1) % window < window / 2 - 1, say 32001 samples at window 16.
"""

import numpy as np

_MASKS = 'mask_generator.'


def to_torchaudio(params: dict) -> dict[str, np.ndarray]:
    """Maps the parameters of a linear `conv_tasnet` to torchaudio's state dict.

    Args:
      params: parameters as `model.init` returns them under 'params'. An `unused_residual` has no
        counterpart and is left out.

    Returns:
      Arrays by torchaudio's names.

    Raises:
      ValueError: a deep encoder, or skip connections not as wide as the bottleneck: torchaudio
        has neither.
    """
    deep = [name for name in params['encoder'] if name != 'kernel']
    if deep:
        raise ValueError(
            f"the encoder has {', '.join(deep)}: torchaudio's is linear; use encoder='linear'"
        )
    tcn = params['separator']
    skip, bottleneck = tcn['mask']['kernel'].shape[0], tcn['bottleneck']['kernel'].shape[1]
    blocks = sum(name.startswith('block_') for name in tcn)
    widths = [tcn[f'block_{i}']['output']['bias'].shape[0] for i in range(blocks)]
    if skip != bottleneck or (blocks > 1 and widths[0] == bottleneck):
        raise ValueError(
            f'bottleneck={bottleneck} with block outputs of {widths[0]} channels: torchaudio needs '
            f'skip connections as wide as the bottleneck; use skip={bottleneck}'
        )
    state = {
        'encoder.weight': _array(params['encoder']['kernel']).T[:, None],
        'decoder.weight': _array(params['decoder']['kernel'])[:, None],
        **_norm(_MASKS + 'input_norm', tcn['norm']),
        **_pointwise(_MASKS + 'input_conv', tcn['bottleneck']),
        _MASKS + 'output_prelu.weight': _array(tcn['prelu']['slope'])[None],
        **_pointwise(_MASKS + 'output_conv', tcn['mask']),
    }
    for index, width in enumerate(widths):
        block, prefix = tcn[f'block_{index}'], f'{_MASKS}conv_layers.{index}.'
        layers = prefix + 'conv_layers.'
        state |= _pointwise(layers + '0', block['expand'])
        state[layers + '1.weight'] = _array(block['prelu_1']['slope'])[None]
        state |= _norm(layers + '2', block['norm_1'])
        state[layers + '3.weight'] = _array(block['depthwise']['kernel']).T[:, None]
        state[layers + '3.bias'] = _array(block['depthwise']['bias'])
        state[layers + '4.weight'] = _array(block['prelu_2']['slope'])[None]
        state |= _norm(layers + '5', block['norm_2'])
        output = block['output']
        if index < blocks - 1:
            state |= _pointwise(prefix + 'res_out', output, slice(None, bottleneck))
        state |= _pointwise(prefix + 'skip_out', output, slice(width - skip, None))
    return {name: np.ascontiguousarray(array) for name, array in state.items()}


def from_torchaudio(state: dict) -> dict:
    """Maps torchaudio's state dict to the parameters of a linear `conv_tasnet`.

    Args:
      state: arrays by torchaudio's names.

    Returns:
      Parameters, to be used as `model.apply({'params': params}, mixture_BT)`.

    Raises:
      ValueError: names are missing or left over, or shapes do not belong together.
    """
    left, sizes = dict(state), {}

    def take(name, shape):
        if name not in left:
            raise ValueError(
                f'the state dict has no {name!r}: it is not of '
                'torchaudio.models.conv_tasnet.ConvTasNet, or not whole'
            )
        return check_array(name, left.pop(name), shape, sizes)

    def pointwise(name, outputs, inputs):
        weight = take(name + '.weight', f'{outputs}{inputs}1')
        return {'kernel': weight[:, :, 0].T, 'bias': take(name + '.bias', outputs)}

    def norm(name, size):
        return {'scale': take(name + '.weight', size), 'bias': take(name + '.bias', size)}

    def prelu(name):
        return {'slope': take(name + '.weight', '1')[0]}

    tcn = {
        'norm': norm(_MASKS + 'input_norm', 'N'),
        'bottleneck': pointwise(_MASKS + 'input_conv', 'B', 'N'),
        'prelu': prelu(_MASKS + 'output_prelu'),
        'mask': pointwise(_MASKS + 'output_conv', 'M', 'B'),
    }
    if sizes['M'] % max(sizes['N'], 1):
        raise ValueError(f'{sizes["M"]} mask channels are no multiple of a basis of {sizes["N"]}')
    blocks = sum(str(name).endswith('skip_out.weight') for name in left)
    for index in range(blocks):
        prefix = f'{_MASKS}conv_layers.{index}.'
        layers = prefix + 'conv_layers.'
        output = pointwise(prefix + 'skip_out', 'B', 'H')
        if index < blocks - 1:
            residual = pointwise(prefix + 'res_out', 'B', 'H')
            output = {key: np.concatenate([residual[key], output[key]], axis=-1) for key in output}
        tcn[f'block_{index}'] = {
            'expand': pointwise(layers + '0', 'H', 'B'),
            'prelu_1': prelu(layers + '1'),
            'norm_1': norm(layers + '2', 'H'),
            'depthwise': {
                'kernel': take(layers + '3.weight', 'H1P')[:, 0].T,
                'bias': take(layers + '3.bias', 'H'),
            },
            'prelu_2': prelu(layers + '4'),
            'norm_2': norm(layers + '5', 'H'),
            'output': output,
        }
    params = {
        'encoder': {'kernel': take('encoder.weight', 'N1L')[:, 0].T},
        'separator': tcn,
        'decoder': {'kernel': take('decoder.weight', 'N1L')[:, 0]},
    }
    if left:
        raise ValueError(f'the state dict has unknown names: {sorted(map(str, left))[:5]}')
    return params


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
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever another library's tensors raise
        raise ValueError(f'{name} is no array: {error}') from error
    known = {'1': 1, **sizes}
    wanted = [known.get(letter, letter) for letter in shape]
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


def _array(x) -> np.ndarray:
    return np.asarray(x)


def _norm(name: str, norm: dict) -> dict:
    return {name + '.weight': _array(norm['scale']), name + '.bias': _array(norm['bias'])}


def _pointwise(name: str, conv: dict, outputs: slice = slice(None)) -> dict:
    kernel_DN = _array(conv['kernel']).T[outputs]
    return {name + '.weight': kernel_DN[:, :, None], name + '.bias': _array(conv['bias'])[outputs]}
