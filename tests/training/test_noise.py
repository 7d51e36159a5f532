"""Noise that is nobody's target: in the mixture, and in no reference."""

import json

import jax
import numpy as np
import pytest

from fgsep_jax import files, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.data import pipeline, records
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import evaluate as evaluate_lib, run as evaluation
from fgsep_jax.metrics.improvement import evaluate_example
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, run as training
import synthetic
import tiny


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'noisy'
    return synthetic.write(folder, noise=True, lengths=(2400, 700), job='wham')


def test_a_data_set_with_noise_is_read(data):
    source, clean = RecordSource(data, 'test'), RecordSource(data, 'test', (1, 0))
    for i in range(len(source)):
        one = source[i]
        assert one.noise_T.any() and one.noise_T.shape == one.sources_ST.shape[1:]
        assert (one.mixture_T - one.sources_ST.sum(axis=0) == one.noise_T).all()
        np.testing.assert_array_equal(clean[i].parts_ST, one.parts_ST[[1, 0, 2]])


@pytest.mark.parametrize('noise', [False, True])
def test_records_and_metadata_that_disagree_are_refused(tmp_path, noise):
    folder = tmp_path / 'tones'
    path = synthetic.write(folder, noise=noise)
    about = json.loads((folder / 'dataset.json').read_text())
    about |= {'noise': not noise, 'schema_version': 1 if noise else 2}
    (folder / 'dataset.json').write_text(files.to_json(files.with_digest(about)))
    with pytest.raises(records.RecordError, match='and noise'):
        RecordSource(path, 'test')[0]


def test_batches_hold_the_noise_behind_the_sources(data):
    source, config = RecordSource(data, 'train'), tiny.config('')
    parts_of = {source[i].id: source[i].parts_ST for i in range(len(source))}
    batch = next(pipeline.train_batches(source, config))
    for name, length, crop_ST in zip(batch['id'], batch['length_B'], batch['source_BST']):
        windows = np.lib.stride_tricks.sliding_window_view(parts_of[name], length, axis=1)
        assert crop_ST.shape == (3, 800) and not crop_ST[:, length:].any()
        assert (windows == crop_ST[:, None, :length]).all(axis=(0, 2)).sum() == 1
    (batch,) = pipeline.validation_batches(RecordSource(data, 'validation'), config)
    assert batch['source_BST'].shape == (4, 3, 800)


def test_the_loss_is_of_clean_sources_in_the_noisy_mixture():
    task, seen = make_task(tiny.config('')), []
    source_BST = synthetic.example(0, noise=True).parts_ST[None]

    def separate(params, mixture_BT, length_B=None):
        seen.append(mixture_BT)
        return source_BST[:, 1::-1] / np.float32(32768)

    task.separate = separate
    loss_B, _ = task.loss(None, {'source_BST': source_BST}, jax.random.key(0))
    np.testing.assert_allclose(seen[0], source_BST.sum(axis=1) / 32768, atol=1e-6)
    assert float(loss_B[0]) < -60
    quiet_BST = source_BST * np.array([1, 1, 0], np.int16)[:, None]
    assert bool(task.scored({'source_BST': quiet_BST})[0])


@pytest.mark.slow
def test_a_run_on_noisy_mixtures(data, tmp_path):
    config = tiny.config(data, **{'training.epochs': 1, 'training.audio_examples': 1})
    workdir = str(tmp_path / 'run')
    training.train(config, workdir)
    evaluation.evaluate(config, workdir, baselines=True)
    folder = tmp_path / 'run' / 'evaluation' / 'tones'
    about = json.loads((folder / 'summary.json').read_text())
    task = make_task(config)
    params = checkpoint.load_best(workdir, config, task).parameters
    source = RecordSource(data, 'test')
    expected = []
    for i in range(len(source)):
        mixture_T = source[i].mixture_T / 32768
        estimate_ST = task.separate(params, mixture_T[None].astype('f'))[0]
        expected.append(evaluate_example(estimate_ST, source[i].sources_ST / 32768, mixture_T))
    for name in ('si_snr', 'si_snri', 'sdri'):
        mean = np.mean([of[name] for of in expected])
        assert about['metrics'][name]['mean'] == pytest.approx(mean, abs=1e-2)
    oracle = json.loads((folder / 'ideal_ratio_mask' / 'summary.json').read_text())
    assert oracle['metrics']['si_snri']['mean'] > 5
    heard = next((tmp_path / 'run' / 'audio' / 'tones').glob('*/example.json')).parent
    names = {path.name for path in heard.glob('*.wav')}
    assert names == {
        'mixture.wav',
        *(f'{x}_{s}.wav' for x in ('reference', 'estimate') for s in '12'),
    }


def test_scores_are_of_the_clean_sources_against_the_noisy_mixture(data):
    source = RecordSource(data, 'test')
    how = dict(sample_rate=8000, batch_size=3, bucket_seconds=0.1, filter_taps=32)
    mixtures = {source[i].id: source[i].mixture_T / 32768 for i in range(len(source))}

    def system(source_BST, length_B, adaptation_BT=None):
        return source_BST[:, :2] + 1e-3 * source_BST[:, 2:]

    rows, skipped = evaluate_lib.evaluate(system, source, **how)
    assert not skipped and {row['source'] for row in rows} == {'1', '2'}
    for row in tiny.whole(rows):
        i = next(i for i in range(len(source)) if source[i].id == row['id'])
        source_ST = source[i].sources_ST / 32768
        mixture = evaluate_example(source_ST, source_ST, mixtures[row['id']], filter_length=32)
        assert row['si_snr_mixture'] == pytest.approx(mixture['si_snr_mixture'])
        assert row['si_snr'] > 40 and row['sdr'] > 40


def test_a_mask_model_takes_no_noise():
    config = tiny.config('', 'blstm_m2')
    about = {'name': 'x', 'sample_rate': 8000, 'sources': 2, 'splits': {}, 'job': 'listed'}
    assert validate.check_sources(config, about, 'D') == ()
    with pytest.raises(ConfigError, match='D holds noise beside its sources.*take a speech model'):
        validate.check_sources(config, {**about, 'noise': True}, 'D')
