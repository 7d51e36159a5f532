"""Tables as csv or tsv files: those that users hand to a job, and the job's own rows.

A cell of a row that a job writes is lossless: what is no text of one line (a newline or a byte that
is no UTF-8 in a file's name) is percent-encoded, and a spreadsheet runs none of it as a formula.
"""

import codecs
from collections.abc import Callable, Collection, Sequence
import csv
import dataclasses
import functools
import io
import itertools
import math
import operator
import os
import posixpath
import re
import unicodedata
import urllib.parse

from data_prep import output, progress
from fgsep_jax import files, names
from fgsep_jax.names import counted, shown as printable

SEXES = {'f': 'F', 'female': 'F', 'm': 'M', 'male': 'M', '': '', '?': '', '-': '', 'unknown': ''}
MOST_BYTES = 1 << 30  # of a table: millions of lines


class TreeError(ValueError):
    """A tree or a table that is not what the job expects."""


def _contents(path: str, part: output.Part | None) -> bytes:
    if '://' not in path and not part:
        return files.read_bytes(path, TreeError, most=MOST_BYTES)
    return output.read_whole(path, part)


def read_lines(path: str, part: output.Part | None = None) -> list[str]:
    """The lines of a text file in UTF-8, or in UTF-16 with its mark, whatever ends them.

    Args:
        path: of the file.
        part: of the file, where that is not all.
    Raises:
        TreeError: if it is no regular file, too large, or cannot be read as text.
    """
    try:
        contents = _contents(path, part)
    except TreeError as error:
        raise TreeError(printable(str(error))) from error
    try:
        utf16 = contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = contents.decode('utf-16' if utf16 else 'utf-8-sig')
    except UnicodeDecodeError as error:
        line = contents[: error.start].count(b'\n') + 1
        raise TreeError(
            f'{printable(path)} cannot be read as a table: line {line} is not UTF-8 ({error.reason}'
            '); save it as UTF-8'
        ) from error
    lines = text.replace('\r\n', '\n').replace('\r', '\n').split('\n')
    for number, line in enumerate(lines, 1):
        if '\0' in line:
            raise TreeError(
                f'{printable(path)}, line {number}: holds a NUL; this is no table, or in another '
                'encoding than UTF-8'
            )
    return lines


def _shown(line: str) -> str:
    return repr(line if len(line) <= 200 else f'{line[:200]}...')


def _separator(line: str, names: Collection[str]) -> tuple[int, str]:
    """(how many of the column `names` a first line has, the separator by which it has most).

    Of several, the first of tab, comma, semicolon and bar that is in the line; else a comma.
    """

    def count(mark: str) -> int:
        return len({cell.strip(' \t"').lower() for cell in line.split(mark)}.intersection(names))

    marks = [mark for mark in '\t,;|' if mark in line] or [',']
    best = max(marks, key=count)
    return count(best), best


def read_rows(
    path: str,
    columns: tuple[str, ...],
    *,
    others: tuple[str, ...] = (),
    is_decimal: Callable[[str], bool] = lambda name: False,
    part: output.Part | None = None,
) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a csv or tsv file with at least `columns`; `#` starts a comment.

    A row is one line, with as many cells as the first one, which names the columns, in letters of
    any case; empty cells after these, and lines of nothing else, do not count. Cells may also stand
    between `;`, as where a comma is the decimal point (a first line `sep=;` is Excel's), or between
    `|`, as in LibriSpeech's SPEAKERS.TXT, whose comments start with `;`, the last of them naming
    the columns; `|` in the last cell is text then.

    Args:
        path: of the table.
        columns: that it must have.
        others: that it may have; the separator is that by which the first line names most.
        is_decimal: whether a column holds decimal numbers: between `;` their comma is read as a
            point.
        part: see `read_lines`.
    Raises:
        TreeError: with file, line, what was found and the rule, where it is no such table.
    """
    expected = (*columns, *others)
    lines = list(enumerate(read_lines(path, part), 1))
    numbered = [(n, x) for n, x in lines if x.strip() and x.lstrip()[0] != '#']
    bars = [(n, x.lstrip().lstrip(';')) for n, x in numbered if x.lstrip()[0] == ';' and '|' in x]
    if bars and _separator(bars[-1][1], expected)[0] > _separator(numbered[0][1], expected)[0]:
        numbered = [bars[-1], *((n, x) for n, x in numbered if x.lstrip()[0] != ';')]
    path = printable(path)
    if not numbered:
        raise TreeError(f'{path} is empty; expected a table with the columns {", ".join(columns)}')
    named = re.fullmatch(r'"?sep=([,;|\t])"?\s*', numbered[0][1])  # Excel's own line
    numbered = numbered[1:] if named and numbered[1:] else numbered
    delimiter = named[1] if named else _separator(numbered[0][1], expected)[1]

    def cells(number: int, line: str, most: int = 0) -> list[str]:
        if delimiter == '|':
            return [cell.strip() for cell in line.split('|', most - 1 if most else -1)]
        try:
            [row] = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
        except csv.Error as error:
            raise TreeError(
                f'{path}, line {number}: found {_shown(line)}: {error}; a quoted cell must end on '
                'its line, before a separator'
            ) from error
        return [cell.strip() for cell in row]

    header = [cell.lower() for cell in cells(*numbered[0])]
    while delimiter != '|' and header and not header[-1]:  # as spreadsheets leave them
        header.pop()
    if not set(columns) <= set(header):
        raise TreeError(
            f'{path}, line {numbered[0][0]}: found the columns {", ".join(header)[:200]}; the '
            f'first line must name {", ".join(columns)}, separated by commas, semicolons or tabs'
        )
    if len(set(header)) < len(header):
        raise TreeError(
            f'{path}, line {numbered[0][0]}: a column is named twice: {", ".join(header)}'
        )
    decimal = [i for i, name in enumerate(header) if delimiter == ';' and is_decimal(name)]
    rows = []
    for number, line in numbered[1:]:
        row = cells(number, line, len(header))
        if not any(row):
            continue
        while len(row) > len(header) and not row[-1]:
            row.pop()
        if len(row) != len(header):
            raise TreeError(
                f'{path}, line {number}: found {_shown(line)}, {counted(len(row), "column")}; the '
                f'first line names {len(header)}, and a cell that holds a separator must be in '
                'double quotes'
            )
        for i in decimal:
            if _NUMBER.fullmatch(row[i].replace(',', '.', 1)):
                row[i] = row[i].replace(',', '.')
        rows.append((number, dict(zip(header, row))))
    return rows


def read_sexes(path: str) -> dict[str, str]:
    """{speaker: 'F', 'M' or ''} of a table with the columns speaker and sex.

    Names are composed (NFC). LibriTTS's `speakers.tsv` (READER, GENDER) is one too, as is
    LibriSpeech's `SPEAKERS.TXT` (ID, SEX, between `|`).

    Raises:
        TreeError: if it is not such a table, or a speaker stands on two lines that differ.
    """
    sexes = {}
    speakers, genders = ('speaker', 'speaker_id', 'reader', 'id'), ('sex', 'gender')
    for number, row in read_rows(path, (), others=(*speakers, *genders)):
        speaker, sex = (
            next((row[name] for name in names if name in row), None)
            for names in (speakers, genders)
        )
        if not speaker or sex is None:
            raise TreeError(
                f'{path}, line {number}: found {", ".join(f"{k}={v!r}" for k, v in row.items())}; '
                'a line needs a speaker (column speaker, speaker_id, READER or ID) and a sex '
                '(column sex or GENDER)'
            )
        if sex.lower() not in SEXES:
            raise TreeError(
                f'{path}, line {number}: found the sex {sex!r}; it must be f, m, or empty'
            )
        sex = SEXES[sex.lower()]
        speaker = unicodedata.normalize('NFC', speaker)  # as file systems do not agree upon
        if sexes.setdefault(speaker, sex) != sex:
            raise TreeError(f'{path}, line {number}: speaker {speaker!r} again, with another sex')
    return sexes


_ODD = re.compile(r'%(?=[0-9A-Fa-f]{2})|^ | $')  # of what is printable; the rest is odd, too


def _quoted(text: str) -> str:
    return urllib.parse.quote(text.encode(errors='surrogateescape'), safe='')


def _encoded(text: str, *, also: str = '') -> str:
    plain = ('%' not in text and ' ' not in text) or not _ODD.search(text)
    if plain and text.isprintable() and not (also and also in text):
        return text
    text = _ODD.sub(lambda match: _quoted(match[0]), text)
    return ''.join(x if x.isprintable() and x not in also else _quoted(x) for x in text)


PATH, PATHS = 'path', 'paths'  # kinds of cells, see `column`


def column(kind, default=dataclasses.MISSING, *, always: bool = False):
    """A field of the dataclass of a table's rows.

    Args:
        kind: what its cells hold, see `value`; a dataclass for its columns, or a list of one for
            columns that are numbered, `_1`, `_2`, ..., for each of several.
        default: what an empty cell stands for; without one, the empty text.
        always: whether the default is written, too, as texts are.
    """
    return dataclasses.field(default=default, metadata={'kind': kind, 'always': always})


@functools.cache  # asked for once a row
def _fields(row_type: type) -> list[tuple]:
    """(name, kind, whether that is a dataclass, default, whether that is written) of each field."""
    return [
        (
            field.name,
            kind := field.metadata['kind'],
            is_row := dataclasses.is_dataclass(kind),
            field.default,
            field.metadata['always']
            or kind is str
            or (is_row and any(always for *_, always in _fields(kind))),
        )
        for field in dataclasses.fields(row_type)
    ]


def columns(row_type: type, *, count: int = 0, end: str = '') -> dict[str, object]:
    """{column: its kind} of a table of such rows, in the order of their fields.

    Args:
        row_type: a dataclass whose fields are made by `column`.
        count: of those that are numbered.
        end: of each column's name.
    """
    kinds = {}
    for name, kind, is_row, _, _ in _fields(row_type):
        if isinstance(kind, list):
            for i in range(1, count + 1):
                kinds |= columns(kind[0], end=f'_{i}')
        elif is_row:
            kinds |= columns(kind, end=end)
        else:
            kinds[name + end] = kind
    return kinds


def _cells(rows: Sequence, row_type: type, roots: dict, count: int, end: str = '') -> dict:
    """{column: its cell of each row} of the columns in which a row has something.

    Args:
        rows: of one type; None has nothing.
        row_type, count, end: see `columns`.
        roots: {flag: folder}, see `below`.
    """
    cells, some = {}, all(rows)
    for name, kind, is_row, default, always in _fields(row_type):
        get = operator.attrgetter(name)
        if some:
            contents = [*map(get, rows)]
        else:
            contents = [None if row is None else get(row) for row in rows]
        if not always and contents.count(default) == len(contents):
            continue  # a row that is the default has no cells, either
        if isinstance(kind, list):
            for i in range(count):
                parts = [x[i] if x is not None and i < len(x) else None for x in contents]
                cells |= _cells(parts, kind[0], roots, 0, f'_{i + 1}')
        elif is_row:
            cells |= _cells(contents, kind, roots, 0, end)
        else:
            if not (always or default is None or default is dataclasses.MISSING):
                contents = [None if x == default else x for x in contents]
            if cell := _cell_of(kind, roots):
                contents = _as_they_are(kind, contents, roots) or _each(cell, contents)
            if any(x not in (None, '') for x in contents):
                cells[name + end] = contents
    return cells


_NOT_PLAIN = re.compile(r'[^0-9A-Za-z_./+@-]')


def _as_they_are(kind, contents: list, roots: dict[str, str]) -> list[str] | None:
    """Cells of texts, or of paths below --input_dir, in none of which anything is to be changed, as
    mostly: of millions to look into each takes seconds. None where something may be."""
    if kind not in (str, PATH) or None in contents:
        return None
    if kind == PATH:
        (flag, base), *_ = _bases(tuple(roots.items())) or [('', '')]
        if flag != 'input_dir' or not all(x.startswith(base) for x in contents):
            return None
        contents = [x[len(base) :] for x in contents]
    begins = ''.join({x[:1] for x in contents})  # with a sign a spreadsheet would run it
    plain = all(contents) and begins.isalnum() and not _NOT_PLAIN.search(''.join(contents))
    return contents if plain else None


def _each(cell: Callable, contents: list) -> list:
    """What stands in the cells of contents, which mostly are few different ones."""
    different = {*contents} - {None}
    if 2 * len(different) > len(contents):
        return [None if x is None else names.as_cell(cell(x)) for x in contents]
    made = {x: names.as_cell(cell(x)) for x in different} | {None: None}
    return [made[x] for x in contents]


def _cell_of(kind, roots: dict[str, str]) -> Callable | None:
    """A function of what a row holds, which is not empty: its cell; None for numbers."""
    bases = _bases(tuple(roots.items()))
    return {
        str: _encoded,
        PATH: lambda path: _encoded(_below(path, bases)),
        PATHS: lambda paths: '|'.join(_encoded(_below(path, bases), also='|') for path in paths),
        tuple: lambda texts: '|'.join(_encoded(text, also='|') for text in texts),
        bool: lambda content: 'true' if content else 'false',
    }.get(kind)


def to_csv(
    rows: Sequence, roots: dict[str, str], *, first: tuple[str, ...], count: int = 0
) -> bytes:
    """Rows as csv, without the columns in which no row has anything.

    Args:
        rows: of one type, see `columns`; one at least.
        roots: {flag: folder}, see `below`.
        first: the first columns.
        count: see `columns`.
    """
    cells = _cells(rows, type(rows[0]), roots, count)
    order = dict.fromkeys((*first, *columns(type(rows[0]), count=count)))
    heads = [name for name in order if name in cells]
    lines = progress.logged(zip(*(cells[name] for name in heads)), 'table', len(rows))
    file = io.BytesIO(names.csv_text([heads]).encode())
    file.seek(0, io.SEEK_END)
    while some := [*itertools.islice(lines, 10_000)]:  # the whole as a text, too, would be much
        file.write(names.csv_lines(some).encode())
    return file.getvalue()


def from_cells(row_type: type, cells: dict[str, str], roots: dict[str, str], end: str = ''):
    """The row that a line of a table holds.

    Args:
        row_type: see `columns`.
        cells: {column: text}.
        roots: {flag: folder}, see `below`.
        end: of the columns' names.
    Raises:
        ValueError: with the column, what is there and the rule that it breaks.
    """
    values = {}
    for field, kind, is_row, default, _ in _fields(row_type):
        name = field + end
        if isinstance(kind, list):
            key = _fields(kind[0])[0][0]  # where this is empty they end
            numbers = itertools.takewhile(lambda i: cells.get(f'{key}_{i}'), itertools.count(1))
            parts = (from_cells(kind[0], cells, roots, f'_{i}') for i in numbers)
            values[field] = tuple(parts)
        elif is_row:
            values[field] = from_cells(kind, cells, roots, end)
        elif cells.get(name):
            try:
                values[field] = value(cells[name], kind, roots)
            except ValueError as error:
                raise ValueError(f'{name} is {cells[name][:200]!r}: {error}') from None
        elif default is dataclasses.MISSING:
            values[field] = ''
    return row_type(**values)


_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?')


def value(text: str, kind, roots: dict[str, str]):
    """The value that a cell holds.

    Args:
        text: the cell.
        kind: str, PATH, tuple (of texts), PATHS, bool, int (0 or more), range (of whole numbers),
            float (finite), or (lowest, highest) number.
        roots: {flag: folder}, see `below`.
    Raises:
        ValueError: the rule that it breaks.
    """
    text = names.from_cell(text)
    if kind in (tuple, PATHS):
        parts = text.split('|') if text else ()
        return tuple(_text(part, PATH if kind == PATHS else str, roots) for part in parts)
    if kind in (str, PATH):
        return _text(text, kind, roots)
    if kind is bool:
        if text.lower() not in ('true', 'false'):
            raise ValueError('must be true or false')
        return text.lower() == 'true'
    if kind is int or isinstance(kind, range):
        allowed = range(10**15) if kind is int else kind
        whole = re.fullmatch(r'([0-9]{1,15})(\.0*)?', text)  # 20665.0 is a spreadsheet's 20665
        if not whole or int(whole[1]) not in allowed:
            raise ValueError(f'must be a whole number from {allowed[0]} to {allowed[-1]}')
        return int(whole[1])
    low, high = (-math.inf, math.inf) if kind is float else kind
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(
            'must be a finite number' + f' from {low:g} to {high:.16g}' * (kind is not float)
        )
    return number


def _text(text: str, kind, roots: dict[str, str]) -> str:
    """What a cell of kind str or PATH holds, or a part of a cell of several."""
    plain = urllib.parse.unquote(text, errors='surrogateescape')
    return resolved(plain, roots) if kind == PATH else plain


@functools.lru_cache(maxsize=8)  # asked for once a path
def _bases(roots: tuple) -> list[tuple[str, str]]:
    """(flag, its folder with `/`) of roots, the longest first."""
    longest = sorted(roots, key=lambda pair: -len(pair[1]))
    return [(flag, posixpath.join(root, '')) for flag, root in longest]


def below(path: str, roots: dict[str, str]) -> str:
    """How a table names a file, so that it is true elsewhere.

    That is as it lies below --input_dir, with `{flag}/` in front below another flag's folder, and
    in full outside of them.

    Args:
        path: of the file.
        roots: {flag: folder}.
    """
    return _below(path, _bases(tuple(roots.items())))


def _below(path: str, bases: list[tuple[str, str]]) -> str:
    for flag, base in bases:
        if path.startswith(base):
            rest = path[len(base) :]
            plain = flag == 'input_dir' and rest[:1] not in '{/' and '://' not in rest
            return rest if plain else f'{{{flag}}}/{rest}'
    return path if '://' in path else os.path.abspath(path)


def resolved(name: str, roots: dict[str, str]) -> str:
    """The path that `below` named.

    Raises:
        ValueError: it is below the folder of a flag that is not given, or leaves its folder.
    """
    match = re.fullmatch(r'\{(\w+)\}/(.*)', name, re.DOTALL)
    if not match and '://' in name:
        return name
    if not match and name.startswith('/'):
        return os.path.abspath(name)  # one file has one name
    flag, rest = match.groups() if match else ('input_dir', name)
    if flag not in roots:
        raise ValueError(f'--{flag} must name its folder')
    parts = rest.split('/')
    if '.' in parts and '://' not in roots[flag]:  # as `find` writes them
        parts = [part for part in parts if part != '.'] or ['']
        rest = '/'.join(parts)
    if '..' in parts or '\0' in rest or ('' in parts and '://' not in roots[flag]):
        raise ValueError('must stay below its folder, without empty parts, `..` and NUL')
    return posixpath.join(roots[flag], '') + rest
