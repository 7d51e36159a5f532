"""Tiny sound banks in the three forms they are delivered in, at a low rate."""

import numpy as np

import trees

RATE = 8000

CLASSES = """role,class,set,names
foreground,dog,seen,Dog|/m/0bt9lr
foreground,bell,seen,Alarm_bell_ringing
foreground,squeak,unseen,Squeak
background,frying,seen,Frying (food)
background,fan,seen,Mechanical fan
background,noise,unseen,Noise
"""


def event(seed, seconds=0.8, lead=0.2):
    """Silence, then a decaying tone of the seed's pitch. float [T]."""
    time_T = np.arange(round((seconds - lead) * RATE)) / RATE
    loudness = 0.4 - 1e-6 * seed  # no two of one pitch are copies
    tone_T = loudness * np.sin(2 * np.pi * (300 + 37 * (seed % 40)) * time_T) * np.exp(-3 * time_T)
    return np.concatenate([np.zeros(round(lead * RATE)), tone_T])


def ground(seed, seconds=1.5):
    """Noise. float [T]."""
    return 0.05 * np.random.default_rng(seed).normal(size=round(seconds * RATE))


def write_classes(path):
    """The class table of these banks, as a file."""
    path.write_text(CLASSES)
    return path


def general(root, *, files=6, seconds=1.5):
    """`foreground/<class>/*.wav`, `background/<class>/*.wav`; each file its own recording."""
    for c, name in enumerate(('dog', 'bell', 'squeak', 'peel')):
        for i in range(files):
            trees.write(root / 'foreground' / name / f'{name}{i}.wav', event(10 * c + i), RATE)
    for c, name in enumerate(('frying', 'fan', 'noise')):
        for i in range(files):
            audio_T = ground(100 + 10 * c + i, seconds)
            trees.write(root / 'background' / name / f'{name}{i}.wav', audio_T, RATE)
    return root


def desed(root, *, files=4):
    """`audio/{train,eval}/soundbank/{foreground,background}/<Label>[_nOn|_nOff]/<id>_<n>.wav`."""
    labels = {'Dog': 1, 'Alarm_bell_ringing_nOff': 2, 'Frying_nOn_nOff': 3, 'Speech': 4}
    for bank, base in (('train', 10000), ('eval', 20000)):
        for name, c in labels.items():
            for i in range(files):
                file = f'{base + 100 * c + i}_1.wav'
                make = ground if name.startswith('Frying') else event
                folder = root / 'audio' / bank / 'soundbank' / 'foreground' / name
                trees.write(folder / file, make(base + 10 * c + i), RATE)
        folder = root / 'audio' / bank / 'soundbank' / 'background' / 'sins'
        trees.write(folder / f'{bank}.wav', ground(base), RATE)
    return root


def audioset(root, *, clips=4):
    """`<display name or mid>/[Y]<ytid>_<start>_<end>.wav`."""
    for c, name in enumerate(('Mechanical fan', 'noise', 'Squeak', 'm_0bt9lr', 'Music')):
        for i in range(clips):
            video = f'{"abcde"[c]}-_45678{i:02d}z'
            form = ('Y{}_30.000_40.000', '{}_30_40', 'Y{}_30000_40000', '{}')[i % 4]
            make = event if name in ('Squeak', 'm_0bt9lr') else ground
            trees.write(root / name / f'{form.format(video)}.wav', make(50 * c + i), RATE)
    return root
