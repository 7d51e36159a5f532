"""Background sounds made by rule: `name(rng, sample_rate)` -> a steady sound [T] of 6 to 10 s.

Motors are harmonics of a wandering speed in coloured noise; water and frying are crowds of small
events. Each recording draws its own speed, spectrum and rates. `CLASSES` lists them.
"""

import numpy as np

from data_prep import synthesis as syn


def _samples(rng, sample_rate):
    return syn.seconds(rng, 6.0, 10.0, sample_rate)


def _humps(rng, low, high, *, count=5, depth=8.0, slope=0.0):
    """A response [(Hz, dB)]: noise from `low` to `high` Hz with random humps, falling outside."""
    place_N = np.geomspace(low, high, count)
    level_N = rng.uniform(-depth, 0, count) - slope * np.log2(place_N / low)
    inside = list(zip(place_N, level_N))
    return [(low / 4, level_N[0] - 24), *inside, (high * 4, level_N[-1] - 30)]


def _motor(rng, samples, sample_rate, *, speed, drift, harmonics, slope, roughness=8.0):
    """Harmonics of `speed` [Hz], which wanders by the share `drift`; RMS 1."""
    wander_T = syn.wander(rng, samples, sample_rate, per_second=rng.uniform(0.5, 3))
    gain_H = syn.rolloff(harmonics, slope, roughness=roughness, rng=rng)
    return syn.oscillator(speed * (1 + drift * wander_T), gain_H, sample_rate, rng)


def _mixed(rng, tone_T, noise_T, tone_db):
    """Tone and noise of RMS 1 each, the tone drawn from `tone_db` (low, high) above the noise."""
    return 10 ** (rng.uniform(*tone_db) / 20) * tone_T + noise_T


def _bubbles(rng, samples, sample_rate, *, per_second, low, high):
    """Bubbles: short sines that rise while they die away, quieter the smaller they are; RMS 1."""
    sounds = []
    time_T = np.arange(int(0.06 * sample_rate)) / sample_rate
    for start in syn.poisson(rng, samples, sample_rate, per_second):
        frequency = syn.log_uniform(rng, low, high)
        damping = 0.13 * frequency + 0.0072 * frequency**1.5  # of a bubble in water
        part_T = time_T[: int(5 * sample_rate / damping) + 2]
        phase_T = 2 * np.pi * frequency * (1 + rng.uniform(0, 0.1) * damping * part_T) * part_T
        gain = rng.uniform() ** 2 * (low / frequency) ** 0.5
        sounds.append((start, gain * np.exp(-damping * part_T) * np.sin(phase_T)))
    bubbles_T = syn.place(samples, sounds)
    return bubbles_T / np.sqrt(np.mean(bubbles_T**2))


def vacuum_cleaner(rng, sample_rate):
    """A fast motor under the roar of the air it moves."""
    samples = _samples(rng, sample_rate)
    motor_T = _motor(
        rng,
        samples,
        sample_rate,
        speed=syn.log_uniform(rng, 180, 420),
        drift=0.01,
        harmonics=40,
        slope=rng.uniform(2, 6),
    )
    air_T = syn.noise(
        rng,
        samples,
        sample_rate,
        _humps(rng, rng.uniform(120, 300), rng.uniform(4000, 9000), slope=1.5),
    )
    return _mixed(rng, motor_T, air_T, (-8, 2))


def blender(rng, sample_rate):
    """A loud motor whose speed gives way to what the knife hits, many times a second."""
    samples = _samples(rng, sample_rate)
    motor_T = _motor(
        rng,
        samples,
        sample_rate,
        speed=syn.log_uniform(rng, 110, 260),
        drift=0.05,
        harmonics=60,
        slope=rng.uniform(1, 4),
    )
    chunks_T = syn.noise(rng, samples, sample_rate, _humps(rng, 500, 6000))
    chunks_T *= 1 + 0.8 * syn.wander(rng, samples, sample_rate, per_second=rng.uniform(25, 60))
    return _mixed(rng, motor_T, chunks_T, (2, 8))


def frying(rng, sample_rate):
    """Hiss of hot fat and a hail of crackles, each ringing at a pitch of its own."""
    samples = _samples(rng, sample_rate)
    hiss_T = syn.noise(rng, samples, sample_rate, _humps(rng, 2000, 12000, depth=5))
    clicks_T = np.zeros(samples)
    starts = syn.poisson(rng, samples, sample_rate, syn.log_uniform(rng, 60, 300))
    force_N = syn.log_uniform(rng, 0.2, 1.5, len(starts))
    clicks_T[starts] = force_N * rng.choice([-1, 1], len(starts))
    fat = [(place, 0.25 * place, 1.0) for place in syn.log_uniform(rng, 1500, 11000, 5)]
    crackle_T = syn.resonate(clicks_T, fat, sample_rate)
    crackle_T /= np.sqrt(np.mean(crackle_T**2))
    return _mixed(rng, crackle_T, hiss_T, (-9, -1))


def running_water(rng, sample_rate):
    """A tap: bright splashing noise and many small bubbles."""
    samples = _samples(rng, sample_rate)
    splash_T = syn.noise(rng, samples, sample_rate, _humps(rng, rng.uniform(500, 1200), 9000))
    splash_T *= 1 + 0.2 * syn.wander(rng, samples, sample_rate, per_second=12)
    bubbles_T = _bubbles(
        rng,
        samples,
        sample_rate,
        per_second=syn.log_uniform(rng, 150, 400),
        low=rng.uniform(500, 1100),
        high=rng.uniform(3000, 6000),
    )
    return _mixed(rng, bubbles_T, splash_T, (-6, 2))


def bathtub(rng, sample_rate):
    """A tub that fills: big bubbles in deep water, dull noise, slow sloshing."""
    samples = _samples(rng, sample_rate)
    dull_T = syn.noise(
        rng,
        samples,
        sample_rate,
        _humps(rng, rng.uniform(150, 300), rng.uniform(1500, 3500), slope=2),
    )
    dull_T *= 1 + 0.25 * syn.wander(rng, samples, sample_rate, per_second=2)
    bubbles_T = _bubbles(
        rng, samples, sample_rate, per_second=syn.log_uniform(rng, 120, 300), low=250, high=1600
    )
    return _mixed(rng, bubbles_T, dull_T, (-2, 4))


def electric_shaver_toothbrush(rng, sample_rate):
    """A small vibrating armature: one steady buzz, rich in harmonics, with little noise."""
    samples = _samples(rng, sample_rate)
    buzz_T = _motor(
        rng,
        samples,
        sample_rate,
        speed=syn.log_uniform(rng, 90, 280),
        drift=0.004,
        harmonics=90,
        slope=rng.uniform(-1, 3),
        roughness=10,
    )
    body = [(syn.log_uniform(rng, 800, 8000), 600, 1.0) for _ in range(3)]
    buzz_T = syn.resonate(buzz_T, body, sample_rate, direct=0.3)
    buzz_T /= np.sqrt(np.mean(buzz_T**2))
    whirr_T = syn.noise(rng, samples, sample_rate, _humps(rng, 1500, 9000))
    return _mixed(rng, buzz_T, whirr_T, (8, 18))


def mechanical_fan(rng, sample_rate):
    """Slow blades: soft low noise that they modulate, and a quiet hum."""
    samples = _samples(rng, sample_rate)
    wind_T = syn.noise(
        rng, samples, sample_rate, _humps(rng, 60, rng.uniform(500, 1500), slope=rng.uniform(2, 5))
    )
    blades_T = np.full(samples, syn.log_uniform(rng, 14, 45))
    wind_T *= 1 + rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * np.cumsum(blades_T) / sample_rate)
    hum_T = _motor(
        rng,
        samples,
        sample_rate,
        speed=rng.choice([50.0, 60.0]) * rng.choice([1, 2]),
        drift=0.002,
        harmonics=8,
        slope=rng.uniform(4, 10),
    )
    return _mixed(rng, hum_T, wind_T, (-14, -4))


def microwave_oven(rng, sample_rate):
    """The transformer's hum, twice the mains and its multiples, and the cooling air."""
    samples = _samples(rng, sample_rate)
    hum_T = _motor(
        rng,
        samples,
        sample_rate,
        speed=rng.choice([100.0, 120.0]),
        drift=0.0008,
        harmonics=25,
        slope=rng.uniform(4, 8),
        roughness=10,
    )
    air_T = syn.noise(
        rng,
        samples,
        sample_rate,
        _humps(rng, 200, rng.uniform(2000, 4000), slope=rng.uniform(1, 4)),
    )
    return _mixed(rng, hum_T, air_T, (3, 10))


def hair_dryer(rng, sample_rate):
    """A jet of air, brightest at 1 to 6 kHz, with the whine of a small turbine."""
    samples = _samples(rng, sample_rate)
    middle = syn.log_uniform(rng, 900, 3500)
    jet_T = syn.noise(
        rng,
        samples,
        sample_rate,
        [
            (80, -30),
            (middle / 4, rng.uniform(-15, -8)),
            (middle, 0),
            (2.5 * middle, rng.uniform(-8, -2)),
            (22000, rng.uniform(-40, -25)),
        ],
    )
    whine_T = _motor(
        rng,
        samples,
        sample_rate,
        speed=syn.log_uniform(rng, 380, 1100),
        drift=0.006,
        harmonics=6,
        slope=rng.uniform(2, 8),
    )
    return _mixed(rng, whine_T, jet_T, (-14, -3))


def drill(rng, sample_rate):
    """A geared motor under load: high harmonics, a speed that sags, rough at the bit's rate."""
    samples = _samples(rng, sample_rate)
    gears_T = _motor(
        rng,
        samples,
        sample_rate,
        speed=syn.log_uniform(rng, 350, 900),
        drift=0.06,
        harmonics=24,
        slope=rng.uniform(-1, 3),
    )
    bit_T = 2 * np.pi * syn.log_uniform(rng, 25, 80) / sample_rate * np.arange(samples)
    rough_T = 1 + rng.uniform(0.3, 0.8) * np.sin(bit_T)
    grit_T = syn.noise(rng, samples, sample_rate, _humps(rng, 1000, 10000))
    return rough_T * _mixed(rng, gears_T, grit_T, (0, 8))


def noise(rng, sample_rate):
    """Noise of no particular origin: a few broad humps anywhere, swelling a little."""
    samples = _samples(rng, sample_rate)
    low = syn.log_uniform(rng, 80, 800)
    steady_T = syn.noise(
        rng,
        samples,
        sample_rate,
        _humps(rng, low, low * syn.log_uniform(rng, 4, 20), count=4, depth=15),
    )
    return steady_T * (1 + 0.15 * syn.wander(rng, samples, sample_rate, per_second=1))


def pink_noise(rng, sample_rate):
    """Noise that falls by about 3 dB an octave."""
    slope = rng.uniform(2.4, 3.6)
    response = [(25 * 2.0**k, -slope * k) for k in range(11)]
    return syn.noise(rng, _samples(rng, sample_rate), sample_rate, response)


def white_noise(rng, sample_rate):
    """Flat noise, a little tilted and rolled off by whatever recorded it."""
    edge, tilt = syn.log_uniform(rng, 7000, 30000), rng.uniform(-0.6, 0.6)  # [Hz], [dB / octave]
    top = tilt * np.log2(edge / 50)
    response = [(50, 0), (edge, top), (2 * edge, top - rng.uniform(6, 30))]
    return syn.noise(rng, _samples(rng, sample_rate), sample_rate, response)


def waterfall(rng, sample_rate):
    """Falling water: a rumble, the body of the roar, and spray, each wavering by itself."""
    samples = _samples(rng, sample_rate)
    middle = syn.log_uniform(rng, 400, 1200)
    roar_T = np.zeros(samples)
    for place, level in ((middle / 6, (-4, 4)), (middle, (0, 3)), (6 * middle, (-14, -4))):
        band = [(place / 8, -36), (place / 2, -3), (place, 0), (2 * place, -3), (8 * place, -30)]
        waver_T = 1 + 0.2 * syn.wander(rng, samples, sample_rate, per_second=rng.uniform(2, 6))
        gain = 10 ** (rng.uniform(*level) / 20)
        roar_T += gain * waver_T * syn.noise(rng, samples, sample_rate, band)
    return roar_T


def vibration(rng, sample_rate):
    """A table or a window that a machine shakes: a low buzz, and a rattle at every swing."""
    samples = _samples(rng, sample_rate)
    wander_T = syn.wander(rng, samples, sample_rate, per_second=rng.uniform(0.5, 2))
    speed_T = syn.log_uniform(rng, 22, 75) * (1 + 0.01 * wander_T)
    gain_H = syn.rolloff(14, rng.uniform(3, 7), roughness=8, rng=rng)
    buzz_T = syn.oscillator(speed_T, gain_H, sample_rate, rng)
    swing_T = np.sin(2 * np.pi * np.cumsum(speed_T) / sample_rate)
    rattle_T = syn.noise(rng, samples, sample_rate, _humps(rng, 300, 4000, depth=15))
    rattle_T *= np.maximum(swing_T - rng.uniform(0, 0.7), 0)
    return _mixed(rng, buzz_T, rattle_T / np.sqrt(np.mean(rattle_T**2)), (0, 10))


CLASSES = {
    background.__name__: background
    for background in (
        vacuum_cleaner,
        blender,
        frying,
        running_water,
        electric_shaver_toothbrush,
        bathtub,
        mechanical_fan,
        microwave_oven,
        hair_dryer,
        drill,
        noise,
        pink_noise,
        white_noise,
        waterfall,
        vibration,
    )
}
