"""Sound banks as they are delivered, and their tables: role of each class, origin of each clip."""

import collections
import dataclasses
import functools
import os
import posixpath
import re
from typing import NamedTuple
import unicodedata

from data_prep import recordings
from data_prep.draws import stable_hash
from data_prep.recordings import Recording, TreeError, printable
from data_prep.tables import read_rows
from fgsep_jax.names import counted

TABLE_1 = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'table_1.csv')
ROLES = ('foreground', 'background')
SETS = ('seen', 'unseen')
SOURCES = ('desed', 'audioset')


@dataclasses.dataclass(frozen=True)
class SoundClass:
    """One line of a class table.

    Attributes:
        name: as in the records.
        role: foreground or background.
        seen: whether training uses it; an unseen class is for evaluation alone.
        source: kind of tree that its sounds are taken from, see `of_their_source`; empty: any.
    """

    name: str
    role: str
    seen: bool
    source: str = ''


def label(name: str) -> str:
    """The form in which names are compared: `Frying (food)` and `frying_food` are one.

    Letters, their marks and digits of any script stay.
    """
    composed = unicodedata.normalize('NFC', name).lower()
    letters = (x if unicodedata.category(x)[0] in 'LMN' else ' ' for x in composed)
    return '_'.join(''.join(letters).split())


def read_classes(path: str = TABLE_1) -> dict[str, SoundClass]:
    """{label: class} for every name of every class of a class table.

    Args:
        path: csv or tsv with the columns role, class and set, and perhaps source and names
            (further names, split by `|`).
    Raises:
        TreeError: with file, line, what was found and the rule, for a line that is not one.
    """
    classes = {}
    for number, row in read_rows(path, ('role', 'class', 'set'), others=('source', 'names')):
        where = f'{path}, line {number}'
        role, kind = row['role'].lower(), row['set'].lower()
        tree = row.get('source', '').lower()
        for column, value, allowed in (
            ('role', role, ROLES),
            ('set', kind, SETS),
            ('source', tree, (*SOURCES, '')),
        ):
            if value not in allowed:
                rule = ' or '.join(name or 'empty' for name in allowed)
                raise TreeError(f'{where}: found {column} {row[column]!r}; it must be {rule}')
        if not label(row['class']):
            raise TreeError(
                f'{where}: found class {row["class"]!r}; its name needs a letter or digit'
            )
        sound_class = SoundClass(label(row['class']), role, kind == 'seen', tree)
        for text in (row['class'], *row.get('names', '').split('|')):
            name = label(text)
            if classes.get(name, sound_class) is not sound_class:
                raise TreeError(
                    f'{where}: found {text.strip()!r} again, it is the {classes[name].role} '
                    f'{classes[name].name} already (case and punctuation do not count); a name '
                    'must stand for one class, of one role, and a class on one line'
                )
            if name:
                classes[name] = sound_class
    return classes


Groups = dict[str, list[tuple[tuple[str, ...], str]]]  # file name -> (parts of its path, group)


def read_groups(path: str) -> Groups:
    """A table of source recordings: csv or tsv with the columns path and source_group.

    Raises:
        TreeError: if it is not such a table.
    """
    groups = {}
    for number, row in read_rows(path, ('path', 'source_group')):
        listed = unicodedata.normalize('NFC', row['path'])  # file systems do not agree upon one
        parts = tuple(listed.strip().replace('\\', '/').strip('/').split('/'))
        if not parts[-1] or not row['source_group'].strip():
            raise TreeError(f'{path}, line {number}: found an empty path or source_group')
        groups.setdefault(parts[-1], []).append((parts, row['source_group'].strip()))
    return groups


def listed_group(path: str, groups: Groups) -> str | None:
    """The group of the line whose path shares most last parts with `path`, two at least.

    A line with a bare file name needs to share that alone.

    Raises:
        TreeError: if the best lines name different groups.
    """
    parts = unicodedata.normalize('NFC', path.replace(os.sep, '/')).split('/')
    matches = {}
    for listed, group in groups.get(parts[-1], []):
        pairs = list(zip(reversed(parts), reversed(listed)))
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
        if same >= min(2, len(listed)):
            matches.setdefault(same, set()).add(group)
    best = matches.get(max(matches, default=0), set())
    if len(best) > 1:
        raise TreeError(
            f'{path}: lines of --groups name the source recordings '
            f'{", ".join(sorted(best))}; write more of the path in them, so that one fits best'
        )
    return next(iter(best), None)


# Names that may say which recording a file is cut from. Other people's names look like them
# (`dog_barking_1_2`, `2023_01`), so they are read so only where the kind of tree says it.
_CLIP_OF_AUDIOSET = re.compile(r'Y?([\w-]{11})(?:[_-]\d+(?:\.\d+)?){0,2}')
_CUT_OF_FREESOUND = re.compile(r'([1-9]\d{3,})_\d+')
# Numbers, alone or behind a word as recorders count: take1, REC_0001-2, Recording (2).
_COUNTED = re.compile(
    r'(?:new )?[^\W\d_]{0,16}[ _-]*\(?\d[\d() _-]*(?:_?LR)?|new recording|recording', re.IGNORECASE
)
_LOOKS_CUT = re.compile(r'Y?[\w-]{11}(?:[_-]\d+(?:\.\d+)?){2}|\d+_\d+')


def recording(stem: str, *, source_class: str, tree: str = 'folder') -> str:
    """The recording that a file is cut from, as far as its name tells; else the name itself.

    In any tree: ESC-50 `1-<freesound id>-A-12`, UrbanSound8K `<freesound
    id>-<class>-<occurrence>-<slice>` (unless it could be a date), freesound `<id>` and
    `<id>__<user>__<title>`. Names that are numbers, alone or behind a word as recorders count
    (`take1`, `audio_01`), are told apart by class; any other name is taken as one recording
    wherever it appears.

    Args:
        stem: file name without its suffix.
        source_class: of the file.
        tree: `audioset`, where clips are `[Y]<11 characters>[_<start>[_<end>]]`; `desed`, where
            sounds are `<freesound id>_<n>`; else `folder`.
    """
    if tree == 'audioset' and (match := _CLIP_OF_AUDIOSET.fullmatch(stem)):
        return f'yt{match[1]}'
    if tree == 'desed' and (match := _CUT_OF_FREESOUND.fullmatch(stem)):
        return f'fs{match[1]}'
    if match := re.fullmatch(r'(?!(?:19|20)\d\d-)(\d{3,})-\d-\d+-\d+', stem):
        return f'fs{match[1]}'
    if match := re.fullmatch(r'(?:.*_)?\d-(\d{3,})-[A-Z](?:-\d+)?', stem):
        return f'fs{match[1]}'
    if match := re.fullmatch(r'([1-9]\d{3,})(?:__.+)?', stem):
        return f'fs{match[1]}'
    if _COUNTED.fullmatch(stem):
        return f'{source_class}/{stem}'
    return stem


def looks_cut(path: str) -> bool:
    """Whether a file of a general folder is named as a cut of a recording might be."""
    stem = posixpath.splitext(posixpath.basename(path))[0]
    return bool(_LOOKS_CUT.fullmatch(stem))


class Place(NamedTuple):
    """What the path of a sound tells.

    Attributes:
        labels: folders that may name its class, the first that does counts.
        folder: how the report calls the folder, where none does.
        role: that the class must have, if any.
        bank: see `Recording`.
    """

    labels: list[str]
    folder: str
    role: str = ''
    bank: str = ''


def _in_roles(root: str, path: str) -> Place | None:
    role, *rest = path.split('/')
    if role in ROLES and len(rest) > 1:
        return Place(rest[:1], f'{role}/{rest[0]}', role)
    return None


_DESED = re.compile(
    r'(?:.*/)?(?P<bank>[^/]+)/soundbank/(?:foreground|background)/(?P<label>[^/]+)/.+'
)
_BANKS = {'eval': 'test', 'test': 'test', 'validation': 'validation'}


def _in_desed(root: str, path: str) -> Place | None:
    # `root` may be any folder from the one above `audio` down to `soundbank`.
    above = '/'.join(os.path.abspath(root).replace(os.sep, '/').split('/')[-3:])
    match = _DESED.fullmatch(f'{above}/{path}')
    if match:
        plain = re.sub(r'(_n(on|off))+$', '', match['label'], flags=re.I)
        return Place([plain], match['label'], bank=_BANKS.get(match['bank'], ''))
    return None


def _in_audioset(root: str, path: str) -> Place | None:
    folders = path.split('/')[-2::-1]
    return Place(folders, folders[0] if folders else '.')


# {kind of tree: its layout, and what the path of a sound in it tells}
_TREES = {
    'folder': ('foreground/<class>/*, background/<class>/*', _in_roles),
    'desed': (
        'audio/{train,eval}/soundbank/{foreground,background}/<Label>/*.wav',
        _in_desed,
    ),
    'audioset': ('<class>/Y<ytid>_<start>_<end>.wav', _in_audioset),
}


def _read(
    tree: str,
    root: str,
    *,
    classes: dict[str, SoundClass],
    groups: Groups | None = None,
    ignored: collections.Counter | None = None,
    table: str = 'in use',
) -> list[Recording]:
    """The sounds of a tree whose folders the class table names.

    Args:
        tree: its kind. `folder`: the general form, `foreground/<class>/**/*` and
            `background/<class>/**/*`; a class that plays the other role here is left out.
            `desed`: `audio/{train,eval}/soundbank/{foreground,background}/<Label>[_nOn|_nOff]/*`,
            where the class table alone decides the role (`Frying_nOn_nOff` lies among DESED's
            foregrounds), and the evaluation bank stays evaluation. `audioset`: clips in folders by
            class, `**/<class>/[Y]<ytid>[_<start>[_<end>]].wav` or `<ytid>_<start>-<end>.wav`,
            where a folder bears AudioSet's display name or mid, or the table's name, and clips of
            one video are one recording.
        root: the folder.
        classes: `read_classes`.
        groups: `read_groups`.
        ignored: gets a count of the files left out, by folder.
        table: the class table's name, for the error.
    Raises:
        TreeError: if no file is left.
    """
    ignored = collections.Counter() if ignored is None else ignored
    layout, place_of = _TREES[tree]
    files, sounds = recordings.list_files(root), []
    for path, others in files.items():
        place = place_of(root, path)
        if not place:
            continue
        named = (classes[label(name)] for name in place.labels if label(name) in classes)
        sound_class = next(named, None)
        if not sound_class or place.role not in ('', sound_class.role):
            ignored[place.folder] += 1
            continue
        name, full = sound_class.name, posixpath.join(root, path)
        stem = posixpath.splitext(posixpath.basename(path))[0]
        listed = listed_group(full, groups) if groups else None
        sounds.append(
            Recording(
                id=re.sub(r'[\s/]', '_', f'{name}-{stem}'),
                source_id=listed or recording(stem, source_class=name, tree=tree),
                path=full,
                split='',
                source_class=name,
                role=sound_class.role,
                seen=sound_class.seen,
                bank=place.bank,
                others=others,
            )
        )
    if not sounds:
        expected = (
            f'{layout}, with classes that the class table {table} names (--classes gives another)'
        )
        refusal = str(recordings.wrong_tree(root, expected, files))
        if ignored:
            names = ', '.join(map(printable, sorted(ignored)[:12]))
            refusal += f'; folders that the class table has no use for: {names}'
        raise TreeError(refusal)
    return sounds


folder, desed, audioset = (functools.partial(_read, tree) for tree in _TREES)


def alike(root: str, sounds: list[Recording]) -> list[str]:
    """A line for each class of `folder` whose sounds lie in folders that differ in case and
    punctuation alone.

    Args:
        root: the folder.
        sounds: what `folder` read there.
    """
    folders = {}
    for sound in sounds:
        role, name = posixpath.relpath(sound.path, root).split('/')[:2]
        folders.setdefault((role, label(name), sound.source_class), set()).add(name)
    return [
        f'{role} {name}: the folders {", ".join(map(repr, map(printable, sorted(same))))} are one '
        'class, as case and punctuation do not count'
        for (role, _, name), same in sorted(folders.items())
        if len(same) > 1
    ]


def of_their_source(
    by_tree: dict[str, list[Recording]], classes: dict[str, SoundClass]
) -> tuple[dict[str, list[Recording]], list[str]]:
    """The sounds that are of the tree that the class table takes their class from, and lines on it.

    Only where both trees are there: of one alone all is taken, as is a class of which its own
    tree has nothing.

    Args:
        by_tree: {kind of tree: its sounds}.
        classes: `read_classes`.
    """
    if not by_tree.keys() >= set(SOURCES):
        return by_tree, []
    source_of = {x.name: x.source for x in classes.values() if x.source}
    counts = {
        tree: collections.Counter(sound.source_class for sound in by_tree[tree]) for tree in SOURCES
    }
    kept, lines = dict(by_tree), []
    for tree, other in (SOURCES, SOURCES[::-1]):
        foreign = {name: n for name, n in counts[tree].items() if source_of.get(name) == other}
        left = {name for name in foreign if counts[other][name]}
        for names, what in (
            (left, f'left out, since the class table takes these from --{other}_dir'),
            (
                foreign.keys() - left,
                f'used, though the class table takes these from --{other}_dir, which has none',
            ),
        ):
            if names:
                named = ', '.join(f'{name} ({foreign[name]})' for name in sorted(names))
                total = counted(sum(foreign[name] for name in names), 'sound')
                lines.append(f'{total} of --{tree}_dir {what}: {named}')
        kept[tree] = [sound for sound in by_tree[tree] if sound.source_class not in left]
    return kept, lines


def unique_ids(sounds: list[Recording], roots: dict[str, str]) -> list[Recording]:
    """The sounds; of those that share an id, each gets a hash of its tree and place added.

    Args:
        sounds: of all trees.
        roots: {kind of tree: its folder}, so that a tree elsewhere gives the same ids.
    """

    def place(path: str) -> tuple[str, str]:
        kind = max(
            (k for k, root in roots.items() if path.startswith(posixpath.join(root, ''))),
            key=lambda k: len(roots[k]),
        )
        return kind, posixpath.relpath(path, roots[kind])

    return recordings.unique_ids(sounds, place)


def distinct(sounds: list[Recording], copies: list) -> list[Recording]:
    """The sounds whose files are no copies; recordings that a copy joins are one recording.

    Of several, one in a delivered evaluation bank stays.

    Args:
        sounds: of all trees.
        copies: gets (sound left out, the one whose copy it is).
    """
    left = recordings.distinct(sounds, copies, last=lambda sound: sound.bank != 'test')
    same = recordings.joined((other.source_id, copy.source_id) for copy, other in copies)
    return [
        dataclasses.replace(sound, source_id=same.get(sound.source_id, sound.source_id))
        for sound in left
    ]


def split(
    sounds: list[Recording], *, validation: float = 0.14, test: float = 0.21, seed: int = 0
) -> tuple[list[Recording], list[str]]:
    """The sounds with their splits train, validation and test, and what a reader should know.

    Whole source recordings move. One with a sound of an unseen class, or in a delivered
    evaluation bank, is for evaluation with all its sounds. Each seen class's other recordings are
    ordered by hash: the first to test, the next to validation, the rest to training; at least one
    to each where the class has three, and all to training where it has fewer. A class that is
    delivered with an evaluation bank keeps that, and the rest becomes training and validation.
    Where the two shares are all, nothing is kept for training.

    Args:
        sounds: of all classes.
        validation, test: shares of each seen class's recordings.
        seed: of the order.
    """
    fixed, lines = {}, []
    for sound in sounds:
        if sound.bank == 'validation':
            fixed.setdefault(sound.source_id, 'validation')
        if sound.bank == 'test' or not sound.seen:
            fixed[sound.source_id] = 'test'
    unseen = {sound.source_id for sound in sounds if not sound.seen}
    moved = [
        sound
        for sound in sounds
        if sound.seen and sound.source_id in unseen and sound.bank != 'test'
    ]
    if moved:
        lines.append(
            f'{counted(len(moved), "sound")} of seen classes, cut from recordings that also hold '
            f'an unseen class: for evaluation only, e.g. {moved[0].id} (recording '
            f'{moved[0].source_id}); if those are different recordings, say so with --groups'
        )
    seen = (sound for sound in sounds if sound.seen)
    members = recordings.grouped(seen, lambda sound: (sound.role, sound.source_class))
    splits = dict(fixed)

    def groups_of(key) -> set[str]:
        return {sound.source_id for sound in members[key]}

    for key in sorted(members, key=lambda key: (len(groups_of(key)), key)):
        groups = groups_of(key)
        pool = sorted(groups - splits.keys(), key=lambda g: stable_hash(seed, 'split', key[1], g))
        delivered = any(sound.bank == 'test' for sound in members[key])
        have = collections.Counter(splits[g] for g in groups if g in splits)
        rest = validation + test < 1
        if len(groups) < 3 and rest:
            lines.append(
                f'{key[0]} {key[1]}: {counted(len(groups), "source recording")}, fewer than the '
                f'three that make three splits; {len(pool)} in training'
            )
            wanted = [0, 0]
        elif delivered:
            share = validation / (1 - test) if test < 1 else 0.0
            wanted = [0, max(1, round(share * len(pool))) if validation else 0]
        else:
            wanted = [max(1, round(x * len(groups))) if x else 0 for x in (test, validation)]
        room = len(pool) - rest  # one stays for training
        for name, count in zip(('test', 'validation'), wanted):
            count = min(max(0, count - have[name]), max(0, room))
            room -= count
            splits.update(dict.fromkeys(pool[:count], name))
            pool = pool[count:]
        splits.update(dict.fromkeys(pool, 'train' if rest else 'test' if test else 'validation'))
    return [dataclasses.replace(sound, split=splits[sound.source_id]) for sound in sounds], lines
