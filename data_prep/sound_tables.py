"""The two tables of a sound bank: the role of each class, and the recording of each clip."""

import dataclasses
import os
import posixpath
import re
import unicodedata

from data_prep.corpora import TreeError
from data_prep.delimited import read_rows

TABLE_1 = os.path.join(os.path.dirname(__file__), 'table_1.csv')
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
    kept = (x if unicodedata.category(x)[0] in 'LMN' else ' ' for x in composed)
    return '_'.join(''.join(kept).split())


def read_classes(path: str = TABLE_1) -> dict[str, SoundClass]:
    """{label: class} for every name of every class of a class table.

    Args:
        path: csv or tsv with the columns role, class and set, and perhaps names (further names,
            split by `|`).
    Raises:
        TreeError: with file, line, what was found and the rule, for a line that is not one.
    """
    known = {}
    for number, row in read_rows(path, ('role', 'class', 'set'), others=('names',)):
        where = f'{path}, line {number}'
        role, kind = row['role'].lower(), row['set'].lower()
        for column, value, allowed in (('role', role, ROLES), ('set', kind, SETS)):
            if value not in allowed:
                raise TreeError(
                    f'{where}: found {column} {row[column]!r}; it must be {" or ".join(allowed)}'
                )
        if not label(row['class']):
            raise TreeError(f'{where}: found class {row["class"]!r}; it needs a name')
        one = SoundClass(label(row['class']), role, kind == 'seen')
        for name in dict.fromkeys(
            label(x) for x in (row['class'], *row.get('names', '').split('|'))
        ):
            if name and name in known:
                raise TreeError(
                    f'{where}: found {name!r} again, it is {known[name].name} already; a name must '
                    'stand for one class, and a class on one line'
                )
            if name:
                known[name] = one
    return known


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
