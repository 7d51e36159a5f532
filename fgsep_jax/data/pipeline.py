"""From a record source to batches: a global shuffle, random crops, one slice a host."""

import functools
import sys

import grain.python as grain
import numpy as np

from fgsep_jax.config import ConfigError, adaptation_samples, segment_samples
from fgsep_jax.names import counted


def crop(source_ST, start, into_ST):
    """Copies what `into_ST` has room for from `start` [samples] on; zeros behind a shorter signal.

    Returns:
      The samples that were there, the zeros not counted.
    """
    piece_ST = source_ST[:, start : start + into_ST.shape[1]]
    length = piece_ST.shape[1]
    into_ST[:, :length] = piece_ST
    into_ST[:, length:] = 0
    return length


def stack(examples, start_B, config):
    """A batch of one segment of each example, each copied once, from its record to its row.

    Args:
      examples: [B] records.Example; an iterator holds one of them at a time.
      start_B: where each segment begins [samples].
      config: an experiment's ConfigDict.

    Returns:
      {'id' list of str, 'source_BST' int16 (what the mixtures are the sums of: the sources, then
      the noise where there is any) with zeros behind a shorter signal, 'length_B' int32
      [samples], and where `data.adaptation_seconds` is not 0 'adaptation_BT' int16, repeated where
      shorter}.
    """
    size, adaptation = len(start_B), adaptation_samples(config)
    batch = {'id': [], 'length_B': np.empty(size, np.int32)}
    if adaptation:
        batch['adaptation_BT'] = np.empty((size, adaptation), np.int16)
    for b, (example, start) in enumerate(zip(examples, start_B, strict=True)):
        parts_ST = example.parts_ST
        if not b:
            shape = size, len(parts_ST), segment_samples(config)
            batch['source_BST'] = np.empty(shape, np.int16)
        batch['id'].append(example.id)
        batch['length_B'][b] = crop(parts_ST, start, batch['source_BST'][b])
        if adaptation:
            segment_T = example.adaptation_T[:adaptation]
            batch['adaptation_BT'][b] = (
                segment_T if len(segment_T) == adaptation else np.resize(segment_T, adaptation)
            )
    return batch


def usable(source, config):
    """Indices of the training examples that `data.short` admits, and how many are short.

    Returns:
      (indices [n] int64, number of examples shorter than a segment).

    Raises:
      ConfigError: fewer examples remain than a batch holds.
    """
    length = segment_samples(config)
    short = np.asarray(source.lengths) < length
    indices = np.flatnonzero(~short) if config.data.short == 'drop' else np.arange(len(source))
    if len(indices) < config.data.batch_size:
        raise ConfigError(
            f'data.batch_size = {config.data.batch_size}, but only {len(indices)} of the'
            f' {counted(len(source), "training mixture")} can be used ({int(short.sum())} are'
            ' shorter than'
            f' data.segment_seconds = {config.data.segment_seconds}). Lower either, or set'
            ' data.short to pad.'
        )
    return indices, int(short.sum())


@functools.lru_cache(maxsize=2)  # around an epoch's end two are in use
def _order(seed, epoch, examples):
    return np.random.default_rng((seed, 0, epoch)).permutation(examples)


class _TrainBatches:
    """Random-access source of this host's training batches, `batches[step]`.

    A source of batches, not of examples: what grain spends on an element is then spent once a
    batch. Order and crops are drawn for the global batch, of which each host takes its rows, so
    that any number of hosts sees the same global batches.
    """

    def __init__(self, source, config, host, hosts):
        self._source, self._config, self._rows = source, config, slice(host, None, hosts)
        self._indices, short = usable(source, config)
        self._keep_length = short > 0 and config.data.short == 'pad'

    def __len__(self):
        return sys.maxsize

    def __getitem__(self, step):
        seed, size, examples = self._config.seed, self._config.data.batch_size, len(self._indices)
        places = (divmod(i, examples) for i in range(step * size, (step + 1) * size))
        index_B = self._indices[[_order(seed, epoch, examples)[i] for epoch, i in places]]
        room_B = np.maximum(self._source.lengths[index_B] - segment_samples(self._config), 0)
        start_B = np.random.default_rng((seed, 1, step)).integers(room_B, endpoint=True)
        batch = stack(
            (self._source[i] for i in index_B[self._rows]), start_B[self._rows], self._config
        )
        if not self._keep_length:
            del batch['length_B']
        return batch


def train_batches(source, config, *, host=0, hosts=1):
    """Endless training batches of this host, a pure function of the seed and the position.

    Args:
      source: a RecordSource of the training split.
      config: an experiment's ConfigDict.
      host: index of this process.
      hosts: number of processes; `data.batch_size` is split evenly over them.

    Returns:
      A grain iterator of what `stack` returns, with `get_state` and `set_state`. 'length_B' is left
      out where no mixture is shorter than a segment, so that a model need not mask anything.
    """
    return iter(
        grain.MapDataset.source(_TrainBatches(source, config, host, hosts)).to_iter_dataset(
            grain.ReadOptions(
                num_threads=config.data.read_threads,
                prefetch_buffer_size=config.data.prefetch_batches,
            )
        )
    )


def first_segments(examples, config):
    """A batch of the first segment of each example, zero-padded where shorter."""
    return stack(examples, np.zeros(len(examples), int), config)


def validation_batches(source, config, *, host=0, hosts=1):
    """Every validation mixture once, in order: its first segment, zero-padded where shorter.

    The last batch is filled up with valid_B False, so that all hosts make the same number of steps
    and no example counts twice.

    Yields:
      {'id', 'source_BST', 'length_B', maybe 'adaptation_BT', 'valid_B' bool}, this host's rows
      of each global batch.
    """
    size = config.data.batch_size
    local = size // hosts
    for first in range(0, len(source), size):
        rows = range(first + host * local, first + (host + 1) * local)
        examples = [source[min(i, len(source) - 1)] for i in rows]
        batch = first_segments(examples, config)
        batch['valid_B'] = np.array(rows) < len(source)
        yield batch
