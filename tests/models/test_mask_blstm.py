"""The mask estimator against PyTorch, its counts, its padding and its errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from benchmarks import torch_lstm
from benchmarks.torch_twins import TorchMaskBLSTM
from fgsep_jax.models.mask_blstm import MaskBLSTM, multiply_accumulates

SMALL = dict(bands=6, layers=2, hidden=5, projection=4, auxiliary_hidden=3)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def inputs(*, auxiliary, batch=3, frames=9, adaptation=7):
    feature_BKM = normal(batch, frames, SMALL['bands'])
    adaptation_BAM = normal(batch, adaptation, SMALL['bands'], seed=1) if auxiliary else None
    return feature_BKM, adaptation_BAM


@functools.cache
def make(*, auxiliary):
    """A small model whose scales are not all the same."""
    feature_BKM, adaptation_BAM = inputs(auxiliary=auxiliary)
    model = MaskBLSTM(**SMALL, auxiliary=auxiliary)
    params = jax.jit(model.init)(jax.random.key(0), feature_BKM, None, adaptation_BAM)['params']
    return model, jax.tree.map(lambda p: p + 0.2 * normal(*p.shape), params)


def value_and_gradients(model, params, *args, cotangent_BKM):
    @jax.jit
    def run(params):
        value, pullback = jax.vjp(lambda p: model.apply({'params': p}, *args), params)
        return value, pullback(cotangent_BKM)[0]

    return run(params)


def count(**options):
    model = MaskBLSTM(**options)
    x_BKM = np.ones((1, 2, model.bands), np.float32)
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), x_BKM, None, x_BKM if model.auxiliary else None
    )['params']
    flat = jax.tree_util.tree_leaves_with_path(shapes)
    kernels = sum(v.size for path, v in flat if path[-1].key == 'kernel')
    return sum(v.size for _, v in flat), kernels, model


def test_parameter_count_of_the_paper():
    # A direction of an LSTM: (inputs + 300) * 1200 weights and 1200 biases.
    lstms = 2 * ((128 + 300 + 1) * 1200 + 2 * (256 + 300 + 1) * 1200)
    dense = 3 * (600 + 1) * 256 + (256 + 1) * 128
    assert count()[0] == lstms + dense == 4_197_664
    assert count(auxiliary=True)[0] == 4_197_664 + 2 * (128 + 1) * 128 + (128 + 1) * 600


@pytest.mark.parametrize('auxiliary', [False, True])
def test_multiply_accumulates_are_weights(auxiliary):
    # Every weight is used once a frame, those that make the scales once a segment.
    _, kernels, model = count(auxiliary=auxiliary)
    once = 128 * 600 if auxiliary else 0
    assert multiply_accumulates(model, frames_per_second=100) == 100 * (kernels - once)


@pytest.mark.slow
@pytest.mark.parametrize('auxiliary', [False, True])
def test_equals_torch(auxiliary):
    feature_BKM, adaptation_BAM = inputs(auxiliary=auxiliary)
    model, params = make(auxiliary=auxiliary)
    cotangent_BKM = normal(*feature_BKM.shape, seed=9)
    value, gradients = value_and_gradients(
        model, params, feature_BKM, None, adaptation_BAM, cotangent_BKM=cotangent_BKM
    )

    peer = TorchMaskBLSTM(model, params)
    adaptation = None if adaptation_BAM is None else torch.tensor(adaptation_BAM)
    peer_value = peer(torch.tensor(feature_BKM), adaptation)
    peer_value.backward(torch.tensor(cotangent_BKM))

    np.testing.assert_allclose(value, peer_value.detach(), atol=1e-5)
    seen = 0
    for index, lstm in enumerate(peer.lstms, 1):
        state = {k: v.grad.numpy() for k, v in lstm.named_parameters()}
        ours = torch_lstm.to_torch(gradients[f'blstm_{index}'])
        for name in ours:
            if 'bias_hh' not in name:
                np.testing.assert_allclose(ours[name], state[name], atol=1e-4, err_msg=name)
                seen += 1
    flat = gradients | {f'auxiliary_{k}': v for k, v in gradients.get('auxiliary', {}).items()}
    for name, layer in peer.dense.items():
        np.testing.assert_allclose(flat[name]['kernel'].T, layer.weight.grad, atol=1e-4)
        np.testing.assert_allclose(flat[name]['bias'], layer.bias.grad, atol=1e-4)
        seen += 2
    assert seen == 2 * 6 + 2 * (6 if auxiliary else 3)


@pytest.mark.slow
def test_scales_of_one_are_the_plain_model():
    feature_BKM, adaptation_BAM = inputs(auxiliary=True)
    model, params = make(auxiliary=True)
    ones = {'kernel': np.zeros((3, 10), np.float32), 'bias': np.ones(10, np.float32)}
    scaled = model.apply(
        {'params': params | {'scale': ones}}, feature_BKM, adaptation_BAM=adaptation_BAM
    )
    plain = MaskBLSTM(**SMALL).apply(
        {'params': {k: v for k, v in params.items() if k not in ('scale', 'auxiliary')}},
        feature_BKM,
    )
    np.testing.assert_array_equal(scaled, plain)
    other = model.apply({'params': params}, feature_BKM, adaptation_BAM=adaptation_BAM)
    assert np.abs(other - plain).max() > 1e-3


@pytest.mark.slow
def test_scales_start_near_one():
    feature_BKM, adaptation_BAM = inputs(auxiliary=True)
    init = jax.jit(MaskBLSTM(**SMALL, auxiliary=True).init)
    params = init(jax.random.key(0), feature_BKM, adaptation_BAM=adaptation_BAM)['params']
    np.testing.assert_array_equal(params['scale']['bias'], np.ones(10))


@pytest.mark.slow
@pytest.mark.parametrize('auxiliary, padding', [(False, 1e3), (True, np.nan)])
def test_padding_changes_nothing(auxiliary, padding):
    lengths, adaptation_lengths = (9, 1, 1), (2, 7, 7)  # each pair is a program of its own
    feature_BKM, adaptation_BAM = inputs(auxiliary=auxiliary)
    model, params = make(auxiliary=auxiliary)
    valid_BK = np.arange(9)[None] < np.array(lengths)[:, None]
    valid_BA = np.arange(7)[None] < np.array(adaptation_lengths)[:, None] if auxiliary else None
    feature_BKM[~valid_BK] = padding
    if auxiliary:
        adaptation_BAM[~valid_BA] = padding
    cotangent_BKM = normal(*feature_BKM.shape, seed=9) * valid_BK[:, :, None]
    value, gradients = value_and_gradients(
        model, params, feature_BKM, valid_BK, adaptation_BAM, valid_BA, cotangent_BKM=cotangent_BKM
    )
    total = jax.tree.map(np.zeros_like, params)
    for b, (length, adaptation_length) in enumerate(zip(lengths, adaptation_lengths)):
        row = slice(b, b + 1)
        segment = adaptation_BAM[row, :adaptation_length] if auxiliary else None
        alone, d_alone = value_and_gradients(
            model,
            params,
            feature_BKM[row, :length],
            None,
            segment,
            cotangent_BKM=cotangent_BKM[row, :length],
        )
        np.testing.assert_allclose(value[b, :length], alone[0], atol=1e-6)
        total = jax.tree.map(np.add, total, d_alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradients, total)
    assert np.all(np.isfinite(value))


@pytest.mark.slow
def test_an_adaptation_segment_without_frames_is_finite():
    feature_BKM, adaptation_BAM = inputs(auxiliary=True)
    model, params = make(auxiliary=True)
    value, gradients = value_and_gradients(
        model,
        params,
        feature_BKM,
        None,
        adaptation_BAM,
        np.zeros((3, 7)),
        cotangent_BKM=np.ones_like(feature_BKM),
    )
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((value, gradients)))


def test_masks_are_open_intervals():
    model, params = make(auxiliary=False)
    value = model.apply({'params': params}, 100 * inputs(auxiliary=False)[0])
    assert value.shape == (3, 9, 6) and value.dtype == jnp.float32
    assert value.min() > 0 and value.max() < 1


@pytest.mark.slow
def test_bfloat16_is_near():
    feature_BKM, adaptation_BAM = inputs(auxiliary=True)
    model, params = make(auxiliary=True)
    args = (feature_BKM, None, adaptation_BAM)
    half = MaskBLSTM(**SMALL, auxiliary=True, dtype='bfloat16')
    value, gradients = value_and_gradients(
        half, params, *args, cotangent_BKM=np.ones_like(feature_BKM)
    )
    exact = model.apply({'params': params}, *args)
    assert value.dtype == jnp.float32
    assert 0 < np.abs(value - exact).max() < 0.02
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    'auxiliary, shapes, words',
    [
        (False, [(3, 9, 5)], r'feature has shape \(3, 9, 5\).*\[3, >= 1, 6\]'),
        (False, [(9, 6)], r'feature has shape \(9, 6\): must be \[batch, frames, bands\]'),
        (False, [(3, 9, 6), (3, 8)], r'valid of feature has shape \(3, 8\): must be \(3, 9\)'),
        (True, [(3, 9, 6)], 'auxiliary=True needs an adaptation segment'),
        (True, [(3, 9, 6), (3, 9), (2, 7, 6)], r'adaptation has shape \(2, 7, 6\).*\[3, >= 1, 6\]'),
        (True, [(3, 9, 6), (3, 9), (3, 7, 6), (7,)], r'valid of adaptation has shape \(7,\)'),
        (False, [(3, 9, 6), (3, 9), (3, 7, 6)], 'auxiliary=False reads none'),
    ],
)
def test_wrong_inputs_are_named(auxiliary, shapes, words):
    model = MaskBLSTM(**SMALL, auxiliary=auxiliary)
    with pytest.raises(ValueError, match=words):
        model.init(jax.random.key(0), *(np.ones(shape) for shape in shapes))
