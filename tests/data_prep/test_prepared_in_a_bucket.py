"""A data set that is made out of a bucket, into one, is that of a folder."""

import os
import tempfile

import pytest

from data_prep import build, folder_2mix, output
from fgsep_jax import buckets, lock
from fgsep_jax.data.source import RecordSource
import trees


@pytest.mark.slow
def test_the_bytes_are_those_of_a_folder(memory, tmp_path, capsys):
    recordings = tmp_path / 'recordings'
    trees.folder(recordings)
    memory.put(f'{recordings}/', '/b/recordings/', recursive=True)
    counts = ['--train_pairs=4', '--validation_pairs=2', '--test_pairs=2', '--fewer']
    counts += ['--validation_fraction=0.3', '--test_fraction=0.3', '--name=mine']
    here = tmp_path / 'out'
    folder_2mix.main([f'--input_dir={recordings}', f'--output_dir={here}', *counts])
    given = ['--input_dir=memory://b/recordings', '--output_dir=memory://b/out', *counts]
    folder_2mix.main(given)
    written = {
        name.removeprefix('/b/out/'): memory.cat_file(name) for name in memory.find('/b/out')
    }
    assert written == {path.name: path.read_bytes() for path in here.iterdir()}
    assert len(RecordSource('memory://b/out', 'train')) == 4
    capsys.readouterr()
    with pytest.raises(SystemExit) as refused:
        folder_2mix.main(given)
    error = capsys.readouterr().err
    assert refused.value.code == 2 and 'memory://b/out holds a finished data set' in error
    memory.pipe_file('/b/out/mine.txt', b'of somebody')
    with lock.held('memory://b/out', 'another job'), pytest.raises(SystemExit):
        folder_2mix.main([*given, '--overwrite'])
    assert 'memory://b/out is being written to by process' in capsys.readouterr().err
    folder_2mix.main([*given, '--overwrite', '--seed=1'])
    assert {*memory.find('/b/out')} == {f'/b/out/{name}' for name in (*written, 'mine.txt')}
    assert memory.cat_file('/b/out/mixtures.csv') != written['mixtures.csv']


@pytest.mark.parametrize('number', buckets.FULL)
def test_a_full_disk_here_is_not_the_buckets(number):
    full = build._full('memory://b/out', os.strerror(number))
    assert full.startswith(tempfile.gettempdir()) and 'TMPDIR' in full
    assert build._full('memory://b/out', 'Forbidden') == 'memory://b/out'


def test_a_bucket_that_does_not_answer_is_no_empty_one(memory, monkeypatch):
    def no_answer(*args, **keys):
        raise TimeoutError('no answer')

    assert output.read_json('memory://b/out/dataset.json') == {}
    monkeypatch.setattr(type(memory), 'cat_file', no_answer)
    with pytest.raises(buckets.Unreachable, match='no answer'):
        output.read_json('memory://b/out/dataset.json')


class BusyError(Exception):
    """As gcsfs and others raise them."""

    code = 503


@pytest.mark.parametrize('when', ['at the start', 'in the midst'])
def test_a_bucket_that_is_overloaded_is_to_be_tried_again(
    memory, tmp_path, monkeypatch, capsys, when
):
    recordings = tmp_path / 'recordings'
    trees.folder(recordings)

    def busy(write):
        def busy(self, first, second, *args, **keys):
            if when == 'at the start' or 'tfrecord' in f'{first} {second}':
                raise BusyError('Service Unavailable')
            return write(self, first, second, *args, **keys)

        return busy

    for name in ('pipe_file', 'put_file'):
        monkeypatch.setattr(type(memory), name, busy(getattr(type(memory), name)))
    monkeypatch.setitem(buckets._EXTRAS, 'memory', 'memory')
    with pytest.raises(SystemExit) as refused:
        folder_2mix.main([f'--input_dir={recordings}', '--output_dir=memory://b/out', '--fewer'])
    error = capsys.readouterr().err
    assert refused.value.code == os.EX_TEMPFAIL, error
    assert error.count('error') == 1 and 'Service Unavailable' in error
