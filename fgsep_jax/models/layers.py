"""Layers that the encoders, the separator and the decoders share.

Letters beside the package's own: P taps of a filter, D output channels. Weights and biases start
as PyTorch's do, so that training can be compared with models of that world. `dtype` is the type
that convolutions compute in; parameters and statistics stay float32. So do sums: a bias or slope in
bfloat16 would have its gradient, a sum over all examples and frames, added up in bfloat16.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


def torch_uniform(fan_in: int) -> Callable:
    """Initialiser of PyTorch's convolutions: uniform in +-1/sqrt(fan_in), weights and biases."""

    def init(key, shape, dtype=jnp.float32):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def same_padding(*, kernel: int, dilation: int, causal: bool) -> tuple[int, int]:
    """Zeros (left, right) that keep the number of frames.

    Raises:
      ValueError: an even kernel without `causal`, which has no middle.
    """
    span = (kernel - 1) * dilation
    if causal:
        return span, 0
    if kernel % 2 == 0:
        raise ValueError(
            f'kernel={kernel} is even and has no middle frame: use an odd kernel or causal=True'
        )
    return span // 2, span // 2


def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function by way of tanh, which is cheaper than exp and a division."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def zero_padding(x_BKN: jax.Array, valid_BK: jax.Array | None) -> jax.Array:
    """Zeroes the frames where `valid_BK` is False; None leaves all as they are."""
    return x_BKN if valid_BK is None else x_BKN * valid_BK[:, :, None].astype(x_BKN.dtype)


def streams(module: nn.Module) -> bool:
    """Whether a module gets a signal block by block: what it must remember is in 'stream'."""
    return module.is_mutable_collection('stream') and not module.is_initializing()


def takes_moments(module: nn.Module) -> bool:
    """Whether global norms get their moments, and tell what they are made of; see `norms.Norm`."""
    return module.is_mutable_collection('frame_means') and not module.is_initializing()


def after_the_past(module: nn.Module, x_BKN: jax.Array, count: int) -> jax.Array:
    """A block with the `count` frames before it in front; remembers its own last ones."""
    shape = (x_BKN.shape[0], count, x_BKN.shape[2])
    past = module.variable('stream', 'past', jnp.zeros, shape, x_BKN.dtype)
    joined_BKN = jnp.concatenate([past.value, x_BKN], axis=1)
    past.value = joined_BKN[:, joined_BKN.shape[1] - count :]
    return joined_BKN


def tap_shifts(taps: int, dilation: int) -> list[int]:
    """How far ahead of its output each of an odd number of taps looks, in frames."""
    return [(p - (taps - 1) // 2) * dilation for p in range(taps)]


def shift_frames(x_BKN: jax.Array, shift: int) -> jax.Array:
    """Returns x[k + shift] [batch, frames, channels], zero outside.

    One pad with a negative end, which fuses where a pad and a slice would not.
    """
    if abs(shift) >= x_BKN.shape[1]:
        return jnp.zeros_like(x_BKN)
    return jax.lax.pad(
        x_BKN, jnp.zeros((), x_BKN.dtype), [(0, 0, 0), (-shift, shift, 0), (0, 0, 0)]
    )


def reflected(x_BKN: jax.Array, span: int, valid_BK: jax.Array | None = None) -> jax.Array:
    """Mirrors frames at the first and at the last that counts, again and again where they are few.

    Args:
      x_BKN: input [batch, frames, channels].
      span: frames to put at either end.
      valid_BK: False for frames of padding, which come last; None when all count.

    Returns:
      [batch, span + frames + span, channels].
    """
    frames = x_BKN.shape[1]
    count_B = jnp.full(1, frames) if valid_BK is None else valid_BK.sum(axis=1)
    last_BK = jnp.maximum(count_B - 1, 0)[:, None]
    period_BK = jnp.maximum(2 * last_BK, 1)
    at_1K = jax.lax.broadcasted_iota(jnp.int32, (1, span + frames + span), 1) - span
    at_BK = at_1K % period_BK
    at_BK = jnp.minimum(at_BK, period_BK - at_BK)
    if valid_BK is None:
        return jnp.take(x_BKN, at_BK[0], axis=1)
    return jnp.take_along_axis(x_BKN, at_BK[:, :, None], axis=1)


def depthwise_conv(
    x_BKN: jax.Array,
    kernel_PN: jax.Array,
    *,
    dilation: int = 1,
    causal: bool = False,
    implementation: str = 'auto',
    padding: str = 'zeros',
    valid_BK: jax.Array | None = None,
) -> jax.Array:
    """Dilated convolution over frames, each channel by itself, as many frames out as in.

    Args:
      x_BKN: input [batch, frames, channels].
      kernel_PN: one filter per channel [taps, channels].
      dilation: frames between two taps.
      causal: look at the present and the past only.
      implementation: 'conv' is one grouped `conv_general_dilated`; 'shift' a sum of shifted
        products, equal and many times faster on CPU and TPU; 'auto' is 'shift'.
      padding: what stands outside: 'zeros', or what `reflected` puts there.
      valid_BK: for `reflected`.

    Returns:
      The filtered channels [batch, frames, channels], in the type of the input.

    Raises:
      ValueError: an unknown implementation, or an even kernel that is not causal.
    """
    taps, channels = kernel_PN.shape
    frames, ends = x_BKN.shape[1], same_padding(kernel=taps, dilation=dilation, causal=causal)
    if padding == 'reflect':
        x_BKN, ends = reflected(x_BKN, max(ends), valid_BK), (0, 0)
    if implementation == 'conv':
        return jax.lax.conv_general_dilated(
            x_BKN,
            kernel_PN[:, None, :].astype(x_BKN.dtype),
            window_strides=(1,),
            padding=[ends],
            rhs_dilation=(dilation,),
            dimension_numbers=('NWC', 'WIO', 'NWC'),
            feature_group_count=channels,
        )
    if implementation not in ('auto', 'shift'):
        raise ValueError(f"depthwise={implementation!r}: must be 'auto', 'conv' or 'shift'")
    padded_BKN = jnp.pad(x_BKN, ((0, 0), ends, (0, 0)))
    return sum(
        padded_BKN[:, p * dilation : p * dilation + frames] * kernel_PN[None, None, p]
        for p in range(taps)
    ).astype(x_BKN.dtype)


class PReLU(nn.Module):
    """max(x, 0) + slope * min(x, 0), 0.25 at first: one slope, or one for each channel."""

    by_channel: bool = False

    @nn.compact
    def __call__(self, x_BKN: jax.Array) -> jax.Array:
        shape = x_BKN.shape[-1:] if self.by_channel else ()
        slope = self.param('slope', nn.initializers.constant(0.25), shape, jnp.float32)
        slope = slope.reshape((1,) * (x_BKN.ndim - 1) + shape) if shape else slope
        return jnp.where(x_BKN >= 0, x_BKN, slope * x_BKN).astype(x_BKN.dtype)


class Pointwise(nn.Module):
    """1x1 convolution, by default with a bias."""

    features: int
    dtype: str = 'float32'
    bias: bool = True

    @nn.compact
    def __call__(self, x_BKN: jax.Array) -> jax.Array:
        channels = x_BKN.shape[-1]
        init = torch_uniform(channels)
        kernel_ND = self.param('kernel', init, (channels, self.features)).astype(self.dtype)
        x_BKD = x_BKN.astype(self.dtype) @ kernel_ND
        if self.bias:
            x_BKD += self.param('bias', init, (self.features,))[None, None]
        return x_BKD.astype(self.dtype)


class Depthwise(nn.Module):
    """`depthwise_conv`, by default with a bias, in the dtype of its input."""

    kernel: int = 3
    dilation: int = 1
    causal: bool = False
    implementation: str = 'auto'
    padding: str = 'zeros'
    bias: bool = True

    @nn.compact
    def __call__(self, x_BKN: jax.Array, valid_BK: jax.Array | None = None) -> jax.Array:
        init, channels = torch_uniform(self.kernel), x_BKN.shape[-1]
        kernel_PN = self.param('kernel', init, (self.kernel, channels))
        past = (self.kernel - 1) * self.dilation if streams(self) else 0
        filtered_BKN = depthwise_conv(
            after_the_past(self, x_BKN, past) if past else x_BKN,
            kernel_PN,
            dilation=self.dilation,
            causal=self.causal,
            implementation=self.implementation,
            padding=self.padding,
            valid_BK=valid_BK,
        )[:, past:]
        if self.bias:
            filtered_BKN += self.param('bias', init, (channels,))[None, None]
        return filtered_BKN.astype(x_BKN.dtype)


def conv(
    weights: dict,
    x_BKN: jax.Array,
    *,
    dilation: int = 1,
    causal: bool = False,
    transpose: bool = False,
    dtype: str = 'float32',
) -> jax.Array:
    """Dilated convolution over frames, as many frames out as in; see `Conv`.

    Args:
      weights: 'kernel' [taps, channels in, channels out] and, if there is one, 'bias'.
      x_BKN: input [batch, frames, channels].
      dilation: frames between two taps.
      causal: look at the present and the past only.
      transpose: run the taps backwards.
      dtype: of the products.

    Returns:
      [batch, frames, channels out] in `dtype`.
    """
    kernel_PND = weights['kernel'].astype(dtype)
    x_BKD = jax.lax.conv_general_dilated(
        x_BKN.astype(dtype),
        kernel_PND[::-1] if transpose else kernel_PND,
        window_strides=(1,),
        padding=[same_padding(kernel=len(kernel_PND), dilation=dilation, causal=causal)],
        rhs_dilation=(dilation,),
        dimension_numbers=('NWC', 'WIO', 'NWC'),
    )
    if 'bias' in weights:
        x_BKD += weights['bias'][None, None]
    return x_BKD.astype(dtype)


class Conv(nn.Module):
    """Dilated convolution that keeps frames and channels; `transpose` runs the taps backwards.

    With stride 1 that is all a transposed convolution is.
    """

    kernel: int = 3
    dilation: int = 1
    causal: bool = False
    transpose: bool = False
    bias: bool = True
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BKN: jax.Array) -> jax.Array:
        channels = x_BKN.shape[-1]
        init = torch_uniform(self.kernel * channels)
        weights = {'kernel': self.param('kernel', init, (self.kernel, channels, channels))}
        if self.bias:
            weights['bias'] = self.param('bias', init, (channels,))
        past = (self.kernel - 1) * self.dilation if streams(self) else 0
        return conv(
            weights,
            after_the_past(self, x_BKN, past) if past else x_BKN,
            dilation=self.dilation,
            causal=self.causal,
            transpose=self.transpose,
            dtype=self.dtype,
        )[:, past:]
