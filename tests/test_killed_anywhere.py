"""The program itself, stopped or killed at random instants: in one line, and with the same end."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from fgsep_jax import lock
from fgsep_jax.report import runs
import synthetic
import tiny

SIGNALS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def start(data, workdir):
    values = {**tiny.SHRUNK, 'data.dir': data, 'training.epochs': 6}
    return subprocess.Popen(
        [
            *(sys.executable, '-m', 'fgsep_jax.main', '--mode=train', f'--workdir={workdir}'),
            '--config=configs/convtasnet_glu.py:demo',
            *(f'--config.{key}={value}' for key, value in values.items()),
        ],
        cwd=pathlib.Path(__file__).parent.parent,
        env={
            **os.environ,
            'JAX_PLATFORMS': 'cpu',
            'GLIBC_TUNABLES': '',  # so that it does not start itself again
            'JAX_COMPILATION_CACHE_DIR': f'{data}/compiled',
            'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def losses(workdir):
    rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [(row['kind'], row['step'], row['loss']) for row in rows]


@pytest.mark.slow
def test_stopped_or_killed_anywhere_the_run_ends_as_if_undisturbed(tmp_path):
    data, chance = synthetic.write(tmp_path / 'tones'), random.Random(0)
    began = time.monotonic()
    output, _ = start(data, tmp_path / 'undisturbed').communicate(timeout=300)
    assert (tmp_path / 'undisturbed' / 'metrics.jsonl').exists(), output
    length, seen = time.monotonic() - began, []
    for _ in range(40):
        process = start(data, tmp_path / 'run')
        number = chance.choice(SIGNALS) if len(seen) < 10 else None
        try:
            output, _ = process.communicate(timeout=chance.uniform(0, length) if number else 300)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            output, _ = process.communicate(timeout=60)
            assert process.returncode in (128 + number, -number, 0), output
            if number != signal.SIGKILL and process.returncode:
                # Before its first line of Python a process has no say in how it ends.
                said = output.splitlines()[-1:] or ['']
                assert process.returncode == -number or 'stop' in said[0], output
            seen.append(number)
        assert 'Traceback' not in output
        if (tmp_path / 'run' / 'config.json').exists():  # whole, however it was left
            run = runs.open_run(tmp_path / 'run')
            assert run.curves is not None and not [x for x in run.problems if 'metrics' in x]
        if process.returncode == 0:
            break
    assert process.returncode == 0, output
    assert losses(tmp_path / 'run') == losses(tmp_path / 'undisturbed')
    left = [path.name for path in (tmp_path / 'run').rglob('*') if 'partial' in path.name]
    assert not left and not lock.holder(tmp_path / 'run')
