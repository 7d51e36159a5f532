"""Writes and reads small files: whole or not at all, of limited size, and as what they are.

Whatever is wrong with one that is read (damage, a folder or a pipe in its place, another program's
content) ends in one error of the caller's kind whose one line names the file.
"""

import contextlib
import errno
import functools
import hashlib
import io
import json
import math
import os
import shutil
import stat
import struct
import tempfile
import zlib

from fgsep_jax import buckets
from fgsep_jax.names import shown

PARTIAL = '.fgsep_partial-'  # in front of the name of what is being written
MOST_BYTES = 64 << 20  # of one JSON file
_UNSAID = {MemoryError: 'there is no memory for it', EOFError: 'it ends too early'}
_unfinished = set()  # paths that are being written
checks = {}  # {folder that this process holds: what raises once it does not}, see `check_locks`
_MOST_DIGITS = 19  # of a whole number: more fit neither an index nor a float


def write(contents):
    """Writes files beside themselves, and when all are there renames them in the given order.

    Args:
      contents: {path: text or bytes}.

    Raises:
      OSError: one cannot be written, or is a link.
    """
    for path in contents:
        refuse_links(*os.path.split(path))
    with unfinished(contents) as partials:
        for path, content in contents.items():
            write_in_place(partials[os.fspath(path)], content)
        for path in contents:
            put_in_place(partials[os.fspath(path)], path)


@contextlib.contextmanager
def located(path):
    """Within, an error of the system's that names no file names this one."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def refuse_special(path):
    """Refuses to replace what is no file, as a device or a pipe is none.

    Raises:
      OSError: it is one.
    """
    with contextlib.suppress(FileNotFoundError):
        kind = stat.S_IFMT(os.lstat(path).st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise OSError(errno.EEXIST, 'a device, a pipe or a socket: it is not replaced', path)


def put_in_place(partial, path):
    """Renames a file, or folder, that was written beside its name; see `check_locks`."""
    check_locks(path)
    refuse_special(path)
    os.replace(partial, path)


def check_locks(path):
    """Refuses to put something in place in a folder whose lock this process had, and has lost.

    Raises:
      lock.Lost: it was removed, or is another's.
    """
    path = os.fspath(path) if buckets.is_url(path) else os.path.abspath(path)
    for folder, check in list(checks.items()):
        if f'{path}/'.startswith(f'{folder}/'):
            check()


def write_in_place(path, content):
    """Writes text or bytes, whole or not at all; unlike `open`, a full disk's error names the file,
    too."""
    refuse_links(*os.path.split(path))
    try:
        file = open(path, 'wb')
        try:
            with file:
                file.write(content.encode() if isinstance(content, str) else content)
        except BaseException:
            if os.path.isfile(path):  # nor a device
                os.unlink(path)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def refuse_links(folder, *paths):
    """Refuses links where files of ours are written: what they lead to is not ours.

    Args:
      folder: it may be a link itself: so people put what is large onto another disk.
      *paths: below it; each part of each is looked at.

    Raises:
      OSError: one is a link.
    """
    for path in paths:
        place = folder
        for part in os.fspath(path).split(os.sep):
            place = os.path.join(place, part)
            if os.path.islink(place):
                reason = f'a link to {shown(os.readlink(place))}, and nothing is written to where'
                raise OSError(errno.ELOOP, f'{reason} a link leads: move it away', place)


def check_folder(folder):
    """Refuses a folder that cannot be made, since a file has its name, or that of one above it.

    Raises:
      OSError: it names that file.
    """
    above = nearest(folder)
    if os.path.exists(above) and not os.path.isdir(above):
        above = folder if above == os.path.abspath(folder) else above
        raise OSError(f'{shown(above)} is a file, not a folder')


def nearest(folder):
    """The folder itself, or the lowest above it that is there: an absolute path."""
    above = os.path.abspath(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    return above


def partial(path):
    """Name of a file, or folder, as long as it is being written; see `clean`."""
    folder, name = os.path.split(os.fspath(path))
    if len(os.fsencode(PARTIAL + name)) > 255:  # bytes of a name that file systems take
        name = digest(os.fsencode(name))
    return os.path.join(folder, PARTIAL + name)


@contextlib.contextmanager
def unfinished(contents):
    """Within, files are written beside their names; what is still there at the end is removed.

    So it is where the process leaves without unwinding (`remove_unfinished`).

    Args:
      contents: paths of the files.

    Yields:
      {path: where it is to be written}.

    Raises:
      OSError: of one that cannot be written, by the name that its reader knows.
    """
    partials = {path: partial(path) for path in map(os.fspath, contents)}
    _unfinished.update(partials.values())
    try:
        yield partials
    except OSError as error:
        called = {where: path for path, where in partials.items()}
        if error.filename in called:  # to set it, if to None, would take a bare text's words
            error.filename = called[error.filename]
        raise
    finally:
        for where in filter(os.path.lexists, partials.values()):
            with contextlib.suppress(OSError):
                os.unlink(where)
        _unfinished.difference_update(partials.values())


@contextlib.contextmanager
def temporary(suffix, folder=''):
    """A file that others open by its name, in a folder or the system's; goes as in `unfinished`."""
    with tempfile.NamedTemporaryFile(prefix=PARTIAL, suffix=suffix, dir=folder or None) as file:
        _unfinished.add(file.name)
        try:
            yield file
        finally:
            _unfinished.discard(file.name)


def remove_unfinished():
    """Removes what is unfinished or temporary, before the process leaves without unwinding."""
    for where in list(_unfinished):
        with contextlib.suppress(OSError):
            os.unlink(where)


def clean(folder):
    """Removes what killed processes left half written in a folder that this process has locked."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if not name.startswith(PARTIAL):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def wav(signal_T, sample_rate):
    """A signal in [-1, 1] as the bytes of a mono 16-bit WAV file.

    By way of memory, since libsndfile does not say that a disk is full.
    """
    import soundfile  # a library of its own, which reading files does without

    content = io.BytesIO()
    soundfile.write(content, signal_T, sample_rate, 'PCM_16', format='WAV')
    return content.getvalue()


def png(picture, colours=None):
    """A picture as the bytes of a PNG file.

    Args:
      picture: uint8 [height, width, 3], red, green and blue; or [height, width], rows of
        `colours`.
      colours: uint8 [256, 3]; None for those that say their own.
    """

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', checksum)

    height, width = picture.shape[:2]
    kind = 2 if colours is None else 3  # true colours, or by number
    rows = (b'\0' + row.tobytes() for row in picture)  # each as it is, unfiltered
    return b''.join(
        (
            b'\x89PNG\r\n\x1a\n',
            chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, kind, 0, 0, 0)),
            b'' if colours is None else chunk(b'PLTE', colours.tobytes()),
            chunk(b'IDAT', zlib.compress(b''.join(rows), 9)),
            chunk(b'IEND', b''),
        )
    )


def digest(content):
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def checksum(content):
    """CRC-32C of what JSON holds, as a checkpoint is known by."""
    import google_crc32c  # a library of its own

    return f'{google_crc32c.value(json.dumps(content, sort_keys=True).encode()):08x}'


def to_json(content):
    """Canonical JSON: sorted keys, so that equal contents are equal bytes."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + '\n'


def with_digest(content):
    """The object that a JSON file will hold, with the digest of all the rest; see `is_damaged`."""
    content = json.loads(json.dumps(content))  # as it will be read
    content.pop('digest', None)
    return {**content, 'digest': digest(to_json(content).encode(errors='surrogatepass'))[:16]}


def is_damaged(content):
    """Whether an object that was read has a digest that is not its own; an empty one, of a file
    that was changed on purpose, is held against nothing."""
    said = content.get('digest', '')
    try:
        return said != '' and said != with_digest(content)['digest']
    except RecursionError:  # what is nested so deeply, nobody wrote
        return True


def read_bytes(path, error, *, most=MOST_BYTES):
    """Content of a regular file.

    Args:
      path: of the file, or its URL in a bucket.
      error: class of exception to raise.
      most: bytes it may have.

    Raises:
      error: it is missing, no regular file, too large or cannot be read.
    """
    path = os.fspath(path)
    try:
        if buckets.is_url(path):
            return buckets.read(path)
        about = os.stat(path)  # before opening: a pipe would wait for its writer
        if not stat.S_ISREG(about.st_mode):
            kind = 'a folder' if stat.S_ISDIR(about.st_mode) else 'no regular file'
            raise error(f'{path} cannot be read: it is {kind}')
        if about.st_size > most:
            raise error(f'{path} has {about.st_size} bytes, more than such a file can have')
        with open(path, 'rb') as file:
            return file.read()
    except (OSError, ValueError) as problem:
        if isinstance(problem, error):
            raise
        reason = getattr(problem, 'strerror', None) or problem
        raise error(f'{path} cannot be read: {reason}') from problem


def read_json(path, error, *, finite=True, halves=False):
    """The object in a JSON file.

    Args:
      path: of the file.
      error: class of exception to raise.
      finite: whether NaN and infinite numbers are errors, too.
      halves: whether texts may hold half characters, which cannot be printed.

    Returns:
      Dict.

    Raises:
      error: it cannot be read, or holds anything but one JSON object.
    """
    data = read_bytes(path, error)
    return parse_json(data, error, where=os.fspath(path), finite=finite, halves=halves)


def parse_json(data, error, *, where, finite=True, halves=False):
    """The object in the bytes of a JSON file; as `read_json`.

    Args:
      where: name of the file, for the message.
    """
    try:
        value = _decoder(finite).decode(data.decode('utf-8-sig'))
        if not halves and b'\\u' in data:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as problem:
        raise error(f'{where} is nested too deeply') from problem
    except ValueError as problem:
        raise error(f'{where} is no valid JSON: {problem}') from problem
    if not isinstance(value, dict):
        raise error(f'{where} holds {_kind(value)}, not a JSON object')
    return value


@functools.cache  # a log has a million lines
def _decoder(finite):
    return json.JSONDecoder(
        object_pairs_hook=_without_repeats,
        parse_int=_integer,
        parse_float=_finite if finite else float,
        parse_constant=_finite if finite else float,
    )


def _kind(value):
    kinds = {list: 'a list', str: 'a text', bool: 'true or false', type(None): 'nothing (null)'}
    return kinds.get(type(value), 'a number')


def _without_repeats(pairs):
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'{next(n for n in names if names.count(n) > 1)!r} stands in it twice')
    return value


def _integer(text):
    if len(text) > _MOST_DIGITS:
        raise ValueError(f'a whole number of {len(text)} digits')
    return int(text)


def _finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f'{text} is no finite number')
    return number


def is_number(value):
    """Whether a value read from JSON is a finite number (True and False are none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def why(error):
    """What an exception says, in words on one line, without the form that Python gives it."""
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    if isinstance(error, KeyError) and len(error.args) == 1:
        return f'{shown(str(error.args[0]))} is missing'
    said = shown(' '.join(str(error).split())[:200])
    return said or _UNSAID.get(type(error), 'no reason is given')


def misfits(tree, pattern, prefix=''):
    """What sets an object apart from an example of it: (unknown keys, sentences on wrong types).

    Keys that it lacks are no misfits; a whole number may stand where the example has a fraction.
    """
    unknown, wrong = [], []
    for name, value in tree.items():
        key = f'{prefix}{name}'
        if name not in pattern:
            unknown.append(key)
        elif isinstance(pattern[name], dict) and isinstance(value, dict):
            below = misfits(value, pattern[name], f'{key}.')
            unknown, wrong = unknown + below[0], wrong + below[1]
        else:
            kind = type(pattern[name])
            if not (type(value) is kind or (kind is float and type(value) is int)):
                wrong.append(f'{key} = {value!r:.60} must be of type {kind.__name__}')
    return unknown, wrong


def flatten(tree, prefix=''):
    """Turns nested dicts into {'a.b': value}."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f'{prefix}{key}.')
        else:
            flat[prefix + key] = value
    return flat


def walked(folder, refused=None):
    """As `os.walk`; each folder is entered once, its links behind what is itself there.

    Links are followed, so that a folder of links to runs works; a loop of them ends.

    Args:
      folder: where it begins.
      refused: called with the OSError of a folder that cannot be read.
    """
    seen = set()
    for parent, folders, entries in os.walk(folder, onerror=refused, followlinks=True):
        try:
            about = os.stat(parent)
        except OSError:
            folders.clear()
            continue
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))
        yield parent, folders, entries


def find(folder, name, refused=None):
    """Paths below `folder` of all files called `name`, sorted; see `walked`."""
    return sorted(
        os.path.join(parent, name)
        for parent, folders, entries in walked(folder, refused)
        # A folder in place of the file is named by whoever reads it.
        if name in entries or name in folders
    )
