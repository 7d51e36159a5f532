"""Every benchmark runs, on small sizes."""

import dataclasses
import importlib
import importlib.util
import math

import pytest

from fgsep_jax.benchmark import harness, table
from fgsep_jax.benchmark.__main__ import NAMES


@pytest.mark.parametrize('name', NAMES)
def test_small_cases_run_and_make_lines(name):
    if importlib.util.find_spec(f'fgsep_jax.benchmark.{name}') is None:
        pytest.skip('not written yet')
    names = []
    for case in importlib.import_module(f'fgsep_jax.benchmark.{name}').cases(small=True):
        case = dataclasses.replace(case, rounds=1)
        row = harness.compare(case, {'flops': 1e9, 'bytes': 1e9})
        assert row['ours'] > 0 and math.isfinite(row['ours'])
        assert case.target is None or case.limit or case.peers, 'a target about nothing'
        assert len(table.lines(row)) == max(1, len(case.peers))
        names.append(case.name)
    assert names and len(set(names)) == len(names)
