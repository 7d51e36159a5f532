"""Sound banks as they are delivered, and their tables: role of each class, origin of each clip."""

import collections
from collections.abc import Iterable
import dataclasses
import os
import posixpath
import re
import unicodedata

from data_prep import recordings
from data_prep.draws import stable_hash
from data_prep.recordings import Recording, TreeError, plural, printable
from data_prep.tables import read_rows

TABLE_1 = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'table_1.csv')
ROLES = ('foreground', 'background')
SETS = ('seen', 'unseen')


@dataclasses.dataclass(frozen=True)
class SoundClass:
    """One line of a class table.

    Attributes:
        name: as in the records.
        role: foreground or background.
        seen: whether training uses it; an unseen class is for evaluation alone.
    """

    name: str
    role: str
    seen: bool


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
        path: csv or tsv with the columns role, class and set, and perhaps names (further names,
            split by `|`).
    Raises:
        TreeError: with file, line, what was found and the rule, for a line that is not one.
    """
    classes = {}
    for number, row in read_rows(path, ('role', 'class', 'set'), others=('names',)):
        where = f'{path}, line {number}'
        role, kind = row['role'].lower(), row['set'].lower()
        for column, value, allowed in (('role', role, ROLES), ('set', kind, SETS)):
            if value not in allowed:
                raise TreeError(
                    f'{where}: found {column} {row[column]!r}; it must be {" or ".join(allowed)}'
                )
        if not label(row['class']):
            raise TreeError(
                f'{where}: found class {row["class"]!r}; its name needs a letter or digit'
            )
        sound_class = SoundClass(label(row['class']), role, kind == 'seen')
        for text in (row['class'], *row.get('names', '').split('|')):
            name = label(text)
            if classes.get(name, sound_class) is not sound_class:
                raise TreeError(
                    f'{where}: found {text.strip()!r} again, it is {classes[name].name} already '
                    '(case and punctuation do not count); a name must stand for one class, and a '
                    'class on one line'
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
    if match := re.fullmatch(r'(?:.*_)?\d-(\d+)-[A-Z](?:-\d+)?', stem):
        return f'fs{match[1]}'
    if match := re.fullmatch(r'([1-9]\d{3,})(?:__.+)?', stem):
        return f'fs{match[1]}'
    if _COUNTED.fullmatch(stem):
        return f'{source_class}/{stem}'
    return stem


def group_of(path: str, *, source_class: str, groups: Groups | None, tree: str = 'folder') -> str:
    """Source recording of a file: by the table of groups where that knows it, else by its name."""
    listed = listed_group(path, groups) if groups else None
    stem = posixpath.splitext(posixpath.basename(path))[0]
    return listed or recording(stem, source_class=source_class, tree=tree)


def looks_cut(path: str) -> bool:
    """Whether a file of a general folder is named as a cut of a recording might be."""
    stem = posixpath.splitext(posixpath.basename(path))[0]
    return bool(_LOOKS_CUT.fullmatch(stem))


def _sound(
    path: str,
    root: str,
    sound_class: SoundClass,
    groups: Groups | None,
    *,
    tree: str = 'folder',
    bank: str = '',
    others: tuple[str, ...] = (),
) -> Recording:
    full = posixpath.join(root, path)
    stem = posixpath.splitext(posixpath.basename(path))[0]
    return Recording(
        id=re.sub(r'[\s/]', '_', f'{sound_class.name}-{stem}'),
        source_id=group_of(full, source_class=sound_class.name, groups=groups, tree=tree),
        path=full,
        split='',
        source_class=sound_class.name,
        role=sound_class.role,
        seen=sound_class.seen,
        bank=bank,
        others=others,
    )


def _none(root: str, layout: str, files: Iterable[str], unknown: collections.Counter, table: str):
    text = ', '.join(map(printable, [*files][:5])) if files else 'no such audio files at all'
    if unknown:
        names = ', '.join(map(printable, sorted(unknown)[:12]))
        text += f'; folders that the class table has no use for: {names}'
    return recordings.TreeError(
        f'{root} is not the tree expected.\n  expected: {layout}, with classes that the class '
        f'table {table} names (--classes gives another)\n  found: {text}'
    )


def folder(
    root: str,
    *,
    classes: dict[str, SoundClass],
    groups: Groups | None = None,
    ignored: collections.Counter | None = None,
    table: str = 'in use',
) -> list[Recording]:
    """The general form: audio files in `foreground/<class>/**/*`, `background/<class>/**/*`.

    Args:
        root: the folder that holds `foreground` and `background`.
        classes: `read_classes`; a class that plays the other role here is left out.
        groups: `read_groups`.
        ignored: gets a count of the files left out, by folder.
        table: the class table's name, for the error.
    Raises:
        TreeError: if no file is left.
    """
    ignored = collections.Counter() if ignored is None else ignored
    files, sounds = recordings.list_files(root), []
    for path in files:
        role, *rest = path.split('/')
        if role not in ROLES or len(rest) < 2:
            continue
        sound_class = classes.get(label(rest[0]))
        if sound_class and sound_class.role == role:
            sounds.append(_sound(path, root, sound_class, groups, others=files[path]))
        else:
            ignored[f'{role}/{rest[0]}'] += 1
    if not sounds:
        raise _none(root, 'foreground/<class>/*, background/<class>/*', files, ignored, table)
    return sounds


def desed(
    root: str,
    *,
    classes: dict[str, SoundClass],
    groups: Groups | None = None,
    ignored: collections.Counter | None = None,
    table: str = 'in use',
) -> list[Recording]:
    """DESED: `audio/{train,eval}/soundbank/{foreground,background}/<Label>[_nOn|_nOff]/*.wav`.

    The class table alone decides the role: `Frying_nOn_nOff` lies among DESED's foregrounds. The
    evaluation bank stays evaluation. Arguments and errors: see `folder`.
    """
    ignored = collections.Counter() if ignored is None else ignored
    # `root` may be any folder from the one above `audio` down to `soundbank`.
    above = '/'.join(os.path.abspath(root).replace(os.sep, '/').split('/')[-3:])
    layout = re.compile(
        r'(?:.*/)?(?P<bank>[^/]+)/soundbank/(?:foreground|background)/(?P<label>[^/]+)/.+'
    )
    files, sounds = recordings.list_files(root), []
    for path in files:
        match = layout.fullmatch(f'{above}/{path}')
        if not match:
            continue
        sound_class = classes.get(label(re.sub(r'(_n(on|off))+$', '', match['label'], flags=re.I)))
        if not sound_class:
            ignored[match['label']] += 1
            continue
        bank = {'eval': 'test', 'test': 'test', 'validation': 'validation'}.get(match['bank'], '')
        others = files[path]
        sounds.append(
            _sound(path, root, sound_class, groups, tree='desed', bank=bank, others=others)
        )
    if not sounds:
        form = 'audio/{train,eval}/soundbank/{foreground,background}/<Label>/*.wav'
        raise _none(root, form, files, ignored, table)
    return sounds


def audioset(
    root: str,
    *,
    classes: dict[str, SoundClass],
    groups: Groups | None = None,
    ignored: collections.Counter | None = None,
    table: str = 'in use',
) -> list[Recording]:
    """AudioSet clips in folders by class: `**/<class>/[Y]<ytid>[_<start>[_<end>]].wav`, or
    `<ytid>_<start>-<end>.wav`.

    A class folder bears AudioSet's display name or mid, or the table's name. Clips of one video
    are one recording. Arguments and errors: see `folder`.
    """
    ignored = collections.Counter() if ignored is None else ignored
    files, sounds = recordings.list_files(root), []
    for path in files:
        folders = path.split('/')[:-1]
        sound_class = next(
            (classes[label(x)] for x in reversed(folders) if label(x) in classes), None
        )
        if not sound_class:
            ignored[folders[-1] if folders else '.'] += 1
            continue
        sounds.append(_sound(path, root, sound_class, groups, tree='audioset', others=files[path]))
    if not sounds:
        raise _none(root, '<class>/Y<ytid>_<start>_<end>.wav', files, ignored, table)
    return sounds


def unique_ids(sounds: list[Recording], roots: dict[str, str]) -> list[Recording]:
    """The sounds; of those that share an id, each gets a hash of its tree and place added.

    Args:
        sounds: of all trees.
        roots: {kind of tree: its folder}, so that a tree elsewhere gives the same ids.
    """
    counts = collections.Counter(sound.id for sound in sounds)

    def place(path: str) -> tuple[str, str]:
        kind = max(
            (k for k, root in roots.items() if path.startswith(posixpath.join(root, ''))),
            key=lambda k: len(roots[k]),
        )
        return kind, posixpath.relpath(path, roots[kind])

    return [
        sound
        if counts[sound.id] == 1
        else dataclasses.replace(
            sound, id=f'{sound.id}-{stable_hash(*place(sound.path)):016x}'[:-8]
        )
        for sound in sounds
    ]


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
            f'{plural(len(moved), "sound")} of seen classes, cut from recordings that also hold an '
            f'unseen class: for evaluation only, e.g. {moved[0].id} (recording '
            f'{moved[0].source_id}); if those are different recordings, say so with --groups'
        )
    members = {}
    for sound in sounds:
        if sound.seen:
            members.setdefault((sound.role, sound.source_class), []).append(sound)
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
                f'{key[0]} {key[1]}: {plural(len(groups), "source recording")}, fewer than the '
                f'three that make three splits; {len(pool)} in training'
            )
            asked = [0, 0]
        elif delivered:
            share = validation / (1 - test) if test < 1 else 0.0
            asked = [0, max(1, round(share * len(pool))) if validation else 0]
        else:
            asked = [max(1, round(x * len(groups))) if x else 0 for x in (test, validation)]
        room = len(pool) - rest  # one stays for training
        for name, count in zip(('test', 'validation'), asked):
            count = min(max(0, count - have[name]), max(0, room))
            room -= count
            splits.update(dict.fromkeys(pool[:count], name))
            pool = pool[count:]
        splits.update(dict.fromkeys(pool, 'train' if rest else 'test' if test else 'validation'))
    return [dataclasses.replace(sound, split=splits[sound.source_id]) for sound in sounds], lines
