"""The mask estimator of foreground-background separation.

Olvera et al., "Foreground-Background Ambient Sound Scene Separation", 2020, sections IV.C, IV.D.
Letter beside the package's own: A frames of the adaptation segment.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax.models.layers import Pointwise
from fgsep_jax.models.lstm import BLSTM, DIRECTIONS, GATES
from fgsep_jax.rules import Rules


def _check(name: str, array: jax.Array, valid: jax.Array | None, bands: int, batch: int) -> None:
    shape = array.shape
    if len(shape) != 3 or shape[0] != batch or not shape[1] or shape[2] != bands:
        raise ValueError(
            f'{name} has shape {shape}: must be [batch, frames, bands] = [{batch}, >= 1, {bands}]'
        )
    if valid is not None and valid.shape != shape[:2]:
        raise ValueError(
            f'what is valid of {name} has shape {valid.shape}: must be {shape[:2]}, [batch, frames]'
        )


class Auxiliary(nn.Module):
    """Sequence-summarising network: lambda, the mean over frames of two ReLU layers.

    Attributes:
      hidden: units of each layer, and entries of lambda.
      dtype: 'float32' or 'bfloat16', of the products.
    """

    hidden: int = 128
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BAM: jax.Array, valid_BA: jax.Array | None = None) -> jax.Array:
        """Summarises an adaptation segment.

        Args:
          x_BAM: its features [batch, frames, bands].
          valid_BA: False for frames of padding; an example without any gives zeros.

        Returns:
          lambda [batch, hidden], float32.
        """
        if valid_BA is None:
            valid_BA = jnp.ones(x_BAM.shape[:2], bool)
        valid_BA1 = valid_BA[:, :, None]
        x_BAH = jnp.where(valid_BA1, x_BAM, 0)
        for index in (1, 2):
            x_BAH = nn.relu(Pointwise(self.hidden, self.dtype, name=f'dense_{index}')(x_BAH))
        sum_BH = jnp.where(valid_BA1, x_BAH.astype(jnp.float32), 0).sum(axis=1)
        return sum_BH / jnp.maximum(valid_BA1.sum(axis=1), 1)


class MaskBLSTM(nn.Module):
    """Estimates the share of the foreground in each mel band, or bin, and frame.

    `layers` times a BLSTM and a dense tanh layer, then a dense sigmoid layer. With `auxiliary`, a
    summary lambda of an adaptation segment scales the outputs of the first BLSTM.

    The paper has 128 entries of lambda scale 600 outputs and does not say how. Here a linear map
    takes the one to the other; its bias starts at 1, so that training starts near the model
    without the auxiliary network, and scales of exactly 1 are that model.

    Attributes:
      bands: M, mel bands in.
      outputs: of the mask, in each frame; 0 for as many as bands.
      layers: BLSTM layers.
      hidden: cells a direction in each.
      projection: units of the dense layer after each.
      auxiliary: scale by an adaptation segment.
      auxiliary_hidden: entries of lambda, and units of the layers that make it.
      dtype: 'float32' or 'bfloat16', of the products but the recurrence's and the scale
        map's.
    """

    bands: int = 128
    outputs: int = 0
    layers: int = 3
    hidden: int = 300
    projection: int = 256
    auxiliary: bool = False
    auxiliary_hidden: int = 128
    dtype: str = 'float32'

    def __post_init__(self):
        rules = Rules(self)
        rules.at_least_one('bands layers hidden projection auxiliary_hidden')
        rules.one_of('dtype', ('float32', 'bfloat16'))
        rules.check()
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        feature_BKM: jax.Array,
        valid_BK: jax.Array | None = None,
        adaptation_BAM: jax.Array | None = None,
        adaptation_valid_BA: jax.Array | None = None,
    ) -> jax.Array:
        """Estimates masks.

        Args:
          feature_BKM: log-mel or PCEN features of mixtures [batch, frames, bands].
          valid_BK: False for frames of padding [batch, frames]. The other frames get
            what their example alone, unpadded, would get; the mask on padding means nothing.
          adaptation_BAM: the same features of segments of the background alone; needed with
            `auxiliary`, refused without.
          adaptation_valid_BA: False for frames of padding [batch, frames].

        Returns:
          Masks of the foreground in (0, 1) [batch, frames, outputs], float32.

        Raises:
          ValueError: a shape that does not fit, or an adaptation segment missing or unasked for.
        """
        batch = feature_BKM.shape[0]
        _check('feature', feature_BKM, valid_BK, self.bands, batch)
        if self.auxiliary and adaptation_BAM is None:
            raise ValueError('auxiliary=True needs an adaptation segment: give adaptation_BAM')
        if not self.auxiliary and (adaptation_BAM is not None or adaptation_valid_BA is not None):
            raise ValueError(
                'an adaptation segment, but auxiliary=False reads none: set auxiliary=True'
            )
        x_KBN = feature_BKM.swapaxes(0, 1)
        for index in range(1, self.layers + 1):
            x_KBN = BLSTM(self.hidden, self.dtype, batch_first=False, name=f'blstm_{index}')(
                x_KBN, valid_BK
            )
            if self.auxiliary and index == 1:
                _check('adaptation', adaptation_BAM, adaptation_valid_BA, self.bands, batch)
                x_KBN *= self._scale(adaptation_BAM, adaptation_valid_BA)[None]
            x_KBN = jnp.tanh(Pointwise(self.projection, self.dtype, name=f'dense_{index}')(x_KBN))
        x_KBM = Pointwise(self.outputs or self.bands, self.dtype, name='mask')(x_KBN)
        return nn.sigmoid(x_KBM.swapaxes(0, 1).astype(jnp.float32))

    def _scale(self, adaptation_BAM, adaptation_valid_BA):
        lambda_BH = Auxiliary(self.auxiliary_hidden, self.dtype, name='auxiliary')(
            adaptation_BAM, adaptation_valid_BA
        )
        return nn.Dense(
            DIRECTIONS * self.hidden,
            bias_init=nn.initializers.ones,
            name='scale',
        )(lambda_BH)


def multiply_accumulates(model: MaskBLSTM, *, frames_per_second: float) -> int:
    """Multiply-accumulate operations that a `MaskBLSTM` needs for one second of audio.

    Products alone, at `frames_per_second`; activations are a few per cent more. The auxiliary
    network is counted as if the adaptation segment were as long as the mixture.
    """
    inputs = [model.bands] + [model.projection] * (model.layers - 1)
    cells = DIRECTIONS * model.hidden
    frame = sum(
        (channels + model.hidden) * GATES * cells + cells * model.projection for channels in inputs
    )
    frame += model.projection * (model.outputs or model.bands)
    if model.auxiliary:
        frame += (model.bands + model.auxiliary_hidden) * model.auxiliary_hidden
    return round(frame * frames_per_second)
