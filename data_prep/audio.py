"""Read audio files and judge them: what is bad is named by kind and kept out of the data."""

from collections.abc import Sequence
import dataclasses
import fractions
import math

import numpy as np
import soundfile

from data_prep.recordings import AS_IT_IS, Recording, Take
from fgsep_jax import files
from fgsep_jax.data import audio_files
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.data.resample import length as resampled_length, resample
from fgsep_jax.names import counted

OFFSET_DB = -20.0  # a mean of this power over the rest's is an offset: it moves a level by 0.04 dB
MARGIN = 0.25  # seconds decoded on either side of a part, so that the resampler sees no edge
CLIPPED = 1e-4  # share of clipped samples with more of which a file is left out
FIRST_CHANNEL_DB = 3.0  # another channel is taken only where it is louder than the first by this


def _span(file: soundfile.SoundFile, start: int, stop: int | None, channel: int) -> np.ndarray:
    """Samples `start` to `stop`, at the file's own rate, of one channel."""
    if start and audio_files.can_seek(file):
        file.seek(min(start, file.frames))
        skipped = start
    else:
        skipped = 0
    if file.frames < audio_files.UNKNOWN_FRAMES and (stop is None or file.format == 'FLAC'):
        # What follows a FLAC's samples would be an error.
        stop = file.frames if stop is None else min(stop, file.frames)
    pieces, at = [], skipped
    for block_TC in audio_files.blocks(file, None if stop is None else max(stop - skipped, 0)):
        pieces.append(block_TC[max(start - at, 0) :, channel])
        at += len(block_TC)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def read(
    path: str,
    *,
    sample_rate: int,
    start: int = 0,
    stop: int | None = None,
    take: Take = AS_IT_IS,
) -> np.ndarray:
    """Samples `start` to `stop`, counted at `sample_rate`.

    No more than these is decoded, and what `resample` needs around them: up to rounding, they are
    the samples that the whole file would have there.

    Args:
        path: of the file.
        sample_rate: wanted, in hertz.
        start, stop: what is wanted, in samples; past the end there is nothing.
        take: as `inspect` found it.
    Returns:
        float32 [stop - start].
    Raises:
        BadInput: whatever is wrong with the file.
    """
    with (
        audio_files.for_libsndfile(path) as readable,
        audio_files.opened(readable, check=stop is None) as (file, _),
    ):
        native_rate = file.samplerate
        if native_rate < sample_rate:
            raise BadInput('rate too low', f'{native_rate} Hz, {sample_rate} Hz wanted')
        if take.channel >= file.channels:
            raise BadInput('unreadable', f'{counted(file.channels, "channel")}, it had more')
        begin, end, native_start, native_stop = 0, None, start, stop
        if native_rate != sample_rate:
            # `down` native samples become `up`.
            up, down = fractions.Fraction(sample_rate, native_rate).as_integer_ratio()
            margin = math.ceil(MARGIN * sample_rate / up)
            first = max(start // up - margin, 0)
            begin, native_start = start - first * up, first * down
            if stop is not None:
                end = begin + max(stop - start, 0)
                native_stop = (-(-stop // up) + margin) * down
        audio_T = _span(file, native_start, native_stop, take.channel)
    if take.offset:
        audio_T = audio_T - np.float32(take.offset)
    if take.scale != 1.0:
        audio_T = audio_T * np.float32(take.scale)
    return resample(audio_T, native_rate, sample_rate)[begin:end]


def read_first(paths: Sequence[str], *, sample_rate: int) -> np.ndarray:
    """All samples of the first file that can be read; float32 [T].

    Raises:
        BadInput: none can be; what is wrong with the first.
    """
    faults = []
    for path in paths:
        try:
            return read(path, sample_rate=sample_rate)
        except BadInput as bad:
            faults.append(bad)
    raise faults[0]


def rms_db(audio_T: np.ndarray) -> float:
    """RMS level in dB re full scale 1; of digital silence minus infinity."""
    power = float(np.mean(np.square(audio_T, dtype=np.float64)))
    return 10.0 * math.log10(power) if power else -math.inf


def shown_db(level_db: float) -> str:
    """`-50 dB`, or what a person calls minus infinity."""
    return f'{level_db:.0f} dB' if math.isfinite(level_db) else 'digital silence'


class _Statistics:
    """What is in the channels of a sound, gathered block by block."""

    def __init__(self, channels: int, *, clip: float):
        self.count, self._clip = 0, clip
        self.sum_C, self.square_C = np.zeros(channels), np.zeros(channels)
        self.low_C, self.high_C = np.full(channels, math.inf), np.full(channels, -math.inf)
        self._clipped_C = np.zeros(channels, np.int64)  # in runs of three samples or more
        self._before_3C = np.zeros((3, channels), bool)  # whether the last ones are at full scale

    def add(self, block_TC: np.ndarray) -> None:
        """Take one more block in."""
        self.count += len(block_TC)
        if not np.isfinite(block_TC).all():
            self.square_C[:] = math.inf  # and nothing is summed any more
            return
        self.sum_C += block_TC.sum(axis=0, dtype=np.float64)
        self.square_C += np.square(block_TC, dtype=np.float64).sum(axis=0)
        self.low_C = np.minimum(self.low_C, block_TC.min(axis=0))
        self.high_C = np.maximum(self.high_C, block_TC.max(axis=0))
        loud_TC = np.concatenate([self._before_3C, np.abs(block_TC) >= self._clip])
        self._before_3C = loud_TC[-3:]
        if loud_TC.any():
            third_TC = loud_TC[2:] & loud_TC[1:-1] & loud_TC[:-2]  # of a run, or a later one
            first_TC = third_TC[1:] & ~third_TC[:-1]  # with which the two before it count, too
            self._clipped_C += third_TC[1:].sum(axis=0) + 2 * first_TC.sum(axis=0)

    @property
    def power_C(self) -> np.ndarray:
        """Mean square of each channel without its mean."""
        return np.maximum(self.square_C / self.count - np.square(self.sum_C / self.count), 0.0)

    @property
    def peak_C(self) -> np.ndarray:
        """Largest distance of each channel from its mean."""
        mean_C = self.sum_C / self.count
        return np.maximum(self.high_C - mean_C, mean_C - self.low_C)

    @property
    def clipped_C(self) -> np.ndarray:
        """Share of each channel's samples that lie in runs at full scale."""
        return self._clipped_C / self.count


def _measure(path: str, *, full_scale: float = 1.0) -> tuple[_Statistics, int, bool, bool]:
    """(what is in the file, its rate, whether it says its own length, whether ffmpeg decoded it),
    decoded to its end.

    Raises:
        BadInput: also where the length that it says is not the one that it has.
    """
    with audio_files.for_libsndfile(path) as readable, audio_files.decoded(readable) as sound:
        statistics = _Statistics(sound.channels, clip=0.999 * full_scale)
        for block_TC in sound.blocks:
            statistics.add(block_TC)
        return statistics, sound.rate, sound.declared, readable != path


def inspect_forms(recording: Recording, **limits) -> list[Recording]:
    """Look into a recording: into its other forms, too, until one is good.

    Args:
        recording: what to look into.
        limits: see `inspect`.
    Returns:
        Each form that is bad, and then the one that is good; where none is, the first one.
    """
    bad, paths = [], (recording.path, *recording.others)
    for path in paths:
        others = tuple(other for other in paths if other != path)
        result = inspect(dataclasses.replace(recording, path=path, others=others), **limits)
        if not result.problem:
            return [*bad, result]
        bad.append(result)
    return bad[:1]


def inspect(
    recording: Recording,
    *,
    sample_rate: int,
    min_seconds: float = 0.0,
    silence_db: float = -60.0,
    max_clipped: float = CLIPPED,
) -> Recording:
    """The recording with what is in its file; never raises for what that holds, only where the
    machine fails (`audio_files.StoppedError`).

    Of several channels the first is taken, unless another one is louder by `FIRST_CHANNEL_DB`
    (mean power without the mean): then the loudest, so that an event on one side is not lost, and
    nothing cancels as it could in a sum. A mean whose power is within `OFFSET_DB` of the rest's is
    an offset: nobody hears it, yet it would set levels and onsets, so it is taken off. Float
    samples above full scale are not clipped: they are scaled by a power of two, and full scale is
    where they are largest.

    Args:
        recording: to look into.
        sample_rate: of the data set; higher native rates are fine, lower ones are not.
        min_seconds: shorter files are `too short`.
        silence_db: files whose peak re full scale, offset removed, stays below are `silent`.
        max_clipped: files with a larger share of samples in runs of three or more at (above
            0.999 of) full scale are `clipped`.
    """
    try:
        statistics, native_rate, declared, by_ffmpeg = _measure(recording.path)
        if not statistics.count:
            raise BadInput('empty', 'no samples')
        if native_rate < sample_rate:
            raise BadInput('rate too low', f'{native_rate} Hz, {sample_rate} Hz wanted')
        if not np.isfinite(statistics.square_C).all():
            raise BadInput('not finite', 'nan or inf samples')
        power_C = statistics.power_C
        channel = int(np.argmax(power_C))
        if power_C[0] >= power_C[channel] * 10 ** (-FIRST_CHANNEL_DB / 10):
            channel = 0
        mean = float(statistics.sum_C[channel]) / statistics.count
        offset = mean if mean**2 > power_C[channel] * 10 ** (OFFSET_DB / 10) else 0.0
        extreme = float(max(statistics.high_C[channel], -statistics.low_C[channel]))
        scale = 1.0
        if extreme > 1.0:
            scale = 2.0 ** -math.ceil(math.log2(extreme))
            statistics, *_ = _measure(recording.path, full_scale=extreme)
        peak = float(statistics.peak_C[channel]) * scale
        if peak < 10 ** (silence_db / 20):
            whole, rest = (
                shown_db(20 * math.log10(x) if x else -math.inf) for x in (extreme * scale, peak)
            )
            offset_too = f', {rest} without its offset' if rest != whole else ''
            raise BadInput(
                'silent', f'peak {whole} full scale{offset_too}' if extreme else 'digital silence'
            )
        clipped = float(statistics.clipped_C[channel])
        if clipped > max_clipped:
            raise BadInput('clipped', f'{100 * clipped:.2f} % of the samples')
        seconds = statistics.count / native_rate
        if seconds < min_seconds:
            raise BadInput('too short', f'{seconds:.2f} s, {min_seconds:g} s wanted')
    except BadInput as bad:
        return dataclasses.replace(recording, problem=bad.kind, detail=bad.detail)
    except audio_files.StoppedError:
        raise
    except Exception as error:
        if stopped := audio_files.of_the_machine(error):
            raise stopped from error
        return dataclasses.replace(recording, problem='unreadable', detail=files.why(error))
    converted = {
        'resampled': native_rate != sample_rate,
        'first channel taken': len(power_C) > 1 and not channel,
        'loudest channel taken, the first is quieter': channel > 0,
        'offset taken off (in ready mixtures left, and no part of a level)': bool(offset),
        'decoded by ffmpeg: that it is whole is its word': by_ffmpeg,
        'scaled, float samples were above full scale': scale != 1.0,
        f'clipped in more than {100 * CLIPPED:g} % of its samples, and kept': clipped > CLIPPED,
        'taken as it is: whether it is whole cannot be told in its format': not declared,
    }
    square = float(statistics.square_C[channel]) / statistics.count - offset * mean
    return dataclasses.replace(
        recording,
        samples=resampled_length(statistics.count, native_rate, sample_rate),
        rms_db=10 * math.log10(square * scale**2),
        take=Take(channel, offset, scale),
        converted=tuple(note for note, applies in converted.items() if applies),
    )
