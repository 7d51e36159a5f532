"""Means over examples that merge across batches and hosts and divide once."""

from typing import Any, NamedTuple


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
