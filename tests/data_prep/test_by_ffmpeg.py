"""What libsndfile does not read: decoded by ffmpeg where it is installed, and counted where not."""

import io
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from data_prep import audio, fgbg, folder_2mix, recordings
from data_prep.recordings import Recording
from fgsep_jax.data import audio_files
from fgsep_jax.data.containers import BY_FFMPEG
from fgsep_jax.separation.recording import FileRecording
import sound_trees
import trees

FLAGS = ('--validation_fraction=0', '--test_fraction=0')
needs_ffmpeg = pytest.mark.skipif(not shutil.which('ffmpeg'), reason='no ffmpeg')


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """A program of that name, which gives what is in a box of its input: a WAV."""
    program = tmp_path / 'bin' / 'ffmpeg'
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n'
        'for word; do case "$word" in file:*) source="${word#file:}";; esac; done\n'
        'case "$source" in *complains*) echo "$source: partial file" >&2;; esac\n'
        'case "$source" in */full.*) echo "trailer: No space left on device" >&2; exit 1;; esac\n'
        'case "$source" in */killed.*) kill -9 $$;; */crashes.*) kill -11 $$;; esac\n'
        'case "$source" in *fails*) exit 1;; esac\n'
        'shift $(($# - 1)); tail -c +9 "$source" > "$1"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{program.parent}:/usr/bin:/bin')
    return program


@pytest.fixture
def no_ffmpeg(monkeypatch):
    monkeypatch.setenv('PATH', '')


def inspect(path):
    return audio.inspect(Recording('x', 's', str(path), 't'), sample_rate=8000)


def sound(path, seed=0):
    """A WAV, in a box where it is not called one."""
    file = io.BytesIO()
    soundfile.write(file, trees.speechlike(1.2, seed=seed), 8000, format='WAV')
    content = file.getvalue()
    if path.suffix != '.wav':
        content = (len(content) + 8).to_bytes(4, 'big') + b'free' + content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize('suffix', [*BY_FFMPEG, '.M4A'])
def test_each_suffix_is_decoded(tmp_path, ffmpeg, suffix):
    path = sound(tmp_path / f'x{suffix}')
    found = inspect(path)
    assert not found.problem and found.converted == (
        'decoded by ffmpeg: that it is whole is its word',
    )
    assert list(recordings.list_files(str(tmp_path))) == [path.name]
    part_T = audio.read(str(path), sample_rate=8000, start=100, stop=900)
    np.testing.assert_allclose(part_T, trees.speechlike(1.2, seed=0)[100:900], atol=1e-4)


@pytest.mark.parametrize(
    'name, said',
    [('complains', 'partial file'), ('fails', 'no reason given'), ('crashes', 'no reason given')],
)
def test_what_ffmpeg_says_against_a_file_refuses_it(tmp_path, ffmpeg, name, said):
    found = inspect(sound(tmp_path / f'{name}.m4a'))
    assert found.problem == 'unreadable' and said in found.detail


@pytest.mark.parametrize(
    'name, said',
    [
        ('full', r'No space left on device in .*\(TMPDIR names another\)'),
        ('killed', r'ffmpeg was killed \(signal 9.* at killed.m4a'),
    ],
)
def test_what_the_machine_lacks_ends_the_job(tmp_path, ffmpeg, name, said):
    speakers(tmp_path / 'in')
    sound(tmp_path / 'in' / 'anna' / f'{name}.m4a', seed=7)
    with pytest.raises(SystemExit, match=f'^error: the machine cannot read on: {said}') as stop:
        run(tmp_path / 'in')
    assert stop.value.code == 2 and '\n' not in str(stop.value)


@pytest.mark.parametrize('suffix', ['.m4a', '.webm'])
def test_what_is_no_file_never_reaches_ffmpeg(tmp_path, ffmpeg, suffix):
    os.mkfifo(tmp_path / f'pipe{suffix}')
    (tmp_path / f'folder{suffix}').mkdir()
    (tmp_path / f'empty{suffix}').touch()
    kinds = {name: inspect(tmp_path / f'{name}{suffix}').problem for name in ('pipe', 'folder')}
    assert kinds == {'pipe': 'not a file', 'folder': 'not a file'}
    assert inspect(tmp_path / f'empty{suffix}').problem == 'empty'
    assert inspect(f'gs://bucket/x{suffix}').problem == 'needs ffmpeg'


def test_what_was_converted_is_not_taken_again(tmp_path):
    for name in ('a/x.m4a', 'a/x.wav', 'a/y.mp4', 'a/y.mp4.flac', 'a/z.aac', 'b/z.wav'):
        sound(tmp_path / name)
    assert list(recordings.list_files(str(tmp_path))) == [
        'a/x.wav',
        'a/y.mp4.flac',
        'a/z.aac',
        'b/z.wav',
    ]
    problems = recordings.unused([str(tmp_path)], [])['problems']
    assert [one['name'] for one in problems] == ['a/x.m4a', 'a/y.mp4']
    assert {one['kind'] for one in problems} == {'converted already'}


def speakers(root):
    for speaker in ('anna', 'ben', 'cleo'):
        suffix = 'm4a' if speaker == 'anna' else 'wav'
        for i in range(2):
            sound(root / speaker / f'u{i}.{suffix}', seed=10 * ord(speaker[0]) + i)
    (root.parent / 's.csv').write_text('speaker,sex\nanna,f\nben,m\ncleo,f\n')
    return root


def run(root, *flags):
    output = root.parent / 'out'
    folder_2mix.main([f'--input_dir={root}', f'--output_dir={output}', *FLAGS, *flags])
    return json.loads((output / 'report.json').read_text())


def test_a_speaker_of_such_files_is_a_speaker(tmp_path, ffmpeg):
    report = run(speakers(tmp_path / 'in'), f'--speakers={tmp_path}/s.csv')
    assert report['splits']['train']['num_speakers'] == 3
    assert report['files']['converted'] == {'decoded by ffmpeg: that it is whole is its word': 2}
    assert not any('s.csv' in line for line in report['notes']['Warnings'])


def test_without_ffmpeg_the_speaker_is_told(tmp_path, no_ffmpeg):
    report = run(speakers(tmp_path / 'in'), f'--speakers={tmp_path}/s.csv')
    lost = [line for line in report['notes']['Warnings'] if line.startswith('speaker anna')]
    assert len(lost) == 1 and 'ends with nothing, 2 files skipped: needs ffmpeg: 2' in lost[0]
    assert 'install ffmpeg, or convert it' in lost[0]
    assert not any('s.csv' in line for line in report['notes']['Warnings'])


def test_without_ffmpeg_a_tree_of_such_files_alone_says_so(tmp_path, no_ffmpeg):
    for name in 'abc':
        sound(tmp_path / 'in' / name / 'u.m4a', seed=ord(name))
    with pytest.raises(SystemExit, match='no usable file.*skipped files: needs ffmpeg: 3'):
        run(tmp_path / 'in')


@pytest.mark.slow
def test_without_ffmpeg_a_class_of_such_files_is_told(tmp_path, no_ffmpeg, capsys):
    sounds = sound_trees.general(tmp_path / 'in', files=3)
    for path in (sounds / 'foreground' / 'bell').iterdir():
        sound(path.with_suffix('.m4a'), seed=ord(path.stem[-1]))
        path.unlink()
    flags = [f'--classes={sound_trees.write_classes(tmp_path / "c.csv")}', '--sample_rate=8000']
    fgbg.main([f'--input_dir={sounds}', f'--output_dir={tmp_path}/out', *flags, '--dry_run'])
    told = json.loads(capsys.readouterr().out)['notes']['Warnings']
    assert any(line.startswith('class foreground bell ends with nothing, 3') for line in told)


@needs_ffmpeg
@pytest.mark.parametrize('form', ['m4a', 'webm', 'mka', 'wma', 'ac3'])
def test_ffmpeg_itself(tmp_path, form):
    sound(tmp_path / 'x.wav')
    path = tmp_path / f'-x.{form}'  # no option, whatever it is called
    command = ['ffmpeg', '-v', 'error', '-i', tmp_path / 'x.wav', '-ar', '48000']
    made = subprocess.run([*command, '-movflags', '+faststart', f'file:{path}'], check=False)
    if made.returncode:
        pytest.skip('this ffmpeg does not write it')
    found = inspect(path)
    assert not found.problem and found.samples == pytest.approx(9600, abs=800)
    # And the sound is the one that went in, at some delay: by the best of all.
    signal_T = audio.read(str(path), sample_rate=8000, start=0, stop=found.samples)
    given_T = trees.speechlike(1.2, seed=0)
    products = np.correlate(signal_T, given_T, mode='full')
    assert products.max() > 0.95 * np.linalg.norm(signal_T) * np.linalg.norm(given_T)
    cut = tmp_path / f'cut.{form}'
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # Of a row of packets that ends between two, ffmpeg cannot tell.
    assert inspect(cut).problem in ('unreadable', 'truncated') or form in ('wma', 'ac3')


@needs_ffmpeg
@pytest.mark.parametrize(
    'form, codec, flags',
    [
        ('m4a', 'aac', '+faststart'),
        ('m4a', 'aac', '+dash+delay_moov'),
        ('mov', 'pcm_s16le', '+faststart'),
        ('avi', 'libmp3lame', ''),
        ('avi', 'pcm_s16le', ''),
        ('wma', 'wmav2', ''),
    ],
)
def test_what_is_cut_between_two_packets_is_not_whole(tmp_path, form, codec, flags):
    """ffmpeg decodes the packets that are there, without a word."""
    sound(tmp_path / 'x.wav')
    path = tmp_path / f'x.{form}'
    command = ['ffmpeg', '-v', 'error', '-i', tmp_path / 'x.wav', '-c:a', codec]
    how = ['-movflags', flags] if flags else []
    how += ['-frag_duration', '200000'] if 'dash' in flags else []
    subprocess.run([*command, *how, path], check=True)
    probe = ['ffprobe', '-v', 'error', '-show_entries', 'packet=pos,size', '-of', 'json', path]
    packets = json.loads(subprocess.run(probe, check=True, capture_output=True).stdout)['packets']
    whole = path.read_bytes()
    found = inspect(path)
    assert not found.problem and found.samples == pytest.approx(9600, abs=2000)
    for packet in packets[1:-1]:
        end = int(packet['pos']) + int(packet['size'])
        path.write_bytes(whole[:end])
        # Nothing counts the parts of a stream that is made as it is sent.
        at_a_part = whole[end + 4 : end + 8] in (b'sidx', b'moof', b'styp')
        assert inspect(path).problem == 'truncated' or at_a_part
    for size in range(0, 150, 7):  # within a header
        path.write_bytes(whole[:size])
        with pytest.raises(audio_files.BadInput), audio_files.for_libsndfile(str(path)):
            pass
    path.write_bytes(whole[: int(packets[len(packets) // 2]['pos']) + 9])  # within a packet
    recording = FileRecording(str(path), folder=str(tmp_path), cut=(cut := set()))
    assert 1000 < sum(map(len, recording.blocks())) < 9600 and cut
    recording.close()
    at = int(packets[len(packets) // 2]['pos']) - 8
    path.write_bytes(whole[:at] + whole[at + 4000 :])
    assert inspect(path).problem in ('truncated', 'damaged', 'unreadable')


@needs_ffmpeg
@pytest.mark.parametrize('suffix', ['.mp3', '.wav'])
@pytest.mark.parametrize('form', ['m4a', 'aac', 'avi', 'wma'])
def test_what_ffmpeg_reads_is_its_whatever_it_is_called(tmp_path, form, suffix):
    """libsndfile takes anything that is called .mp3 for MPEG audio, from some two bytes on."""
    sound(tmp_path / 'x.wav')
    subprocess.run(['ffmpeg', '-v', 'error', '-i', tmp_path / 'x.wav', tmp_path / f'x.{form}'])
    path = (tmp_path / f'x.{form}').rename(tmp_path / f'y{suffix}')
    found = inspect(path)
    assert not found.problem and found.samples == pytest.approx(9600, abs=2500)
    recording = FileRecording(str(path), folder=str(tmp_path))
    assert sum(map(len, recording.blocks())) == pytest.approx(9600, abs=2500)
    recording.close()


@needs_ffmpeg
def test_what_players_append_to_an_m4a_is_no_damage(tmp_path):
    sound(tmp_path / 'x.wav')
    path = tmp_path / 'x.m4a'
    subprocess.run(['ffmpeg', '-v', 'error', '-i', tmp_path / 'x.wav', path])
    whole, odd = path.read_bytes(), np.random.default_rng(0).bytes(300)
    for tail in (
        b'TAGMy Song'.ljust(128, b'\0'),
        b'LYRICSBEGIN...',
        b'APETAGEX...',
        odd,
        b'\xff' * 64,
    ):
        path.write_bytes(whole + tail)
        assert not inspect(path).problem, tail[:8]


@pytest.mark.parametrize('form', ['WAV', 'FLAC', 'OGG', 'MP3', 'AIFF', 'CAF', 'W64'])
def test_what_libsndfile_reads_is_its_whatever_it_is_called(tmp_path, no_ffmpeg, form):
    path = tmp_path / 'x.m4a'
    soundfile.write(path, trees.speechlike(1.2, seed=0), 8000, format=form)
    found = inspect(path)
    assert not found.problem and found.samples == pytest.approx(9600, abs=600)
    assert not any('ffmpeg' in note for note in found.converted)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert inspect(path).problem == 'truncated'


@needs_ffmpeg
def test_float_samples_that_libsndfile_takes_for_whole_numbers(tmp_path):
    """ffmpeg marks them in a W64 by an extensible format, which libsndfile does not look into."""
    sound(tmp_path / 'x.wav')
    made = {}
    for kind in ('pcm_f32le', 'pcm_s32le'):
        command = ['ffmpeg', '-v', 'error', '-i', tmp_path / 'x.wav', '-c:a', kind]
        subprocess.run([*command, tmp_path / f'{kind}.w64'], check=True)
        made[kind] = inspect(tmp_path / f'{kind}.w64')
    assert not made['pcm_s32le'].problem
    assert made['pcm_f32le'].problem == 'unreadable' and 'float' in made['pcm_f32le'].detail


@needs_ffmpeg
def test_a_script_never_stands_for_another_file(tmp_path):
    sound(tmp_path / 'x.wav')
    path = tmp_path / 'script.m4a'
    path.write_text('ffconcat version 1.0\nfile x.wav\n')
    assert inspect(path).problem == 'unreadable'


def test_nothing_temporary_stays(tmp_path, ffmpeg, monkeypatch):
    (tmp_path / 'tmp').mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'tmp'))
    for name in ('x', 'fails'):
        inspect(sound(tmp_path / f'{name}.m4a'))
    with audio_files.for_libsndfile(str(tmp_path / 'x.m4a')) as readable:
        assert os.path.dirname(readable) == str(tmp_path / 'tmp')
    assert not os.listdir(tmp_path / 'tmp')
