"""A separator by attractors: masks are how near each part of the code is to each source's centre.

Yang, Tuan, Lee, Lee, "Improved speech separation with time-and-frequency cross-domain joint
embedding and clustering", Interspeech 2019 (arXiv 1904.07845); learnt anchors after Luo, Chen,
Mesgarani, "Speaker-independent speech separation with deep attractor network", 2018. Letters beside
the package's own: D numbers of an embedding, A anchors.
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax.models.layers import Pointwise
from fgsep_jax.models.norms import NORMS, Norm
from fgsep_jax.models.tcn import Block, check_choices
from fgsep_jax.rules import Rules


def attractors(embedding_BKND: jax.Array, anchor_AD: jax.Array, valid_BK=None, *, sources: int):
    """The centre of each source among the embeddings.

    Each embedding is given to the sources of a choice of anchors by the softmax of its products
    with them; a source's attractor is the mean of the embeddings, so weighted. Of all choices of
    `sources` anchors the one counts whose most similar pair of attractors is least similar.

    Args:
      embedding_BKND: embeddings [batch, frames, channels, numbers], any float type.
      anchor_AD: anchors, as many as sources or more.
      valid_BK: False for frames of padding, which count for nothing.
      sources: S.

    Returns:
      attractor_BSD, float32.
    """
    score_BKNA = jnp.einsum(
        'bknd,ad->bkna', embedding_BKND, anchor_AD, preferred_element_type=jnp.float32
    )
    choices = list(itertools.combinations(range(len(anchor_AD)), sources))
    made = []
    for choice in choices:
        share_BKNS = nn.softmax(score_BKNA[..., np.array(choice)], axis=-1)
        if valid_BK is not None:
            share_BKNS *= valid_BK[:, :, None, None]
        sum_BSD = jnp.einsum(
            'bkns,bknd->bsd', share_BKNS, embedding_BKND, preferred_element_type=jnp.float32
        )
        made.append(sum_BSD / (share_BKNS.sum(axis=(1, 2))[..., None] + 1e-8))
    attractor_CBSD = jnp.stack(made)
    if len(choices) == 1 or sources == 1:  # of one alone none is near to another
        return attractor_CBSD[0]
    likeness_CBSS = jnp.einsum('cbsd,cbtd->cbst', attractor_CBSD, attractor_CBSD)
    pairs = np.triu_indices(sources, 1)
    best_B = likeness_CBSS[:, :, *pairs].max(axis=-1).argmin(axis=0)
    return jnp.take_along_axis(attractor_CBSD, best_B[None, :, None, None], axis=0)[0]


class Attractor(nn.Module):
    """A trunk of Conv-TasNet blocks, an embedding of each channel of each frame, attractors.

    Masks are the products of embeddings and attractors, with no activation. The mean over all
    frames that makes an attractor sees ahead: no causal model.

    Attributes:
      sources: masks to estimate.
      bottleneck: channels between the blocks of the trunk.
      hidden: channels inside them.
      kernel: taps of the depthwise convolutions, which have no bias.
      blocks: blocks in a repeat, with dilations 1, 2, 4, ...
      repeats: how often that is repeated.
      embedding: D, numbers that stand for a channel of a frame.
      anchors: A; with more than there are sources, all choices are tried.
      norm: in the blocks, see `norms.NORMS`; each frame of what is read is normed by itself.
      prelu: slopes, 'shared' by a layer's channels or one a 'channel'.
      depthwise: see `tcn.TCN`.
      remat: compute blocks and embeddings again in the backward pass instead of storing them.
      causal, eps, dtype: as in `tcn.TCN`.
    """

    sources: int = 2
    bottleneck: int = 256
    hidden: int = 512
    kernel: int = 3
    blocks: int = 8
    repeats: int = 4
    embedding: int = 20
    anchors: int = 2
    norm: str = 'gln'
    prelu: str = 'channel'
    depthwise: str = 'auto'
    remat: bool = False
    causal: bool = False
    eps: float = 1e-8
    dtype: str = 'float32'

    def __post_init__(self):
        rules = Rules(self)
        rules.at_least_one('sources bottleneck hidden kernel blocks repeats embedding anchors')
        check_choices(rules)
        rules.one_of('norm', NORMS)
        rules.rule(self.kernel % 2, 'kernel', 'must be odd')
        rules.rule(not self.causal, 'causal', 'attractors are means over the whole utterance')
        rules.rule(
            self.anchors >= self.sources, 'anchors', f'must be at least sources = {self.sources}'
        )
        rules.at_most(anchors=12)
        rules.check()
        super().__post_init__()

    @property
    def reach(self) -> int:
        """Frames that an embedding sees besides its own, through the convolutions."""
        return self.repeats * (self.kernel - 1) * (2**self.blocks - 1)

    def multiply_accumulates(self, basis: int) -> int:
        """Returns how many a frame of an encoder of `basis` channels takes."""
        block = self.hidden * (2 * self.bottleneck + self.kernel)
        embedded = basis * self.embedding
        each = self.bottleneck + 2 * self.sources + self.anchors
        return basis * self.bottleneck + self.blocks * self.repeats * block + embedded * each

    @nn.compact
    def __call__(self, feature_BKF, valid_BK=None, basis: int = 0):
        """Estimates masks; arguments and returns as of `tcn.TCN`."""
        basis = basis or feature_BKF.shape[2]
        x_BKC = Norm('frame', self.eps, name='norm')(feature_BKF, valid_BK)
        x_BKC = Pointwise(self.bottleneck, self.dtype, name='bottleneck')(x_BKC)
        block = nn.remat(Block) if self.remat else Block
        for index in range(self.blocks * self.repeats):
            residual_BKC, _ = block(
                hidden=self.hidden,
                residual=self.bottleneck,
                skip=0,
                kernel=self.kernel,
                dilation=2 ** (index % self.blocks),
                norm=self.norm,
                causal=False,
                eps=self.eps,
                depthwise=self.depthwise,
                dtype=self.dtype,
                prelu=self.prelu,
                depthwise_bias=False,
                name=f'block_{index}',
            )(x_BKC, valid_BK)
            x_BKC += residual_BKC
        embed = Pointwise(basis * self.embedding, self.dtype, name='embedding')
        shape = (self.anchors, self.embedding)
        anchor_AD = self.param('anchors', nn.initializers.normal(1.0), shape, jnp.float32)

        def masks(embedding_BKE, anchor_AD):
            embedding_BKND = embedding_BKE.reshape(*embedding_BKE.shape[:2], basis, -1)
            attractor_BSD = attractors(
                embedding_BKND, anchor_AD.astype(self.dtype), valid_BK, sources=self.sources
            )
            return jnp.einsum('bknd,bsd->bskn', embedding_BKND, attractor_BSD.astype(self.dtype))

        return (jax.checkpoint(masks) if self.remat else masks)(embed(x_BKC), anchor_AD)
