"""A file that lies in a tree twice is one sound: found by its bytes, used once, and told."""

import builtins
import json
import os
import shutil

from hypothesis import given, settings, strategies as st
import pytest

from data_prep import corpora, fgbg, folder_2mix, libritts_2mix, sound_bank, vctk_2mix
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
    assert corpora.copies_of(paths) == expected


def test_a_tree_without_copies_is_hardly_read(tmp_path, monkeypatch):
    lengths = {f's{i}/u.wav': b'x' * (i + 1) for i in range(20)}
    alike = {f's{i}/v.wav': b'x' * 9000 + bytes([i]) * 2000 + b'x' * 9000 for i in range(20)}
    read, opened = [], builtins.open

    def counted(path, *args, **keywords):
        file = opened(path, *args, **keywords)
        read.append(file)
        return file

    paths = write(tmp_path, lengths | alike)
    monkeypatch.setattr(corpora, 'open', counted, raising=False)
    assert not corpora.copies_of(paths) and len(read) == 20  # those of one size, once each


def test_what_is_no_file_or_may_not_be_read_is_no_copy(tmp_path):
    paths = write(tmp_path, {'a.wav': b'x', 'b.wav': b'x'})
    os.mkfifo(tmp_path / 'c.wav')
    (tmp_path / 'd.wav').mkdir()
    (tmp_path / 'e.wav').symlink_to('nowhere')
    others = [str(tmp_path / f'{name}.wav') for name in 'cde'] + ['gs://bucket/a.wav']
    assert corpora.copies_of([*others, *paths]) == {paths[1]: paths[0]}


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
    told = [line for line in report['warnings'] if ' share ' in line]
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
    classes = {'dog': sound_bank.SoundClass('dog', 'foreground', True)}
    copies = []
    sounds = sound_bank.desed(str(tmp_path), classes=classes)
    kept = sound_bank.distinct(sounds, copies)
    assert len(copies) == 1 and sorted(one.id for one in kept) == ['dog-10001_2', 'dog-10002_1']
    assert {one.speaker for one in kept} == {'fs10002'}
    split, _ = sound_bank.split(kept)
    assert {one.split for one in split} == {'test'}  # as the corpus delivers one of them
    assert sound_bank.distinct(kept, []) == kept
