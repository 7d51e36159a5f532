"""Sounds of a report: read, brought to one loudness, drawn, and packed into a page."""

import base64
import functools
import os

import numpy as np
import soundfile

from fgsep_jax import files
from fgsep_jax.dsp.filterbank import mel_filters

WINDOW_SECONDS = 0.046  # paper 1, section IV.B
BANDS = 128
PEAK = 0.9


def read(path):
    """A mono wav file as (signal_T in [-1, 1], sample rate in hertz).

    Raises:
        OSError: it cannot be read.
    """
    try:
        return soundfile.read(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise OSError(f'{path} cannot be read: {error.error_string}') from error


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


def mel_db(signal_T, rate):
    """Mel spectrogram in dB [bands, frames], windows of 46 ms overlapping by 3/4.

    Args:
        signal_T: samples.
        rate: in hertz.
    """
    window = 2 ** round(np.log2(WINDOW_SECONDS * rate))
    padded_T = np.pad(signal_T, window // 2)
    frame_KT = np.lib.stride_tricks.sliding_window_view(padded_T, window)[:: window // 4]
    magnitude_KF = np.abs(np.fft.rfft(frame_KT * np.hanning(window + 1)[:-1]))
    return 20 * np.log10(magnitude_KF @ _filters(rate, window).T + 1e-7).T


def envelope(signal_T, points=240):
    """Lowest and highest sample in each of some equal parts, [points, 2], in units of the peak."""
    edges = np.linspace(0, len(signal_T), points + 1).astype(int)
    parts = [signal_T[low : max(high, low + 1)] for low, high in zip(edges[:-1], edges[1:])]
    parts_P2 = np.array([[part.min(initial=0), part.max(initial=0)] for part in parts])
    return parts_P2 / max(np.abs(parts_P2).max(), 1e-9)
