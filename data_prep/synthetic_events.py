"""Foreground sounds made by rule: `name(rng, sample_rate)` -> one event [T] of 0.15 to 2 s.

Each draws what makes one recording differ from the next (size, pitch, material, rhythm) from its
generator. They resemble their models as a sketch does: where the energy lies in time and
frequency is right, the timbre is simple. `CLASSES` lists them.
"""

import numpy as np

from data_prep import synthesis as syn

# The first three formants of some vowels, of an adult male voice [Hz].
_VOWELS = {
    'a': (730, 1090, 2440),
    'e': (530, 1840, 2480),
    'i': (270, 2290, 3010),
    'o': (570, 840, 2410),
    'u': (300, 870, 2240),
    'er': (490, 1350, 1690),
}


def _mouth(source_T, formants, sample_rate, *, size=1.0):
    """A voice through formants [Hz]; a `size` above 1 is a smaller mouth."""
    gains = (1.0, 0.6, 0.3, 0.12)
    resonances = [
        (frequency * size, (60 + 0.05 * frequency) * size, gain)
        for frequency, gain in zip(formants, gains)
    ]
    return syn.resonate(source_T, resonances, sample_rate, direct=0.02)


def dog(rng, sample_rate):
    """One to four barks: a voice that rises and falls within 0.2 s, rough, open-mouthed."""
    size = syn.log_uniform(rng, 0.6, 1.6)  # of the mouth: a big dog has 0.6
    pitch = 330 * size * syn.log_uniform(rng, 0.85, 1.2)
    gap = rng.uniform(0.12, 0.25)
    slope = rng.uniform(3, 9)
    sounds, start = [], 0
    for _ in range(rng.integers(1, 5)):
        samples = syn.seconds(rng, 0.15, 0.27, sample_rate)
        top = rng.uniform(1.3, 1.9)
        frequency_T = pitch * syn.curve(samples, [(0, 1), (0.3, top), (1, rng.uniform(0.6, 0.9))])
        frequency_T *= 1 + 0.06 * syn.wander(rng, samples, sample_rate, per_second=90)
        voice_T = syn.oscillator(frequency_T, syn.rolloff(60, slope), sample_rate)
        voice_T += rng.uniform(0.1, 0.5) * syn.noise(rng, samples, sample_rate)
        bark_T = _mouth(voice_T, (620, 1250, 2600, 3900), sample_rate, size=size)
        sounds.append((start, bark_T * syn.curve(samples, [(0, 0), (0.12, 1), (0.5, 0.7), (1, 0)])))
        start += samples + int(gap * rng.uniform(0.8, 1.2) * sample_rate)
    return syn.place(sounds[-1][0] + len(sounds[-1][1]), sounds)


def cat(rng, sample_rate):
    """A meow: one long glide of pitch while the mouth opens and closes."""
    samples = syn.seconds(rng, 0.45, 1.3, sample_rate)
    pitch = syn.log_uniform(rng, 350, 750)
    peak, top = rng.uniform(0.2, 0.6), rng.uniform(1.15, 1.7)
    frequency_T = pitch * syn.curve(samples, [(0, 1), (peak, top), (1, rng.uniform(0.7, 1.0))])
    time_T = np.arange(samples) / sample_rate
    vibrato = rng.uniform(0.005, 0.03)
    frequency_T *= 1 + vibrato * np.sin(2 * np.pi * rng.uniform(5, 9) * time_T)
    voice_T = syn.oscillator(frequency_T, syn.rolloff(40, rng.uniform(2, 7)), sample_rate)
    voice_T += rng.uniform(0.02, 0.12) * syn.noise(rng, samples, sample_rate)
    size = rng.uniform(1.3, 1.8)
    shut, opening = rng.uniform(0.05, 0.2), rng.uniform(0.3, 0.6)
    weights = {
        'i': syn.curve(samples, [(0, 1), (shut, 1), (opening, 0)]),
        'a': syn.curve(samples, [(0, 0), (shut, 0), (opening, 1), (0.75, 1), (1, 0)]),
        'u': syn.curve(samples, [(0, 0), (0.75, 0), (1, 1)]),
    }
    meow_T = sum(
        weight_T * _mouth(voice_T, _VOWELS[vowel], sample_rate, size=size)
        for vowel, weight_T in weights.items()
    )
    return meow_T * syn.curve(samples, [(0, 0), (0.2, 0.8), (0.5, 1), (1, 0)]) ** 2


def speech(rng, sample_rate):
    """Babble: syllables of a consonant and a vowel, spoken by a voice of its own."""
    low = rng.uniform() < 0.5
    pitch = syn.log_uniform(rng, 85, 145) if low else syn.log_uniform(rng, 165, 270)
    size = rng.uniform(0.95, 1.08) if low else rng.uniform(1.1, 1.28)
    pace = rng.uniform(0.13, 0.19)  # of a syllable [s]
    slope, breath = rng.uniform(3, 7), rng.uniform(0.02, 0.1)
    sounds, start = [], 0
    count = rng.integers(3, 7)
    for number in range(count):
        samples = int(pace * rng.uniform(0.7, 1.3) * sample_rate)
        melody = pitch * (1.12 - 0.25 * number / count) * rng.uniform(0.92, 1.12)
        ends = rng.uniform(0.88, 1.12, 2)
        frequency_T = melody * syn.curve(samples, [(0, ends[0]), (0.4, 1), (1, ends[1])])
        frequency_T *= 1 + 0.004 * syn.wander(rng, samples, sample_rate, per_second=60)
        voice_T = syn.oscillator(frequency_T, syn.rolloff(100, slope), sample_rate)
        voice_T += breath * syn.noise(rng, samples, sample_rate)
        first, second = rng.choice(list(_VOWELS), 2)
        blend_T = syn.curve(samples, [(0, 0), (0.3, 0), (0.8, 1), (1, 1)])
        vowel_T = (1 - blend_T) * _mouth(voice_T, _VOWELS[first], sample_rate, size=size)
        vowel_T += blend_T * _mouth(voice_T, _VOWELS[second], sample_rate, size=size)
        vowel_T *= syn.curve(samples, [(0, 0), (0.2, 1), (0.6, 0.8), (1, 0)]) ** 2
        sounds.append((start, rng.uniform(0.6, 1.2) * vowel_T))
        if rng.uniform() < 0.7:  # a fricative or a plosive before it
            place = syn.log_uniform(rng, 1500, 6500)
            spectrum = ((place / 3, -40), (place, 0), (2 * place, -12), (4 * place, -40))
            hiss_T = syn.click(rng, rng.uniform(0.03, 0.16), sample_rate, spectrum)
            level = rng.uniform(0.1, 0.6) * np.abs(vowel_T).max() / np.abs(hiss_T).max()
            sounds.append((max(start - len(hiss_T) // 3, 0), level * hiss_T))
        start += samples + int(rng.uniform(0, 0.08) * sample_rate)
    return syn.place(start, sounds)


def dishes(rng, sample_rate):
    """Plates, glasses and cutlery that knock together: two to eight blows on stiff bodies."""
    sounds, start = [], 0
    bodies = [  # frequency of the lowest mode [Hz], decay [s]
        (syn.log_uniform(rng, 700, 3200), syn.log_uniform(rng, 0.06, 0.4))
        for _ in range(rng.integers(1, 4))
    ]
    ratio = rng.uniform(1.8, 2.7)  # of neighbouring modes, by material
    for _ in range(rng.integers(2, 9)):
        lowest, decay = bodies[rng.integers(len(bodies))]
        modes = [
            (lowest * ratio**k * rng.uniform(0.97, 1.03), decay / (1 + 0.5 * k), rng.uniform())
            for k in np.arange(0, 3, 0.5)
        ]
        blow_T = syn.ring(rng, modes, int(1.1 * decay * sample_rate), sample_rate)
        knock_T = syn.click(rng, 0.012, sample_rate, ((500, -20), (3000, 0), (12000, -6)))
        force = syn.log_uniform(rng, 0.25, 1)
        sounds += [(start, force * blow_T), (start, 0.3 * force * knock_T)]
        start += int(syn.log_uniform(rng, 0.04, 0.3) * sample_rate)
    return syn.place(min(start + int(0.2 * sample_rate), int(1.9 * sample_rate)), sounds)


def alarm_bell_ringing(rng, sample_rate):
    """A bell that a hammer strikes 12 to 28 times a second, or an alarm that beeps."""
    samples = syn.seconds(rng, 0.8, 1.9, sample_rate)
    if rng.uniform() < 0.5:
        lowest, decay = syn.log_uniform(rng, 600, 2200), rng.uniform(0.15, 0.6)
        ratios = np.array([1.0, 1.51, 2.0, 2.74, 3.76, 4.52]) * rng.uniform(0.97, 1.03, 6)
        gains = rng.uniform(0.3, 1, 6)
        modes = [(lowest * r, decay / r**0.5, g) for r, g in zip(ratios, gains)]
        step = sample_rate / rng.uniform(12, 28)
        stop = rng.uniform(0.55, 0.8) * samples  # the last blow; then the bell dies away
        blow_T = syn.ring(rng, modes, int(decay * sample_rate), sample_rate)
        sounds = [
            (int(start + rng.uniform(0, 0.1) * step), rng.uniform(0.7, 1) * blow_T)
            for start in np.arange(0, stop, step)
        ]
        return syn.place(samples, sounds)
    high = syn.log_uniform(rng, 900, 3300)
    low = high * rng.choice([1.0, 0.75, 0.8, 0.84])
    beep, gap = rng.uniform(0.06, 0.25), rng.uniform(0.05, 0.2)
    gain_H = syn.rolloff(12, rng.uniform(4, 14), roughness=6, rng=rng)
    gain_H[1::2] *= rng.uniform(0, 0.5)
    sounds, length = [], int(beep * sample_rate)
    for number, start in enumerate(range(0, samples - length, int((beep + gap) * sample_rate))):
        frequency_T = np.full(length, (high, low)[number % 2])
        beep_T = syn.oscillator(frequency_T, gain_H, sample_rate)
        sounds.append((start, beep_T * syn.curve(length, [(0, 0), (0.05, 1), (0.9, 1), (1, 0)])))
    return syn.place(sounds[-1][0] + length, sounds)


def doorbell(rng, sample_rate):
    """Two or three chimes, one after the other, each a struck bar of its own pitch."""
    pitch = syn.log_uniform(rng, 350, 1000)
    steps = [0, *rng.choice([-7, -5, -4, -3, 4, 5], rng.integers(1, 3), replace=False)]
    decay, gap = rng.uniform(0.5, 1.6), rng.uniform(0.25, 0.5)
    partials = [
        (1.0, 1.0, 1.0),
        (2.0, 0.6, rng.uniform(0.1, 0.5)),
        (2.76, 0.4, rng.uniform(0.1, 0.6)),
        (5.4, 0.2, rng.uniform(0.05, 0.3)),
    ]
    sounds = []
    for number, step in enumerate(steps):
        note = pitch * 2 ** (step / 12)
        modes = [(note * ratio, decay * share, gain) for ratio, share, gain in partials]
        chime_T = syn.ring(rng, modes, int(decay * sample_rate), sample_rate)
        start = int(number * gap * sample_rate)
        sounds += [(start, chime_T), (start, 0.1 * syn.click(rng, 0.01, sample_rate))]
    samples = int(((len(steps) - 1) * gap + 0.8 * decay) * sample_rate)
    return syn.place(min(samples, int(1.9 * sample_rate)), sounds)


def squeak(rng, sample_rate):
    """One to three squeaks: something sticks and slips, ever faster or slower, on a thin body."""
    body = [
        (syn.log_uniform(rng, 900, 7000), rng.uniform(80, 400), rng.uniform(0.3, 1))
        for _ in range(3)
    ]
    pitch = syn.log_uniform(rng, 500, 2400)
    sounds, start = [], 0
    for _ in range(rng.integers(1, 4)):
        samples = syn.seconds(rng, 0.15, 0.45, sample_rate)
        bends = syn.log_uniform(rng, 0.7, 1.5, 3)
        frequency_T = pitch * syn.curve(samples, [(0, bends[0]), (0.5, bends[1]), (1, bends[2])])
        frequency_T *= 1 + 0.05 * syn.wander(rng, samples, sample_rate, per_second=200)
        slip_T = syn.oscillator(frequency_T, syn.rolloff(30, 6), sample_rate)
        slip_T *= 1 + 0.5 * syn.wander(rng, samples, sample_rate, per_second=50)
        squeak_T = syn.resonate(slip_T, body, sample_rate, direct=0.3)
        swell_T = syn.curve(samples, [(0, 0), (0.2, 1), (0.7, 0.6), (1, 0)])
        sounds.append((start, squeak_T * swell_T**2))
        start += samples + syn.seconds(rng, 0.05, 0.2, sample_rate)
    return syn.place(sounds[-1][0] + len(sounds[-1][1]), sounds)


def chopping_food(rng, sample_rate):
    """A knife through something crisp onto a board, three to seven times, evenly."""
    board = [
        (syn.log_uniform(rng, 120, 1100), rng.uniform(0.03, 0.12), rng.uniform(0.3, 1))
        for _ in range(5)
    ]
    step = rng.uniform(0.13, 0.32)
    crisp, place = rng.uniform(0.1, 0.6), syn.log_uniform(rng, 1500, 5000)
    spectrum = ((place / 4, -25), (place, 0), (3 * place, -15))
    sounds = []
    count = min(rng.integers(3, 8), int(1.7 / step))
    for number in range(count):
        start = int((number + rng.uniform(0.1, 0.25)) * step * sample_rate)
        force = rng.uniform(0.5, 1)
        thud_T = syn.ring(rng, board, int(0.12 * sample_rate), sample_rate)
        knock_T = syn.click(rng, 0.02, sample_rate, ((200, 0), (3000, -10), (10000, -25)))
        cut_T = syn.click(rng, rng.uniform(0.03, 0.07), sample_rate, spectrum)
        sounds += [(start, force * thud_T), (start, 0.6 * force * knock_T)]
        sounds.append((max(start - len(cut_T) // 2, 0), crisp * force * cut_T[::-1]))
    return syn.place(int((count + 0.3) * step * sample_rate), sounds)


def door(rng, sample_rate):
    """Hinges that creak, pulse by pulse, faster or slower; then the latch."""
    samples = syn.seconds(rng, 0.5, 1.4, sample_rate)
    rate = syn.log_uniform(rng, 18, 70)
    frequency_T = rate * syn.curve(samples, list(zip((0, 0.5, 1), syn.log_uniform(rng, 0.5, 2, 3))))
    frequency_T *= 1 + 0.4 * syn.wander(rng, samples, sample_rate, per_second=25)
    slips_T = np.diff(np.floor(np.cumsum(frequency_T / sample_rate)), prepend=0.0)
    slips_T *= rng.uniform(0.3, 1, samples)
    wood = [
        (syn.log_uniform(rng, 250, 3000), rng.uniform(40, 250), rng.uniform(0.3, 1))
        for _ in range(5)
    ]
    creak_T = syn.resonate(slips_T, wood, sample_rate)
    creak_T *= syn.curve(samples, [(0, 0.2), (rng.uniform(0.2, 0.8), 1), (1, 0.1)])
    creak_T /= np.abs(creak_T).max()
    sounds = [(0, creak_T)]
    gap = syn.seconds(rng, 0.03, 0.12, sample_rate)
    for start in samples + gap * np.arange(rng.integers(1, 3)):
        lock = [(syn.log_uniform(rng, 400, 4500), rng.uniform(0.02, 0.08), 0.4) for _ in range(5)]
        sounds.append((start, syn.ring(rng, lock, int(0.1 * sample_rate), sample_rate)))
        sounds.append((start, 0.25 * syn.click(rng, 0.02, sample_rate)))
    return syn.place(samples + int(0.3 * sample_rate), sounds)


def slam(rng, sample_rate):
    """One heavy blow: a thump, the panel's low modes, what rattles on it, and the room."""
    samples = syn.seconds(rng, 0.35, 0.9, sample_rate)
    lowest = syn.log_uniform(rng, 50, 140)
    panel = [
        (lowest * k * rng.uniform(0.9, 1.15), rng.uniform(0.15, 0.5), rng.uniform(0.3, 1) / k)
        for k in range(1, 7)
    ]
    edge = syn.log_uniform(rng, 300, 1200)
    dull = ((40, 0), (edge, -3), (4 * edge, -24), (16 * edge, -50))
    sounds = [
        (0, syn.ring(rng, panel, samples, sample_rate)),
        (0, rng.uniform(0.8, 1.6) * syn.click(rng, rng.uniform(0.05, 0.15), sample_rate, dull)),
        (0, rng.uniform(0.2, 0.6) * syn.click(rng, 0.015, sample_rate)),
        (0, rng.uniform(0.1, 0.3) * syn.click(rng, 0.9 * samples / sample_rate, sample_rate, dull)),
    ]
    for _ in range(rng.integers(0, 6)):
        rattle_T = syn.click(rng, 0.03, sample_rate, ((400, -20), (1500, 0), (6000, -10)))
        start = syn.seconds(rng, 0.03, 0.25, sample_rate)
        sounds.append((start, rng.uniform(0.05, 0.3) * rattle_T))
    return syn.place(samples, sounds)


def coins(rng, sample_rate):
    """Coins that fall and bounce, sooner and softer each time: thin discs that ring high."""
    sounds = []
    for _ in range(rng.integers(1, 4)):
        lowest, decay = syn.log_uniform(rng, 3000, 7000), rng.uniform(0.06, 0.35)
        ratios = (1.0, 1.02, 1.73, 2.33, 2.37, 3.91)
        start = rng.uniform(0, 0.3) if sounds else 0.0
        wait, force = rng.uniform(0.1, 0.3), rng.uniform(0.6, 1)
        bounce = rng.uniform(0.6, 0.8)
        while wait > 0.015 and start < 1.6:
            modes = [(lowest * ratio, decay / ratio, rng.uniform(0.2, 1)) for ratio in ratios]
            ring_T = syn.ring(rng, modes, int(decay * sample_rate), sample_rate)
            tick_T = syn.click(rng, 0.006, sample_rate, ((1000, -30), (5000, 0)))
            at = int(start * sample_rate)
            sounds += [(at, force * ring_T), (at, 0.5 * force * tick_T)]
            start, wait, force = start + wait, wait * bounce, force * bounce
    last = max(start + len(sound_T) for start, sound_T in sounds)
    return syn.place(min(last, int(1.9 * sample_rate)), sounds)


CLASSES = {
    event.__name__: event
    for event in (
        dog,
        alarm_bell_ringing,
        dishes,
        cat,
        speech,
        doorbell,
        squeak,
        chopping_food,
        door,
        slam,
        coins,
    )
}
