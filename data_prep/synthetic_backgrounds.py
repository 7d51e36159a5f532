"""Background sounds made by rule: `name(synth)` -> a steady sound [T] of 6 to 10 s.

Motors are harmonics of a wandering speed in coloured noise; water and frying are crowds of small
events. Each recording draws its own speed, spectrum, rates. The public functions are the classes.
"""

import numpy as np

from data_prep.synthesis import Synthesizer, normalised, overlay


def _humps(synth, low, high, *, count=5, depth=8.0, slope=0.0):
    """A response [(Hz, dB)]: noise from `low` to `high` Hz with random humps, falling outside."""
    low, high, slope = synth.drawn(low), synth.drawn(high), synth.drawn(slope)
    place_N = np.geomspace(low, high, count)
    level_N = synth.uniform(-depth, 0, count) - slope * np.log2(place_N / low)
    inside = list(zip(place_N, level_N))
    return [(low / 4, level_N[0] - 24), *inside, (high * 4, level_N[-1] - 30)]


def _motor(synth, samples, *, speed, drift, harmonics, slope, roughness=8.0):
    """Harmonics of `speed` [Hz], which wanders by the share `drift`; RMS 1."""
    speed = synth.log_uniform(*speed) if isinstance(speed, tuple) else speed
    slope = synth.drawn(slope)
    wander_T = synth.wander(samples, per_second=synth.uniform(0.5, 3))
    gain_H = synth.rolloff(harmonics, slope, roughness=roughness)
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


def blender(synth: Synthesizer) -> np.ndarray:
    """A loud motor whose speed gives way to what the knife hits, many times a second."""
    samples = synth.seconds(6, 10)
    motor_T = _motor(synth, samples, speed=(110, 260), drift=0.05, harmonics=60, slope=(1, 4))
    chunks_T = synth.noise(samples, _humps(synth, 500, 6000))
    chunks_T *= 1 + 0.8 * synth.wander(samples, per_second=synth.uniform(25, 60))
    return _mixed(synth, motor_T, chunks_T, (2, 8))


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


def bathtub(synth: Synthesizer) -> np.ndarray:
    """A tub that fills: big bubbles in deep water, dull noise, slow sloshing."""
    samples = synth.seconds(6, 10)
    dull_T = synth.noise(samples, _humps(synth, (150, 300), (1500, 3500), slope=2))
    dull_T *= 1 + 0.25 * synth.wander(samples, per_second=2)
    bubbles_T = _bubbles(synth, samples, per_second=(120, 300), low=250, high=1600)
    return _mixed(synth, bubbles_T, dull_T, (-2, 4))


def electric_shaver_toothbrush(synth: Synthesizer) -> np.ndarray:
    """A small vibrating armature: one steady buzz, rich in harmonics, with little noise."""
    samples = synth.seconds(6, 10)
    buzz_T = _motor(
        synth, samples, speed=(90, 280), drift=0.004, harmonics=90, slope=(-1, 3), roughness=10
    )
    body = [(synth.log_uniform(800, 8000), 600, 1.0) for _ in range(3)]
    buzz_T = normalised(synth.resonate(buzz_T, body, direct=0.3))
    whirr_T = synth.noise(samples, _humps(synth, 1500, 9000))
    return _mixed(synth, buzz_T, whirr_T, (8, 18))


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


def microwave_oven(synth: Synthesizer) -> np.ndarray:
    """The transformer's hum, twice the mains and its multiples, and the cooling air."""
    samples = synth.seconds(6, 10)
    hum_T = _motor(
        synth,
        samples,
        speed=synth.rng.choice([100.0, 120.0]),
        drift=0.0008,
        harmonics=25,
        slope=(4, 8),
        roughness=10,
    )
    air_T = synth.noise(samples, _humps(synth, 200, (2000, 4000), slope=(1, 4)))
    return _mixed(synth, hum_T, air_T, (3, 10))


def hair_dryer(synth: Synthesizer) -> np.ndarray:
    """A jet of air, brightest at 1 to 6 kHz, with the whine of a small turbine."""
    samples = synth.seconds(6, 10)
    middle = synth.log_uniform(900, 3500)
    jet_T = synth.noise(
        samples,
        [
            (80, -30),
            (middle / 4, synth.uniform(-15, -8)),
            (middle, 0),
            (2.5 * middle, synth.uniform(-8, -2)),
            (22000, synth.uniform(-40, -25)),
        ],
    )
    whine_T = _motor(synth, samples, speed=(380, 1100), drift=0.006, harmonics=6, slope=(2, 8))
    return _mixed(synth, whine_T, jet_T, (-14, -3))


def drill(synth: Synthesizer) -> np.ndarray:
    """A geared motor under load: high harmonics, a speed that sags, rough at the bit's rate."""
    samples = synth.seconds(6, 10)
    gears_T = _motor(synth, samples, speed=(350, 900), drift=0.06, harmonics=24, slope=(-1, 3))
    bit_T = 2 * np.pi * synth.log_uniform(25, 80) / synth.sample_rate * np.arange(samples)
    rough_T = 1 + synth.uniform(0.3, 0.8) * np.sin(bit_T)
    grit_T = synth.noise(samples, _humps(synth, 1000, 10000))
    return rough_T * _mixed(synth, gears_T, grit_T, (0, 8))


def noise(synth: Synthesizer) -> np.ndarray:
    """Noise of no particular origin: a few broad humps anywhere, swelling a little."""
    samples = synth.seconds(6, 10)
    low = synth.log_uniform(80, 800)
    steady_T = synth.noise(
        samples, _humps(synth, low, low * synth.log_uniform(4, 20), count=4, depth=15)
    )
    return steady_T * (1 + 0.15 * synth.wander(samples, per_second=1))


def pink_noise(synth: Synthesizer) -> np.ndarray:
    """Noise that falls by about 3 dB an octave."""
    slope = synth.uniform(2.4, 3.6)
    response = [(25 * 2.0**k, -slope * k) for k in range(11)]
    return synth.noise(synth.seconds(6, 10), response)


def white_noise(synth: Synthesizer) -> np.ndarray:
    """Flat noise, a little tilted and rolled off by whatever recorded it."""
    edge, tilt = synth.log_uniform(7000, 30000), synth.uniform(-0.6, 0.6)  # [Hz], [dB / octave]
    top = tilt * np.log2(edge / 50)
    response = [(50, 0), (edge, top), (2 * edge, top - synth.uniform(6, 30))]
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


def vibration(synth: Synthesizer) -> np.ndarray:
    """A table or a window that a machine shakes: a low buzz, and a rattle at every swing."""
    samples = synth.seconds(6, 10)
    wander_T = synth.wander(samples, per_second=synth.uniform(0.5, 2))
    speed_T = synth.log_uniform(22, 75) * (1 + 0.01 * wander_T)
    gain_H = synth.rolloff(14, synth.uniform(3, 7), roughness=8)
    buzz_T = synth.oscillator(speed_T, gain_H, random_phases=True)
    swing_T = np.sin(2 * np.pi * np.cumsum(speed_T) / synth.sample_rate)
    rattle_T = synth.noise(samples, _humps(synth, 300, 4000, depth=15))
    rattle_T *= np.maximum(swing_T - synth.uniform(0, 0.7), 0)
    return _mixed(synth, buzz_T, normalised(rattle_T), (0, 10))
