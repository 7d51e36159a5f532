"""PIT against brute force, with its permutation and gradient."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.losses.pit import pairwise, pit, pit_of, reorder
from fgsep_jax.losses.si_snr import si_snr


def random_loss(sources, batch=6, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, sources, sources)).astype(np.float32)


def brute_force(loss_RE):
    sources = np.arange(len(loss_RE))
    permutations = itertools.permutations(sources)
    return min((np.mean(loss_RE[sources, list(p)]), list(p)) for p in permutations)


@pytest.mark.parametrize('sources', [1, 2, 3, 4, 5, 6])
def test_equals_brute_force(sources):
    loss_BRE = 20 * random_loss(sources)
    loss_B, permutation_BS = pit(loss_BRE)
    expected = [brute_force(loss_RE) for loss_RE in loss_BRE]
    np.testing.assert_allclose(loss_B, [loss for loss, _ in expected], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(permutation_BS, [permutation for _, permutation in expected])
    assert permutation_BS.dtype == jnp.int32


@pytest.mark.parametrize('sources', [2, 4, 5])
def test_gradient_flows_through_the_chosen_entries_alone(sources):
    loss_BRE = random_loss(sources)
    gradient_BRE = jax.grad(lambda loss_BRE: pit(loss_BRE)[0].sum())(loss_BRE)
    expected_BRE = np.zeros_like(loss_BRE)
    for b, loss_RE in enumerate(loss_BRE):
        expected_BRE[b, np.arange(sources), brute_force(loss_RE)[1]] = 1 / sources
    np.testing.assert_allclose(gradient_BRE, expected_BRE, rtol=1e-6)


@pytest.mark.parametrize('sources', [2, 3, 5])
def test_undoes_a_permutation(sources):
    rng = np.random.default_rng(1)
    reference_BST = rng.standard_normal((2, sources, 200)).astype(np.float32)
    estimate_BST = reference_BST + 0.1 * rng.standard_normal(reference_BST.shape).astype(np.float32)
    shuffle_S = rng.permutation(sources)
    loss_B, permutation_BS = pit(-pairwise(si_snr, estimate_BST[:, shuffle_S], reference_BST))
    np.testing.assert_array_equal(permutation_BS, np.tile(np.argsort(shuffle_S), (2, 1)))
    restored_BST = reorder(estimate_BST[:, shuffle_S], permutation_BS)
    np.testing.assert_array_equal(restored_BST, estimate_BST)
    np.testing.assert_allclose(loss_B, -si_snr(estimate_BST, reference_BST).mean(axis=1), rtol=1e-5)


def test_pairwise_axes_are_reference_then_estimate():
    estimate_BET = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
    reference_BRT = 100 * np.arange(2 * 4 * 5, dtype=np.float32).reshape(2, 4, 5)
    valid_BT = np.arange(5) < np.array([5, 2])[:, None]

    def difference(estimate, reference, *, valid):
        return ((estimate - reference) * valid).sum(-1)

    value_BRE = pairwise(difference, estimate_BET, reference_BRT, valid=valid_BT)
    for b, r, e in np.ndindex(2, 4, 3):
        expected = ((estimate_BET[b, e] - reference_BRT[b, r]) * valid_BT[b]).sum()
        np.testing.assert_allclose(value_BRE[b, r, e], expected)


@pytest.mark.slow
@pytest.mark.parametrize('sources', [1, 2, 5])
def test_of_signals_equals_the_best_of_all_pairs_and_its_gradient(sources):
    estimate_BST, reference_BST = (
        np.random.default_rng(2).standard_normal((2, 3, sources, 50)).astype(np.float32)
    )
    valid_BT = np.arange(50) < np.array([50, 30, 50])[:, None]

    def of_pairs(estimate_BST):
        loss_B, permutation_BS = pit(-pairwise(si_snr, estimate_BST, reference_BST, valid=valid_BT))
        return loss_B.sum(), (loss_B, permutation_BS)

    def of_signals(estimate_BST):
        loss_B, permutation_BS = pit_of(si_snr, estimate_BST, reference_BST, valid=valid_BT)
        return loss_B.sum(), (loss_B, permutation_BS)

    (_, expected), expected_BST = jax.value_and_grad(of_pairs, has_aux=True)(estimate_BST)
    (_, returned), gradient_BST = jax.value_and_grad(of_signals, has_aux=True)(estimate_BST)
    np.testing.assert_allclose(returned[0], expected[0], rtol=1e-5)
    np.testing.assert_array_equal(returned[1], expected[1])
    np.testing.assert_allclose(gradient_BST, expected_BST, rtol=1e-4, atol=1e-5)


def test_of_signals_is_nan_where_any_pair_is():
    reference_BST = np.random.default_rng(3).standard_normal((2, 5, 50)).astype(np.float32)

    def spoilt(estimate_BT, reference_BT):  # nan for the crossed pairs of the second example
        same_B = jnp.abs(estimate_BT - reference_BT).max(axis=1) == 0
        return jnp.where(same_B, 1.0, jnp.where(jnp.arange(2) == 1, jnp.nan, 0.0))

    loss_B, _ = pit_of(spoilt, reference_BST, reference_BST)
    np.testing.assert_array_equal(loss_B, [-1, np.nan])


@pytest.mark.parametrize('sources', [3, 4, 5])
def test_ties_are_broken_the_same_way(sources):
    loss_BRE = np.zeros((3, sources, sources), np.float32)
    permutation_BS = np.asarray(pit(loss_BRE)[1])
    np.testing.assert_array_equal(np.sort(permutation_BS), np.tile(np.arange(sources), (3, 1)))
    np.testing.assert_array_equal(permutation_BS, np.tile(permutation_BS[0], (3, 1)))
    if sources <= 4:
        np.testing.assert_array_equal(permutation_BS[0], np.arange(sources))


@pytest.mark.parametrize('sources', [2, 3, 5])
def test_nan_surfaces_in_its_own_example(sources):
    loss_BRE = random_loss(sources)
    clean_B, _ = pit(loss_BRE)
    for r, e in np.ndindex(sources, sources):
        spoilt_BRE = loss_BRE.copy()
        spoilt_BRE[1, r, e] = np.nan
        loss_B, permutation_BS = pit(spoilt_BRE)
        assert np.isnan(loss_B[1])
        np.testing.assert_array_equal(np.delete(loss_B, 1), np.delete(clean_B, 1))
        np.testing.assert_array_equal(np.sort(permutation_BS[1]), np.arange(sources))
    gradient_BRE = jax.grad(lambda loss_BRE: pit(loss_BRE)[0].sum())(spoilt_BRE)
    assert np.isnan(gradient_BRE[1]).any() and np.isfinite(gradient_BRE[0]).all()


@pytest.mark.parametrize('sources', [3, 5])
def test_infinite_loss_is_avoided_where_it_can_be(sources):
    loss_BRE = random_loss(sources)
    diagonal = np.arange(sources)
    loss_BRE[:, diagonal, diagonal] = np.inf
    expected = [brute_force(loss_RE) for loss_RE in loss_BRE]
    loss_B, permutation_BS = pit(loss_BRE)
    np.testing.assert_allclose(loss_B, [loss for loss, _ in expected], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(permutation_BS, [permutation for _, permutation in expected])
    loss_BRE[0, 0] = np.inf
    assert np.isposinf(pit(loss_BRE)[0][0])


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match=r'\(1, 2, 3\).*as many estimates as references'):
        pit(np.zeros((1, 2, 3), np.float32))


@pytest.mark.parametrize('function', [pairwise, pit_of])
@pytest.mark.parametrize(
    'estimate, reference',
    [
        ((5, 2, 9), (1, 2, 9)),
        ((1, 2, 9), (5, 2, 9)),
        ((5, 2, 9), (5, 2, 1)),
        ((5, 2, 3, 9), (5, 2, 3, 9)),
        ((2, 9), (2, 9)),
    ],
)
def test_signals_never_broadcast(function, estimate, reference):
    message = r'must be \[batch, sources, samples\]'
    # As users have it.
    with jax.numpy_rank_promotion('allow'), pytest.raises(ValueError, match=message):
        function(si_snr, np.ones(estimate, np.float32), np.ones(reference, np.float32))


@pytest.mark.parametrize(
    'permutation, message',
    [
        (np.zeros((1, 2), int), r'\[batch, sources\]'),
        (np.zeros((3, 3), int), r'\[batch, sources\]'),
        (np.zeros(3, int), r'\[batch, sources\]'),
        (np.zeros((3, 2)), 'holds integers, not float'),
        (np.array([[0, 1], [1, 0], [1, 2]]), 'no permutation of 0 to 1'),
        (np.array([[0, 1], [1, 0], [-1, 0]]), 'no permutation of 0 to 1'),
        (np.array([[0, 1], [1, 0], [1, 1]]), 'no permutation of 0 to 1'),
    ],
)
def test_a_permutation_that_is_none_is_refused(permutation, message):
    estimate_BST = np.ones((3, 2, 9), np.float32)
    with jax.numpy_rank_promotion('allow'), pytest.raises(ValueError, match=message):
        reorder(estimate_BST, permutation)


def test_a_permutation_out_of_range_is_nan_where_its_values_are_not_known():
    reordered = jax.jit(reorder)(np.ones((1, 2, 9), np.float32), np.array([[0, 7]]))
    assert np.isnan(reordered[0, 1]).all() and (reordered[0, 0] == 1).all()
