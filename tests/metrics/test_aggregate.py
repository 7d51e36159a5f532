"""Means that merge, and summaries of few, many and spoilt values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.metrics.aggregate import Mean, merge_all, summarize


@pytest.mark.parametrize('array', [np.asarray, jnp.asarray])
def test_merged_batches_have_the_mean_of_the_whole(array):
    values = np.random.default_rng(0).standard_normal(10).astype(np.float32)
    padded = np.concatenate([values, [np.nan, np.inf]]).astype(np.float32)
    valid = np.arange(12) < 10
    parts = [Mean.from_values(array(padded[i : i + 4]), array(valid[i : i + 4])) for i in (0, 4, 8)]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert merged.count == 10
    np.testing.assert_allclose(merged.compute(), values.mean(), rtol=1e-6)
    np.testing.assert_allclose(Mean.from_values(array(values)).compute(), values.mean(), rtol=1e-6)


def test_works_inside_jit_and_as_a_pytree():
    values, valid = jnp.array([1.0, 2.0, jnp.nan]), jnp.array([True, True, False])
    mean = jax.jit(Mean.from_values)(values, valid)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, mean)
    assert isinstance(doubled, Mean)
    assert doubled.compute() == mean.compute() == 1.5


def test_valid_of_another_shape_is_refused():
    for valid in (np.ones(1), np.ones((3, 1)), np.ones((2, 3))):
        with pytest.raises(ValueError, match='must have the shape of value_B'):
            Mean.from_values(np.ones(3), valid)


def test_nothing_counted_is_nan():
    assert np.isnan(Mean.from_values(np.ones(3), np.zeros(3)).compute())


def test_nan_that_counts_is_not_hidden():
    assert np.isnan(Mean.from_values(np.array([1.0, np.nan])).compute())


def test_merge_all_needs_the_same_names():
    one, two = Mean(1.0, 1), Mean(5.0, 2)
    assert merge_all({'loss': one}, {'loss': two})['loss'].compute() == 2
    with pytest.raises(ValueError, match=r"\['loss'\] and of \['other'\]"):
        merge_all({'loss': one}, {'other': two})


def test_summary_in_closed_form():
    summary = summarize([1, 2, 3, 4, 5])
    half = 2.7764451 * np.sqrt(2.5 / 5)  # Student's t, 4 degrees of freedom
    np.testing.assert_allclose(summary.pop('ci95'), [3 - half, 3 + half], rtol=1e-6)
    assert summary == dict(mean=3, median=3, q25=2, q75=4, count=5, non_finite=0)


def test_interval_covers_the_mean():
    """About 95 of 100 intervals hold the true mean; fewer than 85 would be a wrong formula."""
    rng = np.random.default_rng(0)
    intervals = [summarize(rng.normal(7, 3, size=8))['ci95'] for _ in range(400)]
    assert 0.92 < np.mean([low < 7 < high for low, high in intervals]) < 0.98


def test_few_or_spoilt_values():
    nothing = dict(mean=None, median=None, q25=None, q75=None, ci95=None)
    assert summarize([]) == nothing | dict(count=0, non_finite=0)
    assert summarize([np.nan, np.inf]) == nothing | dict(count=0, non_finite=2)
    single = summarize([2.5, np.nan])
    assert single['mean'] == single['median'] == 2.5 and single['ci95'] is None
    assert (single['count'], single['non_finite']) == (1, 1)
