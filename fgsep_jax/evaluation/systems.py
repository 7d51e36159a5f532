"""What can be evaluated: a trained model, an untrained one, an ideal mask.

A system is a function (source_BST, length_B, adaptation_BT or None) -> estimate_BST on float32
arrays. It is handed the sources because an oracle needs them; a model sees their sum alone. One
that has several devices takes a batch for each at once by `on_all`, and says how many by `devices`.
"""

import jax
from jax.sharding import PartitionSpec
import numpy as np

from fgsep_jax.training import mesh as mesh_lib


class ModelSystem:
    """The task's separation of the sum of the sources, jitted once a shape.

    Each device runs the program that a lone one would, and so to the same bits.

    Attributes:
      devices: of this host.
    """

    def __init__(self, task, params):
        mesh = mesh_lib.make_mesh(jax.local_devices())
        self.devices, self._params = mesh.size, params
        self._on_one = jax.jit(task.separate)
        if self.devices > 1:
            rows = PartitionSpec('data')
            self._everywhere = jax.device_put(params, mesh_lib.replicated(mesh))
            self._on_each = jax.jit(
                jax.shard_map(
                    task.separate,
                    mesh=mesh,
                    in_specs=(PartitionSpec(), rows, rows, rows),
                    out_specs=rows,
                    check_vma=False,
                )
            )

    def __call__(self, source_BST, length_B, adaptation_BT=None):
        mixture_BT = source_BST.sum(axis=1)
        return np.asarray(self._on_one(self._params, mixture_BT, length_B, adaptation_BT))

    def on_all(self, source_BST, length_B, adaptation_BT=None):
        """As the system, of `devices` batches one behind the other."""
        if self.devices == 1:
            return self(source_BST, length_B, adaptation_BT)
        mixture_BT = source_BST.sum(axis=1)
        return np.asarray(self._on_each(self._everywhere, mixture_BT, length_B, adaptation_BT))


def oracle_systems(task):
    """The task's upper bounds, {name: system}."""

    def make(oracle):
        return lambda source_BST, length_B, adaptation_BT=None: np.asarray(
            oracle(source_BST, length_B)
        )

    return {name: make(oracle) for name, oracle in task.oracles().items()}
