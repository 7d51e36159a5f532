"""Permutation-invariant training: the loss of the best assignment of estimates to references."""

from collections.abc import Callable
import itertools

import jax
from jax import core
import jax.numpy as jnp
import numpy as np
import optax

# 4! = 24 sums in one gather cost less than the assignment's nested loops; 5! = 120 do not.
_EXHAUSTIVE_UP_TO = 4


def pairwise(
    function: Callable[..., jax.Array],
    estimate_BET: jax.Array,
    reference_BRT: jax.Array,
    **kwargs,
) -> jax.Array:
    """Applies a per-example function to every pair of an estimate and a reference.

    Args:
        function: Takes an estimate [B, T], a reference [B, T] and `kwargs`; returns [B].
        estimate_BET: Estimated signals.
        reference_BRT: True signals.
        **kwargs: Passed on unchanged, for example `valid=valid_BT`, valid for every pair.

    Returns:
        value_BRE: The value of reference r and estimate e.

    Raises:
        ValueError: The signals do not have three axes, or differ in batch or samples.
    """
    _check_signals(estimate_BET, reference_BRT)

    def against_all(estimate_BT):
        def one(reference_BT):
            return function(estimate_BT, reference_BT, **kwargs)

        return jax.vmap(one, in_axes=1, out_axes=1)(reference_BRT)

    # One estimate after the other: the differences of all pairs at once would be S times the
    # references' size, and on a CPU their way through memory half the time.
    value_EBR = jax.lax.map(against_all, jnp.moveaxis(estimate_BET, 1, 0))
    return jnp.moveaxis(value_EBR, 0, 2)


def pit_of(
    function: Callable[..., jax.Array],
    estimate_BET: jax.Array,
    reference_BRT: jax.Array,
    **kwargs,
) -> tuple[jax.Array, jax.Array]:
    """Loss under the permutation that makes the mean of a function over the sources largest.

    What `pit(-pairwise(...))` returns. All pairs are measured to choose among them, but gradients
    are formed of the chosen pairs alone, which are measured once more.

    Args:
        function: As in `pairwise`; larger is better.
        estimate_BET: Estimated signals.
        reference_BRT: True signals, as many.
        **kwargs: Passed on unchanged.

    Returns:
        loss_B: Mean of the negative function over the sources.
        permutation_BS: As of `pit`.

    Raises:
        ValueError: As `pairwise`, or there are not as many estimates as references.
    """
    _check_signals(estimate_BET, reference_BRT)
    fixed_BET = jax.lax.stop_gradient(estimate_BET)
    loss_B, permutation_BS = pit(-pairwise(function, fixed_BET, reference_BRT, **kwargs))

    def one(estimate_BT, reference_BT):
        return function(estimate_BT, reference_BT, **kwargs)

    chosen_BST = reorder(estimate_BET, permutation_BS)
    value_BS = jax.vmap(one, in_axes=1, out_axes=1)(chosen_BST, reference_BRT)
    poison_B = jnp.where(jnp.isnan(loss_B), jnp.nan, 1.0)  # pairs not chosen may hold a nan too
    return -value_BS.mean(axis=1) * poison_B, permutation_BS


@jax.jit
def pit(loss_BRE: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean loss over the sources under the best permutation of each example.

    Up to four sources all permutations are compared at once; beyond, the Hungarian algorithm finds
    the best one. Gradients flow through the chosen entries alone. Of equally good permutations the
    first in lexicographic order wins up to four sources; beyond, always the same one.

    A nan anywhere in an example's matrix makes that example's loss, and the gradients of its chosen
    entries, nan: it is never stepped around. An entry of +inf is chosen only if it must be.

    Args:
        loss_BRE: Loss of each reference r with each estimate e; lower is better.

    Returns:
        loss_B: Mean over the sources of the chosen entries.
        permutation_BS: permutation[b, r] is the index of the estimate assigned to reference r.

    Raises:
        ValueError: The numbers of references and estimates differ.

    Reference:
        M. Kolbaek et al., "Multi-talker speech separation with utterance-level permutation
        invariant training", TASLP 2017.
    """
    if loss_BRE.ndim != 3 or loss_BRE.shape[1] != loss_BRE.shape[2]:
        raise ValueError(
            f'PIT was given losses of shape {loss_BRE.shape}; it needs [batch, references, '
            'estimates] with as many estimates as references. Pad the references, or drop '
            'estimates, first.'
        )
    sources = loss_BRE.shape[1]
    search = _exhaustive if sources <= _EXHAUSTIVE_UP_TO else jax.vmap(_hungarian)
    permutation_BS = search(jax.lax.stop_gradient(loss_BRE))
    chosen_BR = jnp.take_along_axis(loss_BRE, permutation_BS[:, :, None], axis=2)[:, :, 0]
    poison_B = jnp.where(jnp.isnan(loss_BRE).any(axis=(1, 2)), jnp.nan, 1.0)
    return chosen_BR.mean(axis=1) * poison_B, permutation_BS


def reorder(estimate_BST: jax.Array, permutation_BS: jax.Array) -> jax.Array:
    """Puts the estimates into the order of the references.

    Args:
        estimate_BST: Estimated signals.
        permutation_BS: As `pit` returns it.

    Returns:
        estimate_BST, where source s belongs to reference s.

    Raises:
        ValueError: Batch or sources differ, or a row is no permutation. Inside of a transformation
            such as jit its values are not known: there an index out of range gives nan.
    """
    shapes = jnp.shape(estimate_BST), jnp.shape(permutation_BS)
    if len(shapes[0]) != 3 or shapes[0][:2] != shapes[1]:
        raise ValueError(
            f'estimates {shapes[0]} cannot be put into the order {shapes[1]}: they must be [batch, '
            'sources, samples] and [batch, sources].'
        )
    if not jnp.issubdtype(jnp.result_type(permutation_BS), jnp.integer):
        raise ValueError(f'a permutation holds integers, not {jnp.result_type(permutation_BS)}.')
    if not isinstance(permutation_BS, core.Tracer):
        sorted_BS = np.sort(permutation_BS, axis=1)
        if (sorted_BS != np.arange(shapes[1][1])).any():
            raise ValueError(
                f'{np.asarray(permutation_BS).tolist()} has a row that is no permutation of 0 to '
                f'{shapes[1][1] - 1}.'
            )
    return _reorder(estimate_BST, permutation_BS)


@jax.jit
def _reorder(estimate_BST, permutation_BS):
    return jnp.take_along_axis(estimate_BST, permutation_BS[:, :, None], axis=1)


def _check_signals(estimate_BET, reference_BRT):
    shapes = jnp.shape(estimate_BET), jnp.shape(reference_BRT)
    # Else a batch of 1 would broadcast against any other.
    if not len(shapes[0]) == len(shapes[1]) == 3 or shapes[0][::2] != shapes[1][::2]:
        raise ValueError(
            f'estimates have the shape {shapes[0]}, references {shapes[1]}: they must be [batch, '
            'sources, samples] of the same batch and samples.'
        )


def _exhaustive(loss_BRE):
    sources = loss_BRE.shape[1]
    permutation_NS = np.array(list(itertools.permutations(range(sources))), np.int32)
    loss_BN = loss_BRE[:, np.arange(sources)[None, :], permutation_NS].mean(axis=-1)
    return jnp.asarray(permutation_NS)[loss_BN.argmin(axis=1)]


def _hungarian(loss_RE):
    # The algorithm's loops need finite costs: an infinite one becomes one too dear (or cheap) for
    # all the others together to outweigh.
    finite_RE = jnp.isfinite(loss_RE)
    limit = 1 + 2 * loss_RE.shape[0] * jnp.abs(loss_RE).max(where=finite_RE, initial=0.0)
    cost_RE = jnp.where(finite_RE, loss_RE, jnp.where(loss_RE < 0, -limit, limit))
    reference_S, estimate_S = optax.assignment.hungarian_algorithm(cost_RE)
    return jnp.zeros_like(estimate_S).at[reference_S].set(estimate_S).astype(jnp.int32)
