"""A run that is killed, stopped, or dealt over devices and hosts is the same run."""

import functools
import json
import os
import pathlib
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

from fgsep_jax import hosts, lock, main
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint
from fgsep_jax.training.state import init_state
import synthetic
import tiny

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Some are shorter than a segment, in some segments a source is silent."""
    return synthetic.write(
        tmp_path_factory.mktemp('data') / 'tones', lengths=(2400, 600), silent=(1200, 0, 0, 0)
    )


def train(data, workdir, **overrides):
    """The flags of a tiny training run."""
    values = {**tiny.SHRUNK, 'data.dir': data, **overrides}
    return [
        '--mode=train',
        f'--workdir={workdir}',
        '--config=configs/convtasnet_glu.py:demo',
        *(f'--config.{key}={value}' for key, value in values.items()),
    ]


def start(flags, devices=1):
    """Starts the program in a process of its own."""
    environment = {
        **os.environ,
        'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}',
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, '-m', 'fgsep_jax.main', *flags],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_hosts(count, flags, devices=1):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    flags = [*flags, f'--coordinator=127.0.0.1:{port}', f'--processes={count}']
    return [start([*flags, f'--process={k}'], devices) for k in range(count)]


def kill(process, workdir, *, after):
    """Kills a process once a run has logged so many steps."""
    while len(lines(workdir, 'train')) < after and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()


def finish(*processes, code=0):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output


def lines(workdir, kind):
    path = pathlib.Path(workdir) / 'metrics.jsonl'
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if row['kind'] == kind]


def losses(workdir, kind='train', unscored=True):
    rows = lines(workdir, kind)
    steps = [row['step'] for row in rows]
    assert steps == sorted(set(steps)), 'a step was logged twice'
    assert kind != 'train' or not unscored or rows[-1]['unscored'] > 0
    return np.array([[row['loss'], row['unscored']] for row in rows])


def parameters(data, workdir, **overrides):
    config = tiny.config(data, **overrides)
    shapes = jax.eval_shape(lambda: init_state(make_task(config), config))
    checkpoints = checkpoint.Checkpoints(workdir)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state, _ = checkpoints.restore(checkpoints.latest_step(), checkpoint.abstract(shapes, sharding))
    checkpoints.close()
    return state


@pytest.fixture(scope='module')
def undisturbed(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('undisturbed')
    finish(start(train(data, workdir)))
    return workdir


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bits(data, undisturbed, tmp_path):
    for seen in (2, 7):  # steps after which to kill; the first before any checkpoint
        kill(start(train(data, tmp_path)), tmp_path, after=seen)
    finish(start(train(data, tmp_path)))
    expected, found = parameters(data, undisturbed), parameters(data, tmp_path)
    assert int(found.step) == 12
    jax.tree.map(np.testing.assert_array_equal, expected, found)
    np.testing.assert_array_equal(losses(undisturbed), losses(tmp_path))


# Everything that changes what a step does.
RECIPE = {
    'data.remix': True,
    'data.speed': 0.05,
    'training.schedule': 'cosine',
    'training.warmup_steps': 3,
    'training.weight_decay': 0.01,
    'training.accumulate': 2,
    'training.ema': 0.9,
}


@pytest.mark.slow
def test_killed_runs_of_dealt_sources_end_with_the_same_bits(data, tmp_path):
    whole, killed, shared = (tmp_path / name for name in ('whole', 'killed', 'shared'))
    undisturbed = start(train(data, whole, **RECIPE))
    kill(start(train(data, killed, **RECIPE)), killed, after=5)
    shutil.copytree(killed, shared)
    finish(undisturbed, start(train(data, killed, **RECIPE)))
    expected, again = (parameters(data, folder, **RECIPE) for folder in (whole, killed))
    jax.tree.map(np.testing.assert_array_equal, expected, again)
    by_step = functools.partial(losses, unscored=False)
    np.testing.assert_array_equal(by_step(whole), by_step(killed))
    finish(*start_hosts(2, train(data, shared, **RECIPE)))  # what one had begun
    np.testing.assert_allclose(by_step(shared), by_step(whole), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_sigterm_saves_and_leaves_and_resumes(data, undisturbed, tmp_path):
    process = start(train(data, tmp_path, **{'training.checkpoint_steps': 1000}))
    while not lines(tmp_path, 'train') and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    finish(process, code=128 + signal.SIGTERM)
    assert 0 < int(parameters(data, tmp_path).step) < 12
    finish(start(train(data, tmp_path)))
    jax.tree.map(
        np.testing.assert_array_equal, parameters(data, undisturbed), parameters(data, tmp_path)
    )


@pytest.mark.slow
@pytest.mark.parametrize('lost, left', [(0, 1), (1, 0)])
def test_where_a_host_is_lost_the_others_end_and_any_number_goes_on(
    data, undisturbed, tmp_path, lost, left
):
    """The first of them keeps what JAX's hosts know of one another, which goes with it."""
    processes = start_hosts(2, train(data, tmp_path))
    kill(processes[lost], tmp_path, after=5)
    killed = time.monotonic()
    output, _ = processes[left].communicate(timeout=60)
    assert processes[left].returncode == hosts.LOST, output
    assert time.monotonic() - killed < 15
    said = [line for line in output.splitlines() if 'error' in line.lower()]
    assert len(said) == 1 and f'host {lost} of 2 ' in said[0] and 'same command' in said[0], output
    assert 'Traceback' not in output and 'Check failure' not in output
    if lost:
        return
    # Each device with its share of the moments, which the checkpoint has whole.
    finish(start(train(data, tmp_path, **{'training.shard_optimizer': True}), devices=4))
    megabytes = [
        float(re.findall(r'optimiser +(.*) MB per device', (folder / 'run.log').read_text())[-1])
        for folder in (undisturbed, tmp_path)
    ]
    assert megabytes[1] < 0.6 * megabytes[0]
    expected, found = parameters(data, undisturbed), parameters(data, tmp_path)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, expected, found)
    assert '2 hosts saved the checkpoint, 1 host now goes on' in (tmp_path / 'run.log').read_text()
    np.testing.assert_allclose(losses(tmp_path)[:3], losses(undisturbed)[:3], rtol=1e-5, atol=1e-4)
    for kind in ('train', 'validation'):
        found, expected = losses(tmp_path, kind), losses(undisturbed, kind)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_all_devices_of_all_hosts_evaluate_to_the_bytes_of_one(data, undisturbed, tmp_path):
    more = synthetic.write(tmp_path / 'more', test=11, lengths=(2400, 700, 1100))
    flags = ['--mode=evaluate', f'--data_dirs={more}', '--splits=test']
    flags += ['--config.evaluation.batch_size=2', '--config.evaluation.bucket_seconds=0.1']
    written = []
    for name in ('one', 'four'):
        folder = tmp_path / name
        shutil.copytree(undisturbed, folder)
        if name == 'one':
            main.main([*flags, f'--workdir={folder}'])
        else:
            finish(*start_hosts(2, [*flags, f'--workdir={folder}'], devices=2))
        (results,) = (folder / 'evaluation').iterdir()
        written.append([(results / of).read_bytes() for of in ('examples.csv', 'summary.json')])
    assert written[0] == written[1]


@pytest.mark.slow
def test_a_host_that_is_to_stop_in_an_evaluation_does(undisturbed, data, tmp_path):
    """JAX takes SIGTERM for itself where it joins hosts, so that trainings can agree on a step."""
    folder = tmp_path / 'run'
    shutil.copytree(undisturbed, folder)
    flags = ['--mode=evaluate', f'--data_dirs={data}', f'--workdir={folder}']
    stopped, other = start_hosts(2, flags)
    while not list((folder / 'evaluation').glob(f'*/{lock.NAME}')):
        assert stopped.poll() is None, stopped.communicate()[0]
        time.sleep(0.01)
    stopped.send_signal(signal.SIGTERM)
    finish(stopped, code=128 + signal.SIGTERM)
    finish(other, code=hosts.LOST)
