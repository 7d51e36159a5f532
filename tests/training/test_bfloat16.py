"""With `model.dtype=bfloat16` products are bfloat16, and no sum of many terms is."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.models import layers
from fgsep_jax.tasks import make_task
from fgsep_jax.training import state as state_lib
from test_config import load

SUMS = ('reduce_sum', 'cumsum', 'reduce_window_sum', 'scatter-add')


def equations(jaxpr):
    """All equations of a jaxpr and of those within."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.mark.slow
@pytest.mark.parametrize(
    'name, depthwise',
    [('convtasnet', 'auto'), ('convtasnet_prelu', 'shift'), ('convtasnet_glu', 'auto')],
)
def test_conv_tasnets_sum_in_float32(name, depthwise):
    config = load(name, 'small')
    config.model.separator.update(depthwise=depthwise, blocks=2, repeats=1)
    check(config, 1)


def test_mask_models_sum_in_float32():
    check(load('blstm_m2_plus', 'small'), 2)


def check(config, seconds):
    config.model.dtype = 'bfloat16'
    task = make_task(config)
    params = jax.eval_shape(lambda: state_lib.init_state(task, config)).params
    samples = seconds * config.data.sample_rate
    batch = {'source_BST': jax.ShapeDtypeStruct((2, 2, samples), jnp.int16)}
    if config.model.get('auxiliary'):
        batch['adaptation_BT'] = jax.ShapeDtypeStruct((2, samples), jnp.int16)
    jaxpr = jax.make_jaxpr(
        jax.grad(lambda params, batch: task.loss(params, batch, None)[0].mean())
    )(params, batch)
    found = list(equations(jaxpr.jaxpr))
    products = [e for e in found if e.primitive.name in ('dot_general', 'conv_general_dilated')]
    assert any(e.invars[0].aval.dtype == jnp.bfloat16 for e in products)
    rough = [
        e
        for e in found
        if e.primitive.name in SUMS
        and terms(e) > config.data.sources
        and e.invars[0].aval.dtype == jnp.bfloat16
    ]
    assert not rough, rough


def terms(equation):
    """How many terms each of an equation's sums has at most."""
    if equation.primitive.name != 'reduce_sum':
        return np.inf
    return equation.invars[0].aval.size // equation.outvars[0].aval.size


@pytest.mark.parametrize(
    'layer',
    [
        layers.PReLU(),
        layers.Pointwise(8, 'bfloat16'),
        layers.Conv(dtype='bfloat16'),
        layers.Depthwise(),
    ],
)
def test_gradients_summed_over_many_frames_are_exact(layer):
    x_BKN = -jnp.ones((16, 4000, 8), 'bfloat16')
    params = layer.init(jax.random.key(0), x_BKN)['params']
    out, gradient = jax.value_and_grad(
        lambda params: layer.apply({'params': params}, x_BKN).astype('float32').sum()
    )(params)
    last = 'slope' if 'slope' in params else 'bias'
    wanted = {'slope': -16 * 4000 * 8, 'bias': 16 * 4000}[last]
    np.testing.assert_allclose(gradient[last], wanted, rtol=1e-6)
