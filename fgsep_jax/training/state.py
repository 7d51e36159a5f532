"""Everything of a run that changes with its steps, but for the data position."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from fgsep_jax.training.optimizer import make_optimizer, make_plateau


@flax.struct.dataclass
class TrainState:
    """State of a run after `step` steps.

    Attributes:
      step: steps taken, the skipped ones counted.
      params: the model's parameters, float32.
      optimizer: Adam's moments and count.
      plateau: state of the learning-rate rule.
      skipped: steps skipped for a loss or gradient that was not finite.
      skipped_in_row: how many of them since the last good step.
      average: moving average of the parameters; () where `training.ema` is 0.
    """

    step: jax.Array
    params: Any
    optimizer: Any
    plateau: Any
    skipped: jax.Array
    skipped_in_row: jax.Array
    average: Any = ()

    @property
    def evaluated(self):
        """The parameters that are validated, evaluated and exported."""
        return self.params if isinstance(self.average, tuple) else self.average


def init_state(task, config, params=None):
    """State before the first step, of an untrained model a function of `config.seed` alone.

    Args:
      task, config: of the run.
      params: to start from; None for the untrained model's.
    """
    if params is None:
        params = task.init(jax.random.key(config.seed))
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        params=params,
        optimizer=make_optimizer(config).init(params),
        plateau=make_plateau(config).init(params),
        skipped=zero,
        skipped_in_row=zero,
        average=jax.tree.map(jnp.copy, params) if config.training.ema else (),
    )


def parameter_count(params):
    """Number of scalars in a tree of arrays or of shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
