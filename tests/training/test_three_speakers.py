"""Mixtures of three speakers: trained, evaluated and reported with `data.sources=3` alone."""

import csv

import jax
import numpy as np
import pytest

from fgsep_jax import validate
from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import run as evaluation
from fgsep_jax.metrics.improvement import evaluate_example
from fgsep_jax.report import common, scores
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, run as training
import synthetic
import tiny


@pytest.mark.slow
def test_a_run_of_three(tmp_path):
    data = synthetic.write(tmp_path / 'tones', sources=3, noise=True)  # which is no fourth
    config = tiny.config(data, **{'data.sources': 3, 'training.epochs': 1})
    workdir = str(tmp_path / 'run')
    training.train(config, workdir)
    evaluation.evaluate(config, workdir)
    with open(tmp_path / 'run' / 'evaluation' / 'tones' / 'examples.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    task, source = make_task(config), RecordSource(data, 'test')
    params = checkpoint.load_best(workdir, config, task).parameters
    separate = jax.jit(task.separate)
    for i in range(len(source)):
        mixture_T = source[i].mixture_T / 32768
        estimate_ST = separate(params, mixture_T[None].astype('f'))[0]
        expected = evaluate_example(estimate_ST, source[i].sources_ST / 32768, mixture_T)
        of_example = [row for row in rows if row['id'] == source[i].id]
        assert [row['source'] for row in of_example] == ['1', '2', '3']
        for name in ('si_snri', 'sdri'):
            values = [float(row[name]) for row in of_example]
            np.testing.assert_allclose(values, expected[f'{name}_S'], atol=1e-2)
        orders = [int(row['permutation']) for row in of_example]
        assert orders == list(expected['permutation_S'])
    results = scores.read([workdir], []).of(task='speech')
    assert 'first speaker over the others' in common.worst_ten(results, 'tones').note


@pytest.mark.parametrize(
    'wanted, found, said',
    [
        (2, 3, r'Set --config.data.sources=3, or .*_mixture=2`. Of more sources data.targets says'),
        (3, 2, r'Set --config.data.sources=2, or build .*NAME --speakers_a_mixture=3`.$'),
    ],
)
def test_a_data_set_of_another_number_says_what_to_do(wanted, found, said):
    config = tiny.config('', **{'data.sources': wanted})
    about = {'name': 'x', 'sample_rate': 8000, 'sources': found, 'splits': {}, 'job': 'librimix'}
    with pytest.raises(ConfigError, match=said):
        validate.check_data(config, about, 'D')


def test_anchors_of_a_separator_go_with_the_sources():
    config = tiny.config('', 'yang', **{'data.sources': 3})
    with pytest.raises(ConfigError, match='separator.anchors = 2: must be at least sources = 3'):
        validate.validate(config)
