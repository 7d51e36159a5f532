"""Small files, and what is said of them."""

import pytest

from fgsep_jax import files


@pytest.mark.parametrize(
    'error, said',
    [
        (OSError(28, 'No space left on device', 'x'), 'No space left on device'),
        (KeyError('role'), 'role is missing'),
        (ValueError('two\n  lines'), 'two lines'),
        (MemoryError(), 'there is no memory for it'),
        (AssertionError(), 'no reason is given'),
        (ValueError('x' * 999), 'x' * 200),
    ],
)
def test_what_an_exception_says_is_one_line_of_words(error, said):
    assert files.why(error) == said
