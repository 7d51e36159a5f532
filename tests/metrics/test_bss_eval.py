"""BSS-eval: closed form, then mir_eval and fast_bss_eval, then silence and odd shapes."""

import fast_bss_eval
import mir_eval
import numpy as np
import pytest
import scipy.signal

from fgsep_jax.metrics import projection
from fgsep_jax.metrics.bss_eval import bss_eval, sdr

pytestmark = pytest.mark.filterwarnings('ignore::FutureWarning')


def coloured(seed, sources=2, samples=4000, batch=()):
    """Noise with a spectrum that falls by some 60 dB, as speech does."""
    noise = np.random.default_rng(seed).standard_normal((*batch, sources, samples))
    return scipy.signal.lfilter([0.1], [1, -1.6, 0.7], noise)


def estimates(reference_BST, seed, leak=0.3, noise=0.02):
    """Filtered sources with leakage and noise."""
    rng = np.random.default_rng(seed)
    filtered_BST = scipy.signal.lfilter([1, 0.5, -0.2], [1], reference_BST)
    noise_BST = rng.standard_normal(reference_BST.shape) * reference_BST.std()
    return filtered_BST + leak * np.roll(reference_BST, 1, axis=-2) + noise * noise_BST


def by_mir_eval(estimate_ST, reference_ST):
    return mir_eval.separation.bss_eval_sources(
        reference_ST, estimate_ST, compute_permutation=False
    )[:3]


def decibel(ratio):
    return 10 * np.log10(ratio)


@pytest.mark.parametrize('filter_length', [1, 16, 512])
@pytest.mark.parametrize('target, leak, noise', [(1, 0.3, 0.1), (1, 1e-3, 1e-2), (0.1, 1, 0.5)])
def test_closed_form(filter_length, target, leak, noise):
    """Impulses further apart than the filter is long: all delayed copies are orthonormal."""
    rng = np.random.default_rng(0)
    reference_ST = np.zeros((3, 7 * filter_length))
    reference_ST[[0, 1, 2], [0, 2 * filter_length, 4 * filter_length]] = 1
    filters = rng.standard_normal((3, 3, filter_length))
    filters /= np.linalg.norm(filters, axis=-1, keepdims=True)
    gains = leak * (1 - np.eye(3)) + target * np.eye(3)
    estimate_ST = np.zeros_like(reference_ST)
    for s, r in np.ndindex(3, 3):
        start = 2 * r * filter_length
        estimate_ST[s, start : start + filter_length] = gains[s, r] * filters[s, r]
    estimate_ST[:, 6 * filter_length] = noise
    values = bss_eval(estimate_ST[None], reference_ST[None], filter_length=filter_length)
    explained = target**2 + 2 * leak**2
    np.testing.assert_allclose(values['sdr'], decibel(target**2 / (2 * leak**2 + noise**2)))
    np.testing.assert_allclose(values['sir'], decibel(target**2 / (2 * leak**2)))
    np.testing.assert_allclose(values['sar'], decibel(explained / noise**2))
    assert all(value.shape == (1, 3) and value.dtype == np.float64 for value in values.values())
    pairs = sdr(estimate_ST[None], reference_ST[None], filter_length=filter_length, pairwise=True)
    power = leak**2 + target**2 + leak**2 + noise**2
    expected_RE = decibel(gains.T**2 / (power - gains.T**2))
    np.testing.assert_allclose(pairs[0], expected_RE)


@pytest.mark.slow
@pytest.mark.parametrize(
    'sources, samples', [(1, 100), (1, 511), (2, 400), (2, 600), (2, 4003), (2, 9001), (3, 3000)]
)
def test_equals_mir_eval(sources, samples):
    reference_ST = coloured(0, sources, samples)
    estimate_ST = estimates(reference_ST, 1)
    expected = by_mir_eval(estimate_ST, reference_ST)
    values = bss_eval(estimate_ST[None], reference_ST[None])
    np.testing.assert_allclose(values['sdr'][0], expected[0], atol=1e-3)
    only_sdr_S = sdr(estimate_ST[None], reference_ST[None])[0]
    np.testing.assert_allclose(only_sdr_S, expected[0], atol=1e-3)
    if sources * 512 <= samples + 511:  # else every signal is a sum of delayed copies
        np.testing.assert_allclose(values['sar'][0], expected[2], atol=1e-3)
        if sources > 1:  # mir_eval's SIR of a lone source is its rounding error
            np.testing.assert_allclose(values['sir'][0], expected[1], atol=1e-3)


@pytest.mark.few(1)
@pytest.mark.parametrize('noise', [1e-3, 1e-4, 10.0])
def test_equals_mir_eval_for_very_good_and_very_bad_estimates(noise):
    reference_ST = coloured(2)
    estimate_ST = estimates(reference_ST, 3, leak=noise, noise=noise)
    values = bss_eval(estimate_ST[None], reference_ST[None])
    for value, expected in zip(values.values(), by_mir_eval(estimate_ST, reference_ST)):
        np.testing.assert_allclose(value[0], expected, atol=1e-3)


def test_equals_mir_eval_where_the_matrix_is_nearly_singular():
    """Signals without anything above a quarter of the band, and a tone."""
    lowpass = scipy.signal.butter(10, 0.25, output='sos')
    reference_ST = scipy.signal.sosfiltfilt(lowpass, coloured(4))
    reference_ST[1] = np.sin(0.3 * np.arange(4000)) + 1e-3 * reference_ST[1]
    estimate_ST = estimates(reference_ST, 5)
    values = bss_eval(estimate_ST[None], reference_ST[None])
    for value, expected in zip(values.values(), by_mir_eval(estimate_ST, reference_ST)):
        np.testing.assert_allclose(value[0], expected, atol=1e-3)


@pytest.mark.few(2)
@pytest.mark.parametrize('sources', [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize('difference', [1e-2, 1e-3, 1e-4, 1e-5])
def test_equals_mir_eval_where_references_nearly_agree(sources, difference):
    signal_ST = np.random.default_rng(0).standard_normal((2 * sources, 4000))
    clean_ST, noise_ST = np.split(signal_ST, 2)
    estimate_ST = clean_ST + 0.5 * clean_ST[::-1] + 0.1 * noise_ST
    reference_ST = clean_ST.copy()
    reference_ST[-1] = clean_ST[:-1].sum(axis=0) + difference * clean_ST[-1]
    values = bss_eval(estimate_ST[None], reference_ST[None])
    for value, expected in zip(values.values(), by_mir_eval(estimate_ST, reference_ST)):
        np.testing.assert_allclose(value[0], expected, atol=1e-3)


def test_both_solvers_agree(monkeypatch):
    reference_BST = coloured(6, batch=(1,))
    estimate_BST = estimates(reference_BST, 7)
    fast = bss_eval(estimate_BST, reference_BST)
    calls = []
    dense = projection._solve_dense
    monkeypatch.setattr(projection, '_solve_dense', lambda *a: calls.append(1) or dense(*a))
    bss_eval(estimate_BST, reference_BST)
    assert not calls, 'conjugate gradients should do for such signals'
    monkeypatch.setattr(projection, '_conjugate_gradients', lambda *_: None)
    slow = bss_eval(estimate_BST, reference_BST)
    assert len(calls) == 3
    for name in fast:
        np.testing.assert_allclose(fast[name], slow[name], atol=1e-6)


@pytest.mark.few(2)
@pytest.mark.parametrize('leak, noise', [(0.3, 0.02), (0.01, 0.3), (0.5, 1e-3), (1e-3, 1e-2)])
def test_few_steps_come_close_to_the_dense_solver(leak, noise, monkeypatch):
    reference_ST = coloured(5, samples=6000)
    reference_ST[1] = scipy.signal.lfilter([1, 0.3], [1], reference_ST[1]) + 0.5 * reference_ST[0]
    estimate_ST = estimates(reference_ST, 26, leak, noise)
    fast = bss_eval(estimate_ST[None], reference_ST[None])
    monkeypatch.setattr(projection, '_conjugate_gradients', lambda *_: None)
    dense = bss_eval(estimate_ST[None], reference_ST[None])
    for name, tolerance in (('sdr', 1e-9), ('sir', 5e-5), ('sar', 5e-6)):
        np.testing.assert_allclose(fast[name], dense[name], atol=tolerance)


def test_equals_fast_bss_eval():
    reference_ST = coloured(8, sources=3)
    estimate_ST = estimates(reference_ST, 9, leak=0.1)
    expected = fast_bss_eval.sdr(reference_ST, estimate_ST)
    np.testing.assert_allclose(sdr(estimate_ST[None], reference_ST[None])[0], expected, atol=1e-3)


def test_pairwise_axes_are_reference_then_estimate():
    reference_BST = coloured(10, batch=(2,))
    estimate_BST = estimates(reference_BST, 11)
    candidate_BET = np.concatenate([estimate_BST, reference_BST.sum(1, keepdims=True)], axis=1)
    values = bss_eval(candidate_BET, reference_BST, pairwise=True)
    only_sdr_BRE = sdr(candidate_BET, reference_BST, pairwise=True)
    for e in range(3):
        matched = bss_eval(np.repeat(candidate_BET[:, [e]], 2, axis=1), reference_BST)
        for name, value_BRE in values.items():
            assert value_BRE.shape == (2, 2, 3)
            np.testing.assert_allclose(value_BRE[:, :, e], matched[name], atol=1e-5)
    np.testing.assert_allclose(only_sdr_BRE, values['sdr'], atol=1e-9)


def test_gain_of_estimate_or_reference_changes_nothing():
    reference_BST = coloured(12, batch=(1,))
    estimate_BST = estimates(reference_BST, 13)
    plain, loud = (bss_eval(gain * estimate_BST, reference_BST / gain) for gain in (1.0, -1e-150))
    for name in plain:
        np.testing.assert_allclose(plain[name], loud[name], atol=1e-6)


def test_length_equals_crop():
    reference_BST = coloured(14, batch=(2,))
    estimate_BST = estimates(reference_BST, 15)
    for function in (sdr, lambda *a, **k: bss_eval(*a, **k)['sar']):
        whole = function(estimate_BST, reference_BST, length_B=np.array([4000, 1500]))
        cropped = function(estimate_BST[1:, :, :1500], reference_BST[1:, :, :1500])
        np.testing.assert_allclose(whole[1:], cropped)
        np.testing.assert_allclose(whole[:1], function(estimate_BST[:1], reference_BST[:1]))


def test_trailing_zeros_change_nothing():
    reference_BST = coloured(16, batch=(1,))
    estimate_BST = estimates(reference_BST, 17)
    padding = [(0, 0), (0, 0), (0, 700)]
    padded = bss_eval(np.pad(estimate_BST, padding), np.pad(reference_BST, padding))
    for name, value in bss_eval(estimate_BST, reference_BST).items():
        np.testing.assert_allclose(padded[name], value, atol=1e-6)


def test_samples_of_other_types_are_taken_as_they_are():
    reference_BST = np.round(1000 * coloured(24, batch=(1,)))
    estimate_BST = np.round(estimates(reference_BST, 25))
    reference_BST[0, 0] = -np.abs(reference_BST[0, 0])
    reference_BST[0, 0, 0] = -(2**15)  # which has no positive counterpart in 16 bits
    expected = bss_eval(estimate_BST, reference_BST)
    for dtype in (np.float32, np.int16):
        values = bss_eval(estimate_BST.astype(dtype), reference_BST.astype(dtype))
        for name in expected:
            np.testing.assert_allclose(values[name], expected[name], atol=1e-9)


def test_silence_is_nan_and_spoils_nothing_else():
    reference_BST = coloured(18, sources=3, batch=(1,))
    estimate_BST = estimates(reference_BST, 19)
    without = bss_eval(estimate_BST[:, :2], reference_BST[:, :2])
    silent_BST = reference_BST.copy()
    silent_BST[:, 2] = 0
    for name, value in bss_eval(estimate_BST, silent_BST).items():
        np.testing.assert_array_equal(np.isnan(value), [[False, False, True]])
        np.testing.assert_allclose(value[:, :2], without[name], atol=1e-6)
    np.testing.assert_allclose(sdr(estimate_BST, silent_BST)[:, :2], without['sdr'])
    assert np.isnan(sdr(0 * estimate_BST, reference_BST)).all()
    assert np.isnan(sdr(estimate_BST, 0 * reference_BST, pairwise=True)).all()
    estimate_BST[:, 0] = 0
    for value in bss_eval(estimate_BST, reference_BST).values():
        np.testing.assert_array_equal(np.isnan(value), [[True, False, False]])


def test_identical_references_have_no_interference():
    reference_BST = np.repeat(coloured(20, sources=1, batch=(1,)), 2, axis=1)
    estimate_BST = estimates(reference_BST, 21)
    values = bss_eval(estimate_BST, reference_BST)
    np.testing.assert_allclose(values['sdr'], values['sar'], atol=1e-3)
    assert (values['sir'] > 60).all()


def test_perfect_estimate_reads_very_high():
    reference_BST = coloured(22, batch=(1,))
    assert (sdr(reference_BST, reference_BST) > 120).all()


@pytest.mark.parametrize('samples', [1, 2, 50])
def test_shorter_than_the_filter(samples):
    rng = np.random.default_rng(0)
    reference_BST, estimate_BST = rng.standard_normal((2, 1, 2, samples))
    for value in bss_eval(estimate_BST, reference_BST).values():
        assert value.shape == (1, 2) and not np.isnan(value).any()


def test_mistakes_are_named():
    signal_BST = coloured(0, batch=(1,))
    with pytest.raises(ValueError, match=r'\(1, 1, 4000\).*equal shapes'):
        sdr(signal_BST[:, :1], signal_BST)
    with pytest.raises(ValueError, match='equal shapes'):
        sdr(signal_BST[..., :100], signal_BST, pairwise=True)
    with pytest.raises(ValueError, match='not finite'):
        sdr(signal_BST * np.nan, signal_BST)


@pytest.mark.parametrize('length_B', [[9], [9, 9, 9], [9, 0], [9, 4001], [9, -1], [9.0, 8.0], 9])
def test_lengths_that_are_none_are_refused(length_B):
    signal_BST = coloured(0, batch=(2,))
    with pytest.raises(ValueError, match='must hold a whole number of samples, 1 to 4000, for'):
        sdr(signal_BST, signal_BST, length_B=np.array(length_B))
