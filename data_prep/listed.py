"""Mixtures that a table lists: mixtures.csv of a data set made before, or a table of your own.

python -m data_prep.listed --mixtures=mixtures.csv --input_dir=recordings --output_dir=data/again
"""

import bisect
from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import math
import os
import types
import unicodedata

from data_prep import fgbg, mix, mixtures, options, recordings, scenes, tables
from data_prep.mixtures import EVENT, NOISE, Mixture, snr_of
from data_prep.readers.sounds import ROLES
from data_prep.recordings import Recording
from data_prep.tables import TreeError, printable
from fgsep_jax import command_line, files
from fgsep_jax.data import records
from fgsep_jax.names import counted

SPLITS = ('train', 'validation', 'test', *scenes.TEST_SUBSETS)
RULES = {
    'ready': "snr_db is the table's, or the ratio of the first source's mean power and the "
    "others', measured; the sources are the files' own samples.",
    'levels': "snr_db is the table's, or the level of the first source over the others': each is "
    'brought to its level by ITU-T P.56 (no input filter) over the stretch that the table names, '
    'all are cut to the shortest, then one common factor brings the largest peak of mixture and '
    'sources to 0.9.',
}


def kind_of(row: Mixture) -> str:
    """How a row is mixed: `ready`, `scene` or `levels`; see `mix.mix`."""
    return 'ready' if row.ready else 'scene' if row.onset is not None else 'levels'


def check(
    row: Mixture, before: list[Mixture], *, sample_rate: int, known: dict[str, tuple]
) -> None:
    """Refuse a row that lacks what its kind needs or is not like the others.

    Args:
        row: of the table.
        before: those above it.
        sample_rate: of the data set.
        known: {path: class, first place and stretches that the rows above give it}; this one's are
            added.
    Raises:
        ValueError: with the columns, what is there and the rule.
    """
    if row.split not in SPLITS:
        raise ValueError(f'split is {row.split!r}: its split must be one of {", ".join(SPLITS)}')
    if row.problem:
        return
    if len(row.targets) < 2:
        but = ' that are no noise and no further event' * (len(row.sources) > 1)
        raise ValueError(f'it needs two sources at least{but}, path_1 and path_2')
    _check_sources(row)
    _check_files(row, known)
    _check_event(row, most=options.LONGEST * sample_rate)
    first = next((x for x in before if not x.problem), row)
    sources, firsts = (
        [source for source in x.sources if source.role != EVENT] for x in (row, first)
    )
    if len(sources) != len(firsts):
        raise ValueError(f'it needs {len(firsts)} sources, as the first mixture has')
    if row.noisy != first.noisy or len(row.targets) != len(first.targets):
        raise ValueError('it has noise and the first mixture none, or the other way round')
    if kind_of(row) != kind_of(first):
        raise ValueError('ready mixtures, events with an onset, and others do not mix')


def _check_sources(row: Mixture) -> None:
    kind = kind_of(row)
    for i, x in enumerate(row.sources, 1):
        if x.role == EVENT and (kind != 'scene' or i < 3):
            raise ValueError(
                f'role_{i} is {EVENT}: further events stand behind the first one, which has an '
                'onset, and the background'
            )
        if (x.onset is not None) != (x.role == EVENT):
            raise ValueError(f'onset_{i} must be there if role_{i} is {EVENT}, and else empty')
        if x.onset is None and (x.anywhere, x.semitones, x.stretch) != (False, 0, 1):
            raise ValueError(f'it has no onset_{i}, but anywhere_{i}, semitones_{i} or stretch_{i}')
        if x.role not in ('', NOISE, EVENT):
            raise ValueError(f'role_{i} is {x.role!r}: must be {NOISE}, {EVENT}, or empty')
        if x.role == NOISE and i < len(row.sources):
            raise ValueError(f'role_{i} is {x.role!r}: the last source alone may be noise')
        if x.role and kind == 'levels' and x.level_db is None:
            raise ValueError(f'level_db_{i} is empty: with noise, all sources need a level')
        if not x.source_id and x.role != NOISE:
            raise ValueError(f'source_id_{i} is empty: other rows give its file several')
        if x.heard and (kind != 'ready' or x.role):
            raise ValueError(f'heard_{i} is given: only a target of a ready mixture may have it')
    called = [unicodedata.normalize('NFC', x.source_id) for x in row.sources]
    speakers = [name for x, name in zip(row.sources, called) if x.source_class == 'speech']
    levels = [x.level_db for x in row.sources]
    for i, x in enumerate(row.sources, 1):
        if 0 < x.stop <= x.start:
            raise ValueError(f'stop_{i} is {x.stop}: a stop must be after its start, {x.start}')
        if kind != 'scene' and 0 < x.stop < x.start + row.samples:
            raise ValueError(f'samples is {row.samples}: start_{i} to stop_{i} are fewer')
        if speakers.count(called[i - 1]) > 1 and x.source_class == 'speech':
            raise ValueError(f'source_id_{i} is {x.source_id!r}, twice: two speakers must differ')
        if x.start and (kind == 'ready' or kind == 'scene' and i != 2):
            whole = 'an event with an onset' if kind == 'scene' else 'a ready mixture'
            raise ValueError(f'start_{i} is {x.start}: {whole} is of the whole file, from 0')
        if (x.level_db is None) != (levels[0] is None):
            level_db = 'empty' if x.level_db is None else f'{x.level_db:g}'
            raise ValueError(f'level_db_{i} is {level_db}: all sources must have one, or none')
    levels = [x.level_db for x in row.targets]
    of_levels = None not in levels or (len(levels) > 2 and kind == 'levels')
    if row.snr_db is not None and of_levels and abs(row.snr_db - snr_of(levels)) > 0.01:
        raise ValueError(
            f'snr_db is {row.snr_db:g}: the levels make it {snr_of(levels):.2f}; it must be that, '
            'or empty'
        )


def _check_files(row: Mixture, known: dict[str, tuple]) -> None:
    """Refuse a stretch of a file that stands for two: a data set has one source of each."""
    for i, source in enumerate(row.sources, 1):
        where = f'path_{i} of {row.split}/{row.id}'
        real = _real(source.path)
        source_class, first, taken = known.setdefault(real, (source.source_class, where, []))
        if source.source_class != source_class:
            raise ValueError(
                f'source_class_{i} is {source.source_class!r}: its file has {source_class!r} in '
                f'{first}; a file has one source_class in all of a table'
            )
        start, stop = source.start, source.stop or math.inf
        # Stretches that overlap are of one source, and are held as one.
        at = bisect.bisect_right(taken, start, key=lambda stretch: stretch[1])
        end = at
        while end < len(taken) and taken[end][0] < stop:
            if taken[end][2] != source.source_id:
                _, _, other, there = taken[end]
                raise ValueError(
                    f'source_id_{i} is {source.source_id!r}: this stretch of its file is of '
                    f'{other!r} in {there}; where a file has several, start and stop must keep '
                    'them apart'
                )
            start, stop = min(start, taken[end][0]), max(stop, taken[end][1])
            where, end = taken[at][3], end + 1
        taken[at:end] = [(start, stop, source.source_id, where)]


def _check_event(row: Mixture, *, most: int) -> None:
    segment = (row.adaptation_start, row.adaptation_stop, row.adaptation_overlap)
    if kind_of(row) != 'scene':
        if segment != (None,) * 3 or (row.anywhere, row.semitones, row.stretch) != (False, 0, 1):
            raise ValueError(
                'it has no onset: only events that have one may have adaptation_start, '
                'adaptation_stop, adaptation_overlap, anywhere, semitones or stretch'
            )
        return
    if len(row.targets) > 2 or row.noisy or not row.samples or None in segment:
        raise ValueError(
            'an event with an onset needs one background, samples, adaptation_start, '
            'adaptation_stop and adaptation_overlap'
        )
    start, stop, _ = segment
    if stop <= start:
        raise ValueError(f'adaptation_stop is {stop}: must be after adaptation_start, {start}')
    if max(row.samples, stop - start) > most:
        raise ValueError(
            f'samples is {row.samples}, the adaptation segment of {stop - start}: must be at most '
            f'{most}, a day'
        )
    ground = row.sources[1]
    if ground.stop - ground.start != row.samples:
        raise ValueError(
            f'stop_2 is {ground.stop}: must be start_2 and samples, {ground.start + row.samples}'
        )


def recordings_of(rows: list[Mixture], roots: dict[str, str]) -> list[Recording]:
    """The files that rows name, each once in a split.

    Args:
        rows: of the table.
        roots: {flag: folder}.
    """
    files = {}

    def add(row, path, source, role='', others=()):
        name = '_'.join(f'{row.split}/{tables.below(path, roots)}'.split())
        files.setdefault(
            (row.split, path),
            Recording(
                name,
                source.source_id,
                path,
                row.split,
                source.source_class,
                role,
                others=others,
            ),
        )

    for row in rows:
        scene = kind_of(row) == 'scene'
        for i, source in enumerate(row.sources):
            add(row, source.path, source, ROLES[i == 1] if scene else source.role)
            if source.heard:
                add(row, source.heard, source)
        if row.ready[1:]:  # which one is good is found out, and the bad ones are counted
            add(row, row.ready[0], row.sources[0], others=row.ready[1:])
    return recordings.unique_ids([*files.values()], lambda path: (tables.below(path, roots),))


@functools.cache
def _real(path: str) -> str:
    """Where a file is, whatever link it was named through."""
    return path if '://' in path else os.path.realpath(path)


def shared(rows: list[Mixture], roots: dict[str, str], *, unit: str) -> list[str]:
    """A line on what several splits have in common; the subsets of the test are one.

    Args:
        rows: of the table.
        roots: {flag: folder}.
        unit: what a source is, e.g. `speaker`.
    """
    places = {unit: [], 'file': [], 'mixture id': []}
    for row in (row for row in rows if not row.problem):
        split = 'test' if row.split in scenes.TEST_SUBSETS else row.split
        paths = [_real(path) for x in row.sources for path in (x.path, x.heard) if path]
        ids = [x.source_id for x in row.wanted if x.source_id != tables.below(x.path, roots)]
        for kind, found in zip(places, (ids, [*paths, *row.ready[:1]], [row.id])):
            places[kind] += [(name, split) for name in found]
    parts = []
    for kind, pairs in places.items():
        if crossing := recordings.crossing(pairs):
            example = next(iter(crossing))
            where = ' and '.join(split for split in SPLITS if split in crossing[example])
            example = tables.below(example, roots) if kind == 'file' else example
            parts.append(f'{counted(len(crossing), kind)} (e.g. {printable(example)} in {where})')
    listing = ' and '.join(filter(None, [', '.join(parts[:-1]), *parts[-1:]]))
    rest = 'where one is scored, it may have been trained on'
    return [f'splits share {listing}: {rest}'] if parts else []


def _beside(path: str) -> tuple[dict, bool]:
    """The dataset.json beside a mixtures.csv, of other tables {}; whether that is its plan."""
    folder, name = os.path.split(path)
    with contextlib.suppress(TreeError):  # no data set, or no table
        if name == 'mixtures.csv':
            about = files.read_json(os.path.join(folder, records.DATASET_FILE), TreeError)
            found = records.digest(files.read_bytes(path, TreeError, most=tables.MOST_BYTES))
            return about, about.get('mixtures', found) == found
    return {}, True


def as_planned(args: types.SimpleNamespace, given: Sequence[str], *, scene: bool) -> dict:
    """{flag: value} of flags not given, by which the data set was made that a table is of.

    Args:
        args: of the job.
        given: flags on the command line.
        scene: whether the table is of events; of others the level is no matter.
    Raises:
        ValueError: a flag that is given says another rate or level; or none is given, and the data
            set beside the table was made by another one.
    """
    about, is_its_plan = _beside(args.mixtures)
    config = about.get('config')
    found = {**(config if isinstance(config, dict) else {}), **about}
    allowed = {'sample_rate': int, 'max_clipped': (float, int), **({'level': str} if scene else {})}
    found = {key: found[key] for key, kind in allowed.items() if isinstance(found.get(key), kind)}
    for key in ('sample_rate', 'level'):
        if key not in found:
            continue
        if not is_its_plan and key not in given:
            raise ValueError(
                f'--{key} is needed: {printable(args.mixtures)} is not the plan that the data set '
                f'beside it was made by, with {key} {found[key]}'
            )
        if is_its_plan and key in given and vars(args)[key] != found[key]:
            raise ValueError(
                f'--{key}={vars(args)[key]}: {printable(args.mixtures)} is of a data set with '
                f'{key} {found[key]}, which its numbers are for; leave the flag out (a copy of the '
                f'table elsewhere, without {records.DATASET_FILE}, is read by any)'
            )
    return {key: value for key, value in found.items() if is_its_plan and key not in given}


def not_its_plan(path: str) -> list[str]:
    """A line where a mixtures.csv is not the one that the dataset.json beside it was made by."""
    _, is_its_plan = _beside(path)
    if is_its_plan:
        return []
    return [
        f'{printable(path)} is not the plan that the data set beside it was made by (another '
        f'digest stands in {records.DATASET_FILE}): edited since, or damaged'
    ]


def _prepare(args, *, parser) -> dict:
    roots, given = options.folders(args), parser.given()
    vars(args).update(as_planned(args, given, scene=False))
    rules = functools.partial(check, sample_rate=args.sample_rate, known={})
    rows = mixtures.from_csv(args.mixtures, roots, rules)
    kind = next((kind_of(row) for row in rows if not row.problem), None)
    if not kind:
        raise TreeError(f'{printable(args.mixtures)} lists no mixture')
    if kind == 'scene':
        vars(args).update(as_planned(args, given, scene=True))
    elif args.level != 'rms':
        raise ValueError(
            f'--level={args.level}: {printable(args.mixtures)} has no events with an onset, whose '
            'SNR alone it is for; leave it out'
        )
    fgbg.check_level(args)
    shortest = fgbg.LUFS_SECONDS * args.sample_rate
    for row in rows:
        lengths = row.samples, (row.adaptation_stop or 0) - (row.adaptation_start or 0)
        short = not row.problem and min(lengths) < shortest
        if kind == 'scene' and args.level == 'lufs' and short:
            raise ValueError(
                f'--level=lufs: {printable(row.id)} is of {min(lengths)} samples; loudness is '
                f'measured in blocks of {fgbg.LUFS_SECONDS} s; --level=rms takes shorter ones'
            )
    named = recordings_of([row for row in rows if not row.problem], roots)
    sources = [source for row in rows if not row.problem for source in row.wanted]
    people = {source.source_id for source in sources}  # a file may have several
    everybody = [dataclasses.replace(named[0], source_id=name) for name in people]
    metadata, warnings = options.sexes(args, [*named, *everybody])
    if kind == 'scene':
        metadata['source_unit'] = 'source recordings'
    unit = metadata.get('source_unit', 'speakers').removesuffix('s')
    warnings += [*not_its_plan(args.mixtures), *shared(rows, roots, unit=unit)]
    return dict(
        **options.listed(named, rows),
        mix=functools.partial(mix.mix, level=args.level),
        max_clipped=args.max_clipped,
        snr_rule=RULES.get(kind)
        or fgbg.snr_rule(args.level, several=any(x.role == EVENT for x in sources)),
        extra_metadata={'config': options.config_of(args), **metadata},
        warnings=warnings,
    )


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(__spec__.name, __doc__, input_dir='', min_seconds=0.0)
    parser.add_argument(
        '--mixtures',
        type=command_line.local_path,
        required=True,
        help='csv or tsv with the columns split, id, path_1, path_2, ...; see docs/data.md',
    )
    for flag in ('input_dir', 'wsj0_dir', 'desed_dir', 'audioset_dir'):
        where = 'nothing in front' if flag == 'input_dir' else f'{{{flag}}}/ in front'
        parser.add_argument(
            f'--{flag}', type=command_line.path, help=f'where the paths with {where} lie'
        )
    fgbg.level_flags(parser)
    options.speakers_flag(parser)
    options.run(parser, argv, functools.partial(_prepare, parser=parser))


if __name__ == '__main__':
    main()
