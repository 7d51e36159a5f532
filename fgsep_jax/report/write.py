"""Writes a report: Markdown and CSV tables, SVG and PNG figures, one page."""

import contextlib
import json
import os
import re
import tempfile

from fgsep_jax import buckets, files as files_lib, lock, names
from fgsep_jax.report import figures, page
from fgsep_jax.report.parts import Figure, Table, comma_separated, markdown
from fgsep_jax.report.runs import ResultsError

FOLDERS = ('tables', 'figures')
LIST = 'report_files.json'  # names of the files that reports wrote in the folder
OURS = r'index\.html|report\.md|tables/[^/]*\.(md|csv)|figures/[^/]*\.(svg|png)'
READ = buckets.beside(LIST, '')  # of a report in a bucket


def write(sections, output_dir, title):
    """Writes a report's files, each beside itself and renamed; the page last.

    What an earlier report wrote and this one does not is removed; nothing else is touched.

    Args:
      sections: Sections.
      output_dir: made if missing; see `check`.
      title: of the page.

    Returns:
      Path of index.html.

    Raises:
      ResultsError: as `check`.
    """
    files = {}
    for item in (item for section in sections for item in section.items):
        if isinstance(item, Table):
            files[f'tables/{item.name}.md'] = markdown(item)
            files[f'tables/{item.name}.csv'] = comma_separated(item)
        elif isinstance(item, Figure):
            for kind in ('svg', 'png'):
                files[f'figures/{item.name}.{kind}'] = figures.rendered(item, kind)
    files['report.md'] = whole_markdown(sections, title)
    files['index.html'] = page.render(sections, title=title)

    def put(name, content):
        content = (
            content if isinstance(content, bytes) else content.encode(errors='backslashreplace')
        )
        files_lib.write({os.path.join(output_dir, name): content})

    before = check(output_dir, files)
    with _reasons(output_dir):
        for folder in ('', *FOLDERS):
            os.makedirs(os.path.join(output_dir, folder), exist_ok=True)
            files_lib.clean(os.path.join(output_dir, folder))
    # Killed at any instant, the list has old and new files alike.
    put(LIST, _listed({*before, *files}))
    buckets.put_up(output_dir)  # in a bucket, too; clocks of files may be too coarse to tell
    for name, content in files.items():
        put(name, content)
    for name in before - files.keys():
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(output_dir, name))
        buckets.removed(os.path.join(output_dir, name))
    buckets.put_up(output_dir)
    put(LIST, _listed(files))
    return os.path.join(output_dir, 'index.html')


def _listed(names):
    return json.dumps({'files': sorted(names)}, indent=1) + '\n'


def check(output_dir, files=()):
    """Checks that a report may be written to a folder.

    Args:
      output_dir: a folder, empty or of an earlier report.
      files: names of those to be written.

    Returns:
      Names of the files of an earlier report.

    Raises:
      ResultsError: it holds files that no report wrote, one of them or a link is in the way, or
        it cannot be written to, with the reason.
    """
    before = _read_list(os.path.join(output_dir, LIST))
    there = os.listdir(output_dir) if os.path.isdir(output_dir) else []
    there = [name for name in there if name != lock.NAME and not name.startswith(files_lib.PARTIAL)]
    if there and not before:
        raise _in_the_way(os.path.join(output_dir, min(there)))
    for name in {*before, *files, *FOLDERS}:
        path = os.path.join(output_dir, name)
        ours = name in before or name in FOLDERS and (os.path.isdir(path))
        if os.path.islink(path) or os.path.lexists(path) and not ours:
            raise _in_the_way(path)
    with _reasons(output_dir):
        os.makedirs(output_dir, exist_ok=True)
        tempfile.TemporaryFile(dir=output_dir).close()
    return before


@contextlib.contextmanager
def _reasons(output_dir):
    """Turns what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f'--output_dir={output_dir} cannot be written to ({files_lib.why(error)}); give another'
        ) from error


def _read_list(path):
    """Names of the files that a report's list says it wrote, those that no report would left out;
    none where it is no such list."""
    if os.path.islink(path):
        raise _in_the_way(path)
    with contextlib.suppress(ResultsError):
        content = files_lib.read_json(path, ResultsError, halves=True)
        listed = content.get('files', [*content])  # earlier reports: {name: digests}
        if isinstance(listed, list) and 'index.html' in listed:  # every report has a page
            return {
                name
                for name in listed
                if isinstance(name, str) and re.fullmatch(OURS, name) and names.is_path(name)
            }
    return set()


def _in_the_way(path):
    return ResultsError(
        f'{path} is there, and no report wrote it: move it away, or give another --output_dir'
    )


def _alternative(text):
    """Text for those who do not see a picture, in Markdown: any bracket would end it."""
    text = names.markdown(text)
    return re.sub(r'(\\.)|[][]', lambda match: match[1] or f'\\{match[0]}', text)


def whole_markdown(sections, title):
    """The report without its sounds as one Markdown document."""
    parts = [f'# {title}\n']
    for section in sections:
        items = [item for item in section.items if isinstance(item, (Table, Figure))]
        if not items and not section.notes:
            continue
        parts.append(f'## {section.title}\n')
        if section.text:
            parts.append(f'{section.text}\n')
        parts += [f'- {names.markdown(note)}\n' for note in section.notes]
        for item in items:
            if isinstance(item, Table):
                parts.append(markdown(item))
                continue
            parts.append(
                f'### {names.markdown(item.title)}\n\n'
                f'![{_alternative(item.description)}](figures/{item.name}.svg)\n'
                + (f'\n{names.markdown(item.note)}\n' if item.note else '')
            )
    return '\n'.join(parts)
