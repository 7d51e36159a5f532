"""Intervals over examples and over seeds."""

import numpy as np
import pytest
from scipy import stats

from fgsep_jax.report import intervals


def difference(first_SN, second_SN):
    """Of two systems' means on the same examples."""
    return intervals.contrast(
        [intervals.Term(1, second_SN, 'second'), intervals.Term(-1, first_SN, 'first')]
    )


def drop(in_dataset_SN, cross_dataset_SN):
    """Of one system from its own data set to another."""
    return intervals.contrast(
        [
            intervals.Term(1, in_dataset_SN, data='in'),
            intervals.Term(-1, cross_dataset_SN, data='cross'),
        ]
    )


def crossed(rng, seeds, examples, seed_sd, example_sd, noise_sd, mean=0.0):
    return (
        mean
        + rng.normal(0, seed_sd, (seeds, 1))
        + rng.normal(0, example_sd, examples)
        + rng.normal(0, noise_sd, (seeds, examples))
    )


@pytest.mark.parametrize(
    'seed_sd, example_sd', [(0.0, 3.0), (0.3, 3.0), (0.6, 2.5), (0.6, 1.0), (0.6, 0.0)]
)
def test_intervals_of_crossed_data_cover(seed_sd, example_sd):
    rng = np.random.default_rng(1)
    inside, width = [], []
    for _ in range(1500):
        found = intervals.summarize(crossed(rng, 3, 60, seed_sd, example_sd, 0.5, 7.0))
        inside.append(found.low <= 7.0 <= found.high)
        width.append((found.high - found.low) / 2)
    assert 0.93 <= np.mean(inside) <= 0.985
    # Exact for three seeds alone: a median of 4.30 sqrt(ln 2) = 3.58 standard deviations.
    true_sd = np.sqrt(seed_sd**2 / 3 + example_sd**2 / 60 + 0.5**2 / 180)
    assert np.median(width) < (3.65 if seed_sd else 2.2) * true_sd


def test_intervals_of_differences_and_drops_cover():
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(1000):
        shared_N = rng.normal(0, 4, 50)
        first_SN = shared_N + crossed(rng, 3, 50, 0.3, 0.5, 0.5)
        second_SN = shared_N + crossed(rng, 3, 50, 0.3, 0.5, 0.5, 0.7)
        found = difference(first_SN, second_SN)
        shared_S1 = rng.normal(0, 3, (3, 1))  # good seeds are good everywhere: no part of a drop
        lost = drop(
            shared_S1 + crossed(rng, 3, 50, 0.2, 2, 0.5, 8.0),
            shared_S1 + crossed(rng, 3, 70, 0.2, 2, 0.5, 5.0),
        )
        inside.append(
            [
                found.low <= 0.7 <= found.high,
                lost.low <= 3.0 <= lost.high,
                found.high - found.low < 2.5,
                lost.high - lost.low < 5,
            ]
        )
    covered = np.mean(inside, axis=0)
    assert (covered[:2] >= 0.93).all() and (covered[:2] <= 0.985).all()
    assert covered[2] > 0.9 and covered[3] > 0.9


def test_intervals_of_medians_cover():
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(300):
        found = intervals.summarize(crossed(rng, 3, 60, 0.3, 2, 0.5, 4.0), statistic='median')
        inside.append(found.low <= 4.0 <= found.high)
    assert 0.92 <= np.mean(inside) <= 0.995


def test_closed_forms():
    value_N = np.array([1.0, 4.0, 2.0, 6.0, 3.0, 8.0])
    ordinary = stats.t.interval(0.95, 5, value_N.mean(), stats.sem(value_N))
    one = intervals.summarize(value_N[None])
    np.testing.assert_allclose([one.value, one.low, one.high], [4, *ordinary])
    assert one.note == 'one seed'
    same = intervals.summarize(np.tile(value_N, (3, 1)))  # seeds that agree add nothing
    np.testing.assert_allclose([same.low, same.high], ordinary)
    assert same.note == ''
    level_S = np.array([1.0, 2.0, 6.0])  # examples that agree: the interval of three seeds
    seeds = intervals.summarize(np.tile(level_S[:, None], 9))
    np.testing.assert_allclose(
        [seeds.low, seeds.high], stats.t.interval(0.95, 2, 3, stats.sem(level_S))
    )
    flat = intervals.summarize(np.full((2, 7), 3.0))
    assert (flat.low, flat.value, flat.high) == (3, 3, 3)

    both = intervals.summarize(np.array([value_N, value_N + 1]))
    np.testing.assert_allclose(
        (both.high - both.value) ** 2,
        (
            stats.t.ppf(0.975, 5) ** 2 * value_N.var(ddof=1) / 6
            + stats.t.ppf(0.975, 1) ** 2 * 0.5 / 2
        ),
    )


def test_differences_are_paired_by_example_and_seeds_by_drop():
    rng = np.random.default_rng(0)
    value_SN = crossed(rng, 3, 40, 0.5, 5, 0)
    found = difference(value_SN, value_SN[::-1] + 2)
    assert found.value == pytest.approx(2)
    seeds = 2 * value_SN.mean(axis=1).var(ddof=1) / 3  # of two systems
    np.testing.assert_allclose(found.high - found.value, stats.t.ppf(0.975, 4) * np.sqrt(seeds))
    lost = drop(value_SN, np.tile(value_SN[:, :1], 10) - 3)
    example = value_SN.mean(axis=0).var(ddof=1) / 40
    np.testing.assert_allclose(lost.high - lost.value, stats.t.ppf(0.975, 39) * np.sqrt(example))
    assert difference(value_SN[:1], value_SN).note == 'one seed'
    with pytest.raises(ValueError, match=r"system '' has terms of \[2, 3\] seeds"):
        drop(value_SN, value_SN[:2])
    with pytest.raises(ValueError, match='examples'):
        difference(value_SN, value_SN[:, :7])


def test_a_contrast_is_the_average_of_what_it_is_made_of():
    rng = np.random.default_rng(4)
    a_SN, b_SN = crossed(rng, 3, 30, 0.3, 1, 0.2), crossed(rng, 3, 50, 0.3, 1, 0.2)
    terms = [intervals.Term(0.5, a_SN, 'm', 'a'), intervals.Term(0.5, b_SN, 'm', 'b')]
    found = intervals.contrast(terms)
    assert found.value == pytest.approx((a_SN.mean() + b_SN.mean()) / 2)
    parts = np.array([a_SN.mean(axis=0).var(ddof=1) / 30, b_SN.mean(axis=0).var(ddof=1) / 50]) / 4
    freedom = parts.sum() ** 2 / (parts**2 / [29, 49]).sum()
    seeds = ((a_SN.mean(axis=1) + b_SN.mean(axis=1)) / 2).var(ddof=1) / 3
    np.testing.assert_allclose(
        (found.high - found.value) ** 2,
        (stats.t.ppf(0.975, freedom) ** 2 * parts.sum() + stats.t.ppf(0.975, 2) ** 2 * seeds),
    )


def test_the_bootstrap_agrees_with_the_closed_form():
    rng = np.random.default_rng(5)
    value_SN = crossed(rng, 3, 80, 0.1, 2, 0.5)
    closed = intervals.summarize(value_SN)
    drawn = intervals.summarize(value_SN, clusters=(np.arange(80),))
    np.testing.assert_allclose([drawn.low, drawn.high], [closed.low, closed.high], atol=0.05)


def test_clusters_widen_and_few_give_no_interval():
    rng = np.random.default_rng(6)
    label_N = np.repeat(np.arange(8), 10)
    value_SN = np.tile(rng.normal(0, 2, 8)[label_N], (2, 1))  # one number a recording
    narrow = intervals.summarize(value_SN)
    wide = intervals.summarize(value_SN, clusters=(label_N,))
    levels = stats.t.interval(0.95, 7, value_SN.mean(), stats.sem(value_SN[0, ::10]))
    np.testing.assert_allclose([wide.low, wide.high], levels, atol=0.15)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    few = intervals.summarize(value_SN, clusters=(label_N, label_N % 3), statistic='median')
    assert few.low is None and few.high is None
    assert 'fewer than 4 speakers or recordings' in few.note
    assert intervals.summarize(np.ones((3, 3))).note == 'fewer than 4 examples: no interval'


@pytest.mark.parametrize(
    'speakers, scored, least', [(4, 2, 0.88), (8, 2, 0.92), (8, 1, 0.9), (8, 3, 0.9), (20, 3, 0.92)]
)
def test_intervals_of_mixtures_of_speakers_cover(speakers, scored, least):
    """Nothing but the speakers differs: the hardest case for intervals that draw mixtures."""
    rng = np.random.default_rng(speakers)
    covered, naive, trials = 0, 0, 200
    for _ in range(trials):
        level = rng.normal(0, 1, speakers)
        label_NS = np.array([rng.choice(speakers, scored, replace=False) for _ in range(60)])
        value_SN = np.tile(level[label_NS].sum(axis=1) + rng.normal(0, 0.3, 60), (3, 1))
        clusters = intervals.clusters('speaker', label_NS)
        found = intervals.summarize(value_SN, clusters=clusters)
        covered += found.low <= 0 <= found.high
        alone = intervals.summarize(value_SN)
        naive += alone.low <= 0 <= alone.high
    assert covered / trials >= least and naive / trials < 0.7


def test_data_sets_of_two_and_three_speakers_in_a_mixture_stand_in_one_contrast():
    """As if each were alone: the two data sets share no speaker."""
    rng = np.random.default_rng(0)
    terms = [
        intervals.Term(
            0.5,
            np.tile(rng.normal(size=30)[label_NS].sum(axis=1), (3, 1)),
            data=name,
            clusters=intervals.clusters('speaker', label_NS + first),
        )
        for name, first, scored in (('a', 0, 2), ('b', 100, 3))
        for label_NS in [np.array([rng.choice(30, scored, replace=False) for _ in range(200)])]
    ]
    for statistic in ('mean', 'median'):
        both = intervals.contrast(terms, statistic=statistic)
        a, b = (intervals.contrast([term], statistic=statistic) for term in terms)
        assert both.value == pytest.approx(a.value + b.value)
        apart = np.hypot(a.high - a.value, b.high - b.value)
        assert both.high - both.value == pytest.approx(apart, rel=0.1)


def test_fewer_than_three_seeds_are_marked():
    rng = np.random.default_rng(3)
    notes = [intervals.summarize(rng.normal(size=(seeds, 20))).note for seeds in (1, 2, 3)]
    assert notes == ['one seed', 'two seeds', '']


def test_the_fewest_speakers_of_any_data_set_count():
    rng = np.random.default_rng(4)
    pairs = [
        np.array([(i % n, (i + 1) % n) for i in range(40)]) + shift
        for n, shift in ((20, 0), (3, 100))
    ]
    terms = [
        intervals.Term(1, rng.normal(size=(3, 40)), 'm', name, (pair_N2,))
        for name, pair_N2 in zip('ab', pairs)
    ]
    assert intervals.contrast(terms[:1]).low is not None
    assert 'fewer than 4' in intervals.contrast(terms).note


def test_data_sets_that_share_recordings_are_drawn_together():
    """The same recording is in both sets with opposite signs: nothing is left to vary."""
    rng = np.random.default_rng(7)
    label_N = np.arange(30)
    value_SN = np.tile(rng.normal(0, 2, 30), (2, 1))
    terms = [
        intervals.Term(1, value_SN, 'm', 'a', (label_N,)),
        intervals.Term(-1, value_SN, 'm', 'b', (label_N,)),
    ]
    found = intervals.contrast(terms)
    np.testing.assert_allclose([found.low, found.high], 0, atol=1e-9)
    apart = intervals.contrast([terms[0], terms[1]._replace(clusters=(label_N + 30,))])
    assert apart.high - apart.low > 0.5


@pytest.mark.parametrize('count', [1, 2, 3, 9, 50, 1000])
@pytest.mark.parametrize('kind', ['u1', 'u2', 'i8'])
def test_weighted_median_by_repetition(count, kind):
    rng = np.random.default_rng(count)
    value_N = np.sort(rng.normal(size=count).round(1))  # some alike
    weight_RN = rng.integers(0, 4, (50, count)).astype(kind)
    weight_RN[0] = 0
    weight_RN[1:, rng.integers(count)] += 1
    expected_R = [np.median(np.repeat(value_N, weight_N)) for weight_N in weight_RN[1:]]
    found_R = intervals.weighted_median(value_N, weight_RN)
    assert np.isnan(found_R[0])
    np.testing.assert_allclose(found_R[1:], expected_R)


def test_medians_are_drawn_with_the_weights_of_means():
    """Of two data sets that share recordings, of which one is at times not drawn at all."""
    rng = np.random.default_rng(0)
    terms = []
    for weight, data, count in ((1, 'a', 70), (-0.5, 'b', 5)):
        label_KN = rng.integers(0, 2, (2, count))  # weights of up to 2^4 2^4
        labels = tuple(np.tile(label_N[:, None], 4) for label_N in label_KN)
        terms += [
            intervals.Term(scale * weight, rng.normal(size=(2, count)), system, data, labels)
            for system, scale in (('m', 1), ('n', 3))
        ]
    drawn_R, _ = intervals._bootstrap([terms[:2], terms[2:]], 'median')
    labels = [np.concatenate(each) for each in zip(terms[0].clusters, terms[2].clusters)]
    (weight_RN,) = intervals.resampled(75, labels)
    expected = []
    for weight_N in weight_RN.astype(int):
        parts = np.split(weight_N, [70])
        if all(part.any() for part in parts):
            medians = [
                np.mean([np.median(np.repeat(value_N, part)) for value_N in term.value_SN])
                for term, part in zip(terms, [parts[0], parts[0], parts[1], parts[1]])
            ]
            expected.append(np.dot([term.weight for term in terms], medians))
    assert len(expected) < intervals.RESAMPLINGS
    np.testing.assert_allclose(drawn_R, expected)


def test_summary_in_closed_form():
    summary = intervals.describe([1, 2, 3, 4, 5])
    half = 2.7764451 * np.sqrt(2.5 / 5)  # Student's t, 4 degrees of freedom
    np.testing.assert_allclose(summary.pop('ci95'), [3 - half, 3 + half], rtol=1e-6)
    assert summary == dict(mean=3, median=3, q25=2, q75=4, count=5, non_finite=0)


def test_the_interval_of_a_description_covers_the_mean():
    """About 95 of 100 intervals hold the true mean; fewer than 85 would be a wrong formula."""
    rng = np.random.default_rng(0)
    ends = [intervals.describe(rng.normal(7, 3, size=8))['ci95'] for _ in range(400)]
    assert 0.92 < np.mean([low < 7 < high for low, high in ends]) < 0.98


def test_few_or_spoilt_values():
    nothing = dict(mean=None, median=None, q25=None, q75=None, ci95=None)
    assert intervals.describe([]) == nothing | dict(count=0, non_finite=0)
    assert intervals.describe([np.nan, np.inf]) == nothing | dict(count=0, non_finite=2)
    single = intervals.describe([2.5, np.nan])
    assert single['mean'] == single['median'] == 2.5 and single['ci95'] is None
    assert (single['count'], single['non_finite']) == (1, 1)


def test_resamplings_in_pieces_are_those_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    for clusters in ((), (rng.integers(0, 9, 50), rng.integers(0, 300, 50)), (np.ones((50, 2)),)):
        (whole_RN,) = intervals.resampled(50, clusters)
        assert whole_RN.shape == (intervals.RESAMPLINGS, 50)
        assert clusters or (whole_RN.sum(axis=1) == 50).all()
        with monkeypatch.context() as patched:
            patched.setattr(intervals, 'MOST_CELLS', 8 * 450)  # and draws of 9 rows at a time
            intervals._draws.cache_clear()
            parts = [part_RN.copy() for part_RN in intervals.resampled(50, clusters, 50 * 12)]
        assert [len(part_RN) for part_RN in parts] == [12] * 41 + [8]
        np.testing.assert_array_equal(np.concatenate(parts), whole_RN)
