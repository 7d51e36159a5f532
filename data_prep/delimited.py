"""Tables that users hand to a job as csv or tsv files."""

import csv

from data_prep.corpora import TreeError

SEXES = {'f': 'F', 'female': 'F', 'm': 'M', 'male': 'M', '': '', '?': '', '-': '', 'unknown': ''}


def read_rows(path: str, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a csv or tsv file with at least `columns`; `#` starts a comment.

    A row is one line, with as many cells as the first one.

    Raises:
        TreeError: with file, line, what was found and the rule, where it is no such table.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:
            lines = file.read().split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise TreeError(f'{path} cannot be read as a table: {error}') from error
    kept = [(n, x) for n, x in enumerate(lines, 1) if x.strip() and x.lstrip()[0] != '#']
    if not kept:
        raise TreeError(f'{path} is empty; expected a table with the columns {", ".join(columns)}')
    delimiter = '\t' if '\t' in kept[0][1] else ','

    def cells(number: int, line: str) -> list[str]:
        try:
            [row] = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
        except csv.Error as error:
            raise TreeError(
                f'{path}, line {number}: found {line!r}: {error}; a quoted cell must end on its '
                'line, before a separator'
            ) from error
        return [cell.strip() for cell in row]

    header = cells(*kept[0])
    if not set(columns) <= set(header):
        raise TreeError(
            f'{path}, line {kept[0][0]}: found the columns {", ".join(header)}; the first line '
            f'must name {", ".join(columns)}, separated by commas or tabs'
        )
    if len(set(header)) < len(header):
        raise TreeError(f'{path}, line {kept[0][0]}: a column is named twice: {", ".join(header)}')
    rows = []
    for number, line in kept[1:]:
        row = cells(number, line)
        if len(row) != len(header):
            raise TreeError(
                f'{path}, line {number}: found {line!r}, {len(row)} columns; the first line names '
                f'{len(header)}, and a cell that holds a separator must be in double quotes'
            )
        rows.append((number, dict(zip(header, row))))
    return rows


def read_sexes(path: str) -> dict[str, str]:
    """{speaker: 'F', 'M' or ''} of a table with the columns speaker and sex.

    LibriTTS's `speakers.tsv` (READER, GENDER) is one too.

    Raises:
        TreeError: if it is not such a table, or a speaker stands on two lines that differ.
    """
    found = {}
    for number, row in read_rows(path, ()):
        row = {name.lower(): cell for name, cell in row.items()}
        speaker, sex = (
            next((row[name] for name in names if name in row), None)
            for names in (('speaker', 'speaker_id', 'reader'), ('sex', 'gender'))
        )
        if not speaker or sex is None:
            raise TreeError(
                f'{path}, line {number}: found {", ".join(f"{k}={v!r}" for k, v in row.items())}; '
                'a line needs a speaker (column speaker, speaker_id or READER) and a sex (column '
                'sex or GENDER)'
            )
        if sex.lower() not in SEXES:
            raise TreeError(
                f'{path}, line {number}: found the sex {sex!r}; it must be f, m, or empty'
            )
        sex = SEXES[sex.lower()]
        if found.setdefault(speaker, sex) != sex:
            raise TreeError(f'{path}, line {number}: speaker {speaker!r} again, with another sex')
    return found
