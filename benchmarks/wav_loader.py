"""Random crops out of wav files with PyTorch's DataLoader, as asteroid's loaders read LibriMix.

Imports little: each worker process of the loader imports this file.
"""

import os

import numpy as np
import soundfile
import torch


class WavMixtures(torch.utils.data.Dataset):
    """Mixtures of two sources in wav files, `DIR/{s1,s2}/ID.wav`, maybe `DIR/adaptation/ID.wav`.

    Args:
      directory: of the folders.
      ids: of the mixtures.
      lengths: of each [samples]; asteroid has them from a table too.
      segment: length of a crop [samples].
      adaptation: length of the adaptation segment [samples]; 0 for none.
    """

    def __init__(self, directory, ids, lengths, *, segment, adaptation=0):
        self._directory, self._ids, self._lengths = directory, ids, lengths
        self._segment, self._adaptation = segment, adaptation

    def __len__(self):
        return len(self._ids)

    def _read(self, folder, i, start, length):
        path = os.path.join(self._directory, folder, f'{self._ids[i]}.wav')
        signal_T, _ = soundfile.read(path, start=start, stop=start + length, dtype='float32')
        return torch.from_numpy(signal_T)

    def __getitem__(self, i):
        start = np.random.randint(self._lengths[i] - self._segment + 1)
        source_ST = torch.stack([self._read(f, i, start, self._segment) for f in ('s1', 's2')])
        item = [source_ST.sum(0), source_ST]
        return item + (
            [self._read('adaptation', i, 0, self._adaptation)] if self._adaptation else []
        )


def make_loader(mixtures, *, batches, batch_size, workers):
    """A DataLoader whose one epoch is `batches` batches of shuffled mixtures, over and over.

    Args:
      mixtures: a WavMixtures.
      batches: in an epoch; workers then start afresh, but live on.
      batch_size: of each.
      workers: processes; 0 reads in this one.
    """
    # Of a server: a forked child of a process in which JAX has threads may hang.
    processes = dict(
        num_workers=workers, persistent_workers=True, multiprocessing_context='forkserver'
    )
    sampler = torch.utils.data.RandomSampler(mixtures, num_samples=batches * batch_size)
    return torch.utils.data.DataLoader(
        mixtures, batch_size=batch_size, sampler=sampler, **(processes if workers else {})
    )
