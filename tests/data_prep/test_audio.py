"""Every kind of bad file is named; what is read does not depend on where it is cut."""

import numpy as np
import pytest
import soundfile

from data_prep import audio, mix, mixtures
from data_prep.recordings import Recording
import trees


def make(path, kind):
    good_T = trees.speechlike(2.0, seed=1)
    loud_T = np.clip(20 * good_T, -1, 1)
    if kind == 'unreadable':
        path.write_bytes(b'RIFF but not really a sound')
    elif kind == 'empty':
        trees.write(path, np.zeros(0))
    elif kind == 'silent':
        trees.write(path, 1e-4 * good_T)
    elif kind == 'no bytes':
        path.touch()
    elif kind == 'constant':
        trees.write(path, np.full(16000, 0.5))
    elif kind == 'truncated':
        trees.write(path, good_T)
        path.write_bytes(path.read_bytes()[:20000])
    elif kind == 'clipped':
        trees.write(path, loud_T)
    elif kind == 'too short':
        trees.write(path, good_T[:4000])
    elif kind == 'rate too low':
        trees.write(path, good_T, 6000)
    elif kind == 'not finite':
        trees.write(path, np.where(np.arange(good_T.size) == 5, np.nan, good_T), subtype='FLOAT')
    elif kind == '':
        trees.write(path, good_T)


@pytest.mark.parametrize(
    'kind',
    [
        '',
        'missing',
        'unreadable',
        'empty',
        'silent',
        'clipped',
        'too short',
        'rate too low',
        'not finite',
        'no bytes',
        'constant',
        'truncated',
    ],
)
def test_faults_are_named(tmp_path, kind):
    path = tmp_path / 'x.wav'
    make(path, kind)
    found = audio.inspect(Recording('x', 's', str(path), 'train'), sample_rate=8000, min_seconds=1)
    assert found.problem == {'no bytes': 'empty', 'constant': 'silent'}.get(kind, kind)
    assert bool(found.detail) == bool(kind)
    assert found.samples == (0 if kind else 16000)


@pytest.mark.parametrize(
    ('signal_T', 'said'),
    [
        (np.zeros(8000), 'digital silence'),
        (np.array([100 / 32768]), 'peak -50 dB full scale, digital silence without its offset'),
        (np.full(8000, -0.5), 'peak -6 dB full scale, digital silence without its offset'),
        (1e-4 * np.sin(np.arange(8000)), 'peak -80 dB full scale'),
    ],
)
def test_silence_is_named_by_its_true_peak(tmp_path, signal_T, said):
    trees.write(tmp_path / 'x.wav', signal_T, subtype='FLOAT')
    found = audio.inspect(Recording('x', 's', str(tmp_path / 'x.wav'), 't'), sample_rate=8000)
    assert (found.problem, found.detail) == ('silent', said)


def test_a_folder_named_like_a_file_is_no_file(tmp_path):
    (tmp_path / 'x.wav').mkdir()
    found = audio.inspect(Recording('x', 's', str(tmp_path / 'x.wav'), 't'), sample_rate=8000)
    assert found.problem == 'not a file'


def test_a_loud_file_is_not_clipped(tmp_path):
    audio_T = trees.speechlike(2.0, seed=1, peak=0.9999)
    trees.write(tmp_path / 'x.wav', audio_T)
    found = audio.inspect(Recording('x', 's', str(tmp_path / 'x.wav'), 't'), sample_rate=8000)
    assert found.problem == ''


@pytest.mark.parametrize('block', [1, 2, 3, 5, 1000])
def test_clipping_counts_runs_only_wherever_the_blocks_end(block):
    audio_T = np.zeros(100, np.float32)
    audio_T[[3, 10, 11]] = 1.0
    audio_T[20:24], audio_T[97:] = -1.0, 1.0
    statistics = audio._Statistics(2, clip=0.999)
    stereo_TC = np.stack([audio_T, 0.5 * audio_T], axis=1)
    for start in range(0, 100, block):
        statistics.add(stereo_TC[start : start + block])
    np.testing.assert_allclose(statistics.clipped_C, [0.07, 0.0])
    np.testing.assert_allclose(statistics.power_C, stereo_TC.var(axis=0, dtype=np.float64))


@pytest.mark.parametrize('native', [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize('suffix', ['wav', 'flac'])
def test_read_resamples_and_cuts(tmp_path, native, suffix):
    seconds, rate = 1.013, 8000
    time_T = np.arange(round(seconds * native)) / native
    path = str(tmp_path / f'tone.{suffix}')
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * time_T), native)
    whole_T = audio.read(path, sample_rate=rate)
    found = audio.inspect(Recording('x', 's', path, 't'), sample_rate=rate)
    assert found.samples == whole_T.size
    assert found.converted == (() if native == rate else ('resampled',))
    expected_T = 0.5 * np.sin(2 * np.pi * 440 * np.arange(whole_T.size) / rate)
    np.testing.assert_allclose(whole_T[200:-200], expected_T[200:-200], atol=0.003)
    part_T = audio.read(path, sample_rate=rate, start=1000, stop=3000)
    np.testing.assert_allclose(part_T, whole_T[1000:3000], atol=0 if native == rate else 1e-6)


def test_first_channel_is_taken_and_said(tmp_path):
    left_T, right_T = trees.speechlike(1.0, seed=1), trees.speechlike(1.0, seed=2)
    trees.write(tmp_path / 'x.wav', np.stack([left_T, right_T], axis=1))
    path = str(tmp_path / 'x.wav')
    np.testing.assert_allclose(audio.read(path, sample_rate=8000), left_T, atol=1e-4)
    found = audio.inspect(Recording('x', 's', path, 't'), sample_rate=8000)
    assert found.converted == ('first channel taken',)


@pytest.mark.parametrize('size', [0, 0xFFFFFFFF, 0x7FFFF024])
def test_a_wav_from_a_pipe_does_not_know_its_length(tmp_path, size):
    path = tmp_path / 'x.wav'
    make(path, '')
    contents = path.read_bytes()
    path.write_bytes(contents[:4] + size.to_bytes(4, 'little') + contents[8:])
    found = audio.inspect(Recording('x', 's', str(path), 't'), sample_rate=8000)
    assert (found.problem, found.samples) == ('', 16000)


def test_a_truncated_wav_is_not_read(tmp_path):
    make(tmp_path / 'x.wav', 'truncated')
    with pytest.raises(audio.BadInput, match='truncated.*19956 bytes of the 32000'):
        audio.read(str(tmp_path / 'x.wav'), sample_rate=8000)


def test_a_constant_part_is_silent(tmp_path):
    clips = []
    for i, offset in enumerate([0.3, 0.0]):
        audio_T = 0.5 * trees.speechlike(1.0, seed=i)
        audio_T = np.concatenate([audio_T, np.zeros(8000)]) + offset
        trees.write(tmp_path / f'{i}.wav', audio_T)
        clips.append((str(tmp_path / f'{i}.wav'), f's{i}', 'speech'))

    def spec(start):
        parts = (
            mixtures.Source(*clips[0], start, start + 8000),
            mixtures.Source(*clips[1], 0, 8000),
        )
        return mixtures.Mixture('m', 't', parts, 8000, 0.0)

    assert mix.mix_at_levels(spec(0), sample_rate=8000).sources_ST.shape == (2, 8000)
    with pytest.raises(audio.BadInput, match='silent part'):
        mix.mix_at_levels(spec(8000), sample_rate=8000)


@pytest.mark.parametrize('native', [8000, 16000])
def test_what_follows_a_flac_is_no_part_of_its_last_seconds(tmp_path, native):
    path = str(tmp_path / 'tail.flac')
    soundfile.write(path, trees.speechlike(3.0, seed=1)[: 3 * native], native)
    whole = audio.inspect(Recording('a', 's', path, 'train'), sample_rate=8000)
    wanted_T = audio.read(path, sample_rate=8000, start=whole.samples - 100, stop=whole.samples)
    with open(path, 'ab') as file:
        file.write(b'\x01\x7f' * 5000)
    one = audio.inspect(Recording('a', 's', path, 'train'), sample_rate=8000)
    assert (one.problem, one.samples) == ('', whole.samples)
    for start in (one.samples - 100, 0):
        made_T = audio.read(path, sample_rate=8000, start=start, stop=one.samples)
        np.testing.assert_allclose(made_T[-100:], wanted_T, atol=1e-5)


@pytest.mark.filterwarnings('error::RuntimeWarning')
@pytest.mark.parametrize(
    'odd_T, problem',
    [
        ([np.nan], 'not finite'),
        ([np.inf, -np.inf], 'not finite'),
        ([np.inf] * 3, 'not finite'),
        ([-np.inf, np.nan, 1.0], 'not finite'),
        ([1e300], 'not finite'),  # more than float32 holds
        ([3e38, -3e38], ''),
        ([1e-40], ''),
    ],
)
def test_samples_that_are_no_sound_are_no_warning_either(tmp_path, odd_T, problem):
    """NumPy's warnings are lines that mean nothing to whoever makes a data set."""
    audio_T = np.random.default_rng(0).normal(size=9000) * 0.1
    audio_T[4000 : 4000 + len(odd_T)] = odd_T
    soundfile.write(tmp_path / 'x.wav', audio_T, 8000, 'DOUBLE')
    found = audio.inspect(Recording('x', 's', str(tmp_path / 'x.wav'), 't'), sample_rate=8000)
    assert found.problem == problem
