"""Any folder of people: `<speaker>/**/*` of audio files, split by speaker or by recording."""

import collections
from collections.abc import Iterable
import posixpath
import re
import unicodedata

from data_prep import recordings
from data_prep.draws import stable_hash
from data_prep.mixtures import counted_out
from data_prep.recordings import AUDIO, Recording, TreeError, printable, stem
from fgsep_jax.names import counted


def twins(names: Iterable[str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Names of folders that may well be one speaker's.

    Args:
        names: of the speakers' folders.
    Returns:
        {name: speaker}, where names that differ in their Unicode form alone are one speaker;
        {name: the first that differs from it in small and capital letters at most}, which must
        not cross splits; lines that tell of both.
    """
    speakers, groups, lines = {}, {}, []
    first_of_form, first_of_letters = {}, {}
    for name in sorted(names):
        form = unicodedata.normalize('NFC', name)
        speakers[name] = first_of_form.setdefault(form, name)
        groups[name] = first_of_letters.setdefault(form.casefold(), name)
        if speakers[name] != name:
            lines.append(
                f'the folders {ascii(speakers[name])} and {ascii(name)} differ in their Unicode '
                'form alone: they are one speaker'
            )
        elif groups[name] != name:
            lines.append(
                f'the folders {groups[name]!r} and {name!r} differ in small and capital letters '
                'alone: two speakers of one split; if they are one, put their files together'
            )
    return speakers, groups, lines


# {word in the name of a folder that is a corpus's, as LibriSpeech/train-clean-100: its kind}.
_PARTS = {
    **dict.fromkeys(('train', 'training', 'trainset', 'tr'), 'train'),
    **dict.fromkeys(('dev', 'devset', 'val', 'valid', 'validation', 'cv'), 'validation'),
    **dict.fromkeys(('test', 'testing', 'testset', 'eval', 'evaluation', 'tt'), 'test'),
}
_OCCASION = re.compile(
    r'(?:session|day|take|mic|channel|disc|cd|tape|rec(?:ording)?)s?[ _-]*\d+'
    r'|(?:19|20)\d\d[._-]?\d\d[._-]?\d\d',
    re.IGNORECASE,
)
_MOST_GROUPS = 20  # a corpus may have so many parts, dialects, languages


def _refuse_parts(root: str, files: Iterable[str]) -> None:
    """Refuse a corpus whose parts, all of them and of several kinds, would be taken for people."""
    below = {}
    for path in files:
        below.setdefault(path.split('/')[0], []).append(path)
    words = [re.findall('[a-z]+', top.lower()) for top in below]
    kinds = [{_PARTS[word] for word in each if word in _PARTS} for each in words]
    if all(kinds) and len(set.union(*kinds)) > 1:
        shown = [*map(printable, sorted(below))]
        listed = f'{", ".join(shown[:-1])} and {shown[-1]}'
        inner = posixpath.commonpath(map(posixpath.dirname, below[max(below)]))
        raise TreeError(
            f'{root}: {listed} are called as parts of a corpus, and would be taken for '
            f'{len(below)} speakers; give a folder that holds one for each speaker, or links to '
            f'them, as {posixpath.join(root, printable(inner))} may; if they are people, call them '
            'otherwise'
        )


def groups_of_people(paths: Iterable[str]) -> list[str]:
    """A line where the folders that are taken for speakers may well be something else.

    They are days, sessions, microphones by their names. Or they are few, and nearly all files lie
    in folders within them, of which each has several, and hardly a name is in two; and most files'
    names do not begin with the speaker's, as those of corpora do, or with an inner folder's, too.

    Args:
        paths: of the files, below the folder that holds the speakers'.
    """
    paths = list(paths)
    tops = {path.partition('/')[0] for path in paths}
    if tops and all(map(_OCCASION.fullmatch, tops)):
        return [
            f'{min(tops)} is taken for a speaker, as is every folder: where they are days, '
            'sessions or microphones, one voice may be several speakers, in several splits; '
            'give each person a folder'
        ]
    if len(tops) > _MOST_GROUPS:
        return []
    inner, stray, named = set(), 0, 0
    for path in paths:
        top, *folders, name = path.split('/')
        inner |= {(top, folder) for folder in folders[:1]}
        stray += not folders
        named += name.startswith(top) and not any(map(name.startswith, folders))
    distinct = len({folder for _, folder in inner})
    if (
        not inner
        or len(inner) < 2 * len(tops)
        or distinct < 0.9 * len(inner)
        or stray > 0.1 * len(paths)
        or named > 0.5 * len(paths)
    ):
        return []
    return [
        f'each speaker is a folder of folders, e.g. {"/".join(min(inner))}: where these are the '
        'speakers, give a folder that holds them (or links to them) itself'
    ]


def split_speakers(
    speakers: set[str], *, validation: float, test: float, seed: int = 0, least: int = 2
) -> dict[str, str]:
    """Speaker -> split: speakers ordered by hash, the first ones to test, then validation.

    Args:
        speakers: all of them, by the names of their folders.
        validation: share of the speakers; rounded, at least `least` speakers unless 0.
        test: the same. Where both are all, nobody is left for training.
        seed: of the job.
        least: speakers of a mixture.
    Raises:
        ValueError: if a split would have fewer speakers than a mixture.
    """
    order = sorted(speakers, key=lambda speaker: stable_hash(seed, 'split', speaker))
    counts = [max(least, round(share * len(order))) if share else 0 for share in (test, validation)]
    rest = test + validation < 1
    if not rest:
        counts[0 if test else 1] += len(order) - sum(counts)
    if sum(counts) + least * rest > len(order) or any(0 < count < least for count in counts):
        names = [name for name, share in (('test', test), ('validation', validation)) if share]
        names += ['training'] * rest
        listed = ', '.join([*sorted(order)[:5], '...'][: len(order)]) or 'none'
        many = counted_out(least)
        ways = ' or '.join(f'--{name}_fraction=0' for name in names if name != 'training')
        raise ValueError(
            f'{counted(len(order), "speaker")} ({listed}) cannot make {", ".join(names)} with '
            f'{many} each, and mixtures need {many}; '
            f'{f"{ways} leaves one out, or " if ways else ""}add speakers: each is a folder in '
            '--input_dir; or --split_by=recording splits the recordings of each, so that test '
            'voices are trained on'
        )
    names = ['test'] * counts[0] + ['validation'] * counts[1]
    names += ['train'] * (len(order) - len(names))
    return dict(zip(order, names))


def _id(path: str, stems: collections.Counter) -> str:
    """The path without suffix (where its stem is no other file's), white space and `/`."""
    name = stem(path)
    name = name if stems[name] == 1 else path
    return printable(re.sub(r'\s', '_', name)).replace('/', '-')


_FORM = re.compile(
    rf'(.+?)(?:_mic(\d))?(?:{"|".join(map(re.escape, AUDIO))})+', re.IGNORECASE | re.DOTALL
)


def _recording(path: str) -> tuple[str, int]:
    """What a recording is called, and its microphone, 0 where there is one only.

    Its forms may lie side by side, or each in a folder of its suffix: `ann/mp3/x_mic2.mp3` is
    `ann/x`, 2.
    """
    top, *below, name = path.split('/')
    suffix = posixpath.splitext(name)[1].lower()
    name, microphone = _FORM.fullmatch(name).groups()
    below = [folder for folder in below if f'.{folder.lower()}' != suffix]
    return '/'.join([top, *below, name]), int(microphone or 0)


def read(
    root: str,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    copies: list | None = None,
    split_by: str = 'speaker',
    least: int = 2,
) -> list[Recording]:
    """Any `<speaker>/**/*` tree of audio files.

    Files beside the speakers' folders are nobody's, and speakers who share a file are of one split.

    Args:
        root: the folder.
        validation: share of the speakers, see `split_speakers`.
        test: the same.
        seed: of the job.
        copies: see `recordings.distinct`.
        split_by: `speaker`; or `recording`, which `pairing.deal` does later, all of them being of
            all splits until then, and one of a recording's forms and microphones is taken.
        least: speakers of a mixture.
    Raises:
        TreeError: no audio file lies in a folder, or all folders are called as parts of a corpus.
        ValueError: a split would have fewer speakers than a mixture.
    """
    everything = recordings.list_files(root)
    files = [path for path in everything if '/' in path]
    if not files:
        raise recordings.wrong_tree(
            root, '<speaker>/**/*.wav (or .flac, ...), a folder for each speaker', list(everything)
        )
    tops = {path: printable(path.split('/')[0]) for path in files}
    _refuse_parts(root, files)
    speakers, groups, _ = twins(set(tops.values()))
    forms = {path: everything[path] for path in files}
    if split_by == 'recording':
        # The first microphone's form is the last of all, and among its own .wav.
        files.sort(key=lambda path: (-_recording(path)[1], posixpath.splitext(path)[1].lower()))
        forms = recordings.in_forms(root, everything, {path: _recording(path)[0] for path in files})
    copies, stems = [] if copies is None else copies, collections.Counter(map(stem, forms))
    everybody = [
        Recording(
            _id(path, stems),
            speakers[tops[path]],
            posixpath.join(root, path),
            '',
            others=forms[path],
        )
        for path in sorted(forms)
    ]
    start = len(posixpath.join(root, ''))
    everybody = recordings.unique_ids(everybody, lambda path: (path[start:],))
    utterances = recordings.distinct(everybody, copies)
    if split_by == 'recording':
        shares = {'train': validation + test < 1, 'validation': validation, 'test': test}
        every = '+'.join(name for name, share in shares.items() if share)
        return [recordings.changed(recording, split=every) for recording in utterances]
    how = dict(validation=validation, test=test, seed=seed, least=least)
    splits = _dealt({recording.source_id for recording in utterances}, groups, copies, how)
    return [
        recordings.changed(recording, split=splits[recording.source_id]) for recording in utterances
    ]


def _dealt(speakers: set[str], groups: dict[str, str], copies: list, how: dict) -> dict[str, str]:
    """{speaker: split}; who share a file are probably one person, under two names."""
    one_person = recordings.joined(
        (groups[original.source_id], groups[copy.source_id]) for copy, original in copies
    )
    groups = {name: one_person.get(group, group) for name, group in groups.items()}
    try:
        splits = split_speakers({groups[speaker] for speaker in speakers}, **how)
    except ValueError as error:
        same = [f'{other} = {name}' for name, other in sorted(one_person.items())]
        if not same:
            raise
        shown = ', '.join([*same[:5], '...'][: len(same)])
        raise ValueError(f'{error}; who share files count as one: {shown}') from error
    return {speaker: splits[groups[speaker]] for speaker in speakers}


def resplit(good: list[Recording], *, copies: list, **how) -> dict[str, str]:
    """{speaker: split} of those alone whose recordings turned out to be good; see `build.run`.

    Args:
        good: what `read` gave, as far as it is.
        copies: that `read` found.
        **how: see `split_speakers`.
    """
    speakers = {recording.source_id for recording in good}
    everybody = speakers | {recording.source_id for pair in copies for recording in pair}
    return _dealt(speakers, twins(everybody)[1], copies, how)
