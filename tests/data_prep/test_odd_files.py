"""What people's folders hold beside good files: nothing ends a job, nothing passes for another."""

import io
import json
import os
import struct

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest
import soundfile

from data_prep import audio, folder_2mix, mix, pairing, recordings
from data_prep.readers import folder as people
from data_prep.recordings import Recording
from fgsep_jax.data import audio_files, containers
import trees

RATE, SAMPLES = 8000, 12000
SOUND_T = trees.speechlike(SAMPLES / RATE, seed=1)


def written(form, subtype=None, audio_T=SOUND_T):
    file = io.BytesIO()
    soundfile.write(file, audio_T, RATE, format=form, subtype=subtype)
    return file.getvalue()


FORMS = {
    f'{form} {subtype}': written(form, subtype)
    for form, subtype in (
        ('WAV', 'PCM_16'), ('WAV', 'PCM_U8'), ('WAV', 'PCM_24'), ('WAV', 'PCM_32'),
        ('WAV', 'FLOAT'), ('WAV', 'ULAW'), ('WAV', 'GSM610'), ('WAV', 'G721_32'),
        ('WAV', 'IMA_ADPCM'), ('WAVEX', 'PCM_24'), ('RF64', 'PCM_16'), ('AIFF', 'PCM_16'),
        ('AIFF', 'FLOAT'), ('AU', 'PCM_16'), ('AU', 'G721_32'), ('W64', 'PCM_16'),
        ('CAF', 'PCM_16'), ('NIST', 'PCM_16'), ('SVX', 'PCM_16'), ('FLAC', 'PCM_16'),
        ('OGG', 'VORBIS'), ('OGG', 'OPUS'), ('MP3', 'MPEG_LAYER_III'),
    )
}  # fmt: skip


def mp3_of_one_rate():
    file, constant = io.BytesIO(), {'bitrate_mode': 'CONSTANT', 'compression_level': 0.5}
    soundfile.write(file, np.tile(SOUND_T, 3), RATE, format='MP3', **constant)
    return file.getvalue()


FAULTS = {'truncated', 'unreadable', 'damaged', 'empty'}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('odd') / 'x.wav'  # what it is, its contents say


def inspect(place, contents=None, **keywords):
    if contents is not None:
        place.write_bytes(contents)
    return audio.inspect(Recording('x', 's', str(place), 't'), sample_rate=RATE, **keywords)


@pytest.mark.parametrize('form', FORMS)
def test_each_form_is_read_whole_and_only_whole(place, form):
    contents = FORMS[form]
    found = inspect(place, contents)
    assert not found.problem and found.samples == pytest.approx(SAMPLES, abs=600)  # codec's blocks
    assert audio.read(str(place), sample_rate=RATE).size == found.samples
    assert inspect(place, contents[: len(contents) // 2]).problem in FAULTS
    joined = inspect(place, contents + contents)
    assert joined.problem == 'longer than its header', joined


def sds_that_counts():
    """libsndfile leaves the count in the header 0; others write it, in 7 bits a byte."""
    contents = bytearray(written('SDS', 'PCM_16'))
    contents[10:13] = (SAMPLES >> shift & 0x7F for shift in (0, 7, 14))
    return bytes(contents)


RARE_FORMS = {
    **{
        f'{form} {subtype} {endian} {channels}': (form, subtype, endian, channels)
        for form, subtypes, endians in (
            ('AVR', ('PCM_U8', 'PCM_16'), ('FILE',)),
            ('VOC', ('PCM_U8', 'PCM_16', 'ULAW'), ('FILE',)),
            ('MAT4', ('PCM_16', 'PCM_32', 'FLOAT', 'DOUBLE'), ('LITTLE', 'BIG')),
            ('MAT5', ('PCM_16', 'FLOAT'), ('LITTLE', 'BIG')),
        )
        for subtype in subtypes
        for endian in endians
        for channels in (1, 2)
    },
    'WVE': ('WVE', 'ALAW', 'FILE', 1),
    'SDS': None,
}


@pytest.mark.parametrize('name', RARE_FORMS)
def test_a_rare_form_whose_header_tells_its_length_is_whole_or_refused(place, name):
    if RARE_FORMS[name] is None:
        contents = sds_that_counts()
    else:
        form, subtype, endian, channels = RARE_FORMS[name]
        file, sound_TC = io.BytesIO(), np.stack([SOUND_T] * channels, axis=1)
        soundfile.write(file, sound_TC, RATE, format=form, subtype=subtype, endian=endian)
        contents = file.getvalue()
    found = inspect(place, contents)
    assert not found.problem and found.samples == pytest.approx(SAMPLES, abs=1), found
    for count in (len(contents) // 2, len(contents) - 200):
        assert inspect(place, contents[:count]).problem in ('truncated', 'unreadable')
    for more in (b'Hello world\n' * 300, contents):
        found = inspect(place, contents + more)
        assert found.problem == 'longer than its header' or found.samples == SAMPLES, found


@pytest.mark.parametrize(
    'form, subtype', [('IRCAM', 'PCM_16'), ('PAF', 'PCM_16'), ('PVF', 'PCM_16'), ('XI', 'DPCM_16')]
)
def test_a_form_that_tells_no_length_is_taken(place, form, subtype):
    assert not inspect(place, written(form, subtype)).problem


def test_mpeg_audio_in_a_wav_is_as_long_as_its_frames(place):
    """As ffmpeg writes it: none counts the others, and the decoder estimates."""
    frames = mp3_of_one_rate()
    frames = frames[containers._mpeg_frame(frames)[0] :]
    form = struct.pack('<HHIIHHHHIHHH', 0x55, 1, RATE, 4000, 576, 0, 12, 1, 2, 576, 1, 1393)
    for hole, fault in ((0, ''), (len(frames) // 3, 'unreadable')):
        at = len(frames) // 2
        holed = frames[:at] + bytes(hole) + frames[at + hole :]
        chunks = (b'fmt ', form), (b'fact', struct.pack('<I', 3 * SAMPLES)), (b'data', holed)
        body = b''.join(
            name + struct.pack('<I', len(chunk)) + chunk + bytes(len(chunk) % 2)
            for name, chunk in chunks
        )
        contents = b'RIFF' + struct.pack('<I', 4 + len(body)) + b'WAVE' + body
        found = inspect(place, contents)
        assert found.problem == fault, found
    assert inspect(place, contents[: len(contents) // 2]).problem == 'truncated'


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_a_file_cut_anywhere_is_not_taken(place, form, data):
    contents = FORMS[form]
    found = inspect(place, contents[: data.draw(st.integers(0, len(contents) - 1))])
    assert found.problem or found.samples >= SAMPLES  # a tag's or padding's last bytes


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(FORMS)),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_header_never_raises(place, form, changes):
    contents = bytearray(FORMS[form])
    for at, byte in changes:
        contents[at] = byte
    found = inspect(place, bytes(contents))
    assert bool(found.problem) == bool(found.detail) and '\n' not in found.detail


def wav(*, riff=None, data=None, tail=b''):
    contents = bytearray(FORMS['WAV PCM_16'])
    for at, value in ((4, riff), (40, data)):
        if value is not None:
            contents[at : at + 4] = value.to_bytes(4, 'little')
    return bytes(contents) + tail


def aiff(*, form, ssnd, frames):
    contents = bytearray(FORMS['AIFF PCM_16'])
    for at, value in (
        (4, form),
        (contents.index(b'COMM') + 10, frames),
        (contents.index(b'SSND') + 4, ssnd),
    ):
        contents[at : at + 4] = value.to_bytes(4, 'big')
    return bytes(contents)


def flac(samples):
    contents = bytearray(FORMS['FLAC PCM_16'])
    counted = int.from_bytes(contents[18:26], 'big') >> 36 << 36 | samples
    contents[18:26] = counted.to_bytes(8, 'big')
    return bytes(contents)


@pytest.mark.parametrize(
    'contents, problem',
    [
        (wav(data=1000), 'longer than its header'),
        (wav(riff=1036, data=1000), 'longer than its header'),
        (wav(data=1_000_000), 'truncated'),
        (wav(riff=0), ''),
        (wav(riff=0)[:9000], 'truncated'),
        (wav(riff=8, data=0), ''),  # a recorder that was switched off
        (wav(riff=0, data=0), ''),
        (wav(data=0), ''),
        (wav(riff=36, data=0)[:44], 'empty'),
        *((wav(riff=size + 36, data=size), '') for size in (0x7FFFF000, 0x7FFFFFFF, 0x80000000)),
        (wav(riff=0xFFFFFFFF, data=0xFFFFFFFF), ''),
        (wav(riff=0xFFFFFFFF, data=0xFFFFFFFF - 100), ''),
        (wav(riff=2_500_000_036, data=2_500_000_000), 'truncated'),
        (wav(riff=0x80000000 - 8, data=0x80000000 - 44), 'truncated'),  # as recorders end a file
        (wav(riff=0xFFFFFFFF - 8, data=0xFFFFFFFF - 45), 'truncated'),
        (aiff(form=0x7F00002E, ssnd=0x7F000008, frames=0x3F800000), ''),  # sox
        (aiff(form=0, ssnd=0, frames=0), ''),  # ffmpeg
        (aiff(form=2_500_000_046, ssnd=2_500_000_008, frames=1_250_000_000), 'truncated'),
        (wav(tail=b'LIST\x04\0\0\0abcd'), ''),
        (wav(tail=bytes(512)), ''),
        (wav(tail=b'TAG' + bytes(125)), ''),
        (wav(data=0)[:44] + b'LIST\x04\0\0\0abcd', 'empty'),
        (flac(0), ''),
        (flac(2**36 - 1), 'truncated'),
        (flac(500), 'longer than its header'),
        (flac(SAMPLES) + b'TAG' + bytes(125), ''),
        (b'ID3\x04\0\0\0\0\0\x05hello' + flac(SAMPLES), ''),
        (FORMS['AU PCM_16'][:8] + b'\xff' * 4 + FORMS['AU PCM_16'][12:], ''),
        (
            FORMS['AU PCM_16'][:8] + b'\0\0\x10\0' + FORMS['AU PCM_16'][12:],
            'longer than its header',
        ),
        (b'', 'empty'),
    ],
)
def test_lengths_that_lie(place, contents, problem):
    found = inspect(place, contents)
    assert found.problem == problem, found
    assert problem or (found.samples == SAMPLES == audio.read(str(place), sample_rate=RATE).size)


def test_a_pipes_mark_is_in_whole_frames(place):
    """sox rounds 0x7FFFF000 down to frames, here of three bytes."""
    contents = bytearray(written('WAV', 'PCM_24'))
    contents[40:44] = (0x7FFFF000 // 3 * 3).to_bytes(4, 'little')
    found = inspect(place, bytes(contents))
    assert (found.problem, found.samples) == ('', SAMPLES)


def test_what_cannot_be_told_whole_is_counted(place):
    unknown = 'taken as it is: whether it is whole cannot be told in its format'
    assert unknown in inspect(place, flac(0)).converted
    assert unknown not in inspect(place, flac(SAMPLES)).converted


def test_no_error_of_the_decoder_ends_the_job(place, monkeypatch):
    place.write_bytes(FORMS['WAV PCM_16'])
    for error in (OSError('an odd one'), ValueError('array is too big'), SystemError()):

        def fail(self, *args, error=error, **keywords):
            raise error

        monkeypatch.setattr(audio_files._Stream, 'read', fail)
        assert inspect(place).problem == 'unreadable' and inspect(place).detail
        with pytest.raises(audio.BadInput):
            audio.read(str(place), sample_rate=RATE)


def test_what_is_no_file_is_named(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / 'fifo')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'dangling').symlink_to('nowhere')
    (tmp_path / 'loop').symlink_to('loop')
    (tmp_path / 'device').symlink_to('/dev/zero')
    kinds = {name: inspect(tmp_path / name).problem for name in os.listdir(tmp_path)}
    assert kinds == {
        'fifo': 'not a file',
        'folder': 'not a file',
        'dangling': 'broken link',
        'loop': 'broken link',
        'device': 'not a file',
    }
    trees.write(tmp_path / 'mine.wav', SOUND_T)

    def refuse(*args):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(audio_files, 'open', refuse, raising=False)
    assert inspect(tmp_path / 'mine.wav').problem == 'not permitted'


def stereo(left, right):
    noise_T = 0.001 * np.random.default_rng(0).normal(size=SAMPLES)
    return written('WAV', 'PCM_16', np.stack([left * SOUND_T + noise_T, right * SOUND_T], axis=1))


@pytest.mark.parametrize(
    'left, right, taken',
    [(1, 0, 0), (0, 1, 1), (1, 1, 0), (0.8, 1, 0), (0.5, 1, 1), (1, -1, 0), (1, 0.2, 0)],
)
def test_the_channel_with_the_event_is_taken_whole(place, left, right, taken):
    found = inspect(place, stereo(left, right))
    assert not found.problem and found.take.channel == taken
    heard_T = audio.read(str(place), sample_rate=RATE, take=found.take)
    np.testing.assert_allclose(heard_T, (left, right)[taken] * SOUND_T, atol=0.005)
    mono = inspect(place, written('WAV', 'PCM_16', (left, right)[taken] * SOUND_T))
    assert found.rms_db == pytest.approx(mono.rms_db, abs=0.05)


@pytest.mark.parametrize('gain', [1.5, 4.0, 30000.0])
def test_float_samples_above_full_scale_are_scaled_not_lost(place, gain):
    loud_T = gain * SOUND_T / np.abs(SOUND_T).max()
    found = inspect(place, written('WAV', 'FLOAT', loud_T))
    assert not found.problem and any('scaled' in note for note in found.converted)
    heard_T = audio.read(str(place), sample_rate=RATE, take=found.take)
    assert 0.5 <= np.abs(heard_T).max() <= 1.0
    np.testing.assert_array_equal(heard_T, (loud_T * found.take.scale).astype(np.float32))
    flat_T = np.clip(4 * loud_T, -gain, gain)
    assert inspect(place, written('WAV', 'FLOAT', flat_T)).problem == 'clipped'


def test_a_mixture_takes_what_was_inspected(tmp_path):
    quiet = tmp_path / 'a.wav'
    quiet.write_bytes(stereo(0, 1))
    loud = tmp_path / 'b.wav'
    loud.write_bytes(written('WAV', 'FLOAT', 3.0 * trees.speechlike(SAMPLES / RATE, seed=2)[::-1]))
    inspected = [
        audio.inspect(Recording(p.stem, p.stem, str(p), 'test'), sample_rate=RATE)
        for p in (quiet, loud)
    ]
    for spec in pairing.random_pairs(inspected, sample_rate=RATE):
        example = mix.mix_at_levels(spec, sample_rate=RATE)
        source_T = example.sources_ST[example.source_ids.index('a')]
        assert np.corrcoef(source_T, SOUND_T)[0, 1] > 0.999


@pytest.mark.parametrize('form', ['WAV PCM_16', 'FLAC PCM_16', 'WAV GSM610', 'OGG VORBIS'])
def test_a_part_is_what_the_whole_holds_there(place, form):
    place.write_bytes(FORMS[form])
    whole_T = audio.read(str(place), sample_rate=RATE)
    for start, stop in ((0, 100), (5000, 5001), (11000, 20000), (13000, 14000), (700, 700)):
        part_T = audio.read(str(place), sample_rate=RATE, start=start, stop=stop)
        np.testing.assert_array_equal(part_T, whole_T[start:stop])


COMPANIONS = (
    '._u0.wav', '.DS_Store', '.hidden/a.wav', '@eaDir/u0.wav/SYNOAUDIO_0.wav', 'Thumbs.db',
    '__MACOSX/spk/._u0.wav', 'lost+found/x.wav', '$RECYCLE.BIN/x.wav', 'desktop.ini',
    'LOST.DIR/x.wav', '~snapshot/x.wav', 'Temporary Items/x.wav', 'Network Trash Folder/x.wav',
    'Recycled/x.wav', 'RECYCLER/x.wav', 'FOUND.012/x.wav', '_gsdata_/x.wav', '.Trash-1000/x.wav',
)  # fmt: skip


def put(folder, name, contents=None):
    path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
    if contents is None:
        contents = trees.told_apart(FORMS['WAV PCM_16'], path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(contents)


@pytest.mark.parametrize('inside', ['', 'spk0'])
def test_companions_are_nobodys_recordings(tmp_path, inside):
    for i in range(3):
        put(tmp_path, f'spk{i}/u.wav')
    for name in COMPANIONS:
        put(tmp_path / inside, name)
    found = people.read(str(tmp_path), validation=0, test=0)
    assert sorted(one.id for one in found) == ['spk0-u', 'spk1-u', 'spk2-u']
    beside = recordings.unused([str(tmp_path)], [one.path for one in found])
    assert beside['companions'] == len(COMPANIONS)
    assert not beside['audio'] and not beside['other'] and not beside['problems']


@given(st.binary(min_size=1, max_size=8))
def test_printable_is_one_line_of_text(name):
    text = recordings.printable(os.fsdecode(name))
    assert text.encode() and len(text.splitlines()) <= 1
    assert recordings.printable('Zoë 犬 a\u00a0b') == 'Zoë 犬 a\u00a0b'


def test_a_folder_that_may_not_be_listed_is_counted(tmp_path, monkeypatch):
    for i in range(3):
        put(tmp_path, f'spk{i}/u.wav')
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith('spk1'):
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    found = people.read(str(tmp_path), validation=0, test=0)
    assert {one.source_id for one in found} == {'spk0', 'spk2'}
    (problem,) = recordings.unused([str(tmp_path)], [])['problems']
    assert (problem['name'], problem['kind']) == ('spk1', 'not permitted')


def hostile_tree(root):
    trees.folder(root, speakers=7, files=3)
    speaker = root / 'spk0'
    for name in COMPANIONS:
        put(root, name)
        put(speaker, name)
    put(speaker, b'caf\xe9.wav')
    put(speaker, 'two\nlines.wav')
    put(speaker, b'cut\xe9.wav', FORMS['WAV PCM_16'][:9000])
    put(speaker, b'no\xff.wav', b'RIFF')
    put(speaker, 'notes.txt', b'')
    put(root, b'spk\xff/u.flac', FORMS['FLAC PCM_16'])
    put(root, b'spk\xff/v.mp3', FORMS['MP3 MPEG_LAYER_III'])
    put(root, 'clipped/a.wav', written('WAV', 'PCM_16', np.clip(30 * SOUND_T, -1, 1)))
    put(root, 'stray.wav')
    for name, contents in (('endless', flac(0)), ('claims', flac(2**36 - 1))):
        put(speaker, f'{name}.flac', contents)
    put(speaker, 'phone.wav', FORMS['WAV GSM610'])
    (speaker / 'folder.wav').mkdir()
    (speaker / 'up').symlink_to('..')
    (speaker / 'dangling.wav').symlink_to('nowhere')
    os.mkfifo(speaker / 'fifo.wav')
    return root


@pytest.mark.parametrize(
    'beam_flags',
    [
        (),
        pytest.param(
            ('--direct_running_mode=multi_processing', '--direct_num_workers=2'),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_tree_of_odd_files_becomes_a_data_set_and_a_report(tmp_path, capsys, beam_flags):
    root = hostile_tree(tmp_path / 'in')
    before = {path: path.lstat().st_mode for path in root.rglob('*')}
    flags = ('--validation_fraction=0', '--test_fraction=0', *beam_flags)
    folder_2mix.main([f'--input_dir={root}', f'--output_dir={tmp_path / "out"}', *flags])
    assert {path: path.lstat().st_mode for path in root.rglob('*')} == before
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    kinds = {os.path.basename(one['path']): one['kind'] for one in report['skipped_files']}
    assert kinds == {
        'cut\\xe9.wav': 'truncated',
        'no\\xff.wav': 'unreadable',
        'a.wav': 'clipped',
        'claims.flac': 'truncated',
        'folder.wav': 'not a file',
        'fifo.wav': 'not a file',
        'dangling.wav': 'broken link',
        'up': 'link loop',
    }
    beside = report['files']['beside']
    assert (beside['other'], beside['audio']) == ({'.txt': 1}, {'.wav': 1})
    assert beside['companions'] == 2 * len(COMPANIONS)
    used = {name for one in trees.examples(tmp_path / 'out', 'train') for name in one.id.split('+')}
    assert {'spk0-caf\\xe9', 'spk0-two_lines', 'spk\\xff-u', 'spk\\xff-v', 'spk0-phone'} <= used
    page = (tmp_path / 'out' / 'report.md').read_text()
    for line in (
        '- speaker clipped ends with nothing, 1 file skipped: clipped: 1',
        '- skipped 6 of 33 files: broken link: 1',
        '- .txt: 1 file, no audio',
        'e.g. stray.wav',
    ):
        assert line in page
    assert "b'" not in page  # a path as Python writes bytes
    assert 'warning: speaker clipped ends with nothing' in capsys.readouterr().out


def test_mpeg_audio_that_counts_nothing_is_whole_or_refused(place):
    contents = FORMS['MP3 MPEG_LAYER_III']
    size, samples = containers._mpeg_frame(contents[:4])
    found = inspect(place, contents[size:])  # without the frame that counts the others
    if found.problem:  # libsndfile guesses from the first frame's rate
        assert 'the decoder gives' in found.detail
    else:
        assert found.samples == pytest.approx(SAMPLES, abs=4 * samples)
    led = inspect(place, bytes(range(1, 200)) + FORMS['MP3 MPEG_LAYER_III'])
    assert led.problem in ('', 'unreadable')


def mp3_of(seconds):
    tone_T = 0.3 * np.sin(np.arange(int(16000 * seconds)) * 0.3)
    return written('MP3', 'MPEG_LAYER_III', tone_T)


@pytest.mark.parametrize('hole', [b'\0', b'\x55'])
def test_a_hole_in_the_middle_of_mpeg_audio_is_found(place, hole, capfd):
    contents = mp3_of(4)
    middle, size = len(contents) // 2, 1000  # libmpg123 gives up after 1024
    assert not inspect(place, contents).problem
    found = inspect(place, contents[:middle] + hole * size + contents[middle + size :])
    assert (found.problem, 'no frame at byte' in found.detail) == ('damaged', True)
    assert capfd.readouterr().err == ''  # libmpg123 would name no file


LEADS = {
    'a zero': b'\0',
    'zeros': bytes(700),
    'many zeros': bytes(60_000),
    'an empty line': b'\r\n',
    'an answer': b'HTTP/1.0 200 OK\r\nicy-name: x\r\n\r\n',
    'an APE tag': b'APETAGEX' + struct.pack('<4I', 2000, 32, 0, 0x80000000) + bytes(8),
    'an old tag': b'TAG' + bytes(125),
    'half a frame': None,
    'nothing': b'',
}


@pytest.mark.parametrize('counts', [True, False])
@pytest.mark.parametrize('lead', LEADS)
def test_mpeg_audio_behind_other_bytes_is_whole_or_refused(place, lead, counts):
    """By the suffix .mp3 libsndfile looks for the first frame."""
    place = place.with_suffix('.mp3')
    contents = mp3_of_one_rate()
    size, _ = containers._mpeg_frame(contents[:4])
    frame = contents[size : size + containers._mpeg_frame(contents[size : size + 4])[0]]
    contents = contents if counts else contents[size:]
    lead = frame[len(frame) // 2 :] if LEADS[lead] is None else LEADS[lead]
    found = inspect(place, lead + contents)
    assert found.samples == pytest.approx(3 * SAMPLES, abs=2400), found
    third, half = len(contents) // 3, len(contents) // 2
    for damaged in (
        contents[: half + 7],
        contents[:third] + contents[half + 7 :],
        contents[:third] + bytes(half - third) + contents[half:],
    ):
        assert inspect(place, lead + damaged).problem in ('truncated', 'damaged')


@pytest.mark.parametrize('counts', [True, False])
@pytest.mark.parametrize('tag', [b'', b'ID3\3\0\0\0\0\0\x0a' + bytes(10)])
@pytest.mark.parametrize('size', [700, 3000, 12_000])
def test_a_hole_at_the_start_of_mpeg_audio_is_found(place, size, tag, counts):
    contents = mp3_of_one_rate()
    first, _ = containers._mpeg_frame(contents[:4])
    contents = contents if counts else contents[first:]
    assert not inspect(place.with_suffix('.mp3'), tag + contents).problem
    found = inspect(place.with_suffix('.mp3'), tag + bytes(size) + contents[size:])
    assert found.problem == 'damaged' and 'zeros' in found.detail, found


@pytest.mark.parametrize('form', ['MP3 MPEG_LAYER_III', 'OGG VORBIS', 'OGG OPUS'])
@settings(deadline=None, max_examples=40)
@given(at=st.integers(0, 10**6), size=st.integers(1, 300), value=st.sampled_from(b'\0\x55\xff'))
def test_a_hole_never_shortens_what_passes_for_whole(place, form, at, size, value):
    """The decoders go on behind it, and everything after it would be elsewhere."""
    contents = FORMS[form]
    about = containers._mpeg_frame(contents[:4]) or (0,)  # of the first MP3 frame: it says no sound
    at = about[0] + at % (len(contents) - about[0])
    size = min(size, len(contents) - at)
    holed = contents[:at] + bytes([value]) * size + contents[at + size :]
    found = inspect(place, holed)
    if form.startswith('OGG'):
        assert bool(found.problem) == (holed != contents)
    elif not found.problem and not any('taken as it is' in why for why in found.converted):
        assert found.samples == SAMPLES


def test_a_flac_without_some_of_its_frames_is_damaged(place):
    """The decoder gives silence for them, and as many samples as the header counts."""
    contents = written('FLAC', 'PCM_16', np.tile(SOUND_T, 3))
    starts = [at for at in range(len(contents)) if contents.startswith(b'\xff\xf8', at)]
    frames = [at for n, at in enumerate(starts) if containers._flac_number(contents[at:])[1]]
    a, b, c, d = frames[2:6]
    assert not inspect(place, contents).problem
    wrong_md5 = contents[:30] + bytes([contents[30] ^ 1]) + contents[31:]
    without = contents[:a] + contents[b:], contents[:a] + contents[c:]
    moved = contents[:a] + contents[b:c] + contents[a:b] + contents[c:]
    for other in (*without, moved, wrong_md5):
        found = inspect(place, other)
        assert found.problem in ('damaged', 'truncated', 'longer than its header'), found
    unknown = bytearray(contents)  # written to a pipe
    unknown[21:26] = bytes([unknown[21] & 0xF0, 0, 0, 0, 0])
    assert inspect(place, bytes(unknown[:26] + bytes(16) + unknown[42:])).problem == ''


@pytest.mark.parametrize('subtype', ['PCM_S8', 'PCM_16', 'PCM_24'])
def test_a_whole_flac_has_the_samples_of_its_md5(place, subtype):
    sound_TC = np.random.default_rng(0).uniform(-1, 1, (10_000, 3))
    sound_TC[:9] = -1.0
    soundfile.write(place, sound_TC, RATE, format='FLAC', subtype=subtype)
    assert not inspect(place, max_clipped=1.0).problem


def test_frames_of_another_rate_are_no_part_of_the_sound(place):
    other = io.BytesIO()
    soundfile.write(other, SOUND_T, 11025, format='MP3')
    assert inspect(place, FORMS['MP3 MPEG_LAYER_III'] + other.getvalue()).problem


def test_pages_that_changed_places_are_noticed(place):
    contents = written('OGG', 'VORBIS', np.tile(SOUND_T, 30))
    starts = [at for at in range(len(contents)) if contents.startswith(b'OggS', at)]
    a, b, c = starts[-4:-1]
    assert not inspect(place, contents).problem
    moved = contents[:a] + contents[b:c] + contents[a:b] + contents[c:]
    for other in (moved, contents[:a] + contents[b:]):
        assert inspect(place, other).problem == 'damaged'


def test_of_a_text_with_a_mark_little_is_read():
    class Counting(io.BytesIO):
        taken = 0

        def read(self, count=-1):
            block = super().read(count)
            self.taken += len(block)
            return block

    file = Counting(('x' * 4_000_000).encode('utf-16'))
    containers.length(file, len(file.getbuffer()))
    assert file.taken < 2 << 20


@pytest.mark.parametrize('name', ['x.mp3', 'x.wav'])
@pytest.mark.parametrize('head', [b'', b'<html>not found</html>', b'ID3\4\0\0\0\0\0\0'])
def test_what_is_no_mp3_is_said_to_be_none(tmp_path, name, head):
    (tmp_path / name).write_bytes(head + bytes(range(1, 200)) * 9)
    found = inspect(tmp_path / name)
    said = {
        'no MP3 frame is in it: another form under this name, or damaged',
        'Format not recognised.',
    }
    assert found.problem == 'unreadable' and found.detail in said
    assert name != 'x.mp3' or found.detail.startswith('no MP3 frame is in it')


def test_samples_without_a_header_are_said_to_have_none(tmp_path):
    (tmp_path / 'x.raw').write_bytes(bytes(range(100)))
    found = inspect(tmp_path / 'x.raw')
    assert (found.problem, found.detail[:24]) == ('unreadable', 'samples without a header')
