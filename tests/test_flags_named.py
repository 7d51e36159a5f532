"""Every flag that a text of the programs names is a flag of some program."""

import ast
import importlib
import pathlib
import re

import pytest

from fgsep_jax import command_line, config as config_lib
import parsing

ROOT = pathlib.Path(__file__).parents[1]
PROGRAMS = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for room in ('fgsep_jax', 'data_prep')
    for path in sorted((ROOT / room).rglob('*.py'))
    if re.search(r'(command_line|options)\.[Pp]arser\(', text := path.read_text())
    and '\ndef main(' in text
]
FLAG = re.compile(r'(?<![\w-])--([a-z]\w*(?:\.\w+)*)')
# Not of a command line: CSS, git's, and examples of how flags are written.
NO_FLAGS = {'ink', 'grid', 'flag', 'noflag', 'no'}


def named(path):
    """{flag: line} of what the string literals of a file name, f-strings put together."""
    tree, found = parsing.parse(path.read_text()), {}
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            parts = [part.value if isinstance(part, ast.Constant) else 'X' for part in node.values]
            text = ''.join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = '' if id(node) in inside else node.value
        else:
            continue
        found |= dict.fromkeys(FLAG.findall(text), node.lineno)
    return found


def known(monkeypatch):
    """The flags of all programs."""
    found = set()

    def parse(parser, argv, others=()):
        found.update(parser.known, others)
        raise SystemExit

    monkeypatch.setattr(command_line.Parser, 'parse', parse)
    for program in PROGRAMS:
        with pytest.raises(SystemExit):
            importlib.import_module(program).main([])
    return {flag.removeprefix('--') for flag in found}


def test_texts_name_flags_that_there_are(monkeypatch):
    flags = known(monkeypatch)
    assert {'workdir', 'runs', 'output_dir', 'topology', 'groups', 'task'} <= flags
    flags |= {f'config.{key}' for key in config_lib.known_keys()}
    wrong = [
        f'{path.relative_to(ROOT)}:{line}: --{flag}'
        for room in ('fgsep_jax', 'data_prep')
        for path in sorted((ROOT / room).rglob('*.py'))
        for flag, line in named(path).items()
        if flag not in flags | NO_FLAGS and not re.search('X|[A-Z]', flag)
    ]
    assert not wrong
