"""A run that is killed, stopped, or dealt over devices and hosts is the same run."""

import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint
from fgsep_jax.training.state import init_state
import synthetic
import tiny

DRIVER = pathlib.Path(__file__).with_name('driver.py')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Some are shorter than a segment, in some segments a source is silent."""
    return synthetic.write(
        tmp_path_factory.mktemp('data') / 'tones', lengths=(2400, 600), silent=(1200, 0, 0, 0)
    )


def start(data, workdir, *flags, devices=1):
    environment = {
        **os.environ,
        'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}',
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(DRIVER.parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, str(DRIVER), data, str(workdir), *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def two_hosts(data, workdir, *flags):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    return [start(data, workdir, f'--host={i}/2', f'--port={port}', *flags) for i in range(2)]


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
    finish(start(data, workdir))
    return workdir


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bits(data, undisturbed, tmp_path):
    for seen in (2, 7):  # steps after which to kill; the first before any checkpoint
        process = start(data, tmp_path)
        while len(lines(tmp_path, 'train')) < seen and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(data, tmp_path))
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
    flags = [f'--{key}={json.dumps(value)}' for key, value in RECIPE.items()]
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    undisturbed = start(data, whole, *flags)
    process = start(data, killed, *flags)
    while len(lines(killed, 'train')) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finish(undisturbed, start(data, killed, *flags))
    expected, again = (parameters(data, folder, **RECIPE) for folder in (whole, killed))
    jax.tree.map(np.testing.assert_array_equal, expected, again)
    by_step = functools.partial(losses, unscored=False)
    np.testing.assert_array_equal(by_step(whole), by_step(killed))
    shared = tmp_path / 'shared'
    finish(*two_hosts(data, shared, *flags))
    np.testing.assert_allclose(by_step(shared), by_step(whole), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_sigterm_saves_and_leaves_and_resumes(data, undisturbed, tmp_path):
    process = start(data, tmp_path, '--training.checkpoint_steps=1000')
    while not lines(tmp_path, 'train') and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    finish(process, code=128 + signal.SIGTERM)
    assert 0 < int(parameters(data, tmp_path).step) < 12
    finish(start(data, tmp_path))
    jax.tree.map(
        np.testing.assert_array_equal, parameters(data, undisturbed), parameters(data, tmp_path)
    )


@pytest.mark.slow
def test_devices_share_a_batch_and_change_nothing(data, undisturbed, tmp_path):
    finish(start(data, tmp_path, devices=4))  # two share it between hosts, below
    np.testing.assert_allclose(losses(tmp_path), losses(undisturbed), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(losses(tmp_path)[:3], losses(undisturbed)[:3], rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_two_hosts_make_the_same_run_as_one(data, undisturbed, tmp_path):
    finish(*two_hosts(data, tmp_path))
    np.testing.assert_allclose(losses(tmp_path)[:3], losses(undisturbed)[:3], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        losses(tmp_path, 'validation'), losses(undisturbed, 'validation'), rtol=1e-3, atol=1e-3
    )
