"""Seconds until the paper's GLU train step is compiled, on a CPU, in a fresh process.

Cold with an empty compilation cache, which it fills; warm with that cache, as `fgsep_jax.main`
keeps one. Tracing and lowering are paid both times.
"""

import functools
import os
import shutil
import tempfile

from benchmarks import child, harness


def _compile(folder, *, cold, small):
    if cold:
        shutil.rmtree(folder, ignore_errors=True)
    elif not os.listdir(folder):
        raise RuntimeError(f'{folder} is empty: the compiled step was not cached')
    return child.measure(
        'compile',
        small=small,
        JAX_COMPILATION_CACHE_DIR=folder,
        JAX_PLATFORMS='cpu',
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0',
    )


def cases(small=False):
    """A compile with an empty cache, then with the cache that it left."""
    with tempfile.TemporaryDirectory() as directory:
        run = functools.partial(_compile, os.path.join(directory, 'cache'), small=small)
        what = 'compiling the GLU train step, 2 x 4 s, on a CPU'
        rounds = 1 if small else 3
        yield harness.Case(
            f'{what}, cold',
            functools.partial(run, cold=True),
            target=60,
            limit=True,
            unit='seconds',
            rounds=rounds,
        )
        yield harness.Case(
            f'{what}, cached',
            functools.partial(run, cold=False),
            target=10,
            limit=True,
            unit='seconds',
            rounds=rounds,
        )
