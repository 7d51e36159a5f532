"""Pictures of pages, which do without matplotlib."""

import base64
import io
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from fgsep_jax.report.picture import picture


def test_colours_and_rows_are_those_of_matplotlib():
    import matplotlib

    level_FK = np.linspace(-90, 10, 40).reshape(5, 8)
    data = base64.b64decode(picture(level_FK, low=-80, high=0).partition(',')[2])
    made = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'), float)
    share_FK = np.clip((level_FK[::-1] + 80) / 80, 0, 1)
    wanted = matplotlib.colormaps['magma'](share_FK)[..., :3] * 255
    assert np.abs(made - wanted).max() < 12


NEEDED = 'pandas', 'matplotlib', 'jinja2', 'PIL'


@pytest.mark.slow
def test_pages_of_sounds_need_no_extra_and_a_report_says_that_it_does(tmp_path):
    code = f"""
import sys
sys.modules |= dict.fromkeys({NEEDED})
"""
    code += """
import numpy as np, soundfile
from fgsep_jax.separation import page
from fgsep_jax import data_sets, folder
from fgsep_jax.evaluation import cross, evaluate
soundfile.write('a.wav', np.sin(np.arange(9000.0)) / 2, 8000)
assert 'data:image/png' in page.render([('a', 'a.wav', {'voice': 'a.wav'}, 0.0)], model='m')
from fgsep_jax.report.__main__ import main
sys.exit(main(['--runs=.']))
"""
    environment = os.environ | {'PYTHONPATH': str(pathlib.Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count('\n') == 1 and "pip install 'fgsep_jax[report]'" in done.stderr
