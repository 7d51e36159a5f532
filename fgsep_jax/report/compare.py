"""Compares runs on the same examples: medians and quartiles, and paired differences.

python -m fgsep_jax.report.compare --runs=runs/m1,runs/m2 [--metrics=sdri_foreground,...]
"""

import dataclasses
import itertools
import os

import numpy as np

from fgsep_jax import command_line
from fgsep_jax.names import markdown, shown
from fgsep_jax.report import results
from fgsep_jax.report.statistics import check_same_data, resample, weighted_median

MIN_GROUPS = 5
# Of paper 1, of paper 2.
METRICS = (('sdri_foreground', 'siri_foreground', 'sar_foreground'), ('si_snri', 'sdri'))
CLUSTERS = ('recording_foreground', 'recording_background')


def paired_difference(first, second, metric, *, clusters=(), seed=0, min_groups=MIN_GROUPS):
    """How much higher the second system scores, on the examples that both have scores for.

    The intervals are percentile bootstraps over the examples; they say nothing about another
    training of the same models. Mixtures that share a recording are not independent: with
    `clusters` the groups of each column are drawn, and an example counts as often as all of its
    groups together (the product bootstrap of Owen, "The pigeonhole bootstrap", 2007).

    Args:
        first: Result.
        second: Result on the same data.
        metric: column of the rows.
        clusters: columns that name the groups of an example; () draws single examples.
        seed: of the bootstrap.
        min_groups: a column with fewer says nothing about how recordings vary: no intervals.

    Returns:
        {'examples', 'median', 'median_ci95', 'mean', 'mean_ci95'}: the difference of the medians
        (what a box plot shows) and the mean of the differences; the intervals [low, high] or None.

    Raises:
        ResultsError: no common example, the data differ, or a column is not there.
    """
    check_same_data([first, second])
    ids = sorted(
        name
        for name in first.rows.keys() & second.rows.keys()
        if np.isfinite([first.rows[name][metric], second.rows[name][metric]]).all()
    )
    if not ids:
        raise results.ResultsError(
            f'{first.system} and {second.system} have no example of {first.data_set} in common'
        )
    value_N2 = np.array([[one.rows[name][metric] for one in (first, second)] for name in ids])
    weight_RN, groups = resample(
        len(ids),
        _clusters([first.rows[name] for name in ids], clusters),
        np.random.default_rng(seed),
    )
    median_R2 = np.stack([weighted_median(value_N, weight_RN) for value_N in value_N2.T], axis=1)
    mean_R = weight_RN @ (value_N2[:, 1] - value_N2[:, 0]) / weight_RN.sum(axis=1)
    medians = np.median(value_N2, axis=0)

    def interval(drawn_R):
        if groups < min_groups:
            return None
        return np.quantile(drawn_R, [0.025, 0.975]).tolist()

    return {
        'examples': len(ids),
        'median': medians[1] - medians[0],
        'mean': (value_N2[:, 1] - value_N2[:, 0]).mean(),
        'median_ci95': interval(median_R2[:, 1] - median_R2[:, 0]),
        'mean_ci95': interval(mean_R),
    }


def _clusters(rows, columns):
    for column in columns:
        if column not in rows[0]:
            raise results.ResultsError(
                f'no column {column!r} to draw groups by; there are {", ".join(rows[0])}'
            )
    return [[row[column] for row in rows] for column in columns]


def statistics_table(loaded, metric, names):
    """Markdown table of medians and quartiles, a row a system, a column a data set.

    Args:
        loaded: Results of all systems on all data sets.
        metric: key of their summaries' metrics.
        names: data sets, in the order of the columns.
    """
    rows = {'mixture': {one.data_set: one.summary.get('mixture', {}).get(metric) for one in loaded}}
    for one in loaded:
        rows.setdefault(one.system, {})[one.data_set] = one.summary['metrics'][metric]
        skipped = sum(one.summary.get('skipped', {}).values())
        if skipped:
            rows[one.system][one.data_set] = {**one.summary['metrics'][metric], 'skipped': skipped}
    lines = [
        _row([f'{metric} (dB), median [quartiles]', *names]),
        '|---|' + '---:|' * len(names),
    ]
    for system, found in rows.items():
        lines.append(_row([system, *(_cell(found.get(name)) for name in names)]))
    counts = {one.data_set: one.summary['examples'] for one in loaded[::-1]}
    lines.append(_row(['examples', *(counts[name] for name in names)]))
    return '\n'.join(lines)


def _row(cells):
    return '| ' + ' | '.join(markdown(cell, cell=True) for cell in cells) + ' |'


def _cell(value):
    if value is None or value['median'] is None:
        return '-'
    text = '{median:.2f}' if value['q25'] is None else '{median:.2f} [{q25:.2f}, {q75:.2f}]'
    if value.get('skipped'):
        text += ' ({skipped} of ' + str(value.get('count', 0) + value['skipped']) + ' not scored)'
    return text.format(**value)


def difference_table(models, metric, names, *, clusters):
    """Markdown table of the paired differences between all pairs of models.

    Args:
        models: for each model its Results, one a data set.
        metric: column of the rows.
        names: data sets, in the order of the Results.
        clusters: see `paired_difference`.
    """
    lines = [
        _row([f'{metric} (dB), difference of medians [95 %] / mean difference [95 %]', *names]),
        '|---|' + '---:|' * len(names),
    ]
    for first, second in itertools.combinations(models, 2):
        cells = []
        for a, b in zip(first, second):
            got = paired_difference(a, b, metric, clusters=clusters)
            cells.append(
                ' / '.join(
                    f'{got[name]:+.2f} ' + (f'[{ci95[0]:.2f}, {ci95[1]:.2f}]' if ci95 else '[-]')
                    for name, ci95 in (('median', got['median_ci95']), ('mean', got['mean_ci95']))
                )
            )
        lines.append(_row([f'{second[0].system} - {first[0].system}', *cells]))
    return '\n'.join(lines)


def class_table(models, metric, source):
    """Markdown table of medians for each class of a source, over all data sets.

    Args:
        models: for each model its Results, one a data set.
        metric: column of the rows.
        source: whose classes, 'foreground' or 'background'.
    """
    groups = {}
    for m, model in enumerate(models):
        for result in model:
            for row in result.rows.values():
                key = result.data_set, row[f'class_{source}']
                group = groups.setdefault(key, [[] for _ in models])
                if np.isfinite(row[metric]):
                    group[m].append(row[metric])
    lines = [
        _row(['data set', f'{source} class', 'examples', *(model[0].system for model in models)]),
        '|---|---|---:|' + '---:|' * len(models),
    ]
    for (name, label), values in sorted(groups.items()):
        cells = [f'{np.median(one):.2f}' if one else '-' for one in values]
        counts = sorted({len(one) for one in values})
        count = '-'.join(map(str, (counts[0], counts[-1])[: len(counts)]))
        lines.append(_row([name, label, count, *cells]))
    return '\n'.join(lines)


def compare(runs, *, folders=(), metrics=(), clusters=CLUSTERS, classes=True):
    """All tables of a comparison as one Markdown text.

    Args:
        runs: run folders; differences are the later's over the earlier's.
        folders: of evaluation/; those that all runs were evaluated on if empty.
        metrics: columns of examples.csv; those that the paper of the runs' task judges by if empty.
        clusters: see `paired_difference`; left out where a data set does not have them.
        classes: whether to add the tables by class, of the first metric.

    Raises:
        ResultsError: something is missing.
    """
    if not runs:
        raise results.ResultsError('give at least one run')
    runs = [os.path.expanduser(run) for run in runs]
    places = [os.path.realpath(run) for run in runs]
    for i, run in enumerate(runs):
        if places[i] in places[:i]:
            first = runs[places.index(places[i])]
            raise results.ResultsError(f'--runs={first},{run} is one run twice: name it once')
    left_out = []
    if not folders:
        found = [set(results.data_sets(run)) for run in runs]
        folders = sorted(set.intersection(*found))
        left_out = sorted(set.union(*found).difference(folders))
        if not folders:
            raise results.ResultsError(f'no data set that all of {", ".join(runs)} have results on')
    models = [[results.load(run, folder) for folder in folders] for run in runs]
    names = [one.data_set for one in models[0]]
    metrics = metrics or next(
        (
            names
            for names in METRICS
            if all(
                name in one.summary['metrics']
                for model in models
                for one in model
                for name in names
            )
        ),
        METRICS[0],
    )
    systems = [model[0].system for model in models]
    models = [
        [dataclasses.replace(one, system=f'{one.system} in {run}') for one in model]
        if systems.count(model[0].system) > 1
        else model
        for run, model in zip(runs, models)
    ]
    for beside in zip(*models):
        check_same_data(beside)
    for one in (one for model in models for one in model):
        missing = [metric for metric in metrics if metric not in one.summary['metrics']]
        if missing:
            raise results.ResultsError(
                f'{one.system} has no metric {", ".join(missing)} on {one.data_set}; it has'
                f' {", ".join(sorted(one.summary["metrics"]))}'
            )
    first_rows = next(iter(models[0][0].rows.values()), {})
    if clusters == CLUSTERS and not all(column in first_rows for column in CLUSTERS):
        clusters = ()
    upper, stale = [], []
    for folder, model in zip(folders, models[0]):
        passed_over = []
        for run in runs:  # the oracles are the same for all: of the first that has fitting ones
            found = [results.load(run, folder, oracle) for oracle in results.oracles(run, folder)]
            fitting = [one for one in found if results.made_by(one) == results.made_by(model)]
            if fitting:
                upper += fitting
                break
            passed_over += [f'{one.system} of {run} on {folder}' for one in found]
        else:
            stale += passed_over
    loaded = [one for model in models for one in model] + upper
    tables = [statistics_table(loaded, metric, names) for metric in metrics]
    if len(models) > 1:
        tables += [difference_table(models, metric, names, clusters=clusters) for metric in metrics]
    for source in ('foreground', 'background') if classes else ():
        if first_rows and all(
            f'class_{source}' in row
            for one in itertools.chain(*models)
            for row in one.rows.values()
        ):
            tables.append(
                f'{metrics[0]} (dB), median by class\n\n' + class_table(models, metrics[0], source)
            )
    if any('[-]' in table for table in tables):
        tables.append(
            f'[-]: fewer than {MIN_GROUPS} recordings (or examples) to draw from: no interval'
        )
    if left_out:
        tables.append(
            shown(f'left out, since not all runs were evaluated on them: {", ".join(left_out)}')
        )
    if stale:
        tables.append(
            shown(
                'left out, since they were made otherwise than the results of the models:'
                f' {", ".join(stale)}; make them again with --mode=evaluate --baselines'
            )
        )
    return '\n\n'.join(tables)


def main(argv=None):
    """Prints the comparison.

    Args:
        argv: the command line; None for this process's.

    Raises:
        SystemExit: a mistake of the user's, with status 2; its one line is printed.
    """
    parser = command_line.Parser('fgsep_jax.report.compare', __doc__)
    parser.add_argument(
        '--runs',
        metavar='DIR[,DIR...]',
        type=command_line.some(command_line.local_path),
        required=True,
        help='run folders',
    )
    parser.add_argument(
        '--data_sets',
        type=command_line.words,
        default=[],
        help='folders under evaluation/; default: those that all runs have',
    )
    parser.add_argument(
        '--metrics',
        type=command_line.words,
        default=[],
        help='columns of examples.csv; default: those that the paper of the runs judges by',
    )
    parser.add_argument(
        '--clusters',
        type=command_line.words,
        default=list(CLUSTERS),
        help='columns whose groups the bootstrap draws; empty: single examples',
    )
    parser.switch('--no_classes', 'leave out the tables by class')
    args, _ = parser.parse(argv)
    try:
        text = compare(
            args.runs,
            folders=args.data_sets,
            metrics=args.metrics,
            clusters=tuple(args.clusters),
            classes=not args.no_classes,
        )
    except (results.ResultsError, OSError) as error:
        raise command_line.refusal(error) from error
    command_line.show(text)


if __name__ == '__main__':
    main()
