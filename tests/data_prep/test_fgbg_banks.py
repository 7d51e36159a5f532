"""Class tables, source recordings, the three kinds of sound bank, and their splits."""

import collections
import dataclasses
import random
import re
import unicodedata

import pytest

from data_prep import recordings
from data_prep.readers import sounds as banks
from data_prep.recordings import Recording
import sound_trees


@pytest.fixture
def classes(tmp_path):
    return banks.read_classes(str(sound_trees.write_classes(tmp_path / 'classes.csv')))


def test_table_1_is_the_papers():
    table = banks.read_classes()
    rows = set(table.values())
    names = {
        (role, seen): {x.name for x in rows if (x.role, x.seen) == (role, seen)}
        for role in banks.ROLES
        for seen in (True, False)
    }
    assert names['foreground', True] == {'dog', 'speech', 'cat', 'dishes', 'alarm_bell_ringing'}
    assert names['foreground', False] == {'squeak', 'chopping_food', 'door', 'slam', 'coins'}
    assert names['background', True] == {
        'vacuum_cleaner',
        'blender',
        'frying',
        'running_water',
        'electric_shaver_toothbrush',
        'bathtub',
        'mechanical_fan',
        'microwave_oven',
        'hair_dryer',
        'drill',
    }
    assert names['background', False] == {
        'noise',
        'pink_noise',
        'white_noise',
        'waterfall',
        'vibration',
    }
    for name, expected in {
        'Alarm_bell_ringing': 'alarm_bell_ringing',
        'Dishes, pots, and pans': 'dishes',
        'Dishes,_pots,_and_pans': 'dishes',
        'm_01jwx6': 'vibration',
        'Frying (food)': 'frying',
    }.items():
        assert table[banks.label(name)].name == expected


@pytest.mark.parametrize(
    'text, message',
    [
        ('role,class,set,names\nforground,dog,seen,\n', "line 2: found role 'forground'"),
        ('role,class,set,names\n\n#\nforeground,dog,often,\n', "line 4: found set 'often'"),
        ('role,class,set,names\nforeground,dog,seen\n', 'line 2: found .*3 columns'),
        (
            'role,class,set,names\nforeground,dishes,seen,Dishes, pots, and pans\n',
            'line 2: found .*6 columns; the first line names 4.*in double quotes',
        ),
        (
            'role,class,set,names\n\nforeground,dog,seen,"Bark\nforeground,cat,seen,"\n',
            "line 3: found 'foreground,dog,seen,\"Bark': unexpected end of data",
        ),
        ('role,class,set,names\nforeground,dog,seen,"Bark"s\n', 'line 2: found .*expected after'),
        ('"role,class,set,names\nforeground,dog,seen,"\n', 'line 1: found .*must end on its line'),
        ('role,class,set,names\n#\x0c\nforeground,dog,often,x\n', "line 3: found set 'often'"),
        ('role,class,set,names\nforeground,,seen,x\n', "line 2: found class ''"),
        (
            'role,class,set,names\nforeground,dog,seen,Bark\nforeground,cat,seen,bark\n',
            "line 3: found 'bark' again, it is the foreground dog",
        ),
        (
            'role,class,set\nforeground,dog,seen\nbackground,DOG!,seen\n',
            "line 3: found 'DOG!' again, it is the foreground dog already .case and punctuation do"
            ' not count.; a name must stand for one class, of one role',
        ),
        ('role,class,set\nforeground,😀,seen\n', "line 2: found class '😀'; .* letter or digit"),
        ('role,class,names\n', 'line 1: found the columns role, class, names'),
        ('', 'is empty'),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    path = tmp_path / 'classes.csv'
    path.write_text(text)
    with pytest.raises(recordings.TreeError, match=f'classes.csv.*{message}'):
        banks.read_classes(str(path))


def test_spaces_around_cells_and_before_comments_do_not_count(tmp_path):
    path = tmp_path / 'classes.csv'
    path.write_text(
        '  # ours\nrole, class ,set,names\n  # kitchen\n'
        'foreground, dishes, seen, "Dishes, pots, and pans|Plates"\n'
    )
    dishes = banks.SoundClass('dishes', 'foreground', True)
    assert banks.read_classes(str(path)) == {
        'dishes': dishes,
        'dishes_pots_and_pans': dishes,
        'plates': dishes,
    }


def test_classes_are_named_in_any_script(tmp_path):
    names = ['собака', '犬の声', 'हिन्दी', 'é', 'e']
    lines = [f'foreground,{name},seen,' for name in names]
    (tmp_path / 'classes.csv').write_text('\n'.join(['role,class,set,names', *lines]), 'utf-8')
    classes = banks.read_classes(str(tmp_path / 'classes.csv'))
    assert [one.name for one in classes.values()] == names
    for name in names:  # some file systems decompose the names of folders
        folder = tmp_path / 'foreground' / unicodedata.normalize('NFD', name.upper())
        sound_trees.trees.write(folder / 'a.wav', sound_trees.event(1))
    sounds = banks.folder(str(tmp_path), classes=classes)
    assert {one.source_class for one in sounds} == set(names)


@pytest.mark.parametrize(
    'stem, group',
    [
        ('Y-_345678901_30.000_40.000', 'Y-_345678901_30.000_40.000'),
        ('dog_barking_1_2', 'dog_barking_1_2'),
        ('dog_barking', 'dog_barking'),
        ('2023_01', 'dog/2023_01'),
        ('2023-1-12-30', 'dog/2023-1-12-30'),
        ('1-1234-A-12', 'fs1234'),
        ('site_1-12-A', 'site_1-12-A'),
        ('esc10_5-9032-A', 'fs9032'),
        ('k20_0-173319-B-0', 'fs173319'),
        ('100032-3-0-0', 'fs100032'),
        ('518-4-12-107', 'fs518'),
        ('173319_2', 'dog/173319_2'),
        ('173319', 'fs173319'),
        ('173319__anna__dog-barks', 'fs173319'),
        ('017', 'dog/017'),
        ('3_1', 'dog/3_1'),
        ('kitchen', 'kitchen'),
        ('take1', 'dog/take1'),
        ('audio_01', 'dog/audio_01'),
        ('REC 0012', 'dog/REC 0012'),
        ('New Recording', 'dog/New Recording'),
        ('New Recording 12', 'dog/New Recording 12'),
        ('Recording (2)', 'dog/Recording (2)'),
        ('DR0000_0001', 'dog/DR0000_0001'),
        ('ZOOM0001_LR', 'dog/ZOOM0001_LR'),
        ('GX010123', 'dog/GX010123'),
        ('REC_0001-2', 'dog/REC_0001-2'),
        ('R20231126-120000', 'dog/R20231126-120000'),
        ('Запись 1', 'dog/Запись 1'),
        ('録音1', 'dog/録音1'),
        ('Enregistrement1', 'dog/Enregistrement1'),
        ('market_square_01', 'market_square_01'),
    ],
)
def test_recording_from_a_name(stem, group):
    assert banks.recording(stem, source_class='dog') == group


@pytest.mark.parametrize(
    'tree, stem, group',
    [
        ('audioset', 'Y-_345678901_30.000_40.000', 'yt-_345678901'),
        ('audioset', '-_345678901_30000_40000', 'yt-_345678901'),
        ('audioset', 'a walk', 'a walk'),
        ('desed', '173319_2', 'fs173319'),
        ('desed', 'dog_barking_1_2', 'dog_barking_1_2'),
    ],
)
def test_what_a_tree_says_of_its_names(tree, stem, group):
    assert banks.recording(stem, source_class='dog', tree=tree) == group


def test_a_class_named_like_clips_of_one_video_keeps_its_splits(tmp_path, classes):
    for i in range(6):
        path = tmp_path / 'foreground' / 'dog' / f'dog_barking_{i}_{i + 1}.wav'
        sound_trees.trees.write(path, sound_trees.event(i), sound_trees.RATE)
    sounds, told = banks.split(banks.folder(str(tmp_path), classes=classes))
    assert set(by_split(sounds)) == {'train', 'validation', 'test'} and not told


def test_listed_groups_match_the_longest_tail(tmp_path):
    path = tmp_path / 'clips.tsv'
    path.write_text(
        'path\trole\tsource_group\nbank/a/x.wav\tf\tone\nbank/b/x.wav\tf\ttwo\nz.wav\tf\tthree\n'
    )
    groups = banks.read_groups(str(path))
    assert banks.listed_group('/elsewhere/a/x.wav', groups) == 'one'
    assert banks.listed_group('/bank/b/x.wav', groups) == 'two'
    assert banks.listed_group('/bank/c/x.wav', groups) is None
    assert banks.listed_group('/bank/c/z.wav', groups) == 'three'
    path.write_text('path,source_group\n1/a/x.wav,one\n2/a/x.wav,two\n')
    with pytest.raises(recordings.TreeError, match='more of the path'):
        banks.listed_group('a/x.wav', banks.read_groups(str(path)))


@pytest.mark.parametrize('forms', [('NFC', 'NFD'), ('NFD', 'NFC')])
def test_a_table_of_groups_may_compose_letters_otherwise(tmp_path, forms):
    listed, found = (unicodedata.normalize(form, 'caf\u00e9/Zo\u00eb.wav') for form in forms)
    (tmp_path / 'groups.csv').write_text(f'path;source_group\n{listed};bar\n')
    groups = banks.read_groups(str(tmp_path / 'groups.csv'))
    assert banks.listed_group(f'/x/{found}', groups) == 'bar'


def test_general_form(tmp_path, classes):
    root = sound_trees.general(tmp_path / 'bank', files=2)
    (root / 'background' / 'dog').mkdir()
    (root / 'foreground' / 'dog' / 'dog0.wav').rename(root / 'background' / 'dog' / 'far.wav')
    ignored = collections.Counter()
    sounds = banks.folder(str(root), classes=classes, ignored=ignored)
    assert collections.Counter((x.role, x.source_class, x.seen) for x in sounds) == {
        ('foreground', 'dog', True): 1,
        ('foreground', 'bell', True): 2,
        ('foreground', 'squeak', False): 2,
        ('background', 'frying', True): 2,
        ('background', 'fan', True): 2,
        ('background', 'noise', False): 2,
    }
    assert ignored == {'foreground/peel': 2, 'background/dog': 1}


def test_folders_that_are_one_class_are_told(tmp_path, classes):
    for name in ('foreground/dog', 'foreground/Dog!', 'background/rain', 'foreground/bell'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'a.wav').touch()
    sounds = banks.folder(str(tmp_path), classes=classes)
    assert banks.alike(f'{tmp_path}/', sounds) == [
        "foreground dog: the folders 'Dog!', 'dog' are one class, as case and punctuation do not"
        ' count'
    ]


@pytest.mark.parametrize('below', ['', 'audio', 'audio/train', 'audio/train/soundbank'])
def test_desed_from_any_folder_of_it(tmp_path, classes, below):
    root = sound_trees.desed(tmp_path / 'desed')
    sounds = banks.desed(str(root / below), classes=classes)
    delivered = {'test', ''} if below in ('', 'audio') else {''}
    assert {x.bank for x in sounds} == delivered
    assert {(x.role, x.source_class) for x in sounds} == {
        ('foreground', 'dog'),
        ('foreground', 'bell'),
        ('background', 'frying'),
    }
    assert len(sounds) == 12 * len(delivered)
    assert {x.source_id for x in sounds if x.path.endswith('10100_1.wav')} == {'fs10100'}


def test_audioset_with_names_mids_and_all_forms_of_a_clip(tmp_path, classes):
    root = sound_trees.audioset(tmp_path / 'clips')
    ignored = collections.Counter()
    sounds = banks.audioset(str(root), classes=classes, ignored=ignored)
    assert collections.Counter(x.source_class for x in sounds) == {
        'fan': 4,
        'noise': 4,
        'squeak': 4,
        'dog': 4,
    }
    assert {x.source_id for x in sounds if x.source_class == 'fan'} == {
        f'yta-_45678{i:02d}z' for i in range(4)
    }
    assert ignored == {'Music': 4}


@pytest.mark.parametrize(
    'form', ['{}_30_40', 'Y{}_30_40', '{}_30-40', '{}_30.0-40.0', 'Y{}_30.000_40.000', '{}', 'Y{}']
)
@pytest.mark.parametrize('video', ['a-_45678_1z', 'Yabc_2-4567', '-_-_-_-_-_-', '12345678_90'])
def test_clips_of_one_video_are_one_recording_in_any_form(tmp_path, classes, form, video):
    path = tmp_path / 'Mechanical fan' / f'{form.format(video)}.wav'
    sound_trees.trees.write(path, sound_trees.ground(1), sound_trees.RATE)
    (sound,) = banks.audioset(str(tmp_path), classes=classes)
    assert sound.source_id == f'yt{video}'


@pytest.mark.parametrize('reader', [banks.folder, banks.desed, banks.audioset])
def test_another_tree_is_refused(tmp_path, classes, reader):
    sound_trees.trees.write(tmp_path / 'Miaow' / 'a.wav', sound_trees.event(1))
    with pytest.raises(recordings.TreeError, match=r'(?s)expected: .*found: Miaow/a.wav'):
        reader(str(tmp_path), classes=classes)


def test_table_1_says_which_bank_a_class_is_of():
    by_source = {name: set() for name in banks.SOURCES}
    for one in banks.read_classes().values():
        by_source[one.source].add((one.role, one.seen, one.name))
    desed, audioset = by_source['desed'], by_source['audioset']
    assert len(desed) == 10 and len(audioset) == 15
    assert all(seen for _, seen, _ in desed)
    assert {name for role, _, name in desed if role == 'background'} == {
        *('vacuum_cleaner', 'blender', 'frying', 'running_water', 'electric_shaver_toothbrush')
    }
    assert {x for x in audioset if x[:2] == ('foreground', True)} == set()


def test_a_class_is_of_its_source_where_both_are_given(tmp_path):
    table = tmp_path / 'classes.csv'
    lines = ('foreground,a,seen,DESED', 'background,b,seen,audioset', 'foreground,c,seen,desed')
    table.write_text('\n'.join(('role,class,set,source', *lines, 'foreground,d,seen,')))
    classes = banks.read_classes(str(table))
    desed, clips = [*sounds('a', '12'), *sounds('b', '3')], [*sounds('a', '456'), *sounds('d', '7')]
    clips += [*sounds('b', '8'), *sounds('c', '90')]
    folder = sounds('a', 'x')

    kept, said = banks.of_their_source(
        {'input': folder, 'desed': desed, 'audioset': clips}, classes
    )
    assert {tree: [x.id for x in found] for tree, found in kept.items()} == {
        'input': ['a-x'],
        'desed': ['a-1', 'a-2'],
        'audioset': ['d-7', 'b-8', 'c-9', 'c-0'],
    }
    assert [re.sub(' since.*table takes these', '', x) for x in said] == [
        '1 sound of --desed_dir left out, from --audioset_dir: b (1)',
        '3 sounds of --audioset_dir left out, from --desed_dir: a (3)',
        '2 sounds of --audioset_dir used, though the class table takes these from --desed_dir, '
        'which has none: c (2)',
    ]
    for alone in ({'audioset': clips}, {'input': folder, 'desed': desed}):
        assert banks.of_their_source(alone, classes) == (alone, [])
    any_source = banks.read_classes(str(sound_trees.write_classes(table)))
    both = {'desed': desed, 'audioset': clips}
    assert banks.of_their_source(both, any_source) == (both, [])

    table.write_text('role,class,set,source\nforeground,a,seen,freesound')
    with pytest.raises(recordings.TreeError, match="'freesound'; it must be desed or audioset or"):
        banks.read_classes(str(table))


def test_ids_are_unique_and_know_no_root(tmp_path, classes):
    kept = []
    for place in ('here', 'there'):
        root = sound_trees.general(tmp_path / place, files=2)
        near = root / 'foreground' / 'dog' / 'near'
        sound_trees.trees.write(near / 'dog0.wav', sound_trees.event(5))
        sounds = banks.folder(str(root), classes=classes)
        sounds = banks.unique_ids(sounds, {'input_dir': str(root)})
        assert len({x.id for x in sounds}) == len(sounds) == 13
        kept.append({x.id for x in sounds})
    assert kept[0] == kept[1]
    assert sum(name == 'dog-dog1' for name in kept[0]) == 1


def sounds(source_class, recordings, *, role='foreground', seen=True, bank=''):
    return [
        Recording(f'{source_class}-{name}', name, '', '', source_class, role, seen, bank)
        for name in recordings
    ]


def by_split(split):
    found = collections.defaultdict(set)
    for one in split:
        found[one.split].add(one.source_id)
    return dict(found)


def test_split_sizes_and_at_least_one_each():
    many = sounds('dog', [f'd{i}' for i in range(100)])
    few = sounds('bell', ['b0', 'b1', 'b2'])
    told_split, told = banks.split(many + few)
    of_dogs = by_split(x for x in told_split if x.source_class == 'dog')
    assert {name: len(x) for name, x in of_dogs.items()} == {
        'test': 21,
        'validation': 14,
        'train': 65,
    }
    of_bells = by_split(x for x in told_split if x.source_class == 'bell')
    assert {name: len(x) for name, x in of_bells.items()} == {
        'test': 1,
        'validation': 1,
        'train': 1,
    }
    assert told == []


def test_too_few_recordings_train_only_and_are_told():
    split, told = banks.split(sounds('cat', ['c0', 'c0', 'c1']))
    assert {x.split for x in split} == {'train'}
    assert told == [
        'foreground cat: 2 source recordings, fewer than the three that make three splits; '
        '2 in training'
    ]


def test_no_recording_crosses_whatever_its_classes():
    rng = random.Random(0)
    bank = []
    for c in range(8):
        recordings = [f'r{rng.randrange(60)}' for _ in range(20)]
        bank += [
            dataclasses.replace(x, id=f'{x.id}-{i}')
            for i, x in enumerate(sounds(f'c{c}', recordings, seen=c > 1))
        ]
    split, told = banks.split(bank)
    splits = collections.defaultdict(set)
    for one in split:
        splits[one.source_id].add(one.split)
        assert one.seen or one.split == 'test'
    assert all(len(found) == 1 for found in splits.values())
    assert set(by_split(x for x in split if x.seen)) == {'train', 'validation', 'test'}
    assert 'also hold an unseen class' in told[0]
    shuffled = bank[::-1]
    again, _ = banks.split(shuffled)
    assert {x.id: x.split for x in again} == {x.id: x.split for x in split}


def test_a_delivered_evaluation_bank_is_the_evaluation():
    train = sounds('dog', [f'd{i}' for i in range(20)])
    held = sounds('dog', [f'e{i}' for i in range(5)] + ['d3'], bank='test')
    split = by_split(banks.split(train + held)[0])
    assert split['test'] == {x.source_id for x in held}
    assert len(split['validation']) == 3 and len(split['train']) == 16  # 0.14 / 0.79 of 19


@pytest.mark.parametrize('recordings', [1, 2, 7])
def test_a_fraction_of_one_leaves_nothing_for_training(recordings):
    bank = sounds('dog', [f'd{i}' for i in range(recordings)])
    for shares, splits in (((0, 1), {'test'}), ((1, 0), {'validation'})):
        found, _ = banks.split(bank, validation=shares[0], test=shares[1])
        assert {x.split for x in found} == splits


def test_fractions_of_zero_leave_out_a_split():
    split, _ = banks.split(sounds('dog', [f'd{i}' for i in range(9)]), validation=0.0, test=0.0)
    assert {x.split for x in split} == {'train'}
