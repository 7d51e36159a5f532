"""SepFormer: Transformers along short chunks of the code, and across the chunks, in turn.

Subakan, Ravanelli, Cornell, Bronzi, Zhong, "Attention is all you need in speech separation", ICASSP
2021. Letters beside the package's own: L frames of a chunk, U chunks, C channels, I inner ones.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax.models.encoders import frame_count
from fgsep_jax.models.layers import Pointwise, PReLU, zero_padding
from fgsep_jax.models.norms import Norm
from fgsep_jax.models.tcn import MASKS, by_source, check_choices
from fgsep_jax.rules import Rules


def positions(length: int, channels: int) -> np.ndarray | jax.Array:
    """Sines and cosines of each place, even and odd channels [length, channels].

    Of a symbolic length, as `jax.export` has them, they are computed on the device, in float32.
    """
    numpy = np if isinstance(length, int) else jnp
    rate_C = np.exp(np.arange(0, channels, 2) * -(np.log(10000.0) / channels))
    angle = numpy.arange(length)[:, None] * rate_C[None]
    pairs = numpy.stack([numpy.sin(angle), numpy.cos(angle)], axis=-1)
    return pairs.reshape(length, -1)[:, :channels].astype(np.float32)


class Layer(nn.Module):
    """One Transformer layer, normed before its parts; scanned over, so it returns a pair."""

    heads: int
    inner: int
    dtype: str
    eps: float = 1e-6

    @nn.compact
    def __call__(self, x_QLC, valid_QL):
        channels = x_QLC.shape[-1]
        y_QLC = nn.LayerNorm(self.eps, name='norm_1')(x_QLC)
        qkv_QLD = Pointwise(3 * channels, self.dtype, name='attention_in')(y_QLC)
        split = (*qkv_QLD.shape[:2], 3, self.heads, channels // self.heads)
        query, key, value = jnp.moveaxis(qkv_QLD.reshape(split), 2, 0)
        score = jnp.einsum('qlhd,qmhd->qhlm', query, key, preferred_element_type=jnp.float32)
        score /= float(np.sqrt(channels // self.heads))
        if valid_QL is not None:
            score = jnp.where(valid_QL[:, None, None, :], score, -1e30)
        share = nn.softmax(score, axis=-1).astype(self.dtype)
        y_QLC = jnp.einsum('qhlm,qmhd->qlhd', share, value).reshape(x_QLC.shape)
        x_QLC += Pointwise(channels, self.dtype, name='attention_out')(y_QLC).astype(x_QLC.dtype)
        y_QLC = nn.LayerNorm(self.eps, name='norm_2')(x_QLC)
        y_QLI = nn.relu(Pointwise(self.inner, self.dtype, name='feed_1')(y_QLC))
        x_QLC += Pointwise(channels, self.dtype, name='feed_2')(y_QLI).astype(x_QLC.dtype)
        return x_QLC, None


class Transformer(nn.Module):
    """Equal layers, as a scan over their stacked parameters, and a last norm."""

    layers: int
    heads: int
    inner: int
    dtype: str
    remat: bool

    @nn.compact
    def __call__(self, x_QLC, valid_QL=None):
        """Returns [examples, places, channels], float32; `valid_QL` is False on padding."""
        x_QLC = x_QLC.astype(jnp.float32)
        x_QLC += positions(*x_QLC.shape[1:])[None]
        layer = nn.remat(Layer, prevent_cse=False) if self.remat else Layer
        stack = nn.scan(
            layer,
            variable_axes={'params': 0},
            split_rngs={'params': True},
            in_axes=nn.broadcast,
            length=self.layers,
        )(self.heads, self.inner, self.dtype, name='layers')
        return nn.LayerNorm(1e-6, name='norm')(stack(x_QLC, valid_QL)[0])


class DualPath(nn.Module):
    """Masks by Transformers within chunks and across them; attention sees ahead.

    Attributes:
      sources: masks to estimate.
      channels: of the chunks (256 in SepFormer).
      chunk: frames of a chunk (250), which overlap by half.
      repeats: how often a Transformer within chunks is followed by one across them (2).
      layers: of each Transformer (8).
      heads: of the attention (8).
      inner: units of the feed-forward layers (1024).
      mask: see `tcn.MASKS`; SepFormer's is 'relu'.
      remat: compute layers again in the backward pass instead of storing them.
      causal, eps, dtype: as in `tcn.TCN`; what the layers add up stays float32.
    """

    sources: int = 2
    channels: int = 256
    chunk: int = 250
    repeats: int = 2
    layers: int = 8
    heads: int = 8
    inner: int = 1024
    mask: str = 'relu'
    remat: bool = False
    causal: bool = False
    eps: float = 1e-8
    dtype: str = 'float32'

    def __post_init__(self):
        rules = Rules(self)
        rules.at_least_one('sources channels chunk repeats layers heads inner')
        check_choices(rules)
        rules.rule(self.chunk % 2 == 0, 'chunk', 'must be even: chunks overlap by half')
        rules.rule(
            self.heads < 1 or self.channels % self.heads == 0,
            'channels',
            f'must be a multiple of heads = {self.heads}',
        )
        rules.rule(not self.causal, 'causal', 'its attention sees the whole utterance')
        rules.check()
        super().__post_init__()

    @property
    def reach(self) -> None:
        """Frames that a mask sees: None, all of them."""

    def multiply_accumulates(self, basis: int) -> int:
        """Returns how many a frame of an encoder of `basis` channels takes.

        Every frame is in two chunks; of the attention the products with the frames of a chunk are
        counted, those with other chunks, of which there are few, are not.
        """
        channels, width = self.channels, self.sources * self.channels
        layer = 4 * channels**2 + 2 * channels * self.inner
        within = 2 * channels * self.chunk
        transformers = 2 * self.repeats * self.layers * (2 * layer + within)
        ends = channels * (basis + 2 * width) + self.sources * (2 * channels**2 + channels * basis)
        return transformers + ends

    @nn.compact
    def __call__(self, feature_BKF, valid_BK=None, basis: int = 0):
        """Estimates masks; arguments and returns as of `tcn.TCN`."""
        basis = basis or feature_BKF.shape[2]
        batch, frames = feature_BKF.shape[:2]
        x_BKC = Norm('gln', self.eps, name='norm')(feature_BKF, valid_BK)
        x_BKC = Pointwise(self.channels, self.dtype, bias=False, name='enter')(x_BKC)
        x_BKC = zero_padding(x_BKC, valid_BK)
        x_BULC = self._cut(x_BKC)
        valid_BU = None
        if valid_BK is not None:
            framing = dict(window=self.chunk, stride=self.chunk // 2)
            count_B = frame_count(valid_BK.sum(axis=1), **framing)
            valid_BU = jnp.arange(x_BULC.shape[1])[None] < count_B[:, None]
        for index in range(self.repeats):
            x_BULC = self._pass(x_BULC, valid_BU, f'within_{index}', within=True)
            x_BULC = self._pass(x_BULC, valid_BU, f'across_{index}', within=False)
        x_BULC = PReLU(name='prelu')(x_BULC)
        wide_BULD = Pointwise(self.sources * self.channels, self.dtype, name='sources')(
            x_BULC.reshape(batch, -1, self.channels)
        )
        split_BSPC = by_source(wide_BULD, self.sources)  # P: places in all chunks
        chunks_QULC = split_BSPC.reshape(-1, *x_BULC.shape[1:])
        x_QKC = _overlap_add(chunks_QULC, frames)
        x_QKC = jnp.tanh(Pointwise(self.channels, self.dtype, name='output')(x_QKC)) * nn.sigmoid(
            Pointwise(self.channels, self.dtype, name='gate')(x_QKC)
        )
        logit_QKN = Pointwise(basis, self.dtype, bias=False, name='mask')(x_QKC)
        return MASKS[self.mask](logit_QKN.reshape(batch, self.sources, frames, basis))

    def _cut(self, x_BKC):
        """Chunks that overlap by half, the ends filled up with zeros [B, U, L, C]."""
        frames, half = x_BKC.shape[1], self.chunk // 2
        count = frame_count(frames, window=self.chunk, stride=half)
        total = (count - 1) * half + self.chunk
        padded = jnp.pad(x_BKC, ((0, 0), (half, total - half - frames), (0, 0)))
        halves = padded.reshape(padded.shape[0], count + 1, half, -1)
        return jnp.concatenate([halves[:, :-1], halves[:, 1:]], axis=2)

    def _pass(self, x_BULC, valid_BU, name, *, within):
        """One Transformer within all chunks, or across them at each place of a chunk."""
        batch, count, length, channels = x_BULC.shape
        y = x_BULC if within else x_BULC.swapaxes(1, 2)
        places = None
        if valid_BU is not None and not within:
            places = jnp.repeat(valid_BU, length, axis=0)
        y = Transformer(self.layers, self.heads, self.inner, self.dtype, self.remat, name=name)(
            y.reshape(-1, *y.shape[2:]), places
        ).reshape(y.shape)
        y_BULC = y if within else y.swapaxes(1, 2)
        # Its norm is over all places of all chunks that count.
        valid_BP = None if valid_BU is None else jnp.repeat(valid_BU, length, axis=1)
        flat_BPC = y_BULC.reshape(batch, count * length, channels)
        normal_BPC = Norm('gln', self.eps, name=f'{name}_norm')(flat_BPC, valid_BP)
        return x_BULC + normal_BPC.reshape(x_BULC.shape)


def _overlap_add(x_QULC, frames):
    """Chunks added up where they overlap, the zeros at the ends cut away [Q, K, C]."""
    half = x_QULC.shape[2] // 2
    first, second = x_QULC[:, :, :half], x_QULC[:, :, half:]
    joined = jnp.pad(first, ((0, 0), (0, 1), (0, 0), (0, 0)))
    joined += jnp.pad(second, ((0, 0), (1, 0), (0, 0), (0, 0)))
    flat = joined.reshape(joined.shape[0], -1, joined.shape[-1])
    return flat[:, half : half + frames]
