"""A task is a model, a loss and a way to separate, behind the one interface of `base.Task`."""

from fgsep_jax.config import ConfigError
from fgsep_jax.tasks.base import Task
from fgsep_jax.tasks.foreground import ForegroundTask
from fgsep_jax.tasks.speech import SpeechTask

TASKS = {'speech': SpeechTask, 'foreground': ForegroundTask}


def make_task(config) -> Task:
    """Builds the task that `config.task` names."""
    if config.task not in TASKS:
        raise ConfigError(f'task = {config.task!r}: must be one of {", ".join(TASKS)}')
    return TASKS[config.task](config)
