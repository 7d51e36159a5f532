"""Background sounds made by rule: `name(synth)` -> a steady sound [T] of 6 to 10 s.

Motors are harmonics of a wandering speed in coloured noise; water and frying are crowds of small
events. Each recording draws its own speed, spectrum, rates. The public functions are the classes.
"""

import numpy as np

from data_prep.synthesis import Synthesizer, normalised, overlay


def _humps(synth, low, high, *, depth=8.0, slope=0.0):
    """A response [(Hz, dB)]: noise from `low` to `high` Hz with random humps, falling outside."""
    low, high, slope = synth.drawn(low), synth.drawn(high), synth.drawn(slope)
    place_N = np.geomspace(low, high, 5)
    level_N = synth.uniform(-depth, 0, 5) - slope * np.log2(place_N / low)
    inside = list(zip(place_N, level_N))
    return [(low / 4, level_N[0] - 24), *inside, (high * 4, level_N[-1] - 30)]


def _motor(synth, samples, *, speed, drift, harmonics, slope):
    """Harmonics of `speed` [Hz], which wanders by the share `drift`; RMS 1."""
    speed = synth.log_uniform(*speed) if isinstance(speed, tuple) else speed
    slope = synth.drawn(slope)
    wander_T = synth.wander(samples, per_second=synth.uniform(0.5, 3))
    gain_H = synth.rolloff(harmonics, slope, roughness=8)
    return synth.oscillator(speed * (1 + drift * wander_T), gain_H, random_phases=True)


def _mixed(synth, tone_T, noise_T, tone_db):
    """Tone and noise of RMS 1 each, the tone drawn from `tone_db` (low, high) above the noise."""
    return 10 ** (synth.uniform(*tone_db) / 20) * tone_T + noise_T


def _bubbles(synth, samples, *, per_second, low, high):
    """Bubbles: short sines that rise while they die away, quieter the smaller they are; RMS 1."""
    sounds = []
    per_second = synth.log_uniform(*per_second)
    low, high = synth.drawn(low), synth.drawn(high)
    time_T = np.arange(synth.samples(0.06)) / synth.sample_rate
    for start in synth.poisson(samples, per_second):
        frequency = synth.log_uniform(low, high)
        damping = 0.13 * frequency + 0.0072 * frequency**1.5  # of a bubble in water
        part_T = time_T[: int(5 * synth.sample_rate / damping) + 2]
        phase_T = 2 * np.pi * frequency * (1 + synth.uniform(0, 0.1) * damping * part_T) * part_T
        gain = synth.uniform() ** 2 * (low / frequency) ** 0.5
        sounds.append((start, gain * np.exp(-damping * part_T) * np.sin(phase_T)))
    return normalised(overlay(samples, sounds))


def vacuum_cleaner(synth: Synthesizer) -> np.ndarray:
    """A fast motor under the roar of the air it moves."""
    samples = synth.seconds(6, 10)
    motor_T = _motor(synth, samples, speed=(180, 420), drift=0.01, harmonics=40, slope=(2, 6))
    air_T = synth.noise(samples, _humps(synth, (120, 300), (4000, 9000), slope=1.5))
    return _mixed(synth, motor_T, air_T, (-8, 2))


def frying(synth: Synthesizer) -> np.ndarray:
    """Hiss of hot fat and a hail of crackles, each ringing at a pitch of its own."""
    samples = synth.seconds(6, 10)
    hiss_T = synth.noise(samples, _humps(synth, 2000, 12000, depth=5))
    clicks_T = np.zeros(samples)
    starts = synth.poisson(samples, synth.log_uniform(60, 300))
    force_N = synth.log_uniform(0.2, 1.5, len(starts))
    clicks_T[starts] = force_N * synth.rng.choice([-1, 1], len(starts))
    fat = [(place, 0.25 * place, 1.0) for place in synth.log_uniform(1500, 11000, 5)]
    crackle_T = normalised(synth.resonate(clicks_T, fat))
    return _mixed(synth, crackle_T, hiss_T, (-9, -1))


def running_water(synth: Synthesizer) -> np.ndarray:
    """A tap: bright splashing noise and many small bubbles."""
    samples = synth.seconds(6, 10)
    splash_T = synth.noise(samples, _humps(synth, (500, 1200), 9000))
    splash_T *= 1 + 0.2 * synth.wander(samples, per_second=12)
    bubbles_T = _bubbles(synth, samples, per_second=(150, 400), low=(500, 1100), high=(3000, 6000))
    return _mixed(synth, bubbles_T, splash_T, (-6, 2))


def mechanical_fan(synth: Synthesizer) -> np.ndarray:
    """Slow blades: soft low noise that they modulate, and a quiet hum."""
    samples = synth.seconds(6, 10)
    wind_T = synth.noise(samples, _humps(synth, 60, (500, 1500), slope=(2, 5)))
    blades_T = np.full(samples, synth.log_uniform(14, 45))
    wind_T *= 1 + synth.uniform(0.1, 0.4) * np.sin(
        2 * np.pi * np.cumsum(blades_T) / synth.sample_rate
    )
    hum_T = _motor(
        synth,
        samples,
        speed=synth.rng.choice([50.0, 60.0]) * synth.rng.choice([1, 2]),
        drift=0.002,
        harmonics=8,
        slope=(4, 10),
    )
    return _mixed(synth, hum_T, wind_T, (-14, -4))


def pink_noise(synth: Synthesizer) -> np.ndarray:
    """Noise that falls by about 3 dB an octave."""
    slope = synth.uniform(2.4, 3.6)
    response = [(25 * 2.0**k, -slope * k) for k in range(11)]
    return synth.noise(synth.seconds(6, 10), response)


def waterfall(synth: Synthesizer) -> np.ndarray:
    """Falling water: a rumble, the body of the roar, and spray, each wavering by itself."""
    samples = synth.seconds(6, 10)
    middle = synth.log_uniform(400, 1200)
    roar_T = np.zeros(samples)
    for place, level in ((middle / 6, (-4, 4)), (middle, (0, 3)), (6 * middle, (-14, -4))):
        band = [(place / 8, -36), (place / 2, -3), (place, 0), (2 * place, -3), (8 * place, -30)]
        waver_T = 1 + 0.2 * synth.wander(samples, per_second=synth.uniform(2, 6))
        gain = 10 ** (synth.uniform(*level) / 20)
        roar_T += gain * waver_T * synth.noise(samples, band)
    return roar_T
