"""Tables 1 and 2 of paper 2 and the matrix behind its Fig. 5."""

from fgsep_jax.report import items, published
from fgsep_jax.report.tables_common import contrast, level, parameters

SI_SNR = 'SI-SNR'  # the plain objective
NON_LINEARITY = {'linear': 'linear', 'prelu': 'PReLU', 'glu': 'GLU'}


def _matching(groups, model, data_set):
    return [group for group in groups if group.model == model and group.objective == SI_SNR
            and group.trained_on == data_set]


def table_1(groups, data_set):
    """Table 1: the variants trained and tested on one data set, published numbers beside ours.

    Args:
        groups: Groups.
        data_set: name of the training and the test set.
    """
    rows = []
    for model, (layers, linearity, filters, number) in published.TABLE_1.items():
        for group in _matching(groups, model, data_set) or [None]:
            ours = [None] * 7
            if group:
                config = group.config
                ours = [config['preset'], config['model.layers'],
                        NON_LINEARITY[config['model.encoder']], config['model.basis'],
                        parameters(group), _seeds(group, data_set),
                        level(group, data_set, 'si_snri')]
            rows.append([model, layers, linearity, filters, number, *ours])
    paper = [items.Column(label, f'published_{key}', digits, published=True)
             for label, key, digits in (
                 ('I (# layers)', 'layers', 0), ('Non-linearity', 'non_linearity', 0),
                 ('# first-layer filters', 'filters', 0),
                 ('SI-SNRi, WSJ0-2mix (dB)', 'si_snri', 1))]
    return items.Table(
        f'table_1-{data_set}', f'Table 1: variants trained and tested on {data_set}',
        (items.Column('Model', 'model'), *paper, items.Column('Preset', 'preset'),
         items.Column('I (# layers)', 'layers', 0), items.Column('Non-linearity', 'non_linearity'),
         items.Column('# first-layer filters', 'filters', 0),
         items.Column('Parameters', 'parameters', 0), items.Column('Seeds', 'seeds', 0),
         items.Column(f'SI-SNRi, {data_set} (dB)', 'si_snri')), rows,
        'Published numbers are of the full models on WSJ0-2mix; ours are of the sizes and the data'
        ' set that the columns name. The objective is SI-SNR.')


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
                ours = [group.config['preset'], parameters(group), _seeds(group, data_set),
                        level(group, data_set, 'sdri')]
            rows.append([model, number, size, *ours])
    return items.Table(
        f'table_2-{data_set}', f'Table 2: SDR improvement on {data_set}',
        (items.Column('Model', 'model'),
         items.Column('SDRi, WSJ0-2mix (dB)', 'published_sdri', 1, published=True),
         items.Column('Parameters', 'published_parameters', 0, published=True),
         items.Column('Preset', 'preset'), items.Column('Parameters', 'parameters', 0),
         items.Column('Seeds', 'seeds', 0), items.Column(f'SDRi, {data_set} (dB)', 'sdri')), rows,
        'Published numbers are of the full models on WSJ0-2mix; ours are of the sizes and the data'
        ' set that the columns name.')


def cross_table(groups, data_sets):
    """The matrix behind Fig. 5: training set x test set x model x objective.

    Args:
        groups: Groups of speech runs.
        data_sets: names of the test sets.

    Returns:
        Table with a column a test set, then the mean over the test sets other than the run's own
        and the drop from its own to that mean.
    """
    rows = []
    for group in groups:
        cells = [level(group, name, 'si_snri') for name in data_sets]
        others = [name for name, cell in zip(data_sets, cells)
                  if cell is not None and name != group.trained_on]
        share = [(1 / len(others), group, name) for name in others]
        own = [(1, group, group.trained_on)] if group.trained_on in data_sets else []
        drop = own + [(-weight, *rest) for weight, *rest in share] if own and share else []
        rows.append([group.model, group.objective, group.trained_on, group.config['preset'],
                     len(group.runs), *cells, contrast(share, 'si_snri'),
                     contrast(drop, 'si_snri')])
    return items.Table(
        'cross_dataset', 'Cross-dataset evaluation: SI-SNRi (dB)',
        (items.Column('Model', 'model'), items.Column('Objective', 'objective'),
         items.Column('Trained on', 'trained_on'), items.Column('Preset', 'preset'),
         items.Column('Seeds', 'seeds', 0),
         *(items.Column(f'On {name}', f'on_{name}') for name in data_sets),
         items.Column('Other data sets', 'cross'), items.Column('Drop', 'drop')), rows,
        'The drop is what a model scores on the test set of its own data set minus its mean on the'
        ' others; it holds how hard those test sets are, too.')


def _seeds(group, data_set):
    return len(group.results(data_set)) or None
