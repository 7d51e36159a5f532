"""What groups of runs score, as cells; and the tables that every report has."""

import dataclasses

import numpy as np

from fgsep_jax.report import items, results, statistics

SYSTEMS = {'untrained': 'Untrained', 'ideal_ratio_mask': 'Ideal ratio mask',
           'ideal_mel_mask': 'Ideal mask, mel bands'}
RECORDINGS = ('recording_foreground', 'recording_background')
SUBSETS = ('c1', 'c2', 'c3', 'c4')


def metric_of(task):
    """The improvement that a task is judged by: its column, and its label with the unit."""
    return (('si_snri', 'SI-SNRi (dB)') if task == 'speech'
            else ('sdri_foreground', 'foreground SDRi (dB)'))


def test_sets(groups):
    """Names of the results on whole test sets, sorted; parts of one and other splits left out."""
    names = set()
    for group in groups:
        for run in group.runs:
            for name, systems in run.results.items():
                summary = next(iter(systems.values())).summary
                split, base = summary['split'], summary['data_set']
                if name == base or (split in SUBSETS and name == f'{base}-{split}'):
                    names.add(name)
    return sorted(names)


def contrast(wanted, metric, *, statistic='mean', by_recording=False):
    """A weighted sum of what groups of runs score.

    Args:
        wanted: list of (weight, Group, data set).
        metric: column of the rows.
        statistic: 'mean' or 'median'.
        by_recording: draw recordings, not examples.

    Returns:
        Estimate over the seeds that a group has on all data sets wanted of it and the examples
        that all groups share; None where there is none.
    """
    if not wanted or any(group is None for _, group, _ in wanted):
        return None
    sets, members = {}, {}
    for _, group, name in wanted:
        sets.setdefault(group, set()).add(name)
        members.setdefault(name, []).append(group)
    seeds = {group: [run for run in group.runs
                     if all('' in run.results.get(name, {}) for name in names)]
             for group, names in sets.items()}
    if not all(seeds.values()):
        return None
    value, labels = {}, {}
    try:
        for name, those in members.items():
            loaded = {group: [run.results[name][''] for run in seeds[group]] for group in those}
            everyone = [one for ones in loaded.values() for one in ones]
            ids, _ = statistics.scores(everyone, metric)
            for group, ones in loaded.items():
                value[group, name] = np.array([[one.rows[i][metric] for i in ids] for one in ones])
            labels[name] = _labels(everyone[0], ids, RECORDINGS if by_recording else ())
    except results.ResultsError:
        return None
    return statistics.contrast(
        [statistics.Term(weight, value[group, name], group, name, labels[name])
         for weight, group, name in wanted], statistic=statistic)


def level(group, data_set, metric, *, system='', **settings):
    """What one system of a group scores on a data set, as `contrast` gives it.

    An oracle has no seed: the first of its results stands for all.
    """
    if not system:
        return contrast([(1, group, data_set)], metric, **settings)
    loaded = group.results(data_set, system)[:1]
    if not loaded:
        return None
    try:
        ids, value_SN = statistics.scores(loaded, metric)
    except results.ResultsError:
        return None
    clusters = RECORDINGS if settings.get('by_recording') else ()
    return dataclasses.replace(
        statistics.summarize(value_SN, statistic=settings.get('statistic', 'mean'),
                             clusters=_labels(loaded[0], ids, clusters)), note='')


def _labels(result, ids, columns):
    return tuple(np.array([result.rows[i][column] for i in ids]) for column in columns
                 if column in result.rows[ids[0]])


def oracle_cell(groups, data_set, metric, system, **settings):
    """Score of an oracle, from the first group that has it."""
    return next((cell for group in groups if (
        cell := level(group, data_set, metric, system=system, **settings)) is not None), None)


def parameters(group):
    """Number of parameters as the evaluations tell, or None."""
    for run in group.runs:
        for systems in run.results.values():
            for result in systems.values():
                return result.summary['parameters']
    return None


def runs_table(groups):
    """What was found: a row a group of runs."""
    columns = tuple(items.Column(label, key, 0) for label, key in (
        ('Runs', 'runs'), ('Preset', 'preset'), ('Parameters', 'parameters'), ('Seeds', 'seeds'),
        ('Steps', 'steps'), ('Trained on', 'trained_on'), ('Evaluated on', 'evaluated_on')))
    rows = []
    for group in groups:
        steps = [int(run.curves['train', 'loss'][0][-1]) for run in group.runs
                 if ('train', 'loss') in run.curves]
        names = sorted({name for run in group.runs for name in run.results})
        rows.append([group.label, group.config['preset'], parameters(group),
                     ', '.join(str(run.seed) for run in group.runs), max(steps, default=None),
                     group.trained_on, ', '.join(names) or None])
    return items.Table('runs', 'The runs', columns, rows)


def worst_ten(groups, data_set):
    """The ten examples on which the best group of runs improves least, or None."""
    metric, label = metric_of(groups[0].task)
    scored = [(cell.value, group) for group in groups
              if (cell := level(group, data_set, metric)) is not None]
    if not scored:
        return None
    best = max(scored, key=lambda pair: pair[0])[1]
    ids, value_SN = statistics.scores(best.results(data_set), metric)
    score = dict(zip(ids, value_SN.mean(axis=0)))
    others = [result for _, group in scored if group is not best
              for result in group.results(data_set)]
    rows = []
    for name in sorted(score, key=score.get)[:10]:
        row = best.results(data_set)[0].rows[name]
        of_others = [result.rows[name][metric] for result in others if name in result.rows]
        rows.append([name, row['snr_db'], row['seconds'], float(score[name]),
                     float(np.mean(of_others)) if of_others else None])
    return items.Table(
        f'worst_ten-{data_set}', f'The worst ten examples of {best.label}, tested on {data_set}',
        (items.Column('Example', 'example'), items.Column('Input SNR (dB)', 'snr_db'),
         items.Column('Length (s)', 'seconds'), items.Column(label, metric),
         items.Column('All others, mean (dB)', 'others')), rows,
        'Mean over seeds. The input SNR is the level of the first source over the second.')
