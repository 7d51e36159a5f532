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
    'separate',
    'published',
    'metrics',
    'pit',
    'features',
    'input',
    'compile_time',
    'memory',
)


def main(arguments=None):
    """Runs the benchmarks that the command line names."""
    parser = command_line.Parser(
        'benchmarks',
        __doc__,
        words='NAME...',
        epilog=f'NAME is one of {", ".join(NAMES)}; gpu; or all, which leaves gpu out.',
    )
    parser.add_argument(
        '--results',
        metavar='FILE',
        type=command_line.local_path,
        default='benchmarks.jsonl',
        help='to append to',
    )
    parser.add_argument(
        '--rounds',
        type=command_line.count,
        default=0,
        help='turns of each case; 0: as many as the case asks for',
    )
    parser.switch('--small', 'tiny sizes, in minutes: shows that it runs; writes nothing')
    flags, names = parser.parse(arguments)
    for name in names:
        if name not in (*NAMES, 'gpu', 'all'):
            near = command_line.did_you_mean(name, (*NAMES, 'gpu', 'all'))
            parser.error(f'there is no benchmark {name}{near}')
    names = NAMES if 'all' in names else names
    for name in names:  # what is missing is missed now
        cases = _cases(name, flags.small)
    if not flags.small:
        try:  # now, not when hours of measuring are to be written
            harness.append(flags.results, [])
        except OSError as error:
            raise command_line.refusal(f'--results={flags.results}: {error}') from error
    if len(names) == 1:
        try:
            _run(names[0], cases, flags)
        except ConfigError as error:
            raise command_line.refusal(error) from error
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
        if error.name.split('.')[0] in ('fgsep_jax', 'benchmarks'):
            raise
        needed = f"benchmark {name} needs {error.name}: pip install -e '.[test]'"
        raise command_line.refusal(needed) from error


if __name__ == '__main__':
    main()
