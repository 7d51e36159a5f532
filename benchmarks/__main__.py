"""Measures this package beside its peers.

    python -m benchmarks NAME... [--results=FILE] [--rounds=N] [--small]
    python -m benchmarks all

Each NAME is a module here whose `cases()` yields `harness.Case`s. Prints a table, and appends
what was measured to the results file; `python -m benchmarks.table` makes the tables of
docs/speed.md of that file.
"""

from fgsep_jax import huge_pages

if __name__ == '__main__':
    huge_pages.use()  # as `fgsep_jax.main` does; NumPy's peers gain from it too

import argparse
import dataclasses
import importlib
import os
import subprocess
import sys

from benchmarks import harness, table
from fgsep_jax import command_line
from fgsep_jax.config import ConfigError

if __name__ == '__main__':
    # Two libraries share a GPU; JAX would take three quarters of its memory at once.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

NAMES = (
    'conv_tasnet',
    'mask_blstm',
    'metrics',
    'pit',
    'features',
    'input',
    'compile_time',
    'memory',
)


def main(arguments=None):
    """Runs the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'names',
        nargs='+',
        choices=[*NAMES, 'gpu', 'all'],
        metavar='NAME',
        help=f'one of {", ".join(NAMES)}; gpu; or all, which leaves gpu out',
    )
    parser.add_argument(
        '--results', default='benchmarks.jsonl', help='file to append to (%(default)s)'
    )
    parser.add_argument('--rounds', type=int, help='turns of each case, in place of its own')
    parser.add_argument(
        '--small',
        action='store_true',
        help='tiny sizes, in minutes: shows that it runs; writes nothing',
    )
    flags = parser.parse_args(arguments)
    if flags.rounds is not None and flags.rounds < 1:
        parser.error(f'--rounds={flags.rounds}: at least 1')
    names = NAMES if 'all' in flags.names else flags.names
    for name in names:  # what is missing is missed now
        cases = _cases(name, flags.small)
    if not flags.small:
        try:  # now, not when hours of measuring are to be written
            harness.append(flags.results, [])
        except OSError as error:
            raise command_line.refusal(f'--results={flags.results}: {error}') from error
    if len(names) == 1:
        _run(names[0], cases, flags)
        return
    # Each in a process of its own: what a benchmark leaves in threads and memory slows the next.
    given = [
        f'--results={flags.results}',
        *['--small'] * flags.small,
        *([f'--rounds={flags.rounds}'] if flags.rounds else []),
    ]
    for name in names:
        done = subprocess.run([sys.executable, '-m', 'benchmarks', name, *given], check=False)
        if done.returncode:
            raise command_line.refusal(f'benchmark {name} failed')


def _run(name, cases, flags):
    """Runs the cases of one benchmark, prints their lines and appends their rows."""
    machine = harness.machine()  # its load before there is ours
    rates = harness.machine_rates()
    print(table.machine_line(machine, rates), flush=True)
    if (machine['load'] or 0) > 0.2:  # a peer of many threads suffers most: ratios flatter us
        print('Others are at work here: do not trust the ratios.')
    print('\n' + table.HEADER, flush=True)
    run = {'benchmark': name, 'machine': machine, 'rates': rates}
    for case in cases:
        if flags.rounds:
            case = dataclasses.replace(case, rounds=flags.rounds)
        row = {**run, **harness.compare(case, rates)}
        if not flags.small:  # at once: a later case may take long, or fail
            harness.append(flags.results, [row])
        print('\n'.join(table.lines(row)), flush=True)
    if not flags.small:
        harness.append(flags.results, [{**run, 'complete': True}])
    print()


def _cases(name, small):
    """The cases of a benchmark, not yet made; what they need is looked for at once."""
    try:
        return importlib.import_module(f'benchmarks.{name}').cases(small=small)
    except ConfigError as error:
        raise command_line.refusal(error) from error
    except ModuleNotFoundError as error:
        if error.name.split('.')[0] in ('fgsep_jax', 'benchmarks', 'configs'):
            raise
        needed = f"benchmark {name} needs {error.name}: pip install -e '.[test]'"
        raise command_line.refusal(needed) from error


if __name__ == '__main__':
    main()
