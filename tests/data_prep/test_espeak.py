"""Synthetic voices: the same words give the same samples, and no two voices are alike."""

import hashlib
import itertools
import subprocess
import sys

import librosa
import numpy as np
import pytest

from data_prep import espeak, sentences

pytest.importorskip('espeakng_loader', reason='pip install fgsep_jax[demo]')

RATE = 8000
TEXT = 'A yellow kettle and five thin geese were left beside the church.'
# Variants with pitch flutter, breath noise and echo: each keeps state in the library.
STATEFUL = [voice for voice in espeak.VOICES if voice.name in ('f1', 'm2', 'f5', 'annie')]


def digest(voice, text):
    return hashlib.sha256(espeak.render(voice, text).tobytes()).hexdigest()


def test_samples_do_not_depend_on_what_was_said_before():
    forward = [digest(voice, TEXT) for voice in STATEFUL]
    backward = [digest(voice, TEXT) for voice in reversed(STATEFUL)]
    assert forward == backward[::-1]
    assert len(set(forward)) == len(STATEFUL)


def test_samples_do_not_depend_on_the_process():
    program = (
        'from tests.data_prep import test_espeak as t\n'
        'print(*[t.digest(v, t.TEXT) for v in t.STATEFUL])'
    )
    other = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert other.stdout.split() == [digest(voice, TEXT) for voice in STATEFUL]


def test_render_is_trimmed_float32_within_full_scale():
    (voice,) = [voice for voice in espeak.VOICES if voice.name == 'f3']  # starts and ends late
    speech_T = espeak.render(voice, TEXT, sample_rate=RATE)
    assert speech_T.dtype == np.float32
    assert speech_T.ndim == 1
    assert 2.0 < len(speech_T) / RATE < 8.0
    level_T = np.abs(speech_T)
    assert 0.01 < level_T.max() < 1.0
    edge = int(0.025 * RATE)
    assert level_T[:edge].max() > 0.009 * level_T.max()
    assert level_T[-edge:].max() > 0.009 * level_T.max()


def test_trim_keeps_the_margin_and_everything_between():
    speech_T = np.zeros(1000, np.float32)
    speech_T[[400, 600]] = 1.0, -0.5
    trimmed_T = espeak.trim(speech_T, sample_rate=1000, margin_s=0.1)
    np.testing.assert_array_equal(trimmed_T, speech_T[300:701])


def test_an_unknown_voice_or_wordless_text_is_an_error():
    for language, variant in (('xx-none', 'm3'), ('en-us', 'nobody')):
        voice = espeak.Voice('x', 'train', 'm', language, variant)
        with pytest.raises(ValueError, match=f"no voice '{language}\\+{variant}'"):
            espeak.render(voice, TEXT)
    with pytest.raises(ValueError, match='says nothing'):
        espeak.render(espeak.VOICES[0], '')
    assert espeak.render(espeak.VOICES[0], TEXT).size  # the library was released


def test_a_clipping_voice_is_an_error():
    voice = espeak.Voice('x', 'train', 'm', 'en-us', 'ed', volume=200)
    with pytest.raises(ValueError, match='clips at volume 200'):
        espeak.render(voice, TEXT)


def test_every_split_has_both_sexes_and_no_voice_of_another():
    assert len({voice.name for voice in espeak.VOICES}) == len(espeak.VOICES) >= 32
    assert len({voice.variant for voice in espeak.VOICES}) == len(espeak.VOICES)
    for split, least in (('train', 22), ('validation', 5), ('test', 5)):
        voices = [voice for voice in espeak.VOICES if voice.split == split]
        assert len(voices) >= least
        assert {voice.sex for voice in voices} == {'f', 'm'}


def _character(voice):
    """Median pitch [Hz] and long-term mel spectrum [dB, zero mean] of two sentences."""
    speech_T = np.concatenate([espeak.render(voice, sentences.sentence(i)) for i in (0, 5)])
    frames = dict(frame_length=512, hop_length=160)
    pitch_K = librosa.yin(speech_T, fmin=50, fmax=400, sr=RATE, **frames)
    level_K = librosa.feature.rms(y=speech_T, **frames)[0]
    mel_MK = librosa.feature.melspectrogram(
        y=speech_T, sr=RATE, n_fft=512, hop_length=160, n_mels=32
    )
    spectrum_M = 10 * np.log10(mel_MK[:, level_K > 0.1 * level_K.max()].mean(axis=1) + 1e-9)
    return np.median(pitch_K[level_K > 0.3 * level_K.max()]), spectrum_M - spectrum_M.mean()


@pytest.mark.slow
def test_voices_are_clearly_different():
    character = {voice: _character(voice) for voice in espeak.VOICES}
    for voice, (pitch, _) in character.items():
        low, high = (65, 170) if voice.sex == 'm' else (140, 320)
        assert low < pitch < high, (voice.name, pitch)
    for one, two in itertools.combinations(espeak.VOICES, 2):
        (pitch_one, spectrum_one), (pitch_two, spectrum_two) = character[one], character[two]
        spectral_db = np.sqrt(np.mean((spectrum_one - spectrum_two) ** 2))
        pitch_ratio = max(pitch_one / pitch_two, pitch_two / pitch_one)
        assert spectral_db > 2.5 or pitch_ratio > 1.12, (one.name, two.name, spectral_db)
        if one.split != two.split:
            assert spectral_db > 2.5, (one.name, two.name, spectral_db)


def test_sentences_are_distinct_and_fixed():
    texts = sentences.distinct_sentences(3000)
    assert len(set(texts)) == 3000
    assert texts[:500] == sentences.distinct_sentences(500)
    assert texts[0] == sentences.sentence(0)
    assert all(6 <= len(text.split()) <= 25 for text in texts)
    assert len({word for text in texts for word in text.lower().split()}) > 300
