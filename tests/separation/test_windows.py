"""Windows cover every sample, and what is joined is what was cut."""

from hypothesis import given, settings, strategies as st
import numpy as np

from fgsep_jax.data.resample import resample
from fgsep_jax.separation import recording, windows


@given(st.integers(1, 300), st.integers(1, 80), st.integers(0, 40), st.integers(1, 90))
@settings(max_examples=200, deadline=None)
def test_what_is_cut_and_joined_is_the_same(samples, window, overlap, block):
    overlap = min(overlap, window // 2)
    signal_TC = np.random.default_rng(samples).standard_normal((samples, 2)).astype(np.float32)
    starts = windows.positions(samples, window, window - overlap)
    blocks = (signal_TC[at : at + block] for at in range(0, samples, block))
    cut = list(windows.cut(blocks, starts, window))
    assert all(w.shape == (2, min(window, samples)) for w in cut)
    for start, window_CT in zip(starts, cut):
        np.testing.assert_array_equal(window_CT.T, signal_TC[start : start + window])
    joined = list(windows.joined(cut, starts, samples=samples, overlap=overlap))
    np.testing.assert_allclose(np.concatenate(joined, axis=-1).T, signal_TC, rtol=1e-5, atol=1e-6)


def test_a_cross_fade_passes_from_one_window_to_the_next():
    starts = windows.positions(12, 8, 4)
    cut = [np.zeros((1, 8), np.float32), np.ones((1, 8), np.float32)]
    joined_T = np.concatenate(list(windows.joined(cut, starts, samples=12, overlap=4)), -1)[0]
    np.testing.assert_allclose(joined_T, [0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1])


@given(
    st.sampled_from([(8000, 16000), (44100, 8000), (48000, 44100), (22050, 8000), (8000, 8000)]),
    st.integers(1, 5000),
    st.integers(1, 3),
)
@settings(max_examples=30, deadline=None)
def test_a_stream_is_resampled_as_the_whole(rates, samples, channels):
    signal_CT = np.random.default_rng(samples).standard_normal((channels, samples))
    signal_CT = signal_CT.astype(np.float32)
    whole_CT = resample(signal_CT, *rates)
    blocks = (signal_CT[:, at : at + 700].T for at in range(0, samples, 700))
    made = recording.resampled(blocks, *rates, samples=recording.length_at(samples, *rates))
    made_TC = np.concatenate(list(made))
    assert made_TC.shape == whole_CT.T.shape
    np.testing.assert_allclose(made_TC, whole_CT.T, atol=2e-5)
