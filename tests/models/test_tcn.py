"""The separator: wiring against a reference, causality, masks, remat, bfloat16."""

import functools

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.models import tcn

SMALL = dict(bottleneck=6, hidden=10, skip=5, blocks=2, repeats=2)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def initial(module, *args):
    """Parameters away from their special first values (norms at 1 and 0, slopes at 0.25)."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)['params']
    flat = flax.traverse_util.flatten_dict(shapes)
    for index, (path, leaf) in enumerate(sorted(flat.items())):
        offset = {'scale': 1.0, 'slope': 0.25}.get(path[-1], 0.0)
        flat[path] = offset + 0.3 * normal(*leaf.shape, seed=index)
    return flax.traverse_util.unflatten_dict(flat)


def reference(params, x_BKN, *, skip, sources=2):
    """The paper's figure 1, written out once more."""

    def pointwise(p, x):
        return x @ p['kernel'] + p['bias']

    def prelu(p, x):
        return np.maximum(x, 0) + p['slope'] * np.minimum(x, 0)

    def norm(p, x):
        x = x - x.mean((1, 2), keepdims=True)
        x = x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-8)
        return x * p['scale'] + p['bias']

    def depthwise(p, x, dilation):
        frames = x.shape[1]
        x = np.pad(x, ((0, 0), (dilation, dilation), (0, 0)))
        taps = [x[:, i * dilation : i * dilation + frames] for i in range(3)]
        return sum(p['kernel'][i] * tap for i, tap in enumerate(taps)) + p['bias']

    batch, frames, basis = x_BKN.shape
    x = pointwise(params['bottleneck'], norm(params['norm'], x_BKN))
    total = 0
    for i in range(4):
        p = params[f'block_{i}']
        y = norm(p['norm_1'], prelu(p['prelu_1'], pointwise(p['expand'], x)))
        y = depthwise(p['depthwise'], y, 2 ** (i % 2))
        y = pointwise(p['output'], norm(p['norm_2'], prelu(p['prelu_2'], y)))
        if skip:
            total = total + y[..., -skip:]
        if y.shape[-1] > skip:
            x = x + y[..., : y.shape[-1] - skip]
    y = pointwise(params['mask'], prelu(params['prelu'], total if skip else x))
    y = y.reshape(batch, frames, sources, basis).transpose(0, 2, 1, 3)
    return 1 / (1 + np.exp(-y))


@pytest.mark.slow
@pytest.mark.parametrize('skip, unused_residual', [(0, False), (5, False), (5, True)])
def test_wiring(skip, unused_residual):
    x_BKN = normal(2, 20, 7)
    module = tcn.TCN(**SMALL | dict(skip=skip, unused_residual=unused_residual))
    params = initial(module, x_BKN)
    last = params['block_3']['output']['bias'].shape[0]
    assert last == (6 if not skip else 5 + 6 * unused_residual)
    mask_BSKN = jax.jit(module.apply)({'params': params}, x_BKN)
    np.testing.assert_allclose(mask_BSKN, reference(params, x_BKN, skip=skip), atol=1e-5)


@pytest.mark.parametrize(
    'causal, norm, depthwise',
    [
        (False, 'gln', 'auto'),
        (True, 'gln', 'auto'),
        (True, 'cln', 'auto'),
        (True, 'cln', 'shift'),
        (True, 'cln', 'conv'),
    ],
)
def test_what_is_called_causal_sees_no_later_frame_or_is_refused(causal, norm, depthwise):
    """With the parameters of another module, which was not refused."""
    how = dict(SMALL, repeats=1, norm=norm, depthwise=depthwise)
    if causal and norm == 'gln':
        with pytest.raises(ValueError, match="norm = 'gln': sees the whole utterance"):
            tcn.TCN(**how, causal=causal)
        return
    x_BKN, at = normal(1, 20, 6), 9
    params = initial(tcn.TCN(**how), x_BKN)
    other_BKN = np.concatenate([x_BKN[:, : at + 1], normal(1, 10, 6, seed=1)], axis=1)
    apply = jax.jit(tcn.TCN(**how, causal=causal).apply)
    mask_BSKN, changed_BSKN = (apply({'params': params}, x) for x in (x_BKN, other_BKN))
    same_K = (mask_BSKN == changed_BSKN).all(axis=(0, 1, 3))
    assert same_K[: at + 1].all() == causal and not same_K[at + 1 :].any()


@pytest.mark.slow
def test_masks():
    x_BKN = normal(2, 20, 7)
    module = {kind: tcn.TCN(**SMALL | dict(repeats=1), sources=3, mask=kind) for kind in tcn.MASKS}
    params = initial(module['relu'], x_BKN)
    mask = {kind: jax.jit(m.apply)({'params': params}, x_BKN) for kind, m in module.items()}
    assert all(m.shape == (2, 3, 20, 7) and m.dtype == jnp.float32 for m in mask.values())
    np.testing.assert_allclose(mask['softmax'].sum(1), 1, atol=1e-6)
    assert float(mask['relu'].min()) == 0
    positive = mask['relu'] > 0
    logit = jnp.log(mask['sigmoid']) - jnp.log1p(-mask['sigmoid'])
    np.testing.assert_allclose(mask['relu'][positive], logit[positive], atol=1e-4)


def test_depthwise_key_reaches_the_convolutions():
    x_BKN = normal(2, 20, 7)
    for depthwise, grouped in [('auto', 0), ('shift', 0), ('conv', 4)]:
        module = tcn.TCN(**SMALL, depthwise=depthwise)
        params = initial(module, x_BKN)
        jaxpr = str(jax.make_jaxpr(lambda p: module.apply({'params': p}, x_BKN))(params))
        assert jaxpr.count('feature_group_count=10') == grouped


@pytest.mark.slow
@pytest.mark.parametrize('depthwise', ['auto', 'shift'])
def test_remat_changes_memory_only(depthwise):
    x_BKN, gradients, sizes = normal(2, 300, 7), [], []
    for remat in (False, True):
        module = tcn.TCN(**SMALL | dict(repeats=1, hidden=64), depthwise=depthwise, remat=remat)

        def forward(params, module=module):
            return module.apply({'params': params}, x_BKN)

        def gradient(params, forward=forward):
            return jax.value_and_grad(lambda p: (forward(p) ** 2).sum())(params)

        params = initial(module, x_BKN)
        gradients.append((params, jax.jit(gradient)(params)))
        kept = jax.eval_shape(lambda p, forward=forward: jax.vjp(forward, p)[1], params)
        sizes.append(sum(leaf.size for leaf in jax.tree.leaves(kept)))
    (params, plain), (same, remat) = gradients
    jax.tree.map(np.testing.assert_array_equal, params, same)  # names and shapes
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), plain, remat)
    assert sizes[1] < sizes[0] / 3


@pytest.mark.slow
def test_bfloat16_is_close_and_parameters_stay_float32():
    x_BKN = normal(2, 100, 16)
    exact, rough = tcn.TCN(**SMALL), tcn.TCN(**SMALL, dtype='bfloat16')
    params = initial(rough, x_BKN)
    shapes = jax.eval_shape(rough.init, jax.random.key(0), x_BKN)
    assert {p.dtype for p in jax.tree.leaves(shapes)} == {jnp.dtype('float32')}
    loss = jax.grad(lambda p: rough.apply({'params': p}, x_BKN).sum())
    gradient = jax.eval_shape(loss, params)
    assert {p.dtype for p in jax.tree.leaves(gradient)} == {jnp.dtype('float32')}
    rough_BSKN, exact_BSKN = (jax.jit(m.apply)({'params': params}, x_BKN) for m in (rough, exact))
    difference = rough_BSKN - exact_BSKN
    assert 1e-5 < float(jnp.abs(difference).max()) < 0.05
    # The convolutions over frames compute in bfloat16; sums, and weights times offsets, do not.
    jaxpr = str(jax.make_jaxpr(lambda p: rough.apply({'params': p}, x_BKN))(params))
    products = [line for line in jaxpr.splitlines() if 'dot_general[' in line and '[2,100,' in line]
    assert products and all(':bf16[' in line.split('=')[0] for line in products)
    sums = [line for line in jaxpr.splitlines() if 'reduce_sum[' in line]
    assert sums and all(':f32[' in line.split('=')[0] for line in sums)


def test_what_passes_from_block_to_block_is_bfloat16():
    model, seen = tcn.TCN(**SMALL, dtype='bfloat16'), []

    def watch(run, args, kwargs, context):
        if isinstance(context.module, tcn.Block):
            seen.append(args[0].dtype)
        return run(*args, **kwargs)

    x_BKN = jnp.asarray(normal(2, 20, 12), 'bfloat16')
    params = jax.eval_shape(model.init, jax.random.key(0), x_BKN)
    with nn.intercept_methods(watch):
        jax.eval_shape(model.apply, params, x_BKN)
    assert len(seen) > 2 and set(seen) == {jnp.dtype('bfloat16')}


def test_skip_connections_are_summed_in_float32():
    rough = tcn.TCN(**SMALL, dtype='bfloat16')
    x_BKN = normal(1, 12, 7)
    capture = functools.partial(
        rough.apply, capture_intermediates=lambda module, _: module.name == 'prelu'
    )
    _, seen = jax.eval_shape(capture, {'params': initial(rough, x_BKN)}, x_BKN)
    assert seen['intermediates']['prelu']['__call__'][0].dtype == jnp.float32
