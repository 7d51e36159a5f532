"""Tables as text: Markdown to read, CSV to compute with."""

from fgsep_jax.names import csv_text, markdown as escaped
from fgsep_jax.report import items


def cell_text(cell, digits=2):
    """One cell for people: '1.23 [0.98, 1.48]', '-' where no run fills it."""
    if cell is None:
        return '-'
    if isinstance(cell, items.Estimate):
        text = f'{cell.value:.{digits}f}'
        if cell.low is not None:
            text += f' [{cell.low:.{digits}f}, {cell.high:.{digits}f}]'
        return text + (f' ({cell.note})' if cell.note else '')
    if isinstance(cell, float):
        return f'{cell:.{digits}f}'
    return f'{cell:,}' if isinstance(cell, int) else str(cell)


def is_numeric(table, i):
    """Whether a column of a Table holds numbers, beside words in their place."""
    return any(isinstance(row[i], (int, float, items.Estimate)) for row in table.rows)


def markdown(table):
    """A Table as Markdown, with its title and note."""

    def line(cells):
        return '| ' + ' | '.join(escaped(cell, cell=True) for cell in cells) + ' |'

    heads = [
        f'published: {column.label}' if column.published else column.label
        for column in table.columns
    ]
    # Columns of numbers are set to the right.
    sides = ['---:' if is_numeric(table, i) else '---' for i in range(len(heads))]
    lines = [f'### {escaped(table.title)}', '', line(heads), '|' + '|'.join(sides) + '|']
    lines += [
        line(cell_text(cell, column.digits) for cell, column in zip(row, table.columns))
        for row in table.rows
    ]
    return '\n'.join(lines) + '\n' + (f'\n{escaped(table.note)}\n' if table.note else '')


def comma_separated(table):
    """A Table as CSV: full precision; an interval in columns of its own; empty where no run is."""
    wide = {
        i
        for i in range(len(table.columns))
        if any(isinstance(row[i], items.Estimate) for row in table.rows)
    }
    heads = [
        name
        for i, column in enumerate(table.columns)
        for name in (
            [column.key, f'{column.key}_low', f'{column.key}_high', f'{column.key}_note']
            if i in wide
            else [column.key]
        )
    ]
    rows = []
    for row in table.rows:
        cells = []
        for i, cell in enumerate(row):
            if i not in wide:
                cells.append(cell)
            elif isinstance(cell, items.Estimate):
                cells += [cell.value, cell.low, cell.high, cell.note]
            else:
                cells += [cell, None, None, None]
        rows.append(cells)
    return csv_text([heads, *rows])
