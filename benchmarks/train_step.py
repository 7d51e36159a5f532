"""The train step of a run, with its state and one batch: our side of several benchmarks."""

import jax
import numpy as np

from fgsep_jax import config as config_lib
from fgsep_jax.tasks import make_task
from fgsep_jax.training import mesh as mesh_lib, state as state_lib, step as step_lib

# Of a Conv-TasNet where all that counts is that it runs: keys of the config's section `model`.
SMALL = dict(basis=8, bottleneck=4, hidden=8, skip=4, blocks=1, repeats=1)


def noise(config, *, seed=0):
    """Sources of a batch: 16-bit noise [batch, sources, samples], a tenth of full scale."""
    shape = config.data.batch_size, config.data.sources, config_lib.segment_samples(config)
    pcm_BST = np.random.default_rng(seed).normal(0, 3000, shape)
    return pcm_BST.clip(-32768, 32767).astype(np.int16)


class TrainStep:
    """Called, takes one step and waits for it; returns the loss.

    Args:
      config: an experiment's ConfigDict.
      **batch: arrays as the task's loss takes them, 'source_BST' among them.

    Attributes:
      task: the Task.
      params: the initial parameters; the steps do not touch them.
      state: the TrainState after the last step.
      batch: the placed arrays.
    """

    def __init__(self, config, **batch):
        mesh, self.task = mesh_lib.make_mesh(), make_task(config)
        # Placed as the step leaves it, which would else be compiled twice.
        self.state = jax.jit(
            lambda: state_lib.init_state(self.task, config), out_shardings=mesh_lib.replicated(mesh)
        )()
        self.params = jax.tree.map(lambda leaf: leaf.copy(), self.state.params)
        self.batch = mesh_lib.place_batch(batch, mesh)
        self._step = step_lib.jit_train_step(self.task, config, mesh)

    def __call__(self):
        self.state, metrics, _ = self._step(self.state, self.batch)
        return jax.block_until_ready((self.state, metrics['loss']))[1]
