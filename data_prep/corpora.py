"""Walk source trees as they are delivered: utterances with speaker, path and split."""

import collections
import dataclasses
import heapq
import logging
import os
import posixpath
import re

from data_prep.mixing import stable_hash

AUDIO = ('.wav', '.flac', '.ogg')


class TreeError(ValueError):
    """A tree that is not what the job expects."""


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One audio file.

    Attributes:
        id: unique in the data set, without spaces; part of the ids of its mixtures.
        speaker: who speaks (or which clip it is); mixtures never pair a speaker with itself.
        path: of the file; local, or any URL that Beam's file systems read.
        split: train, validation, test, ...
        source_class: `speech`, or the class of the sound.
    """

    id: str
    speaker: str
    path: str
    split: str
    source_class: str = 'speech'


def _walk(root: str) -> list[str]:
    """Relative paths (with `/`) of all files; each folder is entered once, links to it or not.

    True folders come before links and shallow links before deep ones, so that a speaker's folder
    is that speaker's even where another one links to it.
    """
    found, visited = [], set()
    real_root = os.path.realpath(root)
    starts = [(0, '', real_root)]  # depth, relative path, folder; links wait here
    while starts:
        depth, start, top = heapq.heappop(starts)
        if top in visited:
            logging.warning('%s/%s links to a folder of the same tree: skipped', root, start)
        for folder, below, names in os.walk(top):
            if folder in visited:
                below.clear()
                continue
            visited.add(folder)
            inside = posixpath.join(start, os.path.relpath(folder, top).replace(os.sep, '/'))
            inside = posixpath.normpath(inside)
            found += [posixpath.normpath(f'{inside}/{name}') for name in names]
            for name in below:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    target, link = os.path.realpath(path), posixpath.normpath(f'{inside}/{name}')
                    above = os.path.join(target, '')
                    if any(os.path.join(at, '').startswith(above) for at in (folder, real_root)):
                        logging.warning('%s/%s links to a folder above it: skipped', root, link)
                    else:
                        heapq.heappush(starts, (link.count('/'), link, target))
    return found


def list_files(root: str, suffixes: tuple[str, ...] = AUDIO) -> list[str]:
    """Sorted relative paths (with `/`) of the files under `root` with one of `suffixes`.

    Raises:
        TreeError: if `root` is not a folder.
    """
    if '://' in root:
        from apache_beam.io.filesystems import FileSystems

        base = root.rstrip('/') + '/'
        found = [m.path[len(base) :] for m in FileSystems.match([base + '**'])[0].metadata_list]
    else:
        if not os.path.isdir(root):
            raise TreeError(f'{root} is not a folder')
        found = _walk(root)
    return sorted(path for path in found if path.lower().endswith(suffixes))


def _join(root: str, path: str) -> str:
    return posixpath.join(root, path)


def _expected(root: str, layout: str, found: list[str]) -> TreeError:
    examples = ', '.join(found[:5]) if found else 'no such audio files at all'
    return TreeError(f'{root} is not the tree expected.\n  expected: {layout}\n  found: {examples}')


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def split_speakers(
    speakers: set[str], *, validation: float, test: float, seed: int = 0
) -> dict[str, str]:
    """Speaker -> split: speakers ordered by hash, the first ones to test, then validation.

    Args:
        speakers: all of them.
        validation, test: shares of the speakers; rounded, at least two speakers unless 0.
        seed: of the job.
    Raises:
        ValueError: if fewer than two speakers are left for training.
    """
    order = sorted(speakers, key=lambda speaker: stable_hash(seed, 'split', speaker))
    counts = [max(2, round(share * len(order))) if share else 0 for share in (test, validation)]
    if sum(counts) + 2 > len(order) and test + validation < 1:
        raise ValueError(
            f'{len(order)} speakers cannot make test ({counts[0]}), validation ({counts[1]}) and '
            'training with two each; set a fraction to 0 or add speakers'
        )
    names = ['test'] * counts[0] + ['validation'] * counts[1]
    names += ['train'] * (len(order) - len(names))
    return dict(zip(order, names))


def _ids(files: list[str]) -> dict[str, str]:
    """{relative path: id}: the path without suffix, white space and `/`, as far as it is unique."""
    stems = collections.Counter(_stem(path) for path in files)
    names = {path: _stem(path) if stems[_stem(path)] == 1 else path for path in files}
    names = {path: re.sub(r'\s', '_', name).replace('/', '-') for path, name in names.items()}
    counts = collections.Counter(names.values())
    return {
        path: name if counts[name] == 1 else f'{name}-{stable_hash(path):016x}'[: len(name) + 9]
        for path, name in names.items()
    }


def folder(
    root: str, *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> list[Utterance]:
    """Any `<speaker>/**/*.wav|flac|ogg` tree, split by speaker."""
    files = list_files(root)
    if not files or any('/' not in path for path in files):
        alone = [path for path in files if '/' not in path]
        raise _expected(root, '<speaker>/**/*.wav|flac|ogg, a folder for each speaker', alone)
    splits = split_speakers(
        {path.split('/')[0] for path in files}, validation=validation, test=test, seed=seed
    )
    utterances = []
    for path, name in _ids(files).items():
        speaker = path.split('/')[0]
        utterances.append(Utterance(name, speaker, _join(root, path), splits[speaker]))
    return utterances


LIBRITTS_SPLITS = {
    'train-clean-100': 'train',
    'train-clean-360': 'train',
    'dev-clean': 'validation',
    'test-clean': 'test',
}


def libritts(root: str) -> list[Utterance]:
    """`LibriTTS/{train-clean-100,...}/<spk>/<chapter>/<spk>_<chapter>_<par>_<utt>.wav`."""
    layout = (
        f'[LibriTTS/]{{{",".join(LIBRITTS_SPLITS)}}}/<speaker>/<chapter>/'
        '<speaker>_<chapter>_<paragraph>_<utterance>.wav'
    )
    files = list_files(root, ('.wav',))
    pattern = re.compile(
        r'(?:.*/)?(?P<part>[^/]+)/(?P<speaker>\d+)/(?P<chapter>\d+)/'
        r'(?P<name>(?P=speaker)_(?P=chapter)_\d+_\d+)\.wav'
    )
    utterances = []
    for path in files:
        match = pattern.fullmatch(path)
        if match and match['part'] in LIBRITTS_SPLITS:
            split = LIBRITTS_SPLITS[match['part']]
            utterances.append(Utterance(match['name'], match['speaker'], _join(root, path), split))
    if not utterances:
        raise _expected(root, layout, files)
    return utterances


def vctk(root: str) -> list[Utterance]:
    """VCTK 0.92 (`wav48_silence_trimmed/p225/p225_001_mic1.flac`, first microphone only) or 0.80
    (`wav48/p225/p225_001.wav`); all of it is test."""
    layout = (
        'wav48_silence_trimmed/p225/p225_001_mic1.flac (release 0.92) or '
        '[VCTK-Corpus/]wav48/p225/p225_001.wav (release 0.80)'
    )
    files = list_files(root)
    pattern = re.compile(
        r'(?:.*/)?(?:wav48_silence_trimmed|wav48)/(?P<speaker>[^/]+)/'
        r'(?P<name>(?P=speaker)_\d+)(?:_mic1\.flac|\.wav)'
    )
    utterances = []
    for path in files:
        match = pattern.fullmatch(path)
        if match:
            utterances.append(Utterance(match['name'], match['speaker'], _join(root, path), 'test'))
    if not utterances:
        raise _expected(root, layout, files)
    if len({one.id for one in utterances}) < len(utterances):
        raise TreeError(f'{root} holds both releases of VCTK; give the folder of one of them')
    return utterances
