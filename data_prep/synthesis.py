"""Building blocks of the synthetic sounds: slow curves, noises, oscillators, ringing bodies.

All random numbers come from the generator that a `Synthesizer` is given; nothing else varies, so
the same generator gives the same samples.
"""

from collections.abc import Iterable, Sequence
import dataclasses

import numpy as np
import scipy

_TABLE = 8192  # samples of one period of an oscillator
_HIGHEST = 0.45  # of the sample rate: partials above it are left out

Curve = Sequence[tuple[float, float]]


def curve(samples: int, points: Curve) -> np.ndarray:
    """Piecewise linear curve [T] through (place in 0..1, value)."""
    places, values = zip(*points)
    return np.interp(np.linspace(0.0, 1.0, samples), places, values)


def overlay(samples: int, sounds: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Sums (first sample, sound) into one signal [T]; what goes beyond its end is cut."""
    sum_T = np.zeros(samples)
    for start, sound_T in sounds:
        part_T = sum_T[start : start + len(sound_T)]
        part_T += sound_T[: len(part_T)]
    return sum_T


def normalised(signal_T: np.ndarray) -> np.ndarray:
    """The signal [T] scaled to RMS 1."""
    return signal_T / np.sqrt(np.mean(signal_T**2))


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


@dataclasses.dataclass
class Synthesizer:
    """What one sound is made with.

    Attributes:
        rng: draws all random numbers.
        sample_rate: [Hz].
    """

    rng: np.random.Generator
    sample_rate: int

    def uniform(self, low: float = 0.0, high: float = 1.0, size=None):
        """Numbers in [low, high)."""
        return self.rng.uniform(low, high, size)

    def log_uniform(self, low: float, high: float, size=None):
        """Numbers in [low, high) whose logarithm is uniform, as befits frequencies, durations."""
        return np.exp(self.rng.uniform(np.log(low), np.log(high), size))

    def drawn(self, value: float | tuple[float, float]) -> float:
        """A number as it is, or drawn from (low, high)."""
        return self.uniform(*value) if isinstance(value, tuple) else value

    def samples(self, seconds: float) -> int:
        """How many samples some seconds are."""
        return int(seconds * self.sample_rate)

    def seconds(self, low: float, high: float) -> int:
        """A duration drawn from [low, high) seconds, in samples."""
        return self.samples(self.rng.uniform(low, high))

    def poisson(self, samples: int, per_second: float) -> np.ndarray:
        """First samples [N] of events that happen independently, `per_second` on average."""
        count = self.rng.poisson(per_second * samples / self.sample_rate)
        return np.sort(self.rng.integers(0, samples, count))

    def wander(self, samples: int, *, per_second: float) -> np.ndarray:
        """A slow random curve [T] in -1..1 that turns about `per_second` times a second."""
        knots = self.rng.uniform(-1.0, 1.0, int(samples / self.sample_rate * per_second) + 3)
        place_T = np.arange(samples) * (per_second / self.sample_rate) + self.rng.uniform()
        before_T = place_T.astype(np.int64)
        blend_T = 0.5 - 0.5 * np.cos(np.pi * (place_T - before_T))
        return knots[before_T] * (1.0 - blend_T) + knots[before_T + 1] * blend_T

    def noise(self, samples: int, response_db: Curve = ((100.0, 0.0),)) -> np.ndarray:
        """Gaussian noise of a given spectrum.

        Args:
            samples: T.
            response_db: (frequency [Hz], level [dB]) in rising order, joined by straight lines
                over the logarithm of the frequency; the ends continue as constants.
        Returns:
            Noise [T] of RMS 1.
        """
        length = scipy.fft.next_fast_len(samples, real=True)
        frequency_F = np.maximum(scipy.fft.rfftfreq(length, 1.0 / self.sample_rate), 1.0)
        places, levels = zip(*response_db)
        gain_F = 10.0 ** (np.interp(np.log(frequency_F), np.log(places), levels) / 20.0)
        gain_F *= frequency_F > 15.0  # nothing that a loudspeaker does not play
        spectrum_F = gain_F * scipy.fft.rfft(self.rng.standard_normal(length))
        return normalised(scipy.fft.irfft(spectrum_F, length)[:samples])

    def click(self, decay: float, response_db: Curve = ((100.0, 0.0),)) -> np.ndarray:
        """A burst of noise [T] that dies away by 60 dB in `decay` seconds."""
        samples = self.samples(decay) + 1
        time_T = np.arange(samples) / self.sample_rate
        return np.exp(-6.908 / decay * time_T) * self.noise(samples, response_db)

    def rolloff(self, count: int, slope_db: float, *, roughness: float = 0.0) -> np.ndarray:
        """Amplitudes [H] that fall by `slope_db` an octave, each off by +-`roughness` dB."""
        level_H = -slope_db * np.log2(np.arange(1, count + 1))
        if roughness:
            level_H = level_H + self.rng.uniform(-roughness, roughness, count)
        return 10.0 ** (level_H / 20.0)

    def oscillator(
        self, frequency_T: np.ndarray, gain_H: np.ndarray, *, random_phases: bool = False
    ) -> np.ndarray:
        """A periodic wave of varying frequency.

        Args:
            frequency_T: fundamental at every sample [T] [Hz].
            gain_H: amplitude of each harmonic [H]; those that would alias are left out.
            random_phases: of the harmonics; else they are aligned, which makes pulses.
        Returns:
            The wave [T], of RMS 1 over a period.
        """
        number_H = np.arange(1, len(gain_H) + 1)
        phase_H = self.rng.uniform(0, 2 * np.pi, len(gain_H)) if random_phases else 0.0 * gain_H
        spectrum_F = np.zeros(_TABLE // 2 + 1, np.complex128)
        heard_H = number_H * frequency_T.max() < _HIGHEST * self.sample_rate
        spectrum_F[number_H[heard_H]] = (gain_H * np.exp(1j * phase_H))[heard_H]
        table = normalised(scipy.fft.irfft(spectrum_F, _TABLE))
        place_T = np.cumsum(frequency_T / self.sample_rate) % 1.0 * _TABLE
        before_T = place_T.astype(np.int64)
        after_T = (before_T + 1) % _TABLE
        before_T %= _TABLE
        return table[before_T] + (place_T - before_T) * (table[after_T] - table[before_T])

    def voice(
        self, frequency_T: np.ndarray, harmonics: int, *, slope_db: float, breath: float
    ) -> np.ndarray:
        """Pulses [T] whose harmonics fall by `slope_db` an octave, and noise of RMS `breath`."""
        pulses_T = self.oscillator(frequency_T, self.rolloff(harmonics, slope_db))
        return pulses_T + breath * self.noise(len(frequency_T))

    def mouth(
        self, source_T: np.ndarray, formants: Iterable[float], *, size: float = 1.0
    ) -> np.ndarray:
        """A voice [T] through formants [Hz]; a `size` above 1 is a smaller mouth."""
        resonances = [
            (frequency * size, (60 + 0.05 * frequency) * size, gain)
            for frequency, gain in zip(formants, (1.0, 0.6, 0.3, 0.12))
        ]
        return self.resonate(source_T, resonances, direct=0.02)

    def resonate(
        self,
        signal_T: np.ndarray,
        resonances: Iterable[tuple[float, float, float]],
        *,
        direct: float = 0.0,
    ) -> np.ndarray:
        """The sum of resonators in parallel, as of a mouth or a wooden body.

        Args:
            signal_T: what excites them [T].
            resonances: (frequency [Hz], bandwidth [Hz], gain) of each; too high ones are left out.
            direct: gain of the signal itself beside them.
        Returns:
            The sum [T].
        """
        sum_T = direct * signal_T
        for frequency, bandwidth, gain in resonances:
            if frequency < _HIGHEST * self.sample_rate:
                b, a = scipy.signal.iirpeak(frequency, frequency / bandwidth, self.sample_rate)
                sum_T = sum_T + gain * scipy.signal.lfilter(b, a, signal_T)
        return sum_T

    def modes(
        self, count: int, frequency: tuple[float, float], width: tuple[float, float]
    ) -> list[tuple[float, float, float]]:
        """(frequency [Hz], decay or bandwidth, gain) of so many, drawn from (low, high)."""
        return [
            (self.log_uniform(*frequency), self.uniform(*width), self.uniform(0.3, 1))
            for _ in range(count)
        ]

    def ring(self, modes: Iterable[tuple[float, float, float]], samples: int) -> np.ndarray:
        """What a body does after a blow: decaying sines [T] of random phase.

        Args:
            modes: (frequency [Hz], decay by 60 dB [s], gain) of each; too high ones are left out.
            samples: T.
        """
        time_T = np.arange(samples) / self.sample_rate
        sum_T = np.zeros(samples)
        for frequency, decay, gain in modes:
            phase = self.rng.uniform(0.0, 2.0 * np.pi)
            if frequency < _HIGHEST * self.sample_rate:
                wave_T = np.sin(2.0 * np.pi * frequency * time_T + phase)
                sum_T += gain * np.exp(-6.908 / decay * time_T) * wave_T
        return sum_T
