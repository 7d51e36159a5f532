"""Means and medians with intervals over examples and over seeds.

Scores of one system on one data set are value_SN: [seeds, examples]. Both are drawn: other seeds
would train other weights, another test set would hold other examples. The variance of a statistic
has a part of each, taken as if the other were fixed (the noise of single cells counts in both).
The interval's half width is sqrt(t_e^2 var_e + t_s^2 var_s), each part with the quantile of
Student's t at its own degrees of freedom (Banerjee, "Approximate confidence interval for linear
functions of means of k populations when the population variances are not equal", Sankhya 1960),
which covers at least 95 % however the parts relate. One t for their sum (Welch and Satterthwaite)
covers 92 % where three seeds differ by more than the examples do; it serves within a part.

Mixtures that share a speaker or a recording are no independent examples: where a Term says who is
in them, those are drawn (an example counts as often as all that are in it), with as many degrees
of freedom as there are of them, less one. Where nothing but the speakers differs that covers 93 %
with 6 of them and 91 % with 4, and more than 95 % where anything else differs too.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

RESAMPLINGS = 500  # a standard deviation within 3 %
MOST_CELLS = 1 << 24  # weights, of examples in resamplings, that are held at once
MIN_GROUPS = 4  # speakers, recordings or examples; fewer say nothing of how they vary
MIN_SEEDS = 3  # for a claim
NOBODY = -1  # as a label: no group


class Estimate(NamedTuple):
    """A number with its 95 % interval.

    Attributes:
      value: the number.
      low: lower end of the interval, or None.
      high: upper end, or None.
      note: what a reader must know of it, e.g. 'one seed'; '' for nothing.
    """

    value: float
    low: float | None = None
    high: float | None = None
    note: str = ''


class Term(NamedTuple):
    """What one system on one data set adds to a `contrast`.

    Attributes:
      weight: factor of its mean or median.
      value_SN: scores [seeds, examples].
      system: terms of the same trainings carry the same name, and their seeds in one order.
      data: terms on the same examples carry the same name, and their examples in one order.
      clusters: arrays of labels: [N], one of each kind in an example (its foreground's
        recording, its background's), or [N, S], several of one kind (its speakers, as many as
        there are in a mixture of the data set).
    """

    weight: float
    value_SN: Any
    system: Any = ''
    data: Any = ''
    clusters: tuple = ()


def clusters(kind, label_NS):
    """The clusters of a `Term` from who or what is in each example.

    Args:
      kind: 'recording', of which the columns are one kind each (foregrounds, backgrounds), or
        'speaker', of one kind.
      label_NS: of each source of each example.

    Returns:
      Tuple of arrays.
    """
    label_NS = np.asarray(label_NS)
    label_NS = label_NS if label_NS.dtype.kind == 'i' else label_NS.astype(str)  # numbers will do
    return tuple(label_NS.T) if kind == 'recording' else (label_NS,)


def summarize(value_SN, *, statistic='mean', clusters=()):
    """Mean or median of one system's scores.

    Args:
      value_SN: scores [seeds, examples].
      statistic: 'mean', or 'median': over the examples of each seed, averaged over seeds.
      clusters: see `Term`; () for independent examples.

    Returns:
      Estimate; see `contrast`.
    """
    return contrast([Term(1, value_SN, clusters=tuple(clusters))], statistic=statistic)


def describe(values, clusters=()):
    """Describes the distribution of a metric over examples.

    Args:
      values: One value an example, [N].
      clusters: Who or what each example holds, see `Term`.

    Returns:
      `mean`, `median`, `q25`, `q75`, `count`, and `ci95` = [low, high], the 95 % confidence
      interval of the mean as `summarize` has it, of one seed. `mean` to `q75` are None if
      nothing was counted, `ci95` is None for too few examples, speakers or recordings. Values
      that are not finite count only as `non_finite`.
    """
    values = np.asarray(values, np.float64).ravel()
    counts = np.isfinite(values)
    finite = values[counts]
    count = finite.size
    summary = dict(mean=None, median=None, q25=None, q75=None, ci95=None)
    if count:
        summary['mean'] = float(finite.mean())
        for name, quantile in (('median', 0.5), ('q25', 0.25), ('q75', 0.75)):
            summary[name] = float(np.quantile(finite, quantile))
        estimate = summarize(finite[None], clusters=[label[counts] for label in clusters])
        if estimate.low is not None:
            summary['ci95'] = [estimate.low, estimate.high]
    return summary | dict(count=int(count), non_finite=int(values.size - count))


def contrast(terms, *, statistic='mean'):
    """A weighted sum of means or medians of several systems on several data sets.

    Args:
      terms: Terms.
      statistic: 'mean' or 'median', of the examples of each seed; seeds are averaged.

    Returns:
      Estimate. With one seed of a system the interval is over examples alone and the note says
      'one seed', with two it says so; with fewer than MIN_GROUPS examples, or labels of one
      kind, in a data set there is no interval.

    Raises:
      ValueError: terms of one system differ in seeds, or those of one data set in examples.
    """
    # In one order in memory: sums then have the same last digit, wherever the scores came from.
    terms = [term._replace(value_SN=np.ascontiguousarray(term.value_SN)) for term in terms]
    by_system, by_data = _alike(terms, 'system', 0), _alike(terms, 'data', 1)
    reduce = np.mean if statistic == 'mean' else np.median
    value = sum(term.weight * reduce(term.value_SN, axis=1).mean() for term in terms)

    examples, seeds, note = [], [], ''  # (variance, degrees of freedom)
    if statistic == 'mean' and not any(term.clusters for term in terms):
        groups = min(group[0].value_SN.shape[1] for group in by_data)
        for group in by_data:
            score_N = sum(term.weight * term.value_SN.mean(axis=0) for term in group)
            examples.append(_variance_of_mean(score_N))
    else:
        drawn_R, groups = _bootstrap(by_data, statistic)
        # Drawing from G groups finds (G - 1) / G of their variance.
        examples.append((np.var(drawn_R) * groups / max(groups - 1, 1), groups - 1))
    if groups < MIN_GROUPS:
        what = 'speakers or recordings' if any(term.clusters for term in terms) else 'examples'
        return Estimate(float(value), note=f'fewer than {MIN_GROUPS} {what}: no interval')
    fewest = min(len(term.value_SN) for term in terms)
    if fewest > 1:
        for group in by_system:
            seeds.append(
                _variance_of_mean(
                    sum(term.weight * reduce(term.value_SN, axis=1) for term in group)
                )
            )
    if fewest < MIN_SEEDS:
        note = {1: 'one seed', 2: 'two seeds'}[fewest]
    margin = np.hypot(_margin(examples), _margin(seeds))
    return Estimate(float(value), float(value - margin), float(value + margin), note)


def _variance_of_mean(value_N):
    """(variance of the mean, degrees of freedom) of independent values."""
    count = len(value_N)
    return (np.var(value_N, ddof=1) / count if count > 1 else 0.0), count - 1


def _margin(parts):
    """Half width of the 95 % interval of a sum of independent (variance, degrees of freedom)."""
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    from scipy import (
        special,
    )  # takes a fifth of a second to import, which reading runs does without

    freedom = variance**2 / sum(part**2 / dof for part, dof in parts if part)
    return special.stdtrit(freedom, 0.975) * np.sqrt(variance)


def _alike(terms, name, axis):
    """Terms with the same value of an attribute together."""
    groups = {}
    for term in terms:
        groups.setdefault(getattr(term, name), []).append(term)
    for key, group in groups.items():
        sizes = {term.value_SN.shape[axis] for term in group}
        if len(sizes) > 1:
            raise ValueError(
                f'{name} {key!r} has terms of {sorted(sizes)}'
                f' {("seeds", "examples")[axis]}; they must be the same'
            )
    return list(groups.values())


def _bootstrap(by_data, statistic):
    """The contrast under resamplings [R] of all examples, and the fewest labels of one kind that
    any data set has.

    All data sets are drawn at once, since they may share recordings.
    """
    first = [group[0] for group in by_data]
    clusters = [_joined(labels) for labels in zip(*(term.clusters for term in first))]
    sizes = [term.value_SN.shape[1] for term in first]
    groups = min(
        len(np.unique(labels))
        for term in first
        for labels in term.clusters or (np.arange(term.value_SN.shape[1]),)
    )
    if statistic == 'median':
        return _drawn_medians(by_data, clusters), groups
    values = [[term.value_SN.mean(axis=0) for term in group] for group in by_data]
    drawn = []
    for weight_RN in resampled(sum(sizes), clusters):
        split = np.split(weight_RN, np.cumsum(sizes)[:-1], axis=1)
        whole_R = np.all([part_RN.any(axis=1) for part_RN in split], axis=0)
        split = split if whole_R.all() else [part_RN[whole_R] for part_RN in split]
        drawn_R = 0.0
        for group, value, part_RN in zip(by_data, values, split):
            for term, of_term in zip(group, value):
                drawn_R = drawn_R + term.weight * (part_RN @ of_term / part_RN.sum(axis=1))
        drawn.append(drawn_R)
    return np.concatenate(drawn), groups


def _joined(labels):
    """Labels of one kind in several data sets as one array [N] or [N, S]; NOBODY where the mixtures
    of another data set have a speaker more."""
    if len({each.shape[1:] for each in labels}) == 1:
        return np.concatenate(labels)
    number = np.unique(np.concatenate([each.ravel() for each in labels]), return_inverse=True)[1]
    joined = np.full((sum(map(len, labels)), max(each.shape[1] for each in labels)), NOBODY)
    row = first = 0
    for each in labels:
        of_each = number[first : first + each.size].reshape(each.shape)
        joined[row : row + len(each), : each.shape[1]] = of_each
        row, first = row + len(each), first + each.size
    return joined


def _drawn_medians(by_data, clusters):
    """The contrast of medians under resamplings [R] of all examples.

    Weights are made in the order of each median's values, since the sums of a sorted million are
    quick and a million weights in another order are not.
    """
    sizes = [group[0].value_SN.shape[1] for group in by_data]
    columns = _grouped(sum(sizes), clusters)
    kind = np.min_scalar_type(math.prod(int(drawn_RG.max()) for drawn_RG, _ in columns))
    drawn_R, first = 0.0, 0
    for group, size in zip(by_data, sizes):
        those = slice(first, first := first + size)
        for term in group:
            median_SR = np.empty((len(term.value_SN), RESAMPLINGS))
            for value_N, median_R in zip(term.value_SN, median_SR):
                order_N = np.argsort(value_N)
                ordered = [(drawn_RG, number_N[those][order_N]) for drawn_RG, number_N in columns]
                for some in _blocks(RESAMPLINGS, size):
                    weight_RN = _weights(ordered, some, kind)
                    median_R[some] = weighted_median(value_N[order_N], weight_RN)
            drawn_R = drawn_R + term.weight * np.mean(median_SR, axis=0)
    return drawn_R[~np.isnan(drawn_R)]


def resampled(count, clusters, most=MOST_CELLS):
    """Draws examples, or the groups that they belong to, with replacement.

    With several columns of groups each is drawn, and an example counts as often as all of its
    groups together (the product bootstrap of Owen, "The pigeonhole bootstrap", 2007).

    Args:
      count: examples.
      clusters: see `Term`; none for single examples.
      most: cells of one array.

    Yields:
      weight_RN: how often each example counts, for some of the RESAMPLINGS at a time; its memory
        is that of the next.
    """
    columns = _grouped(count, clusters)
    rows = max(most // count // 4, 1) * 4  # products with a matrix take four rows at a time
    weight_RN = np.empty((min(rows, RESAMPLINGS), count))  # one for all: new memory costs more
    for first in range(0, RESAMPLINGS, rows):
        weight_RN = weight_RN[: RESAMPLINGS - first]
        for some in _blocks(*weight_RN.shape):
            at = slice(first + some.start, first + some.stop)
            weight_RN[some] = _weights(columns, at, float)
        yield weight_RN


def _weights(columns, some, kind):
    """How often each example counts in some of the resamplings; `columns` as of `_grouped`."""
    weight_RN = 1
    for drawn_RG, number_N in columns:
        weight_RN *= np.take(drawn_RG[some].astype(kind), number_N, axis=1)
    return weight_RN


def _grouped(count, clusters):
    """[(how often each group is drawn, [RESAMPLINGS, groups], the group's number of each example)],
    of each column of each kind of group."""
    columns, numbers = [], []
    for labels in clusters or (np.arange(count),):
        names, number_N = np.unique(labels, return_inverse=True)
        numbers.append(number_N.reshape(count, -1) - (names[0] == NOBODY))
    draws = _draws(tuple(int(number_NS.max()) + 1 for number_NS in numbers))
    for number_NS, drawn_RG in zip(numbers, draws):
        if number_NS.min() < 0:  # nobody, whose number is that of the last, is drawn once each time
            drawn_RG = np.pad(drawn_RG, ((0, 0), (0, 1)), constant_values=1)
        columns += [(drawn_RG, number_N) for number_N in number_NS.T]
    return columns


def _blocks(rows, columns):
    """Slices of some rows that a processor's cache holds."""
    size = max((1 << 17) // columns, 1)
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


@functools.lru_cache(maxsize=1)  # metrics of the same examples follow one another
def _draws(counts):
    """How often each of some groups is drawn, [RESAMPLINGS, groups] of each count of groups."""
    rng, draws = np.random.default_rng(0), []
    for groups in counts:
        share, parts = np.full(groups, 1 / groups), []
        rows = max(MOST_CELLS // 8 // groups, 1)
        for first in range(0, RESAMPLINGS, rows):
            size = min(rows, RESAMPLINGS - first)
            drawn_RG = rng.multinomial(groups, share, size=size)
            parts.append(drawn_RG.astype(np.min_scalar_type(drawn_RG.max())))
        draws.append(np.concatenate(parts))
    return draws


def weighted_median(value_N, weight_RN):
    """Medians of one set of values under several weightings.

    Args:
      value_N: the values, sorted.
      weight_RN: how often each counts, whole numbers.

    Returns:
      Medians [R]; the mean of the two middle values where they share the middle, NaN where all
      weights are 0.
    """
    rows, count = weight_RN.shape
    size = math.isqrt(count) + 1  # of parts, of which only the one that holds the middle is summed
    part_RKB = np.zeros((rows, -(-count // size), size), weight_RN.dtype)
    part_RKB.reshape(rows, -1)[:, :count] = weight_RN
    sum_RK = np.cumsum(part_RKB.sum(axis=2, dtype=np.int64), axis=1)
    whole_R1, middle_R = sum_RK[:, -1:], 0.0
    for before in (np.less, np.less_equal):
        part_R = before(2 * sum_RK, whole_R1).sum(axis=1) % sum_RK.shape[1]
        of_part_RB = part_RKB[np.arange(rows), part_R].astype(np.int64)
        of_part_RB[:, 0] += np.where(part_R > 0, sum_RK[np.arange(rows), part_R - 1], 0)
        place_R = size * part_R + before(2 * np.cumsum(of_part_RB, axis=1), whole_R1).sum(axis=1)
        middle_R = middle_R + value_N[np.minimum(place_R, count - 1)]
    return np.where(whole_R1[:, 0] > 0, middle_R / 2, np.nan)
