"""Writes a report: Markdown and CSV tables, SVG and PNG figures, one page."""

import contextlib
import json
import os
import re
import tempfile

from fgsep_jax import files as files_lib
from fgsep_jax.names import is_path, markdown as escaped
from fgsep_jax.report import items, page, results, style
from fgsep_jax.report.text import comma_separated, markdown

MANIFEST = 'report_files.json'  # {file: digests of what the report wrote, or is about to write}


class NotOurs(results.ResultsError):
    """A file in the way that no report wrote."""


def write(sections, output_dir, title):
    """Writes a report's files, each beside itself and renamed; the page last.

    What an earlier report wrote and this one does not is removed. Files that no report wrote, or
    that were changed since, are neither removed nor replaced.

    Args:
        sections: Sections.
        output_dir: made if missing.
        title: of the page.

    Returns:
        Path of index.html.

    Raises:
        NotOurs: such a file has the name of one to be written; nothing was written.
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
    files = {
        name: content if isinstance(content, bytes) else content.encode(errors='backslashreplace')
        for name, content in files.items()
    }

    def put(name, content):
        files_lib.write({os.path.join(output_dir, name): content})

    before = _manifest(output_dir)
    for name in files:
        if not _may_replace(output_dir, name, before):
            raise NotOurs(
                f'{os.path.join(output_dir, name)} is there, and not as a report wrote'
                ' it: move it away, or give another --output_dir'
            )
    prepare(output_dir)
    # Killed at any instant, the manifest knows old and new files alike.
    now = {name: [files_lib.digest(content)] for name, content in files.items()}
    put(
        MANIFEST,
        _json({name: before.get(name, []) + now.get(name, []) for name in {*before, *now}}),
    )
    for name, content in files.items():
        put(name, content)
    for name in before.keys() - files.keys():
        if _may_replace(output_dir, name, before):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(output_dir, name))
    put(MANIFEST, _json(now))
    return os.path.join(output_dir, 'index.html')


def prepare(output_dir):
    """Makes the folders of a report.

    Raises:
        ResultsError: that cannot be, with the reason.
    """
    try:
        for folder in ('tables', 'figures'):
            os.makedirs(os.path.join(output_dir, folder), exist_ok=True)
        for folder in ('', 'tables', 'figures'):
            files_lib.clean(os.path.join(output_dir, folder))
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise results.ResultsError(
            f'--output_dir={output_dir} cannot be written to ({error.strerror}); give another'
        ) from error


def _manifest(output_dir):
    """{name: digests} of an earlier report, names that no report would write left out."""
    try:
        content = files_lib.read_json(os.path.join(output_dir, MANIFEST), results.ResultsError)
    except results.ResultsError:
        return {}
    return {
        name: digests
        for name, digests in content.items()
        if isinstance(digests, list)
        and is_path(name)
        and os.path.dirname(name) in ('', 'tables', 'figures')
    }


def _may_replace(output_dir, name, manifest):
    """Whether a file is missing, or as a report wrote it."""
    try:
        with open(os.path.join(output_dir, name), 'rb') as file:
            return files_lib.digest(file.read()) in manifest.get(name, [])
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _json(content):
    return (json.dumps(content, indent=1, sort_keys=True) + '\n').encode()


def _alternative(text):
    """Text for those who do not see a picture, in Markdown: any bracket would end it."""
    return re.sub(r'(\\.)|[][]', lambda found: found[1] or f'\\{found[0]}', escaped(text))


def whole_markdown(sections, title):
    """The report without its sounds as one Markdown document."""
    parts = [f'# {title}\n']
    for section in sections:
        if all(isinstance(item, items.Listening) for item in section.items or [None]):
            continue
        parts.append(f'## {section.title}\n')
        if section.text:
            parts.append(f'{section.text}\n')
        parts += [f'- {escaped(note)}\n' for note in section.notes]
        for item in section.items:
            if isinstance(item, items.Table):
                parts.append(markdown(item))
            elif isinstance(item, items.Figure):
                parts.append(
                    f'### {escaped(item.title)}\n\n'
                    f'![{_alternative(item.description)}](figures/{item.name}.svg)\n'
                    + (f'\n{escaped(item.note)}\n' if item.note else '')
                )
    return '\n'.join(parts)
