"""Evaluation where each estimate has its name: foreground and background."""

import csv
import json

import numpy as np
import pytest

from fgsep_jax import experiment
from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import evaluate, table
from fgsep_jax.metrics.improvement import evaluate_example
from fgsep_jax.report import compare, results
import synthetic
import tiny

NAMES = ('foreground', 'background')
SETTINGS = dict(sample_rate=8000, batch_size=3, bucket_seconds=0.1, filter_taps=32,
                source_names=NAMES)


@pytest.fixture
def data(tmp_path):
    return synthetic.write(tmp_path / 'tones', test=5, adaptation=True)


def noisy(source_BST, length_B, adaptation_BT=None):
    """Each source with a little of the other, and distorted."""
    return source_BST + 0.1 * source_BST[:, ::-1] + 0.1 * np.abs(source_BST)


def test_rows_carry_every_metric_of_each_source_and_of_both(data):
    source = RecordSource(data, 'test')
    rows, skipped = evaluate.evaluate(noisy, source, **SETTINGS)
    assert len(rows) == 5 and not skipped
    for row in rows:
        one = next(source[i] for i in range(5) if source[i].id == row['id'])
        source_ST = one.sources_ST / 32768
        expected = evaluate_example(
            noisy(source_ST[None], None)[0], source_ST, source_ST.sum(axis=0), filter_length=32,
            full=True, fixed_order=True)
        for metric in evaluate.FULL_METRICS:
            np.testing.assert_allclose(row[metric], expected[metric], atol=1e-3)
            for s, name in enumerate(NAMES):
                np.testing.assert_allclose(
                    row[f'{metric}_{name}'], expected[f'{metric}_S'][s], atol=1e-3)
        assert row['class_foreground'] == 'speech' and row['adaptation_overlap'] == 0.0
        assert row['recording_background'] == one.source_ids[1]
        assert not [key for key in row if 'permutation' in key]


def test_a_swapped_pair_is_wrong_here(data):
    rows, _ = evaluate.evaluate(
        lambda source_BST, length_B: noisy(source_BST[:, ::-1], length_B),
        RecordSource(data, 'test'), **SETTINGS)
    assert max(row['si_snri'] for row in rows) < -5


def test_the_segment_reaches_the_system_at_its_length(data):
    seen = []

    def system(source_BST, length_B, adaptation_BT):
        seen.append(adaptation_BT)
        return noisy(source_BST, length_B)

    source = RecordSource(data, 'test')
    evaluate.evaluate(system, source, adaptation_seconds=0.1, **SETTINGS)
    assert all(one.shape == (3, 800) and one.dtype == np.float32 for one in seen)
    first_T = source[0].adaptation_T / 32768
    np.testing.assert_allclose(seen[0][0], np.resize(first_T, 800))
    assert len(first_T) == 500


def test_summary_by_source_and_class(data):
    rows, skipped = evaluate.evaluate(noisy, RecordSource(data, 'test'), **SETTINGS)
    rows[0]['class_background'] = 'rain'
    content = evaluate.summary(rows, skipped, source_names=NAMES, system='noisy')
    assert content['classes']['background']['rain']['sdri_background']['count'] == 1
    assert content['classes']['background']['speech']['sar_background']['count'] == 4
    np.testing.assert_allclose(content['metrics']['siri_foreground']['median'],
                               np.median([row['siri_foreground'] for row in rows]))
    text = table.render('t', {'mixture': content['mixture'], 'noisy': content['metrics']},
                        table.columns(NAMES))
    heading, _, mixture, line = text.splitlines()[2:]
    assert 'foreground SIRi' in heading and 'background SDRi' in heading
    assert mixture == '| mixture | 0.00 | 0.00 | - | 0.00 | 0.00 | 0.00 |'
    assert line.count('[') == 3


def test_a_silent_event_is_skipped_and_counted(tmp_path, monkeypatch):
    make = synthetic.example

    def silent(i, **kwargs):
        one = make(i, **kwargs)
        one.sources_ST[0, :] *= i % 2
        return one

    monkeypatch.setattr(synthetic, 'example', silent)
    source = RecordSource(synthetic.write(tmp_path / 'tones', test=6), 'test')
    rows, skipped = evaluate.evaluate(noisy, source, **SETTINGS)
    assert len(rows) == 3 and set(skipped.values()) == {'silent reference'}


def run(data, workdir, name, **overrides):
    config = tiny.config(data, name, **{'training.epochs': 1, **overrides})
    experiment.train(config, str(workdir))
    experiment.evaluate(config, str(workdir), baselines=True)
    return str(workdir)


def test_train_evaluate_and_compare(data, tmp_path, capsys):
    first = run(data, tmp_path / 'm1', 'blstm_m1')
    second = run(data, tmp_path / 'm2_plus', 'blstm_m2_plus')
    printed = capsys.readouterr().out
    for word in ('ideal mel mask', 'ideal ratio mask', 'blstm_m2_plus:demo', 'foreground SIRi'):
        assert word in printed
    folder = tmp_path / 'm2_plus' / 'audio' / 'tones'
    assert {path.stem for path in folder.rglob('*.wav')} == {
        'mixture', *(f'{kind}_{name}' for kind in ('estimate', 'reference') for name in NAMES)}

    compare.main([f'--runs={first},{second}', '--metrics=sdri_foreground,sar_background'])
    printed = capsys.readouterr().out
    assert '| blstm_m2_plus:demo - blstm_m1:demo |' in printed
    for part in ('| ideal_mel_mask |', '| mixture | 0.00 |', 'sar_background (dB), median', '| tones | speech | 5 |'):
        assert part in printed

    compare.main([f'--runs={first},{first}', '--no_classes'])
    assert f'| blstm_m1:demo in {first} - blstm_m1:demo in {first} |' in capsys.readouterr().out

    config = tiny.config(synthetic.write(tmp_path / 'plain'), 'blstm_m2_plus')
    with pytest.raises(ConfigError, match='no adaptation segment'):
        experiment.evaluate(config, second, data_dirs=[config.data.dir])


def rewrite(folder, change, **summary):
    """Changes the numbers of every row of results, and entries of their summary."""
    with open(folder / 'examples.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    content = json.loads((folder / 'summary.json').read_text())
    evaluate.write(folder, [change(i, row) for i, row in enumerate(rows)], {**content, **summary})


def test_paired_differences(data, tmp_path):
    rows, skipped = evaluate.evaluate(noisy, RecordSource(data, 'test'), **SETTINGS)
    for name in ('a', 'b'):
        evaluate.write(tmp_path / name / 'evaluation' / 'tones', rows, evaluate.summary(
            rows, skipped, source_names=NAMES, system=name, preset='p', data_fingerprint='1'))
    gain = [1.0, 2.0, 1.5, 1.5, 1.5]
    folder = tmp_path / 'b' / 'evaluation' / 'tones'
    rewrite(folder, lambda i, row: {**row, 'sdri': float(row['sdri']) + gain[i]})
    first, second = (results.load(str(tmp_path / name), 'tones') for name in ('a', 'b'))
    found = compare.paired_difference(first, second, 'sdri')
    np.testing.assert_allclose(found['mean'], 1.5, atol=1e-6)
    low, high = found['mean_ci95']
    assert 1.0 < low < 1.5 < high < 2.0
    # All mixtures of one recording are one draw: nothing is left to vary.
    rewrite(folder, lambda i, row: {**row, 'recording_foreground': 'one'})
    rewrite(tmp_path / 'a' / 'evaluation' / 'tones',
            lambda i, row: {**row, 'recording_foreground': 'one'})
    first, second = (results.load(str(tmp_path / name), 'tones') for name in ('a', 'b'))
    found = compare.paired_difference(first, second, 'sdri', cluster='recording_foreground')
    np.testing.assert_allclose(found['mean_ci95'], 1.5, atol=1e-6)

    rewrite(folder, lambda i, row: row, data_fingerprint='2')
    with pytest.raises(results.ResultsError, match='different data'):
        compare.paired_difference(first, results.load(str(tmp_path / 'b'), 'tones'), 'sdri')


def test_missing_results_name_the_way_out(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        compare.main([f'--runs={tmp_path}'])
    assert '--mode=evaluate' in str(error.value)
