"""Read audio files and judge them: what is bad is named by kind and kept out of the data."""

import dataclasses
import io
import math
import os

import numpy as np
import scipy
import soundfile

from data_prep.corpora import Utterance

FULL_SCALE = 32768.0  # of int16: PCM sample / FULL_SCALE lies in [-1, 1)


class BadInput(Exception):
    """A file (or mixture) that must not enter the data.

    Attributes:
        kind: short name it is counted under.
        detail: what was found.
    """

    def __init__(self, kind: str, detail: str = ''):
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


@dataclasses.dataclass(frozen=True)
class Inspected:
    """An utterance that was looked into.

    Attributes:
        item: the utterance.
        samples: length at the target rate; 0 if bad.
        rms_db: level re full scale.
        converted: what reading changes (`resampled`, `first channel taken`).
        problem: kind of fault, empty if the file is good.
        detail: what was found.
    """

    item: Utterance
    samples: int = 0
    rms_db: float = -math.inf
    converted: tuple[str, ...] = ()
    problem: str = ''
    detail: str = ''


def _ratio(native_rate: int, sample_rate: int) -> tuple[int, int]:
    common = math.gcd(native_rate, sample_rate)
    return sample_rate // common, native_rate // common


def resampled_length(samples: int, native_rate: int, sample_rate: int) -> int:
    """Samples that `read` returns for a file of `samples` at `native_rate`."""
    up, down = _ratio(native_rate, sample_rate)
    return -(-samples * up // down)


def _check_whole(head: bytes, size: int) -> None:
    """Refuse a file of `size` bytes that is empty, or whose RIFF header promises more."""
    if not size:
        raise BadInput('empty', '0 bytes')
    if head[:4] == b'RIFF' and head[8:12] == b'WAVE':
        promised = int.from_bytes(head[4:8], 'little') + 8
        # Writers to a pipe leave 0, 0xFFFFFFFF or (sox, eSpeak) about 0x7FFFF000: length unknown.
        # Some count the last chunk's padding byte and do not write it.
        if size + 1 < promised < 0x7FFFF000:
            raise BadInput('truncated', f'{size} bytes of the {promised} that its header promises')


def _open(path: str):
    if '://' in path:
        from apache_beam.io.filesystems import FileSystems

        with FileSystems.open(path) as file:
            contents = file.read()
        _check_whole(contents[:12], len(contents))
        return soundfile.SoundFile(io.BytesIO(contents))
    with open(path, 'rb') as file:
        _check_whole(file.read(12), os.fstat(file.fileno()).st_size)
    return soundfile.SoundFile(path)


def _read(file: soundfile.SoundFile, frames: int = -1) -> np.ndarray:
    audio_T = file.read(frames, dtype='float32')
    return audio_T if audio_T.ndim == 1 else np.ascontiguousarray(audio_T[:, 0])


def read(path: str, *, sample_rate: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Samples `start` to `stop`, counted at `sample_rate`, of the first channel.

    Higher native rates are resampled by a polyphase filter (`scipy.signal.resample_poly`, linear
    phase, Kaiser 5.0), over the whole file, so that a cut does not depend on where it is made.

    Returns:
        float32 [stop - start] in [-1, 1).
    Raises:
        BadInput: `unreadable`, `empty`, `truncated` or `rate too low`.
    """
    try:
        with _open(path) as file:
            native_rate = file.samplerate
            if native_rate == sample_rate:
                file.seek(start)
                return _read(file, -1 if stop is None else stop - start)
            audio_T = _read(file)
    except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        raise BadInput('unreadable', str(error)) from error
    if native_rate < sample_rate:
        raise BadInput('rate too low', f'{native_rate} Hz, {sample_rate} Hz wanted')
    up, down = _ratio(native_rate, sample_rate)
    return scipy.signal.resample_poly(audio_T, up, down)[start:stop].astype(np.float32)


def clipped_fraction(audio_T: np.ndarray, *, threshold: float = 0.999, run: int = 3) -> float:
    """Share of samples in runs of at least `run` samples at or above `threshold` of full scale."""
    loud_T = np.abs(audio_T) >= threshold
    if not loud_T.any():
        return 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud_T.astype(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= run].sum() / audio_T.size)


def inspect(
    item: Utterance,
    *,
    sample_rate: int,
    min_seconds: float = 0.0,
    silence_db: float = -60.0,
    max_clipped: float = 1e-4,
) -> Inspected:
    """Look into one file; never raises for what the file holds.

    Args:
        item: the utterance.
        sample_rate: of the data set; higher native rates are fine, lower ones are not.
        min_seconds: shorter files are `too short`.
        silence_db: files whose peak re full scale, offset removed, stays below are `silent`.
        max_clipped: files with a larger `clipped_fraction` are `clipped`.
    """
    try:
        with _open(item.path) as file:
            native_rate, channels = file.samplerate, file.channels
            audio_T = _read(file)
        if not audio_T.size:
            raise BadInput('empty', 'no samples')
        if native_rate < sample_rate:
            raise BadInput('rate too low', f'{native_rate} Hz, {sample_rate} Hz wanted')
        if not np.isfinite(audio_T).all():
            raise BadInput('not finite', 'nan or inf samples')
        peak = float(np.max(np.abs(audio_T - np.mean(audio_T, dtype=np.float64))))
        if peak < 10 ** (silence_db / 20):
            raise BadInput('silent', f'peak {20 * math.log10(max(peak, 1e-9)):.0f} dB full scale')
        clipped = clipped_fraction(audio_T)
        if clipped > max_clipped:
            raise BadInput('clipped', f'{100 * clipped:.2f} % of the samples')
        seconds = audio_T.size / native_rate
        if seconds < min_seconds:
            raise BadInput('too short', f'{seconds:.2f} s, {min_seconds:g} s wanted')
    except BadInput as bad:
        return Inspected(item, problem=bad.kind, detail=bad.detail)
    except (OSError, RuntimeError) as error:
        from apache_beam.io.filesystems import FileSystems

        problem = 'unreadable' if FileSystems.exists(item.path) else 'missing'
        return Inspected(item, problem=problem, detail=str(error))
    converted = (('resampled',) if native_rate != sample_rate else ()) + (
        ('first channel taken',) if channels > 1 else ()
    )
    return Inspected(
        item,
        samples=resampled_length(audio_T.size, native_rate, sample_rate),
        rms_db=10 * math.log10(float(np.mean(np.square(audio_T, dtype=np.float64)))),
        converted=converted,
    )
