"""Numbers behind Fig. 2 of paper 1: medians on C1 to C4."""

from fgsep_jax.report import items
from fgsep_jax.report.tables_common import SUBSETS, SYSTEMS, level, oracle_cell

METRICS = (('sdri_foreground', 'SDR improvement'), ('siri_foreground', 'SIR improvement'),
           ('sar_foreground', 'SAR'))


def families(names):
    """Data sets of which at least one subset was evaluated: 'fgbg' of 'fgbg-c1'."""
    return sorted({name[:-3] for name in names if name[-3:] in {f'-{one}' for one in SUBSETS}})


def medians(groups, family):
    """Medians of the foreground's SDR and SIR improvement and SAR, a table each.

    Args:
        groups: Groups of mask models.
        family: data set, without the subset.
    """
    how = dict(statistic='median', by_recording=True)
    tables = []
    for metric, label in METRICS:
        rows = [[group.label, len(group.runs),
                 *(level(group, f'{family}-{one}', metric, **how) for one in SUBSETS)]
                for group in groups]
        for system in ('ideal_mel_mask', 'ideal_ratio_mask', 'untrained'):
            cells = [oracle_cell(groups, f'{family}-{one}', metric, system, **how)
                     for one in SUBSETS]
            if any(cell is not None for cell in cells):
                rows.append([SYSTEMS[system], '', *cells])
        tables.append(items.Table(
            f'{metric}-{family}', f'Foreground {label} on {family}, median (dB)',
            (items.Column('System', 'system'), items.Column('Seeds', 'seeds', 0),
             *(items.Column(one.upper(), one) for one in SUBSETS)), rows,
            'C1: both classes seen in training; C2: background unseen; C3: foreground unseen;'
            ' C4: both unseen. Intervals are over the recordings and the seeds.'))
    return tables
