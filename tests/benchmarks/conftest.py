"""What the tests of the benchmarks share."""

import dataclasses
import functools
import math

import pytest

from benchmarks import harness, table


@pytest.fixture(scope='session')
def run():
    """Runs the cases of a benchmark once each, as the program does; returns their names."""

    def run_cases(cases):
        names = []
        for case in cases:
            once = dataclasses.replace(
                case,
                rounds=1,
                ours=functools.cache(case.ours),
                peers={name: functools.cache(peer) for name, peer in case.peers.items()},
            )
            row = harness.compare(once, {'flops': 1e9, 'bytes': 1e9})
            assert row['ours'] > 0 and math.isfinite(row['ours'])
            assert case.target is None or case.limit or case.peers, 'a target about nothing'
            assert len(table.lines(row)) == max(1, len(case.peers))
            names.append(case.name)
        assert names and len(set(names)) == len(names)
        return names

    return run_cases
