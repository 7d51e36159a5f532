"""The BLSTM layer against PyTorch, against autodiff, and under padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from benchmarks import torch_lstm
from fgsep_jax.models.lstm import BLSTM


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make(x_BKN, hidden):
    """A layer whose weights, all of them random, keep the gates off their linear middle."""
    model = BLSTM(hidden)
    params = jax.jit(model.init)(jax.random.key(0), x_BKN)['params']
    leaves, tree = jax.tree.flatten(params)
    leaves = [0.5 * normal(*leaf.shape, seed=seed) for seed, leaf in enumerate(leaves, 1)]
    return model, jax.tree.unflatten(tree, leaves)


def value_and_gradients(apply, params, x_BKN, cotangent_BKH):
    """Outputs, and the gradients of the parameters and of the inputs."""

    @jax.jit
    def run(params, x_BKN, cotangent_BKH):
        value, pullback = jax.vjp(apply, params, x_BKN)
        return value, *pullback(cotangent_BKH)

    return run(params, x_BKN, cotangent_BKH)


def plain_blstm(params, x_BKN, valid_BK=None):
    """The layer by its equations: a scan a direction, jax.nn.sigmoid, a masked state, autodiff."""
    valid_BK = jnp.ones(x_BKN.shape[:2], bool) if valid_BK is None else valid_BK
    directions = []
    for index, step in enumerate((1, -1)):
        kernel_ND, bias_D = params['kernel'][index], params['bias'][index]
        recurrent_HD = params['recurrence']['kernel'][index]

        def frame(state, inputs):
            h_BH, c_BH = state
            x_BN, valid_B = inputs
            pre_BD = x_BN @ kernel_ND + h_BH @ recurrent_HD + bias_D[None]
            i, f, g, o = jnp.split(pre_BD, 4, axis=-1)
            c_BH = jax.nn.sigmoid(f) * c_BH + jax.nn.sigmoid(i) * jnp.tanh(g)
            h_BH = jax.nn.sigmoid(o) * jnp.tanh(c_BH)
            h_BH, c_BH = h_BH * valid_B[:, None], c_BH * valid_B[:, None]
            return (h_BH, c_BH), h_BH

        zero_BH = jnp.zeros((len(x_BKN), len(recurrent_HD)))
        frames = (x_BKN.swapaxes(0, 1)[::step], valid_BK.T[::step])
        _, output_KBH = jax.lax.scan(frame, (zero_BH, zero_BH), frames)
        directions.append(output_KBH[::step])
    return jnp.concatenate(directions, axis=-1).swapaxes(0, 1)


# 300 is the paper's; the others divide by no width of a vector register.
@pytest.mark.slow
@pytest.mark.parametrize(
    'batch, frames, channels, hidden', [(3, 11, 5, 7), (1, 1, 2, 1), (2, 6, 128, 300)]
)
def test_equals_torch(batch, frames, channels, hidden):
    x_BKN = normal(batch, frames, channels)
    cotangent_BKH = normal(batch, frames, 2 * hidden, seed=9)
    model, params = make(x_BKN, hidden)
    if hidden == 300:  # as it is at first: random gates of that many inputs are all shut
        params = model.init(jax.random.key(0), x_BKN)['params']
    value, d_params, d_x = value_and_gradients(
        lambda params, x: model.apply({'params': params}, x), params, x_BKN, cotangent_BKH
    )

    peer = torch.nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
    peer.load_state_dict({k: torch.tensor(v) for k, v in torch_lstm.to_torch(params).items()})
    peer_x = torch.tensor(x_BKN, requires_grad=True)
    peer_value, _ = peer(peer_x)
    peer_value.backward(torch.tensor(cotangent_BKH))

    np.testing.assert_allclose(value, peer_value.detach(), atol=1e-5)
    np.testing.assert_allclose(d_x, peer_x.grad, atol=1e-4)
    d_peer = {name: weight.grad.numpy() for name, weight in peer.named_parameters()}
    for name, gradient in torch_lstm.to_torch(d_params).items():
        # The gradient of their second bias is that of the first, hence ours too.
        gradient = d_peer[name.replace('hh', 'ih')] if 'bias_hh' in name else gradient
        np.testing.assert_allclose(gradient, d_peer[name], atol=1e-4, err_msg=name)


def test_torch_weights_come_back():
    _, params = make(normal(1, 2, 5), 3)
    back = torch_lstm.from_torch(torch_lstm.to_torch(params))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    peer = torch.nn.LSTM(5, 3, bidirectional=True, batch_first=True)
    model, x_BKN = BLSTM(3), normal(2, 4, 5)
    params = torch_lstm.from_torch({k: v.numpy() for k, v in peer.state_dict().items()})
    value = model.apply({'params': params}, x_BKN)
    np.testing.assert_allclose(value, peer(torch.tensor(x_BKN))[0].detach(), atol=1e-5)


def test_torch_weights_of_another_layer_are_refused():
    state = torch.nn.LSTM(5, 3, num_layers=2, bidirectional=True).state_dict()
    with pytest.raises(ValueError, match='weight_ih_l1.*one layer'):
        torch_lstm.from_torch({k: v.numpy() for k, v in state.items()})


@pytest.mark.slow
@pytest.mark.parametrize('lengths', [None, (9, 4, 1)])
def test_gradients_equal_autodiff(lengths):
    x_BKN, cotangent_BKH = normal(3, 9, 5), normal(3, 9, 14, seed=9)
    valid_BK = None if lengths is None else np.arange(9)[None] < np.array(lengths)[:, None]
    model, params = make(x_BKN, 7)
    ours = value_and_gradients(
        lambda params, x: model.apply({'params': params}, x, valid_BK), params, x_BKN, cotangent_BKH
    )
    plain = value_and_gradients(
        lambda params, x: plain_blstm(params, x, valid_BK), params, x_BKN, cotangent_BKH
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), ours, plain)


@pytest.mark.few(1)
@pytest.mark.parametrize('padding', [1e6, np.nan])
def test_padding_changes_nothing(padding):
    x_BKN, cotangent_BKH = normal(3, 9, 5), normal(3, 9, 14, seed=9)
    lengths = (9, 4, 1)
    valid_BK = np.arange(9)[None] < np.array(lengths)[:, None]
    x_BKN[~valid_BK], cotangent_BKH[~valid_BK] = padding, 0
    model, params = make(x_BKN, 7)
    value, d_params, d_x = value_and_gradients(
        lambda params, x: model.apply({'params': params}, x, valid_BK), params, x_BKN, cotangent_BKH
    )
    total = jax.tree.map(np.zeros_like, params)
    for b, length in enumerate(lengths):
        alone, d_alone, d_x_alone = value_and_gradients(
            lambda params, x: model.apply({'params': params}, x),
            params,
            x_BKN[b : b + 1, :length],
            cotangent_BKH[b : b + 1, :length],
        )
        np.testing.assert_allclose(value[b, :length], alone[0], atol=1e-6)
        np.testing.assert_allclose(d_x[b, :length], d_x_alone[0], atol=3e-6)
        total = jax.tree.map(np.add, total, d_alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), d_params, total)
    assert not np.any(value[~valid_BK])
    assert not np.any(d_x[~valid_BK])


def test_first_frame_sees_the_last_one_that_counts():
    x_BKN = normal(1, 8, 3)
    model, params = make(x_BKN, 4)
    valid_BK = np.arange(8)[None] < 6

    def first(x_BKN):
        return jnp.square(model.apply({'params': params}, x_BKN, valid_BK)[0, 0]).sum()

    seen_K = np.abs(jax.jit(jax.grad(first))(x_BKN)[0]).sum(axis=-1) > 0
    np.testing.assert_array_equal(seen_K, valid_BK[0])


def test_forget_gates_start_open():
    bias_GD = BLSTM(3).init(jax.random.key(0), normal(1, 2, 5))['params']['bias']
    np.testing.assert_array_equal(bias_GD, [[0] * 3 + [1] * 3 + [0] * 6] * 2)


@pytest.mark.parametrize(
    'x_shape, valid_shape, words',
    [
        ((2, 5), None, r'x has shape \(2, 5\): must be \[batch, frames, channels\]'),
        ((2, 0, 5), None, r'x has shape \(2, 0, 5\): .*frames >= 1'),
        ((2, 3, 5), (2, 4), r'valid_BK has shape \(2, 4\): must be \(2, 3\)'),
        ((2, 3, 5), (2, 3, 1), r'valid_BK has shape \(2, 3, 1\)'),
    ],
)
def test_wrong_shapes_are_named(x_shape, valid_shape, words):
    valid = None if valid_shape is None else np.ones(valid_shape)
    with pytest.raises(ValueError, match=words):
        BLSTM(3).init(jax.random.key(0), np.ones(x_shape), valid)
