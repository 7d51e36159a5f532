"""What the papers claim, held against our runs: a difference, its interval, a verdict."""

import itertools
import json
import os

from fgsep_jax.report import items, published
from fgsep_jax.report.tables_common import SUBSETS, contrast, test_sets

LEVEL = 0.5  # dB: closer than this is level
NOTE = ('The verdict goes by the 95 % interval over examples and seeds: reproduced, if all of it is'
        ' on the side of the claim; not reproduced, if all of it is on the other; else undecided.'
        ' With one seed nothing is claimed.')


def verdict(estimate, kind):
    """What an interval says of a claim.

    Args:
        estimate: Estimate, or None.
        kind: what is claimed of the difference: 'above' or 'below' 0, 'not above' (0 is in the
            interval or above it, and all of it is below LEVEL), 'level' (all of it within LEVEL).

    Returns:
        Text, or None without an estimate.
    """
    if estimate is None:
        return None
    if estimate.low is None:
        return f'no claim ({estimate.note})'
    if estimate.note:
        return f'no claim ({estimate.note})'
    low, high = estimate.low, estimate.high
    if kind == 'below':
        low, high = -high, -low
    yes, no = {
        'above': (low > 0, high < 0), 'below': (low > 0, high < 0),
        'not above': (low <= 0 and high < LEVEL, low > 0),
        'level': (low > -LEVEL and high < LEVEL, low > LEVEL or high < -LEVEL)}[kind]
    return 'reproduced' if yes else 'not reproduced' if no else 'undecided'


def speech(groups, preset):
    """Claims of paper 2 on the runs of one preset.

    Args:
        groups: Groups of speech runs.
        preset: of the runs to compare.

    Returns:
        Table.
    """
    groups = [group for group in groups if group.config['preset'] == preset]
    sets, several = test_sets(groups), set()
    trained = sorted({group.trained_on for group in groups})
    rows = []

    def pick(model, on, power_law=False):
        objective = 'SI-SNR + power law' if power_law else 'SI-SNR'
        fits = [group for group in groups if group.model == model and group.trained_on == on
                and group.objective == objective]
        if len(fits) > 1:
            several.add(', '.join(group.label for group in fits))
        return fits[0] if len(fits) == 1 else None

    def add(claim, number, where, wanted, kind):
        found = contrast(wanted, 'si_snri')
        rows.append([claim, number, where, found, verdict(found, kind)])

    def minus(first, second, tests):
        share = 1 / max(len(tests), 1)
        return [(sign * share, group, test) for test in tests
                for sign, group in ((1, first), (-1, second))]

    own = [on for on in trained if on in sets]
    for test_in, number, claim in ((True, published.DEEP_IN, 'in-dataset'),
                                   (False, published.DEEP_CROSS, 'cross-dataset')):
        for on in own:
            tests = [name for name in sets if (name == on) == test_in]
            add(f'Deep (PReLU) above linear, {claim}', number, f'trained on {on}',
                minus(pick('Deep w/ PReLU', on), pick('Conv-TasNet', on), tests), 'above')
    for on in own:
        where = f'trained and tested on {on}'
        add('GLU level with PReLU', '+0.1', where,
            minus(pick('Deep w/ GLU', on), pick('Deep w/ PReLU', on), [on]), 'level')
        add('Dilation no better than PReLU', '-0.1', where,
            minus(pick('Deep w/ dilation', on), pick('Deep w/ PReLU', on), [on]), 'not above')
        add('Big-Conv-TasNet no better than Conv-TasNet', '-0.1', where,
            minus(pick('Big-Conv-TasNet', on), pick('Conv-TasNet', on), [on]), 'not above')
    for model, kind, numbers in (
            ('Deep w/ PReLU', 'above',
             (published.POWER_LAW_DEEP_IN, published.POWER_LAW_DEEP_CROSS)),
            ('Conv-TasNet', 'below',
             (published.POWER_LAW_LINEAR_IN, published.POWER_LAW_LINEAR_CROSS))):
        verb = 'helps the deep encoder' if kind == 'above' else 'hurts the linear encoder'
        pairs = {on: (pick(model, on, True), pick(model, on)) for on in own}
        pairs = {on: pair for on, pair in pairs.items() if None not in pair}
        for test_in, number, name in zip((True, False), numbers, ('in-dataset', 'cross-dataset')):
            wanted = [part for on, pair in pairs.items()
                      for part in minus(*pair, [one for one in sets if (one == on) == test_in])]
            add(f'Power law {verb}, {name}', number, f'trained on {", ".join(pairs) or "-"}, mean',
                [(weight / len(pairs), *rest) for weight, *rest in wanted], kind)
    for few, many in _by_diversity(groups, own):
        wanted = []
        models = [(model, law) for model, law in itertools.product(
            published.TABLE_1, (False, True)) if pick(model, few, law) and pick(model, many, law)]
        for model, law in models:
            for sign, on in ((1, few), (-1, many)):
                group, others = pick(model, on, law), [name for name in sets if name != on]
                wanted += [(sign / len(models), group, on)] + [
                    (-sign / len(models) / len(others), group, name) for name in others]
        add('Smaller drop from more diverse training data', published.DROPS,
            f'drop of training on {few} minus that of {many}, mean of {len(models)} models',
            wanted, 'above')
    note = NOTE + f' "Level" and "no better" mean by less than {LEVEL:g} dB.' + _left_out(several)
    return items.Table(
        f'claims_speech-{preset}', f'Claims of the Conv-TasNet study, {preset} models: SI-SNRi',
        (items.Column('Claim', 'claim'),
         items.Column('difference (dB)', 'published', published=True),
         items.Column('Here', 'where'), items.Column('Difference (dB)', 'difference'),
         items.Column('Verdict', 'verdict')), rows, note)


def _left_out(labels):
    """The sentence on runs of one model that differ in more than their seed."""
    return f" Not compared, since several fit: {'; '.join(sorted(labels))}." if labels else ''


def _by_diversity(groups, names):
    """Pairs of training sets, the one of fewer speakers first; those that do not tell left out."""
    speakers = {}
    for group in groups:
        for run in group.runs:
            path = os.path.join(run.path, 'training_data.json')
            if os.path.exists(path):
                with open(path) as file:
                    speakers[group.trained_on] = json.load(file)['train']['speakers']
    known = sorted((name for name in names if speakers.get(name)), key=speakers.get)
    return [(few, many) for few, many in itertools.combinations(known, 2)
            if speakers[few] < speakers[many]]


def foreground(groups, family, preset):
    """Claims of paper 1 on one data set: differences of medians on C1 to C4.

    Args:
        groups: Groups of mask models.
        family: data set, without the subset.
        preset: of the runs to compare.

    Returns:
        Table.
    """
    fits = [group for group in groups
            if group.trained_on == family and group.config['preset'] == preset]
    names = [group.model for group in fits]
    model = {group.model: group for group in fits if names.count(group.model) == 1}
    several = [group.label for group in fits if group.model not in model]
    how = dict(statistic='median', by_recording=True)
    rows = []
    for claim, number, first, second, metric, kind, where in (
            ('M2 above M1 in SDRi', published.M2_OVER_M1, 'M2', 'M1', 'sdri_foreground', 'above',
             ('c1', 'c2', 'c4')),
            ('M1+ below M1 in SDRi', 'yes', 'M1+', 'M1', 'sdri_foreground', 'below', SUBSETS),
            ('M2+ below M2 in SDRi', 'yes', 'M2+', 'M2', 'sdri_foreground', 'below', SUBSETS),
            ('M1+ below M2+ in SDRi', 'yes', 'M1+', 'M2+', 'sdri_foreground', 'below', SUBSETS),
            ('M2+ level with M2 in SIRi', 'yes', 'M2+', 'M2', 'siri_foreground', 'level', SUBSETS),
            ('M2+ below M2 in SAR', 'yes', 'M2+', 'M2', 'sar_foreground', 'below', SUBSETS)):
        pair = ((1, model.get(first)), (-1, model.get(second)))
        cells = [contrast([(sign, group, f'{family}-{one}') for sign, group in pair], metric, **how)
                 for one in SUBSETS]
        mean = contrast([(sign / len(where), group, f'{family}-{one}') for one in where
                         for sign, group in pair], metric, **how)
        rows.append([claim, number, *cells, ', '.join(where).upper(), mean, verdict(mean, kind)])
    seen = {'c1': 0.5, 'c2': 0.5, 'c3': -0.5, 'c4': -0.5}
    loss = contrast([(sign * weight, model.get(name), f'{family}-{one}')
                     for sign, name in ((1, 'M2'), (-1, 'M1')) for one, weight in seen.items()],
                    'sdri_foreground', **how)
    rows.append(['M2 loses more than M1 on unseen events, SDRi', 'yes', '', '', '', '',
                 'C1, C2 - C3, C4', loss, verdict(loss, 'above')])
    return items.Table(
        f'claims_foreground-{family}-{preset}',
        f'Claims of the foreground-background study on {family}, {preset} models: differences of'
        ' medians (dB)',
        (items.Column('Claim', 'claim'),
         items.Column('difference of medians (dB)', 'published', published=True),
         *(items.Column(one.upper(), one) for one in SUBSETS),
         items.Column('Claimed of', 'where'), items.Column('Mean of these', 'difference'),
         items.Column('Verdict', 'verdict')), rows, NOTE + _left_out(several))
