"""Real recordings for the benchmarks and tests that need some: sentences, and a place.

The sentences are those of the tests of pocketsphinx (BSD), of a reader of LibriVox (public domain)
and others; the place is the example of dcase_util (MIT). pip downloads both.
"""

import io
import pathlib
import subprocess
import sys
import tarfile

import numpy as np
import soundfile

from fgsep_jax.config import ConfigError
from fgsep_jax.data import resample
from fgsep_jax.metrics.improvement import si_snr

RATE = 16000
SPEECH, SCENE = 'pocketsphinx==5.1.1', 'dcase_util==0.2.20'
READER = 'librivox/sense_and_sensibility_01_austen_64kb-{}.wav'
SENTENCES = (
    *map(READER.format, ('0870', '0880', '0890', '0920', '0930')),
    *(f'forever/input_{n}_16k.wav' for n in (2, 4)),
    *(f'{name}.raw' for name in ('goforward', 'something', 'numbers')),
)
PLACE = 'dcase_util/utils/example_data/acoustic_scene.wav'
_LONGEST = 4  # s, of a sentence


def download(wanted, folder, *, source=False):
    """Path of the wheel of 'name==version', or with `source` of what it is built of, by pip.

    Raises:
      ConfigError: there is none.
    """
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '-d', folder, wanted]
    name = wanted.partition('==')[0]
    command += ['--no-binary', name] if source else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f'{wanted} cannot be downloaded: {done.stderr.strip().splitlines()[-1]}')
    name = name.replace('-', '_')
    (found,) = pathlib.Path(folder).glob(f'{name}-*{".tar.gz" if source else ".whl"}')
    return found


def unpacked(archive, path):
    """A recording in a source archive: (float32 [samples], rate); .raw is 16 bit at 16 kHz."""
    archive = pathlib.Path(archive)
    with tarfile.open(archive) as file:
        content = file.extractfile(f'{archive.name.removesuffix(".tar.gz")}/{path}').read()
    if path.endswith('.raw'):
        return np.frombuffer(content, '<i2').astype(np.float32) / 32768, 16000
    signal, rate = soundfile.read(io.BytesIO(content), dtype='float32', always_2d=True)
    return signal.mean(axis=1), rate


def mixtures(folder):
    """[(speech float32 [samples], it in the scene)] at 16 kHz: each sentence at 0 and 5 dB.

    Args:
      folder: to download into.
    """
    speech, scene = (download(wanted, folder, source=True) for wanted in (SPEECH, SCENE))
    scene_T = resample.resample(unpacked(scene, PLACE)[0], 44100, RATE)
    return [
        (speech_T, in_noise(speech_T, scene_T[number * RATE // 2 :], decibels))
        for number, name in enumerate(SENTENCES)
        for speech_T in [unpacked(speech, f'test/data/{name}')[0][: _LONGEST * RATE]]
        for decibels in (0, 5)
    ]


def in_noise(speech_T, noise_T, decibels):
    """Speech above as much of a noise by so many dB: float32 [samples]."""
    noise_T = noise_T[: len(speech_T)]
    gain = np.linalg.norm(speech_T) / np.linalg.norm(noise_T) * 10 ** (-decibels / 20)
    return (speech_T + gain * noise_T).astype(np.float32)


def gained(estimate_T, speech_T, mixture_T):
    """SI-SNR of an estimate above the mixture's, in dB."""
    before, after = si_snr(np.stack([mixture_T, estimate_T]), speech_T[None])[0]
    return after - before
