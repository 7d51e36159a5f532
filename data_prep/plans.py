"""Which sources make which mixture: pure, deterministic, from inspected utterances to specs.

A plan is a function `inspected -> list of MixtureSpec` (and `Lost`, where it must leave out one
that is listed); options are bound by
`functools.partial`. Orders and numbers come from hashes of ids, so neither the order in which
the inspections arrive nor a library's random generator can change them.
"""

from collections.abc import Iterable
import dataclasses

from data_prep.audio import Inspected, Take
from data_prep.corpora import plural
from data_prep.mixing import stable_hash, uniform


@dataclasses.dataclass(frozen=True)
class Clip:
    """A stretch of one file.

    Attributes:
        path: the file.
        source_id: speaker (or clip) it counts as.
        source_class: `speech`, or the class of the sound.
        start, stop: in samples at the data set's rate.
        take: how the file is to be read.
    """

    path: str
    source_id: str
    source_class: str
    start: int
    stop: int
    take: Take = Take()


def clip(one: Inspected, start: int, stop: int) -> Clip:
    """A stretch of a file that was found good."""
    item = one.item
    return Clip(item.path, item.speaker, item.source_class, start, stop, one.take)


@dataclasses.dataclass(frozen=True)
class MixtureSpec:
    """All that a mixer needs to make one mixture.

    Attributes:
        id: unique name; seeds the mixture's random numbers.
        split: train, validation, test, ...
        clips: one for each source.
        level_db: wanted level of each source; only their differences matter.
        samples: length of the mixture.
        snr_db: what the record says.
        extra: further numbers or paths of a task's own mixer.
    """

    id: str
    split: str
    clips: tuple[Clip, ...]
    level_db: tuple[float, ...]
    samples: int
    snr_db: float
    extra: tuple = ()


@dataclasses.dataclass(frozen=True)
class Listed:
    """One line of a mixing list, or one mixture of a tree that is already mixed.

    Attributes:
        problem: why it must not be made: kind and detail, see `Lost`.
    """

    id: str
    split: str
    utterances: tuple[str, ...]
    level_db: tuple[float, ...] = ()
    mixture_paths: tuple[str, ...] = ()
    problem: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Lost:
    """A listed mixture that cannot be made, and why."""

    id: str
    split: str
    kind: str
    detail: str


@dataclasses.dataclass(frozen=True)
class _Segment:
    id: str
    speaker: str
    clip: Clip


def cut(inspected: Inspected, *, sample_rate: int, max_seconds: float) -> list[_Segment]:
    """The utterance in equal parts, as few as keep within `max_seconds` (0: whole)."""
    item, samples = inspected.item, inspected.samples
    parts = -(-samples // int(max_seconds * sample_rate)) if max_seconds else 1
    edges = [samples * part // parts for part in range(parts + 1)]
    return [
        _Segment(
            f'{item.id}@{part}' if parts > 1 else item.id,
            item.speaker,
            clip(inspected, start, stop),
        )
        for part, (start, stop) in enumerate(zip(edges, edges[1:]))
    ]


def _pair(segments: list[_Segment], seed: int, split: str, turn: int, used: set) -> list[tuple]:
    """Each segment once as first and once as second source, never twice the same speaker or pair.

    Two orders by hash are laid side by side; a place where they do not fit swaps its second
    source with the nearest place where both then fit. What never fits is left out.
    """
    first, second = (
        sorted(segments, key=lambda s: stable_hash(seed, split, turn, side, s.id))
        for side in ('first', 'second')
    )

    def fits(i, j):
        a, b = first[i], second[j]
        return a.speaker != b.speaker and (a.id, b.id) not in used

    count = len(segments)
    for i in range(count):
        if not fits(i, i):
            places = ((i + step) % count for step in range(1, count))
            j = next((j for j in places if fits(i, j) and fits(j, i)), None)
            if j is not None:
                second[i], second[j] = second[j], second[i]
    return [(first[i], second[i]) for i in range(count) if fits(i, i)]


def _unused(segments: list[_Segment], seed: int, split: str, used: set) -> list[tuple]:
    """The pairs that passes do not come by, ordered by hash."""
    left = [
        (a, b)
        for a in segments
        for b in segments
        if a.speaker != b.speaker and (a.id, b.id) not in used
    ]
    return sorted(left, key=lambda pair: stable_hash(seed, split, pair[0].id, pair[1].id))


def deal(
    recordings: dict[str, list[list[_Segment]]], shares: dict[str, float], seed: int
) -> dict[str, list[_Segment]]:
    """{split: segments}, some of every speaker's in each split.

    Whole recordings are dealt, ordered by hash, the longest to training. Where a speaker has fewer
    of them than there are splits, their segments are: the last ones to test, those before to
    validation, so that few of one split are neighbours of another's. Who has fewer segments, too,
    is in training alone.

    Args:
        recordings: {speaker: the segments of each recording, in their order}.
        shares: {split: share of a speaker's recordings or segments}, training's included.
        seed: of the order.
    """
    names = [name for name in ('test', 'validation', 'train') if shares.get(name)]
    dealt = {name: [] for name in names}
    for speaker in sorted(recordings):
        parts = sorted(recordings[speaker], key=lambda part: stable_hash(seed, 'deal', part[0].id))
        if len(parts) < len(names):
            parts = [[segment] for part in reversed(parts) for segment in reversed(part)]
        else:
            parts.append(parts.pop(parts.index(max(parts, key=len))))
        if len(parts) < len(names):
            dealt[names[-1]] += [segment for part in parts for segment in part]
            continue
        whole = len(parts)
        for i, name in enumerate(names):
            later = len(names) - i - 1  # splits, each of which needs one
            count = max(1, min(round(shares[name] * whole), len(parts) - later))
            taken, parts = (parts[:count], parts[count:]) if later else (parts, [])
            dealt[name] += [segment for part in taken for segment in part]
    return dealt


def random_pairs(
    inspected: Iterable[Inspected],
    *,
    sample_rate: int,
    pairs: dict[str, int] | None = None,
    snr_db: tuple[float, float] = (-5.0, 5.0),
    max_seconds: float = 0.0,
    shares: dict[str, float] | None = None,
    fewer: bool = False,
    seed: int = 0,
) -> list[MixtureSpec]:
    """Mixtures of two utterances of different speakers of one split.

    A pass uses every utterance (or segment) once as first and once as second source; passes are
    added, never repeating a pair, until the wanted number is reached, or what is left of the pairs
    where no pass finds another. The longer one is cropped
    to the shorter at an offset drawn from the mixture's id, as is the SNR, uniform in `snr_db`.

    Args:
        inspected: good utterances of all splits, in any order.
        sample_rate: of the data set.
        pairs: {split: mixtures}; None or absent: one pass; 0: no such split.
        snr_db: lowest and highest level of the first source over the second.
        max_seconds: longer utterances are cut into equal segments (0: not cut).
        shares: see `deal`; None: the utterances say which split they are of.
        fewer: whether all the pairs there are will do where more are wanted.
        seed: of the job.
    Raises:
        ValueError: if a split has fewer than two speakers or too few different pairs, or a
            speaker is in two splits.
    """
    segments, split_of, recordings = {}, {}, {}
    for one in inspected:
        parts = cut(one, sample_rate=sample_rate, max_seconds=max_seconds)
        if shares:
            recordings.setdefault(one.item.speaker, []).append(parts)
            continue
        known = split_of.setdefault(one.item.speaker, one.item.split)
        if known != one.item.split:
            raise ValueError(
                f'speaker {one.item.speaker!r} is in {known!r} and in {one.item.split!r}; '
                'a speaker must not cross splits'
            )
        segments.setdefault(one.item.split, []).extend(parts)
    segments = deal(recordings, shares, seed) if shares else segments
    pairs, specs = pairs or {}, []
    if pairs and not any(count != 0 for count in pairs.values()):
        flags = ', '.join(f'--{split}_pairs' for split in pairs)
        raise ValueError(f'no mixtures: {flags} are all 0; at least one must be above 0')
    for split in sorted(segments.keys() | pairs.keys()):
        wanted = pairs.get(split)
        if wanted == 0:
            continue
        without = f'--{split}_pairs=0 makes the data set without it'
        if not segments.get(split):
            raise ValueError(f'split {split!r} has no usable file; {without}')
        speakers = {segment.speaker for segment in segments[split]}
        if len(speakers) < 2:
            raise ValueError(
                f'split {split!r} has {plural(len(speakers), "speaker")} with usable files'
                f'{"".join(f" ({name})" for name in speakers)}, '
                'mixtures need two; give it more speakers, lower the limits on length, or '
                f'{without}'
            )
        used, turn, chosen = set(), 0, []
        while turn == 0 or len(chosen) < (wanted or 0):
            found = _pair(segments[split], seed, split, turn, used)
            found = found or _unused(segments[split], seed, split, used)
            if not found and chosen and fewer:
                break
            if not found:
                raise ValueError(
                    f'split {split!r}: {plural(wanted, "mixture") if wanted else "some"} wanted, '
                    f'{plural(len(segments[split]), "utterance")} of'
                    f' {plural(len(speakers), "speaker")} give '
                    f'{plural(len(chosen), "different pair")}; '
                    f'ask for fewer (--{split}_pairs)'
                )
            used.update((a.id, b.id) for a, b in found)
            chosen += found
            turn += 1
        for a, b in chosen[:wanted]:
            mixture_id = f'{a.id}+{b.id}'
            clips = [a.clip, b.clip]
            samples = min(one.stop - one.start for one in clips)
            for i, one in enumerate(clips):
                room = one.stop - one.start - samples
                start = one.start + int(uniform(0, room + 1, seed, mixture_id, 'crop'))
                clips[i] = dataclasses.replace(one, start=start, stop=start + samples)
            snr = uniform(*snr_db, seed, mixture_id, 'snr')
            specs.append(
                MixtureSpec(mixture_id, split, tuple(clips), (snr / 2, -snr / 2), samples, snr)
            )
    return specs


def listed_pairs(
    inspected: Iterable[Inspected], *, listed: list[Listed]
) -> list[MixtureSpec | Lost]:
    """The mixtures of `listed`, cut to the shortest source from the start; lost without one,
    or where they have a problem.

    `snr_db` is the difference of the listed levels, nan where a list gives none.
    """
    good = {one.item.id: one for one in inspected}
    specs = []
    for line in listed:
        if line.problem:
            specs.append(Lost(line.id, line.split, *line.problem))
            continue
        bad = [name for name in line.utterances if name not in good]
        if bad:
            detail = f'without {" and ".join(bad)}'
            specs.append(Lost(line.id, line.split, 'source skipped', detail))
            continue
        parts = [good[name] for name in line.utterances]
        samples = min(part.samples for part in parts)
        specs.append(
            MixtureSpec(
                id=line.id,
                split=line.split,
                clips=tuple(clip(part, 0, part.samples) for part in parts),
                level_db=line.level_db,
                samples=samples,
                snr_db=line.level_db[0] - line.level_db[1] if line.level_db else float('nan'),
                extra=line.mixture_paths,
            )
        )
    return specs
