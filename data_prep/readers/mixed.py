"""Trees that are mixed already, `<part>/{mix,s1,s2}/<name>.wav`: what their readers share."""

from collections.abc import Callable
import os

from data_prep import recordings
from data_prep.mixtures import Mixture, Source
from data_prep.recordings import Recording, TreeError, printable
from fgsep_jax.names import counted

SPLITS = ('train', 'validation', 'test')


def refuse_remote(root: str) -> None:
    """Refuse a URL."""
    if '://' in root:
        raise TreeError(
            f"{root}: this tree is listed with the operating system's own calls, so it must be on "
            'a local path; copy it, or mount the bucket (e.g. with gcsfuse) and give that folder'
        )


def refuse_shared(
    root: str,
    utterances: list[Recording],
    listed: list[Mixture],
    *,
    together: tuple[str, ...] = (),
) -> None:
    """Refuse a speaker or a mixture in two splits, as `mixtures.random_pairs` does.

    Args:
        root: the folder, for the refusal.
        utterances: of all splits.
        listed: mixtures of all splits.
        together: splits that are published with the same speakers.
    Raises:
        TreeError: with some of their names and splits.
    """

    def refuse(noun: str, pairs: list[tuple[str, str]], together: tuple[str, ...] = ()) -> None:
        splits = {}
        for name, split in pairs:
            splits.setdefault(name, set()).add(split)
        shared = sorted(
            name for name, of in splits.items() if len(of) > 1 and not of <= set(together)
        )
        if shared:
            shown = '; '.join(
                f'{name!r} in {", ".join(sorted(splits[name]))}' for name in shared[:5]
            )
            raise TreeError(
                f'{root}: {len(shared)} of {counted(len(splits), noun)} in more than one split: '
                f'{shown}. A {noun} must not cross splits; take '
                f'{"their mixtures" if noun == "speaker" else "them"} out of all but one of them'
            )

    refuse(
        'speaker', [(recording.source_id, recording.split) for recording in utterances], together
    )
    refuse('mixture', [(line.id, line.split) for line in listed])


def find_base(root: str, inner: tuple[str, ...], parts: dict[str, str], layout: str) -> str:
    """The folder of `root` that holds the parts: itself, or one of the usual ones inside it."""
    refuse_remote(root)
    names_seen = []
    for below in ('', *inner):
        base = os.path.join(root, below)
        if os.path.isdir(base):
            names = sorted(os.listdir(base))
            names_seen += [os.path.join(below, name) for name in names]
            if any(os.path.isdir(os.path.join(base, part, 's1')) for part in parts):
                return base
    raise TreeError(
        f'{root} is not the tree expected.\n  expected: {layout}\n'
        f'  found: {", ".join(map(printable, names_seen[:8])) or "nothing (is it a folder?)"}'
    )


def by_stem(folder: str) -> dict[str, list[str]]:
    """{name without suffix: paths of its forms} of the audio files in a folder."""
    files = recordings.list_files(folder)
    stems = {name: os.path.splitext(name)[0] for name in files}
    forms = recordings.in_forms(folder, files, stems)
    return {stems[name]: [os.path.join(folder, name), *others] for name, others in forms.items()}


def refuse_one_speaker(first: str, second: str) -> None:
    """Refuse a mixture of a speaker with themselves."""
    if first == second:
        raise ValueError(f'both sources are of speaker {first!r}, a mixture is of two')


def read(
    base: str,
    parts: dict[str, str],
    mixture: str,
    speakers_of: Callable[[str], tuple[str, str] | None],
    levels_of: Callable[[str], tuple[float, float] | None],
    layout: str,
    *,
    splits: tuple[str, ...],
) -> tuple[list[Recording], list[Mixture]]:
    """The recordings and ready mixtures of each part.

    A mixture whose name breaks a rule has a problem, and no sources.

    Args:
        base: the folder that holds the parts.
        parts: {folder: split}.
        mixture: the folder of the mixtures in each part, beside `s1` and `s2`.
        speakers_of: the two speakers that a name tells; None where it is no mixture's.
        levels_of: the two levels that a name tells, if it does.
        layout: what such a tree looks like, for the refusal.
        splits: those that must be there.
    Raises:
        TreeError: if one of `splits` has none.
    """
    utterances, listed, strays = [], [], []
    for part, split in parts.items():
        if not os.path.isdir(os.path.join(base, part)):
            continue
        folders = [os.path.join(base, part, name) for name in (mixture, 's1', 's2')]
        missing = [folder for folder in folders if not os.path.isdir(folder)]
        if missing:
            raise TreeError(f'{base}: no folder {missing[0]}.\n  expected: {layout}')
        mixtures, *sources_of = [by_stem(folder) for folder in folders]
        names = {stem: paths for by_name in sources_of for stem, paths in by_name.items()}
        for stem, paths in sorted(names.items()):
            name = os.path.basename(paths[0])
            speakers = speakers_of(stem)
            if speakers is None:  # not one of the mixtures; the report counts it
                strays.append(paths[0])
                continue
            ready = tuple(mixtures.get(stem, [os.path.join(folders[0], name)]))
            try:
                levels = levels_of(stem)
                refuse_one_speaker(*speakers)
            except ValueError as error:
                problem = {'problem': 'name breaks a rule', 'detail': str(error)}
                listed.append(Mixture(printable(stem), split, ready=ready, **problem))
                continue
            sources = []
            for i, (speaker, folder, paths) in enumerate(zip(speakers, folders[1:], sources_of)):
                path, *others = paths.get(stem, [os.path.join(folder, name)])
                id_ = f'{part}/{printable(stem)}/s{i + 1}'
                utterances.append(Recording(id_, speaker, path, split, others=tuple(others)))
                level_db = levels[i] if levels else None
                sources.append(Source(path, printable(speaker), level_db=level_db))
            if ready[1:]:  # which one is good is found out, and the bad ones are counted
                id_ = f'{part}/{printable(stem)}/{mixture}'
                utterances.append(Recording(id_, speakers[0], ready[0], split, others=ready[1:]))
            listed.append(Mixture(printable(stem), split, tuple(sources), ready=ready))
    if strays and not listed:
        raise TreeError(f'{printable(strays[0])} is not named as expected: {layout}')
    present = {line.split for line in listed if not line.problem}
    for split in splits:
        if split not in present:
            folders = ' or '.join(part for part, name in parts.items() if name == split)
            left = ','.join(name for name in splits if name in present)
            way = f'--splits={left} does without it' if left else f'expected: {layout}'
            bad = next((line for line in listed if line.split == split), None)
            bad = f'; {bad.id}: {bad.detail}' if bad else ''
            raise TreeError(
                f'{base} has no mixtures for the split {split} (folder {folders}){bad}; {way}'
            )
    return utterances, listed
