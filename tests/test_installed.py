"""What is installed is whole: a wheel, far from the repository, separates."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.mark.slow
def test_a_wheel_separates_elsewhere(tmp_path):
    def run(*command, **more):
        environment = {**os.environ, 'PYTHONPATH': str(site), 'JAX_PLATFORMS': 'cpu'}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, **more
        )
        assert not done.returncode, done.stderr
        return done.stdout

    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    site, wheels = tmp_path / 'site', tmp_path / 'wheels'
    run(*pip, 'wheel', '--no-deps', '-w', wheels, ROOT)
    run(*pip, 'install', '--no-deps', '--target', site, next(wheels.glob('*.whl')))
    for package in ('fgsep_jax', 'data_prep'):
        found = run(sys.executable, '-c', f'import {package}; print({package}.__file__)')
        assert found.startswith(str(site))
    listed = run(site / 'bin/fgsep-train', '--help') + run(
        sys.executable, '-m', 'data_prep.fgbg', '--help'
    )
    assert '--config' in listed and '--classes' in listed

    # A configuration by its name, a corpus without data, a model, a recording's parts.
    run(
        *[
            sys.executable,
            '-m',
            'data_prep.embedded',
            '--task=foreground',
            '--output_dir=data/fgbg',
        ],
        *['--train_mixtures=12', '--validation_mixtures=4', '--test_mixtures=4'],
    )
    run(
        *[site / 'bin/fgsep-train', '--mode=train', '--config=blstm_m2:demo', '--workdir=runs/m2'],
        *['--config.data.dir=data/fgbg', '--config.data.batch_size=4'],
        *['--config.training.epochs=1', '--config.model.hidden=8', '--config.model.projection=8'],
    )
    signal_T = 0.1 * np.random.default_rng(0).standard_normal(44_100)
    soundfile.write(tmp_path / 'in.wav', signal_T, 44_100)
    run(site / 'bin/fgsep-separate', 'runs/m2', 'in.wav', '--page=1')
    parts = [
        soundfile.read(tmp_path / f'separated/in_{s}.wav')[0] for s in ('foreground', 'background')
    ]
    np.testing.assert_allclose(sum(parts), signal_T, atol=2 / 32768)
    assert (tmp_path / 'separated/index.html').exists()
