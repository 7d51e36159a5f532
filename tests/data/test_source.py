"""Random access to a data set's shards: contents, damage, processes."""

from concurrent.futures import ThreadPoolExecutor
import multiprocessing
import pickle

import fsspec
import numpy as np
import pytest

from fgsep_jax import files
from fgsep_jax.data import records, source


def make_dataset(folder, *, examples=11, shards=3):
    """A small finished data set with one split; example i has 10 + i samples of value i."""
    folder.mkdir(exist_ok=True)
    rows = []
    for shard in range(shards):
        with open(folder / records.shard_name('tiny', 'train', shard, shards), 'wb') as file:
            offset = 0
            for i in range(shard, examples, shards):
                example = records.Example(
                    id=f'e{i}',
                    sources_ST=np.full((2, 10 + i), i, np.int16),
                    sample_rate=8000,
                    source_ids=('a', 'b'),
                    source_classes=('speech', 'speech'),
                    snr_db=0.0,
                )
                payload = records.encode(example)
                size = records.write_record(file, payload)
                rows.append((shard, offset, size, 10 + i, records.checksum(payload)))
                offset += size
    index = records.write_index(np.array(rows, records.INDEX_DTYPE))
    (folder / records.index_name('train')).write_bytes(index)
    metadata = {
        'schema_version': records.SCHEMA_VERSION,
        'name': 'tiny',
        'sample_rate': 8000,
        'sources': 2,
        'splits': {'train': {'examples': examples, 'shards': shards, 'speakers': ['a', 'b']}},
    }
    (folder / records.DATASET_FILE).write_text(files.to_json(metadata))
    return folder


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / 'tiny')


def test_every_example_once_with_its_length(dataset):
    train = source.RecordSource(dataset, 'train')
    assert len(train) == 11
    assert train.speakers == ('a', 'b')
    assert sorted(train[i].id for i in range(11)) == sorted(f'e{i}' for i in range(11))
    for i in range(11):
        assert train[i].sources_ST.shape == (2, train.lengths[i])
        np.testing.assert_array_equal(train[i].sources_ST, train.lengths[i] - 10)
    assert train[-1].id == train[10].id
    with pytest.raises(IndexError):
        train[11]


def test_lengths_read_no_record(dataset):
    for file in dataset.glob('*.tfrecord-*'):
        file.write_bytes(bytes(file.stat().st_size))
    assert source.RecordSource(dataset, 'train').lengths.sum() == sum(range(10, 21))


def _ids(train):
    return [train[i].id for i in range(len(train))]


def test_threads_and_processes_read_the_same(dataset):
    train = source.RecordSource(dataset, 'train')
    expected = _ids(train)
    copy = pickle.loads(pickle.dumps(train))
    assert _ids(copy) == expected
    with ThreadPoolExecutor(8) as pool:
        assert [e.id for e in pool.map(train.__getitem__, list(range(11)) * 20)] == expected * 20
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        assert pool.apply(_ids, (train,)) == expected


def test_grain_reads_it(dataset):
    grain = pytest.importorskip('grain')
    train = source.RecordSource(dataset, 'train')
    shuffled = grain.MapDataset.source(train).seed(1).shuffle()
    assert sorted(e.id for e in shuffled) == sorted(_ids(train))


def test_damage_names_file_and_offset(dataset):
    shard = dataset / records.shard_name('tiny', 'train', 1, 3)
    data = bytearray(shard.read_bytes())
    data[-40] ^= 1
    shard.write_bytes(data)
    train = source.RecordSource(dataset, 'train')
    failures = []
    for i in range(len(train)):
        try:
            train[i]
        except records.RecordError as error:
            failures.append(str(error))
    assert len(failures) == 1
    assert shard.name in failures[0] and ' at byte ' in failures[0]
    assert 'checksum' in failures[0]


def test_truncated_shard(dataset):
    shard = dataset / records.shard_name('tiny', 'train', 0, 3)
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(records.RecordError, match='00000-of-00003 has [0-9]+ bytes, not'):
        source.RecordSource(dataset, 'train')


def test_missing_unfinished_and_foreign_folders(tmp_path, dataset):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        source.open_dataset(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='holds nothing'):
        (tmp_path / 'empty').mkdir()
        source.open_dataset(tmp_path / 'empty')
    (dataset / records.DATASET_FILE).rename(dataset / 'hidden')
    with pytest.raises(FileNotFoundError, match='did not finish'):
        source.open_dataset(dataset)


def test_other_schema_and_split(dataset):
    with pytest.raises(ValueError, match="no split 'test'; it has train"):
        source.RecordSource(dataset, 'test')
    file = dataset / records.DATASET_FILE
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 7'))
    with pytest.raises(records.RecordError, match='schema_version is 7'):
        source.RecordSource(dataset, 'train')


def test_index_of_another_split_is_refused(dataset):
    file = dataset / records.index_name('train')
    np.save(file, np.load(file)[:-1])
    with pytest.raises(records.RecordError, match='10 rows'):
        source.RecordSource(dataset, 'train')


def test_a_bucket_gives_the_same(dataset, monkeypatch):
    expected = _ids(source.RecordSource(dataset, 'train'))
    fs, reads = fsspec.filesystem('memory'), []
    fs.put(f'{dataset}/', '/bucket/tiny/', recursive=True)
    remote = source.RecordSource('memory://bucket/tiny', 'train')
    original = type(fs).cat_file
    monkeypatch.setattr(
        type(fs),
        'cat_file',
        lambda *args, **keys: reads.append(original(*args, **keys)) or reads[-1],
    )
    assert _ids(pickle.loads(pickle.dumps(remote))) == expected
    sizes = remote._index['size'].tolist()
    assert [len(data) for data in reads] == sizes  # the records' very bytes
    with ThreadPoolExecutor(4) as pool:
        assert [e.id for e in pool.map(remote.__getitem__, range(11))] == expected
    fs.pipe_file(remote._file(0).removeprefix('memory:/'), b'short')
    with pytest.raises(records.RecordError, match='has 5 bytes, not'):
        source.RecordSource('memory://bucket/tiny', 'train')
    fs.rm_file(f'/bucket/tiny/{records.DATASET_FILE}')
    with pytest.raises(FileNotFoundError, match='its preparation did not finish'):
        source.open_dataset('memory://bucket/tiny')
    fs.rm('/bucket/tiny', recursive=True)
    with pytest.raises(FileNotFoundError, match='memory://bucket/tiny: the folder does not exist'):
        source.open_dataset('memory://bucket/tiny')
