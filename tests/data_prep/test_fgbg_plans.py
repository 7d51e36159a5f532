"""Which sounds meet, how often, and where excerpt and adaptation segment lie."""

import collections
import dataclasses
import functools
import itertools
import re

import pytest

from data_prep import build, scenes
from data_prep.readers import sounds as banks
from data_prep.recordings import Recording

RATE = 1000
COUNTS = {'train': 90, 'validation': 20, 'c1': 12, 'c2': 12, 'c3': 12, 'c4': 12}


def bank(number=6, samples=5000):
    """Sounds of two seen and one unseen class a role; each its own recording."""
    found = []
    for role, classes in (('foreground', 'abu'), ('background', 'xyv')):
        for name, i in itertools.product(classes, range(number)):
            seen = name not in 'uv'
            split = ('train', 'validation', 'test')[i % 3] if seen else 'test'
            item = Recording(f'{name}-{i}', f'{name}{i}', f'{name}{i}.wav', split, name, role, seen)
            found.append(dataclasses.replace(item, samples=samples))
    return found


def plan(inspected, counts=COUNTS, **options):
    options = {'table': 'classes.csv'} | options
    return scenes.scenes(inspected, sample_rate=RATE, counts=counts, **options)


def test_subsets_are_those_of_the_paper():
    specs = plan(bank())
    assert collections.Counter(spec.split for spec in specs) == COUNTS
    splits = {one.path: one.split for one in bank()}
    for spec in specs:
        foreground, background = spec.sources
        unseen = (foreground.source_class == 'u', background.source_class == 'v')
        assert unseen == {'c2': (False, True), 'c3': (True, False), 'c4': (True, True)}.get(
            spec.split, (False, False)
        )
        wanted = 'test' if spec.split[0] == 'c' else spec.split
        assert {splits[clip.path] for clip in spec.sources} == {wanted}
        assert spec.samples == background.stop - background.start == 2000
        assert (
            -3 <= spec.snr_db < 3
            and spec.sources[0].level_db - spec.sources[1].level_db == spec.snr_db
        )
    assert max(spec.snr_db for spec in specs) > 2 and min(spec.snr_db for spec in specs) < -2


def test_recordings_without_a_usable_sound_take_no_part_in_the_dealing():
    found = [
        dataclasses.replace(sound, source_class=sound.role, seen=True)
        for sound in bank(4)
        if sound.source_class in 'ax'
    ]
    counts, asked = {'train': 5, 'validation': 2, 'c1': 2}, 0
    for seed in range(12):
        sounds, _ = banks.split(found, seed=seed)
        bad = [dataclasses.replace(x, problem='silent' * (x.id == 'a-0')) for x in sounds]
        job = build.Job(
            name='x',
            utterances=[],
            plan=functools.partial(plan, counts=counts),
            resplit=lambda good: {x.source_id: x.split for x in banks.split(good, seed=seed)[0]},
        )
        forms, rows, told = build._planned(job, [[x] for x in bad])
        assert collections.Counter(row.split for row in rows) == counts
        splits = {form.path: form.split for (form,) in forms}
        for row in rows:
            wanted = 'test' if row.split == 'c1' else row.split
            assert {splits[source.path] for source in row.sources} == {wanted}
        asked += len(told)
        if not told:
            assert splits == {x.path: x.split for x in sounds}
    assert 0 < asked < 12


def test_sounds_are_used_equally_and_pairs_repeat_only_when_all_are_used():
    specs = [x for x in plan(bank(12), {'train': 300}) if x.split == 'train']  # 8 x 8 sounds
    pairs = collections.Counter(tuple(clip.path for clip in spec.sources) for spec in specs)
    assert len(pairs) == 64
    assert set(pairs.values()) <= {4, 5}
    for side in (0, 1):
        used = collections.Counter(spec.sources[side].path for spec in specs)
        assert max(used.values()) - min(used.values()) <= (1, 4)[side]
    assert len({spec.id for spec in specs}) == 300
    exact = [tuple(c.path for c in x.sources) for x in plan(bank(12), {'train': 64})]
    assert len(set(exact)) == 64


def test_draw_by_class_evens_out_classes():
    few = [one for one in bank(12) if one.source_class != 'a' or one.id == 'a-0']
    for draw, share in (('sound', 20), ('class', 50)):
        specs = plan(few, {'train': 100}, draw=draw)
        used = collections.Counter(spec.sources[0].source_class for spec in specs)
        assert used['a'] == share


def test_a_recording_never_meets_itself():
    shared = [
        Recording(f'{role}-{i}', f'r{i}', f'{role}{i}', 'train', role, role, True, samples=4000)
        for role in ('foreground', 'background')
        for i in range(3)
    ]
    specs = plan(shared, {'train': 12})
    pairs = collections.Counter(tuple(clip.source_id for clip in spec.sources) for spec in specs)
    assert len(pairs) == 6 and set(pairs.values()) == {2}
    assert all(a != b for a, b in pairs)
    alone = "every pair in the train split shares one recording, 'r0'.*--groups"
    with pytest.raises(ValueError, match=f'no mixtures for train: {alone}'):
        plan(shared[::3], {'train': 3})


def test_order_of_the_inspections_does_not_matter_and_the_seed_does():
    assert plan(bank()) == plan(bank()[::-1])
    assert plan(bank()) != plan(bank(), seed=1)


def test_only_training_is_augmented():
    for spec in plan(bank()):
        scene = spec
        changed = (scene.anywhere, scene.semitones != 0, scene.stretch != 1)
        assert changed == (spec.split == 'train',) * 3
        assert abs(scene.semitones) <= 2 and 0.8 <= scene.stretch <= 1.2
    off = dict(augment_onset=False, augment_pitch=(0.0, 0.0), augment_stretch=(1.0, 1.0))
    for spec in plan(bank(), **off):
        scene = spec
        assert (scene.anywhere, scene.semitones, scene.stretch) == (False, 0.0, 1.0)


@pytest.mark.parametrize('events', [(1, 1), (2, 2)])
def test_a_share_of_the_training_events_keeps_the_papers_repetition(events):
    counts, late = {'train': 300, 'validation': 20}, {}
    how = dict(events=events, augment_pitch=(0, 0))
    plain = plan(bank(60), counts, **how)
    for share in (0.0, 0.3, 0.6, 1.0):
        rows = plan(bank(60), counts, repeat_share=share, **how)
        places = [(row.id, i, p) for row in rows for i, (_, p) in enumerate(row.events)]
        late[share] = {(name, i) for name, i, placed in places if placed.anywhere}
        training = [place for row in rows if row.split == 'train' for place in row.events]
        assert len(late[share]) / len(training) == pytest.approx(1 - share, abs=0.08)
        # Nothing else is drawn anew.
        still = [
            dataclasses.replace(
                row,
                anywhere=was.anywhere,
                sources=tuple(
                    dataclasses.replace(x, anywhere=y.anywhere)
                    for x, y in zip(row.sources, was.sources)
                ),
            )
            for row, was in zip(rows, plain)
        ]
        assert still == plain
    assert late[1.0] == set() and late[0.6] < late[0.3] < late[0.0]


def test_a_split_without_sounds_is_refused_with_the_flag_that_does_without():
    seen = [one for one in bank() if one.source_class != 'v']
    with pytest.raises(ValueError, match='^no mixtures for c2: .*; c4: .*without: --subsets=c1,c3'):
        plan(seen)
    some = {name: count for name, count in COUNTS.items() if name not in ('c2', 'c4')}
    assert {spec.split for spec in plan(seen, some)} == {'train', 'validation', 'c1', 'c3'}
    assert scenes.missing(seen, COUNTS) == dict.fromkeys(
        ('c2', 'c4'), 'no usable sound of an unseen background class in the evaluation split'
    )
    none = [one for one in bank() if one.split != 'train']
    with pytest.raises(ValueError, match='no mixtures for train: .*--train_mixtures=0'):
        plan(none)
    assert {spec.split for spec in plan(none, COUNTS | {'train': 0})} == set(COUNTS) - {'train'}


def test_no_split_at_all_is_refused_with_the_reason():
    none = [one for one in bank() if one.split != 'validation']
    with pytest.raises(
        ValueError, match='^no mixtures for validation: no usable sound of a seen f'
    ):
        plan(none, {'train': 0, 'validation': 5})
    with pytest.raises(ValueError, match='^no mixtures: --train_mixtures.*all 0'):
        plan(bank(), dict.fromkeys(COUNTS, 0))


def test_a_split_of_one_recording_is_refused():
    one = [
        Recording(f'{role}-v', 'r', role, 'validation', role, role, True, samples=4000)
        for role in ('foreground', 'background')
    ]
    inspected = [x for x in bank() if x.split == 'train'] + one
    counts = {'train': 4, 'validation': 4}
    with pytest.raises(ValueError, match="'r'.*--groups.*--validation_mixtures=0"):
        plan(inspected, counts)
    with pytest.raises(ValueError) as refused:
        plan(inspected, counts, table='')  # of a job that reads no tables
    assert not {'--groups', '--classes'} & {*re.findall(r'--\w+', str(refused.value))}
    assert (
        "validation split shares one recording, 'r'"
        in scenes.missing(inspected, counts)['validation']
    )


@pytest.mark.parametrize('samples, adaptation', [(200, 200), (200, 100), (100, 250)])
@pytest.mark.parametrize('length', [10, 150, 200, 250, 270, 300, 350, 399, 400, 401, 1000])
def test_excerpt_and_segment(length, samples, adaptation):
    grid = [0.0, 0.3, 0.5, 0.7, 0.999]
    starts, orders = set(), set()
    for draws in itertools.product(grid, grid, grid):
        start, segment, overlap = scenes.place_background(
            length, samples=samples, adaptation=adaptation, draws=draws
        )
        assert 0 <= start < length and 0 <= segment < length
        if length < max(samples, adaptation):
            assert overlap == 1.0
            continue
        assert start + samples <= length and segment + adaptation <= length
        shared = min(start + samples, segment + adaptation) - max(start, segment)
        assert overlap == max(0, shared) / adaptation
        least = max(0, samples + adaptation - length) / adaptation
        assert overlap == least
        starts.add(start)
        orders.add(start < segment)
    if length == 1000:
        assert len(starts) >= 10 and orders == {True, False}
        assert min(starts) == 0 and max(starts) == length - samples


@pytest.mark.parametrize('draw', ['sound', 'class'])
def test_several_events(draw):
    once, rows = plan(bank(9), draw=draw), plan(bank(9), events=(1, 3), draw=draw)
    assert rows == plan(bank(9)[::-1], events=(1, 3), draw=draw)
    assert once == plan(bank(9), events=(1, 1), draw=draw)
    numbers = collections.Counter(len(row.events) for row in rows)
    assert sorted(numbers) == [1, 2, 3] and min(numbers.values()) > len(rows) / 5
    used = collections.Counter()
    for one, row in zip(once, rows):
        assert (row.id, row.split, row.snr_db, *row.targets) == (
            *(one.id, one.split, one.snr_db),
            *one.sources,
        )
        assert row.sources[2:] == tuple(event for event, _ in row.events[1:])
        assert len({source.source_id for source in row.sources}) == len(row.sources)
        for event, placed in row.events:
            assert (event.source_class == 'u') == (row.split in ('c3', 'c4'))
            assert event.level_db == row.snr_db / 2 and 0 <= placed.onset < 1
            changed = (placed.anywhere, placed.semitones != 0, placed.stretch != 1)
            assert changed == (row.split == 'train',) * 3
        assert len({placed.onset for _, placed in row.events}) == len(row.events)
        names = [event.source_id for event, _ in row.events]
        assert row.labels[0][0].split('+') == names and row.labels[1][0] == row.sources[1].source_id
        used.update(x.path for x in row.sources[2:] if row.split == 'train')
    assert max(used.values()) - min(used.values()) <= 2 and len(used) == 6


def test_more_events_than_recordings_are_refused():
    assert all(len(row.events) == 2 for row in plan(bank(), {'validation': 5}, events=(2, 2)))
    with pytest.raises(ValueError, match="'validation' has 4 recordings of f.*--events must be"):
        plan(bank(), {'validation': 5}, events=(1, 5))


@pytest.mark.parametrize('where', scenes.ADAPTATIONS)
@pytest.mark.parametrize('samples, adaptation', [(200, 200), (200, 90), (100, 250), (200, 1)])
@pytest.mark.parametrize('length', [1, 10, 150, 200, 250, 270, 399, 400, 401, 450, 451, 1000])
def test_where_the_segment_lies(where, length, samples, adaptation):
    """Sample by sample: the places that excerpt and segment take in a recording that is looped."""
    if where == 'mixture' and adaptation > samples:
        return  # refused before
    fits, starts = length >= samples + adaptation, set()
    for draws in itertools.product([0.0, 0.3, 0.7, 0.999999], repeat=3):
        start, segment, overlap = scenes.place_background(
            length, samples=samples, adaptation=adaptation, draws=draws, where=where
        )
        assert 0 <= start < length and 0 <= segment < length
        excerpt = {(start + i) % length for i in range(samples)}
        heard = {(segment + i) % length for i in range(adaptation)}
        starts.add(start)
        if where == 'mixture':
            assert heard <= excerpt and overlap == 1.0
        elif length < max(samples, adaptation):
            assert overlap == 1.0
        else:
            assert start + samples <= length and segment + adaptation <= length  # nothing loops
            assert overlap == len(heard & excerpt) / adaptation
            assert (overlap == 0.0) == fits
        if where == 'before' and (fits or length < max(samples, adaptation)):
            assert (segment + adaptation - start) % length == 0
        elif where == 'before':
            assert segment <= start
    if fits:
        first = adaptation if where == 'before' else 0
        last = length - samples
        assert min(starts) >= first and (max(starts) == last or where == 'outside')


def test_the_segment_of_a_plan_lies_where_it_is_asked_for():
    for where, overlap in (('outside', 0.0), ('before', 0.0), ('mixture', 1.0)):
        for row in plan(bank(), adaptation=where, adaptation_seconds=1.0):
            ground = row.sources[1]
            assert row.adaptation_overlap == overlap
            assert row.adaptation_stop - row.adaptation_start == 1000
            if where == 'before':
                assert row.adaptation_stop == ground.start
            inside = ground.start <= row.adaptation_start and row.adaptation_stop <= ground.stop
            assert inside == (where == 'mixture')
    assert plan(bank(), adaptation='outside') == plan(bank())
