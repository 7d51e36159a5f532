"""Building blocks of the synthetic sounds: slow curves, noises, oscillators, ringing bodies.

All random numbers come from the generator that is handed in; nothing else varies, so the same
generator gives the same samples.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import scipy

_TABLE = 8192  # samples of one period of an oscillator
_HIGHEST = 0.45  # of the sample rate: partials above it are left out


def log_uniform(rng: np.random.Generator, low: float, high: float, size=None):
    """Numbers in [low, high) whose logarithm is uniform, as befits frequencies and durations."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def seconds(rng: np.random.Generator, low: float, high: float, sample_rate: int) -> int:
    """A duration drawn from [low, high) seconds, in samples."""
    return int(rng.uniform(low, high) * sample_rate)


def curve(samples: int, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Piecewise linear curve [T] through (place in 0..1, value)."""
    places, values = zip(*points)
    return np.interp(np.linspace(0.0, 1.0, samples), places, values)


def wander(
    rng: np.random.Generator, samples: int, sample_rate: int, *, per_second: float
) -> np.ndarray:
    """A slow random curve [T] in -1..1 that turns about `per_second` times a second."""
    knots = rng.uniform(-1.0, 1.0, int(samples / sample_rate * per_second) + 3)
    place_T = np.arange(samples) * (per_second / sample_rate) + rng.uniform()
    before_T = place_T.astype(np.int64)
    blend_T = 0.5 - 0.5 * np.cos(np.pi * (place_T - before_T))
    return knots[before_T] * (1.0 - blend_T) + knots[before_T + 1] * blend_T


def noise(
    rng: np.random.Generator,
    samples: int,
    sample_rate: int,
    response_db: Sequence[tuple[float, float]] = ((100.0, 0.0),),
) -> np.ndarray:
    """Gaussian noise of a given spectrum.

    Args:
        rng: where the random numbers come from.
        samples: T.
        sample_rate: [Hz].
        response_db: (frequency [Hz], level [dB]) in rising order, joined by straight lines over
            the logarithm of the frequency; the ends continue as constants.

    Returns:
        Noise [T] of RMS 1.
    """
    length = scipy.fft.next_fast_len(samples, real=True)
    frequency_F = np.maximum(scipy.fft.rfftfreq(length, 1.0 / sample_rate), 1.0)
    places, levels = zip(*response_db)
    gain_F = 10.0 ** (np.interp(np.log(frequency_F), np.log(places), levels) / 20.0)
    gain_F *= frequency_F > 15.0  # nothing that a loudspeaker does not play
    spectrum_F = gain_F * scipy.fft.rfft(rng.standard_normal(length))
    noise_T = scipy.fft.irfft(spectrum_F, length)[:samples]
    return noise_T / np.sqrt(np.mean(noise_T**2))


def oscillator(
    frequency_T: np.ndarray,
    gain_H: np.ndarray,
    sample_rate: int,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """A periodic wave of varying frequency.

    Args:
        frequency_T: fundamental at every sample [T] [Hz].
        gain_H: amplitude of each harmonic [H]; those that would alias are left out.
        sample_rate: [Hz].
        rng: draws the harmonics' phases; without it they are aligned, which makes pulses.

    Returns:
        The wave [T], of RMS 1 over a period.
    """
    number_H = np.arange(1, len(gain_H) + 1)
    phase_H = np.zeros(len(gain_H)) if rng is None else rng.uniform(0, 2 * np.pi, len(gain_H))
    spectrum_F = np.zeros(_TABLE // 2 + 1, np.complex128)
    heard_H = number_H * frequency_T.max() < _HIGHEST * sample_rate
    spectrum_F[number_H[heard_H]] = (gain_H * np.exp(1j * phase_H))[heard_H]
    table = scipy.fft.irfft(spectrum_F, _TABLE)
    table /= np.sqrt(np.mean(table**2))
    place_T = np.cumsum(frequency_T / sample_rate) % 1.0 * _TABLE
    before_T = place_T.astype(np.int64)
    after_T = (before_T + 1) % _TABLE
    before_T %= _TABLE
    return table[before_T] + (place_T - before_T) * (table[after_T] - table[before_T])


def rolloff(count: int, slope_db: float, *, roughness=0.0, rng=None) -> np.ndarray:
    """Amplitudes [H] that fall by `slope_db` an octave, each off by +-`roughness` dB."""
    level_H = -slope_db * np.log2(np.arange(1, count + 1))
    if roughness:
        level_H = level_H + rng.uniform(-roughness, roughness, count)
    return 10.0 ** (level_H / 20.0)


def resonate(
    signal_T: np.ndarray,
    resonances: Iterable[tuple[float, float, float]],
    sample_rate: int,
    *,
    direct: float = 0.0,
) -> np.ndarray:
    """The sum of resonators in parallel, as of a mouth or a wooden body.

    Args:
        signal_T: what excites them [T].
        resonances: (frequency [Hz], bandwidth [Hz], gain) of each; too high ones are left out.
        sample_rate: [Hz].
        direct: gain of the signal itself beside them.

    Returns:
        The sum [T].
    """
    sum_T = direct * signal_T
    for frequency, bandwidth, gain in resonances:
        if frequency < _HIGHEST * sample_rate:
            b, a = scipy.signal.iirpeak(frequency, frequency / bandwidth, sample_rate)
            sum_T = sum_T + gain * scipy.signal.lfilter(b, a, signal_T)
    return sum_T


def ring(
    rng: np.random.Generator,
    modes: Iterable[tuple[float, float, float]],
    samples: int,
    sample_rate: int,
) -> np.ndarray:
    """What a body does after a blow: decaying sines [T] of random phase.

    Args:
        rng: draws the phases.
        modes: (frequency [Hz], decay by 60 dB [s], gain) of each; too high ones are left out.
        samples: T.
        sample_rate: [Hz].
    """
    time_T = np.arange(samples) / sample_rate
    sum_T = np.zeros(samples)
    for frequency, decay, gain in modes:
        phase = rng.uniform(0.0, 2.0 * np.pi)
        if frequency < _HIGHEST * sample_rate:
            wave_T = np.sin(2.0 * np.pi * frequency * time_T + phase)
            sum_T += gain * np.exp(-6.908 / decay * time_T) * wave_T
    return sum_T


def click(
    rng: np.random.Generator, decay: float, sample_rate: int, response_db=((100.0, 0.0),)
) -> np.ndarray:
    """A burst of noise [T] that dies away by 60 dB in `decay` seconds."""
    samples = int(decay * sample_rate) + 1
    time_T = np.arange(samples) / sample_rate
    return np.exp(-6.908 / decay * time_T) * noise(rng, samples, sample_rate, response_db)


def place(samples: int, sounds: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Sums (first sample, sound) into one signal [T]; what goes beyond its end is cut."""
    sum_T = np.zeros(samples)
    for start, sound_T in sounds:
        part_T = sum_T[start : start + len(sound_T)]
        part_T += sound_T[: len(part_T)]
    return sum_T


def poisson(
    rng: np.random.Generator, samples: int, sample_rate: int, per_second: float
) -> np.ndarray:
    """First samples [N] of events that happen independently, `per_second` on average."""
    count = rng.poisson(per_second * samples / sample_rate)
    return np.sort(rng.integers(0, samples, count))


def finish(
    signal_T: np.ndarray, sample_rate: int, *, peak: float, fade: float = 0.005
) -> np.ndarray:
    """Mean removed, both ends faded over `fade` seconds, scaled to a peak; [T]."""
    signal_T = signal_T - signal_T.mean()
    length = min(int(fade * sample_rate), len(signal_T) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
    signal_T[:length] *= ramp
    signal_T[len(signal_T) - length :] *= ramp[::-1]
    return signal_T * (peak / np.abs(signal_T).max())
