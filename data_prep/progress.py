"""Work in many processes, and its progress: a byte for each element, in one file a stage."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import concurrent.futures
import contextlib
import gc
import logging
import multiprocessing
from multiprocessing import resource_tracker
import os
import signal
import tempfile
import threading
import time


class EngineError(RuntimeError):
    """The work cannot be done where it was sent to, or workers are lost again and again."""


def tick(folder: str, stage: str) -> None:
    """Count one more element of a stage as done; silent where there is no such folder."""
    # A full disk ends whatever writes the data.
    with contextlib.suppress(OSError), open(os.path.join(folder, stage), 'ab') as file:
        file.write(b'.')


def often(stage: str, total: int = 0, *, every: float = 5.0) -> Callable[[int], None]:
    """A function of how many elements of a stage are done, which logs it every few seconds."""
    last = time.monotonic()

    def say(done: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= every:
            last = now
            logging.info('%s: %d%s', stage, done, f' of {total}' if total else '')

    return say


def logged(elements: Iterable, stage: str, total: int | None = None) -> Iterator:
    """The elements (`total`: how many); those that have gone by are logged every few seconds."""
    say = often(stage, len(elements) if total is None else total)
    for done, element in enumerate(elements):
        if not done % 1000:
            say(done)
        yield element


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Within, nothing is garbage: millions of rows would be looked through again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Reporter(threading.Thread):
    """Logs how much of each stage is done, and the rate, every few seconds while it is entered.

    Attributes:
        folder: for `tick`; of this machine, so that the workers of others count for nobody.
        totals: {stage: elements it will have}, once it begins.
    """

    def __init__(self, *, every: float = 5.0):
        super().__init__(daemon=True)
        self.totals, self._every, self._left = {}, every, threading.Event()
        self._folder = tempfile.TemporaryDirectory(prefix='fgsep-progress-')
        self.folder = self._folder.name

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._left.set()
        self.join()
        self._folder.cleanup()

    def _done(self, stage: str) -> int:
        path = os.path.join(self.folder, stage)
        return os.path.getsize(path) if os.path.exists(path) else 0

    def run(self) -> None:
        """Logs until it is left."""
        last, since = {}, time.monotonic()
        while not self._left.wait(self._every):
            done, now = {stage: self._done(stage) for stage in self.totals}, time.monotonic()
            for stage, count in done.items():
                before, total = last.get(stage, 0), self.totals[stage]
                if count != before or (count < total and stage in last):
                    rate = (count - before) / (now - since)
                    logging.info('%s: %d of %d, %.0f a second', stage, count, total, rate)
            last, since = done, now


def in_processes(work: Callable, *columns: Sequence, stage: str, unit: str) -> Iterator:
    """What a function makes of each set of arguments, in their order, on all cores.

    Args:
        work: a function of a module.
        *columns: its first arguments, its second ones, ...
        stage: what the log says is done, e.g. `render`.
        unit: of what, e.g. `classes`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    resource_tracker.ensure_running()  # unblocks Ctrl-C, which the processes then see, too
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(mp_context=context) as pool:
        total = len(columns[0])
        for done, result in enumerate(pool.map(work, *columns), start=1):
            yield result
            if done % 10 == 0 or done == total:
                logging.info('%s: %d of %d %s', stage, done, total, unit)
