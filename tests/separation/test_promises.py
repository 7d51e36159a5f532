"""What docs and docstrings promise of separating, each on the smallest thing that can break it."""

import contextlib
import csv
import dataclasses
import errno
import io
import json
import math
import os
import re
import resource
import shutil
import tempfile
import tracemalloc
import types

import jax
import numpy as np
import pytest
import soundfile

from fgsep_jax import files, names, separate
from fgsep_jax.config import ConfigError
from fgsep_jax.data import audio_files
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.interop import model_file
from fgsep_jax.separation import engine, inputs, live, model as model_lib, page, whole, writing
from fgsep_jax.separation.manifest import Manifest, MistakeError
from fgsep_jax.separation.recording import ArrayRecording, FileRecording
import models
from models import command as run
import tiny

RATE = 8000


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def tones(*hertz, seconds):
    """[sources, samples]"""
    time_T = np.arange(round(seconds * RATE)) / RATE
    return np.float32([0.3 * np.sin(2 * np.pi * hz * time_T) for hz in hertz])


def wave(path, signal_TC, rate=RATE, subtype='PCM_16'):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal_TC, rate, subtype)
    return str(path)


def rows(folder):
    with open(folder / 'manifest.csv', newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def sounds(tmp_path_factory):
    return models.run(tmp_path_factory.mktemp('runs') / 'sounds', 'blstm_m2')


def untrained(name, **changes):
    """A Separator without weights, where nothing needs them."""
    return model_lib.Separator(tiny.config('', name, **changes), {})


# Windows, their order, and how they are joined.


class Known:
    """A network whose estimates are known: `make(number of the window, its samples)`."""

    sample_rate, adaptation_seconds = RATE, 0.0

    def __init__(self, make, *, outputs=1, rest=False):
        self._make, self.outputs, self.rest, self.ordered = make, outputs, rest, rest

    def run(self, cut, **_):
        return (np.float32(self._make(*one)) for one in enumerate(cut))


def test_from_window_to_window_it_fades():
    """Windows of 0 and of 1 in turns: a seam would be a step of a half at least."""
    network = Known(lambda index, mixture_CW: [0 * mixture_CW + index % 2], rest=True)
    recording = ArrayRecording(noise(2, 4 * RATE), RATE)
    how = engine.How(segment=1.0, overlap=0.5, channels='each')
    made = np.concatenate([*engine.separate(network, recording, how).blocks()])[:, 0]
    made /= made.max()
    assert np.ptp(made) == 1 and np.abs(np.diff(made, axis=0)).max() < 1.01 / (RATE / 2)


class Adapted(Known):
    adaptation_seconds, least_seconds = 2.0, 0.1

    def __init__(self):
        super().__init__(lambda index, mixture_CW: 0 * mixture_CW[None], rest=True)


@pytest.mark.parametrize('stretch', [None, (0.0, 1.0)])
def test_a_background_is_finite(stretch):
    recording, rain = (ArrayRecording(noise(1, RATE), RATE) for _ in range(2))
    rain._signal_CT[0, 99] = np.nan
    with pytest.raises(BadInput, match='not finite .nan or inf in the background'):
        engine.separate(Adapted(), recording, engine.How(), background=rain, stretch=stretch)


def test_the_quietest_stretch_ends_with_the_recording():
    recording = ArrayRecording(noise(1, RATE // 2), RATE)
    assert engine.separate(Adapted(), recording, engine.How()).background == (0.0, 0.5)


def test_of_a_background_behind_the_end_its_span_and_that_are_said(tmp_path):
    model, path = untrained('blstm_m2_plus'), wave(tmp_path / 'a.wav', noise(RATE // 2))
    with pytest.raises(BadInput, match='no background in 3-4 s: it has 0.5 s'):
        model.separate_file(path, tmp_path, background=(3.0, 4.0))


@pytest.mark.parametrize(
    ('background', 'said'),
    [
        (
            (0.0, 1e-4),
            'too short .*0.000125 s of background: the model needs 0.016 s at least, and',
        ),
        (
            (0.49, 1.0),
            'too short .*0.01 s of background: the model needs 0.016 s at least, and was',
        ),
        (5, 'too short .*0.000625 s of background: the model needs 0.016 s at least, and was trai'),
        ((0.2, 0.3), 'silent .*nothing sounds in 0.2-0.25 s of the background'),
        (np.zeros(4000), 'silent .*nothing sounds in 0-0.05 s of the background'),
    ],
)
@pytest.mark.parametrize('of', ['signal', 'file'])
def test_a_background_of_nothing_is_refused(tmp_path, of, background, said):
    model, signal_T = untrained('blstm_m2_plus'), noise(RATE // 2)
    signal_T[RATE // 10 :][: RATE // 4] = 0
    if not isinstance(background, tuple):
        background = signal_T[:background] if isinstance(background, int) else background
    if of == 'file':
        path = wave(tmp_path / 'a.wav', signal_T)
        if not isinstance(background, tuple):
            background = wave(tmp_path / 'rain.wav', background)
        with pytest.raises(BadInput, match=said.replace(' .*', r' .*\(.*')):
            model.separate_file(path, tmp_path, background=background)
    else:
        with pytest.raises(ValueError, match=said.replace(' .*', ': ')):
            model.separate(signal_T, RATE, background=background)


def test_of_silence_the_quietest_stretch_is_silent():
    recording = ArrayRecording(0 * noise(1, RATE // 2), RATE)
    assert engine.separate(Adapted(), recording, engine.How()).background == (0.0, 0.5)


@pytest.mark.parametrize(('seconds', 'is_said'), [(0.99, True), (1.0, False), (2.0, False)])
def test_of_less_than_half_the_background_that_it_knows_there_is_a_note(seconds, is_said):
    said = engine.little(seconds, 2.0)
    assert said == is_said * 'only 0.99 s of background are heard; the model was trained with 2 s'


@pytest.mark.parametrize(
    'background',
    [(1.0, 1.0), [2.0, 1.0], (-1.0, 1.0), (0.0, math.nan), (0.0, 1e305), (0.0, 1.0, 2.0),
     [0.5], ('0', '1'), (False, True), 3.0],
)  # fmt: skip
def test_seconds_of_background_are_a_start_and_a_stop(tmp_path, background):
    model, path = untrained('blstm_m2_plus'), wave(tmp_path / 'a.wav', noise(RATE))
    for do, what in ((model.separate, noise(RATE)), (model.separate_file, path)):
        where = RATE if what is not path else tmp_path
        with pytest.raises(ValueError, match='background: must be .start, stop. in seconds, or'):
            do(what, where, background=background)


def test_seconds_of_background_may_be_a_list(tmp_path, monkeypatch):
    model, path, seen = untrained('blstm_m2_plus'), wave(tmp_path / 'a.wav', noise(RATE)), []

    def known(*_, stretch, **__):
        seen.append(stretch)
        raise BadInput('seen')

    monkeypatch.setattr(engine, 'separate', known)
    with pytest.raises(ValueError, match='seen'):
        model.separate(noise(RATE), RATE, background=[0.5, 1])
    with pytest.raises(BadInput, match='seen'):
        model.separate_file(path, tmp_path, background=[0.5, 1])
    assert seen == 2 * [(0.5, 1)]


@pytest.mark.parametrize('name', ['start', 'seconds', 'segment', 'overlap'])
def test_seconds_are_no_more_than_can_be_counted(name):
    ways = {'start': 0.0, 'seconds': 0.0} | {name: 1e305}
    with pytest.raises(ValueError, match=f'{name} = 1e.305: must be a number of seconds from 0'):
        engine.checked_span(ways['start'], ways['seconds'])
        engine.How(**{name: 1e305})


def test_the_part_that_the_others_leave_is_no_source_of_a_model():
    header = model_file.header(tiny.config('', 'convtasnet'), sources=('speech', 'residual'))
    with pytest.raises(ConfigError, match="2 different names, none of them 'residual'"):
        model_file._about(header, 'm.safetensors')


@pytest.mark.parametrize('silent', [0.0, 3.0])
def test_only_where_nothing_tells_the_voices_apart_the_order_is_in_doubt(silent):
    voice_ST = tones(300, 1700, seconds=16)
    quiet = slice(8 * RATE, round((8 + silent) * RATE))
    voice_ST[:, quiet] = 0
    if silent:  # nor does the sound of the voices
        voice_ST[:, quiet.stop :] = noise(2, voice_ST.shape[1] - quiet.stop)

    def make(index, mixture_CW):
        part_SW = voice_ST[:, index * RATE // 2 :][:, : mixture_CW.shape[1]]
        return part_SW[:: -1 if index in (3, 7, 8) else 1, None]

    recording = ArrayRecording(voice_ST.sum(axis=0, keepdims=True), RATE)
    how = engine.How(segment=1.0, overlap=0.5)
    made = engine.separate(Known(make, outputs=2), recording, how)
    if silent:
        assert 0.5 <= made.low_margin_seconds <= silent + 1
    else:
        assert made.low_margin_seconds == 0
        np.testing.assert_allclose(np.concatenate([*made.blocks()])[..., 0].T, voice_ST, atol=1e-4)


@pytest.mark.parametrize('statistics', ['window', 'file'])
def test_the_voices_of_all_channels_have_one_order(monkeypatch, statistics):
    voice_ST = tones(300, 1700, seconds=8)
    mixture_T = voice_ST.sum(axis=0)
    network = untrained('convtasnet').network

    def known(params, mixture_BT, length_B):  # what is upside down changes places
        return voice_ST[None, :: 1 if mixture_BT[0] @ mixture_T > 0 else -1]

    def known_whole(*_, **__):
        yield np.stack([voice_ST, voice_ST[::-1]], axis=1)

    monkeypatch.setitem(vars(network), '_separate', known)
    monkeypatch.setitem(vars(network), 'whole', types.SimpleNamespace(separate=known_whole))
    how = engine.How(channels='each', statistics=statistics)
    made = engine.separate(network, ArrayRecording(np.stack([mixture_T, -mixture_T]), RATE), how)
    part_TSC = np.concatenate([*made.blocks()])
    likeness_SSC = np.einsum('tsc,rt->src', part_TSC, voice_ST)
    np.testing.assert_array_equal(np.abs(likeness_SSC).argmax(axis=1), [[0, 0], [1, 1]])


# What a model does where nothing is said.

DEFAULTS = {
    'two voices': ('cpu', 'convtasnet', {}, (8.0, 1, 1)),
    'two voices, not on a CPU': ('gpu', 'convtasnet', {}, (8.0, 1, 8)),
    'one voice': ('cpu', 'convtasnet', {'data.sources': 1}, (4.0, 1, 1)),
    'masks': ('cpu', 'blstm_m2', {}, (4.0, 2, 8)),
}


@pytest.mark.parametrize('backend, name, changes, wanted', DEFAULTS.values(), ids=DEFAULTS)
def test_defaults(tmp_path, monkeypatch, backend, name, changes, wanted):
    """Seconds of a window, channels of the parts of a stereo file, windows at once."""
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    model = untrained(name, **changes)
    network, seen = model.network, []

    def known(cut, *, window, batch, **_):
        cut = list(cut)
        seen.append((window / RATE, batch, len(cut), len(cut[0])))
        return (np.zeros((network.outputs, *one.shape), np.float32) for one in cut)

    monkeypatch.setattr(network, 'run', known)
    clock = iter([3.0, 3.0 + 5.0])
    monkeypatch.setattr(model_lib, 'time', types.SimpleNamespace(monotonic=lambda: next(clock)))
    path = wave(tmp_path / 'a.wav', noise(20 * RATE, 2))
    made = model.separate_file(path, tmp_path)
    model.separate(noise(20 * RATE), RATE, segment=2.0)  # no overlap given: half of it
    segment, channels, batch = wanted
    assert seen[0] == (segment, batch, 2 * 20 / segment - 1, channels) and made.channels == channels
    assert seen[1][:3] == (2.0, batch, 2 * 20 / 2.0 - 1)
    assert made.real_time_factor == 20 / 5


def test_the_room_for_statistics_of_the_file_is_taken_before_anything_is_read():
    separates = untrained('convtasnet').network.whole
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError, match='File too large'):
            next(
                separates.separate(pytest.fail, samples=1 << 20, channels=1, window=RATE, gain=1.0)
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_there_is_room_for_statistics_where_systems_cannot_promise_it(monkeypatch):
    monkeypatch.delattr(os, 'posix_fallocate')
    with tempfile.TemporaryFile() as file:
        (tape,) = whole._tapes(file, 2, 30, [4])
        np.testing.assert_array_equal(tape[slice(20, 30)], np.zeros((2, 10, 4)))


# Files in, files out.


def test_a_recording_whose_channels_change_meanwhile_is_said(tmp_path):
    recording = FileRecording(wave(tmp_path / 'a.wav', noise(80)))
    for signal_TC, rate in ((noise(80, 2), RATE), (noise(80), 11_025)):
        wave(tmp_path / 'a.wav', signal_TC, rate)
        with pytest.raises(BadInput, match='changed'):
            next(recording.blocks())


def test_what_a_form_cannot_hold_is_not_separated(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, 'separate', lambda *_, **__: pytest.fail())
    path = wave(tmp_path / 'a.wav', noise(80, 6))
    with pytest.raises(BadInput, match='6 channels .mp3 holds 2 at most'):
        models.separator('blstm_m2').separate_file(path, tmp_path, form='mp3')


def test_what_libsndfile_does_not_read_goes_through_ffmpeg(tmp_path, monkeypatch):
    path, signal_TC = tmp_path / 'film.mp4', noise(900, 2)
    path.write_bytes(b'\0\0\0\x0cftypmp42')
    monkeypatch.setattr(shutil, 'which', lambda program: None)
    with pytest.raises(BadInput, match='needs ffmpeg'):
        FileRecording(str(path))

    def decoded(source, target, **_):
        assert source == str(path)
        soundfile.write(target, signal_TC, 11_025, 'FLOAT', format='W64')

    monkeypatch.setattr(audio_files, 'by_ffmpeg', decoded)
    recording = FileRecording(str(path), folder=str(tmp_path))
    assert (recording.rate, recording.channels) == (11_025, 2)
    np.testing.assert_array_equal(np.concatenate([*recording.blocks()]), signal_TC)
    recording.close()
    assert os.listdir(tmp_path) == ['film.mp4']


def separated(part_TSC, rate=RATE):
    """Parts as the engine hands them on."""
    samples, _, channels = part_TSC.shape
    return engine.Separated(
        rate, samples, channels, samples / rate, 0.0, None,
        lambda: iter([part_TSC]), lambda: iter([part_TSC.sum(axis=1)]),
    )  # fmt: skip


def written(part_TSC, folder, names='ab', **how):
    outputs = {name: str(folder / f'x_{name}.wav') for name in names}
    return writing.write(separated(part_TSC), names, outputs, **how)


@pytest.mark.parametrize('most, kind', [(4 << 30, b'RIFF'), (1 << 10, b'RF64')])
def test_what_a_wav_cannot_count_becomes_an_rf64(tmp_path, monkeypatch, most, kind):
    monkeypatch.setattr(writing, '_LONGEST_WAV', most)
    part_TSC = noise(600, 2, 1)
    written(part_TSC, tmp_path)
    assert (tmp_path / 'x_a.wav').read_bytes()[:4] == kind
    heard_T, _ = soundfile.read(tmp_path / 'x_b.wav')
    np.testing.assert_allclose(heard_T, part_TSC[:, 1, 0], atol=2**-15)


@pytest.mark.parametrize('bits', ['16', '24', 'float'])
def test_only_what_would_clip_gets_a_gain(tmp_path, bits):
    part_TSC = np.stack([noise(500, 1), 20 * noise(500, 1, seed=1)], axis=1)
    gain, _ = written(part_TSC, tmp_path, bits=bits)
    assert gain == 1 if bits == 'float' else gain == pytest.approx(1 / np.abs(part_TSC).max(), 1e-4)
    for index, name in enumerate('ab'):
        heard_T, _ = soundfile.read(tmp_path / f'x_{name}.wav')
        np.testing.assert_allclose(heard_T / gain, part_TSC[:, index, 0], atol=1e-4)


FAINT = {  # peaks of two parts, form, bits: which of them rounding silences
    'both': ((5e-6, 1e-5), {}, 'a, b'),
    'one, the other hardly there': ((5e-6, 3e-5), {}, 'a'),
    'flac': ((5e-6, 3e-5), dict(form='flac'), 'a'),
    'a part that sounds beside a faint one': ((5e-6, 0.1), {}, ''),
    'digital silence': ((0.0, 0.0), {}, ''),
    'a part of nothing': ((0.0, 3e-5), {}, ''),
    'more bits': ((5e-6, 1e-5), dict(bits='24'), ''),
    'floats': ((5e-30, 1e-35), dict(bits='float'), ''),
    'fainter than 24 bits': ((5e-9, 1e-8), dict(bits='24'), 'a, b'),
}


@pytest.mark.parametrize('peaks, how, silenced', FAINT.values(), ids=FAINT)
def test_what_is_rounded_to_silence_is_said(tmp_path, peaks, how, silenced):
    part_TSC = np.sign(noise(400, 2, 1)) * np.float32(peaks)[:, None]
    _, said = written(part_TSC, tmp_path, **how)
    assert said == '' if not silenced else f'silence ({silenced}): --bits=float' in said
    if silenced:
        assert not any(
            soundfile.read(tmp_path / f'x_{name}.wav')[0].any() for name in silenced[::3]
        )


REFUSED = pytest.raises(BadInput, match='above 65535 in tens')


@pytest.mark.parametrize(
    'form, channels, rate',
    [('ogg', 255, 192_000), ('flac', 8, 655_350), ('mp3', 2, 48_000), ('mp3', 1, 8000)],
)
def test_a_form_holds_what_is_let_through_and_no_more(tmp_path, form, channels, rate):
    writing.check_form(form, rate=rate, channels=channels)
    subtype = writing._LOSSY.get(form, 'PCM_16')
    path = tmp_path / f'x.{form}'
    soundfile.write(path, noise(64, channels), rate, subtype, format=writing.FORMATS[form])
    about = soundfile.info(path)
    assert (about.samplerate, about.channels) == (rate, channels)
    if channels > 1:
        for more in (dict(rate=rate + 1, channels=1), dict(rate=8000, channels=channels + 1)):
            with pytest.raises(BadInput, match=form):
                writing.check_form(form, **more)


@pytest.mark.parametrize('rate', [65_535, 65_540, 100_000, 65_536, 100_001])
def test_flac_knows_high_rates_in_tens(rate):
    with contextlib.nullcontext() if rate in (65_535, 65_540, 100_000) else REFUSED:
        writing.check_form('flac', rate=rate, channels=1)


def test_what_an_encoder_refuses_is_wrong_with_the_recording(tmp_path):
    form = dict(rate=100_001, channels=1, subtype='PCM_16', kind='FLAC')
    opened = writing.opened(tmp_path / 'a', **form)
    with pytest.raises(BadInput, match='cannot be written'), opened as (sound, _):
        sound.write(noise(9))


def test_no_encoder_is_given_more_than_it_takes_at_once(tmp_path, monkeypatch):
    sizes, write = [], soundfile.SoundFile.write
    monkeypatch.setattr(
        soundfile.SoundFile,
        'write',
        lambda sound, data: sizes.append(len(data)) or write(sound, data),
    )
    written(noise((1 << 18) + 5, 2, 1), tmp_path, form='ogg')
    assert max(sizes) <= 1 << 18
    assert soundfile.info(tmp_path / 'x_a.wav').frames == (1 << 18) + 5


def test_parts_are_on_the_disk_before_they_have_their_names(tmp_path, monkeypatch):
    seen, replace = [], os.replace
    monkeypatch.setattr(os, 'fsync', lambda file: seen.append('kept'))
    monkeypatch.setattr(os, 'replace', lambda *a: seen.append('named') or replace(*a))
    written(noise(60, 2, 1), tmp_path)
    assert seen == ['kept', 'kept', 'named', 'named']


def test_labels_are_in_seconds_of_the_recording(tmp_path):
    written(noise(RATE, 2, 1), tmp_path, labels=True, start=100.0)
    assert (tmp_path / 'x_labels.txt').read_text().startswith('100.000\t101.000\ta')
    assert '\t100.000\t101.000\t' in (tmp_path / 'x_selections.txt').read_text()


def test_labels_are_of_every_part_and_a_table_for_raven_reaches_up_to_half_the_rate(tmp_path):
    part_TSC = np.zeros((3 * RATE, 2, 1), np.float32)
    part_TSC[:RATE, 1], part_TSC[2 * RATE :, 0] = noise(RATE, 1), noise(RATE, 1)
    written(part_TSC, tmp_path, labels=True)
    lines = (tmp_path / 'x_labels.txt').read_text().splitlines()
    assert lines == ['0.000\t1.000\tb', '2.000\t3.000\ta']
    with open(tmp_path / 'x_selections.txt', newline='') as file:
        table = list(csv.DictReader(file, delimiter='\t'))
    columns = ('Selection', 'Begin Time (s)', 'End Time (s)', 'Part')
    found = [tuple(row[key] for key in columns) for row in table]
    assert found == [('1', '0.000', '1.000', 'b'), ('2', '2.000', '3.000', 'a')]
    spans = {(float(row['Low Freq (Hz)']), float(row['High Freq (Hz)'])) for row in table}
    assert spans == {(0.0, RATE / 2)}


# What the words of a command mean.


def jobs_of(folder, *paths, name=inputs.NAME):
    """As `jobs`, of a tree."""
    args = types.SimpleNamespace(format='wav', name=name, output_dir=str(folder / 'out'))
    found = [(path, '' if path[0] == '/' else os.path.dirname(path) or '.') for path in paths]
    return inputs.jobs_of(found, args, ['a', 'b'], 'm')


def jobs(folder, *paths, name=inputs.NAME):
    args = types.SimpleNamespace(format='wav', name=name, output_dir=str(folder / 'out'))
    return inputs.jobs_of([(str(path), '') for path in paths], args, ['a', 'b'], 'm')


@pytest.mark.parametrize(
    'paths, wanted',
    [
        (['straße.wav', 'STRASSE.wav'], ['straße', 'STRASSE--']),
        (['Bob/u0.wav', 'bob/u0.wav', 'bob/u1.wav'], ['Bob/u0', 'bob/bob-u0--', 'bob/u1']),
        (['BOB/u.wav', 'Bob/u.wav', 'bob/u.wav'], ['BOB/u', 'Bob/Bob-u--', 'bob/bob-u--']),
        (['X.wav', 'x.flac'], ['X', 'x--']),
        (['caf\u00e9.wav', 'cafe\u0301.wav'], ['caf\u00e9', 'caf\u00e9--']),
        (['e\u0301/u.wav', '\u00c9/U.wav'], ['e\u0301/u', '\u00c9/\u00c9-U--']),
    ],
)
def test_names_that_some_disks_take_for_one_get_a_digest(tmp_path, paths, wanted):
    found = jobs_of(tmp_path, *paths)
    outputs = [name for job in found for name in job.outputs.values()]
    assert not names.alike(outputs)
    for job, start in zip(found, wanted):
        digest = '[0-9a-f]{16}' if start.endswith('--') else ''
        assert re.fullmatch(f'{start}{digest}_a.wav', job.outputs['a'])
    assert found == jobs_of(tmp_path, *paths)  # the same command goes on


MEETING = {  # paths, --name; None: no name tells them apart
    'two forms': (['x.wav', 'x.flac'], inputs.NAME),
    'two forms of what differs in case': (['X.wav', 'x.flac', 'x.wav'], inputs.NAME),
    'folders that the name leaves out': (['Bob/u.wav', 'ann/u.wav'], '{file}_{source}'),
    'folders alike, in a name of no file': (['Bob/u.wav', 'bob/u.wav'], '{path}/{source}'),
    'files of two folders': (['/a/x.wav', '/b/x.wav'], inputs.NAME),
}


@pytest.mark.parametrize('paths, name', MEETING.values(), ids=MEETING)
def test_two_that_meet_are_refused_and_what_is_advised_is_taken(tmp_path, paths, name):
    with pytest.raises(MistakeError, match='would both be written to') as refused:
        jobs_of(tmp_path, *paths, name=name)
    advised = re.search("--name='(.*?)'", str(refused.value))
    if paths[0].startswith('/'):
        assert not advised and 'the folder that holds both' in str(refused.value)
    else:
        assert len(jobs_of(tmp_path, *paths, name=advised[1])) == len(paths)


def test_folders_are_read_to_their_depth_and_what_is_hidden_is_not(tmp_path):
    for name in (
        '@home.wav', 'a.wav', 'x/b.wav', 'x/y/z/c.WAV',
        '.git/d.wav', 'x/.Trash/e.wav', '@eaDir/f.wav', '#recycle/g.wav', '$RECYCLE.BIN/h.wav',
        'found.000/k.wav', 'lost+found/i.wav', 'System Volume Information/j.wav', 'x/._b.wav',
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, passed = inputs.listed([str(tmp_path)])
    below = [os.path.relpath(path, tmp_path) for path, _ in found]
    assert below == ['@home.wav', 'a.wav', 'x/b.wav', 'x/y/z/c.WAV'] and not passed
    assert [folder for _, folder in found] == ['.', '.', 'x', 'x/y/z']
    for pattern, wanted in (
        ('x/**/*.[wW][aA][vV]', below[2:]),
        ('*', below),
        ('**/*.wav', below[:3]),
        ('@eaDir/*.wav', ['@eaDir/f.wav']),  # named
        ('#recycle/g.wav', ['#recycle/g.wav']),
    ):
        found, _ = inputs.listed([f'{tmp_path}/{pattern}'])
        assert sorted(os.path.relpath(path, tmp_path) for path, _ in found) == wanted


def test_a_folder_that_may_not_be_read_costs_its_line(sounds, tmp_path, monkeypatch, capsys):
    wave(tmp_path / 'in/a.wav', noise(80))
    wave(tmp_path / 'in/locked.wav', noise(80))
    wave(tmp_path / 'in/locked/b.wav', noise(80))
    scandir = os.scandir

    def refused(path='.'):
        if os.path.basename(path) == 'locked':
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refused)
    for folder, count in ((tmp_path / 'in', 3), (tmp_path / 'in/locked', 1)):
        assert run(sounds, folder, '-o', tmp_path / 'out', '--dry_run') == 1
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == count
        assert lines[-1].endswith('in/locked: not permitted (Permission denied)')


def test_folders_are_entered_once_by_links_too(tmp_path):
    for name in ('in/real/a.wav', 'elsewhere/b.wav'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for name, target in (('again', 'real'), ('loop', '.'), ('other', '../elsewhere')):
        (tmp_path / 'in' / name).symlink_to(target)
    found, _ = inputs.listed([str(tmp_path / 'in')])
    assert [os.path.relpath(path, tmp_path / 'in') for path, _ in found] == [
        'real/a.wav',
        'other/b.wav',
    ]


def test_parts_are_no_recordings_whichever_folder_lists_them(tmp_path):
    (tmp_path / 'site').mkdir()
    for name in ('b.wav', 'site/a.wav', 'site/a_a.wav', 'site/a_b.wav', 'b_a.wav', 'b_b.wav'):
        (tmp_path / name).touch()
    for folder, name in ((tmp_path, 'site/a'), (tmp_path / 'site', '../b'), (tmp_path, 'b')):
        job = inputs.Job('x', 'x', {part: f'{name}_{part}.wav' for part in 'ab'})
        Manifest(folder, 'settings').add(job, 'done')
    for word, wanted in (('site', 'site/a.wav'), ('*.wav', 'b.wav'), ('site/*.wav', 'site/a.wav')):
        found, passed = inputs.listed([f'{tmp_path}/{word}'])
        assert [os.path.relpath(path, tmp_path) for path, _ in found] == [wanted]
        assert passed['written by this command'] == 2
    with pytest.raises(MistakeError, match='no recordings, but 2 parts that this command wrote'):
        inputs.listed([f'{tmp_path}/b_*.wav'])
    found, _ = inputs.listed([f'{tmp_path}/b_a.wav'])  # named
    assert len(found) == 1


@pytest.mark.parametrize('what', ['the recording', 'the background'])
def test_no_part_replaces_what_is_read_by_another_name(tmp_path, what):
    for name in ('x.wav', 'rain.wav'):
        (tmp_path / name).touch()
    (tmp_path / 'out').mkdir()
    path, rain = tmp_path / 'x.wav', str(tmp_path / 'rain.wav')
    os.link(path if what == 'the recording' else rain, tmp_path / 'out/x_b.wav')
    args = types.SimpleNamespace(format='wav', name=inputs.NAME, output_dir=str(tmp_path / 'out'))
    with pytest.raises(MistakeError, match='out/x_b.wav is an input, and would be replaced'):
        inputs.jobs_of([(str(path), '')], args, ['a', 'b'], 'm', also=[rain])


def test_a_rate_of_standard_input_needs_standard_input(sounds, tmp_path, capsys):
    path = wave(tmp_path / 'a.wav', noise(80))
    assert run(sounds, path, '--raw_rate=8000', '--dry_run') == 2
    assert '--raw_rate=8000: is of standard input, and there is no -' in capsys.readouterr().err


def saved(coding='utf-8-sig', **how):
    """What a spreadsheet makes of a manifest: numbers have six digits."""

    def change(data):
        text = io.StringIO()
        for row in csv.reader(io.StringIO(data.decode(), newline='')):
            cells = [f'{float(cell):.6G}' if names._is_number(cell) else cell for cell in row]
            csv.writer(text, **how).writerow(cells)
        return text.getvalue().encode(coding)

    return change


MANIFESTS = {
    'carriage returns': (lambda data: data.replace(b'\n', b'\r\n'), ''),
    'a byte-order mark': (lambda data: b'\xef\xbb\xbf' + data, ''),
    'as a spreadsheet saves it': (
        lambda data: b'\xef\xbb\xbf' + data.replace(b'\n', b'\r\n'),
        '',
    ),
    'between semicolons': (saved(delimiter=';'), ''),
    'between tabs, in UTF-16': (saved('utf-16', delimiter='\t'), ''),
    'all cells quoted': (saved(quoting=csv.QUOTE_ALL), ''),
    'of an earlier version': (lambda data: re.sub(b' ns|digest ', b'', data), ''),
    'in Latin-1': (saved('latin-1'), 'is not UTF-8'),
    'a flipped bit': (lambda data: bytes([data[0] ^ 1]) + data[1:], 'damaged'),
    'semicolons': (lambda data: data.replace(b',', b';'), 'damaged'),
    'without its first bytes': (lambda data: data[100:], 'damaged'),
    'zeros, of anybody': (lambda data: bytes(len(data)), 'not from this command'),
    "somebody's": (lambda data: b'path,name\n1,2\n', 'not from this command'),
}


@pytest.mark.parametrize('change, fault', MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_is_ours_damaged_or_foreign(tmp_path, change, fault):
    path, settings = tmp_path / 'ä.wav', '1234567890123e45'  # a digest, and a number
    path.touch()
    (job,) = jobs(tmp_path, path)
    for name in job.outputs.values():
        (tmp_path / name).write_text('x')
    Manifest(tmp_path, settings).add(job, 'done', path.stat())
    file = tmp_path / 'manifest.csv'
    file.write_bytes(content := change(file.read_bytes()))
    if not fault:
        manifest = Manifest(tmp_path, settings)
        assert manifest.is_done(job, tmp_path)
        manifest.settle()
        (row,) = rows(tmp_path)
        assert row['modified'] == f'{path.stat().st_mtime_ns} ns'
        assert row['settings'] == f'digest {settings}'
        assert inputs.listed([str(tmp_path)])[0] == [(str(path), '.')]
        Manifest(tmp_path, settings).add(job, 'failed')  # behind what there is
        assert [row['status'] for row in rows(tmp_path)][-1] == 'failed'
        return
    if fault == 'not from this command':
        assert len(inputs.listed([str(tmp_path)])[0]) == 3
    else:
        with pytest.raises(MistakeError, match=f'{fault}.*: move it away with .* parts') as refused:
            inputs.listed([str(tmp_path)])
        assert 'overwrite' not in str(refused.value)
        assert inputs.listed([str(path)])[0] == [(str(path), '')]
    with pytest.raises(MistakeError, match=fault) as refused:
        Manifest(tmp_path, settings)
    assert 'move it away' in str(refused.value)
    assert ('--overwrite' in str(refused.value)) == (fault != 'not from this command')
    if fault != 'not from this command':
        manifest = Manifest(tmp_path, settings, overwrite=True)
        manifest.add(job, 'done', path.stat())
        assert Manifest(tmp_path, settings).is_done(job, tmp_path)
    else:
        with pytest.raises(MistakeError, match=fault):
            Manifest(tmp_path, settings, overwrite=True)
        assert file.read_bytes() == content


@pytest.mark.parametrize('size', ['cut', 'grown', 'empty', 'of a list of before'])
def test_a_part_that_was_changed_is_neither_done_nor_lost(tmp_path, size):
    path, out = tmp_path / 'a.wav', tmp_path / 'out'
    path.write_bytes(b'1234')
    (job,) = jobs(tmp_path, path)
    out.mkdir()
    part = out / job.outputs['b']
    for name in job.outputs.values():
        (out / name).write_bytes(b'12345678')
    Manifest(out, 'settings').add(job, 'done: truncated (x)', path.stat())
    if size == 'of a list of before':
        listed = (out / 'manifest.csv').read_text()
        assert ',4 -> 8 8,' in listed
        (out / 'manifest.csv').write_text(listed.replace(',4 -> 8 8,', ',4,'))
    part.write_bytes({'grown': b'123456789', 'empty': b''}.get(size, b'123'))
    manifest, how = Manifest(out, 'settings'), dict(overwrite=False, labels=False)
    if size in ('empty', 'of a list of before'):
        assert manifest.is_done(job, out) == (size != 'empty')
        assert separate._waiting([job], manifest, out, **how) == [job] * (size == 'empty')
    else:
        with pytest.raises(MistakeError, match=f'{part} is there, and was changed since'):
            separate._waiting([job], manifest, out, **how)
        part.write_bytes(b'87654321')
        assert separate._waiting([job], manifest, out, **how) == []
    assert separate._waiting([job], manifest, out, **{**how, 'overwrite': True}) == [job]


@pytest.mark.parametrize(
    'what',
    ['nothing', 'a link to it', 'its bytes', 'its time', 'a part', 'all of a part', 'the labels',
     'the settings', 'the place of a copy', 'what came by a pipe'],
)  # fmt: skip
def test_done_is_what_has_not_changed_since(tmp_path, what):
    path = tmp_path / 'a.wav'
    path.write_bytes(b'1234')
    (job,) = jobs(tmp_path, path)
    out = tmp_path / 'out'
    out.mkdir()
    for name in (*job.outputs.values(), 'labels.txt'):
        (out / name).write_text('' if name == 'labels.txt' else 'x')
    about = path.stat()
    Manifest(out, 'settings', labels=True).add(job, 'done', about)
    time = about.st_mtime_ns
    if what in ('its bytes', 'its time'):  # the same size, or the same time
        path.write_bytes(b'4321' if what == 'its time' else b'12345')
        time += what == 'its time'
    os.utime(path, ns=(time, time))
    if what in ('a part', 'the labels'):
        (out / {'a part': job.outputs['b'], 'the labels': 'labels.txt'}[what]).unlink()
    if what == 'all of a part':
        os.truncate(out / job.outputs['b'], 0)
    manifest = Manifest(out, 'others' if what == 'the settings' else 'settings')
    other = {
        'a link to it': tmp_path / 'link/a.wav',
        'the place of a copy': tmp_path / 'copy/a.wav',
        'what came by a pipe': '-',
    }.get(what, path)
    (tmp_path / 'link').symlink_to('.')
    (tmp_path / 'copy').mkdir()
    shutil.copy2(path, tmp_path / 'copy')
    job = dataclasses.replace(job, source=str(other))
    same = what in ('nothing', 'a link to it')
    assert manifest.is_done(job, out, ['labels.txt']) == same
    assert manifest.is_ours(job) == (
        same or what in ('its bytes', 'its time', 'a part', 'all of a part', 'the labels')
    )


# The command.


@pytest.fixture(scope='module')
def done(sounds, tmp_path_factory):
    """Words of a command that has run; two parts named in another order than the model's."""
    folder = tmp_path_factory.mktemp('done')
    path = wave(folder / 'a.wav', noise(3000), 16_000)
    words = [sounds, path, '-o', folder / 'out', '--sources=background,foreground']
    assert run(*words) == 0
    return words


@pytest.mark.parametrize(
    'flag',
    ['rate=model', 'rate=16000', 'start=0.1', 'seconds=0.1', 'bits=24', 'channels=mean',
     'segment=1', 'overlap=1', 'batch=2'],
)  # fmt: skip
def test_every_flag_that_changes_the_parts_is_another_setting(done, capsys, flag):
    assert run(*done, f'--{flag}') == 2
    assert 'not from this model with these settings' in capsys.readouterr().err


@pytest.mark.parametrize('flag', ['json', 'sources=foreground,background', 'rate=input'])
def test_what_changes_nothing_is_the_same_setting(done, capsys, flag):
    assert run(*done, f'--{flag}') == 0
    said = capsys.readouterr().out
    if flag == 'json':
        row = json.loads(said)
        assert row['status'] == 'done already' and all(map(os.path.isfile, row['outputs']))
    else:
        assert 'is done already' in said


def test_parts_stand_in_the_order_of_the_model(done):
    (row,) = rows(done[3])
    assert json.loads(row['outputs']) == ['a_foreground.wav', 'a_background.wav']


def test_a_page_and_what_is_not_heard(sounds, tmp_path, capsys):
    """The first so many recordings, from where their part begins; one line on all their rates."""
    for name, rate in (('a', 16_000), ('b', 11_025), ('c', 16_000)):
        wave(tmp_path / f'in/{name}.wav', noise(2 * rate), rate)
    words = [sounds, tmp_path / 'in', '-o', tmp_path / 'out', '--start=1.5', '--page=2']
    assert run(*words) == 0
    said = capsys.readouterr().out
    note = 'note: recordings at 11,025, 16,000 Hz; the model hears up to 4,000 Hz'
    assert said.count('the model hears') == 1 and note in said
    html = (tmp_path / 'out/index.html').read_text()
    assert html.count('<audio') == 2 * 3 and 'c.wav' not in html
    assert facts(html) == 2 * [('1.5 s', '0.5 s')]


def facts(html):
    """(where each recording begins, how long it is) on a page."""
    return re.findall(r'<dt>from</dt><dd>(.*?)</dd>.*?<dt>length</dt><dd>(.*?)</dd>', html, re.S)


def test_a_page_plays_the_loudest_stretch_of_the_first_part(tmp_path):
    part_T = 0.01 * noise(30 * RATE)
    part_T[13 * RATE : 23 * RATE] *= 50
    paths = {'a': wave(tmp_path / 'a.wav', part_T), 'b': wave(tmp_path / 'b.wav', part_T[::-1])}
    html = page.render([('x', '', paths, 100.0)], model='m')
    assert facts(html) == [('113.0 s', '10.0 s')]


@pytest.mark.parametrize(
    'what, sounds', [('whole', 2), ('of no samples', 1), ('cut short', 2), ('a part emptied', 0)]
)
def test_a_page_plays_what_is_there(tmp_path, what, sounds):
    source = wave(tmp_path / 'x.wav', noise(0 if what == 'of no samples' else 2 * RATE))
    part, said = wave(tmp_path / 'x_a.wav', noise(2 * RATE)), []
    if what == 'cut short':
        os.truncate(source, 3 * RATE)
    if what == 'a part emptied':
        os.truncate(part, 0)
    html = page.render([('x', source, {'a': part}, 0.0)], model='m', say=said.append)
    assert html.count('<audio') == sounds
    assert [line.partition(' (')[0] for line in said] == ([] if sounds else ['x: not on the page'])


def test_a_page_shows_no_old_parts_of_what_failed(tmp_path, monkeypatch):
    listed, found = Manifest(tmp_path, 'settings'), []
    for name, status in (('a', 'done: truncated (x)'), ('b', 'failed: y'), ('c', 'done')):
        (tmp_path / f'{name}_x.wav').write_bytes(b'x')
        job = inputs.Job(f'{name}.wav', f'{name}.wav', {'x': f'{name}_x.wav'})
        listed.add(job, status)
        found.append(job)
    seen = []
    monkeypatch.setattr(page, 'render', lambda shown, **_: seen.extend(shown) or '')
    args = types.SimpleNamespace(output_dir=str(tmp_path), start=0.0, page=5)
    separate._page(found, args, 'm', print, listed)
    assert [name for name, *_ in seen] == ['a.wav', 'c.wav']


@pytest.mark.parametrize(
    'start, seconds, total', [(0.0, 0.0, 3.0), (0.5, 0.0, 2.0), (1.5, 0.0, 0.5), (0.5, 0.2, 0.4)]
)
def test_progress_counts_what_will_be_separated(tmp_path, monkeypatch, start, seconds, total):
    found = jobs(tmp_path, *(wave(tmp_path / f'{n}.wav', noise(n * RATE)) for n in (1, 2)))

    def known(count, _):
        assert count == pytest.approx(total)
        raise KeyboardInterrupt

    monkeypatch.setattr(separate, '_Progress', known)
    args = types.SimpleNamespace(start=start, seconds=seconds, json=True)
    with pytest.raises(KeyboardInterrupt):
        separate._all(untrained('blstm_m2'), found, args, {}, None, None, print)


@pytest.mark.parametrize('name', ['convtasnet_glu', 'blstm_m2'])
def test_a_longer_file_takes_no_more_memory(tmp_path, monkeypatch, name):
    """But for what is kept in memory as long as it is little."""
    monkeypatch.setattr(engine, 'IN_MEMORY', 1 << 16)
    separator = models.separator(name)

    def most(seconds):
        path = wave(tmp_path / 'in.wav', noise(seconds * 2 * RATE, 2), 2 * RATE)
        with tracing() as peak:
            separator.separate_file(path, tmp_path, segment=1.0, overlap=0.5, labels=True)
            return peak()

    most(10)  # compiles
    bound = most(30) + 200_000
    assert bound < 8_000_000  # 90 s are 11.5 MB, of both parts 23
    # What threads of other tests take meanwhile counts too, but hardly twice.
    assert any(most(90) < bound for _ in range(2))


@contextlib.contextmanager
def tracing():
    """Yields a function that gives the most bytes that Python and NumPy had at once."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('kind', [np.int16, np.uint16, np.int32, np.float32, np.float16])
def test_numbers_of_numpy_are_numbers(tmp_path, kind):
    separator, signal_T = models.separator('blstm_m2'), noise(7 * 16000)
    rate = 16000
    made = separator.separate(signal_T, kind(rate), output_rate=kind(2 * 11025))
    assert made['foreground'].shape == (7 * 22050 if kind != np.float16 else 7 * 22048,)
    path = wave(tmp_path / 'in.wav', signal_T, rate)
    part = dict(start=kind(3), seconds=kind(1), segment=kind(1), overlap=kind(0), rate=kind(8000))
    written = separator.separate_file(path, tmp_path, **part)
    foreground_T, at = soundfile.read(written.outputs['foreground'])
    assert (len(foreground_T), at, written.seconds) == (8000, 8000, 1.0)


@pytest.mark.parametrize(
    'arguments, said',
    [
        (dict(outputs={'foreground': 'PIPE'}), 'PIPE is there, and is no file to replace'),
        (dict(outputs={'foreground': ''}), "outputs.'foreground'. = '': must be a path"),
        (dict(outputs={'foreground': 'gs://b/x.wav'}), 'must be on this machine, not a URL'),
        (dict(folder='gs://bucket/x'), "folder = 'gs://bucket/x': must be on this machine"),
        (dict(channels=np.array([1, 2])), r"channels = array\(.*: must be 'each', 'mean'"),
        (dict(statistics=np.array(['file'])), "must be 'window' or 'file'"),
        (dict(form=['wav']), 'must be one of wav, '),
    ],
)
def test_what_a_call_cannot_mean_is_refused_by_name(tmp_path, arguments, said):
    os.mkfifo(tmp_path / 'PIPE')
    path = wave(tmp_path / 'in.wav', noise(RATE))
    outputs = arguments.get('outputs', {})
    for part in [part for part, place in outputs.items() if place == 'PIPE']:
        outputs[part] = str(tmp_path / 'PIPE')
    with pytest.raises(ValueError, match=said):
        untrained('blstm_m2').separate_file(path, **{'folder': tmp_path, **arguments})
    assert sorted(os.listdir(tmp_path)) == ['PIPE', 'in.wav']
    with pytest.raises(OSError, match='a device, a pipe or a socket: it is not replaced'):
        files.put_in_place(path, tmp_path / 'PIPE')


def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path):
    (tmp_path / 'text.wav').write_text('no sound')
    for name, why in (('text.wav', 'unreadable'), ('nope.wav', 'missing')):
        with pytest.raises(BadInput, match=rf'^{tmp_path}/{name}: {why} '):
            untrained('blstm_m2').separate_file(tmp_path / name, tmp_path)


def test_a_background_of_two_numbers_is_no_sound():
    with pytest.raises(ValueError, match='background: must be .start, stop. in seconds, or finite'):
        untrained('blstm_m2_plus').separate(noise(RATE), RATE, background=np.array([0.0, 1.0]))


def test_no_room_for_what_lies_between_is_said_with_its_place(tmp_path, monkeypatch):
    tape = engine.Tape(str(tmp_path))

    def full(_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(tape, '_file', types.SimpleNamespace(write=full))
    with pytest.raises(OSError, match='No space left on device: ') as error:
        tape.add(noise(3))
    assert error.value.filename == str(tmp_path)


@pytest.mark.parametrize('bits', ['16', 'float'])
def test_progress_goes_on_while_parts_are_written(tmp_path, monkeypatch, bits):
    told, began, write = [], [], writing.write
    monkeypatch.setattr(writing, 'write', lambda *a, **k: began.append(sum(told)) or write(*a, **k))
    path = wave(tmp_path / 'in.wav', noise(3 * RATE, 1))
    models.separator('blstm_m2').separate_file(path, tmp_path, bits=bits, progress=told.append)
    assert began[0] == pytest.approx(3 * (1 - model_lib.WRITING))
    assert sum(told) == pytest.approx(3)


# While it comes.


@pytest.fixture(scope='module')
def stream():
    causal = {'model.causal': True, 'model.norm': 'cln', 'model.encoder': 'linear'}
    return models.separator('convtasnet_glu', **causal).stream(RATE)


@pytest.mark.slow
def test_a_stream_is_one_window_behind(stream):
    window = stream._how['window']
    assert stream.latency == window / RATE
    behind, waits = 0, []
    for _ in range(3 * window):
        behind += 1
        waits.append(behind)  # a sample's estimate comes with the push that ends its window
        behind -= len(stream.push(noise(1))['speaker_1'])
    stream.flush()
    assert max(waits) == window


def test_a_stream_is_of_constant_memory_and_time(stream, monkeypatch):
    def held():
        leaves = jax.tree.leaves(vars(stream))
        roots = [leaf if getattr(leaf, 'base', None) is None else leaf.base for leaf in leaves]
        return [np.size(root) for root in roots]

    step, work = stream._step, []
    monkeypatch.setattr(stream, '_step', lambda *a: work[-1].append(a[2].shape) or step(*a))
    memory = []
    for index in range(40):
        work.append([])
        stream.push(noise(10 * stream._how['stride'], seed=index))
        memory.append(held())
    work.append([])
    stream.flush()
    work.pop()
    assert memory[2:] == memory[2:3] * 38 and work[2:] == work[2:3] * 38


@pytest.mark.parametrize('bits', ['16', '24', 'float'])
def test_while_it_comes_parts_grow_and_none_is_distorted(tmp_path, bits):
    """Nobody knows a gain before the end: integers stay at full scale, floats as they are."""
    path, block_T, sizes = tmp_path / 'x.wav', np.float32([0.5, 2, -2, 0.25]), []
    echo = types.SimpleNamespace(push=lambda T: {'x': T}, flush=lambda: {'x': block_T[:0]})

    def blocks():
        for _ in range(3):
            yield block_T
            sizes.append(path.stat().st_size)  # what a killed process would leave
            assert soundfile.info(path).frames == 4 * len(sizes)

    made = live.separate(echo, blocks(), {'x': str(path)}, rate=RATE, bits=bits)
    assert made == (12 / RATE, 0 if bits == 'float' else 6)
    assert np.diff(sizes).tolist() == 2 * [4 * writing._BYTES[bits]]
    wanted_T = block_T if bits == 'float' else block_T.clip(-1, 1)
    np.testing.assert_allclose(soundfile.read(path)[0], np.tile(wanted_T, 3), atol=1e-4)


def test_of_what_grows_the_header_counts_all_that_may_come(tmp_path):
    path, form = tmp_path / 'x.wav', dict(rate=RATE, channels=1, subtype='PCM_16')
    with writing.opened(path, **form, growing=True) as (sound, _):
        assert sound.format == 'RF64'
        sound.write(noise(9))
    assert path.read_bytes()[:4] == b'RIFF' and soundfile.info(path).frames == 9
