"""Conv-TasNet: encoder, mask separator, decoder.

Luo and Mesgarani, "Conv-TasNet", 2019; deep and gated encoders after Kadioglu et al., "An
Empirical Study of Conv-TasNet", 2020.
"""

import numbers

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax import registry
from fgsep_jax.models.encoders import ENCODERS, frame_count
from fgsep_jax.models.separators import SEPARATORS
from fgsep_jax.names import shown
from fgsep_jax.rules import ConfigError, RuleError, Rules, section


class ConvTasNet(nn.Module):
    """Separates a mixture by masks over a learned code.

    Attributes:
      encoder: `mixture_BT, valid_BK -> code_BKN`, or a pair of it and of `feature_BKF`, which the
        separator reads instead; with fields `window` and `stride`.
      separator: `feature_BKF, valid_BK -> mask_BSKN`, with `basis`, N, where F is another.
      decoder: `coded_BKN, samples, valid_BK -> estimate_BT`; without samples it leaves the frames
        as they are before they are overlapped and added.
      sources: S, waveforms to estimate.
      called: what encoder and separator are called where their shapes are refused.
    """

    encoder: nn.Module
    separator: nn.Module
    decoder: nn.Module
    sources: int = 2
    called: tuple[str, str] = ('encoder', 'separator')

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
          ConfigError: a part gives another shape than it must.
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
        self._check_frames(code_BKN, mixture_BT)
        self._check_frames(feature_BKF, mixture_BT)
        mask_BSKN = self.separator(feature_BKF, valid_BK, **more)
        wanted = (batch, self.sources, *code_BKN.shape[1:])
        if mask_BSKN.shape != wanted:
            raise ConfigError(
                f'{self.called[1]} gave masks of shape {mask_BSKN.shape}: must be {wanted}, [batch,'
                ' sources, frames, width of the code]'
            )
        coded_BSKN = mask_BSKN * code_BKN[:, None]
        # The decoder takes every source of every example as an example (Q = B * S).
        coded_QKN = coded_BSKN.reshape(-1, *coded_BSKN.shape[2:])
        estimate_QT = self.decoder(coded_QKN, samples, valid_QK)
        if estimate_QT.shape != (batch * self.sources, samples):
            raise ConfigError(
                f'the decoder gave {estimate_QT.shape} of {coded_QKN.shape[0]} codes for'
                f' {samples} samples: must be {(batch * self.sources, samples)}, [batch, samples];'
                f' it is the one of {self.called[0]}'
            )
        estimate_BST = estimate_QT.reshape(batch, -1, samples)
        return estimate_BST if length_B is None else jnp.where(valid_BT[:, None], estimate_BST, 0)

    def _check_frames(self, code_BKN, mixture_BT):
        """Raises ConfigError unless there are as many as must be; free ones are not told."""
        batch, samples = mixture_BT.shape
        if not isinstance(samples, int):
            return
        frames, kind = frame_count(samples, **self.framing), self.framing['framing']
        if code_BKN.ndim != 3 or code_BKN.shape[0] != batch:
            raise ConfigError(
                f'{self.called[0]} gave shape {code_BKN.shape} of mixtures {mixture_BT.shape}: must'
                f' be [{batch}, {frames}, width], [batch, frames, width]'
            )
        if code_BKN.shape[1] != frames:
            raise ConfigError(
                f'{self.called[0]} gave {code_BKN.shape[1]:,} frames of {samples:,} samples:'
                f' {frames:,} with framing = {kind}, see models.encoders.frame_count'
            )

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
        taken = {
            f'separator {separator["name"]}': registry.keywords(SEPARATORS[separator['name']]),
            f'encoder {encoder["name"]}': registry.keywords(ENCODERS[encoder['name']]),
        }
        for key, usual, needed in (('norm', 'gln', any), ('causal', False, all)):
            without = [part for part, keywords in taken.items() if key not in keywords]
            if both[key] != usual and not needed(key in keywords for keywords in taken.values()):
                text = f' = {both[key]!r}: the {without[0]} knows no such thing'
                problems.append((key, text))
    if problems:  # of what is in neither section, but of both, once
        at = {f'{part}.{key}': key for part in ('encoder', 'separator') for key in both}
        raise RuleError(dict.fromkeys((at.get(key, key), text) for key, text in problems))
    called = f'encoder {encoder["name"]}', f'separator {separator["name"]}'
    return ConvTasNet(
        encoder=pair[0], separator=built, decoder=pair[1], sources=sources, called=called
    )


def _check_pair(pair):
    """Raises RuleError unless an encoder's function gives a pair with the fields of `Encoder`."""
    is_pair = isinstance(pair, tuple) and len(pair) == 2
    if not is_pair or not all(isinstance(part, nn.Module) for part in pair):
        raise RuleError([('encoder', ': its function must give a pair of modules')])
    missing = [name for name in ('window', 'stride') if not hasattr(pair[0], name)]
    if missing:
        raise RuleError([('encoder', f': {type(pair[0]).__name__} needs a field {missing[0]}')])


def reach(part: nn.Module, called: str) -> int | None:
    """What an encoder or a separator states as its `reach`, in frames; None: nothing, or all.

    Raises:
      ConfigError: it is no whole number.
    """
    found = getattr(part, 'reach', None)
    if found is not None and (not isinstance(found, numbers.Integral) or found < 0):
        raise ConfigError(
            f'{called}: its `reach` is {shown(repr(found))}: must be a whole number of frames, a'
            ' property, or None for all of them'
        )
    return found


def receptive_field(model: ConvTasNet) -> int | None:
    """Input samples that one output sample sees through the convolutions of a `conv_tasnet`.

    The norms' statistics see more: all samples (gLN) or all before (cLN). None where a module does
    not say what it reaches, or sees all.
    """
    encoder = model.encoder
    deep, inner = reach(encoder, model.called[0]), reach(model.separator, model.called[1])
    if deep is None or inner is None:
        return None
    frames = 1 + 4 * deep + inner  # three taps a layer, in the encoder and in the decoder
    covering = encoder.window // encoder.stride
    return (frames + covering - 2) * encoder.stride + encoder.window


def multiply_accumulates(model: ConvTasNet, *, sample_rate: int) -> int:
    """Multiply-accumulate operations that a `conv_tasnet` needs for one second of audio.

    Convolutions only, at `sample_rate` in Hz; norms and activations are a few per cent more. Where
    a module does not say its own, half of all operations by XLA's count.

    Raises:
      ConfigError: what a module says is no number.
    """
    encoder, separator = model.encoder, model.separator
    own = hasattr(separator, 'multiply_accumulates') and hasattr(encoder, 'basis')
    if own and hasattr(encoder, 'multiply_accumulates'):
        frame = (1 + model.sources) * _count(encoder, model.called[0])
        frame += _count(separator, model.called[1], encoder.basis)
        return round(frame * sample_rate / encoder.stride)
    second_BT = jax.ShapeDtypeStruct((1, sample_rate), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), second_BT)
    apply = jax.jit(lambda params, mixture_BT: model.apply({'params': params}, mixture_BT))
    return round(apply.lower(variables['params'], second_BT).cost_analysis()['flops'] / 2)


def _count(part, called, *basis):
    """What a part states as its `multiply_accumulates`."""
    form = f'multiply_accumulates({"basis" * len(basis)})'
    try:
        count = part.multiply_accumulates(*basis)
    except TypeError as error:
        raise ConfigError(f'{called}: {form} must be a method: {error}') from error
    if not isinstance(count, numbers.Real):
        raise ConfigError(f'{called}: {form} gave {shown(repr(count))}, must be a number')
    return count
