"""Trees as people keep them: linked folders, names that clash, buckets, shared speakers."""

import os

import pytest

from data_prep import recordings
from data_prep.readers import folder as people, librimix, wsj0
from test_corpora import touch


def speakers_of(root):
    found = people.read(str(root), validation=0, test=0)
    return {os.path.relpath(u.path, root): u.source_id for u in found}


def test_links_never_lend_a_speakers_files_to_another(tmp_path):
    root = tmp_path / 'in'
    touch(root, *(f'spk{i}/deep/{i}.wav' for i in range(3)))
    touch(tmp_path, 'disc/spk3/3.wav', 'disc/more/4.wav')
    (root / 'spk3').symlink_to(tmp_path / 'disc' / 'spk3')  # a speaker kept elsewhere
    (root / 'spk0' / 'other').symlink_to('../spk1')
    (root / 'spk0' / 'part').symlink_to('../spk2/deep')
    (root / 'spk0' / 'elsewhere').symlink_to(tmp_path / 'disc' / 'spk3')
    (root / 'spk0' / 'more').symlink_to(tmp_path / 'disc' / 'more')
    (root / 'spk0' / 'more_again').symlink_to(tmp_path / 'disc' / 'more')
    (root / 'spk0' / 'nowhere').symlink_to('nothing')
    expected = {f'spk{i}/deep/{i}.wav': f'spk{i}' for i in range(3)}
    expected |= {'spk3/3.wav': 'spk3', 'spk0/more/4.wav': 'spk0'}
    assert speakers_of(root) == expected
    (tmp_path / 'link').symlink_to(root)
    assert speakers_of(tmp_path / 'link') == expected


@pytest.mark.parametrize('target', ['..', '.', '../..'])
def test_a_link_to_a_folder_above_is_not_followed(tmp_path, target):
    root = tmp_path / 'in'
    touch(root, *(f'spk{i}/{i}.wav' for i in range(3)))
    touch(tmp_path, 'disc/more/3.wav', 'disc/4.wav')
    (root / 'spk0' / 'loop').symlink_to(target)
    assert speakers_of(root) == {f'spk{i}/{i}.wav': f'spk{i}' for i in range(3)}
    # Nor where the loop lies in a folder that was itself reached by a link.
    (tmp_path / 'disc' / 'more' / 'loop').symlink_to('..')
    (root / 'spk3').symlink_to(tmp_path / 'disc' / 'more')
    assert speakers_of(root)['spk3/3.wav'] == 'spk3' and len(speakers_of(root)) == 4


def test_ids_that_clash_are_told_apart_whatever_the_order(tmp_path, monkeypatch):
    names = ['s1/a b  c.wav', 's1/a_b__c.wav', 's1/a-b/c.wav', 's1/a/b-c.wav', 's1/x y.wav']
    root = touch(tmp_path, *names, *(f's{i}/z.wav' for i in range(2, 5)))
    ids = {u.path: u.id for u in people.read(root, validation=0, test=0)}
    assert len(set(ids.values())) == len(ids) == 8
    assert not any(' ' in name or '/' in name for name in ids.values())
    assert ids[f'{root}/s1/x y.wav'] == 's1-x_y'  # alone under its name: left as it is
    assert len(ids[f'{root}/s1/a/b-c.wav']) == len('s1-a-b-c') + 9
    listed = recordings.list_files
    monkeypatch.setattr(
        recordings, 'list_files', lambda *args: dict([*listed(*args).items()][::-1])
    )
    assert {u.path: u.id for u in people.read(root, validation=0, test=0)} == ids


def test_trees_in_a_bucket_are_refused_with_the_way_out(tmp_path):
    for walk in (
        lambda: wsj0.read('gs://bucket/wsj0-mix'),
        lambda: librimix.read('gs://bucket/Libri2Mix'),
        lambda: wsj0.read_lists('gs://bucket/wsj0', str(tmp_path)),
        lambda: wsj0.read_lists(str(tmp_path), 'gs://bucket/lists'),
    ):
        with pytest.raises(recordings.TreeError, match='gs://bucket.*local path.*mount'):
            walk()


def test_librimix_refuses_a_speaker_in_two_splits_and_wsj0_takes_those_of_tr_in_cv(tmp_path):
    def make(base, parts, mixture, name):
        touch(base, *(f'{p}/{f}/{name}.wav' for p in parts for f in (mixture, 's1', 's2')))
        return str(base)

    libri = make(tmp_path / 'libri', ['train-100', 'test'], 'mix_clean', '103-1-1_104-1-1')
    with pytest.raises(recordings.TreeError, match="2 of 2 speakers.*'103' in test, train"):
        librimix.read(libri, splits=('train', 'test'))
    # The same speaker in two training parts is in one split.
    one_split = make(tmp_path / 'one', ['train-100'], 'mix_clean', '103-1-1_104-1-1')
    make(tmp_path / 'one', ['train-360'], 'mix_clean', '103-1-1_104-1-2')
    assert len(librimix.read(one_split, splits=('train',))[1]) == 2
    make(tmp_path / 'one', ['train-360'], 'mix_clean', '103-1-1_104-1-1')
    said = '1 of 2 mixtures is.* one/train-100/mix_clean/(.*) and one/train-360/mix_clean/\\1; '
    with pytest.raises(recordings.TreeError, match=said.replace('one/', f'{one_split}/')) as stop:
        librimix.read(one_split, splits=('train',))
    assert str(stop.value).endswith('--train_parts=train-100 takes one part alone')
    part = librimix.read(one_split, splits=('train',), train_parts=('train-360',))
    assert len(part[1]) == 2
    merl = make(tmp_path / 'wsj0', ['tr'], 'mix', '01to030v_0.4_029o0311_-0.4')
    make(tmp_path / 'wsj0', ['cv'], 'mix', '01to030x_0.4_029o0312_-0.4')
    assert len(wsj0.read(merl, splits=('train', 'validation'))[1]) == 2


def test_a_link_to_a_file_of_the_tree_lends_it_to_nobody(tmp_path):
    root = tmp_path / 'in'
    touch(root, *(f'spk{i}/deep/{i}.wav' for i in range(3)))
    touch(tmp_path, 'disc/3.wav')
    (root / 'spk0' / 'alias.wav').symlink_to('deep/0.wav')
    (root / 'spk1' / 'lent.wav').symlink_to('../spk2/deep/2.wav')
    (root / 'spk1' / 'own.wav').symlink_to(tmp_path / 'disc' / '3.wav')
    (root / 'spk2' / 'own_again.wav').symlink_to(tmp_path / 'disc' / '3.wav')
    (root / 'spk2' / 'chain.wav').symlink_to(root / 'spk1' / 'own.wav')
    (root / 'spk2' / 'nowhere.wav').symlink_to('nothing')
    (root / 'spk2' / 'nowhere2.wav').symlink_to('nothing')
    expected = {f'spk{i}/deep/{i}.wav': f'spk{i}' for i in range(3)}
    expected |= {'spk1/own.wav': 'spk1'}
    expected |= {f'spk2/{name}.wav': 'spk2' for name in ('nowhere', 'nowhere2')}  # told as broken
    assert speakers_of(root) == expected
    used = [os.path.join(root, path) for path in expected]
    problems = recordings.unused([str(root)], used)['problems']
    names = ['spk0/alias.wav', 'spk1/lent.wav', 'spk2/chain.wav', 'spk2/own_again.wav']
    assert [one['name'] for one in problems] == names
    assert {one['kind'] for one in problems} == {'linked twice'}
    # What a list names is used as it says.
    assert not recordings.unused([str(root)], [os.path.join(root, name) for name in names])[
        'problems'
    ]


def test_folders_of_one_name_in_two_forms_never_cross_splits(tmp_path):
    composed, apart = 'Jos\u00e9', 'Jose\u0301'
    names = [composed, apart, 'anna', 'Anna', 'stra\u00dfe', 'STRASSE']
    root = touch(tmp_path, *(f'{name}/a.wav' for name in names), *(f's{i}/a.wav' for i in range(8)))
    for seed in range(10):
        found = people.read(root, validation=0.3, test=0.3, seed=seed)
        splits = {os.path.relpath(one.path, root).split('/')[0]: one.split for one in found}
        assert len(splits) == 14
        for a, b in zip(names[::2], names[1::2]):
            assert splits[a] == splits[b]
    speakers = [one.source_id for one in found]
    assert speakers.count(apart) == 2 and composed not in speakers  # the first in order
    *_, told = people.twins(names)
    assert len(told) == 3
    assert any("'Jose\\u0301' and 'Jos\\xe9' differ in their Unicode" in line for line in told)
    assert any("'Anna' and 'anna' differ in small and capital" in line for line in told)


def test_what_is_found_in_another_tree_is_printable(tmp_path):
    name = 'two\nlines\x1b[31m\udce9'
    os.makedirs(os.path.join(tmp_path, name))
    for walk in (wsj0.read, librimix.read):
        with pytest.raises(recordings.TreeError) as refused:
            walk(str(tmp_path))
        assert 'found: two\\nlines\\x1b[31m\\xe9' in str(refused.value)
