"""Ways in which files and the values of JSON are damaged, for tests of what reads them."""

import copy
import json
import os

from hypothesis import strategies as st

WRONG = (
    None,
    True,
    -1,
    0,
    1,
    3.5,
    10**9,
    10**30,
    1e308,
    float('nan'),
    float('inf'),
    '',
    'x',
    '²',
    '../../up',
    'half \ud800',
    'zero \0',
    [],
    [[]],
    {},
    {'x': 1},
)


def places(tree, path=()):
    """Paths to all values below a value of JSON."""
    found = [path] if path else []
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        found += places(tree[key], (*path, key))
    return found


def changed(tree, path, value):
    """A copy with another value in one place."""
    tree = copy.deepcopy(tree)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return tree


def without(tree, path):
    """A copy that lacks one place."""
    tree = copy.deepcopy(tree)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return tree


@st.composite
def damaged_bytes(draw, data):
    """The bytes of a file with flipped bits, cut, repeated, or replaced."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(('flip', 'flip', 'cut', 'insert', 'repeat', 'other')))
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        if kind == 'flip' and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 'cut':
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == 'insert':
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == 'repeat':
            data[at:at] = data[at : at + 40]
        else:
            data[:] = draw(st.binary(max_size=64))
    return bytes(data)


@st.composite
def damaged_json(draw, tree):
    """The bytes of a JSON file with values that are wrong, missing or additional, or damaged."""
    for _ in range(draw(st.integers(1, 2))):
        there = places(tree)
        if not there:
            break
        path = draw(st.sampled_from(there))
        kind = draw(st.sampled_from(('value', 'value', 'lack', 'more')))
        if kind == 'lack':
            tree = without(tree, path)
        elif kind == 'more' and isinstance(path[-1], str):
            tree = changed(tree, (*path[:-1], 'another'), draw(st.sampled_from(WRONG)))
        else:
            tree = changed(tree, path, draw(st.sampled_from(WRONG)))
    data = json.dumps(tree).encode()
    return draw(damaged_bytes(data)) if draw(st.integers(0, 4)) == 0 else data


NOT_JSON = {
    'empty': b'',
    'deep': b'[' * 100_000,
    'deep object': b'{"a":' * 50_000 + b'1' + b'}' * 50_000,
    'list': b'[1, 2]',
    'null': b'null',
    'not UTF-8': b'{"name": "\xff\xfe"}',
    'UTF-16': '{"a": 1}'.encode('utf-16'),
    'half a character': b'{"name": "\\ud800"}',
    'zeros': bytes(300),
    'twice': b'{"a": 1, "a": 2}',
    'huge': b'{"a": ' + b'9' * 5000 + b'}',
    'not finite': b'{"a": NaN, "b": 1e999}',
    'cut': b'{"a": {"b": 1',
}


def not_a_file(path, kind):
    """Puts something in the place of a file: a 'folder', a 'pipe', a 'loop' of links, or 'huge'."""
    if os.path.lexists(path):
        os.remove(path)
    if kind == 'folder':
        os.mkdir(path)
    elif kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'loop':
        os.symlink(path, path)
    else:
        with open(path, 'wb') as file:
            file.truncate(1 << 40)  # takes no room
