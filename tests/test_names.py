"""Names from data: one safe part of a path, a cell, a line of Markdown."""

import csv
import io
import os
import re
import unicodedata

from hypothesis import example, given, settings, strategies as st
import pytest

from fgsep_jax import names

HOSTILE = (
    *('', '.', '..', '/', '/etc/passwd', '../../../other', '..\\..\\other', 'a/b', 'a//b', 'C:x'),
    *('a\0b', 'two\nlines', 'bell\a', 'tab\there', 'cr\rhere', ' ', ' x', 'x ', 'x.', '.hidden'),
    *(
        '-rf',
        '--',
        '~',
        '~root',
        '$HOME',
        '`id`',
        '*',
        '?',
        '[ab]',
        '{a,b}',
        'a%2fb',
        "it's",
        '"q"',
    ),
    *('CON', 'con.wav', 'NUL .x', 'COM1', 'lpt9.a.b', 'aux', 'x' * 300, 'ö' * 90, '\U0001f415'),
    *(
        'e\u0301',
        '\u00e9',
        '\u202egnp.wav',
        'zero\u200bwidth',
        '\udcff',
        'bad\udc80\udc81',
        '\ud800',
    ),
    *('x"><img src=x onerror=alert(1)>', '<script>alert(1)</script>', '](javascript:alert(1))'),
    *(
        '=1+1',
        '+cmd',
        '-2+3',
        '@SUM(A1)',
        '\t=1',
        "'=1",
        '|a|',
        '# a',
        '- a',
        '1. a',
        '&lt;',
        '$x$',
    ),
    *(
        'config.json',
        'Summary.json',
        'examples.csv',
        'example.json',
        'mixture.wav',
        '.written.json',
        'a--0123456789abcdef',
        'con--' + '0' * 16,
    ),
)
ORDINARY = (
    *(
        'mixture_0001',
        '1234_0.5_77_-0.5',
        'fgbg-c1',
        'Alarm_bell_ringing',
        'p225',
        'tones-first-20',
    ),
    *(
        '01aa010k_1.3053_01po0310_-1.3053',
        'Müller 2',
        'звук',
        '音声',
        'ideal_ratio_mask',
        'a' * 150,
    ),
    *('recording (2)', 'dog+cat', 'a,b', 'x--y', "it's"),
)
# What ends a line, turns it around, is no character or not to be seen.
BAD = re.compile('[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2068\ud800-\udfff]')
texts = st.text(max_size=200) | st.sampled_from(HOSTILE) | st.text('./\\ .-~CONcon\0é', max_size=8)
# Surrogates, which st.text leaves out: bytes that are not UTF-8.
texts |= st.binary(max_size=8).map(os.fsdecode)


@pytest.mark.parametrize('name', ORDINARY)
def test_ordinary_names_stay(name):
    assert names.part(name) == name == names.shown(name)


def safe(part, longest=names.LONGEST):
    """What every file system takes as one entry of a folder, written out anew."""
    stem = part.split('.')[0].rstrip().lower()
    return (
        0 < len(part.encode()) <= longest
        and not set(part) & set('<>:"/\\|?*')
        and all(unicodedata.category(c)[0] in 'LMNPS' or c == ' ' for c in part)
        and part[0] not in '-~. '
        and part[-1] not in '. '
        and unicodedata.normalize('NFC', part) == part
        and stem not in {'con', 'prn', 'aux', 'nul', 'conin$', 'conout$'}
        and not re.fullmatch('(com|lpt)[0-9¹²³]', stem)
    )


@pytest.mark.slow
@given(texts, st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_part_is_safe_everywhere(name, ascii):
    part = names.part(name, ascii=ascii)
    assert safe(part) and names.is_part(part, ascii=ascii)
    assert not ascii or re.fullmatch(r'[A-Za-z0-9_.-]+', part)
    assert part == name or re.fullmatch(r'.+--[0-9a-f]{16}', part)


@given(texts, texts)
@example('a/b', names.part('a/b'))
@example(names.part('a/b'), names.part(names.part('a/b')))
@example('x' * 300, 'x' * 301)
@example('e\u0301', '\u00e9')
@settings(max_examples=300, deadline=None)
def test_two_names_never_share_a_part(one, other):
    if one != other:
        assert names.part(one) != names.part(other)
        assert names.part(one, ascii=True) != names.part(other, ascii=True)


@given(st.lists(texts, max_size=8))
@example(['Dog', 'dog', 'DOG', 'e\u0301', '\u00e9', '\u00c9', 'ß', 'ss', 'ﬁ', 'fi'])
@settings(deadline=None)
def test_names_of_one_folder_differ_where_case_does_not_count(wanted):
    found = []
    for name in wanted:
        found.append(names.part(name, taken=found))
    folded = [unicodedata.normalize('NFD', part.casefold()).casefold() for part in found]
    assert len(set(folded)) == len(wanted) and all(map(safe, found))


def test_what_is_below(tmp_path):
    folder = tmp_path / 'folder'
    (folder / 'inside').mkdir(parents=True)
    (folder / 'out').symlink_to(tmp_path)
    (folder / 'in').symlink_to(folder / 'inside')
    (folder / 'passwd').symlink_to('/etc/passwd')
    (tmp_path / 'folder-too').mkdir()
    (folder / 'twin').symlink_to(tmp_path / 'folder-too')
    (tmp_path / 'alias').symlink_to(folder)
    for root in (folder, tmp_path / 'alias'):
        for path in ('a.wav', 'system/a.wav', 'in/a.wav', 'inside', 'x' * 251 + '.wav'):
            assert names.is_below(path, root), path
        for path in ('out/a.wav', 'out', 'passwd', 'twin/a', 'a/../../b', 'a//b', 'a/', './a', ''):
            assert not names.is_below(path, root), path
        for path in ('/etc/passwd', '..', '../folder/a.wav', 'a\0b', '~/a', 'a/..', '\udcff', '.x'):
            assert not names.is_below(path, root), path


@given(texts)
@settings(max_examples=200, deadline=None)
def test_what_is_shown_is_one_printable_line(name):
    shown = names.shown(name)
    shown.encode()
    assert not BAD.search(shown) and names.shown(shown) == shown


def test_what_is_shown_can_be_read():
    assert names.shown('Zoë 犬 a\u00a0b نمی\u200cخواهم') == 'Zoë 犬 a\u00a0b نمی\u200cخواهم'
    assert names.shown('a\n\u202eb\udce9') == r'a\n\u202eb\xe9'


cells = texts | st.floats() | st.integers() | st.none()


@given(st.lists(st.lists(texts, min_size=2, max_size=3), max_size=4))
@settings(max_examples=200, deadline=None)
def test_cells_come_back(rows):
    read = list(csv.reader(io.StringIO(names.csv_text(rows), newline='')))
    assert [[names.from_cell(cell) for cell in row] for row in read] == rows


@given(st.lists(cells, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_no_cell_is_run_and_numbers_stay(row):
    ((*read,),) = csv.reader(io.StringIO(names.csv_text([['x', *row]]), newline=''))
    for cell, text in zip(row, read[1:], strict=True):
        if isinstance(cell, str):
            try:
                float(text)
            except ValueError:
                assert not text.startswith(tuple('=+-@\t\r\n＝＋－＠'))
        else:
            assert text == ('' if cell is None else str(cell))


def test_cells_of_ordinary_rows_are_as_ever():
    rows = [['id', 'snr_db'], ['a, b', -3.2], ["it's", '-3.2'], ['-inf', 'nan'], ['"', None]]
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    assert names.csv_text(rows) == text.getvalue()
    assert names.csv_text([['=1', "'=1", '-rf']]) == "'=1,''=1,'-rf\n"


odd = st.sampled_from(('', ',', '"', '\n', '\r', 'a', 'a b', 'é', None, 1, -0.5, float('nan')))


@given(st.lists(st.lists(odd, max_size=3), max_size=4))
@example([[None], ['a']])
@example([[], ['a']])
@example([['\n', '"'], []])
@settings(max_examples=500, deadline=None)
def test_lines_without_and_with_quotes_are_the_writers(rows):
    expected = ''
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator='\r\n').writerow(row)
        expected += line.getvalue()[:-2] + '\n'
    assert names.csv_lines(iter(rows)) == expected


@pytest.mark.parametrize('name', HOSTILE)
@pytest.mark.parametrize('cell', [False, True])
def test_markdown_shows_the_name(name, cell):
    """Read by CommonMark's rules of what a backslash, an entity and a tag are."""
    made = names.markdown(f'of {name} and {name}', cell=cell)
    assert not BAD.search(made) and not re.search(r'<|(?<!\\)(\\\\)*[`*$~]', made)
    assert not re.search(r'(?<!\\)(\\\\)*](?=[(\[:])', made)
    if cell:
        assert not re.search(r'(?<!\\)(\\\\)*\|', made)
    else:
        assert not re.match(r'\s*(#|>|[-+] |\d+[.)] )', names.markdown(name))
    plain = re.sub(r'\\([!-/:-@\[-`{-~])', r'\1', made.replace('\\\\', '\1'))
    plain = plain.replace('\1', '\\').replace('&lt;', '<').replace('&amp;', '&')
    wanted = names.shown(
        ' '.join(f'of {name} and {name}'.split()) if cell else f'of {name} and {name}'
    )
    assert plain == wanted


@pytest.mark.parametrize(
    'line',
    ['1.23 [0.98, 1.48] (one seed)', 'worst_ten of alpha_1: -3.2 dB', 'M1+ over M2, 95 %; a > b'],
)
def test_markdown_of_our_own_lines_is_as_ever(line):
    assert names.markdown(line) == names.markdown(line, cell=True) == line


@pytest.mark.parametrize('first, second', [('ﬁsh', 'fish'), ('Ⅳ', 'iv'), ('K', 'k'), ('２', '2')])
def test_names_that_a_file_system_may_fold_into_one_are_alike(first, second):
    """Compatibility forms, too: ligatures, Roman numerals, full width."""
    assert names.alike([first, second]) and not names.alike([first, 'other'])
    assert names.part(first, taken=[second]) not in (first, second)


@pytest.mark.parametrize(
    'number, noun, said',
    [(0, 'file', '0 files'), (1, 'file', '1 file'), (2, 'class', '2 classes'),
     (12000, 'training mixture', '12,000 training mixtures')],
)  # fmt: skip
def test_a_number_and_its_noun_agree(number, noun, said):
    assert names.counted(number, noun) == said
