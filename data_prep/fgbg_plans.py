"""Which foreground meets which background: pure, deterministic, from inspected sounds to specs."""

import collections
from collections.abc import Iterable, Iterator
import dataclasses

from data_prep.audio import Inspected
from data_prep.corpora import plural
from data_prep.mixing import stable_hash, uniform
from data_prep.plans import MixtureSpec, clip

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


@dataclasses.dataclass(frozen=True)
class Scene:
    """What the mixer needs beside the clips, drawn from the mixture's id.

    Attributes:
        adaptation: first and last sample (exclusive) of the background's adaptation segment; as
            the clip itself, it runs on at the recording's start where it ends.
        overlap: share of that segment that is in the mixture too.
        onset: in [0, 1), where in the allowed stretch of the window the event begins.
        anywhere: whether the event may begin late, after silence (an augmentation).
        semitones, stretch: change of the foreground's pitch and length; 0 and 1 for none.
    """

    adaptation: tuple[int, int]
    overlap: float
    onset: float
    anywhere: bool = False
    semitones: float = 0.0
    stretch: float = 1.0


def sounds_of(inspected: Iterable[Inspected], split: str) -> dict[str, list[Inspected]]:
    """{role: good sounds} that the mixtures of one split of the data set are made from."""
    source, *seen = SUBSETS[split]
    found = {'foreground': [], 'background': []}
    for one in inspected:
        item = one.item
        if item.split == source and item.seen == seen[item.role == 'background']:
            found[item.role].append(one)
    return found


def missing(inspected: list[Inspected], counts: dict[str, int]) -> dict[str, str]:
    """{split: why} for each split that is asked for and has no pair of sounds to mix."""
    told = {}
    for split in (name for name in SUBSETS if counts.get(name)):
        sounds = sounds_of(inspected, split)
        lacking = [role for role, found in sounds.items() if not found]
        recordings = {one.item.speaker for found in sounds.values() for one in found}
        source, *seen = SUBSETS[split]
        where = f'in the {"evaluation" if source == "test" else source} split'
        if lacking:
            told[split] = ' and '.join(
                f'no usable sound of {"a seen" if seen[role == "background"] else "an unseen"} '
                f'{role} class {where}'
                for role in lacking
            )
        elif len(recordings) == 1:
            told[split] = (
                f'every pair {where} shares one recording, {recordings.pop()!r}, and a recording '
                'is not mixed with itself; if the files are cut from different ones, --groups '
                'tells them apart'
            )
    return told


def _stream(sounds: list[Inspected], by_class: bool, *key) -> Iterator[Inspected]:
    """The sounds for ever, in one hashed order after another; `by_class`: classes take turns."""
    if by_class:
        classes = sorted({one.item.source_class for one in sounds})
        streams = {
            name: _stream([x for x in sounds if x.item.source_class == name], False, *key, name)
            for name in classes
        }
    turn = 0
    while True:
        if by_class:
            for name in sorted(classes, key=lambda name: stable_hash(*key, turn, name)):
                yield next(streams[name])
        else:
            yield from sorted(sounds, key=lambda one: stable_hash(*key, turn, one.item.id))
        turn += 1


def pairs(
    sounds: dict[str, list[Inspected]], count: int, *, by_class: bool, key: tuple
) -> list[tuple[Inspected, Inspected, int]]:
    """`count` times (foreground, background, how often this pair came before).

    Both sides run through all their sounds before one comes again. A background that would repeat
    a pair, or meet its own recording, waits for a later foreground, as far as there are any.
    """
    foregrounds, backgrounds = sounds['foreground'], sounds['background']
    first, second = (_stream(sounds[role], by_class, *key, role) for role in sounds)
    recordings = collections.Counter(one.item.speaker for one in backgrounds)
    usable = {one.item.id: len(backgrounds) - recordings[one.item.speaker] for one in foregrounds}
    if not any(usable.values()):
        return []
    used, met = collections.Counter(), collections.Counter()
    waiting, chosen = [], []
    for foreground in first:
        if len(chosen) == count:
            return chosen
        name = foreground.item.id
        if not usable[name]:
            continue
        allowed = met[name] // usable[name]  # times that all of its pairs are used up

        def fits(background):
            return (
                background.item.speaker != foreground.item.speaker
                and used[name, background.item.id] <= allowed
            )

        place = next((i for i, one in enumerate(waiting) if fits(one)), None)
        while place is None:
            waiting.append(next(second))
            place = len(waiting) - 1 if fits(waiting[-1]) else None
        background = waiting.pop(place)
        pair = (name, background.item.id)
        chosen.append((foreground, background, used[pair]))
        used[pair] += 1
        met[name] += 1
    return chosen


def place_background(
    length: int, *, samples: int, adaptation: int, draws: tuple[float, float, float]
) -> tuple[int, int, float]:
    """Where excerpt and adaptation segment of one recording begin, and their overlap.

    They never overlap where the recording holds both; where it holds each but not both, they
    stand at its two ends; where it is shorter than one of them it is looped, and the overlap
    counts as 1.

    Args:
        length: of the recording, in samples.
        samples, adaptation: of the excerpt and of the segment.
        draws: three numbers in [0, 1).
    """
    first, second, order = draws
    if length < max(samples, adaptation):
        return int(first * length), int(second * length), 1.0
    room = length - samples - adaptation
    a, b = sorted(int(x * (max(room, 0) + 1)) for x in (first, second))
    if order < 0.5:
        start, segment = a, min(b + samples, length - adaptation)
    else:
        segment, start = a, min(b + adaptation, length - samples)
    return start, segment, max(0, -room) / adaptation


def mixtures(
    inspected: Iterable[Inspected],
    *,
    sample_rate: int,
    counts: dict[str, int],
    seconds: float = 2.0,
    adaptation_seconds: float = 2.0,
    snr_db: tuple[float, float] = (-3.0, 3.0),
    draw: str = 'sound',
    augment_onset: bool = True,
    augment_pitch: tuple[float, float] = (-2.0, 2.0),
    augment_stretch: tuple[float, float] = (0.8, 1.2),
    seed: int = 0,
    table: str = 'that in use',
) -> list[MixtureSpec]:
    """Mixtures of a foreground and a background, for training, validation and C1 to C4.

    Args:
        inspected: good sounds of all splits, in any order.
        sample_rate: of the data set.
        counts: {split: mixtures}, splits as in `SUBSETS`.
        seconds: length of a mixture.
        adaptation_seconds: length of the adaptation segment.
        snr_db: lowest and highest level of the foreground over the background.
        draw: `sound`: all sounds equally often; `class`: all classes, and within each its sounds.
        augment_onset, augment_pitch, augment_stretch: of training foregrounds; ranges in semitones
            and in new length over old.
        seed: of the job.
        table: the class table's name, for a refusal.
    Raises:
        ValueError: if a split that is asked for has no pair of sounds, or none is asked for.
    """
    inspected = sorted(inspected, key=lambda one: one.item.id)
    samples, adaptation = round(seconds * sample_rate), round(adaptation_seconds * sample_rate)
    if not any(counts.values()):
        raise ValueError(
            'no mixtures: --train_mixtures, --validation_mixtures and --test_mixtures are all 0; '
            'at least one must be above 0'
        )
    lacking = missing(inspected, counts)
    if lacking:
        whys = '; '.join(f'{split}: {why}' for split, why in lacking.items())
        ways = [f'--{name}_mixtures=0' for name in ('train', 'validation') if name in lacking]
        tests = [name for name in TEST_SUBSETS if counts.get(name)]
        left = [name for name in tests if name not in lacking]
        if len(left) < len(tests):
            ways.append(f'--subsets={",".join(left)}' if left else '--test_mixtures=0')
        raise ValueError(
            f'no mixtures for {whys} (of {plural(len(inspected), "usable file")}); --classes names '
            f'another class table than {table}, or do without: {" ".join(ways)}'
        )
    specs = []
    for split in (name for name in SUBSETS if counts.get(name)):
        chosen = pairs(
            sounds_of(inspected, split), counts[split], by_class=draw == 'class', key=(seed, split)
        )
        for foreground, background, before in chosen:
            name = f'{foreground.item.id}+{background.item.id}' + (f'+{before}' if before else '')

            def number(purpose, low=0.0, high=1.0):
                return uniform(low, high, seed, split, name, purpose)

            start, segment, overlap = place_background(
                background.samples,
                samples=samples,
                adaptation=adaptation,
                draws=(number('excerpt'), number('segment'), number('order')),
            )
            changes = {}
            if split == 'train':
                changes = dict(
                    anywhere=augment_onset,
                    semitones=number('pitch', *augment_pitch),
                    stretch=number('stretch', *augment_stretch),
                )
            scene = Scene((segment, segment + adaptation), overlap, number('onset'), **changes)
            snr = number('snr', *snr_db)
            clips = (
                clip(foreground, 0, foreground.samples),
                clip(background, start, start + samples),
            )
            specs.append(
                MixtureSpec(name, split, clips, (snr / 2, -snr / 2), samples, snr, (scene,))
            )
    return specs
