"""What is installed is whole: a wheel, far from the repository, separates."""

import ast
import importlib.metadata
import inspect
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
import pytest
import soundfile

from fgsep_jax import __main__ as commands, scripts, stopping, streams
import parsing

ROOT = pathlib.Path(__file__).parents[1]
OWN = {'fgsep_jax', 'data_prep'}
SCRIPTS = {
    f'fgsep-{name}': function
    for name, function in inspect.getmembers(scripts, inspect.isfunction)
    if not name.startswith('_')
}


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """Folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp('installed')
    # A copy: what an earlier build left in the repository would be packaged again.
    for name in ('fgsep_jax', 'data_prep', 'configs'):
        shutil.copytree(ROOT / name, folder / 'code' / name)
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, folder / 'code')
    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    subprocess.run(
        [*pip, 'wheel', '--no-deps', '-w', folder / 'wheels', folder / 'code'], check=True
    )
    (wheel,) = (folder / 'wheels').glob('*.whl')
    subprocess.run([*pip, 'install', '--no-deps', '--target', folder / 'site', wheel], check=True)
    return folder / 'site'


@pytest.fixture(scope='module')
def installed(site):
    """What the wheel says of itself."""
    (found,) = importlib.metadata.distributions(path=[str(site)])
    return found


def wanted(installed):
    """{extra, '' for none: the packages that it asks for}."""
    needs = {'': set()} | {extra: set() for extra in installed.metadata.get_all('Provides-Extra')}
    for line in installed.requires:
        need = Requirement(line)
        extra = re.search('extra == "(.*?)"', str(need.marker))
        needs[extra[1] if extra else ''].add(canonicalize_name(need.name))
    return needs


def imported(path):
    """[(package, whether it is imported with the module itself)] that are others'."""
    for node in ast.walk(parsing.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        for name in {name.partition('.')[0] for name in names} - OWN - sys.stdlib_module_names:
            yield name, not node.col_offset


@pytest.mark.slow
def test_what_is_imported_is_asked_for_and_no_more(installed):
    needs = wanted(installed)
    everything = set().union(*needs.values())
    providers, used = importlib.metadata.packages_distributions(), set()
    for path in (ROOT / 'fgsep_jax').rglob('*.py'):
        room = path.relative_to(ROOT / 'fgsep_jax').parts[0]
        for name, at_once in imported(path):
            packages = {canonicalize_name(one) for one in providers.get(name, [name])}
            used |= packages
            asked = needs[''] | (needs['report'] if room == 'report' else set())
            # What a function imports may be an extra's; starlette is gradio's own.
            asked = asked if at_once else everything | {'starlette'}
            assert packages & asked, f'{path} imports {name}, which setup.py does not ask for'
    unused = needs[''] - used - {'flatbuffers'}  # jax.export's, which nothing else asks for
    assert not unused, 'asked for by default, and imported nowhere'
    for path in (ROOT / 'data_prep').rglob('*.py'):
        for name, at_once in imported(path):
            packages = {canonicalize_name(one) for one in providers.get(name, [name])}
            asked = needs[''] | needs['data-prep'] | needs['demo'] | {'cloudpickle'}  # Beam's own
            asked = asked if at_once else asked | needs['dask']
            assert packages & asked, f'{path} imports {name}, which setup.py does not ask for'


@pytest.mark.slow
def test_every_extra_that_is_named_is_there(installed):
    needs = wanted(installed)
    assert all(needs.values())
    texts = [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]
    texts += [path for name in OWN for path in (ROOT / name).rglob('*.py')]
    named = {
        canonicalize_name(extra)
        for path in texts
        for found in re.findall(r'fgsep_jax\[([\w,-]+)\]', path.read_text())
        for extra in found.split(',')
    }
    assert {'demo', 'app', 'live', 'onnx', 'data-prep', 'dask'} <= named <= {*needs}


def test_what_is_missing_is_advised_for_those_without_a_clone_too():
    advised = [
        path
        for name in ('fgsep_jax', 'data_prep')
        for path in (ROOT / name).rglob('*.py')
        if re.search(r"-e '?\.\[", path.read_text())
    ]
    assert not advised  # `pip install 'fgsep_jax[NAME]'` works beside a clone's install, too


@pytest.mark.slow
def test_every_file_of_the_packages_is_installed(site):
    places = {'fgsep_jax': site, 'data_prep': site, 'configs': site / 'fgsep_jax'}
    missing = [
        path.relative_to(ROOT)
        for name, place in places.items()
        for path in (ROOT / name).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
        if not (place / path.relative_to(ROOT)).exists()
    ]
    assert not missing and (site / 'fgsep_jax' / 'py.typed').exists()


@pytest.mark.slow
def test_the_wheel_says_what_it_is(installed):
    about = installed.metadata
    assert 'Apache-2.0' in (about.get('License-Expression') or about['License'])
    assert any(path.name == 'LICENSE' for path in installed.files)
    assert about['Description-Content-Type'] == 'text/markdown'
    assert about['Description'] or about.get_payload()
    assert about.get_all('Classifier') and about.get_all('Project-URL') and about['Summary']
    points = {point.name: point.value for point in installed.entry_points}
    assert points == {
        name: f'fgsep_jax.scripts:{function.__name__}' for name, function in SCRIPTS.items()
    }


@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_runs_the_program_that_the_list_names(name, monkeypatch, capsys):
    """With the words that belong to it before those of the command line."""
    ran = []
    program = types.SimpleNamespace(main=lambda: ran.append(sys.argv[1:]))
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    monkeypatch.setattr(streams, 'use', lambda: None)
    monkeypatch.setattr(stopping, 'use', lambda: None)
    monkeypatch.setattr(stopping, 'run', lambda run: run())
    monkeypatch.setattr(
        scripts.importlib, 'import_module', lambda module: ran.append(module) or program
    )
    with pytest.raises(SystemExit) as left:
        SCRIPTS[name]()
    assert not left.value.code
    monkeypatch.undo()
    commands.main([])
    (listed,) = re.findall(f'^{name} +python -m (.*?)  ', capsys.readouterr().out, flags=re.M)
    module, (*words, last) = ran
    assert last == '--help'
    assert listed == ' '.join([module.removesuffix('.__main__'), *words])


def test_the_list_names_every_program(capsys):
    """Those of launch are for pods, and docs/pods.md has them."""
    commands.main([])
    listed = re.findall(r'python -m (\S+)', capsys.readouterr().out)
    programs = {
        '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__main__')
        for path in (ROOT / 'fgsep_jax').rglob('*.py')
        if "__name__ == '__main__'" in path.read_text() and path.parent.name != 'launch'
    }
    assert {*listed} == programs - {'fgsep_jax'} | {'data_prep'}
    assert len(listed) == len(programs) + 1  # main twice


@pytest.mark.slow
def test_a_wheel_separates_elsewhere(tmp_path, site):
    def run(*command, **more):
        environment = {**os.environ, 'PYTHONPATH': str(site), 'JAX_PLATFORMS': 'cpu'}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, **more
        )
        assert not done.returncode, done.stderr
        return done.stdout

    found = run(sys.executable, '-c', 'import fgsep_jax as a, data_prep as b; print(a, b)')
    assert found.count(str(site)) == 2
    listed = run(sys.executable, '-m', 'data_prep.fgbg', '--help')
    assert '--classes' in listed

    # A configuration by its name, a corpus without data, a model, a recording's parts.
    run(
        *[sys.executable, '-m', 'data_prep.embedded', '--task=foreground'],
        *['--output_dir=data/fgbg', '--foregrounds_per_class=3', '--backgrounds_per_class=3'],
        *['--train_mixtures=4', '--validation_mixtures=2', '--test_mixtures=2'],
    )
    run(
        *[site / 'bin/fgsep-train', '--mode=train', '--config=blstm_m2:demo', '--workdir=runs/m2'],
        *['--config.data.dir=data/fgbg', '--config.data.batch_size=4'],
        *['--config.training.epochs=1', '--config.model.hidden=8', '--config.model.projection=8'],
    )
    signal_T = 0.1 * np.random.default_rng(0).standard_normal(44_100)
    soundfile.write(tmp_path / 'in.wav', signal_T, 44_100)
    run(site / 'bin/fgsep-separate', 'runs/m2', 'in.wav', '--page=1')
    parts = [
        soundfile.read(tmp_path / f'separated/in_{s}.wav')[0] for s in ('foreground', 'background')
    ]
    np.testing.assert_allclose(sum(parts), signal_T, atol=2 / 32768)
    assert (tmp_path / 'separated/index.html').exists()
