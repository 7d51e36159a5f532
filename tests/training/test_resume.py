"""A run that is killed, stopped, or dealt over devices and hosts is the same run."""

import functools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from fgsep_jax import compilation_cache, hosts, lock, main
from fgsep_jax.report import runs
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, loop, mesh
from fgsep_jax.training.state import init_state
import synthetic
import tiny

ROOT = pathlib.Path(__file__).parents[2]
# What changes a step by the state that it starts from, or by its rows.
RECIPE = {
    'data.remix': True,
    'data.speed': 0.05,
    'training.schedule': 'cosine',
    'training.warmup_steps': 3,
    'training.weight_decay': 0.01,
    'training.ema': 0.9,
    'model.separator.blocks': 1,
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Some are shorter than a segment, in some segments a source is silent."""
    folder = tmp_path_factory.mktemp('data') / 'tones'
    return synthetic.write(folder, test=11, lengths=(2400, 600, 1100), silent=(1200, 0, 0, 0))


def train(data, workdir, **overrides):
    """The flags of a tiny training run."""
    values = {**tiny.SHRUNK, **RECIPE, 'data.dir': data, **overrides}
    return [
        '--mode=train',
        f'--workdir={workdir}',
        '--config=configs/convtasnet_glu.py:demo',
        *(f'--config.{key}={value}' for key, value in values.items()),
    ]


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Starts the program in a process of its own, which may leave half of what it has compiled:
    that is kept where the program itself does, apart from what other tests compile."""
    environment = {
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
        'XDG_CACHE_HOME': str(tmp_path_factory.mktemp('home')),
        'PYTHONPATH': str(ROOT),
        'GLIBC_TUNABLES': '',  # so that it does not start itself again
    }
    del environment['JAX_COMPILATION_CACHE_DIR']

    def start(flags, devices=1):
        count = f' --xla_force_host_platform_device_count={devices}'
        return subprocess.Popen(
            [sys.executable, '-m', 'fgsep_jax.main', *flags],
            cwd=ROOT,
            env={**environment, 'XLA_FLAGS': os.environ['XLA_FLAGS'] + count},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    start.home = environment['XDG_CACHE_HOME']
    return start


@pytest.fixture
def start_hosts(start):
    """Starts two processes of two devices each, that do one thing together."""

    def start_hosts(flags, *, second=()):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        flags = [*flags, f'--coordinator=127.0.0.1:{port}', '--processes=2']
        own = [[], second]
        return [start([*flags, f'--process={k}', *own[k]], devices=2) for k in range(2)]

    return start_hosts


def wait(process, workdir, *, after):
    """Waits until a run has logged so many steps."""
    while len(lines(workdir, 'train')) < after and process.poll() is None:
        time.sleep(0.01)


def finish(*processes, code=0):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output


def lines(workdir, kind):
    path = pathlib.Path(workdir) / 'metrics.jsonl'
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if row['kind'] == kind]


def saved(workdir):
    """The step of the newest checkpoint."""
    names = [path.name for path in (workdir / 'checkpoints').iterdir()]
    return max(int(name) for name in names if name.isdigit())


def losses(workdir, kind='train'):
    rows = lines(workdir, kind)
    steps = [row['step'] for row in rows]
    assert steps == sorted(set(steps)), 'a step was logged twice'
    assert kind != 'train' or rows[-1]['unscored'] > 0
    return np.array([[row['loss'], row['unscored']] for row in rows])


def parameters(data, workdir):
    config = tiny.config(data, **RECIPE)
    shapes = jax.eval_shape(lambda: init_state(make_task(config), config))
    checkpoints = checkpoint.Checkpoints(workdir)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state, _ = checkpoints.restore(checkpoints.latest_step(), checkpoint.abstract(shapes, sharding))
    checkpoints.close()
    return state


@pytest.fixture(scope='module')
def undisturbed(start, data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('undisturbed')
    finish(start(train(data, workdir, **{'training.keep_checkpoints': 9})))
    return workdir


def test_the_program_keeps_its_train_step(start, undisturbed, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', start.home)
    kept = os.listdir(compilation_cache.folder())
    assert any(name.startswith('jit_train_step-') for name in kept), kept


def test_stopped_or_killed_anywhere_a_run_ends_with_the_same_bits(
    start, data, undisturbed, tmp_path
):
    chance = random.Random(0)
    for number, after in (
        (signal.SIGKILL, 2),  # before any checkpoint
        (signal.SIGINT, 0),  # as it starts
        (signal.SIGKILL, 7),
        (0, 0),
    ):
        process = start(train(data, tmp_path))
        if number:
            wait(process, tmp_path, after=after)
            time.sleep(chance.uniform(0, 0.1 if after else 4))
            process.send_signal(number)
        output, _ = process.communicate(timeout=300)
        # Before its first line of Python a process has no say in how it ends.
        assert process.returncode in (number and 128 + number, -number, 0), output
        if process.returncode > 0:
            assert 'stop' in output.splitlines()[-1], output
        assert 'Traceback' not in output
        if (tmp_path / 'config.json').exists():  # whole, however it was left
            run = runs.open_run(tmp_path)
            assert run.curves is not None and not [x for x in run.problems if 'metrics' in x]
    expected, found = parameters(data, undisturbed), parameters(data, tmp_path)
    assert int(found.step) == 12
    jax.tree.map(np.testing.assert_array_equal, expected, found)
    for kind in ('train', 'validation'):
        np.testing.assert_array_equal(losses(undisturbed, kind), losses(tmp_path, kind))
    assert not [path for path in tmp_path.rglob('*') if 'partial' in path.name]
    assert not lock.holder(tmp_path)


def test_dealt_over_hosts_of_which_some_are_lost_a_run_is_the_same(
    start_hosts, data, undisturbed, tmp_path, monkeypatch
):
    """Where a host is lost the others end, and any number goes on; all evaluate as one does."""
    folder, alone = tmp_path / 'run', tmp_path / 'alone'
    shutil.copytree(undisturbed, folder)
    for later in ('6', '8', '9', '12'):
        shutil.rmtree(folder / 'checkpoints' / later)
    # Each device with its share of the moments, which the checkpoint has whole.
    dealt = train(data, folder, **{'training.shard_optimizer': True})
    # The first of them keeps what JAX's hosts know of one another, which goes with it.
    for lost, left in ((0, 1), (1, 0)):
        before, processes = saved(folder), start_hosts(dealt)
        while saved(folder) == before:
            assert processes[0].poll() is None, processes[0].communicate()[0]
            time.sleep(0.01)
        processes[lost].kill()
        killed = time.monotonic()
        output, _ = processes[left].communicate(timeout=60)
        processes[lost].communicate()
        assert processes[left].returncode == hosts.LOST, output
        assert time.monotonic() - killed < 15
        said = [line for line in output.splitlines() if 'error' in line.lower()]
        assert len(said) == 1 and 'same command' in said[0], output
        assert f'host {lost} of 2 ' in said[0]
        assert 'Traceback' not in output and 'Check failure' not in output
    step, before = loop._Run.step, saved(folder)

    def stopped(self, *args):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(loop._Run, 'step', stopped)
        main.main(train(data, folder))
    assert stop.value.code == 128 + signal.SIGTERM and before < saved(folder) < 12
    how = ['--config.evaluation.batch_size=2', '--config.evaluation.bucket_seconds=0.1']
    how += ['--config.evaluation.listen_examples=0', '--config.evaluation.filter_taps=32']
    both = [*dealt, '--mode=train_and_evaluate', *how]
    processes = start_hosts(both)
    while lines(folder, 'train')[-1]['step'] < 12:
        assert processes[0].poll() is None, processes[0].communicate()[0]
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)  # in the last validation, behind which is no step
    finish(*processes, code=128 + signal.SIGTERM)
    assert saved(folder) == 12 and not (folder / 'evaluation').exists()
    finish(*start_hosts(both))
    log = (folder / 'run.log').read_text()
    for said in ('1 host saved', '2 hosts now go on', '2 hosts saved', '1 host now goes on'):
        assert said in log
    megabytes = [float(found) for found in re.findall(r'optimiser +(.*) MB per device', log)]
    assert megabytes[-1] < 0.3 * megabytes[0]  # on four devices
    expected, found = parameters(data, undisturbed), parameters(data, folder)
    assert int(found.step) == 12
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, expected, found)
    for kind in ('train', 'validation'):
        found, expected = losses(folder, kind), losses(undisturbed, kind)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    shutil.copytree(folder, alone, ignore=shutil.ignore_patterns('evaluation'))
    main.main(['--mode=evaluate', f'--workdir={alone}', '--baselines', *how])
    written = [synthetic.files_in(of / 'evaluation') for of in (folder, alone)]
    assert written[0] == written[1] and len(written[0]) == 6


def test_hosts_that_were_told_different_things_do_not_begin(start_hosts, data, tmp_path):
    other = synthetic.write(tmp_path / 'tones', train=14, test=11)
    folder, second = tmp_path / 'run', [f'--config.data.dir={other}', '--config.seed=3']
    for process in start_hosts(train(data, folder), second=second):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 2, output
        assert 'host 1 of 2 was started with seed = 3, on host 0 0; training_data = ' in output
    assert not folder.exists()


@pytest.mark.parametrize('what', ['training.learning_rate', 'validation_data', 'data_1', 'model'])
def test_each_thing_that_hosts_must_have_in_common(
    data, undisturbed, tmp_path, monkeypatch, capsys, what
):
    def gathered(mine):
        return [mine, {**mine, what: 3}] if isinstance(mine, dict) and what in mine else [mine]

    monkeypatch.setattr(mesh, 'gather', gathered)
    flags = train(data, tmp_path / 'run')
    if what in ('data_1', 'model'):
        flags = ['--mode=evaluate', f'--workdir={undisturbed}']
    with pytest.raises(SystemExit) as ended:
        main.main(flags)
    assert ended.value.code == 2
    assert f'host 1 of 2 was started with {what} = 3, on host 0 ' in capsys.readouterr().err


def test_a_host_that_is_to_stop_in_an_evaluation_does(start_hosts, undisturbed, data, tmp_path):
    """JAX takes SIGTERM for itself where it joins hosts, so that trainings can agree on a step.
    The training before it starts, on all their devices, from the weights of another run."""
    folder = tmp_path / 'run'
    begun = {'training.init_from': undisturbed, 'training.epochs': 1}
    stopped, other = start_hosts([*train(data, folder, **begun), '--mode=train_and_evaluate'])
    while not list((folder / 'evaluation').glob(f'*/{lock.NAME}')):
        assert stopped.poll() is None, stopped.communicate()[0]
        time.sleep(0.01)
    stopped.send_signal(signal.SIGTERM)
    finish(stopped, code=128 + signal.SIGTERM)
    finish(other, code=hosts.LOST)
    assert saved(folder) == 4
    assert f'training starts from {undisturbed}, step ' in (folder / 'run.log').read_text()
