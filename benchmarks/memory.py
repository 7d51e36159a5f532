"""Peak memory of the paper's GLU train step on a CPU beside PyTorch's, each in a fresh process.

The most that is resident during one of a few steps (VmHWM of Linux, reset before each), over what
the process held after its imports: parameters, Adam's moments, activations, and whatever building
and compiling the model left behind.
"""

import functools

from benchmarks import child, harness


def _megabytes(what, small):
    return child.measure(what, small=small, JAX_PLATFORMS='cpu') / 1e6


def cases(small=False):
    """One comparison."""
    ours, torch = (
        functools.partial(_megabytes, what, small) for what in ('memory', 'memory_of_torch')
    )
    yield harness.Case(
        'peak memory of the GLU train step, 2 x 4 s, on a CPU',
        ours,
        {'PyTorch': torch},
        target=0.8,
        unit='MB',
        rounds=1 if small else 3,
    )
