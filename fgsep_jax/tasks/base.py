"""The task interface: all that training, evaluation and separation know of a model."""

from typing import Protocol

import jax
import jax.numpy as jnp


class Task(Protocol):
    """Model, loss and separation of one kind of experiment.

    Attributes:
      source_names: what each estimate is; empty where their order is free.
    """

    source_names: tuple[str, ...]

    def init(self, rng: jax.Array):
        """Returns the initial parameters."""

    def check_data(self, config):
        """Raises RuleError where the section `data` of a configuration does not suit the model."""

    def multiply_accumulates(self) -> int:
        """Returns how many a second of audio takes to separate."""
        ...

    def loss(self, params, batch, rng: jax.Array):
        """Loss of each example of a batch.

        Args:
          params: parameters as `init` returns them.
          batch: {'source_BST' int16, whose sum over S is the mixture, those that are estimated
            first, optional 'length_B' int32 [samples], optional 'adaptation_BT' int16, ...}.
          rng: key for whatever the model draws.

        Returns:
          (loss_B, {name: value_B}), per example; the caller masks and reduces. A value that an
          example does not have is nan.
        """

    def scored(self, batch) -> jax.Array:
        """Returns which examples of a batch have a loss [B]; the others count for nothing."""
        ...

    def oracles(self):
        """Upper bounds: {name: function (source_BST, length_B) -> estimate_BST}."""

    def separate(self, params, mixture_BT: jax.Array, length_B=None, adaptation_BT=None):
        """Estimates the sources of mixtures.

        Args:
          params: parameters.
          mixture_BT: float32 in [-1, 1].
          length_B: true lengths [samples] where rows are zero-padded; the result up to there is
            what the row alone would give.
          adaptation_BT: background segment, for tasks that use one.

        Returns:
          estimate_BST of the mixture's length.
        """

    def probe(self, params, mixture_BT: jax.Array, length_B: jax.Array):
        """What is worth watching inside the model: {'gate_BKN': the first gated layer's gate,
        'valid_BK': False for frames of padding}.

        Args:
          params: parameters.
          mixture_BT: float32 in [-1, 1].
          length_B: true lengths in samples.

        Returns:
          Arrays by name; {} for a model that has none of them.
        """


def sounding(batch) -> jax.Array:
    """Which sources of a batch, as `Task.loss` takes it, are not silent (constant) [B, S]."""
    source_BST, length_B = jnp.asarray(batch['source_BST']), batch.get('length_B')
    varies_BST = source_BST != source_BST[..., :1]
    if length_B is not None:
        valid_BT = jnp.arange(source_BST.shape[-1])[None] < jnp.asarray(length_B)[:, None]
        varies_BST &= valid_BT[:, None]
    return varies_BST.any(axis=-1)
