"""Weights of a BLSTM layer in the names and shapes of `torch.nn.LSTM(bidirectional=True)`.

Arrays are numpy's, so neither direction needs PyTorch. Both maps are linear, so gradients can be
carried over as well.
"""

import numpy as np

from fgsep_jax.interop.layouts import check_array

_SUFFIXES = ('_l0', '_l0_reverse')


def to_torch(params: dict) -> dict[str, np.ndarray]:
    """Maps the parameters of a `models.lstm.BLSTM` to the state dict of a one-layer LSTM.

    PyTorch adds two biases where we have one: ours becomes `bias_ih`, and `bias_hh` is zero.
    """
    state = {}
    for direction, suffix in enumerate(_SUFFIXES):
        bias_D = np.asarray(params['bias'][direction])
        state[f'weight_ih{suffix}'] = np.asarray(params['kernel'][direction]).T
        state[f'weight_hh{suffix}'] = np.asarray(params['recurrence']['kernel'][direction]).T
        state[f'bias_ih{suffix}'] = bias_D
        state[f'bias_hh{suffix}'] = np.zeros_like(bias_D)
    return state


def from_torch(state: dict[str, np.ndarray]) -> dict:
    """Maps the state dict of a one-layer bidirectional LSTM to the parameters of a `BLSTM`.

    Raises:
      ValueError: the state dict is not that of one bidirectional layer with biases, or the shapes
        do not belong together.
    """
    kinds = ('weight_ih', 'weight_hh', 'bias_ih', 'bias_hh')
    names = [kind + suffix for suffix in _SUFFIXES for kind in kinds]
    if set(state) != set(names):
        raise ValueError(
            f'state dict has {sorted(map(str, state))}: must be {sorted(names)}, one layer'
        )
    sizes = {}
    # G: the four gates of all units H.
    shapes = {'weight_ih': 'GI', 'weight_hh': 'GH', 'bias_ih': 'G', 'bias_hh': 'G'}

    def stack(kind):
        return np.stack(
            [
                check_array(kind + suffix, state[kind + suffix], shapes[kind], sizes).T
                for suffix in _SUFFIXES
            ]
        )

    recurrent = stack('weight_hh')
    if sizes['G'] != 4 * sizes['H']:
        raise ValueError(f'weight_hh has {sizes["G"]} gates of {sizes["H"]} units: must be 4 each')
    return {
        'kernel': stack('weight_ih'),
        'recurrence': {'kernel': recurrent},
        'bias': stack('bias_ih') + stack('bias_hh'),
    }
