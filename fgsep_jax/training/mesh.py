"""One data axis over all devices of all hosts: parameters replicated, batches split."""

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def make_mesh():
    """Mesh with the single axis 'data' over every device.

    Explicit axes, the default of `jax.make_mesh`, do not work under linen.
    """
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicated(mesh):
    """Sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh):
    """Sharding that splits the first axis over the devices."""
    return NamedSharding(mesh, PartitionSpec('data'))


def place_batch(batch, mesh):
    """Builds global arrays from this host's rows; what is not an array ('id') is left out."""
    sharding = split_batch(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value)
            for name, value in batch.items() if name != 'id'}


def local_copy(tree):
    """This host's copy of a replicated tree, on its first device."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)
