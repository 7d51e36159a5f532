"""Compiles one configuration for a TPU and prints what `analyse` finds as JSON.

A process of its own, since libtpu must not load into the one that runs the other tests:
`python compile_one.py TOPOLOGY CONFIG.json [padded]`.
"""

import json
import sys

from fgsep_jax.launch import tpu

tpu.set_environment()

from fgsep_jax import config as config_lib  # noqa: E402
from fgsep_jax.launch import compile_ahead  # noqa: E402


def _main(topology, path, *padded):
    with open(path) as file:
        config = config_lib.from_json(file.read())
    chip, devices = tpu.describe(topology)
    compiled = compile_ahead.compile_step(config, devices, padded=bool(padded))
    found = compile_ahead.analyse(compiled, chip, len(devices))
    costs = found.pop('costs')
    found['custom_calls'] = list(found['custom_calls'])
    print(json.dumps({**found, 'chips': len(devices), 'table': compile_ahead.table(costs)}))


if __name__ == '__main__':
    _main(*sys.argv[1:])
