"""Building blocks of the synthetic sounds, against what they promise in numbers."""

import numpy as np
import pytest
import scipy.signal

from data_prep import synthesis

RATE = 16000


def synth():
    return synthesis.Synthesizer(np.random.default_rng(0), RATE)


def test_noise_has_the_spectrum_asked_for():
    noise_T = synth().noise(20 * RATE, [(125.0, 0.0), (4000.0, -30.0)])
    frequency_F, power_F = scipy.signal.welch(noise_T, RATE, nperseg=4096)
    level_F = 10 * np.log10(power_F)

    def level(low, high):
        return level_F[(frequency_F > low) & (frequency_F < high)].mean()

    assert np.mean(noise_T**2) == pytest.approx(1.0)
    assert level(450, 550) - level(1800, 2200) == pytest.approx(12.0, abs=1.0)  # 6 dB / octave
    assert level(5000, 6000) == pytest.approx(level(6000, 7000), abs=1.0)
    assert level(5000, 7000) - level(300, 330) == pytest.approx(-22.0, abs=1.5)


def test_oscillator_has_its_harmonics_and_none_that_alias():
    gain_H = synth().rolloff(40, 6.0)
    wave_T = synth().oscillator(np.full(RATE, 500.0), gain_H)
    amplitude_F = np.abs(np.fft.rfft(wave_T)) / (RATE / 2)  # one second: bins of 1 Hz
    heard = amplitude_F[500:7001:500].copy()  # to 7,000 Hz: 7,500 lies above 0.45 x 16,000
    np.testing.assert_allclose(heard / heard[0], gain_H[:14], rtol=1e-2)
    assert np.mean(wave_T**2) == pytest.approx(1.0, rel=1e-3)
    amplitude_F[500:7001:500] = 0.0
    assert amplitude_F.max() < 1e-3 * heard[0]


def test_rolloff_is_in_decibels_an_octave():
    np.testing.assert_allclose(synth().rolloff(4, 6.0206), [1, 0.5, 0.3333, 0.25], rtol=1e-3)


def test_ring_dies_away_as_asked_and_leaves_out_what_would_alias():
    tone_T = synth().ring([(1000.0, 0.5, 1.0), (7900.0, 0.5, 1.0)], RATE)
    power = [np.mean(tone_T[start : start + 160] ** 2) for start in (0, 8000)]
    assert 10 * np.log10(power[1] / power[0]) == pytest.approx(-60.0, abs=0.1)
    assert not synth().ring([(7900.0, 0.5, 1.0)], RATE).any()


def test_resonator_passes_its_frequency_and_little_else():
    time_T = np.arange(RATE) / RATE
    for frequency, gain in ((1000.0, 2.0), (4000.0, 0.0)):
        wave_T = np.sin(2 * np.pi * frequency * time_T)
        out_T = synth().resonate(wave_T, [(1000.0, 50.0, 2.0)])
        assert np.abs(out_T[RATE // 2 :]).max() == pytest.approx(gain, abs=0.05)


def test_click_dies_away():
    click_T = synth().click(0.1)
    assert len(click_T) == 1601
    assert np.abs(click_T[-160:]).max() < 0.01 * np.abs(click_T).max()


def test_wander_stays_within_bounds_and_is_slow():
    curve_T = synth().wander(10 * RATE, per_second=2)
    assert -1 <= curve_T.min() < -0.5 and 0.5 < curve_T.max() <= 1
    assert np.abs(np.diff(curve_T)).max() < np.pi * 2 / RATE + 1e-9  # two half cosines a second


def test_overlay_adds_and_cuts():
    np.testing.assert_array_equal(
        synthesis.overlay(5, [(1, np.ones(2)), (2, np.ones(2)), (4, np.ones(9)), (7, np.ones(1))]),
        [0, 1, 2, 1, 1],
    )


def test_finish_sets_the_peak_and_closes_the_ends():
    sound_T = synthesis.finish(3 + synth().rng.standard_normal(RATE), RATE, peak=0.7)
    assert np.abs(sound_T).max() == pytest.approx(0.7)
    assert abs(sound_T.mean()) < 1e-3
    assert abs(sound_T[0]) < 1e-6 and abs(sound_T[-1]) < 1e-6


def test_poisson_events_are_as_many_as_asked():
    starts = synth().poisson(100 * RATE, 50.0)
    assert len(starts) == pytest.approx(5000, rel=0.05)
    assert (np.diff(starts) >= 0).all() and starts[-1] < 100 * RATE
