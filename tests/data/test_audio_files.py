"""Audio files as they are found: whatever a decoder does with one is a `BadInput`."""

import contextlib
import errno
import io
import os
import resource
import threading
import types

import numpy as np
import pytest
import soundfile

from fgsep_jax import buckets
from fgsep_jax.data import audio_files, containers
from fgsep_jax.data.audio_files import BadInput

SAMPLES = 3000
SOUND_T = 0.3 * np.sin(np.arange(SAMPLES) * 0.1)


def written(form, subtype=None):
    file = io.BytesIO()
    soundfile.write(file, SOUND_T, 8000, format=form, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('audio') / 'x'  # what it is, its contents say


ERRORS = (
    ValueError('array is too big'),
    SystemError('a decoder'),
    AssertionError(),
    soundfile.LibsndfileError(7),
    OverflowError('two\nlines'),
    UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid'),
)


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize('method', ['__init__', 'read'])
def test_whatever_a_decoder_raises_is_a_bad_input(place, monkeypatch, error, method):
    place.write_bytes(written('WAV'))

    def fail(self, *args, **keywords):
        raise error

    monkeypatch.setattr(audio_files._Stream, method, fail)
    if method == '__init__':  # soundfile closes what was opened
        monkeypatch.setattr(audio_files._Stream, '__del__', lambda self: None, raising=False)
        with pytest.raises(BadInput) as opened, audio_files.opened(str(place)):
            pass
    else:
        with audio_files.opened(str(place)) as (file, _), pytest.raises(BadInput) as opened:
            list(audio_files.blocks(file))
    with pytest.raises(BadInput) as decoded, audio_files.decoded(str(place)) as sound:
        list(sound.blocks)
    for raised in (opened, decoded):
        assert raised.value.kind == 'unreadable' and raised.value.detail.isprintable()


@pytest.mark.parametrize(
    'error, said',
    [
        (MemoryError('256 GiB'), 'Cannot allocate memory'),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 'No space left on device'),
        (buckets.Unreachable('gs://b/x cannot be reached (gone)'), r'gs://b/x .* \(gone\)'),
    ],
)
def test_what_the_machine_lacks_is_no_fault_of_a_file(place, monkeypatch, error, said):
    place.write_bytes(written('WAV'))

    def fail(self, *args, **keywords):
        raise error

    monkeypatch.setattr(audio_files._Stream, 'read', fail)
    stopped = pytest.raises(OSError, match=f'machine cannot read on: {said}')
    with stopped, audio_files.decoded(str(place)) as sound:
        list(sound.blocks)


@pytest.mark.parametrize('free', [0, 1])
def test_too_many_open_files_are_no_fault_of_a_file(place, free):
    place.write_bytes(written('WAV'))
    limits, held = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 256), limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(free):
            os.close(held.pop())
        stopped = pytest.raises(OSError, match='machine cannot read on: Too many open files')
        with stopped, audio_files.opened(str(place)):
            pass
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_an_error_of_whoever_reads_is_no_fault_of_the_file(place):
    place.write_bytes(written('WAV'))
    with pytest.raises(ZeroDivisionError), audio_files.decoded(str(place)):
        raise ZeroDivisionError


def test_seeking_gives_what_decoding_gives(place):
    """In each form that libsndfile writes, in which `can_seek` says so."""
    may, may_not = set(), set()
    for form in soundfile.available_formats().keys() - {'SD2'}:  # libsndfile leaves ./._ of it
        for subtype in soundfile.available_subtypes(form):
            try:
                contents = written(form, subtype)
                file = audio_files._Stream(io.BytesIO(contents))
            except soundfile.LibsndfileError:  # RAW, and what libsndfile cannot write
                continue
            may_seek = audio_files.can_seek(file)
            (may if may_seek else may_not).add((form, subtype))
            whole_T = file.read(SAMPLES, dtype='float32')
            if may_seek:
                file.seek(1234)
                np.testing.assert_array_equal(file.read(100, dtype='float32'), whole_T[1234:1334])
    assert {('WAV', 'PCM_16'), ('FLAC', 'PCM_24'), ('AU', 'ULAW'), ('CAF', 'FLOAT')} <= may
    assert {('SDS', 'PCM_16'), ('XI', 'DPCM_16'), ('OGG', 'OPUS'), ('WAV', 'GSM610')} <= may_not


def test_of_a_length_that_is_unknown_nothing_is_skipped():
    contents = bytearray(written('FLAC'))
    assert audio_files.can_seek(audio_files._Stream(io.BytesIO(contents)))
    counted = int.from_bytes(contents[18:26], 'big')
    contents[18:26] = (counted >> 36 << 36).to_bytes(8, 'big')
    file = audio_files._Stream(io.BytesIO(contents))
    assert file.frames >= audio_files.UNKNOWN_FRAMES and not audio_files.can_seek(file)


@pytest.mark.parametrize(
    'form, frames, gives, kind',
    [
        ('MP3', 500, 400, ''),  # guessed from the rate of the first frame
        ('MP3', 400, 500, ''),
        ('WAV', 10_000, 10_000 - 4 * 1152, ''),
        ('WAV', 10_000, 10_001 + 4 * 1152, 'unreadable'),
        ('OGG', 500, 400, 'truncated'),
        ('OGG', 400, 500, 'longer than its header'),
        ('OGG', 500, 500, ''),
        ('OGG', audio_files.UNKNOWN_FRAMES, 400, ''),
    ],
)
def test_the_decoders_count_is_believed_but_for_mpeg_audio(form, frames, gives, kind):
    stream = iter(np.zeros((gives, 1)))

    def read(count=0, *, out=(), **keywords):
        rows = range(count or len(out))
        return np.array([row for row, _ in zip(stream, rows)]).reshape(-1, 1)

    subtype = 'VORBIS' if form == 'OGG' else 'MPEG_LAYER_III'
    about = {'format': form, 'subtype': subtype, 'frames': frames, 'channels': 1, 'name': ''}
    file = types.SimpleNamespace(**about, read=read)
    blocks = audio_files._checked(file, containers.Length(declared=False))
    if kind:
        with pytest.raises(BadInput) as refused:
            list(blocks)
        assert refused.value.kind == kind
    else:
        assert sum(map(len, blocks)) == gives


@pytest.mark.parametrize(
    'read', [audio_files.opened, audio_files.decoded, audio_files.for_libsndfile]
)
def test_a_pipe_is_refused_at_once(tmp_path, read):
    path, found = str(tmp_path / 'pipe.m4a'), []
    os.mkfifo(path)

    def try_it():
        try:
            with read(path):
                found.append('opened')
        except BadInput as bad:
            found.append(bad.kind)

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert found == ['not a file']  # nothing, where it waits for a writer


@pytest.mark.parametrize(
    'damage, kind',
    [
        (lambda data: data[:-300], 'truncated'),  # within its last frame
        (lambda data: data[: len(data) // 2], 'truncated'),
        (lambda data: data[:9000] + bytes(500) + data[9500:], 'damaged'),
        (lambda data: data[:9000] + bytes([data[9000] ^ 4]) + data[9001:], 'damaged'),
    ],
)
def test_of_a_flac_all_that_stands_before_a_cut_is_there(place, damage, kind):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, 20_000), 8000, format='FLAC')
    contents = file.getvalue()
    sound_T, _ = soundfile.read(io.BytesIO(contents), dtype='float32')
    place.write_bytes(damage(contents))
    with audio_files.decoded(str(place)) as sound, pytest.raises(BadInput) as refused:
        list(sound.blocks)
    assert refused.value.kind == kind
    cut = set()
    with audio_files.decoded(str(place), cut) as sound:
        if kind == 'damaged':
            with pytest.raises(BadInput, match='frame behind 4,096 samples'):
                list(sound.blocks)
            return
        there_T = np.concatenate(list(sound.blocks))[:, 0]
    assert 4096 <= len(there_T) < len(sound_T) and len(there_T) % 4096 == 0  # whole frames
    np.testing.assert_array_equal(there_T, sound_T[: len(there_T)])
    assert len(cut) == 1 and f'{len(there_T):,} samples before its last frame' in cut.pop()


@pytest.mark.parametrize('channels, subtype', [(2, 'PCM_24'), (6, 'PCM_24'), (1, 'PCM_16')])
def test_wherever_a_flac_of_large_frames_is_cut_it_is_no_damage(place, channels, subtype):
    """In what is left of the last one the decoder looks for another, and may stop anywhere."""
    rng, file = np.random.default_rng(0), io.BytesIO()
    loud_TC = rng.normal(0, 0.3, (30_000, channels))
    soundfile.write(file, loud_TC, 96_000, format='FLAC', subtype=subtype)
    contents, kinds = file.getvalue(), {'cut': set(), 'damaged': set()}
    for at in rng.integers(len(contents) // 4, len(contents) - 100, 40):
        torn = contents[: at - 400] + rng.bytes(800) + contents[at + 400 :]
        last = at > len(contents) * 0.8  # maybe within the last frame: no other tells
        for name, data in {'cut': contents[:at], **({} if last else {'damaged': torn})}.items():
            place.write_bytes(data)
            with audio_files.decoded(str(place)) as sound, pytest.raises(BadInput) as refused:
                list(sound.blocks)
            kinds[name].add(refused.value.kind)
    assert kinds == {'cut': {'truncated'}, 'damaged': {'damaged'}}


def test_damaged_mp3_leaves_nothing_on_standard_error(tmp_path, capfd):
    path = tmp_path / 'a.mp3'
    sound_T = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000)
    soundfile.write(path, sound_T, 16_000, format='MP3')
    contents = bytearray(path.read_bytes())
    for at in range(1000, len(contents), 997):
        contents[at] ^= 16
    path.write_bytes(contents)
    soundfile.read(path)
    if '] error: ' not in capfd.readouterr().err:
        pytest.skip('this libmpg123 is silent')
    try:
        with audio_files.decoded(str(path)) as sound:
            for _ in sound.blocks:
                os.write(2, b'of somebody else\n')
    except BadInput:
        pass
    assert capfd.readouterr().err == 'of somebody else\n'


@pytest.mark.parametrize('subtype', ['PCM_16', 'PCM_24', 'FLOAT', 'ALAW'])
@pytest.mark.parametrize(
    'form, says',
    [
        ('CAF', 'its length'),
        ('CAF', b'\xff' * 8),  # as what writes to a pipe leaves it
        ('RF64', 'its length'),
        ('RF64', bytes(24)),  # ffmpeg
        ('RF64', b'\xff' * 24),
        ('RF64', b'\xff\xff\xff\xff\0\0\0\0' * 3),
    ],
)
def test_of_a_file_that_is_cut_or_says_no_length_all_is_there(place, subtype, form, says):
    contents = written(form, subtype)
    whole_T, _ = soundfile.read(io.BytesIO(contents), dtype='float32')
    first = contents.index(b'data') + 4 if form == 'CAF' else contents.index(b'ds64') + 8
    if says == 'its length':
        contents = contents[:-99]
    else:
        contents = contents[:first] + says + contents[first + len(says) :]
    place.write_bytes(contents)
    cut = set()
    with audio_files.decoded(str(place), cut) as sound:
        there_T = np.concatenate(list(sound.blocks))[:, 0]
        assert sound.declared == (says == 'its length' and not cut)
    is_cut = says == 'its length'
    assert SAMPLES - 100 < len(there_T) < SAMPLES if is_cut else len(there_T) == SAMPLES
    np.testing.assert_array_equal(there_T, whole_T[: len(there_T)])
    assert len(cut) == (says == 'its length')
    if cut:
        with pytest.raises(BadInput, match='promises'), audio_files.decoded(str(place)):
            pass
