"""The block of Conv-TasNet with its global norms folded into the weights that follow them.

With the moments known, gLN is one gain and one offset for each example and channel, and what
follows it is linear. So the block (Conv-TasNet fig. 1C)

    u1 = x W1 + b1,      y1 = PReLU(u1),   z1 = y1 gain1 + offset1
    u2 = z1 * taps + b,  y2 = PReLU(u2),   z2 = y2 gain2 + offset2
    out = z2 W2 + b2

never forms z1 and z2: the gains go into the taps and W2, the offsets into the biases. Memory
traffic is what the block costs; the backward pass, written out here, takes the sums over frames
that gains and offsets need from the gradients of taps and W2, and keeps x, u1 and u2 alone.

XLA's compilers for CPU and TPU fuse differently; `cpu` says for which of them a form is written.

Letters beside the package's own: P taps of the depthwise filter, D output channels.
"""

import functools

import jax
import jax.numpy as jnp

from fgsep_jax.models.layers import same_padding, shift_frames, tap_shifts
from fgsep_jax.models.norms import (
    affine,
    frames_that_count,
    sum_over,
    take_moments,
)

FLOAT = jnp.float32


def folded_block(
    weights: dict,
    x_BKC: jax.Array,
    valid_BK: jax.Array | None = None,
    *,
    dilation: int = 1,
    eps: float = 1e-8,
    remat: bool = False,
    dtype: str = 'float32',
) -> jax.Array:
    """Expansion, PReLU, gLN, dilated depthwise convolution, PReLU, gLN, output convolution.

    Args:
      weights: parameters of a `tcn.Block`: {'expand', 'prelu_1', 'norm_1', 'depthwise', 'prelu_2',
        'norm_2', 'output'}.
      x_BKC: input [batch, frames, channels].
      valid_BK: False for frames of padding; None when all count.
      dilation: frames between two taps, which look both ways.
      eps: of the norms.
      remat: keep x and the moments only, and compute u1 and u2 again in the backward pass.
      dtype: of products and of the arrays kept; moments, gains and all sums are float32.

    Returns:
      [batch, frames, output channels] in `dtype`; what stands on padding means nothing.

    Raises:
      ValueError: an even number of taps, which has no middle.
    """
    same_padding(kernel=len(weights['depthwise']['kernel']), dilation=dilation, causal=False)
    if valid_BK is not None:
        valid_BK = valid_BK.astype(FLOAT)  # a gradient needs numbers
    return _block(weights, x_BKC, valid_BK, (dilation, eps, remat, jnp.dtype(dtype)))


def _on_platform(function, settings, *args):
    return jax.lax.platform_dependent(
        *args,
        cpu=functools.partial(function, settings, cpu=True),
        default=functools.partial(function, settings, cpu=False),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _block(weights, x_BKC, valid_BK, settings):
    return _keep(weights, x_BKC, valid_BK, settings)[0]


def _keep(weights, x_BKC, valid_BK, settings):
    """The block, and what its backward pass needs."""
    out_BKD, kept = _on_platform(_forward, settings, weights, x_BKC, valid_BK)
    return out_BKD, (weights, x_BKC, valid_BK, *kept)


def _gradient(settings, kept, d_out_BKD):
    return *_on_platform(_backward, settings, kept, d_out_BKD), None


_block.defvjp(_keep, _gradient)


@jax.named_scope('expand')
def _expand(weights, x_BKC, dtype):
    """u1 [B, K, H]."""
    u_BKH = x_BKC.astype(dtype) @ weights['expand']['kernel'].astype(dtype)
    return u_BKH + weights['expand']['bias'].astype(dtype)[None, None]


@jax.named_scope('depthwise')
def _filter(weights, u1_BKH, moments_B, valid_BK, dilation, cpu):
    """u2 [B, K, H]."""
    gain_BH, offset_BH = affine(moments_B, weights['norm_1'])
    taps_PH = weights['depthwise']['kernel']
    u2_BKH = weights['depthwise']['bias'][None, None]
    for tap_H, shift in zip(taps_PH, tap_shifts(len(taps_PH), dilation)):
        y_BKH = _shifted_prelu(u1_BKH, weights['prelu_1'], valid_BK, shift, cpu)
        u2_BKH += y_BKH.astype(FLOAT) * (gain_BH * tap_H[None])[:, None]
        u2_BKH += _inside(u1_BKH, valid_BK, shift) * (offset_BH * tap_H[None])[:, None]
    return u2_BKH.astype(u1_BKH.dtype)


def _forward(settings, weights, x_BKC, valid_BK, *, cpu):
    dilation, eps, remat, dtype = settings
    count_B = frames_that_count(x_BKC, valid_BK) * weights['norm_1']['scale'].size
    output = weights['output']
    u1_BKH = _expand(weights, x_BKC, dtype)
    y_BKH = _prelu(u1_BKH, weights['prelu_1'], valid_BK, cpu)
    moments_1 = take_moments(y_BKH, count_B, eps, cpu)
    u2_BKH = _filter(weights, u1_BKH, moments_1, valid_BK, dilation, cpu)
    y_BKH = _prelu(u2_BKH, weights['prelu_2'], valid_BK, cpu)
    moments_2 = take_moments(y_BKH, count_B, eps, cpu)
    gain_BH, offset_BH = affine(moments_2, weights['norm_2'])
    kernel_BHD = (gain_BH[:, :, None] * output['kernel'][None]).astype(dtype)
    bias_BD = offset_BH @ output['kernel'] + output['bias'][None]
    out_BKD = jnp.einsum('bkh,bhd->bkd', y_BKH, kernel_BHD) + bias_BD[:, None].astype(dtype)
    return out_BKD, (moments_1, moments_2, None if remat else (u1_BKH, u2_BKH))


def _backward(settings, kept, d_out_BKD, *, cpu):
    dilation, _, _, dtype = settings
    weights, x_BKC, valid_BK, moments_1, moments_2, hidden = kept
    (x_BKC, hidden), tied_BKD = _apart((x_BKC, hidden), d_out_BKD, cpu)
    if hidden is None:
        d_out_BKD = tied_BKD  # else u1 might be made before its time
        u1_BKH = _expand(weights, x_BKC, dtype)
        u2_BKH = _filter(weights, u1_BKH, moments_1, valid_BK, dilation, cpu)
    else:
        u1_BKH, u2_BKH = hidden
    count_B = frames_that_count(x_BKC, valid_BK) * weights['norm_1']['scale'].size
    d_out_BKD = d_out_BKD.astype(dtype)

    # out = y2 (gain2 W2) + offset2 W2 + b2
    gain_BH, offset_BH = affine(moments_2, weights['norm_2'])
    kernel_HD = weights['output']['kernel']
    y_BKH = _prelu(u2_BKH, weights['prelu_2'], valid_BK, cpu)
    d_kernel_BHD = jnp.einsum('bkh,bkd->bhd', y_BKH, d_out_BKD, preferred_element_type=FLOAT)
    d_bias_BD = d_out_BKD.astype(FLOAT).sum(axis=1)
    d_output = {
        'kernel': (gain_BH[:, :, None] * d_kernel_BHD).sum(axis=0) + offset_BH.T @ d_bias_BD,
        'bias': d_bias_BD.sum(axis=0),
    }
    d_norm_2, d_moments = _affine_gradient(
        (d_kernel_BHD * kernel_HD[None]).sum(axis=2),
        d_bias_BD @ kernel_HD.T,
        moments_2,
        weights['norm_2'],
        count_B,
    )
    kernel_BHD = (gain_BH[:, :, None] * kernel_HD[None]).astype(dtype)
    d_y_BKH = jnp.einsum('bkd,bhd->bkh', d_out_BKD, kernel_BHD).astype(FLOAT)
    d_u2_BKH, d_prelu_2 = _prelu_gradient(
        d_y_BKH, d_moments, u2_BKH, weights['prelu_2'], valid_BK, dtype, cpu
    )

    # u2 = sum over taps of shifted (y1 gain1 + offset1) tap, + b
    gain_BH, offset_BH = affine(moments_1, weights['norm_1'])
    taps_PH = weights['depthwise']['kernel']
    shifts = tap_shifts(len(taps_PH), dilation)
    all_BH = d_u2_BKH.astype(FLOAT).sum(axis=1)
    product_PBH = []
    for shift in shifts:
        y_BKH = _shifted_prelu(u1_BKH, weights['prelu_1'], valid_BK, shift, cpu)
        product_PBH.append((d_u2_BKH.astype(FLOAT) * y_BKH.astype(FLOAT)).sum(axis=1))
    seen_PBH = [_seen(d_u2_BKH, all_BH, valid_BK, shift) for shift in shifts]
    d_depthwise = {
        'kernel': jnp.stack(
            [
                (gain_BH * product_BH + offset_BH * seen_BH).sum(axis=0)
                for product_BH, seen_BH in zip(product_PBH, seen_PBH)
            ]
        ),
        'bias': all_BH.sum(axis=0),
    }
    d_gain_BH = sum(tap_H[None] * x_BH for tap_H, x_BH in zip(taps_PH, product_PBH))
    d_offset_BH = sum(tap_H[None] * x_BH for tap_H, x_BH in zip(taps_PH, seen_PBH))
    d_norm_1, d_moments = _affine_gradient(
        d_gain_BH, d_offset_BH, moments_1, weights['norm_1'], count_B
    )
    d_y_BKH = sum(
        shift_frames(d_u2_BKH, -shift).astype(FLOAT) * (gain_BH * tap_H[None])[:, None]
        for tap_H, shift in zip(taps_PH, shifts)
    )
    d_u1_BKH, d_prelu_1 = _prelu_gradient(
        d_y_BKH, d_moments, u1_BKH, weights['prelu_1'], valid_BK, dtype, cpu
    )

    # u1 = x W1 + b1
    d_expand = {
        'kernel': jnp.einsum(
            'bkc,bkh->ch', x_BKC.astype(dtype), d_u1_BKH, preferred_element_type=FLOAT
        ),
        'bias': sum_over(d_u1_BKH.astype(FLOAT), (0, 1), cpu),
    }
    d_x_BKC = d_u1_BKH @ weights['expand']['kernel'].T.astype(dtype)
    gradient = {
        'expand': d_expand,
        'prelu_1': d_prelu_1,
        'norm_1': d_norm_1,
        'depthwise': d_depthwise,
        'prelu_2': d_prelu_2,
        'norm_2': d_norm_2,
        'output': d_output,
    }
    return gradient, d_x_BKC.astype(x_BKC.dtype)


def _affine_gradient(d_gain_BH, d_offset_BH, moments_B, norm, count_B):
    """Gradients of a norm's weights, and of the two sums over y and y^2 behind its moments.

    Args:
      d_gain_BH: gradient of the gain [batch, channels].
      d_offset_BH: of the offset.
      moments_B: as `take_moments` returns them.
      norm: {'scale', 'bias'} [channels].
      count_B: how many values counted [batch], or a number.

    Returns:
      {'scale', 'bias'}, (d_sum_B, d_square_B): dy takes d_sum + d_square y from the moments.
    """
    mean_B, inverse_B = moments_B
    gain_BH, _ = affine(moments_B, norm)
    d_gain_BH = d_gain_BH - mean_B[:, None] * d_offset_BH
    d_inverse_B = (norm['scale'][None] * d_gain_BH).sum(axis=1)
    d_variance_B = -0.5 * inverse_B**3 * d_inverse_B
    d_mean_B = -(d_offset_BH * gain_BH).sum(axis=1) - 2 * mean_B * d_variance_B
    weights = {
        'scale': (inverse_B[:, None] * d_gain_BH).sum(axis=0),
        'bias': d_offset_BH.sum(axis=0),
    }
    return weights, (d_mean_B / count_B, 2 * d_variance_B / count_B)


def _apart(arrays, d_out_BKD, cpu):
    """(arrays, d_out) as if the backward pass alone had them.

    XLA would else keep what the forward pass computes from them. Its compiler for CPU drops
    barriers; a zero that it cannot know to be zero serves there.
    """
    if cpu:
        zero = jnp.isnan(one := d_out_BKD[:1, :1, :1]) & (one == one)
        return jax.tree.map(lambda array: array + zero.astype(array.dtype), arrays), d_out_BKD
    return jax.lax.optimization_barrier((arrays, d_out_BKD))


def _inside(x_BKC, valid_BK, shift):
    """1 where frame k + shift exists and counts, [B or 1, K, 1]."""
    if valid_BK is None:
        valid_BK = jnp.ones((1, x_BKC.shape[1]), FLOAT)
    return shift_frames(valid_BK[:, :, None], shift)


def _seen(d_u_BKH, all_BH, valid_BK, shift):
    """sum_k d_u[k] where frame k + shift exists and counts; `all_BH` is the sum over all k."""
    if valid_BK is not None:
        return (d_u_BKH.astype(FLOAT) * _inside(d_u_BKH, valid_BK, shift)).sum(axis=1)
    missing = min(abs(shift), d_u_BKH.shape[1])
    if not missing:
        return all_BH
    edge_BKH = d_u_BKH[:, :missing] if shift < 0 else d_u_BKH[:, -missing:]
    return all_BH - edge_BKH.astype(FLOAT).sum(axis=1)


def _prelu(u_BKH, weights, valid_BK, cpu):
    """PReLU, zero on padding."""
    slope = weights['slope'].astype(u_BKH.dtype)
    if cpu:
        y_BKH = jnp.where(u_BKH >= 0, u_BKH, slope * u_BKH)
    else:  # comparisons of one use would be kept for the next
        y_BKH = jnp.maximum(u_BKH, 0) + slope * jnp.minimum(u_BKH, 0)
    return y_BKH if valid_BK is None else y_BKH * valid_BK[:, :, None].astype(y_BKH.dtype)


def _shifted_prelu(u_BKH, weights, valid_BK, shift, cpu):
    """PReLU(u)[k + shift], zero on padding and outside; on TPU in an order that keeps no PReLU."""
    if cpu:
        return shift_frames(_prelu(u_BKH, weights, valid_BK, cpu), shift)
    valid_BK = None if valid_BK is None else _inside(u_BKH, valid_BK, shift)[:, :, 0]
    return _prelu(shift_frames(u_BKH, shift), weights, valid_BK, cpu)


def _prelu_gradient(d_y_BKH, d_moments, u_BKH, weights, valid_BK, dtype, cpu):
    """Gradients of u in `dtype` and of the slope, the moments' part of dy added on the way."""
    slope, u32_BKH = weights['slope'], u_BKH.astype(FLOAT)
    d_sum_B, d_square_B = d_moments
    y_BKH = _prelu(u_BKH, weights, None, cpu).astype(FLOAT)  # as it was, rounded to `dtype`
    d_y_BKH += d_sum_B[:, None, None] + d_square_B[:, None, None] * y_BKH
    if valid_BK is not None:
        d_y_BKH *= valid_BK[:, :, None]
    d_slope = sum_over(d_y_BKH * jnp.minimum(u32_BKH, 0), (0, 1, 2), cpu)
    d_u_BKH = jnp.where(u32_BKH >= 0, d_y_BKH, slope * d_y_BKH)
    return d_u_BKH.astype(dtype), {'slope': d_slope}
