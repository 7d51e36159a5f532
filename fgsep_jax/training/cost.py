"""What a run costs before it runs: parameters, operations, bytes, hours."""

import jax

from fgsep_jax import config as config_lib
from fgsep_jax.tasks import make_task
from fgsep_jax.training.logging import duration
from fgsep_jax.training.state import parameter_count

TOO_SLOW_SECONDS = 48 * 3600


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
    lines = [
        f'parameters         {parameter_count(state.params):,}',
        f'MACs               {macs / 1e9:.2f} G per second of audio',
        f'memory             {_gigabytes(memory)} per device and step' if memory else '',
        f'training           {examples:,} mixtures ({short} shorter than'
        f' {config.data.segment_seconds:g} s: '
        f'{"dropped" if config.data.short == "drop" else "zero-padded and masked"}),'
        f' {steps_per_epoch(config, examples)} steps an epoch, {config.training.epochs} epochs',
        f'devices            {devices} x {jax.devices()[0].device_kind}',
    ]
    return '\n'.join(line for line in lines if line)


def outlook(config, *, seconds_per_step, steps_left, examples):
    """How long the run takes at the measured rate; if too long, which preset would fit.

    Args:
      config: an experiment's ConfigDict.
      seconds_per_step: measured.
      steps_left: steps to go.
      examples: training examples that are used.

    Returns:
      A text of one or two lines.
    """
    left = seconds_per_step * steps_left
    rate = config.data.batch_size / seconds_per_step
    text = f'at the measured {rate:.2f} examples/s the training ends in {duration(left)}'
    if left < TOO_SLOW_SECONDS:
        return text
    here = _work(config, examples)
    fits = []
    for preset in config_lib.PRESETS:
        smaller = config_lib.with_preset(config, preset)
        seconds = left * _work(smaller, examples) / here
        if seconds < TOO_SLOW_SECONDS:
            fits.append(f':{preset} (about {duration(seconds)})')
    return (f'{text}. This machine is too slow for it; '
            + (f"presets that fit: {', '.join(fits)}" if fits else 'no preset fits either'))


def _work(config, examples):
    return make_task(config).multiply_accumulates() * (
        config.data.segment_seconds * config.training.epochs
        * steps_per_epoch(config, examples) * config.data.batch_size)


def _gigabytes(memory):
    total = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return f'{total / 2**30:.2f} GiB'
