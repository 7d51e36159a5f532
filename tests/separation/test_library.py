"""What README and docs promise of the library, as they say it."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import fgsep_jax
import models

ROOT = pathlib.Path(__file__).parents[2]


def test_the_lines_of_the_page(tmp_path, monkeypatch):
    models.run(tmp_path / 'runs/sounds', 'blstm_m2')
    monkeypatch.chdir(tmp_path)
    page = (ROOT / 'docs/separate.md').read_text()
    code = page.split('```python\n')[1].split('```')[0]
    signal = 0.1 * np.random.default_rng(0).standard_normal((2, 4000))
    scope = {'signal': signal, 'rate': 8000}
    exec(code, scope)
    parts = scope['parts']
    assert parts['foreground'].shape == signal.shape
    np.testing.assert_allclose(sum(parts.values()), signal, atol=1e-6)
    soundfile.write('in.wav', signal.T, 8000)
    made = scope['model'].separate_file('in.wav', 'out', bits='24', labels=True)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'in_background.wav',
        'in_foreground.wav',
        'in_labels.txt',
        'in_selections.txt',
    ]
    assert made.outputs['foreground'] == 'out/in_foreground.wav' and made.rate == 8000


def test_public_names_are_there():
    for name in fgsep_jax._PUBLIC:
        assert callable(getattr(fgsep_jax, name)), name
        assert name in dir(fgsep_jax)
    with pytest.raises(AttributeError, match='nothing_of_the_kind'):
        _ = fgsep_jax.nothing_of_the_kind


def test_the_page_names_all_public_names():
    page = (ROOT / 'docs/separate.md').read_text()
    assert all(f'`{name}`' in page or f'fgsep_jax.{name}' in page for name in fgsep_jax._PUBLIC)


def test_importing_it_brings_nothing_along():
    code = (
        'import sys, fgsep_jax; print([m for m in ("jax", "numpy", "scipy") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
