"""What systems score, as estimates; and the tables and figures that every report has."""

import functools

import numpy as np

from fgsep_jax import config as config_lib, files
from fgsep_jax.names import counted
from fgsep_jax.report import figures, intervals, published
from fgsep_jax.report.parts import Figure, Table, cell_text, heads
from fgsep_jax.report.runs import SYSTEMS
from fgsep_jax.report.scores import FREE, ROLES, STATISTIC, SUBSETS, short_labels

# What a task is judged by, as its paper does; the first above all: {(metric, source): label}.
SCORES = {
    'speech': {('si_snri', ''): 'SI-SNRi (dB)', ('sdri', ''): 'SDRi (dB)'},
    'foreground': {
        ('sdri', 'foreground'): 'foreground SDRi (dB)',
        ('siri', 'foreground'): 'foreground SIRi (dB)',
        ('sar', 'foreground'): 'foreground SAR (dB)',
    },
}
BINS = 5
MEASURES = {
    'si_snr': 'SI-SNR (dB)',
    'snr': 'SNR (dB)',
    'mel_snr': 'SNR on mel bands (dB)',
    'stft_snr': 'SNR on STFT bins (dB)',
    'loss': 'loss',
}
PAIRS = {('F', 'F'): 'female, female', ('F', 'M'): 'female, male', ('M', 'M'): 'male, male'}


def main_metric(task):
    """((metric, source), label with the unit) that a task is judged by."""
    return next(iter(SCORES[task].items()))


def key(metric):
    """Name of a metric of one source, or of the mean over them: 'sdri_foreground', 'si_snri'."""
    return '_'.join(filter(None, metric))


def seeds_on(results, group, data_sets):
    """How many seeds of a group have results on some data sets: a number, or '2 to 3'; None for no
    data set."""
    return _range([results.part(group, name).seed.nunique() for name in data_sets])


def parameters(results, group):
    """Number of parameters as the evaluations tell, or None."""
    rows = results.each[results.each.group == group]
    return int(rows.parameters.iloc[0]) if len(rows) else None


def _range(numbers):
    """'750 to 1,500', one number where all are the same, None without any."""
    ends = sorted({min(numbers), max(numbers)}) if len(numbers) else []
    return ' to '.join(f'{end:,}' for end in ends) if len(ends) > 1 else next(iter(ends), None)


def runs_table(results):
    """A row a group of runs: what was trained, and what evaluated."""
    columns = {'runs': 'Runs'} | heads('preset parameters', {'seeds': 'Seed numbers'})
    columns |= heads('steps evaluated_at trained_on evaluated_on')
    rows = []
    for group in results.groups:
        scores = results.each[results.each.group == group.group]
        rows.append(
            [
                group.label,
                group.preset,
                parameters(results, group.group),
                ', '.join(str(run.seed) for run in results.runs_of(group.group)),
                _range(_trained(results, group.group)),
                _range([int(step) for step in scores[scores.system == 'model'].step.unique()]),
                group.trained_on,
                ', '.join(sorted(scores.data_set.unique())) or None,
            ]
        )
    note = 'Evaluated is the checkpoint with the lowest validation loss.'
    return Table('runs', 'The runs', columns, rows, note)


def judged(results, claim, number, where, terms, kind, metric):
    """A row of a table of claims: the claim, the paper's number, where, our Estimate, the verdict.

    Args:
      results, terms, metric: as of `Results.difference`.
      claim, number, where: texts.
      kind: as of `published.verdict`.
    """
    estimate = results.difference(terms, metric)
    verdict = published.verdict(estimate, kind, reached(results, terms))
    return [claim, number, where, estimate, verdict]


def claims_table(name, title, columns, rows, note, several=()):
    """A Table of claims.

    Args:
      name, title, note: of the table.
      columns: {key: heading} between the claim and the verdict.
      rows: as of `judged`.
      several: labels of groups that are not compared, since more than one fits.
    """
    if several:
        note += f' Not compared, since several fit: {"; ".join(sorted(several))}.'
    columns = heads('claim', columns) | heads('verdict')
    return Table(name, title, columns, rows, published.NOTE + note)


def reached(results, terms):
    """What the models of a comparison are beside the paper's, for a verdict to say.

    Args:
      results: Results.
      terms: as of `Results.difference`.

    Returns:
      'at 1/40 of the size, with 2 of 4 layers, 2 of 3 repeats, after 7,500 steps of 4 x 2 s,
      trained with remix and model.norm=cln'; '' where nothing is known.
    """
    numbers = {group for _, group, _ in terms}
    shares, fewer, steps, batches, recipe = [], set(), [], set(), set()
    for group in results.groups:
        if group.group not in numbers or group.model not in published.FULL:
            continue
        if ours := parameters(results, group.group):
            shares.append(published.FULL[group.model][0] / ours)
        paper, sized = _of_paper(group.config['experiment'])
        said = {key for key in paper if not key.startswith(UNSAID)} - sized
        said -= config_lib.without_effect({**paper, **group.config}).keys()
        for key, full in paper.items():
            has = group.config.get(key, full)
            if key in PARTS and isinstance(has, int) and has < full:
                fewer.add(f'{has} of {full} {PARTS[key]}')
            elif has != full and key in said:
                recipe.add(RECIPE.get(key, f'{key}={has}'))
        steps += _trained(results, group.group)
        seconds = group.config.get('data.segment_seconds')
        batches.add(f'{group.config.get("data.batch_size")} x {seconds:g} s')
    parts = [_share(shares)] if shares else []
    if fewer:
        parts.append(f'with {", ".join(sorted(fewer, key=lambda text: text.split()[::-1]))}')
    if steps:
        parts.append(f'after {cell_text(_range(steps))} steps of {" or ".join(sorted(batches))}')
    if recipe:
        parts.append(f'trained with {" and ".join(sorted(recipe))}')
    return ', '.join(parts)


@functools.cache
def _of_paper(experiment):
    """{key: value} of an experiment as the paper has it, and the keys that its sizes differ in."""
    paper, *others = (
        files.flatten(config_lib.load(f'{experiment}:{size}').to_dict())
        for size in config_lib.SIZES
    )
    return paper, {key for other in others for key in paper if other.get(key) != paper[key]}


def _share(shares):
    ends = sorted({round(min(shares), 1), round(max(shares), 1)})
    if ends[0] >= 0.9 and ends[-1] <= 1.1:
        return 'at full size'
    written = [f'1/{end:.0f}' if end >= 2 else f'{1 / end:.1f}' for end in ends]
    return f'at {" to ".join(dict.fromkeys(written))} of the size'


def _trained(results, group):
    """Steps that each run of a group was trained, where its log tells."""
    return [
        int(max(step_N[-1] for step_N, _ in run.curves.values()))
        for run in results.runs_of(group)
        if run.curves
    ]


# What a model may have fewer of than the paper's.
PARTS = {
    'model.encoder.layers': 'layers',
    'model.layers': 'layers',
    'model.separator.blocks': 'blocks',
    'model.separator.repeats': 'repeats',
}
# What is not as in the papers' trainings, in a word; else it is said as KEY=VALUE.
RECIPE = {
    'data.remix': 'remix',
    'data.speed': 'other speeds',
    'training.ema': 'averaged weights',
    'training.schedule': 'a cosine schedule',
    'training.warmup_steps': 'a warm-up',
    'training.init_from': 'weights of another',
    'training.weight_decay': 'weight decay',
    'training.learning_rate': 'another learning rate',
    'training.clip_norm': 'another clipping',
    'training.plateau_factor': 'another plateau',
    'training.plateau_epochs': 'another plateau',
    'loss.clip_db': 'a clipped loss',
}
# What is not said of a training: what is of the run alone, or takes time or memory alone; what a
# verdict says as sizes, steps and batches; the objective, by which runs are picked.
UNSAID = (
    *FREE,
    *('experiment', 'preset', 'evaluation.'),
    *('model.separator.depthwise', 'model.separator.remat'),
    *('training.accumulate', 'training.shard_optimizer', 'training.max_nonfinite_steps'),
    *('training.epochs', 'training.minutes', 'training.patience_epochs'),
    *('data.batch_size', 'data.segment_seconds'),
    *('loss.name', 'loss.power_law_weight'),
)


def owners(results, data_sets):
    """{system: number of the first group that has its results on some data sets}, and the set of
    the groups that have the model's own."""
    rows = results.each[results.each.data_set.isin(data_sets)]
    return rows.groupby('system').group.min(), set(rows.group[rows.system == 'model'])


def systems_on(results, data_sets):
    """[(label, group's number, system)] of all models and baselines that have results on some data
    sets; a baseline of the first group that has it."""
    first, models = owners(results, data_sets)
    shown = [(row.label, row.group, 'model') for row in results.groups if row.group in models]
    model_of = {row.group: row.model for row in results.groups}
    for system, label in SYSTEMS.items():
        if system in first:
            of = f' {model_of[first[system]]}' if system == 'untrained' else ''
            shown.append((label + of, first[system], system))
    return shown


def scores_table(results, data_set):
    """What all models and baselines score on one split.

    Args:
      results: Results of one task.
      data_set: name of the results.
    """
    scores = SCORES[results.task]
    rows = [
        [
            label,
            seeds_on(results, group, [data_set]) if system == 'model' else '',
            *(results.score(group, data_set, metric, system=system) for metric in scores),
        ]
        for label, group, system in systems_on(results, [data_set])
    ]
    columns = heads('system seeds', {key(metric): label for metric, label in scores.items()})
    title = f'Scores on {data_set}, {STATISTIC[results.task]}'
    return Table(f'scores-{data_set}', title, columns, rows, 'IRM: ideal ratio mask.')


def worst_ten(results, data_set):
    """The ten examples on which the best group of runs improves least, or None."""
    metric, label = main_metric(results.task)
    scored = [
        (estimate.value, group)
        for group in results.groups
        if (estimate := results.score(group.group, data_set, metric)) is not None
    ]
    if not scored:
        return None
    best = max(scored, key=lambda pair: pair[0])[1]
    value = results.matrix(best.group, data_set, metric).dropna(axis=1)
    mean_N = value.to_numpy().mean(axis=0)
    worst_N = np.argsort(mean_N, kind='stable')[:10]
    others = [
        results.matrix(other.group, data_set, metric) for _, other in scored if other is not best
    ]
    examples = results.examples(best.group, data_set)
    more = 'speaker' in examples and len(examples['speaker'].columns) > 2
    rows = []
    for name, mean in zip(value.columns[worst_N], mean_N[worst_N]):
        about = [float(examples[column, ''][name]) for column in ('snr_db', 'seconds')]
        of_others = [each for matrix in others if name in matrix for each in matrix[name]]
        of_others = float(np.mean(of_others)) if of_others else None
        rows.append([name, *about, float(mean), of_others])
    return Table(
        f'worst_ten-{data_set}',
        f'The worst ten examples of {best.label}, tested on {data_set}',
        {
            'example': 'Example',
            'snr_db': 'Input SNR (dB)',
            'seconds': 'Length (s)',
            key(metric): label,
            'others': 'Other systems, mean (dB)',
        },
        rows,
        'Of the system with the highest score on this test set, mean over its seeds. The input SNR'
        ' is the level of the '
        + {
            'speech': f'first speaker over the {"others" if more else "second"}.',
            'foreground': 'foreground over the background.',
        }[results.task],
    )


@figures.styled
def curves(results):
    """Training and validation over steps, a column a training set; None without any log."""
    logs = {
        group.group: [run.curves for run in results.runs_of(group.group)]
        for group in results.groups
    }
    measured = {
        group: {name for curves in each for _, name in curves if name in MEASURES}
        for group, each in logs.items()
    }
    measured = {group: names for group, names in measured.items() if names}
    # What all of them have, so that an axis is one thing.
    common = set.intersection(*measured.values()) if measured else ()
    if not common:
        return None
    results = results.where(results.runs.group.isin(measured))
    name = next(name for name in MEASURES if name in common)
    measure = MEASURES[name]
    sets = sorted(results.runs.trained_on.unique())
    figure, axes = figures.axes(
        2, len(sets), width=max(4.0 * len(sets), 7.0), height=5.2, sharex='col', sharey='row'
    )
    labels, handles = short_labels(results, panels=True), {}
    drawn = figures.styles([(group.model, labels[group.group]) for group in results.groups])
    for i, kind in enumerate(('train', 'validation')):
        for j, data_set in enumerate(sets):
            ax = axes[i, j]
            for group in results.groups:
                label = labels[group.group]
                if group.trained_on == data_set:
                    line = _curve(ax, logs[group.group], (kind, name), drawn[label])
                    if line is not None:
                        handles.setdefault(label, line)
            ax.set_title(f'{kind}, on {figures.short(data_set)}')
            if i:
                ax.set_xlabel('step')
            if not j:
                ax.set_ylabel(measure)
    figures.legend_below(figure, handles)
    return Figure(
        f'curves_{results.task}',
        'Training curves',
        f'{measure} of training batches and of the validation set over steps, for'
        f' {counted(len(measured), "group")} of runs.',
        figure,
        'Lines are means over seeds, bands reach from the lowest seed to the highest.',
    )


def _curve(ax, logs, key, style):
    points = [curves[key] for curves in logs if key in curves]
    if not points:
        return None
    # Seeds log at the same steps, unless one is not finished.
    step_N = np.unique(np.concatenate([steps for steps, _ in points]))
    value_SN = np.full((len(points), len(step_N)), np.nan)
    for row_N, (steps, values) in zip(value_SN, points):
        row_N[np.searchsorted(step_N, steps)] = values
    mean_N = np.nanmean(value_SN, axis=0)
    low_N, high_N = np.nanmin(value_SN, axis=0), np.nanmax(value_SN, axis=0)
    shown = figures.extremes(mean_N, low_N, high_N)
    step_N, mean_N, low_N, high_N = (each[shown] for each in (step_N, mean_N, low_N, high_N))
    if len(points) > 1:
        ax.fill_between(step_N, low_N, high_N, color=style['color'], alpha=0.15, linewidth=0)
    # A line of one point is nothing to see.
    marker = {'marker': 'o', 'markersize': 3} if key[0] == 'validation' or len(step_N) == 1 else {}
    return ax.plot(step_N, mean_N, color=style['color'], linestyle=style['linestyle'], **marker)[0]


def by_input_snr(results, data_set):
    """Improvement against the level of the sources; None where it does not vary."""
    if results.task == 'speech':  # either speaker may be called the first
        label = 'level difference of the speakers (dB)'
        return _binned(results, data_set, 'snr_db', label, 'how much louder one speaker is')
    return _binned(results, data_set, 'snr_db', 'input SNR (dB)', 'the input SNR')


def by_length(results, data_set):
    """Improvement against length; None where all are as long."""
    return _binned(results, data_set, 'seconds', 'length (s)', 'length')


def shown_on(results, data_set):
    """The Results of the groups that were trained on a data set and have results on it; where there
    are none, of all that have results on it; None without any."""
    _, numbers = owners(results, [data_set])
    sets = results.runs.trained_on.map(lambda on: [on, *(f'{on}-{name}' for name in SUBSETS)])
    there = results.runs.group.isin(numbers)
    own = there & sets.map(lambda names: data_set in names)
    return results.where(own if own.any() else there) if numbers else None


def _points(ax, results, data_set, parts, where, *, across=False):
    """Draws what each group scores on some parts of a data set's examples.

    Args:
      ax: matplotlib Axes.
      results: Results of the groups.
      data_set: name.
      parts: {group's number: ids of the examples of each part}.
      where: function of the group's and the part's place that gives the point's on the axis.
      across: whether that axis is the vertical one, and the points stand alone.

    Returns:
      {label: artist} of the groups that have any.
    """
    metric, labels, handles = main_metric(results.task)[0], short_labels(results), {}
    styles = figures.styles([(group.model, labels[group.group]) for group in results.groups])
    for g, group in enumerate(results.groups):
        style, points = styles[labels[group.group]], []
        for k, ids in enumerate(parts[group.group]):
            estimate = results.score(group.group, data_set, metric, ids=ids)
            if estimate is None:
                continue
            value, low, high, _ = estimate
            ends = [[0], [0]] if low is None else [[value - low], [high - value]]
            points.append((value, where(g, k)) if across else (where(g, k), value))
            bars = {'xerr' if across else 'yerr': ends, 'elinewidth': 1.0, 'capsize': 2}
            ax.errorbar(*points[-1], **bars, color=style['color'])
        if points:
            kind = {'marker': 'o', 'markersize': 4, 'linestyle': style['linestyle']}
            if across:
                kind = {'marker': style['marker'], 'markersize': 4.5, 'linestyle': 'none'}
            (handles[labels[group.group]],) = ax.plot(*zip(*points), color=style['color'], **kind)
    return handles


@figures.styled
def _binned(results, data_set, column, label, words):
    results = shown_on(results, data_set)
    if results is None:
        return None
    label_y, groups = main_metric(results.task)[1], results.groups
    fold = abs if (results.task, column) == ('speech', 'snr_db') else (lambda value: value)
    value_N = {
        group.group: fold(results.examples(group.group, data_set)[column, '']) for group in groups
    }
    first_N = value_N[groups[0].group].to_numpy()
    edges = np.unique(np.quantile(first_N, np.linspace(0, 1, BINS + 1))) if len(first_N) else []
    if len(edges) < 3 or len(first_N) < BINS * intervals.MIN_GROUPS:
        return None
    ends = [*edges[:-1], np.nextafter(edges[-1], np.inf)]  # the last bin holds its upper end, too
    parts = {
        group: [at.index[np.digitize(at, ends) == k] for k in range(1, len(edges))]
        for group, at in value_N.items()
    }
    middle, shift = (edges[:-1] + edges[1:]) / 2, 0.006 * (edges[-1] - edges[0])
    figure, axes = figures.axes(width=7.5, height=3.6)
    ax = axes[0, 0]
    handles = _points(
        ax, results, data_set, parts, lambda g, k: middle[k] + (g - (len(groups) - 1) / 2) * shift
    )
    if not handles:
        return None
    ax.set_xlabel(label)
    ax.set_ylabel(label_y)
    figures.legend_below(figure, handles)
    return Figure(
        f'{"by_length" if column == "seconds" else "by_input_snr"}-{data_set}',
        f'Improvement against {words}, on {data_set}',
        f'{label_y} in {len(edges) - 1} bins of {label}, as lines for {", ".join(handles)}.',
        figure,
        _NOTE.format('Bins end at quantiles of the examples. ', STATISTIC[results.task]),
    )


_NOTE = (
    '{}Points are {}s; bars are 95 % intervals over speakers or recordings and seeds. Shown is what'
    ' was trained on this data set; where nothing was, all.'
)


@figures.styled
def by_kind(results, data_set):
    """Improvement by pair of the speakers' sexes, or by class; None where rows do not tell."""
    results = shown_on(results, data_set)
    kinds = results and {
        group.group: _kinds(results, group.group, data_set) for group in results.groups
    }
    first = kinds and kinds[results.groups[0].group]
    if not first:
        return None
    names = {what: sorted(kind.dropna().unique()) for what, kind in first.items()}
    count, label = len(results.groups), main_metric(results.task)[1]
    height = 1.0 + max(0.34, 0.08 * count) * max(map(len, names.values()))
    figure, axes = figures.axes(1, len(names), width=8.0, height=height, sharex=True)
    handles = {}
    for ax, (what, those) in zip(axes[0], names.items()):
        parts = {
            group: [kind[what].index[kind[what] == name] if what in kind else [] for name in those]
            for group, kind in kinds.items()
        }
        handles |= _points(
            ax,
            results,
            data_set,
            parts,
            lambda g, k: k + (g - (count - 1) / 2) * 0.7 / count,
            across=True,
        )
        counts = first[what].value_counts()
        ticks = [f'{figures.short(name)} ({counts[name]})' for name in those]
        ax.set_yticks(range(len(those)), ticks)
        ax.invert_yaxis()
        ax.grid(axis='y', visible=False)
        ax.set_title(what)
        ax.set_xlabel(label)
    figures.legend_below(figure, handles)
    return Figure(
        f'by_kind-{data_set}',
        f'Improvement by {" and ".join(names)}, on {data_set}',
        f'{label} of {", ".join(handles)} for {"; ".join(map(", ".join, names.values()))}.',
        figure,
        _NOTE.format('Counts of examples stand in brackets. ', STATISTIC[results.task])
        + f' Fewer than {intervals.MIN_GROUPS} speakers or recordings have no interval.',
    )


def _kinds(results, group, data_set):
    """{what: Series of each example's kind} of what the examples of a data set tell."""
    import pandas

    examples, kinds = results.examples(group, data_set), {}
    if 'sex' in examples and len(examples['sex'].columns) == 2:
        pairs = [*zip(*(examples['sex'][source].tolist() for source in examples['sex']))]
        named = {pair: PAIRS.get(tuple(sorted(map(str, pair)))) for pair in set(pairs)}
        kinds['sexes of the speakers'] = pandas.Series(map(named.get, pairs), examples.index)
    for source in ROLES:
        if ('class', source) in examples:
            kinds[f'{source} class'] = examples['class', source]
    return {what: kind for what, kind in kinds.items() if kind.notna().any()}
