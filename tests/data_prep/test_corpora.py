"""Each corpus as it is delivered, and what is said about a tree that is something else."""

import dataclasses
import functools
import os
import re
import types

import pytest

from data_prep import mixtures, recordings, report
from data_prep.readers import folder as people, librimix, libritts, mixed, vctk, wsj0
from fgsep_jax.separation import manifest
import trees

FORMS = ('flac', 'wav')


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return str(root)


def by_split(utterances):
    splits = {u.split for u in utterances}
    return {split: sorted(u.id for u in utterances if u.split == split) for split in splits}


def test_names_that_two_speakers_have_are_two_recordings(tmp_path):
    """Forms of one recording share its name, and its speaker."""
    files = [f'audio/{who}/utt{i}.{form}' for who in 'ab' for i in range(3) for form in FORMS]
    root = touch(tmp_path, *files, 'audio/b/only.wav')
    pattern = r'audio/(?P<speaker>\w)/(?P<name>\w+)\.\w+'
    made = recordings.read_named(root, pattern, lambda match: 'test', layout='')
    assert sorted((u.id, u.source_id, len(u.others)) for u in made) == [
        *((f'a_utt{i}', 'a', 1) for i in range(3)),
        *((f'b_utt{i}', 'b', 1) for i in range(3)),
        ('only', 'b', 0),
    ]


def test_two_files_of_one_suffix_are_no_forms_of_one_recording(tmp_path):
    """Of a reader that calls utterances by the stem alone, every other session would be lost."""
    files = [
        f'{who}/s{n}/utt{i}.{form}'
        for who in 'ab'
        for n in (1, 2)
        for i in (0, 1)
        for form in FORMS
    ]
    root = touch(tmp_path, *files)
    pattern = r'(?P<speaker>\w)/s\d/(?P<name>\w+)\.\w+'
    said = 'a/s1/utt0.flac and a/s2/utt0.flac are both called utt0 of speaker a, and 14 more files'
    with pytest.raises(recordings.TreeError, match=said):
        recordings.read_named(root, pattern, lambda match: 'test', layout='')
    for path in files:  # copies of one another
        (tmp_path / path).write_text(path.replace('s2', 's1'))
    assert len(recordings.read_named(root, pattern, lambda match: 'test', layout='')) == 4
    pattern = r'(?P<speaker>\w)/(?P<name>s\d/\w+)\.\w+'
    for path in files:
        (tmp_path / path).write_text(path)
    made = recordings.read_named(root, pattern, lambda match: 'test', layout='')
    assert len(made) == 8 and all(len(one.others) == 1 for one in made)


def test_files_that_a_reader_gives_no_split_are_counted_apart(tmp_path):
    inside = ('test-clean/1/2/1_2_3_4.wav', *(f'train-other-500/5/6/5_6_7_{i}.wav' for i in '89'))
    root, left = touch(tmp_path, *inside, 'else.wav'), recordings.LeftOut()
    (one,) = libritts.read(root, copies=left)
    beside = recordings.unused([root], [one.path], left)
    assert (beside['of_no_split'], beside['audio']) == (2, {'.wav': 1})
    said = f'2 files of no split, as this job reads the corpus: left out, e.g. {root}/{inside[1]}'
    assert any(said in line for line in report.beside(beside))
    how = dict(sample_rate=8000, flags={}, unit='speakers')
    assert said in report.warnings([one], [], beside=beside, **how)
    assert 'of_no_split' not in recordings.unused([root], [one.path])


def test_folder_splits_by_speaker(tmp_path):
    files = ['0.wav', '1.flac', '2.OGG']
    names = [f'spk{i}/deep/{file}' for i in range(20) for file in files]
    root = touch(tmp_path, *names, 'spk0/notes.txt', 'speakers.tsv')
    found = people.read(root, validation=0.1, test=0.2)
    assert len(found) == 60
    speakers = {s: {u.source_id for u in found if u.split == s} for s in by_split(found)}
    assert {s: len(names) for s, names in speakers.items()} == {
        'train': 14,
        'validation': 2,
        'test': 4,
    }
    assert len(set.union(*speakers.values())) == 20
    assert people.read(root, validation=0.1, test=0.2) == found
    assert people.read(root, validation=0.1, test=0.2, seed=1) != found


@pytest.mark.parametrize(
    'parts, said',
    [
        (
            ('dev-clean/103', 'train-other-500/7'),
            'dev-clean and train-other-500 .*2 .*, as .*/7 may',
        ),
        (('TEST/DR1/FAKS0', 'TRAIN/DR2/FAEM0'), 'TEST and TRAIN are called'),
        (('training', 'testing'), 'testing and training are called'),
        (('vox1_dev_wav/wav/id1', 'vox1_test_wav/wav/id2'), 'are called as parts'),
        (('testset_wav', 'trainset_28spk_wav'), 'are called as parts'),
        (('train1', 'train2', 'test1'), 'test1, train1 and train2 are called'),
        (('test_1', 'test_2', 'test_3'), ''),
        (('AB', 'CV', 'TR', 'TT'), ''),
        (('Dev', 'Test', 'Ann', 'Valerie', 'Travis'), ''),
        (('train-clean-100', 'ann'), ''),
    ],
)
@pytest.mark.parametrize('split_by', ['speaker', 'recording'])
def test_parts_of_a_corpus_are_nobody(tmp_path, parts, said, split_by):
    root = touch(tmp_path, *(f'{part}/{i}.wav' for part in parts for i in (1, 2)))
    how = dict(split_by=split_by, validation=0, test=0)
    if not said:
        assert people.read(root, **how)
        return
    with pytest.raises(recordings.TreeError, match=said):
        people.read(root, **how)


@pytest.mark.parametrize(
    'names, told',
    [
        ('DR1/FCJF0/SA1.WAV DR1/MDAC0/SA1.WAV DR2/FAEM0/SA1.WAV DR2/MMGC0/SA2.WAV', 'DR1/FCJF0'),
        ('F/F01/F01_1.wav F/F02/F02_1.wav M/M01/M01_1.wav M/M02/M02_1.wav', 'F/F01'),
        ('en/en_a/en_a_1.wav en/en_b/en_b_1.wav de/de_a/de_a_1.wav de/de_b/de_b_1.wav', 'de/de_a'),
        ('2023-01-01/ann/1.wav 20230102/ann/1.wav 2023_01_02/bob/1.wav', '2023-01-01 is taken for'),
        ('session1/ann/1.wav Session-2/bob/1.wav', 'Session-2 is taken for a speaker'),
        ('103/1240/103-1.flac 103/1241/103-2.flac 19/198/19-1.flac 19/227/19-2.flac', ''),
        ('ann/day1/a.wav ann/day2/b.wav bob/day1/a.wav bob/day3/b.wav', ''),
        ('ann/day1/a.wav ann/day2/b.wav bob/b.wav bob/x/b.wav', ''),
        ('ann/day1/a.wav bob/day2/b.wav eve/c.wav', ''),
        ('1/a.wav 2/b.wav 20/c.wav 2001/d.wav', ''),
        ('', ''),
    ],
)
def test_folders_that_may_be_no_people_are_told(names, told):
    lines = people.groups_of_people(names.split())
    assert len(lines) == bool(told) and all(told in line for line in lines)


def test_one_file_beside_groups_of_people_hides_them_from_nobody():
    names = [
        f'{lang}/{lang}{i}{k}/{j}.wav'
        for lang in ('en', 'de')
        for i in 'ab'
        for k in 'cd'
        for j in range(9)
    ]
    assert people.groups_of_people([*names, 'en/intro.wav', 'de/misc/1.wav', 'en/misc/1.wav'])


def test_folder_keeps_names_apart_that_differ_in_suffix_only(tmp_path):
    names = [f's{i}/a.{e}' for i in range(6) for e in ('wav', 'flac')]
    found = people.read(touch(tmp_path, *names))
    assert len({u.id for u in found}) == 12


def test_folder_refuses_files_without_speaker_and_too_few_speakers(tmp_path):
    root = touch(tmp_path, 's1/a.txt', 'b.wav')
    with pytest.raises(recordings.TreeError, match=r'(?s)expected: <speaker>.*found: b.wav'):
        people.read(root)
    with pytest.raises(
        ValueError, match=r'3 speakers \(a, b, c\) cannot.*--test_fraction=0 or --validation_f'
    ):
        people.split_speakers(set('abc'), validation=0.1, test=0.1)
    with pytest.raises(ValueError, match=r'1 speaker \(a\) cannot make test with two'):
        people.split_speakers(set('a'), validation=0, test=1)
    for test, split in ((1, 'test'), (0, 'validation')):
        found = people.split_speakers(set('abc'), validation=1 - test, test=test)
        assert set(found.values()) == {split}
    with pytest.raises(recordings.TreeError, match='not a folder'):
        people.read(str(tmp_path / 'nowhere'))


@pytest.mark.parametrize('prefix', ['', 'LibriTTS/'])
def test_libritts(tmp_path, prefix):
    root = touch(
        tmp_path,
        f'{prefix}train-clean-100/103/1240/103_1240_000000_000001.wav',
        f'{prefix}train-clean-100/103/1240/103_1240_000000_000001.normalized.txt',
        f'{prefix}train-clean-360/104/1/104_1_000002_000000.wav',
        f'{prefix}train-other-500/105/1/105_1_000002_000000.wav',
        f'{prefix}dev-clean/84/121123/84_121123_000007_000001.wav',
        f'{prefix}test-clean/61/70968/61_70968_000000_000000.wav',
    )
    assert by_split(libritts.read(root)) == {
        'train': ['103_1240_000000_000001', '104_1_000002_000000'],
        'validation': ['84_121123_000007_000001'],
        'test': ['61_70968_000000_000000'],
    }


@pytest.mark.parametrize(
    'names',
    [
        (
            'wav48_silence_trimmed/p225/p225_001_mic1.flac',
            'wav48_silence_trimmed/p225/p225_001_mic2.flac',
            'wav48_silence_trimmed/p280/p280_001_mic1.flac',
            'wav48_silence_trimmed/log.txt',
        ),
        (
            'VCTK-Corpus/wav48/p225/p225_001.wav',
            'VCTK-Corpus/wav48/p280/p280_001.wav',
            'VCTK-Corpus/txt/p225/p225_001.txt',
        ),
        (  # converted, some of it twice
            'wav16/p225/p225_001_mic1.wav',
            'wav16/p225/p225_001_mic1.flac',
            'wav16/p225/p225_001_mic2.wav',
            'wav16/p280/p280_001_mic1.wav',
        ),
    ],
)
def test_vctk_both_releases(tmp_path, names):
    found = vctk.read(touch(tmp_path, *names))
    assert by_split(found) == {'test': ['p225_001', 'p280_001']}
    assert [u.source_id for u in found] == ['p225', 'p280']
    assert not any('mic2' in u.path for u in found)


def test_a_speaker_of_whom_nothing_is_taken_is_told(tmp_path):
    there = 'wav48_silence_trimmed/{0}/{0}_00{1}_mic{2}.flac'
    names = [there.format('p225', i, mic) for i in (1, 2) for mic in (1, 2)]
    names += [there.format('p226', i, 2) for i in (1, 2)]
    root, left = (
        touch(tmp_path, *names, 'wav48_silence_trimmed/p227 copy/p227_001_mic1.flac'),
        recordings.LeftOut(),
    )
    found = vctk.read(root, copies=left)
    assert {one.source_id for one in found} == {'p225'}
    beside = recordings.unused([root], [one.path for one in found], left)
    lines = report.warnings(found, [], beside=beside, sample_rate=8000, flags={}, unit='speakers')
    said = f'{root}/wav48_silence_trimmed/p226 is skipped: nothing taken (2 files, none named as '
    assert any(line.startswith(said) and 'and 1 more of this kind' in line for line in lines)
    assert not any('p225' in bad['path'] for bad in beside['problems'])


def test_vctk_twice_is_refused_with_both_places(tmp_path):
    root = touch(tmp_path, 'wav48/p225/p225_001.wav', 'wav16/p225/p225_001_mic1.wav')
    with pytest.raises(recordings.TreeError, match='wav16 and wav48; give the folder of one'):
        vctk.read(root)


def test_vctk_in_other_letters_is_vctk(tmp_path):
    names = ('wav48/P225/p225_001_MIC1.FLAC', 'wav48/p280/P280_001_mic1.wav')
    found = vctk.read(touch(tmp_path, *names, 'wav48/p280/p280_001_MIC2.flac'))
    assert [u.source_id for u in found] == ['P225', 'p280']
    touch(tmp_path, 'wav48/p225/p225_001_mic1.flac')
    with pytest.raises(recordings.TreeError, match='or one twice: wav48/P225 and wav48/p225'):
        vctk.read(str(tmp_path))


@pytest.mark.parametrize('walk', [libritts.read, vctk.read])
def test_other_trees_are_named(tmp_path, walk):
    root = touch(tmp_path, 'somebody/recording.wav')
    with pytest.raises(
        recordings.TreeError, match=r'(?s)expected: .+found: somebody/recording.wav'
    ):
        walk(root)


@pytest.mark.parametrize('inside', ['', 'min', 'wav8k/min', '2speakers/wav8k/min'])
def test_wsj0_tree(tmp_path, inside):
    for part, names in trees.WSJ0_NAMES.items():
        for name in names:
            touch(tmp_path / inside, *(f'{part}/{f}/{name}.wav' for f in ('mix', 's1', 's2')))
    utterances, listed = wsj0.read(str(tmp_path))
    assert len(utterances) == 2 * len(listed) == 10
    first = next(line for line in listed if line.id.startswith('01to030v'))
    assert [first.split, *(x.level_db for x in first.sources)] == ['train', 0.4498, -0.4498]
    speakers = {u.id: u.source_id for u in utterances}
    assert {*speakers.values()} > {x.source_id for x in first.sources}
    assert [x.source_id for x in first.sources] == ['01t', '029']
    assert {line.split for line in listed} == {'train', 'validation', 'test'}


def test_of_a_mixed_tree_no_folder_within_is_taken(tmp_path):
    """Of a copy there the speakers would be others, called as the folder."""
    name = trees.WSJ0_NAMES['tr'][0]
    touch(tmp_path, *(f'tr/{f}/{name}.wav' for f in ('mix', 's1', 's2', 's1/old', 's2/old')))
    utterances, listed = wsj0.read(str(tmp_path), splits=('train',))
    assert len(utterances) == 2 and [line.id for line in listed] == [name]
    beside = recordings.unused([str(tmp_path)], [u.path for u in utterances], [])
    assert beside['audio'] == {'.wav': 3}  # with the mixture, which the job names itself


def test_wsj0_speakers_are_who_they_are_in_capitals_too(tmp_path):
    for part, name in (('tr', '01to030v_0.5_029o0311_-0.5'), ('tt', '01TO030V_0.5_029O0311_-0.5')):
        touch(tmp_path, *(f'{part}/{f}/{name}.wav' for f in ('mix', 's1', 's2')))
    with pytest.raises(recordings.TreeError, match="in more than one split: '01t' in test, train"):
        wsj0.read(str(tmp_path), splits=('train', 'test'))


def test_wsj0_tree_refuses_others(tmp_path):
    with pytest.raises(recordings.TreeError, match='(?s)expected.*found: nothing'):
        wsj0.read(str(tmp_path))
    touch(tmp_path, 'tr/s1/a.wav')
    with pytest.raises(recordings.TreeError, match='tr/mix'):
        wsj0.read(str(tmp_path))
    touch(tmp_path, 'tr/s2/a.wav', 'tr/mix/a.wav')
    with pytest.raises(recordings.TreeError, match='not named as expected'):
        wsj0.read(str(tmp_path))


@pytest.mark.parametrize(
    'walk, part, folders, name',
    [
        (librimix.read, 'test', 'mix_clean s1 s2', 'train-10a01_1.5_train-11a01_-1.5'),
        (librimix.read, 'test', 'mix_clean s1 s2', '_4-5-6'),
        (functools.partial(librimix.read, speakers=3), 'dev', 'mix_clean s1 s2 s3', '1-2-3_4-5-6'),
        (functools.partial(librimix.read, speakers=3), 'dev', 'mix_clean s1 s2 s3', '1-2-3__4-5-6'),
        (functools.partial(librimix.read, noise=True), 'dev', 'mix_both s1 s2 noise', '1-2-3'),
        (wsj0.read, 'tt', 'mix s1 s2', '1-2-3_4-5-6'),
        (functools.partial(wsj0.read, speakers=3), 'cv', 'mix s1 s2 s3', '01a_0.5_02b_-0.5'),
        (wsj0.read_wham, 'tr', 'mix_both s1 s2 noise', '1-2-3_4-5-6'),
    ],
)
def test_a_name_that_is_refused_is_not_of_the_pattern_shown(tmp_path, walk, part, folders, name):
    touch(tmp_path, *(f'{part}/{folder}/{name}.wav' for folder in folders.split()))
    with pytest.raises(recordings.TreeError, match='not named as expected') as refused:
        walk(str(tmp_path))
    shown = re.search(r'/([^/ ]*)\.wav', str(refused.value).split('expected: ')[1])[1]
    pattern = re.sub(r'<\w+>', '[^_]+', shown.replace('*', '.*'))
    assert not re.fullmatch(pattern, name)


@pytest.mark.parametrize(
    'inside, parts',
    [
        ('Libri2Mix/wav8k/min', ['train-100', 'train-360', 'dev', 'test']),
        ('MiniLibriMix', ['train', 'val']),
        ('', ['train-100', 'val', 'test']),
        ('', ['test']),
    ],
)
def test_librimix(tmp_path, inside, parts):
    for i, part in enumerate(parts):
        name = f'{i}77-13754-0001_{i}5142-33396-0065'
        touch(tmp_path / inside, *(f'{part}/{f}/{name}.wav' for f in ('mix_clean', 's1', 's2')))
    only = tuple(dict.fromkeys(librimix.PARTS[part] for part in parts))
    utterances, listed = librimix.read(str(tmp_path), splits=only)
    if len(parts) > 1:
        assert librimix.read(str(tmp_path)) == (utterances, listed)
    assert [line.split for line in listed] == [librimix.PARTS[p] for p in parts]
    assert [u.source_id for u in utterances[:2]] == ['077', '05142']
    if 'train-360' in parts:
        _, chosen = librimix.read(str(tmp_path), train_parts=('train-360',))
        assert [line.id[0] for line in chosen if line.split == 'train'] == ['1']
        with pytest.raises(recordings.TreeError, match='train-9'):
            librimix.read(str(tmp_path), train_parts=('train-9',))


@pytest.mark.parametrize('name', ['BAC009S0001_BAC009S0002', '01to070a_01to071a', '310_311'])
def test_librimix_of_other_names_is_of_nobody(tmp_path, name):
    for part in ('train-100', 'dev', 'test'):
        touch(tmp_path, *(f'{part}/{folder}/{name}.wav' for folder in ('mix_clean', 's1', 's2')))
    said = f"'{name.split('_')[0]}' is not <speaker>-<chapter>-<n>, .*data_prep.listed"
    with pytest.raises(recordings.TreeError, match=said):
        librimix.read(str(tmp_path))


@pytest.mark.parametrize('there', [(), ('s1',), ('s2',)])
def test_a_mixture_without_its_sources_is_a_mixture_skipped(tmp_path, there):
    whole, half = '1-1-1_2-1-1', '1-1-2_2-1-2'
    touch(tmp_path, *(f'dev/{folder}/{whole}.wav' for folder in ('mix_clean', 's1', 's2')))
    touch(tmp_path, *(f'dev/{folder}/{half}.wav' for folder in ('mix_clean', *there)))
    utterances, listed = librimix.read(str(tmp_path), splits=('validation',))
    good = [dataclasses.replace(x, samples=9) for x in utterances if os.path.exists(x.path)]
    rows = mixtures.listed(good, rows=listed)
    lost = [f'dev/{half}/{x}' for x in ('s1', 's2') if x not in there]
    assert [(row.id, row.problem) for row in rows] == [(whole, ''), (half, 'source skipped')]
    if not there:
        assert rows[1].detail == f'without {" and ".join(lost)}'
    assert listed[1].ready == (f'{tmp_path}/dev/mix_clean/{half}.wav',)


LINE = 'wsj0/si_tr_s/01t/01to030v.wav 0.44979 wsj0/si_tr_s/029/029o0311.wav -0.44979'
TEST_LINE = 'wsj0/si_et_05/440/440c0201.wav 1 wsj0/si_dt_05/050/050a0501.wav -1'


def write_lists(folder, lines):
    """Lists; those of validation have other levels, and the test set's a line of its speakers."""
    folder.mkdir()
    for part in ('tr', 'cv', 'tt'):
        some = {'tr': lines, 'cv': [LINE.replace('0.44', '0.45')], 'tt': [TEST_LINE]}[part]
        (folder / f'mix_2_spk_{part}.txt').write_text('\n'.join(some) + '\n')
    return str(folder)


def test_wsj0_lists_take_wv1_only(tmp_path):
    root = touch(
        tmp_path / 'discs',
        '11-1.1/wsj0/si_tr_s/01t/01to030v.wv2',
        '11-1.1/wsj0/si_tr_s/01t/01to030v.wv1',
        '11-2.1/wsj0/si_tr_s/029/029o0311.wv1.wav',
        '11-2.1/wsj0/si_tr_s/029/029o0311.wv2.wav',
        *(f'11-3.1/{name}' for name in TEST_LINE.split()[::2]),
    )
    utterances, listed = wsj0.read_lists(root, write_lists(tmp_path / 'lists', [LINE]))
    assert sorted({u.path.split('/')[-1] for u in utterances}) == [
        '01to030v.wv1',
        '029o0311.wv1.wav',
        '050a0501.wav',
        '440c0201.wav',
    ]
    assert [line.split for line in listed] == ['train', 'validation', 'test']
    assert [x.level_db for x in listed[0].sources] == [0.44979, -0.44979]
    assert listed[0].id == '01to030v_0.44979_029o0311_-0.44979'


def test_wsj0_lists_say_what_is_wrong(tmp_path):
    lists = write_lists(tmp_path / 'lists', [LINE])
    other = touch(tmp_path / 'other', 'a/b/c.wav')
    with pytest.raises(recordings.TreeError, match='(?s)none of the listed.*found: a/b/c.wav'):
        wsj0.read_lists(other, lists)
    shorten = tmp_path / 'sphere'
    touch(shorten, 'wsj0/si_tr_s/01t/01to030v.wv1')
    (shorten / 'wsj0/si_tr_s/01t/01to030v.wv1').write_bytes(
        b'NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v1.09\n'
    )
    with pytest.raises(recordings.TreeError, match='sph2pipe'):
        wsj0.read_lists(str(shorten), lists)
    with pytest.raises(recordings.TreeError, match='mix_2_spk_tr.txt is missing'):
        wsj0.read_lists(other, str(tmp_path))
    bad = write_lists(tmp_path / 'none', [''])
    with pytest.raises(
        recordings.TreeError, match='tr.txt lists no mixture; --splits=validation,test does without'
    ):
        wsj0.read_lists(other, bad)
    for number, line in enumerate(
        ('one two three', 'a x b 1', 'a nan b 1', 'a 1 b 1 c', b'caf\xe9 1 b 1', 'a\0 1 b 1')
    ):
        bad = write_lists(tmp_path / f'bad{number}', [LINE])
        contents = line if isinstance(line, bytes) else line.encode()
        (tmp_path / f'bad{number}' / 'mix_2_spk_tr.txt').write_bytes(b'\r\n' + contents)
        with pytest.raises(recordings.TreeError, match='mix_2_spk_tr.txt.*(:2: |line 2)'):
            wsj0.read_lists(other, bad)


@pytest.mark.parametrize(
    'line, said',
    [
        ('wsj0/si_tr_s/01t/01to030v.wav 1 wsj0/si_tr_s/01t/01to030w.wav -1', "of speaker '01t'"),
        ('/etc/si_tr_s/01t/01to030v.wav 1 a/b/029o0311.wav -1', 'below --wsj0_dir'),
        ('a/b/01to030v.wav 1 ../../../etc/passwd.wav -1', 'below --wsj0_dir'),
        ('a/b/01to030v.wav 1 wsj0/si_tr_s/../../../x.wav -1', 'below --wsj0_dir'),
        ('a/b/01to030v.wav 1000 a/b/029o0311.wav -1000', 'level 1000 is no number of dB from -50'),
        ('a/b/01to030v.wav 1e999 a/b/029o0311.wav 1', 'level 1e999'),
        ('a/b/01to030v.wav 1 a/b/029o0311.wav nan', 'level nan'),
        ('a/b/01to030v.wav 1.2.3 a/b/029o0311.wav 1', 'level 1.2.3'),
        (
            'a/b/01to030v.wav 1 1089/134686/1089-134686-0001.flac -1',
            "is not named as WSJ0's utterances are",
        ),
        (LINE, 'the mixture of line 1 once more'),
        (LINE.replace('0.44979', '0.449790'), 'the mixture of line 1 once more'),
    ],
)
def test_a_line_that_breaks_a_rule_is_named(tmp_path, monkeypatch, line, said):
    root = touch(tmp_path / 'in', *LINE.split()[::2], *TEST_LINE.split()[::2])
    lists = write_lists(tmp_path / 'lists', [LINE, '', line])
    monkeypatch.setattr(wsj0, '_refuse_shorten', lambda path: pytest.fail(path))
    with pytest.raises(recordings.TreeError) as error:
        wsj0.read_lists(root, lists)
    assert 'mix_2_spk_tr.txt:3: ' in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    'name, said',
    [
        ('018a0106_1.2.3_019o0306_-1', 'the level 1.2.3 is no number of dB from -50 to 50'),
        ('018a0106_1e999_019o0306_-1', 'the level 1e999 '),
        ('018a0106_1000_019o0306_-1000', 'the level 1000 '),
        ('018a0106_1_019o0306_-inf', 'the level -inf '),
        ('018a0106_nan_019o0306_1', 'the level nan '),
        ('018a0106_1_018o0306_-1', "of speaker '018'"),
        (
            '018a0106_1_1089-134686-0001_-1',
            "'1089-134686-0001' is not named as WSJ0's utterances are, 8",
        ),
        ('018a0106_1_0190306_-1', "'0190306' is not named as WSJ0"),
    ],
)
def test_a_name_that_breaks_a_rule_is_one_line(tmp_path, name, said):
    good = {
        'tr': '01ta0101_1_029a0101_-1',
        'cv': '01tb0101_1_029b0101_-1',
        'tt': '050a0101_1_440a0101_-1',
    }
    for part, stem in [*good.items(), ('tr', name)]:
        touch(tmp_path, *(f'{part}/{folder}/{stem}.wav' for folder in ('mix', 's1', 's2')))
    utterances, listed = wsj0.read(str(tmp_path))
    assert len(utterances) == 6 and len(listed) == 4
    inspected = [dataclasses.replace(one, samples=9) for one in utterances]
    planned = mixtures.listed(inspected, rows=listed)
    (lost,) = [one for one in planned if one.problem]
    assert (lost.id, lost.split, lost.problem) == (name, 'train', 'name breaks a rule')
    assert said in lost.detail
    touch(tmp_path / 'alone', *(f'tr/{folder}/{name}.wav' for folder in ('mix', 's1', 's2')))
    with pytest.raises(recordings.TreeError, match=f'no mixtures for the split train.*{name}: '):
        wsj0.read(str(tmp_path / 'alone'), splits=('train',))


@pytest.mark.parametrize('other', ['tr', 'cv'])
def test_test_speakers_of_wsj0_are_in_no_other_split(tmp_path, other):
    """Those of tr and cv are the same, as published."""
    good = {
        'tr': '01ta0101_1_029a0101_-1',
        'cv': '01tb0101_1_029b0101_-1',
        'tt': '050a0101_1_440a0101_-1',
    }
    said = f"'01t' in test, {wsj0.PARTS[other]}"
    for folder in ('mix', 's1', 's2'):
        touch(tmp_path, *(f'{part}/{folder}/{name}.wav' for part, name in good.items()))
    assert len(wsj0.read(str(tmp_path))[1]) == 3
    for folder in ('mix', 's1', 's2'):
        touch(tmp_path, f'tt/{folder}/{good[other]}.wav')
    splits = (wsj0.PARTS[other], 'test')
    with pytest.raises(
        recordings.TreeError, match=f'2 of 4 speakers in more than one split: {said}'
    ):
        wsj0.read(str(tmp_path), splits=splits)
    root = touch(tmp_path / 'wsj0', *LINE.split()[::2], *TEST_LINE.split()[::2])
    lists = write_lists(tmp_path / 'lists', [LINE])
    assert len(wsj0.read_lists(root, lists)[1]) == 3
    with open(tmp_path / 'lists' / 'mix_2_spk_tt.txt', 'a') as file:
        file.write(LINE.replace('01to030v', '01to030x'))
    with pytest.raises(recordings.TreeError, match=f'lists: 2 of 4 speakers.*{said}'):
        wsj0.read_lists(root, lists, splits=splits)


def test_no_mixture_of_wsj0_is_in_two_splits(tmp_path):
    for part, name in {'tr': '01ta0101_1_029a0101_-1', 'cv': '01ta0101_1_029a0101_-1'}.items():
        touch(tmp_path, *(f'{part}/{folder}/{name}.wav' for folder in ('mix', 's1', 's2')))
    root = touch(tmp_path / 'wsj0', *LINE.split()[::2])
    lists = write_lists(tmp_path / 'lists', [LINE, LINE.replace('0.44', '0.45')])
    for walk in (
        lambda: wsj0.read(str(tmp_path), splits=('train', 'validation')),
        lambda: wsj0.read_lists(root, lists, splits=('train', 'validation')),
    ):
        with pytest.raises(
            recordings.TreeError, match='1 of . mixtures? in more.*train, validation'
        ):
            walk()


@pytest.mark.parametrize('gone', ['tr', 'cv', 'tt'])
@pytest.mark.parametrize('left', ['no folder', 'no files', 'strays'])
def test_a_missing_part_of_a_mixed_tree_is_refused_with_the_flag(tmp_path, gone, left):
    for part, (name, *_) in trees.WSJ0_NAMES.items():
        name = {'no files': '', 'strays': 'noise'}.get(left) if part == gone else name
        for folder in ('mix', 's1', 's2'):
            if name is not None:
                (tmp_path / part / folder).mkdir(parents=True)
            if name:
                touch(tmp_path, f'{part}/{folder}/{name}.wav')
    split = wsj0.PARTS[gone]
    others = tuple(name for name in mixed.SPLITS if name != split)
    with pytest.raises(
        recordings.TreeError, match=f'{split}.*{gone}.*--splits={",".join(others)} '
    ):
        wsj0.read(str(tmp_path))
    _, listed = wsj0.read(str(tmp_path), splits=others)
    assert {line.split for line in listed} == set(others)


def test_wsj0_lists_without_the_test_folder_are_refused_with_the_flag(tmp_path):
    root = touch(tmp_path, *(name for name in LINE.split()[::2]))
    lists = write_lists(tmp_path / 'lists', [LINE])
    with pytest.raises(
        recordings.TreeError, match='split test.*si_et_05.*--splits=train,validation'
    ):
        wsj0.read_lists(root, lists)
    _, listed = wsj0.read_lists(root, lists, splits=('train',))
    assert [line.split for line in listed] == ['train']


@pytest.mark.parametrize('walk', [wsj0.read, librimix.read])
def test_a_stray_file_is_not_a_mixture(tmp_path, walk):
    parts, mixture = (
        (('tr', 'cv', 'tt'), 'mix')
        if walk is wsj0.read
        else (('train-100', 'dev', 'test'), 'mix_clean')
    )
    for i, part in enumerate(parts):
        name = f'{i}1aa0101_1.5_{i}2aa0101_-1.5' if mixture == 'mix' else f'{i}1-1-1_{i}2-1-1'
        for folder in (mixture, 's1', 's2'):
            touch(tmp_path, *(f'{part}/{folder}/{x}.wav' for x in (name, f'._{name}', 'noise')))
            touch(tmp_path, f'{part}/{folder}/{name}.flac')  # the same once more
    utterances, listed = walk(str(tmp_path))
    # Of what is there in two forms one is taken: of each source, and of the mixture.
    assert len(listed) == 3 and len(utterances) == 9
    assert all(len(one.others) == 1 for one in utterances)


def test_parts_that_separating_wrote_among_recordings_are_none(tmp_path):
    for name in ('anna/a.wav', 'anna/a_speaker_1.wav', 'anna/a_speaker_3.wav'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    job = types.SimpleNamespace(
        source=str(tmp_path / 'anna/a.wav'), outputs={'speaker_1': 'anna/a_speaker_1.wav'}
    )
    manifest.Manifest(str(tmp_path), 'settings').add(job, 'done')
    tree = recordings.walk(str(tmp_path))
    assert {*tree.files} == {'anna/a.wav', 'anna/a_speaker_3.wav', 'manifest.csv'}
    assert ('anna/a_speaker_1.wav', 'a part', 'fgsep-separate wrote it') in tree.problems
