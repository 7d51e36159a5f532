"""Encoder/decoder pairs: waveform -> frames of a learned basis -> waveform.

Linear pair: Luo and Mesgarani, "Conv-TasNet", 2019. Deep pairs: Kadioglu et al., "An Empirical
Study of Conv-TasNet", 2020, section 3. W is the window in samples. Encoders map
`mixture_BT -> encoded_BKN`, decoders `coded_BKN -> estimate_BT`; a new pair needs these calls,
the fields `window` and `stride`, and a name in `conv_tasnet.conv_tasnet`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax.dsp import frames as frames_lib
from fgsep_jax.models.layers import (
    Conv,
    PReLU,
    after_the_past,
    conv,
    sigmoid,
    streams,
    torch_uniform,
    zero_padding,
)
from fgsep_jax.models.norms import Norm, check_causal


def check_framing(*, window: int, stride: int) -> None:
    """Raises ValueError unless the window is a whole number of strides."""
    if stride < 1 or window < stride or window % stride:
        raise ValueError(
            f'window={window} is not a multiple of stride={stride}: frames would not cover every '
            f'sample equally; use window={max(1, window // max(stride, 1)) * max(stride, 1)}'
        )


# Where frames lie: 'padded' as in the authors' code, zeros appended up to one stride less than a
# multiple of the window (at least one of them), then one stride of zeros at either end; 'aligned'
# with zeros up to a multiple of the stride only, then the same; 'plain' without any: what fills no
# frame at the end is heard by none, and zero in the estimates.
FRAMINGS = ('padded', 'aligned', 'plain')


def frame_count(samples, *, window: int, stride: int, framing: str = 'padded'):
    """Number of frames for a number of samples (an int, or an int array for many at once)."""
    check_framing(window=window, stride=stride)
    if framing == 'padded':
        rest = window - (stride + samples % window) % window
        return (samples + rest + 2 * stride - window) // stride + 1
    rest = 2 * stride + -samples % stride if framing == 'aligned' else 0
    frames = (samples + rest - window) // stride + 1
    return jnp.maximum(frames, 1) if isinstance(frames, jax.Array) else max(frames, 1)


def frame(signal_BT: jax.Array, *, window: int, stride: int, framing: str = 'padded') -> jax.Array:
    """Cuts a signal into overlapping frames [B, K, W] that lie as `FRAMINGS` says."""
    samples = signal_BT.shape[1]
    frames = frame_count(samples, window=window, stride=stride, framing=framing)
    total, left = (frames - 1) * stride + window, 0 if framing == 'plain' else stride
    padded_BT = jnp.pad(
        signal_BT[:, : total - left], ((0, 0), (left, max(total - left - samples, 0)))
    )
    return frames_lib.cut(padded_BT, window=window, hop=stride)


def overlap_add(
    frame_BKW: jax.Array, *, stride: int, samples: int, framing: str = 'padded'
) -> jax.Array:
    """Adds overlapping frames and cuts the padding of `frame` away: [B, T], zero where none is."""
    left = 0 if framing == 'plain' else stride
    signal_BT = frames_lib.overlap_add(frame_BKW, hop=stride)[:, left : left + samples]
    return jnp.pad(signal_BT, ((0, 0), (0, samples - signal_BT.shape[1])))


class DeepLayer(nn.Module):
    """One deep layer: PReLU(conv(x)), or the gated linear unit of section 3.2, fig. 3:

        conv(x) * sigmoid(gLN(gate_conv(x)))

    The gate [B, K, N] is sown into the collection 'intermediates' under 'gate'.
    """

    activation: str
    dilation: int = 1
    transpose: bool = False
    causal: bool = False
    norm: str = 'gln'
    bias: bool = True
    eps: float = 1e-8
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BKN: jax.Array, valid_BK: jax.Array | None = None) -> jax.Array:
        x_BKN = zero_padding(x_BKN, valid_BK)
        options = dict(
            dilation=self.dilation,
            causal=self.causal,
            transpose=self.transpose,
            dtype=self.dtype,
        )
        if self.activation == 'prelu':
            return PReLU(name='prelu')(Conv(**options, bias=self.bias, name='conv')(x_BKN))
        if self.activation != 'glu':
            raise ValueError(f"activation={self.activation!r}: must be 'prelu' or 'glu'")
        check_causal(norm=self.norm, causal=self.causal)
        if self.is_initializing():
            for name in ('conv', 'gate_conv'):
                Conv(**options, bias=self.bias, name=name)(x_BKN)
        # Both convolutions as one of twice as many channels: it reads its input once.
        params = self.variables['params']
        both = jax.tree.map(
            lambda *pair: jnp.concatenate(pair, axis=-1), params['conv'], params['gate_conv']
        )
        past = 2 * self.dilation if streams(self) else 0
        x_BKN = after_the_past(self, x_BKN, past) if past else x_BKN
        both_BKD = conv(both, x_BKN, **options)[:, past:]
        linear_BKN, gate_BKN = jnp.split(both_BKD, 2, axis=-1)
        gate_BKN = sigmoid(Norm(self.norm, self.eps, name='gate_norm')(gate_BKN, valid_BK))
        self.sow('intermediates', 'gate', gate_BKN)
        return linear_BKN * gate_BKN


class Coder(nn.Module):
    """What an encoder and its decoder share: frames, and `DeepLayer`s at them (none: linear).

    Attributes:
      window: length of the filters in samples (L in the paper).
      stride: samples from one frame to the next (S).
      framing: where frames lie, see `FRAMINGS`.
      dilations: of the I-1 deep layers of the encoder, first to last; the decoder runs backwards.
      activation: of the deep layers, 'prelu' or 'glu'.
      causal, norm, bias, eps, dtype: of the deep layers.
    """

    window: int = 16
    stride: int = 8
    framing: str = 'padded'
    dilations: tuple[int, ...] = ()
    activation: str = 'prelu'
    causal: bool = False
    norm: str = 'gln'
    bias: bool = True
    eps: float = 1e-8
    dtype: str = 'float32'

    def deep_layers(self, x_BKN, valid_BK, *, transpose):
        """Runs the deep layers, those of a decoder transposed and backwards."""
        dilations = self.dilations[::-1] if transpose else self.dilations
        for index, dilation in enumerate(dilations, start=1):
            x_BKN = DeepLayer(
                activation=self.activation,
                dilation=dilation,
                transpose=transpose,
                causal=self.causal,
                norm=self.norm,
                bias=self.bias,
                eps=self.eps,
                dtype=self.dtype,
                name=f'layer_{index}',
            )(x_BKN, valid_BK)
        return x_BKN


class Encoder(Coder):
    """Linear basis over frames, then the deep layers.

    The basis has no bias. At any dtype it is multiplied in float32, for the mixture's soft parts
    stand in its last bits; what passes on is `dtype`.

    Attributes:
      basis: filters (N in the paper).
      rectify: whether a ReLU follows the basis.
    """

    basis: int = 512
    rectify: bool = False

    @nn.compact
    def __call__(self, mixture_BT: jax.Array, valid_BK: jax.Array | None = None) -> jax.Array:
        """Returns the encoded mixture [batch, frames, basis]; `valid_BK` is False on padding.

        `mixture_BT` may be frames already, [batch, frames, window], of a signal that comes in
        blocks.
        """
        kernel_WN = self.param('kernel', torch_uniform(self.window), (self.window, self.basis))
        if mixture_BT.ndim == 2:
            how = dict(window=self.window, stride=self.stride, framing=self.framing)
            mixture_BT = frame(mixture_BT, **how)
        x_BKN = mixture_BT @ kernel_WN
        x_BKN = (nn.relu(x_BKN) if self.rectify else x_BKN).astype(self.dtype)
        return self.deep_layers(x_BKN, valid_BK, transpose=False)


class Decoder(Coder):
    """Mirror of `Encoder`: transposed deep layers, then frames of the basis, overlap-added.

    Attributes:
      offset: whether a learned number is added to the waveform, wherever a frame lies.
    """

    offset: bool = False

    @nn.compact
    def __call__(
        self, coded_BKN: jax.Array, samples: int | None, valid_BK: jax.Array | None = None
    ) -> jax.Array:
        """Returns the waveform [batch, samples]; `valid_BK` is False on padding.

        With None for `samples`, the frames before they are added up [batch, frames, window].
        """
        x_BKN = self.deep_layers(coded_BKN, valid_BK, transpose=True)
        x_BKN = zero_padding(x_BKN, valid_BK).astype(self.dtype)
        basis = x_BKN.shape[-1]
        kernel_NW = self.param('kernel', torch_uniform(self.window), (basis, self.window))
        frame_BKW = jnp.matmul(
            x_BKN, kernel_NW.astype(self.dtype), preferred_element_type=jnp.float32
        )
        if samples is None:
            return frame_BKW
        how = dict(stride=self.stride, samples=samples, framing=self.framing)
        estimate_BT = overlap_add(frame_BKW, **how)
        if not self.offset:
            return estimate_BT
        offset = self.param('bias', nn.initializers.zeros, ())
        some_BKW = zero_padding(jnp.ones_like(frame_BKW), valid_BK)
        return jnp.where(overlap_add(some_BKW, **how) > 0, estimate_BT + offset, estimate_BT)
