"""Trees that are mixed already, `<part>/{mix,s1,s2,...}/<name>.wav`: what their readers share."""

from collections.abc import Callable
import dataclasses
import os

from data_prep import recordings
from data_prep.mixtures import NOISE, Mixture, Source, counted_out, snr_of
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
    """Refuse a speaker or a mixture in two splits, as `pairing.random_pairs` does.

    Args:
        root: the folder, for the refusal.
        utterances: of all splits.
        listed: mixtures of all splits.
        together: splits that are published with the same speakers.
    Raises:
        TreeError: with some of their names and splits.
    """

    def refuse(noun: str, pairs: list[tuple[str, str]], together: tuple[str, ...] = ()) -> None:
        crossing = recordings.crossing(pairs).items()
        shared = [(name, sorted(splits)) for name, splits in crossing if not splits <= {*together}]
        if shared:
            shown = '; '.join(f'{name!r} in {", ".join(splits)}' for name, splits in shared[:5])
            total = len({name for name, _ in pairs})
            raise TreeError(
                f'{root}: {len(shared)} of {counted(total, noun)} in more than one split: '
                f'{shown}. A {noun} must not cross splits; take '
                f'{"their mixtures" if noun == "speaker" else "them"} out of all but one of them'
            )

    refuse('speaker', [(x.source_id, x.split) for x in utterances if x.role != NOISE], together)
    refuse('mixture', [(line.id, line.split) for line in listed])


def find_base(
    root: str,
    inner: tuple[str, ...],
    parts: dict[str, str],
    layout: str,
    firsts: tuple[str, ...] = ('s1',),
) -> str:
    """The folder of `root` that holds the parts: itself, or one of the usual ones inside it.

    Args:
        root: the folder.
        inner: the usual ones.
        parts: {folder: split}.
        layout: what such a tree looks like, for the refusal.
        firsts: folders of the first source in each part, of which there must be one.
    Raises:
        TreeError: there is none.
    """
    refuse_remote(root)
    names_seen = []
    for below in ('', *inner):
        base = os.path.join(root, below)
        if os.path.isdir(base):
            names = sorted(os.listdir(base))
            names_seen += [os.path.join(below, name) for name in names]
            places = (os.path.join(base, part, first) for part in parts for first in firsts)
            if any(map(os.path.isdir, places)):
                return base
    raise TreeError(
        f'{root} is not the tree expected.\n  expected: {layout}\n'
        f'  found: {", ".join(map(printable, names_seen[:8])) or "nothing (is it a folder?)"}'
    )


def without(splits: tuple[str, ...], made: set[str]) -> str:
    """How to do without the splits that cannot be made; empty where there is no other."""
    left = ','.join(name for name in splits if name in made)
    return f'--splits={left} does without it' if left else ''


def folders_of(speakers: int) -> tuple[str, ...]:
    """`s1`, `s2`, ...: where the sources of so many speakers lie."""
    return tuple(f's{i}' for i in range(1, speakers + 1))


def by_stem(folder: str) -> dict[str, list[str]]:
    """{name without suffix: paths of its forms} of the audio files in a folder itself."""
    files = recordings.list_files(folder)
    stems = {name: os.path.splitext(name)[0] for name in files if '/' not in name}
    forms = recordings.in_forms(folder, files, stems)
    return {stems[name]: [os.path.join(folder, name), *others] for name, others in forms.items()}


def unknown_speaker(utterance: str, form: str) -> ValueError:
    """The refusal of an utterance whose name does not tell who speaks."""
    return ValueError(
        f'{utterance!r} is not {form}: who speaks is not known; `python -m data_prep.listed` takes '
        'a table that says so (source_id_1, source_id_2)'
    )


def refuse_one_speaker(*speakers: str) -> None:
    """Refuse a mixture of a speaker with themselves."""
    twice = next((name for i, name in enumerate(speakers) if name in speakers[:i]), None)
    if twice is not None:
        which, count = 'both' if len(speakers) == 2 else 'two', counted_out(len(speakers))
        raise ValueError(f'{which} sources are of speaker {twice!r}, a mixture is of {count}')


def read(
    root: str,
    base: str,
    parts: dict[str, str],
    mixture: str,
    named: Callable[[str], tuple[tuple[str, ...], tuple[float, ...]] | None],
    layout: str,
    *,
    splits: tuple[str, ...],
    sources: tuple[str, ...] = ('s1', 's2'),
    heard: tuple[str, ...] = (),
    noise: str = '',
    together: tuple[str, ...] = (),
) -> tuple[list[Recording], list[Mixture]]:
    """The recordings and ready mixtures of each part.

    A mixture whose name breaks a rule, or none of whose sources is there, has a problem and no
    sources.

    Args:
        root: the folder that was given, for a refusal.
        base: the one in it that holds the parts.
        parts: {folder: split}.
        mixture: the folder of the mixtures in each part, beside those of the sources.
        named: the speakers, and their levels if any, that a name tells; None where it is no
            mixture's, ValueError where it breaks a rule.
        layout: what such a tree looks like, for a refusal.
        splits: to take; they must be there.
        sources: the folders of the sources.
        heard: those of the sources as they are in the mixture, where these are others.
        noise: that of the noise; empty: there is none in the mixture.
        together: see `refuse_shared`.
    Raises:
        TreeError: if one of `splits` has none, one is in two parts of a split, or `refuse_shared`
            refuses them.
    """
    utterances, listed, strays = [], [], []
    for part, split in parts.items():
        if split not in splits or not os.path.isdir(os.path.join(base, part)):
            continue
        called = (mixture, *sources, *heard, *([noise] if noise else []))
        missing = [name for name in called if not os.path.isdir(os.path.join(base, part, name))]
        if missing:
            missing = os.path.join(base, part, missing[0])
            raise TreeError(f'{base}: no folder {missing}.\n  expected: {layout}')
        more = f's{len(sources) + 1}'
        if f's{len(sources)}' in sources and os.path.isdir(os.path.join(base, part, more)):
            raise TreeError(
                f'{os.path.join(base, part)} holds {more}, too: --speakers_a_mixture='
                f'{len(sources) + 1} takes its mixtures'
            )
        by_folder = {name: by_stem(os.path.join(base, part, name)) for name in called}
        wanted = (mixture, *sources)
        names = {stem: paths for name in wanted for stem, paths in by_folder[name].items()}
        for stem, paths in sorted(names.items()):
            name = os.path.basename(paths[0])

            def paths_in(folder):
                return by_folder[folder].get(stem, [os.path.join(base, part, folder, name)])

            ready, kind, detail = tuple(paths_in(mixture)), '', ''
            try:
                told = named(stem)
                if told is None:  # not one of the mixtures; the report counts it
                    strays.append(paths[0])
                    continue
                speakers, levels = told
                refuse_one_speaker(*speakers)
                if not any(stem in by_folder[source] for source in sources):
                    gone = (f'{part}/{printable(stem)}/{x}' for x in folders_of(len(sources)))
                    kind, detail = 'source skipped', f'without {" and ".join(gone)}'
            except ValueError as error:
                kind, detail = 'name breaks a rule', str(error)
            if kind:
                row = Mixture(printable(stem), split, ready=ready, problem=kind, detail=detail)
                listed.append(row)
                continue

            def stretch(folder, place, speaker='', **about):
                path, *others = paths_in(folder)
                id_, others = f'{part}/{printable(stem)}/{place}', tuple(others)
                utterances.append(Recording(id_, speaker, path, split, others=others, **about))
                return Source(path, printable(speaker), **about)

            made_of = []
            for i, (folder, speaker) in enumerate(zip(sources, speakers)):
                source = stretch(folder, f's{i + 1}', speaker)
                in_mixture = stretch(heard[i], heard[i], speaker).path if heard else ''
                level_db = levels[i] if levels else None
                made_of.append(dataclasses.replace(source, level_db=level_db, heard=in_mixture))
            if noise:
                made_of.append(stretch(noise, NOISE, source_class=NOISE, role=NOISE))
            if ready[1:]:  # which one is good is found out, and the bad ones are counted
                id_ = f'{part}/{printable(stem)}/{mixture}'
                utterances.append(Recording(id_, speakers[0], ready[0], split, others=ready[1:]))
            snr_db = snr_of(levels) if len(levels) > 2 else None
            listed.append(
                Mixture(printable(stem), split, tuple(made_of), snr_db=snr_db, ready=ready)
            )
    if strays and not listed:
        raise TreeError(f'{printable(strays[0])} is not named as expected: {layout}')
    present = {line.split for line in listed if not line.problem}
    for split in splits:
        if split not in present:
            folders = ' or '.join(part for part, name in parts.items() if name == split)
            way = without(splits, present) or f'expected: {layout}'
            bad = next((line for line in listed if line.split == split), None)
            bad = f'; {bad.id}: {bad.detail}' if bad else ''
            raise TreeError(
                f'{base} has no mixtures for the split {split} (folder {folders}){bad}; {way}'
            )
    groups = recordings.grouped(listed, lambda row: (row.split, row.id))
    twice = [rows for rows in groups.values() if rows[1:]]
    if twice:
        places = [row.ready[0] for row in twice[0][:2]]
        part = os.path.relpath(places[0], base).split(os.sep)[0]
        raise TreeError(
            f'{root}: {len(twice)} of {counted(len(groups), "mixture")} '
            f'{"is" if len(twice) == 1 else "are"} in two parts of one split, e.g. '
            f'{" and ".join(map(printable, places))}; leave one of them out, or '
            f'--train_parts={part} takes one part alone'
        )
    refuse_shared(root, utterances, listed, together=together)
    return utterances, listed
