"""Fig. 2 of paper 1, box plots on C1..C4, and its Fig. 3, mel spectrograms."""

import numpy as np

from fgsep_jax.report import items, sound, statistics, style
from fgsep_jax.report.listening import common_example
from fgsep_jax.report.tables_common import SUBSETS, SYSTEMS
from fgsep_jax.report.tables_foreground import METRICS, slots

ORACLES = ('ideal_mel_mask', 'ideal_ratio_mask')


@style.styled
def box_plots(groups, family):
    """SDR and SIR improvement and SAR of the foreground, as Fig. 2; None without results.

    Args:
        groups: Groups of mask models.
        family: data set, without the subset.
    """
    systems = [
        (
            name,
            [group] if group else [],
            '',
            style.COLORS.get(group.model if group else name, style.OTHERS[0]),
        )
        for name, group in slots(groups)
    ]
    systems += [
        (SYSTEMS[name], groups, name, style.NEUTRAL)
        for name in ORACLES
        if any(group.results(f'{family}-{one}', name) for group in groups for one in SUBSETS)
    ]
    figure, axes = style.axes(
        len(METRICS),
        len(SUBSETS),
        width=max(10.0, 1.5 * len(systems)),
        height=8.0,
        sharey='row',
        sharex=True,
    )
    texts, some = [], False
    for i, (metric, label) in enumerate(METRICS):
        for j, subset in enumerate(SUBSETS):
            ax = axes[i, j]
            values = [
                _pooled(members, f'{family}-{subset}', system, metric)
                for _, members, system, _ in systems
            ]
            for k, (value_N, (name, *_, color)) in enumerate(zip(values, systems)):
                if not len(value_N):
                    ax.text(
                        k,
                        0,
                        'no run',
                        rotation=90,
                        ha='center',
                        va='bottom',
                        fontsize=7,
                        color=style.NEUTRAL,
                    )
                    continue
                some = True
                texts.append(f'{name} {subset.upper()} {label} {np.median(value_N):.1f} dB')
                ax.boxplot(
                    value_N,
                    positions=[k],
                    widths=0.62,
                    showfliers=False,
                    patch_artist=True,
                    boxprops={'facecolor': color, 'edgecolor': style.INK, 'linewidth': 0.6},
                    medianprops={'color': style.INK, 'linewidth': 1.4},
                    whiskerprops={'color': style.INK, 'linewidth': 0.7},
                    capprops={'color': style.INK, 'linewidth': 0.7},
                )
            ax.axhline(0, color=style.INK, linewidth=0.6)
            ax.set_xlim(-0.6, len(systems) - 0.4)  # room for a system without a run, too
            ax.grid(axis='x', visible=False)
            ax.set_xticks(
                range(len(systems)),
                [style.short(name) for name, *_ in systems],
                rotation=40,
                ha='right',
            )
            if not i:
                ax.set_title(subset.upper())
            if not j:
                ax.set_ylabel(f'{label} (dB)')
    if not some:
        return None
    return items.Figure(
        f'figure_2-{family}',
        f'Fig. 2: the foreground on C1 to C4 of {family}',
        'Box plots; medians: ' + '; '.join(texts) + '.',
        figure,
        'Boxes reach from quartile to quartile, whiskers to the last example within 1.5 of their'
        ' height; the seeds of a model are pooled.',
    )


def _pooled(groups, data_set, system, metric):
    for group in groups:
        loaded = group.results(data_set, system)
        if loaded:
            try:
                return statistics.scores(loaded, metric)[1].ravel()
            except statistics.results.ResultsError:
                pass
    return np.array([])


@style.styled
def mel_spectrograms(groups, family):
    """Foreground of one example of each subset: mixture, ground truth, every model, as Fig. 3.

    Args:
        groups: Groups of mask models.
        family: data set, without the subset.

    Returns:
        Figure; None where no run wrote sounds.
    """
    found = [(subset, common_example(groups, f'{family}-{subset}')) for subset in SUBSETS]
    found = [(subset, example) for subset, example in found if example is not None]
    if not found:
        return None
    models = slots(groups)
    columns = ['mixture', 'reference', *(group.label if group else '' for _, group in models)]
    titles = ['Mixture', 'Ground truth', *(name for name, _ in models)]
    if any(track.system == SYSTEMS['ideal_mel_mask'] for _, one in found for track in one.tracks):
        columns.append(SYSTEMS['ideal_mel_mask'])
        titles.append(SYSTEMS['ideal_mel_mask'])
    figure, axes = style.axes(
        len(found), len(columns), width=1.55 * len(columns), height=1.55 * len(found) + 0.5
    )
    for r, (row, (subset, example)) in enumerate(zip(axes, found)):
        level = _spectrograms(example)
        top = level['reference'].max()
        for ax, column, title in zip(row, columns, titles):
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(visible=False)
            if not r:
                ax.set_title(style.short(title, 18), fontsize=8.5)
            if column not in level:
                ax.text(
                    0.5,
                    0.5,
                    'no run',
                    ha='center',
                    va='center',
                    color=style.NEUTRAL,
                    transform=ax.transAxes,
                    fontsize=8,
                )
                continue
            image = ax.imshow(
                level[column],
                origin='lower',
                aspect='auto',
                cmap='magma',
                vmin=top - 70,
                vmax=top,
                interpolation='nearest',
            )
        row[0].set_ylabel(subset.upper(), fontweight='bold')
    figure.colorbar(
        image,
        ax=axes,
        label="dB below the ground truth's peak",
        pad=0.01,
        aspect=40,
        format=lambda value, _: f'{value - top:.0f}',
    )
    return items.Figure(
        f'figure_3-{family}',
        f'Fig. 3: foreground estimates on {family}',
        'Mel spectrograms of the mixture, the true foreground and the foreground that each model'
        ' estimates, one example of each subset: '
        + '; '.join(
            f'{subset.upper()} {example.facts.get("classes", example.example)}'
            for subset, example in found
        )
        + '.',
        figure,
        'Frequency upwards in mel bands, time to the right; one colour scale a row. Examples: '
        + '; '.join(f'{subset.upper()}: {example.example}' for subset, example in found)
        + '.',
    )


def _spectrograms(example):
    """{'mixture', 'reference' or the system: mel_FK in dB} of an example's foreground."""
    level = {}
    for track in example.tracks:
        if track.source in ('', 'foreground'):
            key = track.system if track.role == 'estimate' else track.role
            level[key] = sound.mel_db(*sound.read(track.path))
    return level
