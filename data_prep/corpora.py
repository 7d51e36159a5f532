"""Walk source trees as they are delivered: utterances with speaker, path and split."""

import collections
from collections.abc import Callable, Iterable
import dataclasses
import glob
import hashlib
import heapq
import os
import posixpath
import re
import stat
import unicodedata

import soundfile

from data_prep.mixing import stable_hash
from fgsep_jax import files as files_lib
from fgsep_jax.data import audio_files
from fgsep_jax.data.containers import BY_FFMPEG
from fgsep_jax.names import shown as printable
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
# What systems and file servers leave beside the files of their users.
_SYSTEM_NAMES = {
    '__macosx', 'temporary items', 'network trash folder', 'lost+found', 'lost.dir',
    'system volume information', '$recycle.bin', 'recycler', 'recycled',
    '@eadir', '@recycle', '@recently-snapshot', '@tmp', '#recycle', '#snapshot', '~snapshot',
    '_gsdata_', 'thumbs.db', 'ehthumbs.db', 'desktop.ini', 'icon\r',
}  # fmt: skip


class TreeError(ValueError):
    """A tree that is not what the job expects."""


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'


def is_companion(name: str) -> bool:
    """Whether a file or folder of this name is a system's own, beside the user's files."""
    name = name.lower()
    return name.startswith('.') or name in _SYSTEM_NAMES or bool(re.fullmatch(r'found\.\d+', name))


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One audio file.

    Attributes:
        id: unique in the data set, without spaces; part of the ids of its mixtures.
        speaker: who speaks (or which clip it is); mixtures never pair a speaker with itself.
        path: of the file; local, or any URL that Beam's file systems read.
        split: train, validation, test, ...
        source_class: `speech`, or the class of the sound.
        others: paths of the same recording in other forms; the first one that is good is taken
            where `path` is not.
    """

    id: str
    speaker: str
    path: str
    split: str
    source_class: str = 'speech'
    others: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def __post_init__(self):
        # These two are written into records and reports; `path` must stay as the system has it.
        object.__setattr__(self, 'id', printable(self.id))
        object.__setattr__(self, 'speaker', printable(self.speaker))

    @property
    def owner(self) -> str:
        """Whose it is, for people."""
        return f'speaker {self.speaker}'


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


def _walk(root: str) -> Walked:
    """All of a local tree; each folder is entered once, links to it or not.

    True folders come before links and shallow links before deep ones, so that a speaker's folder
    is that speaker's even where another one links to it; and so do files.
    """
    if not os.path.isdir(root):
        raise TreeError(f'{root} is not a folder')
    tree, visited, named_like_sounds = Walked(), set(), []
    true_files, linked_files = set(), {}  # real paths; links: relative path -> real path
    real_root = os.path.realpath(root)
    starts = [(0, '', real_root)]  # depth, relative path, folder; links wait here
    ours = set()  # what separating wrote among its recordings

    while starts:
        depth, start, top = heapq.heappop(starts)
        if top in visited:
            tree.problems.append((start, 'linked twice', 'links to a folder of the same tree'))

        def inside(folder):
            below = os.path.relpath(folder, top).replace(os.sep, '/')
            return posixpath.normpath(posixpath.join(start, below))

        def refused(error):
            kind = 'not permitted' if isinstance(error, PermissionError) else 'unreadable'
            detail = f'folder: {files_lib.why(error)}'
            tree.problems.append((inside(error.filename), kind, detail))

        for folder, below, names in os.walk(top, onerror=refused):
            if folder in visited:
                below.clear()
                continue
            visited.add(folder)
            kept = [name for name in below if not is_companion(name)]
            tree.companions += len(below) - len(kept) + sum(map(is_companion, names))
            below[:] = kept
            here = inside(folder)
            ours = ours | written_into(folder) if MANIFEST in names else ours
            for name in names:
                if is_companion(name):
                    continue
                path, real = posixpath.normpath(f'{here}/{name}'), os.path.join(folder, name)
                if real in ours:
                    tree.problems.append((path, 'a part', 'fgsep-separate wrote it'))
                    continue
                if name.lower().endswith(AUDIO) and os.path.islink(real):
                    linked_files[path] = os.path.realpath(real)
                else:
                    true_files.add(real)
                    tree.files.append(path)
            for name in below:
                path = os.path.join(folder, name)
                if name.lower().endswith(AUDIO):
                    named_like_sounds.append(posixpath.normpath(f'{here}/{name}'))
                if os.path.islink(path):
                    target, link = os.path.realpath(path), posixpath.normpath(f'{here}/{name}')
                    above = os.path.join(target, '')
                    if any(os.path.join(at, '').startswith(above) for at in (folder, real_root)):
                        problem = (link, 'link loop', 'links to a folder above it')
                        tree.problems.append(problem)
                    else:
                        heapq.heappush(starts, (link.count('/'), link, target))
    for path in sorted(linked_files, key=lambda path: (path.count('/'), path)):
        if linked_files[path] in true_files and os.path.exists(linked_files[path]):
            tree.problems.append((path, 'linked twice', 'links to a file of the same tree'))
        else:
            true_files.add(linked_files[path])
            tree.files.append(path)
    held = {posixpath.dirname(path) for path in tree.files if path.lower().endswith(AUDIO)}
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
    tree = _walk_url(root) if '://' in root else _walk(root)
    readable = sorted(path for path in tree.files if path.lower().endswith(_OF_LIBSNDFILE))
    converted = {_stem(path): path for path in readable}
    again = {
        path: converted.get(path) or converted[_stem(path)]
        for path in sorted(tree.files)
        if path.lower().endswith(BY_FFMPEG) and {path, _stem(path)} & converted.keys()
    }  # x.m4a beside x.wav, or beside x.m4a.wav
    tree.files = [path for path in tree.files if path not in again]
    tree.problems += [(path, 'converted already', 'beside it') for path in again]
    for path, made in again.items():
        tree.originals[made] = (*tree.originals.get(made, ()), path)
    return tree


def _walk_url(root: str) -> Walked:
    """All below a URL."""
    from apache_beam.io.filesystems import FileSystems

    base = root.rstrip('/') + '/'
    found = [
        m.path[len(base) :] for m in FileSystems.match([glob.escape(base) + '**'])[0].metadata_list
    ]
    kept = [path for path in found if not any(map(is_companion, path.split('/')))]
    return Walked(kept, len(found) - len(kept))


def list_files(root: str, suffixes: tuple[str, ...] = AUDIO) -> dict[str, tuple[str, ...]]:
    """The files under `root` with one of `suffixes`, sorted, and what they were converted from.

    Returns:
        {relative path (with `/`): full paths of the same recording in other forms}.
    Raises:
        TreeError: if `root` is not a folder.
    """
    tree = walk(root)
    return {
        path: tuple(_join(root, other) for other in tree.originals.get(path, ()))
        for path in sorted(tree.files)
        if path.lower().endswith(suffixes)
    }


def in_forms(
    root: str, files: dict[str, tuple[str, ...]], named: dict[str, str]
) -> dict[str, tuple[str, ...]]:
    """Of files that are one recording in several forms, the last one: by name, .wav.

    Args:
        root: the folder.
        files: see `list_files`.
        named: {relative path: what the recording is called}.
    Returns:
        {relative path: full paths of its other forms, the first to be tried first}.
    """
    groups = collections.defaultdict(list)
    for path, name in named.items():
        groups[name].insert(0, path)
    return {
        some[0]: (*(_join(root, one) for one in some[1:]), *(x for one in some for x in files[one]))
        for some in groups.values()
    }


def copies_of(paths: Iterable[str]) -> dict[str, str]:
    """{path: the first of `paths` that holds the same bytes}, for local files that are copies.

    Files are told apart by size, those of one size by a few bytes from their middle, and only
    what is still alike by a digest of the whole. An empty file is nothing's copy.
    """

    def size(path):
        about = None if '://' in path else os.stat(path)
        return about.st_size if about and stat.S_ISREG(about.st_mode) else 0

    def middle(path):
        with open(path, 'rb') as file:
            file.seek(size(path) // 2)
            return file.read(_PROBE)

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
    for path in paths:
        try:
            found = key(path)
        except OSError:  # whoever reads it says so
            continue
        if found and found in first:
            groups.setdefault(found, [first[found]]).append(path)
        elif found:
            first[found] = path
    return list(groups.values())


def distinct(
    items: list[Utterance], copies: list | None = None, *, last: Callable = lambda one: False
) -> list[Utterance]:
    """The items, in their order, without those of which a file, of whatever form, is a copy of
    another one's.

    The first speaker keeps a file, under its shortest name: a copy `x (1)` beside `x` changes
    nothing.

    Args:
        items: utterances or sounds.
        copies: gets (item left out, the one that is kept), with the paths of two equal files.
        last: whether an item is kept only if nothing else is.
    """
    order = sorted(items, key=lambda one: (last(one), one.owner, len(posixpath.basename(one.path))))
    by_path = {one.path: one for one in order}
    owners = {}
    for one in order:
        for path in (one.path, *one.others):
            owners.setdefault(path, by_path.get(path, one))
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
    groups, kept, left = joined(alike), {}, {}
    for one in order:
        stays = kept.setdefault(groups.get(one.path, one.path), one)
        if stays.path != one.path:
            left[one.path] = stays
    if copies is not None:
        for path, stays in sorted(left.items(), key=lambda pair: pair[0]):
            copy, first = files[path]
            copies.append(
                (
                    dataclasses.replace(by_path[path], path=copy),
                    dataclasses.replace(stays, path=first),
                )
            )
    return [one for one in items if one.path not in left]


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


def shared(copies: list[tuple[Utterance, Utterance]], *, most: int = 20) -> list[str]:
    """A line for each two speakers, or classes, of whose files `distinct` left some out.

    Args:
        copies: see `distinct`.
        most: pairs told of by name.
    """
    owners = collections.Counter((kept.owner, copy.owner) for copy, kept in copies)
    pairs = sorted((*pair, count) for pair, count in owners.items() if pair[0] != pair[1])
    told = [
        f'{kept} and {other} share {plural(count, "file")}, byte for byte: used once, as of {kept}'
        for kept, other, count in pairs[:most]
    ]
    if pairs[most:]:
        told.append(f'{plural(len(pairs) - most, "more pair")} share files, see report.json')
    return told


def unused(
    roots: Iterable[str],
    used: Iterable[str],
    copies: Iterable[tuple[Utterance, Utterance]] = (),
) -> dict:
    """What lies under `roots` beside the `used` paths, for the report.

    Args:
        roots: folders.
        used: paths.
        copies: see `distinct`.
    Returns:
        `other`: {suffix: files that are no audio}; `audio`: {suffix: audio files that the job
        does not take}; `example`: one of these; `companions`: how many; `problems`: [{name, path,
        kind, detail}].
    """

    def plain(path: str) -> str:
        return path if '://' in path else os.path.normpath(path)

    used = {plain(path) for path in (*used, *(one.path for one, _ in copies))}
    counts = {'other': collections.Counter(), 'audio': collections.Counter()}
    companions, examples = 0, []
    problems = [
        {
            'name': one.id,
            'path': printable(one.path),
            'kind': 'copy of another file',
            'detail': f'the bytes of {printable(kept.path)}',
        }
        for one, kept in copies
    ]
    for root in roots:
        tree = walk(root)
        companions += tree.companions
        for path, kind, detail in tree.problems:
            if plain(_join(root, path)) in used:  # by a list that names it
                continue
            name, path = printable(path), printable(_join(root, path))
            problems.append({'name': name, 'path': path, 'kind': kind, 'detail': detail})
        for path in tree.files:
            if plain(_join(root, path)) in used:
                continue
            suffix = posixpath.splitext(path)[1].lower()
            plausible = re.fullmatch(r'\.\w{1,8}', suffix)
            kind = 'audio' if suffix in AUDIO else 'other'
            counts[kind][suffix if plausible else 'no suffix'] += 1
            if kind == 'audio':
                examples.append(path)
    return {
        **{kind: dict(sorted(counter.items())) for kind, counter in counts.items()},
        'example': printable(min(examples, default='')),
        'companions': companions,
        'problems': sorted(problems, key=lambda one: one['path']),
    }


def _join(root: str, path: str) -> str:
    return posixpath.join(root, path)


def _expected(root: str, layout: str, found: list[str]) -> TreeError:
    examples = ', '.join(map(printable, found[:5])) if found else 'no such audio files at all'
    return TreeError(f'{root} is not the tree expected.\n  expected: {layout}\n  found: {examples}')


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def twins(names: Iterable[str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Names of folders that may well be one speaker's.

    Args:
        names: of the speakers' folders.
    Returns:
        {name: speaker}, where names that differ in their Unicode form alone are one speaker;
        {name: the first that differs from it in small and capital letters at most}, which must
        not cross splits; lines that tell of both.
    """
    speakers, groups, told = {}, {}, []
    first_of_form, first_of_letters = {}, {}
    for name in sorted(names):
        form = unicodedata.normalize('NFC', name)
        speakers[name] = first_of_form.setdefault(form, name)
        groups[name] = first_of_letters.setdefault(form.casefold(), name)
        if speakers[name] != name:
            told.append(
                f'the folders {ascii(speakers[name])} and {ascii(name)} differ in their Unicode '
                'form alone: they are one speaker'
            )
        elif groups[name] != name:
            told.append(
                f'the folders {groups[name]!r} and {name!r} differ in small and capital letters '
                'alone: two speakers of one split; if they are one, put their files together'
            )
    return speakers, groups, told


def split_speakers(
    speakers: set[str], *, validation: float, test: float, seed: int = 0
) -> dict[str, str]:
    """Speaker -> split: speakers ordered by hash, the first ones to test, then validation.

    Args:
        speakers: all of them, by the names of their folders.
        validation, test: shares of the speakers; rounded, at least two speakers unless 0. Where
            they are all, nobody is left for training.
        seed: of the job.
    Raises:
        ValueError: if a split would have fewer than two speakers.
    """
    order = sorted(speakers, key=lambda speaker: stable_hash(seed, 'split', speaker))
    counts = [max(2, round(share * len(order))) if share else 0 for share in (test, validation)]
    rest = test + validation < 1
    if not rest:
        counts[0 if test else 1] += len(order) - sum(counts)
    if sum(counts) + 2 * rest > len(order) or any(0 < count < 2 for count in counts):
        names = [name for name, share in (('test', test), ('validation', validation)) if share]
        names += ['training'] * rest
        listed = ', '.join([*sorted(order)[:5], '...'][: len(order)]) or 'none'
        ways = ' or '.join(f'--{name}_fraction=0' for name in names if name != 'training')
        raise ValueError(
            f'{plural(len(order), "speaker")} ({listed}) cannot make {", ".join(names)} with two '
            f'each, and mixtures need two; {f"{ways} leaves one out, or " if ways else ""}add '
            'speakers: each is a folder in --input_dir; or --split_by=recording splits the '
            'recordings of each, so that test voices are trained on'
        )
    names = ['test'] * counts[0] + ['validation'] * counts[1]
    names += ['train'] * (len(order) - len(names))
    return dict(zip(order, names))


def _ids(files: list[str]) -> dict[str, str]:
    """{relative path: id}: the path without suffix, white space and `/`, as far as it is unique."""
    stems = collections.Counter(_stem(path) for path in files)
    names = {path: _stem(path) if stems[_stem(path)] == 1 else path for path in files}
    names = {
        path: printable(re.sub(r'\s', '_', name)).replace('/', '-') for path, name in names.items()
    }
    counts = collections.Counter(names.values())
    return {
        path: name if counts[name] == 1 else f'{name}-{stable_hash(path):016x}'[: len(name) + 9]
        for path, name in names.items()
    }


_FORM = re.compile(
    rf'(.+?)(?:_mic(\d))?(?:{"|".join(map(re.escape, AUDIO))})+', re.IGNORECASE | re.DOTALL
)


def _recording(path: str) -> tuple[str, int]:
    """What a recording is called whose forms may lie side by side, or each in a folder of its
    suffix, and by which microphone it is, if several took it: `ann/mp3/x_mic2.mp3` -> `ann/x`, 2.
    """
    top, *below, name = path.split('/')
    suffix = posixpath.splitext(name)[1].lower()
    name, microphone = _FORM.fullmatch(name).groups()
    below = [folder for folder in below if f'.{folder.lower()}' != suffix]
    return '/'.join([top, *below, name]), int(microphone or 0)


def folder(
    root: str,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    copies: list | None = None,
    split_by: str = 'speaker',
) -> list[Utterance]:
    """Any `<speaker>/**/*` tree of audio files, split by speaker (or, by `recording`, not yet:
    `plans.deal`; then of a recording's forms and microphones one is taken); files beside the
    speakers' folders are nobody's, and speakers who share a file are of one split; `copies`: see
    `distinct`."""
    found = list_files(root)
    files = [path for path in found if '/' in path]
    if not files:
        raise _expected(
            root, '<speaker>/**/*.wav (or .flac, ...), a folder for each speaker', list(found)
        )
    tops = {path: printable(path.split('/')[0]) for path in files}
    speakers, groups, _ = twins(set(tops.values()))
    forms = {path: found[path] for path in files}
    if split_by == 'recording':
        # The first microphone's form is the last of all, and among its own .wav.
        files.sort(key=lambda path: (-_recording(path)[1], posixpath.splitext(path)[1].lower()))
        forms = in_forms(root, found, {path: _recording(path)[0] for path in files})
    copies = [] if copies is None else copies
    utterances = distinct(
        [
            Utterance(name, speakers[tops[path]], _join(root, path), '', others=forms[path])
            for path, name in _ids(sorted(forms)).items()
        ],
        copies,
    )
    if split_by == 'recording':
        return [dataclasses.replace(one, split='train') for one in utterances]
    # Who share a file are probably one person, under two names.
    one_person = joined((groups[kept.speaker], groups[copy.speaker]) for copy, kept in copies)
    groups = {name: one_person.get(group, group) for name, group in groups.items()}
    try:
        splits = split_speakers(
            {groups[one.speaker] for one in utterances}, validation=validation, test=test, seed=seed
        )
    except ValueError as error:
        same = [f'{other} = {name}' for name, other in sorted(one_person.items())]
        if not same:
            raise
        shown = ', '.join([*same[:5], '...'][: len(same)])
        raise ValueError(f'{error}; who share files count as one: {shown}') from error
    return [dataclasses.replace(one, split=splits[groups[one.speaker]]) for one in utterances]


LIBRITTS_SPLITS = {
    'train-clean-100': 'train',
    'train-clean-360': 'train',
    'dev-clean': 'validation',
    'test-clean': 'test',
}


def libritts(root: str, *, copies: list | None = None) -> list[Utterance]:
    """`LibriTTS/{train-clean-100,...}/<spk>/<chapter>/<spk>_<chapter>_<par>_<utt>.wav`;
    `copies`: see `distinct`."""
    layout = (
        f'[LibriTTS/]{{{",".join(LIBRITTS_SPLITS)}}}/<speaker>/<chapter>/'
        '<speaker>_<chapter>_<paragraph>_<utterance>.wav'
    )
    files = list_files(root)
    pattern = re.compile(
        r'(?:.*/)?(?P<part>[^/]+)/(?P<speaker>\d+)/(?P<chapter>\d+)/'
        r'(?P<name>(?P=speaker)_(?P=chapter)_\d+_\d+)\.\w+'
    )
    matches = {path: match for path in files if (match := pattern.fullmatch(path))}
    named = {
        path: (match['part'], match['name'])
        for path, match in matches.items()
        if match['part'] in LIBRITTS_SPLITS
    }
    if not named:
        raise _expected(root, layout, list(files))
    utterances = {}
    for path, others in in_forms(root, files, named).items():
        part, name = named[path]
        one = Utterance(
            name,
            matches[path]['speaker'],
            _join(root, path),
            LIBRITTS_SPLITS[part],
            others=others,
        )
        utterances[one.id] = one
    return distinct(list(utterances.values()), copies)


def vctk(root: str, *, copies: list | None = None) -> list[Utterance]:
    """VCTK 0.92 (`wav48_silence_trimmed/p225/p225_001_mic1.flac`, first microphone only) or 0.80
    (`wav48/p225/p225_001.wav`), also converted to another form; all of it is test; `copies`: see
    `distinct`."""
    layout = (
        'wav48_silence_trimmed/p225/p225_001_mic1.flac (release 0.92) or '
        '[VCTK-Corpus/]wav48/p225/p225_001.wav (release 0.80), or .wav, .flac, ... of these names'
    )
    files = list_files(root)
    pattern = re.compile(
        r'(?:(?P<above>.*)/)?(?P<speaker>[ps]\d+)/(?P<name>(?P=speaker)_\d+)(?:_mic1)?\.\w+'
    )
    matches = {path: match for path in files if (match := pattern.fullmatch(path))}
    if not matches:
        raise _expected(root, layout, list(files))
    named = collections.defaultdict(set)
    for match in matches.values():
        named[match['name']].add(match['above'])
    twice = next((places for places in named.values() if len(places) > 1), None)
    if twice:
        places = ' and '.join(sorted(str(place or '.') for place in twice))
        raise TreeError(
            f'{root} holds both releases of VCTK, or one twice: {places}; give the folder of one '
            'of them'
        )
    forms = in_forms(root, files, {path: match['name'] for path, match in matches.items()})
    utterances = [
        Utterance(
            matches[path]['name'],
            matches[path]['speaker'],
            _join(root, path),
            'test',
            others=others,
        )
        for path, others in forms.items()
    ]
    return distinct(utterances, copies)
