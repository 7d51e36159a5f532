"""Ideal masks: what a mask estimator could reach at most."""

import functools

import jax
import jax.numpy as jnp

from fgsep_jax.dsp.mel import mask_to_linear, mel_spectrogram
from fgsep_jax.dsp.stft import frames, istft, stft


@functools.partial(jax.jit, static_argnames=('window', 'hop'))
def ideal_ratio_mask(source_BST, length_B=None, *, window, hop, matrix_FM=None):
    """Separates by the true magnitude ratios |S_i| / sum_j |S_j|, with the mixture's phase.

    Args:
      source_BST: the sources.
      length_B: true lengths where rows are zero-padded; None: all of T.
      window: of the Hann STFT, in samples.
      hop: in samples.
      matrix_FM: mel filterbank on which the ratio is taken and projected back (paper 1, section
        IV.F); None: on the bins of the STFT.

    Returns:
      estimate_BST; the estimates sum to the mixture.

    Raises:
      ValueError: the sources do not have three axes, or there is not a length for each example.
    """
    batch = source_BST.shape[:1]
    lengths = batch if length_B is None else jnp.shape(length_B)
    if source_BST.ndim != 3 or lengths != batch:
        raise ValueError(
            f'source_BST{list(source_BST.shape)} must be [batch, sources, samples], with a length'
            f' for each of the batch, not length_B{list(lengths)}'
        )
    spectrum_BSKF = stft(source_BST, window=window, hop=hop)
    magnitude_BSKF = (
        jnp.abs(spectrum_BSKF) if matrix_FM is None else mel_spectrogram(spectrum_BSKF, matrix_FM)
    )
    # Where all are silent they share alike.
    mask_BSKF = (magnitude_BSKF + 1e-12) / (magnitude_BSKF + 1e-12).sum(axis=1, keepdims=True)
    if matrix_FM is not None:
        mask_BSKF = mask_to_linear(mask_BSKF, matrix_FM)
    mixture_BSKF = spectrum_BSKF.sum(axis=1, keepdims=True)
    valid_B1K = None
    if length_B is not None:
        frame_K = jnp.arange(mixture_BSKF.shape[2])
        valid_B1K = frame_K[None, None] < frames(length_B, hop=hop)[:, None, None]
    return istft(
        mask_BSKF * mixture_BSKF,
        length=source_BST.shape[-1],
        window=window,
        hop=hop,
        valid_K=valid_B1K,
    )
