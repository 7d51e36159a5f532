"""What paper 1 claims in its section V, held against our runs."""

from fgsep_jax.report import items, published
from fgsep_jax.report.claims import NOTE, several, verdict
from fgsep_jax.report.tables_common import SUBSETS, contrast

SDRI, SIRI, SAR = 'sdri_foreground', 'siri_foreground', 'sar_foreground'
BETTER = ('c1', 'c2', 'c4')  # where the paper has M2 above all others
# (claim, published, model, above which, metric, kind, subsets it is claimed of)
DIFFERENCES = (
    ('M2 above M1 in SDRi', published.M2_OVER_M1, 'M2', 'M1', SDRI, 'above', BETTER),
    ('M2 above M1+ in SDRi', 'yes', 'M2', 'M1+', SDRI, 'above', BETTER),
    ('M2 above M2+ in SDRi', 'yes', 'M2', 'M2+', SDRI, 'above', BETTER),
    ('M2 above M1 in SIRi', 'yes', 'M2', 'M1', SIRI, 'above', SUBSETS),
    ('M1+ below M1 in SDRi', 'yes', 'M1+', 'M1', SDRI, 'below', SUBSETS),
    ('M2+ below M2 in SDRi', 'yes', 'M2+', 'M2', SDRI, 'below', SUBSETS),
    ('M1+ below M2+ in SDRi', 'yes', 'M1+', 'M2+', SDRI, 'below', SUBSETS),
    ('M2+ level with M2 in SIRi', 'yes', 'M2+', 'M2', SIRI, 'level', SUBSETS),
    ('M2+ below M2 in SAR', 'yes', 'M2+', 'M2', SAR, 'below', SUBSETS),
    ('M2+ level with M1 in SDRi', 'yes', 'M2+', 'M1', SDRI, 'level', ('c1', 'c2')),
    ('M2 level with M1 in SDRi', 'yes', 'M2', 'M1', SDRI, 'level', ('c3', 'c4')),
)
UNSEEN = {'c1': 0.5, 'c2': 0.5, 'c3': -0.5, 'c4': -0.5}  # seen foregrounds minus unseen ones


def foreground(groups, family, preset):
    """Claims of paper 1 on one data set: differences of medians on C1 to C4.

    Args:
        groups: Groups of mask models.
        family: data set, without the subset.
        preset: of the runs to compare.

    Returns:
        Table.
    """
    fits = [
        group for group in groups if group.trained_on == family and group.config['preset'] == preset
    ]
    names = [group.model for group in fits]
    model = {group.model: group for group in fits if names.count(group.model) == 1}

    def difference(first, second, metric, weights):
        return contrast(
            [
                (sign * weight, model.get(name), f'{family}-{one}')
                for one, weight in weights.items()
                for sign, name in ((1, first), (-1, second))
            ],
            metric,
        )

    rows = []
    for claim, number, first, second, metric, kind, where in DIFFERENCES:
        cells = [difference(first, second, metric, {one: 1.0}) for one in SUBSETS]
        mean = difference(first, second, metric, {one: 1 / len(where) for one in where})
        rows.append([claim, number, *cells, _names(where), mean, verdict(mean, kind)])
    loss = difference('M2', 'M1', SDRI, UNSEEN)
    rows.append(
        [
            'M2 loses more than M1 on unseen events, SDRi',
            'yes',
            *[''] * 4,
            'C1, C2 minus C3, C4',
            loss,
            verdict(loss, 'above'),
        ]
    )
    spread = contrast(
        [
            (weight, model.get('M1'), f'{family}-{one}')
            for one, weight in (('c1', 1), *((one, -1 / 3) for one in SUBSETS[1:]))
        ],
        SDRI,
    )
    rows.append(
        [
            'M1 as good on unseen classes, SDRi',
            'yes',
            *[''] * 4,
            'C1 minus C2, C3, C4',
            spread,
            verdict(spread, 'not above'),
        ]
    )
    return items.Table(
        f'claims_foreground-{family}-{preset}',
        f'Claims of the foreground-background study on {family}, {preset} models: differences of'
        ' medians (dB)',
        (
            items.Column('Claim', 'claim'),
            items.Column('claim', 'published', published=True),
            *(items.Column(one.upper(), one) for one in SUBSETS),
            items.Column('Claimed of', 'where'),
            items.Column('Mean of these', 'difference'),
            items.Column('Verdict', 'verdict'),
        ),
        rows,
        NOTE
        + ' The verdict is on the mean over the subsets that the claim names.'
        + several([group.label for group in fits if group.model not in model]),
    )


def _names(subsets):
    return ', '.join(one.upper() for one in subsets)
