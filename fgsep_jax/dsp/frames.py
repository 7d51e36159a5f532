"""Overlapping frames of a signal, and frames added up again."""

import jax
import jax.numpy as jnp


def cut(signal_T: jax.Array, *, window: int, hop: int) -> jax.Array:
    """Frames that start at samples 0, hop, 2 hop, ...

    Args:
        signal_T: Signal, [..., T], T a multiple of `hop` and at least `window`.
        window: Length of a frame in samples, a multiple of `hop`.
        hop: Step between frames in samples.

    Returns:
        Frames [..., K, window], K = 1 + (T - window) / hop.
    """
    count = 1 + (signal_T.shape[-1] - window) // hop
    # Shifted blocks, joined: a gather would become a slow scatter in the gradient.
    block = signal_T.reshape(*signal_T.shape[:-1], -1, hop)
    return jnp.concatenate([block[..., i : i + count, :] for i in range(window // hop)], axis=-1)


def overlap_add(frame_KW: jax.typing.ArrayLike, *, hop: int) -> jax.Array:
    """Sum [..., (K - 1) hop + window] of the frames [..., K, window], each at its place."""
    frame_KW = jnp.asarray(frame_KW)
    overlap = frame_KW.shape[-1] // hop
    shifted = [
        jnp.pad(
            frame_KW[..., i * hop : (i + 1) * hop],
            [(0, 0)] * (frame_KW.ndim - 2) + [(i, overlap - 1 - i), (0, 0)],
        )
        for i in range(overlap)
    ]
    block = sum(shifted[1:], shifted[0])
    return block.reshape(*block.shape[:-2], -1)
