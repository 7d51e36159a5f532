"""Layer norms over frames and channels, and the global one as a gain and an offset."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax.models.layers import streams, takes_moments, zero_padding


def global_layer_norm(
    x_BKN: jax.Array,
    scale_N: jax.Array,
    bias_N: jax.Array,
    *,
    eps: float = 1e-8,
    valid_BK: jax.Array | None = None,
) -> jax.Array:
    """gLN: normalises each example over channels and time (Conv-TasNet, section II-D).

    Args:
      x_BKN: input [batch, frames, channels]; statistics are taken in float32.
      scale_N: gamma [channels].
      bias_N: beta [channels].
      eps: added to the biased variance, inside the root.
      valid_BK: False for frames of padding [batch, frames].

    Returns:
      The normalised input [batch, frames, channels], in its dtype.
    """
    x32_BKN = x_BKN.astype(jnp.float32)
    count_B = frames_that_count(x_BKN, valid_BK) * x_BKN.shape[2]
    moments_B = take_moments(zero_padding(x32_BKN, valid_BK), count_B, eps)
    gain_BN, offset_BN = affine(moments_B, {'scale': scale_N, 'bias': bias_N})
    return (x32_BKN * gain_BN[:, None] + offset_BN[:, None]).astype(x_BKN.dtype)


def cumulative_layer_norm(
    x_BKN: jax.Array,
    scale_N: jax.Array,
    bias_N: jax.Array,
    *,
    eps: float = 1e-8,
    valid_BK: jax.Array | None = None,
    before: tuple | None = None,
) -> jax.Array:
    """cLN: normalises each frame over channels and all frames up to it (Conv-TasNet, II-D).

    Args and returns as in `global_layer_norm`, but padding stands after the frames that count,
    where no statistic of theirs can see it: `valid_BK` changes nothing. `before`: [batch] of the
    frames before these, each: their number, the sum of their values and that of the squares.
    """
    del valid_BK
    x32_BKN = x_BKN.astype(jnp.float32)
    frames, channels = x_BKN.shape[1:]
    number_BK = 1 + jax.lax.broadcasted_iota(jnp.float32, (1, frames), 1)
    sum_BK = jnp.cumsum(x32_BKN.sum(axis=2), axis=1)
    square_BK = jnp.cumsum(jnp.square(x32_BKN).sum(axis=2), axis=1)
    if before is not None:
        number_BK, sum_BK, square_BK = (
            total_B[:, None] + total_BK
            for total_B, total_BK in zip(before, (number_BK, sum_BK, square_BK))
        )
    count_BK = channels * number_BK
    mean_BK, power_BK = sum_BK / count_BK, square_BK / count_BK
    inverse_BK = jax.lax.rsqrt(jnp.maximum(power_BK - mean_BK**2, 0) + eps)
    normal_BKN = (x32_BKN - mean_BK[:, :, None]) * inverse_BK[:, :, None]
    return (normal_BKN * scale_N[None, None] + bias_N[None, None]).astype(x_BKN.dtype)


def frame_layer_norm(
    x_BKN: jax.Array,
    scale_N: jax.Array,
    bias_N: jax.Array,
    *,
    eps: float = 1e-8,
    valid_BK: jax.Array | None = None,
) -> jax.Array:
    """Normalises each frame over its channels alone; as `cumulative_layer_norm` else."""
    del valid_BK
    x32_BKN = x_BKN.astype(jnp.float32)
    x32_BKN -= x32_BKN.mean(axis=2, keepdims=True)
    power_BK1 = jnp.square(x32_BKN).mean(axis=2, keepdims=True)
    normal_BKN = x32_BKN * jax.lax.rsqrt(power_BK1 + eps)
    return (normal_BKN * scale_N[None, None] + bias_N[None, None]).astype(x_BKN.dtype)


NORMS = {'gln': global_layer_norm, 'cln': cumulative_layer_norm, 'frame': frame_layer_norm}


def check_norms(rules, *keys, more=()):
    """Rules of the fields of a module that name a norm (or one of `more`), and of `causal`.

    Args:
      rules: `Rules` of a module that has the field `causal`, too.
      *keys: the fields.
      more: what may stand there besides.
    """
    for key in keys:
        value = rules.value(key)
        rules.one_of(key, [*NORMS, *more])
        rules.rule(
            not (rules.value('causal') and value == 'gln'),
            key,
            'sees the whole utterance, which no causal model can; cln sees what was before',
        )


class Norm(nn.Module):
    """A layer norm with an affine map per channel; `kind` is a key of `NORMS`."""

    kind: str = 'gln'
    eps: float = 1e-8

    @nn.compact
    def __call__(self, x_BKN: jax.Array, valid_BK: jax.Array | None = None) -> jax.Array:
        channels = x_BKN.shape[-1]
        scale_N = self.param('scale', nn.initializers.ones, (channels,), jnp.float32)
        bias_N = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32)
        if self.kind == 'gln' and takes_moments(self):
            return self._given(x_BKN, {'scale': scale_N, 'bias': bias_N})
        how = dict(eps=self.eps, valid_BK=valid_BK)
        if self.kind == 'cln' and streams(self):
            how['before'] = self._totals(x_BKN)
        return NORMS[self.kind](x_BKN, scale_N, bias_N, **how)

    def _given(self, x_BKN, weights):
        """gLN by the moments [2, batch] in the collection 'moments'; its own, if there are none.

        What moments are made of, each frame's mean and mean square, is left in 'frame_means'
        [2, batch, frames].
        """
        x32_BKN = x_BKN.astype(jnp.float32)
        means_2BK = jnp.stack([x32_BKN.mean(axis=2), jnp.square(x32_BKN).mean(axis=2)])
        self.sow('frame_means', 'gln', means_2BK, lambda _, new: new, tuple)
        moments_2B = self.get_variable('moments', 'gln')
        if moments_2B is None:
            moments_2B = means_2BK.mean(axis=2)
        mean_B, power_B = moments_2B
        inverse_B = jax.lax.rsqrt(jnp.maximum(power_B - mean_B**2, 0) + self.eps)
        gain_BN, offset_BN = affine((mean_B, inverse_B), weights)
        return (x32_BKN * gain_BN[:, None] + offset_BN[:, None]).astype(x_BKN.dtype)

    def _totals(self, x_BKN):
        """Number of frames before these, sums of their values and squares [3, batch]; adds these.

        Of each what rounding takes off is kept beside it, so that hours add up.
        """
        batch, frames = x_BKN.shape[:2]
        totals = self.variable('stream', 'totals', jnp.zeros, (3, 2, batch), jnp.float32)
        before_3B, x32_BKN = totals.value[:, 0], x_BKN.astype(jnp.float32)
        number_B = jnp.full(batch, frames, jnp.float32)
        more_3B = jnp.stack(
            [number_B, x32_BKN.sum(axis=(1, 2)), jnp.square(x32_BKN).sum(axis=(1, 2))]
        )
        more_3B += totals.value[:, 1]
        total_3B = before_3B + more_3B
        totals.value = jnp.stack([total_3B, more_3B - (total_3B - before_3B)], axis=1)
        return before_3B


def frames_that_count(x_BKC, valid_BK):
    """Frames of x [batch, frames, channels] that count, [batch] or a number; at least 1.

    Floats: times the channels, an hour's are more than an int32 holds.
    """
    count_B = x_BKC.shape[1] if valid_BK is None else jnp.maximum(valid_BK.sum(axis=1), 1)
    return jnp.asarray(count_B, jnp.float32)


def sum_over(x_BKH, axes, cpu=True):
    """Sum of x [batch, frames, channels] over several axes, frames among them.

    Elsewhere than on CPU in two steps that the barrier keeps apart: on TPU the first then fuses
    with the product that makes `x_BKH`.
    """
    if cpu:
        return x_BKH.sum(axis=axes)
    rest = tuple(axis - (axis > 1) for axis in axes if axis != 1)
    return jax.lax.optimization_barrier(x_BKH.sum(axis=1)).sum(axis=rest)


def take_moments(y_BKH, count_B, eps, cpu=True):
    """Mean and 1 / sqrt(variance + eps) of each example, float32.

    Args:
      y_BKH: [batch, frames, channels], zero on padding.
      count_B: how many of its values count [batch], or a number.
      eps: of the norm.
      cpu: see `sum_over`.

    Returns:
      ([batch], [batch]).
    """
    y_BKH = y_BKH.astype(jnp.float32)
    # E[y^2] - m^2 takes both in one pass: memory traffic is what a norm costs.
    mean_B = sum_over(y_BKH, (1, 2), cpu) / count_B
    power_B = sum_over(jnp.square(y_BKH), (1, 2), cpu) / count_B
    return mean_B, jax.lax.rsqrt(jnp.maximum(power_B - mean_B**2, 0) + eps)


def affine(moments_B, norm):
    """gLN as a gain and an offset, each [batch, channels].

    Args:
      moments_B: as `take_moments` returns them.
      norm: {'scale', 'bias'} [channels].
    """
    mean_B, inverse_B = moments_B
    gain_BH = inverse_B[:, None] * norm['scale'][None]
    return gain_BH, norm['bias'][None] - mean_B[:, None] * gain_BH
