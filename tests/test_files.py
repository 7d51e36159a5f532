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


@pytest.mark.parametrize(
    'error, said',
    [
        (OSError('the lock of x was removed'), 'the lock of x was removed'),
        (OSError(28, 'No space left on device'), '[Errno 28] No space left on device'),
        (OSError(28, 'No space left on device', 'y'), "[Errno 28] No space left on device: 'y'"),
    ],
)
def test_what_ends_a_writing_keeps_its_words(tmp_path, error, said):
    with pytest.raises(OSError) as raised, files.unfinished([tmp_path / 'x']):
        raise error
    assert str(raised.value) == said


def test_of_what_cannot_be_written_its_readers_name_is_said(tmp_path):
    path = str(tmp_path / 'x')
    with pytest.raises(OSError) as raised, files.unfinished([path]) as partials:
        raise OSError(28, 'No space left on device', partials[path])
    assert raised.value.filename == path


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
