"""Tables that users hand to a job as csv or tsv files."""

import codecs
from collections.abc import Collection
import csv
import re
import unicodedata

from data_prep.corpora import TreeError, plural, printable
from fgsep_jax import files

SEXES = {'f': 'F', 'female': 'F', 'm': 'M', 'male': 'M', '': '', '?': '', '-': '', 'unknown': ''}
MOST_BYTES = 256 << 20  # of a table: millions of lines


def read_lines(path: str) -> list[str]:
    """The lines of a text file in UTF-8, or in UTF-16 with its mark, whatever ends them.

    Raises:
        TreeError: if it is no regular file, too large, or cannot be read as text.
    """
    try:
        contents = files.read_bytes(path, TreeError, most=MOST_BYTES)
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
    path: str, columns: tuple[str, ...], *, others: tuple[str, ...] = ()
) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a csv or tsv file with at least `columns`; `#` starts a comment.

    A row is one line, with as many cells as the first one, which names the columns, in letters of
    any case. Cells may also stand between `;`, as where a comma is the decimal point (a first
    line `sep=;` is Excel's), or between `|`, as in LibriSpeech's SPEAKERS.TXT, whose comments start
    with `;`, the last of them naming the columns; `|` in the last cell is text then.

    Args:
        path: of the table.
        columns: that it must have.
        others: that it may have; the separator is that by which the first line names most.

    Raises:
        TreeError: with file, line, what was found and the rule, where it is no such table.
    """
    expected = (*columns, *others)
    lines = list(enumerate(read_lines(path), 1))
    kept = [(n, x) for n, x in lines if x.strip() and x.lstrip()[0] != '#']
    bars = [(n, x.lstrip().lstrip(';')) for n, x in kept if x.lstrip()[0] == ';' and '|' in x]
    if bars and _separator(bars[-1][1], expected)[0] > _separator(kept[0][1], expected)[0]:
        kept = [bars[-1], *((n, x) for n, x in kept if x.lstrip()[0] != ';')]
    path = printable(path)
    if not kept:
        raise TreeError(f'{path} is empty; expected a table with the columns {", ".join(columns)}')
    named = re.fullmatch(r'"?sep=([,;|\t])"?\s*', kept[0][1])  # Excel's own line
    kept = kept[1:] if named and kept[1:] else kept
    delimiter = named[1] if named else _separator(kept[0][1], expected)[1]

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

    header = [cell.lower() for cell in cells(*kept[0])]
    if not set(columns) <= set(header):
        raise TreeError(
            f'{path}, line {kept[0][0]}: found the columns {", ".join(header)[:200]}; the first '
            f'line must name {", ".join(columns)}, separated by commas, semicolons or tabs'
        )
    if len(set(header)) < len(header):
        raise TreeError(f'{path}, line {kept[0][0]}: a column is named twice: {", ".join(header)}')
    rows = []
    for number, line in kept[1:]:
        row = cells(number, line, len(header))
        if len(row) != len(header):
            raise TreeError(
                f'{path}, line {number}: found {_shown(line)}, {plural(len(row), "column")}; the '
                f'first line names {len(header)}, and a cell that holds a separator must be in '
                'double quotes'
            )
        rows.append((number, dict(zip(header, row))))
    return rows


def read_sexes(path: str) -> dict[str, str]:
    """{speaker: 'F', 'M' or ''} of a table with the columns speaker and sex; names are composed
    (NFC).

    LibriTTS's `speakers.tsv` (READER, GENDER) is one too, as is LibriSpeech's `SPEAKERS.TXT` (ID,
    SEX, between `|`).

    Raises:
        TreeError: if it is not such a table, or a speaker stands on two lines that differ.
    """
    found = {}
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
        if found.setdefault(speaker, sex) != sex:
            raise TreeError(f'{path}, line {number}: speaker {speaker!r} again, with another sex')
    return found
