"""Tiny untrained models, as Separators and as run folders, and the command that takes them."""

import os

import jax

from fgsep_jax import config as config_lib, separate
from fgsep_jax.separation.model import Separator
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, state
import tiny


def separator(name, **overrides):
    """A Separator of an untrained model."""
    config = tiny.config('', name, **overrides)
    params = jax.jit(make_task(config).init)(jax.random.key(0))
    return Separator(config, params)


def run(folder, name, **overrides):
    """Writes a run folder whose model is untrained."""
    config = tiny.config('', name, **overrides)
    os.makedirs(folder)
    with open(os.path.join(folder, 'config.json'), 'w') as file:
        file.write(config_lib.to_json(config))
    checkpoints = checkpoint.Checkpoints(folder)
    start = state.init_state(make_task(config), config)
    checkpoints.save(1, start, {'config': config.to_dict()}, loss=1.0)
    checkpoints.close()
    return str(folder)


def command(*words):
    """Exit status of the command that separates."""
    try:
        separate.main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code
    return 0
