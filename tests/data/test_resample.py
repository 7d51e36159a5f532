"""One resampler, everywhere; what it passes and what it does not."""

import pathlib
import re

import librosa
import numpy as np
import pytest

from fgsep_jax.data.resample import length, resample

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    'native, rate', [(44100, 8000), (16000, 8000), (8000, 44100), (48000, 44100)]
)
def test_tones_pass_below_the_edge_and_none_folds_back(native, rate):
    time_T = np.arange(2 * native) / native
    for share, passes in ((0.1, True), (0.9, True), (1.02, False), (1.5, False)):
        frequency = share * min(native, rate) / 2
        if frequency >= native / 2:
            continue
        made_T = resample(np.sin(2 * np.pi * frequency * time_T), native, rate)
        assert made_T.size == length(time_T.size, native, rate) == 2 * rate
        middle_T = made_T[rate // 2 : -rate // 2]
        wanted_T = np.sin(2 * np.pi * frequency * np.arange(made_T.size) / rate)[
            rate // 2 : -rate // 2
        ]
        error_T = middle_T - wanted_T if passes else middle_T
        assert 20 * np.log10(np.sqrt(2) * np.std(error_T)) < (-60 if passes else -90)


def test_it_is_librosas_default_on_every_axis_and_type():
    signal_ST = np.random.default_rng(0).normal(size=(2, 3, 4001))
    for kind in (np.float32, np.float64):
        made_ST = resample(signal_ST.astype(kind), 44100, 16000)
        assert made_ST.dtype == kind
        expected_ST = librosa.resample(signal_ST.astype(kind), orig_sr=44100, target_sr=16000)
        np.testing.assert_array_equal(made_ST, expected_ST)
    assert resample(signal_ST, 8000, 8000) is signal_ST


@pytest.mark.parametrize('rate', [0, -8000, float('nan'), float('inf'), '8000', None])
def test_what_is_no_rate_is_refused(rate):
    for rates in ((rate, 8000), (8000, rate)):
        with pytest.raises(ValueError, match='must be a number of hertz above 0'):
            resample(np.zeros(8), *rates)


def test_nothing_else_resamples():
    call = re.compile(r'(soxr|librosa)\.resample|resample_poly|signal\.resample|\.decimate\(')
    users = {
        str(path.relative_to(ROOT))
        for room in ('fgsep_jax', 'data_prep', 'benchmarks', 'configs')
        for path in (ROOT / room).rglob('*.py')
        if call.search(path.read_text())
    }
    assert users == {'fgsep_jax/data/resample.py'}
