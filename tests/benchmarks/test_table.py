"""The tables of docs/speed.md."""

import pathlib

import pytest

from benchmarks import harness, table

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / 'docs' / 'results' / 'benchmarks.jsonl'


def make_row(
    case='a', *, benchmark='metrics', when='1', cores=2, load=0.25, jax='1.0', flops=4e11, **changes
):
    return {
        'case': case,
        'benchmark': benchmark,
        'unit': 's',
        'ours': 0.002,
        'rounds': 9,
        'target': 0.5,
        'limit': False,
        'roofline': 0.001,
        'peers': {
            'x': {'value': 0.5, 'ratio': 0.004, 'quartiles': [0.003, 0.25]},
            'y': {'value': 2.0, 'ratio': 1.5, 'quartiles': [1.25, 1.75]},
        },
        'machine': {
            'platform': 'cpu',
            'device': 'cpu',
            'processor': 'P',
            'cores': cores,
            'load': load,
            'versions': {'jax': jax},
            'when': when,
        },
        'rates': {'flops': flops, 'bytes': 5e10},
    } | changes


def test_one_line_a_peer_and_the_target_on_the_first():
    assert table.lines(make_row()) == [
        '| a | x | 2 ms | 500 ms | 0.004 [0.003, 0.25] |  | ≤ 0.5 ✓ | 2.0 |',
        '| a | y | 2 ms | 2 s | 1.50 [1.25, 1.75] |  |  | 2.0 |',
    ]


@pytest.mark.parametrize(
    'changes, line',
    [
        (
            dict(peers={}, limit=True, unit='MB', ours=1234.5, target=1000, roofline=None),
            '| a |  | 1,234 MB |  |  |  | ≤ 1000 MB ✗ |  |',
        ),
        (
            dict(peers={}, limit=True, unit='%', ours=0.0612, target=1, roofline=None),
            '| a |  | 0.061 % |  |  |  | ≤ 1 % ✓ |  |',
        ),
        (dict(peers={}, target=None, ours=3e-6, roofline=None), '| a |  | 3 µs |  |  |  |  |  |'),
    ],
)
def test_values_and_targets(changes, line):
    assert table.lines(make_row(**changes)) == [line]


def test_a_benchmark_shows_its_latest_run_alone_and_a_machine_stands_once():
    text = table.render(
        [
            make_row('gone'),
            make_row('a', ours=9.0),
            make_row('p', benchmark='pit', flops=2e11),
            make_row('a', when='2', flops=4e11),
            make_row('b', when='2', flops=4e11),
        ]
    )
    assert 'gone' not in text and '9 s' not in text
    assert [line.split(' |')[0] for line in text.splitlines() if line.startswith('| ')] == [
        '| what',
        '| a',
        '| a',
        '| b',
        '| b',
        '| p',
        '| p',
    ]
    assert text.count('2 cores of P') == 1
    assert (
        '2 cores of P: 300 GFLOP/s in float32 products, 50 GB/s in copies;'
        ' 0.2 cores at other work; jax 1.0'
    ) in text


def test_a_run_cut_short_replaces_no_complete_one():
    def end(when):
        return {
            **{k: make_row(when=when)[k] for k in ('benchmark', 'machine', 'rates')},
            'complete': True,
        }

    cut = make_row('b', when='3')
    for rows in (
        [make_row(when='2'), end('2'), cut],
        [make_row(when='2'), cut, end('2')],
        [make_row('c', when='1'), end('1'), make_row(when='2'), end('2'), cut],
    ):
        text = table.render(rows)
        assert '| a |' in text and '| b |' not in text and '| c |' not in text
    assert '| b |' in table.render([make_row(when='2'), cut])  # when none is


def test_the_range_is_over_all_complete_runs():
    def run(when, ratio, *, complete=True):
        row = make_row(when=when)
        row['peers'] = {'x': {**row['peers']['x'], 'ratio': ratio}}
        end = {k: row[k] for k in ('benchmark', 'machine', 'rates')} | {'complete': True}
        return [row, end] if complete else [row]

    rows = [*run('1', 0.4), *run('2', 0.9), *run('3', 0.6), *run('4', 0.1, complete=False)]
    assert '| 0.60 [0.003, 0.25] | 0.40 to 0.90 |' in table.render(rows)
    assert '| 0.60 [0.003, 0.25] |  |' in table.render(run('1', 0.6))


def test_other_machines_and_other_versions_have_tables_of_their_own():
    text = table.render([make_row(), make_row(cores=8), make_row(jax='2.0')])
    assert text.count(table.HEADER) == 3
    assert text.index('2 cores') < text.index('8 cores') < text.index('jax 2.0')
    assert text.count('\n\n<details><summary>') == 2  # the first stands open
    assert text.startswith('2 cores') and text.endswith('\n\n</details>')


def test_the_page_keeps_all_else(tmp_path):
    page, results = tmp_path / 'speed.md', tmp_path / 'rows.jsonl'
    page.write_text('before\n' + '\nold\n'.join(table.MARKS) + '\nafter\n')
    table.harness.append(str(results), [make_row()])
    for _ in range(2):
        table.main([f'--results={results}', f'--page={page}'])
        text = page.read_text()
        assert text.startswith('before\n' + table.MARKS[0]) and text.endswith('\nafter\n')
        assert 'old' not in text and text.count('| a | x |') == 1


@pytest.mark.parametrize(
    'content, words',
    [
        (None, 'No such file'),
        ('', 'is empty: run python -m'),
        ('{"a": 1}', 'rows.jsonl:1: not a row'),
        ('{', 'rows.jsonl:1: not a row'),
        ('[]', 'rows.jsonl:1: not a row'),
    ],
)
def test_a_results_file_that_is_none(tmp_path, capsys, content, words):
    path = tmp_path / 'rows.jsonl'
    if content is not None:
        path.write_text(content + '\n' * bool(content))
    with pytest.raises(SystemExit) as error:
        table.main([f'--results={path}'])
    errors = capsys.readouterr().err
    assert error.value.code == 2 and errors.startswith('error: ') and words in errors


def test_a_page_without_marks_is_left_alone(tmp_path, capsys):
    page, results = tmp_path / 'speed.md', tmp_path / 'rows.jsonl'
    page.write_text('no marks')
    table.harness.append(str(results), [make_row()])
    with pytest.raises(SystemExit) as error:
        table.main([f'--results={results}', f'--page={page}'])
    assert error.value.code == 2 and 'must hold' in capsys.readouterr().err
    assert page.read_text() == 'no marks'


def test_the_load_is_the_most_and_may_be_unknown():
    text = table.render([make_row(), make_row('p', benchmark='pit', load=0.75)])
    assert '; 0.8 cores at other work; jax 1.0' in text
    assert 'at other work' not in table.render([make_row(load=None)])


def test_the_page_shows_what_was_measured():
    page = (ROOT / 'docs' / 'speed.md').read_text()
    assert table.replace(page, table.render(table.read(RESULTS))) == page, (
        'run python -m benchmarks.table --results=docs/results/benchmarks.jsonl'
        ' --page=docs/speed.md'
    )


def test_peers_come_back_in_their_order(tmp_path):
    path = str(tmp_path / 'results.jsonl')
    harness.append(path, [make_row(peers=dict(sorted(make_row()['peers'].items(), reverse=True)))])
    assert list(table.read(path)[0]['peers']) == ['y', 'x']
