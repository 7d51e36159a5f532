"""What a compile ahead reports, held against what can be counted by hand."""

import importlib.util
import itertools
import math
import os
import pathlib
import re
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from fgsep_jax.launch import compile_ahead, tpu
from fgsep_jax.tasks import make_task
from fgsep_jax.training import state as state_lib, step as step_lib
import tiny

ROOT = pathlib.Path(__file__).parents[2]
CHIP = tpu.Chip(flops=1e9, hbm_bandwidth=1e9, hbm=1e9, ici_bandwidth=1e9, largest=(2, 2))


@pytest.fixture(scope='module')
def step():
    """A tiny step compiled for this machine's CPU, with lengths and a segment to adapt to."""
    config = tiny.config('', 'blstm_m1_plus', **{'model.layers': 1})
    return config, compile_ahead.compile_step(config, jax.devices()[:1], padded=True)


def test_the_step_takes_what_a_run_gives_it(step):
    config, compiled = step
    (state, batch), _ = compiled.in_avals
    expected = jax.eval_shape(lambda: state_lib.init_state(make_task(config), config))
    assert jax.tree.map(lambda x: x.shape, state) == jax.tree.map(lambda x: x.shape, expected)
    assert {name: (x.shape, x.dtype) for name, x in batch.items()} == {
        'source_BST': ((4, 2, 800), np.int16),
        'length_B': ((4,), np.int32),
        'adaptation_BT': ((4, 400), np.int16),
    }


def test_a_step_with_noise_has_a_row_for_it(monkeypatch):
    seen = {}
    monkeypatch.setattr(step_lib, 'jit_train_step', lambda *_: types.SimpleNamespace(lower=lower))

    def lower(state, batch):
        seen.update({name: x.shape for name, x in batch.items()})
        return types.SimpleNamespace(compile=lambda: None)

    for noise, remix in itertools.product((False, True), repeat=2):
        config = tiny.config('', 'convtasnet', **{'data.remix': remix})
        compile_ahead.compile_step(config, jax.devices()[:1], noise=noise)
        assert seen['source_BST'][1] == 2 + noise
        assert not remix or seen['name_BS'][1] == 2 + noise


def test_numbers_are_those_of_xla_and_of_the_chip(step):
    config, compiled = step
    found = compile_ahead.analyse(compiled, CHIP, chips=4, gradient_bytes=2e9)
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    assert (found['flops'], found['bytes']) == (cost['flops'], cost['bytes accessed'])
    assert found['bounds'] == {
        'matrix units': cost['flops'] / 1e9,
        'HBM': cost['bytes accessed'] / 1e9,
        'ICI': 2 * 3 / 4 * 2,
    }
    state = jax.eval_shape(lambda: state_lib.init_state(make_task(config), config))
    batch = 4 * (2 * 800 * 2 + 400 * 2 + 4)
    arguments = batch + sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert found['arguments'] == pytest.approx(arguments, abs=64)
    # What comes out is the donated state, in its own place, and some metrics.
    assert 0 < found['peak'] - arguments - memory.temp_size_in_bytes < 1024
    assert found['loops'] >= 2  # of the LSTM, forward and back
    text = compile_ahead.report(found, CHIP, batch=8, seconds_of_audio=6)
    assert 'bound by           ICI: 3000.00 ms a step, 16 s of audio a second and chip' in text
    assert 'gradients          2000 MB' in text and 'of which XLA counts the body once' in text
    assert 'loops' not in compile_ahead.report(
        found | {'loops': 0}, CHIP, batch=8, seconds_of_audio=6
    )


def test_a_batch_is_split_over_the_chips():
    config = tiny.config('')
    assert compile_ahead.split(config, 2) == 2
    assert compile_ahead.split(config, 2, per_chip=8) == 8 and config.data.batch_size == 16


@pytest.mark.parametrize(
    'text, size',
    [
        (
            'RESOURCE_EXHAUSTED: Allocation (size=157286400000) would exceed memory: Used 146.48G'
            ' of 15.75G hbm. Exceeded hbm capacity by 130.73G.',
            146.48 * 2**30,
        ),
        ('RESOURCE_EXHAUSTED: XLA:TPU compile: 512.00M (of ...) 18.5G exceeds 16G', 18.5 * 2**30),
    ],
)
def test_what_a_step_needs_is_read_off_the_compilers_refusal(text, size):
    assert compile_ahead._needed(RuntimeError(text)) == size


def test_another_error_of_the_compiler_is_raised():
    with pytest.raises(RuntimeError, match='INTERNAL'):
        compile_ahead._needed(RuntimeError('INTERNAL: 3G of'))


# In processes of their own: libtpu must not load into the one that runs the other tests.
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec('libtpu') is None, reason='needs libtpu, the extra compile-ahead'
)
TINY = {
    'convtasnet': [
        '--config.model.encoder.basis=128',
        '--config.model.separator.bottleneck=32',
        '--config.model.separator.hidden=128',
        '--config.model.separator.skip=32',
        '--config.model.separator.blocks=2',
        '--config.model.separator.repeats=1',
        '--config.data.segment_seconds=0.5',
    ],
    'blstm_m2': [
        '--config.model.dtype=bfloat16',
        '--config.model.layers=1',
        '--config.model.hidden=64',
        '--config.model.projection=64',
        '--config.features.window=256',
        '--config.features.hop=64',
        '--config.features.bands=64',
        '--config.data.sample_rate=8000',
        '--config.data.segment_seconds=0.5',
    ],
}


def run(name, *arguments):
    """(exit status, standard output, standard error) of the program on a small model."""
    process = subprocess.run(
        [
            sys.executable,
            '-m',
            'fgsep_jax.launch.compile_ahead',
            f'--config=configs/{name}.py',
            *TINY[name],
            *arguments,
        ],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout, process.stderr


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize(
    'name, gigabytes, least', [('convtasnet', 0.1041, 1.0), ('blstm_m2', 0.03124, 0.5)]
)
def test_a_step_for_a_pod(tmp_path, name, gigabytes, least):
    path = tmp_path / 'step.txt'
    code, printed, errors = run(name, '--topology=v5e:2x2', '--per_chip_batch=4', f'--hlo={path}')
    assert code == 0, errors
    found = dict(re.findall(r'^(FLOPs|bytes accessed|gradients|bound by) +([^ ]+)', printed, re.M))
    # XLA's count; lower it when the model gets better.
    assert float(found['bytes accessed']) <= 1.03 * gigabytes, printed
    assert float(found['FLOPs']) > 0 and found['bound by'] == 'HBM:'
    # Nothing is exchanged but gradients, some of M2's in bfloat16, and two scalars.
    program = path.read_text()
    reduced = sum(
        math.prod(int(n) for n in dims.split(',') if n) * (4 if kind == 'f32' else 2)
        for results in re.findall(r'= (.*) all-reduce(?:-start)?\(', program)
        for kind, dims in re.findall(r'\b(f32|bf16)\[([\d,]*)\]', results)
    )
    assert 0.999 * least <= reduced / 1e6 / float(found['gradients']) <= 1.001
    assert not re.search(
        r' (all-gather|all-to-all|reduce-scatter|collective-permute)(-start)?\(', program
    )


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize(
    'arguments, message',
    [
        (
            ['--topology=v5e:3x5', '--per_chip_batch=1'],
            'is not a shape that XLA knows (INVALID_ARGUMENT',
        ),
        (
            ['--topology=v5e:2x2', '--per_chip_batch=65536'],
            'error: a chip does not hold 65,536 mixtures: ',
        ),
    ],
)
def test_what_the_compiler_refuses_is_one_line(arguments, message):
    code, printed, errors = run('convtasnet', *arguments)
    assert code == 2 and message in errors and 'Traceback' not in errors
