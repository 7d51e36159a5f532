"""Standard output and error of a program of ours: what cannot be printed never stops the work, and
what a library prints there by itself can be left out."""

from collections.abc import Iterator
import contextlib
import io
import os
import re
import sys
import tempfile
import threading

# Held while something else stands in for standard error; no process begins with that.
error_lock = threading.RLock()
os.register_at_fork(
    before=error_lock.acquire,
    after_in_parent=error_lock.release,
    after_in_child=error_lock.release,
)


@contextlib.contextmanager
def error_without(words: re.Pattern[bytes]) -> Iterator[None]:
    """Within, what a library writes to standard error is kept back, whatever thread it is of;
    behind it all is written but for the `words`."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(error_lock)
        try:
            true_error = os.dup(2)
            stack.callback(os.close, true_error)
            aside = stack.enter_context(tempfile.TemporaryFile(buffering=0))
        except OSError:  # there is none, or no room: all goes where it went
            yield
            return
        stack.callback(_give_back, true_error, aside, words)
        os.dup2(aside.fileno(), 2)
        yield


def _give_back(true_error, aside, words):
    os.dup2(true_error, 2)
    aside.seek(0)
    rest = memoryview(words.sub(b'', aside.read()))
    with contextlib.suppress(OSError):
        while rest:
            rest = rest[os.write(2, rest) :]


class _Lenient(io.FileIO):
    """A stream's end that goes on into nothing once it is closed or its disk is full.

    Attributes:
      lost: the error that it began with; None if all was written.
    """

    lost = None

    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            self.lost = error
            _to_nowhere(self.fileno())
            return len(data)


def use():
    """From now on printing raises no OSError, and no file is opened in place of a closed stream."""
    closed = {}
    for number in range(3):
        try:
            os.fstat(number)
        except OSError as error:
            closed[number] = error
            _to_nowhere(number)
    for number, name in ((1, 'stdout'), (2, 'stderr')):
        before = getattr(sys, name)
        raw = _Lenient(number, 'w', closefd=False)
        raw.lost = closed.get(number)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=before.encoding if before else 'utf-8',
            errors=before.errors if before else 'backslashreplace',
            line_buffering=True,  # who reads along, in a file or a pipe, sees how far it is
            write_through=bool(before and before.write_through),
        )
        setattr(sys, name, stream)


def lost():
    """Why part of what was printed to standard output did not arrive; None if all did."""
    sys.stdout.flush()
    return getattr(getattr(getattr(sys.stdout, 'buffer', None), 'raw', None), 'lost', None)


def _to_nowhere(number):
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)
