"""One recording in two forms: a bad one never hides a good one, and is counted."""

import json
import os

import numpy as np
import pytest
import soundfile

from data_prep import audio, folder_2mix, mix, mixtures, survey, wsj0_2mix
from data_prep.readers import folder as reader, libritts, sounds as banks, vctk, wsj0
from data_prep.readers.sounds import SoundClass
import trees

BAD = {
    'empty': lambda path: path.write_bytes(b''),
    'text': lambda path: path.write_bytes(b'<html>403 Forbidden</html>'),
    'cut': lambda path: path.write_bytes(path.read_bytes()[:-900]),
    'silent': lambda path: soundfile.write(path, np.zeros(9600), 8000, format='WAV'),
    'nan': lambda path: soundfile.write(path, np.full(9600, np.nan), 8000, 'FLOAT', format='WAV'),
    'pipe': lambda path: (path.unlink(), os.mkfifo(path)),
    'dangling': lambda path: (path.unlink(), path.symlink_to('nowhere')),
}


def sound(path, seed=0):
    """A sound in the form that the path's suffix says; of what ffmpeg reads, a flac's bytes."""
    form = {'.wav': 'WAV', '.wv1': 'NIST'}.get(path.suffix, 'FLAC')
    trees.write(path, trees.speechlike(1.2, seed=seed), format=form, subtype='PCM_16')
    return path


@pytest.fixture(autouse=True)
def without_ffmpeg(monkeypatch):
    """In place of ffmpeg, which a machine may not have: libsndfile, whatever the suffix."""
    decode = lambda path, target, whole=False: os.replace(_copy(path), target)  # noqa: E731
    monkeypatch.setattr(audio.audio_files, 'by_ffmpeg', decode)


def _copy(path):
    with open(path, 'rb') as source, open(f'{path}.copy', 'wb') as target:
        target.write(source.read())
    return target.name


def inspected(utterances):
    return [forms(one)[-1] for one in utterances]


def forms(one):
    return audio.inspect_forms(one, sample_rate=8000, min_seconds=0.5)


# {reader: (function of the root, [the form taken first, the one after])}
READERS = {
    'folder': (lambda root: reader.read(root, validation=0, test=0), ['a/x.wav', 'a/x.m4a']),
    'beside its own name': (
        lambda root: reader.read(root, validation=0, test=0),
        ['a/x.m4a.flac', 'a/x.m4a'],
    ),
    'libritts': (
        libritts.read,
        ['test-clean/1/2/1_2_3_4.wav', 'test-clean/1/2/1_2_3_4.flac', 'test-clean/1/2/1_2_3_4.m4a'],
    ),
    'vctk': (vctk.read, ['wav48/p225/p225_001_mic1.flac', 'wav48/p225/p225_001.wav']),
}


@pytest.mark.parametrize('fault', BAD)
@pytest.mark.parametrize('reader', READERS)
def test_the_first_good_form_is_taken(tmp_path, reader, fault):
    read, names = READERS[reader]
    first, *rest = [sound(tmp_path / name) for name in names]
    sound(tmp_path / 'b/y.wav', seed=1)
    (whole,) = [one for one in inspected(read(str(tmp_path))) if one.path == str(first)]
    assert not whole.problem
    for i, path in enumerate([first, *rest]):
        BAD[fault](path)
        (one,) = [one for one in read(str(tmp_path)) if one.id == whole.id]
        *passed_over, found = forms(one)
        last = i == len(rest)
        assert found.path == str(first if last else rest[i])
        assert bool(found.problem) == last
        assert [one.path for one in passed_over] == (
            [] if last else [str(one) for one in [first, *rest[:i]]]
        )


@pytest.mark.parametrize('where', ['s1', 's2', 'mix'])
def test_of_a_ready_mixture_each_file_has_its_forms(tmp_path, where):
    names = {part: some[:1] for part, some in trees.WSJ0_NAMES.items()}
    base = trees.mixed(tmp_path / 'min', names)
    path = base / 'tt' / where / f'{names["tt"][0]}.wav'
    audio_T, rate = soundfile.read(path)
    soundfile.write(path.with_suffix('.flac'), audio_T, rate)
    path.write_bytes(b'')
    utterances, listed = wsj0.read(str(tmp_path), splits=('test',))
    (spec,) = mixtures.listed(inspected(utterances), rows=listed)
    assert mix.mix_as_made(spec, sample_rate=8000).sources_ST.shape == (2, 8000)


def test_a_bad_form_of_a_ready_mixture_is_counted(tmp_path):
    base = trees.mixed(tmp_path / 'min', trees.WSJ0_NAMES)
    name = trees.WSJ0_NAMES['tt'][0]
    path = base / 'tt' / 'mix' / f'{name}.wav'
    audio_T, rate = soundfile.read(path)
    soundfile.write(path.with_suffix('.flac'), audio_T, rate)
    path.write_bytes(b'')
    out = tmp_path / 'out'
    words = [f'--input_dir={tmp_path / "min"}', f'--output_dir={out}', '--splits=test']
    wsj0_2mix.main(words)
    report = json.loads((out / 'report.json').read_text())
    (bad,) = report['skipped_files']
    assert (bad['kind'], bad['path']) == ('empty', str(path))
    assert bad['detail'].endswith(f'; {name}.flac is taken instead')
    assert not report['skipped_mixtures']
    assert any(f'{path} is skipped: empty' in line for line in report['notes']['Warnings'])
    assert len(trees.examples(out, 'test')) == len(trees.WSJ0_NAMES['tt'])


def test_of_wsj0_the_sphere_file_stands_in_for_a_bad_conversion(tmp_path):
    names = ['si_tr_s/01t/01to030v', 'si_tr_s/029/029o0311']
    for seed, name in enumerate(names):
        sound(tmp_path / f'{name}.wv1', seed=seed)
    sound(tmp_path / f'{names[0]}.wav').write_bytes(b'RIFF')
    for part in ('tr', 'cv', 'tt'):
        (tmp_path / f'mix_2_spk_{part}.txt').write_text(f'{names[0]}.wav 1 {names[1]}.wav -1\n')
    utterances, _ = wsj0.read_lists(str(tmp_path), str(tmp_path), splits=('train',))
    found = inspected(utterances)
    assert [os.path.basename(one.path) for one in found] == ['01to030v.wv1', '029o0311.wv1']
    assert not any(one.problem for one in found)


@pytest.mark.parametrize(
    'first, other',
    [
        ('a/x.wav', 'a/x.mp3'),
        ('a/day/x.WAV', 'a/day/x.flac'),
        ('a/wav/x.wav', 'a/mp3/x.mp3'),
        ('a/x.wav', 'a/FLAC/x.flac'),
        ('a/x.mp3.wav', 'a/x.mp3'),
        ('a/x.m4a.wav', 'a/x.mp3'),
        ('a/x\n.mp3.wav', 'a/x\n.Flac'),
        ('a/x_mic1.flac', 'a/x_mic2.flac'),
        ('a/wav/x_mic1.wav', 'a/flac/x_mic2.flac'),
    ],
)
def test_split_by_recording_no_recording_is_two(tmp_path, first, other):
    first, other = sound(tmp_path / first), sound(tmp_path / other, seed=1)
    apart = ['a/day2/x.wav', 'a/wave/x.mp3', 'a/x2.wav', 'b/x.wav']
    rest = [sound(tmp_path / name, seed=i + 2) for i, name in enumerate(apart)]
    found = reader.read(str(tmp_path), split_by='recording')
    assert {one.path for one in found} == {str(path) for path in [first, *rest]}
    assert {one.path: one.others for one in found if one.others} == {str(first): (str(other),)}
    first.write_bytes(b'')
    assert str(other) in {one.path for one in inspected(found)}
    about = survey.survey(str(tmp_path))
    assert len(about['recordings']) == 5 and not about['elsewhere']
    # Where speakers are split, it is in one split anyhow.
    sound(first)
    people = reader.read(str(tmp_path), validation=0, test=0)
    assert {one.path for one in people} == {str(path) for path in [first, other, *rest]}


# [(file, which sound is in it)]; in each, all of speaker a is one recording
ONE_RECORDING = {
    'of the form left out': [('a/x.wav', 1), ('a/x.flac', 2), ('a/x (1).flac', 2)],
    'of both': [('a/x.wav', 1), ('a/x.flac', 2), ('a/x - 2.wav', 1), ('a/x - 2.flac', 2)],
    'of one of two': [('a/x.wav', 1), ('a/x.flac', 2), ('a/long.wav', 3), ('a/long.flac', 2)],
    'the last form of another': [('a/x.flac', 2), ('a/z.wav', 2), ('a/z.flac', 3)],
    'in a chain': [
        *[('a/x.wav', 1), ('a/x.flac', 2), ('a/yy.wav', 2), ('a/yy.flac', 3)],
        *[('a/zzz.wav', 4), ('a/zzz.flac', 3)],
    ],
    'in a chain from its end': [
        ('a/xxx.wav', 1),
        ('a/xxx.flac', 2),
        ('a/y.wav', 1),
        ('a/z.wav', 2),
    ],
}


@pytest.mark.parametrize('case', ONE_RECORDING)
def test_a_copy_of_any_form_is_the_same_recording(tmp_path, case):
    contents = {}
    for name, seed in [*ONE_RECORDING[case], ('a/other.wav', 5), ('b/x.wav', 6)]:
        path = sound(tmp_path / name, seed=seed)
        path.write_bytes(contents.setdefault(seed, path.read_bytes()))  # whatever the suffix says
    copies = []
    found = reader.read(str(tmp_path), split_by='recording', copies=copies)
    assert sorted(one.source_id for one in found) == ['a', 'a', 'b']
    assert copies
    for copy, kept in copies:  # what the report says of them is so
        with open(copy.path, 'rb') as one, open(kept.path, 'rb') as other:
            assert copy.path != kept.path and one.read() == other.read()
    assert len(survey.survey(str(tmp_path))['recordings']) == 3


def test_a_bad_form_joins_nothing(tmp_path):
    for name in 'xyz':
        sound(tmp_path / f'a/{name}.wav', seed=ord(name))
        (tmp_path / f'a/{name}.flac').write_bytes(b'<html>403 Forbidden</html>')
    (tmp_path / 'a/bad.wav').write_bytes(b'<html>403 Forbidden</html>')
    found = reader.read(str(tmp_path), split_by='recording')
    assert [one.id for one in found] == ['a-bad', 'a-x', 'a-y', 'a-z']


def test_bad_forms_that_are_alike_are_nobodys_copies(tmp_path):
    for i, speaker in enumerate('abcd'):
        sound(tmp_path / speaker / 'x.m4a', seed=i)
        (tmp_path / speaker / 'x.wav').write_bytes(b'<html>403 Forbidden</html>')
    found = inspected(reader.read(str(tmp_path), validation=0, test=0))
    assert [one.path[-7:] for one in found] == [f'{name}/x.m4a' for name in 'abcd']
    assert [one['name'] for one in survey.survey(str(tmp_path))['recordings']] == [*'abcd']


def test_the_report_counts_the_bad_form(tmp_path, capsys):
    root = trees.folder(tmp_path / 'in', speakers=3)
    sound(root / 'spk0' / 'u0.m4a', seed=7)
    sound(root / 'spk1' / 'u0.m4a', seed=8)
    (root / 'spk0' / 'u0.wav').write_bytes(b'RIFF')
    flags = [f'--input_dir={root}', f'--output_dir={tmp_path}/out', '--test_fraction=0']
    folder_2mix.main([*flags, '--validation_fraction=0'])
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    kinds = {one['path'][-12:]: one['kind'] for one in report['skipped_files']}
    assert kinds == {'/spk0/u0.wav': 'unreadable', '/spk1/u0.m4a': 'converted already'}
    assert report['files']['good'] == report['files']['total'] == 9
    assert 'u0.m4a is taken instead' in capsys.readouterr().out


def test_a_sounds_other_form_is_taken_too(tmp_path):
    for role, name in (('foreground', 'bell'), ('background', 'fan')):
        sound(tmp_path / role / name / 'x.m4a')
        (tmp_path / role / name / 'x.wav').write_bytes(b'RIFF')
    classes = {
        name: SoundClass(name, role, True)
        for name, role in (('bell', 'foreground'), ('fan', 'background'))
    }
    found = inspected(banks.folder(str(tmp_path), classes=classes))
    assert [(one.path[-5:], one.problem) for one in found] == [('x.m4a', '')] * 2
