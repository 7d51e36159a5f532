"""The second writer of a folder is refused with who, where and since when, and touches nothing."""

import os

import pytest

from data_prep import folder_2mix
from fgsep_jax import lock
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import run as evaluation
from fgsep_jax.report import __main__ as report
from fgsep_jax.training import loop, run_folder
import synthetic
import tiny


def tree(folder):
    return sorted(
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else None)
        for path in folder.rglob('*')
    )


@pytest.fixture
def data(tmp_path):
    return synthetic.write(tmp_path / 'tones', train=4)


@pytest.fixture
def run(data, tmp_path):
    run_folder.claim(tmp_path / 'run', tiny.config(data), RecordSource(data, 'train'))
    return str(tmp_path / 'run')


def train(data, run):
    sources = [RecordSource(data, split) for split in ('train', 'validation')]
    loop.train(tiny.config(data), run, train_source=sources[0], validation_source=sources[1])


def evaluate(data, run):
    evaluation.evaluate_on(tiny.config(data), run, [RecordSource(data, 'test')])


def make_report(data, run):
    del data
    output = os.path.join(os.path.dirname(run), 'report')
    return report.main([f'--runs={run}', f'--output_dir={output}'])


def prepare(data, run):
    del data
    folder = os.path.dirname(run)
    folder_2mix.main([f'--input_dir={folder}/voices', f'--output_dir={folder}/mixtures'])


@pytest.mark.parametrize(
    'write, folder',
    [
        (train, 'run'),
        (evaluate, 'run/evaluation/tones'),
        (make_report, 'report'),
        (prepare, 'mixtures'),
    ],
)
def test_the_second_is_refused(data, run, tmp_path, capsys, write, folder):
    with lock.held(tmp_path / folder, 'the first'):
        before = tree(tmp_path)
        try:
            status = write(data, run)
        except OSError as error:  # main() prints it and exits with 2
            status = 2
            print(f'error: {error}')
        except SystemExit as stop:
            status = stop.code
        assert status == 2
        (message,) = ''.join(capsys.readouterr()).splitlines()
        assert f'{folder} is being written to by process {os.getpid()} on' in message
        assert '(the first)' in message
        assert tree(tmp_path) == before
