"""Recordings, rows of files.csv: what lies in a tree, and which files are copies or forms."""

import collections
from collections.abc import Callable, Iterable
import dataclasses
import hashlib
import heapq
import math
import operator
import os
import posixpath
import re
import stat

import soundfile

from data_prep import progress, tables
from data_prep.draws import stable_hash
from data_prep.output import Part
from data_prep.tables import PATH, PATHS, TreeError, column
from fgsep_jax import buckets, files as files_lib
from fgsep_jax.data import audio_files
from fgsep_jax.data.containers import BY_FFMPEG
from fgsep_jax.names import counted, is_companion, shown as printable
from fgsep_jax.separation.manifest import MANIFEST, written_into

_PROBE = 4096  # bytes from the middle: they tell nearly all files of one size apart

# Whose contents are looked into: what libsndfile knows, but for samples without any header, and
# what ffmpeg decodes.
_OF_LIBSNDFILE = tuple(
    sorted(
        {f'.{name.lower()}' for name in soundfile.available_formats()} - {'.raw'}
        | {'.wave', '.bwf', '.bw64', '.oga', '.opus', '.mp2', '.mpga'}
        | {'.aif', '.aifc', '.snd', '.sph'}
    )
)
AUDIO = (*_OF_LIBSNDFILE, *BY_FFMPEG)


@dataclasses.dataclass(frozen=True, slots=True)  # there are millions
class Take:
    """How the samples of a file become the sound that is used.

    Attributes:
        channel: the one that is taken.
        offset: taken off it; 0 where a mean is no matter, see `audio.inspect`.
        scale: factor; a power of two, below 1 where float samples exceed full scale.
    """

    channel: int = column(int, 0)
    offset: float = column(float, 0.0)
    scale: float = column((math.ulp(0.0), 1e300), 1.0)


AS_IT_IS = Take()


@dataclasses.dataclass(slots=True)  # there are millions: a frozen one takes 5 times as long
class Recording:
    """One audio file, or a segment of it: a row of files.csv.

    Attributes:
        id: unique in the data set, without spaces; part of the ids of its mixtures.
        source_id: who speaks, or the recording that a sound is cut from: no mixture pairs it with
            itself, and it never crosses splits.
        path: of the file; local, or any URL that Beam's file systems read.
        split: train, validation, test, ...; of several, to which its segments are dealt, all,
            joined by `+`; empty where it is dealt to none.
        source_class: `speech`, or the class of the sound.
        role: `foreground` or `background` for a sound, `noise` for what is no target; empty for
            speech.
        seen: whether training uses the sound's class; None where nothing says so.
        bank: split in which its corpus delivers the sound (`validation`, `test`), if any.
        start, samples: where it begins and how long it is, at the data set's rate; 0 until it is
            looked into, and where it is bad.
        rms_db: level re full scale.
        take: how it is to be read.
        converted: what reading changes (`resampled`, `first channel taken`).
        problem, detail: kind of fault and what was seen; empty if the file is good.
        others: paths of the same recording in other forms, to be tried where `path` is not good.
    """

    id: str = column(str)
    source_id: str = column(str)
    path: str = column(PATH)
    split: str = column(str)
    source_class: str = column(str, 'speech')
    role: str = column(str, '')
    seen: bool | None = column(bool, None)
    bank: str = column(str, '')
    _: dataclasses.KW_ONLY
    start: int = column(int, 0)
    samples: int = column(int, 0)
    rms_db: float = column(float, -math.inf)
    take: Take = column(Take, AS_IT_IS)
    converted: tuple[str, ...] = column(tuple, ())
    problem: str = column(str, '')
    detail: str = column(str, '')
    others: tuple[str, ...] = column(PATHS, ())

    def __post_init__(self):
        # These two are written into records and reports; `path` must stay as the system has it.
        self.id, self.source_id = printable(self.id), printable(self.source_id)

    @property
    def owner(self) -> str:
        """Whose it is, for people."""
        if self.role == 'noise':
            return 'the noise'
        if self.role:
            return f'class {self.role} {self.source_class}'
        return f'speaker {self.source_id}'


_PUT = {name: getattr(Recording, name).__set__ for name in Recording.__slots__}
_all_of = operator.attrgetter(*_PUT)


def changed(recording: Recording, **values) -> Recording:
    """As `dataclasses.replace` of values that need no check: that takes 10 s of a million."""
    made = object.__new__(Recording)
    for put, value in zip(_PUT.values(), _all_of(recording)):
        put(made, value)
    for name, value in values.items():
        _PUT[name](made, value)
    return made


@dataclasses.dataclass
class Walked:
    """What lies in a tree.

    Attributes:
        files: relative paths (with `/`) of all that is no folder.
        companions: how many files and folders are the system's own; they are not looked into.
        problems: (relative path, kind, detail) of folders that could not be looked into.
        originals: {path of a converted file: those of what it was made from}.
    """

    files: list[str] = dataclasses.field(default_factory=list)
    companions: int = 0
    problems: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    originals: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def grouped(items: Iterable, key: Callable) -> dict[object, list]:
    """{key of an item: all items of this key}, both in the order in which they come."""
    groups = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def crossing(places: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """{name: its splits} of names that are in several, sorted.

    Args:
        places: (name, split) of everything.
    """
    splits = {}
    for name, split in places:
        splits.setdefault(name, set()).add(split)
    return {name: splits[name] for name in sorted(splits) if len(splits[name]) > 1}


def unique_ids(found: list[Recording], place: Callable[[str], tuple]) -> list[Recording]:
    """The recordings; of those that share an id, each gets a hash of its place added.

    Args:
        found: all of them.
        place: a function of a path: what names it wherever the trees are.
    """
    counts = collections.Counter(recording.id for recording in found)
    return [
        recording
        if counts[recording.id] == 1
        else dataclasses.replace(
            recording, id=f'{recording.id}-{stable_hash(*place(recording.path)):016x}'[:-8]
        )
        for recording in found
    ]


def _walk(root: str) -> Walked:
    """All of a local tree; each folder is entered once, links to it or not.

    True folders come before links and shallow links before deep ones, so that a speaker's folder
    is that speaker's even where another one links to it; and so do files.
    """
    if not os.path.isdir(root):
        raise TreeError(f'{root} is not a folder')
    tree, visited, named_like_sounds = Walked(), set(), []
    true_files, linked_files = set(), {}  # real paths; links: relative path -> real path
    ours = set()  # what separating wrote among its recordings
    real_root = os.path.realpath(root)
    waiting = [((0, ''), '', real_root)]  # (depth, path) of the link to it; path, real folder
    say = progress.often('files found')
    while waiting:
        say(len(tree.files))
        link, here, folder = heapq.heappop(waiting)
        if folder in visited:
            if here == link[1]:
                problem = (here, 'linked twice', 'links to a folder of the same tree')
                tree.problems.append(problem)
            continue
        visited.add(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if stopped := audio_files.of_the_machine(error):
                raise stopped from error
            kind = 'not permitted' if isinstance(error, PermissionError) else 'unreadable'
            tree.problems.append((here or '.', kind, f'folder: {files_lib.why(error)}'))
            continue
        if any(entry.name == MANIFEST for entry in entries):
            ours |= written_into(folder)
        above = f'{here}/' if here else ''
        for entry in entries:
            path, is_link = f'{above}{entry.name}', entry.is_symlink()
            is_audio = entry.name.lower().endswith(AUDIO)
            if is_companion(entry.name):
                tree.companions += 1
            elif os.path.isdir(entry.path) if is_link else entry.is_dir():
                named_like_sounds += [path] if is_audio else []
                target = os.path.realpath(entry.path) if is_link else entry.path
                inside = os.path.join(target, '')
                if not is_link:
                    heapq.heappush(waiting, (link, path, target))
                elif any(os.path.join(at, '').startswith(inside) for at in (folder, real_root)):
                    tree.problems.append((path, 'link loop', 'links to a folder above it'))
                else:
                    heapq.heappush(waiting, ((path.count('/'), path), path, target))
            elif entry.path in ours:
                tree.problems.append((path, 'a part', 'fgsep-separate wrote it'))
            elif is_audio and is_link:
                linked_files[path] = os.path.realpath(entry.path)
            else:
                true_files.add(entry.path)
                tree.files.append(path)
    for path in sorted(linked_files, key=lambda path: (path.count('/'), path)):
        if linked_files[path] in true_files and os.path.exists(linked_files[path]):
            tree.problems.append((path, 'linked twice', 'links to a file of the same tree'))
        else:
            true_files.add(linked_files[path])
            tree.files.append(path)
    sounds = (path for path in tree.files if named_like_sounds and path.lower().endswith(AUDIO))
    held = {*map(posixpath.dirname, sounds)}
    for path in named_like_sounds:
        if not any(f'{folder}/'.startswith(f'{path}/') for folder in held):
            tree.problems.append((path, 'not a file', 'a folder'))
    return tree


def walk(root: str) -> Walked:
    """What lies under `root`, a local folder or any URL that Beam's file systems list.

    Of a file that was converted for libsndfile, what it was made from is not taken again.

    Raises:
        TreeError: if `root` is not a folder.
    """
    if '://' in root:
        paths = buckets.find(root)
        chosen = [path for path in paths if not any(map(is_companion, path.split('/')))]
        tree = Walked(chosen, len(paths) - len(chosen))
    else:
        tree = _walk(root)
    others = sorted(path for path in tree.files if path.lower().endswith(BY_FFMPEG))
    readable = [path for path in tree.files if others and path.lower().endswith(_OF_LIBSNDFILE)]
    converted = {stem(path): path for path in sorted(readable)}
    again = {
        path: converted.get(path) or converted[stem(path)]
        for path in others
        if {path, stem(path)} & converted.keys()
    }  # x.m4a beside x.wav, or beside x.m4a.wav
    if again:
        tree.files = [path for path in tree.files if path not in again]
    tree.problems += [(path, 'converted already', 'beside it') for path in again]
    for path, made in again.items():
        tree.originals[made] = (*tree.originals.get(made, ()), path)
    return tree


def list_files(root: str, suffixes: tuple[str, ...] = AUDIO) -> dict[str, tuple[str, ...]]:
    """The files under `root` with one of `suffixes`, sorted, and what they were converted from.

    Returns:
        {relative path (with `/`): full paths of the same recording in other forms}.
    Raises:
        TreeError: if `root` is not a folder.
    """
    tree = walk(root)
    return {
        path: tuple(posixpath.join(root, other) for other in tree.originals.get(path, ()))
        for path in sorted(tree.files)
        if path.lower().endswith(suffixes)
    }


def in_forms(
    root: str, files: dict[str, tuple[str, ...]], named: dict[str, object]
) -> dict[str, tuple[str, ...]]:
    """Of files that are one recording in several forms, the last one: by name, .wav.

    Args:
        root: the folder.
        files: see `list_files`.
        named: {relative path: what the recording is called}.
    Returns:
        {relative path: full paths of its other forms, the first to be tried first}.
    """
    return {
        path: (
            *(posixpath.join(root, form) for form in others),
            *(x for form in (path, *others) for x in files[form]),
        )
        for path, *others in map(reversed, grouped(named, named.get).values())
    }


class LeftOut(list):
    """Of what a reader leaves out: pairs of `distinct`, and what it gives no split.

    Attributes:
        of_no_split: full paths, of `read_named`.
        folders: {full path of one of which it takes nothing: audio files}.
    """

    def __init__(self):
        super().__init__()
        self.of_no_split: list[str] = []
        self.folders: dict[str, int] = {}


def read_named(
    root: str,
    pattern: str,
    split_of: Callable[[re.Match], str | None],
    *,
    layout: str,
    copies: list | None = None,
) -> list[Recording]:
    """The utterances of a corpus whose paths tell who says what.

    Args:
        root: the folder.
        pattern: of a relative path, with the groups `speaker` and `name`, of the recording: no
            other one of the speaker has it, and its forms, of other suffixes, share it; names that
            two speakers have get the speaker's in front.
        split_of: the split of a path that matches; None: it is not taken, which a `LeftOut` counts.
        layout: what a tree of this corpus looks like, for the error.
        copies: see `distinct`.
    Raises:
        TreeError: nothing in the tree is named so, or two files of one suffix have one name.
    """
    files = list_files(root)
    matches = {path: match for path in files if (match := re.fullmatch(pattern, path))}
    splits = {path: split for path, match in matches.items() if (split := split_of(match))}
    if not splits:
        raise wrong_tree(root, layout, list(files))
    if isinstance(copies, LeftOut):
        copies.of_no_split += [posixpath.join(root, path) for path in matches.keys() - splits]
        taken = {*map(posixpath.dirname, matches)}
        left = (posixpath.dirname(path) for path in files.keys() - matches)
        counts = collections.Counter(folder for folder in left if folder and folder not in taken)
        copies.folders |= {posixpath.join(root, folder): n for folder, n in counts.items()}
    called = {path: matches[path].group('speaker', 'name') for path in splits}
    _refuse_one_name(root, called)
    uses = collections.Counter(name for _, name in set(called.values()))
    forms = in_forms(root, files, called)
    utterances = [
        Recording(
            called[path][1] if uses[called[path][1]] == 1 else '_'.join(called[path]),
            called[path][0],
            posixpath.join(root, path),
            splits[path],
            others=others,
        )
        for path, others in forms.items()
    ]
    return distinct(utterances, copies)


def _refuse_one_name(root: str, called: dict[str, tuple[str, str]]) -> None:
    """Raises TreeError where files of one suffix have one speaker's one name, and are no copies of
    one another: no forms of it."""
    alike = grouped(called, lambda path: (*called[path], posixpath.splitext(path)[1].lower()))
    again = [paths for paths in alike.values() if paths[1:] and not _are_copies(root, paths)]
    if again:
        first, second = sorted(map(printable, again[0]))[:2]
        speaker, name = map(printable, called[again[0][0]])
        more = sum(map(len, again)) - 2
        raise TreeError(
            f'{root}: {first} and {second} are both called {name} of speaker {speaker}'
            f'{f", and {more:,} more files are of one name" * (more > 0)}: two files of one suffix '
            'are no forms of one recording. Leave one of them out; or the `name` in the pattern of '
            'its reader must tell them apart'
        )


def _are_copies(root: str, paths: list[str]) -> bool:
    full = [posixpath.join(root, path) for path in paths]
    return len(copies_of(full)) == len(full) - 1


def copies_of(paths: Iterable[str]) -> dict[str, str]:
    """{path: the first of `paths` that holds the same bytes}, for local files that are copies.

    Files are told apart by size, those of one size by a few bytes from their middle, and only
    what is still alike by a digest of the whole. An empty file is nothing's copy.
    """

    def size(path):
        about = None if '://' in path else os.stat(path)
        return about.st_size if about and stat.S_ISREG(about.st_mode) else 0

    def middle(path):
        with open(path, 'rb', buffering=0) as file:
            return os.pread(file.fileno(), _PROBE, os.fstat(file.fileno()).st_size // 2)

    def whole(path):
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').digest()

    groups = [list(paths)]
    for key in (size, middle, whole):
        groups = [alike for group in groups for alike in _alike(group, key)]
    return {path: group[0] for group in groups for path in group[1:]}


def _alike(paths: list[str], key: Callable) -> list[list[str]]:
    """Groups of two or more paths with one key, in their order; those without a key are alone."""
    first, groups = {}, {}
    for path in progress.logged(paths, 'looking for copies'):
        try:
            value = key(path)
        except OSError:  # whoever reads it says so
            continue
        if value and value in first:
            groups.setdefault(value, [first[value]]).append(path)
        elif value:
            first[value] = path
    return list(groups.values())


def distinct(
    items: list[Recording], copies: list | None = None, *, last: Callable = lambda item: False
) -> list[Recording]:
    """The items, in their order, without copies.

    Of these a file, of whatever form, is a copy of another one's. The first speaker keeps a file,
    under its shortest name: a copy `x (1)` beside `x` changes nothing.

    Args:
        items: utterances or sounds.
        copies: gets (item left out, the one that is kept), with the paths of two equal files.
        last: whether an item is kept only if nothing else is.
    """
    order = sorted(
        items, key=lambda item: (last(item), item.owner, len(posixpath.basename(item.path)))
    )
    by_path = {item.path: item for item in order}
    owners = {}
    for item in order:
        for path in (item.path, *item.others):
            owners.setdefault(path, by_path.get(path, item))
    alike = {}  # {(path of an item, path of its copy): two of their files that are equal}
    # A file that an item is known by comes first: the report names that.
    for same in sorted(copies_of(owners).items(), key=lambda same: same[0] not in by_path):
        copy, first = (owners[path] for path in same)
        if copy is first or (first.path, copy.path) in alike:
            continue
        if (copy.others or first.others) and _is_bad(same[0]):  # else the others would be lost
            continue
        alike[first.path, copy.path] = same
    files = {}
    for (first, copy), same in alike.items():
        files.setdefault(copy, same)
        files.setdefault(first, same[::-1])
    groups, originals, left = joined(alike), {}, {}
    for item in order:
        stays = originals.setdefault(groups.get(item.path, item.path), item)
        if stays.path != item.path:
            left[item.path] = stays
    if copies is not None:
        for path, stays in sorted(left.items(), key=lambda pair: pair[0]):
            copy, first = files[path]
            copies.append(
                (
                    dataclasses.replace(by_path[path], path=copy),
                    dataclasses.replace(stays, path=first),
                )
            )
    return [item for item in items if item.path not in left]


def _is_bad(path: str) -> bool:
    """Whether a file cannot be decoded."""
    try:
        with audio_files.for_libsndfile(path) as readable, audio_files.decoded(readable) as sound:
            for _ in sound.blocks:
                pass
    except audio_files.BadInput:
        return True
    return False


def joined(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{name: the one that stands for it} of names that pairs make one, in chains too.

    Args:
        names: pairs; of each, the first one's group takes in the second one's.
    """
    above = {}

    def top(name: str) -> str:
        while name in above:
            name = above[name]
        return name

    for first, second in names:
        if top(first) != top(second):
            above[top(second)] = top(first)
    return {name: top(name) for name in above}


def shared(copies: list[tuple[Recording, Recording]], *, most: int = 20) -> list[str]:
    """A line for each two speakers, or classes, of whose files `distinct` left some out.

    Args:
        copies: see `distinct`.
        most: pairs told of by name.
    """
    owners = collections.Counter((original.owner, copy.owner) for copy, original in copies)
    pairs = sorted((*pair, count) for pair, count in owners.items() if pair[0] != pair[1])
    lines = [
        f'{a} and {b} share {counted(count, "file")}, byte for byte: used once, as of {a}'
        for a, b, count in pairs[:most]
    ]
    if pairs[most:]:
        lines.append(f'{counted(len(pairs) - most, "more pair")} share files, see report.json')
    return lines


def unused(
    roots: Iterable[str],
    used: Iterable[str],
    copies: Iterable[tuple[Recording, Recording]] = (),
) -> dict:
    """What lies under `roots` beside the `used` paths, for the report.

    Args:
        roots: folders.
        used: paths.
        copies: see `distinct`.
    Returns:
        `other`: {suffix: files that are no audio}; `audio`: {suffix: audio files that the job
        does not take}; `example`: one of these; `of_no_split`: how many files a reader gives none,
        if any, and `no_split_example`; `companions`: how many; `problems`: [{name, path, kind,
        detail}].
    """

    def plain(path: str) -> str:
        return path if '://' in path else os.path.normpath(path)

    of_no_split = sorted(getattr(copies, 'of_no_split', ()))
    used = {plain(path) for path in (*used, *(copy.path for copy, _ in copies), *of_no_split)}
    counts = {'other': collections.Counter(), 'audio': collections.Counter()}
    companions, examples = 0, []
    problems = [
        {
            'name': copy.id,
            'path': printable(copy.path),
            'kind': 'copy of another file',
            'detail': f'the bytes of {printable(original.path)}',
        }
        for copy, original in copies
    ]
    problems += [
        {
            'name': printable(posixpath.basename(folder)),
            'path': printable(folder),
            'kind': 'nothing taken',
            'detail': f'{counted(count, "file")}, none named as this job expects',
        }
        for folder, count in sorted(getattr(copies, 'folders', {}).items())
    ]
    for root in roots:
        tree = walk(root)
        companions += tree.companions
        top = plain(root).rstrip('/')
        for path, kind, detail in tree.problems:
            if f'{top}/{path}' in used:  # by a list that names it
                continue
            name, path = printable(path), printable(posixpath.join(root, path))
            problems.append({'name': name, 'path': path, 'kind': kind, 'detail': detail})
        for path in tree.files:
            if f'{top}/{path}' in used:
                continue
            suffix = posixpath.splitext(path)[1].lower()
            plausible = re.fullmatch(r'\.\w{1,8}', suffix)
            kind = 'audio' if suffix in AUDIO else 'other'
            counts[kind][suffix if plausible else 'no suffix'] += 1
            if kind == 'audio':
                examples.append(path)
    apart = {}
    if of_no_split:
        apart = {'of_no_split': len(of_no_split), 'no_split_example': printable(of_no_split[0])}
    return {
        **{kind: dict(sorted(counter.items())) for kind, counter in counts.items()},
        'example': printable(min(examples, default='')),
        **apart,
        'companions': companions,
        'problems': sorted(problems, key=lambda problem: problem['path']),
    }


def stem(path: str) -> str:
    """The path without its suffix."""
    return posixpath.splitext(path)[0]


def wrong_tree(
    root: str, layout: str, files: Iterable[str], *, what: str = 'is not the tree expected'
) -> TreeError:
    """The refusal of a tree in which nothing is named as in `layout`, with some of its files."""
    examples = ', '.join(map(printable, [*files][:5])) or 'no such audio files at all'
    return TreeError(f'{root} {what}.\n  expected: {layout}\n  found: {examples}')


def to_csv(recordings: Iterable[Recording], roots: dict[str, str]) -> bytes:
    """files.csv, a line for each recording, or form of one, that was looked into.

    Args:
        recordings: one at least.
        roots: {flag: folder}, see `tables.below`.
    """
    return tables.to_csv(list(recordings), roots, first=('split', 'id', 'path'))


def from_csv(path: str, roots: dict[str, str], part: Part | None = None) -> list[Recording]:
    """The recordings that `to_csv` wrote.

    Args:
        path: of the table.
        roots: {flag: folder}, see `tables.below`.
        part: see `tables.read_lines`.
    Raises:
        TreeError: it is no such table.
    """
    lines = tables.read_rows(path, ('split', 'id', 'path'), part=part)
    return [tables.from_cells(Recording, cells, roots) for _, cells in lines]
