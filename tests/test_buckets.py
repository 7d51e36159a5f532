"""Folders in buckets: copies that are put up, locks, ranged reads; a whole walk on gs://."""

from concurrent.futures import ThreadPoolExecutor
import contextlib
import errno
import importlib.util
import io
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

import fsspec
import jax
import numpy as np
import pytest

from benchmarks import bucket_reads
from data_prep import folder_2mix
from fgsep_jax import (
    buckets,
    command_line,
    config as config_lib,
    files,
    hosts,
    lock,
    main as main_program,
    stopping,
)
from fgsep_jax.data import source
from fgsep_jax.interop import export_model, model_file
from fgsep_jax.report import __main__ as report_program, parts, runs, write
from fgsep_jax.separation import model as model_lib
from fgsep_jax.training import checkpoint
import gcs_server
import synthetic
import tiny

ROOT = pathlib.Path(__file__).parents[1]


def needs(*packages):
    """Marks a test that is skipped, before what it works on is made, where packages are missing."""
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    return pytest.mark.skipif(bool(missing), reason=f'without {", ".join(missing)}')


def test_a_copy_is_brought_changed_and_put_up(memory):
    there = (
        'keep',
        'change',
        'vanish',
        'a/b/remove',
        'tensorboard/big',
        'wandb/id',
        'wandb/big',
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
            'wandb/id',  # by which a resumed run goes on there
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
        stays = there[2], *there[4:]
        assert found == {**expected, **dict.fromkeys(stays, b'before')}
        (folder / 'last').write_bytes(b'at the end')
    assert memory.cat_file('/b/run/last') == b'at the end'
    assert not folder.exists() and not buckets.url_of(folder)
    assert buckets.named(str(folder)) == 'memory://b/run'  # messages come later


@pytest.mark.parametrize('name', ['../out', 'a/../../out', 'a//b', '/etc/x', 'a/./b'])
def test_a_name_that_leads_elsewhere_is_refused(memory, monkeypatch, name):
    memory.pipe_file('/b/run/x', b'')
    there = {f'/b/run/{name}': {'size': 0}}
    monkeypatch.setattr(type(memory), 'find', lambda self, path, **settings: there)
    with buckets.copies(), pytest.raises(buckets.Unreachable, match='a name that no file can'):
        buckets.local('memory://b/run')


@needs('gcsfs')
def test_what_a_console_makes_of_a_folder_is_no_file(server):
    for name in ('kk', 'kk/', 'kk/a', 'kk/a/x', 'kk/b/', 'kk/b/c/y', 'kk/b/c', 'kk/nil'):
        server.put('bucket', name, b'1' if name[-1] in 'xy' else b'', {})
    assert buckets.find('gs://bucket/kk') == {'a/x': 1, 'b/c/y': 1, 'nil': 0}
    assert buckets.listing('gs://bucket/kk') == {'a': None, 'b': None, 'nil': 0}
    with buckets.copies():
        folder = buckets.local('gs://bucket/kk')
        assert {*synthetic.files_in(folder)} == {'a/x', 'b/c/y', 'nil'}
    server.put('bucket', 'kk/a', b'a file', {})
    with buckets.copies(), pytest.raises(buckets.Unreachable, match='gs://bucket/kk/a is a file,'):
        buckets.local('gs://bucket/kk')
    with buckets.copies():
        assert os.listdir(buckets.local('gs://bucket/kk', buckets.beside('y', '', below=True)))


def test_what_is_not_wanted_is_seen_and_not_brought(memory, monkeypatch):
    for name in (
        'config.json',
        'evaluation/x',
        'shard',
        'a/config.json',
        'a/b/z',
        'evaluation/old',
    ):
        memory.pipe_file(f'/b/run/{name}', name.encode())
    wanted = buckets.beside('config.json', 'evaluation/.*')
    with buckets.copies():
        folder = pathlib.Path(buckets.local('memory://b/run', wanted))

        def brought():
            return {name for name, content in synthetic.files_in(folder).items() if content}

        assert brought() == {'config.json', 'evaluation/x', 'evaluation/old'}
        assert {'shard', 'a/b/z'} < {*synthetic.files_in(folder)}
        memory.rm_file('/b/run/shard')
        memory.rm_file('/b/run/evaluation/old')
        memory.pipe_file('/b/run/config.json', b'later')
        buckets.bring(folder)
        assert brought() == {'config.json', 'evaluation/x'} and not (folder / 'shard').exists()
        assert (folder / 'config.json').read_bytes() == b'later'
        below = buckets.beside('config.json', 'b/.*', below=True)
        assert buckets.local('memory://b/run', below) == str(folder)  # of a report, say
        assert brought() == {'config.json', 'evaluation/x', 'a/config.json', 'a/b/z'}
        buckets.local('memory://b/run', below)
        (folder / 'a' / 'new').write_bytes(b'new')
    assert memory.cat_file('/b/run/a/b/z') == b'a/b/z' and memory.cat_file('/b/run/a/new') == b'new'


def test_what_a_full_disk_cuts_is_not_put_up(memory, monkeypatch, capsys):
    """Neither what was being brought nor what was being written; the line is on that disk."""
    for name in ('x', 'y'):
        memory.pipe_file(f'/b/run/{name}', b'whole')
    full = OSError(errno.ENOSPC, 'No space left on device')

    def cut(self, names, paths):
        pathlib.Path(paths[0]).write_bytes(b'wh')
        raise full

    with pytest.raises(OSError, match='TMPDIR') as refused, buckets.copies():
        folder = pathlib.Path(buckets.local('memory://b/run'))
        memory.pipe_file('/b/run/x', b'later')
        with monkeypatch.context() as patched:
            patched.setattr(type(memory), 'get', cut)
            buckets.bring(folder)
    assert refused.value.filename == tempfile.gettempdir()
    assert [*map(memory.cat_file, ('/b/run/x', '/b/run/y'))] == [b'later', b'whole']

    class Cut(io.FileIO):
        def write(self, content):
            super().write(content[:2])
            raise full

    with pytest.raises(OSError, match='No space') as refused, buckets.copies():
        path = os.path.join(buckets.local('memory://b/run'), 'new.wav')
        monkeypatch.setattr(files, 'open', Cut, raising=False)
        files.write_in_place(path, b'whole')
    assert not memory.exists('/b/run/new.wav')
    command_line.refusal(refused.value)
    monkeypatch.undo()
    error = ValueError('memory://b/run cannot be written to (No space left on device)')
    error.__cause__ = refused.value
    command_line.refusal(error)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(
        line.startswith(f'error: {tempfile.gettempdir()}: ') and 'TMPDIR' in line for line in lines
    )


def test_a_report_killed_while_it_is_put_up_is_made_again(memory, monkeypatch):
    table, other = (
        [parts.Section('a', 'a', '', [parts.Table(name, 'a table', {'x': 'x'}, [['1']])])]
        for name in 'to'
    )
    written = []

    def report(sections):
        with buckets.copies():
            folder = buckets.local('memory://b/report', write.READ)
            with lock.held(folder, 'a report'):
                write.check(folder)
                write.write(sections, folder, 'Title')

    class Killed(BaseException):
        pass

    def killed(do):
        def done(self, path, *there, **settings):
            if lock.NAME not in path:
                if killed.left == 0:
                    buckets.abandon_all()
                    raise Killed
                killed.left -= 1
                written.append(path)
            do(self, path, *there, **settings)

        return done

    for name in ('put_file', 'rm_file'):
        monkeypatch.setattr(type(memory), name, killed(getattr(type(memory), name)))
    monkeypatch.setattr(lock, 'SETTLES', 0.0)
    killed.left = -1
    report(table)
    count = len(written)
    assert count == 6  # the list twice
    whole = {name: memory.cat_file(name) for name in memory.find('/b')}
    killed.left, written[:] = -1, []
    report(other)
    assert len(written) == count + 2  # two are removed
    for before, doing, requests in (([], table, count), ([table], other, count + 2)):
        for left in range(requests):
            memory.rm('/b', recursive=True)
            killed.left = -1
            for earlier in before:
                report(earlier)
            killed.left = left
            with pytest.raises(Killed):
                report(doing)
            killed.left = -1
            report(table)
            assert {name: memory.cat_file(name) for name in memory.find('/b')} == whole
    for name in ('mine', 'figures/mine.svg'):
        memory.rm('/b', recursive=True)
        memory.pipe_file(f'/b/report/{name}', b'mine')
        with pytest.raises(runs.ResultsError, match='no report wrote it'):
            report(table)
        assert memory.find('/b') == [f'/b/report/{name}']


@pytest.mark.parametrize('text', ['gs:/b/x', 'gs:b/x', 's3:/b/x', 'GS:/b/x', 'memory:b/x', 'gs:'])
def test_a_slash_too_few_is_no_folder_of_this_machine(text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    protocol = text.partition(':')[0].lower()
    meant = f'{protocol}://' + ('b/x' if 'x' in text else 'BUCKET/PATH')
    for program, *flags in (
        (report_program, f'--output_dir={text}', '--runs=runs'),
        (report_program, f'--runs=runs,{text}'),
        (main_program, f'--workdir={text}', '--config=convtasnet_glu:demo'),
        (main_program, '--config=convtasnet_glu:demo', f'--config.data.dir={text}'),
        (main_program, '--mode=evaluate', '--workdir=runs/a', f'--data_dirs={text}'),
        (main_program, text),
        (folder_2mix, f'--input_dir={text}', '--output_dir=o'),
        (folder_2mix, '--input_dir=i', f'--output_dir={text}'),
        (export_model, text, '--output=x'),
    ):
        with pytest.raises(SystemExit) as refused:
            program.main(flags)
        line = capsys.readouterr().err
        assert refused.value.code == 2 and line.count('\n') == 1, line
        assert f'did you mean {meant}? A folder of this machine is written ./{text}' in line, line
    assert not os.listdir()
    assert command_line.path(f'./{text}') == f'./{text}'
    assert command_line.path('gcs://b/x') == 'gs://b/x'


@pytest.mark.parametrize('text', ['runs:a', 'c:/x', 'a/gs:b', './gs:/b', 'gs', 'memory://b', '~'])
def test_what_looks_like_no_address_is_taken_as_it_is(text):
    assert buckets.address(text) == text


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
    assert refused.value.again


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


def fails(status, monkeypatch, method='_do'):
    """Lets the server of gs:// answer all that is asked of objects with a status."""
    answer = status, b'{"error": {"code": %d, "message": "injected"}}' % status, {}
    monkeypatch.setattr(gcs_server._Handler, method, lambda *args: answer)


@needs('gcsfs')
@pytest.mark.parametrize('status', [403, 404, 429, 500])
def test_what_a_bucket_refuses_is_one_line_on_it(server, monkeypatch, caplog, status):
    gcsfs = importlib.import_module('gcsfs.retry')
    monkeypatch.setattr(
        gcsfs.asyncio, 'sleep', lambda seconds: gcsfs.asyncio.wait_for(nothing(), 1)
    )
    fails(status, monkeypatch)
    refusal = pytest.raises(OSError, match='gs://bucket/data/x cannot be')
    with refusal as refused, lock.held('gs://bucket/data/x', 'data_prep'):
        pass
    assert 'fgsep' not in str(refused.value)
    assert ('there is no bucket gs://bucket' in str(refused.value)) == (status == 404)
    assert refused.value.again == (status in (429, 500))
    assert not caplog.records


async def nothing():
    pass


@needs('gcsfs')
@pytest.mark.slow
def test_a_wrong_folder_fetches_nothing(server, trained, monkeypatch, capsys, tmp_path):
    for name in ('tones', 'runs'):
        put(trained / name, f'gs://bucket/{name}')
    monkeypatch.chdir(tmp_path)
    for program, *flags in (
        (main_program, '--mode=evaluate', '--workdir=gs://bucket'),
        (main_program, '--mode=evaluate', '--workdir=gs://bucket/tones'),
        (main_program, *SETTINGS, '--workdir=gs://bucket/tones'),
        (report_program, '--runs=gs://bucket/tones'),
        (report_program, f'--runs={trained}/runs', '--output_dir=gs://bucket/tones'),
        (report_program, f'--runs={trained}/runs', '--output_dir=gs://bucket/runs'),
    ):
        server.fetched = 0
        try:
            code = program.main(flags)
        except SystemExit as refused:
            code = refused.code
        line = capsys.readouterr().err
        assert code == 2 and line.count('error:') == 1 and 'gs://bucket' in line, line
        # At most some 300 bytes of a lock, each time that it is looked at.
        assert server.fetched < 2000, flags
    there = {name for _, name in server.objects}
    assert there == {
        f'{top}/{name}' for top in ('tones', 'runs') for name in synthetic.files_in(trained / top)
    }


@needs('gcsfs')
@pytest.mark.slow
def test_a_run_in_a_bucket_is_loaded_and_exported(server, trained, tmp_path, monkeypatch):
    put(trained / 'runs', 'gs://bucket/runs')
    monkeypatch.chdir(tmp_path)
    here = model_lib.load(trained / 'runs' / 'a')
    there = model_lib.load('gs://bucket/runs/a')
    mixture_T = np.random.default_rng(0).normal(size=4000).astype(np.float32)
    for one, other in zip(*(x.separate(mixture_T, 8000).values() for x in (here, there))):
        np.testing.assert_array_equal(one, other)
    assert there.name == 'a'
    for place, name in ((trained / 'runs' / 'a', 'here'), ('gs://bucket/runs/a', 'there')):
        export_model.main([str(place), f'--output={name}.safetensors'])
    one, other = map(model_file.read_about, ('here.safetensors', 'there.safetensors'))
    assert one.scores and one == other
    for url in (
        'gs://bucket/runs',
        'gs://bucket',
        'gs://bucket/runs/b',
        'gs://bucket/m.safetensors',
        'gs:/b',
    ):
        with pytest.raises(config_lib.ConfigError, match='gs://'):
            model_lib.load(url)


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


@needs('gcsfs')
def test_what_threads_are_worth_at_a_bucket_is_measured(server, monkeypatch, capsys):
    monkeypatch.setattr(bucket_reads, 'RECORDS', 8)
    monkeypatch.setattr(bucket_reads, 'TURNS', 1)
    server.latency = 0.1
    bucket_reads.measure('short', config_lib.load('convtasnet'), 4)
    name, one, times = re.fullmatch(
        r'(\w+): records of \d+ kB, (\d+) a second by one thread, \d+ by 4: ([\d.]+) times\n',
        capsys.readouterr().out,
    ).groups()
    assert name == 'short' and int(one) <= 10 and float(times) > 1


KEY = '0a' * 16  # in the names of folders that come and go
STATE = {'kernel': np.arange(6.0, dtype=np.float32)}


def state():
    return jax.device_put(STATE)


def abstract():
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return checkpoint.abstract(STATE, device)


@needs('gcsfs')
def test_a_first_checkpoint_that_is_there_in_part_lets_the_run_start_anew(server):
    with buckets.copies():
        folder = buckets.local('gs://bucket/first')
        with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
            checkpoints.save(1, state(), {})
        del server.objects['bucket', 'first/checkpoints/1/commit_success.txt']
        with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
            assert checkpoints.restore_latest(abstract()) is None
            checkpoints.open()
            checkpoints.save(1, state(), {})
            checkpoints.save(2, state(), {})
        # Saved again, with its loss: what was there is given up when the new one is whole.
        with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
            checkpoints.restore_latest(abstract())
            checkpoints.save(2, state(), {}, loss=3.0, replace=True)
            assert checkpoints.restore_best(abstract())[0] == 2
        names = {name.split('/')[2] for name in objects(server, 'first/checkpoints/')}
        assert names == {'1', '1.torn', '2'}
        # Killed before that.
        for bucket, name in [*server.objects]:
            if name.startswith('first/checkpoints/2/'):
                there = server.objects[bucket, name]
                server.objects[bucket, name.replace('/2/', f'/2.replaced-{KEY}/')] = there
        del server.objects['bucket', 'first/checkpoints/2/commit_success.txt']
        with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
            assert checkpoints.restore_latest(abstract())[1]['loss'] == 3.0
        names = {name.split('/')[2] for name in objects(server, 'first/checkpoints/')}
        assert names == {'1', '1.torn', '2'}


def objects(server, prefix):
    return {name: there[0] for (_, name), there in server.objects.items() if prefix in name}


@needs('gcsfs')
def test_what_no_save_of_ours_has_left_stays_in_a_bucket(server):
    """Orbax takes each folder without its commit_success.txt for one that it may remove."""
    fs = fsspec.filesystem('gs')
    mine = ('README', 'best/x', '3.torn/state/x', '3 (copy)/a/b', '77/', '88/x', '9/commit')
    mine += ('5.orbax-checkpoint-tmp/x', f'6.orbax-checkpoint-tmp-{KEY}/state/x')
    for name in (*mine, f'7.orbax-checkpoint-tmp-{KEY}/state/_METADATA'):
        fs.pipe_file(f'bucket/run/checkpoints/{name}', b'mine')
    with buckets.copies():
        folder = buckets.local('gs://bucket/run')
        with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
            checkpoints.save(1, state(), {})
            checkpoints.save(2, state(), {})
        # As a process that is killed in the midst of the last save leaves it.
        del server.objects['bucket', 'run/checkpoints/2/commit_success.txt']
        left = objects(server, '/checkpoints/2/')
        with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
            assert checkpoints.latest_step() == 1
            _, position = checkpoints.restore_latest(abstract())
            assert position['step'] == 1
            checkpoints.open()
            checkpoints.save(2, state(), {})
            checkpoints.wait()
            notes = checkpoints.notes
            np.testing.assert_array_equal(
                checkpoints.restore(2, abstract())[0]['kernel'], STATE['kernel']
            )
    kept = [note.split(' is kept as gs://bucket/') for note in notes if 'is kept as' in note]
    assert sorted(moved for moved, _ in kept) == [f'checkpoint {n}' for n in ('2', '77', '88', '9')]
    for moved, aside in kept:
        assert objects(server, f'{aside}/'), moved
    assert [*objects(server, '/2.torn/').values()] == [*left.values()]
    there = {name.removeprefix('run/checkpoints/') for name in objects(server, '/checkpoints/')}
    moved = {'77/': '77.torn/', '88/x': '88.torn/x', '9/commit': '9.torn/commit'}
    assert {moved.get(name, name) for name in mine} <= there
    assert {name for name in there if 'orbax-checkpoint-tmp' in name} <= {*mine}


@needs('gcsfs')
@pytest.mark.parametrize('copied', [None, 0, 3])  # of what is saved, put in its place by then
def test_who_wakes_up_beside_a_new_owner_leaves_its_checkpoints_alone(server, monkeypatch, copied):
    monkeypatch.setattr(lock, 'RECENT', 0.0)
    monkeypatch.setattr(lock, 'SETTLES', 0.0)
    theirs = {
        f'run/{name}': b'{"key": "of another"}'
        for name in (lock.NAME, 'checkpoints/2/state/x', 'checkpoints/2/commit_success.txt')
    }
    do, copies = gcs_server._Handler._do, []

    def take_over():
        for name, content in theirs.items():
            server.put('bucket', name, content, {})

    def answer(handler, method, path, *rest):
        if 'checkpoints%2F2' in path and 'rewriteTo' in path:
            copies.append(path)
            if len(copies) == copied:
                take_over()
        return do(handler, method, path, *rest)

    monkeypatch.setattr(gcs_server._Handler, '_do', answer)
    with buckets.copies(), pytest.raises(lock.Lost) as lost:
        folder = buckets.local('gs://bucket/run')
        with lock.held(folder, 'training'):
            checkpoints = checkpoint.Checkpoints(folder, keep=1)
            checkpoints.save(1, state(), {})
            checkpoints.wait()
            before = objects(server, '/checkpoints/1/')
            if copied is None:
                take_over()
            elif not copied:
                rename = buckets.rename
                monkeypatch.setattr(
                    buckets, 'rename', lambda *a, **k: take_over() or rename(*a, **k)
                )
            checkpoints.save(2, state(), {})
            checkpoints.wait()
    assert lost.value.again
    assert len(copies) == (copied or 0)
    assert theirs.items() <= objects(server, 'run/').items()
    assert objects(server, '/checkpoints/1/') == before


@pytest.mark.parametrize('name', ['a?b', 'a#b', 'lr=1?a/run', '*', 'a*', '[x]', 'a\n', '\x01'])
def test_a_name_that_is_a_pattern_to_a_library_is_refused(memory, name):
    with pytest.raises(command_line.FlagError, match='is not possible in the name'):
        command_line.path(f'gs://bucket/{name}')
    memory.pipe_file(f'/b/{name}/x', b'')
    with buckets.copies():
        with pytest.raises(buckets.Unreachable, match='is not possible in the name'):
            buckets.local(f'memory://b/{name}')
        root = buckets.local('memory://b')  # a run is found below
        with pytest.raises(buckets.Unreachable, match='is not possible in the name'):
            checkpoint.Checkpoints(os.path.join(root, name))


@needs('gcsfs')
@pytest.mark.parametrize('name', ['a%2Fb%', '{a} ~b', 'ü&=;+:,|', '"\'^\\]'])
def test_any_other_name_is_one_folder_to_all_libraries(server, name):
    other = objects(server, '')
    with buckets.copies():
        folder = buckets.local(f'gs://bucket/q/{name}')
        with contextlib.closing(checkpoint.Checkpoints(folder, keep=1)) as checkpoints:
            for step in (1, 2):
                checkpoints.save(step, state(), {})
            checkpoints.wait()
            checkpoints.restore(2, abstract())
    assert not other and all(
        there.startswith(f'q/{name}/checkpoints/2/') for there in objects(server, '')
    )


def test_a_bucket_that_fails_once_it_has_given_the_lock_may_be_there_again(memory):
    with pytest.raises(buckets.Unreachable) as failed, lock.held('memory://b/run', 'training'):
        raise buckets.Unreachable('Forbidden')
    assert failed.value.again and not buckets.Unreachable('').again


def test_a_stop_does_not_outwait_a_silent_bucket(memory, monkeypatch):
    left = []
    monkeypatch.setattr(stopping, 'leave', lambda *how: left.append(how) or lock.release_all())
    with contextlib.suppress(lock.Lost), lock.held('memory://b/run', 'training') as held:
        held.heard -= 60
        waiting = threading.Thread(target=stopping._do_not_outwait, args=(15,), daemon=True)
        waiting.start()
        time.sleep(0.1)
        assert not left
        held.heard -= 61
        monkeypatch.setattr(buckets, 'remove', None)  # nobody is asked any more
        waiting.join(timeout=10)
        assert not waiting.is_alive()
    ((line, status),) = left
    assert status == 143 and 'memory://b/run has not answered for 12' in line


def test_who_leaves_does_not_wait_for_a_silent_bucket(memory, monkeypatch):
    """Neither where a sign of life is waited for, which holds up what would give the lock back."""
    monkeypatch.setattr(lock, 'FAREWELL', 0.2)
    monkeypatch.setattr(lock, 'BEAT', 0.1)
    read, answers, asked = buckets.read, threading.Event(), threading.Event()

    def silent(*how):
        asked.set()
        assert answers.wait(20)
        return read(*how)

    with contextlib.suppress(lock.Lost), lock.held('memory://b/run', 'training'):
        monkeypatch.setattr(buckets, 'read', silent)
        assert asked.wait(10)
        began = time.monotonic()
        lock.release_all()
        assert time.monotonic() - began < 5
        answers.set()


def program(*argv):
    """The program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', *argv],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


SMALL = {'model.separator.blocks': 1, 'evaluation.filter_taps': 8, 'evaluation.listen_examples': 1}
SETTINGS = [f'--config.{key}={value}' for key, value in {**tiny.SHRUNK, **SMALL}.items()]
SETTINGS += [f'--config={ROOT}/configs/convtasnet_glu.py:demo']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a data set, tones, a run on it that was evaluated, runs/a, and its report."""
    folder = tmp_path_factory.mktemp('trained')
    synthetic.write(folder / 'tones', lengths=(2400, 600))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main_program.main([*SETTINGS, '--config.data.dir=tones', '--workdir=runs/a'])
        assert not report_program.main([f'--runs={folder}/runs', '--output_dir=report'])
    return folder


def reported_alike(url, trained):
    """Whether a report of runs in a bucket, written there, has the bytes of one of a folder's."""
    assert not report_program.main([f'--runs={url}/runs', f'--output_dir={url}/report'])
    fs, path = fsspec.core.url_to_fs(url)
    fs.get(f'{path}/report/', 'there/report', recursive=True)
    return synthetic.files_in('there/report') == synthetic.files_in(trained / 'report')


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
    type(fsspec.filesystem('s3')).clear_instance_cache()  # of servers before
    fs = fsspec.filesystem('s3')
    fs.mkdir('bucket')
    yield fs
    server.stop()


@needs('s3fs', 'moto')
@pytest.mark.slow
def test_a_run_on_s3_is_evaluated_and_reported(s3, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ('tones', 'runs'):
        put(trained / name, f's3://bucket/{name}')
    assert reported_alike('s3://bucket', trained)
    scores = 'bucket/runs/a/evaluation/tones/examples.csv'
    expected = s3.cat_file(scores)
    s3.rm_file(scores)
    run = ['--workdir=s3://bucket/runs/a', '--data_dirs=s3://bucket/tones']
    main_program.main(['--mode=evaluate', *run])
    s3.invalidate_cache()
    assert s3.cat_file(scores) == expected
    capsys.readouterr()
    with pytest.raises(SystemExit) as refused:
        main_program.main([*SETTINGS, '--workdir=s3://bucket/runs/b'])
    output = capsys.readouterr().err
    assert refused.value.code == 2 and output.count('\n') == 1 and 's3://' in output, output
    assert not s3.find('bucket/runs/b')


@pytest.mark.parametrize('flags', [SETTINGS, ['--mode=train'], ['tones', '--minutes=1']])
def test_a_training_where_orbax_does_not_save_asks_no_bucket(monkeypatch, capsys, flags):
    monkeypatch.setattr(buckets, '_opened', lambda url: pytest.fail(f'{url} was asked'))
    with pytest.raises(SystemExit) as refused:
        main_program.main([*flags, '--workdir=s3://bucket/runs/b'])
    line = capsys.readouterr().err
    assert refused.value.code == 2 and line.count('\n') == 1, line
    assert line.startswith('error: --workdir=s3://bucket/runs/b: Orbax saves checkpoints to gs://')


@pytest.mark.parametrize('orbax', [('memory',), ('gs',)])
def test_a_training_is_advised_where_orbax_saves(memory, monkeypatch, capsys, orbax):
    monkeypatch.setattr(buckets, 'ORBAX', orbax)
    with pytest.raises(SystemExit) as refused:
        main_program.main(['--mode=evaluate', '--workdir=memory://b/runs/not yet'])
    line = capsys.readouterr().err
    assert refused.value.code == 2 and 'memory://b/runs/not yet holds no run' in line, line
    place = 'memory://b/runs/not yet' if 'memory' in orbax else 'not yet'
    advised = shlex.split(line.split('`')[1])
    assert advised[-1] == f'--workdir={place}' and ('copy it there' in line) != ('memory' in orbax)


@needs('s3fs', 'moto')
@pytest.mark.slow
@pytest.mark.parametrize(
    'flags',
    [
        ['--mode=evaluate', '--workdir=s3://bucket/a'],
        ['--config.data.dir=s3://bucket/tones', '--workdir=b'],
    ],
)
def test_where_nobody_answers_a_later_start_may_succeed(monkeypatch, tmp_path, flags):
    monkeypatch.chdir(tmp_path)
    for key in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
        monkeypatch.setenv(key, 'any')
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')  # where nobody listens
    refused = program('fgsep_jax.main', *SETTINGS, *flags)
    output, _ = refused.communicate(timeout=100)
    assert refused.returncode == hosts.LOST and output.count('\n') == 1, output
    assert 's3://bucket/' in output and 'connect' in output, output


@needs('gcsfs')
@pytest.mark.slow
def test_a_run_in_a_bucket_is_that_of_a_folder(server, trained, tmp_path, monkeypatch, capsys):
    """Trained, killed, resumed, evaluated, reported: the same parameters, scores and report."""
    monkeypatch.chdir(tmp_path)
    put(trained / 'tones', 'gs://bucket/tones')
    there = ['--config.data.dir=gs://bucket/tones', '--workdir=gs://bucket/runs/a']
    killed = program('fgsep_jax.main', *SETTINGS, *there)
    while not any(name.endswith('checkpoints/4/commit_success.txt') for _, name in server.objects):
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.01)
    killed.send_signal(signal.SIGSTOP)
    with pytest.raises(SystemExit) as second:
        main_program.main([*SETTINGS, *there])
    output = capsys.readouterr().err
    assert second.value.code == 2 and output.startswith('error: gs://bucket/runs/a'), output
    assert 'is being written to by process' in output, output
    assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    # As one that is killed in the midst of a save leaves it.
    with server.mutex:
        del server.objects['bucket', 'runs/a/checkpoints/4/state/_METADATA']
    main_program.main([*SETTINGS, *there])
    output = capsys.readouterr().out
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
    assert os.listdir() == ['there']  # and none called gs:
