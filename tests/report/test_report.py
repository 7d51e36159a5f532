"""The command: what it writes, from whatever it finds, and without JAX."""

import csv
import json
import os
import re
import shutil
import warnings

import numpy as np
import pytest
import soundfile

import fabricate
from fgsep_jax import lock
from fgsep_jax.report import __main__ as command, figures, page, scores, write
from fgsep_jax.report.parts import Figure, Section, Table
from fgsep_jax.report.runs import ResultsError
import synthetic

pytestmark = pytest.mark.slow  # each takes seconds, or waits for what does


def test_every_table_and_figure_of_both_papers_is_there(every_report):
    written = synthetic.files_in(every_report)
    tables = {
        'table_1-alpha',
        'table_2-alpha',
        'table_1-beta',
        'table_2-beta',
        'cross_dataset',
        'cross_means',
        'cross_differences',
        'claims_speech-demo',
        'claims_foreground-fgbg-demo',
        'runs',
        'worst_ten-alpha',
        'worst_ten-fgbg-c4',
        'sdri_foreground-fgbg',
        'siri_foreground-fgbg',
        'sar_foreground-fgbg',
    }
    figures = {
        'figure_2-fgbg',
        'figure_3-fgbg',
        'figure_4',
        'figure_5',
        'curves_speech',
        'curves_foreground',
        'by_kind-alpha',
        'by_kind-fgbg-c1',
    }
    wanted = {f'tables/{name}.{kind}' for name in tables for kind in ('md', 'csv')}
    wanted |= {f'figures/{name}.{kind}' for name in figures for kind in ('svg', 'png')}
    assert wanted <= written.keys() and {'index.html', 'report.md'} <= written.keys()
    assert not [name for name in written if 'partial' in name]
    listed = json.loads(written['report_files.json'])['files']
    assert {*listed} == written.keys() - {'report_files.json'}
    assert written['figures/figure_5.png'].startswith(b'\x89PNG')
    rows = list(csv.DictReader(written['tables/cross_dataset.csv'].decode().splitlines()))
    assert len(rows) == 9 + 1 and float(rows[0]['on_alpha_low']) < float(rows[0]['on_alpha'])
    report = written['report.md'].decode()
    assert report.startswith('# A <report>\n') and 'figures/figure_5.svg' in report
    assert 'published: SI-SNRi, WSJ0-2mix (dB)' in report


def test_the_same_runs_give_the_same_bytes(tmp_path):
    fabricate.run(tmp_path / 'runs' / 'one', 'convtasnet_glu')
    for out in ('first', 'second'):
        assert command.main([f'--runs={tmp_path}/runs', f'--output_dir={tmp_path / out}']) == 0
    first, second = synthetic.files_in(tmp_path / 'first'), synthetic.files_in(tmp_path / 'second')
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
    made = synthetic.files_in(tmp_path / 'out')
    assert {'index.html', 'figures/curves_speech.svg', 'tables/runs.csv'} <= made.keys()


def test_a_single_run_folder_will_do(tmp_path):
    fabricate.run(tmp_path / 'run', 'convtasnet_glu')
    assert command.main([f'--runs={tmp_path}/run', f'--output_dir={tmp_path}/out']) == 0
    text = (tmp_path / 'out' / 'tables' / 'table_1-alpha.md').read_text()
    assert '| Deep w/ GLU | 4 | GLU | 512 | 16.2 | demo |' in text and '(one seed)' in text


def summary_without(key):
    def damage(folder):
        path = folder / 'evaluation/alpha/summary.json'
        content = json.loads(path.read_text())
        del content[key]
        path.write_text(json.dumps(content))

    return damage


def replaced(name, old, new):
    def damage(folder):
        path = folder / name
        path.write_text(path.read_text().replace(old, new))

    return damage


def torn_rows(folder):
    path = folder / 'evaluation/alpha/examples.csv'
    path.write_text(path.read_text()[: path.read_text().index('alpha-011')])


def stereo(folder):
    soundfile.write(folder / 'audio/alpha/alpha-003/mixture.wav', np.zeros((9, 2)), 8000)


def one_channel_less(folder):
    about = {'id': 'utterance', 'split': 'test'}
    np.savez(folder / 'gates/000000040.npz', gate_KN=np.zeros((50, 15), np.uint8), **about)


EXAMPLE = 'audio/alpha/alpha-003/example.json'
DAMAGES = {
    'torn summary': (lambda run: (run / 'evaluation/alpha/summary.json').write_text('{'), 'alpha'),
    'no parameters': (summary_without('parameters'), 'summary.json: parameters is missing'),
    'torn rows': (torn_rows, '22 rows in examples.csv'),
    'an extra cell': (
        replaced('evaluation/alpha/examples.csv', 'alpha-003,', 'alpha-003,,'),
        'cannot be read',
    ),
    'no level': (replaced('evaluation/alpha/examples.csv', 'snr_db', 'snr'), 'column snr_db'),
    'torn gates': (
        lambda run: (run / 'gates/000000040.npz').write_bytes(b'PK'),
        '000000040.npz cannot be read',
    ),
    'empty gates': (lambda run: (run / 'gates/000000002.npz').write_bytes(b''), '000000002.npz'),
    'other gates': (one_channel_less, 'gate_KN is uint8[50, 15]'),
    'torn sound': (
        lambda run: (run / 'audio/alpha/alpha-003/mixture.wav').write_bytes(b'RIFF'),
        'its sounds are left out',
    ),
    'stereo': (stereo, 'mixture.wav has 2 channels'),
    'no level of an example': (replaced(EXAMPLE, 'snr_db', 'snr'), 'its sounds are left out'),
    'a score that is no number': (
        replaced(EXAMPLE, '"sdri": ', '"sdri": null, "x": '),
        'its sounds are left out',
    ),
    'a role that is none': (replaced(EXAMPLE, '"reference"', '"other"'), 'its sounds are left out'),
    'no training data': (lambda run: (run / 'training_data.json').unlink(), 'is missing; that it'),
    'unreadable log': (
        lambda run: ((run / 'metrics.jsonl').unlink(), (run / 'metrics.jsonl').mkdir()),
        'metrics.jsonl cannot',
    ),
}


@pytest.mark.parametrize('name', DAMAGES)
def test_damage_is_named_and_the_rest_is_shown(tmp_path, name):
    damage, said = DAMAGES[name]
    for seed in range(2):
        fabricate.run(tmp_path / 'runs' / str(seed), 'convtasnet_glu', seed=seed)
    damage(tmp_path / 'runs' / '1')
    notes = []
    parts = page.sections(scores.read([str(tmp_path / 'runs')], notes), notes)
    assert any(said in note for note in notes), notes
    assert said in write.whole_markdown(parts, 'T')
    table = next(item for part in parts for item in part.items if item.name == 'table_1-alpha')
    (row,) = [row for row in table.rows if row[0] == 'Deep w/ GLU' and row[5]]
    assert row[-1] is not None


@pytest.mark.parametrize(
    'lines',
    [
        '',
        '[1]\n{"step": 45}\n{"ste',
        '{"step": null, "kind": "train", "loss": 1}\n',
        '{"step": 5, "kind": ["x"], "loss": 1}\n',
        '{"step": 5, "kind": "train", "other": 1}\n',
        '{"step": 5, "kind": "train", "loss": NaN}\n',
        '{"step": 5, "kind": "seen", "loss": 1}\n',
    ],
)
def test_logs_of_any_kind(tmp_path, lines):
    fabricate.run(tmp_path / 'run', 'convtasnet', sounds=False, oracle=False)
    (tmp_path / 'run' / 'metrics.jsonl').write_bytes(lines.encode() + b'\xff\n')
    assert page.sections(scores.read([str(tmp_path)], []))


@pytest.mark.parametrize(
    'key, value', [('seed', None), ('experiment', ['x']), ('preset', 3), ('task', None)]
)
def test_a_config_that_is_none_is_named(tmp_path, capsys, key, value):
    fabricate.run(tmp_path / 'run', 'convtasnet', sounds=False, oracle=False)
    path = tmp_path / 'run' / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert command.main([f'--runs={tmp_path}', f'--output_dir={tmp_path}/out']) == 2
    said = capsys.readouterr().err
    assert 'holds no readable run' in said and f'{key} = {value!r}' in said


def test_older_configs_will_do(tmp_path):
    fabricate.run(tmp_path / 'run', 'convtasnet', sounds=False, oracle=False)
    path = tmp_path / 'run' / 'config.json'
    content = json.loads(path.read_text())
    del content['loss'], content['model']
    path.write_text(json.dumps(content))
    assert command.main([f'--runs={tmp_path}', f'--output_dir={tmp_path}/out']) == 0
    assert (
        '| 15.4 | demo | 1 | linear | 512 |'  # as the base has them
        in (tmp_path / 'out' / 'tables' / 'table_1-alpha.md').read_text()
    )


def parts(*names):
    """Sections of one table and one figure for each name."""
    found = []
    for name in names:
        figure, axes = figures.axes(width=1, height=1)
        axes[0, 0].set_title(name)
        found += [
            Table(f'table_1-{name}', name, {'a': 'A'}, [[name]]),
            Figure(f'figure-{name}', name, name, figure),
        ]
    return [Section('s', 'S', '', found)]


def test_the_users_own_files_are_safe(tmp_path):
    out = tmp_path / 'out'
    (out / 'tables').mkdir(parents=True)
    (out / 'tables' / 'other.csv').write_text('mine')
    with pytest.raises(ResultsError, match='tables is there, and no report wrote it'):
        write.write(parts('alpha'), str(out), 'T')
    assert synthetic.files_in(out) == {'tables/other.csv': b'mine'}
    (out / 'tables' / 'other.csv').unlink()
    (out / 'tables').rmdir()

    write.write(parts('alpha'), str(out), 'T')
    (out / 'tables' / 'mine.csv').write_text('mine')
    (out / 'notes.txt').write_text('mine')
    (tmp_path / 'precious.md').write_text('mine')
    # A list of files that somebody put there makes nothing outside, or of another kind, a report's.
    listed = json.loads((out / 'report_files.json').read_text())['files']
    listed += ['../precious.md', 'notes.txt', 'tables/../../precious.md', 3]
    (out / 'report_files.json').write_text(json.dumps({'files': listed}))
    write.write(parts('beta'), str(out), 'T')
    names = synthetic.files_in(out).keys()
    assert {'tables/mine.csv', 'notes.txt'} <= names and (tmp_path / 'precious.md').exists()
    assert 'tables/table_1-alpha.csv' not in names and 'tables/table_1-beta.csv' in names
    (out / 'figures' / 'figure-alpha.svg').write_text('mine')
    before = synthetic.files_in(out)
    with pytest.raises(ResultsError, match='figure-alpha.svg is there, and no report wrote it'):
        write.write(parts('alpha'), str(out), 'T')
    assert synthetic.files_in(out) == before


def test_a_report_of_an_earlier_version_is_replaced(tmp_path):
    """Its list held digests."""
    out = tmp_path / 'out'
    write.write(parts('alpha'), str(out), 'T')
    listed = json.loads((out / 'report_files.json').read_text())['files']
    (out / 'report_files.json').write_text(json.dumps({name: ['00'] for name in listed}))
    write.write(parts('beta'), str(out), 'T')
    write.write(parts('beta'), str(tmp_path / 'new'), 'T')
    assert synthetic.files_in(out) == synthetic.files_in(tmp_path / 'new')


def foreign_list(out):
    (out / 'report_files.json').write_text('{"files": ["a.csv"]}')


def other_json(out):
    (out / 'report_files.json').write_text('{}')


def no_json(out):
    (out / 'report_files.json').write_text('mine')


def link(out):
    (out.parent / 'elsewhere').mkdir()
    (out / 'tables').symlink_to(out.parent / 'elsewhere')


def dangling(out):
    (out / 'figures').symlink_to(out.parent / 'nowhere')


def pipe(out):
    os.mkfifo(out / 'report.md')


def page_of_others(out):
    (out / 'index.html').write_text('mine')


def notes_of_others(out):
    (out / 'notes').mkdir()


@pytest.mark.parametrize(
    'make, named',
    [
        (foreign_list, 'report_files.json'),
        (other_json, 'report_files.json'),
        (no_json, 'report_files.json'),
        (link, 'tables'),
        (dangling, 'figures'),
        (pipe, 'report.md'),
        (page_of_others, 'index.html'),
        (notes_of_others, 'notes'),
    ],
)
def test_a_refused_report_leaves_the_folder_as_it_was(tmp_path, capsys, make, named):
    fabricate.run(str(tmp_path / 'runs' / 'a'), 'convtasnet', oracle=False, sounds=False)
    out = tmp_path / 'out'
    out.mkdir()
    make(out)
    before = [(path, path.is_file() and path.read_bytes()) for path in sorted(tmp_path.rglob('*'))]
    assert command.main([f'--runs={tmp_path}/runs', f'--output_dir={out}']) == 2
    said = capsys.readouterr().err
    assert f'out/{named} is ' in said and 'another --output_dir' in said and said.count('\n') == 1
    after = [(path, path.is_file() and path.read_bytes()) for path in sorted(tmp_path.rglob('*'))]
    assert after == before


@pytest.mark.parametrize('writes', range(8))
def test_killed_at_any_instant_the_next_report_is_whole(tmp_path, monkeypatch, writes):
    out, replace, done = tmp_path / 'out', os.replace, []
    write.write(parts('alpha', 'both'), str(out), 'Old')
    old = (out / 'index.html').read_bytes()

    def killed(source, target):
        if len(done) == writes:
            patch.setattr(os, 'unlink', lambda path: None)  # nothing is tidied up after a kill
            raise KeyboardInterrupt
        done.append(os.path.basename(target))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(write.files_lib.os, 'replace', killed)
        with pytest.raises(KeyboardInterrupt):
            write.write(parts('beta', 'both'), str(out), 'New')
    assert (out / 'index.html').read_bytes() == old or done[-1] == 'index.html'
    assert any(path.name.startswith(write.files_lib.PARTIAL) for path in out.rglob('*'))
    write.write(parts('beta', 'both'), str(out), 'New')
    write.write(parts('beta', 'both'), str(tmp_path / 'new'), 'New')
    assert synthetic.files_in(out) == synthetic.files_in(tmp_path / 'new')


def test_a_folder_that_cannot_be_is_refused_first(tmp_path, capsys):
    fabricate.run(tmp_path / 'run', 'convtasnet', sounds=False, oracle=False)
    (tmp_path / 'afile').write_text('x')
    assert command.main([f'--runs={tmp_path}/run', f'--output_dir={tmp_path}/afile']) == 2
    assert 'afile is a file, not a folder' in capsys.readouterr().err
    for flags in (['--runs='], ['--runs=,'], [f'--runs={tmp_path}', '--examples=-1']):
        with pytest.raises(SystemExit) as stopped:
            command.main(flags)
        assert stopped.value.code == 2


@pytest.mark.parametrize(
    'name',
    [
        'x"><img src=x onerror=alert(1)>',
        'a$b$c',
        r'a\g<2>',
        r'$\frac$',
        '音 声',
        'two\nlines',
        'long' * 50,
        'a%2Fb',
    ],
)
def test_names_of_any_kind(tmp_path, name):
    """Of test sets; with --name a data set can be called almost anything."""
    fabricate.run(tmp_path / 'run', 'convtasnet', sounds=False, oracle=False, test_sets=('alpha',))
    rows = json.loads((tmp_path / 'run' / 'training_data.json').read_text())
    (tmp_path / 'run' / 'training_data.json').write_text(json.dumps({**rows, 'name': name}))
    for path in (tmp_path / 'run' / 'evaluation').rglob('summary.json'):
        path.write_text(json.dumps({**json.loads(path.read_text()), 'data_set': name}))
    target = name[:60].replace('/', '-')
    (tmp_path / 'run' / 'evaluation' / 'alpha').rename(tmp_path / 'run' / 'evaluation' / target)
    for path in (tmp_path / 'run' / 'evaluation').rglob('summary.json'):
        path.write_text(json.dumps({**json.loads(path.read_text()), 'data_set': target}))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert command.main([f'--runs={tmp_path}/run', f'--output_dir={tmp_path}/out']) == 0
    page = (tmp_path / 'out' / 'index.html').read_text()
    assert '<img src=x' not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and set(re.findall(r'url\(#([^)]*)\)', page)) <= set(ids)
    assert all(
        re.fullmatch(r'[A-Za-z0-9_./-]+', name) for name in synthetic.files_in(tmp_path / 'out')
    )


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
    for file in content['files'].values():
        file |= {'scores': {}} if 'scores' in file else {}
    (second / 'example.json').write_text(json.dumps({**content, 'id': 'alpha-004'}))
    for count in (0, 1, 2):
        out = tmp_path / str(count)
        assert (
            command.main([f'--runs={tmp_path}/runs', f'--output_dir={out}', f'--examples={count}'])
            == 0
        )
        assert (out / 'index.html').read_text().count('class="item example"') == count


def test_a_report_whose_folder_is_another_s_by_now_ends(tmp_path, monkeypatch, capsys):
    fabricate.run(tmp_path / 'run', 'convtasnet', seed=0)
    out = tmp_path / 'out'

    def late(*args, **keywords):
        shutil.rmtree(out / lock.NAME)
        return []

    monkeypatch.setattr(page, 'sections', late)
    assert command.main([f'--runs={tmp_path}/run', f'--output_dir={out}']) == 75
    line = f'error: the lock of {out} was removed, or taken by another process'
    assert line in capsys.readouterr().err
    assert not any(path.is_file() for path in out.iterdir())
