"""Reads what evaluations left in run folders."""

import contextlib
import csv
import dataclasses
import errno
import io
import json
import os

from fgsep_jax import files, names as names_lib

TEXTS = ('id', 'class_', 'recording_', 'sex_')  # columns that hold a name, not a number
LISTS = ('sources',)  # columns that hold several names
REQUIRED = ('system', 'preset', 'data_set', 'split', 'step', 'parameters', 'examples', 'metrics')
COLUMNS = ('id', 'seconds', 'snr_db')  # that every examples.csv has


class ResultsError(ValueError):
    """Results that are not there, or that cannot be compared."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One system's scores on one split of a data set.

    Attributes:
        system: experiment and preset, or an oracle's name.
        data_set: name of the results, e.g. 'fgbg-c1'.
        summary: content of summary.json.
        rows: {example id: {column: number, name, or list of names}}.
    """

    system: str
    data_set: str
    summary: dict
    rows: dict


def data_sets(run):
    """Folders of the results in a run folder, sorted.

    Raises:
        ResultsError: there are none.
    """
    folder = os.path.join(run, 'evaluation')
    found = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    # An evaluation that is under way has locked its folder and nothing in it yet.
    found = [name for name in found if os.path.exists(os.path.join(folder, name, 'summary.json'))]
    if not found:
        raise ResultsError(
            f'{run} holds no results; make them with `python -m fgsep_jax.main --mode=evaluate'
            f' --workdir={run}`'
        )
    return found


def load(run, data_set, system=''):
    """Reads one Result.

    Args:
        run: run folder.
        data_set: one of `data_sets(run)`.
        system: '' for the run's model, else the name of an oracle evaluated beside it.

    Raises:
        ResultsError: it is not there.
    """
    folder = os.path.join(run, 'evaluation', data_set, system)
    try:
        summary, examples, together = _read_both(folder)
        text = io.StringIO(examples.decode(errors='surrogatepass'), newline='')
        rows = [
            {key: _read_cell(key, value) for key, value in row.items()}
            for row in csv.DictReader(text)
        ]
        rows = {row['id']: row for row in rows}
        missing = [key for key in REQUIRED if key not in summary]
        if missing:
            raise ValueError(f'summary.json lacks {", ".join(missing)}')
        if not isinstance(summary.get('results', ''), str):
            raise ValueError(f'summary.json has results = {summary["results"]!r}')
        for column in COLUMNS:
            if column not in next(iter(rows.values()), COLUMNS):
                raise ValueError(f'examples.csv has no column {column}')
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise ResultsError(f'{folder} cannot be read ({error!r}); evaluate again') from error
    except FileNotFoundError as error:
        raise ResultsError(
            f'{error.filename} is missing; {run} has results on {", ".join(data_sets(run))}'
        ) from error
    except OSError as error:
        raise ResultsError(f'{folder} cannot be read ({error})') from error
    if len(rows) != summary['examples']:
        raise ResultsError(
            f'{folder}: {len(rows)} rows in examples.csv, summary.json says'
            f' {summary["examples"]}; evaluate again'
        )
    if not together:
        raise ResultsError(f'{folder}: summary.json is not of this examples.csv; evaluate again')
    return Result(
        _called(str(summary['system']), system)
        if system
        else f'{summary["system"]}:{summary["preset"]}',
        _called(summary.get('results', data_set), data_set),
        summary,
        rows,
    )


def _called(name, folder):
    """The name that a folder was made of; its own where it was made of none, or is a copy."""
    return name if names_lib.part(name) == folder else folder


def _read_both(folder):
    """Content of summary.json, bytes of examples.csv, and whether they belong together.

    Between the renames of a new one's two files, and where it was killed there, the summary of the
    new examples has its partial name still.
    """
    path = os.path.join(folder, 'summary.json')
    for _ in range(3):  # they may be replaced while they are read
        with open(os.path.join(folder, 'examples.csv'), 'rb') as file:
            examples = file.read()
        summaries = []
        for name in (path, files.partial(path)):
            with contextlib.suppress(FileNotFoundError), open(name) as file:
                summaries.append(json.load(file))
        if not summaries:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        for summary in summaries:
            if summary.get('examples_digest') == files.digest(examples):
                return summary, examples, True
        if 'examples_digest' not in summaries[0]:  # of an earlier version
            return summaries[0], examples, True
    return summaries[0], examples, False


def _read_cell(column, text):
    if column in LISTS:
        return _read_names(text)
    return names_lib.from_cell(text) if column.startswith(TEXTS) else float(text)


def _read_names(text):
    """A list of names from its JSON or, as evaluations once wrote them, joined by spaces."""
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    return text.split(' ')


def oracles(run, data_set):
    """Names of the oracles that were evaluated beside the run's model."""
    folder = os.path.join(run, 'evaluation', data_set)
    return sorted(
        name
        for name in os.listdir(folder)
        if name.startswith('ideal_') and os.path.isdir(os.path.join(folder, name))
    )
