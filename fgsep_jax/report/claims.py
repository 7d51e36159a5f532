"""What an interval says of a paper's claim."""

LEVEL = 0.5  # dB: closer than this is level
NOTE = (
    'The verdict goes by the 95 % interval over examples and seeds: reproduced, if all of it is'
    ' on the side of the claim; not reproduced, if all of it is on the other; else undecided.'
    f' "Level" and "no better" mean by less than {LEVEL:g} dB. With fewer than three seeds'
    ' nothing is claimed.'
)


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
    if estimate.low is None or estimate.note:
        return f'no claim ({estimate.note})'
    low, high = estimate.low, estimate.high
    if kind == 'below':
        low, high = -high, -low
    yes, no = {
        'above': (low > 0, high < 0),
        'below': (low > 0, high < 0),
        'not above': (low <= 0 and high < LEVEL, low > 0),
        'level': (low > -LEVEL and high < LEVEL, low > LEVEL or high < -LEVEL),
    }[kind]
    return 'reproduced' if yes else 'not reproduced' if no else 'undecided'


def several(labels):
    """The sentence on runs of one model that differ in more than their seed, '' for none."""
    return f' Not compared, since several fit: {"; ".join(sorted(labels))}.' if labels else ''
