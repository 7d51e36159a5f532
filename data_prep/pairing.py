"""Random mixtures of several speakers: which utterances meet, where they are cut, how loud."""

from collections.abc import Iterable
import dataclasses
import itertools

from data_prep import progress
from data_prep.draws import stable_hash, stable_hashes, uniform
from data_prep.mixtures import Mixture, counted_out, part, snr_of
from data_prep.recordings import Recording, grouped
from fgsep_jax.names import counted

_AT_ONCE = 1 << 16  # groups of three and more that are put in order together
MOST_PASSES = 3  # to come to so many hours, so that a part of a corpus does not become the whole


def cut(recording: Recording, *, sample_rate: int, max_seconds: float) -> list[Recording]:
    """The recording in equal segments, as few as keep within `max_seconds` (0: whole)."""
    samples = recording.samples
    parts = -(-samples // int(max_seconds * sample_rate)) if max_seconds else 1
    if parts == 1:
        return [recording]
    edges = [samples * k // parts for k in range(parts + 1)]
    return [
        dataclasses.replace(recording, id=f'{recording.id}@{k}', start=start, samples=stop - start)
        for k, (start, stop) in enumerate(zip(edges, edges[1:]))
    ]


def _ids(group: Iterable[Recording]) -> tuple[str, ...]:
    return tuple([segment.id for segment in group])


def _shortest(group: Iterable[Recording]) -> int:
    return min([segment.samples for segment in group])


def _pass(
    segments: list[Recording], seed: int, split: str, turn: int, used: set, size: int
) -> list[tuple[Recording, ...]]:
    """Each segment once in each place of a mixture, never twice the same speaker or group.

    Orders by hash, one a place, are laid side by side; where the next one does not fit, its segment
    is swapped with the nearest with which both then fit. What never fits is left out.

    Args:
        segments: of one split.
        seed, split, turn: what the orders are drawn from.
        used: ids of the groups there are.
        size: sources of a mixture.
    """
    places = 'first', 'second', *range(3, size + 1)
    hashes = (stable_hashes(seed, split, turn, place) for place in places)
    first, *others = (sorted(segments, key=lambda x: hashed(x.id)) for hashed in hashes)
    count, groups = len(segments), [(segment,) for segment in first]
    for order in others:
        heard = [[segment.source_id for segment in group] for group in groups]

        def fits(i, j):  # which a place does that is left out already
            return order[j].source_id not in heard[i] and (
                not used or (*_ids(groups[i]), order[j].id) not in used
            )

        for i in range(count):
            if not fits(i, i):
                places = ((i + step) % count for step in range(1, count))
                j = next((j for j in places if fits(i, j) and fits(j, i)), None)
                if j is not None:
                    order[i], order[j] = order[j], order[i]
        groups = [(*groups[i], order[i]) if groups[i] and fits(i, i) else () for i in range(count)]
    return [group for group in groups if group]


def _unused(segments: list[Recording], seed: int, split: str, used: set, size: int) -> list[tuple]:
    """Groups that passes do not come by, ordered by hash: of pairs all, of more some at once."""
    in_order = sorted(segments, key=lambda segment: segment.id)
    by_speaker = grouped(in_order, lambda segment: segment.source_id)
    left = (
        group
        for members in itertools.permutations(by_speaker.values(), size)
        for group in itertools.product(*members)
        if _ids(group) not in used
    )
    if size > 2:
        left = itertools.islice(left, _AT_ONCE)
    return sorted(left, key=lambda group: stable_hash(seed, split, *_ids(group)))


def deal(
    recordings: dict[str, list[list[Recording]]], shares: dict[str, float], seed: int
) -> dict[str, list[Recording]]:
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


def _dealt(
    inspected: Iterable[Recording],
    *,
    sample_rate: int,
    max_seconds: float,
    shares: dict[str, float],
    seed: int,
) -> dict[str, list[Recording]]:
    """{split: segments} of good recordings, see `deal`."""
    whole = {}
    for recording in inspected:
        if not recording.problem:
            parts = cut(recording, sample_rate=sample_rate, max_seconds=max_seconds)
            whole.setdefault(recording.source_id, []).append(parts)
    return deal(whole, shares, seed)


def splits_dealt(inspected: Iterable[Recording], **how) -> dict[str, str]:
    """{path: the splits that a recording's segments are dealt to, joined by `+`}; none of bad ones.

    Args:
        inspected: recordings, good and bad.
        **how: `sample_rate`, `max_seconds`, `shares` and `seed` of `random_pairs`.
    """
    splits = {}
    for split, segments in reversed(_dealt(inspected, **how).items()):  # training's come first
        for segment in segments:
            splits.setdefault(segment.path, {})[split] = None
    return {path: '+'.join(names) for path, names in splits.items()}


def random_pairs(
    inspected: Iterable[Recording],
    *,
    sample_rate: int,
    pairs: dict[str, int] | None = None,
    hours: dict[str, float] | None = None,
    snr_db: tuple[float, float] = (-5.0, 5.0),
    max_seconds: float = 0.0,
    shares: dict[str, float] | None = None,
    fewer: bool = False,
    speakers: int = 2,
    seed: int = 0,
) -> list[Mixture]:
    """Mixtures of two (or more) utterances of different speakers of one split.

    A pass uses every utterance (or segment) once as first and once as second source; passes are
    added, never repeating a pair, until the number asked for is reached, or what is left of the
    pairs where no pass finds another. The longer ones are cropped to the shortest at an offset
    drawn from the mixture's id, as is the level of the first over each other, uniform in `snr_db`.

    Args:
        inspected: recordings of all splits, in any order.
        sample_rate: of the data set.
        pairs: {split: mixtures}; None or absent: one pass; 0: no such split.
        hours: {split: of mixtures} where `pairs` is None: as many as come to that, of `MOST_PASSES`
            passes at most; 0 or absent: one pass.
        snr_db: lowest and highest level of the first source over the second.
        max_seconds: longer utterances are cut into equal segments (0: not cut).
        shares: see `deal`; None: the utterances say which split they are of. What is dealt,
            `splits_dealt` says.
        fewer: whether all the pairs there are will do where more are asked for.
        speakers: of a mixture.
        seed: of the job.
    Raises:
        ValueError: if a split has fewer speakers than a mixture or too few different pairs, or a
            speaker is in two splits.
    """
    segments, split_of, how = {}, {}, dict(sample_rate=sample_rate, max_seconds=max_seconds)
    if shares:
        segments, inspected = _dealt(inspected, **how, shares=shares, seed=seed), []
    for recording in inspected:
        if recording.problem:
            continue
        split = split_of.setdefault(recording.source_id, recording.split)
        if split != recording.split:
            raise ValueError(
                f'speaker {recording.source_id!r} is in {split!r} and in {recording.split!r}; '
                'a speaker must not cross splits'
            )
        segments.setdefault(split, []).extend(cut(recording, **how))
    pairs, rows = pairs or {}, []
    if pairs and not any(count != 0 for count in pairs.values()):
        flags = ', '.join(f'--{split}_pairs' for split in pairs)
        raise ValueError(f'no mixtures: {flags} are all 0; at least one must be above 0')
    for split in sorted(segments.keys() | pairs.keys()):
        if pairs.get(split) != 0:
            count, wanted = pairs.get(split), (hours or {}).get(split) or 0.0
            samples = 3600 * wanted * sample_rate if count is None else 0.0
            groups = _groups(
                segments.get(split, []), split, count, fewer, seed, speakers, samples=samples
            )
            rows += [
                _drawn(group, split, snr_db, seed) for group in progress.logged(groups, 'plan')
            ]
    return rows


def _groups(
    segments: list[Recording],
    split: str,
    count: int | None,
    fewer: bool,
    seed: int,
    size: int,
    *,
    samples: float = 0.0,
) -> list[tuple[Recording, ...]]:
    """`count` groups of `size` segments of one split (None: those of one pass, or as many as come
    to `samples`, if `MOST_PASSES` do)."""
    without = f'--{split}_pairs=0 makes the data set without it'
    if not segments:
        raise ValueError(f'split {split!r} has no usable file; {without}')
    speakers = {segment.source_id for segment in segments}
    if len(speakers) < size:
        raise ValueError(
            f'split {split!r} has {counted(len(speakers), "speaker")} with usable files'
            f'{"".join(f" ({name})" for name in speakers)}, '
            f'mixtures need {counted_out(size)}; give it more speakers, lower the limits on '
            f'length, or {without}'
        )
    used, turn, chosen = set(), 0, []

    def too_few():
        if samples:
            return turn < MOST_PASSES and sum(map(_shortest, chosen)) < samples
        return len(chosen) < (count or 0)

    while turn == 0 or too_few():
        more = _pass(segments, seed, split, turn, used, size)
        if not (more or samples and chosen):
            more = _unused(segments, seed, split, used, size)
        if not more and chosen and (fewer or samples):
            break
        if not more:
            what = 'different pair' if size == 2 else 'different mixture'
            raise ValueError(
                f'split {split!r}: {counted(count, "mixture") if count else "some"} wanted, '
                f'{counted(len(segments), "utterance")} of {counted(len(speakers), "speaker")} '
                f'give {counted(len(chosen), what)}; ask for fewer (--{split}_pairs)'
            )
        chosen += more
        turn += 1
        if too_few():
            used.update(map(_ids, more))
    if samples:
        ends = itertools.accumulate(map(_shortest, chosen))
        count = next((i for i, end in enumerate(ends, 1) if end >= samples), None)
    return chosen[:count]


def _drawn(
    group: tuple[Recording, ...], split: str, snr_db: tuple[float, float], seed: int
) -> Mixture:
    name = '+'.join(_ids(group))
    samples = _shortest(group)
    # Of the first source over each other one; the levels' mean is 0.
    purposes = ['snr', *(f'snr_{place}' for place in range(3, len(group) + 1))]
    below_db = [0.0, *[-uniform(*snr_db, seed, name, purpose) for purpose in purposes]]
    mean_db, sources = sum(below_db) / len(group), []
    for segment, level_db in zip(group, below_db):
        room = segment.samples - samples
        start = segment.start + (room and int(uniform(0, room + 1, seed, name, 'crop')))
        sources.append(part(segment, start, start + samples, level_db - mean_db))
    levels_db = [source.level_db for source in sources]
    snr = -below_db[1] if len(group) == 2 else snr_of(levels_db)
    return Mixture(name, split, tuple(sources), samples, snr)
