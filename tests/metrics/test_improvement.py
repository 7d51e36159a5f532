"""The scores of one example: permutation, improvement, what has none."""

import mir_eval
import numpy as np
import pytest

from fgsep_jax.losses import si_snr as si_snr_loss
from fgsep_jax.metrics import bss_eval
from fgsep_jax.metrics.improvement import (
    LIMIT,
    SkipExample,
    as_references,
    evaluate_example,
    si_snr,
)


def example(sources=2, samples=3000, seed=0):
    """(estimates in the order of the references, references, mixture)."""
    rng = np.random.default_rng(seed)
    level_S = 0.1 * np.arange(1, sources + 1)
    reference_ST = level_S[:, None] * rng.standard_normal((sources, samples))
    estimate_ST = reference_ST + 0.02 * rng.standard_normal((sources, samples))
    return estimate_ST, reference_ST, reference_ST.sum(axis=0)


def test_si_snr_equals_the_loss():
    estimate_ST, reference_ST, _ = example()
    estimate_ST, reference_ST = np.float32(estimate_ST + 0.3), np.float32(reference_ST - 0.2)
    value_RE = si_snr(np.float64(estimate_ST), np.float64(reference_ST))
    for r, e in np.ndindex(2, 2):
        loss = si_snr_loss.si_snr(estimate_ST[e], reference_ST[r])
        np.testing.assert_allclose(value_RE[r, e], loss, atol=1e-3)
    for faint in (1e-6, 1e-9):  # the floor of eps is the same one
        value = si_snr(np.float64(faint * estimate_ST[:1]), np.float64(reference_ST[:1]))[0, 0]
        loss = si_snr_loss.si_snr(np.float32(faint * estimate_ST[0]), reference_ST[0])
        np.testing.assert_allclose(value, loss, atol=1e-3)


@pytest.mark.parametrize('decibel', [-20, 0, 15, 60, 100])
def test_si_snr_in_closed_form(decibel):
    columns_TS = np.random.default_rng(0).standard_normal((4000, 2))
    reference_T, noise_T = 50 * np.linalg.qr(columns_TS - columns_TS.mean(axis=0))[0].T
    estimate_T = 3 * (reference_T + 10 ** (-decibel / 20) * noise_T) + 0.7
    np.testing.assert_allclose(si_snr(estimate_T[None], reference_T[None]), decibel, atol=1e-4)


@pytest.mark.few(1)
@pytest.mark.filterwarnings('ignore::FutureWarning')
@pytest.mark.parametrize('full, order', [(False, (1, 0)), (True, (0, 1))])
@pytest.mark.parametrize('offset', [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_everything_against_mir_eval_of_zero_mean_signals(full, order, offset):
    estimate_ST, reference_ST, mixture_T = (
        signal_T - signal_T.mean(axis=-1, keepdims=True) for signal_T in example()
    )
    values = evaluate_example(
        estimate_ST[list(order)] + offset, reference_ST - offset, mixture_T + 2 * offset, full=full
    )
    np.testing.assert_array_equal(values['permutation_S'], np.argsort(order))

    def by_mir_eval(candidate_ST):
        return mir_eval.separation.bss_eval_sources(
            reference_ST, candidate_ST, compute_permutation=False
        )[:3]

    expected = dict(zip(('sdr', 'sir', 'sar'), by_mir_eval(estimate_ST)))
    expected['sdr_mixture'] = by_mir_eval(np.tile(mixture_T, (2, 1)))[0]
    expected['sdri'] = expected['sdr'] - expected['sdr_mixture']
    expected['si_snr'] = np.diag(si_snr(estimate_ST, reference_ST))
    expected['si_snr_mixture'] = si_snr(mixture_T[None], reference_ST)[:, 0]
    expected['si_snri'] = expected['si_snr'] - expected['si_snr_mixture']
    expected['sir_mixture'] = by_mir_eval(np.tile(mixture_T, (2, 1)))[1]
    expected['siri'] = expected['sir'] - expected['sir_mixture']
    if not full:
        for name in ('sir', 'sar', 'sir_mixture', 'siri'):
            del expected[name]
    for name, value_S in expected.items():
        np.testing.assert_allclose(values[f'{name}_S'], value_S, atol=1e-3)
        np.testing.assert_allclose(values[name], np.mean(value_S), atol=1e-3)
        assert isinstance(values[name], float)
    others = {'permutation_S', 'empty_estimates'}
    assert set(values) == {*others, *expected, *(f'{name}_S' for name in expected)}
    assert values['empty_estimates'] == 0


def test_a_fixed_order_is_kept_where_another_would_score_higher():
    estimate_ST, reference_ST, mixture_T = example()
    values = evaluate_example(estimate_ST[::-1], reference_ST, mixture_T, fixed_order=True)
    np.testing.assert_array_equal(values['permutation_S'], [0, 1])
    np.testing.assert_allclose(values['si_snr_S'], np.diag(si_snr(estimate_ST[::-1], reference_ST)))
    assert values['sdri'] < 0


@pytest.mark.parametrize('order', [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_order_of_the_estimates_does_not_matter(order):
    estimate_ST, reference_ST, mixture_T = example(sources=3, samples=1000)
    straight = evaluate_example(estimate_ST, reference_ST, mixture_T, filter_length=8)
    shuffled = evaluate_example(estimate_ST[list(order)], reference_ST, mixture_T, filter_length=8)
    np.testing.assert_array_equal(shuffled.pop('permutation_S'), np.argsort(order))
    np.testing.assert_array_equal(straight.pop('permutation_S'), np.arange(3))
    for name, value in straight.items():
        np.testing.assert_allclose(shuffled[name], value)


def test_mixture_as_estimate_improves_nothing():
    _, reference_ST, mixture_T = example()
    values = evaluate_example(np.stack([mixture_T, -2 * mixture_T]), reference_ST, mixture_T)
    np.testing.assert_allclose([values['si_snri'], values['sdri']], 0, atol=1e-6)


def test_identical_references_are_scored():
    estimate_ST, reference_ST, _ = example()
    reference_ST[1] = reference_ST[0]
    values = evaluate_example(estimate_ST, reference_ST, reference_ST.sum(axis=0), full=True)
    assert np.isfinite([values[name] for name in ('si_snr', 'sdr', 'sdr_mixture', 'sar')]).all()


@pytest.mark.parametrize('name', ['reference', 'mixture'])
@pytest.mark.parametrize('kind, value', [('silent', 0.0), ('silent', 0.5), ('non-finite', np.nan)])
def test_what_has_no_score_is_skipped_by_reason(name, kind, value):
    signals = dict(zip(('estimate', 'reference', 'mixture'), example()))
    signals[name][0 if name != 'mixture' else slice(None)] = value
    with pytest.raises(SkipExample) as caught:
        evaluate_example(signals['estimate'], signals['reference'], signals['mixture'])
    assert caught.value.reason == str(caught.value) == f'{kind} {name}'


@pytest.mark.parametrize('full, fixed_order', [(False, False), (True, True)])
@pytest.mark.parametrize('value', [0.0, 0.5, np.nan, np.inf])
def test_an_empty_estimate_counts_as_the_worst(full, fixed_order, value):
    estimate_ST, reference_ST, mixture_T = example()
    how = dict(full=full, fixed_order=fixed_order)
    whole = evaluate_example(estimate_ST, reference_ST, mixture_T, **how)
    estimate_ST[0, 0 if np.isnan(value) else slice(None)] = value  # one nan spoils it
    values = evaluate_example(estimate_ST, reference_ST, mixture_T, **how)
    assert values['empty_estimates'] == 1
    for name in ('si_snr', 'sdr', 'sir', 'sar')[: 4 if full else 2]:
        assert values[f'{name}_S'][0] == -LIMIT
        np.testing.assert_allclose(values[f'{name}_S'][1], whole[f'{name}_S'][1], atol=1e-6)
        np.testing.assert_allclose(values[name], (values[f'{name}_S'][1] - LIMIT) / 2)
        if name != 'sar':
            assert values[f'{name}i_S'][0] == -LIMIT - whole[f'{name}_mixture_S'][0]


@pytest.mark.parametrize('full', [False, True])
def test_every_score_is_finite_and_within_the_limit(full):
    """Perfect estimates (ratios without noise), and such that hold nothing of their reference."""
    reference_ST = np.zeros((2, 700))
    reference_ST[0, 1:3], reference_ST[1, 601:603] = (0.5, -0.5), (0.5, -0.5)
    for estimate_ST in (reference_ST, reference_ST[::-1]):
        values = evaluate_example(
            estimate_ST, reference_ST, reference_ST.sum(0), full=full, fixed_order=True
        )
        for name, value in values.items():
            assert np.isfinite(value).all(), name
        assert np.abs(values['sdr_S']).max() <= LIMIT >= np.abs(values['si_snr_S']).max()


@pytest.mark.parametrize('gain', [1e-12, 1e-6, 1e6, -1e12])
def test_scores_do_not_depend_on_an_estimates_scale(gain):
    estimate_ST, reference_ST, mixture_T = example()
    plain = evaluate_example(estimate_ST, reference_ST, mixture_T)
    scaled = evaluate_example(gain * estimate_ST, reference_ST, mixture_T)
    for name, value in plain.items():
        np.testing.assert_allclose(scaled[name], value, rtol=1e-6)


def test_an_offset_is_no_separated_signal():
    """In closed form: a mixture of equal and orthogonal signals scores 0 dB with any offset."""
    impulse_ST = np.zeros((2, 4096))
    impulse_ST[0, ::2048], impulse_ST[1, 1024::2048] = 1, 1  # no lag up to 511 makes one the other
    reference_ST = 0.1 * (impulse_ST - impulse_ST.mean(axis=1, keepdims=True))
    plain = evaluate_example(reference_ST[::-1], reference_ST, reference_ST.sum(axis=0))
    np.testing.assert_allclose(plain['si_snr_mixture'], 0, atol=0.02)
    np.testing.assert_allclose(plain['sdr_mixture'], 0, atol=2.5)
    offset_S1 = np.array([[0.05], [-0.02]])
    offset = evaluate_example(
        reference_ST[::-1] + offset_S1[::-1],
        reference_ST + offset_S1,
        (reference_ST + offset_S1).sum(axis=0),
    )
    naive = bss_eval.sdr(
        (reference_ST + offset_S1).sum(axis=0)[None, None], (reference_ST + 0.05)[None, :1]
    )
    assert naive > plain['sdr_mixture'] + 5  # what an offset is to BSS-eval itself
    for name, value in plain.items():
        np.testing.assert_allclose(offset[name], value, atol=1e-6)


def test_estimates_are_heard_in_order_at_level_and_with_the_sign_of_the_references():
    _, reference_ST, _ = example(sources=3)
    gain_S1 = np.array([[1e-5], [-300.0], [-1.0]])
    shuffled_ST = gain_S1 * reference_ST[[2, 0, 1]]
    np.testing.assert_allclose(as_references(shuffled_ST, reference_ST), reference_ST, atol=1e-4)
    shuffled_ST[0, 5] = np.nan
    heard_ST = as_references(shuffled_ST, reference_ST)
    np.testing.assert_allclose(heard_ST[:2], reference_ST[:2], atol=1e-4)
    np.testing.assert_array_equal(heard_ST[2], 0)


def test_one_sample_is_silent():
    with pytest.raises(SkipExample, match='silent reference'):
        evaluate_example(np.ones((2, 1)), np.ones((2, 1)), np.ones(1))


def test_shapes_that_differ_are_named():
    estimate_ST, reference_ST, mixture_T = example()
    with pytest.raises(ValueError, match=r'estimates \(2, 2999\), references \(2, 3000\)'):
        evaluate_example(estimate_ST[:, 1:], reference_ST, mixture_T)
    with pytest.raises(ValueError, match=r'mixture \(2999,\)'):
        evaluate_example(estimate_ST, reference_ST, mixture_T[1:])
    for estimate, reference in (((2, 1), (2, 9)), ((9,), (9,)), ((1, 2, 9), (1, 2, 9))):
        with pytest.raises(ValueError, match=r'must be \[signals, samples\]'):
            si_snr(np.ones(estimate), np.ones(reference))


def test_what_the_filter_could_explain_whole_is_skipped():
    rng = np.random.default_rng(0)
    reference_ST = rng.normal(size=(2, 32))
    with pytest.raises(SkipExample, match='shorter than'):
        evaluate_example(reference_ST, reference_ST, reference_ST.sum(axis=0), filter_length=32)
    longer_ST = rng.normal(size=(2, 33))
    evaluate_example(longer_ST, longer_ST, longer_ST.sum(axis=0), filter_length=32)
