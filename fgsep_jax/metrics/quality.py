"""How well speech is understood and liked, as models of listeners say: STOI and PESQ.

Both are other people's programs, in the extra `metrics`; `evaluation.quality` asks for them.
"""

import importlib.util
import math
import threading
import warnings

import numpy as np

from fgsep_jax.data.resample import resample

PACKAGES = {'stoi': 'pystoi', 'pesq': 'pesq'}
WORST = {'stoi': 0.0, 'pesq': 1.0}  # of an estimate without a signal
_TOO_SHORT = 1e-5  # what pystoi gives, with a warning
_LOCK = threading.Lock()
LABELS = {'stoi': 'STOI', 'pesq': 'PESQ'}


def missing(names):
    """Packages that some of `PACKAGES` need and that are not installed."""
    return [PACKAGES[name] for name in names if not importlib.util.find_spec(PACKAGES[name])]


def stoi(estimate_T: np.ndarray, reference_T: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility, in 0..1; nan for less than 30 frames of speech.

    Args:
      estimate_T, reference_T: signals.
      sample_rate: in hertz.

    Reference:
      C. H. Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted
      noisy speech", IEEE TASLP 2011.
    """
    import pystoi

    # The filters of warnings are the process's, and examples are measured in several threads.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)
        value = float(pystoi.stoi(reference_T, estimate_T, sample_rate))
    return math.nan if value == _TOO_SHORT else value


def pesq(estimate_T: np.ndarray, reference_T: np.ndarray, sample_rate: int) -> float:
    """Perceptual evaluation of speech quality, ITU-T P.862, about 1..4.6: P.862.2 (wideband) from
    16 kHz on, P.862.1 (narrowband, at 8 kHz) below; nan where it finds no utterance.

    Args:
      estimate_T, reference_T: signals; resampled where they are at another rate.
      sample_rate: in hertz.
    """
    import pesq as library  # pyright: ignore[reportMissingImports]  # in an extra of its own

    rate, mode = (16000, 'wb') if sample_rate >= 16000 else (8000, 'nb')
    signals = [
        resample(np.asarray(s_T, float), sample_rate, rate) for s_T in (reference_T, estimate_T)
    ]
    try:
        return float(library.pesq(rate, *signals, mode))
    except library.PesqError:
        return math.nan


MEASURES = {'stoi': stoi, 'pesq': pesq}
