"""From source files to a data set that both worlds open, by way of `folder_2mix`."""

import errno
import functools
import json
import logging
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from data_prep import build, engine, folder_2mix, mix, mixtures, output, pairing, recordings
from data_prep.readers import folder as people
from fgsep_jax import buckets, lock
from fgsep_jax.data import audio_files, records, source
import trees


def run_folder(input_dir, output_dir, *flags):
    folder_2mix.main([f'--input_dir={input_dir}', f'--output_dir={output_dir}', *flags])


def shard_bytes(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if '.tfrecord-' in p.name}


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp('corpus')
    trees.folder(root, speakers=8, files=3)
    trees.folder(root / 'x', speakers=1, sample_rate=16000, suffix='flac')
    return root


@pytest.fixture(scope='module')
def dataset(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp('dataset') / 'made'
    run_folder(corpus, output, '--train_pairs=70', '--name=tiny')
    return output


def test_contents(dataset):
    metadata = source.open_dataset(dataset)
    assert (metadata['name'], metadata['job'], metadata['sources']) == ('tiny', 'folder_2mix', 2)
    assert metadata['splits']['train']['examples'] == 70
    assert metadata['splits']['train']['shards'] == 3
    speakers = [set(one['speakers']) for one in metadata['splits'].values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 9
    for split in ('train', 'validation', 'test'):
        for example in trees.examples(dataset, split):
            assert set(example.source_ids) <= set(metadata['splits'][split]['speakers'])
            assert len(set(example.source_ids)) == 2
            total_T = example.sources_ST.astype(np.int32).sum(axis=0)
            peak = max(np.abs(total_T).max(), np.abs(example.sources_ST.astype(int)).max())
            assert abs(peak - 0.9 * 32768) < 2.5
            levels = [
                mix.active_speech_level(x_T / 32768, sample_rate=8000)[0]
                for x_T in example.sources_ST
            ]
            assert levels[0] - levels[1] == pytest.approx(example.snr_db, abs=0.4)


def test_folder_holds_nothing_unfinished(dataset):
    assert not [name for name in os.listdir(dataset) if 'tmp' in name or 'unfinished' in name]


def test_tfds_opens_it(dataset):
    tfds = pytest.importorskip('tensorflow_datasets')
    builder = tfds.builder_from_directory(dataset)
    assert builder.info.splits['train'].num_examples == 70
    assert builder.info.features['sources'].shape == (2, None)
    assert 'tensorflow' not in sys.modules
    file = builder.info.splits['train'].filepaths[0]
    payload = records.read_record(_first_frame(file))
    example = builder.info.features.deserialize_example_np(payload)
    mine = records.decode(payload)
    np.testing.assert_array_equal(example['sources'], mine.sources_ST)
    lengths = builder.info.splits['train'].shard_lengths
    assert sum(lengths) == 70 and len(lengths) == 3


def _first_frame(file):
    data = pathlib.Path(file).read_bytes()
    return data[: int.from_bytes(data[:8], 'little') + 16]


def test_report(dataset):
    report = json.loads((dataset / 'report.json').read_text())
    train = report['splits']['train']
    assert sum(train['histograms']['snr_db'].values()) == 70
    assert sum(train['histograms']['source_rms_db'].values()) == 140
    assert report['files']['converted'] == {'resampled': 3}
    assert report['files']['good'] == report['files']['total'] == 27
    page = (dataset / 'report.md').read_text()
    assert '## train: SNR' in page and '| train | 70 |' in page


def test_same_bytes_from_any_order(corpus, dataset, tmp_path, monkeypatch):
    listed = recordings.list_files
    monkeypatch.setattr(
        recordings,
        'list_files',
        lambda *args: dict(random.Random(3).sample(x := [*listed(*args).items()], len(x))),
    )
    create = engine.beam.Create
    monkeypatch.setattr(engine.beam, 'Create', lambda rows: create(list(rows)[::-1]))
    run_folder(corpus, tmp_path / 'shuffled', '--train_pairs=70', '--name=tiny')
    assert shard_bytes(tmp_path / 'shuffled') == shard_bytes(dataset)
    assert (tmp_path / 'shuffled' / 'dataset.json').read_bytes() == (
        dataset / 'dataset.json'
    ).read_bytes()


def test_another_seed_gives_other_mixtures(corpus, dataset, tmp_path):
    run_folder(corpus, tmp_path / 'o', '--train_pairs=70', '--name=tiny', '--seed=1')
    assert shard_bytes(tmp_path / 'o') != shard_bytes(dataset)


def test_bad_files_are_listed_and_stay_out(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=6, files=2)
    good = {p.name for p in root.rglob('*.wav')}
    (root / 'spk0' / 'broken.wav').write_bytes(b'no sound')
    trees.write(root / 'spk1' / 'nothing.wav', np.zeros(0))
    trees.write(root / 'spk2' / 'quiet.wav', np.zeros(16000))
    trees.write(root / 'spk3' / 'short.wav', trees.speechlike(0.2, seed=1))
    trees.write(root / 'spk4' / 'slow.wav', trees.speechlike(2.0, seed=1), 4000)
    trees.write(root / 'spk5' / 'loud.wav', np.clip(30 * trees.speechlike(2.0, seed=1), -1, 1))
    run_folder(root, tmp_path / 'out')
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert {one['name'].split('-')[1]: one['kind'] for one in report['skipped_files']} == {
        'broken': 'unreadable',
        'nothing': 'empty',
        'quiet': 'silent',
        'short': 'too short',
        'slow': 'rate too low',
        'loud': 'clipped',
    }
    assert report['skipped_mixtures'] == []  # they never got as far as the plan
    used = {
        name.split('-')[1] + '.wav'
        for split in ('train', 'validation', 'test')
        for example in trees.examples(tmp_path / 'out', split)
        for name in example.id.split('+')
    }
    assert used == good
    assert 'rate too low: 1' in (tmp_path / 'out' / 'report.md').read_text()


def test_a_part_that_is_silent_after_the_crop_is_listed(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=12, files=2)
    pause_T = np.concatenate([trees.speechlike(1.2, seed=9), np.zeros(8000 * 12)])
    trees.write(root / 'spk0' / 'pause.wav', pause_T)
    run_folder(
        root, tmp_path / 'out', '--validation_fraction=0', '--test_fraction=0', '--max_seconds=2'
    )
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    kinds = {one['kind'] for one in report['skipped_mixtures']}
    assert kinds == {'silent part'}
    made = trees.examples(tmp_path / 'out', 'train')
    assert report['splits']['train']['examples'] == len(made) >= 10
    assert not {one['name'] for one in report['skipped_mixtures']} & {one.id for one in made}


@pytest.mark.few(1)
@pytest.mark.parametrize(
    'number, flags',
    [
        (errno.ENOSPC, ()),
        (errno.ESTALE, ()),
        (errno.EFBIG, ('--direct_running_mode=multi_threading', '--direct_num_workers=2')),
    ],
)
def test_a_full_disk_ends_the_job_in_one_line(
    corpus, tmp_path, monkeypatch, capfd, caplog, number, flags
):
    def fail(file, payload):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(records, 'write_record', fail)
    with pytest.raises(SystemExit) as stop:
        run_folder(corpus, tmp_path / 'out', '--train_pairs=4', *flags)
    assert stop.value.code == 2
    message = f'error: {tmp_path}/out cannot be written to ({os.strerror(number)})'
    assert [line for line in capfd.readouterr().err.splitlines() if ' inspect: ' not in line] == [
        message
    ]
    assert 'Traceback' not in caplog.text
    assert not [*(tmp_path / 'out').glob('*.tmp-*')]


@pytest.mark.slow
def test_what_the_disk_of_a_process_takes_no_more_is_one_line(corpus, tmp_path):
    flags = ['--direct_running_mode=multi_processing', '--direct_num_workers=2', '--train_pairs=40']
    flags += ['--validation_fraction=0', '--test_fraction=0']
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, '-m', 'data_prep.folder_2mix', *flags]
            + [f'--input_dir={corpus}', f'--output_dir={tmp_path}/out'],
            env={**os.environ, 'TMPDIR': str(tmp_path)},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
            capture_output=True,
            text=True,
        )
        # Under such a limit gRPC, by which Beam's workers talk, aborts now and then.
        if done.returncode != -signal.SIGABRT or 'event_engine' not in done.stderr:
            break
        for path in tmp_path.iterdir():
            shutil.rmtree(path)
    told = [
        line for line in done.stderr.splitlines() if not re.search(': \\d+ of \\d+ pieces', line)
    ]
    assert done.returncode == 2
    assert told == [f'error: {tmp_path}/out cannot be written to (File too large)']
    assert os.listdir(tmp_path) == ['out']


def test_what_is_needed_for_a_while_lies_in_one_folder(corpus, tmp_path, monkeypatch):
    write_record, seen = records.write_record, set()

    def look(*args):
        seen.update(os.listdir(tmp_path / 'tmp'))
        return write_record(*args)

    (tmp_path / 'tmp' / 'fgsep-data-killed').mkdir(parents=True)
    owner = {**lock._here(), 'pid': 2**22 + 1}
    (tmp_path / 'tmp' / 'fgsep-data-killed' / lock.NAME).mkdir()
    (tmp_path / 'tmp' / 'fgsep-data-killed' / lock.NAME / 'a.json').write_text(json.dumps(owner))
    monkeypatch.setattr(records, 'write_record', look)
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    run_folder(corpus, tmp_path / 'out', '--train_pairs=4')
    assert [name[:11] for name in seen] == ['fgsep-data-'] and 'fgsep-data-killed' not in seen
    assert not os.listdir(tmp_path / 'tmp') and tempfile.tempdir == str(tmp_path / 'tmp')


@pytest.mark.few(3)
@pytest.mark.parametrize(
    'error, said',
    [
        (OSError(errno.EDQUOT, 'Disk quota exceeded', 'a', None, 'b'), 'Disk quota exceeded'),
        (OSError('the server said no'), 'the server said no'),
        (buckets.Unreachable('gs://b/a cannot be reached (full)'), r'gs://b/a cannot.*\(full\)'),
    ],
)
@pytest.mark.parametrize('where', ['written', 'write_whole', 'make_room'])
def test_whatever_ends_a_writing_is_one_line(corpus, tmp_path, monkeypatch, where, error, said):
    def fail(*args):
        raise error

    monkeypatch.setattr(build, where, fail)
    with pytest.raises(SystemExit, match=rf'^error: .*/out cannot be written to \({said}') as stop:
        run_folder(corpus, tmp_path / 'out', '--train_pairs=4')
    assert stop.value.code == 2 and '\n' not in str(stop.value)


@pytest.mark.parametrize(
    'error, said',
    [
        (MemoryError('256 GiB'), 'Cannot allocate memory'),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 'Too many open files'),
        (buckets.Unreachable('gs://b/x cannot be reached (gone)'), r'gs://b/x .* \(gone\)'),
    ],
)
def test_what_is_lacking_to_read_a_recording_ends_the_job(
    corpus, tmp_path, monkeypatch, error, said
):
    def fail(*args, **keywords):
        raise error

    monkeypatch.setattr(audio_files._Stream, 'read', fail)
    with pytest.raises(SystemExit, match=f'^error: the machine cannot read on: {said}') as stop:
        run_folder(corpus, tmp_path / 'out', '--train_pairs=4')
    assert stop.value.code == 2 and '\n' not in str(stop.value)
    assert not (tmp_path / 'out' / 'dataset.json').exists()


@pytest.mark.parametrize('gone', [False, True])
def test_a_failed_overwrite_says_what_became_of_the_earlier_set(
    corpus, tmp_path, monkeypatch, gone
):
    (tmp_path / 'dataset.json').write_text('{"name": "x", "splits": {}, "schema_version": 1}')
    flags = ['--overwrite', '--test_fraction=0', '--validation_fraction=0']
    if gone:
        monkeypatch.setattr(records, 'write_record', lambda *args: open('/nowhere/x', 'wb'))
        said, flags = 'there is gone: the new one was planned', [*flags, '--train_pairs=4']
    else:
        said, flags = 'there is kept as it was$', [*flags, '--train_pairs=9999999']
    with pytest.raises(SystemExit, match=said):
        run_folder(corpus, tmp_path, *flags)
    assert (tmp_path / 'dataset.json').exists() != gone


def test_who_has_no_usable_file_takes_no_part_in_the_dealing(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=6, files=2)
    trees.write(root / 'stray' / 'x.wav', trees.speechlike(0.5, seed=9))
    names, how = {path.name for path in root.iterdir()}, dict(validation=0.1, test=0.1)
    dealt = {seed: people.split_speakers(names, **how, seed=seed) for seed in range(20)}
    seed = next(seed for seed, splits in dealt.items() if splits['stray'] == 'test')
    run_folder(root, tmp_path / 'out', f'--seed={seed}')
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert {split: x['num_speakers'] for split, x in report['splits'].items()} == dict.fromkeys(
        ('train', 'validation', 'test'), 2
    )
    told = [line for line in report['notes']['Warnings'] if line.startswith('splits are dealt')]
    assert len(told) == 1 and "among all, split 'test' has 1 speaker with usable" in told[0]
    files, rows = (
        read(str(tmp_path / 'out' / f'{name}.csv'), {'input_dir': str(root)})
        for name, read in (('files', recordings.from_csv), ('mixtures', mixtures.from_csv))
    )
    splits = {x.source_id: x.split for x in files if not x.problem}
    assert {(x.source_id, row.split) for row in rows for x in row.sources} == {*splits.items()}
    assert [x.split for x in files if x.source_id == 'stray'] == ['']
    # Another seed's stray harms nobody, and all is as it was dealt.
    seed = next(seed for seed, splits in dealt.items() if splits['stray'] == 'train')
    run_folder(root, tmp_path / 'other', f'--seed={seed}')
    found = recordings.from_csv(str(tmp_path / 'other' / 'files.csv'), {'input_dir': str(root)})
    assert {x.source_id: x.split for x in found} == dealt[seed]


def test_five_speakers_of_seven_are_too_few_still(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=5, files=1)
    for name in 'ab':
        trees.write(root / name / 'x.wav', trees.speechlike(0.5, seed=ord(name)))
    with pytest.raises(SystemExit, match=r"^error: split '\w+' has . speakers? with usable files"):
        run_folder(root, tmp_path / 'out')


def test_a_split_of_which_nothing_can_be_mixed_says_why_in_words(corpus, tmp_path, monkeypatch):
    def fail(spec, **_):
        raise mix.BadInput('silent part', f'{spec.id}: -inf dB')

    defaults = build.Job.__init__.__kwdefaults__
    monkeypatch.setattr(build.Job.__init__, '__kwdefaults__', {**defaults, 'mix': fail})
    with pytest.raises(SystemExit, match=r"made; silent part: 4 \(e.g. [^{}']*: -inf dB\)$"):
        run_folder(corpus, tmp_path, '--train_pairs=4', '--test_fraction=0', '--validation_pairs=4')


@pytest.mark.slow
def test_finished_is_kept_unfinished_is_replaced(corpus, tmp_path, monkeypatch):
    run_folder(corpus, tmp_path, '--train_pairs=40')
    before = (tmp_path / 'dataset.json').read_bytes()
    with pytest.raises(SystemExit, match='finished data set.*--overwrite'):
        run_folder(corpus, tmp_path, '--train_pairs=5')
    assert (tmp_path / 'dataset.json').read_bytes() == before
    run_folder(corpus, tmp_path, '--train_pairs=5', '--overwrite')
    assert len(source.RecordSource(tmp_path, 'train')) == 5

    # A job that dies half-way leaves nothing that could be taken for a data set ...
    def die(*_, **__):
        raise RuntimeError('power cut')

    monkeypatch.setattr(build, 'finish', die)
    with pytest.raises(RuntimeError, match='power cut'):
        run_folder(corpus, tmp_path, '--train_pairs=70', '--overwrite')
    assert shard_bytes(tmp_path)
    with pytest.raises(FileNotFoundError, match='did not finish'):
        source.open_dataset(tmp_path)
    # ... and does not stand in the way of the next, whose shards are other ones.
    monkeypatch.undo()
    run_folder(corpus, tmp_path, '--train_pairs=5')
    assert len(trees.examples(tmp_path, 'train')) == 5
    assert len([n for n in os.listdir(tmp_path) if '-train.tfrecord' in n]) == 1


@pytest.mark.parametrize('flags', [(), ('--overwrite',)])
@pytest.mark.parametrize('unfinished', [False, True])
@pytest.mark.parametrize('mine', ['{"mine": 1}', '{"name": "a", "splits": {}}', 'text', '[]'])
def test_somebody_elses_dataset_json_is_never_replaced(corpus, tmp_path, mine, flags, unfinished):
    (tmp_path / 'dataset.json').write_text(mine)
    if unfinished:
        (tmp_path / output.STAGING).mkdir()
    with pytest.raises(SystemExit, match='dataset.json is there, and no data set.*move it away'):
        run_folder(corpus, tmp_path, *flags)
    assert (tmp_path / 'dataset.json').read_text() == mine


def test_a_run_folder_takes_no_data_set(corpus, tmp_path):
    (tmp_path / 'training_data.json').write_text('{}')
    with pytest.raises(SystemExit, match='is the folder of a run; give another --output_dir'):
        run_folder(corpus, tmp_path, '--overwrite')
    assert os.listdir(tmp_path) == ['training_data.json']


def test_other_peoples_files_survive(corpus, tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    (tmp_path / 'clips').mkdir()
    (tmp_path / 'unfinished').mkdir()
    (tmp_path / 'unfinished' / 'novel.txt').write_text('mine')
    (tmp_path / output.STAGING).mkdir()
    (tmp_path / output.STAGING / 'novel.txt').write_text('mine')
    run_folder(corpus, tmp_path, '--train_pairs=5')
    run_folder(corpus, tmp_path, '--train_pairs=6', '--overwrite')
    assert (tmp_path / 'notes.txt').read_text() == 'mine' and (tmp_path / 'clips').is_dir()
    for folder in ('unfinished', output.STAGING):
        assert (tmp_path / folder / 'novel.txt').read_text() == 'mine'


def test_dry_run_writes_nothing(corpus, tmp_path, capsys):
    run_folder(corpus, tmp_path / 'out', '--dry_run')
    printed = capsys.readouterr()
    assert printed.err == (
        f'dry run: nothing is written to {tmp_path}/out; what the job would start from, and one'
        ' mixture made in memory, as JSON:\n'
    )
    shown = json.loads(printed.out)
    assert sum(one['files'] for one in shown['recordings'].values()) == 27
    assert shown['example']['mixture_peak'] <= 0.9 * 32768 + 2
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'flag, message',
    [
        ('--trian_pairs=5', "did you mean '--train_pairs'"),
        ('--direct_num_workrs=2', '--direct_num'),
    ],
)
def test_misspelt_flags_are_errors(corpus, tmp_path, capsys, flag, message):
    with pytest.raises(SystemExit):
        run_folder(corpus, tmp_path / 'out', flag)
    assert message in capsys.readouterr().err


def test_wrong_tree_stops_at_once(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'a.wav').touch()
    with pytest.raises(SystemExit, match=r'(?s)expected: <speaker>.*found: a.wav'):
        run_folder(tmp_path / 'in', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_progress_is_of_pieces_that_are_there_and_ends_with_all_of_them(
    corpus, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(build.progress, 'SECONDS', 0.01)
    caplog.set_level(logging.INFO)
    utterances = people.read(str(corpus))
    build.run(name='x', utterances=utterances, output_dir=str(tmp_path / 'out'))
    said = re.findall(r'(inspect|mix): (\d+) of (\d+)', caplog.text)
    assert said == sorted(set(said), key=lambda x: (x[0], int(x[1])))  # none again, none late
    assert {stage for stage, done, total in said if done == total} == {'inspect', 'mix'}


def adaptation_plan(inspected):
    specs = pairing.random_pairs(inspected, sample_rate=8000, pairs={'train': 4})
    return [s for s in specs if s.split == 'train']


def adaptation_mix(spec, *, sample_rate):
    example = mix.mix_at_levels(spec, sample_rate=sample_rate)
    return records.dataclasses.replace(
        example,
        adaptation_T=example.sources_ST[1, :100],
        adaptation_overlap=1.0,
        source_classes=('dog', 'rain'),
    )


@pytest.mark.slow
def test_other_tasks_plug_in_their_plan_and_mixer(corpus, tmp_path):
    report = build.run(
        name='fgbg',
        utterances=people.read(str(corpus)),
        output_dir=str(tmp_path / 'out'),
        plan=adaptation_plan,
        mix=adaptation_mix,
        extra_metadata={'licence': 'none'},
    )
    assert report['splits']['train']['examples'] == 4
    metadata = source.open_dataset(tmp_path / 'out')
    assert metadata['adaptation'] is True and metadata['licence'] == 'none'
    for example in trees.examples(tmp_path / 'out', 'train'):
        np.testing.assert_array_equal(example.adaptation_T, example.sources_ST[1, :100])
        assert example.source_classes == ('dog', 'rain')


def test_no_usable_file_is_an_error(tmp_path):
    utterances = [recordings.Recording(f'u{i}', f's{i}', 'nowhere.wav', 'train') for i in range(4)]
    with pytest.raises(ValueError, match='^no mixtures: 0 of 4 files usable.*missing'):
        build.run(
            name='x',
            utterances=utterances,
            output_dir=str(tmp_path / 'out'),
            plan=functools.partial(mixtures.listed, rows=[]),
        )
    with pytest.raises(ValueError, match='must be unique'):
        build.run(name='x', utterances=utterances[:1] * 2, output_dir=str(tmp_path / 'out'))


@pytest.mark.parametrize('job', ['folder_2mix', 'wsj0_2mix'])
def test_runs_as_a_module(job):
    done = subprocess.run(
        [sys.executable, '-m', f'data_prep.{job}', '--help'], capture_output=True, text=True
    )
    assert done.returncode == 0 and '--output_dir' in done.stdout


@pytest.mark.slow
def test_only_what_a_list_of_ours_names_goes(corpus, tmp_path, monkeypatch):
    """In a folder whose name is a pattern, among files that look like ours and are not."""
    out = tmp_path / 'a[b]*?'
    out.mkdir()
    mine = [
        *(
            'x.tfrecord-1',
            'index-mine.npy',
            'index-train.npy.old',
            'report.md.bak',
            'features.json~',
        ),
        *('older-train.tfrecord-00000-of-00009', 'other-train.tfrecord-00000-of-00001'),
        *('dataset.json.tmp-mine', 'notes.txt'),
    ]
    twin = tmp_path / 'ab12'  # what the pattern stands for
    run_folder(corpus, twin, '--train_pairs=2', '--name=made')
    before = {path.name: path.read_bytes() for path in twin.iterdir()}

    def run(*flags):
        for name in mine:
            (out / name).write_text('mine')
        run_folder(corpus, out, '--name=made', *flags)
        assert all((out / name).read_text() == 'mine' for name in mine)
        return {path.name for path in out.iterdir()} - set(mine)

    first = run('--train_pairs=40')
    assert len([name for name in first if '-train.tfrecord' in name]) == 2
    expected = {path.name for path in twin.iterdir()}
    assert run('--train_pairs=2', '--overwrite') == expected

    def die(*_, **__):
        raise RuntimeError('power cut')

    monkeypatch.setattr(build, 'finish', die)
    with pytest.raises(RuntimeError, match='power cut'):
        run('--train_pairs=70', '--overwrite')
    monkeypatch.undo()
    (out / f'report.md.tmp-{"0" * 32}').write_text('cut short')
    # A job that is refused keeps the list of what the killed one left.
    with pytest.raises(SystemExit, match='5,000 mixtures wanted'):
        run('--train_pairs=5000')
    assert run('--train_pairs=2') == expected
    assert {path.name: path.read_bytes() for path in twin.iterdir()} == before


@pytest.mark.parametrize(
    'name',
    [
        'report.md',
        'report.json',
        'features.json',
        'mixtures.csv',
        'files.csv',
        'mine-train.tfrecord-00000-of-00002',
        'index-train.npy',
    ],
)
def test_a_file_in_the_way_is_not_replaced(corpus, tmp_path, name):
    (tmp_path / name).write_text('mine')
    with pytest.raises(SystemExit, match=f'{name} is there, and no data set that it belongs to'):
        run_folder(corpus, tmp_path, '--train_pairs=2', '--name=mine')
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == 'mine'


def test_a_folder_in_the_way_is_named_before_anything_is_gone(corpus, tmp_path):
    run_folder(corpus, tmp_path, '--train_pairs=2', '--name=mine')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    folder = tmp_path / 'mine-train.tfrecord-00000-of-00002'
    folder.mkdir()
    with pytest.raises(SystemExit, match=f'{folder.name} is a folder, and a file of the data set'):
        run_folder(corpus, tmp_path, '--train_pairs=64', '--fewer', '--name=mine', '--overwrite')
    folder.rmdir()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    'metadata',
    [
        {'name': '../x', 'splits': {'..': {'shards': 10**9}, '/': {}, '': 3}},
        {'name': 'folder_2mix', 'splits': {'train': {'shards': '1'}}},
        {'name': ['x'], 'splits': []},
        {},
    ],
)
def test_metadata_that_is_not_ours_deletes_nothing(tmp_path, metadata):
    out = tmp_path / 'out'
    out.mkdir()
    (tmp_path / 'x-train.tfrecord-00000-of-00001').write_text('mine')
    (out / 'folder_2mix-train.tfrecord-00000-of-00001').write_text('mine')
    (out / 'dataset.json').write_text(json.dumps(metadata))
    assert output.own_files(str(out)) == []


def test_tables_beside_an_early_data_set_are_somebodys(corpus, tmp_path):
    about = {'name': 'x', 'splits': {}, 'schema_version': 1}
    for name, text in (('dataset.json', json.dumps(about)), ('mixtures.csv', 'mine')):
        (tmp_path / name).write_text(text)
    assert output.own_files(str(tmp_path)) == ['dataset.json']
    with pytest.raises(SystemExit, match='mixtures.csv is there, and no data set that it belongs'):
        run_folder(corpus, tmp_path, '--overwrite', '--train_pairs=2')
    assert (tmp_path / 'mixtures.csv').read_text() == 'mine'
    (tmp_path / 'dataset.json').write_text(json.dumps({**about, 'mixtures': 'its digest'}))
    assert output.own_files(str(tmp_path)) == ['dataset.json', 'mixtures.csv']


@pytest.mark.parametrize('stage', ('assign_shards', 'written', 'finish'))
def test_a_job_whose_folder_is_another_s_by_now_ends(corpus, tmp_path, monkeypatch, capsys, stage):
    do, out = getattr(build, stage), tmp_path / 'out'

    def late(*args, **keywords):
        shutil.rmtree(out / lock.NAME, ignore_errors=True)
        return do(*args, **keywords)

    monkeypatch.setattr(build, stage, late)
    with pytest.raises(SystemExit) as refused:
        run_folder(corpus, out, '--train_pairs=4', '--fewer')
    error = [x for x in capsys.readouterr().err.splitlines() if x.startswith('error')]
    assert refused.value.code == os.EX_TEMPFAIL
    assert len(error) == 1 and f'the lock of {out} was removed, or taken by another' in error[0]
    there = {path.suffix for path in out.iterdir()}
    assert '.json' not in there and (stage == 'finish' or not shard_bytes(out))


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['in_memory', 'multi_processing'])
def test_workers_of_a_job_that_lost_its_folder_add_nothing_to_its_line(
    corpus, tmp_path, monkeypatch, capfd, mode
):
    """The new owner has removed what they would read, or put its own in the place."""
    out, real = tmp_path / 'out', engine.each

    def late(*args):
        shutil.rmtree(out / lock.NAME)
        shutil.rmtree(out / build.STAGING)
        return real(*args)

    monkeypatch.setattr(engine, 'each', late)
    with pytest.raises(SystemExit) as refused:
        flags = [f'--direct_running_mode={mode}', '--direct_num_workers=2', '--train_pairs=4']
        run_folder(corpus, out, *flags, '--fewer')
    told = capfd.readouterr().err.splitlines()
    (error,) = [line for line in told if not re.search(r': \d+ of \d+ pieces', line)]
    assert refused.value.code == os.EX_TEMPFAIL
    assert error.startswith(f'error: the lock of {out} was removed')


@pytest.mark.parametrize('url', (False, True))
def test_a_worker_elsewhere_puts_no_shard_beside_a_new_owner_s(memory, tmp_path, monkeypatch, url):
    out = 'memory://b/out' if url else str(tmp_path)
    with pytest.raises(lock.Lost), lock.held(out, 'data_prep'):
        proof = lock.proof(out)
        output.prepare(out, 'x', overwrite=False)
        monkeypatch.setattr('fgsep_jax.files.checks', {})  # as in a process that holds nothing
        with output.written(out, 'early', proof) as file:
            file.write(b'1')
        shutil.rmtree(tmp_path / lock.NAME, ignore_errors=True)
        memory.store.pop(f'/b/out/{lock.NAME}', None)
        with pytest.raises(lock.Lost), output.written(out, 'late', proof) as file:
            file.write(b'2')
        assert output.listing(out) == ['early']
