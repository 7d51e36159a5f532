"""Where the parts of a recording sound, for those who look through hours of it."""

import numpy as np

from fgsep_jax.names import RESIDUAL

STEP = 0.05  # seconds between two levels
BELOW_PEAK_DB = 30.0  # a part sounds where it is at most this far below its loud moments
MASKED_DB = 15.0  # and at most this far below the loudest part at the time: the rest is leakage
LOUD = 99.0  # percentile of the levels that stands for them
SILENT_DB = -80.0  # re full scale: nothing sounds below
GAP = 0.3  # seconds of silence that end nothing
SHORTEST = 0.1  # seconds; what is shorter is no event


class Meter:
    """Levels of a signal that comes in blocks, one every `step` seconds, about `STEP`."""

    def __init__(self, rate):
        self._step = max(round(STEP * rate), 1)
        self.step = self._step / rate
        self._sums, self._rest_T = [], np.zeros(0)

    def add(self, block_TC):
        """Takes a block [samples, channels] in."""
        power_T = np.square(block_TC, dtype=np.float64).mean(axis=1)
        power_T = np.concatenate([self._rest_T, power_T])
        whole = len(power_T) // self._step * self._step
        self._sums.append(power_T[:whole].reshape(-1, self._step).mean(axis=1))
        self._rest_T = power_T[whole:]

    def level_db(self):
        """The level of every `step` seconds, in dB re full scale."""
        last = [[self._rest_T.mean()]] if len(self._rest_T) else []
        return 10 * np.log10(np.concatenate([*self._sums, *last, []]) + 1e-12)


def stretches(levels, *, step, seconds):
    """{part: (start, stop) in seconds of where it sounds}.

    Args:
      levels: {part: its level in dB every `step` seconds}, of all sources, whichever are written:
        what is one's in another is leakage.
      step: see `Meter`.
      seconds: that the parts last.
    """
    loudest_db = np.max([levels[part] for part in levels if part != RESIDUAL], axis=0)
    sounding = {part: _stretches(level_db, loudest_db, step) for part, level_db in levels.items()}
    return {part: [(a, min(b, seconds)) for a, b in spans] for part, spans in sounding.items()}


def _stretches(level_db, loudest_db, step):
    if not len(level_db):
        return []
    sounds = level_db > max(np.percentile(level_db, LOUD) - BELOW_PEAK_DB, SILENT_DB)
    sounds &= level_db > loudest_db - MASKED_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sounds.astype(int), [0]])))
    merged = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if merged and start - merged[-1][1] < round(GAP / step):
            merged[-1][1] = stop
        else:
            merged.append([start, stop])
    shortest = round(SHORTEST / step)
    return [(start * step, stop * step) for start, stop in merged if stop - start >= shortest]


def audacity(sounding):
    """A label track for Audacity: {part: stretches} as text."""
    lines = sorted((start, stop, part) for part, spans in sounding.items() for start, stop in spans)
    return ''.join(f'{start:.3f}\t{stop:.3f}\t{part}\n' for start, stop, part in lines)


def raven(sounding, rate):
    """A selection table for Raven: {part: stretches} as text."""
    columns = (
        'Selection', 'View', 'Channel', 'Begin Time (s)', 'End Time (s)', 'Low Freq (Hz)',
        'High Freq (Hz)', 'Part',
    )  # fmt: skip
    lines = ['\t'.join(columns)]
    spans = sorted((start, stop, part) for part, spans in sounding.items() for start, stop in spans)
    for number, (start, stop, part) in enumerate(spans, start=1):
        cells = (number, 'Spectrogram 1', 1, f'{start:.3f}', f'{stop:.3f}', 0, rate / 2, part)
        lines.append('\t'.join(map(str, cells)))
    return '\n'.join(lines) + '\n'
