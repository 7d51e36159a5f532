"""A recording cut into windows as if it were not: gLN's statistics are those of the whole.

A global norm divides by the deviation of all frames, so that a window alone comes out otherwise
than within its recording. Here the network is computed part by part, each over all windows before
the next one: the coder up to the first block, every block, and what follows. The moments of a norm
depend on those of the norms before it alone, so a part is gone through once for each of its norms,
and once more for what it gives, which waits in a temporary file. Frames so near a window's ends
that they miss what a part's convolutions reach are thrown away.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
import itertools
import os
import tempfile
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

from fgsep_jax import files
from fgsep_jax.models.encoders import Encoder, frame, frame_count
from fgsep_jax.models.tcn import TCN
from fgsep_jax.separation import windows


class Whole:
    """A Conv-TasNet over recordings of any length.

    Args:
      model: the `ConvTasNet`.
      params: tree of its weights.
    """

    def __init__(self, model: nn.Module, params: dict):
        self._model, self._params = model, params
        self._framing = model.framing
        self._offset = float(params['decoder']['bias']) if model.decoder.offset else 0.0

        @functools.partial(jax.jit, static_argnums=(0, 1, 2))
        def part(method, index, output, weights, moments, *inputs):
            inputs = inputs if index is None else (*inputs, index)
            variables = {'params': weights, 'moments': moments}
            made, means = model.apply(variables, *inputs, method=method, mutable=['frame_means'])
            return made if output else means.get('frame_means', {})

        self._part = part

    @staticmethod
    def takes(model: nn.Module) -> bool:
        """Whether it is a ConvTasNet whose parts are those this takes apart, with global norms."""
        parts = isinstance(model.encoder, Encoder) and isinstance(model.separator, TCN)
        # A window does not know what a cumulative norm has summed up before it.
        return parts and model.separator.norm == 'gln' and model.separator.input_norm != 'cln'

    def _run(self, method, index, weights, cut, inputs):
        return _Run(functools.partial(self._part, method, index), weights, cut, inputs)

    def separate(
        self,
        signal: Callable[[], Iterable[np.ndarray]],
        *,
        samples: int,
        channels: int,
        window: int,
        gain: float,
        folder: str = '',
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Separates a recording.

        Args:
          signal: gives its blocks [samples, channels], from the start, each time it is called.
          samples: of the recording.
          channels: of the recording.
          window: samples that are computed at once, a few more where a block reaches far.
          gain: applied before.
          folder: where the temporary file goes; the system's if empty.
          progress: called with the share of the work that is done since the last call.

        Yields:
          float32 [sources, channels, samples], in order, `samples` in all.

        Raises:
          OSError: there is no room for the temporary file.
        """
        encoder, tcn, params = self._model.encoder, self._model.separator, self._params
        width, stride = encoder.window, encoder.stride
        total = int(frame_count(samples, **self._framing))
        left = 0 if encoder.framing == 'plain' else stride
        blocks = tcn.blocks * tcn.repeats

        def cut(reach):
            return _Cut(total, max(window // stride, 4 * reach, 1), reach)

        def frames(cut):
            length = (cut.count - 1) * stride + width
            places = [start * stride for start in cut.starts]
            for window_CT in windows.cut(_after_zeros(signal(), left), places, length):
                missing = length - window_CT.shape[1]
                window_CT = np.pad(window_CT * np.float32(gain), ((0, 0), (0, missing)))
                yield frame(window_CT, window=width, stride=stride, framing='plain')

        def counted(made):
            yield from made
            if progress is not None:
                progress(1 / (blocks + 2))

        folder = folder or tempfile.gettempdir()
        with tempfile.TemporaryFile(dir=folder) as file:
            widths = (tcn.bottleneck, tcn.bottleneck, tcn.skip)
            with files.located(folder):
                x_CKB, next_CKB, sum_CKD = _tapes(file, channels, total, widths)
            enter = cut(sum(encoder.dilations))
            norms = len(encoder.dilations) if encoder.activation == 'glu' else 0
            run = self._run('enter', None, params, enter, lambda: ((f,) for f in frames(enter)))
            moments = run.moments(norms + 1)
            for made_CKB, at in zip(counted(run.made(moments)), enter.answers):
                x_CKB[at] = made_CKB
            for index in range(blocks):
                # Blocks of one dilation are compiled once; the last may have no residual output.
                key = index if index == blocks - 1 else index % tcn.blocks
                weights = {'separator': {f'block_{key}': params['separator'][f'block_{index}']}}
                inner = cut(2 ** (index % tcn.blocks) * (tcn.kernel - 1) // 2)
                inputs = functools.partial(_cut_out, inner, x_CKB)
                run = self._run('block', key, weights, inner, inputs)
                for (residual_CKB, skip_CKD), at in zip(
                    counted(run.made(run.moments(2))), inner.answers
                ):
                    sum_CKD[at] = sum_CKD[at] + skip_CKD
                    if residual_CKB.shape[2]:
                        next_CKB[at] = x_CKB[at] + residual_CKB
                x_CKB, next_CKB = next_CKB, x_CKB
            leave = cut(2 * sum(encoder.dilations))
            last_CKD = sum_CKD if tcn.skip else x_CKB
            run = self._run(
                'leave', None, params, leave,
                lambda: ((f, x) for f, (x,) in zip(frames(leave), _cut_out(leave, last_CKD))),
            )  # fmt: skip
            made = counted(run.made(run.moments(norms, moments)))
            made = (
                block.swapaxes(0, 1) + np.float32(self._offset) for block in _added(made, stride)
            )
            yield from _cropped(made, left, samples)


class _Cut:
    """Windows over `total` frames, `count` each: which frames of each, and of all, it answers for.

    `reach`: the frames at its ends that it does not, where more follow.
    """

    def __init__(self, total, count, reach):
        self.total, self.count = total, min(count, total)
        self.starts = windows.positions(total, self.count, max(self.count - 2 * reach, 1))
        bounds = [0, *(start + reach for start in self.starts[1:]), total]
        self.answers = [slice(a, b) for a, b in zip(bounds, bounds[1:])]
        self.own = [slice(a.start - at, a.stop - at) for a, at in zip(self.answers, self.starts)]


class _Run(NamedTuple):
    """One part of the network over all windows."""

    part: Callable
    weights: dict
    cut: _Cut
    inputs: Callable

    def moments(self, norms, moments=None):
        """The moments of its norms over all frames, so many of them one behind the other."""
        moments = moments or {}
        for _ in range(norms):
            sums = None
            for arrays, own in zip(self.inputs(), self.cut.own):
                means = self.part(False, self.weights, moments, *arrays)
                means = jax.tree.map(
                    lambda leaf: np.asarray(leaf, np.float64)[..., own].sum(axis=2), means
                )
                sums = means if sums is None else jax.tree.map(np.add, sums, means)
            moments = jax.tree.map(lambda sum_2C: np.float32(sum_2C / self.cut.total), sums)
        return moments

    def made(self, moments):
        """What it gives for the frames that each window answers for."""
        for arrays, own in zip(self.inputs(), self.cut.own):
            made = self.part(True, self.weights, moments, *arrays)
            yield jax.tree.map(lambda leaf: np.asarray(leaf)[..., own, :], made)


class _Tape:
    """An array [channels, frames, width] in a file, read and written by spans of frames.

    Not a memory map: pages of one count as this process's memory.
    """

    def __init__(self, file, at, channels, frames, width):
        self._file, self._width = file, width
        self._starts = [at + 4 * channel * frames * width for channel in range(channels)]

    def __getitem__(self, frames):
        rows = []
        for at in self._starts:
            self._file.seek(at + 4 * frames.start * self._width)
            data = self._file.read(4 * (frames.stop - frames.start) * self._width)
            rows.append(np.frombuffer(data, np.float32))
        return np.stack(rows).reshape(len(rows), frames.stop - frames.start, self._width)

    def __setitem__(self, frames, value_CKB):
        for at, row_KB in zip(self._starts, np.asarray(value_CKB, np.float32)):
            self._file.seek(at + 4 * frames.start * self._width)
            self._file.write(row_KB.tobytes())


def _tapes(file, channels, frames, widths):
    """Tapes of zeros of so many frames in a file, its room taken before it is used."""
    sizes = [4 * channels * frames * width for width in widths]
    if hasattr(os, 'posix_fallocate'):  # not on macOS
        os.posix_fallocate(file.fileno(), 0, max(sum(sizes), 1))
    file.truncate(sum(sizes))
    for width, at in zip(widths, itertools.accumulate([0, *sizes])):
        yield _Tape(file, at, channels, frames, width)


def _cut_out(cut, x_CKB):
    return ((x_CKB[at : at + cut.count],) for at in cut.starts)


def _after_zeros(blocks, count):
    """The blocks [samples, channels], zeros before them."""
    for block_TC in blocks:
        yield np.pad(block_TC, ((count, 0), (0, 0)))
        count = 0


def _added(frames, stride):
    """Overlaps and adds frames [..., frames, window]; yields [..., samples]."""
    rest = np.float32(0)
    for frame_KW in frames:
        sum_T, rest = windows.added(frame_KW, rest, stride)
        yield sum_T
    yield rest


def _cropped(blocks, left, samples):
    """Without the first `left` samples; `samples` in all, zeros at the end if need be."""
    for block in blocks:
        dropped = min(left, block.shape[-1])
        block = block[..., dropped:][..., :samples]
        left, samples = left - dropped, samples - block.shape[-1]
        if block.size:
            yield block
    if samples:
        yield np.zeros((*block.shape[:-1], samples), np.float32)
