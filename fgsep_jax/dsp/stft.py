"""Short-time Fourier transform and its exact inverse, for any length of signal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax.dsp.frames import cut, overlap_add
from fgsep_jax.rules import Rules


def frames(samples, *, hop: int = 512):
    """Number of frames that `stft` makes of a signal.

    Args:
        samples: Length of the signal; an integer or an array of integers.
        hop: Step between frames in samples.

    Returns:
        1 + samples // hop, of the type of `samples`.
    """
    return 1 + samples // hop


@functools.partial(jax.jit, static_argnames=('window', 'hop'))
def stft(signal_T: jax.Array, *, window: int = 2048, hop: int = 512) -> jax.Array:
    """Unnormalised spectra of Hann-windowed frames, centred at samples 0, hop, 2 hop, ...

    Beyond its ends the signal counts as zero, as in librosa.stft(center=True,
    pad_mode='constant'), whose result this is. A sine of amplitude A peaks at A * window / 4.

    Args:
        signal_T: Signal, [..., T].
        window: Length of the periodic Hann window in samples, even; 2048 in the paper.
        hop: Step between frames in samples, a divisor of `window`; 512 in the paper.

    Returns:
        Spectra [..., K, F], K = 1 + T // hop, F = window / 2 + 1; complex64 (complex128 if the
        signal is float64).

    Raises:
        ValueError: A window or a hop that does not suit.
    """
    check(window, hop, overlap=2)
    signal_T = jnp.asarray(signal_T)
    padded_T = centred(signal_T, frames(signal_T.shape[-1], hop=hop), window=window, hop=hop)
    return frame_spectra(padded_T, window=window, hop=hop)


def centred(signal_T: jax.Array, count: int, *, window: int, hop: int) -> jax.Array:
    """Zeros before and after a signal, so that its first `count` frames are those of `stft`.

    Args:
        signal_T: Signal, [..., T].
        count: Frames that the result shall have, at least 1 + T // hop.
        window: Length of the window in samples.
        hop: Step between frames in samples.

    Returns:
        Signal [..., (count - 1) hop + window], float32 (float64 if it is).
    """
    signal_T = signal_T.astype(jnp.promote_types(signal_T.dtype, jnp.float32))
    before = window // 2
    padding = (before, (count - 1) * hop + window - before - signal_T.shape[-1])
    return jnp.pad(signal_T, [(0, 0)] * (signal_T.ndim - 1) + [padding])


def frame_spectra(padded_T: jax.Array, *, window: int, hop: int) -> jax.Array:
    """Unnormalised spectra of the Hann-windowed frames that start at samples 0, hop, 2 hop, ...

    Args:
        padded_T: Signal, [..., T], T a multiple of `hop` and at least `window`.
        window: Length of the periodic Hann window in samples.
        hop: Step between frames in samples, a divisor of `window`.

    Returns:
        Spectra [..., K, F], K = 1 + (T - window) / hop.
    """
    frame = cut(padded_T, window=window, hop=hop)
    return jnp.fft.rfft(frame * _along_last(_hann(window), frame))


@functools.partial(jax.jit, static_argnames=('length', 'window', 'hop'))
def istft(
    spectrum_KF: jax.Array,
    *,
    length: int,
    window: int = 2048,
    hop: int = 512,
    valid_K: jax.Array | None = None,
) -> jax.Array:
    """Signal whose frames come closest to the spectra; inverts `stft` at every sample.

        x[t] = sum_k w[t - k hop] y_k[t] / sum_k w[t - k hop]^2

    with y_k the inverse transform of frame k: the least-squares signal.

    Args:
        spectrum_KF: Spectra, [..., K, F].
        length: Samples T of the result; K must be 1 + T // hop.
        window: Length of the Hann window in samples, as given to `stft`.
        hop: Step between frames in samples, as given to `stft`; at most window / 3, for at half
            overlap the window all but vanishes at the last sample.
        valid_K: True where a frame exists, bool [..., K], of one axis fewer than the spectra; the
            axes before K may broadcast. None: all exist. Missing frames count neither in the sum
            nor in the window's, so that a row padded with zeros in a batch yields, up to its own
            length, what it yields alone.

    Returns:
        Signal [..., T]; 0 from sample k hop to sample (k + 1) hop - 1 for each missing frame k.

    Raises:
        ValueError: A window, a hop, a number of frames or bins, or a valid_K that does not suit.

    Reference:
        D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform",
        IEEE Trans. ASSP 32(2), 1984, equation 6.
    """
    check(window, hop, overlap=3)
    count, bins = spectrum_KF.shape[-2:]
    if count != frames(length, hop=hop) or bins != window // 2 + 1:
        raise ValueError(
            f'spectrum_KF has {count} frames of {bins} bins; length={length}, window={window},'
            f' hop={hop} make {frames(length, hop=hop)} of {window // 2 + 1}. Give length, window'
            f' and hop of the signal that went into stft.'
        )
    frame = jnp.fft.irfft(spectrum_KF, n=window)
    hann = _along_last(_hann(window), frame).astype(frame.dtype)
    if valid_K is None:
        valid_K = jnp.ones((1,) * (frame.ndim - 2) + (count,), bool)
    if valid_K.ndim != frame.ndim - 1 or valid_K.shape[-1] != count:
        raise ValueError(
            f'valid_K{list(valid_K.shape)} must have the axes of spectrum_KF'
            f'{list(spectrum_KF.shape)} but the last; give the others length 1 to broadcast.'
        )
    valid_K1 = jnp.asarray(valid_K, frame.dtype)[..., None]
    start = window // 2
    total_T = overlap_add(frame * hann * valid_K1, hop=hop)[..., start : start + length]
    weight_T = overlap_add(hann**2 * valid_K1, hop=hop)[..., start : start + length]
    # Frame k and its neighbours weigh enough only from its centre to the next frame's.
    valid_T = jnp.repeat(valid_K1[..., 0] > 0, hop, axis=-1)[..., :length]
    return jnp.where(valid_T, total_T, 0) / jnp.where(valid_T, weight_T, 1)


def _hann(window):
    """Periodic Hann window, float32 [window]."""
    phase = 2 * np.pi * np.arange(window) / window
    return np.float32(0.5 - 0.5 * np.cos(phase))


def _along_last(vector, like):
    """The vector with leading axes of length 1, to broadcast against `like`."""
    return vector.reshape((1,) * (like.ndim - 1) + (-1,))


def check(window, hop, *, overlap):
    """Raises RuleError unless an even window is a whole number >= overlap of hops."""
    rules = Rules(dict(window=window, hop=hop))
    rules.at_least_one('window hop')
    near = max(2, window + window % 2)
    rules.rule(window % 2 == 0, 'window', f'must be even; try {near}')
    rules.rule(
        hop < 1 or window % hop == 0 and window >= overlap * hop,
        'hop',
        f'must divide window = {window} into at least {overlap} parts; try {max(1, window // 4)}',
    )
    rules.check()
