"""Sounds of a report: read, brought to one loudness, drawn, and packed into a page."""

import base64
import functools
import math
import os

import numpy as np

from fgsep_jax import files, names
from fgsep_jax.data import audio_files
from fgsep_jax.dsp.filterbank import mel_filters

WINDOW_SECONDS = 0.046  # paper 1, section IV.B
BANDS = 128
PEAK = 0.9
RATES = (1000, 400_000)  # hertz; what can be a sample rate
_MOST_BYTES = 1 << 30  # of a file


class SoundError(OSError):
    """A sound that cannot be read, or is not what was written."""


def read(path, digest=''):
    """A mono sound file, whole, as (signal_T in [-1, 1], sample rate in hertz).

    Args:
      path: of the file.
      digest: of what was written (`files.digest`); '' where it is not known.

    Raises:
      SoundError: it cannot be read, or is not what was written.
    """
    content = files.read_bytes(path, SoundError, most=_MOST_BYTES)
    if digest and files.digest(content) != digest:
        raise SoundError(f'{path} is damaged, its digest does not match')
    try:
        with audio_files.decoded(os.path.abspath(path)) as sound:
            rate, channels = sound.rate, sound.channels
            block_TC = np.concatenate([np.zeros((0, channels), np.float32), *sound.blocks])
    except audio_files.BadInput as error:
        raise SoundError(f'{path} is {error}') from error
    if channels != 1 or not len(block_TC) or not RATES[0] <= rate <= RATES[1]:
        raise SoundError(
            f'{path} has {names.counted(channels, "channel")},'
            f' {names.counted(len(block_TC), "sample")} at {rate} Hz; one channel with sound is'
            ' needed'
        )
    if not np.isfinite(block_TC).all():
        raise SoundError(f'{path} is not finite: a sample is NaN or infinite')
    return block_TC[:, 0].astype(float), rate


def level_matched(signals):
    """Signals scaled to one root mean square, as loud as their peaks allow; silence stays.

    Args:
      signals: arrays [T].
    """
    rms = [np.sqrt(np.mean(np.square(signal_T))) for signal_T in signals]
    peak = max(
        (np.abs(signal_T).max() / level for signal_T, level in zip(signals, rms) if level > 0),
        default=1.0,
    )
    return [
        signal_T * (PEAK / peak / level) if level > 0 else signal_T
        for signal_T, level in zip(signals, rms)
    ]


def packed(signal_T, rate):
    """A signal as a data: URI of a 16-bit wav file.

    Every browser plays and seeks in those; Chromium fails on small FLAC files ("demuxer seek
    failed"), and lossy codecs would add their own artifacts to those that one listens for.
    """
    return 'data:audio/wav;base64,' + base64.b64encode(files.wav(signal_T, rate)).decode()


@functools.cache
def _filters(rate, window):
    bands = BANDS if rate > 16000 else 64
    return mel_filters(sample_rate=rate, window=window, bands=bands)


def _window(rate):
    return 2 ** round(np.log2(WINDOW_SECONDS * rate))


def mel_db(signal_T, rate):
    """Mel spectrogram in dB [bands, frames], windows of 46 ms overlapping by 3/4.

    Args:
      signal_T: samples.
      rate: in hertz.
    """
    window = _window(rate)
    padded_T = np.pad(signal_T, window // 2)
    frame_KT = np.lib.stride_tricks.sliding_window_view(padded_T, window)[:: window // 4]
    magnitude_KF = np.abs(np.fft.rfft(frame_KT * np.hanning(window + 1)[:-1]))
    return 20 * np.log10(magnitude_KF @ _filters(rate, window).T + 1e-7).T


def overview(take, rate, seconds, columns=1200):
    """A sound of any length, drawn a chunk at a time.

    Args:
      take: function of a number of samples that gives the next so many [T], fewer at the end.
      rate: in hertz.
      seconds: of the whole.
      columns: of the spectrogram, at most about so many; each shows its loudest frame.

    Returns:
      (envelope as `envelope`'s, mel spectrogram as `mel_db`'s).
    """
    hop = _window(rate) // 4
    frames = max(math.ceil(seconds * rate / hop / columns), 1)
    points, levels = [], []
    while len(chunk_T := take(hop * frames * max(1000 // frames, 1))):
        starts = np.arange(0, len(chunk_T), hop * frames)
        points.append([np.minimum.reduceat(chunk_T, starts), np.maximum.reduceat(chunk_T, starts)])
        level_FK = mel_db(chunk_T, rate)[:, : -(-len(chunk_T) // hop)]
        levels.append(np.maximum.reduceat(level_FK, np.arange(len(starts)) * frames, axis=1))
    point_P2 = np.concatenate(points, axis=1).T
    return point_P2 / max(np.abs(point_P2).max(), 1e-9), np.concatenate(levels, axis=1)


def envelope(signal_T, points=240):
    """Lowest and highest sample in each of some equal parts, [points, 2], in units of the peak."""
    edges = np.linspace(0, len(signal_T), points + 1).astype(int)
    parts = [signal_T[low : max(high, low + 1)] for low, high in zip(edges[:-1], edges[1:])]
    parts_P2 = np.array([[part.min(initial=0), part.max(initial=0)] for part in parts])
    return parts_P2 / max(np.abs(parts_P2).max(), 1e-9)
