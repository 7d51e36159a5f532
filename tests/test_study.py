"""All runs of a paper as one command: which there are, who does them, and that it goes on."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from fgsep_jax import config as config_lib, lock, study
from fgsep_jax.data import pipeline
from fgsep_jax.evaluation import evaluate
from fgsep_jax.report import published, runs as runs_lib
from fgsep_jax.training import cost
import synthetic
import tiny

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def data(tmp_path):
    return [synthetic.write(tmp_path / name, train=8, name=name) for name in ('near', 'far', 'new')]


def plan(
    data, output='out', kind='conv_tasnet', *, seeds=1, size='demo', tests=(), only='', **overrides
):
    overrides = {key.replace('__', '.'): value for key, value in overrides.items()}
    how = dict(size=size, seeds=seeds, output=str(output), overrides=overrides, only=only)
    return study.plan(kind, data, tests, **how)


def kind_of(run):
    objective = 'SI-SNR' + ' + power law' * bool(run.config.loss.power_law_weight)
    return runs_lib.NAMES[run.config.experiment], objective


def test_a_study_has_what_the_tables_and_figures_of_paper_2_need(data):
    runs = plan(data[:2], tests=data[2:], seeds=2)
    assert len({run.name for run in runs}) == len(runs) == 2 * (9 + 3)
    on = {
        folder: [kind_of(run) for run in runs if run.config.data.dir == folder]
        for folder in data[:2]
    }
    models = {model for model, objective in on[data[0]] if objective == 'SI-SNR'}
    assert models == {*published.TABLE_1, *published.TABLE_2}
    figure = [[kind in kinds for kind in published.FIGURE_5] for kinds in on.values()]
    assert figure == [[True] * 4, [True, False, True, True]]  # seven runs, as in the paper
    assert [run.config.seed for run in runs] == [0] * 12 + [1] * 12  # all of one seed come first
    assert [run.baselines for run in runs] == [True] + [False] * 23  # once is enough
    assert all(len(run.results) == 3 for run in runs)
    names = {runs_lib.NAMES[model.config] for model in study.STUDIES['next_step']}
    assert names == {*published.NEXT_STEP}


def test_a_corpus_of_the_papers_has_its_own_recipe(tmp_path):
    data = [synthetic.write(tmp_path / name, name=name) for name in ('wsj0_2mix', 'libritts_2mix')]
    runs = plan(data, size='paper')
    epochs = {run.config.data.dir: run.config.training.epochs for run in runs}
    assert epochs == dict(zip(data, (100, 60)))
    runs = plan(data, size='paper', training__epochs=3)
    assert {run.config.training.epochs for run in runs} == {3}


def test_a_study_has_the_four_models_of_paper_1(tmp_path):
    data = synthetic.write(
        tmp_path / 'scenes', name='scenes', sample_rate=44100, adaptation=True, job='fgbg'
    )
    runs = plan([data], kind='foreground', size='narrow', evaluation__splits='test')
    models = [runs_lib.NAMES[run.config.experiment] for run in runs]
    assert models == ['M1', 'M2', 'M1+', 'M2+']
    assert {run.config.model.layers for run in runs} == {3}


def test_parts_are_all_runs_and_no_run_twice(data):
    runs = plan(data, seeds=3)
    parts = [study.share(runs, f'{k}/4') for k in (1, 2, 3, 4)]
    assert sorted(run.name for part in parts for run in part) == sorted(run.name for run in runs)
    assert {len(part) for part in parts} <= {len(runs) // 4, len(runs) // 4 + 1}
    only = plan(data, seeds=3, only='*power_law*seed1')
    assert [run.name.partition('-')[0] for run in only][:2] == ['convtasnet_prelu', 'convtasnet']


@pytest.mark.parametrize(
    'words, said',
    [
        (['{near}x'], 'near'),  # there is none
        (['{near}/dataset.json'], 'dataset.json: it is no folder'),
        (['{near}', '--only=glu'], '--only=glu: fits no run; there are convtasnet-narrow-near-'),
        (['{near}', '--part=5/4'], '--part=5/4: must be K/N'),
        (['{near}', '--seeds=0'], '--seeds=0: must be 1 or more'),
        (['{near}', '--config.seed=3'], '--config.seed: the study sets it itself'),
        (['{near}', '--config.data.sample_rate=16000'], 'data.sample_rate = 16000'),
        (['{near}', '--config.evaluation.max_examples=1'], 'must be 0'),
        (['{near}', '--test_dirs={near}'], 'one data set twice'),
        (['{near}', '--test_dirs={scenes}'], 'scenes is a foreground data set'),
        (['{scenes}'], 'scenes is a foreground data set'),
        (['{near}', 'foreground'], 'conv_tasnet foreground: must be one of'),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    data, tmp_path, capsys, words, said
):
    places = {'near': data[0]}
    places['scenes'] = synthetic.write(tmp_path / 'scenes', name='scenes', job='fgbg')
    first, *more = [word.format(**places) for word in words]
    output = tmp_path / 'out'
    with pytest.raises(SystemExit) as stop:
        study.main(['conv_tasnet', f'--data_dirs={first}', f'--output_dir={output}', *more])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err and not output.exists()


def test_a_data_set_is_no_place_for_a_study(data, tmp_path, capsys):
    folder = synthetic.write(tmp_path / 'tones')
    before = sorted(os.listdir(folder))
    with pytest.raises(SystemExit) as stop:
        study.main(['conv_tasnet', f'--data_dirs={data[0]}', f'--output_dir={folder}'])
    assert stop.value.code == 2 and sorted(os.listdir(folder)) == before
    assert 'is the folder of a data set' in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_said_once(data, capfd):
    with pytest.raises(SystemExit) as stop:
        study.main(['conv_tasnet', f'--data_dirs={data[0]}', '--output_dir=/proc/none'])
    (line,) = capfd.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith('error: /proc/none')


def write_result(folder, **about):
    row = {'id': 'a', 'source': '1', 'seconds': 1.0, 'snr_db': 0.0, 'sdr': 1.0}
    summary = dict.fromkeys(('system', 'preset', 'data_set', 'split'), 'x') | {
        'step': 1,
        'parameters': 1,
        'examples': 1,
    }
    evaluate.write(folder, [row], summary | {'metrics': {'sdr': {}}, **about})


class Machine:
    """Stands in for the programs that a study starts: what they write, and what it is told."""

    def __init__(self, monkeypatch):
        self.called, self.failing, self.busy, self.most = [], '', 0, 0
        self._mutex = threading.Lock()
        monkeypatch.setattr(study, 'call', self)
        monkeypatch.setattr(study, 'WAIT', 0.01)

    def __call__(self, module, words, *, log='', environment=None, cores=()):
        with self._mutex:
            self.busy += 1
            self.most = max(self.most, self.busy)
        time.sleep(0.02)
        with self._mutex:
            self.busy -= 1
        flags = dict(word.removeprefix('--').partition('=')[::2] for word in words)
        folder = flags.get('workdir') or flags.get('runs')
        name = os.path.basename(folder or '')
        self.called.append((module, flags.get('mode'), name))
        if module != 'main':
            return 0
        if self.failing and self.failing in name:
            pathlib.Path(log).write_text('working\nerror: no luck\n')
            return 1
        os.makedirs(folder, exist_ok=True)
        if flags['mode'] == 'train':
            with self._mutex:  # a file of configurations is imported by one thread at a time
                config = config_lib.load(flags['config'])
            config_lib.override(config, config_lib.split_overrides(words)[1])
            content = config_lib.to_json(config, digest=True)
            pathlib.Path(folder, 'config.json').write_text(content)
        else:
            for place in flags['data_dirs'].split(','):
                results = pathlib.Path(folder, 'evaluation', os.path.basename(place))
                config = json.loads(pathlib.Path(folder, 'config.json').read_text())
                for system in ('', *['untrained'] * ('baselines' in flags)):
                    about = {key: config[key] for key in ('preset', 'seed')}
                    about['system'] = system or config['experiment']
                    write_result(results / system, **about)
        return 0

    def did(self):
        """What was called since the last time."""
        called, self.called = self.called, []
        return called


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def command(data, tmp_path, *words):
    output = tmp_path / 'out'
    flags = ['--size=demo', '--seeds=1', f'--output_dir={output}']
    return study.main(['conv_tasnet', f'--data_dirs={",".join(data[:2])}', *flags, *words])


def test_one_run_fails_the_others_go_on_and_the_next_call_does_what_is_left(
    data, tmp_path, machine, capsys
):
    machine.failing = 'power_law-demo-far'
    assert command(data, tmp_path) == 1
    told = capsys.readouterr()
    name = 'convtasnet_prelu-power_law-demo-far-seed0'
    assert f'{name}: failed, exit status 1: error: no luck' in told.out
    assert f'failed: {name}; the same command tries them again' in told.err
    (listed, *others) = machine.did()
    assert listed[0] == 'study' and others[-1][0] == 'report'
    assert len([1 for _, mode, _ in others if mode == 'train']) == 12
    machine.failing = ''
    assert command(data, tmp_path) == 0
    did = [call for call in machine.did() if call[0] == 'main']
    assert did == [('main', 'train', name), ('main', 'cross_evaluate', name)]
    assert command(data, tmp_path) == 0
    assert machine.did() == [('report', None, 'runs')]  # all is done


def test_results_that_are_not_the_runs_are_made_again(data, tmp_path, machine):
    assert command(data, tmp_path) == 0
    machine.did()
    (one, *_, other) = sorted((tmp_path / 'out' / 'runs').glob('*/evaluation/far'))
    write_result(one, system='another', preset='demo', seed=0)
    (other / 'examples.csv').unlink()
    assert command(data, tmp_path) == 0
    names = {name for _, mode, name in machine.did() if mode == 'cross_evaluate'}
    assert names == {folder.parents[1].name for folder in (one, other)}


@pytest.mark.parametrize(
    'change',
    [
        ['--config.training.epochs=9'],
        ['--test_dirs={new}'],
        ['--config.evaluation.filter_taps=100'],
    ],
)
def test_what_is_wanted_otherwise_is_done_again(data, tmp_path, machine, change):
    assert command(data, tmp_path, '--only=convtasnet-*near*') == 0
    machine.did()
    more = [word.format(new=data[2]) for word in change]
    assert command(data, tmp_path, '--only=convtasnet-*near*', *more) == 0
    assert len([1 for _, mode, _ in machine.did() if mode == 'train']) == 2


def test_another_configuration_in_a_run_folder_is_refused(data, tmp_path, machine, capsys):
    (run,) = plan(data, tmp_path / 'out', only='yang*')
    os.makedirs(run.folder)
    content = config_lib.to_json(run.config, digest=True)
    pathlib.Path(run.folder, 'config.json').write_text(content)
    assert command(data, tmp_path, '--only=yang*') == 0
    machine.did()
    with pytest.raises(SystemExit):
        command(data, tmp_path, '--only=yang*', '--config.model.separator.hidden=8')
    said = capsys.readouterr().err
    assert 'another configuration' in said and 'separator.hidden: 64 before, 8 now' in said
    assert not machine.did()


def test_as_many_run_at_a_time_as_asked(data, tmp_path, machine):
    assert command(data, tmp_path, '--jobs=3') == 0
    assert machine.most == 3
    assert not os.listdir(tmp_path / 'out' / 'locks')


@pytest.mark.parametrize('held', ['locks', 'runs'])  # by another study; by its orphan
def test_a_run_that_another_process_has_comes_last(data, tmp_path, machine, capsys, held):
    name = 'convtasnet-demo-near-seed0'
    folder = tmp_path / 'out' / held / name
    folder.parent.mkdir(parents=True)
    release = threading.Event()

    def other():
        with lock.held(folder, 'another'):
            release.set()
            while len([1 for call in machine.called if call[1] == 'cross_evaluate']) < 11:
                time.sleep(0.01)

    thread = threading.Thread(target=other)
    thread.start()
    release.wait()
    assert command(data, tmp_path) == 0
    thread.join()
    assert f'{name}: waiting, ' in capsys.readouterr().out
    last = [run for _, mode, run in machine.did() if mode == 'cross_evaluate']
    assert len(last) == 12 and last[-1] == name


def test_what_runs_take_is_told_from_what_this_machine_measured(data, tmp_path):
    runs = plan(data[:1], tmp_path, training__epochs='600', data__batch_size='2')
    unknown = study.listing(runs, str(tmp_path))
    assert unknown[1].split() == [runs[0].name, '-', '2,400', '-']
    speeds = {study._kind(run): [1000, 2.0] for run in runs}
    path = pathlib.Path(study.speeds_file(str(tmp_path)))
    path.write_text(json.dumps({**speeds, 'other': 3}))  # no such file is ours
    assert study.listing(runs, str(tmp_path)) == unknown
    path.write_text(json.dumps(speeds))
    lines = study.listing(runs, str(tmp_path))
    assert lines[1].split() == [runs[0].name, '1,000', '2,400', '40', 'min']
    assert lines[-1].startswith('9 runs, 0 done: 6.0 h of training at most on this machine')


def test_a_step_is_timed_on_batches_with_the_noise_of_the_data_set(data, tmp_path, monkeypatch):
    noisy = synthetic.write(tmp_path / 'noisy', name='noisy', noise=True)
    runs = [plan([folder], only='convtasnet-*')[0] for folder in (data[0], noisy)]
    assert [run.parts for run in runs] == [2, 3]
    assert study._kind(runs[0]) != study._kind(runs[1])  # what one takes the other does not
    shapes = []

    def measured(config, *, parts):
        shapes.append(pipeline.shapes(config, parts=parts)['source_BST'][0][1])
        return 1.0

    monkeypatch.setattr(cost, 'measure', measured)
    study.measure(runs, str(tmp_path / 'out'))
    assert shapes == [2, 3]


def start(data, output):
    values = {**tiny.SHRUNK, 'training.epochs': 6, 'model.separator.blocks': 1}
    values |= {'evaluation.filter_taps': 8, 'evaluation.listen_examples': 1}
    del values['model.encoder.name']
    return subprocess.Popen(
        [
            *(sys.executable, '-m', 'fgsep_jax.study', 'conv_tasnet', '--size=demo', '--seeds=1'),
            *(f'--data_dirs={data[0]},{data[1]}', f'--output_dir={output}'),
            '--only=convtasnet-demo-near*',
            *(f'--config.{key}={value}' for key, value in values.items()),
        ],
        cwd=ROOT,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'GLIBC_TUNABLES': ''},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_killed_while_it_trains_the_same_command_ends_with_the_report(data, tmp_path):
    output = tmp_path / 'out'
    process = start(data, output)
    saved = output / 'runs' / 'convtasnet-demo-near-seed0' / 'checkpoints' / '3'
    while not saved.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert saved.exists() and not (output / 'report').exists()
    process = start(data, output)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    log = (output / 'logs' / 'convtasnet-demo-near-seed0.log').read_text()
    assert 'resuming at step' in log
    assert (output / 'report' / 'index.html').exists()
    results = output.glob('runs/*/evaluation/*/summary.json')
    assert {path.parts[-4:-1:2] for path in results} == {
        ('convtasnet-demo-near-seed0', name) for name in ('near', 'far')
    }
