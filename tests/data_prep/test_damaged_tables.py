"""Tables that users hand to a job: read, or refused with the line; never another error."""

import os

from hypothesis import given, settings, strategies as st
import pytest

import damage
from data_prep import delimited, mixture_trees, sound_tables
from data_prep.corpora import TreeError

TABLES = {
    'classes': (
        sound_tables.read_classes,
        b'role,class,set,names\nforeground,dog,seen,Bark|Hund\nbackground,rain,unseen,\n',
    ),
    'groups': (sound_tables.read_groups, b'path\tsource_group\na/b.wav\tone\nc.wav\ttwo\n'),
    'sexes': (delimited.read_sexes, b'# who\nspeaker,sex\nann,f\n"bo, x",M\n'),
    'SPEAKERS.TXT': (
        delimited.read_sexes,
        b'; a\n;ID |SEX| NAME\n14 | F | A | B\n16| M |C\n',
    ),
}


@pytest.mark.parametrize('name', TABLES)
@settings(deadline=None, max_examples=150)
@given(draw=st.data())
def test_random_damage_of_a_table(tmp_path_factory, name, draw):
    read, data = TABLES[name]
    path = tmp_path_factory.getbasetemp() / 'table'
    path.write_bytes(data)
    assert read(str(path))
    path.write_bytes(draw.draw(damage.damaged_bytes(data)))
    try:
        read(str(path))
    except TreeError as error:
        str(error).encode()


@settings(deadline=None, max_examples=100)
@given(
    damage.damaged_bytes(
        b'wsj0/si_tr_s/01t/01to030v.wav 0.48 wsj0/si_tr_s/029/029o031h.wav -0.48\n' * 2
    )
)
def test_random_damage_of_a_list(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / 'lists'
    (folder / 'si_tr_s' / '01t').mkdir(parents=True, exist_ok=True)
    (folder / 'si_tr_s' / '01t' / '01to030v.wav').write_bytes(b'RIFF')
    (folder / 'mix_2_spk_tr.txt').write_bytes(data)
    try:
        _, listed = mixture_trees.wsj0_lists(str(folder), str(folder), splits=('train',))
    except TreeError as error:
        str(error).encode()
    else:
        assert listed


@pytest.mark.parametrize('name', TABLES)
def test_what_is_no_file_or_too_large_is_refused_unread(tmp_path, name, monkeypatch):
    read, data = TABLES[name]
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(TreeError, match='pipe cannot be read: it is no regular file'):
        read(str(tmp_path / 'pipe'))
    with pytest.raises(TreeError, match='cannot be read: it is a folder'):
        read(str(tmp_path))
    (tmp_path / 'table').write_bytes(data)
    monkeypatch.setattr(delimited, 'MOST_BYTES', len(data) - 1)
    with pytest.raises(TreeError, match=f'table has {len(data)} bytes, more than'):
        read(str(tmp_path / 'table'))
