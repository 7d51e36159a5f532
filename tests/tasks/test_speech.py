import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.losses.si_snr import si_snr
from fgsep_jax.losses.spectral import power_law
from fgsep_jax.tasks import make_task
from fgsep_jax.tasks.base import sounding
from test_config import CONFIGS, load
import tiny


def batch(samples=800, sources=2):
    rng = np.random.default_rng(0)
    return {'source_BST': rng.integers(-8000, 8000, (3, sources, samples)).astype(np.int16)}


def shipped(name):
    """The task of a shipped configuration, shrunk."""
    model = load(name, 'demo').model
    few = {'model.encoder': model.encoder.name}
    if model.encoder.name != 'linear':
        few['model.layers'] = 2
    if 'blocks' in model.separator:
        few['model.blocks'] = 1
    return make_task(tiny.config('', name, **few))


@pytest.mark.parametrize('name', [path.stem for path in CONFIGS if 'blstm' not in path.stem])
def test_every_shipped_config_has_a_loss(name):
    task, rng = shipped(name), jax.random.key(0)
    loss_B, values = jax.eval_shape(task.loss, jax.eval_shape(task.init, rng), batch(), rng)
    assert loss_B.shape == (3,) and set(values) == {'si_snr'}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['furcapy', 'sepformer', 'yang'])
def test_every_separator_takes_a_step(name):
    """Those of Conv-TasNets have the gradients of PyTorch's, see `benchmarks.test_torch_twins`."""
    task, rng = shipped(name), jax.random.key(1)
    params = jax.jit(task.init)(jax.random.key(0))

    @jax.jit
    def step(params):
        loss, gradient = jax.value_and_grad(lambda p: task.loss(p, batch(400), rng)[0].mean())(
            params
        )
        return loss, jax.tree.map(lambda p, g: p - 1e-3 * g / (1e-6 + jnp.abs(g)), params, gradient)

    first, params = step(params)
    second, _ = step(params)
    assert second < first


def test_the_loss_is_negative_si_snr_under_the_best_order():
    config = tiny.config('')
    task = make_task(config)
    task.separate = lambda params, mixture_BT, length_B=None: estimate_BST
    source_BST = batch()['source_BST'] / 32768.0
    noise = np.random.default_rng(1).normal(0, 0.1, source_BST.shape)
    estimate_BST = jnp.float32((source_BST + noise)[:, ::-1])
    loss_B, values = jax.jit(task.loss)({}, batch(), jax.random.key(0))
    expected_B = si_snr(estimate_BST[:, ::-1], jnp.float32(source_BST)).mean(axis=1)
    np.testing.assert_allclose(loss_B, -expected_B, rtol=1e-5)
    np.testing.assert_allclose(values['si_snr'], expected_B, rtol=1e-5)

    config.loss.power_law_weight = 0.01
    separate, task = task.separate, make_task(config)
    task.separate = separate
    augmented_B, values = jax.jit(task.loss)({}, batch(), jax.random.key(0))
    term_B = power_law(estimate_BST[:, ::-1], jnp.float32(source_BST)).mean(axis=1)
    np.testing.assert_allclose(augmented_B, loss_B + 0.01 * term_B, rtol=1e-5)
    assert (term_B > 0.1).all()


@pytest.mark.slow
def test_padding_changes_neither_loss_nor_gradient():
    task = make_task(tiny.config('', **{'model.blocks': 1}))
    params = jax.jit(task.init)(jax.random.key(0))
    gradient = jax.jit(
        jax.value_and_grad(
            lambda params, batch: task.loss(params, batch, jax.random.key(0))[0].mean()
        )
    )
    short = {'source_BST': batch(500)['source_BST']}
    padded = {
        'source_BST': np.pad(short['source_BST'], ((0, 0), (0, 0), (0, 300))),
        'length_B': np.full(3, 500, np.int32),
    }
    for one, other in zip(*[jax.tree.leaves(gradient(params, b)) for b in (short, padded)]):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_four_sources():
    task = make_task(tiny.config('', **{'data.sources': 4, 'model.blocks': 1}))
    params = jax.jit(task.init)(jax.random.key(0))
    loss_B, _ = jax.jit(task.loss)(params, batch(sources=4), jax.random.key(0))
    assert loss_B.shape == (3,) and np.isfinite(loss_B).all()


@pytest.mark.parametrize(
    'source_ST, length, expected',
    [
        ([[0, 0, 1], [1, 2, 3]], None, [True, True]),
        ([[0, 0, 0], [1, 2, 3]], None, [False, True]),
        ([[7, 7, 7], [1, 2, 3]], None, [False, True]),  # an offset alone
        ([[7, 7, 0], [1, 2, 0]], 2, [False, True]),  # padding is no sound
        ([[7, 7, 9], [1, 1, 1]], 2, [False, False]),
        ([[7, 8, 0], [1, 0, 0]], 1, [False, False]),
    ],
)
def test_which_sources_sound(source_ST, length, expected):
    batch = {'source_BST': np.array([source_ST], np.int16)}
    if length:
        batch['length_B'] = np.array([length], np.int32)
    assert sounding(batch).tolist() == [expected]
    assert make_task(tiny.config('')).scored(batch).tolist() == [all(expected)]


def test_an_encoder_without_weights_has_no_gates():
    task = make_task(tiny.config(''))
    task.model = types.SimpleNamespace(
        valid_frames=lambda length_B, samples: None,
        encoder=types.SimpleNamespace(apply=lambda variables, *_, **__: (None, variables)),
    )
    assert task.probe({'separator': {}}, np.zeros((1, 9), np.float32), None) == {}
