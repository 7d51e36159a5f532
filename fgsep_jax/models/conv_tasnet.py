"""Conv-TasNet: encoder, mask separator, decoder.

Luo and Mesgarani, "Conv-TasNet", 2019; deep and gated encoders after Kadioglu et al., "An
Empirical Study of Conv-TasNet", 2020.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax.models.encoders import FRAMINGS, Decoder, Encoder, check_framing, frame_count
from fgsep_jax.models.layers import same_padding
from fgsep_jax.models.norms import NORMS, check_causal
from fgsep_jax.models.tcn import MASKS, TCN


class ConvTasNet(nn.Module):
    """Separates a mixture by masks over a learned code.

    Attributes:
      encoder: `mixture_BT, valid_BK -> encoded_BKN`, with fields `window` and `stride`.
      separator: `encoded_BKN, valid_BK -> mask_BSKN`.
      decoder: `coded_BKN, samples, valid_BK -> estimate_BT`.
      sources: S, waveforms to estimate.
    """

    encoder: nn.Module
    separator: nn.Module
    decoder: nn.Module
    sources: int = 2

    def __call__(self, mixture_BT: jax.Array, length_B: jax.Array | None = None) -> jax.Array:
        """Separates mixtures.

        Args:
          mixture_BT: mixtures [batch, samples].
          length_B: true lengths in samples, at least 1 [batch]; what stands after them is padding
            and changes nothing: each estimate is what its mixture alone, unpadded, would give,
            and zero on the padding. None when all samples count.

        Returns:
          Estimates [batch, sources, samples], as long as the mixtures.

        Raises:
          ValueError: the mixture is not [batch, samples] with at least one sample.
        """
        if mixture_BT.ndim != 2 or not mixture_BT.shape[1]:
            raise ValueError(
                f'mixture has shape {mixture_BT.shape}: must be [batch, samples], samples >= 1'
            )
        batch, samples = mixture_BT.shape
        valid_BK = valid_QK = None
        if length_B is not None:
            framing = {key: getattr(self.encoder, key) for key in ('window', 'stride', 'framing')}
            count_B = frame_count(length_B, **framing)
            valid_BK = jnp.arange(frame_count(samples, **framing))[None] < count_B[:, None]
            valid_QK = jnp.repeat(valid_BK, self.sources, axis=0)
            valid_BT = jnp.arange(samples)[None] < length_B[:, None]
            mixture_BT = jnp.where(valid_BT, mixture_BT, 0)
        encoded_BKN = self.encoder(mixture_BT, valid_BK)
        mask_BSKN = self.separator(encoded_BKN, valid_BK)
        coded_BSKN = mask_BSKN * encoded_BKN[:, None]
        # The decoder takes every source of every example as an example (Q = B * S).
        coded_QKN = coded_BSKN.reshape(-1, *coded_BSKN.shape[2:])
        estimate_BST = self.decoder(coded_QKN, samples, valid_QK).reshape(batch, -1, samples)
        return estimate_BST if length_B is None else jnp.where(valid_BT[:, None], estimate_BST, 0)

    def separate_frames(self, frame_BKW: jax.Array) -> jax.Array:
        """Separates the next frames of signals that come in blocks.

        To be applied with the collection 'stream' mutable, which remembers what the frames before
        leave to a causal model; the decoder's offset, if there is one, is not in it.

        Args:
          frame_BKW: as `encoders.frame` cuts them [batch, frames, window].

        Returns:
          Frames of the estimates, to be overlapped and added [batch, sources, frames, window].
        """
        encoded_BKN = self.encoder(frame_BKW)
        return self._decode_frames(encoded_BKN, self.separator(encoded_BKN))

    def enter(self, frame_BKW: jax.Array) -> jax.Array:
        """The input of the first block [batch, frames, bottleneck]; see `separate_frames`."""
        return self.separator(self.encoder(frame_BKW), part='enter')

    def block(self, x_BKC: jax.Array, index: int) -> tuple[jax.Array, jax.Array]:
        """One block by itself: its residual and its skip output; see `tcn.Block`."""
        return self.separator(None, part=index, x_BKC=x_BKC)

    def leave(self, frame_BKW: jax.Array, x_BKC: jax.Array) -> jax.Array:
        """What follows the last block; its input is as in `tcn.TCN`, see `separate_frames`."""
        encoded_BKN = self.encoder(frame_BKW)
        mask_BSKN = self.separator(encoded_BKN, part='leave', x_BKC=x_BKC)
        return self._decode_frames(encoded_BKN, mask_BSKN)

    def _decode_frames(self, encoded_BKN, mask_BSKN):
        coded_BSKN = mask_BSKN * encoded_BKN[:, None]
        estimate_QKW = self.decoder(coded_BSKN.reshape(-1, *coded_BSKN.shape[2:]), None)
        return estimate_QKW.reshape(*coded_BSKN.shape[:3], -1)


def _require(key: str, value, rule: bool, must: str) -> None:
    if not rule:
        raise ValueError(f'{key}={value!r}: must be {must}')


def _one_of(**choices) -> None:
    for key, (value, known) in choices.items():
        _require(key, value, value in known, 'one of ' + ', '.join(map(repr, known)))


def conv_tasnet(
    *,
    sources: int = 2,
    encoder: str = 'linear',
    dilations: tuple[int, ...] = (),
    layers: int = 1,
    basis: int = 512,
    window: int = 16,
    stride: int = 8,
    framing: str = 'padded',
    encoder_activation: str = 'none',
    decoder_bias: bool = False,
    bottleneck: int = 128,
    hidden: int = 512,
    skip: int = 128,
    kernel: int = 3,
    blocks: int = 8,
    repeats: int = 3,
    norm: str = 'gln',
    input_norm: str = 'same',
    prelu: str = 'shared',
    padding: str = 'zeros',
    causal: bool = False,
    mask: str = 'sigmoid',
    bias: bool = True,
    eps: float = 1e-8,
    depthwise: str = 'auto',
    unused_residual: bool = False,
    remat: bool = False,
    dtype: str = 'float32',
) -> ConvTasNet:
    """Builds a Conv-TasNet; the defaults are the paper's best model.

    Args:
      sources: C, waveforms to estimate.
      encoder: 'linear', or deep with 'prelu' or 'glu' (the decoder mirrors it).
      dilations: of the I-1 deep layers; empty means 1 for all.
      layers: I, layers of the encoder, the strided one included.
      basis: N, filters of the encoder.
      window: L, their length in samples.
      stride: S, samples between frames; divides the window.
      framing: where frames lie, see `encoders.FRAMINGS`.
      encoder_activation: of the strided layer, 'none' or 'relu'.
      decoder_bias: a learned number is added to the estimates.
      bottleneck: B, channels between the blocks of the separator.
      hidden: H, channels inside them.
      skip: Sc, channels of the skip connections; 0 for none.
      kernel: P, taps of the depthwise convolutions.
      blocks: X, blocks in a repeat.
      repeats: R, repeats.
      norm: 'gln', 'cln' or 'frame'.
      input_norm: of the code that the separator reads: one of these, 'none', or 'same'.
      prelu: slopes of the separator, 'shared' by a layer's channels or one a 'channel'.
      padding: what the separator's convolutions see at the ends: 'zeros', or 'reflect', the frames
        mirrored, which no causal model does.
      causal: no convolution looks ahead; needs norms that do not, 'cln' or 'frame'.
      mask: 'sigmoid', 'relu' or 'softmax'.
      bias: of the convolutions in the deep layers.
      eps: of the norms.
      depthwise: 'conv' or 'shift', see `layers.depthwise_conv`; 'auto': the folded block under gLN
        with shared slopes and zeros at the ends, else 'shift'.
      unused_residual: keep the last block's residual convolution, which nothing reads.
      remat: trade time for memory in training, see `tcn.TCN`.
      dtype: 'float32' or 'bfloat16', of the convolutions.

    Raises:
      ValueError: names the key, its value and the rule.
    """
    _one_of(
        encoder=(encoder, ('linear', 'prelu', 'glu')),
        framing=(framing, FRAMINGS),
        encoder_activation=(encoder_activation, ('none', 'relu')),
        norm=(norm, tuple(NORMS)),
        input_norm=(input_norm, ('same', *NORMS, 'none')),
        prelu=(prelu, ('shared', 'channel')),
        padding=(padding, ('zeros',) if causal else ('zeros', 'reflect')),
        mask=(mask, tuple(MASKS)),
        depthwise=(depthwise, ('auto', 'conv', 'shift')),
        dtype=(dtype, ('float32', 'bfloat16')),
    )
    sizes = dict(
        sources=sources, basis=basis, bottleneck=bottleneck, hidden=hidden, kernel=kernel,
        blocks=blocks, repeats=repeats,
    )  # fmt: skip
    for key, value in sizes.items():
        _require(key, value, value >= 1, 'at least 1')
    _require('skip', skip, skip >= 0, 'at least 0 (0: no skip connections)')
    check_framing(window=window, stride=stride)
    same_padding(kernel=kernel, dilation=1, causal=causal)
    if encoder == 'linear':
        _require('layers', layers, layers == 1, "1 with encoder='linear'; deep: 'prelu' or 'glu'")
    else:
        _require('layers', layers, layers >= 2, f'at least 2 with encoder={encoder!r}')
    dilations = tuple(dilations) or (1,) * (layers - 1)
    _require('dilations', dilations, len(dilations) == layers - 1, f'{layers - 1} (layers - 1)')
    check_causal(norm=norm, causal=causal)
    check_causal(norm=input_norm, causal=causal)
    deep = dict(
        window=window, stride=stride, framing=framing, dilations=dilations, activation=encoder,
        causal=causal, norm=norm, bias=bias, eps=eps, dtype=dtype,
    )  # fmt: skip
    return ConvTasNet(
        encoder=Encoder(basis=basis, rectify=encoder_activation == 'relu', **deep),
        separator=TCN(
            sources=sources, bottleneck=bottleneck, hidden=hidden, skip=skip, kernel=kernel,
            blocks=blocks, repeats=repeats, norm=norm, input_norm=input_norm, prelu=prelu,
            padding=padding, causal=causal, mask=mask, eps=eps, depthwise=depthwise,
            unused_residual=unused_residual, remat=remat, dtype=dtype,
        ),
        decoder=Decoder(offset=decoder_bias, **deep),
        sources=sources,
    )  # fmt: skip


def receptive_field(model: ConvTasNet) -> int:
    """Input samples that one output sample sees through the convolutions of a `conv_tasnet`.

    The norms' statistics see more: all samples (gLN) or all before (cLN).
    """
    encoder, tcn = model.encoder, model.separator
    deep = 2 * 2 * sum(encoder.dilations)  # three taps each, in the encoder and in the decoder
    frames = 1 + deep + tcn.repeats * (tcn.kernel - 1) * (2**tcn.blocks - 1)
    covering = encoder.window // encoder.stride
    return (frames + covering - 2) * encoder.stride + encoder.window


def multiply_accumulates(model: ConvTasNet, *, sample_rate: int) -> int:
    """Multiply-accumulate operations that a `conv_tasnet` needs for one second of audio.

    Convolutions only, at `sample_rate` in Hz; norms and activations are a few per cent more.
    """
    encoder, tcn = model.encoder, model.separator
    branches = 2 if encoder.activation == 'glu' else 1
    deep = len(encoder.dilations) * branches * 3 * encoder.basis**2
    coding = (1 + model.sources) * (encoder.window * encoder.basis + deep)
    outputs = tcn.bottleneck + tcn.skip
    block = tcn.hidden * (tcn.bottleneck + tcn.kernel + outputs)
    total = tcn.blocks * tcn.repeats * block
    if tcn.skip and not tcn.unused_residual:
        total -= tcn.hidden * tcn.bottleneck
    masks = encoder.basis * (tcn.bottleneck + model.sources * (tcn.skip or tcn.bottleneck))
    return round((coding + total + masks) * sample_rate / encoder.stride)
