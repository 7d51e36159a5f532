"""Recordings as blocks of samples: from a file of any form, or an array, at any rate."""

from collections.abc import Iterator
import contextlib
import math
import os

import numpy as np
import soxr

from fgsep_jax import files
from fgsep_jax.data import audio_files, resample as resample_lib
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.names import shown

BLOCK = 1 << 16  # samples of an array handed on at a time
LOUDEST = 2e37  # peak up to which float32 has room for what is done with a signal
_CHANGED = ('changed', 'something wrote to it while it was read')


def floats(name, signal, forms):
    """A signal that somebody gives as an array of floats, whatever library it is of.

    Raises:
      ValueError: the argument of that `name` has other numbers, some that are masked, rows of
        several lengths, or none of the `forms`' shapes, or its library gives none away.
    """
    if _is_masked(signal):
        raise ValueError(f'{name} has masked samples: fill them in, or leave them out')
    if str(getattr(signal, 'dtype', '')) == 'bfloat16':  # no float to NumPy
        signal = signal.astype(np.float32)
    try:
        signal = np.asarray(signal)
    except ValueError as error:  # its words are on setting an element with a sequence
        raise ValueError(f'{name} has rows of several lengths: must be an array') from error
    except Exception as error:  # of a tensor that has a gradient, of a value that is being traced
        why = shown(str(error).partition('\n')[0])
        raise ValueError(f'{name} is no array of numbers to NumPy: {why}') from error
    if not 1 <= signal.ndim <= len(forms) or not np.issubdtype(signal.dtype, np.floating):
        what, kind = f'{signal.dtype}{list(signal.shape)}', signal.dtype.kind
        if kind not in 'biufc':
            what = ' '.join(f'{signal.tolist()!r:.80}'.split())
        helps = {'i': '; divide 16-bit integers by 32768', 'U': '; separate_file reads files'}
        raise ValueError(
            f'{name} is {what}: must be floats {" or ".join(forms)}{helps.get(kind, "")}'
        )
    return signal


def _is_masked(signal):
    """Whether samples are masked, of an array or of one in a list."""
    if isinstance(signal, list | tuple):
        return any(_is_masked(x) for x in signal if isinstance(x, list | tuple | np.ndarray))
    return np.ma.is_masked(signal)


def too_loud(peak):
    """What is wrong with a recording of a peak above `LOUDEST`."""
    return BadInput('too loud', f'a peak of {peak:.0e}; full scale is 1')


def check_length(seconds: float, rate: float) -> None:
    """Raises BadInput where a part of so many seconds, 0: to the end, has no sample."""
    if seconds and not round(seconds * rate):
        raise BadInput('empty', f'seconds={seconds:g} is less than a sample at {rate:g} Hz')


class ArrayRecording:
    """A signal [channels, T] in memory.

    Attributes:
      rate: in hertz.
      channels: of each block.
    """

    def __init__(self, signal_CT: np.ndarray, rate: float):
        self._signal_CT, self.rate, self.channels = signal_CT, rate, len(signal_CT)

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 [samples, channels] from the start to the end.

        Raises:
          BadInput: a sample is too loud, for float32 too.
        """
        for at in range(0, self._signal_CT.shape[1], BLOCK):
            block_TC = self._signal_CT[:, at : at + BLOCK].T
            size_TC = np.abs(block_TC)
            loud_TC = (size_TC > np.float64(LOUDEST)) & np.isfinite(size_TC)
            if loud_TC.any():
                raise too_loud(size_TC[loud_TC].max())
            yield np.asarray(block_TC, np.float32)


class FileRecording:
    """A part of an audio file, read as often as it is wanted.

    What libsndfile does not read (m4a, video) is decoded by ffmpeg where that is installed, into a
    temporary file.

    Args:
      path: of the file.
      start, seconds: the part; all from there on where `seconds` is 0.
      folder: where a temporary file goes; the system's if empty.
      cut: see `audio_files.opened`.

    Attributes:
      rate: in hertz.
      channels: of each block.

    Raises:
      BadInput: it cannot be read.
    """

    def __init__(
        self,
        path: str,
        *,
        start: float = 0.0,
        seconds: float = 0.0,
        folder: str = '',
        cut: set[str] | None = None,
    ):
        self._path, self.start, self._seconds, self._cut = path, start, seconds, cut
        self._temporary, self._original = contextlib.ExitStack(), path
        self._state = _state(path)
        try:
            with audio_files.opened(path, cut=cut) as (file, _):  # damage is no form for ffmpeg
                self.rate, self.channels = file.samplerate, file.channels
        except BadInput as bad:
            if bad.kind != 'unreadable':
                raise
            if not os.path.getsize(path):
                raise BadInput('empty', '0 bytes') from bad
            with contextlib.ExitStack() as stack:
                self._path = stack.enter_context(files.temporary('.wav', folder)).name
                audio_files.by_ffmpeg(path, self._path, whole=not cut)  # damage is no cut
                with audio_files.opened(self._path, check=False) as (file, _):
                    self.rate, self.channels = file.samplerate, file.channels
                self._temporary = stack.pop_all()

    def check_unchanged(self) -> None:
        """Raises BadInput where the file is not what it was when it was opened."""
        if _state(self._original) != self._state:
            raise BadInput(*_CHANGED)

    def close(self) -> None:
        """Removes what was decoded into a temporary file."""
        self._temporary.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 [samples, channels] from the start to the end; see `audio_files.decoded`."""
        check_length(self._seconds, self.rate)
        first = round(self.start * self.rate)
        last = first + round(self._seconds * self.rate) if self._seconds else math.inf
        at = 0
        with audio_files.decoded(self._path, self._cut) as sound:
            if (sound.rate, sound.channels) != (self.rate, self.channels):
                raise BadInput(*_CHANGED)
            for block_TC in sound.blocks:
                if at >= last:
                    return
                part_TC = block_TC[max(first - at, 0) : max(int(min(last - at, 1 << 40)), 0)]
                at += len(block_TC)
                if len(part_TC):
                    yield part_TC


def _state(path):
    with contextlib.suppress(OSError):
        about = os.stat(path)
        return about.st_size, about.st_mtime_ns, about.st_ino


class Resampler:
    """soxr's stream, of blocks float32 [samples, channels]."""

    def __init__(self, native_rate: float, sample_rate: float, channels: int):
        self._stream = soxr.ResampleStream(native_rate, sample_rate, channels, dtype='float32')
        self._channels = channels

    def take(self, block_TC: np.ndarray, *, last: bool = False) -> np.ndarray:
        """What is complete with this block; all that is left with the `last` one."""
        block = np.ascontiguousarray(block_TC if self._channels > 1 else block_TC[:, 0])
        return self._stream.resample_chunk(block, last=last).reshape(-1, self._channels)


def resampled(
    blocks: Iterator[np.ndarray], native_rate: float, sample_rate: float, *, samples: int
) -> Iterator[np.ndarray]:
    """Blocks at another rate, as `data.resample.resample` of the whole would be.

    Args:
      blocks: float32 [samples, channels].
      native_rate, sample_rate: in hertz.
      samples: to give in all; what is missing at the end is zero.

    Yields:
      float32 [samples, channels].
    """
    given, stream, channels = 0, None, 1
    if native_rate == sample_rate:
        for block_TC in blocks:
            channels, block_TC = block_TC.shape[1], block_TC[: samples - given]
            given += len(block_TC)
            yield block_TC
    else:
        for block_TC in blocks:
            if stream is None:
                channels = block_TC.shape[1]
                stream = Resampler(native_rate, sample_rate, channels)
            made_TC = stream.take(block_TC)[: samples - given]
            given += len(made_TC)
            yield made_TC
        if stream is not None:
            made_TC = stream.take(np.zeros((0, channels), np.float32), last=True)
            made_TC = made_TC[: samples - given]
            given += len(made_TC)
            yield made_TC
    if given < samples:
        yield np.zeros((samples - given, channels), np.float32)


def length_at(samples: int, native_rate: float, sample_rate: float) -> int:
    """Samples that `resampled` should make of so many."""
    if native_rate == sample_rate:
        return samples
    return resample_lib.length(samples, native_rate, sample_rate)


class Puller:
    """Blocks of any lengths, taken in lengths that are asked for."""

    def __init__(self, blocks: Iterator[np.ndarray]):
        self._blocks, self._rest = iter(blocks), []

    def take(self, count: int) -> np.ndarray:
        """The next `count` samples [count, ...], fewer at the end."""
        held = sum(map(len, self._rest))
        while held < count and (block := next(self._blocks, None)) is not None:
            self._rest.append(block)
            held += len(block)
        if not self._rest:
            return np.zeros((0, 1), np.float32)
        joined = np.concatenate(self._rest) if len(self._rest) > 1 else self._rest[0]
        self._rest = [joined[count:]] if len(joined) > count else []
        return joined[:count]
