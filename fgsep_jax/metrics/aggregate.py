"""Means over examples that merge across batches and hosts and divide once, and their summary."""

from typing import Any, NamedTuple

import numpy as np

from fgsep_jax.metrics import intervals


class Mean(NamedTuple):
    """A running mean as its sum and its count; a pytree of NumPy or JAX arrays.

    Attributes:
      total: Sum of the values that count.
      count: Number of them.
    """

    total: Any
    count: Any

    @classmethod
    def from_values(cls, value_B, valid_B=None) -> 'Mean':
        """Sums the values of a batch, inside or outside of jit.

        Args:
          value_B: One value an example.
          valid_B: which examples count, bool; all by default. A value that does not count
            may be nan.

        Returns:
          The mean of this batch, to be merged with others.

        Raises:
          ValueError: `valid_B` has another shape.
        """
        xp = value_B.__array_namespace__()
        if valid_B is None:
            valid_B = xp.ones(value_B.shape, dtype=bool)
        if valid_B.shape != value_B.shape:
            raise ValueError(
                f'valid_B{list(valid_B.shape)} must have the shape of value_B{list(value_B.shape)}.'
            )
        total = xp.sum(xp.where(valid_B, value_B, xp.zeros_like(value_B)))
        return cls(total, xp.sum(xp.asarray(valid_B, dtype=value_B.dtype)))

    def merge(self, other: 'Mean') -> 'Mean':
        """Returns the mean over the values of both."""
        return Mean(self.total + other.total, self.count + other.count)

    def compute(self) -> float:
        """Returns total / count on the host; nan where nothing was counted."""
        return float(self.total) / float(self.count) if self.count else float('nan')


def merge_all(first: dict[str, Mean], second: dict[str, Mean]) -> dict[str, Mean]:
    """Merges two dicts of means name by name; both must hold the same names."""
    if first.keys() != second.keys():
        raise ValueError(f'means of {sorted(first)} and of {sorted(second)} cannot be merged.')
    return {name: mean.merge(second[name]) for name, mean in first.items()}


def summarize(values, clusters=()) -> dict[str, Any]:
    """Describes the distribution of a metric over examples.

    Args:
      values: One value an example, [N].
      clusters: Who or what each example holds, see `intervals.Term`.

    Returns:
      `mean`, `median`, `q25`, `q75`, `count`, and `ci95` = [low, high], the 95 % confidence
      interval of the mean by the rule of `intervals`, of one seed. `mean` to `q75` are None if
      nothing was counted, `ci95` is None for too few examples, speakers or recordings. Values
      that are not finite count only as `non_finite`.
    """
    values = np.asarray(values, np.float64).ravel()
    counts = np.isfinite(values)
    finite = values[counts]
    count = finite.size
    summary: dict[str, Any] = dict(mean=None, median=None, q25=None, q75=None, ci95=None)
    if count:
        summary['mean'] = float(finite.mean())
        for name, quantile in (('median', 0.5), ('q25', 0.25), ('q75', 0.75)):
            summary[name] = float(np.quantile(finite, quantile))
        estimate = intervals.summarize(finite[None], clusters=[label[counts] for label in clusters])
        if estimate.low is not None:
            summary['ci95'] = [estimate.low, estimate.high]
    return summary | dict(count=int(count), non_finite=int(values.size - count))
