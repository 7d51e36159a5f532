"""Folders in buckets (gs://, s3:// and whatever else fsspec opens) as folders of this machine.

A program works in a copy on this machine's disk: `local` brings a folder here, `put_up` takes
there what has changed since. So nothing else knows of buckets, but for what is too large to come
along: records of data sets, of which the very bytes are read, and checkpoints, which Orbax saves
there itself.
"""

import contextlib
import errno
import os
import threading

from fgsep_jax.names import shown

# What of a run stays in the bucket; a copy has the folders, so that they are seen to be there.
STAYS = ('tensorboard', 'wandb')
ORBAX = ('gs',)  # where checkpoints stay, too, since Orbax saves and reads them there
_EXTRAS = {'gs': 'gcs', 'gcs': 'gcs', 's3': 's3', 's3a': 's3'}

_copies = {}  # folder of this machine: _Copy
_called = {}  # folder of this machine: URL, of those that were removed, too
_makers = []  # functions of a URL, of `copies`


class Unreachable(OSError):
    """A bucket, or what is in it, that cannot be read or written."""


def is_url(path):
    """Whether a path is one of a bucket."""
    return '://' in os.fspath(path)


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
        raise Unreachable(f'{url} cannot be reached ({_reason(error)})') from error


@contextlib.contextmanager
def _said(url):
    """Turns what goes wrong in a bucket into one line; what is missing stays FileNotFoundError."""
    try:
        yield
    except (Unreachable, FileExistsError):
        raise
    except FileNotFoundError as error:  # its own words are of requests
        raise FileNotFoundError(errno.ENOENT, 'No such file', url) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):  # of this machine's disk
            raise
        raise Unreachable(f'{url} cannot be reached ({_reason(error)})') from error
    except Exception as error:  # of the network, or of whoever asks for credentials
        raise Unreachable(f'{url} cannot be reached ({_reason(error)})') from error


def _reason(error):
    return shown(' '.join(str(error).split())[:200]) or type(error).__name__


def listing(folder):
    """{name: bytes, None of a folder} of what is in a folder of a bucket; {} where nothing is."""
    fs, path = _opened(folder)
    with _said(folder):
        try:
            entries = fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
    found = {}
    for entry in entries:
        name = entry['name'].rstrip('/').rpartition('/')[2]
        if entry['name'].strip('/') != path.strip('/'):  # some list the folder itself
            found[name] = None if entry['type'] == 'directory' else entry['size']
    return found


def find(folder):
    """Paths of all files in a folder of a bucket and below it, from there on.

    Raises:
      Unreachable: it cannot be read, or one has a name that would lead elsewhere.
    """
    fs, root = _opened(folder)
    root = root.rstrip('/')
    with _said(folder):
        paths = [path[len(root) + 1 :] for path in fs.find(root) if path.rstrip('/') != root]
    for path in paths:
        if {'', '.', '..'} & {*path.removesuffix('/').split('/')}:
            raise Unreachable(f'{join(folder, path)} has a name that no file can have')
    return [path for path in paths if not path.endswith('/')]


def read(file, start=None, end=None):
    """Bytes of a file in a bucket, from `start` to before `end`, by one request of just these.

    Raises:
      FileNotFoundError: there is none.
      Unreachable: it cannot be read.
    """
    fs, path = _opened(file)
    with _said(file):
        return fs.cat_file(path, start=start, end=end)


def write(file, content, *, new=False):
    """Writes a file of a bucket, whole or not at all.

    Raises:
      FileExistsError: it is there, and must be `new`.
      Unreachable: it cannot be written.
    """
    fs, path = _opened(file)
    with _said(file):
        fs.pipe_file(path, content, mode='create' if new else 'overwrite')


def put(path, file):
    """Copies a file of this machine to one of a bucket, whole or not at all."""
    fs, there = _opened(file)
    with _said(file):
        fs.put_file(path, there)


def modified(file):
    """When a file of a bucket was written, by the bucket's clock, in seconds; None if it is not
    there."""
    fs, path = _opened(file)
    with _said(file):
        try:
            return fs.modified(path).timestamp()
        except FileNotFoundError:
            return None


def remove(file):
    """Removes a file of a bucket, if it is there."""
    fs, path = _opened(file)
    with _said(file), contextlib.suppress(FileNotFoundError):
        fs.rm_file(path)


def rename(before, after):
    """Renames a folder of a bucket, file by file; killed in between, all is at its old place."""
    names = find(before)
    (fs, source), (_, target) = _opened(before), _opened(after)
    with _said(before):
        for name in names:
            fs.cp_file(f'{source}/{name}', f'{target}/{name}')
        for name in names:
            fs.rm_file(f'{source}/{name}')


class _Copy:
    """A folder of a bucket on this machine's disk.

    Args:
      url: of the folder.
      folder: of this machine, empty.

    Attributes:
      closed: whether nothing more is put up.
      removed: paths below of what was removed here on purpose, and is to be there.
    """

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.closed, self.removed = False, set()
        self._mutex = threading.Lock()
        self._known = {}  # path below: (bytes, time) as last brought or put up

    def bring(self):
        """Brings all files but those of STAYS as they are now; what was changed here stays."""
        with self._mutex:
            for last in (False, False, True):
                try:
                    self._bring()
                    break
                except FileNotFoundError:  # another process has removed one just now
                    if last:
                        raise

    def _bring(self):
        stay, wanted = {*STAYS, *(['checkpoints'] if at_orbax(self.url) else [])}, {}
        state = self._state()
        for name in find(self.url):
            parts = name.split('/')
            stays = next((i for i, part in enumerate(parts) if part in stay), None)
            if stays is not None:
                os.makedirs(os.path.join(self.folder, *parts[: stays + 1]), exist_ok=True)
            elif not _is_passing(name) and state.get(name) == self._known.get(name):
                wanted[name] = os.path.join(self.folder, *parts)
                os.makedirs(os.path.dirname(wanted[name]), exist_ok=True)
        if wanted:
            fs, root = _opened(self.url)
            with _said(self.url):
                fs.get([f'{root.rstrip("/")}/{name}' for name in wanted], [*wanted.values()])
        for name in self._known.keys() - wanted.keys():
            if state.get(name) == self._known[name]:  # it is gone there
                os.remove(os.path.join(self.folder, name))
                del self._known[name]
        now = self._state()
        self._known |= {name: now[name] for name in wanted}

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
                        about = os.stat(path)
                        key = os.path.relpath(path, self.folder).replace(os.sep, '/')
                        state[key] = (about.st_size, about.st_mtime_ns)
        return state


def _is_passing(path):
    """Whether a file is a lock, or half written."""
    return any(part.startswith('.fgsep_') for part in path.split('/'))


@contextlib.contextmanager
def copies():
    """Within, `local` gives copies; at the end they are put up and removed."""
    from fgsep_jax import lock  # which asks this module

    with contextlib.ExitStack() as stack:
        made = []

        def make(url):
            scratch = stack.enter_context(lock.scratch('fgsep-bucket-'))
            # Reports call a run by its folder.
            folder = os.path.join(os.path.realpath(scratch), url.rpartition('/')[2])
            os.makedirs(folder)
            _called[folder] = url
            copy = _Copy(url, folder)
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


def local(path):
    """A folder of this machine for one of a bucket, until the end of `copies`; any other path as it
    is.

    Raises:
      Unreachable: it cannot be read.
    """
    if not path or not is_url(path):
        return path
    protocol, _, place = os.fspath(path).partition('://')
    url = f'{protocol}://{place.rstrip("/")}'
    if {'', '.', '..'} & {*place.rstrip('/').split('/')}:
        raise Unreachable(f'{path} is no folder of a bucket: write {protocol}://BUCKET/PATH')
    there = [copy.folder for copy in _copies.values() if copy.url == url]
    return there[0] if there else _makers[-1](url)


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
