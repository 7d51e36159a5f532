"""The train and validation steps as pure functions, and their sharded, jitted forms."""

import functools

import jax
import jax.numpy as jnp
import optax

from fgsep_jax.config import segment_samples
from fgsep_jax.metrics.aggregate import Mean
from fgsep_jax.training import mesh as mesh_lib
from fgsep_jax.training.augment import augment
from fgsep_jax.training.optimizer import make_optimizer, make_rate
from fgsep_jax.training.state import init_state


def train_step(
    state, batch, *, task, optimizer, learning_rate, seed, augment=None, accumulate=1, ema=0.0
):
    """One step of gradient descent; skipped whole where loss or gradient is not finite.

    The loss is the mean over the examples that the task scores; a step without any changes nothing
    but the counters, and its loss is nan.

    Args:
      state: TrainState.
      batch: arrays as `task.loss` takes them.
      task: a Task.
      optimizer: optax transformation from `make_optimizer`.
      learning_rate: function of (steps taken, the plateau rule's scale), see `make_rate`.
      seed: of the run; the step's key is folded from it, so that no key need be saved.
      augment: function of (batch, key) that makes another batch of it; None for none.
      accumulate: parts in which the batch is worked off, one after the other.
      ema: decay of the moving average of the parameters, smaller in the first steps; 0 for none.

    Returns:
      (TrainState, {'loss', 'gradient_norm', 'learning_rate', 'unscored' (examples), 'skipped',
      'skipped_in_row', 'finite', and the task's own values} as scalars, whether each loss was
      finite [B]).
    """
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    if augment:
        batch = augment(batch, jax.random.fold_in(rng, 0))
    scored_B = task.scored(batch)
    count = scored_B.sum()

    @functools.partial(jax.value_and_grad, has_aux=True)
    def mean_loss(params, batch, scored_B, rng):
        loss_B, values = task.loss(params, batch, rng)
        total = jnp.where(scored_B, loss_B, 0).sum()
        return total / jnp.maximum(count, 1), (loss_B, values)

    if accumulate == 1:
        (loss, (loss_B, values)), gradient = mean_loss(state.params, batch, scored_B, rng)
    else:
        loss, (loss_B, values), gradient = _in_parts(
            functools.partial(mean_loss, state.params), (batch, scored_B), rng, accumulate
        )
    norm = optax.tree.norm(gradient)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    direction, moments = optimizer.update(gradient, state.optimizer, state.params)
    rate = learning_rate(state.step, state.plateau.scale)
    params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)

    def keep(new, old):
        taken = finite & (count > 0)  # momentum would move the parameters without a gradient
        return jax.tree.map(lambda n, o: jnp.where(taken, n, o), new, old)

    bad = 1 - finite.astype(jnp.int32)
    params = keep(params, state.params)
    if ema:
        decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
        mean = jax.tree.map(lambda m, p: decay * m + (1 - decay) * p, state.average, params)
        state = state.replace(average=keep(mean, state.average))
    state = state.replace(
        step=state.step + 1,
        params=params,
        optimizer=keep(moments, state.optimizer),
        skipped=state.skipped + bad,
        skipped_in_row=bad * (state.skipped_in_row + 1),
    )
    return (
        state,
        {
            **{name: _divided(mean) for name, mean in _means(values, scored_B).items()},
            'loss': jnp.where(count > 0, loss, jnp.nan),
            'gradient_norm': norm,
            'learning_rate': rate,
            'finite': finite,
            'unscored': scored_B.size - count,
            'skipped': state.skipped,
            'skipped_in_row': state.skipped_in_row,
        },
        jnp.isfinite(loss_B) | ~scored_B,
    )


def _in_parts(mean_loss, rows, rng, count):
    """Sums of `mean_loss` over parts of a batch, which share its devices evenly.

    Args:
      mean_loss: (part, its scores, key) -> ((loss, values an example), gradient).
      rows: tree of arrays [B, ...].
      rng: key.
      count: of the parts.

    Returns:
      (loss, values [B], gradient).
    """
    parts = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), rows)

    def step(sums, part):
        rows, key = part
        (loss, values), gradient = mean_loss(*rows, key)
        return jax.tree.map(jnp.add, sums, (loss, gradient)), values

    first = (jax.tree.map(lambda x: x[0], parts), rng)
    shapes = jax.eval_shape(lambda rows, key: mean_loss(*rows, key), *first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (shapes[0][0], shapes[1]))
    (loss, gradient), values = jax.lax.scan(step, zeros, (parts, jax.random.split(rng, count)))
    return loss, jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1), values), gradient


def _means(values, scored_B):
    """Mean of each value over the examples that are scored and have it, as sum and count."""
    return {
        name: Mean.from_values(value_B, scored_B & ~jnp.isnan(value_B))
        for name, value_B in values.items()
    }


def _divided(mean):
    return jnp.where(mean.count > 0, mean.total / jnp.maximum(mean.count, 1), jnp.nan)


def validation_step(params, batch, *, task):
    """Sums of the loss and the task's values over the examples that count.

    Args:
      params: parameters.
      batch: as for `task.loss`, with valid_B False on filled-up rows.
      task: a Task.

    Returns:
      {'loss': Mean, name: Mean}, to be merged over batches and divided once.
    """
    loss_B, values = task.loss(params, batch, jax.random.key(0))
    scored_B = task.scored(batch) & (batch['valid_B'])
    return {'loss': Mean.from_values(loss_B, scored_B), **_means(values, scored_B)}


def jit_train_step(task, config, mesh, *, steps=1):
    """`train_step` over a mesh: (state, batch) -> (state, metrics, finite_B); donates the state.

    Args:
      task, config: of the run.
      mesh: of its devices.
      steps: of the whole run, that a schedule ends with.
    """
    data, training = config.data, config.training
    augments = data.remix or data.speed
    step = functools.partial(
        train_step,
        task=task,
        optimizer=make_optimizer(config),
        learning_rate=make_rate(config, steps),
        seed=config.seed,
        augment=functools.partial(
            augment,
            samples=segment_samples(config),
            remix=data.remix,
            remix_db=data.remix_db,
            speed=data.speed,
        )
        if augments
        else None,
        accumulate=training.accumulate,
        ema=training.ema,
    )
    replicated, split = mesh_lib.replicated(mesh), mesh_lib.split_batch(mesh)
    state = replicated
    if training.shard_optimizer:
        shapes = jax.eval_shape(lambda: init_state(task, config))
        state = mesh_lib.of_state(shapes, mesh, shard_optimizer=True)
    return jax.jit(
        step,
        in_shardings=(state, split),
        out_shardings=(state, replicated, split),
        donate_argnums=0,
    )


def jit_validation_step(task, mesh):
    """`validation_step` over a mesh: (params, batch) -> {name: Mean}."""
    replicated = mesh_lib.replicated(mesh)
    return jax.jit(
        functools.partial(validation_step, task=task),
        in_shardings=(replicated, mesh_lib.split_batch(mesh)),
        out_shardings=replicated,
    )
