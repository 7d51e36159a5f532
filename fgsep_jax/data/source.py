"""A prepared data set as a random-access source for grain; every read is checksummed."""

import dataclasses
import os
import threading

import numpy as np

from fgsep_jax import buckets, files
from fgsep_jax.data import records
from fgsep_jax.names import shown


def _listing(directory: str) -> dict[str, int | None]:
    """{name: bytes, None of a folder} of what is in a folder, or in one of a bucket.

    Raises:
        FileNotFoundError: there is no such folder, or the bucket cannot be reached.
    """
    if buckets.is_url(directory):
        try:
            found = buckets.listing(directory)
        except buckets.Unreachable as error:
            raise FileNotFoundError(str(error)) from error
        if found:
            return found
    elif os.path.isdir(directory):
        with os.scandir(directory) as entries:
            return {e.name: e.stat().st_size if e.is_file() else None for e in entries}
    place = directory if buckets.is_url(directory) else os.path.abspath(directory)
    looked = '' if place == directory else f' ({place})'
    reason = 'it is no folder' if os.path.lexists(place) else 'the folder does not exist'
    raise FileNotFoundError(f'no data set at {directory}{looked}: {reason}')


def open_dataset(directory: str) -> dict:
    """The metadata (contents of dataset.json) of the finished data set in `directory`.

    Raises:
        FileNotFoundError: if the folder is missing, or holds no finished data set.
        records.RecordError: if it is damaged, or was written by another version of the schema.
    """
    directory = str(directory)
    root = directory if buckets.is_url(directory) else os.path.expanduser(directory)
    file = buckets.join(root, records.DATASET_FILE)
    if buckets.is_url(root) or not os.path.lexists(file):
        there = _listing(root)
        if records.DATASET_FILE not in there:
            found = sorted(there)[:5]
            state = (
                'its preparation did not finish; run the job again'
                if any(records.SHARD in name for name in found)
                else f'it holds {", ".join(map(shown, found)) or "nothing"}'
            )
            raise FileNotFoundError(
                f'{directory} holds no finished data set: {records.DATASET_FILE} is missing,'
                f' {state}'
            )
    data = files.read_bytes(file, records.RecordError, most=4 << 30)
    return records.check_metadata(
        files.parse_json(data, records.RecordError, where=file), where=file
    )


class RecordSource:
    """One split of a data set: `len(source)`, `source[i] -> records.Example`.

    Thread-safe, and picklable into worker processes (files are opened where they are first read).

    Attributes:
        metadata: contents of dataset.json.
        split: name of the split.
        lengths: int64 [examples], the samples of each example; no record is read for it.
        speakers: sorted tuple of the split's speakers (or clips).
    """

    def __init__(self, directory: str, split: str, first: tuple[int, ...] = ()):
        """Open `split` of the data set in `directory` (local, or the URL of a bucket).

        Args:
            directory: of the data set.
            split: its name.
            first: indices of the sources that come first in every example; the others follow.

        Raises:
            FileNotFoundError, records.RecordError: see `open_dataset`; or a file or the split is
                missing.
        """
        self.directory = str(directory)
        self.split = split
        self.metadata = open_dataset(self.directory)
        if split not in self.metadata['splits']:
            raise records.RecordError(
                f'{directory} has no split {split!r}; it has {", ".join(self.metadata["splits"])}'
            )
        info = self.metadata['splits'][split]
        self._remote = buckets.is_url(self.directory)
        self._root = self.directory if self._remote else os.path.expanduser(self.directory)
        self._shards = info['shards']
        index = buckets.join(self._root, records.index_name(split))
        self._index = records.read_index(
            files.read_bytes(index, records.RecordError, most=4 << 30),
            info,
            sources=self.metadata['sources'],
            where=index,
        )
        self._early = self._index.dtype == records.EARLY_INDEX_DTYPE
        self._check_sizes()
        self.lengths = self._index['samples'].astype(np.int64)
        self.speakers = tuple(info.get('speakers', ()))
        others = (s for s in range(self.metadata['sources']) if s not in first)
        self._order = [*first, *others] if first else None
        self._open = {}
        self._lock = threading.Lock()

    def _check_sizes(self) -> None:
        """Raises RecordError where a shard is missing, or not as long as the index says."""
        end = np.zeros(self._shards, np.int64)
        ends = (self._index['offset'] + self._index['size']).astype(np.int64)
        np.maximum.at(end, self._index['shard'], ends)
        there = _listing(self._root)
        for shard in np.flatnonzero(end):
            file = self._file(int(shard))
            size = there.get(os.path.basename(file))
            if size != end[shard]:
                state = 'is missing' if size is None else f'has {size} bytes, not {end[shard]}'
                raise records.RecordError(f'{file} {state}; prepare or copy the data set again')

    def _file(self, shard: int) -> str:
        name = records.shard_name(self.metadata['name'], self.split, shard, self._shards)
        return buckets.join(self._root, name)

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        # A run compares this when it resumes: position i must mean the same example.
        fingerprint = self.metadata['splits'][self.split].get('fingerprint', '')
        return (
            f'RecordSource(name={self.metadata["name"]}, split={self.split}, '
            f'examples={len(self)}, fingerprint={fingerprint})'
        )

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_open': {}, '_lock': None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __del__(self, close=os.close) -> None:  # `os` may be gone before it, at the very end
        for handle in getattr(self, '_open', {}).values():
            close(handle)

    def __getitem__(self, i: int) -> records.Example:
        """Example `i`.

        Raises:
            IndexError: if there is no such example.
            records.RecordError: if the record is damaged; the message names file and offset.
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f'example {i} of {len(self)} in {self.split} of {self.directory}')
        row = self._index[i]
        shard, offset, size = int(row['shard']), int(row['offset']), int(row['size'])
        where = f'{self._file(shard)} at byte {offset}'
        payload = records.read_record(
            self._read(shard, offset, size),
            where=where,
            crc=None if self._early else int(row['crc']),
        )
        try:
            example = records.decode(payload)
        except records.RecordError as error:
            raise records.RecordError(f'{where}: {error}') from error
        told = (self.metadata['sources'], int(row['samples'])), self.metadata['sample_rate']
        segment, noise = example.adaptation_T is not None, example.noise_T is not None
        if (
            (example.sources_ST.shape, example.sample_rate) != told
            or (self.metadata.get('adaptation', segment) and not segment)
            or self.metadata.get('noise', False) != noise
        ):
            raise records.RecordError(
                f'{where}: example {example.id!r} has {example.sources_ST.shape} samples at'
                f' {example.sample_rate} Hz{"" if segment else " and no segment"}'
                f'{" and noise" if noise else ""}, index and'
                f' {records.DATASET_FILE} say {told[0]} at {told[1]} Hz'
                f'{" and noise" if self.metadata.get("noise") else ""}: it is another record, or'
                ' they are damaged; prepare or copy the data set again'
            )
        if self._order is None:
            return example
        return dataclasses.replace(
            example,
            sources_ST=example.sources_ST[self._order],
            source_ids=tuple(example.source_ids[s] for s in self._order),
            source_classes=tuple(example.source_classes[s] for s in self._order),
        )

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        file = self._file(shard)
        if self._remote:  # many at once, each of just its bytes
            try:
                return buckets.read(file, offset, offset + size)
            except OSError as error:
                raise records.RecordError(f'{file} cannot be read: {files.why(error)}') from error
        with self._lock:
            if shard not in self._open:
                self._open[shard] = os.open(file, os.O_RDONLY)
            handle = self._open[shard]
        return os.pread(handle, size, offset)
