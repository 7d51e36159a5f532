"""The folder of a data set: which files in it are a data set's, and how they are written whole."""

from collections.abc import Iterator
import contextlib
import functools
import os
import re
import tempfile
from typing import BinaryIO
import uuid

import google_crc32c

from fgsep_jax import buckets, files, lock, names
from fgsep_jax.data import records

# Beside shards, indices and the completeness marker.
TABLES = ('files.csv', 'mixtures.csv')
METADATA_FILES = ('dataset_info.json', 'features.json', 'report.json', 'report.md', *TABLES)
STAGING = '.fgsep_unfinished'
STAGED = ('inspect.csv', 'mix.csv')  # tables in it, for workers
CHANGED = 'came back as other bytes than were written; the same command tries again'
FILES = 'files.json'  # in the staging folder: what in the output folder a data set's job wrote
Part = tuple[int, int, int]  # where in a file some bytes begin and end, and their checksum


class DatasetExistsError(ValueError):
    """The output folder holds a finished data set."""


class Changed(RuntimeError):
    """Storage, or what lies before it, gives back a file of ours as another."""

    def __init__(self, path: str):
        super().__init__(f'[[{path} {CHANGED}]]')  # as `engine` finds it in what Beam makes of it


def check_name(name: str) -> str:
    """The name of a data set; shards and TFDS's class are called by it, so few texts can be one.

    Raises:
        ValueError: with the rule.
    """
    if not (name.isidentifier() and name.islower() and names.part(name) == name):
        raise ValueError(
            f'must be small letters, digits and _, first a letter, at most {names.LONGEST} bytes, '
            "and no device's name"
        )
    return name


@contextlib.contextmanager
def written(folder: str, name: str, proof: tuple | None = None) -> Iterator[BinaryIO]:
    """A file to write, which is in the output folder, under its name, once it is whole.

    `proof` is the job's, that it still holds the folder (`lock.proof`): another process writes.
    """
    path = buckets.join(folder, name)
    if buckets.is_url(folder):
        with tempfile.TemporaryDirectory() as scratch:
            temporary = os.path.join(scratch, 'file')
            with open(temporary, 'wb') as file:
                yield file
            lock.check_proof(proof)
            buckets.put(temporary, path)
        return
    temporary = os.path.join(folder, STAGING, f'{name}.tmp-{uuid.uuid4().hex}')
    try:
        with open(temporary, 'wb') as file:
            yield file
        files.refuse_links(folder, name)
        lock.check_proof(proof)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def write_whole(path: str, contents: bytes) -> None:
    """Write a file, whole or not at all."""
    files.check_locks(path)
    if buckets.is_url(path):
        buckets.write(path, contents)  # which nobody sees before it is whole
    else:
        files.write({path: contents})


def read_whole(path: str, part: Part | None = None) -> bytes:
    """The contents of a file, or a part of them.

    Raises:
        Changed: the part came back as other bytes than were written.
    """
    start, end, checksum = part or (0, None, None)
    if buckets.is_url(path):
        contents = buckets.read(path, *([start, end] if part else []))
    else:
        with open(path, 'rb') as file:
            file.seek(start)
            contents = file.read(-1 if end is None else end - start)
    if part and google_crc32c.value(contents) != checksum:
        raise Changed(path)
    return contents


def listing(folder: str) -> list[str]:
    """Names of the files in a folder; none where there is no folder."""
    if buckets.is_url(folder):
        return [name for name, size in buckets.listing(folder).items() if size is not None]
    if not os.path.lexists(folder):
        return []
    return [x.name for x in os.scandir(folder) if not x.is_dir(follow_symlinks=False)]


def delete(folder: str, name: str) -> None:
    """Delete one file of a folder."""
    path = buckets.join(folder, name)
    files.check_locks(path)
    if buckets.is_url(folder):
        buckets.remove(path)
    else:
        os.remove(path)


def read_json(path: str) -> dict:
    """The object in a file; an empty one where there is none."""
    try:
        return files.read_json(path, OSError)
    except buckets.Unreachable:  # what is there is not known, and may be ours
        raise
    except OSError:
        return {}


def own_files(output_dir: str) -> list[str]:
    """Files of an earlier data set in `output_dir`, the completeness marker first.

    They are those that its dataset.json tells of, or, where it did not get so far, its list. A
    dataset.json without name, splits and schema_version is somebody else's.
    """
    metadata = read_json(buckets.join(output_dir, records.DATASET_FILE))
    name, splits = metadata.get('name'), metadata.get('splits')
    listed = set()
    if isinstance(name, str) and isinstance(splits, dict) and 'schema_version' in metadata:
        listed |= {records.DATASET_FILE, *METADATA_FILES, *map(records.index_name, splits)}
        listed -= set() if 'mixtures' in metadata else {*TABLES}  # somebody's, beside an early one
    else:
        splits = {}
    staged = read_json(buckets.join(output_dir, STAGING, FILES))
    listed.update(map(str, staged.get('files', ())))

    def is_ours(entry):
        # Of a job that was killed, some are unfinished.
        entry = re.sub(r'\.tmp-[0-9a-f]{32}$', '', entry).removeprefix(files.PARTIAL)
        shard = re.search(r'\.tfrecord-(\d{5,})-of-(\d{5,})$', entry)
        return entry in listed or (
            shard is not None
            and any(
                entry == records.shard_name(name, split, int(shard[1]), int(shard[2]))
                for split, about in splits.items()
                if isinstance(about, dict) and about.get('shards') == int(shard[2])
            )
        )

    ours = [entry for entry in listing(output_dir) if is_ours(entry)]
    return sorted(ours, key=lambda entry: entry != records.DATASET_FILE)


def check_free(output_dir: str, name: str, overwrite: bool) -> bool:
    """Whether a finished data set is in a folder in which one of a name may be made.

    Raises:
        DatasetExistsError: it is there and `overwrite` is false, or files are in the way.
        OSError: it is no folder, or has links in the way.
    """
    if os.path.isfile(output_dir):
        raise NotADirectoryError(f'{output_dir} is a file; --output_dir must be a folder')
    earlier = own_files(output_dir)
    entries = listing(output_dir)
    is_written = functools.partial(_is_written, name=name)
    if not buckets.is_url(output_dir):
        written = [entry for entry in entries if entry in earlier or is_written(entry)]
        files.refuse_links(output_dir, STAGING, *written)
        staging = os.path.join(output_dir, STAGING)
        if os.path.lexists(staging) and not os.path.isdir(staging):
            raise DatasetExistsError(f'{staging} is no folder, and in the way: move it away')
        inside = os.listdir(output_dir) if os.path.lexists(output_dir) else ()
        if folders := sorted(filter(is_written, {*inside} - {*entries})):
            raise DatasetExistsError(
                f'{os.path.join(output_dir, folders[0])} is a folder, and a file of the data set '
                'would be called so: move it away, or give another --output_dir'
            )
    foreign = sorted(entry for entry in {*entries} - {*earlier} if is_written(entry))
    if foreign:
        raise DatasetExistsError(
            f'{buckets.join(output_dir, foreign[0])} is there, and no data set that it '
            'belongs to: move it away, or give another --output_dir'
        )
    if records.DATASET_FILE in entries and not overwrite:
        raise DatasetExistsError(
            f'{output_dir} holds a finished data set; give another --output_dir, or --overwrite'
        )
    return records.DATASET_FILE in entries


def prepare(output_dir: str, name: str, overwrite: bool) -> bool:
    """Makes the staging folder; see `check_free`."""
    is_finished = check_free(output_dir, name, overwrite)
    if not buckets.is_url(output_dir):
        os.makedirs(buckets.join(output_dir, STAGING), exist_ok=True)
    clear(output_dir)
    return is_finished


def _is_written(entry: str, *, name: str) -> bool:
    """Whether a file is called as one of those that a data set of a name consists of."""
    shard = rf'{name}-\w+\.tfrecord-\d{{5,}}-of-\d{{5,}}'
    index = r'index-(?:train|validation|test|c\d)\.npy'
    whole = (records.DATASET_FILE, *METADATA_FILES)
    return entry in whole or re.fullmatch(f'{shard}|{index}', entry) is not None


def make_room(output_dir: str, names: list[str]) -> None:
    """Deletes an earlier data set, once it is sure which files the new one consists of."""
    earlier = own_files(output_dir)
    # Killed at any instant, the list knows old and new files alike.
    ours = {'files': sorted({*earlier, *names})}
    write_whole(buckets.join(output_dir, STAGING, FILES), files.to_json(ours).encode())
    for name in earlier:
        delete(output_dir, name)


def clear(output_dir: str, *, all: bool = False) -> None:
    """Empties the staging folder of what is ours, but for the list of files; with `all` of that
    too, and removes it if nothing is left."""
    staging = buckets.join(output_dir, STAGING)
    results, unfinished = r'[0-9a-f]{32}-\d+', r'.*\.tmp-[0-9a-f]{32}'
    for name in listing(staging):
        ours = name.removeprefix(files.PARTIAL)
        is_ours = ours in (*STAGED, FILES) or re.fullmatch(f'{results}|{unfinished}', ours)
        if is_ours and (all or name != FILES):
            delete(staging, name)
    if all and not buckets.is_url(staging):
        with contextlib.suppress(OSError):  # something in it is not ours
            os.rmdir(staging)
