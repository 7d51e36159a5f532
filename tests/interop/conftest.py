"""What the tests of other programs' weights share."""

import importlib.util
import pathlib

import pytest


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
