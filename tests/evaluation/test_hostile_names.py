"""Every field that holds a name from data, given every hostile name: the tree around stays as it
was, nothing that we did not write goes, and all results and sounds are there."""

import csv
import html.parser
import io
import json
import os
import pathlib
import re
import types

import numpy as np
import pytest
import soundfile

from fgsep_jax import experiment, names
from fgsep_jax.data import records
from fgsep_jax.report import __main__ as command, runs as runs_lib
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
    experiment._evaluate_on(
        tree.config,
        str(tree.run),
        source,
        task,
        {'': noisy, **dict.fromkeys(systems, noisy)},
        step=1,
        say=said.append,
    )
    assert all(line.isprintable() for text in said for line in text.split('\n'))


def the_run(tree):
    (found,) = runs_lib.find(str(tree.run))
    return found


def test_ids_classes_and_recordings(tree):
    ids = hostile(tree.root)
    labels = [(name, ids[i - 1]) for i, name in enumerate(ids)]
    for wanted in (ids[::2], ids, ids[1::2]):
        rows = [labels[ids.index(one)] for one in wanted]
        evaluate(
            tree,
            Source(wanted, labels=rows),
            source_names=('foreground', 'background'),
            count=len(wanted),
        )
        check(tree)
        found = the_run(tree)
        assert not found.problems and found.examples['tones'].keys() == set(wanted)
        result = found.results['tones']['']
        for one, pair in zip(wanted, rows):
            row = result.rows[one]
            assert (row['class_foreground'], row['recording_background']) == pair
            (mixture,) = [
                path
                for path, about in found.examples['tones'][one]['files'].items()
                if about['role'] == 'mixture'
            ]
            folder = pathlib.Path(found.examples['tones'][one]['folder'])
            assert folder.parent == tree.run / 'audio' / 'tones' and (folder / mixture).is_file()
        assert result.summary['classes']['foreground'].keys() == {pair[0] for pair in rows}
    # Ours are replaced whole: nothing of the evaluations before is left.
    assert sum(path.is_file() for path in tree.run.rglob('*.wav')) == 5 * len(wanted) + MINE


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
    assert found.results.keys() == found.examples.keys() == set(called)
    assert {
        one.summary[field.replace(' ', '_')]
        for systems in found.results.values()
        for one in systems.values()
    } == set(wanted)


def test_systems(tree):
    wanted = [name for name in hostile(tree.root) if name]
    evaluate(tree, Source(['x']), systems=wanted)
    check(tree)
    found = the_run(tree)
    assert not found.problems and found.results['tones'].keys() == {'', *wanted}
    files = found.examples['tones']['x']['files'].values()
    assert {about['system'] for about in files if 'system' in about} == {'', *wanted}


def test_sources(tree):
    for i, name in enumerate(wanted := hostile(tree.root)):
        other = wanted[i - 1]
        evaluate(tree, Source(['x']), source_names=(name, other))
        files = the_run(tree).examples['tones']['x']['files'].values()
        assert {about['source'] for about in files if 'source' in about} == {name, other}
    check(tree)


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


@pytest.mark.parametrize(
    'some', [slice(3, None, 6), pytest.param(slice(None), marks=pytest.mark.slow)]
)
def test_the_report_shows_ids_and_classes(tree, capsys, some):
    ids, pair = hostile(tree.root)[some], ('foreground', 'background')
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
    told = {one.encode(errors='backslashreplace').decode() for one in ids}
    assert {names.from_cell(row['example']) for row in rows} <= told
    for path in made:
        if path.endswith('.md'):
            assert not re.search('<[a-z/!?]', made[path].decode()), path
    assert 'left out' not in capsys.readouterr().err
