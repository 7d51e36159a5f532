"""Tiny untrained models, as Separators and as run folders, and the command that takes them."""

import functools
import os
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax import config as config_lib, separate
from fgsep_jax.separation import model as model_lib
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, state
import tiny


@functools.cache
def separator(name, **overrides):
    """A Separator of an untrained model, whose norms and slopes are not the initial ones; one for
    all tests that ask for it, so that it is compiled once."""
    config = tiny.config('', name, **overrides)
    random = np.random.default_rng(0)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            {'scale': 1.0, 'slope': 0.25}.get(path[-1].key, 0.0)
            + 0.3 * random.standard_normal(leaf.shape).astype(np.float32)
        ),
        jax.eval_shape(make_task(config).init, jax.random.key(0)),
    )
    return model_lib.Separator(config, jax.tree.map(jnp.asarray, params))


def run(folder, name, **overrides):
    """Writes a run folder whose model is untrained."""
    model = separator(name, **overrides)
    os.makedirs(folder)
    with open(os.path.join(folder, 'config.json'), 'w') as file:
        file.write(config_lib.to_json(model.config))
    checkpoints = checkpoint.Checkpoints(folder)
    start = state.init_state(model.task, model.config, model.parameters)
    checkpoints.save(1, start, {'config': model.config.to_dict()}, loss=1.0)
    checkpoints.close()
    return str(folder)


def command(*words):
    """Exit status of the command that separates.

    A model that one command has loaded, and compiled, the next has loaded, too.
    """
    with mock.patch.object(model_lib, 'load', _load):
        try:
            separate.main([str(word) for word in words])
        except SystemExit as stop:
            return stop.code
    return 0


def _load(path):
    return _loaded(path, model_lib.about(path).identity)


@functools.cache
def _loaded(path, identity, load=model_lib.load):
    del identity
    return load(path)
