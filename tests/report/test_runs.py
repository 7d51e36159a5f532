"""What is read of run folders: which runs and results stand beside one another."""

import csv
import json
import os
import sys

import numpy as np
import pytest

import fabricate
import fgsep_jax.report
from fgsep_jax.report import __main__ as command, common, page, runs, scores
from reading import mean_of, notes_in, results_in

SI_SNRI = ('si_snri', '')


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
    (note,) = notes_in(tmp_path)
    assert 'on alpha of s1 are left out' in note
    assert list(results_in(tmp_path).matrix(0, 'alpha', SI_SNRI).index) == [0, 2]


def text_of(capsys, *flags):
    """What the comparison prints, and its notes."""
    assert command.main([*flags, '--text']) == 0
    return capsys.readouterr()


def change_summaries(root, pattern, **values):
    for path in root.glob(pattern + '/summary.json'):
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize('key, value', [('rules', None), ('data_fingerprint', 'an older one')])
def test_baselines_made_before_the_models_result_are_left_out(tmp_path, capsys, key, value):
    """However many they are: the result that was just made stays."""
    for seed in range(2):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False)
    change_summaries(tmp_path, '*/evaluation/alpha/*', **{key: value})
    (note,) = notes_in(tmp_path)
    assert note.startswith('The baselines ideal_ratio_mask, untrained of s0, s1 on alpha are left')
    assert f'{key} is {str(value)[:12]}, not ' in note and '--baselines' in note
    assert set(results_in(tmp_path).scores.system) == {'model'}
    said = text_of(capsys, f'--runs={tmp_path}/s0')
    assert '| Conv-TasNet |' in said.out and '| IRM, STFT bins |' not in said.out
    assert 'left out' in said.err and '--baselines' in said.err


def test_among_runs_the_newest_rules_of_a_model_stand(tmp_path):
    for seed in range(3):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False)
    for name in ('s0', 's2'):
        change_summaries(tmp_path, f'{name}/evaluation/alpha', rules=None)
    change_summaries(tmp_path, '*/evaluation/alpha/*', rules=None)
    notes = notes_in(tmp_path)
    assert len(notes) == 2 and 's1' in notes[0] and 's0, s0 ideal_ratio_mask, s0 unt' in notes[1]
    assert set(results_in(tmp_path).scores.run) == {'s1'}


@pytest.mark.parametrize('key, value', [('rules', None), ('filter_taps', 64)])
def test_a_comparison_leaves_out_results_by_different_rules(tmp_path, capsys, key, value):
    for name, experiment in (('z', 'convtasnet'), ('a', 'convtasnet_glu')):
        fabricate.run(tmp_path / name, experiment, sounds=False)
    change_summaries(tmp_path, 'z/evaluation/alpha', **{key: value})
    said = text_of(capsys, f'--runs={tmp_path}/a,{tmp_path}/z')
    assert f'{key} is {value}, not' in said.err and 'Evaluate them again' in said.err
    assert '| Deep w/ GLU | 1 |' in said.out and '| Conv-TasNet | 1 |' not in said.out
    assert 'Deep w/ GLU - Conv-TasNet' not in said.out


def test_a_copy_of_a_run_is_no_other_seed(tmp_path):
    for name, seed in (('a', 0), ('b', 1), ('copy', 1)):
        fabricate.run(tmp_path / name, 'convtasnet', seed=seed, sounds=False, oracle=False)
    results = results_in(tmp_path)
    assert len(results.groups) == 1 and list(results.runs.run) == ['a', 'b']
    assert notes_in(tmp_path) == [
        'copy is left out: another run has its configuration and its seed, too.'
    ]


def test_of_two_runs_of_one_seed_the_one_with_results_stays(tmp_path):
    fabricate.run(tmp_path / 'b', 'convtasnet', test_sets=('alpha',), sounds=False, oracle=False)
    fabricate.run(tmp_path / 'a', 'convtasnet', test_sets=(), sounds=False)
    fabricate.run(tmp_path / 'c', 'convtasnet', test_sets=('alpha', 'beta'), sounds=False)
    assert [run.name for run in runs.find(str(tmp_path))] == ['a', 'b', 'c']
    assert [note.split()[0] for note in notes_in(tmp_path)] == ['a', 'b']
    results = results_in(tmp_path)
    assert list(results.runs.run) == ['c'] and len(results.part(0, 'beta')) == 1


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
    groups = results_in(tmp_path).groups
    assert sorted(group.run for group in groups) == ['a', 'b', 'c']
    assert 'epochs=400' in [group for group in groups if group.run == 'b'][0].label


@pytest.mark.parametrize(
    'key, other',
    [('data.remix', True), ('training.ema', 0.9), ('loss.clip_db', -30.0), ('model.norm', 'cln')],
)
def test_a_run_without_a_key_that_came_later_is_one_with_its_default(tmp_path, key, other):
    for seed in range(2):
        folder = tmp_path / f'run-{seed}'
        fabricate.run(folder, 'convtasnet', seed=seed, sounds=False, oracle=False)
    path = tmp_path / 'run-1' / 'config.json'
    content = json.loads(path.read_text()) | {'digest': ''}
    section, name = key.split('.')
    default = content[section].pop(name)
    path.write_text(json.dumps(content))
    (group,) = results_in(tmp_path).groups
    assert group.config[key] == default
    content[section][name] = other
    path.write_text(json.dumps(content))
    assert len(results_in(tmp_path).groups) == 2


def test_examples_that_share_speakers_are_fewer(tmp_path):
    """Twelve mixtures of two pairs of speakers tell less than twelve of as many pairs."""
    for seed in range(3):
        fabricate.run(tmp_path / str(seed), 'convtasnet', seed=seed, sounds=False, oracle=False)

    def interval(speakers_of):
        for path in tmp_path.glob('*/evaluation/alpha/examples.csv'):
            rows = list(csv.DictReader(path.read_text().splitlines()))
            for number, row in enumerate(rows):
                i, s = divmod(number, 2)
                row.update(speaker=speakers_of(i)[s], si_snri=5.0 * (i % 2) + 0.01 * i)
            with open(path, 'w', newline='') as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        results = results_in(tmp_path)
        estimates = [
            results.score(0, 'alpha', SI_SNRI),
            results.difference([(1, 0, 'alpha')], SI_SNRI),
        ]
        widths = [estimate.high - estimate.low for estimate in estimates]
        assert widths[0] == pytest.approx(widths[1])
        return widths[0]

    shared = interval(lambda i: [('Ann Lee', 'Bo Li'), ('Cy', 'Di Lee')][i % 2])
    assert shared > 1.5 * interval(lambda i: (f'a {i}', f'b {i}'))


@pytest.mark.few(2)
@pytest.mark.parametrize('by_source', [True, False])
@pytest.mark.parametrize('names', [json.dumps, ' '.join])
@pytest.mark.parametrize('experiment', ['convtasnet', 'blstm_m1'])
def test_results_of_earlier_versions_are_the_same_table(tmp_path, experiment, names, by_source):
    """A row an example, with the columns of each source beside those of both, or without."""
    named = experiment == 'blstm_m1'
    if named and not by_source:
        pytest.skip('these always had them')
    fabricate.run(tmp_path / 'run', experiment, sounds=False, trained_on='alpha')
    now = scores.load_runs(tmp_path)
    for path in tmp_path.glob('run/evaluation/**/examples.csv'):
        rows = list(csv.DictReader(path.read_text().splitlines()))
        examples = {}
        metrics = [*rows[0]][[*rows[0]].index('snr_db') + 1 :]
        for first, second in zip(rows[::2], rows[1::2]):
            who = 'recording' if named else 'speaker'
            speakers = [row[who].replace(' ', '-') for row in (first, second)]
            example = {'id': first['id'], 'sources': names(speakers)}
            example |= {key: first[key] for key in ('seconds', 'snr_db')}
            for row in (first, second):
                for key in ('class', 'recording') if named else ('sex',):
                    example[f'{key}_{row["source"]}'] = row[key]
            for metric in metrics:
                values = [float(row[metric]) for row in (first, second)]
                example[metric] = sum(values) / 2
                if by_source:
                    example |= {
                        f'{metric}_{row["source"]}': value
                        for row, value in zip((first, second), values)
                    }
            examples[first['id']] = example
        with open(path, 'w', newline='') as file:
            writer = csv.DictWriter(file, examples[first['id']])
            writer.writeheader()
            writer.writerows(examples.values())
    then = scores.load_runs(tmp_path)
    if not named:
        now['speaker'] = now.speaker.str.replace(' ', '-')
    if not by_source:  # both have the mean
        assert then.groupby(['system', 'id']).si_snri.nunique().max() == 1
        key = ['system', 'id']
        for metric in ('si_snri', 'sdr_mixture'):
            means = [frame.groupby(key)[metric].mean() for frame in (now, then)]
            np.testing.assert_allclose(*means)
        then = then[[column for column in then if column not in metrics]]
    np.testing.assert_array_equal(then.to_numpy(), now[then.columns].to_numpy())


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
    assert runs._read_names(text) == names


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
    with pytest.raises(runs.ResultsError, match='foreign is no readable'):
        runs.find(str(tmp_path))
    assert {name for name, _ in found[1].results} == {'alpha'} and ('alpha', '') not in found[
        1
    ].results
    assert 'torn' in found[1].problems[0] and 'alpha' in found[1].problems[0]


def test_ids_that_are_shown_alike_are_one_example(tmp_path):
    """An id with half a character, and one that is written as that is shown."""
    fabricate.run(tmp_path, 'convtasnet', sounds=False, oracle=False, test_sets=('alpha',))
    where = tmp_path / 'evaluation' / 'alpha'
    text = (where / 'examples.csv').read_text()
    text = text.replace('alpha-003', 'a\udc80').replace('alpha-004', scores.utf8('a\udc80'))
    (where / 'examples.csv').write_bytes(text.encode(errors='surrogatepass'))
    results = results_in(tmp_path)
    assert results.matrix(0, 'alpha', SI_SNRI).shape == (1, 11)
    assert results.score(0, 'alpha', SI_SNRI).note == 'one seed'


@pytest.mark.slow
def test_load_runs_is_tidy(speech):
    frame = fgsep_jax.report.load_runs(str(speech))
    # Runs x data sets x (model, untrained) x examples, and a row a source.
    assert len(frame) == 2 * (24 * 3 * 2 * 12 + 3 * 12)
    chosen = frame[
        (frame.model == 'Conv-TasNet')
        & (frame.objective == 'SI-SNR')
        & (frame.seed == 1)
        & (frame.trained_on == 'beta')
        & (frame.data_set == 'alpha')
        & (frame.system == 'model')
    ]
    by_hand = mean_of(speech / 'convtasnet-0.0-beta-1', 'alpha', 'sdri', '2')
    assert chosen.groupby('source').sdri.mean()['2'] == pytest.approx(by_hand)
    assert not frame.duplicated(['run', 'data_set', 'system', 'id', 'source']).any()
    assert set(chosen.speaker) == {*(f'a {i}' for i in range(4)), *(f'b {i}' for i in range(5))}


def test_scores_are_of_the_examples_that_all_seeds_scored(tmp_path):
    for seed in range(2):
        fabricate.run(tmp_path / str(seed), 'convtasnet', seed=seed, sounds=False, oracle=False)
    path = tmp_path / '1' / 'evaluation' / 'alpha' / 'examples.csv'
    rows = list(csv.DictReader(path.read_text().splitlines()))
    rows[4]['si_snri'], rows[6]['si_snri'] = 'nan', 'inf'
    rows = rows[:-2]  # the last example
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    change_summaries(tmp_path, '1/evaluation/alpha', examples=11)
    results = results_in(tmp_path)
    value = results.matrix(0, 'alpha', SI_SNRI)
    ids = [f'alpha-{i:03d}' for i in range(12) if i not in (2, 3, 11)]
    assert list(value.dropna(axis=1).columns) == ids
    expected = value[ids].to_numpy().mean()
    assert results.score(0, 'alpha', SI_SNRI).value == pytest.approx(expected)
    assert results.difference([(1, 0, 'alpha')], SI_SNRI).value == pytest.approx(expected)


def test_load_runs_leaves_out_what_the_report_leaves_out(tmp_path):
    for seed in range(3):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False, oracle=False)
    path = tmp_path / 's1' / 'evaluation' / 'alpha' / 'summary.json'
    path.write_text(path.read_text().replace('print of alpha', 'print of another'))
    with pytest.warns(UserWarning, match='data_fingerprint is print of ano, not print of alp'):
        frame = fgsep_jax.report.load_runs(str(tmp_path))
    assert set(frame[frame.system == 'model'].seed) == {0, 2}


@pytest.mark.slow
def test_compare_takes_the_metrics_of_the_task(speech, masks, capsys):
    said = text_of(capsys, f'--runs={speech}/convtasnet-0.0-alpha-0,{speech}/glu').out
    assert '### si\\_snri (dB), median [quartiles]' in said.replace('si_snri', 'si\\_snri')
    assert '| Deep w/ GLU - Conv-TasNet | mean |' in said
    said = text_of(capsys, f'--runs={masks}/blstm_m1-0', '--metrics=sdr_background,si_snri').out
    assert 'sdr_background (dB), median by foreground class' in said and '| fgbg-c2 | dog |' in said
    assert 'si_snri (dB), median [quartiles]' in said and 'sar_foreground' not in said
    said = text_of(capsys, f'--runs={masks}/blstm_m1-0', '--data_sets=fgbg-c3').out
    assert (
        'sar_foreground (dB), median [quartiles]' in said
        and 'c2' not in said.partition('\n\nEv')[2]
    )


@pytest.mark.slow
def test_the_text_holds_the_numbers(masks, capsys):
    said = text_of(capsys, f'--runs={masks}', '--metrics=sdr_background').out
    results = results_in(masks)
    first, second = (
        results.matrix(group.group, 'fgbg-c1', ('sdr', 'background'))
        for group in results.groups[::2]
    )
    low, middle, high = np.quantile(first, [0.25, 0.5, 0.75])
    quartiles = said[said.index('sdr_background (dB), median [quartiles]') :]
    assert f'| M1 | {middle:.2f} [{low:.2f}, {high:.2f}] |' in quartiles
    mixture = results.matrix(0, 'fgbg-c1', ('sdr_mixture', 'background')).to_numpy()
    assert f'| mixture | {np.median(mixture):.2f} [' in quartiles
    assert f'| M2 - M1 | mean | {(second.to_numpy() - first.to_numpy()).mean():.2f} [' in said
    scores = results.scores[(results.scores.group == 0) & (results.scores.system == 'model')]
    dogs = scores[(scores['class'] == 'dog') & (scores.data_set == 'fgbg-c1')].id.unique()
    middle = np.median(first[sorted(set(dogs))])
    assert f'| fgbg-c1 | dog | {len(dogs)} | {middle:.2f} |' in said


@pytest.mark.slow
def test_other_splits_and_parts_are_no_test_sets(speech, tmp_path):
    config = fabricate.load('convtasnet', 'demo')
    config.data.dir = '/nowhere/alpha'
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False)
    fabricate.result(tmp_path / 'one', config, 'alpha-validation', '', 1.0, 6, 0)
    fabricate.result(tmp_path / 'one', config, 'alpha-first-2', '', 1.0, 2, 0)
    path = tmp_path / 'one' / 'evaluation' / 'alpha-first-2' / 'summary.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'split': 'test'}))
    results = results_in(tmp_path)
    assert results.data_sets() == ['alpha'] and results.data_sets('other') == ['alpha-validation']


@pytest.mark.parametrize('experiment, columns', [('convtasnet', 2), ('blstm_m1', 3)])
def test_a_run_scored_on_validation_alone_has_its_table_and_sounds(tmp_path, experiment, columns):
    fabricate.run(tmp_path / 'one', experiment, test_sets=(), sounds=False)
    config = fabricate.load(experiment, 'demo')
    config.data.dir = '/nowhere/alpha'
    scored = {}
    for system, level in (('', 1.0), ('ideal_ratio_mask', 9.0)):
        rows = fabricate.result(tmp_path / 'one', config, 'alpha-validation', system, level, 6, 0)
        scored[system] = {(row['id'], row['source']): row for row in rows}
    fabricate.listening(tmp_path / 'one', config, 'alpha-validation', scored)
    sections = {section.name: section for section in page.sections(results_in(tmp_path))}
    (table,) = sections['other_splits'].items
    assert [row[0] for row in table.rows] == [
        results_in(tmp_path).groups[0].label,
        'IRM, STFT bins',
    ]
    assert len(table.rows[0]) == 2 + columns and table.rows[1][2].value > table.rows[0][2].value
    metric = common.main_metric(config.task)[0]
    assert table.rows[0][2].value == pytest.approx(
        mean_of(tmp_path / 'one', 'alpha-validation', *metric), abs=1
    )
    (heard,) = sections['listening'].items
    assert heard.data_set == 'alpha-validation' and len(heard.tracks) == 3 + 2 * 2


@pytest.mark.slow
def test_a_data_set_called_as_the_beginning_of_another_is_another(tmp_path):
    fabricate.run(tmp_path / 'one', 'blstm_m1', test_sets=('near',), sounds=False)
    fabricate.run(tmp_path / 'two', 'blstm_m2', test_sets=(), sounds=False)
    config = fabricate.load('blstm_m2', 'demo')
    config.data.dir = '/nowhere/alpha'
    fabricate.result(tmp_path / 'two', config, 'near-far-c1', '', 1.0, 6, 0)
    for path, changed in (
        ('config.json', {'preset': 'small'}),
        (
            'evaluation/near-far-c1/summary.json',
            {'data_set': 'near-far', 'split': 'c1', 'preset': 'small'},
        ),
    ):
        content = json.loads((tmp_path / 'two' / path).read_text()) | changed
        (tmp_path / 'two' / path).write_text(json.dumps(content))
    sections = {section.name: section for section in page.sections(results_in(tmp_path))}
    # No claim compares one model with itself: a line each instead of a table.
    assert not sections['claims_foreground'].items
    for note, name in zip(
        sections['claims_foreground'].notes, ('near, demo', 'near-far, small'), strict=True
    ):
        assert f'on {name} models' in note and 'no claim can be held against these runs' in note


def test_a_home_is_meant_by_a_tilde_in_python_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('HOME', str(tmp_path))
    fabricate.run(tmp_path / 'runs' / 'a', 'convtasnet', sounds=False, examples=3)
    rows = fgsep_jax.report.load_runs('~/runs')
    assert len(rows) == len(fgsep_jax.report.load_runs(tmp_path / 'runs')) > 0
    assert runs.open_run('~/runs/a').path == str(tmp_path / 'runs' / 'a')
    assert len(runs.read_result('~/runs/a', 'alpha', 'untrained').columns['id']) == 2 * 3
    assert text_of(capsys, '--runs=~/runs/a') == text_of(capsys, f'--runs={tmp_path}/runs/a')


def test_a_comparison_says_which_runs_it_could_have(tmp_path, capsys, monkeypatch):
    (tmp_path / 'empty').mkdir()
    fabricate.run(tmp_path / 'a', 'convtasnet', sounds=False, test_sets=())
    fabricate.run(tmp_path / 'b', 'convtasnet', sounds=False)
    for flags, said in (
        (['--runs=nix'], 'error: there is no folder nix\n'),
        ([f'--runs={tmp_path}/empty'], 'empty holds no runs: no config.json in it or below. Train'),
        ([f'--runs={tmp_path}/a'], f'--mode=evaluate --workdir={tmp_path}/a`'),
        ([f'--runs={tmp_path}/b', '--data_sets=gamma'], 'gamma; there are results on alpha'),
        ([f'--runs={tmp_path}/b', '--metrics=sar'], 'no metric sar; there are sdr, sdr_1, '),
    ):
        assert command.main([*flags, '--text']) == 2
        error = capsys.readouterr().err
        assert said in error and error.count('\n') == 1, error
    with monkeypatch.context() as patch:  # before what is missing, too
        patch.setitem(sys.modules, 'fgsep_jax.report.page', None)
        patch.delattr(fgsep_jax.report, 'page', raising=False)
        assert command.main(['--runs=nix']) == 2
        assert capsys.readouterr().err == 'error: there is no folder nix\n'
    with pytest.raises(runs.ResultsError, match='^there is no folder nix$'):
        fgsep_jax.report.load_runs('nix')


def test_training_speakers_in_a_test_set_are_said(tmp_path):
    for name in ('a', 'b'):
        fabricate.run(tmp_path / name, 'convtasnet', seed=ord(name), sounds=False, examples=3)
    fabricate.run(tmp_path / 'c', 'blstm_m1', sounds=False, examples=3, oracle=False)
    assert not notes_in(tmp_path)
    change_summaries(tmp_path, '[ab]/evaluation/alpha', speakers=9, speakers_trained_on=2)
    change_summaries(tmp_path, 'c/evaluation/*-c1', speakers=7, speakers_trained_on=7)
    change_summaries(tmp_path, 'c/evaluation/*-c2', speakers=7, speakers_trained_on=0)
    ours, theirs = notes_in(tmp_path)
    assert ours.startswith(
        '2 of the 9 speakers in alpha are called as some in the training data of'
    )
    assert 'a, b (alpha)' in ours
    assert theirs.startswith('7 of the 7 recordings in alpha-c1')
    for summary in tmp_path.glob('c/evaluation/*-c2/summary.json'):  # it was not known then
        content = json.loads(summary.read_text())
        del content['speakers_trained_on']
        summary.write_text(json.dumps(content))
    *_, unknown = notes_in(tmp_path)
    assert unknown.startswith('Whether some of the 7 recordings in alpha-c2 are in the training')
    assert unknown.endswith('c (alpha) could not be checked.')
    change_summaries(tmp_path, 'a/evaluation/alpha', speakers_trained_on='2')
    assert any("speakers_trained_on = '2', must be" in note for note in notes_in(tmp_path))


def test_of_results_by_one_rule_those_made_as_most_are_stay(tmp_path):
    """Whatever their order; and one result by newer rules outweighs them all."""
    for seed in range(4):
        fabricate.run(tmp_path / f's{seed}', 'convtasnet', seed=seed, sounds=False, oracle=False)
    change_summaries(tmp_path, 's0/evaluation/alpha', filter_taps=7)
    change_summaries(tmp_path, 's1/evaluation/alpha', filter_taps=8)

    def staying():
        found = runs.find(str(tmp_path))
        notes = scores.reconcile(found)
        return [run.name for run in found if ('alpha', '') in run.results], notes

    left, notes = staying()
    assert left == ['s2', 's3']
    assert any('filter_taps is 7' in note and 's0' in note for note in notes)
    change_summaries(tmp_path, 's0/evaluation/alpha', rules=10**6)
    assert staying()[0] == ['s0']
