"""A training run in a process of its own, for tests that kill it, deal it over devices or hosts.

python driver.py DATA WORKDIR [--key=value ...]
"""

import json
import os
import sys

import jax

from fgsep_jax.data.source import RecordSource
from fgsep_jax.training import loop

sys.path.insert(0, os.path.dirname(os.path.dirname(__file__)))
import tiny


def main():
    data, workdir, *rest = sys.argv[1:]
    overrides, hosts = {}, None
    for item in rest:
        key, value = item.removeprefix('--').split('=')
        if key == 'host':
            hosts = [int(v) for v in value.split('/')]
        elif key == 'port':
            port = value
        else:
            overrides[key] = json.loads(value)
    if hosts:
        jax.config.update('jax_cpu_collectives_implementation', 'gloo')
        jax.distributed.initialize(f'127.0.0.1:{port}', hosts[1], hosts[0])
    config = tiny.config(data, **overrides)
    try:
        loop.train(
            config,
            workdir,
            train_source=RecordSource(data, 'train'),
            validation_source=RecordSource(data, 'validation'),
        )
    except loop.Preempted as notice:
        print(notice)
        sys.exit(128 + notice.number)


if __name__ == '__main__':
    main()
