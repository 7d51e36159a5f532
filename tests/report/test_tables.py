"""Tables, claims and rows of scores, from fabricated run folders."""

import csv
import io
import json
import os
import sys

import numpy as np
import pytest

import fgsep_jax.report
from fgsep_jax.report import (build, claims, claims_foreground, claims_speech, compare,
                              groups as groups_lib, items, published, results, runs,
                              tables_common, tables_foreground, tables_speech, text)
import fabricate


def groups_in(folder):
    return groups_lib.by_seed(runs.find(str(folder)))


@pytest.fixture(scope='module')
def speech(tmp_path_factory):
    """Three seeds of two models on two data sets, the second of which has more speakers, tested
    on three; a GLU of one seed; no dilated model and no Big one."""
    root = tmp_path_factory.mktemp('speech')
    for seed in range(3):
        for trained_on in ('alpha', 'beta'):
            for experiment, gain in (('convtasnet', 0.0), ('convtasnet_prelu', 1.0)):
                for weight in (0.0, 0.01):
                    path = root / f'{experiment}-{weight}-{trained_on}-{seed}'
                    fabricate.run(path, experiment, seed=seed, trained_on=trained_on,
                                  test_sets=('alpha', 'beta', 'gamma'), gain=gain - 50 * weight,
                                  sounds=False, oracle=False, loss__power_law_weight=weight)
                    about = json.loads((path / 'training_data.json').read_text())
                    about['train']['speakers'] = {'alpha': 10, 'beta': 99}[trained_on]
                    (path / 'training_data.json').write_text(json.dumps(about))
    fabricate.run(root / 'glu', 'convtasnet_glu', gain=1.0, sounds=False)
    return root


@pytest.fixture(scope='module')
def masks(tmp_path_factory):
    """Three seeds of three mask models; M2+ is missing."""
    root = tmp_path_factory.mktemp('masks')
    for seed in range(3):
        for experiment, gain in (('blstm_m1', 0.0), ('blstm_m1_plus', -1.0), ('blstm_m2', 1.0)):
            fabricate.run(root / f'{experiment}-{seed}', experiment, seed=seed, trained_on='fgbg',
                          test_sets=('fgbg',), gain=gain, sounds=False, oracle=not seed)
    return root


def rows_of(table):
    """[{key: cell}] of a Table."""
    return [dict(zip((column.key for column in table.columns), row, strict=True))
            for row in table.rows]


def mean_of(folder, data_set, metric):
    """Mean of a column of an examples.csv, read by hand."""
    with open(os.path.join(folder, 'evaluation', data_set, 'examples.csv')) as file:
        return np.mean([float(row[metric]) for row in csv.DictReader(file)])


def test_table_1_has_both_numbers_and_marks_what_is_missing(speech):
    table = tables_speech.table_1(groups_in(speech), 'alpha')
    assert 'alpha' in table.title
    rows = {row['model']: row for row in rows_of(table)}
    assert list(rows) == list(published.TABLE_1)
    assert [rows[name]['published_si_snri'] for name in rows] == [15.4, 15.3, 16.1, 16.0, 16.2]
    cell = rows['Conv-TasNet']['si_snri']
    by_hand = np.mean([mean_of(speech / f'convtasnet-0.0-alpha-{seed}', 'alpha', 'si_snri')
                       for seed in range(3)])
    assert cell.value == pytest.approx(by_hand) and cell.low < by_hand < cell.high
    assert rows['Conv-TasNet']['seeds'] == 3
    assert rows['Deep w/ GLU']['si_snri'].note == 'one seed'
    for missing in ('Big-Conv-TasNet', 'Deep w/ dilation'):
        assert {rows[missing][key] for key in ('preset', 'parameters', 'seeds', 'si_snri')} == {
            None}
    shown = text.markdown(table)
    assert '| Big-Conv-TasNet | 1 | linear | 1,024 | 15.3 | - | - | - | - | - | - | - |' in shown
    assert 'published: SI-SNRi, WSJ0-2mix (dB)' in shown


def test_table_2_keeps_others_work_apart(speech):
    rows = {row['model']: row for row in rows_of(tables_speech.table_2(groups_in(speech), 'beta'))}
    assert rows['FurcaPy']['published_sdri'] == 18.4 and rows['FurcaPy']['sdri'] == "others' work"
    assert rows['Deep w/ PReLU']['published_parameters'] == '9.7M'
    by_hand = np.mean([mean_of(speech / f'convtasnet_prelu-0.0-beta-{seed}', 'beta', 'sdri')
                       for seed in range(3)])
    assert rows['Deep w/ PReLU']['sdri'].value == pytest.approx(by_hand)


MEAN = 'mean over training on alpha and on beta'


def by_hand(folder, model, weight, pairs, metric='si_snri'):
    """Mean over seeds and [(training set, test set)] of what a model scores, from its files."""
    return np.mean([mean_of(folder / f'{model}-{weight}-{on}-{seed}', name, metric)
                    for on, name in pairs for seed in range(3)])


def test_the_matrix(speech):
    groups = groups_in(speech)
    rows = rows_of(tables_speech.cross_table(groups, ['alpha', 'beta', 'gamma']))
    row = next(row for row in rows if row['model'] == 'Conv-TasNet'
               and row['objective'] == 'SI-SNR' and row['trained_on'] == 'beta')
    own = by_hand(speech, 'convtasnet', 0.0, [('beta', 'beta')])
    other = by_hand(speech, 'convtasnet', 0.0, [('beta', 'alpha'), ('beta', 'gamma')])
    assert row['on_beta'].value == pytest.approx(own) and row['seeds'] == 3
    assert row['cross'].value == pytest.approx(other)
    assert row['drop'].value == pytest.approx(own - other)
    glu = next(row for row in rows if row['model'] == 'Deep w/ GLU')
    assert glu['on_beta'] is None and glu['cross'] is None and glu['drop'] is None
    # A mean over some of the other sets would stand beside means over all of them.
    more = rows_of(tables_speech.cross_table(groups, ['alpha', 'beta', 'gamma', 'delta']))
    assert all(row['cross'] is None and row['drop'] is None for row in more if row['trained_on'])
    oracle = more[-1]
    assert oracle['model'] == 'IRM, STFT bins' and oracle['on_delta'] is None
    with open(speech / 'glu/evaluation/alpha/ideal_ratio_mask/examples.csv') as file:
        expected = np.mean([float(row['si_snri']) for row in csv.DictReader(file)])
    assert oracle['on_alpha'].value == pytest.approx(expected) and not oracle['on_alpha'].note


def test_the_matrix_has_a_place_for_every_bar_of_figure_5(tmp_path):
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False, oracle=False)
    rows = rows_of(tables_speech.cross_table(groups_in(tmp_path), ['alpha']))
    assert [(row['model'], row['objective'], row['seeds']) for row in rows] == [
        ('Conv-TasNet', 'SI-SNR', 1), ('Conv-TasNet', 'SI-SNR + power law', None),
        ('Deep w/ PReLU', 'SI-SNR', None), ('Deep w/ PReLU', 'SI-SNR + power law', None)]
    assert rows[1]['on_alpha'] is None


def test_means_in_and_across_data_sets(speech):
    rows = rows_of(tables_speech.cross_means(groups_in(speech), ['alpha', 'beta', 'gamma']))
    row = next(row for row in rows if (row['model'], row['objective']) == (
        'Deep w/ PReLU', 'SI-SNR + power law'))
    pairs = [(on, name) for on in ('alpha', 'beta') for name in ('alpha', 'beta', 'gamma')]
    own, cross = (by_hand(speech, 'convtasnet_prelu', 0.01, [
        pair for pair in pairs if (len(set(pair)) == 1) == same]) for same in (True, False))
    assert row['trained_on'] == 'alpha, beta' and row['in_dataset'].value == pytest.approx(own)
    assert row['cross_dataset'].value == pytest.approx(cross)
    assert row['drop'].value == pytest.approx(own - cross)
    glu = next(row for row in rows if row['model'] == 'Deep w/ GLU')
    assert glu['in_dataset'].note == 'one seed' and glu['cross_dataset'] is None
    assert glu['drop'] is None


def test_differences_are_on_the_same_examples(speech):
    rows = rows_of(tables_speech.cross_differences(groups_in(speech), ['alpha', 'beta', 'gamma']))
    row = next(row for row in rows if (row['model'], row['objective'], row['trained_on']) == (
        'Deep w/ PReLU', 'SI-SNR', 'beta'))
    pair = [('beta', 'gamma')]
    assert row['on_gamma'].value == pytest.approx(
        by_hand(speech, 'convtasnet_prelu', 0.0, pair) - by_hand(speech, 'convtasnet', 0.0, pair))
    level = tables_common.level(next(
        group for group in groups_in(speech) if group.model == 'Deep w/ PReLU'), 'gamma', 'si_snri')
    # What all systems find hard or easy is no part of a difference.
    assert row['on_gamma'].high - row['on_gamma'].low < (level.high - level.low) / 3
    assert ('Conv-TasNet', 'SI-SNR') not in [(row['model'], row['objective']) for row in rows]


def test_claims_of_the_speech_paper(speech):
    rows = {(row['claim'], row['where']): row
            for row in rows_of(claims_speech.speech(groups_in(speech), 'demo'))}

    def found(start, where):
        (row,) = [row for (claim, there), row in rows.items()
                  if claim.startswith(start) and there == where]
        return row

    def score(model, weight, *pairs):
        return by_hand(speech, model, weight, pairs)

    deep = found('Deep (PReLU) above Conv-TasNet (linear), cross', 'trained on beta')
    across = ('beta', 'alpha'), ('beta', 'gamma')
    assert deep['difference'].value == pytest.approx(
        score('convtasnet_prelu', 0.0, *across) - score('convtasnet', 0.0, *across))
    assert deep['verdict'] == 'reproduced' and deep['published'] == ''
    mean = found('Deep (PReLU) above Conv-TasNet (linear), in', MEAN)
    inside = ('alpha', 'alpha'), ('beta', 'beta')
    assert mean['published'] == '+0.65' and mean['difference'].value == pytest.approx(
        score('convtasnet_prelu', 0.0, *inside) - score('convtasnet', 0.0, *inside))
    helps = found('Power law helps the deep encoder, in', MEAN)
    assert helps['difference'].value == pytest.approx(
        score('convtasnet_prelu', 0.01, *inside) - score('convtasnet_prelu', 0.0, *inside))
    assert helps['verdict'] == 'not reproduced'
    hurts = found('Power law hurts the linear encoder, cross', MEAN)
    across = ('alpha', 'beta'), ('alpha', 'gamma'), ('beta', 'alpha'), ('beta', 'gamma')
    assert hurts['difference'].value == pytest.approx(
        score('convtasnet', 0.01, *across) - score('convtasnet', 0.0, *across))
    assert hurts['verdict'] == 'reproduced'
    both = found('Deep with power law above Conv-TasNet', MEAN)
    assert both['difference'].value == pytest.approx(
        score('convtasnet_prelu', 0.01, *across, *inside)
        - score('convtasnet', 0.0, *across, *inside))
    glu = found('GLU level', 'trained and tested on alpha')
    assert glu['difference'] is not None and glu['verdict'] == 'no claim (one seed)'
    assert glu['published'] == '+0.1'
    assert found('Big', 'trained and tested on alpha')['verdict'] is None


def test_claims_of_diversity(speech):
    rows = rows_of(claims_speech.speech(groups_in(speech), 'demo'))
    drop, = (row for row in rows if row['claim'].startswith('Smaller drop'))
    assert drop['where'] == ('drop of training on alpha (10 speakers) minus that of beta (99), mean'
                             ' of 4 models')
    models = [(name, weight) for name in ('convtasnet', 'convtasnet_prelu')
              for weight in (0.0, 0.01)]

    def mean(on, *names):
        return np.mean([by_hand(speech, *model, [(on, name)]) for model in models
                        for name in names])

    assert drop['difference'].value == pytest.approx(
        mean('alpha', 'alpha') - mean('alpha', 'beta', 'gamma')
        - mean('beta', 'beta') + mean('beta', 'alpha', 'gamma'))
    assert drop['difference'].low < drop['difference'].value < drop['difference'].high
    more, = (row for row in rows if row['claim'].startswith('More diverse'))
    assert more['where'] == 'trained on beta minus alpha, tested on gamma, mean of 4 models'
    assert more['difference'].value == pytest.approx(mean('beta', 'gamma') - mean('alpha', 'gamma'))


@pytest.mark.parametrize('kind, low, high, expected', [
    ('above', 0.1, 0.3, 'reproduced'), ('above', -0.3, -0.1, 'not reproduced'),
    ('above', -0.1, 0.1, 'undecided'), ('below', -0.3, -0.1, 'reproduced'),
    ('below', 0.1, 0.3, 'not reproduced'), ('not above', -0.2, 0.2, 'reproduced'),
    ('not above', -0.2, 0.7, 'undecided'), ('not above', 0.1, 0.3, 'not reproduced'),
    ('not above', -2, -1, 'reproduced'), ('level', -0.4, 0.4, 'reproduced'),
    ('level', -0.6, 0.4, 'undecided'), ('level', 0.6, 0.9, 'not reproduced'),
    ('level', -0.9, -0.6, 'not reproduced')])
def test_verdicts(kind, low, high, expected):
    assert claims.verdict(items.Estimate((low + high) / 2, low, high), kind) == expected
    for note in ('one seed', 'two seeds'):
        few = items.Estimate((low + high) / 2, low, high, note)
        assert claims.verdict(few, kind) == f'no claim ({note})'


def test_no_interval_no_claim():
    assert claims.verdict(None, 'above') is None
    few = items.Estimate(3.0, note='fewer than 5 examples: no interval')
    assert claims.verdict(few, 'above').startswith('no claim (fewer')


def test_medians_and_claims_of_the_mask_models(masks):
    groups = groups_in(masks)
    assert tables_foreground.families(tables_common.test_sets(groups)) == ['fgbg']
    sdri, siri, sar = tables_foreground.medians(groups, 'fgbg')
    assert [table.name for table in (siri, sar)] == [
        'siri_foreground-fgbg', 'sar_foreground-fgbg']
    rows = {row['system']: row for row in rows_of(sdri)}
    assert list(rows) == ['M1', 'M1+', 'M2', 'M2+', 'IRM, mel bands', 'IRM, STFT bins',
                          'Untrained M1']

    def median(model, subset, metric='sdri_foreground'):
        return np.mean([np.median([row[metric] for row in results.load(
            str(masks / f'{model}-{seed}'), f'fgbg-{subset}').rows.values()])
            for seed in range(3)])

    assert rows['M2']['c3'].value == pytest.approx(median('blstm_m2', 'c3'))
    assert rows['M2']['seeds'] == 3 and rows['M2+']['seeds'] is None and rows['M2+']['c1'] is None
    assert rows['IRM, STFT bins']['c1'].note == '' and rows['Untrained M1']['c1'].note
    found = {row['claim']: row for row in rows_of(
        claims_foreground.foreground(groups, 'fgbg', 'demo'))}
    better = found['M2 above M1 in SDRi']
    difference = {one: median('blstm_m2', one) - median('blstm_m1', one)
                  for one in ('c1', 'c2', 'c3', 'c4')}
    for one, value in difference.items():
        assert better[one].value == pytest.approx(value)
    assert better['where'] == 'C1, C2, C4' and better['difference'].value == pytest.approx(
        np.mean([difference[one] for one in ('c1', 'c2', 'c4')]))
    assert better['verdict'] == 'reproduced'
    siri = found['M2 above M1 in SIRi']['c1'].value
    assert siri == pytest.approx(median('blstm_m2', 'c1', 'siri_foreground')
                                 - median('blstm_m1', 'c1', 'siri_foreground'))
    assert found['M1+ below M1 in SDRi']['verdict'] == 'reproduced'
    assert found['M2+ below M2 in SDRi']['difference'] is None
    assert found['M2+ below M2 in SDRi']['c1'] is None
    unseen = found['M2 loses more than M1 on unseen events, SDRi']['difference']
    assert unseen.value == pytest.approx(np.mean([difference['c1'], difference['c2']])
                                         - np.mean([difference['c3'], difference['c4']]))
    spread = found['M1 as good on unseen classes, SDRi']['difference']
    assert spread.value == pytest.approx(median('blstm_m1', 'c1') - np.mean(
        [median('blstm_m1', one) for one in ('c2', 'c3', 'c4')]))


def test_the_worst_ten_are_the_worst(speech):
    groups = groups_in(speech)
    table = tables_common.worst_ten(groups, 'alpha')
    assert 'Deep w/ PReLU' in table.title and len(table.rows) == 10
    shown = [row['si_snri'] for row in rows_of(table)]
    best = next(group for group in groups if f'of {group.label}, tested on alpha' in table.title)
    every = np.mean([[row['si_snri'] for row in sorted(
        one.rows.values(), key=lambda row: row['id'])] for one in best.results('alpha')], axis=0)
    np.testing.assert_allclose(shown, np.sort(every)[:10])
    assert tables_common.worst_ten(groups, 'nowhere') is None


def test_other_splits_and_parts_are_no_test_sets(speech, tmp_path):
    config = fabricate.load('convtasnet', 'demo')
    config.data.dir = '/nowhere/alpha'
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False)
    fabricate.result(tmp_path / 'one', config, 'alpha-validation', '', 1.0, 6, 0)
    assert tables_common.test_sets(groups_in(tmp_path)) == ['alpha']


@pytest.mark.parametrize('key, value', [
    ('data_fingerprint', 'another'), ('filter_taps', 64), ('sample_rate', 16000),
    ('resampled_from', 16000)])
def test_results_made_otherwise_are_left_out_and_said_so(tmp_path, key, value):
    for seed in range(3):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False, oracle=False)
    path = tmp_path / 's1' / 'evaluation' / 'alpha' / 'summary.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    found = runs.find(str(tmp_path))
    (note,) = build.notes(found)
    assert 'on alpha of s1 are left out' in note
    (group,) = groups_lib.by_seed(found)
    assert [result.summary['seed'] for result in group.results('alpha')] == [0, 2]


def test_a_copy_of_a_run_is_no_other_seed(tmp_path):
    for name, seed in (('a', 0), ('b', 1), ('copy', 1)):
        fabricate.run(tmp_path / name, 'convtasnet', seed=seed, sounds=False, oracle=False)
    found = runs.find(str(tmp_path))
    (group,) = groups_lib.by_seed(found)
    assert [run.name for run in group.runs] == ['a', 'b']
    assert build.notes(found) == [
        'copy is left out: another run has its configuration and its seed, too.']


def test_runs_that_differ_in_more_than_their_seed_stand_apart(tmp_path):
    fabricate.run(tmp_path / 'a', 'convtasnet', seed=0, sounds=False, oracle=False)
    fabricate.run(tmp_path / 'b', 'convtasnet', seed=1, sounds=False, oracle=False,
                  training__epochs=400)
    fabricate.run(tmp_path / 'c', 'convtasnet', seed=2, sounds=False, oracle=False)
    path = tmp_path / 'c' / 'training_data.json'
    content = json.loads(path.read_text())
    content['train']['fingerprint'] = 'of other data of this name'
    path.write_text(json.dumps(content))
    groups = groups_in(tmp_path)
    assert [len(group.runs) for group in groups] == [1, 1, 1]
    assert 'epochs=400' in [group for group in groups if group.runs[0].name == 'b'][0].label


def test_examples_that_share_speakers_are_fewer(tmp_path):
    """Twelve mixtures of two pairs of speakers tell less than twelve of as many pairs."""
    for seed in range(3):
        fabricate.run(tmp_path / str(seed), 'convtasnet', seed=seed, sounds=False, oracle=False)

    def interval(speakers_of):
        for path in tmp_path.glob('*/evaluation/alpha/examples.csv'):
            rows = list(csv.DictReader(path.read_text().splitlines()))
            for i, row in enumerate(rows):
                row.update(sources=speakers_of(i), si_snri=5.0 * (i % 2) + 0.01 * i)
            with open(path, 'w', newline='') as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        (group,) = groups_in(tmp_path)
        found = [tables_common.level(group, 'alpha', 'si_snri'),
                 tables_common.contrast([(1, group, 'alpha')], 'si_snri')]
        widths = [one.high - one.low for one in found]
        assert widths[0] == pytest.approx(widths[1])
        return widths[0]

    shared = interval(lambda i: 'ab cd'.split()[i % 2].replace('', ' ').strip())
    assert shared > 1.5 * interval(lambda i: f'a{i} b{i}')


def test_damaged_folders_are_named_and_passed_over(tmp_path):
    fabricate.run(tmp_path / 'good', 'convtasnet', sounds=False)
    fabricate.run(tmp_path / 'torn', 'convtasnet', sounds=False, oracle=False)
    with open(tmp_path / 'torn/evaluation/alpha/examples.csv', 'r+') as file:
        file.truncate(700)
    os.makedirs(tmp_path / 'foreign')
    (tmp_path / 'foreign' / 'config.json').write_text('[1]')
    problems = []
    found = runs.find(str(tmp_path), problems)
    assert [run.name for run in found] == ['good', 'torn']
    assert len(problems) == 1 and 'foreign is no readable run folder' in problems[0]
    with pytest.raises(results.ResultsError, match='foreign is no readable'):
        runs.find(str(tmp_path))
    assert found[1].results.keys() == {'alpha'} and '' not in found[1].results['alpha']
    assert 'torn' in found[1].problems[0] and 'alpha' in found[1].problems[0]


def test_load_runs_is_tidy(speech, monkeypatch):
    frame = fgsep_jax.report.load_runs(str(speech))
    assert len(frame) == 24 * 3 * 2 * 12 + 3 * 12  # runs x data sets x (model, untrained) x rows
    one = frame[(frame.model == 'Conv-TasNet') & (frame.objective == 'SI-SNR') & (frame.seed == 1)
                & (frame.trained_on == 'beta') & (frame.data_set == 'alpha')
                & (frame.system == 'model')]
    by_hand = mean_of(speech / 'convtasnet-0.0-beta-1', 'alpha', 'sdri')
    assert one.sdri.mean() == pytest.approx(by_hand)
    monkeypatch.setitem(sys.modules, 'pandas', None)  # as if it were not installed
    rows = fgsep_jax.report.load_runs(str(speech))
    assert isinstance(rows, list) and len(rows) == len(frame)
    assert list(rows[0]) == list(frame.columns) and rows[0]['sdri'] == frame.sdri[0]


def test_load_runs_leaves_out_what_the_report_leaves_out(tmp_path):
    for seed in range(3):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False, oracle=False)
    path = tmp_path / 's1' / 'evaluation' / 'alpha' / 'summary.json'
    path.write_text(path.read_text().replace('print of alpha', 'print of another'))
    with pytest.warns(UserWarning, match="data_fingerprint is print of ano, not print of alp"):
        frame = fgsep_jax.report.load_runs(str(tmp_path))
    assert set(frame[frame.system == 'model'].seed) == {0, 2}


def test_compare_takes_the_metrics_of_the_task(speech, masks):
    said = compare.compare([str(speech / f'convtasnet-0.0-alpha-{seed}') for seed in (0, 1)])
    assert 'si_snri (dB), median' in said and 'sdri (dB), median' in said
    assert 'sar_foreground (dB), median' in compare.compare([str(masks / 'blstm_m1-0')])


def test_csv_has_full_numbers_and_empty_cells():
    table = items.Table('t', 'T', (items.Column('A, b', 'a'), items.Column('B', 'b')), [
        ['x|y', items.Estimate(1 / 3, 0.1, 0.5)], [None, None], ['z', 'text'],
        ['w', items.Estimate(2.0, note='one seed')]])
    rows = list(csv.DictReader(io.StringIO(text.comma_separated(table))))
    assert float(rows[0]['b']) == 1 / 3 and rows[0]['b_low'] == '0.1'
    assert set(rows[1].values()) == {''} and rows[2]['b'] == 'text'
    assert rows[3]['b_note'] == 'one seed' and rows[3]['b_high'] == ''
    assert r'| x\|y | 0.33 [0.10, 0.50] |' in text.markdown(table)
