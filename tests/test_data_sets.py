"""Which data set a run reads, from wherever its commands are given."""

import json
import os
import pathlib
import signal
import sys
import types

import pytest

from fgsep_jax import config as config_lib, data_sets, lock, main
from fgsep_jax.data.source import RecordSource
from fgsep_jax.training import endings, run_folder
import synthetic

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
    about.write_text(json.dumps({**json.loads(about.read_text()), 'dir': 'data/tones'}))
    monkeypatch.chdir('/')
    assert found(inside) == there
    about.unlink()
    assert found(inside) == there
    # Moved together, they are found together; a run on its own says what it looked for.
    os.rename(project.path, tmp_path / 'moved')
    assert found(tmp_path / 'moved' / 'runs' / 'a') == str(tmp_path / 'moved' / 'data' / 'tones')
    os.rename(tmp_path / 'data', tmp_path / 'gone')
    assert found(outside) == there


def test_the_embedded_set_is_not_built_again_elsewhere(project, monkeypatch):
    project.config.data.dir = ''
    synthetic.write(project.path / 'data' / 'embedded', name='embedded')
    claim(project, project.path / 'runs' / 'a', 'data/embedded')
    monkeypatch.chdir('/')
    assert found(project.path / 'runs' / 'a') == str(project.path / 'data' / 'embedded')


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
        assert any(word in text for word in ('gcsfs', 's3fs', 'read are folders, and URLs'))


def test_after_a_training_the_next_command_is_said(project, monkeypatch, capsys):
    monkeypatch.setattr(main, '_begin', lambda args: None)
    monkeypatch.setattr('fgsep_jax.experiment.train', lambda *args, **kwargs: None)
    given = [f'--config={ROOT}/configs/convtasnet.py:demo', '--config.data.dir=data/tones']
    main.main([*given, '--mode=train', '--workdir=my runs/a'])
    said = "python -m fgsep_jax.main --mode=evaluate --workdir='my runs/a'"
    assert capsys.readouterr().out.split(maxsplit=1)[1] == f'{said}\n'
    main.main([*given, '--mode=train', '--config.evaluation.splits=c1'])
    assert capsys.readouterr().out.endswith('/convtasnet-demo --splits=test,validation\n')


@pytest.mark.parametrize('name, status', [('SIGTERM', 143), ('SIGINT', 130), ('SIGHUP', 129)])
def test_a_training_that_was_asked_to_stop_ends_with_the_signals_status(
    project, monkeypatch, capfd, name, status
):
    def train(*args, **kwargs):
        raise endings.Preempted('saved step 7', signal.Signals[name])

    monkeypatch.setattr(main, '_begin', lambda args: None)
    monkeypatch.setattr('fgsep_jax.experiment.train', train)
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
