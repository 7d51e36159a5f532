"""The script for pods against a gcloud that only writes down what it is asked."""

import os
import pathlib
import shlex
import subprocess

import pytest

from fgsep_jax import config, main

ROOT = pathlib.Path(__file__).parent.parent.parent
SCRIPT = ROOT / 'fgsep_jax/launch/tpu_pod.sh'


def run(tmp_path, *arguments, **variables):
    """(exit status, what gcloud was called with, one list a call)."""
    gcloud = tmp_path / 'gcloud'
    gcloud.write_text(
        f'#!/bin/bash\nprintf "%s\\0" "$@" >> {tmp_path}/calls\n'
        f'printf "\\n\\0" >> {tmp_path}/calls\n'
    )
    gcloud.chmod(0o755)
    environment = {
        'PATH': f'{tmp_path}:{os.environ["PATH"]}',
        'HOME': str(tmp_path),
        'TPU_NAME': 'pod',
        'ZONE': 'z',
        **variables,
    }
    process = subprocess.run(
        ['bash', SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    calls = tmp_path / 'calls'
    text = calls.read_text() if calls.exists() else ''
    return process, [call.split('\0')[:-1] for call in text.split('\n\0')[:-1]]


@pytest.mark.parametrize(
    'accelerator, version',
    [
        ('v5litepod-16', 'v2-alpha-tpuv5-lite'),
        ('v5p-8', 'v2-alpha-tpuv5'),
        ('v6e-16', 'v2-alpha-tpuv6e'),
        ('v4-16', 'tpu-ubuntu2204-base'),
    ],
)
def test_a_slice_is_made_with_the_software_of_its_generation(tmp_path, accelerator, version):
    process, calls = run(tmp_path, 'create', ACCELERATOR_TYPE=accelerator)
    assert process.returncode == 0, process.stderr
    assert calls == [
        [
            'compute',
            'tpus',
            'tpu-vm',
            'create',
            'pod',
            '--zone=z',
            f'--accelerator-type={accelerator}',
            f'--version={version}',
        ]
    ]


def test_every_host_runs_the_same_command(tmp_path):
    given = ['--config=configs/convtasnet.py:wsj0_2mix', '--config.data.dir=gs://b/a folder']
    process, (call,) = run(tmp_path, 'run', *given)
    assert process.returncode == 0, process.stderr
    assert call[:7] == ['compute', 'tpus', 'tpu-vm', 'ssh', 'pod', '--zone=z', '--worker=all']
    command = call[7].removeprefix('--command=')
    words = shlex.split(command[command.index('~/venv') :])
    assert words == ['~/venv/bin/python', '-m', 'fgsep_jax.main', '--multihost', *given]
    flags, overrides = config.split_overrides(words[3:])
    assert main._parser().parse(flags)[0].multihost and overrides == {'data.dir': 'gs://b/a folder'}


def test_an_install_needs_a_shared_folder(tmp_path):
    process, calls = run(tmp_path, 'install')
    assert process.returncode != 0 and 'NFS' in process.stderr and not calls
    process, calls = run(tmp_path, 'install', NFS='10.0.0.2:/share')
    assert process.returncode == 0, process.stderr
    assert [call[3] for call in calls] == ['ssh', 'scp', 'ssh', 'ssh']
    assert '.[tpu]' in calls[-1][-1]


@pytest.mark.parametrize('arguments', [(), ('creat',)])
def test_without_a_command_it_says_what_there_is(tmp_path, arguments):
    process, calls = run(tmp_path, *arguments, TPU_NAME='')
    assert process.returncode == 2 and 'tpu_pod.sh create' in process.stderr and not calls
