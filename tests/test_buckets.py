"""Folders in buckets: copies that are put up, locks, ranged reads; a whole walk on gs://."""

from concurrent.futures import ThreadPoolExecutor
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import fsspec
import numpy as np
import pytest

from fgsep_jax import buckets, lock
from fgsep_jax.data import source
import gcs_server
import synthetic
import tiny

ROOT = pathlib.Path(__file__).parents[1]


def test_a_copy_is_brought_changed_and_put_up(memory):
    there = (
        'keep',
        'change',
        'vanish',
        'a/b/remove',
        'tensorboard/big',
        'checkpoints/3/x',
        lock.NAME,
    )
    for name in there:
        memory.pipe_file(f'/b/run/{name}', b'before')
    with buckets.copies():
        folder = pathlib.Path(buckets.local('memory://b/run/'))
        assert buckets.local('memory://b/run') == str(folder) and folder.name == 'run'
        # What is not brought is seen to be there; checkpoints are, as Orbax cannot read them there.
        assert {*synthetic.files_in(folder)} == {
            'keep',
            'change',
            'vanish',
            'a/b/remove',
            'checkpoints/3/x',
        }
        assert (folder / 'tensorboard').is_dir() and not [*(folder / 'tensorboard').iterdir()]
        assert buckets.url_of(folder / 'a' / 'c') == 'memory://b/run/a/c'
        assert buckets.named(f'in {folder}/a') == 'in memory://b/run/a'
        (folder / 'change').write_bytes(b'later!')
        (folder / 'new').mkdir()
        (folder / 'new' / 'file').write_bytes(b'new')
        os.remove(folder / 'a' / 'b' / 'remove')
        buckets.removed(folder / 'a' / 'b' / 'remove')
        os.remove(folder / 'vanish')  # a cleaner of temporary files did, and nobody wants it gone
        memory.pipe_file('/b/run/keep', b'of another process')
        buckets.put_up(folder)
        found = {name.removeprefix('/b/run/'): memory.cat_file(name) for name in memory.find('/b')}
        expected = {'keep': b'of another process', 'change': b'later!', 'new/file': b'new'}
        stays = 'vanish', 'tensorboard/big', 'checkpoints/3/x', lock.NAME
        assert found == {**expected, **dict.fromkeys(stays, b'before')}
        (folder / 'last').write_bytes(b'at the end')
    assert memory.cat_file('/b/run/last') == b'at the end'
    assert not folder.exists() and not buckets.url_of(folder)
    assert buckets.named(str(folder)) == 'memory://b/run'  # messages come later


@pytest.mark.parametrize('name', ['../out', 'a/../../out', 'a//b', '/etc/x', 'a/./b'])
def test_a_name_that_leads_elsewhere_is_refused(memory, monkeypatch, name):
    memory.pipe_file('/b/run/x', b'')
    there = [f'/b/run/{name}']
    monkeypatch.setattr(type(memory), 'find', lambda self, path: there)
    with buckets.copies(), pytest.raises(buckets.Unreachable, match='a name that no file can'):
        buckets.local('memory://b/run')


def test_what_was_written_last_is_put_up_last(memory, monkeypatch):
    written = []
    original = type(memory).put_file
    monkeypatch.setattr(
        type(memory), 'put_file', lambda *args: written.append(args[1]) or original(*args)
    )
    with buckets.copies():
        folder = pathlib.Path(buckets.local('memory://b/run'))
        for name in ('z', 'm', 'a'):
            (folder / name).write_bytes(b'')
            os.utime(folder / name, ns=(0, len(os.listdir(folder))))
    assert [os.path.basename(path) for path in written] == ['z', 'm', 'a']


def test_who_gets_a_lock_works_on_what_is_there_then(memory):
    memory.pipe_file('/b/run/log', b'1')
    memory.pipe_file('/b/run/gone', b'1')
    with buckets.copies():
        folder = pathlib.Path(buckets.local('memory://b/run'))
        memory.pipe_file('/b/run/log', b'1 2 3')  # by who had the lock until now
        memory.rm_file('/b/run/gone')
        with lock.held(str(folder), 'training'):
            assert synthetic.files_in(folder) == {'log': b'1 2 3'}
            (folder / 'log').write_bytes(b'1 2 3 4')
        assert memory.cat_file('/b/run/log') == b'1 2 3 4'  # before another can begin


def test_of_two_that_take_a_dead_ones_lock_one_has_it(memory, monkeypatch):
    memory.pipe_file(f'/b/run/{lock.NAME}', b'{"host": "elsewhere"}')
    monkeypatch.setattr(lock, 'SILENCE', -1.0)

    def other_is_later(seconds):
        monkeypatch.setattr(lock, 'SILENCE', 120.0)
        memory.pipe_file(f'/b/run/{lock.NAME}', b'{"host": "another", "key": "of another"}')

    monkeypatch.setattr(lock.time, 'sleep', other_is_later)
    with pytest.raises(lock.Locked, match='on another') as refused:
        lock._BucketLock('memory://b/run', 'training').take()
    assert refused.value.elsewhere


def test_a_release_waits_for_a_beat(memory, monkeypatch):
    monkeypatch.setattr(lock, 'BEAT', 0.001)
    monkeypatch.setattr(lock, 'SETTLES', 0.0)
    for _ in range(20):
        with lock.held('memory://b/run', 'training'):
            time.sleep(0.002)
        assert not memory.find('/b')


def test_a_folder_is_renamed_file_by_file(memory):
    for name in ('x', 'a/y'):
        memory.pipe_file(f'/b/run/5/{name}', name.encode())
    buckets.rename('memory://b/run/5', 'memory://b/run/5.torn')
    assert sorted(memory.find('/b')) == ['/b/run/5.torn/a/y', '/b/run/5.torn/x']


@pytest.mark.parametrize('url', ['memory://', 'memory://b/run/..', 'memory://b//run', 'gs://'])
def test_what_is_no_folder_of_a_bucket_is_refused(url):
    with buckets.copies(), pytest.raises(buckets.Unreachable, match='no folder of a bucket'):
        buckets.local(url)


def test_an_abandoned_copy_and_one_in_an_error(memory):
    with pytest.raises(ValueError, match='stop'), buckets.copies():
        for name in ('lost', 'kept'):
            folder = pathlib.Path(buckets.local(f'memory://b/{name}'))
            (folder / 'x').write_bytes(b'x')
        buckets.abandon(folder.parent.parent / 'elsewhere')
        buckets.abandon(buckets.local('memory://b/lost'))
        raise ValueError('stop')
    assert memory.find('/b') == ['/b/kept/x']


def test_a_lock_in_a_bucket(memory, monkeypatch):
    monkeypatch.setattr(lock, 'BEAT', 0.01)
    monkeypatch.setattr(lock, 'SETTLES', 0.0)
    place = f'/b/run/{lock.NAME}'
    with buckets.copies():
        folder = buckets.local('memory://b/run')
        with pytest.raises(lock.Lost), lock.held(folder, 'training') as held:
            assert 'training' in lock.holder(folder) and memory.exists(place)
            with pytest.raises(lock.Locked, match=r'memory://b/run is being written to by process'):
                lock.check(folder)
            with pytest.raises(lock.Locked), lock.held(folder, 'another', flag='--workdir'):
                pass
            assert memory.find('/b') == [place] and not held.lost
            memory.pipe_file(place, b'{"key": "of another"}')
            while not held.lost:
                time.sleep(0.01)
        assert memory.find('/b') == [place]  # another's is left
        memory.rm_file(place)
        # A dead process's, here and elsewhere, is taken over; a living one's elsewhere is not.
        for owner in ({**lock._here(), 'pid': 2**22 + 1, 'born': '1'}, {'host': 'elsewhere'}):
            memory.pipe_file(place, json.dumps(owner).encode())
            monkeypatch.setattr(lock, 'SILENCE', -1.0)
            with lock.held(folder, 'training'):
                assert 'training' in lock.holder(folder)
            assert not memory.find('/b')
        monkeypatch.setattr(lock, 'SILENCE', 120.0)
        memory.pipe_file(place, b'{"host": "elsewhere"}')
        refused = pytest.raises(lock.Locked, match=rf'or remove memory://b/run/{lock.NAME}')
        with refused, lock.held(folder, 'training'):
            pass


def needs(*packages):
    """Marks a test that is skipped, before what it works on is made, where packages are missing."""
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    return pytest.mark.skipif(bool(missing), reason=f'without {", ".join(missing)}')


@pytest.fixture
def server(monkeypatch):
    with gcs_server.Server().running() as running:
        for key, value in running.environment.items():
            monkeypatch.setenv(key, value)
        import gcsfs  # noqa: F401 - reads some of them now

        fsspec.config.set_conf_env(fsspec.config.conf)
        yield running
        fsspec.config.conf.pop('gs', None)


def put(folder, url):
    fs, path = fsspec.core.url_to_fs(url)
    fs.put(f'{folder}/', f'{path}/', recursive=True)


@needs('gcsfs')
def test_records_are_fetched_by_their_very_bytes_and_many_at_once(server, tmp_path):
    data = synthetic.write(tmp_path / 'tones', lengths=(2400, 600))
    put(data, 'gs://bucket/tones')
    train, there = (
        source.RecordSource(place, 'train') for place in (str(data), 'gs://bucket/tones')
    )
    server.fetched = 0
    order = np.random.default_rng(0).integers(len(train), size=100)
    for i in order:
        assert there[i].id == train[i].id
    assert server.fetched == train._index['size'][order].sum()
    server.latency, server.most = 0.3, 0
    with ThreadPoolExecutor(8) as pool:
        assert len([*pool.map(there.__getitem__, range(8))]) == 8
    assert server.most == 8


def program(*argv, check=True, **keys):
    done = subprocess.Popen(
        [sys.executable, '-m', *argv],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **keys,
    )
    if check:
        output, _ = done.communicate(timeout=300)
        assert done.returncode == 0, output
        return output
    return done


SETTINGS = [f'--config.{key}={value}' for key, value in tiny.SHRUNK.items()]
SETTINGS += [f'--config={ROOT}/configs/convtasnet_glu.py:demo']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a data set, tones, and a run on it that was evaluated, runs/a."""
    folder = tmp_path_factory.mktemp('trained')
    synthetic.write(folder / 'tones', lengths=(2400, 600))
    flags = ['--config.data.dir=tones', '--workdir=runs/a']
    program('fgsep_jax.main', *SETTINGS, *flags, cwd=folder)
    return folder


def reported_alike(url, folder):
    """Whether a report of runs in a bucket, written there, has the bytes of one of a folder's."""
    program('fgsep_jax.report', f'--runs={folder}/runs', '--output_dir=report')
    program('fgsep_jax.report', f'--runs={url}/runs', f'--output_dir={url}/report')
    fs, path = fsspec.core.url_to_fs(url)
    fs.get(f'{path}/report/', 'there/report', recursive=True)
    return synthetic.files_in('there/report') == synthetic.files_in('report')


@pytest.fixture
def s3(monkeypatch):
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in (
        ('AWS_ACCESS_KEY_ID', 'any'),
        ('AWS_SECRET_ACCESS_KEY', 'any'),
        ('AWS_DEFAULT_REGION', 'us-east-1'),
        ('AWS_ENDPOINT_URL', f'http://{host}:{port}'),
    ):
        monkeypatch.setenv(key, value)
    fs = fsspec.filesystem('s3', skip_instance_cache=True)
    fs.mkdir('bucket')
    yield fs
    server.stop()


@needs('s3fs', 'moto')
@pytest.mark.slow
def test_a_run_on_s3_is_evaluated_and_reported(s3, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('tones', 'runs'):
        put(trained / name, f's3://bucket/{name}')
    assert reported_alike('s3://bucket', trained)
    scores = 'bucket/runs/a/evaluation/tones/examples.csv'
    expected = s3.cat_file(scores)
    s3.rm_file(scores)
    run = ['--workdir=s3://bucket/runs/a', '--data_dirs=s3://bucket/tones']
    program('fgsep_jax.main', '--mode=evaluate', *run)
    assert s3.cat_file(scores) == expected
    refused = program('fgsep_jax.main', *SETTINGS, '--workdir=s3://bucket/runs/b', check=False)
    output, _ = refused.communicate(timeout=100)
    assert refused.returncode == 2 and output.count('\n') == 1 and 's3://' in output, output
    assert not s3.find('bucket/runs/b')


@needs('gcsfs')
@pytest.mark.slow
def test_a_run_in_a_bucket_is_that_of_a_folder(server, trained, tmp_path, monkeypatch):
    """Trained, killed, resumed, evaluated, reported: the same parameters, scores and report."""
    monkeypatch.chdir(tmp_path)
    put(trained / 'tones', 'gs://bucket/tones')
    there = ['--config.data.dir=gs://bucket/tones', '--workdir=gs://bucket/runs/a']
    killed = program('fgsep_jax.main', *SETTINGS, *there, check=False)
    while not any(name.endswith('checkpoints/4/commit_success.txt') for _, name in server.objects):
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.01)
    killed.send_signal(signal.SIGSTOP)
    second = program('fgsep_jax.main', *SETTINGS, *there, check=False)
    output, _ = second.communicate(timeout=100)
    assert second.returncode == 2 and output.startswith('error: gs://bucket/runs/a'), output
    assert 'is being written to by process' in output, output
    assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    # As one that is killed in the midst of a save leaves it.
    with server.mutex:
        del server.objects['bucket', 'runs/a/checkpoints/4/state/_METADATA']
    output = program('fgsep_jax.main', *SETTINGS, *there)
    assert 'run                gs://bucket/runs/a\n' in output
    assert 'listen             gs://bucket/runs/a/audio/tones/*/*.wav' in output
    assert reported_alike('gs://bucket', trained)
    fsspec.filesystem('gs').get('bucket/runs/', 'there/runs', recursive=True)
    here, there = synthetic.files_in(trained / 'runs/a'), synthetic.files_in('there/runs/a')
    assert lock.NAME not in there
    # summary.json says where the data are; sounds may be off by a rounding.
    same = [name for name in here if name.endswith('examples.csv')]
    assert len(same) == 3 and all(there[name] == here[name] for name in same)
    assert {name for name in here if name.startswith('audio')} <= {*there}
    assert {*there} - {*here} == {
        name for name in there if name.startswith(('tensorboard/', 'checkpoints/'))
    } - {*here}
    digests = [
        json.loads(files['checkpoints/12/position/metadata'])['arrays'] for files in (here, there)
    ]
    assert digests[0] == digests[1]
    assert {*os.listdir()} == {'report', 'there'}  # and none called gs:
