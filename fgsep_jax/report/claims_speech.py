"""What paper 2 claims, held against our runs."""

import itertools

from fgsep_jax.report import items, published
from fgsep_jax.report.claims import NOTE, several, verdict
from fgsep_jax.report.tables_common import contrast, test_sets

DEEP, PLAIN = 'Deep w/ PReLU', 'Conv-TasNet'


def speech(groups, preset):
    """Claims of paper 2 on the runs of one preset.

    Args:
        groups: Groups of speech runs.
        preset: of the runs to compare.

    Returns:
        Table.
    """
    runs = _Runs([group for group in groups if group.config['preset'] == preset])
    rows = []
    for claim, number, where, wanted, kind in (
        *_deep(runs),
        *_variants(runs),
        *_power_law(runs),
        *_diversity(runs),
    ):
        found = contrast(wanted, 'si_snri')
        rows.append([claim, number, where, found, verdict(found, kind)])
    return items.Table(
        f'claims_speech-{preset}',
        f'Claims of the Conv-TasNet study, {preset} models: SI-SNRi',
        (
            items.Column('Claim', 'claim'),
            items.Column('difference (dB)', 'published', published=True),
            items.Column('Here', 'where'),
            items.Column('Difference (dB)', 'difference'),
            items.Column('Verdict', 'verdict'),
        ),
        rows,
        NOTE + ' A drop holds how hard the test sets are; for the row on data sets that neither was'
        ' trained on that does not matter.' + several(runs.several),
    )


class _Runs:
    """Groups by model, training set and objective, and the differences between them."""

    def __init__(self, groups):
        self._groups = groups
        self.several = set()  # labels
        self.sets = test_sets(groups)
        self.own = sorted({group.trained_on for group in groups} & set(self.sets))

    def pick(self, model, on, power_law=False):
        """The Group of a model trained on a data set, None unless there is exactly one."""
        objective = 'SI-SNR + power law' if power_law else 'SI-SNR'
        fits = [
            group
            for group in self._groups
            if group.model == model and group.trained_on == on and group.objective == objective
        ]
        if len(fits) > 1:
            self.several.add(', '.join(group.label for group in fits))
        return fits[0] if len(fits) == 1 else None

    def tests(self, on, inside):
        """Test sets in or across data sets, for training on one."""
        return [name for name in self.sets if (name == on) == inside]

    def speakers(self, on):
        """Speakers of a training set, 0 where nothing tells."""
        return max(
            (
                run.training_data.get('speakers') or 0
                for group in self._groups
                if group.trained_on == on
                for run in group.runs
            ),
            default=0,
        )


def minus(first, second, tests, weight=1.0):
    """Terms of the mean difference of two Groups over test sets."""
    return [
        (sign * weight / len(tests), group, test)
        for test in tests
        for sign, group in ((1, first), (-1, second))
    ]


def _mean(pairs_of):
    """Terms of the mean over training sets of {training set: (first, second, tests)}."""
    return [
        term
        for first, second, tests in pairs_of.values()
        for term in minus(first, second, tests, 1 / len(pairs_of))
    ]


def _trained(names):
    """Words for a mean over training sets."""
    return f'mean over training on {" and on ".join(names)}' if names else 'no training set'


def _deep(runs):
    for inside, number, name in (
        (True, published.DEEP_IN, 'in-dataset'),
        (False, published.DEEP_CROSS, 'cross-dataset'),
    ):
        found = {
            on: (runs.pick(DEEP, on), runs.pick(PLAIN, on), runs.tests(on, inside))
            for on in runs.own
        }
        claim = f'Deep (PReLU) above Conv-TasNet (linear), {name}'
        yield claim, number, _trained(runs.own), _mean(found), 'above'
        for on, pair in found.items() if len(found) > 1 else ():
            yield claim, '', f'trained on {on}', minus(*pair), 'above'


def _variants(runs):
    for on, (claim, first, second, kind) in itertools.product(
        runs.own,
        (
            ('GLU level with PReLU', 'Deep w/ GLU', DEEP, 'level'),
            ('Dilation no better than PReLU', 'Deep w/ dilation', DEEP, 'not above'),
            ('Big-Conv-TasNet no better than Conv-TasNet', 'Big-Conv-TasNet', PLAIN, 'not above'),
        ),
    ):
        number = published.TABLE_1[first][-1] - published.TABLE_1[second][-1]
        yield (
            claim,
            f'{number:+.1f}',
            f'trained and tested on {on}',
            minus(runs.pick(first, on), runs.pick(second, on), [on]),
            kind,
        )


def _power_law(runs):
    for model, verb, kind, numbers in (
        (
            DEEP,
            'helps the deep encoder',
            'above',
            (published.POWER_LAW_DEEP_IN, published.POWER_LAW_DEEP_CROSS),
        ),
        (
            PLAIN,
            'hurts the linear encoder',
            'below',
            (published.POWER_LAW_LINEAR_IN, published.POWER_LAW_LINEAR_CROSS),
        ),
    ):
        for inside, number, name in zip((True, False), numbers, ('in-dataset', 'cross-dataset')):
            pairs = {
                on: (runs.pick(model, on, True), runs.pick(model, on), runs.tests(on, inside))
                for on in runs.own
            }
            pairs = {on: pair for on, pair in pairs.items() if None not in pair}
            yield (f'Power law {verb}, {name}', number, _trained(pairs), _mean(pairs), kind)
    pairs = {on: (runs.pick(DEEP, on, True), runs.pick(PLAIN, on), runs.sets) for on in runs.own}
    yield (
        'Deep with power law above Conv-TasNet with SI-SNR, all test sets',
        published.POWER_LAW_DEEP_OVER_PLAIN,
        _trained(pairs),
        _mean(pairs),
        'above',
    )


def _diversity(runs):
    """More diverse training data, for each pair of training sets of which one has more speakers."""
    known = sorted((on for on in runs.own if runs.speakers(on)), key=runs.speakers)
    for few, many in itertools.combinations(known, 2):
        if runs.speakers(few) == runs.speakers(many):
            continue
        models = [
            (runs.pick(model, few, law), runs.pick(model, many, law))
            for model, law in itertools.product(published.TABLE_1, (False, True))
        ]
        models = [pair for pair in models if None not in pair]
        if not models:
            continue
        drops = []
        for sign, on, i in ((1, few, 0), (-1, many, 1)):
            others = runs.tests(on, False)
            for pair in models:
                drops += [(sign / len(models), pair[i], on)] + [
                    (-sign / len(models) / len(others), pair[i], name) for name in others
                ]
        yield (
            'Smaller drop from more diverse training data',
            published.DROPS,
            f'drop of training on {few} ({runs.speakers(few)} speakers) minus that of {many}'
            f' ({runs.speakers(many)}), mean of {len(models)} models',
            drops,
            'above',
        )
        neutral = [name for name in runs.sets if name not in (few, many)]
        yield (
            'More diverse training data better on other data sets',
            published.MORE_DATA,
            f'trained on {many} minus {few}, tested on {", ".join(neutral) or "-"}, mean of'
            f' {len(models)} models',
            [
                term
                for first, second in models
                if neutral
                for term in minus(second, first, neutral, 1 / len(models))
            ],
            'above',
        )
