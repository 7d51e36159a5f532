"""STOI and PESQ beside the ratios: values, their ends, where they stand."""

import concurrent.futures
import csv
import json
import warnings

import numpy as np
import pytest

from fgsep_jax import validate
from fgsep_jax.config import ConfigError
from fgsep_jax.evaluation import evaluate as evaluate_lib, table
from fgsep_jax.metrics import quality
from fgsep_jax.metrics.improvement import evaluate_example
import tiny

RATE = 8000


def voice(seed, seconds=2.0):
    """Noise that comes and goes as syllables do."""
    rng = np.random.default_rng(seed)
    time_T = np.arange(round(seconds * RATE)) / RATE
    loud_T = np.clip(np.sin(2 * np.pi * (3 + seed) * time_T), 0, None)
    return 0.2 * loud_T * np.convolve(rng.standard_normal(time_T.size), np.ones(4) / 4, 'same')


def test_more_noise_is_understood_less():
    pytest.importorskip('pystoi')
    reference_T, noise_T = voice(0), np.random.default_rng(9).standard_normal(2 * RATE)
    values = [
        quality.stoi(reference_T + gain * noise_T, reference_T, RATE) for gain in (0, 0.01, 1)
    ]
    assert values[0] == pytest.approx(1, abs=1e-6) and values[0] > values[1] > values[2] > 0
    assert np.isnan(quality.stoi(reference_T[:800], reference_T[:800], RATE))


def test_threads_leave_the_filters_of_warnings_alone():
    pytest.importorskip('pystoi')
    before, reference_T = list(warnings.filters), voice(0)
    short = [n % 3 == 0 for n in range(60)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        signals = [reference_T[: 800 if is_short else 6000] for is_short in short]
        values = list(pool.map(quality.stoi, signals, signals, [RATE] * 60))
    assert np.isnan(values).tolist() == short and warnings.filters == before


@pytest.mark.parametrize('rate, most', [(8000, 4.55), (16000, 4.65), (11025, 4.55), (44100, 4.65)])
def test_pesq_reaches_its_ends(rate, most):
    """Its largest values, of P.862.1 and P.862.2."""
    pytest.importorskip('pesq')
    reference_T = quality.resample(voice(1, 3.0), RATE, rate)
    noise_T = 0.1 * np.random.default_rng(3).standard_normal(reference_T.size)
    assert quality.pesq(reference_T, reference_T, rate) == pytest.approx(most, abs=0.02)
    assert 1 <= quality.pesq(reference_T + noise_T, reference_T, rate) < 2
    assert np.isnan(quality.pesq(noise_T[:100], np.zeros(100), rate))


def test_each_estimate_is_measured_against_its_own_reference():
    pytest.importorskip('pystoi')
    reference_ST = np.stack([voice(0), voice(2)])
    estimate_ST = np.stack([reference_ST[1], np.zeros(2 * RATE)])
    how = dict(quality=('stoi',), sample_rate=RATE)
    values = evaluate_example(estimate_ST, reference_ST, reference_ST.sum(axis=0), **how)
    np.testing.assert_allclose(values['stoi_S'], [0, 1], atol=1e-5)
    expected = [quality.stoi(reference_ST.sum(axis=0), one_T, RATE) for one_T in reference_ST]
    np.testing.assert_allclose(values['stoi_mixture_S'], expected, atol=1e-3)
    assert 'stoi' not in evaluate_example(estimate_ST, reference_ST, reference_ST.sum(axis=0))


def test_they_stand_in_files_and_table(tmp_path):
    rows = [
        {'id': str(i), 'source': str(s), 'speaker': f'{i}{s}'}
        | dict.fromkeys(evaluate_lib.METRICS, 1.0)
        | {'stoi': 0.5 + 0.1 * s if i else float('nan'), 'stoi_mixture': 0.25}
        for i in range(3)
        for s in (1, 2)
    ]
    content = evaluate_lib.summary(rows, {})
    assert content['metrics']['stoi']['mean'] == pytest.approx(0.65)
    assert content['metrics']['stoi']['non_finite'] == 1
    assert content['mixture']['stoi']['mean'] == 0.25
    evaluate_lib.write(tmp_path, rows, content)
    assert json.loads((tmp_path / 'summary.json').read_text())['metrics']['stoi']['count'] == 2
    with open(tmp_path / 'examples.csv', newline='') as file:
        assert [row['stoi'] for row in csv.DictReader(file)][:3] == ['nan', 'nan', '0.6']
    text = table.render('t', {'m': content['metrics']}, table.columns((), ('stoi',)))
    assert '| STOI |' in text and 'SDRi (dB)' in text and '0.65' in text


@pytest.mark.parametrize(
    'value, said', [('stoi,sdr', 'must be of stoi, pesq'), ('pesq', 'fgsep_jax[metrics]')]
)
def test_what_cannot_be_measured_is_said_first(monkeypatch, value, said):
    monkeypatch.setattr(quality.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError) as error:
        validate.validate(tiny.config('', **{'evaluation.quality': value}))
    assert f"evaluation.quality = '{value}'" in str(error.value) and said in str(error.value)
