"""What a report is made of, and its tables as text: Markdown to read, CSV to compute with."""

import dataclasses
from typing import Any

from fgsep_jax import names
from fgsep_jax.report.intervals import Estimate

HEADS = {
    'model': 'Model',
    'objective': 'Objective',
    'preset': 'Preset',
    'parameters': 'Parameters',
    'seeds': 'Seeds',
    'steps': 'Steps trained',
    'evaluated_at': 'Evaluated at step',
    'trained_on': 'Trained on',
    'evaluated_on': 'Evaluated on',
    'system': 'System',
    'claim': 'Claim',
    'verdict': 'Verdict',
}


def heads(keys, more=()):
    """Columns of a Table: the usual ones of some keys in one text, and more, {key: heading}."""
    return {key: HEADS[key] for key in keys.split()} | dict(more)


class Named:
    """Brings the name of a part into a form that files and pages can have."""

    def __post_init__(self):
        object.__setattr__(self, 'name', names.part(self.name, ascii=True))


@dataclasses.dataclass(frozen=True)
class Table(Named):
    """A table.

    Attributes:
      name: of its files, 'table_1'.
      title: heading; names the data set.
      columns: {name in the CSV file: heading with its unit}. Where the name begins with
        'published' the column holds numbers from a paper, which are never shown as ours.
      rows: a list a row of str, int, float, Estimate, or None where no run fills the cell.
      note: sentences below it; '' for none.
    """

    name: str
    title: str
    columns: dict[str, str]
    rows: list[list[Any]]
    note: str = ''

    @property
    def filled(self):
        """Whether any cell is an estimate of ours."""
        return any(isinstance(cell, Estimate) for row in self.rows for cell in row)


@dataclasses.dataclass(frozen=True)
class Figure(Named):
    """A figure.

    Attributes:
      name: of its files, 'figure_5'.
      title: heading.
      description: what it shows, for those who cannot see it.
      figure: matplotlib Figure.
      note: sentences below it.
    """

    name: str
    title: str
    description: str
    figure: Any
    note: str = ''


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
      name: its anchor.
      title: heading.
      text: an introductory paragraph.
      items: Tables, Figures and Listenings in order; what no run fills may be None.
      notes: sentences about what is missing or left out.
      folded: whether the page shows no more than its heading until one asks for it.
    """

    name: str
    title: str
    text: str
    items: list
    notes: tuple[str, ...] = ()
    folded: bool = False


def is_published(key):
    """Whether a column holds numbers from a paper."""
    return key.startswith('published')


def cell_text(cell, key=''):
    """A cell of a column for people: '1.23 [0.98, 1.48]', '-' where no run fills it."""
    digits = 1 if is_published(key) else 2
    if cell is None:
        return '-'
    if isinstance(cell, Estimate):
        text = f'{cell.value:.{digits}f}'
        if cell.low is not None:
            text += f' [{cell.low:.{digits}f}, {cell.high:.{digits}f}]'
        return text + (f' ({cell.note})' if cell.note else '')
    if isinstance(cell, float):
        return f'{cell:.{digits}f}'
    return f'{cell:,}' if isinstance(cell, int) else str(cell)


def numeric(table):
    """For each column whether it holds numbers, beside words in their place."""
    return [
        any(isinstance(cell, (int, float, Estimate)) for cell in column)
        for column in zip(*table.rows)
    ] or [False] * len(table.columns)


def markdown(table):
    """A Table as Markdown, with its title and note."""
    heads = [
        f'published: {label}' * is_published(key) or label for key, label in table.columns.items()
    ]
    rows = [[cell_text(cell, key) for key, cell in zip(table.columns, row)] for row in table.rows]
    text = f'### {names.markdown(table.title)}\n\n' + names.markdown_table(
        heads, rows, numeric(table)
    )
    return text + '\n' + (f'\n{names.markdown(table.note)}\n' if table.note else '')


def comma_separated(table):
    """A Table as CSV: full precision; an interval in columns of its own; empty where no run is."""
    wide = [any(isinstance(cell, Estimate) for cell in column) for column in zip(*table.rows)]
    lines = [[]]
    for key, is_wide in zip(table.columns, wide or [False] * len(table.columns)):
        lines[0] += [key, f'{key}_low', f'{key}_high', f'{key}_note'] if is_wide else [key]
    for row in table.rows:
        lines.append([])
        for cell, is_wide in zip(row, wide):
            # The fields of an Estimate are those columns.
            cells = [*cell] if isinstance(cell, Estimate) else [cell, None, None, None]
            lines[-1] += cells if is_wide else [cell]
    return names.csv_text(lines)
