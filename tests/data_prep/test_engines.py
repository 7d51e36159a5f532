"""Every engine gives the same bytes, whoever is killed; what is not there is one line."""

import contextlib
import functools
import importlib.metadata
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from data_prep import build, engine, folder_2mix, mix, pairing
from data_prep.__main__ import jobs
from data_prep.readers import folder as people
import trees

EXTERNAL = ('--runner=PortableRunner', '--job_endpoint=embed', '--environment_type=EXTERNAL')


def mix_and_die_once(spec, *, sample_rate, mark):
    """The first worker to come by is killed, in the midst of its shard."""
    if mark and spec.split == 'train':
        with contextlib.suppress(FileExistsError):
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
    return mix.mix(spec, sample_rate=sample_rate)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    return trees.folder(tmp_path_factory.mktemp('corpus'), speakers=6, files=2)


def run(corpus, output, *flags, mark=''):
    build.run(
        name='x',
        utterances=people.read(str(corpus)),
        roots={'input_dir': str(corpus)},
        output_dir=str(output),
        plan=functools.partial(pairing.random_pairs, pairs={'train': 40}, max_seconds=0.4),
        mix=functools.partial(mix_and_die_once, mark=str(mark)),
        argv=flags,
    )
    return {path.name: path.read_bytes() for path in output.iterdir()}


@pytest.fixture(scope='module')
def expected(corpus, tmp_path_factory):
    return run(corpus, tmp_path_factory.mktemp('expected') / 'out')


@pytest.fixture(autouse=True)
def workers_find_what_the_tests_do(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', ':'.join(filter(None, sys.path)))


def free_port():
    with socket.socket() as sock:
        sock.bind(('localhost', 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def pool(cwd=None, **environment):
    """The flags of a worker pool, a process of its own."""
    port = free_port()
    path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
    process = subprocess.Popen(
        [sys.executable, '-m', 'apache_beam.runners.worker.worker_pool_main']
        + [f'--service_port={port}'],
        env={**os.environ, 'PATH': path, **environment},
        cwd=cwd,  # workers import from there first
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while 'Started worker pool' not in process.stderr.readline():
            assert process.poll() is None
        yield (*EXTERNAL, f'--environment_config=localhost:{port}')
    finally:
        process.terminate()
        process.communicate()


CLUSTER = """
    import sys, distributed
    if __name__ == '__main__':
        with distributed.LocalCluster(n_workers=0, threads_per_worker=1) as cluster:
            print(cluster.scheduler_address, flush=True)
            sys.stdin.readline()
            cluster.scale(1)
            sys.stdin.readline()
"""


@pytest.mark.slow
def test_processes_of_this_machine(corpus, expected, tmp_path, caplog):
    flags = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')
    assert run(corpus, tmp_path / 'out', *flags, mark=tmp_path / 'killed') == expected
    assert (tmp_path / 'killed').exists() and caplog.text.count('done again') == 1


def test_loopback(corpus, expected, tmp_path):
    flags = ('--runner=PortableRunner', '--job_endpoint=embed', '--environment_type=LOOPBACK')
    assert run(corpus, tmp_path / 'out', *flags) == expected


@pytest.mark.slow
def test_a_pool_of_workers_elsewhere(corpus, expected, tmp_path, caplog):
    with pool() as flags:
        assert run(corpus, tmp_path / 'out', *flags, mark=tmp_path / 'killed') == expected
    assert (tmp_path / 'killed').exists() and caplog.text.count('done again') == 1


@pytest.mark.slow
def test_a_dask_cluster(corpus, expected, tmp_path, monkeypatch):
    pytest.importorskip('distributed')
    (tmp_path / 'cluster.py').write_text(textwrap.dedent(CLUSTER))
    cluster = subprocess.Popen(
        [sys.executable, tmp_path / 'cluster.py'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    try:
        flags = (
            '--runner=DaskRunner',
            f'--dask_client_address={cluster.stdout.readline().strip()}',
        )
        with monkeypatch.context() as patch:
            patch.setattr(engine, 'START_SECONDS', 1)
            with pytest.raises(engine.EngineError, match='^the Dask cluster has had no worker for'):
                run(corpus, tmp_path / 'out', *flags)
        print(file=cluster.stdin, flush=True)
        assert run(corpus, tmp_path / 'out', *flags, mark=tmp_path / 'killed') == expected
        assert (tmp_path / 'killed').exists()
    finally:
        cluster.communicate('\n')


def refused(corpus, tmp_path, capfd, *flags):
    """What a job that cannot be done says, and its exit status."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        folder_2mix.main([f'--input_dir={corpus}', f'--output_dir={tmp_path}/out', *flags])
    said = re.sub(r'.*: \d+ of \d+ pieces\n', '', capfd.readouterr().err)
    assert said.count('\n') == 1, said
    line = said.strip()
    assert not (tmp_path / 'out' / 'dataset.json').exists()
    return stop.value.code, line.removeprefix('error: ')


def test_nobody_at_the_address(corpus, tmp_path, capfd):
    at = f'localhost:{free_port()}'
    flags = (*EXTERNAL, f'--environment_config={at}')
    code, line = refused(corpus, tmp_path, capfd, *flags)
    assert code == os.EX_UNAVAILABLE and line.startswith('no worker pool at --environment_config')
    flags = ('--runner=PortableRunner', f'--job_endpoint={at}', '--job_server_timeout=1')
    said = (os.EX_UNAVAILABLE, 'nothing answers at --job_endpoint')
    assert refused(corpus, tmp_path, capfd, *flags) == said


def test_no_dask_at_the_address(corpus, tmp_path, capfd):
    pytest.importorskip('distributed')
    flags = (f'--dask_client_address=localhost:{free_port()}', '--dask_connection_timeout=1')
    code, line = refused(corpus, tmp_path, capfd, '--runner=DaskRunner', *flags)
    assert code == os.EX_UNAVAILABLE and line.startswith('no Dask scheduler: Timed out')


@pytest.mark.slow
def test_a_worker_without_the_package(corpus, tmp_path, capfd):
    (tmp_path / 'data_prep').mkdir()
    (tmp_path / 'data_prep' / '__init__.py').write_text('raise ImportError("none here")')
    with pool(tmp_path) as flags:
        code, line = refused(corpus, tmp_path, capfd, *flags)
    assert code == os.EX_UNAVAILABLE
    assert re.match(r'the worker on \S+ lacks this package \(none here\): install it where', line)


@pytest.mark.slow
def test_a_worker_with_other_code(corpus, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(engine, 'code', lambda: 'of a later version')
    with pool() as flags:
        code, line = refused(corpus, tmp_path, capfd, *flags)
    assert code == os.EX_UNAVAILABLE and 'has this package in another version' in line


@pytest.mark.slow
def test_a_worker_that_dies_before_it_is_there(corpus, tmp_path, capfd, monkeypatch):
    (tmp_path / 'python').write_text('#!/bin/sh\nexit 1\n')
    (tmp_path / 'python').chmod(0o755)
    monkeypatch.setattr(engine, 'START_SECONDS', 2)
    with pool(PATH=f'{tmp_path}:{os.environ["PATH"]}') as flags:
        said = (os.EX_UNAVAILABLE, 'no worker came within 2 s')
        assert refused(corpus, tmp_path, capfd, *flags) == said
    monkeypatch.setattr(engine, 'own_worker', lambda command: b'exec false')
    flags = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')
    capfd.readouterr()
    with pytest.raises(engine.EngineError, match=f'^{engine.LOST}, and again, before'):
        list(engine.each([1, 2], str, flags, str(tmp_path)))


@pytest.mark.parametrize(
    'flags, said',
    [
        (['--dask_client_adress=x'], "did you mean '--dask_client_address'"),
        (['--dask_client_address=x'], '--dask_client_address is for --runner=DaskRunner'),
        (['--flink_master=x'], '--flink_master is for --runner=FlinkRunner'),
        (['--runner=FlinkRunner', '--parallelism=x'], '--parallelism: invalid int value'),
        (['--environment_type=LOOPBACK'], '--environment_type is for --runner=PortableRunner'),
        (['--runner=PortableRunner'], '--runner=PortableRunner needs --job_endpoint=HOST:PORT'),
        (['--runner=Flunk'], 'Unexpected pipeline runner: Flunk'),
        (['--runner=FnApiRunner', 'stray'], 'neither this job nor Beam knows stray'),
    ],
)
def test_beams_flags_are_beams_to_judge(tmp_path, capfd, flags, said):
    code, line = refused(tmp_path, tmp_path, capfd, *flags)
    assert code == 2 and said in line and not (tmp_path / 'out').exists()


def test_what_a_worker_makes_is_read_one_by_one(tmp_path):
    made = engine.each(range(5), json.dumps, (), str(tmp_path))
    assert next(made) == '0' and [*made] == ['1', '2', '3', '4']


def lies(content):
    """Of bytes that were written others come back: fewer, or one bit is another."""
    return [content[:-1], content[:3], bytes([content[0] ^ 1]) + content[1:], b'<html></html>']


@pytest.mark.parametrize('which', range(4))
def test_what_a_worker_made_is_not_believed_where_it_came_back_otherwise(tmp_path, which):
    made = engine.each(range(2), json.dumps, (), str(tmp_path))
    next(made)
    (path,) = tmp_path.glob('*-1')
    path.write_bytes(lies(path.read_bytes())[which])
    with pytest.raises(engine.EngineError, match=f'{path} came back as other bytes'):
        next(made)


def test_a_result_that_is_gone_is_named(tmp_path):
    made = engine.each(range(2), json.dumps, (), str(tmp_path))
    next(made)
    (path,) = tmp_path.glob('*-1')
    path.unlink()
    with pytest.raises(engine.EngineError, match=f'{path}, which a worker wrote, cannot be read'):
        next(made)


@pytest.mark.parametrize('table', ['inspect.csv', 'mix.csv'])
@pytest.mark.parametrize('which', range(4))
def test_a_table_is_not_believed_where_it_came_back_otherwise(
    corpus, tmp_path, capfd, monkeypatch, table, which
):
    write = build.write_whole

    def written(path, contents):
        write(path, lies(contents)[which] if path.endswith(table) else contents)

    monkeypatch.setattr(build, 'write_whole', written)
    code, line = refused(corpus, tmp_path, capfd)
    assert code == os.EX_UNAVAILABLE and f'{table} came back as other bytes than were' in line
    assert not (tmp_path / 'out' / 'dataset.json').exists()


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(engine.EngineError, match='does not see .*nowhere: give an --output_dir'):
        list(engine.each([1], str, (), str(tmp_path / 'nowhere')))


@pytest.mark.parametrize(
    'error, said',
    [
        (FileNotFoundError(2, 'No such file or directory', 'docker'), 'docker, by which workers'),
        (
            subprocess.CalledProcessError(125, ['docker', 'run', 'no/image']),
            'could be started: `docker run no/image` ended with status 125',
        ),
        (KeyError('beam:env:process:v1'), 'the command of --environment_config ended before'),
        (FileNotFoundError(2, 'No such file or directory', '/data/x'), None),
        (FileNotFoundError('gone'), None),
        (KeyError('x'), None),
    ],
)
def test_what_starts_no_worker_is_a_line(error, said):
    explained = engine._explained(error)
    assert explained is None if said is None else said in str(explained)


def test_a_worker_needs_what_its_list_names_and_no_jax():
    root = pathlib.Path(engine.__file__).parent
    listed = re.findall(r'^[\w-]+', (root / 'worker_requirements.txt').read_text(), re.MULTILINE)
    assert 'worker_requirements.txt' in (root / 'Dockerfile').read_text()
    spec = importlib.metadata.requires('fgsep_jax')
    others = {re.match(r'[\w-]+', one)[0].lower() for one in spec} - {*map(str.lower, listed)}
    assert {'jax', 'flax', 'tensorflow-datasets'} <= others and 'numpy' not in others
    modules = {name.replace('-', '_') for name in others}
    code = f"""
        import importlib, sys
        sys.modules |= dict.fromkeys({sorted(modules)})
        for job in {sorted(jobs())}:
            importlib.import_module(f'data_prep.{{job}}')
        import data_prep.build
    """
    subprocess.run([sys.executable, '-c', textwrap.dedent(code)], check=True)
