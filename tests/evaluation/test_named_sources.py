"""Evaluation where each estimate has its name: foreground and background."""

import numpy as np
import pytest

from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import evaluate, run as evaluation, table
from fgsep_jax.metrics.improvement import evaluate_example
from fgsep_jax.report import __main__ as report, runs, scores
from fgsep_jax.training import run as training
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
    assert [row['source'] for row in rows] == [*NAMES] * 5 and not skipped
    assert not [key for key in rows[0] if 'permutation' in key]
    for row in tiny.whole(rows):
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


def test_a_swapped_pair_is_wrong_here(data):
    rows, _ = evaluate.evaluate(
        lambda source_BST, length_B, adaptation_BT: noisy(source_BST[:, ::-1], length_B),
        RecordSource(data, 'test'),
        **SETTINGS,
    )
    assert max(row['si_snri'] for row in tiny.whole(rows)) < -5


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
    rows[1]['class'] = 'rain'
    content = evaluate.summary(rows, skipped, source_names=NAMES, system='noisy')
    assert content['classes']['background']['rain']['sdri_background']['count'] == 1
    assert content['classes']['background']['speech']['sar_background']['count'] == 4
    np.testing.assert_allclose(
        content['metrics']['siri_foreground']['median'],
        np.median([row['siri_foreground'] for row in tiny.whole(rows)]),
    )
    np.testing.assert_allclose(
        content['mixture']['sir_foreground']['median'],
        np.median([row['sir_mixture_foreground'] for row in tiny.whole(rows)]),
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
    assert len(rows) == 2 * 3 and set(skipped.values()) == {'silent reference'}


def run(data, workdir, name, **overrides):
    config = tiny.config(data, name, **{'training.epochs': 1, **overrides})
    training.train(config, str(workdir))
    evaluation.evaluate(config, str(workdir), baselines=True)
    return str(workdir)


@pytest.mark.slow
def test_train_evaluate_and_compare(data, tmp_path, capsys):
    first = run(data, tmp_path / 'm1', 'blstm_m1')
    second = run(data, tmp_path / 'm2_plus', 'blstm_m2_plus')
    printed = capsys.readouterr().out
    for word in ('IRM, mel bands', 'IRM, STFT bins', 'blstm_m2_plus:demo', 'foreground SIRi'):
        assert word in printed
    folder = tmp_path / 'm2_plus' / 'audio' / 'tones'
    assert {path.stem for path in folder.rglob('*.wav')} == {
        'mixture',
        *(f'{kind}_{name}' for kind in ('estimate', 'reference') for name in NAMES),
    }

    compare = [f'--runs={first},{second}', '--text']
    assert not report.main([*compare, '--metrics=sdri_foreground,sar_background'])
    printed = capsys.readouterr().out
    for part in (
        '| M2+ - M1 | median |',
        '| IRM, mel bands |',
        '| mixture | 0.00 [0.00, 0.00] |',
        'sar_background (dB), median',
        '| tones | speech | 5 |',
    ):
        assert part in printed
    evaluation.evaluate(tiny.config(data, 'blstm_m1'), first, splits=['validation'])
    capsys.readouterr()
    assert not report.main(compare)
    assert '| System | tones | tones-validation |' in capsys.readouterr().out

    config = tiny.config(synthetic.write(tmp_path / 'plain'), 'blstm_m2_plus')
    with pytest.raises(ConfigError, match='no adaptation segment'):
        evaluation.evaluate(config, second, data_dirs=[config.data.dir])


def write_results(data, folder, name, change=lambda i, row: row, **summary):
    """Results of `noisy` on the tones, each row changed, as those of a run."""
    rows, skipped = evaluate.evaluate(noisy, RecordSource(data, 'test'), **SETTINGS)
    rows = [change(i // 2, row) for i, row in enumerate(rows)]
    path = folder / name / 'evaluation' / 'tones'
    context = dict(preset='p', data_fingerprint='1', data_set='tones', split='test', step=3)
    content = evaluate.summary(
        rows, skipped, source_names=NAMES, system=name, parameters=7, **context
    )
    evaluate.write(path, rows, {**content, **summary})
    return runs.Run(
        str(folder / name),
        name,
        {'task': 'foreground', 'experiment': name, 'preset': 'p', 'seed': 0},
        'tones',
        {},
    )


def test_paired_differences_draw_recordings(data, tmp_path):
    """By the same rule as all intervals, on the examples that both have scores for."""
    gain, groups = np.array([1.0, 2.0, 5.0, 3.0, np.nan]), ['ab', 'bc', 'cd', 'da', 'aa']

    def change(i, row, gain):
        recording = groups[i][row['source'] == 'background']
        return {**row, 'sdri': [3.0, 9.0, 4.0, 8.0, 5.0][i] + gain, 'recording': recording}

    pair = [
        write_results(data, tmp_path, 'a', lambda i, row: change(i, row, 0.0)),
        write_results(data, tmp_path, 'b', lambda i, row: change(i, row, gain[i])),
    ]
    results = scores.of(pair, [])
    terms, metric = [(1, 1, 'tones'), (-1, 0, 'tones')], ('sdri', 'foreground')
    mean = results.difference(terms, metric, statistic='mean')
    assert mean.value == pytest.approx(gain[:4].mean()) and mean.low < mean.value < mean.high
    median = results.difference(terms, metric)
    assert median.value == pytest.approx((9 + 11) / 2 - (4 + 8) / 2)
    # All mixtures of one recording are one draw: nothing is left to vary.
    groups[:] = ['aa'] * 5
    pair = [
        write_results(data, tmp_path, 'a', lambda i, row: change(i, row, 0.0)),
        write_results(data, tmp_path, 'b', lambda i, row: change(i, row, gain[i])),
    ]
    alone = scores.of(pair, []).difference(terms, metric)
    assert alone.low is None and 'fewer than 4 speakers or recordings' in alone.note


def test_other_data_under_the_same_name_are_not_compared(data, tmp_path):
    pair = [write_results(data, tmp_path, name, data_fingerprint=name) for name in 'ab']
    notes = []
    results = scores.of(pair, notes)
    assert any('data_fingerprint is b, not a' in note for note in notes)
    terms = [(1, 1, 'tones'), (-1, 0, 'tones')]
    assert results.difference(terms, ('sdri', 'foreground')) is None


def test_damaged_results_are_named(data, tmp_path):
    write_results(data, tmp_path, 'a')
    folder = tmp_path / 'a' / 'evaluation' / 'tones'
    lines = (folder / 'examples.csv').read_text().splitlines(keepends=True)
    summary = (folder / 'summary.json').read_text()
    for csv_text, json_text, part in (
        (''.join(lines[:3]), summary, '2 rows in examples.csv for 2 sources, summary.json says 5'),
        (''.join(lines[:-1]), summary, '9 rows in examples.csv'),
        (''.join([*lines[:-1], lines[-3]]), summary, '10 rows in examples.csv'),  # one twice
        (''.join(lines)[:-40], summary, 'cannot be read'),
        (''.join(lines), summary[:50], 'is no valid JSON'),
    ):
        (folder / 'examples.csv').write_text(csv_text)
        (folder / 'summary.json').write_text(json_text)
        with pytest.raises(runs.ResultsError, match=part):
            runs.read_result(str(tmp_path / 'a'), 'tones')


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
        evaluation.evaluate(tiny.config(data, 'blstm_m1'), workdir, data_dirs=[other])
    assert (tmp_path / 'm1' / 'evaluation' / 'tones' / 'examples.csv').read_text() == before
