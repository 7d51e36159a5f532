"""A data set that is not what was written is refused, or gives what was written: never another."""

import contextlib
import io
import json
import shutil

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

import damage
from fgsep_jax import files
from fgsep_jax.data import records, source
import synthetic

OURS = (records.RecordError, FileNotFoundError)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('made') / 'tones'
    synthetic.write(folder, train=6, lengths=(240, 120), adaptation=True)
    return folder


@pytest.fixture(params=['now', 'early'])
def folder(made, tmp_path, request):
    """A data set as it is written, and one without what data sets lacked at first."""
    shutil.copytree(made, tmp_path / 'tones')
    if request.param == 'early':
        for split in ('train', 'validation', 'test'):
            index = np.load(tmp_path / 'tones' / records.index_name(split))
            early = np.zeros(len(index), records.EARLY_INDEX_DTYPE)
            for name in early.dtype.names:
                early[name] = index[name]
            np.save(tmp_path / 'tones' / records.index_name(split), early)
        change(tmp_path / 'tones', lambda told: told['splits'].update(splits_without_index(told)))
    return tmp_path / 'tones'


def splits_without_index(told):
    return {
        name: {key: value for key, value in entry.items() if key != 'index'}
        for name, entry in told['splits'].items()
    }


def is_early(folder):
    return 'index' not in json.loads((folder / 'dataset.json').read_text())['splits']['train']


def change(folder, how, *, digest=False):
    """Changes dataset.json as by hand, its digest emptied, or made anew."""
    content = json.loads((folder / 'dataset.json').read_text())
    content.pop('digest', None)
    how(content)
    text = json.dumps(files.with_digest(content) if digest else {**content, 'digest': ''})
    (folder / 'dataset.json').write_text(text)


def read(folder):
    opened = source.RecordSource(folder, 'train')
    return [opened[i] for i in range(len(opened))]


def assert_refused(folder, match=None):
    with pytest.raises(OURS, match=match) as error:
        read(folder)
    assert '\n' not in str(error.value)


def same(examples, others):
    return len(examples) == len(others) and all(
        records.encode(one) == records.encode(other) for one, other in zip(examples, others)
    )


def test_both_kinds_open(folder, made):
    assert same(read(folder), read(made))
    assert source.open_dataset(folder)['name'] == 'tones'


SPLIT = ('splits', 'train')
WRONG_METADATA = [
    ('schema_version', True),
    ('schema_version', [1]),
    ('schema_version', 2),
    ('schema_version', 3),
    ('noise', True),
    ('noise', 'yes'),
    ('name', ''),
    ('name', 7),
    ('name', '../tones'),
    ('sample_rate', 0),
    ('sample_rate', '8000'),
    ('sample_rate', 8001),  # no record is of that
    ('sources', 3),
    ('sources', 1),
    ('sources', 10**6),
    ('splits', []),
    ('splits', {'train': 3}),
    ('splits', {'train': {}}),
    ('adaptation', 'yes'),
    ('speakers', ['a']),
    ((*SPLIT, 'examples'), 5),
    ((*SPLIT, 'examples'), 10**9),
    ((*SPLIT, 'examples'), -1),
    ((*SPLIT, 'examples'), 6.0),
    ((*SPLIT, 'examples'), True),
    ((*SPLIT, 'shards'), 10**9),
    ((*SPLIT, 'shards'), 1e9),
    ((*SPLIT, 'shards'), 99_999),
    ((*SPLIT, 'shards'), 0),
    ((*SPLIT, 'speakers'), 'ann'),
    ((*SPLIT, 'fingerprint'), 3),
]


@pytest.mark.parametrize('path, value', WRONG_METADATA)
def test_values_of_dataset_json_are_checked(folder, path, value):
    path = (path,) if isinstance(path, str) else path
    content = damage.changed(json.loads((folder / 'dataset.json').read_text()), path, value)
    (folder / 'dataset.json').write_text(json.dumps({**content, 'digest': ''}))
    assert_refused(folder)


def test_a_changed_digit_of_dataset_json_is_noticed(folder):
    file = folder / 'dataset.json'
    change(folder, lambda told: told.update(seed=1234), digest=True)
    read(folder)
    file.write_text(file.read_text().replace('1234', '1235'))
    assert_refused(folder, 'its digest does not match.*write "digest": ""')
    change(folder, lambda told: None)  # as that says
    read(folder)


def test_every_flipped_bit_of_dataset_json_is_noticed(made, tmp_path):
    """In the key of the digest, too."""
    shutil.copytree(made, tmp_path / 'tones')
    file, content = tmp_path / 'tones' / 'dataset.json', (made / 'dataset.json').read_bytes()
    at = content.index(b'"digest"')
    told = source.open_dataset(made)
    for byte in range(at - 20, min(at + 40, len(content))):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[byte] ^= 1 << bit
            file.write_bytes(flipped)
            with contextlib.suppress(records.RecordError):  # white space may be another
                assert source.open_dataset(tmp_path / 'tones') == told


def test_what_early_data_sets_lacked_is_not_asked_of_them(folder):
    content = json.loads((folder / 'dataset.json').read_text())
    del content['digest']
    (folder / 'dataset.json').write_text(json.dumps(content))
    if is_early(folder):
        read(folder)
    else:
        assert_refused(folder, 'its digest is missing')


@pytest.mark.parametrize('name', ['dataset.json', 'index-train.npy'])
@pytest.mark.parametrize('kind', ['folder', 'pipe', 'loop', 'huge'])
def test_what_stands_in_a_files_place_is_no_file(folder, name, kind):
    damage.not_a_file(folder / name, kind)
    assert_refused(folder)


@pytest.mark.parametrize('kind', damage.NOT_JSON)
def test_dataset_json_that_is_no_json(folder, kind):
    (folder / 'dataset.json').write_bytes(damage.NOT_JSON[kind])
    assert_refused(folder, 'dataset.json')


def edit_index(folder, edit):
    """Changes the index and its digest in dataset.json, so that its content alone tells."""
    path = folder / records.index_name('train')
    index = np.load(path)
    edited = edit(index.copy())
    buffer = io.BytesIO()
    np.save(buffer, index if edited is None else edited)
    path.write_bytes(buffer.getvalue())
    if not is_early(folder):
        digest = records.digest(buffer.getvalue())
        change(folder, lambda told: told['splits']['train'].update(index=digest), digest=True)


def _set(column, row, value):
    def edit(index):
        index[column][row] = value
        return index

    return edit


@pytest.mark.parametrize(
    'edit',
    [
        _set('samples', 2, 10**6),
        _set('samples', 2, 200),
        _set('samples', 3, 0),
        _set('shard', 0, 1),
        _set('shard', 0, 2**32 - 1),
        _set('offset', 1, 2**63),
        _set('offset', 1, 3),
        _set('size', 1, 0),
        _set('size', 1, 2**32 - 1),
        lambda index: index[:-1],
        lambda index: index.reshape(2, 3),
        lambda index: index.astype([(name, '<i8') for name in index.dtype.names]),
        lambda index: np.arange(6),
        lambda index: np.array(0),
    ],
)
def test_the_index_is_checked(folder, edit):
    edit_index(folder, edit)
    assert_refused(folder)


def test_rows_of_the_index_in_another_order_are_noticed(made, tmp_path):
    shutil.copytree(made, tmp_path / 'tones')
    path = tmp_path / 'tones' / records.index_name('train')
    path.write_bytes(records.write_index(np.load(path)[[0, 3, 2, 1, 4, 5]]))
    assert_refused(tmp_path / 'tones', 'its digest is not the one in dataset.json')


def test_an_index_that_says_it_is_huge_takes_no_memory(folder):
    path, many = folder / records.index_name('train'), 10**12
    dtype = np.load(path).dtype
    buffer = io.BytesIO()
    header = {'descr': dtype.descr, 'fortran_order': False, 'shape': (many,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    path.write_bytes(buffer.getvalue())
    for entry in ({'examples': many}, {'examples': 6}):
        change(folder, lambda told: told['splits']['train'].update(entry))
        change(folder, lambda told: told['splits']['train'].pop('index', None))
        assert_refused(folder)


def test_shards_of_equal_size_that_changed_places_are_noticed(tmp_path):
    """Which early data sets cannot tell: their index knows no checksums."""
    folder = tmp_path / 'tones'
    synthetic.write(folder, train=0, validation=4, test=4)
    files = [folder / records.shard_name('tones', split, 0, 1) for split in ('validation', 'test')]
    first, second = (file.read_bytes() for file in files)
    assert len(first) == len(second) and first != second
    files[0].write_bytes(second)
    opened = source.RecordSource(folder, 'validation')
    for i in range(4):
        with pytest.raises(records.RecordError, match='another record than the index means'):
            opened[i]


def test_missing_longer_and_shorter_shards_are_named_at_once(folder):
    file = folder / records.shard_name('tones', 'train', 0, 1)
    data = file.read_bytes()
    for content, words in ((data[:-1], 'bytes, not'), (data + b'x', 'bytes, not'), (None, 'is mi')):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(records.RecordError, match=f'{file.name}.*{words}'):
            source.RecordSource(folder, 'train')


def test_no_shard_is_read_at_opening(folder, monkeypatch):
    monkeypatch.setattr(source.RecordSource, '_read', lambda *args: pytest.fail('a shard is read'))
    assert len(source.RecordSource(folder, 'train')) == 6


# Random damage, of every reader.


@pytest.fixture(scope='module')
def scratch(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp('scratch') / 'tones'
    shutil.copytree(made, folder)
    return folder


def assert_ours_or_same(scratch, made, name, data):
    """Reads a data set with one damaged file, which is put back."""
    original = (made / name).read_bytes()
    try:
        (scratch / name).write_bytes(data)
        assert same(read(scratch), read(made))
    except OURS as error:
        assert '\n' not in str(error)
    finally:
        (scratch / name).write_bytes(original)


@pytest.mark.parametrize(
    'name', ['dataset.json', 'index-train.npy', records.shard_name('tones', 'train', 0, 1)]
)
@settings(deadline=None, max_examples=40)
@given(draw=st.data())
def test_random_damage_of_a_file(scratch, made, name, draw):
    data = draw.draw(damage.damaged_bytes((made / name).read_bytes()))
    assert_ours_or_same(scratch, made, name, data)


@settings(deadline=None, max_examples=150)
@given(draw=st.data())
def test_random_values_in_dataset_json(scratch, made, draw):
    """With the digest left out: each value is one that the data set can be read by, or refused."""
    content = json.loads((made / 'dataset.json').read_text())
    content['digest'] = ''
    (scratch / 'dataset.json').write_bytes(draw.draw(damage.damaged_json(content)))
    try:
        for example in read(scratch):
            assert example.sources_ST.shape[0] == 2 and example.sample_rate == 8000
    except OURS as error:
        assert '\n' not in str(error)
    finally:
        shutil.copy(made / 'dataset.json', scratch)


PAYLOAD = records.encode(synthetic.example(0, samples=30, adaptation=True))


@settings(deadline=None, max_examples=300)
@given(damage.damaged_bytes(PAYLOAD))
def test_random_bytes_are_an_example_or_refused(data):
    try:
        example = records.decode(data)
    except records.RecordError:
        return
    assert example.sources_ST.ndim == 2 and len(example.source_classes) == len(example.source_ids)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=80), st.one_of(st.none(), st.integers(0, 2**32 - 1)))
def test_random_bytes_are_no_record(data, crc):
    with pytest.raises(records.RecordError):
        records.read_record(data, crc=crc)
