"""From a record source to batches: a global shuffle, random crops, one slice a host."""

import functools
import math
import sys
from typing import Any
import zlib

import grain.python as grain
import numpy as np

from fgsep_jax.config import ConfigError, adaptation_samples, segment_samples
from fgsep_jax.data.records import parts_of
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


def stack(examples, start_BS, config, samples):
    """A batch of one segment of each example, each copied once, from its record to its row.

    Args:
      examples: [B] records.Example; an iterator holds one of them at a time.
      start_BS: where each segment begins [samples], of each source or of all alike [B, 1].
      config: an experiment's ConfigDict.
      samples: of a segment.

    Returns:
      {'id' list of str, 'source_BST' int16 (what the mixtures are the sums of: the sources, then
      the noise where there is any) with zeros behind a shorter signal, 'length_B' int32
      [samples], and where `data.adaptation_seconds` is not 0 'adaptation_BT' int16, repeated where
      shorter}.
    """
    size, adaptation = len(start_BS), adaptation_samples(config)
    batch = {'id': [], 'length_B': np.empty(size, np.int32)}
    if adaptation:
        batch['adaptation_BT'] = np.empty((size, adaptation), np.int16)
    for b, (example, start_S) in enumerate(zip(examples, start_BS, strict=True)):
        parts_ST = example.parts_ST
        if not b:
            batch['source_BST'] = np.empty((size, len(parts_ST), samples), np.int16)
        batch['id'].append(example.id)
        for s, start in enumerate(start_S):
            rows = slice(s, s + 1) if len(start_S) > 1 else slice(None)
            batch['length_B'][b] = crop(parts_ST[rows], start, batch['source_BST'][b, rows])
        if adaptation:
            segment_T = example.adaptation_T[:adaptation]
            batch['adaptation_BT'][b] = (
                segment_T if len(segment_T) == adaptation else np.resize(segment_T, adaptation)
            )
    return batch


def _read_samples(config):
    """Samples that a training segment is made of: more of them where it may be played faster."""
    samples = segment_samples(config)
    return samples + math.ceil(samples * config.data.speed)


def usable(source, config):
    """Indices of the training examples that `data.short` admits, and how many are short.

    Returns:
      (indices [n] int64, number of examples shorter than a segment).

    Raises:
      ConfigError: fewer examples remain than a batch holds.
    """
    length = _read_samples(config)
    short = np.asarray(source.lengths) < length
    indices = np.flatnonzero(~short) if config.data.short == 'drop' else np.arange(len(source))
    if len(indices) < config.data.batch_size:
        more = f' and data.speed = {config.data.speed:g} of it' if config.data.speed else ''
        raise ConfigError(
            f'data.batch_size = {config.data.batch_size}, but only {len(indices)} of the'
            f' {counted(len(source), "training mixture")} can be used ({int(short.sum())} are'
            ' shorter than'
            f' data.segment_seconds = {config.data.segment_seconds}{more}). Lower either, or set'
            ' data.short to pad.'
        )
    return indices, int(short.sum())


@functools.lru_cache(maxsize=2)  # around an epoch's end two are in use
def _order(seed, epoch, examples):
    return np.random.default_rng((seed, 0, epoch)).permutation(examples)


def _number(name):
    """A speaker or recording as a number that is another's once in 2**32 pairs."""
    return np.uint32(zlib.crc32(name.encode(errors='surrogatepass')))


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
        samples, remix = _read_samples(self._config), self._config.data.remix
        room_BS = np.maximum(self._source.lengths[index_B] - samples, 0)[:, None]
        if remix:  # a place of its own for each source
            room_BS = np.repeat(room_BS, parts_of(self._source.metadata), axis=1)
        start_BS = np.random.default_rng((seed, 1, step)).integers(room_BS, endpoint=True)
        names = []

        def read():
            for i in index_B[self._rows]:
                example = self._source[i]
                noise = [example.id] * (example.noise_T is not None)  # which meets anybody
                names.append([_number(name) for name in (*example.source_ids, *noise)])
                yield example

        batch = stack(read(), start_BS[self._rows], self._config, samples)
        if remix:
            batch['name_BS'] = np.array(names)
        if remix or self._config.data.speed:
            batch['row_B'] = np.arange(size, dtype=np.int32)[self._rows]
        if not self._keep_length:
            del batch['length_B']
        return batch


def shapes(config, *, parts=0, padded=False):
    """{name: (shape, type)} of a training batch of all hosts, without what it is named.

    Args:
      config: an experiment's ConfigDict.
      parts: of each mixture, see `records.parts_of`; 0: the sources, and one more where
        `data.targets` leaves what is noise to it.
      padded: whether some mixtures are shorter than a segment.
    """
    data = config.data
    size, parts = data.batch_size, parts or data.sources + bool(data.targets)
    made: dict[str, Any] = {'source_BST': ((size, parts, _read_samples(config)), np.int16)}
    if padded:
        made['length_B'] = ((size,), np.int32)
    if data.adaptation_seconds:
        made['adaptation_BT'] = ((size, adaptation_samples(config)), np.int16)
    if data.remix:
        made['name_BS'] = ((size, parts), np.uint32)
    if data.remix or data.speed:
        made['row_B'] = ((size,), np.int32)
    return made


def train_batches(source, config, *, host=0, hosts=1):
    """Endless training batches of this host, a pure function of the seed and the position.

    Args:
      source: a RecordSource of the training split.
      config: an experiment's ConfigDict.
      host: index of this process.
      hosts: number of processes; `data.batch_size` is split evenly over them.

    Returns:
      A grain iterator of what `stack` returns, with `get_state` and `set_state`; for
      `training.augment`, where it has anything to do, also 'row_B', which row of all hosts' each
      is, 'name_BS' uint32, whose each source is, and segments long enough to be played faster.
      'length_B' is left out where no mixture is shorter than a segment, so that a model need not
      mask anything.
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
    start_BS = np.zeros((len(examples), 1), int)
    return stack(examples, start_BS, config, segment_samples(config))


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
