"""Compile time and peak memory of one train step, each measured in a process of its own.

    python -m benchmarks.child compile|memory|memory_of_torch [--small]

The step is that of `configs/convtasnet_glu.py` at the paper's size on two mixtures of 4 s: forward,
backward, clipping and Adam. Prints one number, seconds or bytes, on its last line.
"""

import os
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np

from benchmarks.train_step import SMALL, TrainStep, noise
from fgsep_jax import command_line, config as config_lib
from fgsep_jax.tasks import make_task
from fgsep_jax.training import mesh as mesh_lib, state as state_lib, step as step_lib

STEPS = 3


def make_config(*, small):
    """The paper's GLU model on two mixtures, or that of the demo on very short ones."""
    config = config_lib.load(f'convtasnet_glu:{"demo" if small else "paper"}')
    config = config.copy_and_resolve_references()
    config.data.batch_size = 2
    if small:
        config.data.segment_seconds = 0.0505
        config.model.update(config_lib.nested_model({'encoder': 'glu', 'layers': 2, **SMALL}))
    return config


def compile_seconds(config):
    """Seconds to trace, lower and compile the train step, without the step itself."""
    mesh, task = mesh_lib.make_mesh(), make_task(config)
    state = jax.eval_shape(lambda: state_lib.init_state(task, config))
    batch = mesh_lib.place_batch({'source_BST': noise(config)}, mesh)
    began = time.perf_counter()
    step_lib.jit_train_step(task, config, mesh).lower(state, batch).compile()
    return time.perf_counter() - began


def peak_bytes(config):
    """Most memory during a step over what the process held after its imports, in bytes."""
    before = _memory('VmRSS')
    step = TrainStep(config, source_BST=noise(config))
    del step.params  # nobody's here, and no run has them
    step()  # compiles
    for _ in range(STEPS):
        _reset_peak()
        loss = step()
    assert np.isfinite(loss)
    return _memory('VmHWM') - before


def peak_bytes_of_torch(config):
    """The same of PyTorch's twin of the model."""
    import torch

    from benchmarks import torch_twins

    before = _memory('VmRSS')
    task = make_task(config)
    # Any weights will do, and those need no compiler, whose memory would be counted here.
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(np.float32),
        jax.eval_shape(task.init, jax.random.key(0)),
    )
    model = torch_twins.make_model(task.model, params)
    del params
    descend = torch_twins.Descent(model, config)
    source = torch.from_numpy(noise(config))
    for _ in range(STEPS):
        _reset_peak()
        source_BST = source.float() / 32768
        estimate_BST = model(source_BST.sum(1, keepdim=True))
        loss = descend(torch_twins.pit_loss(estimate_BST, source_BST).mean())
    assert np.isfinite(loss)
    return _memory('VmHWM') - before


def _memory(field):
    for line in pathlib.Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f'/proc/self/status has no {field}')


def _reset_peak():
    pathlib.Path('/proc/self/clear_refs').write_text('5')


MEASURED = {
    'compile': compile_seconds,
    'memory': peak_bytes,
    'memory_of_torch': peak_bytes_of_torch,
}


def measure(what, *, small=False, **environment):
    """Measures in a fresh process.

    Args:
      what: a key of `MEASURED`.
      small: a tiny model.
      **environment: variables for that process.

    Returns:
      Seconds or bytes.

    Raises:
      subprocess.CalledProcessError: the process failed.
    """
    command = [sys.executable, '-m', 'benchmarks.child', what, *['--small'] * small]
    printed = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=pathlib.Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return float(printed.splitlines()[-1])


def main(arguments=None):
    """Prints what the command line asks for."""
    parser = command_line.Parser('benchmarks.child', __doc__, words='|'.join(MEASURED))
    parser.switch('--small', 'a tiny model')
    flags, words = parser.parse(arguments)
    if len(words) > 1 or words[0] not in MEASURED:
        parser.error(f'{" ".join(words)}: must be one of {", ".join(MEASURED)}')
    print(MEASURED[words[0]](make_config(small=flags.small)))


if __name__ == '__main__':
    main()
