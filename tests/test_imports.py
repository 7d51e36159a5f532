"""The rooms of the house import one another in one direction only."""

import ast
import pathlib
import sys

import pytest

import parsing

ROOT = pathlib.Path(__file__).parent.parent

# Names from data leave the program in all of them; records' samples come by in most.
EVERY_ROOM = {'names', 'pcm', 'rules', 'buckets'}

# room -> what of the project it may import. `config` holds no room of its own to import from.
ALLOWED = {
    'fgsep_jax/dsp': {'dsp'},
    'fgsep_jax/losses': {'losses', 'dsp', 'registry'},
    'fgsep_jax/models': {'models', 'dsp.frames', 'registry'},
    'fgsep_jax/metrics': {'metrics', 'data.resample'},
    'fgsep_jax/interop': {
        '__version__',
        'command_line',
        'compilation_cache',
        'config',
        'files',
        'interop',
        'separation.model',
        'stopping',
        'tasks',
        'training.run_folder',
        'validate',
    },
    'fgsep_jax/data': {'config', 'data', 'files', 'streams'},
    'fgsep_jax/tasks': {'models', 'losses', 'dsp', 'config', 'registry', 'tasks'},
    'fgsep_jax/training': {
        'tasks',
        'data',
        'dsp',
        'metrics',
        'config',
        'files',
        'lock',
        'interop.model_file',
        'data_sets',
        'stopping',
        'training',
        'validate',
    },
    'benchmarks': {
        'command_line',
        'tasks',
        'data',
        'metrics',
        'config',
        'training',
        'evaluation',
        'files',
        'interop',
        'data_sets',
        'launch',
        'validate',
        'dsp',
        'models',
        'separation',
        'huge_pages',
        'losses',
        'benchmarks',
        'data_prep',
    },
    'fgsep_jax/launch': {
        'tasks',
        'config',
        'command_line',
        'data.pipeline',
        'validate',
        'training',
        'launch',
    },
    'fgsep_jax/report': {
        'command_line',
        'config',
        'data.audio_files',
        'dsp.filterbank',
        'files',
        'lock',
        'report',
    },
    'fgsep_jax/evaluation': {
        'config',
        'data',
        'data_sets',
        'evaluation',
        'files',
        'interop.model_file',
        'lock',
        'metrics',
        'report',  #  prints the report's own matrix
        'stopping',
        'tasks',
        'training.checkpoint',
        'training.mesh',
        'training.run_folder',
        'training.state',
        'validate',
    },
    'fgsep_jax/separation': {
        'config',
        'data',
        'files',
        'report.players',
        'report.sound',
        'interop.model_file',
        'models.conv_tasnet',
        'models.encoders',
        'models.tcn',
        'separation',
        'stopping',
        'tasks',
        'training.checkpoint',
        'training.run_folder',
    },
    'data_prep': {
        'data.audio_files',
        'data.containers',
        'data.records',
        'data.resample',
        'command_line',
        'config',
        'files',
        'lock',
        'separation.manifest',
        'stopping',
        'data_prep',
    },
    'configs': {'config'},
}


def imported(path):
    """Names of the project's modules that a file imports, 'fgsep_jax.' left out."""
    names = set()
    for node in ast.walk(parsing.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return {
        name.removeprefix('fgsep_jax.')
        for name in names
        if name.split('.')[0] in ('fgsep_jax', 'data_prep', 'configs', 'benchmarks')
    }


def within(name, part):
    return f'{name}.'.startswith(f'{part}.')


@pytest.mark.parametrize('room', sorted(ALLOWED))
def test_a_room_imports_what_it_may_and_nothing_else(room):
    paths = sorted((ROOT / room).rglob('*.py'))
    assert paths, f'{room} is not there'
    used = set()
    for path in paths:
        for name in imported(path):
            allowed = ALLOWED[room] | EVERY_ROOM
            permissions = {one for one in allowed if within(name, one)}
            assert permissions, (
                f'{path.relative_to(ROOT)} imports {name}; {room} may import {sorted(allowed)}'
            )
            used |= permissions
    assert not (ALLOWED[room] - used), f'{room} has no need of {ALLOWED[room] - used}'


def test_names_need_nothing_but_python():
    path = ROOT / 'fgsep_jax' / 'names.py'
    assert not imported(path)
    for node in ast.walk(parsing.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    'room', [f'fgsep_jax/{room}' for room in ('dsp', 'losses', 'metrics', 'models')]
)
def test_leaves_know_no_config(room):
    for path in sorted((ROOT / room).rglob('*.py')):
        assert 'ml_collections' not in path.read_text(), path


@pytest.mark.parametrize('room', ['fgsep_jax', 'configs', 'data_prep'])
def test_what_is_shipped_does_without_the_benchmarks(room):
    for path in sorted((ROOT / room).rglob('*.py')):
        assert not any(name.split('.')[0] == 'benchmarks' for name in imported(path)), path


def test_data_is_made_without_librosa():
    """It is compiled where it first runs: the first job would stand still for minutes."""
    for path in sorted((ROOT / 'data_prep').rglob('*.py')):
        assert 'import librosa' not in path.read_text(), path


def test_files_of_tests_have_names_of_their_own():
    """Two of one name are one module to pytest, which then leaves out the second."""
    names = [path.name for path in (ROOT / 'tests').rglob('*.py')]
    assert [name for name in {*names} - {'conftest.py'} if names.count(name) > 1] == []
