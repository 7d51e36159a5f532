"""Pitch shift and time stretch of training foregrounds, in one pass of a phase vocoder."""

import math

import librosa
import numpy as np

from fgsep_jax.data.resample import resample

WINDOW = 0.046  # seconds, 2048 samples at 44.1 kHz
SHORTEST = 64  # samples; less has no pitch to change, and is repeated or cut to the new length


def change(
    sound_T: np.ndarray, *, sample_rate: int, semitones: float = 0.0, stretch: float = 1.0
) -> np.ndarray:
    """The sound at another pitch and length.

    It is stretched by both factors at once, then played faster by resampling, which takes the
    pitch's share of the length back.

    Args:
        sound_T: [T], full scale 1.
        sample_rate: in hertz.
        semitones: upwards; 0 keeps the pitch.
        stretch: new length over old length; 1 keeps it.
    Returns:
        float32 [round(T * stretch)].
    """
    sound_T = np.asarray(sound_T, np.float32)
    samples = round(sound_T.size * stretch)
    if (semitones == 0.0 and stretch == 1.0) or sound_T.size < SHORTEST:
        return np.resize(sound_T, samples)
    faster = 2.0 ** (semitones / 12.0)
    window = 2 ** round(math.log2(WINDOW * sample_rate))
    window = min(window, 2 ** int(math.log2(sound_T.size)))
    changed_T = librosa.effects.time_stretch(sound_T, rate=1.0 / (stretch * faster), n_fft=window)
    if semitones:
        changed_T = resample(changed_T, faster * sample_rate, sample_rate)
    return librosa.util.fix_length(np.asarray(changed_T, np.float32), size=samples)
