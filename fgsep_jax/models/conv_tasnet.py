"""Conv-TasNet: encoder, mask separator, decoder.

Luo and Mesgarani, "Conv-TasNet", 2019; deep and gated encoders after Kadioglu et al., "An
Empirical Study of Conv-TasNet", 2020.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax import registry
from fgsep_jax.models.encoders import ENCODERS, frame_count
from fgsep_jax.models.separators import SEPARATORS
from fgsep_jax.rules import RuleError, Rules, section


class ConvTasNet(nn.Module):
    """Separates a mixture by masks over a learned code.

    Attributes:
      encoder: `mixture_BT, valid_BK -> code_BKN`, or a pair of it and of `feature_BKF`, which the
        separator reads instead; with fields `window` and `stride`.
      separator: `feature_BKF, valid_BK -> mask_BSKN`, with `basis`, N, where F is another.
      decoder: `coded_BKN, samples, valid_BK -> estimate_BT`; without samples it leaves the frames
        as they are before they are overlapped and added.
      sources: S, waveforms to estimate.
    """

    encoder: nn.Module
    separator: nn.Module
    decoder: nn.Module
    sources: int = 2

    @property
    def framing(self) -> dict:
        """Where frames lie: keywords of `encoders.frame` and `frame_count`."""
        return dict(
            window=self.encoder.window,
            stride=self.encoder.stride,
            framing=getattr(self.encoder, 'framing', 'padded'),
        )

    def valid_frames(self, length_B: jax.Array, samples: int) -> jax.Array:
        """Which frames of mixtures of so many samples are not padding alone [batch, frames]."""
        count_B = frame_count(length_B, **self.framing)
        return jnp.arange(frame_count(samples, **self.framing))[None] < count_B[:, None]

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
            valid_BK = self.valid_frames(length_B, samples)
            valid_QK = jnp.repeat(valid_BK, self.sources, axis=0)
            valid_BT = jnp.arange(samples)[None] < length_B[:, None]
            mixture_BT = jnp.where(valid_BT, mixture_BT, 0)
        code_BKN, feature_BKF, more = self._encode(mixture_BT, valid_BK)
        mask_BSKN = self.separator(feature_BKF, valid_BK, **more)
        coded_BSKN = mask_BSKN * code_BKN[:, None]
        # The decoder takes every source of every example as an example (Q = B * S).
        coded_QKN = coded_BSKN.reshape(-1, *coded_BSKN.shape[2:])
        estimate_QT = self.decoder(coded_QKN, samples, valid_QK)
        if estimate_QT.shape != (batch * mask_BSKN.shape[1], samples):
            raise ValueError(
                f'the decoder gave {estimate_QT.shape} of {coded_QKN.shape[0]} codes for'
                f' {samples} samples: must be [batch, samples]'
            )
        estimate_BST = estimate_QT.reshape(batch, -1, samples)
        return estimate_BST if length_B is None else jnp.where(valid_BT[:, None], estimate_BST, 0)

    def _encode(self, mixture_BT, valid_BK=None):
        """The code, what the separator reads, and the code's width where that is another."""
        encoded = self.encoder(mixture_BT, valid_BK)
        if not isinstance(encoded, tuple):
            return encoded, encoded, {}
        return *encoded, {'basis': encoded[0].shape[-1]}

    def separate_frames(self, frame_BKW: jax.Array) -> jax.Array:
        """Separates the next frames of signals that come in blocks.

        To be applied with the collection 'stream' mutable, which remembers what the frames before
        leave to a causal model; the decoder's offset, if there is one, is not in it.

        Args:
          frame_BKW: as `encoders.frame` cuts them [batch, frames, window].

        Returns:
          Frames of the estimates, to be overlapped and added [batch, sources, frames, window].
        """
        code_BKN, feature_BKF, more = self._encode(frame_BKW)
        return self._decode_frames(code_BKN, self.separator(feature_BKF, **more))

    def enter(self, frame_BKW: jax.Array) -> jax.Array:
        """The input of the first block [batch, frames, bottleneck]; see `separate_frames`."""
        return self.separator(self._encode(frame_BKW)[1], part='enter')

    def block(self, x_BKC: jax.Array, index: int) -> tuple[jax.Array, jax.Array]:
        """One block by itself: its residual and its skip output; see `tcn.Block`."""
        return self.separator(None, part=index, x_BKC=x_BKC)

    def leave(self, frame_BKW: jax.Array, x_BKC: jax.Array) -> jax.Array:
        """What follows the last block; its input is as in `tcn.TCN`, see `separate_frames`."""
        code_BKN, feature_BKF, more = self._encode(frame_BKW)
        mask_BSKN = self.separator(feature_BKF, part='leave', x_BKC=x_BKC, **more)
        return self._decode_frames(code_BKN, mask_BSKN)

    def _decode_frames(self, encoded_BKN, mask_BSKN):
        coded_BSKN = mask_BSKN * encoded_BKN[:, None]
        estimate_QKW = self.decoder(coded_BSKN.reshape(-1, *coded_BSKN.shape[2:]), None)
        return estimate_QKW.reshape(*coded_BSKN.shape[:3], -1)


def conv_tasnet(
    *,
    sources: int = 2,
    encoder: dict | None = None,
    separator: dict | None = None,
    norm: str = 'gln',
    causal: bool = False,
    eps: float = 1e-8,
    dtype: str = 'float32',
) -> ConvTasNet:
    """Builds a Conv-TasNet; by default the paper's plain one.

    Args:
      sources: C, waveforms to estimate.
      encoder: `name`, of `encoders.ENCODERS`, and keywords of that.
      separator: `name`, of `separators.SEPARATORS`, and keywords of that.
      norm, causal, eps, dtype: of both, as far as they have such a keyword; see `tcn.TCN`.

    Raises:
      RuleError: values that cannot work, those of an encoder as `encoder.KEY`.
    """
    both = dict(norm=norm, causal=causal, eps=eps, dtype=dtype)
    encoder, separator = {'name': 'linear', **(encoder or {})}, {'name': 'tcn', **(separator or {})}
    problems: list[tuple[str, str]] = []
    rules = Rules(dict(sources=sources))
    rules.at_least_one('sources')
    problems += rules.problems
    pair = built = None
    with section('encoder.', problems):
        pair = registry.make(ENCODERS, encoder, both)
    with section('separator.', problems):
        built = registry.make(SEPARATORS, {**separator, 'sources': sources}, both)
    if pair is not None:
        with section('', problems):
            _check_pair(pair)
    if pair is not None and built is not None:
        takes = {*registry.keywords(SEPARATORS[separator['name']])}
        if 'norm' in registry.keywords(ENCODERS[encoder['name']]):  # an encoder's gates
            takes.add('norm')
        for key, usual in (('norm', 'gln'), ('causal', False)):
            if both[key] != usual and key not in takes:
                text = f' = {both[key]!r}: the separator {separator["name"]} knows no such thing'
                problems.append((key, text))
    if problems:  # of what is in neither section, but of both, once
        at = {f'{part}.{key}': key for part in ('encoder', 'separator') for key in both}
        raise RuleError(dict.fromkeys((at.get(key, key), text) for key, text in problems))
    return ConvTasNet(encoder=pair[0], separator=built, decoder=pair[1], sources=sources)


def _check_pair(pair):
    """Raises RuleError unless an encoder's function gives a pair with the fields of `Encoder`."""
    is_pair = isinstance(pair, tuple) and len(pair) == 2
    if not is_pair or not all(isinstance(part, nn.Module) for part in pair):
        raise RuleError([('encoder', ': its function must give a pair of modules')])
    missing = [name for name in ('window', 'stride') if not hasattr(pair[0], name)]
    if missing:
        raise RuleError([('encoder', f': {type(pair[0]).__name__} needs a field {missing[0]}')])


def receptive_field(model: ConvTasNet) -> int | None:
    """Input samples that one output sample sees through the convolutions of a `conv_tasnet`.

    The norms' statistics see more: all samples (gLN) or all before (cLN). None where a module does
    not say what it reaches, or sees all.
    """
    encoder = model.encoder
    deep, inner = getattr(encoder, 'reach', None), getattr(model.separator, 'reach', None)
    if deep is None or inner is None:
        return None
    frames = 1 + 4 * deep + inner  # three taps a layer, in the encoder and in the decoder
    covering = encoder.window // encoder.stride
    return (frames + covering - 2) * encoder.stride + encoder.window


def multiply_accumulates(model: ConvTasNet, *, sample_rate: int) -> int:
    """Multiply-accumulate operations that a `conv_tasnet` needs for one second of audio.

    Convolutions only, at `sample_rate` in Hz; norms and activations are a few per cent more. Where
    a module does not say its own, half of all operations by XLA's count.
    """
    encoder, sources = model.encoder, model.sources
    try:
        coding = (1 + sources) * encoder.multiply_accumulates()
        frame = coding + model.separator.multiply_accumulates(encoder.basis)
    except AttributeError:
        second_BT = jax.ShapeDtypeStruct((1, sample_rate), jnp.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0), second_BT)
        apply = jax.jit(lambda params, mixture_BT: model.apply({'params': params}, mixture_BT))
        return round(apply.lower(variables['params'], second_BT).cost_analysis()['flops'] / 2)
    return round(frame * sample_rate / encoder.stride)
