"""Every benchmark runs, on small sizes."""

import dataclasses
import importlib
import math

import pytest

from benchmarks import gpu, harness, table
from benchmarks.__main__ import NAMES, main
from fgsep_jax.config import ConfigError


@pytest.mark.parametrize('name', [*NAMES, 'gpu'])
def test_small_cases_run_and_make_lines(name):
    names = []
    for case in importlib.import_module(f'benchmarks.{name}').cases(small=True):
        case = dataclasses.replace(case, rounds=1)
        row = harness.compare(case, {'flops': 1e9, 'bytes': 1e9})
        assert row['ours'] > 0 and math.isfinite(row['ours'])
        assert case.target is None or case.limit or case.peers, 'a target about nothing'
        assert len(table.lines(row)) == max(1, len(case.peers))
        names.append(case.name)
    assert names and len(set(names)) == len(names)


def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match='JAX runs on cpu, PyTorch sees no GPU'):
        gpu.cases()


@pytest.mark.parametrize('arguments', [['nothing'], ['pit', '--rounds=0'], []])
def test_wrong_arguments_end_at_once(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2 and 'usage' in capsys.readouterr().err
