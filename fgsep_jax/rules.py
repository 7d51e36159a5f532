"""Rules of values: they stand where a value acts, and all that are broken are told at once.

    rules = Rules(self)                     # or of a dict
    rules.at_least_one('window stride')
    rules.rule(window % stride == 0, 'window', f'must be a multiple of stride = {stride}')
    rules.check()

Whoever made these values of a configuration says of which section they are: `section`.
"""

from collections.abc import Iterable, Iterator
import contextlib
import difflib
import math


class ConfigError(ValueError):
    """A configuration that cannot work; the message names the key, the value, the rule, the fix."""


class RuleError(ConfigError):
    """Values that cannot work.

    Attributes:
      problems: pairs (key, what is wrong with it).
    """

    def __init__(self, problems: Iterable[tuple[str, str]]):
        self.problems = list(problems)
        super().__init__('; '.join(f'{key}{text}' for key, text in self.problems))


class Rules:
    """Collects what is wrong with the values of a dict or a ConfigDict, or an object's fields."""

    def __init__(self, values):
        self._values = values if hasattr(values, 'keys') else vars(values)
        self.problems: list[tuple[str, str]] = []

    def value(self, key: str):
        """What stands under a key."""
        return self._values[key]

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self._values

    def rule(self, holds, key: str, text: str):
        """Notes a key unless its rule holds."""
        if not holds:
            self.problems.append((key, f' = {self._values[key]!r}: {text}'))

    def one_of(self, key: str, choices: Iterable):
        """A value must be one of some."""
        choices, value = tuple(choices), self._values[key]
        near = did_you_mean(str(value), choices)
        self.rule(value in choices, key, f'must be one of {", ".join(choices)}{near}')

    def at_least_one(self, keys: str):
        """Counts that JAX takes, under keys with spaces between: from 1 to below 2**31."""
        self._counts(keys, 1)

    def none_or_more(self, keys: str):
        """Counts as of `at_least_one`, or 0."""
        self._counts(keys, 0)

    def at_most(self, **limits):
        """Values must not be above limits; NaN is for another rule."""
        for key, most in limits.items():
            self.rule(not self._values[key] > most, key, f'must be at most {most}')

    def finite(self, keys: str):
        """Values must be finite."""
        self._each(keys, math.isfinite, 'must be a finite number')

    def positive(self, keys: str):
        """Values must be finite and above 0."""
        self._each(keys, lambda v: math.isfinite(v) and v > 0, 'must be a finite number above 0')

    def not_negative(self, keys: str):
        """Values must be finite, and 0 or above."""
        text = 'must be a finite number, not negative'
        self._each(keys, lambda v: math.isfinite(v) and v >= 0, text)

    def check(self):
        """Raises RuleError of all that is broken, if anything is."""
        if self.problems:
            raise RuleError(self.problems)

    def _counts(self, keys, least):
        self._each(keys, lambda value: value >= least, f'must be at least {least}')
        self._each(keys, lambda value: value < 2**31, 'must be below 2**31')

    def _each(self, keys, holds, text):
        for key in keys.split():
            self.rule(holds(self._values[key]), key, text)


@contextlib.contextmanager
def section(prefix: str, problems: list[tuple[str, str]], **keys: str) -> Iterator[None]:
    """Adds to `problems` what is raised within.

    Args:
      prefix: of a key in the configuration, e.g. 'model.'.
      problems: pairs as of RuleError.
      **keys: what the configuration has for a key that it calls otherwise.
    """
    try:
        yield
    except RuleError as error:
        problems += [(f'{prefix}{keys.get(key, key)}', text) for key, text in error.problems]
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:  # of a module that does not know these rules
        problems.append((prefix.rstrip('._'), f': {" ".join(str(error).split())}'))


def did_you_mean(word: str, known: Iterable) -> str:
    """Returns "; did you mean 'x'?" for the nearest known word, else a full stop."""
    close = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean '{close[0]}'?" if close else '.'
