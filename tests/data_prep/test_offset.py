"""A recorder's offset is heard by nobody: it moves no level, no onset and no SNR."""

import dataclasses

import numpy as np
import pytest

from data_prep import audio, mix, mixtures, pairing
from data_prep.recordings import Recording
import sound_trees
import trees

RATE = 8000


def inspected(path, audio_T, **keywords):
    trees.write(path, audio_T, RATE, **keywords)
    found = audio.inspect(Recording(path.stem, path.stem, str(path), 'test'), sample_rate=RATE)
    assert not found.problem, found
    return found


def snr_db(source_ST):
    power_S = np.var(source_ST.astype(np.float64), axis=1)
    return 10 * np.log10(power_S[0] / power_S[1])


@pytest.mark.parametrize('offset', [0.4, -0.1, 0.02])
def test_an_offset_is_found_taken_off_and_said(tmp_path, offset):
    sound_T = trees.speechlike(1.5, seed=1, peak=0.1)
    found = inspected(tmp_path / 'x.wav', sound_T + offset)
    assert found.take.offset == pytest.approx(offset + sound_T.mean(), abs=1e-4)
    assert [note for note in found.converted if note.startswith('offset taken off')]
    heard_T = audio.read(found.path, sample_rate=RATE, take=found.take)
    np.testing.assert_allclose(heard_T, sound_T - sound_T.mean(), atol=1e-4)
    plain = inspected(tmp_path / 'y.wav', sound_T)
    assert found.rms_db == pytest.approx(plain.rms_db, abs=0.05)
    assert (plain.take, plain.converted) == (audio.Take(), ())  # a small mean stays, and the bytes


@pytest.mark.parametrize('offset', [0.0, 0.3])
def test_speakers_have_the_snr_that_was_drawn(tmp_path, offset):
    sounds = [trees.speechlike(1.5, seed=i, peak=0.05 + 0.2 * i) for i in range(2)]
    good = [
        inspected(tmp_path / f'{i}.wav', sound_T + offset * (1 - i))
        for i, sound_T in enumerate(sounds)
    ]
    plain = [
        inspected(tmp_path / f'p{i}.wav', sound_T - sound_T.mean())
        for i, sound_T in enumerate(sounds)
    ]
    for one, other in zip(*(pairing.random_pairs(x, sample_rate=RATE) for x in (good, good))):
        example = mix.mix_at_levels(one, sample_rate=RATE)
        clips = tuple(plain[int(clip.source_id)] for clip in other.sources)
        sources = tuple(
            mixtures.part(x, 0, x.samples, source.level_db)
            for x, source in zip(clips, other.sources)
        )
        spec = dataclasses.replace(other, sources=sources)
        wanted = mix.mix_at_levels(spec, sample_rate=RATE)
        assert snr_db(example.sources_ST) == pytest.approx(snr_db(wanted.sources_ST), abs=0.05)
        assert abs(example.sources_ST.mean(axis=1)).max() < 100  # of 32768


def test_an_event_with_an_offset_begins_where_it_is_heard(tmp_path):
    event_T, ground_T = sound_trees.event(3, seconds=1.2, lead=0.7), sound_trees.ground(4)
    pieces = {}
    for name, offset in (('plain', 0.0), ('offset', -0.3)):
        event = inspected(tmp_path / f'{name}.wav', event_T + offset)
        ground = inspected(tmp_path / f'{name}_ground.wav', ground_T + offset / 2)
        spec = mixtures.Mixture(
            'm',
            'c1',
            (mixtures.part(event, 0, event.samples, 1.0), mixtures.part(ground, 0, 8000, -1.0)),
            8000,
            2.0,
            adaptation_start=2000,
            adaptation_stop=6000,
            adaptation_overlap=0.5,
            onset=0.3,
        )
        pieces[name] = mix.mix(spec, sample_rate=RATE)
    source_ST = pieces['offset'].sources_ST
    assert snr_db(source_ST) == pytest.approx(2.0, abs=0.05)
    similar = np.corrcoef(source_ST[0], pieces['plain'].sources_ST[0])[0, 1]
    assert similar > 0.999  # the same window of the event


def test_a_ready_mixture_keeps_its_samples_and_has_its_snr_without_the_offset(tmp_path):
    sounds = [trees.speechlike(1.0, seed=i, peak=0.1 + 0.1 * i) for i in range(2)]
    good = [inspected(tmp_path / f'{i}.wav', x_T + 0.2 * i) for i, x_T in enumerate(sounds)]
    trees.write(tmp_path / 'mix.wav', sum(sounds) + 0.2, RATE)
    sources = tuple(mixtures.Source(x.path, x.source_id) for x in good)
    row = mixtures.Mixture('m', 'test', sources, ready=(str(tmp_path / 'mix.wav'),))
    (spec,) = mixtures.listed(good, rows=[row])
    example = mix.mix_as_made(spec, sample_rate=RATE)
    assert example.sources_ST[1].mean() / 32768 == pytest.approx(0.2, abs=0.01)
    assert example.snr_db == pytest.approx(snr_db(np.stack(sounds)), abs=0.05)
