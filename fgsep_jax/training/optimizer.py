"""Adam under gradient clipping, and the learning rate halved on a plateau (paper 2, section 4)."""

import functools

import jax
import jax.numpy as jnp
import optax


def make_optimizer(config):
    """Clipping by global norm, then Adam's or AdamW's direction; the step applies the rate."""
    steps = [optax.clip_by_global_norm(config.training.clip_norm), optax.scale_by_adam()]
    if config.training.weight_decay:
        steps.append(optax.add_decayed_weights(config.training.weight_decay, _are_kernels))
    return optax.chain(*steps)


def _are_kernels(params):
    """Which parameters are matrices or filters: no bias, slope or scale of a norm."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path[-1:], simple=True) == 'kernel', params
    )


def make_rate(config, steps):
    """The learning rate as a function of (steps taken, the plateau rule's scale).

    It rises in a line over the first `training.warmup_steps`. Then it is the plateau rule's, or
    falls along half a cosine to nothing behind the last step.

    Args:
      config: an experiment's ConfigDict.
      steps: of the whole run.
    """
    training = config.training
    return functools.partial(
        _rate,
        learning_rate=training.learning_rate,
        warmup=training.warmup_steps,
        cosine_steps=max(steps - training.warmup_steps, 1) * (training.schedule == 'cosine'),
    )


def _rate(step, scale, *, learning_rate, warmup, cosine_steps):
    rate = learning_rate
    if cosine_steps:
        share = jnp.clip((step - warmup) / cosine_steps, 0, 1)
        rate = rate * (1 + jnp.cos(jnp.pi * share)) / 2
    else:
        rate = rate * scale
    if warmup:
        rate = rate * jnp.minimum((step + 1) / warmup, 1)
    return rate


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
