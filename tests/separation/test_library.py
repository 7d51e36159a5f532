"""What README and docs promise of the library, as they say it."""

import contextlib
import io
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import fgsep_jax
import models

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tests/report'))
import fabricate  # noqa: E402


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
    assert dir(fgsep_jax) == sorted([*fgsep_jax._PUBLIC, '__version__'])
    with pytest.raises(AttributeError, match='nothing_of_the_kind'):
        _ = fgsep_jax.nothing_of_the_kind


PAGE = (ROOT / 'docs/library.md').read_text()
# {heading: (lines of code, what they print)}; the first is what all share.
SHOWN = {
    section.partition('\n')[0]: re.search(
        r'^```python\n(.*?)^```\n(?:```\n(.*?)^```\n)?', section, flags=re.M | re.S
    ).groups('')
    for section in re.split('^#{1,2} (?=[a-zA-Z_, ]+$)', PAGE, flags=re.M)[1:]
}


def test_every_public_name_is_shown_in_five_lines():
    shown = {name: code for heading, (code, _) in SHOWN.items() for name in heading.split(', ')}
    del shown['The library in five lines each']
    assert shown.keys() == fgsep_jax._PUBLIC.keys()
    for name, code in shown.items():
        assert f'fgsep_jax.{name}' in code and len(code.splitlines()) <= 5, name


@pytest.mark.slow
def test_the_lines_print_what_the_page_says(tmp_path, monkeypatch):
    fabricate.run(tmp_path / 'runs/glu', 'convtasnet_glu')
    monkeypatch.chdir(tmp_path)
    scope = {}
    for heading, (code, expected) in SHOWN.items():
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, scope)
        assert printed.getvalue() == expected, heading


def test_importing_it_brings_nothing_along():
    code = (
        'import sys, fgsep_jax; print([m for m in ("jax", "numpy", "scipy") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
