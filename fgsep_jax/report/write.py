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

FOLDERS = ('tables', 'figures')
MANIFEST = 'report_files.json'  # {file: digests of what the report wrote, or is about to write}


class NotOurs(results.ResultsError):
    """A file in the way that no report wrote."""


def write(sections, output_dir, title):
    """Writes a report's files, each beside itself and renamed; the page last.

    What an earlier report wrote and this one does not is removed. Files that no report wrote, or
    that were changed since, are neither removed nor replaced.

    Args:
        sections: Sections.
        output_dir: made if missing; see `check`.
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
            raise NotOurs(_in_the_way(os.path.join(output_dir, name)))
    with _reasons(output_dir):
        os.makedirs(output_dir, exist_ok=True)
        check(output_dir)
        for folder in FOLDERS:
            os.makedirs(os.path.join(output_dir, folder), exist_ok=True)
        for folder in ('', *FOLDERS):
            files_lib.clean(os.path.join(output_dir, folder))
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


def check(output_dir):
    """Checks that a report may be written to a folder, before anything is made for it.

    Args:
        output_dir: a folder that is there.

    Raises:
        NotOurs: it holds a list of files that no report wrote, or a part of it is a link.
        ResultsError: it cannot be written to, with the reason.
    """
    _manifest(output_dir)
    for path in (os.path.join(output_dir, folder) for folder in FOLDERS):
        if os.path.islink(path) or os.path.lexists(path) and not os.path.isdir(path):
            kind = f'a link to {os.path.realpath(path)}' if os.path.islink(path) else 'no folder'
            raise NotOurs(f'{path} is {kind}: move it away, or give another --output_dir')
    with _reasons(output_dir), tempfile.TemporaryFile(dir=output_dir):
        pass


@contextlib.contextmanager
def _reasons(output_dir):
    """Turns what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise results.ResultsError(
            f'--output_dir={output_dir} cannot be written to ({error.strerror}); give another'
        ) from error


def _manifest(output_dir):
    """{name: digests} of an earlier report, names that no report would write left out.

    Raises:
        NotOurs: a file of its name is there that no report wrote.
    """
    path = os.path.join(output_dir, MANIFEST)
    if not os.path.lexists(path):
        return {}
    if os.path.islink(path):
        raise NotOurs(_in_the_way(path))
    try:
        content = files_lib.read_json(path, results.ResultsError, halves=True)
    except results.ResultsError:
        content = None
    # Every report has a page.
    if 'index.html' not in (content or ()) or not all(map(_are_digests, content.values())):
        raise NotOurs(_in_the_way(path))
    return {
        name: digests
        for name, digests in content.items()
        if is_path(name) and os.path.dirname(name) in ('', *FOLDERS)
    }


def _are_digests(value):
    return isinstance(value, list) and all(
        isinstance(one, str) and re.fullmatch('[0-9a-f]*', one) for one in value
    )


def _in_the_way(path):
    return (
        f'{path} is there, and not as a report wrote it: move it away, or give another --output_dir'
    )


def _may_replace(output_dir, name, manifest):
    """Whether a file is missing, or as a report wrote it."""
    path = os.path.join(output_dir, name)
    if not os.path.lexists(path):
        return True
    if os.path.islink(path):
        return False
    try:
        content = files_lib.read_bytes(path, results.ResultsError, most=4 << 30)
    except results.ResultsError:
        return False
    return files_lib.digest(content) in manifest.get(name, [])


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
