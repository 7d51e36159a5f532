"""A file that lies in a tree twice is one sound: found by its bytes, used once, and told."""

import io
import json
import os
import shutil

from hypothesis import given, settings, strategies as st
import pytest

from data_prep import fgbg, folder_2mix, libritts_2mix, recordings, vctk_2mix
from data_prep.readers import folder as people, sounds as banks
import sound_trees
import trees


def write(root, contents):
    """Files with these bytes; their paths, in the order given."""
    paths = [os.path.join(root, name) for name in contents]
    for path, content in zip(paths, contents.values()):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(content)
    return paths


big = b'x' * 20_000
contents = st.sampled_from(
    [b'', b'a', b'b', big, b'y' + big[1:], big[:-1] + b'y', big[:10_000] + b'y' + big[10_001:]]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(contents, max_size=12))
def test_copies_are_those_with_the_same_bytes(tmp_path_factory, found):
    root = tmp_path_factory.mktemp('copies')
    paths = write(root, {f'{i}.wav': content for i, content in enumerate(found)})
    first = {content: path for content, path in reversed(list(zip(found, paths))) if content}
    expected = {
        path: first[content]
        for content, path in zip(found, paths)
        if content and first[content] != path
    }
    assert recordings.copies_of(paths) == expected


def test_a_tree_without_copies_is_hardly_read(tmp_path, monkeypatch):
    lengths = {f's{i}/u.wav': b'x' * (i + 1) for i in range(20)}
    alike = {f's{i}/v.wav': b'x' * 90000 + bytes([i]) * 2000 + b'x' * 90000 for i in range(20)}
    taken = []

    class Counted(io.FileIO):  # what is taken from the system; nothing is read ahead
        def __init__(self, path, mode, buffering=0):
            super().__init__(path, mode)

        def read(self, size=-1):
            taken.append(super().read(size))
            return taken[-1]

        def readinto(self, buffer):
            taken.append(bytes(super().readinto(buffer)))
            return len(taken[-1])

        def readall(self):
            raise AssertionError('a file is read whole at once')

    def pread(*where, real=os.pread):
        taken.append(real(*where))
        return taken[-1]

    paths = write(tmp_path, lengths | alike)
    monkeypatch.setattr(recordings, 'open', Counted, raising=False)
    monkeypatch.setattr(os, 'pread', pread)
    assert not recordings.copies_of(paths)
    assert sum(map(len, taken)) == 20 * 4096  # of those of one size, a few bytes
    taken.clear()
    (copy,) = write(tmp_path, {'copy.wav': alike['s3/v.wav']})
    assert recordings.copies_of([*paths, copy]) == {copy: paths[23]}
    assert sum(map(len, taken)) == 21 * 4096 + 2 * 182_000  # and two as a whole


def test_what_is_no_file_or_may_not_be_read_is_no_copy(tmp_path):
    paths = write(tmp_path, {'a.wav': b'x', 'b.wav': b'x'})
    os.mkfifo(tmp_path / 'c.wav')
    (tmp_path / 'd.wav').mkdir()
    (tmp_path / 'e.wav').symlink_to('nowhere')
    others = [str(tmp_path / f'{name}.wav') for name in 'cde'] + ['gs://bucket/a.wav']
    assert recordings.copies_of([*others, *paths]) == {paths[1]: paths[0]}


def run(job, tree, output, capsys, *flags):
    """(printed text, report, {split: sources of its examples}, bytes of its shards)."""
    job.main([f'--input_dir={tree}', f'--output_dir={output}', *flags])
    report = json.loads((output / 'report.json').read_text())
    used = {
        split: {clip for one in trees.examples(output, split) for clip in one.id.split('+')}
        for split in report['splits']
    }
    made = {path.name: path.read_bytes() for path in output.glob('*.tfrecord-*')}
    return capsys.readouterr().out, report, used, made


def test_a_copied_file_is_used_once_and_told_in_one_line(tmp_path, capsys):
    flags = ('--validation_fraction=0.5', '--test_fraction=0')
    tree = trees.folder(tmp_path / 'in', speakers=4, files=2)
    *_, before = run(folder_2mix, tree, tmp_path / 'before' / 'out', capsys, *flags)
    for name in ('u0 (1)', 'u0 - Copy', 'zz/u0'):
        (tree / 'spk1' / 'zz').mkdir(exist_ok=True)
        shutil.copy(tree / 'spk1' / 'u0.wav', tree / 'spk1' / f'{name}.wav')
    printed, report, _, made = run(folder_2mix, tree, tmp_path / 'out', capsys, *flags)
    assert made == before  # as if they were not there
    skipped = {os.path.relpath(one['path'], tree): one for one in report['skipped_files']}
    assert skipped.keys() == {'spk1/u0 (1).wav', 'spk1/u0 - Copy.wav', 'spk1/zz/u0.wav'}
    assert {one['kind'] for one in skipped.values()} == {'copy of another file'}
    assert all(one['detail'].endswith('spk1/u0.wav') for one in skipped.values())
    assert printed.count('copy of another file') == 1 and ' share ' not in printed
    assert 'and 2 more of this kind' in printed
    assert not report['files']['beside']['audio']


@pytest.mark.parametrize('copied', ['whole', 'in part'])
def test_a_folder_under_another_speakers_name_is_told_and_used_once(tmp_path, capsys, copied):
    flags = ('--validation_fraction=0.5', '--test_fraction=0')
    tree = trees.folder(tmp_path / 'in', speakers=4, files=2)
    shutil.copytree(tree / 'spk3', tree / 'bob')
    if copied == 'in part':
        trees.write(tree / 'spk3' / 'own.wav', trees.speechlike(1.5, seed=7))
    printed, report, used, _ = run(folder_2mix, tree, tmp_path / 'out', capsys, *flags)
    line = 'speaker bob and speaker spk3 share 2 files, byte for byte: used once, as of speaker bob'
    assert f'warning: {line}\n' in printed
    assert line in report['notes']['Warnings']
    names = set.union(*used.values())
    assert {'bob-u0', 'bob-u1'} <= names and not {'spk3-u0', 'spk3-u1'} & names
    assert ('spk3-own' in names) == (copied == 'in part')
    speakers = sum(one['num_speakers'] for one in report['splits'].values())
    assert speakers == 4 + (copied == 'in part')


@pytest.mark.parametrize(
    'job, form, flags',
    [
        (
            libritts_2mix,
            'dev-clean/{0}/1/{0}_1_00000{1}_000000.wav',
            ('--train_pairs=0', '--test_pairs=0'),
        ),
        (vctk_2mix, 'wav48/p{0}/p{0}_00{1}.wav', ('--test_pairs=2',)),
    ],
)
def test_published_corpora_too(tmp_path, capsys, job, form, flags):
    for speaker in (11, 12):
        for i in range(2):
            audio_T = trees.speechlike(1.3, seed=10 * speaker + i)
            trees.write(tmp_path / 'in' / form.format(speaker, i), audio_T)
    (tmp_path / 'in' / form.format(13, 0)).parent.mkdir(parents=True)
    shutil.copy(tmp_path / 'in' / form.format(12, 1), tmp_path / 'in' / form.format(13, 0))
    printed, report, *_ = run(job, tmp_path / 'in', tmp_path / 'out', capsys, *flags)
    assert '13 share 1 file, byte for byte' in printed
    assert [one['num_speakers'] for one in report['splits'].values()] == [2]


@pytest.mark.slow
def test_fgbg_says_what_lies_in_two_classes(tmp_path, capsys):
    sounds = sound_trees.general(tmp_path / 'in')
    sound_trees.write_classes(tmp_path / 'classes.csv')
    for source, target in (
        ('foreground/dog/dog1.wav', 'foreground/bell/woof.wav'),
        ('background/fan/fan2.wav', 'foreground/dog/whirr.wav'),
        ('background/fan/fan3.wav', 'background/fan/Copy of fan3.wav'),
    ):
        shutil.copy(sounds / source, sounds / target)
    fgbg.main(
        [
            f'--input_dir={sounds}',
            f'--classes={tmp_path}/classes.csv',
            f'--output_dir={tmp_path}/out',
            '--dry_run',
            '--sample_rate=8000',
        ]
    )
    report = json.loads(capsys.readouterr().out)
    told = [line for line in report['notes']['Warnings'] if ' share ' in line]
    assert told == [
        'class background fan and class foreground dog share 1 file, byte for byte: used once, as '
        'of class background fan',
        'class foreground bell and class foreground dog share 1 file, byte for byte: used once, as '
        'of class foreground bell',
    ]
    table = report['notes']['Usable sounds by class and split']
    count = {name: row['train'] + row['validation'] + row['test'] for name, row in table.items()}
    assert (count['foreground dog'], count['foreground bell'], count['background fan']) == (5, 7, 6)


def test_recordings_that_share_a_sound_never_cross_splits(tmp_path):
    names = {'audio/train/soundbank/foreground/Dog/10001_1.wav': b'one'}
    names |= {'audio/train/soundbank/foreground/Dog/10001_2.wav': b'two'}
    names |= {'audio/eval/soundbank/foreground/Dog/10002_1.wav': b'one'}
    write(tmp_path, names)
    classes = {'dog': banks.SoundClass('dog', 'foreground', True)}
    copies = []
    sounds = banks.desed(str(tmp_path), classes=classes)
    kept = banks.distinct(sounds, copies)
    assert len(copies) == 1 and sorted(one.id for one in kept) == ['dog-10001_2', 'dog-10002_1']
    assert {one.source_id for one in kept} == {'fs10002'}
    split, _ = banks.split(kept)
    assert {one.split for one in split} == {'test'}  # as the corpus delivers one of them
    assert banks.distinct(kept, []) == kept


def test_the_evaluation_bank_keeps_a_sound_whatever_the_names(tmp_path):
    # By name, by class and by length of the name, the other one comes first.
    names = {'audio/a/soundbank/foreground/Bell/1000_1.wav': b'one'}
    names |= {'audio/eval/soundbank/foreground/Dog/20002_1.wav': b'one'}
    names |= {'audio/a/soundbank/foreground/Bell/1000_2.wav': b'two'}
    write(tmp_path, names)
    classes = {x: banks.SoundClass(x, 'foreground', True) for x in ('bell', 'dog')}
    kept = banks.distinct(banks.desed(str(tmp_path), classes=classes), copies := [])
    assert sorted(one.id for one in kept) == ['bell-1000_2', 'dog-20002_1']
    assert [(copy.id, other.id) for copy, other in copies] == [('bell-1000_1', 'dog-20002_1')]
    assert {one.source_id for one in kept} == {'fs20002'}  # one recording, and of the bank's split
    assert {one.split for one in banks.split(kept)[0]} == {'test'}


@given(st.lists(st.tuples(st.sampled_from('abcdefgh'), st.sampled_from('abcdefgh'))))
def test_what_pairs_make_one_is_one_in_chains_too(pairs):
    found = recordings.joined(pairs)
    groups = {name: {name} for name in 'abcdefgh'}
    for a, b in pairs:
        both = groups[a] | groups[b]
        groups.update(dict.fromkeys(both, both))
    for a in groups:
        assert {b for b in groups if found.get(b, b) == found.get(a, a)} == groups[a]


@pytest.mark.parametrize(
    'chain', ['a=b, b=c', 'b=c, a=b', 'c=d, a=b, b=c', 'a=d, c=d, b=c', 'a=b, c=d, a=d']
)
@pytest.mark.parametrize('tree', ['sounds', 'speakers'])
def test_chains_of_copies_never_cross_splits(tmp_path, chain, tree):
    pairs = [pair.split('=') for pair in chain.split(', ')]
    chained = {name for pair in pairs for name in pair}
    place = {'sounds': 'foreground/dog/{0}/{1}.wav', 'speakers': '{0}/{1}.wav'}[tree]
    names = {place.format(x, f'{x}-own'): x.encode() for x in 'abcdefghijklmnop'}
    for i, pair in enumerate(pairs):
        names |= {place.format(x, f'{x}-{i}'): b'both%d' % i for x in pair}
    write(tmp_path, names)
    if tree == 'speakers':
        splits = {}
        for seed in range(4):
            for one in people.read(str(tmp_path), validation=0.3, test=0.3, seed=seed):
                splits.setdefault((seed, one.source_id in chained), set()).add(one.split)
        assert all(len(splits[seed, True]) == 1 for seed in range(4))
        assert any(len(splits[seed, False]) == 3 for seed in range(4))
        return
    classes = {'dog': banks.SoundClass('dog', 'foreground', True)}
    groups = tmp_path / 'groups.csv'
    listed = [f'{name},{name.split("/")[2]}\n' for name in names]
    groups.write_text('path,source_group\n' + ''.join(listed))
    groups = banks.read_groups(str(groups))
    found = banks.folder(str(tmp_path), classes=classes, groups=groups)
    kept = banks.distinct(found, [])
    assert len(kept) == 16 + len(pairs)
    joined = {one.source_id for one in kept if one.id.split('-')[1] in chained}
    assert len(joined) == 1 and len({one.source_id for one in kept}) == 17 - len(chained)


def test_the_first_speaker_keeps_a_file_whatever_it_is_called(tmp_path):
    paths = write(tmp_path, {'b/x.wav': b'one', 'a/a long name.wav': b'one', 'c/y.wav': b'two'})
    items = [recordings.Recording(str(i), p.split('/')[-2], p, '') for i, p in enumerate(paths)]
    kept = recordings.distinct(items, copies := [])
    assert [one.source_id for one in kept] == ['a', 'c']
    assert [(copy.source_id, other.source_id) for copy, other in copies] == [('b', 'a')]
