"""Mixing rules against closed forms, and P.56 against the recommendation's own sample loop."""

import math

import numpy as np
import pytest

from data_prep import draws, mix
import trees


def p56_sample_by_sample(audio_T, sample_rate, margin_db=15.9):
    """P.56 method B as its annex states it: one sample after the other."""
    pole = math.exp(-1 / (sample_rate * 0.03))
    hangover = math.ceil(0.2 * sample_rate)
    p = q = energy = 0.0
    thresholds = [2.0**j for j in range(-15, 1)]
    active, idle = [0] * 16, [hangover] * 16
    for x in audio_T:
        energy += x * x
        p = pole * p + (1 - pole) * abs(x)
        q = pole * q + (1 - pole) * p
        for j, threshold in enumerate(thresholds):
            if q >= threshold:
                active[j], idle[j] = active[j] + 1, 0
            elif idle[j] < hangover:
                active[j], idle[j] = active[j] + 1, idle[j] + 1
    previous = None
    for j in range(16):
        if not active[j]:
            return previous[1]
        level = 10 * math.log10(energy / active[j])
        excess = level - 20 * math.log10(thresholds[j]) - margin_db
        if excess <= 0:
            share = previous[0] / (previous[0] - excess)
            return previous[1] + share * (level - previous[1])
        previous = excess, level
    return previous[1]


@pytest.mark.parametrize('sample_rate', [8000, 11025])
@pytest.mark.parametrize('peak', [0.9, 0.02])
@pytest.mark.parametrize('lead', [0, 100])
def test_active_level_is_p56(sample_rate, peak, lead):
    audio_T = trees.speechlike(1.5, seed=3, sample_rate=sample_rate, peak=peak)
    audio_T = np.concatenate([np.zeros(lead), audio_T])  # exact zeros have no exponent
    level, activity = mix.active_speech_level(audio_T, sample_rate=sample_rate)
    assert level == pytest.approx(p56_sample_by_sample(audio_T, sample_rate), abs=0.003)
    assert 0 < activity <= 1
    power_db = 10 * math.log10(np.mean(audio_T**2))
    assert level == pytest.approx(power_db - 10 * math.log10(activity), abs=1e-9)


@pytest.mark.parametrize('before, after', [(8000, 0), (0, 8000), (100, 1000)])
def test_hangover_follows_the_activity(before, after):
    tone_T = 0.1 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)
    audio_T = np.concatenate([np.zeros(before), tone_T, np.zeros(after)])
    level, _ = mix.active_speech_level(audio_T, sample_rate=8000)
    assert level == pytest.approx(p56_sample_by_sample(audio_T, 8000), abs=0.003)


def test_active_level_leaves_out_pauses():
    tone_T = 0.1 * np.sin(2 * np.pi * 440 * np.arange(8000 * 4) / 8000)
    with_pause_T = np.concatenate([tone_T, np.zeros(8000 * 12)])
    full, _ = mix.active_speech_level(tone_T, sample_rate=8000)
    paused, activity = mix.active_speech_level(with_pause_T, sample_rate=8000)
    assert full == pytest.approx(10 * math.log10(0.005), abs=0.05)
    assert paused == pytest.approx(full, abs=0.4)  # the hangover counts 0.2 s of the pause
    assert activity == pytest.approx(4.2 / 16, abs=0.02)


def test_active_level_follows_gain_and_silence():
    audio_T = trees.speechlike(1.0, seed=1)
    level, _ = mix.active_speech_level(audio_T, sample_rate=8000)
    louder, _ = mix.active_speech_level(2 * audio_T, sample_rate=8000)
    assert louder - level == pytest.approx(20 * math.log10(2), abs=1e-6)
    assert mix.active_speech_level(np.zeros(100), sample_rate=8000) == (-math.inf, 0.0)


@pytest.mark.parametrize('snr_db', [-5.0, 0.0, 3.7])
def test_scaled_sources_have_the_wanted_difference(snr_db):
    sources_ST = np.stack([trees.speechlike(2.0, seed=s, peak=0.1 * (s + 1)) for s in (1, 2)])

    def levels(array_ST):
        return [mix.active_speech_level(x_T, sample_rate=8000)[0] for x_T in array_ST]

    scaled_ST = sources_ST * mix.gains(levels(sources_ST), [snr_db / 2, -snr_db / 2])[:, None]
    first, second = levels(mix.scale_to_peak(scaled_ST))
    # Thresholds are octaves apart: the interpolated level moves a little with the gain.
    assert first - second == pytest.approx(snr_db, abs=0.3)
    power = np.mean(scaled_ST**2, axis=1) / np.mean(sources_ST**2, axis=1)
    measured = levels(sources_ST)
    assert 10 * np.log10(power[0] / power[1]) == pytest.approx(snr_db - (measured[0] - measured[1]))


def test_common_scale_brings_the_largest_peak_to_0_9():
    cancelling_ST = np.array([[1.0, -0.2], [-0.9, 0.1]])
    assert np.abs(mix.scale_to_peak(cancelling_ST)).max() == pytest.approx(0.9)
    adding_ST = np.array([[1.0, -0.2], [0.9, 0.1]])
    assert np.abs(mix.scale_to_peak(adding_ST).sum(axis=0)).max() == pytest.approx(0.9)
    ratio = mix.scale_to_peak(adding_ST) / adding_ST
    np.testing.assert_allclose(ratio, ratio[0, 0])


def test_quantise_rounds_and_refuses_what_does_not_fit():
    pcm_ST = mix.quantise(np.array([[0.5, -1.6 / 32768], [0.25, 0.4 / 32768]]))
    np.testing.assert_array_equal(pcm_ST, [[16384, -2], [8192, 0]])
    assert pcm_ST.dtype == np.int16
    for sources in ([[1.0], [0.0]], [[0.7], [0.7]], [[math.nan], [0.0]]):
        with pytest.raises(ValueError, match='int16'):
            mix.quantise(np.array(sources))


def test_hash_is_the_same_everywhere():
    assert draws.stable_hash(0, 'a+b', 'snr') == 11801180413855302298
    assert draws.stable_hash('ab', 'c') != draws.stable_hash('a', 'bc')
    for parts in ((0, 'a+b', 'snr'), ('é', '\udce9'), ('alone',)):
        assert draws.stable_hashes(*parts[:-1])(parts[-1]) == draws.stable_hash(*parts)
    drawn = [draws.uniform(-5, 5, 0, i) for i in range(2000)]
    assert -5 <= min(drawn) < -4.9 and 4.9 < max(drawn) < 5
    assert abs(np.mean(drawn)) < 0.3


@pytest.mark.parametrize(
    'sample, fits', [(-32768, True), (32767, True), (32768, False), (-32769, False)]
)
def test_what_fits_int16_is_mixed(sample, fits):
    if fits:
        assert mix.quantise(np.array([[sample / 32768, 0.0]])).tolist() == [[sample, 0]]
    else:
        with pytest.raises(ValueError, match=f'a peak of {abs(sample)} does not fit int16'):
            mix.quantise(np.array([[sample / 32768, 0.0]]))
