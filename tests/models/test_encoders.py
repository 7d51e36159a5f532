"""Encoder/decoder pairs: framing, exact lengths, gates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.models import encoders, layers

FRAMINGS = [(16, 8), (15, 5), (8, 8), (1, 1)]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.few(3)
@pytest.mark.parametrize('window, stride', FRAMINGS)
def test_frames_are_slices_of_the_padded_signal(window, stride):
    for samples in (1, 7, 8, 16, 33):
        signal_BT = normal(2, samples)
        frame_BKW = encoders.frame(signal_BT, window=window, stride=stride)
        # The padding of the authors' code (naplab/Conv-TasNet, `pad_signal`).
        rest = window - (stride + samples % window) % window
        padded_BT = np.pad(signal_BT, ((0, 0), (stride, rest + stride)))
        windows_BKW = np.lib.stride_tricks.sliding_window_view(padded_BT, window, axis=1)
        np.testing.assert_array_equal(frame_BKW, windows_BKW[:, ::stride])
        assert encoders.frame_count(samples, window=window, stride=stride) == frame_BKW.shape[1]


@pytest.mark.few(2)
@pytest.mark.parametrize('window, stride', FRAMINGS)
def test_overlap_add_is_the_adjoint_of_frame(window, stride):
    for samples in (1, 8, 33):
        signal_BT = normal(2, samples)
        frame_BKW = encoders.frame(signal_BT, window=window, stride=stride)
        other_BKW = normal(*frame_BKW.shape, seed=1)
        out_BT = encoders.overlap_add(other_BKW, stride=stride, samples=samples)
        assert out_BT.shape == (2, samples)
        assert np.vdot(frame_BKW, other_BKW) == pytest.approx(np.vdot(signal_BT, out_BT), abs=1e-3)


@pytest.mark.few(2)
@pytest.mark.parametrize('window, stride', FRAMINGS)
def test_as_many_samples_out_as_in(window, stride):
    framing = dict(window=window, stride=stride)

    def there_and_back(signal_BT):
        frame_BKW = encoders.frame(signal_BT, **framing)
        return encoders.overlap_add(frame_BKW, stride=stride, samples=signal_BT.shape[1])

    for samples in [*range(1, 41), 997]:
        signal_BT = jax.ShapeDtypeStruct((2, samples), jnp.float32)
        assert jax.eval_shape(there_and_back, signal_BT).shape == (2, samples)


@pytest.mark.few(2)
@pytest.mark.parametrize('window, stride', [(16, 8), (12, 4), (8, 8)])
@pytest.mark.parametrize('framing', ['aligned', 'plain'])
def test_other_framings(framing, window, stride):
    """Frames are slices, overlap-add is their adjoint, and only a plain tail is heard by none."""
    how = dict(window=window, stride=stride, framing=framing)
    for samples in (1, window - 1, window, window + 1, 3 * window + stride - 1):
        signal_BT = normal(2, samples)
        frame_BKW = np.asarray(encoders.frame(signal_BT, **how))
        left = stride if framing == 'aligned' else 0
        right = stride + -samples % stride if left else max(window - samples, 0)
        padded_BT = np.pad(signal_BT, ((0, 0), (left, right)))
        padded_BT = np.pad(padded_BT, ((0, 0), (0, max(window - padded_BT.shape[1], 0))))
        windows_BKW = np.lib.stride_tricks.sliding_window_view(padded_BT, window, axis=1)
        np.testing.assert_array_equal(frame_BKW, windows_BKW[:, ::stride])
        assert int(encoders.frame_count(jnp.array(samples), **how)) == frame_BKW.shape[1]
        other_BKW = normal(*frame_BKW.shape, seed=1)
        out_BT = encoders.overlap_add(other_BKW, stride=stride, samples=samples, framing=framing)
        assert out_BT.shape == (2, samples)
        assert np.vdot(frame_BKW, other_BKW) == pytest.approx(np.vdot(signal_BT, out_BT), abs=1e-3)
        tail = np.asarray(out_BT)[:, (frame_BKW.shape[1] - 1) * stride + window - left :]
        assert not tail.any() and (framing == 'plain' or not tail.size)


@pytest.mark.parametrize('window, stride', [(16, 6), (4, 8), (16, 0)])
def test_bad_framing_is_an_error(window, stride):
    for coder in (encoders.Encoder, encoders.Decoder):
        with pytest.raises(ValueError, match=f'window = {window}: must be a mult|stride = 0: must'):
            coder(window=window, stride=stride)


def test_frame_count_of_arrays():
    for framing in encoders.FRAMINGS:
        how = dict(window=16, stride=8, framing=framing)
        expected = [encoders.frame_count(t, **how) for t in range(1, 100)]
        for samples_B in (jnp.arange(1, 100), np.arange(1, 100)):
            np.testing.assert_array_equal(encoders.frame_count(samples_B, **how), expected)


@pytest.mark.parametrize('window, stride', [(16, 8), (15, 5)])
def test_linear_pair_equals_torch(window, stride):
    torch = pytest.importorskip('torch')
    signal_BT, kernel_WN = normal(2, 93), normal(window, 6, seed=1)
    encoder = encoders.Encoder(basis=6, window=window, stride=stride)
    encoded_BKN = jax.jit(encoder.apply)({'params': {'kernel': kernel_WN}}, signal_BT)
    frames = encoded_BKN.shape[1]
    padded = np.zeros((2, 1, (frames - 1) * stride + window), np.float32)
    padded[:, 0, stride : stride + 93] = signal_BT
    weight = torch.from_numpy(kernel_WN.T[:, None].copy())
    peer_BNK = torch.nn.functional.conv1d(torch.from_numpy(padded), weight, stride=stride)
    np.testing.assert_allclose(encoded_BKN, peer_BNK.numpy().transpose(0, 2, 1), atol=1e-5)

    decoder = encoders.Decoder(window=window, stride=stride)
    apply = jax.jit(decoder.apply, static_argnums=2)
    estimate_BT = apply({'params': {'kernel': kernel_WN.T}}, encoded_BKN, 93)
    peer_BT = torch.nn.functional.conv_transpose1d(peer_BNK, weight, stride=stride)[:, 0]
    np.testing.assert_allclose(estimate_BT, peer_BT[:, stride : stride + 93], atol=1e-4)


def test_deep_encoder_by_hand():
    """Strided layer without activation, then PReLU layers; the decoder mirrors the dilations."""
    mixture_BT = normal(2, 60)
    encoder = encoders.Encoder(basis=6, dilations=(1, 4), activation='prelu')
    params = jax.jit(encoder.init)(jax.random.key(0), mixture_BT)['params']
    x_BKN = encoders.frame(mixture_BT, window=16, stride=8) @ params['kernel']
    for name, dilation in [('layer_1', 1), ('layer_2', 4)]:
        conv = layers.Conv(dilation=dilation)
        x_BKN = conv.apply({'params': params[name]['conv']}, x_BKN)
        x_BKN = jnp.where(x_BKN > 0, x_BKN, 0.25 * x_BKN)
    np.testing.assert_allclose(
        jax.jit(encoder.apply)({'params': params}, mixture_BT), x_BKN, atol=1e-5
    )

    decoder = encoders.Decoder(dilations=(1, 4), activation='prelu')
    coded_BKN = normal(*x_BKN.shape)
    params = jax.jit(decoder.init, static_argnums=2)(jax.random.key(0), coded_BKN, 60)['params']
    x_BKN = coded_BKN
    for name, dilation in [('layer_1', 4), ('layer_2', 1)]:
        conv = layers.Conv(dilation=dilation, transpose=True)
        x_BKN = conv.apply({'params': params[name]['conv']}, x_BKN)
        x_BKN = jnp.where(x_BKN > 0, x_BKN, 0.25 * x_BKN)
    expected_BT = encoders.overlap_add(x_BKN @ params['kernel'], stride=8, samples=60)
    estimate_BT = jax.jit(decoder.apply, static_argnums=2)({'params': params}, coded_BKN, 60)
    np.testing.assert_allclose(estimate_BT, expected_BT, atol=1e-5)


def test_glu_is_linear_times_sigmoid_of_the_normed_gate():
    x_BKN = normal(2, 30, 5)
    layer = encoders.DeepLayer('glu', dilation=2)
    params = jax.jit(layer.init)(jax.random.key(0), x_BKN)['params']
    params['gate_norm'] = {'scale': normal(5, seed=1), 'bias': normal(5, seed=2)}
    apply = jax.jit(functools.partial(layer.apply, mutable=['intermediates']))
    out_BKN, state = apply({'params': params}, x_BKN)

    def conv(weights):
        padded_BKN = np.pad(x_BKN, ((0, 0), (2, 2), (0, 0)))
        taps = [padded_BKN[:, 2 * p : 2 * p + 30] @ weights['kernel'][p] for p in range(3)]
        return np.asarray(sum(taps) + weights['bias'][None, None], np.float64)

    gate_BKN = conv(params['gate_conv'])
    mean, variance = gate_BKN.mean((1, 2), keepdims=True), gate_BKN.var((1, 2), keepdims=True)
    gate_BKN = (gate_BKN - mean) / np.sqrt(variance + 1e-8)
    gate_BKN = gate_BKN * params['gate_norm']['scale'] + params['gate_norm']['bias']
    gate_BKN = 1 / (1 + np.exp(-gate_BKN))
    (sown_BKN,) = state['intermediates']['gate']
    np.testing.assert_allclose(sown_BKN, gate_BKN, atol=1e-5)
    np.testing.assert_allclose(out_BKN, conv(params['conv']) * gate_BKN, atol=1e-5)


def test_gates_of_every_layer_can_be_read():
    encoder = encoders.Encoder(basis=6, dilations=(1, 1, 1), activation='glu')
    mixture_BT = normal(2, 60)
    _, state = jax.eval_shape(
        lambda: encoder.init_with_output(
            jax.random.key(0), mixture_BT, mutable=['params', 'intermediates']
        )
    )
    frames = encoders.frame_count(60, window=16, stride=8)
    for name in ('layer_1', 'layer_2', 'layer_3'):
        (gate_BKN,) = state['intermediates'][name]['gate']
        assert gate_BKN.shape == (2, frames, 6)


def test_unknown_activation_is_an_error():
    with pytest.raises(ValueError, match="activation = 'relu': must be one of prelu, glu"):
        encoders.Encoder(activation='relu', dilations=(1,))
    encoders.Encoder(activation='relu')  # of no layer


@pytest.mark.parametrize('bias', [True, False])
def test_bias_key(bias):
    encoder = encoders.Encoder(basis=6, dilations=(1,), activation='glu', bias=bias)
    params = jax.eval_shape(encoder.init, jax.random.key(0), normal(1, 60))['params']
    assert ('bias' in params['layer_1']['conv']) == bias
    assert ('bias' in params['layer_1']['gate_conv']) == bias


def test_initial_range_of_the_basis_is_that_of_torch():
    encoder, decoder = encoders.Encoder(basis=4000), encoders.Decoder()
    kernels = [
        encoder.init(jax.random.key(0), jnp.zeros((1, 8)))['params']['kernel'],
        decoder.init(jax.random.key(0), jnp.zeros((1, 2, 4000)), 8)['params']['kernel'],
    ]
    for kernel in kernels:
        assert 0.24 < float(jnp.abs(kernel).max()) <= 0.25


def test_a_causal_gate_needs_a_norm_that_is_causal():
    for coder in (encoders.Encoder, encoders.Decoder):
        with pytest.raises(ValueError, match="norm = 'gln': sees the whole utterance"):
            coder(dilations=(1,), activation='glu', causal=True)
        coder(dilations=(1,), activation='prelu', causal=True)  # it has no norm
        coder(dilations=(1,), activation='glu', causal=True, norm='frame')
