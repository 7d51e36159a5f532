"""Foreground sounds made by rule: `name(synth)` -> one event [T] of 0.15 to 2 s.

Each draws what makes one recording differ from the next (size, pitch, material, rhythm) from its
generator. They resemble their models as a sketch does: where the energy lies in time and
frequency is right, the timbre is simple. The public functions are the classes.
"""

import numpy as np

from data_prep.synthesis import Synthesizer, curve, overlay

# The first three formants of some vowels, of an adult male voice [Hz].
_VOWELS = {
    'a': (730, 1090, 2440),
    'e': (530, 1840, 2480),
    'i': (270, 2290, 3010),
    'o': (570, 840, 2410),
    'u': (300, 870, 2240),
    'er': (490, 1350, 1690),
}


def dog(synth: Synthesizer) -> np.ndarray:
    """One to four barks: a voice that rises and falls within 0.2 s, rough, open-mouthed."""
    size = synth.log_uniform(0.6, 1.6)  # of the mouth: a big dog has 0.6
    pitch = 330 * size * synth.log_uniform(0.85, 1.2)
    gap = synth.uniform(0.12, 0.25)
    slope = synth.uniform(3, 9)
    sounds, start = [], 0
    for _ in range(synth.rng.integers(1, 5)):
        samples = synth.seconds(0.15, 0.27)
        top = synth.uniform(1.3, 1.9)
        frequency_T = pitch * curve(samples, [(0, 1), (0.3, top), (1, synth.uniform(0.6, 0.9))])
        frequency_T *= 1 + 0.06 * synth.wander(samples, per_second=90)
        voice_T = synth.voice(frequency_T, 60, slope_db=slope, breath=synth.uniform(0.1, 0.5))
        bark_T = synth.mouth(voice_T, (620, 1250, 2600, 3900), size=size)
        sounds.append((start, bark_T * curve(samples, [(0, 0), (0.12, 1), (0.5, 0.7), (1, 0)])))
        start += samples + synth.samples(gap * synth.uniform(0.8, 1.2))
    return overlay(sounds[-1][0] + len(sounds[-1][1]), sounds)


def cat(synth: Synthesizer) -> np.ndarray:
    """A meow: one long glide of pitch while the mouth opens and closes."""
    samples = synth.seconds(0.45, 1.3)
    pitch = synth.log_uniform(350, 750)
    peak, top = synth.uniform(0.2, 0.6), synth.uniform(1.15, 1.7)
    frequency_T = pitch * curve(samples, [(0, 1), (peak, top), (1, synth.uniform(0.7, 1.0))])
    time_T = np.arange(samples) / synth.sample_rate
    vibrato = synth.uniform(0.005, 0.03)
    frequency_T *= 1 + vibrato * np.sin(2 * np.pi * synth.uniform(5, 9) * time_T)
    voice_T = synth.voice(
        frequency_T, 40, slope_db=synth.uniform(2, 7), breath=synth.uniform(0.02, 0.12)
    )
    size = synth.uniform(1.3, 1.8)
    shut, opening = synth.uniform(0.05, 0.2), synth.uniform(0.3, 0.6)
    weights = {
        'i': curve(samples, [(0, 1), (shut, 1), (opening, 0)]),
        'a': curve(samples, [(0, 0), (shut, 0), (opening, 1), (0.75, 1), (1, 0)]),
        'u': curve(samples, [(0, 0), (0.75, 0), (1, 1)]),
    }
    meow_T = sum(
        weight_T * synth.mouth(voice_T, _VOWELS[vowel], size=size)
        for vowel, weight_T in weights.items()
    )
    return meow_T * curve(samples, [(0, 0), (0.2, 0.8), (0.5, 1), (1, 0)]) ** 2


def speech(synth: Synthesizer) -> np.ndarray:
    """Babble: syllables of a consonant and a vowel, spoken by a voice of its own."""
    low = synth.uniform() < 0.5
    pitch = synth.log_uniform(85, 145) if low else synth.log_uniform(165, 270)
    size = synth.uniform(0.95, 1.08) if low else synth.uniform(1.1, 1.28)
    pace = synth.uniform(0.13, 0.19)  # of a syllable [s]
    slope, breath = synth.uniform(3, 7), synth.uniform(0.02, 0.1)
    sounds, start = [], 0
    count = synth.rng.integers(3, 7)
    for number in range(count):
        samples = synth.samples(pace * synth.uniform(0.7, 1.3))
        melody = pitch * (1.12 - 0.25 * number / count) * synth.uniform(0.92, 1.12)
        ends = synth.uniform(0.88, 1.12, 2)
        frequency_T = melody * curve(samples, [(0, ends[0]), (0.4, 1), (1, ends[1])])
        frequency_T *= 1 + 0.004 * synth.wander(samples, per_second=60)
        voice_T = synth.voice(frequency_T, 100, slope_db=slope, breath=breath)
        first, second = synth.rng.choice(list(_VOWELS), 2)
        blend_T = curve(samples, [(0, 0), (0.3, 0), (0.8, 1), (1, 1)])
        vowel_T = (1 - blend_T) * synth.mouth(voice_T, _VOWELS[first], size=size)
        vowel_T += blend_T * synth.mouth(voice_T, _VOWELS[second], size=size)
        vowel_T *= curve(samples, [(0, 0), (0.2, 1), (0.6, 0.8), (1, 0)]) ** 2
        sounds.append((start, synth.uniform(0.6, 1.2) * vowel_T))
        if synth.uniform() < 0.7:  # a fricative or a plosive before it
            place = synth.log_uniform(1500, 6500)
            spectrum = ((place / 3, -40), (place, 0), (2 * place, -12), (4 * place, -40))
            hiss_T = synth.click(synth.uniform(0.03, 0.16), spectrum)
            level = synth.uniform(0.1, 0.6) * np.abs(vowel_T).max() / np.abs(hiss_T).max()
            sounds.append((max(start - len(hiss_T) // 3, 0), level * hiss_T))
        start += samples + synth.samples(synth.uniform(0, 0.08))
    return overlay(start, sounds)


def dishes(synth: Synthesizer) -> np.ndarray:
    """Plates, glasses and cutlery that knock together: two to eight blows on stiff bodies."""
    sounds, start = [], 0
    bodies = [  # frequency of the lowest mode [Hz], decay [s]
        (synth.log_uniform(700, 3200), synth.log_uniform(0.06, 0.4))
        for _ in range(synth.rng.integers(1, 4))
    ]
    ratio = synth.uniform(1.8, 2.7)  # of neighbouring modes, by material
    for _ in range(synth.rng.integers(2, 9)):
        lowest, decay = bodies[synth.rng.integers(len(bodies))]
        modes = [
            (lowest * ratio**k * synth.uniform(0.97, 1.03), decay / (1 + 0.5 * k), synth.uniform())
            for k in np.arange(0, 3, 0.5)
        ]
        blow_T = synth.ring(modes, synth.samples(1.1 * decay))
        knock_T = synth.click(0.012, ((500, -20), (3000, 0), (12000, -6)))
        force = synth.log_uniform(0.25, 1)
        sounds += [(start, force * blow_T), (start, 0.3 * force * knock_T)]
        start += synth.samples(synth.log_uniform(0.04, 0.3))
    return overlay(min(start + synth.samples(0.2), synth.samples(1.9)), sounds)


def alarm_bell_ringing(synth: Synthesizer) -> np.ndarray:
    """A bell that a hammer strikes 12 to 28 times a second, or an alarm that beeps."""
    samples = synth.seconds(0.8, 1.9)
    if synth.uniform() < 0.5:
        lowest, decay = synth.log_uniform(600, 2200), synth.uniform(0.15, 0.6)
        ratios = np.array([1.0, 1.51, 2.0, 2.74, 3.76, 4.52]) * synth.uniform(0.97, 1.03, 6)
        gains = synth.uniform(0.3, 1, 6)
        modes = [(lowest * r, decay / r**0.5, g) for r, g in zip(ratios, gains)]
        step = synth.sample_rate / synth.uniform(12, 28)
        stop = synth.uniform(0.55, 0.8) * samples  # the last blow; then the bell dies away
        blow_T = synth.ring(modes, synth.samples(decay))
        sounds = [
            (int(start + synth.uniform(0, 0.1) * step), synth.uniform(0.7, 1) * blow_T)
            for start in np.arange(0, stop, step)
        ]
        return overlay(samples, sounds)
    high = synth.log_uniform(900, 3300)
    low = high * synth.rng.choice([1.0, 0.75, 0.8, 0.84])
    beep, gap = synth.uniform(0.06, 0.25), synth.uniform(0.05, 0.2)
    gain_H = synth.rolloff(12, synth.uniform(4, 14), roughness=6)
    gain_H[1::2] *= synth.uniform(0, 0.5)
    sounds, length = [], synth.samples(beep)
    for number, start in enumerate(range(0, samples - length, synth.samples(beep + gap))):
        frequency_T = np.full(length, (high, low)[number % 2])
        beep_T = synth.oscillator(frequency_T, gain_H)
        sounds.append((start, beep_T * curve(length, [(0, 0), (0.05, 1), (0.9, 1), (1, 0)])))
    return overlay(sounds[-1][0] + length, sounds)


def doorbell(synth: Synthesizer) -> np.ndarray:
    """Two or three chimes, one after the other, each a struck bar of its own pitch."""
    pitch = synth.log_uniform(350, 1000)
    steps = [0, *synth.rng.choice([-7, -5, -4, -3, 4, 5], synth.rng.integers(1, 3), replace=False)]
    decay, gap = synth.uniform(0.5, 1.6), synth.uniform(0.25, 0.5)
    partials = [
        (1.0, 1.0, 1.0),
        (2.0, 0.6, synth.uniform(0.1, 0.5)),
        (2.76, 0.4, synth.uniform(0.1, 0.6)),
        (5.4, 0.2, synth.uniform(0.05, 0.3)),
    ]
    sounds = []
    for number, step in enumerate(steps):
        note = pitch * 2 ** (step / 12)
        modes = [(note * ratio, decay * share, gain) for ratio, share, gain in partials]
        chime_T = synth.ring(modes, synth.samples(decay))
        start = synth.samples(number * gap)
        sounds += [(start, chime_T), (start, 0.1 * synth.click(0.01))]
    samples = synth.samples((len(steps) - 1) * gap + 0.8 * decay)
    return overlay(min(samples, synth.samples(1.9)), sounds)


def squeak(synth: Synthesizer) -> np.ndarray:
    """One to three squeaks: something sticks and slips, ever faster or slower, on a thin body."""
    body = synth.modes(3, (900, 7000), (80, 400))
    pitch = synth.log_uniform(500, 2400)
    sounds, start = [], 0
    for _ in range(synth.rng.integers(1, 4)):
        samples = synth.seconds(0.15, 0.45)
        bends = synth.log_uniform(0.7, 1.5, 3)
        frequency_T = pitch * curve(samples, [(0, bends[0]), (0.5, bends[1]), (1, bends[2])])
        frequency_T *= 1 + 0.05 * synth.wander(samples, per_second=200)
        slip_T = synth.oscillator(frequency_T, synth.rolloff(30, 6))
        slip_T *= 1 + 0.5 * synth.wander(samples, per_second=50)
        squeak_T = synth.resonate(slip_T, body, direct=0.3)
        swell_T = curve(samples, [(0, 0), (0.2, 1), (0.7, 0.6), (1, 0)])
        sounds.append((start, squeak_T * swell_T**2))
        start += samples + synth.seconds(0.05, 0.2)
    return overlay(sounds[-1][0] + len(sounds[-1][1]), sounds)


def chopping_food(synth: Synthesizer) -> np.ndarray:
    """A knife through something crisp onto a board, three to seven times, evenly."""
    board = synth.modes(5, (120, 1100), (0.03, 0.12))
    step = synth.uniform(0.13, 0.32)
    crisp, place = synth.uniform(0.1, 0.6), synth.log_uniform(1500, 5000)
    spectrum = ((place / 4, -25), (place, 0), (3 * place, -15))
    sounds = []
    count = min(synth.rng.integers(3, 8), int(1.7 / step))
    for number in range(count):
        start = int((number + synth.uniform(0.1, 0.25)) * step * synth.sample_rate)
        force = synth.uniform(0.5, 1)
        thud_T = synth.ring(board, synth.samples(0.12))
        knock_T = synth.click(0.02, ((200, 0), (3000, -10), (10000, -25)))
        cut_T = synth.click(synth.uniform(0.03, 0.07), spectrum)
        sounds += [(start, force * thud_T), (start, 0.6 * force * knock_T)]
        sounds.append((max(start - len(cut_T) // 2, 0), crisp * force * cut_T[::-1]))
    return overlay(int((count + 0.3) * step * synth.sample_rate), sounds)


def door(synth: Synthesizer) -> np.ndarray:
    """Hinges that creak, pulse by pulse, faster or slower; then the latch."""
    samples = synth.seconds(0.5, 1.4)
    rate = synth.log_uniform(18, 70)
    frequency_T = rate * curve(samples, list(zip((0, 0.5, 1), synth.log_uniform(0.5, 2, 3))))
    frequency_T *= 1 + 0.4 * synth.wander(samples, per_second=25)
    slips_T = np.diff(np.floor(np.cumsum(frequency_T / synth.sample_rate)), prepend=0.0)
    slips_T *= synth.uniform(0.3, 1, samples)
    wood = synth.modes(5, (250, 3000), (40, 250))
    creak_T = synth.resonate(slips_T, wood)
    creak_T *= curve(samples, [(0, 0.2), (synth.uniform(0.2, 0.8), 1), (1, 0.1)])
    creak_T /= np.abs(creak_T).max()
    sounds = [(0, creak_T)]
    gap = synth.seconds(0.03, 0.12)
    for start in samples + gap * np.arange(synth.rng.integers(1, 3)):
        lock = [(synth.log_uniform(400, 4500), synth.uniform(0.02, 0.08), 0.4) for _ in range(5)]
        sounds.append((start, synth.ring(lock, synth.samples(0.1))))
        sounds.append((start, 0.25 * synth.click(0.02)))
    return overlay(samples + synth.samples(0.3), sounds)


def slam(synth: Synthesizer) -> np.ndarray:
    """One heavy blow: a thump, the panel's low modes, what rattles on it, and the room."""
    samples = synth.seconds(0.35, 0.9)
    lowest = synth.log_uniform(50, 140)
    panel = [
        (lowest * k * synth.uniform(0.9, 1.15), synth.uniform(0.15, 0.5), synth.uniform(0.3, 1) / k)
        for k in range(1, 7)
    ]
    edge = synth.log_uniform(300, 1200)
    dull = ((40, 0), (edge, -3), (4 * edge, -24), (16 * edge, -50))
    sounds = [
        (0, synth.ring(panel, samples)),
        (0, synth.uniform(0.8, 1.6) * synth.click(synth.uniform(0.05, 0.15), dull)),
        (0, synth.uniform(0.2, 0.6) * synth.click(0.015)),
        (0, synth.uniform(0.1, 0.3) * synth.click(0.9 * samples / synth.sample_rate, dull)),
    ]
    for _ in range(synth.rng.integers(0, 6)):
        rattle_T = synth.click(0.03, ((400, -20), (1500, 0), (6000, -10)))
        start = synth.seconds(0.03, 0.25)
        sounds.append((start, synth.uniform(0.05, 0.3) * rattle_T))
    return overlay(samples, sounds)


def coins(synth: Synthesizer) -> np.ndarray:
    """Coins that fall and bounce, sooner and softer each time: thin discs that ring high."""
    sounds = []
    for _ in range(synth.rng.integers(1, 4)):
        lowest, decay = synth.log_uniform(3000, 7000), synth.uniform(0.06, 0.35)
        ratios = (1.0, 1.02, 1.73, 2.33, 2.37, 3.91)
        start = synth.uniform(0, 0.3) if sounds else 0.0
        wait, force = synth.uniform(0.1, 0.3), synth.uniform(0.6, 1)
        bounce = synth.uniform(0.6, 0.8)
        while wait > 0.015 and start < 1.6:
            modes = [(lowest * ratio, decay / ratio, synth.uniform(0.2, 1)) for ratio in ratios]
            ring_T = synth.ring(modes, synth.samples(decay))
            tick_T = synth.click(0.006, ((1000, -30), (5000, 0)))
            at = synth.samples(start)
            sounds += [(at, force * ring_T), (at, 0.5 * force * tick_T)]
            start, wait, force = start + wait, wait * bounce, force * bounce
    last = max(start + len(sound_T) for start, sound_T in sounds)
    return overlay(min(last, synth.samples(1.9)), sounds)
