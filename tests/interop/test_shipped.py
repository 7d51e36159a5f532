"""The small models that the package brings along: small, usable, and as their card says."""

import os
import pathlib

import numpy as np
import pytest

import fgsep_jax
from fgsep_jax.config import ConfigError
from fgsep_jax.data import resample
from fgsep_jax.interop import model_file
from fgsep_jax.metrics.improvement import evaluate_example, si_snr

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


@pytest.mark.slow
def test_voices_tells_people_apart(talkers):
    model, reader_T, gained = fgsep_jax.load('voices'), talkers[0], []
    for other_T in talkers[1:]:
        pair_ST = np.stack([reader_T[: len(other_T)], other_T])
        pair_ST = resample.resample(pair_ST / pair_ST.std(axis=1, keepdims=True), 16000, 8000)
        mixture_T = 0.05 * pair_ST.sum(axis=0)
        estimates = model.separate(mixture_T, 8000)
        scores = evaluate_example(np.stack([*estimates.values()]), 0.05 * pair_ST, mixture_T)
        gained.append(scores['si_snri'])
    assert np.mean(gained) > 3


@pytest.mark.slow
def test_sounds_tells_an_event_from_where_it_is(scene):
    """Strokes of a bell in a real place."""
    model, rate = fgsep_jax.load('sounds'), 44100
    background_T = scene[: 5 * rate]
    seconds_T = np.arange(len(background_T)) / rate % 1.25
    bell_T = np.exp(-20 * seconds_T) * sum(
        np.sin(2 * np.pi * hertz * seconds_T) / hertz for hertz in (1200, 3300)
    )
    bell_T = (bell_T * np.linalg.norm(background_T) / np.linalg.norm(bell_T)).astype(np.float32)
    mixture_T = bell_T + background_T
    estimates = model.separate(mixture_T, rate)
    for name, source_T in (('foreground', bell_T), ('background', background_T)):
        before, after = si_snr(np.stack([mixture_T, estimates[name]]), source_T[None])[0]
        assert after - before > 5, name


def _leaves(tree):
    return [x for v in tree.values() for x in (_leaves(v) if isinstance(v, dict) else [v])]


def test_a_folder_of_a_shipped_models_name_is_said_to_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'sounds').mkdir()
    path = model_file.shipped()['sounds']
    with pytest.raises(
        ConfigError, match='sounds: a folder .* hides the shipped model: .*'
    ) as error:
        model_file.located('sounds')
    assert path in str(error.value) and model_file.located(path) == path
    (tmp_path / 'sounds' / 'config.json').write_text('{}')
    assert model_file.located('sounds') == 'sounds'  # a run of that name is meant
