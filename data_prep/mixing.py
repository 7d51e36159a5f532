"""Pure mixing rules on arrays: levels, gains, one common scale, quantisation, hashed randomness."""

import hashlib
import math

import numpy as np
import scipy

from fgsep_jax import pcm

# Of the rules by which files become examples, in dataset.json: raised where equal files give other
# bytes. 2: resampled by soxr (files of a higher rate, the embedded voices), offsets taken off.
# 3: another phase vocoder (fgbg's training events), files that only ffmpeg reads are taken, and
# speakers who share a file are of one split.
RULES_VERSION = 3


def stable_hash(*parts) -> int:
    """64-bit hash of the parts' texts; the same on every machine, in every process and version."""
    text = '\x1f'.join(str(part) for part in parts)
    return int.from_bytes(
        hashlib.blake2b(text.encode(errors='surrogatepass'), digest_size=8).digest(), 'big'
    )


def uniform(low: float, high: float, *parts) -> float:
    """A number in [low, high) drawn from the hash of `parts`, e.g. seed, mixture id, purpose."""
    return low + (high - low) * (stable_hash(*parts) / 2.0**64)


def active_speech_level(
    audio_T: np.ndarray,
    *,
    sample_rate: int,
    margin_db: float = 15.9,
    time_constant: float = 0.03,
    hangover: float = 0.2,
) -> tuple[float, float]:
    """Active speech level, ITU-T P.56 method B (unweighted, no input filter).

    The envelope (two first-order smoothers of |x|) is compared with thresholds in octaves; time
    within `hangover` of an exceedance is active. The level is where the mean power over the
    active time lies `margin_db` above the threshold, interpolated between two thresholds.

    Args:
        audio_T: signal [T], full scale 1.
        sample_rate: in hertz.
        margin_db: the recommendation's M.
        time_constant: of each smoother, in seconds.
        hangover: in seconds.
    Returns:
        Level in dB re a full-scale square wave (-inf for silence), and the share of active time.
    """
    audio_T = np.asarray(audio_T, np.float64)
    energy = float(np.square(audio_T).sum())
    if energy == 0.0:
        return -math.inf, 0.0
    pole = math.exp(-1.0 / (time_constant * sample_rate))
    envelope_T = scipy.signal.lfilter(
        [(1.0 - pole) ** 2], [1.0, -2.0 * pole, pole**2], np.abs(audio_T)
    )
    hold = math.ceil(hangover * sample_rate) + 1
    held_T = scipy.ndimage.maximum_filter1d(  # over the last `hold` samples
        envelope_T, hold, origin=(hold - 1) // 2, mode='constant'
    )
    # Thresholds 2^-15 ... 1: a sample is active for all those up to its own octave.
    # (frexp gives 0 the exponent 0, hence the floor.)
    octave_T = np.clip(np.frexp(np.maximum(held_T, 2.0**-17))[1] - 1, -16, 0) + 16
    active_J = np.cumsum(np.bincount(octave_T, minlength=17)[::-1])[::-1][1:]
    active_J = active_J[active_J > 0]
    if not active_J.size:  # quieter than the lowest threshold throughout
        return 10.0 * math.log10(energy / audio_T.size), 1.0
    power_db_J = 10.0 * np.log10(energy / active_J)
    threshold_db_J = 20.0 * math.log10(2.0) * (np.arange(active_J.size) - 15)
    excess_db_J = power_db_J - threshold_db_J - margin_db
    crossing = np.flatnonzero(excess_db_J <= 0)
    upper = crossing[0] if crossing.size else active_J.size - 1
    lower = max(upper - 1, 0)  # between these two the excess falls through zero
    level = float(np.interp(0.0, -excess_db_J[lower : upper + 1], power_db_J[lower : upper + 1]))
    return level, energy / audio_T.size / 10.0 ** (level / 10.0)


def scale_to_levels(
    sources_ST: np.ndarray, level_db_S: list[float], wanted_db_S: list[float]
) -> np.ndarray:
    """Sources scaled from their measured levels to the wanted ones; only differences matter."""
    gain_S = 10.0 ** ((np.asarray(wanted_db_S) - np.asarray(level_db_S)) / 20.0)
    return sources_ST * gain_S[:, None]


def scale_to_peak(sources_ST: np.ndarray, *, peak: float = 0.9) -> np.ndarray:
    """One common factor, as the MERL scripts do: peak / max(|mixture|, |source 1|, ...)."""
    largest = max(np.abs(sources_ST).max(), np.abs(sources_ST.sum(axis=0)).max())
    return sources_ST * (peak / largest)


def quantise(sources_ST: np.ndarray) -> np.ndarray:
    """float [S, T], full scale 1, rounded to int16 PCM.

    Raises:
        ValueError: if a source or their sum does not fit int16.
    """
    pcm_ST = pcm.to_int16(sources_ST)
    pcm.to_int16(pcm.to_float(pcm_ST, np.float64).sum(axis=0))
    return pcm_ST
