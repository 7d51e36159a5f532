"""Layers that the encoders, the separator and the decoders share.

Letters beside the package's own: P taps of a filter, D output channels. Weights and biases start
as PyTorch's do, so that training can be compared with models of that world. `dtype` is the type
that convolutions compute in; parameters and statistics stay float32.
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


def zero_padding(x_BKN: jax.Array, frames_BK: jax.Array | None) -> jax.Array:
    """Zeroes the frames where `frames_BK` is 0; None leaves all as they are."""
    return x_BKN if frames_BK is None else x_BKN * frames_BK[:, :, None].astype(x_BKN.dtype)


def depthwise_conv(
    x_BKN: jax.Array,
    kernel_PN: jax.Array,
    *,
    dilation: int = 1,
    causal: bool = False,
    implementation: str = 'auto',
) -> jax.Array:
    """Dilated convolution over frames, each channel by itself, as many frames out as in.

    Args:
      x_BKN: input [batch, frames, channels].
      kernel_PN: one filter per channel [taps, channels].
      dilation: frames between two taps.
      causal: look at the present and the past only.
      implementation: 'conv' is one grouped `conv_general_dilated`; 'shift' a sum of shifted
        products, equal and many times faster on CPU and TPU; 'auto' is 'shift'.

    Returns:
      The filtered channels [batch, frames, channels].

    Raises:
      ValueError: an unknown implementation, or an even kernel that is not causal.
    """
    taps, channels = kernel_PN.shape
    padding = same_padding(kernel=taps, dilation=dilation, causal=causal)
    if implementation == 'conv':
        return jax.lax.conv_general_dilated(
            x_BKN,
            kernel_PN[:, None, :],
            window_strides=(1,),
            padding=[padding],
            rhs_dilation=(dilation,),
            dimension_numbers=('NWC', 'WIO', 'NWC'),
            feature_group_count=channels,
        )
    if implementation not in ('auto', 'shift'):
        raise ValueError(f"depthwise={implementation!r}: must be 'auto', 'conv' or 'shift'")
    frames = x_BKN.shape[1]
    padded_BKN = jnp.pad(x_BKN, ((0, 0), padding, (0, 0)))
    return sum(
        padded_BKN[:, p * dilation : p * dilation + frames] * kernel_PN[None, None, p]
        for p in range(taps)
    )


def global_layer_norm(
    x_BKN: jax.Array,
    scale_N: jax.Array,
    bias_N: jax.Array,
    *,
    eps: float = 1e-8,
    frames_BK: jax.Array | None = None,
) -> jax.Array:
    """gLN: normalises each example over channels and time (Conv-TasNet, section II-D).

    Args:
      x_BKN: input [batch, frames, channels]; statistics are taken in float32.
      scale_N: gamma [channels].
      bias_N: beta [channels].
      eps: added to the biased variance, inside the root.
      frames_BK: 1 for frames that count, 0 for padding [batch, frames].

    Returns:
      The normalised input [batch, frames, channels], in its dtype.
    """
    x32_BKN = x_BKN.astype(jnp.float32)
    counted_BKN = zero_padding(x32_BKN, frames_BK)
    frames, channels = x_BKN.shape[1:]
    if frames_BK is not None:
        frames = jnp.maximum(frames_BK.sum(axis=1), 1)
    # E[x^2] - m^2 takes both moments in one pass: memory traffic is what this norm costs.
    mean_B = counted_BKN.sum(axis=(1, 2)) / (frames * channels)
    power_B = jnp.square(counted_BKN).sum(axis=(1, 2)) / (frames * channels)
    inverse_B = jax.lax.rsqrt(jnp.maximum(power_B - mean_B**2, 0) + eps)
    gain_BN = inverse_B[:, None] * scale_N[None]
    offset_BN = bias_N[None] - mean_B[:, None] * gain_BN
    return (x32_BKN * gain_BN[:, None] + offset_BN[:, None]).astype(x_BKN.dtype)


def cumulative_layer_norm(
    x_BKN: jax.Array,
    scale_N: jax.Array,
    bias_N: jax.Array,
    *,
    eps: float = 1e-8,
    frames_BK: jax.Array | None = None,
) -> jax.Array:
    """cLN: normalises each frame over channels and all frames up to it (Conv-TasNet, II-D).

    Args and returns as in `global_layer_norm`, but padding stands after the frames that count,
    where no statistic of theirs can see it: `frames_BK` changes nothing.
    """
    del frames_BK
    x32_BKN = x_BKN.astype(jnp.float32)
    frames, channels = x_BKN.shape[1:]
    count_K = channels * jnp.arange(1, frames + 1, dtype=jnp.float32)
    mean_BK = jnp.cumsum(x32_BKN.sum(axis=2), axis=1) / count_K[None]
    power_BK = jnp.cumsum(jnp.square(x32_BKN).sum(axis=2), axis=1) / count_K[None]
    inverse_BK = jax.lax.rsqrt(jnp.maximum(power_BK - mean_BK**2, 0) + eps)
    normal_BKN = (x32_BKN - mean_BK[:, :, None]) * inverse_BK[:, :, None]
    return (normal_BKN * scale_N[None, None] + bias_N[None, None]).astype(x_BKN.dtype)


NORMS = {'gln': global_layer_norm, 'cln': cumulative_layer_norm}


class Norm(nn.Module):
    """A layer norm with an affine map per channel; `kind` is a key of `NORMS`."""

    kind: str = 'gln'
    eps: float = 1e-8

    @nn.compact
    def __call__(self, x_BKN: jax.Array, frames_BK: jax.Array | None = None) -> jax.Array:
        channels = x_BKN.shape[-1]
        scale_N = self.param('scale', nn.initializers.ones, (channels,))
        bias_N = self.param('bias', nn.initializers.zeros, (channels,))
        return NORMS[self.kind](x_BKN, scale_N, bias_N, eps=self.eps, frames_BK=frames_BK)


class PReLU(nn.Module):
    """max(x, 0) + slope * min(x, 0), one slope for all channels, 0.25 at first."""

    @nn.compact
    def __call__(self, x_BKN: jax.Array) -> jax.Array:
        slope = self.param('slope', nn.initializers.constant(0.25), ())
        return jnp.where(x_BKN >= 0, x_BKN, slope.astype(x_BKN.dtype) * x_BKN)


class Pointwise(nn.Module):
    """1x1 convolution with bias."""

    features: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BKN: jax.Array) -> jax.Array:
        channels = x_BKN.shape[-1]
        init = torch_uniform(channels)
        kernel_ND = self.param('kernel', init, (channels, self.features)).astype(self.dtype)
        bias_D = self.param('bias', init, (self.features,)).astype(self.dtype)
        return x_BKN.astype(self.dtype) @ kernel_ND + bias_D[None, None]


class Depthwise(nn.Module):
    """`depthwise_conv` with bias, in the dtype of its input."""

    kernel: int = 3
    dilation: int = 1
    causal: bool = False
    implementation: str = 'auto'

    @nn.compact
    def __call__(self, x_BKN: jax.Array) -> jax.Array:
        init, channels = torch_uniform(self.kernel), x_BKN.shape[-1]
        kernel_PN = self.param('kernel', init, (self.kernel, channels)).astype(x_BKN.dtype)
        bias_N = self.param('bias', init, (channels,)).astype(x_BKN.dtype)
        filtered_BKN = depthwise_conv(
            x_BKN,
            kernel_PN,
            dilation=self.dilation,
            causal=self.causal,
            implementation=self.implementation,
        )
        return filtered_BKN + bias_N[None, None]


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
        kernel_PND = self.param('kernel', init, (self.kernel, channels, channels))
        padding = same_padding(kernel=self.kernel, dilation=self.dilation, causal=self.causal)
        x_BKD = jax.lax.conv_general_dilated(
            x_BKN.astype(self.dtype),
            (kernel_PND[::-1] if self.transpose else kernel_PND).astype(self.dtype),
            window_strides=(1,),
            padding=[padding],
            rhs_dilation=(self.dilation,),
            dimension_numbers=('NWC', 'WIO', 'NWC'),
        )
        if not self.bias:
            return x_BKD
        bias_D = self.param('bias', init, (channels,)).astype(self.dtype)
        return x_BKD + bias_D[None, None]
