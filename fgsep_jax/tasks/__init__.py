"""A task is a model, a loss and a way to separate, behind the one interface of `base.Task`."""

import traceback

import jax
import jax.numpy as jnp

from fgsep_jax.config import ConfigError, adaptation_samples, segment_samples
from fgsep_jax.names import shown
from fgsep_jax.tasks.base import Task
from fgsep_jax.tasks.foreground import ForegroundTask
from fgsep_jax.tasks.speech import SpeechTask

TASKS = {'speech': SpeechTask, 'foreground': ForegroundTask}


def make_task(config) -> Task:
    """Builds the task that `config.task` names."""
    if config.task not in TASKS:
        raise ConfigError(f'task = {config.task!r}: must be one of {", ".join(TASKS)}')
    return TASKS[config.task](config)


def check(config):
    """Traces a model, without computing anything, before what it is made of costs anybody time.

    Raises:
      ConfigError: one of its parts cannot be traced, or makes other shapes than the task's.
    """
    task, samples = make_task(config), segment_samples(config)
    mixture_BT = jax.ShapeDtypeStruct((2, samples), jnp.float32)
    length_B = jax.ShapeDtypeStruct((2,), jnp.int32)
    adaptation_BT = None
    if config.data.adaptation_seconds:
        adaptation_BT = jax.ShapeDtypeStruct((2, adaptation_samples(config)), jnp.float32)
    try:
        params = jax.eval_shape(task.init, jax.random.key(0))
        estimate = jax.eval_shape(task.separate, params, mixture_BT, length_B, adaptation_BT)
        batch = {'source_BST': jax.ShapeDtypeStruct((2, config.data.sources, samples), jnp.int16)}
        batch['length_B'] = length_B
        if adaptation_BT is not None:
            batch['adaptation_BT'] = jax.ShapeDtypeStruct(adaptation_BT.shape, jnp.int16)
        loss, _ = jax.eval_shape(task.loss, params, batch, jax.random.key(0))
    except ConfigError:  # which says what is wrong
        raise
    except Exception as error:  # whatever a part of somebody's own may raise
        first = (str(error).strip() or 'no reason is given').splitlines()[0]
        steps = traceback.extract_tb(error.__traceback__)
        step = [step for step in steps if 'site-packages' not in step.filename][-1]
        raise ConfigError(
            f'the model cannot be traced: {step.filename}, line {step.lineno}:'
            f' {type(error).__name__}: {shown(first)}'
        ) from error
    if loss.shape != (2,):
        raise ConfigError(f'loss.name: its function makes {loss.shape} of 2 examples, must be (2,)')
    wanted = (2, config.data.sources, samples)
    if estimate.shape != wanted:
        raise ConfigError(
            f'the model makes estimates of shape {estimate.shape} of 2 mixtures of {samples}'
            f' samples, must be {wanted}: [batch, sources, samples]'
        )
