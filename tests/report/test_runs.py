"""What is read of run folders: which runs and results stand beside one another."""

import csv
import json
import os
import sys

import pytest

import fabricate
import fgsep_jax.report
from fgsep_jax.report import build, compare, groups as groups_lib, results, runs, tables_common
from reading import groups_in, mean_of


@pytest.mark.parametrize(
    'key, value',
    [
        ('data_fingerprint', 'another'),
        ('filter_taps', 64),
        ('sample_rate', 16000),
        ('resampled_from', 16000),
        ('rules', None),  # as results were before rules had versions
    ],
)
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


def change_summaries(root, pattern, **values):
    for path in root.glob(pattern + '/summary.json'):
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize('key, value', [('rules', None), ('data_fingerprint', 'an older one')])
def test_baselines_made_before_the_models_result_are_left_out(tmp_path, key, value):
    """However many they are: the result that was just made stays."""
    for seed in range(2):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False)
    change_summaries(tmp_path, '*/evaluation/alpha/*', **{key: value})
    found = runs.find(str(tmp_path))
    (note,) = build.notes(found)
    assert note.startswith('The baselines ideal_ratio_mask, untrained of s0, s1 on alpha are left')
    assert f'{key} is {str(value)[:12]}, not ' in note and '--baselines' in note
    assert [set(run.results['alpha']) for run in found] == [{''}] * 2
    said = compare.compare([str(tmp_path / 's0')])
    assert '| convtasnet:demo |' in said and '| ideal_ratio_mask |' not in said
    assert 'left out' in said and '--baselines' in said


def test_among_runs_the_newest_rules_of_a_model_stand(tmp_path):
    for seed in range(3):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False)
    for name in ('s0', 's2'):
        change_summaries(tmp_path, f'{name}/evaluation/alpha', rules=None)
    change_summaries(tmp_path, '*/evaluation/alpha/*', rules=None)
    found = runs.find(str(tmp_path))
    notes = build.notes(found)
    assert len(notes) == 2 and 's1' in notes[0] and 's0, s0 ideal_ratio_mask, s0 unt' in notes[1]
    assert [run.name for run in found if run.results.get('alpha')] == ['s1']


@pytest.mark.parametrize('key, value', [('rules', None), ('filter_taps', 64)])
def test_a_comparison_of_results_by_different_rules_is_refused(tmp_path, key, value):
    for name in ('before', 'after'):
        fabricate.run(tmp_path / name, 'convtasnet', sounds=False)
    change_summaries(tmp_path, 'before/evaluation/alpha', **{key: value})
    with pytest.raises(results.ResultsError, match=f'{key} is {value}, not .*evaluate') as error:
        compare.compare([str(tmp_path / 'before'), str(tmp_path / 'after')])
    assert all(f'in {tmp_path / name}' in str(error.value) for name in ('before', 'after'))
    assert '\n' not in str(error.value)


def test_a_copy_of_a_run_is_no_other_seed(tmp_path):
    for name, seed in (('a', 0), ('b', 1), ('copy', 1)):
        fabricate.run(tmp_path / name, 'convtasnet', seed=seed, sounds=False, oracle=False)
    found = runs.find(str(tmp_path))
    (group,) = groups_lib.by_seed(found)
    assert [run.name for run in group.runs] == ['a', 'b']
    assert build.notes(found) == [
        'copy is left out: another run has its configuration and its seed, too.'
    ]


def test_of_two_runs_of_one_seed_the_one_with_results_stays(tmp_path):
    fabricate.run(tmp_path / 'b', 'convtasnet', test_sets=('alpha',), sounds=False, oracle=False)
    fabricate.run(tmp_path / 'a', 'convtasnet', test_sets=(), sounds=False)
    fabricate.run(tmp_path / 'c', 'convtasnet', test_sets=('alpha', 'beta'), sounds=False)
    found = runs.find(str(tmp_path))
    assert [run.name for run in found] == ['a', 'b', 'c']
    notes = build.notes(found)
    assert [note.split()[0] for note in notes] == ['a', 'b']
    (group,) = groups_lib.by_seed(found)
    assert [run.name for run in group.runs] == ['c'] and group.results('beta')


def test_runs_that_differ_in_more_than_their_seed_stand_apart(tmp_path):
    fabricate.run(tmp_path / 'a', 'convtasnet', seed=0, sounds=False, oracle=False)
    fabricate.run(
        tmp_path / 'b', 'convtasnet', seed=1, sounds=False, oracle=False, training__epochs=400
    )
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
        found = [
            tables_common.level(group, 'alpha', 'si_snri'),
            tables_common.contrast([(1, group, 'alpha')], 'si_snri'),
        ]
        widths = [one.high - one.low for one in found]
        assert widths[0] == pytest.approx(widths[1])
        return widths[0]

    shared = interval(lambda i: json.dumps([['Ann Lee', 'Bo Li'], ['Cy', 'Di Lee']][i % 2]))
    assert shared > 1.5 * interval(lambda i: json.dumps([f'a {i}', f'b {i}']))
    older = interval(lambda i: ['a b', 'c d'][i % 2])  # as evaluations once wrote them
    assert older == shared


@pytest.mark.parametrize(
    'text, names',
    [
        ('["Ann Lee", "Bo"]', ['Ann Lee', 'Bo']),
        ('["a\\"b", "\\u00e9", ""]', ['a"b', '\u00e9', '']),
        ('19 26', ['19', '26']),
        ('[19] [26]', ['[19]', '[26]']),
        ('1234', ['1234']),
    ],
)
def test_names_are_lists(text, names):
    assert results._read_cell('sources', text) == names


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
    one = frame[
        (frame.model == 'Conv-TasNet')
        & (frame.objective == 'SI-SNR')
        & (frame.seed == 1)
        & (frame.trained_on == 'beta')
        & (frame.data_set == 'alpha')
        & (frame.system == 'model')
    ]
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
    with pytest.warns(UserWarning, match='data_fingerprint is print of ano, not print of alp'):
        frame = fgsep_jax.report.load_runs(str(tmp_path))
    assert set(frame[frame.system == 'model'].seed) == {0, 2}


def test_compare_takes_the_metrics_of_the_task(speech, masks):
    said = compare.compare([str(speech / f'convtasnet-0.0-alpha-{seed}') for seed in (0, 1)])
    assert 'si_snri (dB), median' in said and 'sdri (dB), median' in said
    assert 'sar_foreground (dB), median' in compare.compare([str(masks / 'blstm_m1-0')])


def test_other_splits_and_parts_are_no_test_sets(speech, tmp_path):
    config = fabricate.load('convtasnet', 'demo')
    config.data.dir = '/nowhere/alpha'
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False)
    fabricate.result(tmp_path / 'one', config, 'alpha-validation', '', 1.0, 6, 0)
    fabricate.result(tmp_path / 'one', config, 'alpha-first-2', '', 1.0, 2, 0)
    path = tmp_path / 'one' / 'evaluation' / 'alpha-first-2' / 'summary.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'split': 'test'}))
    groups = groups_in(tmp_path)
    assert tables_common.test_sets(groups) == ['alpha']
    assert tables_common.other_splits(groups) == ['alpha-validation']


@pytest.mark.parametrize('experiment, columns', [('convtasnet', 2), ('blstm_m1', 3)])
def test_a_run_scored_on_validation_alone_has_its_table_and_sounds(tmp_path, experiment, columns):
    fabricate.run(tmp_path / 'one', experiment, test_sets=(), sounds=False)
    config = fabricate.load(experiment, 'demo')
    config.data.dir = '/nowhere/alpha'
    for system, level in (('', 1.0), ('ideal_ratio_mask', 9.0)):
        fabricate.result(tmp_path / 'one', config, 'alpha-validation', system, level, 6, 0)
    fabricate.listening(tmp_path / 'one', config, 'alpha-validation', ['', 'ideal_ratio_mask'])
    sections = {section.name: section for section in build.sections(runs.find(str(tmp_path)))}
    (table,) = sections['other_splits'].items
    assert [row[0] for row in table.rows] == [groups_in(tmp_path)[0].label, 'IRM, STFT bins']
    assert len(table.rows[0]) == 2 + columns and table.rows[1][2].value > table.rows[0][2].value
    metric = tables_common.metric_of(config.task)[0]
    assert table.rows[0][2].value == pytest.approx(
        mean_of(tmp_path / 'one', 'alpha-validation', metric), abs=1
    )
    (heard,) = sections['listening'].items
    assert heard.data_set == 'alpha-validation' and len(heard.tracks) == 3 + 2 * 2


def test_a_data_set_called_as_the_beginning_of_another_is_another(tmp_path):
    fabricate.run(tmp_path / 'one', 'blstm_m1', test_sets=('near',), sounds=False)
    fabricate.run(tmp_path / 'two', 'blstm_m2', test_sets=(), sounds=False)
    config = fabricate.load('blstm_m2', 'demo')
    config.data.dir = '/nowhere/near'
    fabricate.result(tmp_path / 'two', config, 'near-far-c1', '', 1.0, 6, 0)
    for path, changed in (
        ('config.json', {'preset': 'small'}),
        ('evaluation/near-far-c1/summary.json', {'data_set': 'near-far', 'split': 'c1'}),
    ):
        content = json.loads((tmp_path / 'two' / path).read_text()) | changed
        (tmp_path / 'two' / path).write_text(json.dumps(content))
    sections = {section.name: section for section in build.sections(runs.find(str(tmp_path)))}
    # No claim compares one model with itself: a line each instead of a table.
    assert not sections['claims_foreground'].items
    for note, name in zip(
        sections['claims_foreground'].notes, ('near, demo', 'near-far, small'), strict=True
    ):
        assert f'on {name} models' in note and 'no claim can be held against these runs' in note


def test_a_home_is_meant_by_a_tilde_in_python_too(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    fabricate.run(tmp_path / 'runs' / 'a', 'convtasnet', sounds=False, examples=3)
    rows = fgsep_jax.report.load_runs('~/runs')
    assert len(rows) == len(fgsep_jax.report.load_runs(tmp_path / 'runs')) > 0
    assert runs.open_run('~/runs/a').path == str(tmp_path / 'runs' / 'a')
    assert results.data_sets('~/runs/a') == ['alpha']
    assert results.load('~/runs/a', 'alpha', 'untrained').rows
    assert compare.compare(['~/runs/a']) == compare.compare([str(tmp_path / 'runs' / 'a')])


def test_a_comparison_says_which_runs_it_could_have(tmp_path):
    (tmp_path / 'empty').mkdir()
    for name in ('a', 'b'):
        fabricate.run(tmp_path / 'runs' / name, 'convtasnet', sounds=False, test_sets=())
    one, two = (str(tmp_path / 'runs' / name) for name in ('a', 'b'))
    for given, said in (
        (['nix'], '^there is no folder nix$'),
        ([str(tmp_path / 'empty')], 'empty holds no runs: no config.json in it or below. Train'),
        ([str(tmp_path / 'runs')], f'runs is no run; there are some below: --runs={one},{two}$'),
        ([one], f'a holds no results; make them with .* --mode=evaluate --workdir={one}`$'),
        ([one, two, f'{one}/../a/'], f'--runs={one},{one}/../a/ is one run twice: name it once'),
    ):
        with pytest.raises(results.ResultsError, match=said):
            compare.compare(given)
    with pytest.raises(results.ResultsError, match='^there is no folder nix$'):
        fgsep_jax.report.load_runs('nix')


def test_training_speakers_in_a_test_set_are_said(tmp_path):
    for name in ('a', 'b'):
        fabricate.run(tmp_path / name, 'convtasnet', seed=ord(name), sounds=False, examples=3)
    fabricate.run(tmp_path / 'c', 'blstm_m1', sounds=False, examples=3, oracle=False)
    assert not build.notes(runs.find(str(tmp_path)))
    change_summaries(tmp_path, '[ab]/evaluation/alpha', speakers=9, speakers_trained_on=2)
    change_summaries(tmp_path, 'c/evaluation/*-c1', speakers=7, speakers_trained_on=7)
    change_summaries(tmp_path, 'c/evaluation/*-c2', speakers=7, speakers_trained_on=0)
    ours, theirs = build.notes(runs.find(str(tmp_path)))
    assert ours.startswith(
        '2 of the 9 speakers in alpha are called as some in the training data of'
    )
    assert 'a, b (alpha)' in ours
    assert theirs.startswith('7 of the 7 recordings in alpha-c1')
    for summary in tmp_path.glob('c/evaluation/*-c2/summary.json'):  # it was not known then
        content = json.loads(summary.read_text())
        del content['speakers_trained_on']
        summary.write_text(json.dumps(content))
    *_, unknown = build.notes(runs.find(str(tmp_path)))
    assert unknown.startswith('Whether some of the 7 recordings in alpha-c2 are in the training')
    assert unknown.endswith('c (alpha) could not be checked.')
    change_summaries(tmp_path, 'a/evaluation/alpha', speakers_trained_on='2')
    assert any(
        "has speakers_trained_on = '2'" in note for note in build.notes(runs.find(str(tmp_path)))
    )


def test_of_results_by_one_rule_those_made_as_most_are_stay(tmp_path):
    """Whatever their order; and one result by newer rules outweighs them all."""
    for seed in range(4):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False, oracle=False)
    change_summaries(tmp_path, 's0/evaluation/alpha', filter_taps=7)
    change_summaries(tmp_path, 's1/evaluation/alpha', filter_taps=8)

    def staying():
        found = runs.find(str(tmp_path))
        notes = runs.reconcile(found)
        return [run.name for run in found if '' in run.results.get('alpha', {})], notes

    left, notes = staying()
    assert left == ['s2', 's3']
    assert any('filter_taps is 7' in note and 's0' in note for note in notes)
    change_summaries(tmp_path, 's0/evaluation/alpha', rules=10**6)
    assert staying()[0] == ['s0']
