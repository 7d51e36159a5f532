"""Reads what evaluations left in run folders."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import shlex

from fgsep_jax import files, names as names_lib

TEXTS = ('id', 'class_', 'recording_', 'sex_')  # columns that hold a name, not a number
LISTS = ('sources',)  # columns that hold several names
REQUIRED = ('system', 'preset', 'data_set', 'split', 'step', 'parameters', 'examples', 'metrics')
# What results must have in common to stand beside one another.
MADE_BY = ('data_fingerprint', 'filter_taps', 'sample_rate', 'resampled_from', 'rules', 'targets')
SEEN = ('speakers', 'speakers_trained_on')  # of the split; how many of them training data have
STATISTICS = ('median', 'q25', 'q75')  # of a metric, at least
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
    run = os.path.expanduser(run)
    folder = os.path.join(run, 'evaluation')
    found = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    # An evaluation that is under way has locked its folder and nothing in it yet.
    found = [name for name in found if os.path.exists(os.path.join(folder, name, 'summary.json'))]
    if found:
        return found
    if os.path.lexists(os.path.join(run, 'config.json')):
        raise ResultsError(
            f'{run} holds no results; make them with `python -m fgsep_jax.main --mode=evaluate'
            f' --workdir={shlex.quote(run)}`'
        )
    below = [os.path.dirname(path) for path in files.find(run, 'config.json')]
    if below:
        raise ResultsError(f'{run} is no run; there are some below: --runs={",".join(below)}')
    raise no_runs(run)


def no_runs(folder):
    """The ResultsError of a folder without a run in it or below."""
    if not os.path.isdir(folder):
        return ResultsError(f'there is no folder {folder}')
    return ResultsError(
        f'{folder} holds no runs: no config.json in it or below. Train one with'
        ' `python -m fgsep_jax.main --config=configs/convtasnet_glu.py:demo`'
    )


def load(run, data_set, system=''):
    """Reads one Result.

    Args:
        run: run folder.
        data_set: one of `data_sets(run)`.
        system: '' for the run's model, else the name of an oracle evaluated beside it.

    Raises:
        ResultsError: it is not there.
    """
    run = os.path.expanduser(run)
    folder = os.path.join(run, 'evaluation', data_set, system)
    for path in (os.path.join(folder, name) for name in ('summary.json', 'examples.csv')):
        if not os.path.lexists(path):
            raise ResultsError(
                f'{path} is missing; {run} has results on {", ".join(data_sets(run))}'
            )
    summary, examples, together = _read_both(folder)
    try:
        _check_summary(summary)
        text = io.StringIO(examples.decode(errors='surrogatepass'), newline='')
        table = csv.DictReader(text)
        if table.fieldnames and 'id' not in table.fieldnames:
            raise ValueError('examples.csv has no column id')
        rows = [{key: _read_cell(key, value) for key, value in row.items()} for row in table]
        rows = {row['id']: row for row in rows}
        first = next(iter(rows.values()), None)
        for column in (*COLUMNS, *summary['metrics']) if first else ():
            if column not in first:
                raise ValueError(f'examples.csv has no column {column}')
    except (ValueError, csv.Error) as error:
        raise ResultsError(
            f'{folder} cannot be read ({files.why(error)}); evaluate again'
        ) from error
    if len(rows) != summary['examples']:
        raise ResultsError(
            f'{folder}: {names_lib.counted(len(rows), "row")} in examples.csv, summary.json says'
            f' {summary["examples"]}; evaluate again'
        )
    if not together:
        raise ResultsError(f'{folder}: summary.json is not of this examples.csv; evaluate again')
    return Result(
        _called(summary['system'], system)
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
        examples = files.read_bytes(
            os.path.join(folder, 'examples.csv'), ResultsError, most=1 << 30
        )
        summaries = [files.read_json(path, ResultsError, finite=False, halves=True)]
        with contextlib.suppress(ResultsError):
            partial = files.partial(path)
            summaries.append(files.read_json(partial, ResultsError, finite=False, halves=True))
        for summary in summaries:
            if summary.get('examples_digest') == files.digest(examples):
                return summary, examples, True
        if 'examples_digest' not in summaries[0]:  # of an earlier version
            return summaries[0], examples, True
    return summaries[0], examples, False


def _check_summary(summary):
    """Raises ValueError where something that a report reads is missing or of another type."""
    missing = [key for key in REQUIRED if key not in summary]
    if missing:
        raise ValueError(f'summary.json lacks {", ".join(missing)}')
    kinds = {
        **dict.fromkeys(('system', 'preset', 'data_set', 'split', 'results'), str),
        **dict.fromkeys(('step', 'parameters', 'examples', *SEEN), int),
        **dict.fromkeys(('metrics', 'mixture', 'skipped'), dict),
    }
    for key, kind in kinds.items():
        if key in summary and type(summary[key]) is not kind:
            raise ValueError(f'summary.json has {key} = {summary[key]!r:.60}')
    for key in ('metrics', 'mixture'):
        for name, statistics in summary.get(key, {}).items():
            found = statistics if isinstance(statistics, dict) else {}
            types = [type(found.get(one, '')) for one in STATISTICS]
            if not set(types) <= {int, float, type(None)} or (
                (found['q25'] is None) != (found['q75'] is None)
            ):
                raise ValueError(f'summary.json has {key}.{name} = {statistics!r:.60}')
    for key, value in (*summary.get('skipped', {}).items(), ('examples', summary['examples'])):
        if type(value) is not int or value < 0:
            raise ValueError(f'summary.json has {key} = {value!r:.60}')
    for key in MADE_BY:
        if type(summary.get(key)) not in (int, str, type(None)):
            raise ValueError(f'summary.json has {key} = {summary[key]!r:.60}')
    if files.is_damaged(summary):
        raise ValueError('summary.json is damaged: its digest does not match')


def _read_cell(column, text):
    if column is None or text is None:
        raise ValueError('a row of examples.csv has more or fewer cells than the first')
    if column in LISTS:
        return _read_names(text)
    if column.startswith(TEXTS):
        return names_lib.from_cell(text)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'examples.csv: {column} = {text!r:.60}, must be a number') from None


def _read_names(text):
    """A list of names from its JSON or, as evaluations once wrote them, joined by spaces."""
    try:
        names = json.loads(text)
        ''.join(names).encode()  # half a character cannot be printed
    except (ValueError, TypeError, RecursionError):
        return text.split(' ')
    if isinstance(names, list):
        return names
    return text.split(' ')


def made_by(result):
    """What `MADE_BY` says of a Result, in its order."""
    return tuple(result.summary.get(key, {'targets': ''}.get(key)) for key in MADE_BY)


def difference(how, other):
    """In what two `made_by` differ, e.g. 'rules is None, not 2'; '' where they do not."""
    return ', '.join(
        f'{key} is {str(value)[:12]}, not {str(usual)[:12]}'
        for key, value, usual in zip(MADE_BY, how, other)
        if value != usual
    )


def oracles(run, data_set):
    """Names of the oracles that were evaluated beside the run's model."""
    folder = os.path.join(run, 'evaluation', data_set)
    return sorted(
        name
        for name in os.listdir(folder)
        if name.startswith('ideal_') and os.path.isdir(os.path.join(folder, name))
    )
