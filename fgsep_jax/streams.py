"""Standard output and error of a program of ours: what cannot be printed never stops the work."""

import io
import os
import sys


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
            line_buffering=number == 2 or os.isatty(number),
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
