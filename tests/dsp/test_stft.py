"""The STFT against librosa's, and its inverse at every sample of every length."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from fgsep_jax.dsp.stft import frames, istft, stft

WINDOW, HOP = 64, 16
LENGTHS = [1, 15, 16, 17, 33, 63, 64, 79, 500]


def noise(*shape, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    'window, hop, samples',
    [(64, 16, 64), (64, 16, 1000), (64, 16, 1007), (60, 20, 333), (64, 32, 333), (2048, 512, 5000)],
)
def test_equals_librosa(window, hop, samples):
    signal_T = noise(samples)
    expected_KF = librosa.stft(
        signal_T, n_fft=window, hop_length=hop, window='hann', center=True, pad_mode='constant'
    ).T
    spectrum_KF = stft(signal_T, window=window, hop=hop)
    assert spectrum_KF.dtype == np.complex64
    atol = 1e-6 * abs(expected_KF).max()
    np.testing.assert_allclose(spectrum_KF, expected_KF, rtol=0, atol=atol)


@pytest.mark.parametrize(
    'window, hop, samples',
    [(64, 16, samples) for samples in LENGTHS] + [(60, 20, 59), (60, 20, 500), (64, 8, 23)],
)
def test_inverse_returns_every_sample(window, hop, samples):
    signal_BT = noise(2, samples)
    spectrum_BKF = stft(signal_BT, window=window, hop=hop)
    assert spectrum_BKF.shape == (2, frames(samples, hop=hop), window // 2 + 1)
    returned_BT = istft(spectrum_BKF, length=samples, window=window, hop=hop)
    assert returned_BT.shape == (2, samples)
    np.testing.assert_allclose(returned_BT, signal_BT, rtol=0, atol=1e-6)


def test_defaults_are_the_papers_and_invert_too():
    signal_T = noise(3001)
    spectrum_KF = stft(signal_T)
    assert spectrum_KF.shape == (6, 1025)
    np.testing.assert_allclose(istft(spectrum_KF, length=3001), signal_T, rtol=0, atol=1e-6)


def test_inverse_of_changed_spectra_equals_librosa():
    """Least squares, not only inversion: librosa's at all samples but where its window vanishes."""
    signal_T = noise(480)
    spectrum_KF = np.array(stft(signal_T, window=WINDOW, hop=HOP))
    spectrum_KF *= np.random.default_rng(1).random(spectrum_KF.shape)
    expected_T = librosa.istft(spectrum_KF.T, hop_length=HOP, n_fft=WINDOW, length=480)
    returned_T = istft(spectrum_KF, length=480, window=WINDOW, hop=HOP)
    np.testing.assert_allclose(returned_T, expected_T, rtol=0, atol=1e-6)


def test_frames_of_numbers_and_arrays():
    assert frames(0, hop=16) == 1 and frames(15, hop=16) == 1 and frames(16, hop=16) == 2
    np.testing.assert_array_equal(frames(np.array([15, 32]), hop=16), [1, 3])
    np.testing.assert_array_equal(frames(jnp.array([15, 32]), hop=16), [1, 3])


@pytest.mark.parametrize('own', [1, 16, 47, 500])
def test_a_padded_row_gives_what_it_gives_alone(own):
    """Also after a mask, when frames no longer agree where they overlap."""
    total = 500
    padded_BT = np.stack([noise(total), np.pad(noise(own, seed=1), (0, total - own))])
    share_BKF = np.random.default_rng(2).random((2, 32, 33)).astype(np.float32)
    spectrum_BKF = stft(padded_BT, window=WINDOW, hop=HOP) * share_BKF
    count = frames(own, hop=HOP)
    valid_BK = np.arange(32)[None] < np.array([[32], [count]])
    returned_BT = istft(spectrum_BKF, length=total, window=WINDOW, hop=HOP, valid_K=valid_BK)

    alone_KF = stft(padded_BT[1, :own], window=WINDOW, hop=HOP)
    np.testing.assert_allclose(
        spectrum_BKF[1, :count], alone_KF * share_BKF[1, :count], rtol=0, atol=1e-6
    )
    alone_T = istft(alone_KF * share_BKF[1, :count], length=own, window=WINDOW, hop=HOP)
    np.testing.assert_allclose(returned_BT[1, :own], alone_T, rtol=0, atol=1e-7)
    whole_T = istft(spectrum_BKF[0], length=total, window=WINDOW, hop=HOP)
    np.testing.assert_allclose(returned_BT[0], whole_T, rtol=0, atol=1e-7)
    # What lies beyond is no louder than the signal: no division by a window that has faded out.
    assert np.abs(returned_BT[1]).max() < 1
    assert not np.abs(returned_BT[1, count * HOP :]).any()


def test_a_row_without_frames_is_silent():
    spectrum_BKF = stft(noise(2, 100), window=WINDOW, hop=HOP)
    valid_BK = np.array([[True] * 7, [False] * 7])
    returned_BT = istft(spectrum_BKF, length=100, window=WINDOW, hop=HOP, valid_K=valid_BK)
    assert np.abs(returned_BT[0]).any() and not np.abs(returned_BT[1]).any()


def test_leading_axes_are_a_batch():
    signal_BST = noise(2, 3, 130)
    spectrum_BSKF = stft(signal_BST, window=WINDOW, hop=HOP)
    valid_B1K = np.array([[[True] * 9], [[True] * 5 + [False] * 4]])
    returned_BST = istft(spectrum_BSKF, length=130, window=WINDOW, hop=HOP, valid_K=valid_B1K)
    for b in range(2):
        for s in range(3):
            alone_KF = stft(signal_BST[b, s], window=WINDOW, hop=HOP)
            np.testing.assert_allclose(spectrum_BSKF[b, s], alone_KF, rtol=0, atol=1e-6)
            alone_T = istft(alone_KF, length=130, window=WINDOW, hop=HOP, valid_K=valid_B1K[b, 0])
            np.testing.assert_allclose(returned_BST[b, s], alone_T, rtol=0, atol=1e-6)


def test_integers_and_half_precision_become_float32():
    for dtype in (np.int16, jnp.bfloat16):
        spectrum_KF = stft(jnp.arange(100).astype(dtype), window=WINDOW, hop=HOP)
        assert spectrum_KF.dtype == np.complex64
        expected_KF = stft(np.arange(100, dtype=np.float32), window=WINDOW, hop=HOP)
        np.testing.assert_allclose(spectrum_KF, expected_KF, rtol=0, atol=1e-3)


def test_gradient_of_the_round_trip_is_the_identity():
    """d/dx of <y, istft(stft(x))> = y; also from silence, without a nan."""
    weight_T = noise(150, seed=3)

    def inner(signal_T):
        spectrum_KF = stft(signal_T, window=WINDOW, hop=HOP)
        return (weight_T * istft(spectrum_KF, length=150, window=WINDOW, hop=HOP)).sum()

    for signal_T in (noise(150), np.zeros(150, np.float32)):
        np.testing.assert_allclose(jax.grad(inner)(signal_T), weight_T, rtol=0, atol=1e-6)


@pytest.mark.parametrize('backward', [False, True])
def test_framing_gathers_and_scatters_nothing(backward):
    def energy(signal_T):
        spectrum_KF = stft(signal_T, window=WINDOW, hop=HOP)
        return (istft(spectrum_KF, length=150, window=WINDOW, hop=HOP) ** 2).sum()

    program = str(jax.make_jaxpr(jax.grad(energy) if backward else energy)(noise(150)))
    assert 'scatter' not in program and 'gather' not in program


@pytest.mark.parametrize(
    'window, hop, rule',
    [
        (64, 24, 'hop = 24: must divide'),
        (64, 64, 'hop = 64: must divide'),
        (64, 0, 'hop = 0: must be at'),
        (63, 21, 'window = 63: must be even'),
        (0, 1, 'window = 0: must be at'),
    ],
)
def test_windows_and_hops_that_do_not_suit(window, hop, rule):
    with pytest.raises(ValueError, match=rule):
        stft(noise(100), window=window, hop=hop)


def test_inverse_refuses_half_overlap():
    spectrum_KF = stft(noise(100), window=64, hop=32)
    with pytest.raises(ValueError, match='hop = 32: must divide window = 64 into at least 3.*16'):
        istft(spectrum_KF, length=100, window=64, hop=32)


def test_inverse_refuses_what_does_not_belong_to_the_spectra():
    spectrum_BKF = stft(noise(2, 100), window=WINDOW, hop=HOP)
    with pytest.raises(ValueError, match='7 frames of 33 bins; length=200.* make 13 of 33'):
        istft(spectrum_BKF, length=200, window=WINDOW, hop=HOP)
    with pytest.raises(ValueError, match='length=100, window=128.* make 7 of 65'):
        istft(spectrum_BKF, length=100, window=128, hop=HOP)
    with pytest.raises(ValueError, match=r'valid_K\[7\] must have the axes of spectrum_KF\[2, 7'):
        istft(spectrum_BKF, length=100, window=WINDOW, hop=HOP, valid_K=np.ones(7, bool))
