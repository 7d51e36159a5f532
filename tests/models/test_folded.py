"""The folded block against the same block written out with norms, and what it keeps."""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.models import folded, tcn

SIZES = dict(hidden=10, residual=6, skip=5, norm='gln', causal=False, eps=1e-8, dtype='float32')


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def parameters(block, x_BKC):
    """Weights of a block, away from their special first values."""
    shapes = jax.eval_shape(block.init, jax.random.key(0), x_BKC)['params']
    flat = flax.traverse_util.flatten_dict(shapes)
    for index, (path, leaf) in enumerate(sorted(flat.items())):
        offset = {'scale': 1.0, 'slope': -0.2}.get(path[-1], 0.0)  # a slope may become negative
        flat[path] = offset + 0.3 * normal(*leaf.shape, seed=index)
    return flax.traverse_util.unflatten_dict(flat)


@pytest.fixture(params=['cpu', 'default'])
def platform(request, monkeypatch):
    """Both ways of writing it, whatever this machine is."""

    def chosen(function, settings, *args):
        return function(settings, *args, cpu=request.param == 'cpu')

    monkeypatch.setattr(folded, '_on_platform', chosen)


def value_and_gradients(block, params, x_BKC, padded):
    valid_BK = jnp.arange(20)[None] < np.array([20, 7, 13])[:, None] if padded else None
    weight_BKD = normal(3, 20, 11, seed=1) * (1 if valid_BK is None else valid_BK[..., None])

    def total(params, x_BKC):
        out_BKD = jnp.concatenate(block.apply({'params': params}, x_BKC, valid_BK), axis=-1)
        return (jnp.where(weight_BKD != 0, out_BKD, 0) ** 2 * weight_BKD).sum()

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(params, x_BKC)


@functools.cache
def written_out(kernel, dilation, padded):
    """Parameters, and the plain block's value and gradients."""
    x_BKC, sizes = normal(3, 20, 6), dict(SIZES, kernel=kernel, dilation=dilation)
    plain = tcn.Block(**sizes, depthwise='shift')
    params = parameters(plain, x_BKC)
    return params, value_and_gradients(plain, params, x_BKC, padded)


@pytest.mark.few(6)
@pytest.mark.parametrize(
    'kernel, dilation, padded, remat',
    [
        (3, 1, False, False),
        (5, 2, True, False),
        (5, 2, True, True),
        (3, 16, False, False),
        (3, 64, True, False),
        (1, 2, False, True),
    ],
)
def test_equals_the_plain_block_in_value_and_gradient(platform, kernel, dilation, padded, remat):
    params, expected = written_out(kernel, dilation, padded)
    sizes = dict(SIZES, kernel=kernel, dilation=dilation)
    block = tcn.Block(**sizes, depthwise='auto', remat=remat)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * np.abs(b).max()),
        value_and_gradients(block, params, normal(3, 20, 6), padded),
        expected,
    )


def test_nothing_of_the_padding_comes_through(platform):
    x_BKC, valid_BK = normal(2, 20, 6), jnp.arange(20)[None] < np.array([20, 9])[:, None]
    block = tcn.Block(**SIZES, kernel=3, dilation=4, depthwise='auto')
    params = parameters(block, x_BKC)
    apply = jax.jit(lambda *args: jnp.concatenate(block.apply({'params': params}, *args), axis=-1))
    batch_BKD, alone_BKD = apply(x_BKC, valid_BK), apply(x_BKC[1:, :9])
    np.testing.assert_allclose(batch_BKD[1, :9], alone_BKD[0], atol=1e-5)


@pytest.mark.parametrize(
    'depthwise, norm, causal, folds',
    [
        ('auto', 'gln', False, True),
        ('shift', 'gln', False, False),
        ('conv', 'gln', False, False),
        ('auto', 'cln', False, False),
        ('auto', 'cln', True, False),
    ],
)
def test_which_blocks_fold(depthwise, norm, causal, folds, monkeypatch):
    called = []
    monkeypatch.setattr(
        tcn, 'folded_block', lambda *args, **kwargs: called.append(1) or jnp.zeros((2, 20, 11))
    )
    block = tcn.Block(
        **SIZES | dict(norm=norm, causal=causal), kernel=3, dilation=1, depthwise=depthwise
    )
    params = parameters(block, normal(2, 20, 6))
    block.apply({'params': params}, normal(2, 20, 6))
    assert bool(called) == folds


@pytest.mark.slow
def test_bfloat16_is_no_rougher_than_the_plain_blocks(platform):
    x_BKC = normal(2, 400, 6)

    def gradient(depthwise, dtype):
        block = tcn.Block(**SIZES | dict(dtype=dtype), kernel=3, dilation=2, depthwise=depthwise)
        params = parameters(block, x_BKC)
        return jax.jit(
            jax.grad(
                lambda params: (
                    jnp.concatenate(block.apply({'params': params}, x_BKC), -1).astype('float32')
                    ** 2
                ).sum()
            )
        )(params)

    exact = jax.tree.leaves(gradient('shift', 'float32'))
    distance = {}
    for depthwise in ('auto', 'shift'):
        rough = jax.tree.leaves(gradient(depthwise, 'bfloat16'))
        assert {leaf.dtype for leaf in rough} == {jnp.dtype('float32')}
        distance[depthwise] = np.mean(
            [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(rough, exact)]
        )
    assert 0 < distance['auto'] < 1.2 * distance['shift'], distance


def test_what_one_example_spoils_stays_with_it(platform):
    x_BKC = normal(3, 20, 6)
    x_BKC[0, 5, 1] = np.nan
    block = tcn.Block(**SIZES, kernel=3, dilation=2, depthwise='auto')
    params = parameters(block, normal(3, 20, 6))

    def loss(x_BKC):
        out_BKD = jnp.concatenate(block.apply({'params': params}, x_BKC), -1)
        loss_B = (out_BKD**2).sum((1, 2))
        return jnp.where(jnp.isfinite(loss_B), loss_B, 0).sum()

    gradient_BKC = jax.jit(jax.grad(loss))(x_BKC)
    assert np.isfinite(gradient_BKC[1:]).all() and np.abs(gradient_BKC[1:]).min() > 0


def test_an_even_kernel_has_no_middle():
    block = tcn.Block(**SIZES, kernel=3, dilation=1, depthwise='auto')
    params = parameters(block, normal(1, 20, 6))
    params['depthwise']['kernel'] = params['depthwise']['kernel'][:2]
    with pytest.raises(ValueError, match='kernel=2 is even'):
        block.apply({'params': params}, normal(1, 20, 6))
