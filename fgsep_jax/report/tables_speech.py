"""Tables 1 and 2 of paper 2 and the matrix behind its Fig. 5."""

from fgsep_jax.names import counted
from fgsep_jax.report import items, published
from fgsep_jax.report.tables_common import SYSTEMS, contrast, level, parameters, seeds_on

SI_SNR = 'SI-SNR'  # the plain objective
NON_LINEARITY = {'linear': 'linear', 'prelu': 'PReLU', 'glu': 'GLU'}


def _matching(groups, model, data_set):
    return [
        group
        for group in groups
        if group.model == model and group.objective == SI_SNR and group.trained_on == data_set
    ]


def table_1(groups, data_set):
    """Table 1: the variants trained and tested on one data set, published numbers beside ours.

    Args:
        groups: Groups.
        data_set: name of the training and the test set.
    """
    rows = []
    for model, (layers, linearity, filters, number) in published.TABLE_1.items():
        for group in _matching(groups, model, data_set) or [None]:
            ours = [None] * 8
            if group:
                config = group.config
                encoder = config.get('model.encoder')
                ours = [
                    config['preset'],
                    config.get('model.layers'),
                    NON_LINEARITY.get(encoder, encoder),
                    config.get('model.basis'),
                    parameters(group),
                    seeds_on(group, [data_set]),
                    level(group, data_set, 'si_snri'),
                    level(group, data_set, 'sdri'),
                ]
            rows.append([model, layers, linearity, filters, number, *ours])
    paper = [
        items.Column(label, f'published_{key}', digits, published=True)
        for label, key, digits in (
            ('I (# layers)', 'layers', 0),
            ('Non-linearity', 'non_linearity', 0),
            ('# first-layer filters', 'filters', 0),
            ('SI-SNRi, WSJ0-2mix (dB)', 'si_snri', 1),
        )
    ]
    return items.Table(
        f'table_1-{data_set}',
        f'Table 1: variants trained and tested on {data_set}',
        (
            items.Column('Model', 'model'),
            *paper,
            items.Column('Preset', 'preset'),
            items.Column('I (# layers)', 'layers', 0),
            items.Column('Non-linearity', 'non_linearity'),
            items.Column('# first-layer filters', 'filters', 0),
            items.Column('Parameters', 'parameters', 0),
            items.Column('Seeds', 'seeds', 0),
            items.Column(f'SI-SNRi, {data_set} (dB)', 'si_snri'),
            items.Column(f'SDRi, {data_set} (dB)', 'sdri'),
        ),
        rows,
        'Published numbers are of the full models on WSJ0-2mix; ours are of the sizes and the data'
        ' set that the columns name. The objective is SI-SNR.',
    )


def table_2(groups, data_set):
    """Table 2: SDR improvement and parameters, published numbers beside ours."""
    rows = []
    for model, (number, size) in published.TABLE_2.items():
        if model in published.OTHERS_WORK:
            rows.append([model, number, size, *["others' work"] * 4])
            continue
        for group in _matching(groups, model, data_set) or [None]:
            ours = [None] * 4
            if group:
                ours = [
                    group.config['preset'],
                    parameters(group),
                    seeds_on(group, [data_set]),
                    level(group, data_set, 'sdri'),
                ]
            rows.append([model, number, size, *ours])
    return items.Table(
        f'table_2-{data_set}',
        f'Table 2: SDR improvement on {data_set}',
        (
            items.Column('Model', 'model'),
            items.Column('SDRi, WSJ0-2mix (dB)', 'published_sdri', 1, published=True),
            items.Column('Parameters', 'published_parameters', 0, published=True),
            items.Column('Preset', 'preset'),
            items.Column('Parameters', 'parameters', 0),
            items.Column('Seeds', 'seeds', 0),
            items.Column(f'SDRi, {data_set} (dB)', 'sdri'),
        ),
        rows,
        'Published numbers are of the full models on WSJ0-2mix; ours are of the sizes and the data'
        ' set that the columns name.',
    )


def cross_table(groups, data_sets):
    """The matrix behind Fig. 5: training set x test set x model x objective.

    Args:
        groups: Groups of speech runs.
        data_sets: names of the test sets.

    Returns:
        Table with a column a test set, then the mean over the test sets other than the run's own
        and the drop from its own to that mean, where all of them are there. What Fig. 5 has and
        no run fills is a row of empty cells.
    """
    rows = []
    for group in groups:
        cells = [level(group, name, 'si_snri') for name in data_sets]
        own, cross, drop = _in_and_across([group], data_sets)
        present = [name for name, cell in zip(data_sets, cells) if cell is not None]
        rows.append(
            [
                group.model,
                group.objective,
                group.trained_on,
                group.config['preset'],
                seeds_on(group, present),
                *cells,
                cross,
                drop,
            ]
        )
    for on in sorted({group.trained_on for group in groups}):
        for model, objective in published.FIGURE_5:
            if [model, objective, on] not in [row[:3] for row in rows]:
                rows.append([model, objective, on] + [None] * (len(data_sets) + 4))
    order = list(published.TABLE_1)
    rows.sort(key=lambda row: (order.index(row[0]) if row[0] in order else len(order), *row[1:3]))
    oracle = [
        next(
            (
                cell
                for group in groups
                if (cell := level(group, name, 'si_snri', system='ideal_ratio_mask')) is not None
            ),
            None,
        )
        for name in data_sets
    ]
    if any(cell is not None for cell in oracle):
        rows.append([SYSTEMS['ideal_ratio_mask'], '', '', '', '', *oracle, '', ''])
    return items.Table(
        'cross_dataset',
        'Cross-dataset evaluation: SI-SNRi (dB)',
        (
            items.Column('Model', 'model'),
            items.Column('Objective', 'objective'),
            items.Column('Trained on', 'trained_on'),
            items.Column('Preset', 'preset'),
            items.Column('Seeds', 'seeds', 0),
            *(items.Column(f'On {name}', f'on_{name}') for name in data_sets),
            items.Column('Other data sets', 'cross'),
            items.Column('Drop', 'drop'),
        ),
        rows,
        'The drop is what a model scores on the test set of its own data set minus its mean on the'
        ' others; it holds how hard those test sets are, too. IRM: ideal ratio mask. Test sets: '
        + '; '.join(_size(groups, name) for name in data_sets)
        + '.',
    )


def _size(groups, data_set):
    """'libri: 150 mixtures of 31 speakers'."""
    rows = next(
        (result.rows.values() for group in groups for result in group.results(data_set)), ()
    )
    speakers = {name for row in rows for name in row.get('sources', [])}
    return f'{data_set}: {counted(len(rows), "mixture")} of {counted(len(speakers), "speaker")}'


def _in_and_across(members, data_sets):
    """Estimates of the in-dataset mean, the cross-dataset mean and the drop of some Groups; None
    where one of them lacks a test set."""
    own = [(1 / len(members), group, group.trained_on) for group in members]
    cross = [
        (1 / len(members) / (len(data_sets) - 1), group, name)
        for group in members
        for name in data_sets
        if name != group.trained_on and len(data_sets) > 1
    ]
    whole = all(group.trained_on in data_sets for group in members)
    return (
        contrast(own, 'si_snri') if whole else None,
        contrast(cross, 'si_snri') if whole else None,
        contrast(own + [(-weight, *rest) for weight, *rest in cross], 'si_snri')
        if whole and cross
        else None,
    )


def cross_means(groups, data_sets):
    """Means in and across data sets of each model and objective, over all that it was trained on.

    Args:
        groups: Groups of speech runs.
        data_sets: names of the test sets.
    """
    rows, kinds = [], {}
    for group in groups:
        kinds.setdefault((group.model, group.objective, group.config['preset']), []).append(group)
    for kind, members in kinds.items():
        names = [group.trained_on for group in members]
        one_each = len(set(names)) == len(names)  # else they differ in yet another key
        rows.append(
            [
                *kind,
                ', '.join(names),
                *(_in_and_across(members, data_sets) if one_each else [None] * 3),
            ]
        )
    return items.Table(
        'cross_means',
        'In-dataset and cross-dataset means: SI-SNRi (dB)',
        (
            items.Column('Model', 'model'),
            items.Column('Objective', 'objective'),
            items.Column('Preset', 'preset'),
            items.Column('Trained on', 'trained_on'),
            items.Column('In-dataset', 'in_dataset'),
            items.Column('Cross-dataset', 'cross_dataset'),
            items.Column('Drop', 'drop'),
        ),
        rows,
        'Each training set counts alike, and so does each of its other test sets; rows that were'
        ' trained on different sets cannot be compared.',
    )


def cross_differences(groups, data_sets):
    """What each model and objective scores over Conv-TasNet with SI-SNR, on the same examples;
    None where there is no other.

    Args:
        groups: Groups of speech runs.
        data_sets: names of the test sets.
    """
    rows = []
    for group in groups:
        plain = [
            one
            for one in groups
            if one.model == 'Conv-TasNet'
            and one.objective == SI_SNR
            and (one.trained_on, one.config['preset']) == (group.trained_on, group.config['preset'])
        ]
        if group not in plain:
            first = plain[0] if len(plain) == 1 else None
            rows.append(
                [
                    group.model,
                    group.objective,
                    group.trained_on,
                    group.config['preset'],
                    *(
                        contrast([(1, group, name), (-1, first, name)], 'si_snri')
                        for name in data_sets
                    ),
                ]
            )
    if not rows:
        return None
    return items.Table(
        'cross_differences',
        'Above Conv-TasNet with SI-SNR of the same training set: SI-SNRi (dB)',
        (
            items.Column('Model', 'model'),
            items.Column('Objective', 'objective'),
            items.Column('Trained on', 'trained_on'),
            items.Column('Preset', 'preset'),
            *(items.Column(f'On {name}', f'on_{name}') for name in data_sets),
        ),
        rows,
        'Means of the differences on the same examples, with intervals for those.',
    )
