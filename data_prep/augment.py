"""Pitch shift and time stretch of training foregrounds, in one pass of a phase vocoder."""

import math

import numpy as np

from fgsep_jax.data.resample import resample

WINDOW = 0.046  # seconds, 2048 samples at 44.1 kHz
SHORTEST = 64  # samples; less has no pitch to change, and is repeated or cut to the new length


def change(
    sound_T: np.ndarray, *, sample_rate: int, semitones: float = 0.0, stretch: float = 1.0
) -> np.ndarray:
    """The sound at another pitch and length.

    It is stretched by both factors at once, then played faster by resampling, which takes the
    pitch's share of the length back.

    Args:
        sound_T: [T], full scale 1.
        sample_rate: in hertz.
        semitones: upwards; 0 keeps the pitch.
        stretch: new length over old length; 1 keeps it.
    Returns:
        float32 [round(T * stretch)].
    """
    sound_T = np.asarray(sound_T, np.float32)
    samples = round(sound_T.size * stretch)
    if (semitones == 0.0 and stretch == 1.0) or sound_T.size < SHORTEST:
        return np.resize(sound_T, samples)
    faster = 2.0 ** (semitones / 12.0)
    window = 2 ** round(math.log2(WINDOW * sample_rate))
    window = min(window, 2 ** int(math.log2(sound_T.size)))
    changed_T = time_stretch(sound_T, rate=1.0 / (stretch * faster), window=window)
    if semitones:
        changed_T = resample(changed_T, faster * sample_rate, sample_rate)
    changed_T = np.asarray(changed_T[:samples], np.float32)
    return np.pad(changed_T, (0, samples - changed_T.size))


def time_stretch(sound_T: np.ndarray, *, rate: float, window: int) -> np.ndarray:
    """The sound played `rate` times as fast at its own pitch, by a phase vocoder.

    As librosa.effects.time_stretch, up to float32's rounding; but that is compiled where it first
    runs, which takes up to minutes.

    Args:
        sound_T: float32 [T].
        rate: above 0.
        window: samples, a power of two, T at most.
    Returns:
        float32 [round(T / rate)].
    """
    hop = window // 4
    hann_W = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, window + 1)[:-1])
    padded_T = np.pad(sound_T, window // 2)
    frames_KW = np.lib.stride_tricks.sliding_window_view(padded_T, window)[::hop]
    spectrum_KF = np.fft.rfft(hann_W * frames_KW).astype(np.complex64)
    steps = np.arange(0, len(spectrum_KF), rate)
    # Of the frames on either side of each step: levels between theirs, phases as they advance.
    first = steps.astype(int)
    spectrum_KF = np.pad(spectrum_KF, ((0, 2), (0, 0)))
    after_K1 = (steps % 1.0)[:, None]
    before_K1, after_K1 = (1.0 - after_K1).astype(np.float32), after_K1.astype(np.float32)
    level_KF, angle_KF = np.abs(spectrum_KF), np.angle(spectrum_KF)
    level_KF = before_K1 * level_KF[first] + after_K1 * level_KF[first + 1]
    advance_F = hop * 2 * np.pi * np.fft.rfftfreq(window)
    change_KF = angle_KF[first + 1] - angle_KF[first] - advance_F
    change_KF -= 2 * np.pi * np.round(change_KF / (2 * np.pi))
    phase_KF = np.empty(level_KF.shape, np.float32)
    phase_KF[0] = angle_KF[0]
    for k, change_F in enumerate(change_KF[:-1]):  # rounded as it goes, as in librosa
        phase_KF[k + 1] = phase_KF[k] + (advance_F + change_F)
    spectrum_KF = np.exp(1j * phase_KF.astype(np.float64)).astype(np.complex64) * level_KF
    return _overlap_add(spectrum_KF, hann_W, hop=hop, samples=round(sound_T.size / rate))


def _overlap_add(
    spectrum_KF: np.ndarray, window_W: np.ndarray, *, hop: int, samples: int
) -> np.ndarray:
    frames_KW = window_W * np.fft.irfft(spectrum_KF, n=window_W.size)
    half, square_W = window_W.size // 2, window_W**2
    frames_KW = frames_KW[: -(-(samples + 2 * half) // hop)]
    sound_T = np.zeros(max(hop * len(frames_KW), samples) + 2 * half, np.float32)
    weight_T = np.zeros_like(sound_T)
    for k, frame_W in enumerate(frames_KW):
        sound_T[k * hop : k * hop + frame_W.size] += frame_W
        weight_T[k * hop : k * hop + frame_W.size] += square_W
    sound_T, weight_T = sound_T[half : half + samples], weight_T[half : half + samples]
    return sound_T / np.where(weight_T > np.finfo(np.float32).tiny, weight_T, np.float32(1.0))
