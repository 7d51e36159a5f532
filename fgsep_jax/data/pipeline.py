"""From a record source to batches: a global shuffle, random crops, one slice a host."""

import grain.python as grain
import numpy as np

from fgsep_jax.config import ConfigError, adaptation_samples, segment_samples


def crop(source_ST, length, start):
    """Cuts `length` samples from `start` [samples], zeros behind a signal that is shorter."""
    piece_ST = source_ST[:, start:start + length]
    return np.pad(piece_ST, ((0, 0), (0, length - piece_ST.shape[1])))


class _RandomCrop(grain.RandomMapTransform):
    def __init__(self, length, adaptation_length):
        self._length, self._adaptation_length = length, adaptation_length

    def random_map(self, example, rng):
        source_ST = example.sources_ST
        samples = source_ST.shape[1]
        start = int(rng.integers(max(samples - self._length, 0) + 1))
        return segment(example, self._length, self._adaptation_length, start=start)


def segment(example, length, adaptation_length, *, start=0):
    """What a batch holds of one example.

    Args:
      example: records.Example.
      length: of the segment [samples]; zeros behind a shorter signal.
      adaptation_length: of the adaptation segment [samples], repeated where shorter; 0: none.
      start: of the segment [samples].

    Returns:
      {'id', 'source_ST' int16, 'length' int32 [samples], maybe 'adaptation_T' int16}.
    """
    made = {'id': example.id, 'source_ST': crop(example.sources_ST, length, start),
            'length': np.int32(min(example.sources_ST.shape[1], length))}
    if adaptation_length:
        made['adaptation_T'] = np.resize(example.adaptation_T, adaptation_length)
    return made


def _stack(segments):
    batch = {'id': [one['id'] for one in segments],
             'source_BST': np.stack([one['source_ST'] for one in segments]),
             'length_B': np.stack([one['length'] for one in segments])}
    if 'adaptation_T' in segments[0]:
        batch['adaptation_BT'] = np.stack([one['adaptation_T'] for one in segments])
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
            f' {len(source)} training mixtures can be used ({int(short.sum())} are shorter than'
            f' data.segment_seconds = {config.data.segment_seconds}). Lower either, or set'
            ' data.short to pad.')
    return indices, int(short.sum())


class _Subset:
    """Random-access source of some examples of another."""

    def __init__(self, source, indices):
        self._source, self._indices = source, indices

    def __len__(self):
        return len(self._indices)

    def __getitem__(self, i):
        return self._source[int(self._indices[i])]

    def __repr__(self):
        return f'Subset({self._source!r}, {len(self)})'


def train_batches(source, config, *, host=0, hosts=1):
    """Endless training batches of this host, a pure function of the seed and the position.

    The crop is drawn before the stream is dealt to the hosts, so that any number of hosts sees
    the same global batches.

    Args:
      source: a RecordSource of the training split.
      config: an experiment's ConfigDict.
      host: index of this process.
      hosts: number of processes; `data.batch_size` is split evenly over them.

    Returns:
      A grain iterator of {'id': list of str, 'source_BST': int16, 'length_B': int32 [samples],
      'adaptation_BT': int16}, with `get_state` and `set_state`. 'length_B' is left out where no
      mixture is shorter than a segment, so that a model need not mask anything, and
      'adaptation_BT' where `data.adaptation_seconds` is 0.
    """
    indices, short = usable(source, config)
    keep_length = short > 0 and config.data.short == 'pad'

    def finish(examples):
        batch = _stack(examples)
        if not keep_length:
            del batch['length_B']
        return batch

    examples = (
        grain.MapDataset.source(_Subset(source, indices)).seed(config.seed).shuffle().repeat()
        .random_map(_RandomCrop(segment_samples(config), adaptation_samples(config)))[host::hosts])
    return iter(
        examples.batch(config.data.batch_size // hosts, batch_fn=finish)
        .to_iter_dataset(grain.ReadOptions(
            num_threads=config.data.read_threads,
            prefetch_buffer_size=config.data.prefetch_batches)))


def first_segments(examples, config):
    """A batch of the first segment of each example, zero-padded where shorter."""
    lengths = segment_samples(config), adaptation_samples(config)
    return _stack([segment(example, *lengths) for example in examples])


def to_float(pcm):
    """int16 PCM as float32 in [-1, 1); None stays None."""
    return None if pcm is None else np.float32(pcm) / 32768


def validation_batches(source, config, *, host=0, hosts=1):
    """Every validation mixture once, in order: its first segment, zero-padded where shorter.

    The last batch is filled up with mask_B = 0, so that all hosts make the same number of steps
    and no example counts twice; nor does a segment in which a source is silent throughout.

    Yields:
      {'id', 'source_BST', 'length_B', maybe 'adaptation_BT', 'mask_B' float32}, this host's rows
      of each global batch.
    """
    size = config.data.batch_size
    local = size // hosts
    for first in range(0, len(source), size):
        rows = range(first + host * local, first + (host + 1) * local)
        examples = [source[min(i, len(source) - 1)] for i in rows]
        batch = first_segments(examples, config)
        # SI-SNR has no value against silence.
        heard_B = batch['source_BST'].any(axis=2).all(axis=1)
        batch['mask_B'] = (heard_B & (np.array(rows) < len(source))).astype(np.float32)
        yield batch
