"""Mel filters, in NumPy alone: the report draws with those that the models hear with."""

import numpy as np

# Slaney's scale: linear up to 1 kHz, 3 mel per 200 Hz; from there on 27 mel for a factor of 6.4.
_LINEAR = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz, *, htk=False):
    """Frequencies in Hz on the mel scale: Slaney's, or 2595 log10(1 + f / 700)."""
    hz = np.asarray(hz, np.float64)
    if htk:
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, _BREAK_MEL + above, hz / _LINEAR)


def mel_to_hz(mel, *, htk=False):
    """Inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if htk:
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel >= _BREAK_MEL, above, _LINEAR * mel)


def mel_filters(*, sample_rate, window, bands, low=0.0, high=None, htk=False, area=True):
    """Triangular filters evenly spaced on a mel scale; as `librosa.filters.mel`.

    Args:
      sample_rate: in Hz.
      window: of the spectrum, in samples.
      bands: filters.
      low, high: edges in Hz; None: half the sample rate.
      htk: which scale, see `hz_to_mel`.
      area: whether each triangle has area 1 in Hz, else it peaks at 1.

    Returns:
      float32 [bands, window // 2 + 1].
    """
    high = sample_rate / 2 if high is None else high
    bin_F = np.fft.rfftfreq(window, 1.0 / sample_rate)
    first, last = hz_to_mel([low, high], htk=htk)
    edge_E = mel_to_hz(np.linspace(first, last, bands + 2), htk=htk)
    width_E = np.diff(edge_E)
    from_edge_EF = edge_E[:, None] - bin_F
    rising_MF = -from_edge_EF[:-2] / width_E[:-1, None]
    falling_MF = from_edge_EF[2:] / width_E[1:, None]
    filter_MF = np.maximum(0, np.minimum(rising_MF, falling_MF)).astype(np.float32)
    if area:
        filter_MF = filter_MF * (2.0 / (edge_E[2:] - edge_E[:-2]))[:, None]
    return filter_MF.astype(np.float32)
