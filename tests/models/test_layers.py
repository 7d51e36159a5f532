"""Layers against closed forms, each other and PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.models import layers, norms


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.few(10)
@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('taps', [1, 2, 3, 5])
@pytest.mark.parametrize('dilation', [1, 2, 4, 8, 128])
def test_depthwise_implementations_are_equal(taps, dilation, causal):
    if taps == 2 and not causal:
        with pytest.raises(ValueError, match='kernel=2 is even'):
            layers.depthwise_conv(normal(1, 5, 3), normal(2, 3), implementation='shift')
        return
    x_BKN, kernel_PN, cotangent_BKN = normal(2, 40, 6), normal(taps, 6), normal(2, 40, 6, seed=1)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(implementation, x_BKN, kernel_PN):
        value, pullback = jax.vjp(
            lambda x, kernel: layers.depthwise_conv(
                x, kernel, dilation=dilation, causal=causal, implementation=implementation
            ),
            x_BKN,
            kernel_PN,
        )
        return value, *pullback(jnp.asarray(cotangent_BKN))

    made = (value_and_gradients(name, x_BKN, kernel_PN) for name in ('shift', 'conv'))
    for shift, conv in zip(*made):
        assert shift.shape == conv.shape
        np.testing.assert_allclose(shift, conv, atol=2e-5)


def test_depthwise_by_hand():
    x_BKN = jnp.arange(1.0, 6.0)[None, :, None]
    kernel_PN = jnp.asarray([[1.0], [10.0], [100.0]])
    out = layers.depthwise_conv(x_BKN, kernel_PN, dilation=2)
    np.testing.assert_array_equal(out[0, :, 0], [310, 420, 531, 42, 53])
    out = layers.depthwise_conv(x_BKN, kernel_PN, dilation=2, causal=True)
    np.testing.assert_array_equal(out[0, :, 0], [100, 200, 310, 420, 531])


def test_what_is_mirrored_at_the_ends_is_numpys():
    """However few frames count, and whatever stands behind them."""
    x_BKN, kernel_PN = normal(9, 9, 2), normal(3, 2, seed=1)
    valid_BK = np.arange(9)[None] < np.arange(1, 10)[:, None]
    how = dict(dilation=4, padding='reflect')
    padded_BKN = layers.reflected(jnp.asarray(x_BKN), 4, jnp.asarray(valid_BK))
    for implementation in ('shift', 'conv'):
        out_BKN = layers.depthwise_conv(
            x_BKN, kernel_PN, valid_BK=valid_BK, implementation=implementation, **how
        )
        for row, count in enumerate(range(1, 10)):
            alone_KN = x_BKN[row, :count]
            expected_KN = np.pad(alone_KN, ((4, 4), (0, 0)), mode='reflect')
            np.testing.assert_array_equal(padded_BKN[row, : count + 8], expected_KN)
            expected_KN = sum(expected_KN[4 * p :][:count] * kernel_PN[p] for p in range(3))
            np.testing.assert_allclose(out_BKN[row, :count], expected_KN, atol=1e-6)
    out_KN = layers.depthwise_conv(x_BKN[-1:], kernel_PN, **how)[0]
    np.testing.assert_allclose(out_KN, expected_KN, atol=1e-6)


def test_depthwise_rejects_unknown_implementation():
    with pytest.raises(ValueError, match="depthwise='fft'"):
        layers.depthwise_conv(normal(1, 5, 3), normal(3, 3), implementation='fft')


def reference_norm(x_KN, scale_N, bias_N):
    x_KN = x_KN.astype(np.float64)
    return (x_KN - x_KN.mean()) / np.sqrt(x_KN.var() + 1e-8) * scale_N + bias_N


@pytest.mark.parametrize('gain, offset', [(1.0, 0.0), (1e-2, 0.0), (1e3, 5e2), (1.0, 10.0)])
def test_gln_equals_float64(gain, offset):
    x_BKN = normal(3, 50, 7) * gain + offset
    scale_N, bias_N = normal(7, seed=1), normal(7, seed=2)
    out_BKN = norms.global_layer_norm(x_BKN, scale_N, bias_N)
    for out_KN, x_KN in zip(out_BKN, x_BKN):
        np.testing.assert_allclose(out_KN, reference_norm(x_KN, scale_N, bias_N), atol=2e-4)


def test_cln_equals_gln_of_every_prefix():
    x_KN, scale_N, bias_N = normal(30, 7), normal(7, seed=1), normal(7, seed=2)
    out_BKN = norms.cumulative_layer_norm(x_KN[None], scale_N, bias_N)
    for k in range(30):
        prefix_KN = reference_norm(x_KN[: k + 1], scale_N, bias_N)
        np.testing.assert_allclose(out_BKN[0, k], prefix_KN[-1], atol=1e-4)


@pytest.mark.parametrize('norm', [norms.global_layer_norm, norms.cumulative_layer_norm])
# At 7.7 and 123.4, E[x^2] - m^2 rounds to less than -eps.
@pytest.mark.parametrize('level', [0.0, 7.7, 123.4])
def test_norm_of_a_constant_is_finite_with_its_gradient(norm, level):
    x_BKN = jnp.full((2, 1000, 64), level)
    one_N, zero_N = jnp.ones(64), jnp.zeros(64)
    value_and_gradient = jax.jit(jax.value_and_grad(lambda x: norm(x, one_N, zero_N).sum()))
    assert all(np.isfinite(made).all() for made in value_and_gradient(x_BKN))


@pytest.mark.parametrize('norm', [norms.global_layer_norm, norms.cumulative_layer_norm])
def test_norm_ignores_padding(norm):
    x_BKN = normal(2, 20, 6)
    valid_BK = jnp.arange(20)[None] < jnp.asarray([13, 20])[:, None]
    scale_N, bias_N = normal(6, seed=1), normal(6, seed=2)
    out_BKN = norm(x_BKN, scale_N, bias_N, valid_BK=valid_BK)
    alone_BKN = norm(x_BKN[:1, :13], scale_N, bias_N)
    np.testing.assert_allclose(out_BKN[0, :13], alone_BKN[0], atol=1e-5)
    np.testing.assert_allclose(out_BKN[1], norm(x_BKN, scale_N, bias_N)[1], atol=1e-6)


@pytest.mark.parametrize('norm', [norms.global_layer_norm, norms.cumulative_layer_norm])
def test_norm_statistics_of_bfloat16_are_float32(norm):
    x_BKN = jnp.asarray(normal(1, 4000, 8) + 4, jnp.bfloat16)
    one_N, zero_N = jnp.ones(8), jnp.zeros(8)
    out_BKN = norm(x_BKN, one_N, zero_N)
    assert out_BKN.dtype == jnp.bfloat16
    exact_BKN = norm(x_BKN.astype(jnp.float32), one_N, zero_N)
    np.testing.assert_allclose(out_BKN.astype(np.float32), exact_BKN, atol=0.02)


def test_prelu():
    variables = layers.PReLU().init(jax.random.key(0), jnp.ones(1))
    assert variables['params']['slope'].shape == ()
    out = layers.PReLU().apply(variables, jnp.asarray([-2.0, 0.0, 3.0]))
    np.testing.assert_array_equal(out, [-0.5, 0.0, 3.0])


@pytest.mark.parametrize('transpose', [False, True])
@pytest.mark.parametrize('dilation', [1, 2, 4])
def test_conv_equals_torch(transpose, dilation):
    torch = pytest.importorskip('torch')
    x_BKN, kernel_PND, bias_D = normal(2, 15, 5), normal(3, 5, 5, seed=1), normal(5, seed=2)
    module = layers.Conv(dilation=dilation, transpose=transpose)
    out_BKD = module.apply({'params': {'kernel': kernel_PND, 'bias': bias_D}}, x_BKN)
    # PyTorch keeps [out, in, taps], and [in, out, taps] in the transposed one.
    cls = torch.nn.ConvTranspose1d if transpose else torch.nn.Conv1d
    peer = cls(5, 5, 3, dilation=dilation, padding=dilation)
    weight = kernel_PND.transpose((1, 2, 0) if transpose else (2, 1, 0))
    with torch.no_grad():
        peer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        peer.bias.copy_(torch.from_numpy(bias_D))
        peer_BDK = peer(torch.from_numpy(x_BKN.transpose(0, 2, 1).copy()))
    np.testing.assert_allclose(out_BKD, peer_BDK.numpy().transpose(0, 2, 1), atol=1e-5)


@pytest.mark.parametrize(
    'module, channels, fan_in',
    [
        (layers.Pointwise(4000), 50, 50),
        (layers.Depthwise(3), 4000, 3),
        (layers.Conv(3), 100, 300),
    ],
)
def test_initial_range_is_that_of_torch(module, channels, fan_in):
    params = module.init(jax.random.key(0), jnp.zeros((1, 4, channels)))['params']
    for value in jax.tree.leaves(params):
        assert 0.9 < float(jnp.abs(value).max()) * fan_in**0.5 <= 1.0
        assert abs(float(value.mean())) * fan_in**0.5 < 0.2


@pytest.mark.parametrize('padded', [False, True])
def test_an_hour_has_more_values_than_an_int32_counts(padded):
    """Of 75 minutes at 8 kHz: 4.5 million frames of 512 channels."""
    frames, channels = 4_500_000, 512
    x_BKN = jax.ShapeDtypeStruct((1, frames, channels), jnp.float32)
    weights = 2 * [jax.ShapeDtypeStruct((channels,), jnp.float32)]
    assert jax.eval_shape(norms.global_layer_norm, x_BKN, *weights).shape == x_BKN.shape
    valid_BK = np.ones((1, frames), bool) if padded else None
    count_B = norms.frames_that_count(x_BKN, valid_BK) * channels
    assert count_B == pytest.approx(frames * channels)
