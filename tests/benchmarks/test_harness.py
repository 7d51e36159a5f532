"""How cases are run, judged and written."""

import io
import json
import os
import platform
import sys
import time
import types

import numpy as np
import pytest

from benchmarks import __main__ as program, harness
from benchmarks.harness import Case

RATES = {'flops': 100.0, 'bytes': 10.0}


def test_sides_take_turns_and_a_turn_counts_by_its_own_ratio():
    ours, theirs, order = iter([1, 2, 30]), iter([2, 2, 10]), []
    row = harness.compare(
        Case(
            'a',
            lambda: order.append('ours') or next(ours),
            {'peer': lambda: order.append('peer') or next(theirs)},
            rounds=3,
            unit='MB',
        ),
        RATES,
    )
    assert order == ['ours', 'peer'] * 3
    assert row['ours'] == 2 and row['peers']['peer']['value'] == 2
    assert row['peers']['peer']['ratio'] == 1  # of 0.5, 1 and 3; not 2 / 2
    np.testing.assert_allclose(row['peers']['peer']['quartiles'], [0.75, 2])
    assert 'roofline' not in row


def test_a_timed_side_warms_up_before_it_counts(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(harness.time, 'perf_counter', lambda: clock[0])
    runs = []

    def ours():
        runs.append(1)
        clock[0] += 100 if len(runs) == 1 else 3

    row = harness.compare(Case('a', ours, rounds=2), RATES)
    assert row['ours'] == 3 and len(runs) > 2


@pytest.mark.parametrize('flops, moved, seconds', [(1000, 20, 10), (100, 50, 5), (0, 50, 5)])
def test_the_roofline_is_the_slower_of_arithmetic_and_memory(flops, moved, seconds):
    row = harness.compare(Case('a', lambda: None, flops=flops, bytes=moved, rounds=1), RATES)
    assert row['roofline'] == seconds


@pytest.mark.parametrize(
    'target, limit, expected',
    [
        (None, False, None),
        (0.5, False, True),
        (0.4, False, False),
        (5, True, True),
        (4, True, False),
    ],
)
def test_a_target_is_about_the_first_peer_or_about_our_value(target, limit, expected):
    case = Case(
        'a',
        lambda: 5,
        {'first': lambda: 10, 'second': lambda: 1},
        target=target,
        limit=limit,
        unit='MB',
        rounds=1,
    )
    assert harness.met(harness.compare(case, RATES)) is expected


def test_the_machine_has_rates_and_a_name():
    rates, machine = harness.machine_rates(size=64, megabytes=1), harness.machine()
    assert set(rates) == {'flops', 'bytes'} and min(rates.values()) > 0
    assert machine['versions']['jax'] and machine['cores'] >= 1 and machine['platform']
    json.dumps(machine)


def test_the_program_appends_rows_and_measures_the_machine_once(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(harness, 'machine_rates', lambda: calls.append(1) or RATES)
    monkeypatch.setattr(harness, 'busy_cores', lambda: 0.6)
    cases = [Case(name, lambda: None, {'peer': lambda: None}) for name in 'ab']
    module = type('Module', (), {'cases': staticmethod(lambda small: cases)})
    monkeypatch.setattr(program.importlib, 'import_module', lambda name: module)
    path = tmp_path / 'new' / 'rows.jsonl'
    for _ in range(2):
        program.main(['metrics', f'--results={path}', '--rounds=1'])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row['benchmark'], row.get('case', 'complete')) for row in rows] == [
        ('metrics', case) for _ in range(2) for case in ('a', 'b', 'complete')
    ]
    assert len(calls) == 2 and all(row['rounds'] == 1 for row in rows if 'case' in row)
    printed = capsys.readouterr().out
    assert '| a | peer |' in printed and 'do not trust' in printed
    program.main(['metrics', f'--results={path}.small', '--small'])
    assert not (tmp_path / 'new' / 'rows.jsonl.small').exists()


def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'fast_bss_eval', None)
    monkeypatch.delitem(sys.modules, 'benchmarks.metrics', raising=False)
    with pytest.raises(SystemExit) as error:
        program.main(['metrics'])
    words = "error: benchmark metrics needs fast_bss_eval: pip install -e '.[test]'\n"
    assert error.value.code == 2 and capsys.readouterr().err == words


def test_busy_cores_are_those_at_work(monkeypatch):
    def work(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    assert 0 <= harness.busy_cores(0.1) <= os.cpu_count()
    monkeypatch.setattr(harness.time, 'sleep', work)  # a second of a processor's time
    assert 0.1 < harness.busy_cores(1.0) <= os.cpu_count()


def test_a_system_that_does_not_say_has_no_load(monkeypatch):
    def missing(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(harness, 'open', missing, raising=False)
    assert harness.busy_cores() is None


@pytest.mark.parametrize(
    'lines, name',
    [
        ('model name\t: An EPYC\nflags\t\t: avx avx2 avx512f\n', 'An EPYC, AVX-512'),
        ('model name\t: An EPYC\nflags\t\t: fpu avx avx2\n\n' * 2, 'An EPYC, AVX2'),
        ('model name\t: Old\nflags\t\t: fpu\n', 'Old'),
        ('Features\t: asimd\n', platform.machine()),
    ],
)
def test_a_processor_is_told_by_its_vectors_too(monkeypatch, lines, name):
    monkeypatch.setattr(harness, 'open', lambda path: io.StringIO(lines), raising=False)
    assert harness._processor() == name


def test_a_results_file_that_cannot_be_written_is_found_out_first(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    path = tmp_path / 'file' / 'rows.jsonl'
    with pytest.raises(SystemExit):
        program.main(['pit', f'--results={path}'])
    assert capsys.readouterr().err.startswith(f'error: --results={path}: ')


def test_a_line_cut_short_takes_no_other_with_it(tmp_path):
    path = tmp_path / 'rows.jsonl'
    path.write_text('{"a": 1}\n{"a": ')
    harness.append(str(path), [{'b': 2}])
    harness.append(str(path), [{'c': 3}])
    assert path.read_text().splitlines() == ['{"a": 1}', '{"a": ', '{"b": 2}', '{"c": 3}']


def test_each_of_several_benchmarks_has_a_process_of_its_own(tmp_path, monkeypatch, capsys):
    ran, codes = [], iter([0, 3])
    monkeypatch.setattr(
        program.subprocess,
        'run',
        lambda command, check: (
            ran.append(command) or (types.SimpleNamespace(returncode=next(codes)))
        ),
    )
    results = f'--results={tmp_path / "rows.jsonl"}'
    with pytest.raises(SystemExit) as error:
        program.main(['pit', 'features', 'metrics', '--rounds', '3', results])
    assert error.value.code == 2
    assert capsys.readouterr().err == 'error: benchmark features failed\n'
    assert [command[3:] for command in ran] == [
        [name, results, '--rounds=3'] for name in ('pit', 'features')
    ]
