"""Writes a report: Markdown and CSV tables, SVG and PNG figures, one page."""

import os
import re

from fgsep_jax.report import items, page, style
from fgsep_jax.report.text import comma_separated, markdown

LIST = 'files.txt'  # what a report wrote


def write(sections, output_dir, title):
    """Writes a report's files, each beside itself and renamed; the page last.

    What an earlier report wrote there, and this one does not, is removed; other files stay.

    Args:
        sections: Sections.
        output_dir: made if missing.
        title: of the page.

    Returns:
        Path of index.html.
    """
    files = {}
    for section in sections:
        for item in section.items:
            if isinstance(item, items.Table):
                files[f'tables/{item.name}.md'] = markdown(item)
                files[f'tables/{item.name}.csv'] = comma_separated(item)
            elif isinstance(item, items.Figure):
                for kind in ('svg', 'png'):
                    files[f'figures/{item.name}.{kind}'] = style.rendered(item, kind)
    files['report.md'] = whole_markdown(sections, title)
    files['index.html'] = page.render(sections, title=title)
    for folder in ('', 'tables', 'figures'):
        os.makedirs(os.path.join(output_dir, folder), exist_ok=True)
    before = _read_list(os.path.join(output_dir, LIST))
    # Both reports' files are listed while there may be some of each.
    _put(output_dir, LIST, '\n'.join(sorted({*files, *before})) + '\n')
    for name, content in files.items():
        _put(output_dir, name, content)
    for name in before - files.keys():
        if os.path.exists(os.path.join(output_dir, name)):
            os.remove(os.path.join(output_dir, name))
    _put(output_dir, LIST, '\n'.join(sorted(files)) + '\n')
    return os.path.join(output_dir, 'index.html')


def _read_list(path):
    """Names in an earlier report's list, as far as they can be of a report."""
    if not os.path.exists(path):
        return set()
    with open(path) as file:
        names = file.read().split('\n')
    return {name for name in names
            if re.fullmatch(r'((tables|figures)/)?[^/]+\.(md|csv|svg|png|html)', name)}


def _put(folder, name, content):
    path = os.path.join(folder, name)
    with open(f'{path}.partial', 'wb') as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    os.replace(f'{path}.partial', path)


def whole_markdown(sections, title):
    """The report without its sounds as one Markdown document."""
    parts = [f'# {title}\n']
    for section in sections:
        parts.append(f'## {section.title}\n')
        if section.text:
            parts.append(f'{section.text}\n')
        parts += [f'- {note}\n' for note in section.notes]
        for item in section.items:
            if isinstance(item, items.Table):
                parts.append(markdown(item))
            elif isinstance(item, items.Figure):
                parts.append(f'### {item.title}\n\n![{item.description}](figures/{item.name}.svg)\n'
                             + (f'\n{item.note}\n' if item.note else ''))
    return '\n'.join(parts)
