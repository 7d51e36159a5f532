"""Which data set a run reads, from wherever its commands are given."""

import json
import os
import pathlib
import shutil
import signal
import sys
import types

import pytest

from fgsep_jax import config as config_lib, data_sets, files, lock, main
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import run as evaluation
from fgsep_jax.report import runs
from fgsep_jax.training import endings, run as training, run_folder
import synthetic
import tiny

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a data set and a configuration that names it as seen from there."""
    project = tmp_path / 'a project'
    synthetic.write(project / 'data' / 'tones', train=2, validation=2, test=2)
    monkeypatch.chdir(project)
    monkeypatch.delenv('FGSEP_DATA_DIR', raising=False)
    config = config_lib.load(f'{ROOT}/configs/convtasnet.py:demo')
    config.data.dir = 'data/tones'
    return types.SimpleNamespace(path=project, config=config)


def claim(project, workdir, directory):
    run_folder.claim(str(workdir), project.config, RecordSource(directory, 'train'))


def found(workdir):
    return run_folder.data_dir(str(workdir), run_folder.read_config(str(workdir)))


def test_a_relative_folder_is_found_from_elsewhere(project, tmp_path, monkeypatch):
    there = str(project.path / 'data' / 'tones')
    inside, outside = project.path / 'runs' / 'a', tmp_path / 'b'
    for workdir in (inside, outside):
        claim(project, workdir, 'data/tones')
        assert found(workdir) == 'data/tones'  # as it was typed, where it was typed
    assert run_folder.read_config(str(inside)).data.dir == 'data/tones'
    monkeypatch.chdir(tmp_path)
    assert found(inside) == found(outside) == there
    # Another data set of that name, here: the run was not trained on it.
    synthetic.write(tmp_path / 'data' / 'tones', train=2, validation=2, test=2)
    assert found(inside) == there
    # Runs of earlier versions recorded the folder as it was typed, or nothing at all.
    about = inside / 'training_data.json'
    content = {**json.loads(about.read_text()), 'dir': 'data/tones'}
    del content['digest']
    about.write_text(json.dumps(content))
    monkeypatch.chdir('/')
    assert found(inside) == there
    about.unlink()
    assert found(inside) == there
    # Moved together, they are found together; a run on its own says what it looked for.
    os.rename(project.path, tmp_path / 'moved')
    assert found(tmp_path / 'moved' / 'runs' / 'a') == str(tmp_path / 'moved' / 'data' / 'tones')
    os.rename(tmp_path / 'data', tmp_path / 'gone')
    assert found(outside) == there


def test_a_run_that_was_moved_away_from_its_data_is_evaluated_by_the_flag_it_names(
    project, tmp_path, monkeypatch, capsys
):
    claim(project, project.path / 'runs' / 'a', 'data/tones')
    run, data = tmp_path / 'elsewhere' / 'a', tmp_path / 'disk' / 'tones'
    for folder, place in ((project.path / 'runs' / 'a', run), (project.path / 'data/tones', data)):
        place.parent.mkdir()
        shutil.move(folder, place)
    monkeypatch.chdir(run.parent)
    monkeypatch.setattr(main, '_begin', lambda args: None)
    given = []
    monkeypatch.setattr(evaluation, 'evaluate', lambda *_, data_dirs, **__: given.append(data_dirs))
    said = refused(capsys, '--mode=evaluate', '--workdir=a')
    assert 'a was trained on a data set that is not where it was: ' in said
    assert f'{project.path}/data/tones' in said and '--data_dirs=DIR names it' in said
    assert said.count('\n') == 1 and '--config.data.dir' not in said
    main.main(['--mode=evaluate', '--workdir=a', f'--data_dirs={data}'])
    assert given == [[str(data)]]


@pytest.mark.parametrize('name', run_folder.CONTENTS)
def test_what_a_run_would_write_over_is_refused(project, name):
    folder = project.path / 'mine'
    if '.' in name:
        folder.mkdir()
        (folder / name).write_text('mine')
    else:
        (folder / name).mkdir(parents=True)
        run_folder.check(str(folder), project.config)  # empty: as a killed start leaves it
        (folder / name / 'mine').write_text('mine')
    (folder / 'notes.txt').write_text('no name of a run')
    with pytest.raises(config_lib.ConfigError, match=f'holds {name} and no config.json'):
        run_folder.check(str(folder), project.config)
    if '.' in name:
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(config_lib.ConfigError, match=f'holds {name} and no config.json'):
            run_folder.check(str(folder), project.config)


@pytest.mark.slow
def test_a_run_writes_nothing_that_is_not_refused_when_it_is_somebody_elses(tmp_path):
    data = synthetic.write(tmp_path / 'data', train=4, validation=2, test=2)
    config = tiny.config(data, **{'training.epochs': 1})
    run = str(tmp_path / 'run')
    training.train(config, run)
    config.evaluation.listen_examples = 1
    evaluation.evaluate(config, run, splits=['test'], announce=False)
    assert set(os.listdir(run)) <= {'config.json', *run_folder.CONTENTS}


def test_the_embedded_set_is_not_built_again_elsewhere(project, monkeypatch):
    project.config.data.dir = ''
    synthetic.write(project.path / 'data' / 'embedded', name='embedded')
    claim(project, project.path / 'runs' / 'a', 'data/embedded')
    monkeypatch.chdir('/')
    assert found(project.path / 'runs' / 'a') == str(project.path / 'data' / 'embedded')


@pytest.mark.parametrize(
    'name, job', [('convtasnet_glu', 'fgbg'), ('blstm_m2', 'librimix'), ('blstm_m2', 'embedded')]
)
def test_a_data_set_of_another_task_is_refused_before_its_splits(tmp_path, name, job):
    data = synthetic.write(tmp_path / 'other', train=2, validation=2, test=2, job=job)
    config = tiny.config(data, name)
    for refuse in (
        lambda: data_sets.check_splits([data], ['nowhere'], tasks=[config.task]),
        lambda: evaluation.check_source(config, RecordSource(data, 'test')),
    ):
        with pytest.raises(config_lib.ConfigError, match=f'made by the job {job}.*takes') as error:
            refuse()
        assert '\n' not in str(error.value) and '--splits' not in str(error.value)
    same = 'fgbg' if config.task == 'foreground' else 'librimix'
    own = synthetic.write(tmp_path / 'own', train=2, validation=2, test=2, job=same)
    data_sets.check_splits([own], ['test'], tasks=[config.task])
    evaluation.check_source(config, RecordSource(own, 'test'))


def test_a_data_set_that_was_built_anew_is_said(project, monkeypatch, capsys):
    """And no other: not the same one, nor one of a version without fingerprints."""
    monkeypatch.setattr(evaluation, 'evaluate_on', lambda *_, **__: None)

    def fingerprint(value):
        path = project.path / 'data' / 'tones' / 'dataset.json'
        metadata = json.loads(path.read_text())
        del metadata['digest']
        metadata['splits']['train']['fingerprint'] = value
        path.write_text(json.dumps(files.with_digest(metadata)))

    for trained_on, now, directories, noted in (
        ('a', 'a', [], False),
        ('a', 'b', [], True),
        ('a', 'b', ['data/../data/tones'], True),
        ('', 'b', [], False),
        ('a', '', [], False),
    ):
        fingerprint(trained_on)
        claim(project, project.path / 'runs' / 'a', 'data/tones')
        fingerprint(now)
        evaluation.evaluate(
            project.config, 'runs/a', data_dirs=directories, splits=['test'], announce=False
        )
        printed = capsys.readouterr().out
        assert ('note: ' in printed and 'built anew' in printed) == noted
        assert printed.count('\n') == noted


def test_a_data_set_in_a_folder_that_is_no_utf8_is_found_again(project):
    folder = 'b\udcffd/tones'
    synthetic.write(project.path / folder, train=2, validation=2, test=2)
    project.config.data.dir = folder
    workdir = project.path / 'runs' / 'a'
    claim(project, workdir, folder)
    assert found(workdir) == folder
    run_folder.check(str(workdir), project.config)
    assert runs.open_run(str(workdir)).config['data.dir'] == folder


def test_a_run_folder_that_is_no_utf8_is_refused_before_anything_is_made(project, monkeypatch):
    for workdir in ('runs/b\udcffd', 'b\udcffd/run'):
        with pytest.raises(config_lib.ConfigError, match=r'--workdir=.*b.xffd.* is no UTF-8') as e:
            run_folder.check(workdir, project.config)
        str(e.value).encode()
    os.mkdir('b\udcffd')
    monkeypatch.chdir('b\udcffd')
    with pytest.raises(config_lib.ConfigError, match='is no UTF-8'):
        run_folder.check('run', project.config)


def test_splits_that_are_not_there_are_named_with_their_flag(project):
    with pytest.raises(config_lib.ConfigError, match=r'no split c1 and no split c2; .*--splits=te'):
        data_sets.check_splits(['data/tones'], ['test', 'c1', 'c2'])
    data_sets.check_splits(['data/tones'], ['test', 'validation'])
    with pytest.raises(
        config_lib.ConfigError, match='--splits=validation, or train alone with --m'
    ):
        data_sets.check(project.config, 'data/tones', ['train', 'validation', 'c1'])


@pytest.mark.parametrize('url', ['gs://bucket/x', 's3://bucket/x', 'http://host/x', 'hdfs://x'])
def test_a_url_that_cannot_be_read_is_one_line(project, monkeypatch, capsys, url):
    for name in ('gcsfs', 's3fs'):
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    for name in ('gs', 'gcs', 's3', 's3a'):
        made = sys.modules['fsspec.registry']._registry  # by tests before
        monkeypatch.delitem(made, name, raising=False)
    monkeypatch.setattr(main, '_begin', lambda args: pytest.fail('nothing is to be begun'))
    config = f'--config={ROOT}/configs/convtasnet.py:demo'
    for argv in (
        [config, f'--config.data.dir={url}'],
        ['--mode=cross_evaluate', '--runs=x', f'--data_dirs={url}'],
    ):
        with pytest.raises(SystemExit) as stopped:
            main.main(argv)
        text = capsys.readouterr().err
        assert stopped.value.code == 2 and url in text and text.count('\n') == 1
        known = {'gs': '[gcs]', 's3': '[s3]'}
        assert known.get(url.partition(':')[0], '') in text


@pytest.mark.slow
def test_after_a_training_the_next_command_is_said(project, monkeypatch, capsys):
    monkeypatch.setattr(main, '_begin', lambda args: None)
    monkeypatch.setattr('fgsep_jax.training.run.train', lambda *args, **kwargs: None)
    given = [f'--config={ROOT}/configs/convtasnet.py:demo', '--config.data.dir=data/tones']
    main.main([*given, '--mode=train', '--workdir=my runs/a'])
    said = "python -m fgsep_jax.main --mode=evaluate --workdir='my runs/a'"
    assert capsys.readouterr().out.split(maxsplit=1)[1] == f'{said}\n'
    main.main([*given, '--mode=train', '--config.evaluation.splits=c1'])
    assert capsys.readouterr().out.endswith('/convtasnet-demo --splits=test,validation\n')


@pytest.mark.few(1)
@pytest.mark.parametrize('name, status', [('SIGTERM', 143), ('SIGINT', 130), ('SIGHUP', 129)])
def test_a_training_that_was_asked_to_stop_ends_with_the_signals_status(
    project, monkeypatch, capfd, name, status
):
    def train(*args, **kwargs):
        raise endings.Preempted('saved step 7', signal.Signals[name])

    monkeypatch.setattr(main, '_begin', lambda args: None)
    monkeypatch.setattr('fgsep_jax.training.run.train', train)
    given = [f'--config={ROOT}/configs/convtasnet.py:demo', '--config.data.dir=data/tones']
    for mode in ('train', 'train_and_evaluate'):
        with pytest.raises(SystemExit) as stopped:
            main.main([*given, f'--mode={mode}'])
        assert stopped.value.code == status
        assert capfd.readouterr() == ('', 'saved step 7\n')


def test_a_run_that_is_trained_elsewhere_is_refused_before_jax_is_asked_for(
    project, monkeypatch, capsys
):
    monkeypatch.setattr(main, '_begin', lambda args: pytest.fail('nothing is to be begun'))
    given = [f'--config={ROOT}/configs/convtasnet.py:demo', '--config.data.dir=data/tones']
    with lock.held('mine', 'training'), pytest.raises(SystemExit) as stopped:
        main.main([*given, '--workdir=mine'])
    text = capsys.readouterr().err
    assert stopped.value.code == 2 and text.startswith('error: mine is being written to by process')
    assert text.endswith('wait for it, or give another --workdir\n')


def test_an_evaluation_is_refused_before_jax_is_asked_for(project, monkeypatch, capsys):
    monkeypatch.setattr(main, '_begin', lambda args: pytest.fail('nothing is to be begun'))
    claim(project, 'mine', 'data/tones')
    os.symlink('data/tones', 'link')
    shutil.copytree('data/tones', 'copy')

    def said(*argv):
        with pytest.raises(SystemExit) as stopped:
            main.main(['--mode=evaluate', '--workdir=mine', *argv])
        text = capsys.readouterr().err
        assert stopped.value.code == 2 and text.count('\n') == 1
        return text

    for name, argv in (
        ('tones', []),
        ('tones', ['--data_dirs=copy']),
        ('tones-validation', ['--splits=test,validation']),
        ('tones-first-3', ['--config.evaluation.max_examples=3']),
    ):
        with lock.held(f'mine/evaluation/{name}', 'evaluation'):
            assert f'mine/evaluation/{name} is being written to by process' in said(*argv)
    for sets in ('link,data/tones', 'data/tones,data/tones/', 'data/tones,data/../data/tones'):
        assert f'--data_dirs={sets} is one data set twice' in said(f'--data_dirs={sets}')
    assert 'data sets of one name (tones, tones) would overwrite' in said('--data_dirs=copy,link')


@pytest.mark.parametrize('left', [('dataset.json',), ('x-train.tfrecord-00000-of-00001',)])
def test_a_data_sets_folder_is_no_run_folder(project, monkeypatch, capsys, left):
    monkeypatch.setattr(main, '_begin', lambda args: pytest.fail('nothing is to be begun'))
    os.mkdir('mine')
    for name in left:  # a whole one, and one whose job was killed
        pathlib.Path('mine', name).write_text('')
    with pytest.raises(SystemExit) as stopped:
        main.main(
            [
                f'--config={ROOT}/configs/convtasnet.py:demo',
                '--config.data.dir=data/tones',
                '--workdir=mine',
            ]
        )
    text = capsys.readouterr().err
    assert stopped.value.code == 2 and text.count('\n') == 1
    assert text.startswith('error: --workdir=mine is the folder of a data set')
    assert tuple(os.listdir('mine')) == left


def test_speakers_that_a_run_was_trained_on_are_known_in_a_test_set(project):
    train = {'train': ['ann', 'bob', 'cy']}
    of = {
        name: RecordSource(
            synthetic.write(
                project.path / 'data' / name, train=2, validation=2, test=2, speakers=who
            ),
            'test',
        )
        for name, who in (
            ('tones', {**train, 'test': ['dan']}),
            ('other', {'train': ['dan'], 'test': ['ann', 'bob', 'eve']}),
            ('without', {}),
        )
    }

    def fingerprinted(name, split, value):
        path = project.path / 'data' / name / 'dataset.json'
        metadata = json.loads(path.read_text())
        del metadata['digest']
        metadata['splits'][split]['fingerprint'] = value
        path.write_text(json.dumps(files.with_digest(metadata)))
        return RecordSource(str(path.parent), 'test')

    of['tones'] = fingerprinted('tones', 'train', 'now')
    claim(project, 'mine', 'data/tones')
    trained = run_folder.trained_speakers('mine', project.config)
    assert trained == (run_folder.digests(['ann', 'bob', 'cy']), True)
    leak = {'speakers': 3, 'speakers_trained_on': 2}
    assert evaluation._seen(trained, of['other'], 'none') == leak
    assert evaluation._seen(trained, of['tones'], 'none') == {
        'speakers': 1,
        'speakers_trained_on': 0,
    }
    assert evaluation._seen(trained, of['without'], 'none') == {}
    # The run knows them whatever becomes of the data; one of an earlier version asks the data.
    about = project.path / 'mine' / 'training_data.json'
    content = json.loads(about.read_text())
    whole = about.read_text()
    for word in (*run_folder.digests(['ann']), 'tones'):
        about.write_text(whole.replace(f'"{word}"', f'"x{word[1:]}"', 1))
        assert about.read_text() != whole
        assert run_folder.training_data('mine') == {}
        assert run_folder.trained_speakers('mine', project.config) == run_folder.Heard()
        assert f'{about.name} is damaged' in run_folder.damage('mine')
    about.write_text('damaged')
    assert run_folder.trained_speakers('mine', project.config) == run_folder.Heard()
    assert about.name in run_folder.damage('mine')
    del content['digest']
    content['train']['fingerprint'] = 'before it was built anew'
    about.write_text(json.dumps(content))
    assert run_folder.was_rebuilt('mine', of['tones'].metadata)
    assert run_folder.trained_speakers('mine', project.config) == trained
    del content['train']['speaker_digests'], content['train']['fingerprint']
    about.write_text(json.dumps(content))
    assert run_folder.trained_speakers('mine', project.config) == trained
    about.write_text(json.dumps({**content, 'train': {'fingerprint': 'other'}}))
    assert run_folder.trained_speakers('mine', project.config) == run_folder.Heard()
    about.write_text(json.dumps(content))
    for change in (
        lambda path: path.write_text('damaged'),
        lambda path: shutil.rmtree(path.parent),
    ):
        change(project.path / 'data' / 'tones' / 'dataset.json')
        assert run_folder.trained_speakers('mine', project.config) == run_folder.Heard()
    # What an evaluation knew of these very mixtures is not forgotten by the next.
    source = fingerprinted('other', 'test', 'x')
    for fingerprint, known in (('x', leak), ('y', {'speakers': 3}), (None, {'speakers': 3})):
        summary = project.path / 'results' / 'summary.json'
        summary.parent.mkdir(exist_ok=True)
        summary.write_text(json.dumps({**leak, 'data_fingerprint': fingerprint}))
        assert evaluation._seen(run_folder.Heard(), source, 'results') == known
    assert evaluation._seen(run_folder.Heard(), source, 'none') == {'speakers': 3}
    damaged = {**files.with_digest({**leak, 'data_fingerprint': 'x'}), 'speakers_trained_on': 0}
    summary.write_text(json.dumps(damaged))
    assert evaluation._seen(run_folder.Heard(), source, 'results') == {'speakers': 3}


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as stopped:
        main.main(list(argv))
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_the_task_is_checked_before_all_else(tmp_path):
    """The hints on name, rate and number of sources would each lead to the next."""
    for name, job in (('convtasnet', 'fgbg'), ('blstm_m2', 'librimix')):
        data = synthetic.write(tmp_path / job, sources=3, sample_rate=4000, job=job)
        config = tiny.config(data, name, **{'data.name': 'wsj0_2mix'})
        with pytest.raises(config_lib.ConfigError, match=f'data set, made by the job {job}'):
            data_sets.check(config, data, ('train', 'nowhere'))


def test_a_relative_folder_that_is_not_there_is_told_as_it_was_looked_for(project, capsys):
    said = refused(
        capsys, f'--config={ROOT}/configs/convtasnet.py:demo', '--config.data.dir=data/x'
    )
    assert f'no data set at data/x ({project.path}/data/x)' in said and said.count('\n') == 1
    with pytest.raises(FileNotFoundError, match=r'no data set at /no/where: the folder'):
        RecordSource('/no/where', 'train')


@pytest.mark.parametrize('mode', ['evaluate', 'describe'])
def test_a_folder_of_runs_names_them(project, capsys, mode):
    for name in ('a b', 'c'):
        claim(project, project.path / 'runs' / name, 'data/tones')
    said = refused(capsys, f'--mode={mode}', '--workdir=runs')
    assert "some below:\n  'runs/a b'\n  runs/c\n" in said
    assert '--config=' not in said


def test_a_run_is_resumed_with_its_own_configuration(project, monkeypatch, tmp_path, capsys):
    claim(project, project.path / 'runs' / 'a', 'data/tones')
    begun = []
    monkeypatch.setattr(main, '_begin', lambda args: None)
    monkeypatch.setattr(training, 'train', lambda config, *_, **__: begun.append(config))
    main.main(['--mode=train', '--workdir=runs/a', '--config.training.epochs=9'])
    project.config.training.epochs = 9
    monkeypatch.chdir(tmp_path)
    main.main(['--mode=train', f'--workdir={project.path}/runs/a', '--config.training.epochs=9'])
    assert begun[0] == project.config
    assert begun[1].data.dir == str(project.path / 'data' / 'tones')
    assert '--config=FILE is needed' in refused(capsys, f'--workdir={tmp_path}')


def test_runs_of_both_tasks_are_told_apart(project, capsys):
    synthetic.write(project.path / 'data' / 'voices', test=2, job='librimix')
    synthetic.write(project.path / 'data' / 'sounds', test=2, job='fgbg')
    claim(project, project.path / 'runs' / 'a b', 'data/tones')
    project.config = tiny.config('data/tones', 'blstm_m2')
    claim(project, project.path / 'runs' / 'm2', 'data/tones')
    for data, other, those in (
        ('voices', 'runs/m2 (foreground)', "speech runs. Give those alone: --runs='runs/a b'"),
        ('sounds', 'runs/a b (speech)', 'foreground runs. Give those alone: --runs=runs/m2'),
    ):
        said = refused(capsys, '--mode=cross_evaluate', '--runs=runs', f'--data_dirs=data/{data}')
        assert other in said and those in said and said.count('\n') == 1


@pytest.mark.parametrize(
    'folder, holds, recordings, output',
    [
        ('rec', ['anna'], 'rec', 'data/rec'),
        ('my rec/', ['anna'], "'my rec/'", "'data/my rec'"),
        ('data/rec', ['anna'], 'data/rec', '{here}/data/rec_mixtures'),  # never where they lie
        ('rec', ['rec-train.tfrecord-00000-of-00001'], '...', 'rec'),
        ('rec', [], '...', 'rec'),
        ('rec', ['.fgsep_unfinished'], '...', 'rec'),
    ],
)
def test_of_a_folder_of_recordings_a_data_set_is_made_elsewhere(
    tmp_path, monkeypatch, folder, holds, recordings, output
):
    monkeypatch.chdir(tmp_path)
    os.makedirs(folder)
    for name in holds:
        os.makedirs(os.path.join(folder, name))
    output = output.format(here=tmp_path)
    assert data_sets._folders_for(folder) == (recordings, output)
