"""The separator of Conv-TasNet: a temporal convolutional network that estimates masks.

Luo and Mesgarani, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for Speech
Separation", IEEE/ACM TASLP 27(8), 2019, sections II-B and II-C. The paper's letters are given
with each field.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax.models.folded import folded_block
from fgsep_jax.models.layers import Depthwise, Pointwise, PReLU, takes_moments, zero_padding
from fgsep_jax.models.norms import Norm, check_norms
from fgsep_jax.rules import Rules

MASKS = {
    'sigmoid': nn.sigmoid,
    'relu': nn.relu,
    'softmax': lambda mask_BSKN: nn.softmax(mask_BSKN, axis=1),
}


CHOICES = {
    'prelu': ('shared', 'channel'),
    'padding': ('zeros', 'reflect'),
    'mask': tuple(MASKS),
    'depthwise': ('auto', 'shift', 'conv'),
    'dtype': ('float32', 'bfloat16'),
}


def check_choices(rules: Rules) -> None:
    """Rules of what a separator has of `CHOICES`, and of `eps`."""
    rules.positive('eps')
    shares = rules.has('mask') and rules.value('mask') == 'softmax'
    rules.rule(not shares or rules.value('sources') > 1, 'mask', 'is 1 everywhere for one source')
    for key, choices in CHOICES.items():
        if rules.has(key):
            rules.one_of(key, choices)


def folds(module: nn.Module) -> bool:
    """Whether `folded_block` computes a Block, or a TCN's: global norms, the usual else, 'auto'."""
    usual = module.prelu == 'shared' and module.padding == 'zeros'
    usual = usual and getattr(module, 'depthwise_bias', True)
    return module.norm == 'gln' and module.depthwise == 'auto' and usual


def by_source(x_BKD: jax.Array, sources: int) -> jax.Array:
    """Channels of all sources, one after the other, as [batch, sources, frames, channels]."""
    return jnp.stack(jnp.split(x_BKD, sources, axis=-1), axis=1)


class Block(nn.Module):
    """One dilated block (Conv-TasNet fig. 1C).

    Both outputs come from one 1x1 convolution, `output`, residual channels first: its input, the
    widest array of the block, is then read once.
    """

    hidden: int
    residual: int
    skip: int
    kernel: int
    dilation: int
    norm: str
    causal: bool
    eps: float
    depthwise: str
    dtype: str
    prelu: str = 'shared'
    padding: str = 'zeros'
    remat: bool = False
    depthwise_bias: bool = True

    @nn.compact
    def __call__(self, x_BKC: jax.Array, valid_BK: jax.Array | None = None) -> tuple:
        """Returns residual [B, K, residual] and skip [B, K, skip]; either may have no channels."""
        if folds(self) and not self.is_initializing() and not takes_moments(self):
            x_BKC = folded_block(
                self.variables['params'],
                x_BKC,
                valid_BK,
                dilation=self.dilation,
                eps=self.eps,
                remat=self.remat,
                dtype=self.dtype,
            )
            return x_BKC[..., : self.residual], x_BKC[..., self.residual :]
        x_BKH = Pointwise(self.hidden, self.dtype, name='expand')(x_BKC)
        x_BKH = PReLU(self.prelu == 'channel', name='prelu_1')(x_BKH)
        x_BKH = Norm(self.norm, self.eps, name='norm_1')(x_BKH, valid_BK)
        x_BKH = zero_padding(x_BKH, valid_BK)
        x_BKH = Depthwise(
            self.kernel,
            self.dilation,
            self.causal,
            self.depthwise,
            self.padding,
            self.depthwise_bias,
            name='depthwise',
        )(x_BKH, valid_BK)
        x_BKH = PReLU(self.prelu == 'channel', name='prelu_2')(x_BKH)
        x_BKH = Norm(self.norm, self.eps, name='norm_2')(x_BKH, valid_BK)
        x_BKC = Pointwise(self.residual + self.skip, self.dtype, name='output')(x_BKH)
        return x_BKC[..., : self.residual], x_BKC[..., self.residual :]


class TCN(nn.Module):
    """Masks for every source from the encoded mixture.

    Attributes:
      sources: masks to estimate.
      bottleneck: channels between the blocks (B in the paper).
      hidden: channels inside the blocks (H).
      skip: channels of the skip connections (Sc); 0 means none, and the masks are then made from
        the output of the last block.
      kernel: taps of the depthwise convolutions (P).
      blocks: blocks in a repeat (X), with dilations 1, 2, 4, ... 2^(X-1).
      repeats: how often that is repeated (R).
      norm: 'gln' (global), 'cln' (cumulative) or 'frame' (each frame by itself) layer norm.
      input_norm: of the encoded mixture; one of these, 'none', or 'same' as the others.
      prelu: 'shared', one slope for all channels of a layer, or 'channel'.
      padding: what the depthwise convolutions see at the ends, 'zeros' or 'reflect', the frames
        mirrored there.
      causal: no frame sees a later one; needs another norm than 'gln'.
      mask: 'sigmoid', 'relu' or 'softmax' (over the sources).
      eps: of every norm.
      depthwise: 'conv' or 'shift', see `layers.depthwise_conv`; 'auto': the folded block under gLN
        with shared slopes and zeros at the ends, else 'shift'.
      unused_residual: keep the residual output of the last block, which nothing reads: published
        counts of parameters include it.
      remat: compute the blocks again in the backward pass instead of storing them.
      dtype: type that the convolutions compute in and that passes from block to block. The sum of
        the skip connections and the norms' statistics stay float32.
    """

    sources: int = 2
    bottleneck: int = 128
    hidden: int = 512
    skip: int = 128
    kernel: int = 3
    blocks: int = 8
    repeats: int = 3
    norm: str = 'gln'
    input_norm: str = 'same'
    prelu: str = 'shared'
    padding: str = 'zeros'
    causal: bool = False
    mask: str = 'sigmoid'
    eps: float = 1e-8
    depthwise: str = 'auto'
    unused_residual: bool = False
    remat: bool = False
    dtype: str = 'float32'

    def __post_init__(self):
        rules = Rules(self)
        rules.at_least_one('sources bottleneck hidden kernel blocks repeats')
        rules.none_or_more('skip')
        check_choices(rules)
        check_norms(rules, 'norm')
        check_norms(rules, 'input_norm', more=('same', 'none'))
        rules.rule(self.causal or self.kernel % 2, 'kernel', 'must be odd, or the model causal')
        rules.rule(
            not self.causal or self.padding != 'reflect',
            'padding',
            'mirrors what a causal model cannot see; zeros does not',
        )
        rules.check()
        super().__post_init__()

    @property
    def reach(self) -> int:
        """Frames that a mask sees besides its own, through the convolutions."""
        return self.repeats * (self.kernel - 1) * (2**self.blocks - 1)

    def multiply_accumulates(self, basis: int) -> int:
        """Returns how many a frame of an encoder of `basis` channels takes."""
        block = self.hidden * (self.bottleneck + self.kernel + self.bottleneck + self.skip)
        total = self.blocks * self.repeats * block
        if self.skip and not self.unused_residual:
            total -= self.hidden * self.bottleneck
        return total + basis * (self.bottleneck + self.sources * (self.skip or self.bottleneck))

    @nn.compact
    def __call__(
        self,
        encoded_BKN: jax.Array,
        valid_BK: jax.Array | None = None,
        part: str | int = '',
        x_BKC: jax.Array | None = None,
        basis: int = 0,
    ) -> jax.Array:
        """Estimates the masks.

        Args:
          encoded_BKN: encoded mixture [batch, frames, basis].
          valid_BK: False for frames of padding; None when all count.
          part: '' for all; 'enter', up to the first block; the index of one block; 'leave', what
            follows the last.
          x_BKC: input of a block, and of 'leave' the sum of the skip connections, or without them
            the last output [batch, frames, channels].
          basis: channels of the code, if it is not what is read here.

        Returns:
          Masks [batch, sources, frames, basis] in `dtype`; of 'enter' the input of the first block,
          of a block the pair that it returns.
        """
        if isinstance(part, int):
            return self._block(part)(x_BKC, valid_BK)
        if part in ('', 'enter'):
            x_BKC = self._enter(encoded_BKN, valid_BK)
        if part == 'enter':
            return x_BKC
        if part == '':
            total_BKC = 0.0
            for index in range(self.blocks * self.repeats):
                residual_BKC, skip_BKC = self._block(index)(x_BKC, valid_BK)
                if residual_BKC.shape[2]:
                    x_BKC += residual_BKC
                total_BKC += skip_BKC.astype(jnp.float32)
            x_BKC = total_BKC if self.skip else x_BKC
        x_BKC = PReLU(self.prelu == 'channel', name='prelu')(x_BKC)
        basis = basis or encoded_BKN.shape[2]
        logit_BKD = Pointwise(self.sources * basis, self.dtype, name='mask')(x_BKC)
        return MASKS[self.mask](by_source(logit_BKD, self.sources))

    def _enter(self, x_BKC, valid_BK):
        norm = self.norm if self.input_norm == 'same' else self.input_norm
        if norm != 'none':
            x_BKC = Norm(norm, self.eps, name='norm')(x_BKC, valid_BK)
        return Pointwise(self.bottleneck, self.dtype, name='bottleneck')(x_BKC)

    def _block(self, index):
        unused = index == self.blocks * self.repeats - 1 and self.skip and not self.unused_residual
        # A folded block sees to its own rematerialisation. Without explicit names nn.remat would
        # rename the parameters.
        block = nn.remat(Block) if self.remat and not folds(self) else Block
        return block(
            hidden=self.hidden,
            residual=0 if unused else self.bottleneck,
            skip=self.skip,
            kernel=self.kernel,
            dilation=2 ** (index % self.blocks),
            norm=self.norm,
            causal=self.causal,
            eps=self.eps,
            depthwise=self.depthwise,
            dtype=self.dtype,
            prelu=self.prelu,
            padding=self.padding,
            remat=self.remat,
            name=f'block_{index}',
        )
