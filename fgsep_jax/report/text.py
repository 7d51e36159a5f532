"""The comparison of runs as text: scores, quartiles, differences, classes."""

import itertools
import shlex

import numpy as np

from fgsep_jax.report import common
from fgsep_jax.report.intervals import Estimate
from fgsep_jax.report.parts import Table, cell_text, markdown
from fgsep_jax.report.runs import ResultsError
from fgsep_jax.report.scores import ROLES


def compare(results, *, data_sets=(), metrics=()):
    """All tables of a comparison as one Markdown text.

    Args:
      results: Results.
      data_sets: names of results; all if empty.
      metrics: columns such as 'sdri_foreground'; those that the paper of the runs' task judges by
        if empty.

    Raises:
      ResultsError: there are no such results.
    """
    there = sorted(results.scores.data_set.unique())
    if not there:
        path = shlex.quote(results.runs.folder.iloc[0].path)
        raise ResultsError(
            'there are no results; make them with `python -m fgsep_jax.main --mode=evaluate'
            f' --workdir={path}`'
        )
    if unknown := set(data_sets).difference(there):
        raise ResultsError(
            f'no results on {", ".join(sorted(unknown))}; there are results on {", ".join(there)}'
        )
    tables = [common.runs_table(results)]
    for task in dict.fromkeys(results.runs.task):
        ours = results.of(task=task)
        sets = sorted(set(data_sets or there).intersection(ours.scores.data_set))
        chosen = _metrics(ours, metrics)
        tables += [common.scores_table(ours, name) for name in sets]
        tables += [_quartiles(ours, metric, sets) for metric in chosen]
        tables += [_differences(ours, metric, sets) for metric in chosen]
        tables += [_by_class(ours, chosen[0], source, sets) for source in ROLES]
    return '\n'.join(markdown(table) for table in tables if table.rows)


def _metrics(results, wanted):
    """(name, source) of metrics, from the names of columns."""
    if not wanted:
        return list(common.SCORES[results.task])
    columns = results.scores.columns[results.scores.columns.get_loc('snr_db') + 1 :]
    sources = ['', *results.scores.source.unique()]
    there = {common.key((name, source)): (name, source) for name in columns for source in sources}
    if unknown := [name for name in wanted if name not in there]:
        raise ResultsError(f'no metric {", ".join(unknown)}; there are {", ".join(sorted(there))}')
    return [there[name] for name in wanted]


def _quartiles(results, metric, sets):
    """Medians and quartiles of the examples of all seeds, a row a system."""
    name, source = metric
    systems = common.systems_on(results, sets)

    def row(label, group, system, metric, scale=1):
        cells = []
        for data_set in sets:
            part = results.part(group, data_set, system)
            value_N = (
                results.matrix(group, data_set, metric, system).to_numpy().ravel() * scale + 0.0
            )
            value_N = value_N[np.isfinite(value_N)]
            if not len(value_N):
                cells.append(None)
                continue
            low, middle, high = np.quantile(value_N, [0.25, 0.5, 0.75])
            skipped = part.drop_duplicates('run').skipped.sum()
            note = f'{skipped} of {len(value_N) + skipped} not scored' * bool(skipped)
            cells.append(cell_text(Estimate(middle, low, high, note)))
        return [label, *cells]

    rows = [row(label, group, system, metric) for label, group, system in systems]
    if f'{name}_mixture' in results.scores:
        rows[:0] = [row('mixture', *systems[0][1:], (f'{name}_mixture', source))]
    elif name.endswith('i'):  # an improvement over itself
        rows[:0] = [row('mixture', *systems[0][1:], metric, 0)]
    return Table(
        f'quartiles_{common.key(metric)}',
        f'{common.key(metric)} (dB), median [quartiles]',
        {'system': 'System', **dict(zip(sets, sets))},
        rows,
    )


def _differences(results, metric, sets):
    """Of all pairs of groups, on the same examples: of the medians, and the mean difference."""
    rows = [
        [f'{second.label} - {first.label}', statistic]
        + [
            results.difference(
                [(1, second.group, name), (-1, first.group, name)],
                metric,
                statistic=statistic,
            )
            for name in sets
        ]
        for first, second in itertools.combinations(results.groups, 2)
        for statistic in ('median', 'mean')
    ]
    return Table(
        f'differences_{common.key(metric)}',
        f'{common.key(metric)} (dB), differences on the same examples',
        {'pair': 'Systems', 'statistic': 'Of the', **dict(zip(sets, sets))},
        [row for row in rows if any(row[2:])],
    )


def _by_class(results, metric, source, sets):
    """Medians for each class of a source, over the examples of all seeds."""
    scores, key = results.scores, ['group', 'seed', 'data_set', 'id']
    scores = scores[(scores.system == 'model') & scores.data_set.isin(sets)]
    labels = scores[scores.source == source].set_index(key)
    value = (scores[scores.source == metric[1]] if metric[1] else scores).groupby(key)[metric[0]]
    rows = []
    if 'class' in labels:
        frame = value.mean().dropna().to_frame('value').join(labels['class']).reset_index()
        for (data_set, label), part in frame.groupby(['data_set', 'class']):
            medians = part.groupby('group').value.median()
            cells = [medians.get(group.group) for group in results.groups]
            rows.append([data_set, label, part.id.nunique(), *cells])
    return Table(
        f'{source}_classes',
        f'{common.key(metric)} (dB), median by {source} class',
        {
            'data_set': 'Data set',
            'class': f'{source} class',
            'examples': 'Examples',
            **{f'group_{group.group}': group.label for group in results.groups},
        },
        rows,
    )
