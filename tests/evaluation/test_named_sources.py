"""Evaluation where each estimate has its name: foreground and background."""

import csv
import itertools
import json
import shutil

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
SETTINGS = dict(
    sample_rate=8000, batch_size=3, bucket_seconds=0.1, filter_taps=32, source_names=NAMES
)


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
            noisy(source_ST[None], None)[0],
            source_ST,
            source_ST.sum(axis=0),
            filter_length=32,
            full=True,
            fixed_order=True,
        )
        for metric in evaluate.FULL_METRICS:
            np.testing.assert_allclose(row[metric], expected[metric], atol=1e-3)
            for s, name in enumerate(NAMES):
                np.testing.assert_allclose(
                    row[f'{metric}_{name}'], expected[f'{metric}_S'][s], atol=1e-3
                )
        assert row['class_foreground'] == 'speech' and row['adaptation_overlap'] == 0.0
        assert row['recording_background'] == one.source_ids[1]
        assert not [key for key in row if 'permutation' in key]


def test_a_swapped_pair_is_wrong_here(data):
    rows, _ = evaluate.evaluate(
        lambda source_BST, length_B, adaptation_BT: noisy(source_BST[:, ::-1], length_B),
        RecordSource(data, 'test'),
        **SETTINGS,
    )
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
    np.testing.assert_allclose(
        content['metrics']['siri_foreground']['median'],
        np.median([row['siri_foreground'] for row in rows]),
    )
    np.testing.assert_allclose(
        content['mixture']['sir_foreground']['median'],
        np.median([row['sir_mixture_foreground'] for row in rows]),
    )
    text = table.render(
        't', {'mixture': content['mixture'], 'noisy': content['metrics']}, table.columns(NAMES)
    )
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


@pytest.mark.slow
def test_train_evaluate_and_compare(data, tmp_path, capsys):
    first = run(data, tmp_path / 'm1', 'blstm_m1')
    second = run(data, tmp_path / 'm2_plus', 'blstm_m2_plus')
    printed = capsys.readouterr().out
    for word in ('ideal mel mask', 'ideal ratio mask', 'blstm_m2_plus:demo', 'foreground SIRi'):
        assert word in printed
    folder = tmp_path / 'm2_plus' / 'audio' / 'tones'
    assert {path.stem for path in folder.rglob('*.wav')} == {
        'mixture',
        *(f'{kind}_{name}' for kind in ('estimate', 'reference') for name in NAMES),
    }

    compare.main([f'--runs={first},{second}', '--metrics=sdri_foreground,sar_background'])
    printed = capsys.readouterr().out
    assert '| blstm_m2_plus:demo - blstm_m1:demo |' in printed
    for part in (
        '| ideal_mel_mask |',
        '| mixture | 0.00 |',
        'sar_background (dB), median',
        '| tones | speech | 5 |',
    ):
        assert part in printed

    copy = shutil.copytree(first, f'{first}-copy')
    compare.main([f'--runs={first},{copy}', '--no_classes'])
    assert f'| blstm_m1:demo in {copy} - blstm_m1:demo in {first} |' in capsys.readouterr().out
    experiment.evaluate(tiny.config(data, 'blstm_m1'), first, splits=['validation'])
    capsys.readouterr()
    compare.main([f'--runs={first},{second}', '--no_classes'])
    printed = capsys.readouterr().out
    assert 'left out, since not all runs were evaluated on them: tones-validation' in printed
    assert '[-]: fewer than 5' not in printed

    config = tiny.config(synthetic.write(tmp_path / 'plain'), 'blstm_m2_plus')
    with pytest.raises(ConfigError, match='no adaptation segment'):
        experiment.evaluate(config, second, data_dirs=[config.data.dir])


def rewrite(folder, change, **summary):
    """Changes the numbers of every row of results, and entries of their summary."""
    with open(folder / 'examples.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    content = json.loads((folder / 'summary.json').read_text())
    evaluate.write(folder, [change(i, row) for i, row in enumerate(rows)], {**content, **summary})


def write_results(data, folder, name, change=lambda i, row: row, **summary):
    """Results of `noisy` on the tones, changed; returns what `results.load` makes of them."""
    rows, skipped = evaluate.evaluate(noisy, RecordSource(data, 'test'), **SETTINGS)
    path = folder / name / 'evaluation' / 'tones'
    evaluate.write(
        path,
        rows,
        evaluate.summary(
            rows,
            skipped,
            source_names=NAMES,
            system=name,
            preset='p',
            data_fingerprint='1',
            data_set='tones',
            split='test',
            step=3,
            parameters=7,
        ),
    )
    rewrite(path, change, **summary)
    return results.load(str(folder / name), 'tones')


def test_paired_differences(data, tmp_path):
    gain = [1.0, 2.0, 1.5, 1.7, np.nan]

    def scores(i, row, gain):
        return {**row, 'sdri': [3.0, 9.0, 4.0, 8.0, 5.0][i] + gain}

    first = write_results(data, tmp_path, 'a', lambda i, row: scores(i, row, 0))
    second = write_results(data, tmp_path, 'b', lambda i, row: scores(i, row, gain[i]))
    found = compare.paired_difference(first, second, 'sdri', min_groups=4)
    assert found['examples'] == 4
    np.testing.assert_allclose(found['mean'], 1.55)
    np.testing.assert_allclose(found['median'], (5.5 + 9.7) / 2 - (4 + 8) / 2)
    # The mean of four drawn with replacement: the quantiles by listing all 4^4 draws.
    draws = np.array(np.meshgrid(*[gain[:4]] * 4)).reshape(4, -1).mean(axis=0)
    np.testing.assert_allclose(found['mean_ci95'], np.quantile(draws, [0.025, 0.975]), atol=0.03)
    base = np.array([3.0, 9.0, 4.0, 8.0])
    draws = [
        np.median((base + gain[:4])[list(d)]) - np.median(base[list(d)])
        for d in itertools.product(range(4), repeat=4)
    ]
    np.testing.assert_allclose(found['median_ci95'], np.quantile(draws, [0.025, 0.975]), atol=0.03)


def test_groups_are_drawn_whole(data, tmp_path):
    """Two foreground and two background recordings: the draws can be listed."""
    gain, groups = np.array([1.0, 2.0, 5.0, 3.0]), ['xx', 'xy', 'yx', 'yy', 'yy']

    def change(i, row, gain):
        return {
            **row,
            'sdri': gain,
            'recording_foreground': f'00{ord(groups[i][0])}',
            'recording_background': groups[i][1],
        }

    first = write_results(data, tmp_path, 'a', lambda i, row: change(i, row, 0.0))
    second = write_results(
        data, tmp_path, 'b', lambda i, row: change(i, row, gain[i] if i < 4 else np.nan)
    )
    weights = np.array([(2, 0), (1, 1), (1, 1), (0, 2)])
    means = [np.average(gain, weights=np.outer(f, b).ravel()) for f in weights for b in weights]
    found = compare.paired_difference(
        first, second, 'sdri', clusters=compare.CLUSTERS, min_groups=2
    )
    expected = np.quantile(np.repeat(means, 1000), [0.025, 0.975])
    np.testing.assert_allclose(found['mean_ci95'], expected, atol=0.01)
    assert expected[0] < 1.2 and expected[1] > 4
    assert not compare.paired_difference(first, second, 'sdri', clusters=compare.CLUSTERS)[
        'mean_ci95'
    ]  # too few to say
    # All mixtures of one recording are one draw: nothing is left to vary.
    one = write_results(data, tmp_path, 'a', lambda i, row: {**row, 'sdri': 0.0, 'g': 1.0})
    two = write_results(data, tmp_path, 'b', lambda i, row: {**row, 'sdri': i, 'g': 1.0})
    found = compare.paired_difference(one, two, 'sdri', clusters=('g',), min_groups=1)
    assert found['mean_ci95'] == [2, 2]
    with pytest.raises(results.ResultsError, match="no column 'recording'"):
        compare.paired_difference(one, two, 'sdri', clusters=('recording',))


def test_weighted_median_by_repetition():
    rng = np.random.default_rng(0)
    value_N, weight_RN = rng.normal(size=9), rng.integers(0, 4, (50, 9))
    expected_R = [np.median(np.repeat(value_N, weight_N)) for weight_N in weight_RN]
    np.testing.assert_allclose(compare.weighted_median(value_N, 1.0 * weight_RN), expected_R)


def test_other_data_under_the_same_name_are_not_compared(data, tmp_path):
    first = write_results(data, tmp_path, 'a')
    second = write_results(data, tmp_path, 'b', data_fingerprint='2')
    with pytest.raises(results.ResultsError, match='different data'):
        compare.paired_difference(first, second, 'sdri')


def test_damaged_results_are_named(data, tmp_path):
    write_results(data, tmp_path, 'a')
    folder = tmp_path / 'a' / 'evaluation' / 'tones'
    lines = (folder / 'examples.csv').read_text().splitlines(keepends=True)
    summary = (folder / 'summary.json').read_text()
    for csv_text, json_text, part in (
        (''.join(lines[:3]), summary, '2 rows in examples.csv, summary.json says 5'),
        (''.join(lines)[:-40], summary, 'cannot be read'),
        (''.join(lines), summary[:50], 'is no valid JSON'),
    ):
        (folder / 'examples.csv').write_text(csv_text)
        (folder / 'summary.json').write_text(json_text)
        with pytest.raises(results.ResultsError, match=part):
            results.load(str(tmp_path / 'a'), 'tones')


@pytest.mark.slow
def test_what_cannot_be_scored_leaves_earlier_results(data, tmp_path, monkeypatch):
    workdir = run(data, tmp_path / 'm1', 'blstm_m1')
    before = (tmp_path / 'm1' / 'evaluation' / 'tones' / 'examples.csv').read_text()
    make = synthetic.example

    def silent(i, **kwargs):
        one = make(i, **kwargs)
        one.sources_ST[0] = 0
        return one

    monkeypatch.setattr(synthetic, 'example', silent)
    other = synthetic.write(tmp_path / 'silent')
    with pytest.raises(ConfigError, match='none of the examples.*silent reference'):
        experiment.evaluate(tiny.config(data, 'blstm_m1'), workdir, data_dirs=[other])
    assert (tmp_path / 'm1' / 'evaluation' / 'tones' / 'examples.csv').read_text() == before


def test_missing_results_name_the_way_out(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        compare.main([f'--runs={tmp_path}'])
    assert 'holds no runs' in str(error.value)
    (tmp_path / 'config.json').write_text('')
    with pytest.raises(SystemExit) as error:
        compare.main([f'--runs={tmp_path}'])
    assert f'--mode=evaluate --workdir={tmp_path}' in str(error.value)
