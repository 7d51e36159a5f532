"""Runs that fill every part of a report, and the report, made once."""

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
        [sys.executable, '-m', 'fgsep_jax.report', f'--runs={every_run}', '--title=A <report>',
         '--output_dir=out'], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, 'PYTHONPATH': f'{folder}{os.pathsep}{top}'})
    assert done.returncode == 0, done.stderr
    assert done.stdout == '37 runs; the report: out/index.html\n' and not done.stderr
    return folder / 'out'
