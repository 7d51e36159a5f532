"""Compiles the train step for a TPU that is not there, and says what it would cost.

    python -m fgsep_jax.launch.compile_ahead --config=configs/convtasnet.py --topology=v5e:4x4
"""

import os
import time

os.environ.update(JAX_PLATFORMS='cpu', TPU_SKIP_MDS_QUERY='1')
os.environ.setdefault('TPU_ACCELERATOR_TYPE', 'v5litepod-1')
os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')

from absl import app, flags  # noqa: E402
import jax  # noqa: E402
from jax.experimental import topologies  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from ml_collections import config_flags  # noqa: E402
from fgsep_jax import config as config_lib  # noqa: E402
from fgsep_jax.launch import hlo_bytes  # noqa: E402
from fgsep_jax.tasks import make_task  # noqa: E402
from fgsep_jax.training import mesh as mesh_lib, state as state_lib, step as step_lib  # noqa: E402

_CONFIG = config_flags.DEFINE_config_file('config')
_TOPOLOGY = flags.DEFINE_string('topology', 'v5e:2x2', 'generation:shape')
_BATCH = flags.DEFINE_integer('per_chip_batch', 16, 'Mixtures a chip.')
_BY_OP = flags.DEFINE_bool('by_op', False, 'List where the bytes go.')
_LARGEST = flags.DEFINE_integer('largest', 0, 'List that many largest instructions.')
_HLO = flags.DEFINE_string('hlo', '', 'File to write the optimised HLO to.')


def _main(argv):
    del argv
    config = _CONFIG.value
    devices = topologies.get_topology_desc(_TOPOLOGY.value, platform='tpu').devices
    mesh = mesh_lib.make_mesh(devices)
    task = make_task(config)
    state = jax.eval_shape(lambda: state_lib.init_state(task, config))
    rows = _BATCH.value * len(devices)
    batch = {'source_BST': jax.ShapeDtypeStruct(
        (rows, config.data.sources, config_lib.segment_samples(config)), jnp.int16)}
    if config.data.adaptation_seconds:
        batch['adaptation_BT'] = jax.ShapeDtypeStruct(
            (rows, config_lib.adaptation_samples(config)), jnp.int16)
    began = time.monotonic()
    compiled = step_lib.jit_train_step(task, config, mesh).lower(state, batch).compile()
    print(f'compiled in {time.monotonic() - began:.0f} s')
    text = compiled.as_text()
    if _HLO.value:
        with open(_HLO.value, 'w') as file:
            file.write(text)
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    found = hlo_bytes.costs(text)
    print(f"TFLOP {cost['flops'] / 1e12:.3f}, XLA's bytes accessed"
          f" {cost['bytes accessed'] / 1e9:.2f} GB, in HBM by instruction"
          f' {sum(one.bytes for one in found) / 1e9:.2f} GB')
    print(f'arguments {memory.argument_size_in_bytes / 1e9:.3f} GB, temporaries'
          f' {memory.temp_size_in_bytes / 1e9:.3f} GB')
    print('collectives', hlo_bytes.collective_bytes(found), 'custom calls',
          hlo_bytes.custom_calls(found))
    if _BY_OP.value:
        for way, where, number, moved, cycles in hlo_bytes.by_place(found)[:60]:
            print(f'{moved / 1e9:8.3f} GB {cycles / 1e6:8.2f} Mcycles {number:5} {way:10} {where}')
    for one in sorted(found, key=lambda one: -one.bytes)[:_LARGEST.value]:
        inst = one.instruction
        print(f'{one.bytes / 1e9:8.3f} GB x{one.times} r {one.read / 1e9:.3f} w'
              f' {one.written / 1e9:.3f} {inst.cycles / 1e6:.2f} Mcyc {inst.opcode} {inst.name}'
              f' {hlo_bytes.direction(inst.op_name)} {inst.op_name[-60:]}')


if __name__ == '__main__':
    app.run(_main)
