"""Every benchmark runs, on small sizes; those of models beside their twins in test_torch_twins."""

import importlib
import os
import pathlib

import jax
import numpy as np
import pytest

from benchmarks import (
    __main__ as program,
    child,
    compile_time,
    conv_tasnet,
    gpu,
    hlo,
    memory,
    table,
)
from fgsep_jax.config import ConfigError
from fgsep_jax.tasks import make_task


@pytest.mark.slow
@pytest.mark.parametrize('name', ['metrics', 'pit', 'features'])
def test_small_cases_run_and_make_lines(run, name):
    run(importlib.import_module(f'benchmarks.{name}').cases(small=True))


@pytest.fixture
def untaken(monkeypatch):
    """Train steps of ours are traced in place of compiled."""

    class Untaken:
        def __init__(self, config, **batch):
            self.task, self.batch = make_task(config), batch
            self.params = jax.tree.map(
                lambda leaf: np.full(leaf.shape, 0.1, np.float32),
                jax.eval_shape(self.task.init, jax.random.key(0)),
            )
            self._params = self.params

        def __call__(self):
            loss_B, _ = jax.eval_shape(
                lambda params: self.task.loss(params, self.batch, None), self._params
            )
            return float(len(loss_B.shape))

    monkeypatch.setattr(conv_tasnet, 'TrainStep', Untaken)
    monkeypatch.setattr(child, 'TrainStep', Untaken)


@pytest.mark.slow
def test_what_a_gpu_would_run_is_made(untaken, run):
    names = run(gpu.cases(small=True, device='cpu'))
    assert [sum(word in name for name in names) for word in ('TF32', 'bfloat16', 'M2')] == [1, 1, 1]


@pytest.mark.parametrize('arguments', [['gpu'], ['gpu', '--small']])
def test_without_a_gpu_its_benchmark_ends_in_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        program.main(arguments)
    errors = capsys.readouterr().err
    assert error.value.code == 2 and errors.count('\n') == 1
    assert 'benchmark gpu: JAX runs on cpu, PyTorch sees no GPU; both need one' in errors
    assert 'gpu' not in program.NAMES  # nor is it part of all


@pytest.mark.slow
def test_what_is_measured_in_a_fresh_process_is_printed(untaken, capsys):
    values = {}
    for what in child.MEASURED:
        child.main([what, '--small'])
        values[what] = float(capsys.readouterr().out.splitlines()[-1])
    assert values.keys() == {'compile', 'memory', 'memory_of_torch'}
    assert 0 < values['compile'] < 600 and np.isfinite(list(values.values())).all()


def test_a_fresh_process_is_told_what_to_measure(monkeypatch):
    given = {}

    def run(command, *, env, cwd, **kwargs):
        given.update(command=command[1:], env=env, cwd=cwd)
        return type('Done', (), {'stdout': 'a line\n2.5\n'})

    monkeypatch.setattr(child.subprocess, 'run', run)
    assert child.measure('memory', small=True, JAX_PLATFORMS='tpu') == 2.5
    assert given['command'] == ['-m', 'benchmarks.child', 'memory', '--small']
    assert given['env'] == {**os.environ, 'JAX_PLATFORMS': 'tpu'}
    assert (pathlib.Path(given['cwd']) / 'benchmarks').is_dir()


def test_memory_and_compilation_are_measured_apart(run, monkeypatch):
    asked = []

    def measure(what, *, small, JAX_PLATFORMS, JAX_COMPILATION_CACHE_DIR=None, **environment):
        cache = JAX_COMPILATION_CACHE_DIR
        asked.append((what, cache and os.path.isdir(cache) and bool(os.listdir(cache))))
        if cache and not os.path.isdir(cache):
            os.mkdir(cache)
            pathlib.Path(cache, 'step').touch()
        assert small and JAX_PLATFORMS == 'cpu'
        return 1e6

    monkeypatch.setattr(child, 'measure', measure)
    run(memory.cases(small=True))
    run(compile_time.cases(small=True))
    assert asked == [
        ('memory', None),
        ('memory_of_torch', None),
        ('compile', False),  # cold
        ('compile', True),
    ]


def test_a_cache_that_was_not_filled_is_no_warm_start(monkeypatch):
    monkeypatch.setattr(
        child,
        'measure',
        lambda *args, JAX_COMPILATION_CACHE_DIR, **kwargs: os.makedirs(JAX_COMPILATION_CACHE_DIR),
    )
    cold, warm = compile_time.cases(small=True)
    # The folder is gone with the generator; what is asked for is made again by the cold run.
    cold.ours()
    with pytest.raises(RuntimeError, match='the compiled step was not cached'):
        warm.ours()


def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match='JAX runs on cpu, PyTorch sees no GPU'):
        gpu.cases()


@pytest.mark.parametrize(
    'of, arguments, said',
    [
        (program, [], 'NAME... is needed.'),
        (program, ['metric'], "there is no benchmark metric; did you mean 'metrics'?"),
        (program, ['pit', '--rounds=-1'], '--rounds=-1: must be a whole number, 0 or more.'),
        (program, ['pit', '--rond=1', 'input'], 'there is no flag --rond'),
        (program, ['pit', '--results=~nobody_here/x'], 'there is no home folder ~nobody_here'),
        (child, [], 'compile|memory|memory_of_torch is needed.'),
        (child, ['memory', 'compile'], 'memory compile: must be one of compile, memory, '),
        (hlo, [], 'FILE is needed.'),
        (hlo, ['a', 'b'], 'a b: one file at a time.'),
        (hlo, ['--instructions=x', 'a'], '--instructions=x: must be a whole number, 0 or more.'),
        (table, ['--page=~nobody_here/x'], 'there is no home folder ~nobody_here'),
        (table, ['a'], 'a not understood: flags are written --NAME=VALUE.'),
    ],
)
def test_wrong_arguments_end_in_one_line(of, arguments, said, capsys):
    with pytest.raises(SystemExit) as error:
        of.main(arguments)
    errors = capsys.readouterr().err
    assert error.value.code == 2 and errors.startswith('error: ') and errors.count('\n') == 1
    assert said in errors


def test_a_home_is_meant_by_a_tilde(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'file').touch()
    monkeypatch.setattr(program, '_run', lambda *args: pytest.fail('measured'))
    for of, arguments in (
        (table, ['--results=~/none']),
        (hlo, ['~/none']),
        (program, ['pit', '--results=~/file/none']),
    ):
        with pytest.raises(SystemExit):
            of.main(arguments)
        assert str(tmp_path) in capsys.readouterr().err
