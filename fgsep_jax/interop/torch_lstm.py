"""Weights of a BLSTM layer in the names and shapes of `torch.nn.LSTM(bidirectional=True)`.

Arrays are numpy's, so neither direction needs PyTorch. Both maps are linear, so gradients can be
carried over as well.
"""

import numpy as np

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
      ValueError: the state dict is not that of one bidirectional layer with biases.
    """
    kinds = ('weight_ih', 'weight_hh', 'bias_ih', 'bias_hh')
    names = [kind + suffix for suffix in _SUFFIXES for kind in kinds]
    if sorted(state) != sorted(names):
        raise ValueError(f'state dict has {sorted(state)}: must be {sorted(names)}, one layer')

    def stack(name):
        return np.stack([np.asarray(state[name + suffix]).T for suffix in _SUFFIXES])

    return {
        'kernel': stack('weight_ih'),
        'recurrence': {'kernel': stack('weight_hh')},
        'bias': stack('bias_ih') + stack('bias_hh'),
    }
