"""Adam under gradient clipping, and the learning rate halved on a plateau (paper 2, section 4)."""

import jax.numpy as jnp
import optax


def make_optimizer(config):
    """Clipping by global norm, then Adam's direction; the step applies the learning rate."""
    return optax.chain(optax.clip_by_global_norm(config.training.clip_norm), optax.scale_by_adam())


def make_plateau(config):
    """Plateau rule, to be updated once an epoch with the validation loss.

    The relative tolerance must be 0: with optax's default a constant negative loss, and SI-SNR
    losses are negative, never counts as a plateau.
    """
    training = config.training
    return optax.contrib.reduce_on_plateau(
        factor=training.plateau_factor,
        patience=training.plateau_epochs,
        rtol=0.0,
        atol=training.plateau_tolerance,
    )


def update_plateau(plateau, state, loss):
    """Feeds one epoch's validation loss to the plateau rule.

    Args:
      plateau: rule from `make_plateau`.
      state: its state; `state.scale` multiplies the learning rate.
      loss: validation loss, a float. One that is not finite counts as no improvement.

    Returns:
      The new state.
    """
    loss = jnp.where(jnp.isfinite(loss), jnp.float32(loss), jnp.inf)
    # The rule also scales updates; only its state is wanted here.
    _, state = plateau.update(updates=jnp.zeros(()), state=state, value=loss)
    return state
