"""What was asked for is made, or refused before anything is mixed, with the flag that helps."""

import importlib
import json
import os
import shutil
import types

import pytest

from data_prep import build, folder_2mix, libritts_2mix, options, report
from data_prep.mixtures import Mixture, Source
from data_prep.recordings import Recording
import trees


def make(root, output, *flags):
    folder_2mix.main([f'--input_dir={root}', f'--output_dir={output}', *flags])
    return json.loads((output / 'report.json').read_text())


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    return trees.folder(tmp_path_factory.mktemp('corpus'), speakers=7, files=2)


def test_a_test_set_alone_called_after_its_folder(corpus, tmp_path, capsys):
    output = tmp_path / 'My set-2'
    report = make(corpus, output, '--validation_fraction=0', '--test_fraction=1')
    assert list(report['splits']) == ['test'] and report['splits']['test']['num_speakers'] == 7
    assert report['name'] == json.loads((output / 'dataset.json').read_text())['name'] == 'my_set_2'
    assert 'the data set of this folder is called my_set_2; --name' in capsys.readouterr().out


@pytest.mark.parametrize(
    'folder, name',
    [
        ('a/b', 'b'),
        ('a/B.1/', 'b_1'),
        ('gs://x/Voices', 'voices'),
        ('2023', 'job_2023'),
        ('犬', 'job'),
        ('a b\n', 'a_b'),
        ('CON', 'job_con'),
        ('x' * 999, 'x' * 100),
    ],
)
def test_the_name_of_a_folder(folder, name):
    assert options.name_of(folder, 'job') == name


@pytest.mark.parametrize(
    'flags, said',
    [
        (['--test_fraction=0', '--test_pairs=5'], '--test_pairs=5.*no speakers for test'),
        (
            ['--validation_fraction=0.5', '--test_fraction=0.5', '--train_pairs=9'],
            '--train_pairs=9',
        ),
        (['--train_pairs=0', '--validation_pairs=0', '--test_pairs=0'], 'are all 0'),
        (['--validation_fraction=0.4', '--test_fraction=0.4'], '--validation_fraction=0'),
        (['--min_seconds=100'], "split 'test' has no usable file; --test_pairs=0 .*--min_seconds"),
        (['--test_pairs=99'], r"split 'test': 99 mixtures wanted.*ask for fewer \(--test_pairs\)"),
    ],
)
def test_what_cannot_be_made_is_refused(corpus, tmp_path, flags, said):
    with pytest.raises(SystemExit, match=said):
        make(corpus, tmp_path / 'out', *flags)
    assert not (tmp_path / 'out').exists()


def test_small_results_are_said_with_the_flags_that_help(corpus, tmp_path):
    report = make(corpus, tmp_path, '--test_pairs=4')
    train, validation = report['notes']['Warnings']
    assert train.startswith('split train has only 6 mixtures of 3 speakers, 0.1 minutes; ')
    assert '--train_pairs=N' in train and '--test_fraction' in train
    assert (
        validation.startswith('split validation has only 4 mixtures')
        and '--validation_p' in validation
    )


@pytest.mark.slow
def test_a_corpus_without_one_of_its_parts_is_refused(tmp_path):
    for speaker in ('10', '11'):
        path = (
            tmp_path / 'in' / 'train-clean-100' / speaker / '1' / f'{speaker}_1_000001_000000.wav'
        )
        trees.write(path, trees.speechlike(1.2, seed=int(speaker)))
    flags = [f'--input_dir={tmp_path}/in', f'--output_dir={tmp_path}/out']
    with pytest.raises(SystemExit, match="split 'test' has no usable file; --test_pairs=0"):
        libritts_2mix.main(flags)
    libritts_2mix.main([*flags, '--test_pairs=0', '--validation_pairs=0'])
    assert set(json.loads((tmp_path / 'out/report.json').read_text())['splits']) == {'train'}


@pytest.mark.parametrize(
    'job, flag, wanted',
    [
        ('folder_2mix', 'input_dir', 'a folder for each speaker'),
        ('libritts_2mix', 'input_dir', 'LibriTTS as delivered'),
        ('vctk_2mix', 'input_dir', 'VCTK as delivered'),
        ('librimix', 'input_dir', '.*mix_clean'),
        ('wsj0_2mix', 'input_dir', 'tree with 2speakers'),
        ('fgbg', 'input_dir', 'foreground/<class>'),
        ('fgbg', 'audioset_dir', 'AudioSet clips'),
    ],
)
def test_a_folder_that_is_not_there_is_named_by_its_flag(tmp_path, monkeypatch, job, flag, wanted):
    run = importlib.import_module(f'data_prep.{job}').main
    (tmp_path / 'file').touch()
    for path, what in (('nowhere', 'there is no such folder'), ('file', 'is not a folder')):
        said = f'^error: --{flag}={tmp_path}/{path}: {what}; looked for: {wanted}'
        with pytest.raises(SystemExit, match=said):
            run([f'--{flag}={tmp_path}/{path}', f'--output_dir={tmp_path}/out'])
    (tmp_path / 'shut').mkdir()
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    with pytest.raises(SystemExit, match=f'--{flag}={tmp_path}/shut: you may not read this folder'):
        run([f'--{flag}={tmp_path}/shut', f'--output_dir={tmp_path}/out'])


def test_without_a_job_the_jobs_are_listed(capsys):
    jobs = importlib.import_module('data_prep.__main__')
    assert {'embedded', 'fgbg', 'folder_2mix', 'wsj0_2mix'} <= jobs.jobs().keys()
    assert jobs.main([]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith('error: a job is needed')
    for words, said in (
        (['folder_2mix', '--help'], 'python -m data_prep.folder_2mix --help\n'),
        (['fgbg'], 'python -m data_prep.fgbg --help\n'),
        (['fgbg', '--input_dir=my x'], "python -m data_prep.fgbg '--input_dir=my x'\n"),
    ):
        assert jobs.main(words) == 2
        out, err = capsys.readouterr()
        assert not out and err == f'error: a job is called with a dot: {said}'
    assert jobs.main(['nojob']) == 2 and capsys.readouterr().err.startswith('error: a job is')
    assert jobs.main(['--help']) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == len(jobs.jobs())
    for line, name in zip(lines, jobs.jobs()):
        module, about = line.removeprefix('  python -m ').split(maxsplit=1)
        assert importlib.import_module(module).main and module == f'data_prep.{name}' and about


def test_a_finished_data_set_is_refused_before_the_corpus_is_read(tmp_path):
    about = {'name': 'x', 'splits': {}, 'schema_version': 1}
    (tmp_path / 'dataset.json').write_text(json.dumps(about))
    (rec := tmp_path / 'rec').mkdir()
    own = options.parser('data_prep.x', 'X.')
    for flags, read in (((), False), (('--overwrite',), True), (('--dry_run',), True)):
        with pytest.raises(SystemExit) as stopped:
            options.run(own, [f'--input_dir={rec}', f'--output_dir={tmp_path}', *flags], _stop)
        assert (stopped.value.code == 7) == read
        assert read or 'holds a finished data set; give another --output_dir' in str(stopped.value)


@pytest.mark.parametrize(
    'flag, output, said',
    [
        ('input_dir', 'rec', 'is the folder of --input_dir'),
        ('input_dir', 'rec/', 'is the folder of --input_dir'),
        ('input_dir', 'link', 'is the folder of --input_dir'),
        ('input_dir', 'rec/anna/new/x', 'lies in the folder of --input_dir'),
        ('desed_dir', 'link/x', 'lies in the folder of --desed_dir'),
        ('audioset_dir', 'rec/../rec', 'is the folder of --audioset_dir'),
        ('input_dir', '.', ''),  # above it nothing mixes
        ('input_dir', 'rec2', ''),
    ],
)
@pytest.mark.parametrize('more', [(), ('--dry_run',), ('--overwrite',)])
def test_what_is_read_is_never_written_to(tmp_path, monkeypatch, flag, output, said, more):
    (tmp_path / 'rec' / 'anna').mkdir(parents=True)
    (tmp_path / 'rec2').mkdir()
    (tmp_path / 'link').symlink_to('rec')
    monkeypatch.chdir(tmp_path)
    own = options.parser('data_prep.x', 'X.', input_dir='')
    for name in ('input_dir', 'desed_dir', 'audioset_dir'):
        own.add_argument(f'--{name}', help='')
    before = sorted(map(str, tmp_path.rglob('*')))
    with pytest.raises(SystemExit) as stopped:
        options.run(own, [f'--{flag}=rec', f'--output_dir={output}', *more], _stop)
    if said:
        assert f'--output_dir={output} {said}, which is only read' in str(stopped.value)
        assert '\n' not in str(stopped.value) and stopped.value.code == 2
    else:
        assert stopped.value.code == 7
    assert sorted(map(str, tmp_path.rglob('*'))) == before


def test_a_bucket_too_is_never_written_to_where_it_is_read():
    args = types.SimpleNamespace(input_dir='gs://b/rec', output_dir='gs://b/rec/out')
    with pytest.raises(ValueError, match='lies in the folder of --input_dir'):
        options._refuse_overlap(args)
    args.output_dir = 'gs://b/rec_out'
    options._refuse_overlap(args)


def test_speakers_that_are_none_are_named(tmp_path):
    trees.folder(tmp_path / 'high' / 'rec', speakers=7, files=1)
    with pytest.raises(SystemExit, match=r'1 speaker \(rec\) cannot make .*--input_dir'):
        make(tmp_path / 'high', tmp_path / 'out')
    (tmp_path / 'sounds').mkdir()
    for role, speakers in (('foreground', 2), ('background', 2)):
        trees.folder(tmp_path / 'sounds' / role, speakers=speakers, files=1, seed=ord(role[0]))
    with pytest.raises(SystemExit, match=r'2 speakers \(background, foreground\) cannot make'):
        make(tmp_path / 'sounds', tmp_path / 'out')
    shutil.copytree(tmp_path / 'sounds' / 'foreground', tmp_path / 'sounds' / 'again')
    said = r'2 speakers \(again, background\) .*; who share files count as one: again = foreground'
    with pytest.raises(SystemExit, match=said):
        make(tmp_path / 'sounds', tmp_path / 'out')
    with pytest.raises(SystemExit, match=r'1 speaker \(rec\) cannot make training'):
        make(tmp_path / 'high', tmp_path / 'out', '--test_fraction=0', '--validation_fraction=0')


@pytest.mark.slow
def test_a_split_with_few_of_its_speakers_is_told(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=9, files=1)
    flags = ('--validation_fraction=0', '--test_fraction=0.78')  # 7 of 9
    report = make(root, tmp_path / 'out', *flags, '--test_pairs=1')
    line = 'the mixtures of split test hold 2 of its 7 speakers; --test_pairs=N draws more'
    assert line in report['notes']['Warnings']
    report = make(root, tmp_path / 'all', *flags, '--test_pairs=7')
    assert not any('mixtures of split' in line for line in report['notes']['Warnings'])


def warned(inspected, rows, flags, unit):
    how = dict(beside={}, sample_rate=8000, flags=flags, unit=unit)
    lines = report.warnings(inspected, rows, **how)
    return [line for line in lines if line.startswith('the mixtures of split')]


def test_few_of_the_speakers_whose_recordings_are_dealt_are_told():
    good = [
        Recording(name, name, f'/{name}0', 'train+test' if name != 'g' else 'train', samples=8000)
        for name in 'abcdefg'
    ]
    flags = {'test_pairs': 1}
    pair = (Source('/a0', 'a'), Source('/b0', 'b'))
    rows = [Mixture('m', 'test', pair, 8000)]
    said = 'the mixtures of split test hold 2 of its 6 speakers; --test_pairs=N draws more'
    assert warned(good, rows, flags, 'speakers') == [said]
    rows.append(Mixture('n', 'test', (Source('/c0', 'c'), Source('/d0', 'd')), 8000))
    assert not warned(good, rows, flags, 'speakers')


def test_few_of_the_recordings_of_a_subset_are_told():
    good = [
        Recording(f'{role}{i}', f'{role}{i}', f'/{role}{i}', 'test', role, role, seen, samples=9)
        for role, seen in (('foreground', True), ('background', True), ('background', False))
        for i in range(4 * seen, 4 + 4 * seen)
    ]
    ids = (f'foreground{i}' for i in (4, 5)), (f'background{i}' for i in (0, 4))
    (event, _), (unseen, seen) = (tuple(Source(f'/{x}', x) for x in some) for some in ids)
    rows = [Mixture('m', 'c1', (event, seen), 9), Mixture('n', 'c2', (event, unseen), 9)]
    assert warned(good, rows, {'test_mixtures': 1}, 'source recordings') == [
        f'the mixtures of split {split} hold 2 of its 8 source recordings; --test_mixtures=N draws '
        'more'
        for split in ('c1', 'c2')
    ]


@pytest.mark.parametrize('job', ['embedded', 'libritts_2mix', 'folder_2mix', 'vctk_2mix'])
def test_a_default_is_said_once(capsys, job):
    with pytest.raises(SystemExit):
        importlib.import_module(f'data_prep.{job}').main(['--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert 'default: ' in text and '_pairs' in text
    assert all(flag.count('default: ') <= 1 for flag in text.split(' --'))


def _stop(args):
    raise SystemExit(7)


def test_a_full_folder_of_temporary_files_is_named(monkeypatch):
    free = {'out': 1 << 40, '/temporary': 0}
    monkeypatch.setattr('tempfile.gettempdir', lambda: '/temporary')
    monkeypatch.setattr('shutil.disk_usage', lambda path: types.SimpleNamespace(free=free[path]))
    assert build._full('out').startswith('/temporary, the folder of temporary files (TMPDIR')
    free['out'] = 0
    assert build._full('out') == 'out'
