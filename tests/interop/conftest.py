"""What the tests of other programs' weights share."""

import importlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import types
import zipfile

import pytest


@pytest.fixture(scope='session')
def wheel(request):
    """A function that gives the wheel of 'name==version', which pip downloads once."""

    def download(wanted):
        folder = request.config.cache.mkdir(f'wheel-{wanted}')
        if not list(folder.glob('*.whl')):
            command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '-q', wanted]
            done = subprocess.run([*command, '-d', folder], capture_output=True, text=True)
            if done.returncode:
                refuse = pytest.fail if os.environ.get('CI') else pytest.skip
                refuse(f'{wanted} cannot be downloaded: {done.stderr.strip().splitlines()[-1]}')
        (path,) = folder.glob('*.whl')
        return path

    return download


@pytest.fixture(scope='session')
def speechbrain_models(wheel, tmp_path_factory):
    """speechbrain's modules (conv_tasnet, dual_path), loaded without the rest of its package, which
    wants packages of its own, and without torchaudio, which they do not use."""
    pytest.importorskip('torch')
    folder = tmp_path_factory.mktemp('speechbrain')
    with zipfile.ZipFile(wheel('speechbrain==1.1.2')) as file:
        file.extractall(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ('', '.nnet', '.lobes', '.lobes.models'):
            package = types.ModuleType(f'speechbrain{name}')
            package.__path__ = [str(folder.joinpath('speechbrain', *name.split('.')))]
            patch.setitem(sys.modules, package.__name__, package)
        patch.setitem(sys.modules, 'torchaudio', types.ModuleType('torchaudio'))
        sys.modules['speechbrain'].nnet = sys.modules['speechbrain.nnet']
        for name in ('CNN', 'linear', 'containers'):
            importlib.import_module(f'speechbrain.nnet.{name}')
        models = [
            importlib.import_module(f'speechbrain.lobes.models.{name}')
            for name in ('conv_tasnet', 'dual_path')
        ]
        for name in [name for name in sys.modules if name.startswith('speechbrain.')]:
            del sys.modules[name]
    return models


@pytest.fixture(scope='session')
def torchaudio_model():
    """torchaudio's class, loaded from its file: the package wants a C extension."""
    pytest.importorskip('torch')
    spec = importlib.util.find_spec('torchaudio')
    if spec is None:
        pytest.fail(
            'PyTorch is here but torchaudio is not, so nothing proves that the models are equal: '
            'pip install --no-deps torchaudio==2.11.0'
        )
    path = pathlib.Path(spec.submodule_search_locations[0], 'models', 'conv_tasnet.py')
    spec = importlib.util.spec_from_file_location('torchaudio_conv_tasnet', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ConvTasNet
