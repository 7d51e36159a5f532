"""Pairing: whole use of the corpus, never one speaker twice, independent of order."""

import collections
import random

import pytest

from data_prep import plans, workers
from data_prep.audio import Inspected
from data_prep.corpora import Utterance


def corpus(speakers, *, files=5, samples=16000, split='train'):
    return [
        Inspected(Utterance(f'{s}-{f}', s, f'{s}/{f}.wav', split), samples=samples + 100 * f)
        for s in speakers
        for f in range(files)
    ]


def test_one_pass_uses_each_utterance_once_a_side():
    inspected = corpus('abcdef')
    specs = plans.random_pairs(inspected, sample_rate=8000)
    for side in (0, 1):
        paths = [spec.clips[side].path for spec in specs]
        assert sorted(paths) == sorted(one.item.path for one in inspected)
    assert all(spec.clips[0].source_id != spec.clips[1].source_id for spec in specs)


def test_pairs_are_mixed_well():
    specs = plans.random_pairs(corpus('abcdef'), sample_rate=8000)
    pairs = {tuple(clip.source_id for clip in spec.clips) for spec in specs}
    assert len(pairs) > 12  # of 30 possible ones, in 30 mixtures


@pytest.mark.parametrize('wanted', [1, 7, 30, 47, 150])
def test_wanted_number_without_repeats(wanted):
    specs = plans.random_pairs(corpus('abcdef'), sample_rate=8000, pairs={'train': wanted})
    assert len(specs) == wanted
    assert len({spec.id for spec in specs}) == wanted


def test_numbers_depend_on_the_ids_and_the_seed_only():
    inspected = corpus('abcd')
    shuffled = inspected[:]
    random.Random(1).shuffle(shuffled)
    specs = plans.random_pairs(inspected, sample_rate=8000)
    assert plans.random_pairs(shuffled, sample_rate=8000) == specs
    assert plans.random_pairs(inspected, sample_rate=8000, seed=1) != specs
    # A mixture that occurs in a larger request is the same mixture.
    more = plans.random_pairs(inspected, sample_rate=8000, pairs={'train': 40})
    assert {s.id: s for s in more}[specs[0].id] == specs[0]


def test_shards_do_not_depend_on_the_order_of_the_specs():
    specs = plans.random_pairs(corpus('abcd', files=30), sample_rate=8000)
    work = workers.assign_shards(specs)
    assert workers.assign_shards(specs[::-1]) == work
    assert len(work) == 4 and all(rows for *_, rows in work)
    assert sorted(spec.id for *_, rows in work for spec in rows) == sorted(s.id for s in specs)


def test_snr_and_crop_ranges():
    specs = plans.random_pairs(
        corpus('abcdef', files=20), sample_rate=8000, snr_db=(-5, 5), pairs={'train': 1000}
    )
    snrs = [spec.snr_db for spec in specs]
    assert -5 <= min(snrs) < -4.9 and 4.9 < max(snrs) <= 5
    counts = collections.Counter(int((snr + 5) // 2) for snr in snrs)
    assert min(counts[k] for k in range(5)) > 140  # of 200 expected
    for spec in specs:
        assert spec.level_db[0] - spec.level_db[1] == pytest.approx(spec.snr_db)
        lengths = {clip.stop - clip.start for clip in spec.clips}
        assert lengths == {spec.samples}
        assert all(clip.start >= 0 and clip.stop <= 16000 + 1900 for clip in spec.clips)
    assert len({clip.start for spec in specs for clip in spec.clips}) > 100


def test_splits_never_mix():
    inspected = corpus('abc') + corpus('def', split='test')
    specs = plans.random_pairs(inspected, sample_rate=8000)
    for spec in specs:
        speakers = {clip.source_id for clip in spec.clips}
        assert speakers <= set('abc' if spec.split == 'train' else 'def')
    assert {spec.split for spec in specs} == {'train', 'test'}


def test_a_speaker_in_two_splits_is_refused():
    with pytest.raises(ValueError, match='must not cross splits'):
        plans.random_pairs(corpus('abc') + corpus('cd', split='test'), sample_rate=8000)


def test_one_speaker_with_most_files():
    inspected = corpus('a', files=20) + corpus('bcd', files=2)
    specs = plans.random_pairs(inspected, sample_rate=8000)
    assert len(specs) >= 10
    assert all(spec.clips[0].source_id != spec.clips[1].source_id for spec in specs)


@pytest.mark.parametrize(
    'speakers, wanted, message',
    [
        ('a', None, '1 speaker.*--train_pairs=0'),
        ('ab', 99, 'ask for'),
        ('ab', 0, 'all 0'),
        ('', 4, 'no usable file.*--train_pairs=0'),
    ],
)
def test_impossible_requests(speakers, wanted, message):
    with pytest.raises(ValueError, match=message):
        plans.random_pairs(corpus(speakers), sample_rate=8000, pairs={'train': wanted})


def test_a_split_that_is_not_asked_for_is_not_made():
    inspected = corpus('abcd') + corpus('efgh', split='test')
    pairs = {'train': 0, 'test': 5}
    specs = plans.random_pairs(inspected, sample_rate=8000, pairs=pairs)
    assert {spec.split for spec in specs} == {'test'} and len(specs) == 5


@pytest.mark.parametrize('samples, parts', [(16000, 1), (16001, 2), (100000, 7), (1, 1)])
def test_cut_makes_equal_parts_and_loses_nothing(samples, parts):
    one = Inspected(Utterance('u', 's', 'p', 'train'), samples=samples)
    segments = plans.cut(one, sample_rate=8000, max_seconds=2.0)
    assert len(segments) == parts
    assert segments[0].clip.start == 0 and segments[-1].clip.stop == samples
    lengths = [segment.clip.stop - segment.clip.start for segment in segments]
    assert max(lengths) <= 16000 and max(lengths) - min(lengths) <= 1
    for a, b in zip(segments, segments[1:]):
        assert a.clip.stop == b.clip.start
    assert len({segment.id for segment in segments}) == parts


def test_listed_pairs_lose_lines_with_a_bad_source():
    inspected = corpus('ab', files=2)
    lines = [
        plans.Listed('m1', 'test', ('a-0', 'b-1'), (1.5, -1.5)),
        plans.Listed('m2', 'test', ('a-0', 'gone'), (1.0, -1.0)),
    ]
    spec, lost = plans.listed_pairs(inspected, listed=lines)
    assert lost == plans.Lost('m2', 'test', 'source skipped', 'without gone')
    assert (spec.id, spec.samples, spec.snr_db) == ('m1', 16000, 3.0)
    assert [clip.stop for clip in spec.clips] == [16000, 16100]


SHARES = {'train': 0.8, 'validation': 0.1, 'test': 0.1}


@pytest.mark.parametrize(
    'files, seconds, pieces', [(10, 4, False), (3, 9, False), (2, 8, True), (1, 30, True)]
)
def test_recordings_or_their_pieces_are_dealt(files, seconds, pieces):
    inspected = corpus('ab', files=files, samples=8000 * seconds)
    how = dict(sample_rate=8000, max_seconds=4.0, shares=SHARES)
    specs = plans.random_pairs(inspected, **how)
    assert plans.random_pairs(inspected[::-1], **how) == specs
    heard = collections.defaultdict(set)  # (speaker, split): (path, start of its segment)
    for spec in specs:
        for clip in spec.clips:
            heard[clip.source_id, spec.split] |= {
                (clip.path, second) for second in range(-(-clip.start // 4000), clip.stop // 4000)
            }
    assert set(heard) == {(s, split) for s in 'ab' for split in SHARES}
    for speaker in 'ab':
        splits = [heard[speaker, split] for split in SHARES]
        for i, one in enumerate(splits):
            for other in splits[i + 1 :]:
                assert not one & other
                assert pieces or not {x for x, _ in one} & {x for x, _ in other}


def test_who_has_too_few_pieces_is_in_training_alone():
    inspected = corpus('ab', files=4) + corpus('c', files=2)
    specs = plans.random_pairs(inspected, sample_rate=8000, shares=SHARES)
    splits = {s.split for s in specs for clip in s.clips if clip.source_id == 'c'}
    assert splits == {'train'}
    with pytest.raises(ValueError, match="split 'test' has no usable file"):
        plans.random_pairs(
            corpus('ab', files=2), sample_rate=8000, pairs=dict.fromkeys(SHARES), shares=SHARES
        )
