"""Sounds of a report: levels, spectrograms against librosa, files."""

import base64
import io
import os

import librosa
import numpy as np
import pytest
import soundfile

from fgsep_jax.report import sound


def test_levels_are_matched_as_loud_as_peaks_allow():
    rng = np.random.default_rng(0)
    signals = [scale * rng.normal(size=4000) for scale in (0.01, 0.3)] + [np.zeros(50)]
    signals.append(np.eye(1, 4000)[0] * 0.5)  # a click
    matched = sound.level_matched(signals)
    rms = [np.sqrt(np.mean(np.square(one))) for one in matched]
    np.testing.assert_allclose([rms[0], rms[1]], rms[3])
    assert rms[2] == 0 and max(np.abs(one).max() for one in matched) == pytest.approx(sound.PEAK)
    np.testing.assert_array_equal(sound.level_matched([np.zeros(9)])[0], np.zeros(9))


@pytest.mark.parametrize('rate', [8000, 44100])
def test_mel_spectrogram_is_librosas(rate):
    signal_T = np.random.default_rng(0).normal(size=rate // 2)
    window = 2048 if rate > 8000 else 512 if rate == 11025 else 2 ** round(np.log2(0.046 * rate))
    expected = librosa.feature.melspectrogram(
        y=signal_T,
        sr=rate,
        n_fft=window,
        hop_length=window // 4,
        power=1,
        pad_mode='constant',
        n_mels=128 if rate > 16000 else 64,
    )
    shown = 10 ** (sound.mel_db(signal_T, rate) / 20)
    np.testing.assert_allclose(shown, expected[:, : shown.shape[1]], rtol=1e-4, atol=1e-4)
    assert shown.shape[1] >= expected.shape[1] - 1


def test_a_packed_sound_is_the_sound():
    signal_T = 0.5 * np.sin(np.arange(3000) / 7)
    head, content = sound.packed(signal_T, 8000).split(',')
    got_T, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert rate == 8000 and head == 'data:audio/wav;base64'
    np.testing.assert_allclose(got_T, signal_T, atol=1 / 32768)


@pytest.mark.parametrize('length', [0, 1, 100, 5000])
def test_envelope_holds_every_sample(length):
    signal_T = np.random.default_rng(length).normal(size=length)
    parts_P2 = sound.envelope(signal_T, points=240)
    assert parts_P2.shape == (240, 2)
    if length:
        peak = np.abs(signal_T).max()
        top, bottom = max(signal_T.max(), 0) / peak, min(signal_T.min(), 0) / peak
        np.testing.assert_allclose([parts_P2[:, 1].max(), parts_P2[:, 0].min()], [top, bottom])


@pytest.mark.parametrize('seconds', [0.01, 3.0, 200.0])
def test_an_overview_shows_all_of_a_sound_of_any_length(seconds):
    rate, at = 8000, 0
    signal_T = 0.01 * np.random.default_rng(0).normal(size=round(seconds * rate))
    signal_T[round(0.7 * len(signal_T))] = -1.0

    def take(count):
        nonlocal at
        at += count
        return signal_T[at - count : at]

    point_P2, level_FK = sound.overview(take, rate, seconds, columns=300)
    whole_FK = sound.mel_db(signal_T, rate)
    assert len(point_P2) == level_FK.shape[1] <= 300
    assert point_P2.min() == -1 and level_FK.max() == pytest.approx(whole_FK.max(), abs=0.1)
    for shown in (point_P2[:, 0].argmin(), level_FK.sum(axis=0).argmax()):
        assert shown / len(point_P2) == pytest.approx(0.7, abs=1.5 / len(point_P2))
    if seconds * rate < 300 * 100:  # every frame of them is shown
        np.testing.assert_allclose(level_FK, whole_FK[:, : level_FK.shape[1]])


@pytest.mark.parametrize(
    'damage, said',
    [
        (lambda path: path.write_text('no sound'), 'unreadable'),
        (lambda path: os.truncate(path, 1001), 'truncated .957 bytes of the 8000'),
        (lambda path: os.truncate(path, 40), 'truncated .40 bytes of the 8044'),
        (lambda path: path.write_bytes(path.read_bytes() + bytes(range(99))), '99 bytes after the'),
        (lambda path: os.truncate(path, 3 << 30), 'bytes, more than such a file can have'),
        (lambda path: path.unlink(), 'No such file'),
        (lambda path: (path.unlink(), os.mkfifo(path)), 'no regular file'),
        (lambda path: soundfile.write(path, np.zeros((0,)), 8000), 'no samples|0 samples'),
        (lambda path: soundfile.write(path, np.ones((9, 2)), 8000), '2 channels'),
        (lambda path: soundfile.write(path, np.ones(9), 900), 'at 900 Hz'),
        (lambda path: soundfile.write(path, np.full(9, np.nan), 8000, 'FLOAT'), 'not finite'),
    ],
)
def test_a_sound_that_is_not_whole_is_refused(tmp_path, damage, said):
    path = tmp_path / 'a: b' / 'x.wav'
    path.parent.mkdir()
    signal_T = np.random.default_rng(0).integers(-(2**15), 2**15, 4000) / 2**15
    soundfile.write(path, signal_T, 8000)
    got_T, rate = sound.read(str(path))
    np.testing.assert_array_equal(got_T, signal_T)
    assert rate == 8000 and got_T.dtype == float
    damage(path)
    with pytest.raises(OSError, match=f'x.wav .*({said})'):
        sound.read(str(path))
