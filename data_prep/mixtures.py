"""Mixtures: rows of mixtures.csv, whose makers are `pairing.random_pairs`, `scenes.scenes` and, of
lists, `listed`.

A maker is a pure function of the recordings that were looked into, good and bad. Orders and numbers
come from hashes of ids, so neither the order in which recordings arrive nor a library's random
generator can change them.
"""

from collections.abc import Callable, Iterable, Iterator
import contextlib
import dataclasses
import math
import re

from data_prep import tables
from data_prep.output import Part
from data_prep.recordings import AS_IT_IS, Recording, Take
from data_prep.tables import PATH, PATHS, TreeError, column, printable
from fgsep_jax import command_line
from fgsep_jax.names import counted

_DB = (-200.0, 200.0)  # of a level or SNR in a table
_ONSET = (0.0, math.nextafter(1.0, 0.0))
_SEMITONES, _STRETCH = (-48.0, 48.0), (0.1, 10.0)
NOISE = 'noise'  # role of what is in the mixture and nobody's target
EVENT = 'event'  # role of a further event, which is added to the first source


@dataclasses.dataclass(slots=True)  # there are millions: a frozen one takes 5 times as long
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


@dataclasses.dataclass(slots=True)  # there are millions: a frozen one takes 5 times as long
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

    @property
    def signals(self) -> int:
        """How many its example has: of each target, and of the noise."""
        if not any(source.role or source.heard for source in self.sources):
            return len(self.sources)
        return len(self.targets) + self.noisy


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


def counted_out(size: int) -> str:
    """How many sources or speakers, for a sentence."""
    return {2: 'two'}.get(size, str(size))


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
        paths = [*(x.path for x in row.sources), *(x.heard for x in row.sources if x.heard)]
        of_paths = {path: by_path.get((row.split, path)) for path in paths}
        files = [of_paths[source.path] for source in row.sources]
        bad = [x.id if x else path for path, x in of_paths.items() if not x or x.problem]
        if bad:
            detail = f'without {" and ".join(dict.fromkeys(bad))}'
            resolved.append(dataclasses.replace(row, problem='source skipped', detail=detail))
            continue
        scene = row.onset is not None  # whose background, which begins in its file, ends anywhere
        for i, (x, source) in enumerate(zip(files, row.sources)):
            stop = 0 if scene else source.start + row.samples
            needed = max(stop, source.start + 1, 0 if scene and i == 1 else source.stop)
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
    part: Part | None = None,
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
