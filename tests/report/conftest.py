"""Runs that fill every part of a report, and the report, made once."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import fabricate


@pytest.fixture(scope='session')
def every_run(tmp_path_factory):
    """Folder of `fabricate.everything`."""
    return fabricate.everything(tmp_path_factory.mktemp('every_run'))


@pytest.fixture(scope='session')
def every_report(every_run, tmp_path_factory):
    """Folder of its report, by the command, in another folder, where importing jax fails."""
    folder = tmp_path_factory.mktemp('every_report')
    for name in ('jax', 'flax'):
        (folder / f'{name}.py').write_text(f'raise ImportError("a report needs no {name}")')
    top = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'fgsep_jax.report',
            f'--runs={every_run}',
            '--title=A <report>',
            '--output_dir=out',
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONPATH': f'{folder}{os.pathsep}{top}'},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == '37 runs; the report: out/index.html\n' and not done.stderr
    return folder / 'out'


@pytest.fixture(scope='session')
def speech(tmp_path_factory):
    """Three seeds of two models on two data sets, the second of which has more speakers, tested
    on three; a GLU of one seed; no dilated model and no Big one."""
    root = tmp_path_factory.mktemp('speech')
    for seed in range(3):
        for trained_on in ('alpha', 'beta'):
            for experiment, gain in (('convtasnet', 0.0), ('convtasnet_prelu', 1.0)):
                for weight in (0.0, 0.01):
                    path = root / f'{experiment}-{weight}-{trained_on}-{seed}'
                    fabricate.run(
                        path,
                        experiment,
                        seed=seed,
                        trained_on=trained_on,
                        test_sets=('alpha', 'beta', 'gamma'),
                        gain=gain - 50 * weight,
                        sounds=False,
                        oracle=False,
                        loss__power_law_weight=weight,
                    )
                    about = json.loads((path / 'training_data.json').read_text())
                    about['train']['speakers'] = {'alpha': 10, 'beta': 99}[trained_on]
                    (path / 'training_data.json').write_text(json.dumps(about))
    fabricate.run(root / 'glu', 'convtasnet_glu', gain=1.0, sounds=False)
    return root


@pytest.fixture(scope='session')
def masks(tmp_path_factory):
    """Three seeds of three mask models; M2+ is missing."""
    root = tmp_path_factory.mktemp('masks')
    for seed in range(3):
        for experiment, gain in (('blstm_m1', 0.0), ('blstm_m1_plus', -1.0), ('blstm_m2', 1.0)):
            fabricate.run(
                root / f'{experiment}-{seed}',
                experiment,
                seed=seed,
                trained_on='fgbg',
                test_sets=('fgbg',),
                gain=gain,
                sounds=False,
                oracle=not seed,
            )
    return root
