"""Records a second out of a bucket that answers late, by one thread and by several.

    python -m benchmarks.bucket_reads [--milliseconds=30] [--threads=8]

The bucket is tests/gcs_server.py in a process of its own, on the same cores; records are as long
as the segments of either paper's recipe, and as scenes of 10 s. Both numbers of threads take turns,
of which the median counts.
"""

from concurrent.futures import ThreadPoolExecutor
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

from benchmarks import input as input_lib
from fgsep_jax import command_line, config as config_lib

SERVER = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'tests', 'gcs_server.py')
RECORDS, TURNS = 64, 5


@contextlib.contextmanager
def served(seconds):
    """Within, the gs:// of this process is a server that waits before each answer."""
    command = [sys.executable, SERVER, '0', str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            place = dict(pair.split('=', 1) for pair in server.stdout.readline().split())
            with mock.patch.dict(os.environ, place):
                yield
        finally:
            server.kill()


def measure(name, config, threads):
    """Prints how many times faster several threads read a data set of a bucket than one.

    Args:
      name: for people.
      config: an experiment's ConfigDict; records are of its segments' length and rate.
      threads: how many.
    """
    import fsspec

    from fgsep_jax.data.source import RecordSource

    with tempfile.TemporaryDirectory() as folder:
        longest = config.data.segment_seconds
        here = input_lib.write(folder, config, mixtures=RECORDS, longest=longest)
        size = sum(os.path.getsize(file.path) for file in os.scandir(folder) if file.is_file())
        url = f'gs://bucket/{name}'
        gs = fsspec.filesystem('gs')
        for file in os.scandir(folder):
            if file.is_file():
                gs.put_file(file.path, f'{url}/{file.name}')
    there = RecordSource(url, here.split)
    seconds = {1: [], threads: []}
    for turn in range(TURNS + 1):
        for count, taken in seconds.items():
            with ThreadPoolExecutor(count) as pool:
                began = time.perf_counter()
                ids = [example.id for example in pool.map(there.__getitem__, range(RECORDS))]
                taken += [time.perf_counter() - began] * (turn > 0)
            assert len({*ids}) == RECORDS
    one, several = (RECORDS / statistics.median(taken) for taken in seconds.values())
    print(
        f'{name}: records of {size / RECORDS / 1e3:.0f} kB, {one:.0f} a second by one thread,'
        f' {several:.0f} by {threads}: {several / one:.1f} times'
    )


def main(arguments=None):
    """Prints what threads are worth at a bucket."""
    parser = command_line.Parser('benchmarks.bucket_reads', __doc__)
    parser.add_argument('--milliseconds', type=command_line.count, default=30, help='to wait')
    parser.add_argument('--threads', type=command_line.count, default=8, help='beside one')
    flags, _ = parser.parse(arguments)
    with served(flags.milliseconds / 1e3):
        for name, long in (('convtasnet', 0), ('blstm_m1_plus', 0), ('blstm_m1_plus', 10)):
            config = config_lib.load(name).copy_and_resolve_references()
            if long:
                config.data.segment_seconds = config.data.adaptation_seconds = float(long)
                name = f'{name}_{long}s'
            measure(name, config, flags.threads)


if __name__ == '__main__':
    main()
