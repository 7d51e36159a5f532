"""Tables, from fabricated run folders."""

import csv
import io

import numpy as np
import pytest

import fabricate
from fgsep_jax.report import common, published, speech as speech_lib
from fgsep_jax.report.intervals import Estimate
from fgsep_jax.report.parts import Table, comma_separated, markdown
from reading import by_hand, mean_of, results_in, rows_in, rows_of


@pytest.mark.slow
def test_table_1_has_both_numbers_and_marks_what_is_missing(speech):
    table = speech_lib.table_1(results_in(speech), 'alpha')
    assert 'alpha' in table.title
    rows = {row['model']: row for row in rows_of(table)}
    assert list(rows) == list(published.TABLE_1)
    assert [rows[name]['published_si_snri'] for name in rows] == [15.4, 15.3, 16.1, 16.0, 16.2]
    cell = rows['Conv-TasNet']['si_snri']
    by_hand = np.mean(
        [mean_of(speech / f'convtasnet-0.0-alpha-{seed}', 'alpha', 'si_snri') for seed in range(3)]
    )
    assert cell.value == pytest.approx(by_hand) and cell.low < by_hand < cell.high
    assert rows['Conv-TasNet']['seeds'] == 3
    assert rows['Deep w/ GLU']['si_snri'].note == 'one seed'
    for missing in ('Big-Conv-TasNet', 'Deep w/ dilation'):
        assert {rows[missing][key] for key in ('preset', 'parameters', 'seeds', 'si_snri')} == {
            None
        }
    shown = markdown(table)
    assert '| Big-Conv-TasNet | 1 | linear | 1,024 | 15.3 | - | - | - | - | - | - | - |' in shown
    assert 'published: SI-SNRi, WSJ0-2mix (dB)' in shown


@pytest.mark.slow
def test_table_2_keeps_others_work_apart(speech):
    rows = {row['model']: row for row in rows_of(speech_lib.table_2(results_in(speech), 'beta'))}
    assert rows['FurcaPy']['published_sdri'] == 18.4 and rows['FurcaPy']['sdri'] is None
    assert rows['Deep w/ PReLU']['published_parameters'] == '9.7M'
    by_hand = np.mean(
        [mean_of(speech / f'convtasnet_prelu-0.0-beta-{seed}', 'beta', 'sdri') for seed in range(3)]
    )
    assert rows['Deep w/ PReLU']['sdri'].value == pytest.approx(by_hand)


@pytest.mark.slow
def test_the_matrix(speech):
    results = results_in(speech)
    table = speech_lib.cross_table(results, ['alpha', 'beta', 'gamma'])
    assert 'alpha: 12 mixtures of 9 speakers' in table.note  # 'a 0' is one name
    rows = rows_of(table)
    row = next(
        row
        for row in rows
        if row['model'] == 'Conv-TasNet'
        and row['objective'] == 'SI-SNR'
        and row['trained_on'] == 'beta'
    )
    own = by_hand(speech, 'convtasnet', 0.0, [('beta', 'beta')])
    other = by_hand(speech, 'convtasnet', 0.0, [('beta', 'alpha'), ('beta', 'gamma')])
    assert row['on_beta'].value == pytest.approx(own) and row['seeds'] == 3
    assert row['cross'].value == pytest.approx(other)
    assert row['drop'].value == pytest.approx(own - other)
    glu = next(row for row in rows if row['model'] == 'Deep w/ GLU')
    assert glu['on_beta'] is None and glu['cross'] is None and glu['drop'] is None
    # A mean over some of the other sets would stand beside means over all of them.
    more = rows_of(speech_lib.cross_table(results, ['alpha', 'beta', 'gamma', 'delta']))
    assert all(row['cross'] is None and row['drop'] is None for row in more if row['trained_on'])
    oracle = more[-1]
    assert oracle['model'] == 'IRM, STFT bins' and oracle['on_delta'] is None
    rows = rows_in(speech / 'glu', 'alpha', 'ideal_ratio_mask')
    expected = np.mean([float(row['si_snri']) for row in rows])
    assert oracle['on_alpha'].value == pytest.approx(expected) and not oracle['on_alpha'].note


def test_the_matrix_has_a_place_for_every_bar_of_figure_5(tmp_path):
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False, oracle=False)
    rows = rows_of(speech_lib.cross_table(results_in(tmp_path), ['alpha']))
    assert [(row['model'], row['objective'], row['seeds']) for row in rows] == [
        ('Conv-TasNet', 'SI-SNR', 1),
        ('Conv-TasNet', 'SI-SNR + power law', None),
        ('Deep w/ PReLU', 'SI-SNR', None),
        ('Deep w/ PReLU', 'SI-SNR + power law', None),
    ]
    assert rows[1]['on_alpha'] is None
    # Which the paper trained on one data set alone.
    fabricate.run(
        tmp_path / 'law',
        'convtasnet',
        sounds=False,
        oracle=False,
        loss__power_law_weight=0.01,
    )
    fabricate.run(tmp_path / 'two', 'convtasnet', trained_on='beta', sounds=False, oracle=False)
    rows = rows_of(speech_lib.cross_table(results_in(tmp_path), ['alpha']))
    of_law = [row for row in rows if row['objective'] == 'SI-SNR + power law']
    plain = [row['trained_on'] for row in of_law if row['model'] == 'Conv-TasNet']
    assert plain == ['alpha'] and len(of_law) == 3


@pytest.mark.slow
def test_means_in_and_across_data_sets(speech):
    rows = rows_of(speech_lib.cross_means(results_in(speech), ['alpha', 'beta', 'gamma']))
    row = next(
        row
        for row in rows
        if (row['model'], row['objective']) == ('Deep w/ PReLU', 'SI-SNR + power law')
    )
    pairs = [(on, name) for on in ('alpha', 'beta') for name in ('alpha', 'beta', 'gamma')]
    own, cross = (
        by_hand(
            speech,
            'convtasnet_prelu',
            0.01,
            [pair for pair in pairs if (len(set(pair)) == 1) == same],
        )
        for same in (True, False)
    )
    assert row['trained_on'] == 'alpha, beta' and row['in_dataset'].value == pytest.approx(own)
    assert row['cross_dataset'].value == pytest.approx(cross)
    assert row['drop'].value == pytest.approx(own - cross)
    glu = next(row for row in rows if row['model'] == 'Deep w/ GLU')
    assert glu['in_dataset'].note == 'one seed' and glu['cross_dataset'] is None
    assert glu['drop'] is None


@pytest.mark.slow
def test_differences_are_on_the_same_examples(speech):
    rows = rows_of(speech_lib.cross_differences(results_in(speech), ['alpha', 'beta', 'gamma']))
    row = next(
        row
        for row in rows
        if (row['model'], row['objective'], row['trained_on'])
        == ('Deep w/ PReLU', 'SI-SNR', 'beta')
    )
    pair = [('beta', 'gamma')]
    assert row['on_gamma'].value == pytest.approx(
        by_hand(speech, 'convtasnet_prelu', 0.0, pair) - by_hand(speech, 'convtasnet', 0.0, pair)
    )
    results = results_in(speech)
    group = next(group.group for group in results.groups if group.model == 'Deep w/ PReLU')
    level = results.score(group, 'gamma', ('si_snri', ''))
    # What all systems find hard or easy is no part of a difference.
    assert row['on_gamma'].high - row['on_gamma'].low < (level.high - level.low) / 3
    assert ('Conv-TasNet', 'SI-SNR') not in [(row['model'], row['objective']) for row in rows]


@pytest.mark.slow
def test_the_worst_ten_are_the_worst(speech):
    results = results_in(speech)
    table = common.worst_ten(results, 'alpha')
    shown = [row['si_snri'] for row in rows_of(table)]
    scores = results.scores
    scores = scores[(scores.data_set == 'alpha') & (scores.system == 'model')]
    best = scores.groupby('group').si_snri.mean().idxmax()
    (label,) = (group.label for group in results.groups if group.group == best)
    assert f'of {label}, tested on alpha' in table.title and len(table.rows) == 10
    scores = scores[scores.group == best]
    np.testing.assert_allclose(shown, sorted(scores.groupby('id').si_snri.mean())[:10])
    assert common.worst_ten(results, 'nowhere') is None


def test_csv_has_full_numbers_and_empty_cells():
    table = Table(
        't',
        'T',
        {'a': 'A, b', 'b': 'B'},
        [
            ['x|y', Estimate(1 / 3, 0.1, 0.5)],
            [None, None],
            ['z', 'text'],
            ['w', Estimate(2.0, note='one seed')],
        ],
    )
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert float(rows[0]['b']) == 1 / 3 and rows[0]['b_low'] == '0.1'
    assert set(rows[1].values()) == {''} and rows[2]['b'] == 'text'
    assert rows[3]['b_note'] == 'one seed' and rows[3]['b_high'] == ''
    assert r'| x\|y | 0.33 [0.10, 0.50] |' in markdown(table)
