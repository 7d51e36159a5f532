"""What the compiled train steps cost by the compiler's count, which no busy machine disturbs.

A test fails when a step gets a few per cent dearer than recorded; lower an entry when it gets
cheaper. Times are never asserted.
"""

import jax
import jax.monitoring
import jax.numpy as jnp
import pytest

from fgsep_jax import config as config_lib
from fgsep_jax.data.source import RecordSource
from fgsep_jax.models.conv_tasnet import multiply_accumulates
from fgsep_jax.tasks import make_task
from fgsep_jax.training import loop, mesh as mesh_lib, state as state_lib, step as step_lib
import synthetic
from test_config import load
import tiny

SLACK = 1.05
# Of a step on CPU: Conv-TasNets 2 x 4 s, M2 16 x 2 s; GFLOP, GB accessed, GB of temporaries.
RECORDED = {
    'convtasnet': (241.7, 26.5, 1.25),
    'convtasnet_prelu': (582.3, 30.6, 1.63),
    'convtasnet_glu': (923.4, 35.2, 1.99),
    'blstm_m2': (44.5, 2.08, 0.31),  # loops counted once
}


def compiled_step(config):
    """The train step of a run, compiled from shapes alone."""
    task, mesh = make_task(config), mesh_lib.make_mesh()
    state = jax.eval_shape(lambda: state_lib.init_state(task, config))
    shape = config.data.batch_size, 2, config_lib.segment_samples(config)
    batch = {'source_BST': jax.ShapeDtypeStruct(shape, jnp.int16)}
    return step_lib.jit_train_step(task, config, mesh).lower(state, batch).compile()


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='recorded on CPU')
@pytest.mark.parametrize('name', RECORDED)
def test_a_step_costs_no_more_than_recorded(name):
    config = load(name)
    if config.task == 'speech':
        config.data.batch_size = 2
    compiled = compiled_step(config)
    cost = compiled.cost_analysis()
    found = (
        cost['flops'] / 1e9,
        cost['bytes accessed'] / 1e9,
        compiled.memory_analysis().temp_size_in_bytes / 1e9,
    )
    assert all(f <= SLACK * r for f, r in zip(found, RECORDED[name])), (found, RECORDED[name])


def test_a_step_multiplies_little_more_than_three_forward_passes():
    config = load('convtasnet')
    config.data.batch_size = 1
    compiled = compiled_step(config)
    least = (
        3
        * 2
        * config.data.segment_seconds
        * multiply_accumulates(make_task(config).model, sample_rate=config.data.sample_rate)
    )
    # Element by element the block does some 4 % more; once more through the expansion is 6 %.
    assert least <= compiled.cost_analysis()['flops'] <= 1.1 * least


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason="XLA's compiler for CPU drops barriers")
def test_remat_saves_memory_on_cpu_too():
    size = {}
    for remat in (False, True):
        config = load('convtasnet', 'small')
        config.model.remat = remat
        size[remat] = compiled_step(config).memory_analysis().temp_size_in_bytes
    assert size[True] < 0.6 * size[False], size


def test_a_longer_run_compiles_nothing_more(tmp_path):
    data = synthetic.write(tmp_path / 'tones')
    compiled = []

    def count(event, seconds, **kwargs):
        del seconds, kwargs
        if event == '/jax/core/compile/backend_compile_duration':
            compiled[-1] += 1

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        for epochs in (1, 1, 3):
            compiled.append(0)
            loop.train(
                tiny.config(data, **{'training.epochs': epochs}),
                str(tmp_path / f'run-{len(compiled)}'),
                train_source=RecordSource(data, 'train'),
                validation_source=RecordSource(data, 'validation'),
            )
    finally:
        jax.monitoring.clear_event_listeners()
    # The first run also compiles what stays in JAX's own caches.
    assert compiled[0] >= compiled[1] == compiled[2], compiled
