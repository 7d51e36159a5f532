"""Mel spectrograms against librosa's; masks over bands brought to bins; masks applied."""

import jax
import librosa
import numpy as np
import pytest

from fgsep_jax.dsp.mel import (
    apply_mask,
    log_mel,
    mask_to_linear,
    mel_matrix,
    mel_of_signal,
    mel_spectrogram,
)
from fgsep_jax.dsp.oracle import ideal_ratio_mask
from fgsep_jax.dsp.pcen import pcen, smooth
from fgsep_jax.dsp.stft import istft, stft


def noise(*shape, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def masks(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize('scale', ['slaney', 'htk'])
@pytest.mark.parametrize('norm', ['slaney', None])
@pytest.mark.parametrize(
    'sample_rate, bands, low, high',
    [(44100, 128, 0.0, None), (8000, 64, 0.0, None), (16000, 40, 60.0, 7600.0)],
)
def test_mel_spectrogram_equals_librosa(scale, norm, sample_rate, bands, low, high):
    signal_T = noise(5000)
    expected_MK = librosa.feature.melspectrogram(
        y=signal_T,
        sr=sample_rate,
        n_fft=2048,
        hop_length=512,
        pad_mode='constant',
        power=1.0,
        n_mels=bands,
        fmin=low,
        fmax=high,
        htk=scale == 'htk',
        norm=norm,
    )
    matrix_FM = mel_matrix(
        sample_rate=sample_rate, bands=bands, low=low, high=high, scale=scale, norm=norm
    )
    assert matrix_FM.shape == (1025, bands) and matrix_FM.dtype == np.float32
    mel_KM = mel_spectrogram(stft(signal_T), matrix_FM)
    atol = 1e-5 * expected_MK.max()
    np.testing.assert_allclose(mel_KM, expected_MK.T, rtol=1e-5, atol=atol)


def test_scales_differ_where_they_should():
    """128 bands at 44.1 kHz: some band's peak moves by tens of Hz."""
    slaney_M, htk_M = (
        mel_matrix(sample_rate=44100, scale=scale).argmax(axis=0) for scale in ('slaney', 'htk')
    )
    assert np.abs(slaney_M - htk_M).max() > 2


def test_the_matrix_is_computed_once_and_cannot_be_changed():
    matrix_FM = mel_matrix(sample_rate=44100)
    assert mel_matrix(sample_rate=44100) is matrix_FM
    with pytest.raises(ValueError, match='read-only'):
        matrix_FM[0, 0] = 1


@pytest.mark.parametrize(
    'keywords, message',
    [
        (dict(scale='bark'), "scale = 'bark': must be one of slaney, htk"),
        (dict(norm='area'), 'norm = \'area\': must be "slaney" or None'),
        (dict(high=5000.0), 'high = 5000.0: lies above half the sample rate, 4000 Hz'),
        (dict(low=4000.0), 'low = 4000.0: must lie 1 Hz below the upper edge, 4000 Hz'),
        (dict(low=-1.0), 'low = -1.0'),
        (dict(low=1001.0, high=1003.0), 'low = 1001.0: no bin, 3.90625 Hz apart, lies from here'),
        (dict(bands=0), 'bands = 0: must be 1 or more'),
    ],
)
def test_parameters_that_do_not_suit(keywords, message):
    with pytest.raises(ValueError, match=message):
        mel_matrix(sample_rate=8000, **keywords)


def test_log_mel_by_hand():
    np.testing.assert_allclose(log_mel(np.float32([[0.0, 1.0]])), [[np.log(1e-5), 1e-5]], rtol=1e-2)
    np.testing.assert_allclose(log_mel(np.float32([[0.0]]), floor=0.5), [[np.log(0.5)]], rtol=1e-6)


MATRICES = {
    'paper': dict(sample_rate=44100),
    'htk': dict(sample_rate=44100, scale='htk'),
    'no norm': dict(sample_rate=44100, norm=None),
    'narrow': dict(sample_rate=16000, bands=32, low=100.0, high=6000.0, window=512),
}


@pytest.mark.parametrize('name', MATRICES)
def test_a_linear_mask_is_a_mask(name):
    matrix_FM = mel_matrix(**MATRICES[name])
    bins, bands = matrix_FM.shape
    extreme_KM = np.round(masks(50, bands))  # zeros and ones
    for mask_KM in (extreme_KM, masks(2, 5, bands)):
        mask_KF = np.asarray(mask_to_linear(mask_KM, matrix_FM))
        assert mask_KF.shape == (*mask_KM.shape[:-1], bins)
        assert mask_KF.min() >= 0 and mask_KF.max() <= 1
        assert np.ptp(mask_KF) > 0.5
    for value in (0.0, 1.0, 0.3):
        mask_KF = mask_to_linear(np.full((2, bands), value, np.float32), matrix_FM)
        np.testing.assert_allclose(mask_KF, np.full((2, bins), value), rtol=1e-6)


@pytest.mark.parametrize('name', MATRICES)
def test_each_bin_gets_the_weighted_mean_of_its_bands(name):
    matrix_FM = mel_matrix(**MATRICES[name])
    mask_M = masks(matrix_FM.shape[1])
    mask_F = np.asarray(mask_to_linear(mask_M[None], matrix_FM))[0]
    covered = np.flatnonzero(matrix_FM.sum(axis=1))
    for f in (covered[0], covered[5], covered[len(covered) // 2], covered[-1]):
        expected = (matrix_FM[f] * mask_M).sum() / matrix_FM[f].sum()
        np.testing.assert_allclose(mask_F[f], expected, rtol=1e-5)
    # No filter covers DC, nor the bins outside the first and the last: the nearest bin stands in.
    assert covered[0] >= 1 and covered[-1] < len(matrix_FM)
    np.testing.assert_array_equal(mask_F[: covered[0]], mask_F[covered[0]])
    np.testing.assert_array_equal(mask_F[covered[-1] :], mask_F[covered[-1]])


def test_dc_gets_the_value_of_bin_1():
    matrix_FM = mel_matrix(sample_rate=44100)
    assert not matrix_FM[0].any()
    mask_KF = mask_to_linear(masks(4, 128), matrix_FM)
    np.testing.assert_array_equal(mask_KF[:, 0], mask_KF[:, 1])
    assert np.all(np.asarray(mask_KF[:, 0]) > 0)


@pytest.mark.parametrize('samples', [1, 1234])
def test_foreground_and_background_sum_to_the_mixture(samples):
    mixture_BT = noise(2, samples)
    matrix_FM = mel_matrix(sample_rate=16000, window=256, bands=32)
    spectrum_BKF = stft(mixture_BT, window=256, hop=64)
    mask_BKF = mask_to_linear(masks(*spectrum_BKF.shape[:2], 32), matrix_FM)
    foreground_BKF, background_BKF = apply_mask(spectrum_BKF, mask_BKF)
    np.testing.assert_allclose(background_BKF, (1 - mask_BKF) * spectrum_BKF, rtol=0, atol=1e-5)
    foreground_BT, background_BT = (
        istft(part_BKF, length=samples, window=256, hop=64)
        for part_BKF in (foreground_BKF, background_BKF)
    )
    np.testing.assert_allclose(foreground_BT + background_BT, mixture_BT, rtol=0, atol=1e-6)
    assert np.abs(foreground_BT).max() > 1e-3 and np.abs(background_BT).max() > 1e-3


@pytest.mark.parametrize('feature', [log_mel, pcen])
@pytest.mark.parametrize('level', [0.0, 1e-12])
def test_gradients_from_samples_to_features_are_finite(feature, level):
    matrix_FM = mel_matrix(sample_rate=16000, window=256, bands=32)

    def total(signal_T):
        mel_KM = mel_spectrogram(stft(signal_T, window=256, hop=64), matrix_FM)
        return feature(mel_KM).sum()

    gradient_T = np.asarray(jax.grad(total)(level * noise(700)))
    assert np.isfinite(gradient_T).all()
    assert gradient_T.any() == (level > 0)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    'lead, samples', [((), 1), ((), 4096), ((), 9001), ((3,), 2000), ((2, 40), 700)]
)
def test_of_signal_equals_mel_of_spectra_with_its_gradient(lead, samples):
    stft_settings = dict(window=64, hop=16)
    signal_T = np.random.default_rng(0).standard_normal((*lead, samples)).astype(np.float32)
    matrix_FM = mel_matrix(sample_rate=8000, window=64, bands=8)

    def at_once(signal_T):
        return mel_spectrogram(stft(signal_T, **stft_settings), matrix_FM)

    def by_blocks(signal_T):
        return mel_of_signal(signal_T, matrix_FM, **stft_settings)

    expected_KM, back = jax.vjp(at_once, signal_T)
    value_KM, back_of_blocks = jax.vjp(by_blocks, signal_T)
    assert value_KM.shape == (*lead, 1 + samples // 16, 8)
    np.testing.assert_allclose(value_KM, expected_KM, rtol=1e-5, atol=1e-7)
    (expected_T,), (gradient_T,) = back(expected_KM), back_of_blocks(expected_KM)
    np.testing.assert_allclose(gradient_T, expected_T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('window, hop', [(360, 20), (512, 16)])
def test_frames_that_reach_far_are_those_of_the_spectra(window, hop):
    """Of many rows at a time blocks are short, and a long window reaches beyond the next."""
    signal_BT = np.random.default_rng(0).standard_normal((32, 1600)).astype(np.float32)
    matrix_FM = mel_matrix(sample_rate=8000, window=window, bands=8)
    expected_BKM = mel_spectrogram(stft(signal_BT, window=window, hop=hop), matrix_FM)
    made_BKM = mel_of_signal(signal_BT, matrix_FM, window=window, hop=hop)
    np.testing.assert_allclose(made_BKM, expected_BKM, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    'function, shapes, message',
    [
        (mel_spectrogram, ((5, 32), (33, 8)), 'spectrum_KF'),
        (mel_spectrogram, ((5, 33), (33,)), 'spectrum_KF'),
        (mask_to_linear, ((5, 1), (33, 8)), 'mask_KM'),
        (apply_mask, ((2, 5, 33), (5, 33)), 'the same shape'),
        (apply_mask, ((5, 33), (5, 1)), 'the same shape'),
        (lambda mel, before: smooth(mel, before, smoothing=0.1), ((5, 8), (1, 1)), 'one frame'),
        (lambda mel, before: smooth(mel, before, smoothing=0.1), ((2, 5, 8), (1, 8)), 'one frame'),
        (
            lambda source, length: ideal_ratio_mask(source, length, window=64, hop=16),
            ((3, 2, 99), (1,)),
            'a length for each',
        ),
        (
            lambda source, length: ideal_ratio_mask(source, length, window=64, hop=16),
            ((2, 99), (2,)),
            'a length for each',
        ),
    ],
)
def test_shapes_never_broadcast(function, shapes, message):
    arrays = [np.ones(shape, np.float32) for shape in shapes]
    # As users have it.
    with jax.numpy_rank_promotion('allow'), pytest.raises(ValueError, match=message):
        function(*arrays)
