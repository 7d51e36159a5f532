"""Means that merge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.metrics.aggregate import Mean, merge_all


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
