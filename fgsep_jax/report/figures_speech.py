"""Fig. 5 of paper 2, the cross-dataset bars, and its Fig. 4, the gates over training."""

import numpy as np

from fgsep_jax.report import groups as groups_lib, items, style
from fgsep_jax.report.tables_common import level

STEPS_SHOWN = 5


@style.styled
def cross_dataset(groups, data_sets):
    """Grouped bars of SI-SNRi as in Fig. 5, a panel a training set; None without results.

    Args:
        groups: Groups of speech runs.
        data_sets: names of the test sets.
    """
    trained = sorted({group.trained_on for group in groups})
    if not data_sets:
        return None
    figure, axes = style.axes(len(trained), width=8.5, height=2.5 * len(trained) + 0.8,
                              sharey=True)
    labels, handles, values = groups_lib.short_labels(groups, panels=True), {}, []
    looks = style.looks(labels)
    for ax, on in zip(axes[:, 0], trained):
        members = [group for group in groups if group.trained_on == on]
        width = 0.84 / len(members)
        for g, group in enumerate(members):
            for d, name in enumerate(data_sets):
                cell, x = level(group, name, 'si_snri'), d + (g - (len(members) - 1) / 2) * width
                if cell is None:
                    ax.text(x, 0, 'no run', rotation=90, ha='center', va='bottom', fontsize=7,
                            color=style.NEUTRAL)
                    continue
                look = looks[group]
                bar = ax.bar(x, cell.value, width * 0.9, color=look['color'],
                             hatch=look['hatch'], edgecolor='white', linewidth=0)
                if cell.low is not None:
                    ax.errorbar(x, cell.value, [[cell.value - cell.low], [cell.high - cell.value]],
                                color=style.INK, elinewidth=0.9, capsize=2)
                handles.setdefault(labels[group], bar)
                values.append(f'{group.label} on {name} {cell.value:.2f} dB')
        ax.axhline(0, color=style.INK, linewidth=0.7)
        ax.set_xticks(range(len(data_sets)), [f'test: {name}' + (' (in-dataset)' if name == on
                                                                  else '') for name in data_sets])
        ax.grid(axis='x', visible=False)
        ax.set_title(f'trained on {on}')
        ax.set_ylabel('SI-SNRi (dB)')
    style.legend_below(figure, handles)
    return items.Figure(
        'figure_5', f'Fig. 5: cross-dataset evaluation on {", ".join(data_sets)}',
        'Bars of SI-SNR improvement: ' + '; '.join(values) + '.', figure,
        'Bars are means over examples and seeds, whiskers their 95 % intervals; the table beside'
        ' gives the numbers. The paper has WSJ0-2mix, LibriTTS and VCTK in these places.')


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
        chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, STEPS_SHOWN)
                                              .round().astype(int))]
        # Channels in one order throughout: the one most open at the end on top.
        order_N = np.argsort(run.gates[steps[-1]].mean(axis=0))
        for ax in axes[2 * r, len(chosen):]:
            ax.remove()
        for c, (ax, step) in enumerate(zip(axes[2 * r], chosen)):
            image = ax.imshow(run.gates[step][:, order_N].T, origin='lower', aspect='auto',
                              vmin=0, vmax=1, cmap='viridis', interpolation='nearest')
            ax.set_title(f'step {step}')
            ax.set_xlabel('frame')
            ax.grid(visible=False)
            ax.set_yticks([] if c else [0, len(order_N) - 1], [] if c else [1, len(order_N)])
        axes[2 * r, 0].set_ylabel(f'channel\n({labels[group]})')
        figure.colorbar(image, ax=axes[2 * r, :], label='gate, 1 is open', pad=0.01)
        _gate_means(figure, axes[2 * r + 1], run, steps)
    return items.Figure(
        'figure_4', 'Fig. 4: gate outputs of the first gated layer over training',
        'Heat maps of the gates of all channels over the frames of one utterance at several steps,'
        ' and the mean gate of every channel against the step.', figure,
        'The same test utterance at every step. Above: channels are sorted by how open they are'
        ' in the end. Below: the mean over frames, a line a channel, and the bold line their mean.')


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
