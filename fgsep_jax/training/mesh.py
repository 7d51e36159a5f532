"""One data axis over all devices of all hosts: parameters replicated, batches split."""

import contextlib
import json
import math

import jax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
import numpy as np

from fgsep_jax import buckets, files, lock
from fgsep_jax.config import ConfigError

OWN = ('data.dir', 'data.read_threads', 'data.prefetch_batches')  # keys that are a host's own


def make_mesh(devices=None):
    """Mesh with the single axis 'data' over every device, or over those given.

    Explicit axes, the default of `jax.make_mesh`, do not work under linen.
    """
    count = jax.device_count() if devices is None else len(devices)
    return jax.make_mesh((count,), ('data',), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh):
    """Sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def of_state(state, mesh, *, shard_optimizer=False):
    """Shardings of a TrainState: whole on every device, the optimiser's arrays split if asked to.

    Args:
      state: TrainState, of arrays or their shapes.
      mesh: of the devices.
      shard_optimizer: whether each device holds its share alone of every moment that one of its
        axes can be split of evenly; each updates its share of the parameters then.

    Returns:
      A tree like `state`.
    """
    whole = replicated(mesh)
    shardings = jax.tree.map(lambda _: whole, state)
    if not shard_optimizer:
        return shardings

    def split(leaf):
        axis = next((i for i, n in enumerate(leaf.shape) if n and n % mesh.size == 0), None)
        spec = () if axis is None else (*[None] * axis, 'data')
        return NamedSharding(mesh, PartitionSpec(*spec))

    return shardings.replace(optimizer=jax.tree.map(split, state.optimizer))


def device_bytes(tree, shardings):
    """Bytes of a tree that each device holds."""
    sizes = jax.tree.map(
        lambda leaf, s: math.prod(s.shard_shape(leaf.shape)) * leaf.dtype.itemsize, tree, shardings
    )
    return sum(jax.tree.leaves(sizes))


def split_batch(mesh):
    """Sharding that splits the first axis over the devices."""
    return NamedSharding(mesh, PartitionSpec('data'))


def place_batch(batch, mesh):
    """Builds global arrays from this host's rows; what is not an array ('id') is left out."""
    sharding = split_batch(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
        if name != 'id'
    }


def local_copy(tree):
    """This host's copy of a tree, on its first device; all hosts at once where parts are split."""
    split = [leaf for leaf in jax.tree.leaves(tree) if not leaf.is_fully_replicated]
    if split:
        whole = replicated(split[0].sharding.mesh)
        tree = jax.jit(_same, out_shardings=whole)(tree)
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def _same(tree):
    return tree


def local_rows(array_B):
    """This host's rows of an array split over the first axis, as `place_batch` took them."""
    shards = sorted(array_B.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def gather(content):
    """Gathers one JSON-able value from every host into a list, the same on all of them."""
    if jax.process_count() == 1:
        return [content]
    data = np.frombuffer(json.dumps(content).encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.array([data.size]))).reshape(-1)
    padded = np.pad(data, (0, int(sizes.max()) - data.size))
    everyone = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [json.loads(bytes(row[:size]).decode()) for row, size in zip(everyone, sizes)]


def check_alike(config, **told):
    """Refuses what hosts were not told alike: they would train, or score, a blend of it.

    Args:
      config: ConfigDict, of which each host may have its own `OWN`.
      **told: further {what: JSON-able value} that must be equal on all hosts.

    Raises:
      ConfigError: on all hosts, naming one that differs from the first and in what.
    """
    flat = {k: v for k, v in files.flatten(config.to_dict()).items() if k not in OWN}
    first, *others = gather({**flat, **told})
    for number, other in enumerate(others, 1):
        names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if names:
            differs = '; '.join(
                f'{name} = {other.get(name)!r}, on host 0 {first.get(name)!r}' for name in names[:3]
            )
            raise ConfigError(
                f'host {number} of {len(others) + 1} was started with {differs}: all hosts of a run'
                ' need the same command and the same data'
            )


@contextlib.contextmanager
def hold(folder, doing, *, flag=''):
    """Locks a folder as `lock.held` does, on the first host in the name of all.

    Yields:
      The Lock; None on the other hosts.

    Raises:
      OSError: on all hosts, where another process holds it or it cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        held, refusal, again = None, '', False
        if jax.process_index() == 0:
            try:
                held = stack.enter_context(lock.held(folder, doing, flag=flag))
            except OSError as error:
                refusal, again = str(error), buckets.may_pass(error)
        refusal, again = gather([refusal, again])[0]
        if refusal:
            refused = lock.Locked(refusal)
            refused.again = again
            raise refused
        if jax.process_index():
            buckets.bring(folder)
        yield held
