"""Settings of the whole suite."""

import os
import shutil
import signal
import tempfile

# Under nohup, or from the background of a script, tests of signals would find them ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Most of the suite's time is compilation of small programs that run once: without optimisation, and
# by the older of XLA's two code generators for CPUs, which takes a quarter of the newer one's time.
os.environ.setdefault(
    'XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false'
)

# What one test, or one process that a test starts, has compiled, the others need not. The folder
# is the session's own; set the variable to keep what was compiled for the next session.
CACHE = None
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    CACHE = os.environ['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(prefix='compiled-')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')

import gc  # noqa: E402

from absl import flags  # noqa: E402
import fsspec  # noqa: E402
import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# Tracing makes objects by the million, none of which the collector frees: it took a twentieth of
# the suite's time.
gc.set_threshold(100_000, 20, 50)
# A shape that broadcasts by accident is an error.
jax.config.update('jax_numpy_rank_promotion', 'raise')
# A machine at work on much else makes examples slowly.
too_slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile('busy', suppress_health_check=too_slow)
hypothesis.settings.load_profile('busy')
# grain reads absl flags, which nobody parses under pytest.
flags.FLAGS.mark_as_parsed()


@pytest.hookimpl(tryfirst=True)  # before those that -m leaves out are left out
def pytest_collection_modifyitems(items):
    """Of a test of many cases that is marked `few(n)`, all but n, evenly spread, are slow."""
    families = {}
    for item in items:
        if item.get_closest_marker('few'):
            families.setdefault((item.path, item.originalname), []).append(item)
    for cases in families.values():
        count = cases[0].get_closest_marker('few').args[0]
        quick = {round(i * (len(cases) - 1) / max(count - 1, 1)) for i in range(count)}
        for i, item in enumerate(cases):
            if i not in quick:
                item.add_marker(pytest.mark.slow)


def pytest_unconfigure():
    """Removes the session's compilation cache; workers of pytest-xdist found it made already."""
    if CACHE:
        shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture
def memory():
    """An empty bucket in memory."""
    fs = fsspec.filesystem('memory')
    fs.store.clear()
    fs.pseudo_dirs[:] = ['']
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = ['']
