"""What a report is made of: tables, figures and sounds, before anything is drawn or written."""

import dataclasses
from typing import Any

from fgsep_jax import names


class _Named:
    """Brings the name of an item into a form that files and pages can have."""

    def __post_init__(self):
        object.__setattr__(self, 'name', names.part(self.name, ascii=True))


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: the number.
        low: lower end of the interval, or None.
        high: upper end, or None.
        note: what a reader must know of this one, e.g. 'one seed'; '' for nothing.
    """

    value: float
    low: float | None = None
    high: float | None = None
    note: str = ''


@dataclasses.dataclass(frozen=True)
class Column:
    """Heading of a table's column.

    Attributes:
        label: as it is shown, with its unit: 'SI-SNRi (dB)'.
        key: its name in the CSV file: 'si_snri'.
        digits: decimals of its numbers.
        published: whether it holds numbers from a paper, which are never shown as ours.
    """

    label: str
    key: str
    digits: int = 2
    published: bool = False


@dataclasses.dataclass(frozen=True)
class Table(_Named):
    """A table.

    Attributes:
        name: of its files, 'table_1'.
        title: heading; names the data set.
        columns: Columns.
        rows: a list a row of str, int, float, `Estimate`, or None where no run fills the cell.
        note: sentences below it; '' for none.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: list[list[Any]]
    note: str = ''


@dataclasses.dataclass(frozen=True)
class Figure(_Named):
    """A figure.

    Attributes:
        name: of its files, 'figure_5'.
        title: heading.
        description: what it shows, for those who cannot see it.
        figure: matplotlib Figure.
        note: sentences below it.
    """

    name: str
    title: str
    description: str
    figure: Any
    note: str = ''


@dataclasses.dataclass(frozen=True)
class Look:
    """What is shown of a sound that the page does not hold itself.

    Attributes:
        seconds: its length.
        point_P2: lowest and highest sample of equal parts, in units of the peak.
        level_FK: its mel spectrogram in dB.
        url: where a browser finds it.
        name: of the file that it is downloaded as; '' where it is not.
    """

    seconds: float
    point_P2: Any
    level_FK: Any
    url: str
    name: str = ''


@dataclasses.dataclass(frozen=True)
class Track:
    """One sound of a listening example.

    Attributes:
        role: 'mixture', 'reference' or 'estimate'.
        source: which source it is ('1', 'foreground'), '' of a mixture.
        system: who made it; '' unless an estimate.
        path: of its wav file.
        scores: {metric: dB} of an estimate.
        signal: (signal_T, rate) where there is no such file.
        look: a Look, where the page does not hold the sound.
    """

    role: str
    source: str
    system: str
    path: str
    scores: dict
    signal: Any = None
    look: Look | None = None


@dataclasses.dataclass(frozen=True)
class Listening(_Named):
    """One test example to be heard.

    Attributes:
        name: unique in the report.
        title: heading.
        data_set: name of the results, e.g. 'fgbg-c1'.
        example: id of the example.
        tracks: the mixture, the references, the estimates of every system.
        facts: {label: text} shown beside it, e.g. {'input SNR': '2.1 dB'}.
        matched: whether all sounds are brought to one loudness; else they keep their levels.
    """

    name: str
    title: str
    data_set: str
    example: str
    tracks: tuple[Track, ...]
    facts: dict
    matched: bool = True


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: its anchor.
        title: heading.
        text: an introductory paragraph.
        items: Tables, Figures and Listenings in order.
        notes: sentences about what is missing or left out.
    """

    name: str
    title: str
    text: str
    items: list
    notes: tuple[str, ...] = ()
