"""Small files, and what is said of them."""

import json

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


def test_no_flipped_bit_changes_what_a_file_with_a_digest_says():
    content = {
        'names': ['ann', 'b\udce9'],
        'step': 40,
        'mean': 1.25,
        'none': None,
        'nan': float('nan'),
    }
    whole = files.with_digest(content)
    assert repr(files.with_digest(whole)) == repr(whole)  # again, it is the same
    assert not any(map(files.is_damaged, (content, whole, {**whole, 'step': 1, 'digest': ''})))
    data, before = json.dumps(whole).encode(), repr(content)
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            try:
                found = files.parse_json(flipped, ValueError, where='x', finite=False, halves=True)
            except ValueError:
                continue
            known = {key: found.get(key) for key in content}
            assert files.is_damaged(found) or repr(known) == before
