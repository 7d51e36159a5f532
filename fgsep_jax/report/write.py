"""Writes a report: Markdown and CSV tables, SVG and PNG figures, one page."""

import csv
import io
import os

from fgsep_jax.report import items


def write(sections, output_dir, title):
    """Writes a report's files, each beside itself and renamed; the page last.

    Args:
        sections: Sections.
        output_dir: made if missing; files of an earlier report are replaced.
        title: of the page.

    Returns:
        Path of index.html.
    """
    from fgsep_jax.report import page, style  # matplotlib, which `markdown` does without

    for folder in ('', 'tables', 'figures'):
        os.makedirs(os.path.join(output_dir, folder), exist_ok=True)
    for section in sections:
        for item in section.items:
            if isinstance(item, items.Table):
                _put(output_dir, f'tables/{item.name}.md', markdown(item))
                _put(output_dir, f'tables/{item.name}.csv', comma_separated(item))
            elif isinstance(item, items.Figure):
                for kind in ('svg', 'png'):
                    _put(output_dir, f'figures/{item.name}.{kind}', style.rendered(item, kind))
    _put(output_dir, 'report.md', whole_markdown(sections, title))
    _put(output_dir, 'index.html', page.render(sections, title=title))
    return os.path.join(output_dir, 'index.html')


def _put(folder, name, content):
    path = os.path.join(folder, name)
    with open(f'{path}.partial', 'wb') as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    os.replace(f'{path}.partial', path)


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


def markdown(table):
    """A Table as Markdown, with its title and note."""
    def line(cells):
        return '| ' + ' | '.join(str(cell).replace('|', r'\|') for cell in cells) + ' |'

    heads = [f'published: {column.label}' if column.published else column.label
             for column in table.columns]
    # Columns of numbers are set to the right.
    sides = ['---' if any(isinstance(row[i], str) for row in table.rows) else '---:'
             for i in range(len(heads))]
    lines = [f'### {table.title}', '', line(heads), '|' + '|'.join(sides) + '|']
    lines += [line(cell_text(cell, column.digits) for cell, column in zip(row, table.columns))
              for row in table.rows]
    return '\n'.join(lines) + '\n' + (f'\n{table.note}\n' if table.note else '')


def comma_separated(table):
    """A Table as CSV: full precision; an interval in columns of its own; empty where no run is."""
    wide = {i for i in range(len(table.columns))
            if any(isinstance(row[i], items.Estimate) for row in table.rows)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow([name for i, column in enumerate(table.columns)
                     for name in ([column.key, f'{column.key}_low', f'{column.key}_high',
                                   f'{column.key}_note'] if i in wide else [column.key])])
    for row in table.rows:
        cells = []
        for i, cell in enumerate(row):
            if i not in wide:
                cells.append(cell)
            elif isinstance(cell, items.Estimate):
                cells += [cell.value, cell.low, cell.high, cell.note]
            else:
                cells += [cell, None, None, None]
        writer.writerow(['' if cell is None else cell for cell in cells])
    return text.getvalue()


def whole_markdown(sections, title):
    """The report without its sounds as one Markdown document."""
    parts = [f'# {title}\n']
    for section in sections:
        parts.append(f'## {section.title}\n')
        if section.text:
            parts.append(f'{section.text}\n')
        for item in section.items:
            if isinstance(item, items.Table):
                parts.append(markdown(item))
            elif isinstance(item, items.Figure):
                parts.append(f'### {item.title}\n\n![{item.description}](figures/{item.name}.svg)\n'
                             + (f'\n{item.note}\n' if item.note else ''))
    return '\n'.join(parts)
