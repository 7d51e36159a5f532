"""Mel filters against librosa's, bit for bit."""

import librosa
import numpy as np
import pytest

from fgsep_jax.dsp import filterbank


@pytest.mark.parametrize(
    ('rate', 'window', 'bands', 'low', 'high', 'htk', 'area'),
    [
        (44100, 2048, 128, 0, None, False, True),
        (44100, 2048, 128, 0, None, True, True),
        (8000, 256, 40, 100, 3500, False, False),
        (16000, 512, 64, 0, None, True, False),
        (48000, 2048, 128, 20, 20000, False, True),
    ],
)
def test_filters_are_librosas(rate, window, bands, low, high, htk, area):
    made_MF = filterbank.mel_filters(
        sample_rate=rate, window=window, bands=bands, low=low, high=high, htk=htk, area=area
    )
    norm = 'slaney' if area else None
    theirs_MF = librosa.filters.mel(
        sr=rate, n_fft=window, n_mels=bands, fmin=low, fmax=high, htk=htk, norm=norm
    )
    np.testing.assert_array_equal(made_MF, theirs_MF)


@pytest.mark.parametrize('htk', [False, True])
def test_the_scale_and_back(htk):
    hz = np.array([0.0, 1, 999, 1000, 1001, 22050])
    np.testing.assert_allclose(filterbank.hz_to_mel(hz, htk=htk), librosa.hz_to_mel(hz, htk=htk))
    back = filterbank.mel_to_hz(filterbank.hz_to_mel(hz, htk=htk), htk=htk)
    np.testing.assert_allclose(back, hz, atol=1e-9)
