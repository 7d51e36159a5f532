"""What a run tells: metrics.jsonl, run.log, TensorBoard, Weights & Biases where asked, and a
progress bar or lines on the terminal."""

import contextlib
import hashlib
import json
import math
import os
import sys
import time
from typing import Any

import numpy as np
import tqdm

from fgsep_jax import buckets, files
from fgsep_jax.config import ConfigError
from fgsep_jax.dsp.mel import mel_matrix, mel_of_signal
from fgsep_jax.training import tensorboard, wandb_board


class RunLog:
    """Writes scalars, sounds and spectrograms of one run; silent on all but the first host.

    What cannot be written, or printed, never ends the run nor holds it up.

    Args:
      workdir: run folder.
      step: step that the run starts or resumes from; what was logged after it is dropped, since
        it is about to be computed again.
      total: steps of the whole run, for the progress bar; None where they are not foreseen.
      active: False on hosts that must not write.
      unvalidated: whether the validation of this step, too, is about to be computed again.
      config: the run's ConfigDict, for Weights & Biases; None for none.
      logged: what `logged` was when this step was saved; None: not known.
    """

    def __init__(
        self,
        workdir,
        *,
        step,
        total,
        active=True,
        unvalidated=False,
        config=None,
        logged=None,
    ):
        self._active = active
        self._boards: list[Any] = []
        if not active:
            return
        path = os.path.join(workdir, 'metrics.jsonl')
        content = _drop_after(path, step, unvalidated)
        self._size, self._digest = len(content), hashlib.sha256(content)
        self._complained = False
        self._text = _Appended(os.path.join(workdir, 'run.log'), self._cannot_write)
        self._lines = _Appended(path, self._cannot_write)
        folder = os.path.join(workdir, 'tensorboard')
        self._events = _Appended(tensorboard.path(folder), self._cannot_write)
        self._boards.append(tensorboard.EventWriter(self._events, purge_step=step + 1))
        self._bar = tqdm.tqdm(
            total=total,
            initial=step,
            unit='step',
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        self._total, self._said = total, time.monotonic()
        self._wandb = None
        if config is not None and config.training.wandb:
            self._wandb = wandb_board.Board(config, workdir, failed=self.say)
            self._boards.append(self._wandb)
        if logged not in (None, self.logged):
            self.say(
                f'note: {path} is not what was logged up to step {step} ({self._size:,} bytes of'
                f' {logged[0]:,}): it was cut, or changed; the curves of this run lack what is gone'
            )

    @property
    def logged(self):
        """[bytes, digest] of metrics.jsonl so far; None on hosts that do not write."""
        return [self._size, self._digest.hexdigest()[:16]] if self._active else None

    def scalars(self, step, values, *, kind):
        """Writes numbers to metrics.jsonl and TensorBoard.

        Args:
          step: step they belong to.
          values: {name: number}; a number that is not finite is written as null.
          kind: 'train', 'validation' or another heading.
        """
        plain = {name: float(value) for name, value in values.items()}
        finite = {k: value if math.isfinite(value) else None for k, value in plain.items()}
        self.event(step, kind, **finite)
        for board in self._boards:
            board.scalars(step, {f'{kind}/{name}': value for name, value in plain.items()})

    def event(self, step, kind, **content):
        """Writes one line that is not a set of numbers, e.g. a skipped step and its ids."""
        if not self._active:
            return
        line = (json.dumps({'step': step, 'kind': kind, **content}) + '\n').encode()
        self._size += len(line)
        self._digest.update(line)
        self._lines.write(line)

    def text(self, step, name, markdown):
        """Writes text to TensorBoard."""
        for board in self._boards:
            board.text(step, name, markdown)

    def sounds(self, step, signals, sample_rate):
        """Writes the signals of one example and their spectrograms to TensorBoard, all at one gain
        and in one range of levels.

        Args:
          step: step they belong to.
          signals: {tag: signal_T}, of one length.
          sample_rate: in hertz.
        """
        if not self._active:
            return
        signal_ST = np.stack(list(signals.values())).astype(np.float32)
        signal_ST *= 0.9 / max(np.abs(signal_ST).max(initial=0.0), 1e-9)
        for tag, signal_T, picture in zip(signals, signal_ST, _pictures(signal_ST, sample_rate)):
            for board in self._boards:
                board.sound(step, tag, signal_T, sample_rate)
                board.image(step, f'{tag}/spectrogram', picture)

    def progress(self, step, *, loss, examples_per_second, seconds_left):
        """Moves the bar; without a terminal prints a line every quarter of a minute.

        Args:
          step: just done.
          loss: of its batch.
          examples_per_second, seconds_left: None as long as too few steps have been timed.
        """
        if not self._active:
            return
        measuring = examples_per_second is None
        speed = 'measuring' if measuring else f'{examples_per_second:.1f} examples/s'
        to_go = '' if measuring else f'  {duration(seconds_left)} to go'
        self._bar.n = step
        with contextlib.suppress(OSError):  # the terminal is gone
            self._bar.set_postfix_str(f'loss {loss:.2f}, {speed}')
        now = time.monotonic()
        if self._bar.disable and now - self._said > 15:
            self._said = now
            of = f'/{self._total}' if self._total else ''
            self.say(f'step {step}{of}  loss {loss:.2f}  {speed}{to_go}')

    def say(self, text):
        """Prints a line without breaking the bar, and keeps it in run.log until that is closed."""
        if self._active:
            text = buckets.named(text)
            if not self._text.closed:
                self._text.write(f'{time.strftime("%Y-%m-%d %H:%M:%S")}  {text}\n'.encode())
            with contextlib.suppress(OSError):  # the terminal, or the reader of a pipe, is gone
                tqdm.tqdm.write(text, file=sys.stdout)
                sys.stdout.flush()

    def _cannot_write(self, path, error):
        if not self._complained:
            self._complained = True
            self.say(
                f'{path}: logging stopped ({files.why(error)}); the training goes on, and what is'
                ' to be logged waits for room'
            )

    def close(self):
        """Closes the files."""
        if self._active:
            with contextlib.suppress(OSError):
                self._bar.close()
            if self._wandb:
                self._wandb.close()
            for file in (self._events, self._lines, self._text):
                file.close()


class _Appended:
    """A file that is only added to. What the disk does not take is kept and tried again, so that
    nothing is left out or cut in two where there is room again.

    Args:
      path: made if missing, with its folder.
      failed: called with the path and the OSError each time.
      keep: bytes that wait at most; what does not fit is lost.
    """

    def __init__(self, path, failed, *, keep=1 << 24):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.refuse_links(*os.path.split(path))
        self._file = open(path, 'ab', buffering=0)
        self._path, self._failed, self._keep, self._pending = path, failed, keep, b''
        self.closed = False

    def write(self, content):
        """Adds bytes."""
        if len(self._pending) + len(content) <= self._keep:
            self._pending += content
        try:
            while self._pending:  # a disk that fills takes a part first
                self._pending = self._pending[self._file.write(self._pending) :]
        except OSError as error:
            self._failed(self._path, error)

    def close(self):
        """Closes the file."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._file.close()


def duration(seconds):
    """A duration at the precision a person plans by: '40 s', '12 min', '3.5 h', '9 days'."""
    for limit, unit, size in ((90, 's', 1), (5400, 'min', 60)):
        if seconds < limit:
            return f'{seconds / size:.0f} {unit}'
    return f'{seconds / 3600:.1f} h' if seconds < 172800 else f'{seconds / 86400:.0f} days'


def _drop_after(path, step, unvalidated):
    """Takes the lines of later steps out of a log; those that cannot be read stay, but the last.
    Returns the bytes that are left."""
    if not os.path.lexists(path):
        return b''
    lines = files.read_bytes(path, ConfigError, most=4 << 30).splitlines(keepends=True)
    kept = []
    for line in lines:
        try:
            row = files.parse_json(line, ConfigError, where=path)
            again = unvalidated and (row['step'], row['kind']) == (step, 'validation')
            keep = row['step'] <= step and not again
        except (ConfigError, KeyError, TypeError):
            keep = line.endswith(b'\n')  # else a run was killed while writing it
        kept += [line] * keep
    content = b''.join(kept)
    files.write({path: content})
    return content


def _pictures(signal_ST, sample_rate, *, range_db=80.0, height=256, width=512):
    """Mel spectrograms as uint8 [S, height at least, width at least, 3], low frequencies at the
    bottom, in dB below the loudest of all."""
    window = 2 ** round(np.log2(0.046 * sample_rate))
    matrix_FM = mel_matrix(
        sample_rate=sample_rate, window=window, bands=128 if sample_rate > 16000 else 64
    )
    mel_SKM = mel_of_signal(signal_ST, matrix_FM, window=window, hop=window // 8)
    level_SMK = 20 * np.log10(np.asarray(mel_SKM) + 1e-9).swapaxes(1, 2)[:, ::-1]
    shade_SMK = np.clip(1 + (level_SMK - level_SMK.max()) / range_db, 0, 1)
    for axis, least in ((1, height), (2, width)):
        shade_SMK = shade_SMK.repeat(-(-least // shade_SMK.shape[axis]), axis=axis)
    shades = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(shade_SMK, shades, colour) for colour in np.transpose(_COLOURS)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


_COLOURS = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))  # magma
