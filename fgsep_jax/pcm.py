"""16-bit integers, as records and files hold them, as floats of full scale 1 and back."""

from typing import Any

import numpy as np

FULL_SCALE = 32768.0


def to_float(pcm, dtype=np.float32) -> Any:
    """Integers of 16 bits [...] as floats in [-1, 1) [...], of NumPy or JAX as they came.

    None stays None.
    """
    return None if pcm is None else pcm.astype(dtype) / np.asarray(FULL_SCALE, dtype)


def to_int16(signal) -> np.ndarray:
    """Floats of full scale 1 [...], rounded to integers of 16 bits [...].

    Raises:
        ValueError: one does not fit.
    """
    pcm = np.round(np.asarray(signal, np.float64) * FULL_SCALE)
    if not (pcm.min(initial=0) >= -FULL_SCALE and pcm.max(initial=0) < FULL_SCALE):
        raise ValueError(f'a peak of {np.abs(pcm).max():.0f} does not fit int16; scale it down')
    return pcm.astype(np.int16)
