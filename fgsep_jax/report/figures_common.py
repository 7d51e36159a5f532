"""Figures that every report has: curves over training, and what an improvement depends on."""

import numpy as np

from fgsep_jax.names import counted
from fgsep_jax.report import groups as groups_lib, items, statistics, style
from fgsep_jax.report.tables_common import level, metric_of, statistic_of

BINS = 5
MEASURES = {'si_snr': 'SI-SNR (dB)', 'mel_snr': 'SNR on mel bands (dB)', 'loss': 'loss'}
PAIRS = {('F', 'F'): 'female, female', ('F', 'M'): 'female, male', ('M', 'M'): 'male, male'}


@style.styled
def curves(groups):
    """Training and validation over steps, a column a training set; None without any log."""
    groups = [
        group
        for group in groups
        if any(name in MEASURES for run in group.runs for _, name in run.curves)
    ]
    if not groups:
        return None
    sets = sorted({group.trained_on for group in groups})
    figure, axes = style.axes(
        2, len(sets), width=max(4.0 * len(sets), 7.0), height=5.2, sharex='col', sharey='row'
    )
    labels, handles = groups_lib.short_labels(groups, panels=True), {}
    looks = style.looks(labels)
    for i, kind in enumerate(('train', 'validation')):
        for j, name in enumerate(sets):
            ax = axes[i, j]
            for group in (group for group in groups if group.trained_on == name):
                line = _curve(ax, group, kind, looks[group])
                if line is not None:
                    handles.setdefault(labels[group], line)
            ax.set_title(f'{kind}, on {style.short(name)}')
            if i:
                ax.set_xlabel('step')
            if not j:
                ax.set_ylabel(_measure(groups))
    style.legend_below(figure, handles)
    task = groups[0].task
    return items.Figure(
        f'curves_{task}',
        'Training curves',
        f'{_measure(groups)} of training batches and of the validation set over steps, for'
        f' {counted(len(groups), "group")} of runs.',
        figure,
        'Lines are means over seeds, bands reach from the lowest seed to the highest.',
    )


def _measure(groups):
    names = {name for group in groups for run in group.runs for _, name in run.curves}
    return next(label for name, label in MEASURES.items() if name in names)


def _curve(ax, group, kind, look):
    name = next(
        (one for one in MEASURES if any((kind, one) in run.curves for run in group.runs)), None
    )
    found = [run.curves[kind, name] for run in group.runs if (kind, name) in run.curves]
    if not found:
        return None
    # Seeds log at the same steps, unless one is not finished.
    step_N = np.unique(np.concatenate([steps for steps, _ in found]))
    value_SN = np.full((len(found), len(step_N)), np.nan)
    for row_N, (steps, values) in zip(value_SN, found):
        row_N[np.searchsorted(step_N, steps)] = values
    if len(found) > 1:
        ax.fill_between(
            step_N,
            np.nanmin(value_SN, axis=0),
            np.nanmax(value_SN, axis=0),
            color=look['color'],
            alpha=0.15,
            linewidth=0,
        )
    # A line of one point is nothing to see.
    marker = {'marker': 'o', 'markersize': 3} if kind == 'validation' or len(step_N) == 1 else {}
    return ax.plot(
        step_N,
        np.nanmean(value_SN, axis=0),
        color=look['color'],
        linestyle=look['linestyle'],
        **marker,
    )[0]


def by_input_snr(groups, data_set):
    """Improvement against the level of the sources; None where it does not vary."""
    if groups[0].task == 'speech':  # either speaker may be called the first
        return _binned(
            groups,
            data_set,
            'by_input_snr',
            lambda row: abs(row['snr_db']),
            'level difference of the speakers (dB)',
            'how much louder one speaker is',
        )
    return _binned(
        groups,
        data_set,
        'by_input_snr',
        lambda row: row['snr_db'],
        'input SNR (dB)',
        'the input SNR',
    )


def by_length(groups, data_set):
    """Improvement against length; None where all are as long."""
    return _binned(
        groups, data_set, 'by_length', lambda row: row['seconds'], 'length (s)', 'length'
    )


def shown(groups, data_set):
    """Groups with results on a data set: those trained on it, else all."""
    present = [group for group in groups if group.results(data_set)]
    own = [
        group
        for group in present
        if data_set in (group.trained_on, *(f'{group.trained_on}-c{i}' for i in (1, 2, 3, 4)))
    ]
    return own or present


def _error_bar(ax, cell, where, look, *, across=False, **settings):
    low, high = (
        (cell.value - cell.low, cell.high - cell.value) if cell.low is not None else (0.0, 0.0)
    )
    bars = {'xerr' if across else 'yerr': [[low], [high]]}
    point = (cell.value, where) if across else (where, cell.value)
    ax.errorbar(*point, **bars, color=look['color'], elinewidth=1.0, capsize=2, **settings)


@style.styled
def _binned(groups, data_set, name, value_of, label, words):
    groups = shown(groups, data_set)
    value_N = np.array(
        [value_of(row) for group in groups[:1] for row in group.results(data_set)[0].rows.values()]
    )
    edges = np.unique(np.quantile(value_N, np.linspace(0, 1, BINS + 1))) if len(value_N) else []
    if len(edges) < 3 or len(value_N) < BINS * statistics.MIN_GROUPS:
        return None
    figure, axes = style.axes(width=7.5, height=3.6)
    ax, labels, handles = axes[0, 0], groups_lib.short_labels(groups), {}
    metric, metric_label = metric_of(groups[0].task)
    looks = style.looks(labels)
    for g, group in enumerate(groups):
        points = []
        for low, high in zip(edges[:-1], edges[1:]):
            last = high == edges[-1]
            cell = level(
                group,
                data_set,
                metric,
                choose=(
                    lambda row, low=low, high=high, last=last: (
                        low <= value_of(row) < high or last and value_of(row) == high
                    )
                ),
            )
            if cell is not None:
                shift = (g - (len(groups) - 1) / 2) * 0.006 * (edges[-1] - edges[0])
                points.append(((low + high) / 2 + shift, cell))
                _error_bar(ax, cell, points[-1][0], looks[group])
        if points:
            handles[labels[group]] = ax.plot(
                [x for x, _ in points],
                [cell.value for _, cell in points],
                marker='o',
                markersize=4,
                color=looks[group]['color'],
                linestyle=looks[group]['linestyle'],
            )[0]
    if not handles:
        return None
    ax.set_xlabel(label)
    ax.set_ylabel(metric_label)
    style.legend_below(figure, handles)
    return items.Figure(
        f'{name}-{data_set}',
        f'Improvement against {words}, on {data_set}',
        f'{metric_label} in {len(edges) - 1} bins of {label}, as lines for {", ".join(handles)}.',
        figure,
        _NOTE.format('Bins end at quantiles of the examples. ', statistic_of(groups[0].task)),
    )


_NOTE = (
    '{}Points are {}s; bars are 95 % intervals over speakers or recordings and seeds. Shown is'
    ' what was trained on this data set; where nothing was, all.'
)


@style.styled
def by_kind(groups, data_set):
    """Improvement by pair of the speakers' sexes, or by class; None where rows do not tell."""
    groups = shown(groups, data_set)
    rows = list(groups[0].results(data_set)[0].rows.values()) if groups else []
    kinds = [(what, kind_of) for what, kind_of in _KINDS if any(kind_of(row) for row in rows)]
    if not kinds:
        return None
    names = [sorted({kind_of(row) for row in rows} - {None}) for _, kind_of in kinds]
    height = 1.0 + max(0.34, 0.08 * len(groups)) * max(map(len, names))
    figure, axes = style.axes(1, len(kinds), width=8.0, height=height, sharex=True)
    labels, handles = groups_lib.short_labels(groups), {}
    looks, (metric, metric_label) = style.looks(labels), metric_of(groups[0].task)
    for ax, (what, kind_of), found in zip(axes[0], kinds, names):
        for g, group in enumerate(groups):
            for k, kind in enumerate(found):
                cell = level(
                    group,
                    data_set,
                    metric,
                    choose=(lambda row, kind=kind, kind_of=kind_of: kind_of(row) == kind),
                )
                if cell is not None:
                    where = k + (g - (len(groups) - 1) / 2) * 0.7 / len(groups)
                    _error_bar(ax, cell, where, looks[group], across=True)
                    handles[labels[group]] = ax.plot(
                        cell.value,
                        where,
                        marker=looks[group]['marker'],
                        markersize=4.5,
                        linestyle='none',
                        color=looks[group]['color'],
                    )[0]
        counts = [sum(kind_of(row) == kind for row in rows) for kind in found]
        ax.set_yticks(
            range(len(found)), [f'{style.short(kind)} ({n})' for kind, n in zip(found, counts)]
        )
        ax.invert_yaxis()
        ax.grid(axis='y', visible=False)
        ax.set_title(what)
        ax.set_xlabel(metric_label)
    style.legend_below(figure, handles)
    return items.Figure(
        f'by_kind-{data_set}',
        f'Improvement by {" and ".join(what for what, _ in kinds)}, on {data_set}',
        f'{metric_label} of {", ".join(handles)} for'
        f' {"; ".join(", ".join(found) for found in names)}.',
        figure,
        _NOTE.format('Counts of examples stand in brackets. ', statistic_of(groups[0].task))
        + f' Fewer than {statistics.MIN_GROUPS} speakers or recordings have no interval.',
    )


_KINDS = (
    (
        'sexes of the speakers',
        lambda row: (
            None
            if 'sex_3' in row
            else PAIRS.get(tuple(sorted((row.get('sex_1') or '', row.get('sex_2') or ''))))
        ),
    ),
    ('foreground class', lambda row: row.get('class_foreground')),
    ('background class', lambda row: row.get('class_background')),
)
