"""Tables that users hand to a job: read, or refused with the line; never another error."""

import os

from hypothesis import given, settings, strategies as st
import pytest

import damage
from data_prep import tables
from data_prep.readers import sounds as banks, wsj0
from data_prep.recordings import TreeError

TABLES = {
    'classes': (
        banks.read_classes,
        b'role,class,set,names\nforeground,dog,seen,Bark|Hund\nbackground,rain,unseen,\n',
    ),
    'groups': (banks.read_groups, b'path\tsource_group\na/b.wav\tone\nc.wav\ttwo\n'),
    'sexes': (tables.read_sexes, b'# who\nspeaker,sex\nann,f\n"bo, x",M\n'),
    'SPEAKERS.TXT': (
        tables.read_sexes,
        b'; a\n;ID |SEX| NAME\n14 | F | A | B\n16| M |C\n',
    ),
}


@pytest.mark.slow
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
        b'wsj0/si_tr_s/01t/01to030v.wav 0.48 wsj0/si_tr_s/029/029o031h.wav -0.48\n'
        b'wsj0/si_tr_s/029/029o031h.wav 1 wsj0/si_tr_s/01t/01to030v.wav -1\n'
    )
)
def test_random_damage_of_a_list(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / 'lists'
    (folder / 'si_tr_s' / '01t').mkdir(parents=True, exist_ok=True)
    (folder / 'si_tr_s' / '01t' / '01to030v.wav').write_bytes(b'RIFF')
    (folder / 'mix_2_spk_tr.txt').write_bytes(data)
    try:
        _, listed = wsj0.read_lists(str(folder), str(folder), splits=('train',))
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
    monkeypatch.setattr(tables, 'MOST_BYTES', len(data) - 1)
    with pytest.raises(TreeError, match=f'table has {len(data)} bytes, more than'):
        read(str(tmp_path / 'table'))


SEPARATED = (
    ('role', 'class', 'set', 'names'),
    ('foreground', 'dog', 'Seen', 'Bark, loud|Hund'),
    ('Background', 'rain', 'unseen', ''),
)


@pytest.mark.parametrize('mark', ',;\t')
@pytest.mark.parametrize('more', ['', 'note, or two', 'a; b', 'x|y, z; w', 'tab'])
@pytest.mark.parametrize('named', [True, False])
@pytest.mark.parametrize('first', [True, False])
def test_a_class_table_by_any_separator(tmp_path, mark, more, named, first):
    rows = [list(row if named else row[:3]) for row in SEPARATED]
    if more:
        cells = [more, '', ';a|b, c']
        rows = [[cell, *row] if first else [*row, cell] for cell, row in zip(cells, rows)]

    def quoted(cell):
        return f'"{cell}"' if mark in cell else cell

    lines = [mark.join(map(quoted, row)) for row in rows]
    (tmp_path / 't.csv').write_text('\n'.join(lines) + '\n')
    dog = banks.SoundClass('dog', 'foreground', True)
    rain = banks.SoundClass('rain', 'background', False)
    found = banks.read_classes(str(tmp_path / 't.csv'))
    assert found == {'dog': dog, 'rain': rain} | ({'bark_loud': dog, 'hund': dog} if named else {})


@pytest.mark.parametrize(
    'text, said',
    [
        ('role;class;set;names\n;dog;seen;a|b\n', "line 2: found role ''; it must be foreground"),
        ('role,class,set,names\n;x,dog,seen,a|b\n', "line 2: found role ';x'"),
        ('role,class,set\n; a | b\n', 'line 2: found .*1 column; the first line names 3'),
        ('role,class,set,set\nforeground,dog,seen,seen\n', 'a column is named twice'),
        (
            'role,class\nforeground,dog\n',
            'found the columns role, class; .*must name role, class, s',
        ),
    ],
)
def test_a_row_is_a_row_of_its_own_table(tmp_path, text, said):
    (tmp_path / 't.csv').write_text(text)
    with pytest.raises(TreeError, match=said):
        banks.read_classes(str(tmp_path / 't.csv'))
