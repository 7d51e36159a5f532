"""The small models that the package brings along: small, usable, and as their card says."""

import os
import pathlib

import numpy as np
import pytest

import fgsep_jax
from fgsep_jax.interop import model_file

CARD = (pathlib.Path(__file__).parents[2] / 'docs/models.md').read_text()
SAID = {
    'voices': ('librispeech', ('mean_si_snri', 'mean_sdri')),
    'sounds': ('sounds-c1', ('median_sdri_foreground', 'median_si_snri_foreground')),
}


def test_all_are_on_the_card():
    assert set(model_file.shipped()) == set(SAID)


@pytest.mark.parametrize('name', SAID)
def test_a_shipped_model_is_as_its_card_says(name):
    path = model_file.shipped()[name]
    assert os.path.getsize(path) < 5e6
    about = model_file.read_about(path)
    data_set, metrics = SAID[name]
    for metric in metrics:
        assert f'{about.scores[data_set][metric]:.2f} dB' in CARD
    assert about.origin and about.licence.startswith('CC BY 4.0') and not about.config.data.dir


@pytest.mark.slow
def test_one_is_loaded_by_its_name():
    model = fgsep_jax.load('voices')
    signal_T = 0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    parts = model.separate(signal_T, 8000)
    assert set(parts) == {'speaker_1', 'speaker_2'}
    count = sum(leaf.size for part in _leaves(model.parameters) for leaf in [part])
    assert f'{count:,} parameters' in CARD


def _leaves(tree):
    return [x for v in tree.values() for x in (_leaves(v) if isinstance(v, dict) else [v])]
