"""A prepared data set as a random-access source for grain; every read is checksummed."""

import dataclasses
import os
import threading

import numpy as np

from fgsep_jax import files
from fgsep_jax.data import records
from fgsep_jax.names import shown


def _is_remote(path: str) -> bool:
    return '://' in path


def _path(directory: str):
    """`directory` as a path object; etils (and its file systems) only where a URL asks for it."""
    if _is_remote(directory):
        from etils import epath

        try:
            path = epath.Path(directory)
            path.exists()
        except KeyError as error:
            raise FileNotFoundError(
                f'{directory}: read are folders, and URLs that begin with gs:// or s3://'
            ) from error
        except ImportError as error:  # says what to install
            raise FileNotFoundError(f'{directory} cannot be read: {error}') from error
        except Exception as error:  # of the network, or of whoever asks for credentials
            raise FileNotFoundError(
                f'{directory} cannot be reached ({files.why(error)})'
            ) from error
        return path
    import pathlib

    return pathlib.Path(directory).expanduser()


def _read_bytes(path) -> bytes:
    """Content of one of the data set's small files."""
    if not _is_remote(str(path)):
        return files.read_bytes(path, records.RecordError, most=4 << 30)
    try:
        return path.read_bytes()
    except OSError as error:
        raise records.RecordError(f'{path} cannot be read: {error}') from error


def open_dataset(directory: str) -> dict:
    """The metadata (contents of dataset.json) of the finished data set in `directory`.

    Raises:
        FileNotFoundError: if the folder is missing, or holds no finished data set.
        records.RecordError: if it is damaged, or was written by another version of the schema.
    """
    root = _path(str(directory))
    file = root / records.DATASET_FILE
    if not root.is_dir():
        place = str(directory) if _is_remote(str(directory)) else os.path.abspath(root)
        looked = '' if place == str(directory) else f' ({place})'
        raise FileNotFoundError(f'no data set at {directory}{looked}: the folder does not exist')
    if not file.exists():
        found = sorted(entry.name for entry in root.iterdir())[:5]
        state = (
            'its preparation did not finish; run the job again'
            if any(records.SHARD in name for name in found)
            else f'it holds {", ".join(map(shown, found)) or "nothing"}'
        )
        raise FileNotFoundError(
            f'{directory} holds no finished data set: {records.DATASET_FILE} is missing, {state}'
        )
    metadata = files.parse_json(_read_bytes(file), records.RecordError, where=str(file))
    return records.check_metadata(metadata, where=str(file))


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
        """Open `split` of the data set in `directory` (local, or any URL that etils reads).

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
        self._root, self._shards = _path(self.directory), info['shards']
        index = self._root / records.index_name(split)
        self._index = records.read_index(
            _read_bytes(index), info, sources=self.metadata['sources'], where=str(index)
        )
        self._early = self._index.dtype == records.EARLY_INDEX_DTYPE
        if not _is_remote(self.directory):  # where every question takes a tenth of a second
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
        for shard in np.flatnonzero(end):
            file = self._file(int(shard))
            size = file.stat().st_size if file.is_file() else None
            if size != end[shard]:
                state = 'is missing' if size is None else f'has {size} bytes, not {end[shard]}'
                raise records.RecordError(f'{file} {state}; prepare or copy the data set again')

    def _file(self, shard: int):
        name = records.shard_name(self.metadata['name'], self.split, shard, self._shards)
        return self._root / name

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

    def __del__(self) -> None:
        for handle in getattr(self, '_open', {}).values():
            os.close(handle) if isinstance(handle, int) else handle.close()

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
        with self._lock:
            if shard not in self._open:
                file = self._file(shard)
                self._open[shard] = (
                    file.open('rb') if _is_remote(self.directory) else os.open(file, os.O_RDONLY)
                )
            handle = self._open[shard]
            if not isinstance(handle, int):
                handle.seek(offset)
                return handle.read(size)
        return os.pread(handle, size, offset)
