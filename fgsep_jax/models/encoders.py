"""Encoder/decoder pairs: waveform -> frames of a learned basis -> waveform.

Linear pair: Luo and Mesgarani, "Conv-TasNet", 2019. Deep pairs: Kadioglu et al., "An Empirical
Study of Conv-TasNet", 2020, section 3. W is the window in samples. Encoders map
`mixture_BT -> encoded_BKN`, decoders `coded_BKN -> estimate_BT`; `ENCODERS`, at the end, says what
a new pair needs.
"""

from collections.abc import Callable
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

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
from fgsep_jax.models.norms import Norm, check_norms
from fgsep_jax.registry import Registry
from fgsep_jax.rules import Rules

# Where frames lie: 'padded' as in the authors' code, zeros appended up to one stride less than a
# multiple of the window (at least one of them), then one stride of zeros at either end; 'aligned'
# with zeros up to a multiple of the stride only, then the same; 'plain' without any: what fills no
# frame at the end is heard by none, and zero in the estimates.
FRAMINGS = ('padded', 'aligned', 'plain')
DTYPES = ('float32', 'bfloat16')


def frame_count(samples, *, window: int, stride: int, framing: str = 'padded'):
    """Number of frames for a number of samples (an int, or an int array for many at once)."""
    if framing == 'padded':
        rest = window - (stride + samples % window) % window
        return (samples + rest + 2 * stride - window) // stride + 1
    rest = 2 * stride + -samples % stride if framing == 'aligned' else 0
    frames = (samples + rest - window) // stride + 1
    if isinstance(frames, (jax.Array, np.ndarray)):
        return frames.clip(1)
    return max(frames, 1)


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
      strided_bias: of the strided layer: one number a filter in the encoder, one a sample of the
        frame in the decoder.
      dilations: of the I-1 deep layers of the encoder, first to last; the decoder runs backwards.
      activation: of the deep layers, 'prelu' or 'glu'.
      causal, norm, bias, eps, dtype: of the deep layers.
    """

    window: int = 16
    stride: int = 8
    framing: str = 'padded'
    strided_bias: bool = False
    dilations: tuple[int, ...] = ()
    activation: str = 'prelu'
    causal: bool = False
    norm: str = 'gln'
    bias: bool = True
    eps: float = 1e-8
    dtype: str = 'float32'

    def __post_init__(self):
        rules = Rules(self)
        self._keep(rules)
        rules.check()
        super().__post_init__()

    def _keep(self, rules):
        rules.at_least_one('window stride')
        rules.one_of('framing', FRAMINGS)
        rules.one_of('dtype', DTYPES)
        rules.rule(
            self.stride < 1 or self.window % self.stride == 0,
            'window',
            f'must be a multiple of stride = {self.stride}',
        )
        if self.dilations:
            rules.one_of('activation', ('prelu', 'glu'))
            rules.positive('eps')
            if self.activation == 'glu':
                check_norms(rules, 'norm')

    @property
    def reach(self) -> int:
        """Frames to either side that the deep layers see (before, if causal: twice as many)."""
        return sum(self.dilations)

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

    The basis has a bias only with `strided_bias`. At any dtype it is multiplied as float32, for the
    mixture's soft parts stand in its last bits (in as many of them as the device's own precision of
    such products keeps); what passes on is `dtype`.

    Attributes:
      basis: filters (N in the paper).
      rectify: whether a ReLU follows the basis.
      spectrum: whether the separator reads log(1 + |STFT|) of the same frames beside the code.
    """

    basis: int = 512
    rectify: bool = False
    spectrum: bool = False

    def _keep(self, rules):
        super()._keep(rules)
        rules.at_least_one('basis')

    def multiply_accumulates(self) -> int:
        """Returns how many a frame takes, in the encoder and for each source in the decoder."""
        branches = 2 if self.activation == 'glu' else 1
        return self.window * self.basis + len(self.dilations) * branches * 3 * self.basis**2

    @nn.compact
    def __call__(
        self, mixture_BT: jax.Array, valid_BK: jax.Array | None = None
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Encodes mixtures.

        Args:
          mixture_BT: mixtures [batch, samples]; or frames already, [batch, frames, window], of a
            signal that comes in blocks.
          valid_BK: False for frames of padding.

        Returns:
          The code [batch, frames, basis]; with `spectrum` a pair of it and of what the separator
          reads, [batch, frames, basis + window / 2 + 1].
        """
        kernel_WN = self.param('kernel', torch_uniform(self.window), (self.window, self.basis))
        if mixture_BT.ndim == 2:
            how = dict(window=self.window, stride=self.stride, framing=self.framing)
            mixture_BT = frame(mixture_BT, **how)
        x_BKN = mixture_BT @ kernel_WN
        if self.strided_bias:
            x_BKN += self.param('bias', torch_uniform(self.window), (self.basis,))[None, None]
        x_BKN = (nn.relu(x_BKN) if self.rectify else x_BKN).astype(self.dtype)
        code_BKN = self.deep_layers(x_BKN, valid_BK, transpose=False)
        if not self.spectrum:
            return code_BKN
        feature_BKF = log_spectrum(mixture_BT).astype(self.dtype)
        return code_BKN, jnp.concatenate([code_BKN, feature_BKF], axis=-1)


def log_spectrum(frame_BKW: jax.Array) -> jax.Array:
    """log(1 + |X|) of frames under the root of a periodic Hann window [batch, frames, bins]."""
    window = frame_BKW.shape[-1]
    root_W = np.sin(np.pi / window * np.arange(window)).astype(np.float32)
    spectrum_BKF = jnp.fft.rfft(frame_BKW.astype(jnp.float32) * root_W[None, None])
    # |X| has no gradient at 0, where padding is.
    return jnp.log1p(jnp.sqrt(spectrum_BKF.real**2 + spectrum_BKF.imag**2 + 1e-12))


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
        if self.strided_bias:
            bias_W = self.param('bias_W', torch_uniform(basis), (self.window,))
            frame_BKW = zero_padding(frame_BKW + bias_W[None, None], valid_BK)
        if samples is None:
            return frame_BKW
        how = dict(stride=self.stride, samples=samples, framing=self.framing)
        estimate_BT = overlap_add(frame_BKW, **how)
        if not self.offset:
            return estimate_BT
        offset = self.param('bias', nn.initializers.zeros, (), jnp.float32)
        some_BKW = zero_padding(jnp.ones_like(frame_BKW), valid_BK)
        return jnp.where(overlap_add(some_BKW, **how) > 0, estimate_BT + offset, estimate_BT)


def deep(
    activation: str,
    *,
    basis: int = 512,
    window: int = 16,
    stride: int = 8,
    framing: str = 'padded',
    rectify: bool = False,
    strided_bias: bool = False,
    spectrum: bool = False,
    decoder_bias: bool = False,
    layers: int = 4,
    dilated: bool = False,
    bias: bool = True,
    norm: str = 'gln',
    causal: bool = False,
    eps: float = 1e-8,
    dtype: str = 'float32',
) -> tuple[Encoder, Decoder]:
    """A deep encoder and the decoder that mirrors it, section 3.2 of Kadioglu et al.

    Args:
      activation: of the deep layers, 'prelu' or 'glu'.
      basis: N, filters.
      window: L, their length in samples.
      stride: S, samples between frames; divides the window.
      framing: where frames lie, see `FRAMINGS`.
      rectify: a ReLU follows the strided layer.
      strided_bias: of the strided layers, see `Coder`.
      spectrum: the separator reads the frames' magnitudes beside the code, see `Encoder`.
      decoder_bias: a learned number is added to the estimates.
      layers: I, the strided one included.
      dilated: the deep layers' dilations are 1, 2, 4, ..., else 1; the decoder's backwards.
      bias: of the deep layers' convolutions.
      norm: of the gates, see `norms.NORMS`.
      causal: no layer looks ahead.
      eps: of the norms.
      dtype: 'float32' or 'bfloat16', of what passes on.

    Raises:
      ValueError: values that cannot work.
    """
    rules = Rules(dict(layers=layers))
    rules.rule(layers >= 2, 'layers', 'a deep encoder has at least 2, the strided one counted')
    rules.at_most(layers=1000)
    rules.check()
    both = dict(
        window=window, stride=stride, framing=framing, strided_bias=strided_bias,
        activation=activation, causal=causal,
        dilations=tuple(2**i if dilated else 1 for i in range(layers - 1)), norm=norm, bias=bias,
        eps=eps, dtype=dtype,
    )  # fmt: skip
    encoder = Encoder(basis=basis, rectify=rectify, spectrum=spectrum, **both)
    return encoder, Decoder(offset=decoder_bias, **both)


def linear(
    *,
    basis: int = 512,
    window: int = 16,
    stride: int = 8,
    framing: str = 'padded',
    rectify: bool = False,
    strided_bias: bool = False,
    spectrum: bool = False,
    decoder_bias: bool = False,
    causal: bool = False,
    dtype: str = 'float32',
) -> tuple[Encoder, Decoder]:
    """The linear pair of Luo and Mesgarani: one strided layer; arguments as of `deep`."""
    both = dict(
        window=window, stride=stride, framing=framing, strided_bias=strided_bias, causal=causal,
        dtype=dtype,
    )  # fmt: skip
    encoder = Encoder(basis=basis, rectify=rectify, spectrum=spectrum, **both)
    return encoder, Decoder(offset=decoder_bias, **both)


# {name: function of keyword arguments alone, each with a default -> (encoder, decoder)}. A pair
# needs the calls of `Encoder` and `Decoder` and the encoder's fields `window` and `stride`; its
# keywords are the keys of `model.encoder` in a configuration, but what stands in `model` itself.
# An encoder may return a pair of the code and of what the separator is to read instead of it.
# With `multiply_accumulates` and `reach`, as above, its cost and its receptive field are told.
ENCODERS: Registry[str, Callable[..., tuple[nn.Module, nn.Module]]] = Registry(
    linear=linear, prelu=functools.partial(deep, 'prelu'), glu=functools.partial(deep, 'glu')
)
