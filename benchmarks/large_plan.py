"""Seconds and memory of the plan of a data set of very many files, in a process of its own.

    python -m benchmarks.large_plan [--files=1000000]

Makes a tree of short files of 1,000 speakers, and deletes it. What workers do, looking into files
and mixing, is left out: the job ends where mixing would begin.
"""

import contextlib
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from unittest import mock

import numpy as np

from data_prep import build, engine, folder_2mix
from fgsep_jax import command_line

SPEAKERS, RATE = 1000, 8000


class Planned(BaseException):
    """Mixing would begin."""


def make(folder, files):
    """Writes a tree of files of ten sizes, a folder a speaker, no two of the same content."""
    head = np.frombuffer(b'RIFF....WAVEfmt \x10\0\0\0\1\0\1\0', np.uint8)
    for i in range(files):
        samples = np.random.default_rng(i).integers(-9000, 9000, 64 + i // SPEAKERS % 10, np.int16)
        size = np.array([36 + samples.nbytes], '<u4').tobytes()
        rates = np.array([RATE, 2 * RATE], '<u4').tobytes() + b'\2\0\x10\0data'
        begin = head.tobytes().replace(b'....', size) + rates
        place = os.path.join(folder, f'speaker{i % SPEAKERS:04d}')
        if i < SPEAKERS:
            os.makedirs(place)
        with open(os.path.join(place, f'{i // SPEAKERS:06d}.wav'), 'wb') as file:
            file.write(begin + np.array([samples.nbytes], '<u4').tobytes() + samples.tobytes())


def stood_in(tasks, do, *_):
    """As `engine.each`, without workers: each file has three seconds."""
    if do.func is not build.inspect:
        raise Planned
    with open(do.keywords['table'], 'rb') as table:
        content = table.read()
    found = pickle.dumps({'samples': 3 * RATE, 'rms_db': -20.0})
    for start, stop, _ in tasks:
        yield [[pickle.loads(found)] for _ in range(content[start:stop].count(b'\n') - 1)]


def plan(folder):
    """Plans a data set of a tree; prints seconds of a core for the walk and for the plan, and the
    most memory."""
    began, of_walk = time.process_time(), []
    real = build.run

    def run(**keywords):
        of_walk.append(time.process_time() - began)
        return real(**keywords)

    flags = [f'--input_dir={folder}/tree', f'--output_dir={folder}/data']
    with (
        mock.patch.object(build, 'run', run),
        mock.patch.object(engine, 'each', stood_in),
        contextlib.suppress(Planned),
    ):
        folder_2mix.main(flags)
    seconds = time.process_time() - began
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f'walk {of_walk[0]:.1f} s, plan {seconds - of_walk[0]:.1f} s of a core, {gigabytes:.2f} GB'
    )


def main(arguments=None):
    """Prints what the plan takes."""
    parser = command_line.Parser('benchmarks.large_plan', __doc__)
    parser.add_argument('--files', type=command_line.count, default=1_000_000, help='of the tree')
    flags, _ = parser.parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        make(os.path.join(folder, 'tree'), flags.files)
        code = f'from benchmarks import large_plan; large_plan.plan({folder!r})'
        began = time.perf_counter()
        subprocess.run([sys.executable, '-c', code], check=True)
        print(f'{time.perf_counter() - began:.0f} s')


if __name__ == '__main__':
    main()
