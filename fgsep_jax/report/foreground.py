"""Paper 1, Olvera et al.: its claims, the medians on C1 to C4 behind its Fig. 2, Figs. 2 and 3."""

import numpy as np

from fgsep_jax.report import figures, published, sound, sounds
from fgsep_jax.report.common import claims_table, judged, key, owners, seeds_on, systems_on
from fgsep_jax.report.parts import Figure, Table, heads
from fgsep_jax.report.runs import SYSTEMS
from fgsep_jax.report.scores import SUBSETS, place, short_labels

MODELS = ('M1', 'M1+', 'M2', 'M2+')
ORACLES = ('ideal_mel_mask', 'ideal_ratio_mask')
SDRI, SIRI, SAR = METRICS = tuple((name, 'foreground') for name in ('sdri', 'siri', 'sar'))
LABELS = {SDRI: 'SDR improvement', SIRI: 'SIR improvement', SAR: 'SAR'}
BETTER = ('c1', 'c2', 'c4')  # where the paper has M2 above all others
UPPER = {subset: subset.upper() for subset in SUBSETS}


def _over(*subsets):
    """The weights of a mean over subsets."""
    return dict.fromkeys(subsets, 1 / len(subsets))


# (claim, published, model, above which, metric, kind, weights of the subsets it is claimed of)
CLAIMS = (
    *(
        (f'M2 above M1 in SDRi, {UPPER[c]}', number, 'M2', 'M1', SDRI, 'above', _over(c))
        for c, number in published.M2_OVER_M1.items()
    ),
    ('M2 above M1+ in SDRi', 'yes', 'M2', 'M1+', SDRI, 'above', _over(*BETTER)),
    ('M2 above M2+ in SDRi', 'yes', 'M2', 'M2+', SDRI, 'above', _over(*BETTER)),
    ('M2 above M1 in SIRi', 'yes', 'M2', 'M1', SIRI, 'above', _over(*SUBSETS)),
    ('M1+ above M1 in SIRi', 'yes', 'M1+', 'M1', SIRI, 'above', _over(*SUBSETS)),
    ('M1+ below M1 in SAR', 'yes', 'M1+', 'M1', SAR, 'below', _over(*SUBSETS)),
    ('M1+ below M1 in SDRi', 'yes', 'M1+', 'M1', SDRI, 'below', _over(*SUBSETS)),
    ('M2+ below M2 in SDRi', 'yes', 'M2+', 'M2', SDRI, 'below', _over(*SUBSETS)),
    ('M1+ below M2+ in SDRi', 'yes', 'M1+', 'M2+', SDRI, 'below', _over(*SUBSETS)),
    ('M2+ level with M2 in SIRi', 'yes', 'M2+', 'M2', SIRI, 'level', _over(*SUBSETS)),
    ('M2+ below M2 in SAR', 'yes', 'M2+', 'M2', SAR, 'below', _over(*SUBSETS)),
    ('M2+ level with M1 in SDRi', 'yes', 'M2+', 'M1', SDRI, 'level', _over('c1', 'c2')),
    # The paper says it of C4, too, where the row above has its 0.5 dB.
    ('M2 level with M1 in SDRi', 'yes', 'M2', 'M1', SDRI, 'level', _over('c3')),
    (
        'M2 loses more than M1 on unseen events, SDRi',
        *('yes', 'M2', 'M1', SDRI, 'above'),
        {'c1': 0.5, 'c2': 0.5, 'c3': -0.5, 'c4': -0.5},  # seen foregrounds minus unseen ones
    ),
    *(  # "persistent over the four evaluation subsets"
        (f'M1 level on C1 and {UPPER[c]}, SDRi', 'yes', 'M1', '', SDRI, 'level', {'c1': 1, c: -1})
        for c in SUBSETS[1:]
    ),
)


def families(names):
    """Data sets of which at least one subset was evaluated: 'fgbg' of 'fgbg-c1'."""
    return sorted(
        {name[:-3] for name in names if name[-3:] in {f'-{subset}' for subset in SUBSETS}}
    )


def of_family(results, family):
    """The Results of the groups that have results on some subset of a data set."""
    _, has = owners(results, [f'{family}-{subset}' for subset in SUBSETS])
    return results.where(results.runs.group.isin(has))


def claims(results, family, preset):
    """The paper's claims on one data set: differences of medians on C1 to C4.

    Args:
      results: Results of mask models.
      family: data set, without the subset.
      preset: of the runs to compare.

    Returns:
      Table.
    """
    fits = results.groups_of(trained_on=family, preset=preset)
    names = [group.model for group in fits]
    models = {group.model: group.group for group in fits if names.count(group.model) == 1}

    def minus(first, second, weights):
        return [
            (sign * weight, models.get(name), f'{family}-{subset}')
            for subset, weight in weights.items()
            for sign, name in ((1, first), (-1, second))
            if name
        ]

    rows = []
    for claim, number, first, second, metric, kind, weights in CLAIMS:
        lost = ', '.join(UPPER[subset] for subset in weights if weights[subset] < 0)
        where = ', '.join(UPPER[subset] for subset in weights if weights[subset] > 0)
        where += f' minus {lost}' * bool(lost)
        row = judged(results, claim, number, where, minus(first, second, weights), kind, metric)
        row[2:2] = [
            '' if lost else results.difference(minus(first, second, {subset: 1}), metric)
            for subset in SUBSETS
        ]
        rows.append(row)
    columns = {'published': 'claim', **UPPER, 'where': 'Claimed of'}
    return claims_table(
        f'claims_foreground-{family}-{preset}',
        f'Claims of the foreground-background study on {family}, {preset} models: differences of'
        ' medians (dB)',
        columns | {'difference': 'Mean of these'},
        rows,
        ' The verdict is on the mean over the subsets that the claim names.',
        [group.label for group in fits if group.model not in models],
    )


def slots(results):
    """[(name, group as of `Results.groups`, or None)]: the four models of the paper and what else
    there is, in order.

    Args:
      results: Results of mask models.
    """
    labels = short_labels(results)
    present = [(labels[group.group], group, group.model) for group in results.groups]
    models = {model for *_, model in present}
    present += [(model, None, model) for model in MODELS if model not in models]
    present.sort(key=lambda slot: place(slot[2], MODELS))
    return [slot[:2] for slot in present]


def medians(results, family):
    """Medians of the foreground's SDR and SIR improvement and SAR, a table each.

    Args:
      results: Results of mask models.
      family: data set, without the subset.
    """
    names, tables = [f'{family}-{subset}' for subset in SUBSETS], []
    baselines = {system: (label, group) for label, group, system in systems_on(results, names)}
    for metric in METRICS:

        def cells(group, system, metric=metric):
            return [results.score(group, name, metric, system=system) for name in names]

        rows = []
        for model, row in slots(results):
            group = row and row.group
            present = [name for name in names if len(results.part(group, name))]
            rows.append([model, seeds_on(results, group, present), *cells(group, 'model')])
        for system in (*ORACLES, 'untrained'):
            if system in baselines:
                label, group = baselines[system]
                rows.append([label, '', *cells(group, system)])
        tables.append(
            Table(
                f'{key(metric)}-{family}',
                f'Foreground {LABELS[metric]} on {family}, median (dB)',
                heads('system seeds', UPPER),
                rows,
                'C1: both classes seen in training; C2: background unseen; C3: foreground unseen;'
                ' C4: both unseen. IRM: ideal ratio mask. Intervals are over the recordings and the'
                ' seeds.',
            )
        )
    return tables


@figures.styled
def box_plots(results, family):
    """SDR and SIR improvement and SAR of the foreground, as Fig. 2; None without results.

    Args:
      results: Results of mask models.
      family: data set, without the subset.
    """
    names = [f'{family}-{subset}' for subset in SUBSETS]
    systems = [
        (
            name,
            [group] if group else [],
            'model',
            figures.COLORS.get(group.model if group else name, figures.OTHERS[0]),
        )
        for name, group in slots(results)
    ]
    systems += [
        (SYSTEMS[name], results.groups, name, figures.NEUTRAL)
        for name in ORACLES
        if name in owners(results, names)[0]
    ]
    figure, axes = figures.axes(
        len(METRICS),
        len(SUBSETS),
        width=max(10.0, 1.5 * len(systems)),
        height=8.0,
        sharey='row',
        sharex=True,
    )
    texts, ink = [], figures.INK
    for row, metric in zip(axes, METRICS):
        for ax, subset, data_set in zip(row, SUBSETS, names):
            for k, (name, groups, system, color) in enumerate(systems):
                value_N = _pooled(results, groups, data_set, system, metric)
                if not len(value_N):
                    figures.no_run(ax, k)
                    continue
                median = np.median(value_N)
                texts.append(f'{name} {subset.upper()} {LABELS[metric]} {median:.1f} dB')
                box = {'facecolor': color, 'edgecolor': ink, 'linewidth': 0.6}
                ax.boxplot(value_N, positions=[k], widths=0.62, boxprops=box)
            ax.axhline(0, color=ink, linewidth=0.6)
            ax.set_xlim(-0.6, len(systems) - 0.4)  # room for a system without a run, too
            ax.grid(axis='x', visible=False)
            labels = [figures.short(name) for name, *_ in systems]
            ax.set_xticks(range(len(systems)), labels, rotation=40, ha='right')
        row[0].set_ylabel(f'{LABELS[metric]} (dB)')
    for ax, subset in zip(axes[0], SUBSETS):
        ax.set_title(subset.upper())
    if not texts:
        return None
    return Figure(
        f'figure_2-{family}',
        f'Fig. 2: the foreground on C1 to C4 of {family}',
        'Box plots; medians: ' + '; '.join(texts) + '.',
        figure,
        'Boxes reach from quartile to quartile, whiskers to the last example within 1.5 of their'
        ' height; the seeds of a model are pooled.',
    )


def _pooled(results, groups, data_set, system, metric):
    """Scores of all seeds of the first group that has any, on the examples that all have."""
    for group in groups:
        value = results.matrix(group.group, data_set, metric, system).dropna(axis=1)
        if value.size:
            return value.to_numpy().ravel()
    return np.array([])


@figures.styled
def mel_spectrograms(results, family):
    """Foreground of one example of each subset: mixture, ground truth, every model, as Fig. 3.

    Args:
      results: Results of mask models.
      family: data set, without the subset.

    Returns:
      Figure; None where no run wrote sounds.
    """
    examples = {
        subset: example
        for subset in SUBSETS
        if (example := sounds.common_example(results, f'{family}-{subset}')) is not None
    }
    if not examples:
        return None
    columns, mel_mask = [('mixture', 'Mixture'), ('reference', 'Ground truth')], SYSTEMS[ORACLES[0]]
    columns += [(group.label if group else '', name) for name, group in slots(results)]
    if any(track.system == mel_mask for example in examples.values() for track in example.tracks):
        columns.append((mel_mask, mel_mask))
    figure, axes = figures.axes(
        len(examples), len(columns), width=1.55 * len(columns), height=1.55 * len(examples) + 0.5
    )
    for r, (row, (subset, example)) in enumerate(zip(axes, examples.items())):
        mel_FK = {}
        for track in example.tracks:
            if track.source in ('', 'foreground'):
                shown = track.system if track.role == 'estimate' else track.role
                mel_FK[shown] = sound.mel_db(*sound.read(track.path))
        top = mel_FK['reference'].max()
        for ax, (column, title) in zip(row, columns):
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(visible=False)
            if not r:
                ax.set_title(figures.short(title, 18), fontsize=8.5)
            if column in mel_FK:
                image = ax.imshow(mel_FK[column], cmap='magma', vmin=top - 70, vmax=top)
                continue
            middle = dict(ha='center', va='center', transform=ax.transAxes)
            ax.text(0.5, 0.5, 'no run', **middle, color=figures.NEUTRAL, fontsize=8)
        row[0].set_ylabel(subset.upper(), fontweight='bold')
    figure.colorbar(
        image,
        ax=axes,
        label="dB below the ground truth's peak",
        pad=0.01,
        aspect=40,
        format=lambda value, _: f'{value - top:.0f}',
    )
    return Figure(
        f'figure_3-{family}',
        f'Fig. 3: foreground estimates on {family}',
        'Mel spectrograms of the mixture, the true foreground and the foreground that each model'
        ' estimates, one example of each subset: '
        + '; '.join(
            f'{subset.upper()} {example.facts.get("classes", example.example)}'
            for subset, example in examples.items()
        )
        + '.',
        figure,
        'Frequency upwards in mel bands, time to the right; one colour scale a row. Examples: '
        + '; '.join(f'{subset.upper()}: {example.example}' for subset, example in examples.items())
        + '.',
    )
