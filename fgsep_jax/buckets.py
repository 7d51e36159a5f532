"""Folders in buckets (gs://, s3:// and whatever else fsspec opens) as folders of this machine.

A program works in a copy on this machine's disk: `local` brings a folder here, `put_up` takes
there what has changed since. So nothing else knows of buckets, but for what is too large to come
along: records of data sets, of which the very bytes are read, and checkpoints, which Orbax saves
there itself.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import socket
import tempfile
import threading

from fgsep_jax.names import shown

# What of a run stays in the bucket; a copy has the folders, so that they are seen to be there.
STAYS = ('tensorboard', 'wandb')
BROUGHT = ('wandb/id',)  # of these folders: by which a resumed training goes on there
ORBAX = ('gs',)  # where checkpoints stay, too, since Orbax saves and reads them there
_EXTRAS = {'gs': 'gcs', 'gcs': 'gcs', 's3': 's3', 's3a': 's3'}
# What these say of a request that fails, we raise.
_LOUD = ('gcsfs', 's3fs', 'aiobotocore', 'botocore', 'fsspec', 'google.auth', 'asyncio')
FULL = (errno.ENOSPC, errno.EDQUOT)  # of this machine's disk; a bucket is never full
_BUSY = (408, 429, *range(500, 600))  # of HTTP: not what was asked is wrong, but the server

_copies = {}  # folder of this machine: _Copy
_called = {}  # folder of this machine: URL, of those that were removed, too
_makers = []  # functions of a URL, of `copies`


class Unreachable(OSError):
    """A bucket, or what is in it, that cannot be read or written.

    Attributes:
      again: whether a later start may have it: it could be before, or what failed is the network
        or the server and not what was asked.
    """

    again = False


def is_url(path):
    """Whether a path is one of a bucket."""
    return '://' in os.fspath(path)


def address(path):
    """A path or URL as it is meant: gcs:// is gs://.

    Raises:
      Unreachable: it is a URL with too few slashes, or as `check_name`.
    """
    path = os.fspath(path)
    if path.startswith('gcs://'):
        return f'gs{path.removeprefix("gcs")}'
    found = re.fullmatch(r'([a-z][a-z0-9]+):(?!//)/?(.*)', path, re.IGNORECASE | re.DOTALL)
    if found and is_known(found[1].lower()):
        meant = f'{found[1].lower()}://{found[2] or "BUCKET/PATH"}'
        raise Unreachable(f'did you mean {meant}? A folder of this machine is written ./{path}')
    check_name(path)
    return path


def check_name(path):
    """Refuses a URL that the libraries below would not all take for one and the same folder:
    TensorStore ends a path at ? and #, and fsspec removes what * [ and ? match.

    Raises:
      Unreachable: it is one.
    """
    if is_url(path) and (found := re.search(r'[?#*\[\x00-\x1f\x7f]', os.fspath(path))):
        raise Unreachable(
            f'{shown(os.fspath(path))}: {shown(found[0])} is not possible in the name of a folder'
            ' in a bucket, nor are ? # * [ and control characters: libraries read more into them'
        )


def is_known(protocol):
    """Whether a protocol is one that fsspec opens."""
    if protocol in _EXTRAS:
        return True
    try:
        from fsspec.registry import known_implementations
    except ImportError:
        return False
    return protocol in known_implementations


def join(folder, *parts):
    """A path below a folder, of a file system or a bucket."""
    folder = os.fspath(folder)
    return (
        '/'.join((folder.rstrip('/'), *parts)) if is_url(folder) else os.path.join(folder, *parts)
    )


def at_orbax(url):
    """Whether Orbax saves checkpoints to a URL, and reads them there."""
    return url.partition('://')[0] in ORBAX


def _opened(url):
    """(fsspec's file system, path in it) of a URL."""
    protocol = url.partition('://')[0]
    try:
        import fsspec

        for name in _LOUD:
            logger = logging.getLogger(name)
            if logger.level in (logging.NOTSET, logging.WARNING):  # else somebody wants it so
                logger.setLevel(logging.CRITICAL)
        # Others write there as well, so that listings are not kept; neither are Orbax's.
        fsspec.config.conf.setdefault(protocol, {}).setdefault('use_listings_cache', False)
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        how = f"pip install 'fgsep_jax[{extra}]'" if extra else _reason(error)
        raise Unreachable(f'{url}: {protocol}:// needs a library: {how}') from error
    except ValueError as error:  # of an unknown protocol
        raise Unreachable(
            f'{url}: {protocol}:// is not known; buckets are gs://BUCKET/PATH and s3://BUCKET/PATH'
        ) from error
    except Exception as error:  # of a library that finds no more than itself
        raise _unreachable(url, error) from error


@contextlib.contextmanager
def _asked(url, *, of_bucket=False):
    """Yields (fsspec's file system, path in it) of a URL, and turns what goes wrong there into one
    line; what is missing stays FileNotFoundError, but for the bucket, where a request can miss
    nothing else."""
    try:
        yield _opened(url)
    except (Unreachable, FileExistsError):
        raise
    except FileNotFoundError as error:  # its own words are of requests
        if of_bucket:
            bucket = re.match('[^:]*://[^/]*', url)[0]
            raise Unreachable(
                f'{_outer(url)} cannot be reached: there is no bucket {bucket}'
            ) from error
        raise FileNotFoundError(errno.ENOENT, 'No such file', url) from error
    except Exception as error:  # of the network, of whoever asks for credentials, of the disk here
        if full := of_a_full_disk(error):
            raise full from error
        if isinstance(error, OSError) and error.errno == errno.EROFS:
            raise
        raise _unreachable(_outer(url), error) from error


def _unreachable(url, error):
    """The Unreachable of what a library raised."""
    unreachable = Unreachable(f'{url} cannot be reached ({_reason(error)})')
    is_ours = url.partition('://')[0] in _EXTRAS  # another's host may be misspelt
    unreachable.again = is_ours and any(
        isinstance(one, (ConnectionError, TimeoutError, socket.gaierror)) or _status(one) in _BUSY
        for one in _causes(error)
    )
    return unreachable


def _status(error):
    """The status of HTTP that an error of gcsfs or botocore tells of; None of any other."""
    response = getattr(error, 'response', None)
    if isinstance(response, dict):
        return response.get('ResponseMetadata', {}).get('HTTPStatusCode')
    code = getattr(error, 'code', None)
    return code if isinstance(code, int) else None


def _causes(error):
    """An error, what it came of, what that came of, and so on."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _outer(url):
    """A URL without what in it is of passing use, which says nothing to who reads it."""
    return url.partition('/.fgsep_')[0]


def of_a_full_disk(error, *, in_copy=False):
    """The error to tell where another comes of this machine's disk being full, on which copies of
    what is in a bucket lie; else None.

    Args:
      error: whatever was raised.
      in_copy: whether it must name a file in a copy.
    """
    for one in _causes(error):
        if isinstance(one, OSError) and one.errno in FULL:
            name = one.filename if isinstance(one.filename, str) else ''
            if not in_copy or named(name) != name:
                reason = 'the folder of temporary files, where copies of buckets lie, is full'
                return OSError(one.errno, f'{reason}; TMPDIR=DIR names another', temporary())
    return None


def may_pass(error):
    """Whether an error, or what it came of, says that a later start may succeed."""
    return any(getattr(one, 'again', False) for one in _causes(error))


def temporary():
    """This machine's folder of temporary files, as TMPDIR names it."""
    folder = tempfile.gettempdir()
    while os.path.basename(folder).startswith('fgsep-'):  # `lock.scratch`
        folder = os.path.dirname(folder)
    return folder


def _reason(error):
    return shown(' '.join(str(error).split())[:200]) or type(error).__name__


def listing(folder):
    """{name: bytes, None of a folder} of what is in a folder of a bucket; {} where nothing is."""
    with _asked(folder) as (fs, path):
        try:
            entries = fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
    found = {}
    for entry in entries:
        name = entry['name'].rstrip('/').rpartition('/')[2]
        if entry['name'].strip('/') != path.strip('/'):  # some list the folder itself
            is_folder = entry['type'] == 'directory' or entry['name'].endswith('/')
            found.setdefault(name, set()).add(None if is_folder else entry['size'])
    # As in `find`.
    return {
        name: None if None in x and x <= {0, None} else max(x - {None}) for name, x in found.items()
    }


def find(folder):
    """{path: bytes} of all files in a folder of a bucket and below it, paths from there on.

    Empty objects that are called as a folder are what consoles make of one, and no files.

    Raises:
      Unreachable: it cannot be read, or one has a name that would lead elsewhere.
    """
    with _asked(folder, of_bucket=True) as (fs, root):
        root = root.rstrip('/')
        found = fs.find(root, detail=True)
    found = {
        path[len(root) + 1 :]: about['size']
        for path, about in found.items()
        if path.rstrip('/') != root
    }
    for path in found:
        if {'', '.', '..'} & {*path.removesuffix('/').split('/')}:
            raise Unreachable(f'{join(folder, path)} has a name that no file can have')
    folders = _folders_of(found)
    return {
        path: size
        for path, size in found.items()
        if not path.endswith('/') and (size or path not in folders)
    }


def _folders_of(paths):
    """All folders that paths lie in, but for the one that they start from."""
    folders = set()
    for path in paths:
        while (path := path.rpartition('/')[0]) and path not in folders:
            folders.add(path)
    return folders


def _paths(folder):
    """As `find`, whatever they are called; some end in `/`, those of folders made by hand, and ''
    is such a one of the folder itself."""
    with _asked(folder) as (fs, root):
        root = root.rstrip('/')
        return [path[len(root) + 1 :] for path in fs.find(root) if path != root]


def read(file, start=None, end=None):
    """Bytes of a file in a bucket, from `start` to before `end`, by one request of just these.

    Raises:
      FileNotFoundError: there is none.
      Unreachable: it cannot be read.
    """
    with _asked(file) as (fs, path):
        return fs.cat_file(path, start=start, end=end)


def write(file, content, *, new=False):
    """Writes a file of a bucket, whole or not at all.

    Raises:
      FileExistsError: it is there, and must be `new`.
      Unreachable: it cannot be written.
    """
    with _asked(file, of_bucket=True) as (fs, path):
        fs.pipe_file(path, content, mode='create' if new else 'overwrite')


def put(path, file):
    """Copies a file of this machine to one of a bucket, whole or not at all."""
    os.stat(path)  # what is missing here is no bucket
    with _asked(file, of_bucket=True) as (fs, there):
        fs.put_file(path, there)


def modified(file):
    """When a file of a bucket was written, by the bucket's clock, in seconds; None if it is not
    there."""
    with _asked(file) as (fs, path):
        try:
            return fs.modified(path).timestamp()
        except FileNotFoundError:
            return None


def remove(file):
    """Removes a file of a bucket, if it is there."""
    with _asked(file) as (fs, path), contextlib.suppress(FileNotFoundError):
        fs.rm_file(path)


def rename(before, after, *, last='', check=None):
    """Renames a folder of a bucket, file by file; killed in between, all is at its old place, or
    all at the new one, and there is no `last` in the other.

    Args:
      before: URL of the folder.
      after: URL that nothing is at.
      last: name in it of the file that comes when all others are there.
      check: called before each file, and what it raises ends the renaming.

    Raises:
      FileExistsError: something is there.
    """
    names = sorted(_paths(before), key=lambda name: bool(last) and name == last)
    if _paths(after):
        raise FileExistsError(errno.EEXIST, 'is there already', after)
    with _asked(after) as (_, target), _asked(before) as (fs, source):
        for name in names:
            if check:
                check()
            fs.cp_file(f'{source}/{name}', f'{target}/{name}')
        for name in reversed(names):
            fs.rm_file(f'{source}/{name}')


def remove_folder(folder):
    """Removes a folder of a bucket and all in it."""
    for name in _paths(folder):
        remove(join(folder, name))


class _Copy:
    """A folder of a bucket on this machine's disk.

    Args:
      url: of the folder.
      folder: of this machine, empty, in one that nobody else uses.
      wanted: see `local`.

    Attributes:
      closed: whether nothing more is put up.
      removed: paths below of what was removed here on purpose, and is to be there.
    """

    def __init__(self, url, folder, wanted):
        self.url, self.folder, self._wanted = url, folder, [wanted]
        self.closed, self.removed = False, set()
        self._mutex = threading.Lock()
        self._known = {}  # path below: (bytes, time) as last brought or put up

    def want(self, wanted):
        """Brings what is wanted of it, too."""
        if wanted not in self._wanted:
            self._wanted.append(wanted)
            self.bring()

    def bring(self):
        """Brings what is wanted but for that of STAYS as it is now; what was changed here stays."""
        with self._mutex:
            for last in (False, False, True):
                try:
                    self._bring()
                    break
                except FileNotFoundError:  # another process has removed one just now
                    if last:
                        raise

    def _bring(self):
        stay = {*STAYS, *(['checkpoints'] if at_orbax(self.url) else [])}
        state, there = self._state(), set()
        for name in find(self.url):
            parts = name.split('/')
            stays = next((i for i, part in enumerate(parts) if part in stay), None)
            if stays is not None and '/'.join(parts[stays:]) not in BROUGHT:
                os.makedirs(os.path.join(self.folder, *parts[: stays + 1]), exist_ok=True)
            elif not _is_passing(name):
                there.add(name)
        wanted = set().union(*(wanted(there) for wanted in self._wanted))
        for name in there & _folders_of(there):
            if name in wanted or any(other.startswith(f'{name}/') for other in wanted):
                raise Unreachable(
                    f'{join(self.url, name)} is a file, and there are others below it: a folder'
                    ' cannot have both; move it away'
                )
            there.remove(name)
        self._fetch([name for name in wanted if state.get(name) == self._known.get(name)])
        for name in there - wanted - state.keys() - self._known.keys():
            path = os.path.join(self.folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, 'xb').close()
            self._known[name] = _look(path)
        for name in self._known.keys() - there:
            if state.get(name) == self._known[name]:  # it is gone there
                os.remove(os.path.join(self.folder, name))
                del self._known[name]

    def _fetch(self, names):
        """Brings files; each is in its place, and known, once it is whole."""
        if not names:
            return
        incoming = tempfile.mkdtemp(dir=os.path.dirname(self.folder))
        try:
            files = {name: os.path.join(incoming, str(i)) for i, name in enumerate(names)}
            with _asked(self.url) as (fs, root):
                fs.get([f'{root.rstrip("/")}/{name}' for name in names], [*files.values()])
            for name, file in files.items():
                path = os.path.join(self.folder, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.replace(file, path)
                self._known[name] = _look(path)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def put_up(self):
        """Puts up what has changed since, what was written last at last, and removes there what was
        removed here on purpose. What others have put there since is left alone."""
        with self._mutex:
            now = self._state()
            for name in sorted(now, key=lambda name: now[name][1]):
                if self._known.get(name) != now[name] and not self.closed:
                    put(os.path.join(self.folder, name), join(self.url, name))
                    self._known[name] = now[name]
            for name in self.removed - now.keys():
                if not self.closed:
                    remove(join(self.url, name))
                    self._known.pop(name, None)
            self.removed.clear()

    def _state(self):
        state = {}
        for parent, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not _is_passing(name)]
            for name in names:
                if not _is_passing(name):
                    path = os.path.join(parent, name)
                    with contextlib.suppress(FileNotFoundError):
                        key = os.path.relpath(path, self.folder).replace(os.sep, '/')
                        state[key] = _look(path)
        return state


def _look(path):
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def _is_passing(path):
    """Whether a file is a lock, or half written."""
    return any(part.startswith('.fgsep_') for part in path.split('/'))


@contextlib.contextmanager
def copies():
    """Within, `local` gives copies; at the end they are put up and removed."""
    from fgsep_jax import lock  # which asks this module

    with contextlib.ExitStack() as stack:
        made = []

        def make(url, wanted):
            scratch = stack.enter_context(lock.scratch('fgsep-bucket-'))
            # Reports call a run by its folder.
            folder = os.path.join(os.path.realpath(scratch), url.rpartition('/')[2])
            os.makedirs(folder)
            _called[folder] = url
            copy = _Copy(url, folder, wanted)
            copy.bring()
            _copies[folder] = copy
            made.append(folder)
            return folder

        _makers.append(make)
        try:
            yield
            for folder in made:
                put_up(folder)
        except BaseException:
            for folder in made:  # what stopped the work is what is told
                with contextlib.suppress(OSError):
                    put_up(folder)
            raise
        finally:
            _makers.remove(make)
            for folder in made:
                del _copies[folder]


def beside(mark, contents, *, below=False):
    """What `local` is to bring: files called `mark`, and what belongs to them.

    Args:
      mark: name of a file that tells what a folder is.
      contents: regular expression of paths, from that folder on, that belong to it.
      below: whether folders below are looked for, too.

    Returns:
      Function of paths, which gives those to bring.
    """
    contents = re.compile(f'{re.escape(mark)}|{contents}', re.DOTALL)

    def wanted(paths):
        of = {path.removesuffix(mark) for path in paths if f'/{path}'.endswith(f'/{mark}')}
        of = of if below else of & {''}
        return {
            path
            for path in paths
            for end in (0, *(slash.end() for slash in re.finditer('/', path)))
            if path[:end] in of and contents.fullmatch(path, end)
        }

    return wanted


def everything(paths):
    """What `local` is to bring: all paths."""
    return {*paths}


def local(path, wanted=everything):
    """A folder of this machine for one of a bucket, until the end of `copies`; any other path as it
    is.

    Args:
      path: of the folder.
      wanted: function of paths of files, which gives those that are brought; of others the copy has
        empty files, by which it is seen that they are there.

    Raises:
      Unreachable: it cannot be read.
    """
    if not path or not is_url(path):
        return path
    protocol, _, place = address(path).partition('://')
    url = f'{protocol}://{place.rstrip("/")}'
    if {'', '.', '..'} & {*place.rstrip('/').split('/')}:
        raise Unreachable(f'{path} is no folder of a bucket: write {protocol}://BUCKET/PATH')
    for copy in _copies.values():
        if copy.url == url:
            copy.want(wanted)
            return copy.folder
    return _makers[-1](url, wanted)


def url_of(path):
    """The URL of a path in a `local` copy; '' of any other."""
    copy = _copy_with(path)
    if copy is None:
        return ''
    below = os.path.relpath(os.path.abspath(path), copy.folder)
    return copy.url if below == os.curdir else join(copy.url, below.replace(os.sep, '/'))


def put_up(path):
    """Puts up what has changed in the `local` copy that a path is in; others need it not.

    Raises:
      Unreachable: it cannot be written.
    """
    copy = _copy_with(path)
    if copy is not None:
        copy.put_up()


def bring(path):
    """Brings anew what has changed in the folder of the `local` copy that a path is in."""
    copy = _copy_with(path)
    if copy is not None:
        copy.bring()


def removed(path):
    """Notes that a file was removed on purpose: what is only gone from a copy, a cleaner of
    temporary files may have taken."""
    copy = _copy_with(path)
    if copy is not None:
        name = os.path.relpath(os.path.abspath(path), copy.folder)
        copy.removed.add(name.replace(os.sep, '/'))


def abandon(path):
    """Puts up nothing more of the `local` copy that a path is in: the folder is another's now."""
    copy = _copy_with(path)
    if copy is not None:
        copy.closed = True


def abandon_all():
    """Puts up nothing more of any copy, before the process leaves without unwinding."""
    for copy in list(_copies.values()):
        copy.closed = True


def _copy_with(path):
    path = os.path.abspath(path)
    for folder, copy in _copies.items():
        if path == folder or path.startswith(folder + os.sep):
            return copy
    return None


def say(text):
    """Prints a line; see `named`."""
    print(named(text))


def named(text):
    """A text in which the copies are called by their URLs."""
    for folder, url in _called.items():
        text = text.replace(folder, url)
    return text
