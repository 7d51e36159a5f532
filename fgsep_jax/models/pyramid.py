"""A pyramid of gated TCNs of several receptive fields, weighed anew for every utterance.

What is public of FurcaPy (Shi et al., "End-to-end monaural speech separation with multi-scale
dynamic weighted gated dilated convolutional pyramid network", Interspeech 2019; its family: arXiv
1902.04891) are its parts: gated TCNs of different receptive fields side by side, and a small
network that sets their weights by the utterance. Its code and equations are not; what is chosen
here stands in docs/choices.md.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax.models.layers import Depthwise, Pointwise, PReLU, sigmoid, zero_padding
from fgsep_jax.models.norms import NORMS, Norm
from fgsep_jax.models.tcn import MASKS, by_source, check_choices
from fgsep_jax.rules import Rules


class GatedBlock(nn.Module):
    """A dilated block of `tcn.Block` with a gate before the depthwise convolution and one behind.

        u = W1 x * sigmoid(W1' x),   y = gLN(PReLU(u))
        v = gLN(PReLU(D y)),   v' = gLN(PReLU(D' y)),   (residual, skip) = W2 v * sigmoid(W2' v')

    with D and D' depthwise convolutions. The layers without a stroke are those of `tcn.Block`.
    """

    hidden: int
    residual: int
    skip: int
    kernel: int
    dilation: int
    norm: str
    eps: float
    depthwise: str
    dtype: str

    @nn.compact
    def __call__(self, x_BKC: jax.Array, valid_BK: jax.Array | None = None) -> tuple:
        """Returns residual [B, K, residual] and skip [B, K, skip]."""

        def wide(name):
            return Pointwise(self.hidden, self.dtype, name=name)(x_BKC)

        def filtered(y_BKH, gate):
            how = self.kernel, self.dilation, False, self.depthwise
            v_BKH = Depthwise(*how, name=f'depthwise{gate}')(y_BKH)
            v_BKH = PReLU(name=f'prelu_2{gate}')(v_BKH)
            v_BKH = Norm(self.norm, self.eps, name=f'norm_2{gate}')(v_BKH, valid_BK)
            return Pointwise(self.residual + self.skip, self.dtype, name=f'output{gate}')(v_BKH)

        u_BKH = wide('expand') * sigmoid(wide('expand_gate'))
        y_BKH = Norm(self.norm, self.eps, name='norm_1')(PReLU(name='prelu_1')(u_BKH), valid_BK)
        y_BKH = zero_padding(y_BKH, valid_BK)
        out_BKC = filtered(y_BKH, '') * sigmoid(filtered(y_BKH, '_gate'))
        return out_BKC[..., : self.residual], out_BKC[..., self.residual :]


class _Repeat(nn.Module):
    """Blocks of dilations 1, 2, 4, ...: what is scanned over."""

    blocks: int
    remat: bool
    how: tuple

    @nn.compact
    def __call__(self, carry, valid_BK):
        x_BKC, total_BKC = carry
        block = nn.remat(GatedBlock) if self.remat else GatedBlock
        for index in range(self.blocks):
            made = block(**dict(self.how), dilation=2**index, name=f'block_{index}')
            residual_BKC, skip_BKC = made(x_BKC, valid_BK)
            x_BKC += residual_BKC
            total_BKC += skip_BKC.astype(jnp.float32)
        return (x_BKC, total_BKC), None


class Weightor(nn.Module):
    """Weights of branches by the mean of a code: dense, PReLU, dense, softmax."""

    units: int
    branches: int

    @nn.compact
    def __call__(self, x_BKC: jax.Array, valid_BK: jax.Array | None = None) -> jax.Array:
        """Returns weights that sum to 1 [batch, branches]; `valid_BK` is False on padding."""
        valid_BK = jnp.ones(x_BKC.shape[:2], bool) if valid_BK is None else valid_BK
        sum_BC = zero_padding(x_BKC.astype(jnp.float32), valid_BK).sum(axis=1)
        mean_BC = sum_BC / jnp.maximum(valid_BK.sum(axis=1), 1)[:, None]
        x_B1C = PReLU(name='prelu')(Pointwise(self.units, name='dense_1')(mean_BC[:, None]))
        return nn.softmax(Pointwise(self.branches, name='dense_2')(x_B1C)[:, 0], axis=-1)


class Pyramid(nn.Module):
    """Gated TCNs with kernels 3, 5, 7, ... side by side, joined by weights of the utterance.

    The weights come from the mean of the bottleneck's code over the frames that count, by a dense
    layer, a PReLU and another dense layer, through a softmax: no causal model.

    Attributes:
      sources: masks to estimate.
      bottleneck, hidden, skip: channels, see `tcn.TCN`; a pyramid has skip connections.
      branches: TCNs; the i-th has a kernel of 3 + 2 i taps.
      blocks: blocks in a repeat, with dilations 1, 2, 4, ...
      repeats: how often that is repeated; their parameters are stacked, and they are scanned over.
      weightor: units of the network that weighs the branches.
      norm: in the blocks, see `norms.NORMS`.
      input_norm: of what is read; one of these.
      mask: see `tcn.MASKS`.
      depthwise, remat, causal, eps, dtype: as in `tcn.TCN`.
    """

    sources: int = 2
    bottleneck: int = 128
    hidden: int = 512
    skip: int = 128
    branches: int = 4
    blocks: int = 8
    repeats: int = 4
    weightor: int = 128
    norm: str = 'gln'
    input_norm: str = 'gln'
    mask: str = 'sigmoid'
    depthwise: str = 'auto'
    remat: bool = False
    causal: bool = False
    eps: float = 1e-8
    dtype: str = 'float32'

    def __post_init__(self):
        rules = Rules(self)
        rules.at_least_one('sources bottleneck hidden skip branches blocks repeats weightor')
        check_choices(rules)
        rules.one_of('norm', NORMS)
        rules.one_of('input_norm', NORMS)
        rules.rule(not self.causal, 'causal', 'the branches are weighed by the whole utterance')
        rules.check()
        super().__post_init__()

    @property
    def reach(self) -> int:
        """Frames that a mask sees besides its own, by the convolutions of the widest branch."""
        return self.repeats * 2 * self.branches * (2**self.blocks - 1)

    def multiply_accumulates(self, basis: int) -> int:
        """Returns how many a frame of an encoder of `basis` channels takes."""
        blocks = self.blocks * self.repeats
        points = 2 * self.hidden * (2 * self.bottleneck + self.skip)
        taps = sum(2 * self.hidden * (3 + 2 * branch) for branch in range(self.branches))
        ends = basis * (self.bottleneck + self.sources * self.skip)
        return ends + blocks * (self.branches * points + taps)

    @nn.compact
    def __call__(self, feature_BKF, valid_BK=None, basis: int = 0):
        """Estimates masks; arguments and returns as of `tcn.TCN`."""
        basis = basis or feature_BKF.shape[2]
        x_BKC = Norm(self.input_norm, self.eps, name='norm')(feature_BKF, valid_BK)
        x_BKC = Pointwise(self.bottleneck, self.dtype, name='bottleneck')(x_BKC)
        weight_BW = Weightor(self.weightor, self.branches, name='weightor')(x_BKC, valid_BK)
        total_BKC = 0.0
        for branch in range(self.branches):
            how = dict(
                hidden=self.hidden, residual=self.bottleneck, skip=self.skip,
                kernel=3 + 2 * branch, norm=self.norm, eps=self.eps, depthwise=self.depthwise,
                dtype=self.dtype,
            )  # fmt: skip
            repeated = nn.scan(
                _Repeat,
                variable_axes={'params': 0},
                split_rngs={'params': True},
                in_axes=nn.broadcast,
                length=self.repeats,
            )(self.blocks, self.remat, tuple(how.items()), name=f'branch_{branch}')
            zero_BKC = jnp.zeros((*x_BKC.shape[:2], self.skip), jnp.float32)
            (_, skip_BKC), _ = repeated((x_BKC, zero_BKC), valid_BK)
            total_BKC += weight_BW[:, branch, None, None] * skip_BKC
        logit_BKD = Pointwise(self.sources * basis, self.dtype, name='mask')(
            PReLU(name='prelu')(total_BKC)
        )
        return MASKS[self.mask](by_source(logit_BKD, self.sources))
