"""What can be evaluated: a trained model, an untrained one, an ideal mask.

A system is a function (source_BST, length_B, adaptation_BT or None) -> estimate_BST on float32
arrays. It is handed the sources because an oracle needs them; a model sees their sum alone.
"""

import jax
import numpy as np


def model_system(task, params):
    """The task's separation of the sum of the sources, jitted once a shape."""
    separate = jax.jit(task.separate)

    def system(source_BST, length_B, adaptation_BT=None):
        return np.asarray(separate(params, source_BST.sum(axis=1), length_B, adaptation_BT))

    return system


def oracle_systems(task):
    """The task's upper bounds, {name: system}."""

    def make(oracle):
        return lambda source_BST, length_B, adaptation_BT=None: np.asarray(
            oracle(source_BST, length_B)
        )

    return {name: make(oracle) for name, oracle in task.oracles().items()}
