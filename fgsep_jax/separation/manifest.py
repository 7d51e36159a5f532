"""The list of what was separated into a folder: a line a recording."""

import codecs
import contextlib
import csv
import io
import json
import os
import re
import threading

from fgsep_jax import config as config_lib, files, names
from fgsep_jax.names import shown

MANIFEST = 'manifest.csv'
COLUMNS = (
    'path', 'status', 'seconds', 'rate', 'channels', 'gain', 'low_margin_seconds', 'background',
    'real_time_factor', 'model', 'outputs', 'settings', 'bytes', 'modified',
)  # fmt: skip
PATIENCE = 5.0  # seconds that the end of a process waits for a line that is being written

_PARTS = ' -> '  # between the bytes of a recording and those of its parts
_LABELS = ' labels'  # behind the settings of a line whose labels were written, too
# Beside what a spreadsheet would take for a number, and round.
_NS, _DIGEST = ' ns', 'digest '
_NO_UTF8 = re.compile('[\udc80-\udcff]')
_DAMAGED = 'is damaged, or of another version'


class MistakeError(config_lib.ConfigError):
    """A command that cannot be meant so."""


class _DamagedError(MistakeError):
    """A manifest of ours that cannot be read any more."""


def _read_manifest(path, helps):
    """What is in a manifest of ours; a spreadsheet may have saved it, by its own separator, quotes
    and coding.

    Args:
      path: of the file.
      helps: what to do about one of ours that is damaged.

    Returns:
      Its _Rows, and whether another line can be put behind it.

    Raises:
      MistakeError: it cannot be read, is damaged (_DamagedError), or somebody else's.
    """
    content = files.read_bytes(path, MistakeError, most=1 << 30)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode('utf-16', 'replace')
    else:
        text = content.decode('utf-8-sig', 'surrogateescape')
    first = re.match(r'[^\r\n]*', text)[0]
    separator = max(',;\t', key=first.count)
    header = ','.join(COLUMNS)
    if first == text and header.startswith(first):  # a disk was full
        return _Rows(), False
    if first.replace('"', '').split(separator) == [*COLUMNS]:
        is_as_written = content.startswith(f'{header}\n'.encode()) and content.endswith(b'\n')
        rows, fault = _rows(text, separator)
    # Most of its columns, or the names of parts as they are written here.
    elif sum(column in first for column in COLUMNS) > len(COLUMNS) // 2 or '"[""' in text:
        fault = _DAMAGED
    else:
        raise MistakeError(
            f'{shown(path)} is there, and not from this command: move it away, or give another -o'
        )
    if fault:
        raise _DamagedError(f'{shown(path)} {fault}: {helps}')
    return rows, is_as_written


def _rows(text, separator):
    """Its lines {outputs: {column: text}}, without those that a killed process cut; what is wrong
    with another one."""
    before = csv.field_size_limit(1 << 30)  # a damaged line is one that does not count
    try:
        lines = list(csv.DictReader(io.StringIO(text, newline=''), delimiter=separator))
    finally:
        csv.field_size_limit(before)
    rows, fault = _Rows(), ''
    for row in lines:
        if None not in row and None not in row.values():
            row = {key: names.from_cell(value) for key, value in row.items()}
            if _NO_UTF8.search(row['path'] + row['outputs']):
                fault = 'is not UTF-8 any more (a spreadsheet can save it so)'
            elif not _paths(row['outputs']):
                fault = _DAMAGED
            # Neither was there in an earlier version.
            row['settings'] = _DIGEST + row['settings'].removeprefix(_DIGEST)
            row['modified'] = row['modified'] and row['modified'].removesuffix(_NS) + _NS
            rows.put(row)
    return rows, fault


class _Rows(dict):
    """{outputs: line}; a line takes the place of all that list one of its parts."""

    def __init__(self):
        super().__init__()
        self._owner = {}  # path: outputs of its line

    def of(self, path):
        """The line that lists a part; empty where none does."""
        return self.get(self._owner.get(path), {})

    def put(self, row):
        key = row['outputs']
        for path in _paths(key):
            self.pop(self._owner.get(path), None)
            self._owner[path] = key
        self[key] = row


def written_into(folder):
    """Paths of the parts that a manifest in a folder lists; none where it is somebody else's.

    Raises:
      MistakeError: it is ours, and damaged: nothing says which are parts.
    """
    helps = 'move it away with the parts that it listed, or name the recordings alone'
    try:
        rows, _ = _read_manifest(os.path.join(folder, MANIFEST), helps)
    except _DamagedError:
        raise
    except MistakeError:
        return set()
    return {os.path.join(folder, path) for key in rows for path in _paths(key)}


def _text(paths):
    """JSON of paths, all of it printable: of bytes that are no UTF-8 the escapes."""
    text = json.dumps(paths, ensure_ascii=False)
    return text if _printable(text) == text else json.dumps(paths)


def _paths(key):
    """The paths of a line's `outputs`; none of a damaged one."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        return {path for path in json.loads(key) if isinstance(path, str)}
    return set()


def _is_of(row, source):
    """Whether a line is of that very recording; of standard input nobody knows."""
    before = row.get('path', '-')
    named = '-' not in (before, source)
    return named and os.path.realpath(before) == _printable(os.path.realpath(source))


def _size(path):
    """Bytes of a file; 0 where there is none."""
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _printable(text):
    """A text that UTF-8 can hold: bytes of a name that are none are shown by their numbers."""
    return os.fsencode(text).decode(errors='backslashreplace')


class Manifest:
    """The list of what was separated: a line a recording, the last one of it counts.

    A line is written before the parts are put into place, and another one after: whatever instant
    a process ends at, the list knows what is whole and what is ours.

    Args:
      folder: that it is in.
      settings: what tells the way parts are made now from others.
      labels: whether label files are written beside them.
      overwrite: whether a damaged list is replaced.

    Raises:
      MistakeError: a file of its name is somebody else's, or damaged.
    """

    def __init__(self, folder, settings, labels=False, overwrite=False):
        self._folder, self._path = folder, os.path.join(folder, MANIFEST)
        self._settings = _DIGEST + settings
        self._labels = _LABELS if labels else ''
        self.rows, self._is_whole = _Rows(), False
        self._mutex = threading.RLock()  # of the file and the rows
        if os.path.lexists(self._path):
            try:
                self.rows, self._is_whole = _read_manifest(
                    self._path, 'move it away, or --overwrite'
                )
            except _DamagedError:
                if not overwrite:
                    raise

    @staticmethod
    def key(job):
        return _text(list(job.outputs.values()))

    def is_done(self, job, folder, beside=()):
        """Whether a recording is unchanged since its parts, all there, were written this way."""
        if not self.says_done(job) or not self.is_ours(job, labels=bool(beside)):
            return False
        try:
            about = os.stat(job.source)
        except OSError:  # what is wrong with it is said where it is read
            return False
        paths = [os.path.join(folder, path) for path in (*job.outputs.values(), *beside)]
        there = all(map(os.path.isfile, paths)) and all(map(_size, paths[: len(job.outputs)]))
        return self._is_unchanged(job, about) and there and not self.changed(job)

    def _is_unchanged(self, job, about):
        row = self.rows.get(self.key(job), {})
        if about is None or not row:
            return False
        before = row['bytes'].partition(_PARTS)[0], row['modified']
        return before == (str(about.st_size), f'{about.st_mtime_ns}{_NS}')

    def changed(self, job):
        """Parts that have another number of bytes than were written, but for empty ones."""
        sizes = self.rows.get(self.key(job), {}).get('bytes', '').partition(_PARTS)[2].split()
        return [
            path
            for path, size in zip(job.outputs.values(), sizes)
            if str(_size(os.path.join(self._folder, path))) not in ('0', size)
        ]

    def says_done(self, job):
        """Whether the last line of a recording says that it is done."""
        return self.rows.get(self.key(job), {}).get('status', '').partition(':')[0] == 'done'

    def is_ours(self, job, labels=False):
        """Whether the parts of that very recording, or their `labels`, were written this way, or
        begun."""
        row = self.rows.get(self.key(job), {})
        if not self._is_same(row) or not _is_of(row, job.source):
            return False
        return row['settings'].endswith(_LABELS) or not labels

    def _is_same(self, row):
        return row.get('settings', '').removesuffix(_LABELS) == self._settings

    def whose(self, path, job):
        """Words on a file that is there and not ours (`is_ours`), and what helps."""
        row = self.rows.of(path)
        if path in self.changed(job):
            return 'and was changed since it was written: move it away, or --overwrite'
        if row and not _is_of(row, job.source):
            before = 'standard input' if row['path'] == '-' else row['path']
            return f'made of {shown(before)}: give another -o or --name, or --overwrite'
        if row and self._is_same(row):
            parts = ', '.join(map(shown, sorted(_paths(row['outputs']))))
            return (
                f'of these settings, but with other parts ({parts}): give the same --sources and'
                ' --residual, another -o, or --overwrite'
            )
        return 'and not from this model with these settings: give another -o, or --overwrite'

    def add(self, job, status, about=None, **values):
        """Writes a line; `about` is what `os.stat` said of the recording before it was read.

        Raises:
          OSError: it cannot be written, or the folder is another process's, or gone, by now.
        """
        row, stays = dict.fromkeys(COLUMNS, ''), self._is_unchanged(job, about)
        labels = self._labels or _LABELS * (stays and self.is_ours(job, labels=True))
        settings = self._settings + labels
        path = job.source if job.source == '-' else os.path.abspath(job.source)
        row |= {'path': path, 'outputs': self.key(job), 'settings': settings}
        if about is not None:
            row |= {'bytes': about.st_size, 'modified': f'{about.st_mtime_ns}{_NS}'}
            if status.startswith('done'):
                paths = [os.path.join(self._folder, path) for path in job.outputs.values()]
                row['bytes'] = f'{about.st_size}{_PARTS}{" ".join(str(_size(p)) for p in paths)}'
        row |= {'status': status, **values}
        row = {key: '' if row[key] is None else _printable(str(row[key])) for key in COLUMNS}
        with self._mutex:
            self.rows.put(row)
            if not self._is_whole:  # behind a cut line this one would be lost with it
                self.settle()
                return
            text = names.csv_text([row.values()])
            files.refuse_links(*os.path.split(self._path))
            files.check_locks(self._path)
            with open(self._path, 'ab') as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())

    def settle(self):
        """Leaves one line a recording."""
        with self._mutex:
            rows = [[row.get(key, '') for key in COLUMNS] for row in self.rows.values()]
            text = names.csv_text([COLUMNS, *rows]).encode()
            files.write({self._path: text})
            self._is_whole = True

    def leave(self):
        """As `settle`, while another thread may be separating and the process ends.

        The mutex is kept: a line of that thread would go to the file that this one replaced, and
        without its line no part may be put into place. A disk that does not answer is not waited
        for.
        """
        if self._mutex.acquire(timeout=PATIENCE) and self._is_whole:
            self.settle()
