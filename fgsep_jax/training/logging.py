"""What a run tells: metrics.jsonl, TensorBoard, and a progress bar or lines on the terminal."""

import json
import math
import os
import sys
import time

import numpy as np
import tensorboardX
import tqdm


class RunLog:
    """Writes scalars, sounds and spectrograms of one run; silent on all but the first host.

    Args:
      workdir: run folder.
      step: step that the run starts or resumes from; what was logged after it is dropped, since
        it is about to be computed again.
      total: steps of the whole run, for the progress bar.
      active: False on hosts that must not write.
    """

    def __init__(self, workdir, *, step, total, active=True):
        self._active = active
        if not active:
            return
        path = os.path.join(workdir, 'metrics.jsonl')
        _drop_after(path, step)
        self._lines = open(path, 'a')
        self._board = tensorboardX.SummaryWriter(
            os.path.join(workdir, 'tensorboard'), purge_step=step + 1
        )
        self._bar = tqdm.tqdm(
            total=total,
            initial=step,
            unit='step',
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        self._total, self._said = total, time.monotonic()

    def scalars(self, step, values, *, kind):
        """Writes numbers to metrics.jsonl and TensorBoard.

        Args:
          step: step they belong to.
          values: {name: number}; a number that is not finite is written as null.
          kind: 'train', 'validation' or another heading.
        """
        if not self._active:
            return
        plain = {name: float(value) for name, value in values.items()}
        self._lines.write(
            json.dumps(
                {
                    'step': step,
                    'kind': kind,
                    **{
                        name: value if math.isfinite(value) else None
                        for name, value in plain.items()
                    },
                }
            )
            + '\n'
        )
        self._lines.flush()
        for name, value in plain.items():
            self._board.add_scalar(f'{kind}/{name}', value, step)

    def event(self, step, kind, **content):
        """Writes one line that is not a set of numbers, e.g. a skipped step and its ids."""
        if self._active:
            self._lines.write(json.dumps({'step': step, 'kind': kind, **content}) + '\n')
            self._lines.flush()

    def sound(self, step, name, signal_T, sample_rate):
        """Writes a signal, level-matched, and its spectrogram to TensorBoard."""
        if not self._active:
            return
        signal_T = np.asarray(signal_T, np.float32)
        peak = np.abs(signal_T).max(initial=0.0)
        # SI-SNR leaves the scale free, so an estimate may be far outside [-1, 1].
        scaled_T = signal_T * (0.9 / peak) if peak > 0 else signal_T
        self._board.add_audio(name, scaled_T[:, None], step, sample_rate)
        self._board.add_image(f'{name}/spectrogram', _spectrogram(scaled_T), step, dataformats='HW')

    def progress(self, step, *, loss, examples_per_second, seconds_left):
        """Moves the bar; without a terminal prints a line every quarter of a minute."""
        if not self._active:
            return
        self._bar.n = step
        self._bar.set_postfix_str(f'loss {loss:.2f}, {examples_per_second:.1f} examples/s')
        now = time.monotonic()
        if self._bar.disable and now - self._said > 15:
            self._said = now
            self.say(
                f'step {step}/{self._total}  loss {loss:.2f}  {examples_per_second:.1f}'
                f' examples/s  {duration(seconds_left)} to go'
            )

    def say(self, text):
        """Prints a line without breaking the bar."""
        if self._active:
            tqdm.tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

    def close(self):
        """Closes the files."""
        if self._active:
            self._bar.close()
            self._board.close()
            self._lines.close()


def duration(seconds):
    """A duration at the precision a person plans by: '40 s', '12 min', '3.5 h', '9 days'."""
    for limit, unit, size in ((90, 's', 1), (5400, 'min', 60)):
        if seconds < limit:
            return f'{seconds / size:.0f} {unit}'
    return f'{seconds / 3600:.1f} h' if seconds < 172800 else f'{seconds / 86400:.0f} days'


def _drop_after(path, step):
    if not os.path.exists(path):
        return
    with open(path) as file:
        lines = file.readlines()
    kept = []
    for line in lines:
        try:
            if json.loads(line)['step'] <= step:
                kept.append(line)
        except json.JSONDecodeError:  # the last line of a run that was killed while writing it
            continue
    with open(path + '.partial', 'w') as file:
        file.writelines(kept)
    os.replace(path + '.partial', path)


def _spectrogram(signal_T, *, window=256, hop=64, floor_db=-80.0):
    """Log-magnitude picture [F, K] in 0..1, low frequencies at the bottom."""
    signal_T = np.pad(signal_T, (0, max(window - len(signal_T), 0)))
    frames_KW = np.lib.stride_tricks.sliding_window_view(signal_T, window)[::hop]
    power_KF = np.abs(np.fft.rfft(frames_KW * np.hanning(window))) ** 2
    level_KF = 10 * np.log10(power_KF / max(power_KF.max(initial=0.0), 1e-12) + 1e-12)
    return np.clip(1 - level_KF / floor_db, 0, 1).T[::-1]
