"""Fig. 5 of paper 2, the cross-dataset bars, and its Fig. 4, the gates over training."""

from matplotlib import patches
import numpy as np

from fgsep_jax.report import groups as groups_lib, items, published, style, text
from fgsep_jax.report.tables_common import level

STEPS_SHOWN = 5


@style.styled
def cross_dataset(groups, data_sets):
    """Grouped bars of SI-SNRi as in Fig. 5, a panel a training set; None without results.

    Every panel has a place for each model and objective of the paper's figure, and for what else
    was trained on any set; a place without a run says so.

    Args:
        groups: Groups of speech runs.
        data_sets: names of the test sets.
    """
    if not data_sets:
        return None
    trained, bars = sorted({group.trained_on for group in groups}), _bars(groups)
    models = {name: model for name, (model, _) in bars.items()}
    looks, values = style.looks_of([(model, name) for name, model in models.items()]), []
    figure, axes = style.axes(len(trained), width=8.5, height=2.5 * len(trained) + 0.5, sharey=True)
    width = 0.84 / len(bars)
    for ax, on in zip(axes[:, 0], trained):
        for b, (name, (_, members)) in enumerate(bars.items()):
            for d, data_set in enumerate(data_sets):
                x = d + (b - (len(bars) - 1) / 2) * width
                cell = level(members[on], data_set, 'si_snri') if on in members else None
                if cell is None:
                    ax.text(
                        x,
                        0,
                        ' no run',
                        rotation=90,
                        ha='center',
                        va='bottom',
                        fontsize=7,
                        color=style.NEUTRAL,
                    )
                    continue
                look = looks[name]
                ax.bar(
                    x,
                    cell.value,
                    width * 0.9,
                    color=look['color'],
                    hatch=look['hatch'],
                    edgecolor='white',
                    linewidth=0,
                )
                if cell.low is not None:
                    ax.errorbar(
                        x,
                        cell.value,
                        [[cell.value - cell.low], [cell.high - cell.value]],
                        color=style.INK,
                        elinewidth=0.9,
                        capsize=2,
                    )
                values.append(
                    f'{name}, trained on {on}, tested on {data_set}: {text.cell_text(cell)} dB'
                )
        ax.axhline(0, color=style.INK, linewidth=0.7)
        ax.set_xlim(-0.5, len(data_sets) - 0.5)
        ax.set_xticks(
            range(len(data_sets)),
            [f'test: {style.short(name)}' + ' (in-dataset)' * (name == on) for name in data_sets],
        )
        ax.grid(axis='x', visible=False)
        ax.set_title(f'trained on {style.short(on)}')
        ax.set_ylabel('SI-SNRi (dB)')
    style.legend_below(
        figure,
        {
            name: patches.Patch(
                facecolor=look['color'], hatch=look['hatch'], edgecolor='white', linewidth=0
            )
            for name, look in looks.items()
        },
    )
    return items.Figure(
        'figure_5',
        f'Fig. 5: cross-dataset evaluation on {", ".join(data_sets)}',
        'Bars of SI-SNR improvement. ' + '; '.join(values) + '.',
        figure,
        'Bars are means over examples and seeds, whiskers their 95 % intervals. The paper has'
        ' WSJ0-2mix, LibriTTS and VCTK in these places.',
    )


def _bars(groups):
    """{label: (model, {training set: Group})} of every bar that a panel of Fig. 5 has."""
    several = len({group.config['preset'] for group in groups}) > 1
    bars = {}
    for group in groups:
        name = f'{group.model}, {group.objective}' + several * f', {group.config["preset"]}'
        if group.trained_on in bars.get(name, (None, {}))[1]:  # differs in another key still
            name = group.label
        bars.setdefault(name, (group.model, {}))[1][group.trained_on] = group
    if not several:
        for model, objective in published.FIGURE_5:
            bars.setdefault(f'{model}, {objective}', (model, {}))
    order = list(published.TABLE_1)
    return dict(
        sorted(
            bars.items(),
            key=lambda bar: (order.index(bar[1][0]) if bar[1][0] in order else len(order), bar[0]),
        )
    )


@style.styled
def gates(groups):
    """Gate outputs of the first gated layer over training, as Fig. 4; None without gated runs.

    Args:
        groups: Groups of speech runs; of each gated one its first seed is shown.
    """
    gated = [(group, next((run for run in group.runs if run.gates), None)) for group in groups]
    gated = [(group, run) for group, run in gated if run is not None]
    if not gated:
        return None
    labels = groups_lib.short_labels([group for group, _ in gated])
    figure, axes = style.axes(2 * len(gated), STEPS_SHOWN, width=9.0, height=4.6 * len(gated))
    for r, (group, run) in enumerate(gated):
        steps = sorted(run.gates)
        chosen = [
            steps[i]
            for i in np.unique(np.linspace(0, len(steps) - 1, STEPS_SHOWN).round().astype(int))
        ]
        # Channels in one order throughout: the one most open at the end on top.
        order_N = np.argsort(run.gates[steps[-1]].mean(axis=0))
        for ax in axes[2 * r, len(chosen) :]:
            ax.remove()
        for c, (ax, step) in enumerate(zip(axes[2 * r], chosen)):
            image = ax.imshow(
                run.gates[step][:, order_N].T,
                origin='lower',
                aspect='auto',
                vmin=0,
                vmax=1,
                cmap='viridis',
                interpolation='nearest',
            )
            ax.set_title(f'step {step}')
            ax.set_xlabel('part of the segment')
            ax.grid(visible=False)
            ax.set_yticks([] if c else [0, len(order_N) - 1], [] if c else [1, len(order_N)])
        axes[2 * r, 0].set_ylabel(f'channel\n({style.short(labels[group])})')
        figure.colorbar(image, ax=axes[2 * r, : len(chosen)], label='gate, 1 is open', pad=0.01)
        _gate_means(figure, axes[2 * r + 1], run, steps)
    return items.Figure(
        'figure_4',
        'Fig. 4: gate outputs of the first gated layer over training',
        'Heat maps of the gates of all channels over the length of one utterance at several steps,'
        ' and the mean gate of every channel against the step.',
        figure,
        'The same utterance at every step: '
        + '; '.join(f'{run.name or group.label}, the {run.probe}' for group, run in gated)
        + '. Above: channels, sorted by how open they are in the end, over the first segment of the'
        ' utterance in at most 256 equal parts, of which the mean is shown. Below: the mean over'
        ' the segment, a line a channel, and the bold line their mean.',
    )


def _gate_means(figure, row, run, steps):
    grid = row[0].get_gridspec()
    index = row[0].get_subplotspec().rowspan.start
    for ax in row:
        ax.remove()
    ax = figure.add_subplot(grid[index, :])
    mean_SN = np.array([run.gates[step].mean(axis=0) for step in steps])
    place = np.arange(len(steps))
    ax.plot(place, mean_SN, color=style.COLORS['Deep w/ GLU'], linewidth=0.5, alpha=0.5)
    ax.plot(place, mean_SN.mean(axis=1), color=style.INK, linewidth=2)
    ax.set_xticks(place, steps)
    ax.set_ylim(0, 1)
    ax.set_xlabel('step')
    ax.set_ylabel('mean gate')
