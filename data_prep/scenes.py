"""Scenes: events on backgrounds, of seen and unseen classes, in the subsets of paper 1."""

import collections
from collections.abc import Callable, Iterable, Iterator
import dataclasses

from data_prep.draws import stable_hash, uniform
from data_prep.mixtures import EVENT, Mixture, part
from data_prep.recordings import Recording
from fgsep_jax.names import counted

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


def _first_fitting(waiting: list, stream: Iterator, fits: Callable) -> Recording:
    """The first that fits of those that wait, or else of the stream; those before it wait, too."""
    place = next((i for i, sound in enumerate(waiting) if fits(sound)), None)
    while place is None:
        waiting.append(next(stream))
        place = len(waiting) - 1 if fits(waiting[-1]) else None
    return waiting.pop(place)


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

        background = _first_fitting(waiting, second, fits)
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
            events.append(_first_fitting(waiting, more, lambda x: x.source_id not in taken))
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
