"""Every field that holds a name from data, given every hostile name: the tree around stays as it
was, nothing that we did not write goes, and all results and sounds are there."""

import csv
import html.parser
import io
import json
import os
import pathlib
import re
import shutil
import types
import unicodedata

import numpy as np
import pytest
import soundfile

from fgsep_jax import files, names
from fgsep_jax.config import ConfigError
from fgsep_jax.data import records
from fgsep_jax.evaluation import evaluate as evaluate_lib, listen, run as evaluation
from fgsep_jax.report import __main__ as command, runs as runs_lib, scores
import synthetic
import test_names
import tiny

RATE, SAMPLES = 8000, 256
MINE = 7  # sounds in the run folder that no evaluation wrote
SPLIT_FIELDS = ('data set', 'split')


def hostile(tree):
    """Hostile names, the absolute ones inside the test's own tree: code that is wrong deletes."""
    found = [name for name in test_names.HOSTILE if not name.startswith('/')]
    return [*found, f'{tree}/other', f'{tree}/precious.txt', f'{tree}/other/']


class Source:
    """A RecordSource of tones, whatever its names are."""

    speakers = ()

    def __init__(self, ids, *, name='tones', split='test', labels=()):
        self.split, self.directory, self._ids = split, 'data', list(ids)
        self.metadata = {
            'name': name,
            'sample_rate': RATE,
            'sources': 2,
            'splits': {split: {'fingerprint': 'f'}},
        }
        self.lengths = np.full(len(self._ids), SAMPLES)
        self._labels = labels or [('a', 'b')] * len(self._ids)

    def __len__(self):
        return len(self._ids)

    def __getitem__(self, i):
        pcm_ST = np.random.default_rng(i).normal(0, 3000, (2, SAMPLES)).astype(np.int16)
        return records.Example(
            id=self._ids[i],
            sources_ST=pcm_ST,
            sample_rate=RATE,
            source_ids=self._labels[i],
            source_classes=self._labels[i],
            snr_db=-1.5,
        )


def noisy(source_BST, length_B, adaptation_BT=None):
    return source_BST + 0.1 * source_BST[:, ::-1]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A run deep in a tree of other people's things: files, folders, runs, links."""
    monkeypatch.setattr(soundfile.SoundFile, 'flush', lambda self: None)  # waits for the disk
    run = tmp_path / '1/2/3/4/5/runs/run'
    config = tiny.config('data')
    for folder in (tmp_path, tmp_path / '1/2/3/4/5/runs', tmp_path / '1/2/3', run):
        for name in ('other', 'checkpoints', 'a', '[ab]', '*', '-rf', '~'):
            (folder / name / 'audio').mkdir(parents=True)
            (folder / name / 'config.txt').write_text('mine')
            (folder / name / 'audio' / 'mine.wav').write_text('mine')
        (folder / 'precious.txt').write_text('mine')
        (folder / 'link').symlink_to(folder / 'other')
    (run / 'config.json').write_text(json.dumps(config.to_dict()))
    (run / 'training_data.json').write_text(json.dumps({'name': 'tones', 'train': {}}))
    for room in ('audio', 'evaluation'):
        (run / room / 'mine').mkdir(parents=True)
        (run / room / 'mine' / 'notes.txt').write_text('mine')
        (run / room / 'tones').mkdir()
        (run / room / 'tones' / 'notes.txt').write_text('mine')
        (run / room / 'tones' / 'link').symlink_to(tmp_path / 'other')
        (run / room / 'tones' / 'a-b').mkdir()
    return types.SimpleNamespace(root=tmp_path, run=run, config=config, before=snapshot(tmp_path))


def snapshot(root):
    """{path: what is there} of everything below a folder, links not followed."""
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in pathlib.Path(root).rglob('*')
    }


def check(tree, *rooms):
    """All that was there before is there and as it was; what is new is where it belongs."""
    now = snapshot(tree.root)
    assert {path: now.get(path, 'gone') for path in tree.before} == tree.before
    run = tree.run.relative_to(tree.root)
    for path in now.keys() - tree.before.keys():
        assert path.startswith((f'{run}/audio/', f'{run}/evaluation/', *rooms)), path


def evaluate(tree, source, *, systems=(), source_names=(), count=1):
    tree.config.evaluation.update(
        batch_size=8, bucket_seconds=0.1, filter_taps=4, listen_examples=count
    )
    said = []
    task = types.SimpleNamespace(source_names=tuple(source_names), init=lambda key: np.zeros(1))
    evaluation._evaluate_on(
        tree.config,
        str(tree.run),
        source,
        task,
        {'': noisy, **dict.fromkeys(systems, noisy)},
        step=1,
        made={},
        say=said.append,
    )
    assert not [line for text in said for line in text.split('\n') if test_names.BAD.search(line)]


def the_run(tree):
    (found,) = runs_lib.find(str(tree.run))
    return found


@pytest.mark.slow
def test_ids_classes_and_recordings(tree):
    ids = hostile(tree.root)
    labels = [(name, ids[i - 1]) for i, name in enumerate(ids)]
    for wanted in (ids, ids[1::2]):
        rows = [labels[ids.index(one)] for one in wanted]
        evaluate(
            tree,
            Source(wanted, labels=rows),
            source_names=('foreground', 'background'),
            count=len(wanted),
        )
        check(tree)
        found = the_run(tree)
        assert not found.problems and {one for _, one in found.examples} == set(wanted)
        result = found.results['tones', '']
        for one, pair in zip(wanted, rows):
            i = result.columns['id'].index(one)
            assert result.columns['source'][i : i + 2] == ['foreground', 'background']
            assert (result.columns['class'][i], result.columns['recording'][i + 1]) == pair
            (mixture,) = [
                path
                for path, about in found.examples['tones', one]['files'].items()
                if about['role'] == 'mixture'
            ]
            folder = pathlib.Path(found.examples['tones', one]['folder'])
            assert folder.parent == tree.run / 'audio' / 'tones' and (folder / mixture).is_file()
        assert result.summary['classes']['foreground'].keys() == {pair[0] for pair in rows}
    # Ours are replaced whole: nothing of the evaluations before is left.
    assert sum(path.is_file() for path in tree.run.rglob('*.wav')) == 5 * len(wanted) + MINE


@pytest.mark.slow
@pytest.mark.parametrize('field', SPLIT_FIELDS)
def test_data_sets_and_splits(tree, field):
    wanted = hostile(tree.root)
    for name in wanted:
        named = {'name': name} if field == 'data set' else {'split': name}
        evaluate(tree, Source(['x'], **named))
    check(tree)
    found = the_run(tree)
    assert not found.problems
    called = wanted if field == 'data set' else [f'tones-{name}' for name in wanted]
    assert (
        {name for name, _ in found.results} == {name for name, _ in found.examples} == set(called)
    )
    assert {one.summary[field.replace(' ', '_')] for one in found.results.values()} == set(wanted)


def test_systems(tree):
    wanted = [name for name in hostile(tree.root) if name]
    evaluate(tree, Source(['x']), systems=wanted)
    check(tree)
    found = the_run(tree)
    assert not found.problems and {system for _, system in found.results} == {'', *wanted}
    files = found.examples['tones', 'x']['files'].values()
    assert {about['system'] for about in files if 'system' in about} == {'', *wanted}


def test_sources(tree):
    wanted = hostile(tree.root)
    for pair in zip(wanted[::2], wanted[1::2] + ['x']):
        evaluate(tree, Source(['x']), source_names=pair)
        files = the_run(tree).examples['tones', 'x']['files'].values()
        assert {about['source'] for about in files if 'source' in about} == set(pair)
    check(tree)


def ours(tree):
    """{example's id: its folder} of what the report would play."""
    found = the_run(tree).examples.items()
    return {one: pathlib.Path(about['folder']).name for (_, one), about in found}


def test_two_ids_alike_in_their_first_bytes(tree):
    ids = ['x' * 150, 'x' * 151, 'x' * 152, 'x/' + 'y' * 149, 'x-' + 'y' * 149]
    evaluate(tree, Source(ids), count=len(ids))
    check(tree)
    found = ours(tree)
    assert found.keys() == set(ids) and len(set(found.values())) == len(ids)
    assert found['x' * 150] == 'x' * 150
    evaluate(tree, Source(ids), count=len(ids))
    assert ours(tree) == found  # a folder stays an id's, evaluated again


def test_what_was_put_among_ours_stays(tree):
    sounds = tree.run / 'audio' / 'tones'
    evaluate(tree, Source(['one', 'two', 'three']), systems=['oracle'], count=3)
    shutil.copytree(sounds / 'one', sounds / 'my favourite')
    (sounds / 'one' / 'oracle' / 'notes.txt').write_text('mine')
    shutil.rmtree(sounds / 'two')
    (sounds / 'two').symlink_to(tree.root / 'other')
    (sounds / 'three' / 'mixture.wav').unlink()
    (sounds / 'three' / 'mixture.wav').symlink_to(tree.root / 'precious.txt')
    shutil.rmtree(sounds / 'three' / 'oracle')
    (sounds / 'three' / 'oracle').symlink_to(tree.run / 'other' / 'audio')
    (tree.run / 'other' / 'audio' / 'estimate_1.wav').write_text('mine')
    tree.before = snapshot(tree.root)
    tree.before = {
        path: content
        for path, content in tree.before.items()
        if not re.search(r'tones/(one|two|three)|/evaluation/|written', path)
        or path.endswith(('notes.txt', 'tones/two', 'three/mixture.wav', 'three/oracle'))
    }
    for wanted in (['one', 'two', 'three'], ['four']):
        evaluate(tree, Source(wanted), count=3)
        check(tree)
        assert ours(tree).keys() >= set(wanted)
        assert 'my favourite' in os.listdir(sounds)
    assert len(list(sounds.glob('*--*'))) == 0


@pytest.mark.parametrize('renamed', ['Dog', 'e\u0301'])
def test_a_name_that_differs_in_case_alone_replaces_none(tree, renamed):
    """On a system that tells them apart both are there; on another they would be one folder."""
    pair = [renamed, unicodedata.normalize('NFC', renamed).lower()]
    evaluate(tree, Source(pair), count=2)
    folders = ours(tree)
    assert len({one.casefold() for one in folders.values()}) == 2
    evaluate(tree, Source(pair[1:]), count=1)
    assert list(ours(tree)) == pair[1:]


@pytest.mark.parametrize(
    'content',
    [
        '{',
        '[]',
        '{"../../../other": ["config.txt"], "..": ["mine/notes.txt"], "link": ["config.txt"]}',
        '{"a-b": ["../notes.txt", "/etc/x", "../../../precious.txt", 3, "."], "x": 3}',
        '[' * 100_000,
    ],
)
def test_a_list_that_is_not_ours_deletes_nothing(tree, content):
    (tree.run / 'audio' / 'tones' / 'a-b' / 'mine.txt').write_text('mine')
    tree.before = snapshot(tree.root)
    (tree.run / 'audio' / 'tones' / listen.WRITTEN).write_text(content)
    evaluate(tree, Source(['one']))
    check(tree)
    assert list(ours(tree)) == ['one']


@pytest.mark.parametrize('written', range(8))
def test_killed_at_any_instant_the_next_evaluation_leaves_its_own_alone(tree, monkeypatch, written):
    evaluate(tree, Source(['one', 'two']), count=2)
    write, done = files.write_in_place, []

    def killed(path, content):
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(path)
        write(path, content)

    monkeypatch.setattr(files, 'write_in_place', killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tree, Source(['two', 'three']), count=2)
    monkeypatch.setattr(files, 'write_in_place', write)
    assert not the_run(tree).problems
    evaluate(tree, Source(['four']))
    check(tree)
    left = {path.name for path in (tree.run / 'audio' / 'tones').iterdir()}
    assert left == {'four', 'notes.txt', 'link', 'a-b', listen.WRITTEN}


def test_results_of_another_data_set_are_not_replaced(tree):
    source = Source(['x'], name='tones-c1')
    evaluate(tree, source)
    before = snapshot(tree.run / 'evaluation')
    folder = str(tree.run / 'evaluation' / 'tones-c1')
    evaluate_lib.check_folder(folder, 'tones-c1', 'test')
    with pytest.raises(
        ConfigError, match='holds results on tones-c1 test, which those on tones c1 would'
    ):
        evaluate_lib.check_folder(folder, 'tones', 'c1')
    assert snapshot(tree.run / 'evaluation') == before


@pytest.mark.parametrize('pair', [('Tones', 'tones'), ('tones', 'tones'), ('e\u0301', '\u00e9')])
def test_data_sets_of_one_name_are_refused(tmp_path, pair):
    folders = []
    for i, name in enumerate(pair):
        folders.append(synthetic.write(tmp_path / str(i), train=1, test=1, name=name))
    with pytest.raises(ConfigError, match='data sets of one name'):
        evaluation.open_sources(tiny.config(''), folders, ['test'])


@pytest.mark.parametrize(
    'path',
    [
        '../two/mixture.wav',
        '{tree}/precious.wav',
        'out.wav',
        'out/mine.wav',
        '',
        '.',
        'a\0b',
        'a//b',
    ],
)
def test_a_report_plays_nothing_from_outside(tree, path):
    evaluate(tree, Source(['one', 'two']), count=2)
    folder = tree.run / 'audio' / 'tones' / 'one'
    shutil.copy(folder / 'mixture.wav', tree.root / 'precious.wav')
    shutil.copy(folder / 'mixture.wav', tree.root / 'other' / 'mine.wav')
    (folder / 'out.wav').symlink_to(tree.root / 'precious.wav')
    (folder / 'out').symlink_to(tree.root / 'other')
    content = json.loads((folder / 'example.json').read_text())
    content['files'][path.format(tree=tree.root)] = content['files'].pop('mixture.wav')
    (folder / 'example.json').write_text(json.dumps(files.with_digest(content)))
    found = the_run(tree)
    assert list(found.examples) == [('tones', 'two')]
    (problem,) = found.problems
    assert 'its sounds are left out' in problem and 'no file in its folder' in problem


def report(tree, *flags):
    out = tree.root / 'report'
    assert command.main([f'--runs={tree.run}', f'--output_dir={out}', *flags]) == 0
    assert all(re.fullmatch(r'[A-Za-z0-9_./-]+', path) for path in snapshot(out))
    return {path: content for path, content in snapshot(out).items() if content is not None}


class Page(html.parser.HTMLParser):
    """The tags of a page, what their attributes hold, and its text."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.values, self.texts = set(), [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags |= {tag, *(name for name, _ in attributes)}
        self.values += [value for _, value in attributes]

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.slow
def test_the_report_shows_ids_and_classes(tree, capsys):
    ids, pair = hostile(tree.root), ('foreground', 'background')
    tree.config = tiny.config('data', 'blstm_m1')
    (tree.run / 'config.json').write_text(json.dumps(tree.config.to_dict()))
    tree.before = snapshot(tree.root)
    plain = [f'x{i}' for i in range(len(ids))]
    evaluate(tree, Source(plain, split='c1'), source_names=pair)
    wanted = Page(report(tree)['index.html'].decode())
    labels = [(one, one) for one in ids]
    evaluate(tree, Source(ids, labels=labels, split='c1'), source_names=pair, count=len(ids))
    made = report(tree, '--examples=99')
    check(tree, 'report')
    found = Page(made['index.html'].decode())
    assert found.tags == wanted.tags
    text = ' '.join(found.texts)
    assert all(f'tones-c1: {names.shown(one)}' in text for one in ids)
    rows = csv.DictReader(io.StringIO(made['tables/worst_ten-tones-c1.csv'].decode(), newline=''))
    told = {*map(scores.utf8, ids)}
    assert {names.from_cell(row['example']) for row in rows} <= told
    for path in made:
        if path.endswith('.md'):
            assert not re.search('<[a-z/!?]', made[path].decode()), path
    assert 'left out' not in capsys.readouterr().err
