"""Pairing: whole use of the corpus, never one speaker twice, independent of order."""

import collections
import random

import pytest

from data_prep import build, mixtures, pairing
from data_prep.mixtures import Mixture, Source
from data_prep.recordings import Recording


def corpus(speakers, *, files=5, samples=16000, split='train'):
    return [
        Recording(f'{s}-{f}', s, f'{s}/{f}.wav', split, samples=samples + 100 * f)
        for s in speakers
        for f in range(files)
    ]


def test_one_pass_uses_each_utterance_once_a_side():
    inspected = corpus('abcdef')
    specs = pairing.random_pairs(inspected, sample_rate=8000)
    for side in (0, 1):
        paths = [spec.sources[side].path for spec in specs]
        assert sorted(paths) == sorted(one.path for one in inspected)
    assert all(spec.sources[0].source_id != spec.sources[1].source_id for spec in specs)


def test_pairs_are_mixed_well():
    specs = pairing.random_pairs(corpus('abcdef'), sample_rate=8000)
    pairs = {tuple(clip.source_id for clip in spec.sources) for spec in specs}
    assert len(pairs) > 12  # of 30 possible ones, in 30 mixtures


@pytest.mark.parametrize('wanted', [1, 7, 30, 47, 150])
def test_wanted_number_without_repeats(wanted):
    specs = pairing.random_pairs(corpus('abcdef'), sample_rate=8000, pairs={'train': wanted})
    assert len(specs) == wanted
    assert len({spec.id for spec in specs}) == wanted


@pytest.mark.parametrize('speakers', [2, 3])
@pytest.mark.parametrize('hours', [0, 0.01, 0.03, 0.05, 9])
def test_as_many_mixtures_as_come_to_hours(speakers, hours):
    inspected = corpus('abcdef')  # of 66 s
    how = dict(sample_rate=8000, speakers=speakers)
    rows = pairing.random_pairs(inspected, hours={'train': hours}, **how)
    one_pass = pairing.random_pairs(inspected, **how)
    assert rows == one_pass if not hours else rows[:5] == one_pass[:5]
    seconds = [row.samples / 8000 for row in rows]
    enough = sum(seconds) >= 3600 * hours
    assert enough == (hours < 9) and (not hours or sum(seconds[:-1]) < 3600 * hours)
    assert len({row.id for row in rows}) == len(rows)
    for place in range(speakers):
        used = collections.Counter(row.sources[place].path for row in rows)
        assert max(used.values()) <= 3 and (enough or min(used.values()) == 3)
    # A number of mixtures counts for more.
    few = pairing.random_pairs(inspected, pairs={'train': 7}, hours={'train': hours}, **how)
    assert few == one_pass[:7]


def test_numbers_depend_on_the_ids_and_the_seed_only():
    inspected = corpus('abcd')
    shuffled = inspected[:]
    random.Random(1).shuffle(shuffled)
    specs = pairing.random_pairs(inspected, sample_rate=8000)
    assert pairing.random_pairs(shuffled, sample_rate=8000) == specs
    assert pairing.random_pairs(inspected, sample_rate=8000, seed=1) != specs
    # A mixture that occurs in a larger request is the same mixture.
    more = pairing.random_pairs(inspected, sample_rate=8000, pairs={'train': 40})
    assert {s.id: s for s in more}[specs[0].id] == specs[0]


def test_shards_do_not_depend_on_the_order_of_the_specs():
    specs = pairing.random_pairs(corpus('abcd', files=30), sample_rate=8000)

    def members(specs):
        work = build.assign_shards(specs)
        return {place: [specs[i].id for i in rows] for place, rows in work.items()}

    work = members(specs)
    assert members(specs[::-1]) == work
    assert len(work) == 4 and all(work.values())
    assert sorted(name for rows in work.values() for name in rows) == sorted(x.id for x in specs)


def test_snr_and_crop_ranges():
    specs = pairing.random_pairs(
        corpus('abcdef', files=20), sample_rate=8000, snr_db=(-5, 5), pairs={'train': 1000}
    )
    snrs = [spec.snr_db for spec in specs]
    assert -5 <= min(snrs) < -4.9 and 4.9 < max(snrs) <= 5
    counts = collections.Counter(int((snr + 5) // 2) for snr in snrs)
    assert min(counts[k] for k in range(5)) > 140  # of 200 expected
    for spec in specs:
        assert spec.sources[0].level_db - spec.sources[1].level_db == pytest.approx(spec.snr_db)
        lengths = {clip.stop - clip.start for clip in spec.sources}
        assert lengths == {spec.samples}
        assert all(clip.start >= 0 and clip.stop <= 16000 + 1900 for clip in spec.sources)
    assert len({clip.start for spec in specs for clip in spec.sources}) > 100


def test_splits_never_mix():
    inspected = corpus('abc') + corpus('def', split='test')
    specs = pairing.random_pairs(inspected, sample_rate=8000)
    for spec in specs:
        speakers = {clip.source_id for clip in spec.sources}
        assert speakers <= set('abc' if spec.split == 'train' else 'def')
    assert {spec.split for spec in specs} == {'train', 'test'}


def test_a_speaker_in_two_splits_is_refused():
    with pytest.raises(ValueError, match='must not cross splits'):
        pairing.random_pairs(corpus('abc') + corpus('cd', split='test'), sample_rate=8000)


def test_one_speaker_with_most_files():
    inspected = corpus('a', files=20) + corpus('bcd', files=2)
    specs = pairing.random_pairs(inspected, sample_rate=8000)
    assert len(specs) >= 10
    assert all(spec.sources[0].source_id != spec.sources[1].source_id for spec in specs)


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
        pairing.random_pairs(corpus(speakers), sample_rate=8000, pairs={'train': wanted})


def test_a_split_that_is_not_asked_for_is_not_made():
    inspected = corpus('abcd') + corpus('efgh', split='test')
    pairs = {'train': 0, 'test': 5}
    specs = pairing.random_pairs(inspected, sample_rate=8000, pairs=pairs)
    assert {spec.split for spec in specs} == {'test'} and len(specs) == 5


@pytest.mark.parametrize('samples, parts', [(16000, 1), (16001, 2), (100000, 7), (1, 1)])
def test_cut_makes_equal_parts_and_loses_nothing(samples, parts):
    one = Recording('u', 's', 'p', 'train', samples=samples)
    segments = pairing.cut(one, sample_rate=8000, max_seconds=2.0)
    assert len(segments) == parts
    assert segments[0].start == 0 and segments[-1].start + segments[-1].samples == samples
    lengths = [segment.samples for segment in segments]
    assert max(lengths) <= 16000 and max(lengths) - min(lengths) <= 1
    for a, b in zip(segments, segments[1:]):
        assert a.start + a.samples == b.start
    assert len({segment.id for segment in segments}) == parts


def row(name, *sources):
    return Mixture(name, 'test', tuple(Source(path, 's', level_db=x) for path, x in sources))


def test_listed_pairs_lose_lines_with_a_bad_source():
    inspected = corpus('ab', files=2, split='test')
    bad = Recording('c-0', 'c', 'c/0.wav', 'test', problem='empty', detail='no samples')
    rows = [
        row('m1', ('a/0.wav', 1.5), ('b/1.wav', -1.5)),
        row('m2', ('a/0.wav', 1.0), ('c/0.wav', -1.0)),
        row('m3', ('gone.wav', 1.0), ('c/0.wav', -1.0)),
    ]
    made, *lost = mixtures.listed([*inspected, bad], rows=rows)
    assert [x.problem for x in lost] == ['source skipped'] * 2
    assert [x.detail for x in lost] == ['without c-0', 'without gone.wav and c-0']
    assert (made.id, made.samples, made.snr_db, made.problem) == ('m1', 16000, 3.0, '')
    assert [source.stop for source in made.sources] == [16000, 16100]


SHARES = {'train': 0.8, 'validation': 0.1, 'test': 0.1}


@pytest.mark.parametrize(
    'files, seconds, pieces', [(10, 4, False), (3, 9, False), (2, 8, True), (1, 30, True)]
)
def test_recordings_or_their_pieces_are_dealt(files, seconds, pieces):
    inspected = corpus('ab', files=files, samples=8000 * seconds)
    how = dict(sample_rate=8000, max_seconds=4.0, shares=SHARES)
    specs = pairing.random_pairs(inspected, **how)
    assert pairing.random_pairs(inspected[::-1], **how) == specs
    heard = collections.defaultdict(set)  # (speaker, split): (path, start of its segment)
    for spec in specs:
        for clip in spec.sources:
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
    specs = pairing.random_pairs(inspected, sample_rate=8000, shares=SHARES)
    splits = {s.split for s in specs for clip in s.sources if clip.source_id == 'c'}
    assert splits == {'train'}
    with pytest.raises(ValueError, match="split 'test' has no usable file"):
        pairing.random_pairs(
            corpus('ab', files=2), sample_rate=8000, pairs=dict.fromkeys(SHARES), shares=SHARES
        )


@pytest.mark.parametrize(
    'flags, way', [(('max_seconds',), '; --max_seconds=N makes it shorter'), ((), '')]
)
def test_a_mixture_that_fits_no_record_is_skipped_before_it_is_mixed(flags, way):
    sources = (Source('/a', 'a'), Source('/b', 'b'))
    rows = [Mixture(name, 'test', sources, n) for name, n in (('x', 9), ('y', 1 << 29))]
    how = dict(name='x', utterances=[], extra_metadata={'config': flags})
    fits, long = build._plan(build.Job(plan=lambda _: rows, **how), [])
    assert fits == rows[0] and long.problem == 'too long'
    assert long.detail == f'536,870,912 samples, a record of 2 holds 536,608,768 each{way}'
    with pytest.raises(ValueError, match='none of its 1 mixture can be made, e.g. y: 536,870,912'):
        build._plan(build.Job(plan=lambda _: rows[1:], **how), [])
