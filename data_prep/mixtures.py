"""Mixtures: rows of mixtures.csv, and the makers of rows: random pairs, listed ones, scenes.

A maker is a pure function of the recordings that were looked into, good and bad. Orders and numbers
come from hashes of ids, so neither the order in which recordings arrive nor a library's random
generator can change them.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
import contextlib
import dataclasses
import itertools
import math
import re

from data_prep import progress, tables
from data_prep.draws import stable_hash, uniform
from data_prep.recordings import AS_IT_IS, Recording, Take
from data_prep.tables import PATH, PATHS, TreeError, column, printable
from fgsep_jax import command_line
from fgsep_jax.names import counted

_DB = (-200.0, 200.0)  # of a level or SNR in a table
_ONSET = (0.0, math.nextafter(1.0, 0.0))
_SEMITONES, _STRETCH = (-48.0, 48.0), (0.1, 10.0)
_AT_ONCE = 1 << 16  # groups of three and more that are put in order together
MOST_PASSES = 3  # to come to so many hours, so that a part of a corpus does not become the whole
NOISE = 'noise'  # role of what is in the mixture and nobody's target
EVENT = 'event'  # role of a further event, which is added to the first source


@dataclasses.dataclass(frozen=True, slots=True)  # there are millions
class Source:
    """What one source of a mixture is made from: a stretch of a file.

    Attributes:
        path: the file.
        source_id: who speaks, or which recording it is.
        source_class: `speech`, or the class of the sound.
        start, stop: in samples at the data set's rate.
        level_db: what it is brought to; only differences matter; None: it is left as it is.
        take: how the file is to be read.
        role: `noise` of what is no target; `event` of a scene's second event and further ones, at
            whose level they are added to the first; empty for the others. Noise comes last.
        heard: the source as it is in a ready mixture, where that is another file (with its room);
            what it has more than the source is noise, too.
        onset, anywhere, semitones, stretch: of a further event, see `Mixture`.
    """

    path: str = column(PATH)
    source_id: str = column(str)
    source_class: str = column(str, 'speech')
    start: int = column(int, 0, always=True)
    stop: int = column(int, 0, always=True)
    level_db: float | None = column(_DB, None)
    take: Take = column(Take, AS_IT_IS)
    role: str = column(str, '')
    heard: str = column(PATH, '')
    onset: float | None = column(_ONSET, None)
    anywhere: bool = column(bool, False)
    semitones: float = column(_SEMITONES, 0.0)
    stretch: float = column(_STRETCH, 1.0)


@dataclasses.dataclass(frozen=True, slots=True)  # there are millions
class Mixture:
    """All that it takes to make one mixture: a row of mixtures.csv.

    Attributes:
        id: unique name; seeds the mixture's random numbers.
        split: train, validation, test, or a subset of the test sounds (c1 to c4).
        sources: in their order.
        samples: length of the mixture.
        snr_db: what the record says; None: as it is measured.
        adaptation_start, adaptation_stop: the second source's adaptation segment; as the source
            itself, it runs on at the recording's start where that ends. None: without a segment.
        adaptation_overlap: share of that segment that is in the mixture too.
        onset: in [0, 1), where in the allowed stretch of the window the first source's event
            begins; None: there is no event, sources are mixed from their starts.
        anywhere: whether the event may begin late, after silence (an augmentation).
        semitones, stretch: change of the event's pitch and length; 0 and 1 for none.
        ready: paths of the mixture itself, in one form or several, where it is mixed already.
        problem, detail: why it is listed and must not, or cannot, be made.
    """

    id: str = column(str)
    split: str = column(str)
    sources: tuple[Source, ...] = column([Source], ())
    samples: int = column(range(1, 2**31), 0)  # more is no record
    snr_db: float | None = column(_DB, None)
    _: dataclasses.KW_ONLY
    adaptation_start: int | None = column(int, None)
    adaptation_stop: int | None = column(int, None)
    adaptation_overlap: float | None = column((0.0, 1.0), None)
    onset: float | None = column(_ONSET, None)
    anywhere: bool = column(bool, False)
    semitones: float = column(_SEMITONES, 0.0)
    stretch: float = column(_STRETCH, 1.0)
    ready: tuple[str, ...] = column(PATHS, ())
    problem: str = column(str, '')
    detail: str = column(str, '')

    @property
    def wanted(self) -> tuple[Source, ...]:
        """The sources that are no noise, further events too."""
        return tuple(source for source in self.sources if source.role != NOISE)

    @property
    def targets(self) -> tuple[Source, ...]:
        """The sources that are no noise, of several events the first."""
        return tuple(source for source in self.wanted if source.role != EVENT)

    @property
    def events(self) -> tuple[tuple[Source, 'Mixture | Source'], ...]:
        """(event, what its onset, pitch and length are given by) of each that the first source is
        the sum of."""
        more = (source for source in self.sources if source.role == EVENT)
        return ((self.sources[0], self), *((source, source) for source in more))

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """(id, class) of each target; of several events all of them, joined by `+`."""
        events = [source for source, _ in self.events]
        joined = (
            '+'.join(source.source_id for source in events),
            '+'.join(sorted({source.source_class for source in events})),
        )
        return (joined, *((x.source_id, x.source_class) for x in self.targets[1:]))

    @property
    def noisy(self) -> bool:
        """Whether its example has noise."""
        return any(source.role == NOISE or source.heard for source in self.sources)


def part(recording: Recording, start: int, stop: int, level_db: float | None = None) -> Source:
    """A stretch of a recording that is good."""
    return Source(
        recording.path,
        recording.source_id,
        recording.source_class,
        start,
        stop,
        level_db=level_db,
        take=recording.take,
    )


def cut(recording: Recording, *, sample_rate: int, max_seconds: float) -> list[Recording]:
    """The recording in equal segments, as few as keep within `max_seconds` (0: whole)."""
    samples = recording.samples
    parts = -(-samples // int(max_seconds * sample_rate)) if max_seconds else 1
    edges = [samples * k // parts for k in range(parts + 1)]
    if parts == 1:
        return [recording]
    return [
        dataclasses.replace(recording, id=f'{recording.id}@{k}', start=start, samples=stop - start)
        for k, (start, stop) in enumerate(zip(edges, edges[1:]))
    ]


def _ids(group: Iterable[Recording]) -> tuple[str, ...]:
    return tuple(segment.id for segment in group)


def _shortest(group: Iterable[Recording]) -> int:
    return min(segment.samples for segment in group)


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
    first, *others = (
        sorted(segments, key=lambda s: stable_hash(seed, split, turn, place, s.id))
        for place in ('first', 'second', *range(3, size + 1))
    )
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
    by_speaker = {}
    for segment in sorted(segments, key=lambda segment: segment.id):
        by_speaker.setdefault(segment.source_id, []).append(segment)
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
        shares: see `deal`; None: the utterances say which split they are of.
        fewer: whether all the pairs there are will do where more are asked for.
        speakers: of a mixture.
        seed: of the job.
    Raises:
        ValueError: if a split has fewer speakers than a mixture or too few different pairs, or a
            speaker is in two splits.
    """
    segments, split_of, whole = {}, {}, {}
    for recording in inspected:
        if recording.problem:
            continue
        parts = cut(recording, sample_rate=sample_rate, max_seconds=max_seconds)
        if shares:
            whole.setdefault(recording.source_id, []).append(parts)
            continue
        split = split_of.setdefault(recording.source_id, recording.split)
        if split != recording.split:
            raise ValueError(
                f'speaker {recording.source_id!r} is in {split!r} and in {recording.split!r}; '
                'a speaker must not cross splits'
            )
        segments.setdefault(split, []).extend(parts)
    segments = deal(whole, shares, seed) if shares else segments
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


def counted_out(size: int) -> str:
    """How many sources or speakers, for a sentence."""
    return {2: 'two'}.get(size, str(size))


def _drawn(
    group: tuple[Recording, ...], split: str, snr_db: tuple[float, float], seed: int
) -> Mixture:
    name = '+'.join(_ids(group))
    samples = _shortest(group)
    # Of the first source over each other one; the levels' mean is 0.
    purposes = ('snr', *(f'snr_{place}' for place in range(3, len(group) + 1)))
    below_db = [0.0, *(-uniform(*snr_db, seed, name, purpose) for purpose in purposes)]
    mean_db, sources = sum(below_db) / len(group), []
    for segment, level_db in zip(group, below_db):
        room = segment.samples - samples
        start = segment.start + (room and int(uniform(0, room + 1, seed, name, 'crop')))
        sources.append(part(segment, start, start + samples, level_db - mean_db))
    levels_db = [source.level_db for source in sources]
    snr = -below_db[1] if len(group) == 2 else snr_of(levels_db)
    return Mixture(name, split, tuple(sources), samples, snr)


def snr_of(levels_db: list[float | None]) -> float:
    """Level of the first source over the others', in dB; None is 0."""
    first, *others = (level_db or 0.0 for level_db in levels_db)
    return first - 10.0 * math.log10(sum(10.0 ** (level_db / 10.0) for level_db in others))


def listed(inspected: Iterable[Recording], *, rows: list[Mixture]) -> list[Mixture]:
    """The mixtures of a list, cut to the shortest source from the start.

    One of which a source is bad has a problem.

    Args:
        inspected: the recordings that the rows name, good and bad.
        rows: sources have a path alone, or also levels and a stretch; of each, the whole is taken
            where none is named; of two, `snr_db` is the difference of their levels where it is not
            said, and the levels are half of it on either side where they are not.
    """
    inspected = list(inspected)
    by_path = {(x.split, path): x for x in inspected for path in (x.path, *x.others)}
    resolved = []
    for row in rows:
        if row.problem:
            resolved.append(row)
            continue
        files = [by_path.get((row.split, source.path)) for source in row.sources]
        paths = [*(x.path for x in row.sources), *(x.heard for x in row.sources if x.heard)]
        of_paths = {path: by_path.get((row.split, path)) for path in paths}
        bad = [x.id if x else path for path, x in of_paths.items() if not x or x.problem]
        if bad:
            detail = f'without {" and ".join(dict.fromkeys(bad))}'
            resolved.append(dataclasses.replace(row, problem='source skipped', detail=detail))
            continue
        looped = row.onset is not None  # what begins in its file may end anywhere
        for x, source in zip(files, row.sources):
            stop = 0 if looped else max(source.stop, source.start + row.samples)
            needed = max(stop, source.start + 1)
            if needed > x.samples:
                detail = f'{x.id} has {counted(x.samples, "sample")}, the table asks for {needed}'
                row = dataclasses.replace(row, problem='beyond the end', detail=detail)
        if row.problem:
            resolved.append(row)
            continue
        levels, snr_db = [source.level_db for source in row.sources], row.snr_db
        if len(row.targets) == 2 and levels[:2] != [None, None] and snr_db is None:
            snr_db = (levels[0] or 0.0) - (levels[1] or 0.0)
        elif len(row.targets) == 2 and levels[:2] == [None] * 2 and not (row.noisy or row.ready):
            snr_db = snr_db or 0.0
            levels = [snr_db / 2, -snr_db / 2, *[snr_db / 2] * (len(levels) - 2)]
        sources = tuple(
            dataclasses.replace(
                source,
                path=x.path,
                source_id=printable(source.source_id) or x.source_id,  # a file may have several
                source_class=x.source_class,
                stop=source.stop or x.samples,
                level_db=level_db,
                take=x.take,
                heard=of_paths[source.heard].path if source.heard else '',
            )
            for x, source, level_db in zip(files, row.sources, levels)
        )
        samples = row.samples or min(source.stop - source.start for source in sources)
        resolved.append(dataclasses.replace(row, sources=sources, samples=samples, snr_db=snr_db))
    return resolved


# split of the data set -> split of the sounds, foreground seen?, background seen?
SUBSETS = {
    'train': ('train', True, True),
    'validation': ('validation', True, True),
    'c1': ('test', True, True),
    'c2': ('test', True, False),
    'c3': ('test', False, True),
    'c4': ('test', False, False),
}

TEST_SUBSETS = tuple(name for name, (source, *_) in SUBSETS.items() if source == 'test')


def sounds_of(inspected: Iterable[Recording], split: str) -> dict[str, list[Recording]]:
    """{role: good sounds} that the mixtures of one split of the data set are made from."""
    source, *seen = SUBSETS[split]
    by_role = {'foreground': [], 'background': []}
    for sound in inspected:
        if sound.split == source and sound.seen == seen[sound.role == 'background']:
            by_role[sound.role].append(sound)
    return by_role


def missing(inspected: list[Recording], counts: dict[str, int]) -> dict[str, str]:
    """{split: why} for each split that is asked for and has no pair of sounds to mix."""
    reasons = {}
    for split in (name for name in SUBSETS if counts.get(name)):
        sounds = sounds_of(inspected, split)
        lacking = [role for role, members in sounds.items() if not members]
        recordings = {sound.source_id for members in sounds.values() for sound in members}
        source, *seen = SUBSETS[split]
        where = f'in the {"evaluation" if source == "test" else source} split'
        if lacking:
            reasons[split] = ' and '.join(
                f'no usable sound of {"a seen" if seen[role == "background"] else "an unseen"} '
                f'{role} class {where}'
                for role in lacking
            )
        elif len(recordings) == 1:
            reasons[split] = (
                f'every pair {where} shares one recording, {recordings.pop()!r}, and a recording '
                'is not mixed with itself'
            )
    return reasons


def _stream(sounds: list[Recording], by_class: bool, *key) -> Iterator[Recording]:
    """The sounds for ever, in one hashed order after another; `by_class`: classes take turns."""
    if by_class:
        classes = sorted({sound.source_class for sound in sounds})
        streams = {
            name: _stream([x for x in sounds if x.source_class == name], False, *key, name)
            for name in classes
        }
    turn = 0
    while True:
        if by_class:
            for name in sorted(classes, key=lambda name: stable_hash(*key, turn, name)):
                yield next(streams[name])
        else:
            yield from sorted(sounds, key=lambda sound: stable_hash(*key, turn, sound.id))
        turn += 1


def pairs(
    sounds: dict[str, list[Recording]], count: int, *, by_class: bool, key: tuple
) -> list[tuple[Recording, Recording, int]]:
    """`count` times (foreground, background, how often this pair came before).

    Both sides run through all their sounds before one comes again. A background that would repeat
    a pair, or meet its own recording, waits for a later foreground, as far as there are any.
    """
    foregrounds, backgrounds = sounds['foreground'], sounds['background']
    first, second = (_stream(sounds[role], by_class, *key, role) for role in sounds)
    recordings = collections.Counter(sound.source_id for sound in backgrounds)
    usable = {sound.id: len(backgrounds) - recordings[sound.source_id] for sound in foregrounds}
    if not any(usable.values()):
        return []
    used, met = collections.Counter(), collections.Counter()
    waiting, chosen = [], []
    for foreground in first:
        if len(chosen) == count:
            return chosen
        name = foreground.id
        if not usable[name]:
            continue
        allowed = met[name] // usable[name]  # times that all of its pairs are used up

        def fits(background):
            return (
                background.source_id != foreground.source_id
                and used[name, background.id] <= allowed
            )

        place = next((i for i, sound in enumerate(waiting) if fits(sound)), None)
        while place is None:
            waiting.append(next(second))
            place = len(waiting) - 1 if fits(waiting[-1]) else None
        background = waiting.pop(place)
        pair = (name, background.id)
        chosen.append((foreground, background, used[pair]))
        used[pair] += 1
        met[name] += 1
    return chosen


# Where the adaptation segment lies: anywhere in the recording outside the mixture's excerpt, right
# before that, or in it.
ADAPTATIONS = ('outside', 'before', 'mixture')


def further_events(
    sounds: list[Recording],
    chosen: list[tuple[Recording, Recording, int]],
    counts: list[int],
    *,
    most: int,
    by_class: bool,
    key: tuple,
) -> list[list[Recording]]:
    """Of each scene the events beside its first one.

    All sounds come before one comes again; one whose recording is in a scene already waits for the
    next that it fits in.

    Args:
        sounds: the foregrounds of a split.
        chosen: its scenes, see `pairs`.
        counts: of each scene's further events.
        most: events of a scene, at least one.
        by_class: see `pairs`.
        key: what the order is drawn from; its last part is the split.
    Raises:
        ValueError: there are fewer recordings of foregrounds than a scene may have events.
    """
    recordings, more, waiting, scenes = {x.source_id for x in sounds}, None, [], []
    for (foreground, background, _), count in zip(chosen, counts):
        usable = len(recordings) - (background.source_id in recordings)
        if usable < most:
            raise ValueError(
                f'split {key[-1]!r} has {counted(usable, "recording")} of foregrounds that '
                f'{background.id} may be mixed with; --events must be at most that, since each '
                'event of a scene is of another recording'
            )
        taken, events = {foreground.source_id, background.source_id}, []
        more = more or _stream(sounds, by_class, *key, 'event')
        while len(events) < count:
            place = next((i for i, x in enumerate(waiting) if x.source_id not in taken), None)
            if place is None:
                waiting.append(next(more))
                continue
            events.append(waiting.pop(place))
            taken.add(events[-1].source_id)
        scenes.append(events)
    return scenes


def place_background(
    length: int,
    *,
    samples: int,
    adaptation: int,
    draws: tuple[float, float, float],
    where: str = 'outside',
) -> tuple[int, int, float]:
    """Where excerpt and adaptation segment of one recording begin, and their overlap.

    Outside of each other they never overlap where the recording holds both; where it holds each
    but not both, they stand at its two ends; where it is shorter than one of them it is looped,
    and the overlap counts as 1.

    Args:
        length: of the recording, in samples.
        samples, adaptation: of the excerpt and of the segment.
        draws: three numbers in [0, 1).
        where: the segment lies, see `ADAPTATIONS`; in the mixture it must be no longer than that.
    """
    first, second, order = draws
    if where == 'mixture':
        start = int(first * (length - samples + 1 if length >= samples else length))
        return start, (start + int(second * (samples - adaptation + 1))) % length, 1.0
    if length < max(samples, adaptation):
        start = int(first * length)
        if where == 'before':
            return start, (start - adaptation) % length, 1.0
        return start, int(second * length), 1.0
    room = length - samples - adaptation
    a, b = sorted(int(x * (max(room, 0) + 1)) for x in (first, second))
    if where == 'before':
        start = adaptation + int(first * (room + 1)) if room > 0 else length - samples
        segment = max(0, start - adaptation)
    elif order < 0.5:
        start, segment = a, min(b + samples, length - adaptation)
    else:
        segment, start = a, min(b + adaptation, length - samples)
    return start, segment, max(0, -room) / adaptation


def scenes(
    inspected: Iterable[Recording],
    *,
    sample_rate: int,
    counts: dict[str, int],
    seconds: float = 2.0,
    adaptation_seconds: float = 2.0,
    adaptation: str = 'outside',
    events: tuple[int, int] = (1, 1),
    snr_db: tuple[float, float] = (-3.0, 3.0),
    draw: str = 'sound',
    augment_onset: bool = True,
    repeat_share: float = 0.0,
    augment_pitch: tuple[float, float] = (-2.0, 2.0),
    augment_stretch: tuple[float, float] = (0.8, 1.2),
    seed: int = 0,
    table: str = '',
) -> list[Mixture]:
    """Mixtures of a foreground and a background, for training, validation and C1 to C4.

    Args:
        inspected: sounds of all splits, in any order.
        sample_rate: of the data set.
        counts: {split: mixtures}, splits as in `SUBSETS`.
        seconds: length of a mixture.
        adaptation_seconds: length of the adaptation segment.
        adaptation: where in the background's recording that lies, see `ADAPTATIONS`.
        events: fewest and most of a scene, uniform; all are of seen, or of unseen classes.
        snr_db: lowest and highest level of the foreground over the background.
        draw: `sound`: all sounds equally often; `class`: all classes, and within each its sounds.
        augment_onset, augment_pitch, augment_stretch: of training foregrounds; ranges in semitones
            and in new length over old.
        repeat_share: of training foregrounds, of those that `augment_onset` leaves as the others
            are: from their start, and repeated where they are short.
        seed: of the job.
        table: the class table's name, for a refusal; empty: the job has no flags for another one.
    Raises:
        ValueError: if a split that is asked for has no pair of sounds, or none is asked for.
    """
    inspected = sorted((x for x in inspected if not x.problem), key=lambda x: x.id)
    samples, segment_samples = (round(x * sample_rate) for x in (seconds, adaptation_seconds))
    if not any(counts.values()):
        raise ValueError(
            'no mixtures: --train_mixtures, --validation_mixtures and --test_mixtures are all 0; '
            'at least one must be above 0'
        )
    lacking = missing(inspected, counts)
    if lacking:
        whys = '; '.join(f'{split}: {why}' for split, why in lacking.items())
        if table and 'shares one recording' in whys:
            whys += '; if the files are cut from different ones, --groups tells them apart'
        ways = [f'--{name}_mixtures=0' for name in ('train', 'validation') if name in lacking]
        tests = [name for name in TEST_SUBSETS if counts.get(name)]
        left = [name for name in tests if name not in lacking]
        if len(left) < len(tests):
            ways.append(f'--subsets={",".join(left)}' if left else '--test_mixtures=0')
        raise ValueError(
            f'no mixtures for {whys} (of {counted(len(inspected), "usable file")}); '
            + (f'--classes names another class table than {table}, or ' if table else '')
            + f'do without: {" ".join(ways)}'
        )
    rows = []
    for split in (name for name in SUBSETS if counts.get(name)):
        sounds = sounds_of(inspected, split)
        drawn = dict(by_class=draw == 'class', key=(seed, split))
        chosen = pairs(sounds, counts[split], **drawn)
        names = [
            f'{foreground.id}+{background.id}' + (f'+{before}' if before else '')
            for foreground, background, before in chosen
        ]
        low, high = events
        numbers = [int(uniform(low, high + 1, seed, split, name, 'events')) - 1 for name in names]
        more = further_events(sounds['foreground'], chosen, numbers, most=high, **drawn)
        for name, (foreground, background, _), others in zip(names, chosen, more):

            def number(purpose, low=0.0, high=1.0):
                return uniform(low, high, seed, split, name, purpose)

            def placed(end=''):
                if split != 'train':
                    return {'onset': number(f'onset{end}')}
                return {
                    'onset': number(f'onset{end}'),
                    'anywhere': augment_onset and number(f'repeat{end}') >= repeat_share,
                    'semitones': number(f'pitch{end}', *augment_pitch),
                    'stretch': number(f'stretch{end}', *augment_stretch),
                }

            start, segment, overlap = place_background(
                background.samples,
                samples=samples,
                adaptation=segment_samples,
                where=adaptation,
                draws=(number('excerpt'), number('segment'), number('order')),
            )
            snr = number('snr', *snr_db)
            sources = (
                part(foreground, 0, foreground.samples, snr / 2),
                part(background, start, start + samples, -snr / 2),
                *(
                    dataclasses.replace(
                        part(event, 0, event.samples, snr / 2), role=EVENT, **placed(f'_{i}')
                    )
                    for i, event in enumerate(others, 2)
                ),
            )
            rows.append(
                Mixture(
                    name,
                    split,
                    sources,
                    samples,
                    snr,
                    adaptation_start=segment,
                    adaptation_stop=segment + segment_samples,
                    adaptation_overlap=overlap,
                    **placed(),
                )
            )
    return rows


def to_csv(rows: list[Mixture], roots: dict[str, str]) -> bytes:
    """mixtures.csv; columns that hold nothing but defaults are left out.

    Args:
        rows: one at least.
        roots: {flag: folder}, see `tables.below`.
    """
    most = max(len(row.sources) for row in rows)
    return tables.to_csv(rows, roots, first=('split', 'id', 'samples', 'snr_db'), count=most)


def _check_columns(table: str, names: Iterable[str]) -> None:
    """Refuse a column that no mixture has."""
    for name in names:
        end = (re.findall(r'[1-9]\d{0,3}$', name) or ['1'])[0]
        allowed = (*tables.columns(Mixture), *tables.columns(Source, end=f'_{end}'))
        if name not in allowed:
            near = command_line.did_you_mean(name, allowed)
            raise TreeError(f'{table}: no mixture has a column {printable(name)!r}{near}')


def from_csv(
    path: str,
    roots: dict[str, str],
    check: Callable[[Mixture, list[Mixture]], None] | None = None,
    part: tuple[int, int] | None = None,
) -> list[Mixture]:
    """The rows of a table like mixtures.csv; split, id and path_1 are all that it must have.

    Args:
        path: of the table.
        roots: {flag: folder}, see `tables.below`.
        check: of a row and those before it; its ValueError is the rule that the row breaks.
        part: see `tables.read_lines`.
    Raises:
        TreeError: with file, line, column, what is there and the rule, if it is no such table.
    """
    numbers, parsed, rows = {}, [], []
    lines = tables.read_rows(
        path,
        ('split', 'id', 'path_1'),
        others=(*tables.columns(Mixture),),
        is_decimal=_is_decimal,
        part=part,
    )
    _check_columns(printable(path), lines[0][1] if lines else ())

    @contextlib.contextmanager
    def line(number):
        try:
            yield
        except ValueError as error:
            raise TreeError(f'{printable(path)}, line {number}: {error}') from None

    for number, cells in lines:
        with line(number):
            row = _row(cells, roots)
            first = numbers.setdefault((row.split, row.id), number)
            if first != number:
                raise ValueError(f'the mixture of line {first} once more')
        parsed.append(row)
    for (number, _), row in zip(lines, _with_ids(parsed, [cells for _, cells in lines])):
        with line(number):
            if check:
                check(row, rows)
        rows.append(row)
    return rows


_KINDS = tables.columns(Mixture, count=1)


def _is_decimal(name: str) -> bool:
    """Whether a column holds numbers that need not be whole."""
    kind = _KINDS.get(re.sub(r'_\d+$', '_1', name))
    return kind is float or isinstance(kind, tuple)


def _with_ids(rows: list[Mixture], lines: list[dict[str, str]]) -> Iterator[Mixture]:
    """The rows; a source without an id has that which the table gives its file, none where it gives
    several, or its path."""
    ids = {}
    for row in rows:
        for source in row.sources:
            if source.source_id and not row.problem:
                only = ids.setdefault(source.path, source.source_id) == source.source_id
                ids[source.path] = source.source_id if only else ''
    for row, cells in zip(rows, lines):
        if all(source.source_id or source.role == NOISE for source in row.sources):
            yield row
            continue
        sources = (
            source
            if source.role == NOISE
            else dataclasses.replace(
                source, source_id=source.source_id or ids.get(source.path, cells[f'path_{i}'])
            )
            for i, source in enumerate(row.sources, 1)
        )
        yield dataclasses.replace(row, sources=tuple(sources))


def _row(cells: dict[str, str], roots: dict[str, str]) -> Mixture:
    row = tables.from_cells(Mixture, cells, roots)
    count = len(row.sources)
    for name, cell in cells.items():
        end = name.rpartition('_')[2]
        if cell and end.isdecimal() and int(end) > count:
            raise ValueError(f'{name} is {cell[:200]!r}: path_{count + 1} must not be empty')
    if not (row.split and row.id):
        raise ValueError('split and id must not be empty')
    return row
