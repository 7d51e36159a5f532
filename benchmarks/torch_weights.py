"""Weights of the linear Conv-TasNet in the names and shapes of torchaudio's, and back.

The other side is `torchaudio.models.conv_tasnet.ConvTasNet` (torchaudio 2.11.0). State dicts hold
numpy arrays, so neither direction needs PyTorch: load with
`{name: torch.from_numpy(array) for ...}`, give `{name: tensor.numpy() for ...}`. Both maps are
linear, so gradients can be carried over as well.

torchaudio pads fewer zeros at the end of the signal: both models see the same frames, and give
the same output, where (samples - 1) % window < window / 2 - 1, say 32001 samples at window 16.
"""

import numpy as np

from fgsep_jax.interop.layouts import convert

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
    made = convert(state, {'blocks': 1})
    if made.layout.name != 'torchaudio':
        raise ValueError(f'the state dict is one of {made.layout.name}, not of torchaudio')
    return made.parameters


def _array(x) -> np.ndarray:
    return np.asarray(x)


def _norm(name: str, norm: dict) -> dict:
    return {name + '.weight': _array(norm['scale']), name + '.bias': _array(norm['bias'])}


def _pointwise(name: str, conv: dict, outputs: slice = slice(None)) -> dict:
    kernel_DN = _array(conv['kernel']).T[outputs]
    return {name + '.weight': kernel_DN[:, :, None], name + '.bias': _array(conv['bias'])[outputs]}
