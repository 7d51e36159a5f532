"""The folder of a data set: which files in it are a data set's, and how they are written whole."""

import contextlib
import functools
import glob
import os
import posixpath
import re
import uuid

from apache_beam.io.filesystems import FileSystems

from fgsep_jax import files
from fgsep_jax.data import records

# Beside shards, indices and the completeness marker.
TABLES = ('files.csv', 'mixtures.csv')
METADATA_FILES = ('dataset_info.json', 'features.json', 'report.json', 'report.md', *TABLES)
STAGING = '.fgsep_unfinished'  # a name that nobody gives a folder of their own
FILES = 'files.json'  # in the staging folder: what in the output folder a data set's job wrote


class DatasetExistsError(ValueError):
    """The output folder holds a finished data set."""


def rename(temporary: str, path: str) -> None:
    """Give what is written its name; unlike Beam's, a local error says its number."""
    if '://' in path:
        FileSystems.rename([temporary], [path])
    else:
        files.refuse_links(*os.path.split(path))
        os.replace(temporary, path)


def write_whole(path: str, contents: bytes) -> None:
    """Write beside, then rename, so that a file under its own name is whole."""
    if '://' not in path:
        return files.write({path: contents})
    temporary = f'{path}.tmp-{uuid.uuid4().hex}'
    with FileSystems.create(temporary, 'application/octet-stream') as file:
        file.write(contents)
    rename(temporary, path)


def read_whole(path: str) -> bytes:
    """The contents of a file."""
    with FileSystems.open(path, 'application/octet-stream') as file:
        return file.read()


def listing(folder: str) -> list[str]:
    """Names of the files in a folder, whatever its own name is (Beam takes it for a pattern)."""
    if '://' not in folder:
        return [x.name for x in os.scandir(folder) if not x.is_dir(follow_symlinks=False)]
    matches = FileSystems.match([FileSystems.join(glob.escape(folder), '*')])[0].metadata_list
    return [posixpath.basename(m.path) for m in matches if not m.path.endswith('/')]


def delete(folder: str, name: str) -> None:
    """Delete one file of a folder."""
    path = FileSystems.join(folder, name)
    if '://' in folder:
        FileSystems.delete([glob.escape(path)])
    else:
        os.remove(path)


def read_json(path: str) -> dict:
    """The object in a file; an empty one where there is none."""
    with contextlib.suppress(OSError):
        if '://' not in path:
            return files.read_json(path, OSError)
        return files.parse_json(read_whole(path), OSError, where=path)
    return {}


def own_files(output_dir: str) -> list[str]:
    """Files of an earlier data set in `output_dir`, the completeness marker first.

    They are those that its dataset.json tells of, or, where it did not get so far, its list. A
    dataset.json without name, splits and schema_version is somebody else's.
    """
    if not FileSystems.exists(output_dir):
        return []
    metadata = read_json(FileSystems.join(output_dir, records.DATASET_FILE))
    name, splits = metadata.get('name'), metadata.get('splits')
    listed = set()
    if isinstance(name, str) and isinstance(splits, dict) and 'schema_version' in metadata:
        listed |= {records.DATASET_FILE, *METADATA_FILES, *map(records.index_name, splits)}
        listed -= set() if 'mixtures' in metadata else {*TABLES}  # somebody's, beside an early one
    else:
        splits = {}
    staged = read_json(FileSystems.join(output_dir, STAGING, FILES))
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


def prepare(output_dir: str, name: str, overwrite: bool) -> bool:
    """Makes the staging folder; returns whether a finished data set is there.

    Raises:
        DatasetExistsError: it is there and `overwrite` is false, or files are in the way.
        OSError: it cannot be written.
    """
    if os.path.isfile(output_dir):
        raise NotADirectoryError(f'{output_dir} is a file; --output_dir must be a folder')
    earlier = own_files(output_dir)
    entries = listing(output_dir) if FileSystems.exists(output_dir) else []
    is_written = functools.partial(_is_written, name=name)
    if '://' not in output_dir:
        written = [entry for entry in entries if entry in earlier or is_written(entry)]
        files.refuse_links(output_dir, STAGING, *written)
    foreign = sorted(entry for entry in {*entries} - {*earlier} if is_written(entry))
    if foreign:
        raise DatasetExistsError(
            f'{FileSystems.join(output_dir, foreign[0])} is there, and no data set that it '
            'belongs to: move it away, or give another --output_dir'
        )
    if records.DATASET_FILE in entries and not overwrite:
        raise DatasetExistsError(
            f'{output_dir} holds a finished data set; give another --output_dir, or --overwrite'
        )
    if '://' not in output_dir:
        os.makedirs(FileSystems.join(output_dir, STAGING), exist_ok=True)
    clear(output_dir)
    return records.DATASET_FILE in entries


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
    write_whole(FileSystems.join(output_dir, STAGING, FILES), files.to_json(ours).encode())
    for name in earlier:
        delete(output_dir, name)


def clear(output_dir: str, *, all: bool = False) -> None:
    """Empties the staging folder but for the list of files; with `all` removes it."""
    staging = FileSystems.join(output_dir, STAGING)
    for name in listing(staging):
        if all or name != FILES:
            delete(staging, name)
    if all and '://' not in staging:
        with contextlib.suppress(OSError):  # something in it is not ours
            os.rmdir(staging)
