"""What can be evaluated: a trained model, an untrained one, an ideal mask.

A system is a function (source_BST, length_B) -> estimate_BST on float32 arrays. It is handed the
sources because an oracle needs them; a model sees their sum alone.
"""

import jax
import librosa
import numpy as np


def model_system(task, params):
    """The task's separation of the sum of the sources, jitted once a shape."""
    separate = jax.jit(lambda params, mixture_BT, length_B: task.separate(
        params, mixture_BT, length_B))

    def system(source_BST, length_B):
        return np.asarray(separate(params, source_BST.sum(axis=1), length_B))

    return system


def ideal_ratio_mask(source_BST, length_B, *, window=256, hop=64):
    """Oracle: magnitude ratio masks |S_i| / sum_j |S_j| on the mixture's STFT.

    Args:
      source_BST: the sources.
      length_B: true lengths; not needed, since a mask of padding is harmless.
      window: of the Hann STFT, in samples; 256 is 32 ms at 8 kHz.
      hop: in samples.

    Returns:
      estimate_BST, with the mixture's phase.
    """
    del length_B
    samples = source_BST.shape[-1]
    padded_BST = np.pad(source_BST, ((0, 0), (0, 0), (0, max(window - samples, 0))))
    spectrum_BSFK = librosa.stft(padded_BST, n_fft=window, hop_length=hop)
    magnitude_BSFK = np.abs(spectrum_BSFK)
    mask_BSFK = magnitude_BSFK / (magnitude_BSFK.sum(axis=1, keepdims=True) + 1e-12)
    return librosa.istft(mask_BSFK * spectrum_BSFK.sum(axis=1, keepdims=True), n_fft=window,
                         hop_length=hop, length=padded_BST.shape[-1])[..., :samples]
