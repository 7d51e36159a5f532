"""Progress that works across worker processes: one byte an element in small files, summed."""

import contextlib
import logging
import os
import threading
import time
import uuid

_FLUSH_SECONDS = 1.0


class Ticker:
    """Counts elements of one stage in one worker process; silent on remote file systems."""

    def __init__(self, folder: str, stage: str):
        self._path = os.path.join(folder, f'{stage}-{uuid.uuid4().hex}')
        self._remote = '://' in folder
        self._pending, self._flushed = 0, 0.0

    def tick(self) -> None:
        """One more element is done."""
        self._pending += 1
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Make the count visible."""
        if self._pending and not self._remote:
            # A full disk ends whatever writes the data.
            with contextlib.suppress(OSError), open(self._path, 'ab') as file:
                file.write(b'.' * self._pending)
        self._pending, self._flushed = 0, time.monotonic()


def write_total(folder: str, stage: str, total: int) -> None:
    """Say how many elements `stage` will have."""
    if '://' not in folder:
        with (
            contextlib.suppress(OSError),
            open(os.path.join(folder, f'total-{stage}'), 'w') as file,
        ):
            file.write(str(total))


def read_counts(folder: str) -> dict[str, tuple[int, int]]:
    """{stage: (done, total)} of the stages that have begun."""
    totals, done = {}, {}
    for entry in os.scandir(folder):
        stage, _, rest = entry.name.partition('-')
        if stage == 'total':
            with open(entry.path) as file:
                totals[rest] = int(file.read() or 0)
        else:
            done[stage] = done.get(stage, 0) + entry.stat().st_size
    return {stage: (done.get(stage, 0), total) for stage, total in totals.items()}


class Reporter(threading.Thread):
    """Logs done/total and the rate of each running stage every few seconds, until stopped."""

    def __init__(self, folder: str, *, every: float = 5.0):
        super().__init__(daemon=True)
        self._folder, self._every = folder, every
        self._stop_event = threading.Event()

    def run(self) -> None:
        last, since = {}, time.monotonic()
        while not self._stop_event.wait(self._every):
            try:
                counts = read_counts(self._folder)
            except (OSError, ValueError):  # the folder is being removed, or is not local
                continue
            now = time.monotonic()
            for stage, (done, total) in sorted(counts.items()):
                before = last.get(stage, 0)
                if done != before or (done < total and stage in last):
                    rate = (done - before) / (now - since)
                    logging.info('%s: %d of %d, %.0f a second', stage, done, total, rate)
            last, since = {stage: done for stage, (done, _) in counts.items()}, now

    def stop(self) -> None:
        """Stop logging."""
        self._stop_event.set()
        self.join()
