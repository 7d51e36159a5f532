"""Numbers behind Fig. 2 of paper 1: medians on C1 to C4."""

from fgsep_jax.report import groups as groups_lib, items
from fgsep_jax.report.tables_common import SUBSETS, SYSTEMS, level, seeds_on

MODELS = ('M1', 'M1+', 'M2', 'M2+')
METRICS = (
    ('sdri_foreground', 'SDR improvement'),
    ('siri_foreground', 'SIR improvement'),
    ('sar_foreground', 'SAR'),
)


def families(names):
    """Data sets of which at least one subset was evaluated: 'fgbg' of 'fgbg-c1'."""
    return sorted({name[:-3] for name in names if name[-3:] in {f'-{one}' for one in SUBSETS}})


def slots(groups):
    """[(name, Group or None)]: the four models of the paper and what else there is, in order.

    Args:
        groups: Groups of mask models.
    """
    labels = groups_lib.short_labels(groups)
    found = [(labels[group], group) for group in groups]
    found += [(model, None) for model in MODELS if model not in {group.model for group in groups}]
    return sorted(
        found,
        key=lambda slot: (
            MODELS.index(slot[1].model if slot[1] else slot[0])
            if slot[1] is None or slot[1].model in MODELS
            else len(MODELS)
        ),
    )


def medians(groups, family):
    """Medians of the foreground's SDR and SIR improvement and SAR, a table each.

    Args:
        groups: Groups of mask models.
        family: data set, without the subset.
    """
    names = [f'{family}-{one}' for one in SUBSETS]
    tables = []
    for metric, label in METRICS:
        rows = []
        for model, group in slots(groups):
            present = [name for name in names if group and group.results(name)]
            rows.append(
                [
                    model,
                    seeds_on(group, present) if present else None,
                    *(level(group, name, metric) if group else None for name in names),
                ]
            )
        for system in ('ideal_mel_mask', 'ideal_ratio_mask', 'untrained'):
            owner = next(
                (group for group in groups if any(group.results(name, system) for name in names)),
                None,
            )
            if owner:
                of = f' {owner.model}' if system == 'untrained' else ''
                rows.append(
                    [
                        SYSTEMS[system] + of,
                        '',
                        *(level(owner, name, metric, system=system) for name in names),
                    ]
                )
        tables.append(
            items.Table(
                f'{metric}-{family}',
                f'Foreground {label} on {family}, median (dB)',
                (
                    items.Column('System', 'system'),
                    items.Column('Seeds', 'seeds', 0),
                    *(items.Column(one.upper(), one) for one in SUBSETS),
                ),
                rows,
                'C1: both classes seen in training; C2: background unseen; C3: foreground unseen;'
                ' C4: both unseen. IRM: ideal ratio mask. Intervals are over the recordings and the'
                ' seeds.',
            )
        )
    return tables
