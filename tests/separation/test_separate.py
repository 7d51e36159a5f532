"""The command, on folders as people have them: names, forms, faults, resumption."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import threading
import types

import jax
import numpy as np
import pytest
import soundfile

from fgsep_jax import files, lock, separate, stopping
from fgsep_jax.data import audio_files
from fgsep_jax.separation import activity, engine, inputs, manifest, model, page, writing
from fgsep_jax.separation.recording import FileRecording
import models
from models import command as run

RATE = 8000


@pytest.fixture(scope='module')
def sounds(tmp_path_factory):
    quick = {'model.layers': 1, 'features.window': 256, 'features.hop': 64}
    return models.run(tmp_path_factory.mktemp('runs') / 'sounds', 'blstm_m2', **quick)


@pytest.fixture(scope='module')
def voices(tmp_path_factory):
    return models.run(tmp_path_factory.mktemp('runs') / 'voices', 'convtasnet')


def noise(samples=4000, channels=1, seed=0):
    signal = 0.1 * np.random.default_rng(seed).standard_normal((samples, channels))
    return signal.astype(np.float32)


def wave(path, signal_TC=None, rate=RATE, subtype='PCM_16'):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise() if signal_TC is None else signal_TC, rate, subtype)
    return str(path)


def rows(folder):
    with open(folder / 'manifest.csv', newline='') as file:
        return {row['path']: row for row in csv.DictReader(file)}


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_a_tree_is_mirrored_and_parts_sum_to_it(sounds, tmp_path, capsys):
    wave(tmp_path / 'in/site a/0700.wav', noise(9001, 2), 16_000)
    wave(tmp_path / 'in/b.flac', noise(3000))
    (tmp_path / 'in/.hidden.wav').write_text('')
    (tmp_path / 'in/notes.txt').write_text('')
    out = tmp_path / 'out'
    assert run(sounds, tmp_path / 'in', '-o', out) == 0
    assert tree(out) == [
        'b_background.wav',
        'b_foreground.wav',
        'manifest.csv',
        'site a/0700_background.wav',
        'site a/0700_foreground.wav',
    ]
    parts = [soundfile.read(out / f'site a/0700_{s}.wav') for s in ('foreground', 'background')]
    assert [rate for _, rate in parts] == [16_000] * 2
    original_TC, _ = soundfile.read(tmp_path / 'in/site a/0700.wav')
    np.testing.assert_allclose(parts[0][0] + parts[1][0], original_TC, atol=1.01 / 32768)
    row = rows(out)[str(tmp_path / 'in/site a/0700.wav')]
    assert (row['status'], row['rate'], row['channels'], row['gain']) == (
        'done',
        '16000',
        '2',
        '1.0',
    )
    assert float(row['seconds']) == pytest.approx(9001 / 16_000, abs=1e-3)
    assert 'passed over: 1 .txt' in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_command_goes_on_where_it_stopped(sounds, tmp_path, capsys):
    for name in 'abc':
        wave(tmp_path / f'in/{name}.wav', noise(seed=ord(name)))
    out = tmp_path / 'out'
    assert run(sounds, tmp_path / 'in', '-o', out) == 0
    before = {name: (out / name).stat().st_mtime_ns for name in tree(out) if name.endswith('wav')}
    os.unlink(out / 'b_background.wav')
    wave(tmp_path / 'in/c.wav', noise(5000))
    assert run(sounds, tmp_path / 'in', '-o', out) == 0
    assert '1 of 3 recordings is done already' in capsys.readouterr().out
    after = {name: (out / name).stat().st_mtime_ns for name in before}
    changed = {name[0] for name in before if before[name] != after[name]}
    assert changed == {'b', 'c'}
    assert len(rows(out)) == 3


@pytest.mark.slow
def test_what_is_typed_as_it_is_anyway_is_no_other_setting(sounds, tmp_path, capsys):
    words = [sounds, wave(tmp_path / 'a.wav'), '-o', tmp_path / 'out']
    assert run(*words) == 0
    for usual in ('segment=4', 'overlap=2', 'channels=each', 'statistics=window'):
        assert run(*words, f'--{usual}') == 0
        assert 'is done already' in capsys.readouterr().out, usual
    for other in ('segment=5', 'overlap=1', 'channels=mean'):
        assert run(*words, f'--{other}') == 2, other


def test_killed_at_any_rename_it_goes_on(sounds, tmp_path, monkeypatch):
    wave(tmp_path / 'a.wav')
    whole = tmp_path / 'whole'
    assert run(sounds, tmp_path / 'a.wav', '-o', whole) == 0
    rename = os.replace
    for last in range(5):  # the new list, two parts, the list settled; then none
        out, count = tmp_path / f'out{last}', [0]

        def limited(*args, last=last, count=count):
            count[0] += 1
            if count[0] > last:
                raise KeyboardInterrupt
            rename(*args)

        monkeypatch.setattr(os, 'replace', limited)
        with pytest.raises(KeyboardInterrupt) if last < 4 else pytest.MonkeyPatch.context():
            run(sounds, tmp_path / 'a.wav', '-o', out)
        monkeypatch.setattr(os, 'replace', rename)
        assert run(sounds, tmp_path / 'a.wav', '-o', out) == 0
        assert tree(out) == tree(whole)
        for name in ('a_foreground.wav', 'a_background.wav'):
            assert (out / name).read_bytes() == (whole / name).read_bytes()
        assert [row['status'] for row in rows(out).values()] == ['done']


def lines(folder):
    with open(folder / 'manifest.csv', newline='') as file:
        return [(os.path.basename(row['path']), row['status']) for row in csv.DictReader(file)]


def test_stopped_it_leaves_a_line_a_recording(sounds, tmp_path, monkeypatch):
    for name in 'abc':
        wave(tmp_path / f'in/{name}.wav', noise(seed=ord(name)))
    out, replace = tmp_path / 'out', os.replace

    def stopped(where, path):
        if str(path).endswith('c_background.wav'):  # the first of its parts is in its place
            assert (
                lines(out)
                == [(f'{name}.wav', status) for name in 'abc' for status in ('writing', 'done')][
                    :-1
                ]
            )
            thread = threading.Thread(target=stopping.finish)  # as the thread does that waits
            thread.start()
            thread.join()
            raise KeyboardInterrupt
        replace(where, path)

    monkeypatch.setattr(os, 'replace', stopped)
    with pytest.raises(KeyboardInterrupt):
        run(sounds, tmp_path / 'in', '-o', out)
    assert lines(out) == [('a.wav', 'done'), ('b.wav', 'done'), ('c.wav', 'writing')]
    monkeypatch.setattr(os, 'replace', replace)
    assert run(sounds, tmp_path / 'in', '-o', out) == 0  # what was begun is ours
    assert lines(out) == [(f'{name}.wav', 'done') for name in 'abc']


def test_what_is_left_as_the_process_ends_gets_no_further_line(tmp_path):
    listed = manifest.Manifest(tmp_path, 'settings')
    with stopping.finishing(listed.leave):
        stopping.finish()
        assert tree(tmp_path) == []  # nothing was listed yet
    listed = manifest.Manifest(tmp_path, 'settings')
    job = inputs.Job('a.wav', 'a.wav', {'x': 'a_x.wav'})
    listed.add(job, 'writing')
    listed.add(job, 'done')
    with stopping.finishing(listed.leave):
        stopping.finish()
        late = threading.Thread(target=listed.add, args=(job, 'late'), daemon=True)
        late.start()
        late.join(0.2)
        assert late.is_alive() and lines(tmp_path) == [('a.wav', 'done')]


def test_a_torn_line_of_the_manifest_is_separated_anew(sounds, tmp_path):
    wave(tmp_path / 'a.wav')
    out = tmp_path / 'out'
    assert run(sounds, tmp_path / 'a.wav', '-o', out) == 0
    text = (out / 'manifest.csv').read_text()
    (out / 'manifest.csv').write_text(text + text.splitlines()[-1][:20])
    wave(tmp_path / 'b.wav')
    assert run(sounds, tmp_path / 'a.wav', tmp_path / 'b.wav', '-o', out) == 0
    assert {row['status'] for row in rows(out).values()} == {'done'}


@pytest.mark.slow
@pytest.mark.parametrize('what', ['another model', 'another setting', "somebody's file"])
def test_nothing_of_others_is_replaced(sounds, voices, tmp_path, capsys, what):
    wave(tmp_path / 'a.wav')
    out = tmp_path / 'out'
    words = [sounds, tmp_path / 'a.wav', '-o', out]
    if what == "somebody's file":
        wave(out / 'a_foreground.wav')
    else:
        assert run(*words) == 0
    before = {name: (out / name).read_bytes() for name in tree(out)}
    if what == 'another setting':
        words.append('--bits=24')
    if what == 'another model':
        other = tmp_path / 'sounds'
        shutil.copytree(sounds, other)
        (other / 'checkpoints/1').rename(other / 'checkpoints/1.torn')
        assert run(other, *words[1:]) == 2  # no checkpoint at all
        assert 'holds no checkpoint yet' in capsys.readouterr().err
        words = [models.run(tmp_path / 'm', 'blstm_m2', **{'model.hidden': 7}), *words[1:]]
    assert run(*words) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert {name: (out / name).read_bytes() for name in tree(out)} == before
    assert run(*words, '--overwrite') == 0


def other_of(out, before, capsys, *words):
    """What is said where parts of another recording are in the way; nothing of them changes."""
    there = {name: (out / name).read_bytes() for name in tree(out)}
    for flags in ([], ['--dry_run']):
        assert run(*words, *flags) == 2
        error = capsys.readouterr().err
        assert f'_foreground.wav is there, made of {before}: give another -o or --name, or' in error
        assert error.count('\n') == 1
    assert {name: (out / name).read_bytes() for name in tree(out)} == there
    assert run(*words, '--overwrite', '--dry_run') == 0
    assert ' -> ' in capsys.readouterr().out


@pytest.mark.parametrize('modified', ['the same', 'another'])
def test_parts_of_another_recording_are_no_part_of_this_one(
    sounds, tmp_path, monkeypatch, capsys, modified
):
    """Two cards, whose recordings have one name, size and time."""
    paths = [tmp_path / f'cards/{card}/DCIM/x.wav' for card in (1, 2)]
    for card, path in enumerate(paths):
        wave(path, noise(seed=card))
        os.utime(path, ns=(1, 1 + card * (modified == 'another')))
    out = tmp_path / 'out'
    monkeypatch.chdir(tmp_path / 'cards/1')
    assert run(sounds, 'DCIM', '-o', out) == 0
    monkeypatch.chdir(tmp_path / 'cards/2')
    other_of(out, paths[0], capsys, sounds, 'DCIM', '-o', out)
    monkeypatch.chdir(tmp_path)
    for flags in ([], ['--dry_run']):  # the very recording, from elsewhere
        assert run(sounds, 'cards/1/DCIM', '-o', out, *flags) == 0
        said = capsys.readouterr().out
        assert '1 of 1 recording is done already' in said and '->' not in said
    assert run(sounds, paths[1], '-o', out, '--overwrite') == 0
    assert [*rows(out)] == [str(paths[1])]
    other_of(out, paths[1], capsys, sounds, paths[0], '-o', out)


def test_what_came_by_a_pipe_is_not_replaced_by_what_comes_next(
    sounds, tmp_path, monkeypatch, capsys
):
    for name in 'ab':
        with open(wave(tmp_path / f'{name}.wav', noise(seed=ord(name))), 'rb') as file:
            monkeypatch.setattr('sys.stdin', types.SimpleNamespace(buffer=file))
            if name == 'a':
                assert run(sounds, '-', '-o', tmp_path / 'out') == 0
                continue
            other_of(
                tmp_path / 'out', 'standard input', capsys, sounds, '-', '-o', tmp_path / 'out'
            )
            assert run(sounds, '-', '-o', tmp_path / 'out', '--overwrite') == 0
    heard_T = sum(soundfile.read(path)[0] for path in (tmp_path / 'out').glob('*.wav'))
    np.testing.assert_allclose(heard_T, noise(seed=ord('b'))[:, 0], atol=2 / 32768)


def test_other_parts_of_one_recording_are_said_to_be_that(sounds, tmp_path, capsys):
    path, out = wave(tmp_path / 'a.wav'), tmp_path / 'out'
    assert run(sounds, path, '-o', out, '--sources=foreground', '--residual') == 0
    for flags in ([], ['--dry_run']):
        assert run(sounds, path, '-o', out, *flags) == 2
        error = capsys.readouterr().err
        assert 'of these settings, but with other parts (a_foreground.wav, a_residual.wav)' in error


def test_a_faint_recording_says_that_its_parts_are_silent(sounds, tmp_path, capsys):
    path, out = wave(tmp_path / 'a.wav', 5e-5 * noise(), subtype='FLOAT'), tmp_path / 'out'
    assert run(sounds, path, '-o', out) == 0
    said = 'rounded to silence (foreground, background): --bits=float'
    assert f'a.wav: {said}' in capsys.readouterr().out
    assert rows(out)[path]['status'].startswith(f'done: {said}')
    assert run(sounds, path, '-o', out) == 0
    assert 'done already' in capsys.readouterr().out
    assert run(sounds, path, '-o', tmp_path / 'float', '--bits=float') == 0
    assert 'silence' not in capsys.readouterr().out
    assert soundfile.read(tmp_path / 'float/a_background.wav')[0].any()


def test_a_dry_run_changes_no_list(sounds, tmp_path, capsys):
    path, out = wave(tmp_path / 'a.wav'), tmp_path / 'out'
    assert run(sounds, path, '-o', out) == 0
    torn = (out / 'manifest.csv').read_text()[:-1]
    (out / 'manifest.csv').write_text(torn)
    assert run(sounds, path, '-o', out, '--dry_run') == 0
    assert (out / 'manifest.csv').read_text() == torn


FAULTS = {
    'empty.wav': lambda path: path.write_bytes(b''),
    'text.wav': lambda path: path.write_text('no sound at all'),
    'nan.wav': lambda path: wave(path, np.full((500, 1), np.nan, np.float32), subtype='FLOAT'),
    'torn.wav': lambda path: path.write_bytes(_bytes()[:-2000]),
    'no_samples.wav': lambda path: wave(path, np.zeros((0, 1))),
    'folder.wav': lambda path: path.mkdir(),
    'link.wav': lambda path: path.symlink_to('nowhere'),
}


def _bytes():
    memory = io.BytesIO()
    soundfile.write(memory, noise(), RATE, format='WAV')
    return memory.getvalue()


def test_one_bad_file_costs_its_line_and_no_other(sounds, tmp_path, capsys):
    folder = tmp_path / 'in'
    folder.mkdir()
    for name, make in FAULTS.items():
        make(folder / name)
    wave(folder / 'a.wav')
    wave(folder / 'one.wav', noise(1))
    wave(folder / 'silent.wav', np.zeros((4000, 1)))
    wave(folder / 'offset.wav', np.full((4000, 1), 0.5))
    out = tmp_path / 'out'
    assert run(sounds, folder, '-o', out) == 1
    found = {os.path.basename(path): row['status'] for path, row in rows(out).items()}
    bad = {name for name, status in found.items() if status.startswith('failed: ')}
    assert bad == set(FAULTS) - {'folder.wav'}
    assert set(found) - bad == {'a.wav', 'one.wav', 'silent.wav', 'offset.wav'}
    assert soundfile.info(out / 'one_foreground.wav').frames == 1
    assert not soundfile.read(out / 'silent_background.wav')[0].any()
    said = capsys.readouterr()
    assert all(f'{name}: ' in said.err for name in bad)
    assert '4 done, 6 failed' in said.out
    assert not [name for name in tree(out) if files.PARTIAL in name]


@pytest.mark.parametrize(
    'error',
    [MemoryError('29.1 TiB'), jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')],
    ids=['to NumPy', 'to XLA'],
)
def test_what_no_memory_holds_costs_its_line(sounds, tmp_path, monkeypatch, capsys, error):
    paths = [wave(tmp_path / f'{name}.wav') for name in 'ab']
    errors, batch = iter([error]), model.Network._batch

    def made(*args):
        for error in errors:
            raise error
        return batch(*args)

    monkeypatch.setattr(model.Network, '_batch', made)
    assert run(sounds, *paths, '-o', tmp_path / 'out') == 1
    said = 'out of memory (--batch=8, --segment=4: fewer or shorter windows take less)'
    assert f'a.wav: {said}\n' in capsys.readouterr().err
    found = {os.path.basename(path): row['status'] for path, row in rows(tmp_path / 'out').items()}
    assert found == {'a.wav': f'failed: {said}', 'b.wav': 'done'}


@pytest.mark.parametrize('batch, wanted', [(10**9, 5), (1000, 5), (3, 3)])
def test_no_more_windows_go_together_than_the_longest_recording_has(
    sounds, tmp_path, monkeypatch, batch, wanted
):
    """Of all recordings the same number, which is compiled once."""
    paths = [wave(tmp_path / f'{n}.wav', noise(n)) for n in (900, 2400, 1600, 100)]
    seen = set()

    def known(self, cut, *, window, batch, **_):
        seen.add((window, batch))
        return (np.zeros((self.outputs, *one.shape), np.float32) for one in cut)

    monkeypatch.setattr(model.Network, 'run', known)
    words = [sounds, *paths, '-o', tmp_path / 'out', '--segment=0.1', f'--batch={batch}']
    assert run(*words) == 0 and seen == {(800, wanted)}


@pytest.mark.few(3)
@pytest.mark.parametrize('suffix', ['wav', 'w64', 'aiff', 'ogg', 'mp3', 'caf', 'flac'])
def test_what_is_there_of_a_truncated_recording_is_taken_where_asked_for(
    sounds, tmp_path, capsys, suffix
):
    path, out = tmp_path / f'a.{suffix}', tmp_path / 'out'
    soundfile.write(path, noise(24_000), RATE)
    path.write_bytes(path.read_bytes()[: -700 if suffix in ('ogg', 'mp3') else -7000])
    words = [sounds, path, '-o', out]
    for flags in ((), ('--dry_run',))[: 1 if suffix == 'flac' else 2]:  # which decodes nothing
        assert run(*words, *flags) == 1
        said = capsys.readouterr()
        assert '; --truncated takes what is there' in said.out + said.err
    for flag in ('--truncated', ''):  # what was taken once is done
        assert run(*words, *filter(None, [flag])) == 0
    assert run(*words, '--truncated', '--dry_run') == 0
    said = capsys.readouterr().out
    assert said.count(f'a.{suffix}: truncated (') == 1
    assert '1 done, 1 of them truncated, 0 failed' in said and 'is done already' in said
    (row,) = rows(out).values()
    assert row['status'].startswith('done: truncated (')
    frames = soundfile.info(out / 'a_foreground.wav').frames
    assert 0 < frames < 24_000 and float(row['seconds']) == pytest.approx(frames / RATE, abs=1e-3)


def test_what_is_damaged_within_is_not_taken_for_truncated(sounds, tmp_path, capsys):
    soundfile.write(tmp_path / 'a.ogg', noise(24_000), RATE)
    data = bytearray((tmp_path / 'a.ogg').read_bytes())
    data[-2000] ^= 1
    (tmp_path / 'a.ogg').write_bytes(data[:-700])
    assert run(sounds, tmp_path / 'a.ogg', '-o', tmp_path / 'out', '--truncated') == 1
    assert 'a.ogg: damaged (' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], 'MODEL INPUT... is needed'),
        (['M'], 'MODEL and INPUT are needed'),
        (['no/run', 'a.wav'], 'there is no model no/run'),
        (['bare', 'a.wav'], 'bare holds no run'),
        (['a.wav', 'a.flac'], 'the model comes first'),
        (['a.wav', 'voices'], 'a.wav is a recording; the model comes first'),
        (['a.flac', '--live'], 'a.flac is a recording; the model comes first'),
        (['M', 'a.wav', '--background=0-1'], 'no auxiliary network'),
        (['M', 'b.wav'], 'b.wav: there is no such file'),
        (['M', '*.mp3'], '*.mp3: no file fits this pattern'),
        (['M', '@no.txt'], 'no.txt cannot be read'),
        (['M', 'bare'], 'no audio in this folder (1 .txt)'),
        (['M', 'a.wav', 'a.flac'], 'would both be written to a_foreground.wav'),
        (['M', 'a.wav', '-o', '.', '--name={file}_{source}/../{file}'], 'is an input'),
        (['M', 'a.wav', '--name={path}/{file}'], "needs '{source}'"),
        (['M', 'a.wav', '--name={take}_{source}'], '--name={take}_{source}: must be'),
        (['M', 'a.wav', '--name=../{source}'], 'outside the output folder'),
        (['M', 'a.wav', '--name=/x/{file}_{source}'], '/x/a_foreground.wav is absolute'),
        (['M', 'a.wav', '--name=//{source}', '--dry_run'], '//foreground.wav is absolute'),
        (['M', 'a.wav', '--name=manifest.csv/{source}{file}'], 'manifest.csv is a file that this'),
        (
            ['M', 'a.wav', '--name=Index.HTML/{source}', '--dry_run'],
            'Index.HTML is a file that this',
        ),
        (['M', '@list.txt'], '@list.txt, line 3: b.wav: there is no such file'),
        (['M', '@lists.txt'], '@lists.txt, line 1: @list.txt, line 3: b.wav: there is no such'),
        (['M', '@remarks.txt'], '@remarks.txt: this list is empty'),
        (['M', 'a.wav', '--sources=voice'], 'this model gives foreground, background'),
        (
            ['M', 'a.wav', '--channels=0'],
            "--channels=0: must be 'each', 'mean' or the number of one, from 1 on",
        ),
        (['M', 'a.wav', '--rate=fast'], '--rate=fast: must be'),
        (['M', 'a.wav', '--segment=nan'], '--segment=nan: must be'),
        (['M', 'a.wav', '--segment=0.01'], '--segment=0.01: must be'),
        (
            ['M', 'a.wav', '--overlap=2.5'],
            '--overlap=2.5: must be half of the segment at most, 2 s',
        ),
        (['M', 'a.wav', '--overlap=1', '--segment=1'], '--overlap=1.0: must be half'),
        (['M', 'a.wav', '--sources='], '--sources='),
        (['M', 'a.wav', '--rate=999'], "--rate=999: must be 'input', 'model' or a number of hertz"),
        (['M', '-', '--raw_rate=999'], '--raw_rate=999: must be a number of hertz from 1,000'),
        (['M', 'a.wav', '--overlap=-1'], '--overlap=-1.0: must be'),
        (['M', 'a.wav', '--batch=0'], '--batch=0: must be'),
        (['M', 'a.wav', '--format=flac', '--bits=float'], '--bits=float: must be 16 or 24'),
        (['M', 'a.wav', '--format=ogg', '--bits=24'], '--bits=24: must be 16 with ogg'),
        (['M', 'a.wav', '--format=mp3', '--rate=96000'], '--rate=96000: mp3 knows 8000'),
        (['M', 'a.wav', '--background=2-1'], '--background=2-1: must be START before END'),
        (['M', 'a.wav', '--background=x.wav'], '--background=x.wav: must be a file'),
        (['M', 'a.wav', '--start=-1'], '--start=-1.0: must be'),
        (['M', 'a.wav', '-o', 'a.wav'], 'a.wav is a file, not a folder'),
        (['M', 'a.wav', '-o', 'a.wav/x', '--dry_run'], 'a.wav is a file, not a folder'),
        (['M', 'a.wav', '-o', '/dev/null'], '/dev/null is a file, not a folder'),
    ],
)
def test_a_mistake_ends_it_before_anything_is_written(
    sounds, tmp_path, monkeypatch, capsys, words, said
):
    monkeypatch.chdir(tmp_path)
    wave(tmp_path / 'a.wav')
    wave(tmp_path / 'a.flac')
    (tmp_path / 'bare').mkdir()
    (tmp_path / 'bare/x.txt').write_text('')
    (tmp_path / 'list.txt').write_text('a.wav\n\nb.wav\n')
    (tmp_path / 'lists.txt').write_text('@list.txt\n')
    (tmp_path / 'remarks.txt').write_text('# all [of] it\n  # no more\n')
    before = tree(tmp_path)
    words = [sounds if word == 'M' else word for word in words]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count('\n') == 1
    assert tree(tmp_path) == before


def test_lists_globs_and_repeats_name_each_file_once(sounds, tmp_path, capsys):
    a, b = wave(tmp_path / 'a.wav'), wave(tmp_path / 'b.wav')
    (tmp_path / 'list.txt').write_text(f'\ufeff{a}\n\n{b}\n')  # as an editor may save it
    words = [sounds, f'@{tmp_path}/list.txt', a, f'{tmp_path}/?.wav', '-o', tmp_path / 'out']
    assert run(*words, '--dry_run') == 0
    assert capsys.readouterr().out.count(' -> ') == 2
    assert not (tmp_path / 'out').exists()


def test_a_line_of_a_list_is_a_comment_where_it_names_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a.wav', '#b.wav', '# c.wav'):
        wave(tmp_path / name)
    (tmp_path / 'list.txt').write_text('# those of May\na.wav\n#b.wav\n# c*.wav\n  #d.wav\n')
    found, _ = inputs.listed(['@list.txt'])
    assert [path for path, _ in found] == ['a.wav', '#b.wav', '# c.wav']


def test_words_behind_two_dashes_are_inputs(sounds, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wave(tmp_path / '-dash.wav')
    assert run('--dry_run', '-o', 'out', '--', sounds, '-dash.wav') == 0
    assert '-dash.wav (0.5 s, 8000 Hz) -> out/-dash_foreground.wav' in capsys.readouterr().out


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ('flags', 'form', 'subtype'),
    [
        (['--bits=24'], 'WAV', 'PCM_24'),
        (['--bits=float'], 'WAV', 'FLOAT'),
        (['--format=flac', '--bits=24'], 'FLAC', 'PCM_24'),
        (['--format=ogg'], 'OGG', 'VORBIS'),
        (['--format=mp3'], 'MP3', 'MPEG_LAYER_III'),
    ],
)
def test_forms(sounds, tmp_path, flags, form, subtype):
    wave(tmp_path / 'a.wav', noise(9000), 16_000)
    assert run(sounds, tmp_path / 'a.wav', '-o', tmp_path / 'out', *flags) == 0
    about = soundfile.info(next((tmp_path / 'out').glob('a_foreground.*')))
    assert (about.format, about.subtype, about.samplerate) == (form, subtype, 16_000)


@pytest.mark.slow
def test_parts_residual_rate_and_span(voices, tmp_path):
    signal_TC = noise(32_000, 2)
    wave(tmp_path / 'a.wav', signal_TC, 16_000, 'FLOAT')
    flags = ['--sources=speaker_2', '--residual', '--rate=model', '--bits=float', '--channels=2']
    flags += ['--start=0.5', '--seconds=1', '--name={model}-{suffix}-{file}.{source}']
    assert run(voices, tmp_path / 'a.wav', '-o', tmp_path / 'out', *flags) == 0
    out = tmp_path / 'out'
    assert tree(out) == [
        'manifest.csv', 'voices-wav-a.residual.wav', 'voices-wav-a.speaker_2.wav'
    ]  # fmt: skip
    parts = [soundfile.read(out / name) for name in tree(out)[1:]]
    assert all(rate == 8000 and len(part_T) == 8000 for part_T, rate in parts)
    from fgsep_jax.data.resample import resample

    wanted_T = resample(signal_TC[8000:24_000, 1], 16_000, 8000)
    np.testing.assert_allclose(parts[0][0] + parts[1][0], wanted_T, atol=1e-5)


def test_one_gain_where_anything_would_clip(sounds, tmp_path, capsys):
    signal_TC = 4 * noise(9000) / np.abs(noise(9000)).max()
    wave(tmp_path / 'loud.wav', signal_TC, subtype='FLOAT')
    assert run(sounds, tmp_path / 'loud.wav', '-o', tmp_path / 'out') == 0
    row = rows(tmp_path / 'out')[str(tmp_path / 'loud.wav')]
    gain = float(row['gain'])
    assert gain < 1
    parts = [
        soundfile.read(tmp_path / f'out/loud_{s}.wav', always_2d=True)[0]
        for s in ('foreground', 'background')
    ]
    np.testing.assert_allclose(sum(parts) / gain, signal_TC, atol=1e-3)
    assert max(np.abs(part).max() for part in parts) == pytest.approx(1 - 2**-15, abs=1e-4)
    assert 'not to clip' in capsys.readouterr().out


def test_json_is_a_line_a_recording(sounds, tmp_path, capsys):
    wave(tmp_path / 'a.wav')
    (tmp_path / 'b.wav').write_text('x')
    words = [sounds, tmp_path / 'a.wav', tmp_path / 'b.wav', '-o', tmp_path / 'out', '--json']
    assert run(*words) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['status'] for line in lines] == ['done', 'failed']
    assert lines[0]['seconds'] == 0.5 and lines[1]['reason'].startswith('unreadable')


@pytest.mark.parametrize('raw', [False, True])
def test_standard_input(sounds, tmp_path, monkeypatch, raw):
    data = _bytes()

    class Input:
        buffer = io.BytesIO(data[44:] if raw else data)

    monkeypatch.setattr('sys.stdin', Input)
    flags = [f'--raw_rate={RATE}'] if raw else []
    assert run(sounds, '-', '-o', tmp_path, *flags) == 0
    parts = [soundfile.read(tmp_path / f'stdin_{s}.wav')[0] for s in ('foreground', 'background')]
    np.testing.assert_allclose(sum(parts), noise()[:, 0], atol=2 / 32768)


@pytest.mark.parametrize('half', [b'', b'\1'])
def test_half_a_sample_at_the_end_of_a_pipe_is_said(sounds, tmp_path, monkeypatch, capsys, half):
    data = types.SimpleNamespace(buffer=io.BytesIO(_bytes()[44:] + half))
    monkeypatch.setattr('sys.stdin', data)
    assert run(sounds, '-', '-o', tmp_path, f'--raw_rate={RATE}') == 0
    said = capsys.readouterr().out
    assert said.count('standard input: truncated (half a sample') == len(half)
    (row,) = rows(tmp_path).values()
    assert row['status'].startswith('done: truncated (half a sample' if half else 'done')
    assert soundfile.info(tmp_path / 'stdin_background.wav').frames == len(noise())


def test_a_full_disk_costs_its_line(sounds, tmp_path, monkeypatch, capsys):
    wave(tmp_path / 'a.wav', noise(9000))
    wave(tmp_path / 'b.wav', noise(100))
    write = writing.Output.write

    def full(self, data):
        if self.tell() + len(data) > 4000:
            self.error = OSError(28, 'No space left on device')
            return len(data)
        return write(self, data)

    monkeypatch.setattr(writing.Output, 'write', full)
    out = tmp_path / 'out'
    assert run(sounds, tmp_path / 'a.wav', tmp_path / 'b.wav', '-o', out) == 1
    assert 'No space left on device' in capsys.readouterr().err
    assert tree(out) == ['b_background.wav', 'b_foreground.wav', 'manifest.csv']


@pytest.mark.parametrize('gone', ['', lock.NAME])  # all of the folder, its lock
@pytest.mark.parametrize('where', ['separate', 'length_at'])  # after a recording, or within one
def test_a_lock_that_is_lost_ends_it_and_costs_no_recording_its_line(
    sounds, tmp_path, monkeypatch, capsys, where, gone
):
    for name in 'abc':
        wave(tmp_path / f'in/{name}.wav')
    out, seen, original = tmp_path / 'out', [], getattr(engine, where)

    def lose(*words, **flags):
        seen.append(words)
        if not seen[1:]:
            shutil.rmtree(out / gone)
            if where == 'length_at':
                raise FileNotFoundError(2, 'No such file or directory', f'{out}/temporary')
        return original(*words, **flags)

    monkeypatch.setattr(engine, where, lose)
    assert run(sounds, tmp_path / 'in', '-o', out) == os.EX_TEMPFAIL
    said = capsys.readouterr().err
    assert said.startswith(f'error: the lock of {out} was removed, or') and said.count('\n') == 1
    assert len(seen) == 1 and not [name for name in tree(out) if name.endswith('wav')]
    monkeypatch.setattr(engine, where, original)
    assert run(sounds, tmp_path / 'in', '-o', out) == 0  # what is left is ours


def test_a_lock_that_is_lost_under_a_page_is_said_once(sounds, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    monkeypatch.setattr(page, 'render', lambda *_, **__: shutil.rmtree(out / lock.NAME) or '')
    words = [sounds, wave(tmp_path / 'a.wav'), '-o', out, '--page']
    assert run(*words) == os.EX_TEMPFAIL
    said = capsys.readouterr().err
    assert said.startswith(f'error: the lock of {out} was') and said.count('\n') == 1


def test_labels_say_where_a_part_sounds(sounds, tmp_path):
    wave(tmp_path / 'a.wav')
    assert run(sounds, tmp_path / 'a.wav', '-o', tmp_path / 'out', '--labels') == 0
    start, stop, part = (tmp_path / 'out/a_labels.txt').read_text().split('\n')[0].split('\t')
    assert part in ('foreground', 'background') and 0 <= float(start) < float(stop) <= 0.5
    lines = (tmp_path / 'out/a_selections.txt').read_text().splitlines()
    assert lines[0].startswith('Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)')


def test_labels_do_not_depend_on_which_parts_are_written(tmp_path):
    """A voice leaks into the other part; that is none of the other's, alone as beside it."""
    first_T, second_T = noise(24_000)[:, 0], np.zeros(24_000, np.float32)
    second_T[:8000], second_T[8000:] = 0.1 * first_T[:8000], noise(16_000, seed=1)[:, 0]
    first_T[8000:] = 0
    block_TSC = np.stack([first_T, second_T], axis=1)[..., None]
    made = engine.Separated(
        RATE, 24_000, 1, 3.0, np.nan, None, lambda: [block_TSC], lambda: [block_TSC.sum(axis=1)]
    )
    for parts in (['a', 'b', 'residual'], ['b']):
        outputs = {part: tmp_path / f'x_{part}.wav' for part in parts}
        writing.write(made, ('a', 'b'), outputs, labels=True)
        lines = (tmp_path / 'x_labels.txt').read_text().splitlines()
        spans = [line for line in lines if line.endswith('b')]
        assert spans == ['1.000\t3.000\tb']


@pytest.mark.parametrize('start', range(12))
def test_the_shortest_label_is_one_wherever_it_stands(start):
    level_db = np.full(20, -99.0)
    level_db[start : start + 2] = -20
    assert len(activity.stretches({'a': level_db}, step=0.05, seconds=1.0)['a']) == 1


@pytest.mark.slow
def test_a_page_to_listen_to(sounds, tmp_path, capsys):
    wave(tmp_path / 'a<b>.wav', noise(9000, 2))
    wave(tmp_path / 'c.wav')
    (tmp_path / 'b.wav').write_text('x')
    out, files = tmp_path / 'out', [tmp_path / name for name in ('b.wav', 'a<b>.wav', 'c.wav')]
    words = [sounds, *files, '-o', out, '--page=1']
    assert run(*words) == 1
    assert '(the first 1 of 2; --page=2 shows all)' in capsys.readouterr().out
    html = (out / 'index.html').read_text()
    assert html.count('<audio') == 3 and 'a&lt;b&gt;.wav' in html and 'a<b>' not in html
    assert run(*words) == 1  # its own page may be replaced
    (out / 'index.html').write_text('mine')
    assert run(*words) == 2
    assert (out / 'index.html').read_text() == 'mine'


def test_a_list_of_somebody_else_is_neither_lost_nor_taken_for_ours(sounds, tmp_path, capsys):
    """Nor does a folder of recordings that has one count as made by this command."""
    wave(tmp_path / 'in/site/a.wav')
    out = tmp_path / 'out'
    out.mkdir()
    for content in ('file,speaker\na.wav,me\n', 'path,status\nx,y\n', '\x00', 'path;outputs\n'):
        (tmp_path / 'in/site/manifest.csv').write_text(content)
        (out / 'manifest.csv').write_text(content)
        for words in ([], ['--overwrite']):
            assert run(sounds, tmp_path / 'in', '-o', out, *words) == 2
            said = capsys.readouterr().err
            assert 'manifest.csv is there, and not from this command' in said
            assert said.count('\n') == 1 and tree(out) == ['manifest.csv']
        assert (out / 'manifest.csv').read_text() == content
    os.remove(out / 'manifest.csv')
    assert run(sounds, tmp_path / 'in', '-o', out, '--dry_run') == 0
    assert 'a.wav' in capsys.readouterr().out


@pytest.mark.slow
def test_a_list_cut_anywhere_goes_on(sounds, tmp_path, capsys):
    out, words = tmp_path / 'out', [sounds, wave(tmp_path / 'a.wav'), '-o', tmp_path / 'out']
    assert run(*words) == 0
    whole = (out / 'manifest.csv').read_bytes()
    header = whole.index(b'\n') + 1
    for cut in (0, 7, header - 1, header, header + 9, len(whole) - 3):
        (out / 'manifest.csv').write_bytes(whole[:cut])
        assert run(*words, '--overwrite') == 0, capsys.readouterr().err
        assert rows(out)[str(tmp_path / 'a.wav')]['status'] == 'done'
        assert len((out / 'manifest.csv').read_text().splitlines()) == 2
        capsys.readouterr()


@pytest.mark.parametrize('name', ['out/manifest.csv', 'out/index.html', 'list.txt'])
def test_a_pipe_is_not_waited_for(sounds, tmp_path, capsys, name):
    (tmp_path / 'out').mkdir()
    os.mkfifo(tmp_path / name)
    words = [sounds, wave(tmp_path / 'a.wav'), '-o', tmp_path / 'out', '--page']
    assert run(*words, *([f'@{tmp_path}/list.txt'] if name == 'list.txt' else [])) == 2
    said = capsys.readouterr().err
    assert f'{name} cannot be read: it is no regular file' in said and said.count('\n') == 1


@pytest.mark.parametrize('words, pages', [([], 0), (['--page'], 5), (['--page=2'], 2)])
def test_a_page_is_a_switch_that_may_have_a_number(words, pages):
    for line in (['m', 'a', *words], [*words, 'm', 'a'], ['m', *words, '-o', 'x', 'a']):
        args, rest = separate._parser().parse(line)
        assert (args.page, rest) == (pages, ['m', 'a'])


@pytest.mark.parametrize('flags', [['--format=mp3']])
def test_a_form_that_cannot_hold_a_recording_costs_its_line(sounds, tmp_path, flags):
    wave(tmp_path / 'a.wav', noise(3000, 6), 16_000)
    wave(tmp_path / 'b.wav', noise(3000, 1), 16_000)
    words = [sounds, tmp_path / 'a.wav', tmp_path / 'b.wav', '-o', tmp_path / 'out', *flags]
    assert run(*words) == 1
    found = {os.path.basename(path): row['status'] for path, row in rows(tmp_path / 'out').items()}
    assert found['a.wav'].startswith('failed: ')
    assert found['b.wav'] == 'done'


def test_samples_are_rounded_to_the_nearest(tmp_path):
    signal_T = np.linspace(-1, 1, 9999, dtype=np.float32)
    for bits, step in (('16', 2**-15), ('24', 2**-23)):
        soundfile.write(tmp_path / 'x.wav', writing.rounded(signal_T, bits), RATE, f'PCM_{bits}')
        error_T = soundfile.read(tmp_path / 'x.wav')[0][:-1] - signal_T[:-1]
        assert np.abs(error_T).max() <= 0.5001 * step


@pytest.mark.parametrize(
    'name, make, said',
    [
        ('a_background.wav', os.mkdir, 'is there, and is no file to replace'),
        ('a_background.wav', os.mkfifo, 'is there, and is no file to replace'),
        ('a_labels.txt', os.mkdir, 'is there, and is no file to replace'),
        ('below', lambda path: path.write_text('mine'), 'is a file, not a folder'),
    ],
)
def test_what_is_in_the_way_of_a_part_is_refused_before(sounds, tmp_path, capsys, name, make, said):
    wave(tmp_path / 'in/a.wav')
    wave(tmp_path / 'in/below/b.wav')
    out, words = tmp_path / 'out', [sounds, tmp_path / 'in', '-o', tmp_path / 'out', '--labels']
    out.mkdir()
    make(out / name)
    for more in ([], ['--overwrite'], ['--dry_run']):
        assert run(*words, *more) == 2
        line = capsys.readouterr().err
        assert line.startswith(f'error: {out}/{name}') and said in line and line.count('\n') == 1
    assert os.listdir(out) == [name]


def test_labels_stay_ours_where_a_part_is_made_anew(sounds, tmp_path, capsys):
    path, out = wave(tmp_path / 'a.wav'), tmp_path / 'out'
    words = [sounds, path, '-o', out]
    assert run(*words, '--labels') == 0
    (out / 'a_foreground.wav').unlink()
    assert run(*words) == 0
    capsys.readouterr()
    assert run(*words, '--labels') == 0
    assert 'is done already' in capsys.readouterr().out
    wave(tmp_path / 'a.wav', noise(seed=1))  # of another recording they are others
    assert run(*words) == 0
    assert run(*words, '--labels') == 2


def test_labels_of_others_stay(sounds, tmp_path, capsys):
    wave(tmp_path / 'a.wav')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/a_labels.txt').write_text('mine')
    words = [sounds, tmp_path / 'a.wav', '-o', tmp_path / 'out', '--labels']
    assert run(*words) == 2
    assert (tmp_path / 'out/a_labels.txt').read_text() == 'mine'
    assert run(*words, '--overwrite') == 0
    os.unlink(tmp_path / 'out/a_labels.txt')
    assert run(*words) == 0
    assert (tmp_path / 'out/a_labels.txt').exists()


def test_a_damaged_manifest_and_a_list_of_itself(sounds, tmp_path, capsys):
    wave(tmp_path / 'a.wav')
    out = tmp_path / 'out'
    assert run(sounds, tmp_path / 'a.wav', '-o', out) == 0
    with open(out / 'manifest.csv', 'a') as file:
        file.write('x' * 200_000 + '\n')
    assert run(sounds, tmp_path / 'a.wav', '-o', out) == 0
    (tmp_path / 'loop.txt').write_text(f'@{tmp_path}/loop.txt')
    assert run(sounds, f'@{tmp_path}/loop.txt', '-o', out) == 2
    assert 'names itself' in capsys.readouterr().err


@pytest.mark.slow
def test_a_background_is_of_the_whole_recording(tmp_path):
    model = models.run(tmp_path / 'aux', 'blstm_m2_plus')
    signal_TC = noise(48_000)
    wave(tmp_path / 'a.wav', signal_TC)
    words = [model, tmp_path / 'a.wav', '--start=4', '-o', tmp_path / 'out']
    assert run(*words, '--background=0-1') == 0
    assert rows(tmp_path / 'out')[str(tmp_path / 'a.wav')]['background'] == '0.00-0.05'  # are heard
    assert run(*words, '--background=5-5.5', '--overwrite') == 0
    assert run(*words, '--overwrite') == 0
    start, _ = rows(tmp_path / 'out')[str(tmp_path / 'a.wav')]['background'].split('-')
    assert float(start) >= 4


@pytest.mark.slow
def test_a_background_that_cannot_be_heard_is_said_once(tmp_path, capsys):
    model = models.run(tmp_path / 'aux', 'blstm_m2_plus')
    wave(tmp_path / 'a.wav')
    wave(tmp_path / 'short.wav', noise(0))
    (tmp_path / 'text.wav').write_text('x' * 200)
    wave(tmp_path / 'silent.wav', 0 * noise())
    for name, why in (('short', 'too short'), ('text', 'unreadable'), ('silent', 'silent')):
        words = [model, tmp_path / 'a.wav', '-o', tmp_path / 'out']
        assert run(*words, f'--background={tmp_path}/{name}.wav') == 2
        said = capsys.readouterr().err
        assert f'--background: {tmp_path}/{name}.wav: {why}' in said and said.count('\n') == 1
        assert not {'manifest.csv', 'a_foreground.wav'} & {*tree(tmp_path / 'out')}


@pytest.mark.slow
def test_of_a_short_background_there_is_one_note(tmp_path, capsys):
    model = models.run(tmp_path / 'aux', 'blstm_m2_plus')
    wave(tmp_path / 'in/a.wav')
    wave(tmp_path / 'in/b.wav')
    little = 'only 0.02 s of background are heard; the model was trained with 0.05 s'
    words = [model, tmp_path / 'in', '-o', tmp_path / 'out', '--overwrite']
    for background, lines in (
        (wave(tmp_path / 'rain.wav', noise(160)), [f'note: {little}']),
        ('0-0.02', [f'{tmp_path}/in/{name}.wav: {little}' for name in 'ab']),
        ('0-0.05', []),
    ):
        assert run(*words, f'--background={background}') == 0
        said = capsys.readouterr().out.splitlines()
        assert [line for line in said if 'only' in line] == lines


@pytest.mark.slow
def test_a_background_that_has_changed_is_another_setting(tmp_path):
    model = models.run(tmp_path / 'aux', 'blstm_m2_plus')
    wave(tmp_path / 'a.wav')
    wave(tmp_path / 'rain.wav', noise(seed=1))
    words = [model, tmp_path / 'a.wav', '-o', tmp_path / 'out']
    words.append(f'--background={tmp_path}/rain.wav')
    assert run(*words) == 0 == run(*words)
    wave(tmp_path / 'rain.wav', noise(5000, seed=2))
    assert run(*words) == 2


def test_a_checkpoint_that_was_passed_over_is_said(sounds, tmp_path, capsys):
    shutil.copytree(sounds, tmp_path / 'run')
    (tmp_path / 'run/checkpoints/7').mkdir()
    wave(tmp_path / 'a.wav')
    assert run(tmp_path / 'run', tmp_path / 'a.wav', '-o', tmp_path / 'out') == 0
    assert 'note: a torn or damaged checkpoint is passed over' in capsys.readouterr().out


def test_activity():
    rate = 8000
    signal_T = np.zeros(10 * rate)
    for start, stop in ((1, 2), (2.2, 3), (5, 5.04), (7, 9)):
        span = slice(int(start * rate), int(stop * rate))
        signal_T[span] = np.sin(np.arange(span.stop - span.start))
    meter = activity.Meter(rate)
    for at in range(0, len(signal_T), 777):
        meter.add(signal_T[at : at + 777, None])
    level_db = meter.level_db()
    quieter = {'same': level_db - 14.0, 'leakage': level_db - 16.0, 'none': level_db - 100.0}
    step = dict(step=meter.step, seconds=10.0)
    found = activity.stretches({'part': level_db, **quieter}, **step)
    for part in ('part', 'same'):
        np.testing.assert_allclose(found[part], [(1, 3), (7, 9)], atol=0.051)
    assert found['leakage'] == found['none'] == []
    assert activity.stretches({'part': level_db - 16.0}, **step)['part'] == found['part']
    assert activity.stretches({'part': np.full(100, -120.0)}, **step) == {'part': []}
    assert activity.stretches({'part': np.zeros(0)}, **step) == {'part': []}


def test_parts_among_the_recordings_are_not_taken_for_recordings(sounds, tmp_path, capsys):
    wave(tmp_path / 'a.wav')
    wave(tmp_path / 'below/b.wav')
    for out in (tmp_path, tmp_path / 'below'):
        for _ in range(2):
            assert run(sounds, tmp_path, '-o', out) == 0
    said = capsys.readouterr().out
    assert 'passed over: 4 written by this command' in said
    assert '2 of 2 recordings are done already' in said
    assert len(tree(tmp_path)) == 2 + 2 * 4 + 2  # recordings, parts of each, two manifests


def test_a_name_as_long_as_they_get(sounds, tmp_path):
    wave(tmp_path / f'{"n" * 240}.wav')
    assert run(sounds, tmp_path, '-o', tmp_path / 'out') == 0
    assert len(tree(tmp_path / 'out')) == 3


@pytest.mark.parametrize('as_json', [False, True])
def test_a_dry_run_says_what_cannot_be_read(sounds, tmp_path, capsys, as_json):
    wave(tmp_path / 'a.wav')
    (tmp_path / 'b.wav').write_text('no sound')
    words = [sounds, tmp_path, '-o', tmp_path / 'out', '--dry_run']
    assert run(*words, *(['--json'] if as_json else [])) == 1
    good, bad = capsys.readouterr().out.splitlines()
    if as_json:
        good, bad = json.loads(good), json.loads(bad)
        assert good['seconds'] == 0.5 and good['outputs'][0].endswith('a_foreground.wav')
        assert bad['status'] == 'failed' and 'unreadable' in bad['reason']
    else:
        assert '(0.5 s, 8000 Hz) ->' in good and 'b.wav: unreadable' in bad
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'signal_TC, rate, words, reason',
    [
        (noise(0), RATE, [], 'empty (no samples)'),
        (noise(), RATE, ['--start=0.5'], 'empty (it ends before 0.5 s)'),
        (
            noise(),
            RATE,
            ['--start=0.1', '--seconds=0.00001'],
            'empty (--seconds=1e-05 is less than a sample at 8000 Hz)',
        ),
        (noise(channels=2), RATE, ['--channels=7'], 'too few channels (2; --channels=7)'),
        (noise(channels=6), 16_000, ['--format=mp3'], '6 channels (mp3 holds 2 at most)'),
        (noise(), 192_000, ['--format=mp3'], '; --rate=N gives another)'),
    ],
)
def test_a_dry_run_fails_as_the_run_does_and_in_flags(
    sounds, tmp_path, capsys, signal_TC, rate, words, reason
):
    path, out = wave(tmp_path / 'a.wav', signal_TC, rate), tmp_path / 'out'
    for flag in (['--dry_run'], []):
        assert run(sounds, path, '-o', out, *words, *flag) == 1
        said = ''.join(capsys.readouterr())
        assert reason in said and not re.search(' (rate|channels|seconds)=', said)


def test_a_failure_is_said_once(sounds, tmp_path, capsys):
    wave(tmp_path / 'a.wav')
    (tmp_path / 'b.wav').write_text('no sound')
    assert run(sounds, tmp_path, '-o', tmp_path / 'out') == 1
    said = ''.join(capsys.readouterr())
    assert said.count('unreadable') == 1 and 'manifest.csv says why' in said


def test_what_a_killed_process_left_of_standard_input_goes(sounds, tmp_path):
    wave(tmp_path / 'in/below/a.wav')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / f'{files.PARTIAL}x.audio').write_bytes(b'x')
    assert run(sounds, tmp_path / 'in', '-o', tmp_path / 'out') == 0
    assert not [name for name in tree(tmp_path / 'out') if files.PARTIAL in name]


def _by_name(path):
    with audio_files.for_libsndfile(str(path / 'a.m4a')):
        pass


READERS = {
    'standard input': lambda path: separate._standard_input(str(path), 0, set()).__enter__(),
    'raw': lambda path: separate._standard_input(str(path), RATE, set()).__enter__(),
    'by its suffix': _by_name,
    'by its bytes': lambda path: FileRecording(str(path / 'a.wav'), folder=str(path)),
}


@pytest.mark.parametrize('reader', READERS)
def test_a_stopped_process_leaves_nothing_of_what_it_decoded(tmp_path, monkeypatch, reader):
    seen = []

    def stop(*args, **kwargs):
        before = {path: (tmp_path / path).read_bytes() for path in tree(tmp_path)}
        files.remove_unfinished()
        seen.extend([before.keys(), tree(tmp_path)])
        for path, content in before.items():  # who goes on unwinds, and finds them
            (tmp_path / path).write_bytes(content)
        raise audio_files.BadInput('stopped')

    for name in ('a.wav', 'a.m4a'):
        (tmp_path / name).write_bytes(b'no sound')
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    data = types.SimpleNamespace(buffer=types.SimpleNamespace(read=stop, read1=stop))
    monkeypatch.setattr('sys.stdin', data)
    monkeypatch.setattr(audio_files, 'by_ffmpeg', stop)
    with pytest.raises(audio_files.BadInput, match='stopped'):
        READERS[reader](tmp_path)
    assert [sum(files.PARTIAL in path for path in paths) for paths in seen] == [1, 0]


@pytest.mark.slow
def test_statistics_of_the_file(sounds, voices, tmp_path, capsys):
    path = wave(tmp_path / 'a.wav', noise(20_000), subtype='FLOAT')
    words = ['--statistics=file', '--segment=0.5', '--bits=float']
    assert run(sounds, path, '-o', tmp_path / 'no', *words) == 2
    assert '--statistics=file: sounds has no norms over all' in capsys.readouterr().err
    assert run(voices, path, '-o', tmp_path / 'cut', *words) == 0
    assert run(voices, path, '-o', tmp_path / 'whole', '--segment=0', '--bits=float') == 0
    for name in ('a_speaker_1.wav', 'a_speaker_2.wav'):
        cut_T, whole_T = (soundfile.read(tmp_path / d / name)[0] for d in ('cut', 'whole'))
        np.testing.assert_allclose(cut_T, whole_T, atol=1e-4 * np.abs(whole_T).max())


def test_what_the_model_does_not_hear_of_standard_input_is_said(
    sounds, tmp_path, monkeypatch, capsys
):
    data = types.SimpleNamespace(buffer=io.BytesIO(bytes(8000)))
    monkeypatch.setattr('sys.stdin', data)
    assert run(sounds, '-', '--raw_rate=16000', '-o', tmp_path) == 0
    assert 'recordings at 16,000 Hz; the model hears up to 4,000 Hz' in capsys.readouterr().out


def test_seconds_in_which_voices_may_change_places_are_said(voices, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('fgsep_jax.separation.engine.MARGIN', 1e9)
    wave(tmp_path / 'a.wav', noise(100_000))
    assert run(voices, tmp_path / 'a.wav', '-o', tmp_path / 'out') == 0
    assert 'who is who was decided by little in 4' in capsys.readouterr().out


def test_parts_that_other_settings_replaced_are_not_done(sounds, tmp_path, capsys):
    path = wave(tmp_path / 'a.wav', noise(16_000))
    out = tmp_path / 'out'
    assert run(sounds, path, '-o', out) == 0
    other = ['--sources=foreground', '--start=1', '--overwrite']
    assert run(sounds, path, '-o', out, *other) == 0
    assert run(sounds, path, '-o', out) == 2
    assert 'a_foreground.wav is there, and not from this model' in capsys.readouterr().err
    assert run(sounds, path, '-o', out, *other[:2]) == 0
    assert 'done already' in capsys.readouterr().out


def test_a_recording_that_changes_meanwhile_costs_its_line(sounds, tmp_path, monkeypatch, capsys):
    path = wave(tmp_path / 'a.wav')
    write = writing._write

    def and_change(*args, **how):
        wave(tmp_path / 'a.wav', noise(seed=1))
        return write(*args, **how)

    monkeypatch.setattr(writing, '_write', and_change)
    assert run(sounds, path, '-o', tmp_path / 'out') == 1
    assert 'changed (something wrote to it while it was read)' in capsys.readouterr().err
    assert tree(tmp_path / 'out') == ['manifest.csv']
    monkeypatch.undo()
    assert run(sounds, path, '-o', tmp_path / 'out') == 0


@pytest.mark.parametrize(('form', 'times'), [('WAV', 2), ('AIFF', 2), ('CAF', 0.5)])
def test_what_is_damaged_is_not_handed_to_ffmpeg(sounds, tmp_path, capsys, form, times):
    path = tmp_path / f'a.{form.lower()}'
    soundfile.write(path, noise(9000), RATE, format=form)
    data = path.read_bytes()
    path.write_bytes((2 * data)[: int(len(data) * times)])
    assert run(sounds, path, '-o', tmp_path / 'out') == 1
    said = capsys.readouterr().err
    assert 'longer than its header' in said or 'truncated' in said


@pytest.mark.skipif(shutil.which('ffmpeg') is None, reason='needs ffmpeg')
@pytest.mark.parametrize(('suffix', 'damage'), [('m4a', 'none'), ('mka', 'cut'), ('m4a', 'hole')])
def test_what_ffmpeg_decodes_is_whole(sounds, tmp_path, capsys, suffix, damage):
    source, path = wave(tmp_path / 'x/a.wav', noise(48_000), 16_000), tmp_path / f'a.{suffix}'
    words = ['ffmpeg', '-v', 'error', '-i', source, '-c:a', 'aac', path]
    subprocess.run(words, check=True)
    data = bytearray(path.read_bytes())
    if damage == 'cut':
        data = data[: len(data) * 6 // 10]
    elif damage == 'hole':
        data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    assert run(sounds, path, '-o', tmp_path / 'out') == (damage != 'none')
    said = capsys.readouterr()
    if damage == 'none':
        assert 'recordings at 16,000 Hz; the model hears up to 4,000 Hz' in said.out
    else:
        assert 'neither libsndfile nor ffmpeg reads it' in said.err


def test_standard_input_onto_a_full_disk(sounds, tmp_path, monkeypatch, capsys):
    def full(self, data):
        self.error = OSError(28, 'No space left on device')
        return len(data)

    monkeypatch.setattr('sys.stdin', types.SimpleNamespace(buffer=io.BytesIO(bytes(100_000))))
    monkeypatch.setattr(writing.Output, 'write', full)
    assert run(sounds, '-', '--raw_rate=16000', '-o', tmp_path) == 1
    assert 'standard input: ' in (said := capsys.readouterr().err) and 'No space left' in said


def test_a_list_is_text_whatever_the_names(sounds, tmp_path):
    name = os.fsdecode(b'\xff.wav')
    wave(tmp_path / 'a.wav')
    os.rename(tmp_path / 'a.wav', tmp_path / name)
    for _ in range(2):
        assert run(sounds, tmp_path, '-o', tmp_path / 'out') == 0
        assert '\\xff.wav' in (tmp_path / 'out/manifest.csv').read_text('utf-8')


def test_an_absurd_level_is_refused(sounds, tmp_path, capsys):
    path = wave(tmp_path / 'a.wav', 4e37 * noise() / np.abs(noise()).max(), subtype='FLOAT')
    assert run(sounds, path, '-o', tmp_path / 'out') == 1
    assert 'too loud (a peak of 4e+37' in capsys.readouterr().err


def test_labels_may_be_asked_for_later(sounds, tmp_path):
    path = wave(tmp_path / 'a.wav')
    assert run(sounds, path, '-o', tmp_path / 'out') == 0
    assert run(sounds, path, '-o', tmp_path / 'out', '--labels') == 0
    assert 'a_labels.txt' in tree(tmp_path / 'out')


@pytest.mark.parametrize('total', [7200.0, float('nan')])
def test_progress_is_in_hours_of_audio(monkeypatch, capsys, total):
    now = [100.0]
    monkeypatch.setattr(separate.time, 'monotonic', lambda: now[0])
    progress = separate._Progress(total, quiet=False)
    now[0] += 500  # to load and to compile
    progress.add(10.0)
    now[0] += 20
    progress.add(1790.0)
    said = capsys.readouterr().err
    known = total == total
    assert said == (
        '0.50 of 2.00 h of audio, 89.5 times real time, 1.0 min to go\n'
        if known
        else '0.50 h of audio, 89.5 times real time\n'
    )


@pytest.mark.parametrize('other', ['out/below', '.'])
def test_what_another_process_is_writing_stays(sounds, tmp_path, monkeypatch, other):
    wave(tmp_path / 'in/below/a.wav')
    (tmp_path / 'out/below').mkdir(parents=True)
    half = tmp_path / 'out/below' / f'{files.PARTIAL}b_foreground.wav'
    half.write_bytes(b'x')
    with lock.held(tmp_path / other, 'separation'):
        assert run(sounds, tmp_path / 'in', '-o', tmp_path / 'out') == 0
    assert half.exists()
    assert run(sounds, tmp_path / 'in', '-o', tmp_path / 'out') == 0
    assert not half.exists()


@pytest.mark.parametrize('name', ['a_labels.txt', 'a_selections.txt'])
@pytest.mark.parametrize('parts_first', [True, False])
def test_labels_of_ones_own_are_kept(sounds, tmp_path, capsys, name, parts_first):
    path, out = wave(tmp_path / 'a.wav'), tmp_path / 'out'
    if parts_first:
        assert run(sounds, path, '-o', out) == 0
    out.mkdir(exist_ok=True)
    (out / name).write_text('mine')
    assert run(sounds, path, '-o', out, '--labels') == 2
    assert f'{name} is there, and not from this model' in capsys.readouterr().err
    assert (out / name).read_text() == 'mine'


def test_labels_that_are_ours_are_done_or_written_anew(sounds, tmp_path, capsys):
    path, out = wave(tmp_path / 'a.wav'), tmp_path / 'out'
    for _ in range(2):
        assert run(sounds, path, '-o', out, '--labels') == 0
    assert 'done already' in capsys.readouterr().out
    (out / 'a_labels.txt').unlink()
    assert run(sounds, path, '-o', out, '--labels') == 0
    assert (out / 'a_labels.txt').exists()


@pytest.mark.parametrize('rate', [11_025, 8000, 19])
def test_labels_keep_time(rate):
    """Where a step is no whole number of samples, a thousandth off would be half a second."""
    meter = activity.Meter(rate)
    burst_T = np.ones((2 * rate, 1))
    for silence in (10, 580):
        meter.add(np.zeros((silence * rate, 1)))
        meter.add(burst_T)
    spans = activity.stretches({'a': meter.level_db()}, step=meter.step, seconds=594)['a']
    np.testing.assert_allclose(spans, [(10, 12), (592, 594)], atol=0.06)
    assert spans[-1][1] <= 594


def test_libsndfile_sees_no_error_of_a_full_disk(tmp_path, monkeypatch, capfd):
    output = writing.Output(tmp_path / 'a.wav')

    def full(*args):
        raise OSError(28, 'No space left on device')

    output._file.close()
    output._file = types.SimpleNamespace(seek=full, tell=full, write=full, read=full, flush=full)
    output._file.close = full
    with soundfile.SoundFile(output, 'w', 8000, 1, 'PCM_16', format='WAV') as sound:
        sound.write(noise(100))
    with pytest.raises(OSError, match='No space left'):
        output.close()
    assert capfd.readouterr().err == ''


def test_what_is_half_written_goes_with_a_process_that_is_stopped(tmp_path):
    with files.unfinished([tmp_path / 'a.wav']) as partials:
        (where,) = partials.values()
        with open(where, 'w'):
            files.remove_unfinished()
        assert tree(tmp_path) == []


def test_a_dry_run_leaves_to_ffmpeg_what_is_its_own(sounds, tmp_path, monkeypatch, capsys):
    (tmp_path / 'a.m4a').write_bytes(b'\0\0\0\x20ftypM4A ')
    torn = wave(tmp_path / 'b.wav')
    with open(torn, 'rb+') as file:
        file.truncate(3000)
    words = [sounds, tmp_path, '-o', tmp_path / 'out', '--dry_run']
    monkeypatch.setattr(shutil, 'which', lambda name: '/usr/bin/ffmpeg')
    assert run(*words) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert 'a.m4a -> ' in first and 'b.wav: truncated' in second
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    assert run(*words) == 1
    assert 'a.m4a: ' in capsys.readouterr().out.splitlines()[0]


def test_a_page_shows_recordings_of_any_name(tmp_path, sounds):
    path = os.path.join(os.fsencode(tmp_path), b'caf\xe9.wav')
    wave(tmp_path / 'a.wav')
    os.rename(tmp_path / 'a.wav', path)
    assert run(sounds, os.fsdecode(path), '-o', tmp_path / 'out', '--page') == 0
    assert 'caf' in (tmp_path / 'out/index.html').read_text()


def test_a_recording_that_went_missing_costs_its_line_alone(tmp_path, sounds, capsys):
    folder, out = tmp_path / 'in', tmp_path / 'out'
    folder.mkdir()
    for name in 'ab':
        wave(folder / f'{name}.wav')
    assert run(sounds, folder, '-o', out) == 0
    (folder / 'a.wav').unlink()
    (folder / 'a.wav').symlink_to('/nowhere/x.wav')
    wave(folder / 'c.wav', noise(seed=2))
    for flags in ([], ['--dry_run']):
        assert run(sounds, folder, '-o', out, *flags) == 1
    assert 'broken link' in capsys.readouterr().out
    assert (out / 'c_foreground.wav').exists()


def test_an_empty_list_is_a_mistake(tmp_path, sounds, capsys):
    (tmp_path / 'list.txt').write_text('\ufeff\n \n')
    assert run(sounds, f'@{tmp_path}/list.txt', '-o', tmp_path / 'out', '--dry_run') == 2
    assert 'this list is empty' in capsys.readouterr().err


def test_a_page_that_no_disk_takes_fails_no_mistake(monkeypatch, tmp_path, capsys):
    wave(tmp_path / 'a.wav', noise(4000))
    original = separate.files.write

    def full(contents):
        if any(str(path).endswith('index.html') for path in contents):
            raise OSError(28, 'No space left on device')
        original(contents)

    monkeypatch.setattr(separate.files, 'write', full)
    assert run('sounds', tmp_path / 'a.wav', '-o', tmp_path / 'out', '--page') == 1
    error = capsys.readouterr().err
    assert 'index.html: No space left on device' in error
    assert str(tmp_path / 'a.wav') in rows(tmp_path / 'out')


def test_what_ends_before_its_start_is_not_called_empty(tmp_path, capsys):
    wave(tmp_path / 'a.wav', noise(4000))
    words = ['sounds', tmp_path / 'a.wav', '-o', tmp_path / 'out', '--start=100']
    assert run(*words) == 1
    assert 'it ends before 100 s' in ''.join(capsys.readouterr())
