"""The sounds made by rule: whole, deterministic, various, and events apart from backgrounds."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.fft

from data_prep import embedded_foreground
from data_prep.readers import sounds as banks

RATE = 16000
COUNT = 6
SOUNDS = [
    (role, name)
    for role, module in embedded_foreground.MODULES.items()
    for name, value in vars(module).items()
    if getattr(value, '__module__', None) == module.__name__ and not name.startswith('_')
]
SECONDS = {'foreground': (0.15, 2.0), 'background': (6.0, 10.0)}


def render(role, name, number):
    return embedded_foreground.render(role, name, number, sample_rate=RATE)


@pytest.fixture(scope='module')
def bank():
    return {
        (role, name): [render(role, name, number) / 32768.0 for number in range(COUNT)]
        for role, name in SOUNDS
    }


def spread_db(sound_T):
    """Standard deviation of the levels of frames of 20 ms; silence counts as 60 dB down."""
    size = RATE // 50
    power_K = np.square(sound_T[: len(sound_T) // size * size]).reshape(-1, size).mean(axis=1)
    return np.std(10 * np.log10(np.maximum(power_K, 1e-6 * power_K.max())))


def band_levels(sound_T):
    """Levels of 20 bands from 200 to 7,500 Hz, relative to their sum [dB]."""
    power_F = np.abs(scipy.fft.rfft(sound_T, 1 << 18)) ** 2  # longer than all of them
    frequency_F = scipy.fft.rfftfreq(1 << 18, 1 / RATE)
    band_F = np.digitize(frequency_F, np.geomspace(200, 7500, 21))
    power_B = np.bincount(band_F, power_F, minlength=22)[1:21]
    return 10 * np.log10(np.maximum(power_B / power_B.sum(), 1e-6))


@pytest.mark.parametrize('role, name', SOUNDS)
def test_every_sound_is_whole(role, name):
    for number, sample_rate in enumerate((RATE, RATE, 22050, 44100)):
        with np.errstate(all='raise', under='ignore'):
            sound_T = embedded_foreground.render(role, name, number, sample_rate=sample_rate)
        low, high = SECONDS[role]
        assert low <= len(sound_T) / sample_rate <= high
        assert sound_T.dtype == np.int16
        assert 0.399 < np.abs(sound_T / 32768.0).max() < 0.901
        assert 20 * np.log10(np.std(sound_T / 32768.0)) > -40
        assert abs(np.mean(sound_T / 32768.0)) < 0.01
        for part_T in np.array_split(sound_T, 2 if role == 'foreground' else 20):
            assert np.std(part_T) > (0.0 if role == 'foreground' else 0.5) * np.std(sound_T)


@pytest.mark.slow
def test_the_same_bytes_in_another_process(bank):
    script = (
        'import hashlib\n'
        'from data_prep import embedded_foreground as made\n'
        f'for role, name in {SOUNDS[::-1]}:\n'
        f'    pcm_T = made.render(role, name, 1, sample_rate={RATE})\n'
        '    print(role, name, hashlib.sha256(pcm_T.tobytes()).hexdigest())\n'
    )
    there = subprocess.run(
        [sys.executable, '-c', script], check=True, capture_output=True, text=True
    ).stdout.split('\n')
    for role, name in SOUNDS:
        digest = hashlib.sha256(render(role, name, 1).tobytes()).hexdigest()
        assert f'{role} {name} {digest}' in there


@pytest.mark.slow
@pytest.mark.parametrize('role, name', SOUNDS)
def test_recordings_of_a_class_differ_in_length_and_spectrum(bank, role, name):
    sounds = bank[role, name]
    assert len({len(sound_T) for sound_T in sounds}) == COUNT
    levels = [band_levels(sound_T) for sound_T in sounds]
    distances = [
        np.sqrt(np.mean((levels[i] - other) ** 2)) for i in range(COUNT) for other in levels[:i]
    ]
    assert np.median(distances) > 0.5  # two noises of one spectrum: 0.1 to 0.2 dB


@pytest.mark.slow
@pytest.mark.parametrize('role', banks.ROLES)
def test_classes_differ_from_one_another(bank, role):
    """A recording's nearest neighbour, by spectrum and rhythm, is mostly of its own class."""
    names = [name for other, name in SOUNDS if other == role]
    feature_N = np.array(
        [
            [*band_levels(sound_T), 3 * spread_db(sound_T)]
            for name in names
            for sound_T in bank[role, name]
        ]
    )
    class_N = np.repeat(np.arange(len(names)), COUNT)
    distance_NN = np.square(feature_N[:, None] - feature_N).sum(axis=-1)
    np.fill_diagonal(distance_NN, np.inf)
    right_N = class_N[distance_NN.argmin(axis=1)] == class_N
    assert right_N.mean() > 0.65  # chance: below 0.1


@pytest.mark.slow
def test_events_change_and_backgrounds_stay(bank):
    spread = {key: [spread_db(sound_T) for sound_T in sounds] for key, sounds in bank.items()}
    for (role, name), values in spread.items():
        if role == 'foreground':
            assert min(values) > 5, name
        else:
            assert max(values) < 4, name
    events, backgrounds = (
        [np.median(values) for (role, _), values in spread.items() if role == wanted]
        for wanted in banks.ROLES
    )
    assert min(events) > 3 * max(backgrounds)


def test_the_class_table_names_exactly_what_is_made():
    classes = embedded_foreground.classes()
    assert {(one.role, one.name) for one in classes.values()} == set(SOUNDS)
    for role in banks.ROLES:
        seen = [one.seen for one in classes.values() if one.role == role]
        assert seen.count(True) >= 3 and seen.count(False) >= 2
    assert {*classes.items()} <= {*banks.read_classes().items()}
