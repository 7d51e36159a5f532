"""One writer at a time in a folder: a lock that nobody can take twice, and no dead process keeps.

The lock of a folder is the folder `.fgsep_lock` in it, with one file that says who holds it and
whose name is new each time. It is made whole beside and renamed into place, which fails where one
with a file in it stands, on every file system. A dead owner's file is removed by its own name, so
that of many who do so at once none can remove the file of the one who was quicker. In a bucket it
is one file that only the first can make.

Owners on this machine are asked for by process number and start, and by the folder that they took:
its copies are nobody's. Those elsewhere (another host, another container) show by the time of the
file, set every 15 s, that they live.

Who stood still for long enough to be taken for dead may wake up beside a new owner: whatever is put
in place in a folder that is held, by `files.put_in_place` or by a worker of data_prep, is put there
only as long as the lock is there.
"""

import contextlib
import datetime
import errno
import glob
import json
import math
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid

from fgsep_jax import buckets, files
from fgsep_jax.names import shown

NAME = '.fgsep_lock'
BEAT = 15.0  # seconds between two signs of life
SILENCE = 120.0  # seconds after which an owner elsewhere is taken for dead
PATIENCE = 120.0  # seconds of a bucket's silence after which one that is to stop waits no more
FAREWELL = 3.0  # seconds at most in which who leaves at once gives back what it holds
RECENT = 1.0  # seconds for which a bucket's answer that a lock is there is believed
SETTLES = 2.0  # seconds after which of two that took a dead one's lock in a bucket one has it

_held, _scratch = set(), set()  # Locks, and temporary folders, of this process


class Locked(OSError):
    """Another process writes to the folder.

    Attributes:
      again: whether it is, or was, on another machine, so that a later start may have it.
    """

    again = False


class Lost(OSError):
    """The lock of a folder was removed, or taken over after a long silence of this process.

    Attributes:
      again: True, as a later start may have it.
    """

    again = True


@contextlib.contextmanager
def held(folder, doing, *, flag=''):
    """Holds a folder while it is written to.

    Args:
      folder: made if missing, and removed again if it is empty afterwards; or one of a bucket.
      doing: what for, e.g. 'training'; others are told.
      flag: of the command line that names another folder, told as well.

    Yields:
      A Lock.

    Raises:
      Locked: another process holds it.
      Lost: it was lost within, whatever was done there.
      OSError: the folder cannot be written to.
    """
    url = folder if buckets.is_url(folder) else buckets.url_of(folder)
    made = [] if url else _missing(folder)
    lock = _BucketLock(url, doing) if url else Lock(folder, doing)
    place = folder if buckets.is_url(folder) else os.path.abspath(folder)
    last = -math.inf

    def check():
        nonlocal last
        if url and not lock.lost and time.monotonic() - last < RECENT:  # each time is a request
            return
        last = time.monotonic()
        if lock.lost or not _is_own(lock.folder, lock.key):
            lock.lost = True
            buckets.abandon(folder)
            raise _lost(folder)

    try:
        lock.take(flag)
        buckets.bring(folder)  # a copy is as old as the start of this process
        files.checks[place] = check
        yield lock
        check()
        buckets.put_up(folder)  # before another may begin
    except BaseException as error:
        if lock in _held:
            if isinstance(error, buckets.Unreachable):
                error.again = True  # as it has answered when the lock was taken
            try:
                check()
                buckets.put_up(folder)
            except Lost as lost:  # which may be why
                if isinstance(error, Exception):
                    raise lost from error
            except OSError:
                pass  # what stopped the work is what is told
        raise
    finally:
        files.checks.pop(place, None)
        lock.release()
        for path in made:
            with contextlib.suppress(OSError):
                os.rmdir(path)


def proof(folder):
    """What shows other processes that this one still holds a folder, see `check_proof`; None where
    it does not hold it."""
    locks = (lock for lock in _held if lock.folder == folder)
    return next(((folder, lock.key) for lock in locks), None)


def check_proof(proof):
    """Refuses to put something in place in a folder that is another's by now.

    Raises:
      Lost: its lock is no longer the one that the proof is of.
    """
    if proof and not _is_own(*proof):
        raise _lost(proof[0])


def _lost(folder):
    return Lost(
        f'the lock of {folder} was removed, or taken by another process while this one stood still:'
        ' nothing more is written'
    )


def _is_own(folder, key):
    if buckets.is_url(folder):
        owned = _owner_of_url(folder)
        return owned is not None and owned[1].get('key') == key
    return os.path.lexists(os.path.join(folder, NAME, f'{key}.json'))


def holder(folder):
    """Who holds a folder, in words; '' if nobody does, or a process that is dead."""
    owned = _owner_of(folder)
    if owned is None or _is_dead(*owned, time.time()):
        return ''
    return _words(owned[1])


def check(folder, *, flag=''):
    """Refuses at once what `held` would refuse later, where a process of this machine has a folder.

    Raises:
      Locked: it is held.
    """
    owned = _owner_of(folder)
    if owned and _is_here(owned[1]) and not _is_dead(*owned, time.time()):
        raise _locked(buckets.url_of(folder) or folder, *owned, flag)


@contextlib.contextmanager
def scratch(prefix):
    """A new folder for temporary files; those that dead processes left are removed.

    Args:
      prefix: of its name, in the system's folder of temporary files.

    Yields:
      Its path, for as long as it is there.
    """
    for path in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f'{prefix}*')):
        if os.path.isdir(os.path.join(path, NAME)) and not holder(path):
            shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        lock = Lock(folder, prefix)
        lock.take()
        _scratch.add(folder)
        try:
            yield folder
        finally:
            _scratch.discard(folder)
            lock.release()


def silences():
    """{URL: seconds} since the buckets last answered of which this process holds folders."""
    locks = [lock for lock in _held if isinstance(lock, _BucketLock)]
    return {lock.folder: time.monotonic() - lock.heard for lock in locks}


def release_all():
    """Gives back all that this process holds, before it leaves without unwinding. A lock that is
    in a bucket which does not answer stays, as a killed process's."""
    giving = [threading.Thread(target=lock.release, daemon=True) for lock in list(_held)]
    for thread in giving:
        thread.start()
    until = time.monotonic() + FAREWELL
    for thread in giving:
        thread.join(max(until - time.monotonic(), 0))
    buckets.abandon_all()
    for folder in list(_scratch):
        shutil.rmtree(folder, ignore_errors=True)


class Lock:
    """The lock of one folder; see `held`.

    Attributes:
      folder: that it is of.
      key: that no other lock has.
      lost: whether this process has seen that it was removed, or taken over.
    """

    def __init__(self, folder, doing):
        self.folder, self.key, self.lost = folder, uuid.uuid4().hex, False
        self._doing, self._stopped = doing, threading.Event()
        self._path = os.path.join(folder, NAME)
        self._name = f'{self.key}.json'
        self._private = f'{self._path}-{self.key}'  # until it is renamed into place

    def take(self, flag=''):
        """Takes the lock, or that of a dead process; see `held`."""
        files.check_folder(self.folder)
        files.refuse_links(self.folder, NAME)
        try:
            now = self._prepare()
            for _ in range(1000):
                with contextlib.suppress(OSError):
                    os.rmdir(self._path)  # an empty one is nobody's
                try:
                    os.rename(self._private, self._path)
                    break
                except OSError as error:
                    if error.errno == errno.ENOTDIR and os.path.lexists(self._path):
                        raise Locked(
                            f'{self._path} is no folder, and in the way: remove it'
                        ) from error
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                owned = _owner(self._path)
                if owned is None:
                    continue
                path, owner = owned
                if not _is_dead(path, owner, now):
                    raise _locked(self.folder, path, owner, flag)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            else:
                raise Locked(f'{self._path} is in the way: remove it')
        except Locked:
            raise
        except OSError as error:
            raise OSError(f'{self.folder} cannot be written to ({error.strerror})') from error
        _held.add(self)
        self._sweep(now)
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self):
        """Gives the lock back; once is enough, and more does no harm."""
        self._stopped.set()
        _held.discard(self)
        for path in (self._path, self._private):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(path, self._name))
                os.rmdir(path)

    def _prepare(self):
        """Makes the private folder; returns the time by the clock of the file system."""
        for last in (*[False] * 100, True):
            try:
                os.makedirs(self.folder, exist_ok=True)
                os.mkdir(self._private)
                break
            except FileNotFoundError:  # who had the lock has just removed the folder that it made
                if last:
                    raise
        folder = os.path.realpath(self.folder)
        path = os.path.join(self._private, self._name)
        with open(path, 'w') as file:
            json.dump(_owner_here(self._doing, path=folder, inode=_inode(folder)), file)
        return os.stat(path).st_mtime

    def _beat(self):
        while not self._stopped.wait(BEAT):
            try:
                os.utime(os.path.join(self._path, self._name))
            except FileNotFoundError:
                self.lost = not self._stopped.is_set()
                return
            except OSError:
                continue  # a server that does not answer now

    def _sweep(self, now):
        """Removes what starts left that were killed before they had the lock."""
        for path in glob.glob(f'{glob.escape(self._path)}-{"[0-9a-f]" * 32}'):
            owned = _owner(path)
            with contextlib.suppress(OSError):
                if owned is None and now - os.stat(path).st_mtime > SILENCE:
                    os.rmdir(path)
                elif owned is not None and _is_dead(*owned, now):
                    os.unlink(owned[0])
                    os.rmdir(path)


class _BucketLock:
    """The lock of a folder in a bucket: one file, which none but the first can make.

    Args:
      url: of the folder.
      doing: what for.
    """

    def __init__(self, url, doing):
        self.folder, self.key, self.lost = url, uuid.uuid4().hex, False
        self._doing, self._stopped = doing, threading.Event()
        self._path = buckets.join(url, NAME)
        self._writing, self._released = threading.Lock(), False
        self.heard = time.monotonic()  # when the bucket last answered

    def take(self, flag=''):
        """Takes the lock, or that of a dead process; see `held`."""
        content = self._content()
        private = f'{self._path}-{self.key}'
        buckets.write(private, content)
        now = buckets.modified(private) or time.time()
        buckets.remove(private)
        for _ in range(10):
            owned, takes_over = _owner_of_url(self.folder), False
            if owned is not None:
                if not _is_dead(*owned, now):
                    raise _locked(self.folder, *owned, flag)
                buckets.remove(owned[0])
                takes_over = True
            with contextlib.suppress(FileExistsError):
                buckets.write(self._path, content, new=True)
            if takes_over:  # another may have, too, and removed what was there by now
                time.sleep(SETTLES)
            if _is_own(self.folder, self.key):  # the last of many, where a server knows no `new`
                break
        else:
            raise Locked(f'{self._path} is in the way: remove it')
        _held.add(self)
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self):
        """Gives the lock back; once is enough, and more does no harm."""
        self._stopped.set()
        _held.discard(self)
        if time.monotonic() - self.heard > PATIENCE:  # it counts for dead, and nobody answers
            return
        with self._writing, contextlib.suppress(OSError):
            if not self._released and _is_own(self.folder, self.key):
                buckets.remove(self._path)
            self._released = True

    def _content(self):
        return json.dumps(_owner_here(self._doing, key=self.key)).encode()

    def _beat(self):
        while not self._stopped.wait(BEAT):
            try:
                with self._writing:
                    if self._stopped.is_set():
                        return
                    if not _is_own(self.folder, self.key):
                        self.lost = True
                        return
                    buckets.write(self._path, self._content())
                self.heard = time.monotonic()
            except OSError:
                continue  # a server that does not answer now


def _owner_here(doing, **more):
    """What the file of a lock says of this process, which takes it."""
    return {
        **_here(),
        **more,
        'pid': os.getpid(),
        'born': _born(os.getpid()),
        'doing': doing,
        'since': datetime.datetime.now().astimezone().isoformat(' ', 'seconds'),
    }


def _owner_of(folder):
    """(path or URL of the owner's file, its content) of a folder's lock; None where it is free."""
    url = buckets.url_of(folder)
    return _owner_of_url(url) if url else _owner(os.path.join(folder, NAME))


def _owner_of_url(url):
    path = buckets.join(url, NAME)
    try:
        return path, files.parse_json(buckets.read(path), Locked, where=path, halves=True)
    except FileNotFoundError:
        return None
    except Locked:  # cut short
        return path, {}


def _owner(path):
    """(path of the owner's file, its content) of a lock; None where there is none."""
    name = ''
    try:
        name = next((name for name in os.listdir(path) if name.endswith('.json')), None)
        if name is None:
            return None
        file = os.path.join(path, name)
        return file, files.read_json(file, Locked, halves=True)
    except OSError as error:
        if isinstance(error.__cause__ or error, FileNotFoundError):
            return None
        return os.path.join(path, name), {}  # cut short by a power failure, or another user's


def _locked(folder, path, owner, flag):
    """The Locked of a folder that an owner has, of whom the file at `path` tells."""
    text = f'{folder} is being written to by {_words(owner)}: wait for it'
    if flag:
        text += f', or give another {flag}'
    if elsewhere := not _is_here(owner):
        text += (
            f'. If that process is gone, start again {SILENCE:.0f} s after its end, or remove'
            f' {path if buckets.is_url(path) else os.path.dirname(path)}'
        )
    locked = Locked(text)
    locked.again = elsewhere
    return locked


def _words(owner):
    return shown(
        f'process {owner.get("pid", "unknown")} on {owner.get("host", "an unknown host")} since'
        f' {owner.get("since", "an unknown time")} ({owner.get("doing", "unknown")})'
    )


def _is_dead(path, owner, now):
    """Whether an owner is gone, from what its file says; `now` by the file system's clock."""
    if _is_here(owner):
        born = _born(owner.get('pid'))
        if not buckets.is_url(path) and _is_copy(os.path.dirname(os.path.dirname(path)), owner):
            return True
        return born is None or (born and owner.get('born') and born != owner['born'])
    try:
        written = buckets.modified(path) if buckets.is_url(path) else os.stat(path).st_mtime
    except OSError:
        return False
    return written is not None and now - written > SILENCE


def _is_here(owner):
    return bool(owner) and all(owner.get(key) == value for key, value in _here().items())


def _is_copy(folder, owner):
    """Whether a lock came here with a copy: the folder it is of is another, and where it was."""
    here, original = _inode(os.path.abspath(folder)), _inode(owner.get('path'))
    return '' not in (here, original) and here != original == owner.get('inode')


def _inode(folder):
    """What tells a folder from all others whatever it is called; '' if it is not there."""
    try:
        about = os.stat(os.path.join(folder, ''))
    except (OSError, ValueError, TypeError):
        return ''
    return f'{about.st_dev}:{about.st_ino}'


def _born(pid):
    """When a process was started, in the kernel's count; None if it is not alive, '' if unknown."""
    if not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # another user's
    except (OSError, OverflowError):
        return None
    try:
        with open(f'/proc/{pid}/stat', 'rb') as file:
            state, *rest = file.read().rpartition(b')')[2].split()
    except OSError:
        return ''
    return None if state in b'ZX' else rest[18].decode()


def _here():
    """Where a process number is valid: host, start of the machine, container."""
    here = {'host': socket.gethostname()}
    with contextlib.suppress(OSError):  # Linux alone tells
        with open('/proc/sys/kernel/random/boot_id') as file:
            here['boot'] = file.read().strip()
        here['container'] = os.readlink('/proc/self/ns/pid')
    return here


def _missing(folder):
    """The folders that are to be made, the innermost first."""
    paths, path = [], os.path.abspath(folder)
    while not os.path.exists(path):
        paths.append(path)
        path = os.path.dirname(path)
    return paths
