import numpy as np
import pytest

from fgsep_jax.config import ConfigError
from fgsep_jax.data import pipeline, records
from fgsep_jax.data.source import RecordSource
import synthetic
import tiny


def open_source(tmp_path, split='train', **kwargs):
    return RecordSource(synthetic.write(tmp_path / 'tones', **kwargs), split)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


@pytest.mark.parametrize('length, start', [(3, 0), (5, 2), (8, 4), (2, 9)])
def test_crop_pads_with_zeros_to_the_length(length, start):
    source_ST = np.arange(1, 11).reshape(2, 5)
    expected = np.zeros((2, length), int)
    for t in range(start, min(start + length, 5)):
        expected[:, t - start] = source_ST[:, t]
    found = np.full((2, length), 99)
    assert pipeline.crop(source_ST, start, found) == len(range(start, min(start + length, 5)))
    np.testing.assert_array_equal(found, expected)


def test_batches_are_segments_of_the_named_mixtures(tmp_path):
    source = open_source(tmp_path)
    by_id = {source[i].id: source[i].sources_ST for i in range(len(source))}
    starts = set()
    for batch in take(pipeline.train_batches(source, tiny.config('')), 8):
        assert batch['source_BST'].shape == (4, 2, 800)
        assert batch['source_BST'].dtype == np.int16
        assert 'length_B' not in batch  # nothing is short, so no model need mask
        for name, crop_ST in zip(batch['id'], batch['source_BST']):
            windows = np.lib.stride_tricks.sliding_window_view(by_id[name], 800, axis=1)
            found = np.flatnonzero((windows == crop_ST[:, None]).all(axis=(0, 2)))
            assert len(found) == 1
            starts.add(int(found[0]))
    assert len(starts) > 16  # crops are random


def test_every_epoch_is_another_shuffle_of_all_examples(tmp_path):
    source = open_source(tmp_path)
    batches = pipeline.train_batches(source, tiny.config(''))
    epochs = [[name for batch in take(batches, 4) for name in batch['id']] for _ in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len(set(epochs[0])) == 16
    assert epochs[0] != epochs[1] != epochs[2]


def test_epochs_follow_one_another_within_a_batch(tmp_path):
    source = open_source(tmp_path, train=18)
    batches = take(pipeline.train_batches(source, tiny.config('')), 9)
    names = [name for batch in batches for name in batch['id']]
    assert len(set(names[:18])) == len(set(names[18:])) == 18
    rows = {}  # of one mixture, the crops of both epochs: other draws at every position
    for batch in batches:
        for name, crop_ST in zip(batch['id'], batch['source_BST']):
            rows.setdefault(name, []).append(crop_ST)
    assert sum((a != b).any() for a, b in rows.values()) > 15


def test_the_stream_is_a_function_of_seed_and_position(tmp_path):
    source, config = open_source(tmp_path), tiny.config('')
    first = pipeline.train_batches(source, config)
    take(first, 3)
    position = first.get_state()
    expected = take(first, 5)
    resumed = pipeline.train_batches(source, config)
    resumed.set_state(position)
    for a, b in zip(expected, take(resumed, 5)):
        assert a['id'] == b['id']
        np.testing.assert_array_equal(a['source_BST'], b['source_BST'])
    other = tiny.config('')
    other.seed = 1
    assert (
        next(pipeline.train_batches(source, other))['id']
        != next(pipeline.train_batches(source, config))['id']
    )


@pytest.mark.parametrize('hosts', [2, 4])
def test_hosts_share_the_same_global_batches(tmp_path, hosts):
    source, config = open_source(tmp_path), tiny.config('')
    whole = take(pipeline.train_batches(source, config), 6)
    shares = [
        take(pipeline.train_batches(source, config, host=h, hosts=hosts), 6) for h in range(hosts)
    ]
    for step, batch in enumerate(whole):
        rows = dict(zip(batch['id'], batch['source_BST']))
        dealt = [
            (name, row)
            for share in shares
            for name, row in zip(share[step]['id'], share[step]['source_BST'])
        ]
        assert sorted(name for name, _ in dealt) == sorted(batch['id'])
        for name, row in dealt:
            np.testing.assert_array_equal(rows[name], row)


def test_short_mixtures_are_padded_and_measured_or_dropped(tmp_path):
    source = open_source(tmp_path, lengths=(2400, 500))
    batch = next(pipeline.train_batches(source, tiny.config('')))
    for length, source_ST in zip(batch['length_B'], batch['source_BST']):
        assert length in (500, 800)
        assert not source_ST[:, length:].any() and source_ST[:, length - 20 : length].any()
    config = tiny.config('', **{'data.short': 'drop'})
    indices, short = pipeline.usable(source, config)
    assert short == 8 and len(indices) == 8 and set(source.lengths[indices]) == {2400}
    assert 'length_B' not in next(pipeline.train_batches(source, config))
    with pytest.raises(ConfigError, match='8 of the 16 training mixtures can be used'):
        pipeline.usable(source, tiny.config('', **{'data.short': 'drop', 'data.batch_size': 9}))


@pytest.mark.parametrize('hosts', [1, 2])
@pytest.mark.parametrize('examples', [1, 3, 4, 9])
def test_validation_sees_every_example_once(tmp_path, hosts, examples):
    source = open_source(tmp_path, 'validation', validation=examples)
    shares = [
        list(pipeline.validation_batches(source, tiny.config(''), host=h, hosts=hosts))
        for h in range(hosts)
    ]
    assert len({len(share) for share in shares}) == 1  # else a pod would hang
    seen = [
        name
        for share in shares
        for batch in share
        for name, counts in zip(batch['id'], batch['valid_B'])
        if counts
    ]
    assert sorted(seen) == [source[i].id for i in range(examples)]


def test_adaptation_segments_have_the_configured_length(tmp_path):
    data = synthetic.write(tmp_path / 'tones', adaptation=True)
    config = tiny.config(data, 'blstm_m1_plus')
    source = RecordSource(data, 'train')
    by_id = {source[i].id: source[i].adaptation_T for i in range(len(source))}
    for seconds in (0.05, 0.2):  # shorter and longer than the 500 samples that are there
        config.data.adaptation_seconds = seconds
        for batch in (
            next(pipeline.train_batches(source, config)),
            next(pipeline.validation_batches(source, config)),
        ):
            assert batch['adaptation_BT'].shape == (4, round(8000 * seconds))
            for name, segment_T in zip(batch['id'], batch['adaptation_BT']):
                np.testing.assert_array_equal(segment_T, np.resize(by_id[name], len(segment_T)))
    assert 'adaptation_BT' not in next(
        pipeline.train_batches(source, tiny.config(data, 'blstm_m1'))
    )


@pytest.mark.parametrize('noise', [False, True])
def test_sources_that_will_be_dealt_come_with_names_and_places_of_their_own(tmp_path, noise):
    source = open_source(tmp_path, noise=noise)
    config = tiny.config('', **{'data.remix': True, 'data.speed': 0.1})
    by_id = {source[i].id: source[i] for i in range(len(source))}
    hosts = [pipeline.train_batches(source, config, host=h, hosts=2) for h in range(2)]
    names, places = {}, set()
    for batches in zip(*(take(host, 4) for host in hosts)):
        rows = np.concatenate([batch['row_B'] for batch in batches])
        assert sorted(rows) == [0, 1, 2, 3]
        for batch in batches:
            assert batch['source_BST'].shape == (2, 2 + noise, 880)
            for b, name in enumerate(batch['id']):
                example = by_id[name]
                for part_T, whole_T in zip(batch['source_BST'][b], example.parts_ST, strict=True):
                    windows = np.lib.stride_tricks.sliding_window_view(whole_T, 880)
                    places.add((name, int(np.flatnonzero((windows == part_T).all(axis=1))[0])))
                of = (*example.source_ids, *[name] * noise)
                for number, who in zip(batch['name_BS'][b], of, strict=True):
                    assert names.setdefault(who, number) == number
    assert len({*names.values()}) == len(names) == 16 * (2 + noise)
    assert len(places) == len(names)  # no two sources of a mixture from one place
    plan = pipeline.shapes(config, parts=records.parts_of(source.metadata))
    assert 'name_BS' in plan
    for name, (shape, kind) in plan.items():
        value = next(hosts[0])[name]
        assert value.dtype == kind and value.shape[1:] == shape[1:], name
