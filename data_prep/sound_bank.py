"""Walk sound banks as they are delivered: sounds with role, class, source recording and split."""

import collections
from collections.abc import Iterable
import dataclasses
import os
import posixpath
import re

from data_prep import corpora, sound_tables
from data_prep.corpora import Utterance, plural, printable
from data_prep.mixing import stable_hash
from data_prep.sound_tables import Groups, SoundClass, label


@dataclasses.dataclass(frozen=True)
class Sound(Utterance):
    """One isolated sound; `speaker` is the recording it is cut from, which never crosses splits.

    Attributes:
        role: foreground or background.
        seen: whether training uses its class.
        bank: split in which the corpus delivers it (`validation`, `test`), if any.
    """

    role: str = 'foreground'
    seen: bool = True
    bank: str = ''

    @property
    def owner(self) -> str:
        return f'class {self.role} {self.source_class}'


def _sound(
    path: str,
    root: str,
    one: SoundClass,
    groups: Groups | None,
    *,
    tree: str = 'folder',
    bank: str = '',
    others: tuple[str, ...] = (),
) -> Sound:
    full = posixpath.join(root, path)
    stem = posixpath.splitext(posixpath.basename(path))[0]
    return Sound(
        id=re.sub(r'[\s/]', '_', f'{one.name}-{stem}'),
        speaker=sound_tables.group_of(full, source_class=one.name, groups=groups, tree=tree),
        path=full,
        split='',
        source_class=one.name,
        role=one.role,
        seen=one.seen,
        bank=bank,
        others=others,
    )


def _none(root: str, layout: str, files: Iterable[str], unknown: collections.Counter, table: str):
    found = ', '.join(map(printable, [*files][:5])) if files else 'no such audio files at all'
    if unknown:
        names = ', '.join(map(printable, sorted(unknown)[:12]))
        found += f'; folders that the class table has no use for: {names}'
    return corpora.TreeError(
        f'{root} is not the tree expected.\n  expected: {layout}, with classes that the class '
        f'table {table} names (--classes gives another)\n  found: {found}'
    )


def folder(
    root: str,
    *,
    classes: dict[str, SoundClass],
    groups: Groups | None = None,
    ignored: collections.Counter | None = None,
    table: str = 'in use',
) -> list[Sound]:
    """The general form: audio files in `foreground/<class>/**/*`, `background/<class>/**/*`.

    Args:
        root: the folder that holds `foreground` and `background`.
        classes: `sound_tables.read_classes`; a class that plays the other role here is left out.
        groups: `sound_tables.read_groups`.
        ignored: gets a count of the files left out, by folder.
        table: the class table's name, for the error.
    Raises:
        TreeError: if no file is left.
    """
    ignored = collections.Counter() if ignored is None else ignored
    files, sounds = corpora.list_files(root), []
    for path in files:
        role, *rest = path.split('/')
        if role not in sound_tables.ROLES or len(rest) < 2:
            continue
        one = classes.get(label(rest[0]))
        if one and one.role == role:
            sounds.append(_sound(path, root, one, groups, others=files[path]))
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
) -> list[Sound]:
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
    files, sounds = corpora.list_files(root), []
    for path in files:
        match = layout.fullmatch(f'{above}/{path}')
        if not match:
            continue
        one = classes.get(label(re.sub(r'(_n(on|off))+$', '', match['label'], flags=re.I)))
        if not one:
            ignored[match['label']] += 1
            continue
        bank = {'eval': 'test', 'test': 'test', 'validation': 'validation'}.get(match['bank'], '')
        others = files[path]
        sounds.append(_sound(path, root, one, groups, tree='desed', bank=bank, others=others))
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
) -> list[Sound]:
    """AudioSet clips in folders by class: `**/<class>/[Y]<ytid>[_<start>[_<end>]].wav`, or
    `<ytid>_<start>-<end>.wav`.

    A class folder bears AudioSet's display name or mid, or the table's name. Clips of one video
    are one recording. Arguments and errors: see `folder`.
    """
    ignored = collections.Counter() if ignored is None else ignored
    files, sounds = corpora.list_files(root), []
    for path in files:
        folders = path.split('/')[:-1]
        one = next((classes[label(x)] for x in reversed(folders) if label(x) in classes), None)
        if not one:
            ignored[folders[-1] if folders else '.'] += 1
            continue
        sounds.append(_sound(path, root, one, groups, tree='audioset', others=files[path]))
    if not sounds:
        raise _none(root, '<class>/Y<ytid>_<start>_<end>.wav', files, ignored, table)
    return sounds


def unique_ids(sounds: list[Sound], roots: dict[str, str]) -> list[Sound]:
    """The sounds; of those that share an id, each gets a hash of its tree and place added.

    Args:
        sounds: of all trees.
        roots: {kind of tree: its folder}, so that a tree elsewhere gives the same ids.
    """
    counts = collections.Counter(one.id for one in sounds)

    def place(path: str) -> tuple[str, str]:
        kind = max(
            (k for k, root in roots.items() if path.startswith(posixpath.join(root, ''))),
            key=lambda k: len(roots[k]),
        )
        return kind, posixpath.relpath(path, roots[kind])

    return [
        one
        if counts[one.id] == 1
        else dataclasses.replace(one, id=f'{one.id}-{stable_hash(*place(one.path)):016x}'[:-8])
        for one in sounds
    ]


def distinct(sounds: list[Sound], copies: list) -> list[Sound]:
    """The sounds whose files are no copies; recordings that a copy joins are one recording.

    Of several, one in a delivered evaluation bank stays.

    Args:
        sounds: of all trees.
        copies: gets (sound left out, the one whose copy it is).
    """
    kept = corpora.distinct(sounds, copies, last=lambda one: one.bank != 'test')
    same = corpora.joined((other.speaker, copy.speaker) for copy, other in copies)
    return [dataclasses.replace(one, speaker=same.get(one.speaker, one.speaker)) for one in kept]


def split(
    sounds: list[Sound], *, validation: float = 0.14, test: float = 0.21, seed: int = 0
) -> tuple[list[Sound], list[str]]:
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
    fixed, told = {}, []
    for one in sounds:
        if one.bank == 'validation':
            fixed.setdefault(one.speaker, 'validation')
        if one.bank == 'test' or not one.seen:
            fixed[one.speaker] = 'test'
    unseen = {one.speaker for one in sounds if not one.seen}
    moved = [one for one in sounds if one.seen and one.speaker in unseen and one.bank != 'test']
    if moved:
        told.append(
            f'{plural(len(moved), "sound")} of seen classes, cut from recordings that also hold an '
            f'unseen class: for evaluation only, e.g. {moved[0].id} (recording '
            f'{moved[0].speaker}); if those are different recordings, say so with --groups'
        )
    members = {}
    for one in sounds:
        if one.seen:
            members.setdefault((one.role, one.source_class), []).append(one)
    splits = dict(fixed)

    def recordings(key) -> set[str]:
        return {one.speaker for one in members[key]}

    for key in sorted(members, key=lambda key: (len(recordings(key)), key)):
        groups = recordings(key)
        pool = sorted(groups - splits.keys(), key=lambda g: stable_hash(seed, 'split', key[1], g))
        delivered = any(one.bank == 'test' for one in members[key])
        have = collections.Counter(splits[g] for g in groups if g in splits)
        rest = validation + test < 1
        if len(groups) < 3 and rest:
            told.append(
                f'{key[0]} {key[1]}: {plural(len(groups), "source recording")}, fewer than the '
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
    return [dataclasses.replace(one, split=splits[one.speaker]) for one in sounds], told
