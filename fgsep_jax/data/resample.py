"""One resampler for everything: preparation of data, synthetic voices, augmentation, evaluation."""

import math
import numbers

import numpy as np
import soxr


def plain(number):
    """A number of NumPy as Python's own: products of small integers wrap."""
    return number.item() if isinstance(number, np.generic) else number


def length(samples, native_rate, sample_rate):
    """Samples that `resample` makes of so many."""
    samples, native_rate, sample_rate = map(plain, (samples, native_rate, sample_rate))
    return int(-(-samples * sample_rate // native_rate))


def resample(signal_T, native_rate, sample_rate):
    """A signal at another rate, by soxr's `HQ`, librosa's default: linear phase, flat up to 91 % of
    the lower rate's half, 100 dB and more down from there on, so that nothing folds back.

    (SciPy's polyphase filter with its defaults, which this replaces, is 6 dB down at that half.)

    Args:
      signal_T: [..., T], float.
      native_rate, sample_rate: in hertz; need not be whole.

    Returns:
      [..., `length(T)`] in the signal's own type; the signal itself where the rates agree.

    Raises:
      ValueError: a rate that is none.
    """
    for name, rate in (('native_rate', native_rate), ('sample_rate', sample_rate)):
        if not (isinstance(rate, numbers.Real) and 0 < float(rate) < math.inf):
            raise ValueError(f'{name} = {rate!r}: must be a number of hertz above 0')
    if native_rate == sample_rate:
        return signal_T
    signal_T = np.asarray(signal_T)
    samples = length(signal_T.shape[-1], native_rate, sample_rate)
    made_T = np.zeros((*signal_T.shape[:-1], samples), signal_T.dtype)
    for index in np.ndindex(signal_T.shape[:-1]):
        row_T = soxr.resample(np.ascontiguousarray(signal_T[index]), native_rate, sample_rate)
        made_T[index][: row_T.size] = row_T[:samples]  # rounded by soxr, up here
    return made_T
