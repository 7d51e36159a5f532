"""Work in many processes, and what the log says of how far it is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import concurrent.futures
import contextlib
import gc
import logging
import multiprocessing
from multiprocessing import resource_tracker
import signal
import threading
import time

SECONDS = 5.0  # between two lines of the log


class EngineError(RuntimeError):
    """The work cannot be done where it was sent to, or workers are lost again and again."""


def often(stage: str, total: int = 0) -> Callable[[int], None]:
    """A function of how many elements of a stage are done, which logs it every few seconds."""
    last = time.monotonic()

    def say(done: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= SECONDS:
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


@contextlib.contextmanager
def watched(done: Callable[[], int], total: int, stage: str) -> Iterator[None]:
    """Within, the log says every few seconds how many pieces are done, where that is news; and
    afterwards that all are, if it had said anything.

    Args:
        done: counts those that are, in another thread; what it raises of OSError says nothing.
        total: how many there are.
        stage: what the log calls the work.
    """
    left, said = threading.Event(), []

    def watch():
        while not left.wait(SECONDS):
            with contextlib.suppress(OSError):  # which ends whatever writes there
                if (count := done()) not in said:
                    said.append(count)
                    logging.info('%s: %d of %d pieces', stage, count, total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
    if said and total not in said:
        logging.info('%s: %d of %d pieces', stage, total, total)


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
