"""Onsets, windows, levels and scale of one mixture; pitch and length of augmented events."""

import dataclasses
import importlib.util

import librosa
import numpy as np
import pytest
import soundfile

from data_prep import audio, augment, mix
from data_prep.mixtures import Mixture, Source
import sound_trees
import trees

RATE = sound_trees.RATE
SCENE = Mixture(
    '', '', adaptation_start=12000, adaptation_stop=20000, adaptation_overlap=0.0, onset=0.5
)


def spec(event, ground, *, scene=SCENE, snr=1.5, start=2000, seconds=1.0):
    samples = round(seconds * RATE)
    sources = (
        Source(str(event), 'e', 'dog', 0, 0, snr / 2),
        Source(str(ground), 'g', 'fan', start, start + samples, -snr / 2),
    )
    return dataclasses.replace(
        scene, id='e+g', split='train', sources=sources, samples=samples, snr_db=snr
    )


@pytest.fixture
def files(tmp_path):
    event, ground = tmp_path / 'event.wav', tmp_path / 'ground.wav'
    trees.write(event, sound_trees.event(3, seconds=3.0, lead=1.2), RATE)
    trees.write(ground, sound_trees.ground(4, seconds=3.0), RATE)
    return event, ground


def rms(x_T):
    return np.sqrt(np.mean(np.square(x_T, dtype=np.float64)))


def test_of_an_event_what_lies_before_its_stop_is_taken(files, tmp_path):
    row = spec(*files)
    sound_T, _ = soundfile.read(files[0])
    trees.write(tmp_path / 'short.wav', sound_T[:14000], RATE)
    event = dataclasses.replace(row.sources[0], stop=14000)
    rows = [dataclasses.replace(row, sources=(event, row.sources[1]))]
    rows += [spec(tmp_path / 'short.wav', files[1]), row]
    made = [mix.mix(row, sample_rate=RATE).sources_ST for row in rows]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()


@pytest.mark.parametrize('lead', [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize('noise', [0.0, 0.005])
def test_onset(lead, noise):
    sound_T = sound_trees.event(5, seconds=lead + 0.5, lead=lead)
    sound_T = sound_T + noise * np.random.default_rng(0).normal(size=sound_T.size)
    found = mix.find_onset(sound_T, sample_rate=RATE)
    assert abs(found - lead * RATE) <= 0.02 * RATE


def test_onset_is_that_of_the_loudest_event():
    quiet, loud = 0.3 * sound_trees.event(1, 0.8), sound_trees.event(2, 0.8)
    gap = np.zeros(4000)
    found = mix.find_onset(np.concatenate([quiet, gap, loud, quiet]), sample_rate=RATE)
    assert abs(found - (quiet.size + gap.size + 0.2 * RATE)) <= 0.02 * RATE


@pytest.mark.parametrize('anywhere', [False, True])
@pytest.mark.parametrize('length', [100, 999, 1000, 1001, 1500, 4000])
@pytest.mark.parametrize('where', [0.0, 0.3, 0.7, 0.999])
def test_the_onset_stays_in_the_window(length, where, anywhere):
    onset, samples = int(where * length), 1000
    found = set()
    for draw in np.linspace(0, 0.9999, 23):
        position = mix.onset_in_window(
            length, onset, samples=samples, draw=float(draw), anywhere=anywhere
        )
        found.add(position)
        assert 0 <= position < samples
        if anywhere:
            assert samples - position >= 0.5 * min(length - onset, samples)
        elif length >= samples:  # the window lies within the sound: no silence, no repetition
            assert 0 <= onset - position <= length - samples
            if length - onset >= samples:
                assert position <= samples // 2
        else:
            assert position == onset
    assert len(found) > 15 or not anywhere


def test_place_repeats_and_cuts():
    sound_T = np.arange(1.0, 6.0)
    place = mix.place
    np.testing.assert_array_equal(
        place(sound_T, 1, position=1, samples=12), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]
    )
    np.testing.assert_array_equal(place(sound_T, 3, position=1, samples=3), [3, 4, 5])
    np.testing.assert_array_equal(place(sound_T, 1, position=3, samples=5), [0, 0, 1, 2, 3])
    np.testing.assert_array_equal(place(sound_T, 3, position=0, samples=4), [4, 5, 1, 2])


def test_mixture_has_the_wanted_level_peak_and_segment(files):
    example = mix.mix(spec(*files), sample_rate=RATE)
    foreground_T, background_T = example.sources_ST
    assert 20 * np.log10(rms(foreground_T) / rms(background_T)) == pytest.approx(1.5, abs=0.01)
    pieces = (example.mixture_T, foreground_T, background_T, example.adaptation_T)
    assert max(np.abs(x.astype(int)).max() for x in pieces) == pytest.approx(0.9 * 32768, abs=1)
    whole_T = audio.read(str(files[1]), sample_rate=RATE)
    gain = rms(background_T) / rms(whole_T[2000:10000])
    np.testing.assert_allclose(background_T, gain * whole_T[2000:10000], atol=0.51)
    np.testing.assert_allclose(example.adaptation_T, gain * whole_T[12000:20000], atol=0.51)
    assert example.adaptation_overlap == 0.0
    assert (example.source_ids, example.source_classes) == (('e', 'g'), ('dog', 'fan'))


@pytest.mark.parametrize('levels', [(0.75, 0.75), (0.75, -5.25)])
def test_several_events_are_added_at_their_levels(tmp_path, files, levels):
    row = spec(*files)
    trees.write(tmp_path / 'other.wav', sound_trees.event(17, seconds=2.0, lead=0.1), RATE)
    other = Source(
        *(str(tmp_path / 'other.wav'), 'o', 'cat', 0, 0, levels[1]), role='event', onset=0.9
    )
    both = dataclasses.replace(row, sources=(*row.sources, other))
    example, one = mix.mix(both, sample_rate=RATE), mix.mix(row, sample_rate=RATE)
    other_row = dataclasses.replace(
        row, sources=(dataclasses.replace(other, role=''), row.sources[1]), onset=0.9
    )
    alone = mix.mix(other_row, sample_rate=RATE).sources_ST[0]
    assert example.source_ids == ('e+o', 'g') and example.source_classes == ('cat+dog', 'fan')
    assert example.sources_ST.shape == one.sources_ST.shape
    power_S = [rms(x_T) for x_T in example.sources_ST]
    assert 20 * np.log10(power_S[0] / power_S[1]) == pytest.approx(1.5, abs=0.01)
    events_T2 = np.stack([one.sources_ST[0], alone], 1).astype(float)
    events_T2 /= rms(one.sources_ST[0]), rms(alone)
    gain_2, rest, *_ = np.linalg.lstsq(events_T2, example.sources_ST[0].astype(float), rcond=None)
    assert rest[0] < 4 * len(events_T2)  # squared steps of int16: nothing else is in it
    assert 20 * np.log10(gain_2[0] / gain_2[1]) == pytest.approx(levels[0] - levels[1], abs=0.05)


def test_a_silent_event_of_several_is_bad_input(tmp_path, files):
    row = spec(*files)
    trees.write(tmp_path / 'silent.wav', np.full(RATE, 1e-4), RATE)
    other = Source(*(str(tmp_path / 'silent.wav'), 'o', 'cat', 0, 0, 0.0), role='event', onset=0.1)
    with pytest.raises(audio.BadInput, match='silent.wav'):
        mix.mix(dataclasses.replace(row, sources=(*row.sources, other)), sample_rate=RATE)


def test_a_loud_segment_is_limited_alone(files):
    quiet = mix.mix(spec(*files), sample_rate=RATE)
    whole_T, _ = soundfile.read(files[1])
    whole_T[15000] = 0.95
    trees.write(files[1], whole_T, RATE)
    example = mix.mix(spec(*files), sample_rate=RATE)
    assert np.abs(example.adaptation_T.astype(int)).max() == pytest.approx(0.9 * 32768, abs=1)
    np.testing.assert_array_equal(example.sources_ST, quiet.sources_ST)


def test_a_short_background_is_looped(tmp_path, files):
    trees.write(tmp_path / 'short.wav', sound_trees.ground(7, seconds=0.3), RATE)
    scene = dataclasses.replace(
        SCENE, adaptation_start=100, adaptation_stop=8100, adaptation_overlap=1.0
    )
    example = mix.mix(
        spec(files[0], tmp_path / 'short.wav', scene=scene, start=2000), sample_rate=RATE
    )
    background_T = example.sources_ST[1]
    np.testing.assert_array_equal(background_T[2400:], background_T[:-2400])
    np.testing.assert_array_equal(background_T[500:1000], example.adaptation_T[0:500])
    assert example.adaptation_overlap == 1.0


@pytest.mark.parametrize('which', [0, 1])
def test_silent_pieces_are_bad_input(files, which):
    trees.write(files[which], np.full(24000, 0.2), RATE)  # a constant is silent too
    with pytest.raises(audio.BadInput, match='silent part'):
        mix.mix(spec(*files), sample_rate=RATE)


@pytest.mark.parametrize('snr', [98.0, -98.0])
def test_what_rounding_leaves_silent_is_bad_input(files, snr):
    with pytest.raises(audio.BadInput, match='silent part.*dB of SNR leave nothing'):
        mix.mix(spec(*files, snr=snr), sample_rate=RATE)


def test_a_segment_that_rounding_leaves_silent_is_bad_input(files):
    ground_T = sound_trees.ground(4, seconds=3.0)
    ground_T[12000:20000] = 2e-3 * ground_T[12000:20000] / np.abs(ground_T).max()
    trees.write(files[1], ground_T, RATE, subtype='FLOAT')
    heard = mix.mix(spec(*files, snr=30.0), sample_rate=RATE)
    assert heard.adaptation_T.any()
    with pytest.raises(audio.BadInput, match='silent part.*leave nothing'):
        mix.mix(spec(*files, snr=60.0), sample_rate=RATE)


def test_loudness_instead_of_rms(files):
    pytest.importorskip('pyloudnorm')
    import pyloudnorm

    example = mix.mix(spec(*files), sample_rate=RATE, level='lufs')
    meter = pyloudnorm.Meter(RATE)
    loudness = [meter.integrated_loudness(x_T / 32768) for x_T in example.sources_ST]
    assert loudness[0] - loudness[1] == pytest.approx(1.5, abs=0.02)
    with pytest.raises(ValueError, match='must be rms or lufs'):
        mix.mix(spec(*files), sample_rate=RATE, level='peak')


def test_loudness_without_its_library_is_refused(monkeypatch):
    from data_prep import fgbg, options

    parser = options.parser('job', '', input_dir=False, output_dir='x')
    fgbg.add_flags(parser)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match='pip install pyloudnorm'):
        fgbg.job(parser.parse(['--level=lufs'])[0], [])


@pytest.mark.parametrize('semitones, stretch', [(2, 1), (-2, 1), (0, 0.8), (0, 1.2), (1.5, 0.9)])
def test_pitch_and_length(semitones, stretch):
    time_T = np.arange(RATE) / RATE
    changed_T = augment.change(
        np.sin(2 * np.pi * 440 * time_T), sample_rate=RATE, semitones=semitones, stretch=stretch
    )
    assert changed_T.dtype == np.float32 and changed_T.size == round(RATE * stretch)
    spectrum_F = np.abs(np.fft.rfft(changed_T * np.hanning(changed_T.size), 1 << 16))
    found = np.argmax(spectrum_F) * RATE / (1 << 16)
    assert found == pytest.approx(440 * 2 ** (semitones / 12), rel=0.004)
    assert rms(changed_T) == pytest.approx(np.sqrt(0.5), rel=0.1)
    for end_T in (changed_T[300:900], changed_T[-900:-300]):  # sound to the end, no padding
        assert rms(end_T) == pytest.approx(np.sqrt(0.5), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize('rate', [0.6, 1.0, 1.37])
@pytest.mark.parametrize('samples, window', [(64, 64), (1000, 512), (20011, 2048)])
def test_the_phase_vocoder_is_librosas(samples, window, rate):
    sound_T = np.random.default_rng(samples).normal(size=samples).astype(np.float32) * 0.1
    sound_T[: samples // 4] = 0.0
    expected_T = librosa.effects.time_stretch(sound_T, rate=rate, n_fft=window)
    stretched_T = augment.time_stretch(sound_T, rate=rate, window=window)
    assert stretched_T.dtype == np.float32 and stretched_T.shape == expected_T.shape
    np.testing.assert_allclose(stretched_T, expected_T, rtol=0, atol=5e-7)


def test_no_change_is_no_change_and_tiny_sounds_survive():
    sound_T = sound_trees.event(1).astype(np.float32)
    np.testing.assert_array_equal(augment.change(sound_T, sample_rate=RATE), sound_T)
    for size in (1, 2, 3, 7, 50):
        changed_T = augment.change(
            sound_T[2000 : 2000 + size], sample_rate=RATE, semitones=1.0, stretch=1.2
        )
        assert changed_T.size == round(size * 1.2) and np.isfinite(changed_T).all()


@pytest.mark.parametrize('seconds, lead', [(0.5, 0.1), (3.0, 1.2), (3.0, 2.8)])
@pytest.mark.parametrize('draw', [0.0, 0.6, 0.999])
def test_an_augmented_event_begins_where_it_was_drawn(seconds, lead, draw):
    sound_T = sound_trees.event(9, seconds=seconds, lead=lead).astype(np.float32)
    scene = dict(onset=draw, anywhere=True, semitones=-1.0, stretch=1.2)
    row = Mixture('m', 'train', samples=RATE, **scene)
    window_T = mix.foreground(sound_T, row, samples=row.samples, sample_rate=RATE)
    assert window_T.shape == (RATE,)
    onset = mix.find_onset(sound_T, sample_rate=RATE)
    wanted = mix.onset_in_window(
        round(1.2 * sound_T.size), round(1.2 * onset), samples=RATE, draw=draw, anywhere=True
    )
    assert np.abs(window_T[wanted : wanted + 800]).max() > 0.2
    assert np.abs(window_T[: max(0, wanted - 500)]).max(initial=0.0) < 0.05
