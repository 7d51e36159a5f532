"""The power-law loss against SciPy's STFT, on silence, short signals and masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from fgsep_jax.losses.spectral import power_law


def signals(shape, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)


def reference_value(estimate_T, reference_T, *, alpha, window, hop, reduction):
    """Equation 5 by SciPy in float64."""
    samples = len(estimate_T)
    frames = -(-(samples + window - hop) // hop)
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.windows.hann(window, sym=False), hop, fs=1, phase_shift=None
    )
    spectra = []
    for signal_T in (estimate_T, reference_T):
        padded_T = np.zeros((frames - 1) * hop + window)
        padded_T[window - hop :][:samples] = signal_T
        first = window // 2 // hop  # the first frame that starts at sample 0
        spectra.append(abs(transform.stft(padded_T, p0=first, p1=first + frames)) ** alpha)
    distance = abs(spectra[0] - spectra[1])
    values = {'sum': distance.sum(), 'mean': distance.mean(), 'frame': distance.sum(0).mean()}
    return values[reduction]


@pytest.mark.parametrize(
    'reduction, alpha, window, hop',
    [('frame', 0.5, 256, 64), ('mean', 0.3, 128, 64), ('sum', 1.0, 64, 16)],
)
@pytest.mark.parametrize('samples', [1, 63, 256, 1000])
def test_equals_scipy(reduction, alpha, window, hop, samples):
    estimate_T, reference_T = signals((samples,))
    keywords = dict(alpha=alpha, window=window, hop=hop, reduction=reduction)
    value = power_law(estimate_T, reference_T, **keywords, eps=1e-12)
    expected = reference_value(estimate_T, reference_T, **keywords)
    np.testing.assert_allclose(value, expected, rtol=2e-4, atol=1e-5)


def test_gain_by_hand():
    """|2X|^0.5 - |X|^0.5 = (sqrt(2) - 1) |X|^0.5."""
    _, reference_T = signals((500,))
    ratio = power_law(2 * reference_T, reference_T) / power_law(0 * reference_T, reference_T)
    np.testing.assert_allclose(ratio, np.sqrt(2) - 1, rtol=0.02)  # eps shows in the second


def test_equal_magnitudes_cost_nothing():
    _, reference_T = signals((500,))
    assert power_law(-reference_T, reference_T) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('estimate', ['silent', 'speech'])
@pytest.mark.parametrize('reference', ['silent', 'speech'])
def test_values_and_gradients_are_finite(estimate, reference):
    speech_T = jnp.asarray(signals((500,))[0]).at[:300].set(0.0)
    chosen = {'silent': 0 * speech_T, 'speech': speech_T}
    value, gradient_T = jax.value_and_grad(power_law)(chosen[estimate], chosen[reference])
    assert np.isfinite(value) and np.isfinite(gradient_T).all()
    assert (value > 0) == (estimate != reference)


@pytest.mark.parametrize('reduction', ['sum', 'frame', 'mean'])
def test_mask_equals_crop(reduction):
    estimate_BST, reference_BST = signals((3, 2, 400))
    length_B = np.array([400, 130, 1])
    valid_BT = np.arange(400) < length_B[:, None]
    masked_BS = power_law(estimate_BST, reference_BST, valid=valid_BT[:, None], reduction=reduction)
    cropped_BS = [
        power_law(e[:, :n], r[:, :n], reduction=reduction)
        for e, r, n in zip(estimate_BST, reference_BST, length_B)
    ]
    np.testing.assert_allclose(masked_BS, cropped_BS, rtol=1e-5)


def test_mistakes_are_named():
    estimate_BST, reference_BST = signals((2, 2, 100))
    with pytest.raises(ValueError, match="'median'.*frame, mean, sum"):
        power_law(estimate_BST, reference_BST, reduction='median')
    with pytest.raises(ValueError, match='hop = 100: must divide window = 256'):
        power_law(estimate_BST, reference_BST, hop=100)
    with pytest.raises(ValueError, match='same number of axes'):
        power_law(estimate_BST, reference_BST, valid=np.ones((2, 100), bool))
