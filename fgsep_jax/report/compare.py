"""Compares runs on the same examples: medians and quartiles, and paired differences.

    python -m fgsep_jax.report.compare --runs=runs/m1,runs/m2 [--metrics=sdri_foreground,...]
"""

import argparse
import dataclasses
import itertools
import sys

import numpy as np

from fgsep_jax.report import results

RESAMPLINGS = 2000


def paired_difference(first, second, metric, *, cluster='', seed=0):
    """How much higher the second system scores, on the examples that both have scores for.

    The intervals are percentile bootstraps. Mixtures that share a recording are not independent:
    with `cluster` whole groups of examples are drawn.

    Args:
        first: Result.
        second: Result on the same data.
        metric: column of the rows.
        cluster: column that names the group of an example; '' for none.
        seed: of the bootstrap.

    Returns:
        {'examples', 'median', 'median_ci95', 'mean', 'mean_ci95'}: the difference of the medians
        (what a box plot shows) and the mean of the differences.

    Raises:
        ResultsError: no common example, or the data differ.
    """
    fingerprints = [one.summary.get('data_fingerprint') for one in (first, second)]
    if fingerprints[0] != fingerprints[1]:
        raise results.ResultsError(
            f'{first.system} and {second.system} were evaluated on different data called'
            f' {first.data_set}; evaluate both on the same')
    ids = sorted(name for name in first.rows.keys() & second.rows.keys()
                 if np.isfinite([first.rows[name][metric], second.rows[name][metric]]).all())
    if not ids:
        raise results.ResultsError(f'{first.system} and {second.system} have no example of'
                                   f' {first.data_set} in common')
    pairs_N2 = np.array([[one.rows[name][metric] for one in (first, second)] for name in ids])
    labels = [first.rows[name].get(cluster, name) for name in ids]
    _, group_N = np.unique(labels, return_inverse=True)
    members = [np.flatnonzero(group_N == g) for g in range(group_N.max() + 1)]
    rng = np.random.default_rng(seed)
    drawn = [_differences(pairs_N2[np.concatenate([members[g] for g in rng.integers(
        len(members), size=len(members))])]) for _ in range(RESAMPLINGS)]
    median, mean = _differences(pairs_N2)
    (low_median, low_mean), (high_median, high_mean) = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {'examples': len(ids), 'median': median, 'mean': mean,
            'median_ci95': [low_median, high_median], 'mean_ci95': [low_mean, high_mean]}


def _differences(pairs_N2):
    first, second = np.median(pairs_N2, axis=0)
    return second - first, (pairs_N2[:, 1] - pairs_N2[:, 0]).mean()


def statistics_table(loaded, metric, names):
    """Markdown table of medians and quartiles, a row a system, a column a data set."""
    rows = {'mixture': {one.data_set: one.summary['mixture'][metric] for one in loaded}}
    for one in loaded:
        rows.setdefault(one.system, {})[one.data_set] = one.summary['metrics'][metric]
    lines = [f'| {metric} (dB), median [quartiles] | ' + ' | '.join(names) + ' |',
             '|---|' + '---:|' * len(names)]
    for system, found in rows.items():
        cells = [_cell(found.get(name)) for name in names]
        lines.append(f'| {system} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _cell(value):
    if value is None or value['median'] is None:
        return '-'
    if value['q25'] is None:
        return '{median:.2f}'.format(**value)
    return '{median:.2f} [{q25:.2f}, {q75:.2f}]'.format(**value)


def difference_table(models, metric, names, *, cluster):
    """Markdown table of the paired differences between all pairs of models."""
    lines = [f'| {metric} (dB), difference of medians [95 %] / mean difference [95 %] | '
             + ' | '.join(names) + ' |', '|---|' + '---:|' * len(names)]
    for first, second in itertools.combinations(models, 2):
        cells = []
        for a, b in zip(first, second):
            got = paired_difference(a, b, metric, cluster=cluster)
            cells.append(
                '{median:+.2f} [{0:.2f}, {1:.2f}] / {mean:+.2f} [{2:.2f}, {3:.2f}]'.format(
                    *got['median_ci95'], *got['mean_ci95'], **got))
        lines.append(f'| {second[0].system} - {first[0].system} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def class_table(models, metric, source):
    """Markdown table of medians for each class of a source, over all data sets."""
    groups = {}
    for m, model in enumerate(models):
        for result in model:
            for row in result.rows.values():
                key = result.data_set, row[f'class_{source}']
                groups.setdefault(key, [[] for _ in models])[m].append(row[metric])
    lines = [f'| data set | {source} class | examples | '
             + ' | '.join(model[0].system for model in models) + ' |',
             '|---|---|---:|' + '---:|' * len(models)]
    for (name, label), values in sorted(groups.items()):
        cells = [f'{np.median(one):.2f}' if one else '-' for one in values]
        lines.append(f'| {name} | {label} | {len(values[0])} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def compare(runs, *, names=(), metrics=('sdri_foreground', 'siri_foreground', 'sar_foreground'),
            cluster='recording_foreground', classes=True):
    """All tables of a comparison as one Markdown text.

    Args:
        runs: run folders; differences are the later's over the earlier's.
        names: data sets; those that all runs were evaluated on if empty.
        metrics: columns of examples.csv.
        cluster: see `paired_difference`.
        classes: whether to add the tables by class, of the first metric.

    Raises:
        ResultsError: something is missing.
    """
    if not names:
        common = set.intersection(*(set(results.data_sets(run)) for run in runs))
        names = sorted(common)
        if not names:
            raise results.ResultsError(f"no data set that all of {', '.join(runs)} have results on")
    models = [[results.load(run, name) for name in names] for run in runs]
    systems = [model[0].system for model in models]
    models = [[dataclasses.replace(one, system=f'{one.system} in {run}') for one in model]
              if systems.count(model[0].system) > 1 else model for run, model in zip(runs, models)]
    missing = [metric for metric in metrics if metric not in models[0][0].summary['metrics']]
    if missing:
        raise results.ResultsError(
            f"no metric {', '.join(missing)}; there are"
            f" {', '.join(sorted(models[0][0].summary['metrics']))}")
    upper = [results.load(runs[0], name, oracle) for name in names
             for oracle in results.oracles(runs[0], name)]
    loaded = [one for model in models for one in model] + upper
    tables = [statistics_table(loaded, metric, names) for metric in metrics]
    if len(models) > 1:
        tables += [difference_table(models, metric, names, cluster=cluster) for metric in metrics]
    for source in ('foreground', 'background') if classes else ():
        if f'class_{source}' in next(iter(models[0][0].rows.values()), {}):
            tables.append(f'{metrics[0]} (dB), median by class\n\n'
                          + class_table(models, metrics[0], source))
    return '\n\n'.join(tables)


def main(argv=None):
    """Prints the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    def words(text):
        return [word for word in text.split(',') if word]

    parser.add_argument('--runs', type=words, required=True, help='run folders')
    parser.add_argument('--data_sets', type=words, default=[],
                        help='folders under evaluation/; default: those that all runs have')
    parser.add_argument('--metrics', type=words,
                        default=['sdri_foreground', 'siri_foreground', 'sar_foreground'])
    parser.add_argument('--cluster', default='recording_foreground',
                        help='column whose groups the bootstrap draws; empty: single examples')
    parser.add_argument('--no_classes', action='store_true', help='leave out the tables by class')
    args = parser.parse_args(argv)
    try:
        print(compare(args.runs, names=args.data_sets, metrics=args.metrics,
                      cluster=args.cluster, classes=not args.no_classes))
    except results.ResultsError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
