"""What a model makes of signals of every shape, level, length and rate."""

import os
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from fgsep_jax.separation import engine
from fgsep_jax.separation.model import Separator
from fgsep_jax.separation.recording import ArrayRecording
import models

RATE = 8000
CAUSAL = {'model.causal': True, 'model.norm': 'cln'}


@pytest.fixture(scope='module')
def speech():
    return models.separator('convtasnet')


@pytest.fixture(scope='module')
def sounds():
    return models.separator('blstm_m2')


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize('shape', [(8000,), (1,), (2, 3000), (3, 1, 700)])
@pytest.mark.parametrize('rate', [8000, 11025])
def test_parts_have_the_shape_of_the_signal(speech, sounds, shape, rate):
    for model in (speech, sounds):
        signal = noise(*shape)
        parts = model.separate(signal, rate)
        assert tuple(parts) == model.sources
        assert all(part.shape == shape and part.dtype == np.float32 for part in parts.values())


@pytest.mark.parametrize('rate', [8000, 16000, 6000])
@pytest.mark.parametrize('shape', [(90_000,), (2, 20_000)])
def test_foreground_and_background_sum_to_the_recording(sounds, shape, rate):
    signal = noise(*shape)
    parts = sounds.separate(signal, rate, segment=2.0, overlap=1.0)
    np.testing.assert_allclose(sum(parts.values()), signal, atol=1e-6)


def test_channels_share_one_mask(sounds):
    signal_CT = noise(2, 16_000)
    parts = sounds.separate(signal_CT, RATE)
    alone = sounds.separate(signal_CT.mean(axis=0), RATE)
    np.testing.assert_allclose(parts['foreground'].mean(axis=0), alone['foreground'], atol=1e-4)
    assert np.abs(parts['foreground'][0] - parts['foreground'][1]).max() > 1e-3


@pytest.mark.parametrize('db', [-100, -60, 20])
def test_the_level_of_a_recording_changes_nothing(speech, sounds, db):
    signal_T, gain = noise(12_000), 10 ** (db / 20)
    for model in (speech, sounds):
        plain, scaled = (model.separate(s, RATE) for s in (signal_T, signal_T * np.float32(gain)))
        for name in model.sources:
            np.testing.assert_allclose(scaled[name] / gain, plain[name], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('sources', [1, 2])
def test_one_window_is_the_model_itself_but_for_its_level(speech, sources):
    speech = models.separator('convtasnet', **{'data.sources': 1}) if sources == 1 else speech
    signal_T = noise(12_000)
    parts = speech.separate(signal_T, RATE, segment=0)
    estimate_ST = np.asarray(
        speech.task.separate(speech.parameters, jnp.asarray(signal_T)[None])[0]
    )
    scale_S, *_ = np.linalg.lstsq(estimate_ST.T, signal_T, rcond=None)
    for scale, estimate_T, part_T in zip(scale_S, estimate_ST, parts.values()):
        np.testing.assert_allclose(part_T, scale * estimate_T, atol=2e-4)


def test_silence_stays_silence(speech, sounds):
    for model in (speech, sounds):
        for part in model.separate(np.zeros(9000, np.float32), RATE).values():
            np.testing.assert_array_equal(part, 0)


def test_one_shape_is_compiled_whatever_the_recordings():
    made = models.separator('convtasnet')
    speech = Separator(made.config, made.parameters)
    for samples in (70_000, 200_000, 64_000):
        speech.separate(noise(samples), RATE)
        speech.separate(noise(2, samples), RATE)
    assert speech.network._separate._cache_size() == 1
    for samples in (100, 63_999):  # shorter than a window: the rest of it is masked
        speech.separate(noise(samples), RATE)
    assert speech.network._separate._cache_size() == 2


@pytest.mark.parametrize(
    'how, shape',
    [(dict(segment=3600.0), (1, 4000, 1)), (dict(segment=0.5, batch=10**20), (1, 4000, 1))],
)
def test_more_than_a_recording_has_costs_no_more(sounds, how, shape):
    """An hour's window takes 1 GB a batch of what stands here in a second."""
    shapes, batch = [], sounds.network._batch
    sounds.network._batch = lambda w, *a: shapes.append((len(w), *a[:2])) or batch(w, *a)
    try:
        sounds.separate(noise(4000), RATE, **how)
    finally:
        del sounds.network._batch
    assert shapes == [shape]


def test_jax_arrays_are_taken(sounds):
    signal_T = noise(5000)
    parts, same = (sounds.separate(s, RATE) for s in (jnp.asarray(signal_T), signal_T))
    np.testing.assert_array_equal(parts['background'], same['background'])


@pytest.mark.parametrize(
    ('signal', 'said'),
    [
        (np.zeros(0, np.float32), 'empty'),
        (np.array([0.0, np.nan]), 'not finite'),
        (np.ma.masked_greater([0.0, 0.5], 0.2), 'signal has masked samples'),
        ([np.ma.masked_greater([0.0, 0.5], 0.2), np.zeros(2)], 'signal has masked samples'),
        ([[0.0, 0.5], [0.0]], 'signal has rows of several lengths'),
        (np.array([0.0, np.inf, 1e36]), 'not finite: nan or inf'),
        (np.full(9, 1e300), r'too loud: a peak of 1e.300; full scale is 1$'),
        (np.full((2, 9), 3e38, np.float32), r'too loud: a peak of 3e.38'),
        (np.zeros(5, np.int16), r'int16\[5\]: must be floats .*; divide 16-bit integers by 32768$'),
        (np.zeros(5, complex), r'signal is complex128\[5\]: must be floats .T. or .*, T\]$'),
        (np.zeros(5, bool), r'signal is bool\[5\]: must be floats .T. or .*, T\]$'),
        ('a.wav', r"signal is 'a.wav': must be floats .*; separate_file reads files$"),
        (None, r'signal is None: must be floats .T. or .*, T\]$'),
        ([1, 2], 'signal is int64.2.: must be floats'),
        (np.zeros((1, 1, 1, 5)), 'floats'),
        (np.zeros((8000, 2)), 'its transpose'),
    ],
)
def test_what_cannot_be_separated_is_said(speech, signal, said):
    with pytest.raises(ValueError, match=said):
        speech.separate(signal, RATE)


def test_what_its_library_does_not_give_away_is_said(speech):
    with pytest.raises(ValueError, match='signal is no array of numbers to NumPy: .*traced'):
        jax.jit(lambda signal_T: speech.separate(signal_T, RATE))(noise(8000))


def test_a_copy_by_pickle_separates_alike(sounds):
    signal_T = noise(8000)
    parts = sounds.separate(signal_T, RATE)  # compiled by now
    copy = pickle.loads(pickle.dumps(sounds))
    same = copy.separate(signal_T, RATE)
    for name in parts:
        np.testing.assert_array_equal(parts[name], same[name])
    assert (copy.name, copy.step) == (sounds.name, sounds.step)


def test_least_squares_finds_scale_and_sign():
    reference_SCT = noise(2, 1, 4000)
    mixture_TC = reference_SCT.sum(axis=0).T
    level = engine.Level(2)
    scale_S = np.array([-5900, 0.01], np.float32)
    for at in range(0, 4000, 1000):
        part_SCT = reference_SCT[..., at : at + 1000]
        level.add(part_SCT * scale_S[:, None, None], mixture_TC[at : at + 1000])
    np.testing.assert_allclose(level.scale_S() * scale_S, 1, rtol=1e-4)


def test_equal_estimates_share_the_mixture():
    signal_SCT = np.repeat(noise(1, 1, 1000), 2, axis=0)
    level = engine.Level(2)
    level.add(signal_SCT, signal_SCT[0].T)
    np.testing.assert_allclose(level.scale_S(), 0.5, rtol=1e-4)


def test_the_background_is_the_quietest_stretch_that_sounds():
    signal_T = noise(80_000)
    signal_T[24_000:40_000] *= 0.01
    signal_T[56_000:76_000] = 0
    about = engine.scan(ArrayRecording(signal_T[None], RATE), channels='each', quiet_seconds=2.0)
    assert about.quiet == pytest.approx(3.0)
    assert about.samples == 80_000 and about.peak == np.abs(signal_T).max()


@pytest.mark.slow
def test_an_auxiliary_network_hears_the_background():
    model = models.separator('blstm_m2_plus')
    signal_T = noise(16_000)
    parts = [
        model.separate(signal_T, RATE, background=background)['foreground']
        for background in (None, (0.5, 1.0), noise(4000, seed=1), noise(4000, seed=2))
    ]
    differ = [np.abs(a - b).max() > 0 for a, b in zip(parts, parts[1:])]
    assert all(differ)


@pytest.mark.parametrize(
    ('how', 'said'),
    [
        (dict(channels=0), 'channels = 0'),
        (dict(channels='2'), "channels = '2'"),
        (dict(segment=-1.0), 'segment = -1.0'),
        (dict(segment=float('nan')), 'segment = nan'),
        (dict(batch=0), 'batch = 0'),
        (dict(segment=2.0, overlap=1.5), 'overlap = 1.5: must be half of the segment at most, 1 s'),
        (dict(overlap=4.5), 'overlap = 4.5: must be half of the segment at most, 4 s'),
        (dict(segment=0, overlap=1), 'overlap = 1: must be half of the segment at most, 0 s'),
        (dict(output_rate=-1), '^output_rate = -1: must be a number of hertz from 1,000'),
        (dict(output_rate=True), '^output_rate = True'),
        (dict(output_rate=1e6), '^output_rate = 1000000.0'),
        (dict(channels=3), 'too few channels: 1; channels=3'),
        (dict(channels=True), 'channels = True: must be'),
        (dict(batch=True), 'batch = True: must be'),
        (dict(background=(0, 1)), 'no auxiliary network'),
    ],
)
def test_ways_that_cannot_be_are_said(speech, how, said):
    with pytest.raises(ValueError, match=said) as refused:
        speech.separate(noise(100), RATE, **how)
    assert '--' not in str(refused.value)


def test_an_overlap_follows_the_segment_unless_it_is_given(speech, sounds):
    assert (speech.how.overlap, sounds.how.overlap) == (4.0, 2.0)
    assert speech._how(segment=1.0).overlap == 0.5
    assert speech._how(segment=0).overlap == 0
    assert speech._how(segment=1.0, overlap=0.25).overlap == 0.25


@pytest.mark.parametrize(
    'background', [[np.nan, 0.0], 'file.wav', np.zeros((1, 2, 9), np.float32), np.float32(1)]
)
def test_a_background_is_seconds_or_sound(background):
    model = models.separator('blstm_m2_plus')
    with pytest.raises(ValueError, match='background: must be'):
        model.separate(noise(100), RATE, background=background)


def test_a_background_has_its_channels_first():
    model = models.separator('blstm_m2_plus')
    with pytest.raises(ValueError, match=r'background is \[4000, 1\]: 4,000 channels of 1 samples'):
        model.separate(noise(100), RATE, background=noise(4000)[:, None])


@pytest.mark.slow
def test_of_one_channel_the_background_is_that_channel():
    model = models.separator('blstm_m2_plus')
    signal_CT = np.stack([noise(16_000, seed=1), 10 * noise(16_000, seed=2)])
    for background in (None, (0.5, 1.0), signal_CT):
        alone, one = (
            model.separate(signal, RATE, background=there, channels=1)['foreground']
            for signal, there in (
                (signal_CT[0], background if background is not signal_CT else signal_CT[0]),
                (signal_CT, background),
            )
        )
        np.testing.assert_array_equal(one[0], alone)


@pytest.mark.parametrize('shape', [(0,), (2, 0), (0, 9), (0, 2, 9)])
def test_nothing_is_said_to_be_empty(speech, shape):
    with pytest.raises(ValueError, match='empty'):
        speech.separate(np.zeros(shape, np.float32), RATE)


def test_halves_of_jax_and_numbers_of_numpy_are_taken(speech):
    signal_T = jnp.asarray(noise(900), jnp.bfloat16)
    how = dict(segment=np.float32(0.5), batch=np.int64(2), channels=np.int64(1))
    part = speech.separate(signal_T, RATE, **how)['speaker_1']
    assert part.dtype == np.float32 and np.isfinite(part).all()


@pytest.mark.parametrize(
    ('how', 'said'),
    [
        (dict(bits='99'), 'bits = 99: must be 16 or 24 or float'),
        (dict(form='exe'), "form = 'exe': must be"),
        (dict(form='flac', bits='float'), 'bits = float: must be 16 or 24 with flac'),
        (dict(start=float('nan')), 'start = nan'),
        (dict(seconds=-1), 'seconds = -1'),
        (dict(rate=999), '^rate = 999: must be'),
    ],
)
def test_files_that_cannot_be_are_said(speech, tmp_path, how, said):
    with pytest.raises(ValueError, match=said):
        speech.separate_file(tmp_path / 'a.wav', tmp_path, **how)


@pytest.mark.parametrize(
    ('outputs', 'said'),
    [
        ({}, 'outputs = {}: must be {part: path} of speaker_1, speaker_2, residual'),
        ('a.wav', "outputs = 'a.wav': must be {part: path}"),
        ({'speaker_3': 'b.wav'}, 'must be {part: path} of speaker_1, speaker_2, residual'),
        ({'speaker_1': 3}, "outputs['speaker_1'] = 3: must be a path"),
        ({'speaker_1': 's.wav', 'residual': 'x/../s.wav'}, 'speaker_1 and residual are both x/'),
        ({'speaker_1': 'b.flac'}, "b.flac would be wav, by form = 'wav'"),
        ({'residual': 'in.wav'}, 'in.wav would replace what is read, in.wav'),
        ({'residual': 'link.wav'}, 'link.wav would replace what is read, in.wav'),
    ],
)
def test_parts_cannot_go_to_some_paths(speech, tmp_path, monkeypatch, outputs, said):
    monkeypatch.chdir(tmp_path)
    soundfile.write('in.wav', noise(100), RATE)
    os.link('in.wav', 'link.wav')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=re.escape(said)):
        speech.separate_file('in.wav', outputs=outputs)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_parts_do_not_replace_the_background(tmp_path):
    model = models.separator('blstm_m2_plus')
    names = [tmp_path / 'in.wav', tmp_path / 'in_foreground.wav']
    for path in names:
        soundfile.write(path, noise(100), RATE)
    with pytest.raises(ValueError, match='would replace what is read'):
        model.separate_file(names[0], tmp_path, background=names[1])


@pytest.mark.parametrize(
    ('method', 'given', 'takes', 'near'),
    [
        ('separate_file', 'bit', 'bits, labels, start, seconds, background, truncated', 'bits'),
        ('separate_file', 'seconds_', 'batch, rate, statistics', 'seconds'),
        ('separate_file', 'output_rate', 'path, folder, outputs, form', 'outputs'),
        ('separate', 'overlaps', 'channels, background, output_rate, segment, overlap', 'overlap'),
        ('separate', 'bits', 'batch, statistics.', None),
    ],
)
def test_of_a_word_that_is_not_known_all_that_are_and_the_nearest_are_said(
    speech, tmp_path, method, given, takes, near
):
    with pytest.raises(TypeError) as refused:
        getattr(speech, method)(tmp_path / 'a.wav', 8000, **{given: '24'})
    said = str(refused.value)
    assert said.startswith(f'{given}: {method} takes ') and takes in said
    assert near is None or said.endswith(f"; did you mean '{near}'?")
    words = said.partition(' takes ')[2].partition(';')[0].rstrip('.').split(', ')
    assert len(words) == len({*words})


@pytest.mark.parametrize('rate', [0, float('nan'), '8000', True, 999, 768_001, -8000])
def test_a_rate_is_a_number(speech, rate):
    with pytest.raises(ValueError, match='^rate = '):
        speech.separate(noise(100), rate)
    with pytest.raises(ValueError, match='^rate = '):
        models.separator('convtasnet_glu', **CAUSAL).stream(rate)


@pytest.mark.parametrize('peak', [1e-43, 1e37])
def test_no_level_is_too_much(speech, sounds, peak):
    signal_T = noise(3000) * 9
    signal_T = (signal_T / np.abs(signal_T).max()).astype(np.float64) * peak
    for model in (speech, sounds):
        parts = model.separate(signal_T.astype(np.float32), RATE)
        assert all(np.isfinite(part).all() for part in parts.values())
