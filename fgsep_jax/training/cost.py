"""What a run costs before it runs: parameters, operations, bytes, hours."""

import functools
import math
import os
import time

import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax import config as config_lib, validate
from fgsep_jax.data import pipeline
from fgsep_jax.names import counted
from fgsep_jax.tasks import make_task
from fgsep_jax.training import mesh as mesh_lib
from fgsep_jax.training.logging import duration
from fgsep_jax.training.state import init_state, parameter_count
from fgsep_jax.training.step import jit_train_step

TOO_SLOW_SECONDS = 48 * 3600
MEASURED_STEPS, MEASURED_SECONDS = 20, 5.0  # at most, of `measure`
WORTH_A_FORECAST = 1e14  # multiply-accumulates forward; an hour or so on two cores


def steps_per_epoch(config, examples):
    """Whole batches in one pass over the training examples."""
    return max(examples // config.data.batch_size, 1)


def describe(config, *, state, compiled, examples, short, devices):
    """The lines printed at the start of a run.

    Args:
      config: an experiment's ConfigDict.
      state: TrainState.
      compiled: the compiled train step.
      examples: training examples that are used.
      short: how many are shorter than a segment.
      devices: number of devices.

    Returns:
      A text of several lines.
    """
    memory = compiled.memory_analysis()
    macs = make_task(config).multiply_accumulates()
    ways = [f', {config.model.dtype}'] * (config.model.dtype != 'float32')
    remat = config.model.get('separator', {}).get('remat')
    ways += [', blocks computed again in the backward pass'] * bool(remat)
    minutes = config.training.minutes
    minutes = f' at most, {minutes:g} min' if minutes else ''
    moments = jax.tree.map(lambda leaf: leaf.sharding, state.optimizer)
    held = mesh_lib.device_bytes(state.optimizer, moments)
    split = f', split over {devices}' * config.training.shard_optimizer
    lines = [
        f'parameters         {parameter_count(state.params):,}',
        f'MACs               {macs / 1e9:.2f} G per second of audio{"".join(ways)}',
        f'memory             {_gigabytes(memory)} per device and step' if memory else '',
        f'optimiser          {held / 1e6:.4g} MB per device{split}',
        f'training           {counted(examples, "mixture")} ({short} shorter than'
        f' {config.data.segment_seconds * (1 + config.data.speed):g} s: '
        f'{"dropped" if config.data.short == "drop" else "zero-padded and masked"}),'
        f' {counted(steps_per_epoch(config, examples), "step")} an epoch,'
        f' {counted(config.training.epochs, "epoch")}{minutes}',
        f'devices            {devices} x {jax.devices()[0].device_kind}',
    ]
    return '\n'.join(line for line in lines if line)


def forecast(config, task, params, *, steps, examples, most=math.inf):
    """Says before anything large is compiled if a CPU would take days; None where it would not.

    One second of audio is separated and timed; a training step is taken to cost three times
    that for each second of its batch.

    Args:
      config: an experiment's ConfigDict.
      task: its Task.
      params: parameters.
      steps: steps to go.
      examples: training examples that are used.
      most: seconds, after which the training ends all the same.

    Returns:
      A text, or None.
    """
    if jax.default_backend() != 'cpu' or _work(config, examples) < WORTH_A_FORECAST:
        return None
    mixture_BT = jnp.zeros((1, config.data.sample_rate), jnp.float32)
    adaptation_BT = None
    if config.data.adaptation_seconds:
        adaptation_BT = jnp.zeros((1, config_lib.adaptation_samples(config)), jnp.float32)
    arguments = params, mixture_BT, None, adaptation_BT
    separate = jax.jit(task.separate).lower(*arguments).compile()
    times = []
    for _ in range(3):
        began = time.monotonic()
        jax.block_until_ready(separate(*arguments))
        times.append(time.monotonic() - began)
    seconds = 3 * min(times) * config.data.batch_size * config.data.segment_seconds
    return outlook(
        config,
        seconds_per_step=seconds,
        steps_left=steps,
        examples=examples,
        most=most,
        basis='estimated from one forward pass',
    )


def outlook(config, *, seconds_per_step, steps_left, examples, most=math.inf, basis='measured'):
    """How long the run takes at a rate; if too long, which preset would fit.

    Args:
      config: an experiment's ConfigDict.
      seconds_per_step: the rate.
      steps_left: steps to go.
      examples: training examples that are used.
      most: seconds, after which the training ends all the same.
      basis: where the rate comes from.

    Returns:
      A text of one line.
    """
    left = min(seconds_per_step * steps_left, most)
    rate = config.data.batch_size / seconds_per_step
    text = f'{rate:.2g} examples/s ({basis}): the training ends in {duration(left)}'
    if left < TOO_SLOW_SECONDS:
        return text
    here = _work(config, examples)
    fits = []
    for preset in config_lib.SIZES:
        smaller = config_lib.resized(config, preset)
        if smaller is None:
            continue
        seconds = left * _work(smaller, examples) / here
        if seconds < TOO_SLOW_SECONDS:
            fits.append(f':{preset} (about {duration(seconds)})')
    return f'{text}. This machine is too slow for it; ' + (
        f'presets that fit: {", ".join(fits)}' if fits else 'no preset fits either'
    )


def check_memory(compiled):
    """Stops a run whose step cannot fit into this machine's memory, before it is killed for it.

    Raises:
      ConfigError: on a CPU whose memory is smaller than the compiled step needs.
    """
    memory = compiled.memory_analysis()
    if memory is None or jax.default_backend() != 'cpu':
        return
    here = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if memory.argument_size_in_bytes + memory.temp_size_in_bytes > here:
        raise config_lib.ConfigError(
            f'one training step needs {_gigabytes(memory)}, this machine has'
            f' {here / 2**30:.0f} GiB. Use a smaller preset (:small, :demo), or lower'
            ' data.batch_size or data.segment_seconds.'
        )


def measure(config, *, parts=0):
    """Training examples a second on this machine, by a few steps after compiling.

    Args:
      config: an experiment's ConfigDict.
      parts: of each mixture, see `pipeline.shapes`.
    """
    validate.validate(config, devices=jax.device_count())
    task, mesh = make_task(config), mesh_lib.make_mesh()
    start = functools.partial(init_state, task, config)
    shard = config.training.shard_optimizer
    shardings = mesh_lib.of_state(jax.eval_shape(start), mesh, shard_optimizer=shard)
    state = jax.jit(start, out_shardings=shardings)()
    size, rng = config.data.batch_size, np.random.default_rng(0)
    shapes = pipeline.shapes(config, parts=parts)
    batch = {name: rng.integers(0, 9999, *shape) for name, shape in shapes.items()}
    if 'row_B' in batch:
        batch['row_B'] = np.arange(size, dtype=np.int32)
    batch = mesh_lib.place_batch(batch, mesh)
    step = jit_train_step(task, config, mesh).lower(state, batch).compile()
    check_memory(step)
    state, *_ = jax.block_until_ready(step(state, batch))  # the first is slower
    began, steps = time.monotonic(), 0
    while steps < MEASURED_STEPS and (not steps or time.monotonic() - began < MEASURED_SECONDS):
        state, *_ = jax.block_until_ready(step(state, batch))
        steps += 1
    return size * steps / (time.monotonic() - began)


def example_macs(config):
    """Multiply-accumulates of a training example, forward."""
    return make_task(config).multiply_accumulates() * config.data.segment_seconds


def _work(config, examples):
    steps = config.training.epochs * steps_per_epoch(config, examples)
    return example_macs(config) * steps * config.data.batch_size


def _gigabytes(memory):
    total = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return f'{total / 2**30:.2f} GiB'
