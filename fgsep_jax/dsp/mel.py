"""Mel spectrograms, and mel masks brought back to the bins of the spectrum."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax.dsp.filterbank import mel_filters
from fgsep_jax.dsp.stft import centred, check, frame_spectra, frames, stft
from fgsep_jax.rules import Rules

SCALES = ('slaney', 'htk')
NORMS = ('slaney', None)
# Accelerators would multiply float32 matrices in fewer bits: 1e-3 off.
_PRECISION = jax.lax.Precision.HIGHEST


@functools.lru_cache(maxsize=32)
def mel_matrix(
    *,
    sample_rate: int,
    window: int = 2048,
    bands: int = 128,
    low: float = 0.0,
    high: float | None = None,
    scale: str = 'slaney',
    norm: str | None = 'slaney',
) -> np.ndarray:
    """Triangular filters evenly spaced on a mel scale, as librosa.filters.mel makes them.

    Args:
        sample_rate: Of the signal, in Hz.
        window: Length of the STFT's window in samples.
        bands: Number M of filters; 128 in the paper.
        low: Lower edge of the first filter in Hz.
        high: Upper edge of the last filter in Hz; None: half the sample rate.
        scale: "slaney": linear below 1 kHz, logarithmic above; "htk": 2595 log10(1 + f / 700).
            The paper does not say which.
        norm: "slaney": each triangle has area 1 in Hz, so that its peak is 2 / width; None: each
            peaks at 1.

    Returns:
        Filters as columns, read-only numpy float32 [F, M], F = window / 2 + 1.

    Raises:
        ValueError: No bands, an unknown scale or norm, or edges out of order, above half the
            sample rate, or with no bin of the spectrum between them.
    """
    nyquist = sample_rate / 2
    highest = nyquist if high is None else high
    rules = Rules(dict(scale=scale, norm=norm, low=low, high=high, bands=bands))
    rules.rule(bands >= 1, 'bands', 'must be 1 or more')
    rules.one_of('scale', SCALES)
    rules.rule(norm in NORMS, 'norm', 'must be "slaney" or None')
    rules.rule(highest <= nyquist, 'high', f'lies above half the sample rate, {nyquist:g} Hz')
    rules.rule(low >= 0, 'low', 'must not be negative')
    # Nearer edges leave nothing to divide by.
    rules.rule(low <= highest - 1, 'low', f'must lie 1 Hz below the upper edge, {highest:g} Hz')
    rules.check()
    matrix_MF = mel_filters(
        sample_rate=sample_rate,
        window=window,
        bands=bands,
        low=low,
        high=high,
        htk=scale == 'htk',
        area=norm == 'slaney',
    )
    width = sample_rate / window
    rules.rule(
        matrix_MF.any(), 'low', f'no bin, {width:g} Hz apart, lies from here to {highest:g} Hz'
    )
    rules.check()
    matrix_FM = np.ascontiguousarray(matrix_MF.T)
    matrix_FM.setflags(write=False)  # every caller gets the same array
    return matrix_FM


@jax.jit
def mel_spectrogram(spectrum_KF: jax.Array, matrix_FM: jax.Array) -> jax.Array:
    """Mel bands of the magnitude spectrum: |X| W.

    Args:
        spectrum_KF: Complex spectra, [..., K, F].
        matrix_FM: Filters as columns, from `mel_matrix`.

    Returns:
        Magnitudes per band [..., K, M], float32.

    Raises:
        ValueError: The filters are for another number of bins.
    """
    _check_axis('spectrum_KF', spectrum_KF, matrix_FM, 0)
    return jnp.matmul(jnp.abs(spectrum_KF), matrix_FM, precision=_PRECISION)


@functools.partial(jax.jit, static_argnames=('window', 'hop'))
def mel_of_signal(
    signal_T: jax.Array, matrix_FM: jax.Array, *, window: int = 2048, hop: int = 512
) -> jax.Array:
    """`mel_spectrogram(stft(signal_T), matrix_FM)`, on CPUs without ever holding all spectra.

    There some hundred frames at a time stay in the cache, and two blocks go side by side, since
    one alone leaves cores idle.

    Args:
        signal_T: Signal, [..., T].
        matrix_FM: Filters as columns, from `mel_matrix`.
        window: Length of the Hann window in samples, as for `stft`.
        hop: Step between frames in samples, as for `stft`.

    Returns:
        Magnitudes per band [..., K, M], float32, K = 1 + T // hop.

    Raises:
        ValueError: A window or a hop that does not suit.
    """
    check(window, hop, overlap=2)
    signal_T, matrix_FM = jnp.asarray(signal_T), jnp.asarray(matrix_FM)
    lead, count = signal_T.shape[:-1], frames(signal_T.shape[-1], hop=hop)

    def at_once(signal_T, matrix_FM):
        return mel_spectrogram(stft(signal_T, window=window, hop=hop), matrix_FM)

    if not all(isinstance(size, int) for size in signal_T.shape):
        return at_once(signal_T, matrix_FM)  # exported for any size, which no block suits
    # Two blocks are as long at least as what the frames before them reach into.
    block = max(8, 128 // max(1, math.prod(lead)), -(-window // (2 * hop)))

    def by_blocks(signal_T, matrix_FM):
        pairs, half, overlap = -(-count // (2 * block)), block * hop, window - hop
        padded_T = centred(signal_T, 2 * block * (pairs + 1), window=window, hop=hop)
        piece_PT = padded_T[..., : 2 * half * (pairs + 1)].reshape(*lead, pairs + 1, 2 * half)
        piece_PT = jnp.concatenate([piece_PT[..., :-1, :], piece_PT[..., 1:, :overlap]], axis=-1)

        def of_pair(piece_T):
            return jnp.concatenate(
                [
                    mel_spectrogram(frame_spectra(part_T, window=window, hop=hop), matrix_FM)
                    for part_T in (piece_T[..., : half + overlap], piece_T[..., half:])
                ],
                axis=-2,
            )

        mel_KM = jnp.moveaxis(jax.lax.map(of_pair, jnp.moveaxis(piece_PT, -2, 0)), 0, -3)
        return mel_KM.reshape(*lead, -1, matrix_FM.shape[1])[..., :count, :]

    return jax.lax.platform_dependent(signal_T, matrix_FM, cpu=by_blocks, default=at_once)


@jax.jit
def log_mel(mel_KM: jax.Array, *, floor: float = 1e-5) -> jax.Array:
    """log(mel + floor): unlike librosa.power_to_db it does not depend on the clip's maximum.

    Args:
        mel_KM: Mel spectrogram, [..., K, M].
        floor: Added to each band, in the units of `mel_KM`.

    Returns:
        Logarithms [..., K, M].
    """
    return jnp.log(mel_KM + floor)


@jax.jit
def mask_to_linear(mask_KM: jax.Array, matrix_FM: jax.Array) -> jax.Array:
    """Brings a mask over mel bands to the bins of the spectrum.

    Each bin gets the mean of the bands that cover it, weighted by their filters at that bin (the
    transposed filterbank with its columns normalised), hence a value between theirs; the
    pseudo-inverse of the filterbank would send a mask in 0..1 to some -6..28. A bin that no filter
    covers (DC, and those outside `low`..`high`) gets the value of the nearest that one does.

    Args:
        mask_KM: Mask over bands, [..., K, M], in 0..1.
        matrix_FM: Filters as columns, from `mel_matrix`.

    Returns:
        Mask over bins [..., K, F], in 0..1.

    Raises:
        ValueError: The filters are of another number of bands.
    """
    _check_axis('mask_KM', mask_KM, matrix_FM, 1)
    matrix_FM = jnp.asarray(matrix_FM)
    bins = matrix_FM.shape[0]
    covered_F = matrix_FM.sum(axis=1) > 0
    first, last = jnp.argmax(covered_F), bins - 1 - jnp.argmax(covered_F[::-1])
    weight_FM = matrix_FM[jnp.clip(jnp.arange(bins), first, last)]
    weight_FM = weight_FM / weight_FM.sum(axis=1, keepdims=True)
    mask_KF = jnp.matmul(mask_KM, weight_FM.T, precision=_PRECISION)
    return jnp.clip(mask_KF, 0.0, 1.0)  # against rounding


@jax.jit
def apply_mask(spectrum_KF: jax.Array, mask_KF: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits a mixture into foreground M X and background (1 - M) X, with the mixture's phase.

    Args:
        spectrum_KF: The mixture's spectra, [..., K, F].
        mask_KF: Share of the foreground in each bin, [..., K, F], in 0..1.

    Returns:
        Spectra of foreground and background, both [..., K, F]; their sum is the mixture's.

    Raises:
        ValueError: The shapes differ.

    Reference:
        Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020,
        equation 4.
    """
    if jnp.shape(spectrum_KF) != jnp.shape(mask_KF):
        raise ValueError(
            f'spectrum_KF{list(jnp.shape(spectrum_KF))} and mask_KF{list(jnp.shape(mask_KF))} must '
            'have the same shape.'
        )
    foreground_KF = mask_KF * spectrum_KF
    return foreground_KF, spectrum_KF - foreground_KF


def _check_axis(name, array, matrix_FM, axis):
    """Raises ValueError unless the array's last axis is an axis of the filters."""
    if len(jnp.shape(matrix_FM)) != 2 or jnp.shape(array)[-1:] != jnp.shape(matrix_FM)[axis:][:1]:
        raise ValueError(
            f'{name}{list(jnp.shape(array))} does not go with matrix_FM'
            f'{list(jnp.shape(matrix_FM))}:'
            ' make the filters by `mel_matrix` with the same window and bands.'
        )
