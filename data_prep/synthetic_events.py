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
