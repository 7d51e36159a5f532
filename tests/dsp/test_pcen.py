"""PCEN against librosa's, its smoother against SciPy's filter, its gradient by differences."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal

from fgsep_jax.dsp.pcen import pcen, smooth


def magnitudes(*shape, seed=0):
    """Positive, over four decades, as mel spectrograms are."""
    return 10 ** np.random.default_rng(seed).uniform(-4, 0, shape).astype(np.float32)


def by_hand(mel_KM, *, before, smoothing=0.025, eps=1e-6, gain=0.98, bias=2.0, power=0.5):
    """The paper's equations, frame by frame in float64."""
    mel_KM = np.asarray(mel_KM, np.float64)
    state, rows = before, []
    for mel_M in mel_KM:
        state = (1 - smoothing) * state + smoothing * mel_M
        rows.append((mel_M / (eps + state) ** gain + bias) ** power - bias**power)
    return np.stack(rows)


SETTINGS = [
    dict(),
    dict(smoothing=0.1, eps=1e-3, gain=0.5, bias=1.0, power=0.25),
    dict(smoothing=1.0, gain=0.0, bias=10.0, power=1.0),
]


@pytest.mark.parametrize('settings', SETTINGS)
@pytest.mark.parametrize('scale', [1.0, 2.0**31])
def test_equals_librosa_with_its_start(settings, scale):
    mel_BKM = scale * magnitudes(2, 100, 5)
    full = dict(smoothing=0.025, eps=1e-6, gain=0.98, bias=2.0, power=0.5) | settings
    smoothing = full.pop('smoothing')
    value_BKM = pcen(mel_BKM, **settings, start='librosa')
    assert value_BKM.dtype == np.float32
    for mel_KM, value_KM in zip(mel_BKM, value_BKM, strict=True):
        expected_MK = librosa.pcen(mel_KM.T.astype(np.float64), b=smoothing, **full)
        np.testing.assert_allclose(value_KM, expected_MK.T, rtol=1e-5)


@pytest.mark.parametrize('settings', SETTINGS)
@pytest.mark.parametrize('frames', [1, 32, 33, 100])
def test_equals_the_papers_equations_from_the_first_frame(settings, frames):
    mel_KM = magnitudes(frames, 5)
    expected_KM = by_hand(mel_KM, before=mel_KM[0], **settings)
    np.testing.assert_allclose(pcen(mel_KM, **settings), expected_KM, rtol=1e-5)


def test_smoother_starts_at_the_first_frame():
    mel_KM = magnitudes(40, 3)
    smooth_KM = smooth(mel_KM, mel_KM[:1], smoothing=0.025)
    np.testing.assert_allclose(smooth_KM[0], mel_KM[0], rtol=1e-6)
    steady_KM = np.full((200, 3), 0.7, np.float32)
    np.testing.assert_allclose(
        smooth(steady_KM, steady_KM[:1], smoothing=0.025), steady_KM, rtol=1e-6
    )


@pytest.mark.parametrize('smoothing, lead', [(0.001, ()), (0.025, (2, 3)), (0.5, (2,)), (1.0, ())])
def test_smoother_equals_scipys_filter(smoothing, lead):
    """Over thousands of frames, where powers of 1 - s leave float32."""
    mel_KM = magnitudes(*lead, 3000, 2)
    before_1M = magnitudes(*lead, 1, 2, seed=1)
    expected_KM, _ = scipy.signal.lfilter(
        [smoothing],
        [1, smoothing - 1],
        mel_KM.astype(np.float64),
        axis=-2,
        zi=(1 - smoothing) * before_1M.astype(np.float64),
    )
    smooth_KM = smooth(jnp.asarray(mel_KM), jnp.asarray(before_1M), smoothing=smoothing)
    np.testing.assert_allclose(smooth_KM, expected_KM, rtol=3e-6)


def test_later_frames_and_padding_change_nothing_before_them():
    mel_KM = magnitudes(70, 4)
    padded_KM = np.pad(mel_KM, ((0, 50), (0, 0)))
    other_KM = np.concatenate([mel_KM, 100 * magnitudes(50, 4, seed=1)])
    for longer_KM in (padded_KM, other_KM):
        np.testing.assert_allclose(pcen(longer_KM)[:70], pcen(mel_KM), rtol=1e-6)


def test_rows_of_a_batch_do_not_meet():
    mel_BSKM = magnitudes(2, 3, 40, 4)
    value_BSKM = pcen(mel_BSKM)
    for b in range(2):
        for s in range(3):
            np.testing.assert_allclose(value_BSKM[b, s], pcen(mel_BSKM[b, s]), rtol=1e-6)


def test_level_of_the_recording_cancels_at_gain_1():
    mel_KM = magnitudes(50, 4)
    np.testing.assert_allclose(
        pcen(100 * mel_KM, gain=1.0, eps=1e-12), pcen(mel_KM, gain=1.0, eps=1e-12), rtol=1e-4
    )


@pytest.mark.parametrize('start', ['first', 'librosa'])
def test_gradient_equals_finite_differences(start):
    """Of the float64 equations, along random directions."""
    mel_KM = magnitudes(45, 3)
    weight_KM = np.random.default_rng(1).standard_normal((45, 3))

    def total(mel_KM):
        before = mel_KM[0] if start == 'first' else np.ones(3)
        return (weight_KM * by_hand(mel_KM, before=before)).sum()

    gradient_KM = jax.grad(lambda x: (weight_KM.astype(np.float32) * pcen(x, start=start)).sum())(
        mel_KM
    )
    assert gradient_KM.shape == (45, 3)
    for seed in range(4):
        # Relative steps, for the values span four decades.
        step_KM = 1e-6 * mel_KM * np.random.default_rng(seed).standard_normal((45, 3))
        expected = (total(mel_KM + step_KM) - total(mel_KM - step_KM)) / 2
        np.testing.assert_allclose((gradient_KM * step_KM).sum(), expected, rtol=1e-3)


def test_silence_and_its_gradient_are_finite():
    silent_KM = np.zeros((40, 3), np.float32)
    for start in ('first', 'librosa'):
        assert not np.asarray(pcen(silent_KM, start=start)).any()
        gradient_KM = jax.grad(lambda x, start=start: pcen(x, start=start).sum())(silent_KM)
        assert np.isfinite(gradient_KM).all()


@pytest.mark.parametrize(
    'keywords, message',
    [
        (dict(start='zero'), "start = 'zero': must be one of first, librosa"),
        (dict(smoothing=0.0), r'smoothing = 0.0: must be in \(0, 1\]'),
        (dict(smoothing=1.5), 'smoothing = 1.5'),
        (dict(eps=0.0), 'eps = 0.0: must be a finite number above 0'),
        (dict(bias=0.0), 'bias = 0.0: must be a finite number above 0'),
        (dict(power=-1.0), 'power = -1.0: must be a finite number above 0'),
        (dict(gain=-0.1), 'gain = -0.1: must be a finite number, not negative'),
    ],
)
def test_parameters_that_do_not_suit(keywords, message):
    with pytest.raises(ValueError, match=message):
        pcen(np.ones((3, 2), np.float32), **keywords)
