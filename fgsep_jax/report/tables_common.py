"""What groups of runs score, as cells; and the tables that every report has."""

import dataclasses

import numpy as np

from fgsep_jax.report import items, results, statistics

# IRM: ideal ratio mask.
SYSTEMS = {
    'untrained': 'Untrained',
    'ideal_ratio_mask': 'IRM, STFT bins',
    'ideal_mel_mask': 'IRM, mel bands',
}
RECORDINGS = ('recording_foreground', 'recording_background')
SUBSETS = ('c1', 'c2', 'c3', 'c4')


def metric_of(task):
    """The improvement that a task is judged by: its column, and its label with the unit."""
    return (
        ('si_snri', 'SI-SNRi (dB)')
        if task == 'speech'
        else ('sdri_foreground', 'foreground SDRi (dB)')
    )


def test_sets(groups):
    """Names of the results on whole test sets, sorted; parts of one and other splits left out."""
    return sorted(_whole_splits(groups)[0])


def other_splits(groups):
    """Names of the results on other whole splits, such as validation, sorted."""
    return sorted(_whole_splits(groups)[1])


def _whole_splits(groups):
    """(names of the results on test sets, on other splits), those on parts of one left out."""
    tests, others = set(), set()
    for group in groups:
        for run in group.runs:
            for name, systems in run.results.items():
                summary = next(iter(systems.values())).summary
                split, base = summary['split'], summary['data_set']
                if name == base or (split in SUBSETS and name == f'{base}-{split}'):
                    tests.add(name)
                elif name == f'{base}-{split}':
                    others.add(name)
    return tests, others


def statistic_of(task):
    """'mean' or 'median': what a task's scores are summed up by, as its paper does."""
    return 'mean' if task == 'speech' else 'median'


def clusters_of(rows):
    """Who or what each example holds, for `statistics.Term`: its speakers, or its recordings.

    Args:
        rows: of the examples.csv, in order.
    """
    if all(column in rows[0] for column in RECORDINGS):
        return tuple(np.array([row[column] for row in rows]) for column in RECORDINGS)
    speakers = [row.get('sources', []) for row in rows]
    return (np.array(speakers),) if {len(one) for one in speakers} == {2} else ()


def contrast(wanted, metric):
    """A weighted sum of what groups of runs score.

    Args:
        wanted: list of (weight, Group, data set), Groups of one task.
        metric: column of the rows.

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
    seeds = {
        group: [run for run in group.runs if all('' in run.results.get(name, {}) for name in names)]
        for group, names in sets.items()
    }
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
            labels[name] = clusters_of([everyone[0].rows[i] for i in ids])
    except results.ResultsError:
        return None
    return statistics.contrast(
        [
            statistics.Term(weight, value[group, name], group, name, labels[name])
            for weight, group, name in wanted
        ],
        statistic=statistic_of(wanted[0][1].task),
    )


def level(group, data_set, metric, *, system='', choose=None):
    """What one system of a group scores on a data set.

    Args:
        group: Group.
        data_set: name of the results.
        metric: column of the rows.
        system: '' for the model, else the name of a baseline. An oracle has no seed: the first of
            its results stands for all; of untrained models too, which the note then says.
        choose: function that says of a row whether it counts; None for all.

    Returns:
        Estimate, or None.
    """
    loaded = group.results(data_set, system)[: 1 if system else None]
    try:
        ids, value_SN = statistics.scores(loaded, metric)
    except results.ResultsError:
        return None
    rows = [loaded[0].rows[name] for name in ids]
    kept = [i for i, row in enumerate(rows) if choose is None or choose(row)]
    if not kept:
        return None
    found = statistics.summarize(
        value_SN[:, kept],
        statistic=statistic_of(group.task),
        clusters=clusters_of([rows[i] for i in kept]),
    )
    if system.startswith('ideal_') and found.note == 'one seed':
        return dataclasses.replace(found, note='')
    return found


def seeds_on(group, data_sets):
    """How many seeds of a group have results on some data sets: a number, or '2 to 3'."""
    return _range([len(group.results(name)) for name in data_sets])


def parameters(group):
    """Number of parameters as the evaluations tell, or None."""
    for run in group.runs:
        for systems in run.results.values():
            for result in systems.values():
                return result.summary['parameters']
    return None


def runs_table(groups):
    """What was found: a row a group of runs."""
    columns = tuple(
        items.Column(label, key, 0)
        for label, key in (
            ('Runs', 'runs'),
            ('Preset', 'preset'),
            ('Parameters', 'parameters'),
            ('Seed numbers', 'seeds'),
            ('Steps trained', 'steps'),
            ('Evaluated at step', 'evaluated_at'),
            ('Trained on', 'trained_on'),
            ('Evaluated on', 'evaluated_on'),
        )
    )
    rows = []
    for group in groups:
        steps = [
            int(max(step_N[-1] for step_N, _ in run.curves.values()))
            for run in group.runs
            if run.curves
        ]
        at = [
            result[''].summary['step']
            for run in group.runs
            for result in run.results.values()
            if '' in result
        ]
        names = sorted({name for run in group.runs for name in run.results})
        rows.append(
            [
                group.label,
                group.config['preset'],
                parameters(group),
                ', '.join(str(run.seed) for run in group.runs),
                _range(steps),
                _range(at),
                group.trained_on,
                ', '.join(names) or None,
            ]
        )
    return items.Table(
        'runs',
        'The runs',
        columns,
        rows,
        'Evaluated is the checkpoint with the lowest validation loss.',
    )


SCORES = {
    'speech': (('si_snri', 'SI-SNRi (dB)'), ('sdri', 'SDRi (dB)')),
    'foreground': tuple(
        (f'{metric}_foreground', f'foreground {label} (dB)')
        for metric, label in (('sdri', 'SDRi'), ('siri', 'SIRi'), ('sar', 'SAR'))
    ),
}


def split_table(groups, data_set):
    """What all groups and baselines score on one split.

    Args:
        groups: Groups of one task.
        data_set: name of the results.
    """
    task = groups[0].task
    shown = [(group.label, group, '') for group in groups if group.results(data_set)]
    for system, label in SYSTEMS.items():
        owner = next((group for group in groups if group.results(data_set, system)), None)
        if owner:
            of = f' {owner.model}' if system == 'untrained' else ''
            shown.append((label + of, owner, system))
    rows = [
        [
            label,
            '' if system else seeds_on(group, [data_set]),
            *(level(group, data_set, metric, system=system) for metric, _ in SCORES[task]),
        ]
        for label, group, system in shown
    ]
    return items.Table(
        f'scores-{data_set}',
        f'Scores on {data_set}, {statistic_of(task)}',
        (
            items.Column('System', 'system'),
            items.Column('Seeds', 'seeds', 0),
            *(items.Column(label, metric) for metric, label in SCORES[task]),
        ),
        rows,
        'IRM: ideal ratio mask.',
    )


def _range(numbers):
    """'750 to 1,500', one number where all are the same, None without any."""
    ends = sorted({min(numbers), max(numbers)}) if numbers else []
    return ' to '.join(f'{one:,}' for one in ends) if len(ends) > 1 else next(iter(ends), None)


def worst_ten(groups, data_set):
    """The ten examples on which the best group of runs improves least, or None."""
    metric, label = metric_of(groups[0].task)
    scored = [
        (cell.value, group)
        for group in groups
        if (cell := level(group, data_set, metric)) is not None
    ]
    if not scored:
        return None
    best = max(scored, key=lambda pair: pair[0])[1]
    ids, value_SN = statistics.scores(best.results(data_set), metric)
    score = dict(zip(ids, value_SN.mean(axis=0)))
    others = [
        result for _, group in scored if group is not best for result in group.results(data_set)
    ]
    rows = []
    for name in sorted(score, key=score.get)[:10]:
        row = best.results(data_set)[0].rows[name]
        of_others = [result.rows[name][metric] for result in others if name in result.rows]
        rows.append(
            [
                name,
                row['snr_db'],
                row['seconds'],
                float(score[name]),
                float(np.mean(of_others)) if of_others else None,
            ]
        )
    return items.Table(
        f'worst_ten-{data_set}',
        f'The worst ten examples of {best.label}, tested on {data_set}',
        (
            items.Column('Example', 'example'),
            items.Column('Input SNR (dB)', 'snr_db'),
            items.Column('Length (s)', 'seconds'),
            items.Column(label, metric),
            items.Column('Other systems, mean (dB)', 'others'),
        ),
        rows,
        'Of the system with the highest score on this test set, mean over its seeds. The input SNR'
        ' is the level of the '
        + {
            'speech': 'first speaker over the second.',
            'foreground': 'foreground over the background.',
        }[groups[0].task],
    )
