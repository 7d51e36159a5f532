"""A damaged run folder is named and left out; a report, and a comparison, never end by one."""

import contextlib
import json
import os
import re
import shutil
import zipfile

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest
import soundfile

import damage
import fabricate
from fgsep_jax import files, names
from fgsep_jax.report import __main__ as command, common, runs, scores, sounds, speech, text
from fgsep_jax.report.parts import markdown

FILES = (
    'config.json',
    'training_data.json',
    'metrics.jsonl',
    'gates/000000004.npz',
    'evaluation/alpha/summary.json',
    'evaluation/alpha/examples.csv',
    'evaluation/alpha/ideal_ratio_mask/summary.json',
    'audio/alpha/alpha-003/example.json',
    'audio/alpha/alpha-003/mixture.wav',
)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A speech run with gates and sounds, and a whole one beside it."""
    folder = tmp_path_factory.mktemp('made')
    for name, seed in (('damaged', 0), ('whole', 1)):
        fabricate.run(folder / name, 'convtasnet_glu', seed=seed, test_sets=('alpha',), examples=5)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def read(folder):
    """Everything that is read of the runs, and the tables; figures take seconds to draw."""
    notes = []
    results = scores.read([str(folder)], notes)
    sets = results.data_sets()
    made = [common.runs_table(results), speech.claims(results, 'demo')]
    made += [speech.table_1(results, name) for name in sets]
    made += [speech.cross_table(results, sets), speech.cross_means(results, sets)]
    made += [common.worst_ten(results, name) for name in sets]
    for table in filter(None, made):
        markdown(table).encode()
    for name in sets:
        sounds.examples(results, name)
    assert not [note for note in notes if PYTHONS.search(note)]
    return list(results.runs.folder), notes


# What Python says of an exception, which is no sentence for the person who reads it.
PYTHONS = re.compile(r'\w(Error|Exception)\b|object has no|object is not|NoneType|indices must be')


@pytest.mark.parametrize(
    'change, said',
    [
        (lambda x: x.pop('id'), 'example.json: id is missing, must be a text'),
        (lambda x: x.update(id=3), 'example.json: id = 3, must be a text'),
        (lambda x: x.update(seconds='4'), "example.json: seconds = '4', must be a number"),
        (lambda x: x.update(files=[]), 'example.json: files = [], must be an object'),
        (lambda x: x['files'].update(a=0), 'example.json: a = 0, must be an object'),
        (lambda x: x['files']['mixture.wav'].pop('role'), 'mixture.wav: role is missing'),
        (lambda x: x['files']['mixture.wav'].update(role='x'), "role = 'x', must be one of mix"),
        (lambda x: x['files']['estimate_1.wav'].pop('scores'), 'scores is missing, must be an obj'),
        (lambda x: x['files']['estimate_1.wav'].update(scores={'sdr': None}), 'object of numbers'),
        (lambda x: x['files']['reference_1.wav'].pop('source'), 'reference_1.wav: source is miss'),
        (lambda x: x['files'].pop('mixture.wav'), 'a mixture and references are needed'),
        (lambda x: x['files']['mixture.wav'].update(digest=3), 'mixture.wav: digest = 3, must be'),
        (lambda x: x['files']['mixture.wav'].update(source=[]), 'mixture.wav: source = [], must'),
        (lambda x: x['files']['reference_1.wav'].update(system={}), 'system = {}, must be a text'),
        (lambda x: x.update(digest='0' * 16), 'example.json is damaged: its digest does not match'),
    ],
)
def test_what_is_wrong_with_an_example_is_a_sentence(folder, change, said):
    path = next((folder / 'damaged').glob('audio/*/*/example.json'))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    (note,) = [note for note in read(folder)[1] if 'sounds are left out' in note]
    assert said in note


def test_estimates_alone_are_held_against_the_scores(folder):
    path = next((folder / 'damaged').glob('audio/*/*/example.json'))
    content = json.loads(path.read_text())
    content.pop('digest', None)
    content['files']['reference_1.wav']['system'] = ''
    path.write_text(json.dumps(content))
    assert not [note for note in read(folder)[1] if 'sounds are left out' in note]


@pytest.mark.parametrize('key, value', [('fingerprint', 0), ('speakers', -1)])
def test_what_is_wrong_with_training_data_is_a_sentence(folder, key, value):
    path = folder / 'damaged' / 'training_data.json'
    content = json.loads(path.read_text())
    content.pop('digest', None)
    content.setdefault('train', {})[key] = value
    path.write_text(json.dumps(content))
    (note,) = [note for note in read(folder)[1] if f'train.{key} = {value}, must be' in note]
    assert 'no readable run folder' in note


def flip(path):
    """Turns one bit of a sample."""
    content = bytearray(path.read_bytes())
    content[-1001] ^= 4
    path.write_bytes(content)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('name', ['mixture.wav', 'ideal_ratio_mask/estimate_1.wav'])
@pytest.mark.parametrize(
    'change, said',
    [
        (lambda path: os.truncate(path, 3000), 'truncated (2956 bytes of the 16000'),
        (lambda path: soundfile.write(path, np.ones(8000) / 2, 16000), 'they must be alike'),
        (lambda path: soundfile.write(path, np.ones(7999) / 2, 8000), 'they must be alike'),
        (lambda path: soundfile.write(path, np.full(8000, np.nan), 8000, 'FLOAT'), 'not finite'),
        (lambda path: path.unlink(), 'No such file'),
        (flip, ''),
    ],
)
@pytest.mark.parametrize('digest', [False, True])
def test_a_sound_that_is_not_what_was_written_is_left_out(folder, name, change, said, digest):
    where = folder / 'damaged' / 'audio' / 'alpha' / 'alpha-003'
    if digest:
        said = said if 'No such' in said else f'{name} is damaged, its digest does not match'
        content = json.loads((where / 'example.json').read_text())
        for path, about in content['files'].items():
            about['digest'] = files.digest((where / path).read_bytes())
        (where / 'example.json').write_text(json.dumps(files.with_digest(content)))
    assert runs.read_examples(str(folder / 'damaged'), problems := []) and not problems
    change(where / name)
    problems = []
    kept = runs.read_examples(str(folder / 'damaged'), problems)
    assert bool(kept) == (not said)
    assert not said or (len(problems) == 1 and said in problems[0])
    assert all(problem.count(str(folder)) == 1 for problem in problems)


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('kind', ['folder', 'pipe', 'loop', 'huge'])
def test_what_stands_in_a_files_place_is_named(folder, name, kind):
    damage.not_a_file(folder / 'damaged' / name, kind)
    found, notes = read(folder)
    assert 'whole' in [run.name for run in found]
    assert any('damaged' in note for note in notes), notes


@pytest.mark.parametrize('name', [name for name in FILES if name.endswith('.json')])
@pytest.mark.parametrize('kind', list(damage.NOT_JSON))
def test_json_that_is_none_is_named(folder, name, kind):
    if (name, kind) == ('evaluation/alpha/summary.json', 'not finite'):
        pytest.skip('a metric may be infinite; what is missing is named')
    (folder / 'damaged' / name).write_bytes(damage.NOT_JSON[kind])
    found, notes = read(folder)
    assert 'whole' in [run.name for run in found]
    assert any('damaged' in note for note in notes), notes


@pytest.mark.slow
def test_a_report_of_damaged_runs_names_them_at_its_top(folder):
    (folder / 'damaged' / 'config.json').write_bytes(damage.NOT_JSON['deep'])
    (folder / 'whole' / 'evaluation/alpha/summary.json').write_text('{"metrics": 3}')
    assert command.main([f'--runs={folder}', f'--output_dir={folder}/out', '--examples=0']) == 0
    report = (folder / 'out' / 'report.md').read_text()
    for words in ('config.json is nested too deeply', 'summary.json: system is missing'):
        assert words in report


def test_a_column_that_is_missing_is_named_where_no_digest_tells(folder):
    """Results of versions that wrote no digest of examples.csv."""
    where = folder / 'damaged' / 'evaluation' / 'alpha'
    summary = json.loads((where / 'summary.json').read_text())
    summary.pop('examples_digest', None)
    (where / 'summary.json').write_text(json.dumps(summary))
    text = (where / 'examples.csv').read_text()
    runs.read_result(folder / 'damaged', 'alpha')
    (where / 'examples.csv').write_text(text.replace(',si_snri,', ',other,'))
    with pytest.raises(runs.ResultsError, match='examples.csv has no column si_snri'):
        runs.read_result(folder / 'damaged', 'alpha')


LINES = ['id,source,speaker,seconds,snr_db,sdr'] + [
    f"{i},{s},'=a,1,2,{i}.{s}" for i in range(5) for s in '12'
]


@pytest.mark.parametrize(
    'change, said',
    [
        ({}, ''),
        ({9: '4,1,a,1,2', 2: '0,2,a,1,2,x'}, 'a row of examples.csv has more or fewer cells than'),
        ({9: '4,1,a,1,2,3,4'}, 'a row of examples.csv has more or fewer cells than the first'),
        ({8: '3,2,a,1,2,x', 9: '4,1,a,1,2,y'}, "examples.csv: sdr = 'x', must be a number"),
        ({2: '0,2,a,1,2,x', 9: '4,1,a,y,2,1'}, "examples.csv: seconds = 'y', must be a number"),
        ({0: 'id,source,speaker,seconds,sdr,b'}, 'examples.csv has no column snr_db'),
        ({0: 'a,source,speaker,seconds,snr_db,sdr'}, 'examples.csv has no column id'),
        ({0: 'id,source,speaker,seconds,snr_db,b', 3: '1'}, 'a row of examples.csv has more or'),
        ({4: '1,2,\udc80,1,2,3'}, "codec can't decode byte 0x80 in position 95"),
    ],
)
def test_rows_that_are_wrong_are_said(change, said):
    lines = [change.get(i, line) for i, line in enumerate(LINES)]
    content = '\r\n'.join([*lines[:4], '', *lines[4:]]).encode(errors='surrogateescape')
    if said:
        with pytest.raises(ValueError, match=re.escape(said)):
            runs.read_examples_csv(content, ['sdr'])
        return
    columns = runs.read_examples_csv(content, ['sdr', 'sdr_1', 'sdr_2'])  # those of one source
    assert [*columns] == ['id', 'source', 'speaker', 'seconds', 'snr_db', 'sdr']
    assert columns['id'] == [str(i) for i in range(5) for _ in '12']
    assert columns['source'] == ['1', '2'] * 5 and columns['speaker'] == ['=a'] * 10
    np.testing.assert_array_equal(columns['sdr'], [i + s / 10 for i in range(5) for s in (1, 2)])


CELLS = st.text(st.characters(exclude_characters='\0'), max_size=4) | st.sampled_from(
    ['=1', "'=1", '-2', '\udc80', 'a\nb', 'a\rb', '"', "'", ',', 'nan', 'NA', 'None', ' ', '1']
)
NUMBERS = st.floats() | st.integers() | st.sampled_from([0.1, 1e-310, -0.0, np.nan, -np.inf])


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_quickly_and_to_the_last_bit(rows):
    heads = ['id', 'source', 'speaker', 'seconds', 'snr_db', 'sdr']
    content = names.csv_text([heads, *rows]).encode(errors='surrogatepass')
    quick = runs._read_columns(content, ['sdr'])
    slow = runs.read_examples_csv(content, ['sdr'])
    assert [*quick] == [*slow]
    for name, column in slow.items():
        if name in heads[3:]:
            np.testing.assert_array_equal(quick[name].view('i8'), column.view('i8'))
        else:
            assert quick[name] == column


@pytest.mark.parametrize('digest', [True, False])
@pytest.mark.parametrize(
    'change',
    [
        lambda text: text[: text.index(',') + 1],  # in the midst of the first line
        lambda text: text.replace(',', ',,', 1),
        lambda text: text.replace('\n', ',\n', 1),
        lambda text: text.replace('id,', 'id,id,', 1),
        lambda text: text.replace('\n', '\nTrue,', 1),
        lambda text: '',
    ],
)
def test_a_table_that_is_changed_is_left_out(folder, change, digest):
    where = folder / 'damaged' / 'evaluation' / 'alpha'
    summary = json.loads((where / 'summary.json').read_text())
    before = (where / 'examples.csv').read_text()
    if digest:
        summary['examples_digest'] = files.digest(before.encode())
    (where / 'summary.json').write_text(json.dumps(summary))
    assert runs.read_result(folder / 'damaged', 'alpha').columns['id']
    (where / 'examples.csv').write_text(change(before))
    with pytest.raises(runs.ResultsError, match='evaluate again'):
        runs.read_result(folder / 'damaged', 'alpha')


def test_a_flipped_character_is_noted(folder):
    """What types and names alone do not tell, in files that say their digest."""
    run = folder / 'damaged'
    for name, word, changed in (
        ('training_data.json', '"alpha"', '"alpia"'),
        ('evaluation/alpha/summary.json', '"step": 40', '"step": 42'),
    ):
        content = json.loads((run / name).read_text())
        whole = json.dumps(files.with_digest(content))
        (run / name).write_text(whole)
        assert not [note for note in read(folder)[1] if 'digest' in note]
        assert word in whole
        (run / name).write_text(whole.replace(word, changed, 1))
        (note,) = [note for note in read(folder)[1] if 'digest' in note]
        assert 'damaged' in note and os.path.basename(name) in note
        (run / name).write_text(whole)
    content = files.with_digest(json.loads((run / 'config.json').read_text()))
    (run / 'config.json').write_text(json.dumps(content))
    assert not [note for note in read(folder)[1] if 'config.json' in note]
    (run / 'config.json').write_text(json.dumps(content).replace('"float32"', '"flnat32"'))
    (note,) = [note for note in read(folder)[1] if 'digest' in note]
    assert 'damaged' in note and 'config.json' in note


def test_half_characters_anywhere_in_a_configuration(folder):
    """They come from names of folders that are no UTF-8, which must still open, and from damage."""
    for run, half in (('damaged', '\udcff'), ('whole', '\ud800')):
        path = folder / run / 'config.json'
        config = json.loads(path.read_text())
        for section in (config, *filter(lambda value: isinstance(value, dict), config.values())):
            section.update({k: f'{v} {half}' for k, v in section.items() if isinstance(v, str)})
            section[f'new {half}'] = 1
        config['task'] = 'speech'
        path.write_text(json.dumps(config))
        for summary in (folder / run).glob('evaluation/*/summary.json'):
            about = {'system': config['experiment'], 'preset': config['preset']}
            summary.write_text(json.dumps(json.loads(summary.read_text()) | about))
    results = scores.read([str(folder)], [])
    text.compare(results)
    assert len(results.runs) == 2
    json.dumps([*results.runs.label, *results.runs.config], ensure_ascii=False).encode()


def test_results_of_others_are_named(folder):
    """Folders that were exchanged, or copied to where another system's belong."""
    run = folder / 'whole' / 'evaluation' / 'alpha'
    whole = (run / 'summary.json').read_text()
    for key, value in (('seed', 7), ('preset', 'paper'), ('system', 'blstm_m2')):
        (run / 'summary.json').write_text(json.dumps(json.loads(whole) | {key: value}))
        notes = []
        table = scores.read([str(folder)], notes).scores
        (note,) = [note for note in notes if f'{key} is {value!r}, not' in note]
        assert 'whole' in note and 'evaluate again' in note
        assert 'model' not in set(table[table.run == 'whole'].system)
    (run / 'summary.json').write_text(whole)
    oracle = run / 'ideal_ratio_mask'
    for name in runs.RESULT:
        shutil.copy(run / name, oracle / name)
    (note,) = [note for note in read(folder)[1] if 'not of this run' in note]
    assert "system is 'convtasnet" in note and "not 'ideal_ratio_mask'" in note
    shutil.rmtree(oracle)
    (run / 'summary.json').unlink()
    (note,) = [note for note in read(folder)[1] if 'summary.json is missing' in note]


@pytest.mark.parametrize(
    'name, said',
    [
        ('evaluation', "is not of this run: trained_on is '/nowhere/beta', not '/nowhere/alpha'"),
        ('training_data.json', "is another run's, which was trained on '/nowhere/beta'; that it"),
        ('gates', '000000001.npz cannot be read (it is of a run trained on beta, not on alpha)'),
    ],
)
def test_what_is_of_a_run_on_other_data_is_named(tmp_path, name, said):
    """Two runs of one preset and seed, of which something was exchanged."""
    for on in ('alpha', 'beta'):
        fabricate.run(tmp_path / on, 'convtasnet_glu', trained_on=on, sounds=False, oracle=False)
        for path in (tmp_path / on / 'gates').glob('*.npz'):
            with np.load(path) as content:
                content = dict(content)
            np.savez_compressed(path, **content, trained_on=on)
    for on in ('alpha', 'beta'):
        run = runs.open_run(tmp_path / on)
        assert run.results and run.gates.frames and not run.problems
    os.rename(tmp_path / 'alpha' / name, tmp_path / 'other')
    os.rename(tmp_path / 'beta' / name, tmp_path / 'alpha' / name)
    run = runs.open_run(tmp_path / 'alpha')
    assert bool(run.results) == (name != 'evaluation') and bool(run.gates.frames) == (
        name != 'gates'
    )
    assert run.trained_on == 'alpha'
    assert any(said in problem for problem in run.problems)


def test_results_of_other_weights_are_named(tmp_path):
    """As of a run on the same data of which one key differs, or that was trained once more."""
    arrays = {'params/kernel': ['float32[3]', '2bea5f7d']}
    a_saved_run(tmp_path, checkpoints=[40], arrays=arrays)
    (path,) = tmp_path.glob('checkpoints/40/position/metadata')
    position = json.loads(path.read_text())
    path.write_text(json.dumps({**position, 'digest': files.checksum(position)}))
    for digest, there in ((files.checksum(arrays), True), ('0' * 8, False)):
        for summary in tmp_path.glob('evaluation/*/**/summary.json'):
            content = {**json.loads(summary.read_text()), 'model_digest': digest}
            summary.write_text(json.dumps(content))
        run = runs.open_run(str(tmp_path))
        assert bool(run.results) == there
        assert all(f"not of this run: model_digest is '{digest}', not" in p for p in run.problems)
    path.write_text(path.read_text().replace('2bea', '2beb'))  # nor is what is damaged believed
    assert runs.open_run(str(tmp_path)).results


@pytest.mark.parametrize('says', [False, True])
def test_results_under_the_name_of_another_data_set_are_named(tmp_path, capsys, says):
    fabricate.run(tmp_path, 'convtasnet', sounds=False, test_sets=('alpha', 'beta'), oracle=False)
    there = tmp_path / 'evaluation'
    for path in there.glob('**/summary.json') if says else ():  # as earlier versions did not
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {'results': content['data_set']}))
    shutil.copytree(there / 'beta', there / 'beta-old')
    run = runs.open_run(str(tmp_path))
    assert (
        sorted({name for name, _ in run.results}) == ['alpha', 'beta', 'beta-old']
        and not run.problems
    )
    for name in ('beta-old', 'beta'):  # whether or not those of the name are there, too
        shutil.rmtree(there / 'alpha')
        os.rename(there / name, there / 'alpha')
        run = runs.open_run(str(tmp_path))
        assert (
            'alpha' not in {name for name, _ in run.results} and len(run.problems) == 2
        )  # of a baseline, too
        said = f'{there}/alpha has results on beta, not alpha; evaluate again, or move it away'
        assert said in run.problems[0]
    assert command.main([f'--runs={tmp_path}', '--text', '--data_sets=alpha']) == 2
    *notes, error = capsys.readouterr().err.splitlines()
    assert error.startswith('error: ') and said in notes[0] and len(notes) == 2


def test_sounds_of_another_evaluation_are_not_heard(folder):
    assert not [note for note in read(folder)[1] if 'sounds' in note]
    (path,) = (folder / 'whole' / 'audio' / 'alpha').glob('*/example.json')
    content = json.loads(path.read_text())
    content['files']['estimate_2.wav']['scores']['sdri'] += 0.3
    path.write_text(json.dumps(content))
    (note,) = [note for note in read(folder)[1] if 'sounds' in note]
    assert str(path.parent) in note and 'sdri of 2 is' in note and 'evaluate again' in note
    assert not runs.open_run(folder / 'whole').examples


UNLISTED = ('', 'evaluation', 'evaluation/alpha', 'audio', 'audio/alpha', 'gates', 'checkpoints')


@pytest.mark.parametrize('name', UNLISTED)
def test_a_folder_that_may_not_be_listed_is_named(folder, name, monkeypatch, capsys):
    (folder / 'damaged' / 'checkpoints').mkdir()
    (folder / 'lost+found').mkdir()  # which only the system may
    place, scandir = os.path.join(folder, 'damaged', name).rstrip('/'), os.scandir

    def refuse(path):
        if os.fspath(path) in (place, str(folder / 'lost+found')):
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    said = f'{place} cannot be read: Permission denied. Runs, results and sounds in it are left out'
    assert command.main([f'--runs={folder}', '--text', '--data_sets=alpha']) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith(f'note: {said}')
    with pytest.raises(runs.ResultsError, match=f'^{re.escape(said)}'):
        runs.find(str(folder))
    if not name:
        assert command.main([f'--runs={place}', '--text']) == 2
        error = capsys.readouterr().err
        assert error.startswith(f'error: {place} holds no readable run: {said}')


@pytest.mark.parametrize('left', [('checkpoints', 'metrics.jsonl'), ('training_data.json',)])
def test_a_run_without_its_config_json_is_named(folder, left, capsys):
    place = folder / 'damaged'
    (place / 'checkpoints').mkdir()
    (place / 'config.json').unlink()
    for name in {'checkpoints', 'metrics.jsonl', 'training_data.json'}.difference(left):
        shutil.move(place / name, place / f'my {name}')
    said = f'{place} holds {" and ".join(left)} and no config.json: copy it back'
    found, notes = read(folder)
    assert [run.name for run in found] == ['whole']
    assert [said in note for note in notes if 'config.json' in note] == [True]
    with pytest.raises(runs.ResultsError, match=f'^{re.escape(said)}'):
        runs.find(str(folder))
    assert command.main([f'--runs={place}', '--text']) == 2
    assert f'{place} holds no readable run: {said}' in capsys.readouterr().err


def test_a_folder_below_one_that_may_not_be_entered_is_not_said_to_be_missing(monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', path)

    monkeypatch.setattr(os, 'listdir', refuse)
    assert command.main(['--runs=/closed/run']) == 2
    assert capsys.readouterr().err == 'error: /closed/run cannot be read: Permission denied\n'


def test_loops_of_links_end(folder):
    for path in (folder / 'damaged', folder / 'damaged' / 'evaluation', folder):
        for i in range(3):
            os.symlink(folder, path / f'up_{i}')
            os.symlink('.', path / f'here_{i}')
    found, _ = read(folder)
    assert sorted(os.path.basename(os.path.realpath(run.path)) for run in found) == [
        'damaged',
        'whole',
    ]
    assert {name for name, _ in next(run for run in found if run.name == 'whole').results} == {
        'alpha'
    }


def test_runs_behind_a_link_are_found(made, tmp_path):
    os.symlink(made / 'whole', tmp_path / 'linked')
    assert [run.name for run in runs.find(str(tmp_path))] == ['linked']


def test_lines_of_a_log_that_cannot_be_read_are_counted(folder):
    path = folder / 'damaged' / 'metrics.jsonl'
    lines = path.read_bytes().splitlines()
    lines[2:2] = [b'{"step": 1', b'\xff', b'[' * 5000, b'{"step": 1e999, "kind": "train"}', b'{}']
    path.write_bytes(b'\n'.join(lines) + b'\n{"st')
    problems = []
    curves = runs.read_curves(str(folder / 'damaged'), problems)
    whole = runs.read_curves(str(folder / 'whole'), problems)
    assert {key: len(steps) for key, (steps, _) in curves.items()} == {
        key: len(steps) for key, (steps, _) in whole.items()
    }
    assert len(problems) == 1 and '5 of ' in problems[0]


@pytest.mark.parametrize(
    'damage, said',
    [
        (lambda path: path.write_text(''), 'metrics.jsonl holds no step, the run was at step 40'),
        (
            lambda path: path.write_bytes(b''.join(path.read_bytes().splitlines(True)[:3])[:-9]),
            'ends at step 10, the run was',
        ),
        (lambda path: path.unlink(), 'metrics.jsonl is missing, the run was at step 40'),
        (lambda path: (path.parent / 'checkpoints/9000').mkdir(parents=True), 'was at step 9000'),
        (lambda path: (path.parent / 'checkpoints/45.torn').mkdir(parents=True), ''),
    ],
)
def test_a_log_that_was_cut_is_said(tmp_path, damage, said):
    fabricate.run(tmp_path, 'convtasnet', oracle=False, sounds=False, training__log_steps=5)
    damage(tmp_path / 'metrics.jsonl')
    run = runs.open_run(str(tmp_path))
    assert run.curves is run.curves  # said once
    assert len(run.problems) == bool(said) and all(said in problem for problem in run.problems)


def a_saved_run(folder, *, results=True, checkpoints=(20, 35, 40), **position):
    """A run that logs every 50 steps, so that little tells how far it came, and its log."""
    fabricate.run(folder, 'convtasnet', oracle=False, sounds=False, training__log_steps=50)
    path = folder / 'metrics.jsonl'
    rows = path.read_text().splitlines(keepends=True)
    rows = [row for row in rows if '"validation"' in row or '"step": 5,' in row]
    path.write_text(''.join(rows))
    if not results:
        shutil.rmtree(folder / 'evaluation')
    for step in checkpoints:
        logged = ''.join(row for row in rows if json.loads(row)['step'] <= step).encode()
        about = {'loss': None if step % 10 else -1.0}
        about['logged'] = [len(logged), files.digest(logged)[:16]]
        metadata = folder / 'checkpoints' / str(step) / 'position' / 'metadata'
        metadata.parent.mkdir(parents=True)
        metadata.write_text(json.dumps({**about, **position}))
    return path


def cut(lines, more=b''):
    return lambda path: path.write_bytes(
        b''.join(path.read_bytes().splitlines(True)[:lines]) + more
    )


@pytest.mark.parametrize(
    'saved, damage, said',
    [
        ({}, lambda path: path.unlink(), 'is missing, the run was at step 40: it was cut'),
        ({}, cut(-1), 'metrics.jsonl lacks the validation at step 40: it was cut'),
        ({'checkpoints': ()}, cut(-1), 'metrics.jsonl lacks the validation at step 40: it was cut'),
        ({'results': False, 'logged': None}, cut(-1), 'lacks the validation at step 40'),
        ({'results': False, 'logged': None}, cut(-2), 'lacks the validation at step 40'),
        ({'results': False, 'checkpoints': [20, 35]}, cut(2), 'lacks the validation at step 20'),
        ({'loss': None, 'results': False}, cut(-1), 'not what was logged up to step 40'),
        ({}, lambda path: path.write_text(path.read_text().replace('-0.5', '-0.6')), 'damaged, or'),
        ({}, cut(None, bytes(99)), '1 of 6 lines cannot be read'),
        ({}, cut(None, b'{"step": 41' + bytes(9)), '1 of 6 lines cannot be read'),
        ({}, cut(None, b'PK'), '1 of 6 lines cannot be read'),
        ({}, lambda path: (path.unlink(), path.mkdir()), 'metrics.jsonl cannot be read: it is a'),
        # Of whole runs: killed, resumed or going on, stopped before any validation, older ones.
        ({}, lambda path: None, ''),
        ({}, cut(None, b'{"step": 45, "kind": "train", "loss": 1}\n{"step": 4'), ''),
        ({'results': False, 'checkpoints': [35]}, cut(-1), ''),
        ({'checkpoints': [], 'results': False}, cut(1), ''),
        ({'checkpoints': [20]}, cut(1), 'lacks the validation at step 20'),
        (
            {'checkpoints': [35]},
            lambda path: path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes()),
            '',
        ),
        ({'logged': None, 'loss': None}, lambda path: None, ''),
        ({'logged': 3, 'loss': 'x'}, lambda path: None, ''),
    ],
)
def test_a_log_that_lacks_an_epoch_is_said(tmp_path, saved, damage, said):
    damage(a_saved_run(tmp_path, **saved))
    run = runs.open_run(str(tmp_path))
    assert run.curves is run.curves
    assert len(run.problems) == bool(said) and all(said in problem for problem in run.problems)


def test_what_was_evaluated_before_any_validation_is_no_cut(tmp_path):
    """A training that was stopped within its first epoch has its newest checkpoint evaluated."""
    path = a_saved_run(tmp_path, checkpoints=[7])
    cut(1)(path)
    for summary in tmp_path.glob('evaluation/*/**/summary.json'):
        summary.write_text(json.dumps({**json.loads(summary.read_text()), 'step': 7}))
    run = runs.open_run(str(tmp_path))
    assert run.curves and not run.problems


@pytest.mark.parametrize('digest', [False, True])
def test_a_mark_before_a_text_is_passed_over(folder, digest):
    """Some editors put a byte-order mark before what they save."""
    whole, notes = read(folder)
    assert not notes
    run = folder / 'damaged'
    where = run / 'evaluation' / 'alpha'
    if digest:
        summary = json.loads((where / 'summary.json').read_text())
        summary['examples_digest'] = files.digest((where / 'examples.csv').read_bytes())
        (where / 'summary.json').write_text(json.dumps(files.with_digest(summary)))
    for path in (
        *run.glob('*.json*'),
        *run.glob('evaluation/**/*.*'),
        *run.glob('audio/**/*.json'),
    ):
        path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    found, notes = read(folder)
    assert not notes and [run.results.keys() for run in found] == [
        run.results.keys() for run in whole
    ]


@pytest.mark.parametrize(
    'change, said',
    [
        (lambda path: path.write_text('gates'), 'it is no .npz file'),
        (lambda path: path.write_bytes(path.read_bytes() + bytes(9)), 'something was cut off or a'),
        (
            lambda path: path.write_bytes(path.read_bytes() + b'PK'),
            'something was cut off or added',
        ),
        (
            lambda path: path.write_bytes(b'MZ' + path.read_bytes()),
            'something was cut off or added',
        ),
        (lambda path: os.truncate(path, 999), 'something was cut off or added'),
        (lambda path: np.savez(path, gate_KN=np.array([{}])), 'more than plain arrays'),
        (lambda path: np.savez(path, step=1), 'it must hold gate_KN'),
        (lambda path: not_npy(path), 'more than plain arrays'),
        (lambda path: altered(path, of='b:demo, seed 1, step 4'), 'it is of b:demo, seed 1'),
        (lambda path: altered(path, of='a:demo, seed 0, step 8'), 'seed 0, step 8)'),
        (lambda path: altered(path, id='x'), 'it is of test utterance x, those before it'),
        (lambda path: damage.not_a_file(path, 'pipe'), 'it is no regular file'),
        (lambda path: damage.not_a_file(path, 'loop'), 'Too many levels of symbolic links'),
    ],
)
def test_what_is_wrong_with_gates_is_said_once(folder, change, said):
    path = folder / 'damaged' / 'gates' / '000000004.npz'
    change(path)
    problems = []
    config = {'experiment': 'a', 'preset': 'demo', 'seed': 0}
    assert 4 not in runs.read_gates(str(folder / 'damaged'), problems, config)[0]
    (problem,) = problems
    assert said in problem and problem.count('cannot be read') == problem.count(str(path)) == 1
    assert 'pickle' not in problem and not PYTHONS.search(problem)


@pytest.mark.parametrize('gone', [(4,), (0, 32), (40,)])
def test_gates_that_are_gone_are_named(folder, gone):
    place = folder / 'damaged' / 'gates'
    for step in gone:
        (place / f'{step:09d}.npz').unlink()
    (place / '000000002.npz').write_text('')  # named as what it is
    notes = [note for note in read(folder)[1] if str(place) in note]
    lost = ', '.join(map(str, gone))
    lacks = [f'{place} lacks the gates of step {lost}: they were lost, or not saved.']
    assert notes[1:] == lacks * (gone != (40,))  # where a run was to end, nothing tells
    assert '000000002.npz cannot be read' in notes[0]


def altered(path, **arrays):
    """A file of gates in which some arrays are others."""
    with np.load(path) as content:
        content = dict(content)
    np.savez_compressed(path, **{**content, **arrays})


def not_npy(path):
    """A zip file whose member is no array."""
    with zipfile.ZipFile(path, 'w') as packed:
        packed.writestr('gate_KN.npy', 'gates')


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::UserWarning')  # the notes on what was left out
@pytest.mark.parametrize('name', FILES)
@settings(deadline=None, max_examples=6)
@given(draw=st.data())
def test_random_damage(made, name, draw):
    """Of any file: the runs are read, the comparison and the table of all scores are made, or
    refused by our own error."""
    path = made / 'damaged' / name
    data = path.read_bytes()
    if name.endswith('.json') and draw.draw(st.booleans()):
        damaged = draw.draw(damage.damaged_json(json.loads(data)))
    else:
        damaged = draw.draw(damage.damaged_bytes(data))
    try:
        path.write_bytes(damaged)
        found, notes = read(made)
        assert 'whole' in [run.name for run in found] and all(isinstance(n, str) for n in notes)
        for note in notes:
            note.encode()
        with contextlib.suppress(runs.ResultsError):
            text.compare(scores.read([str(made)], []))
        with contextlib.suppress(runs.ResultsError):
            scores.load_runs(str(made))
    finally:
        path.write_bytes(data)
