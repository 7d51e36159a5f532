"""The command: what it writes, from whatever it finds, and without JAX."""

import csv
import json
import pathlib

from fgsep_jax.report import __main__ as command
import fabricate


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in pathlib.Path(folder).rglob('*') if path.is_file()}


def test_every_table_and_figure_of_both_papers_is_there(every_report):
    written = files_in(every_report)
    tables = {'table_1-alpha', 'table_2-alpha', 'table_1-beta', 'table_2-beta', 'cross_dataset', 'cross_means',
              'claims_speech-demo', 'claims_foreground-fgbg-demo', 'runs', 'worst_ten-alpha',
              'worst_ten-fgbg-c4', 'sdri_foreground-fgbg', 'siri_foreground-fgbg',
              'sar_foreground-fgbg'}
    figures = {'figure_2-fgbg', 'figure_3-fgbg', 'figure_4', 'figure_5', 'curves_speech',
               'curves_foreground', 'by_kind-alpha', 'by_kind-fgbg-c1'}
    wanted = {f'tables/{name}.{kind}' for name in tables for kind in ('md', 'csv')}
    wanted |= {f'figures/{name}.{kind}' for name in figures for kind in ('svg', 'png')}
    assert wanted <= written.keys() and {'index.html', 'report.md'} <= written.keys()
    assert not [name for name in written if name.endswith('.partial')]
    assert written['figures/figure_5.png'].startswith(b'\x89PNG')
    rows = list(csv.DictReader(written['tables/cross_dataset.csv'].decode().splitlines()))
    assert len(rows) == 9 and float(rows[0]['on_alpha_low']) < float(rows[0]['on_alpha'])
    report = written['report.md'].decode()
    assert report.startswith('# A <report>\n') and 'figures/figure_5.svg' in report
    assert 'published: SI-SNRi, WSJ0-2mix (dB)' in report


def test_the_same_runs_give_the_same_bytes(tmp_path):
    fabricate.run(tmp_path / 'runs' / 'one', 'convtasnet_glu')
    fabricate.run(tmp_path / 'runs' / 'two', 'blstm_m1', test_sets=('fgbg',), trained_on='fgbg')
    for out in ('first', 'second'):
        assert command.main([f'--runs={tmp_path}/runs', f'--output_dir={tmp_path / out}']) == 0
    first, second = files_in(tmp_path / 'first'), files_in(tmp_path / 'second')
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_nothing_found_is_one_line(tmp_path, capsys):
    assert command.main([f'--runs={tmp_path}', f'--output_dir={tmp_path}/out']) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and 'holds no runs' in said and said.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_runs_without_results_make_a_report(tmp_path):
    fabricate.run(tmp_path / 'runs' / 'one', 'convtasnet', test_sets=())
    fabricate.run(tmp_path / 'runs' / 'two', 'blstm_m1', test_sets=(), trained_on='fgbg')
    assert command.main([f'--runs={tmp_path}/runs', f'--output_dir={tmp_path}/out']) == 0
    made = files_in(tmp_path / 'out')
    assert {'index.html', 'figures/curves_speech.svg', 'tables/runs.csv'} <= made.keys()


def test_a_single_run_folder_will_do(tmp_path):
    fabricate.run(tmp_path / 'run', 'convtasnet_glu')
    assert command.main([f'--runs={tmp_path}/run', f'--output_dir={tmp_path}/out']) == 0
    text = (tmp_path / 'out' / 'tables' / 'table_1-alpha.md').read_text()
    assert '| Deep w/ GLU | 4 | GLU | 512 | 16.2 | demo |' in text and '(one seed)' in text


def test_damage_is_named_and_the_rest_is_shown(tmp_path, capsys):
    for name in ('whole', 'torn'):
        fabricate.run(tmp_path / 'runs' / name, 'convtasnet_glu', seed=int(name == 'torn'))
    torn = tmp_path / 'runs' / 'torn'
    (torn / 'gates' / '000000040.npz').write_bytes(b'PK')
    (torn / 'audio' / 'alpha' / 'alpha-003' / 'mixture.wav').write_bytes(b'RIFF')
    (torn / 'evaluation' / 'alpha' / 'summary.json').write_text('{')
    with open(torn / 'metrics.jsonl', 'a') as file:
        file.write('[1]\n{"step": 45}\n{"ste')
    assert command.main([f'--runs={tmp_path}/runs', f'--output_dir={tmp_path}/out']) == 0
    said = capsys.readouterr().err
    page = (tmp_path / 'out' / 'index.html').read_text()
    for part in ('000000040.npz cannot be read', 'its sounds are left out', 'evaluation/alpha'):
        assert part in said and part in page
    with open(tmp_path / 'out' / 'tables' / 'table_1-alpha.csv') as file:
        (row,) = [row for row in csv.DictReader(file) if row['model'] == 'Deep w/ GLU']
    assert row['seeds'] == '1' and row['si_snri']


def test_a_new_report_replaces_an_old_one_and_nothing_else(tmp_path):
    for name in ('alpha', 'beta'):
        fabricate.run(tmp_path / name, 'convtasnet', trained_on=name, test_sets=(name,),
                      sounds=False, oracle=False)
    out = tmp_path / 'out'
    assert command.main([f'--runs={tmp_path}/alpha', f'--output_dir={out}']) == 0
    (out / 'tables' / 'mine.csv').write_text('kept')
    with open(out / 'files.txt', 'a') as file:
        file.write('../alpha/config.json\n')
    assert command.main([f'--runs={tmp_path}/beta', f'--output_dir={out}']) == 0
    names = files_in(out).keys()
    assert 'tables/mine.csv' in names and (tmp_path / 'alpha' / 'config.json').exists()
    assert 'tables/table_1-alpha.csv' not in names and 'tables/table_1-beta.csv' in names
    with open(out / 'files.txt') as file:
        assert set(file.read().split()) == names - {'tables/mine.csv', 'files.txt'}


def test_more_examples_can_be_asked_for(tmp_path):
    fabricate.run(tmp_path / 'runs' / 'one', 'convtasnet', oracle=False)
    about = tmp_path / 'runs' / 'one' / 'audio' / 'alpha'
    second = about / 'alpha-004'
    second.mkdir()
    for path in (about / 'alpha-003').rglob('*'):
        target = second / path.relative_to(about / 'alpha-003')
        if path.is_file():
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    content = json.loads((second / 'example.json').read_text())
    (second / 'example.json').write_text(json.dumps({**content, 'id': 'alpha-004'}))
    for count in (0, 1, 2):
        out = tmp_path / str(count)
        assert command.main([f'--runs={tmp_path}/runs', f'--output_dir={out}',
                             f'--examples={count}']) == 0
        assert (out / 'index.html').read_text().count('<details') == count
