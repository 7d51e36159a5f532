"""The tables of docs/speed.md out of a results file.

    python -m benchmarks.table --results=docs/results/benchmarks.jsonl --page=docs/speed.md

Of each benchmark the latest complete run on each machine counts, or the latest if none is. The
tables, one a machine, stand between two marks in the page, and are replaced there; without
--page they are printed.
"""

from collections.abc import Sequence
import json
import pathlib
import statistics

from benchmarks import harness
from fgsep_jax import command_line, files

HEADER = (
    "| what | peer | ours | peer's | ratio [quartiles] | of all runs | target |"
    ' ours / roofline |\n'
    '|---|---|---:|---:|---:|---:|---:|---:|'
)
MARKS = ('<!-- benchmarks: written by benchmarks.table -->', '<!-- /benchmarks -->')


def machine_line(machine: dict, rates: dict) -> str:
    """One line: processor or device, what it reaches, and the versions."""
    return (
        f'{_name(machine)}: {rates["flops"] / 1e9:.0f} GFLOP/s in float32 products,'
        f' {rates["bytes"] / 1e9:.0f} GB/s in copies; {_load(machine)}{_versions(machine)}'
    )


def _load(machine):
    if machine['load'] is None:
        return ''
    return f'{machine["load"]:.1f} cores at other work; '


def _name(machine):
    what = machine['processor'] if machine['platform'] == 'cpu' else machine['device']
    return f'{machine["cores"]} cores of {what}' if machine['platform'] == 'cpu' else what


def _versions(machine):
    return ', '.join(f'{name} {version}' for name, version in sorted(machine['versions'].items()))


def lines(row: dict, others: Sequence[dict] = ()) -> list[str]:
    """The table's lines of one row of a results file: one for each peer.

    Args:
      row: of a case.
      others: rows of the same case in all complete runs, for the range of their ratios.
    """
    target = ''
    if row['target'] is not None:
        target = f'≤ {row["target"]:g}{" " + row["unit"] if row["limit"] else ""}'
        target += ' ✓' if harness.met(row) else ' ✗'
    roofline = f'{row["ours"] / row["roofline"]:.1f}' if row.get('roofline') else ''
    ours = _quantity(row['ours'], row['unit'])
    rest = [''] * max(len(row['peers']) - 1, 0)  # the target is about the first peer
    cells = [
        (
            row['case'],
            name,
            ours,
            _quantity(peer['value'], row['unit']),
            f'{_ratio(peer["ratio"])} [{", ".join(map(_ratio, peer["quartiles"]))}]',
            _range([other['peers'][name]['ratio'] for other in others if name in other['peers']]),
        )
        for name, peer in row['peers'].items()
    ] or [(row['case'], '', ours, '', '', '')]
    return [
        f'| {" | ".join([*cell, mark, roofline])} |'
        for cell, mark in zip(cells, [target, *rest], strict=True)
    ]


def _range(ratios):
    return f'{_ratio(min(ratios))} to {_ratio(max(ratios))}' if len(ratios) > 1 else ''


def _ratio(value):
    return f'{value:.2f}' if value >= 0.1 else f'{value:.3f}'


def _quantity(value, unit):
    if unit != 's':
        return f'{value:,.0f} {unit}' if value >= 100 else f'{value:.2g} {unit}'
    for scale, name in ((1, 's'), (1e3, 'ms')):
        if value * scale >= 1:
            return f'{value * scale:.3g} {name}'
    return f'{value * 1e6:.3g} µs'


def render(rows: list[dict]) -> str:
    """The tables of all machines, of each benchmark's latest run there, each under its machine.

    Args:
      rows: of a results file, in its order.

    Returns:
      Markdown; all tables but the first are folded away. A machine's rates are the medians over
      the runs, its load the most; versions that differ make a machine of their own.
    """
    machines = {}
    for row in rows:
        runs = machines.setdefault((_name(row['machine']), _versions(row['machine'])), {})
        run = runs.setdefault(row['benchmark'], {}).setdefault(row['machine']['when'], [])
        run.append(row)
    tables = []
    for all_runs in machines.values():
        runs = {name: _latest(by_time) for name, by_time in all_runs.items()}
        rates = {
            name: statistics.median(run[0]['rates'][name] for run in runs.values())
            for name in ('flops', 'bytes')
        }
        some = max(
            (run[0]['machine'] for run in runs.values()), key=lambda machine: machine['load'] or 0
        )
        body = [
            line
            for name, run in runs.items()
            for row in run
            for line in lines(row, _complete_rows(row['case'], all_runs[name]))
        ]
        tables.append((machine_line(some, rates), '\n'.join([HEADER, *body])))
    first, *rest = tables
    folded = [
        f'<details><summary>{title}</summary>\n\n{body}\n\n</details>' for title, body in rest
    ]
    return '\n\n'.join([*first, *folded])


def _latest(by_time):
    """Rows of the latest of a benchmark's runs, a complete one if there is one."""
    complete = [when for when, run in by_time.items() if 'complete' in run[-1]]
    return [row for row in by_time[max(complete or by_time)] if 'complete' not in row]


def _complete_rows(case, by_time):
    return [
        row
        for run in by_time.values()
        if 'complete' in run[-1]
        for row in run
        if row.get('case') == case
    ]


def replace(page: str, text: str) -> str:
    """Puts a text between the marks of a page.

    Raises:
      ValueError: the marks are not there, in order.
    """
    before, first, rest = page.partition(MARKS[0])
    _, second, after = rest.partition(MARKS[1])
    if not first or not second:
        raise ValueError(f'the page must hold {MARKS[0]!r} and, after it, {MARKS[1]!r}.')
    return f'{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}'


def read(path: str) -> list[dict]:
    """Rows of a results file.

    Raises:
      ValueError: a line that no benchmark wrote, or none at all.
    """
    rows = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            machine_line(row['machine'], row['rates'])
            if 'complete' not in row:
                lines(row)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}:{number}: not a row of a benchmark ({files.why(error)}); remove the line'
            ) from error
        rows.append(row)
    if not rows:
        raise ValueError(f'{path} is empty: run python -m benchmarks NAME first')
    return rows


def main(arguments=None):
    """Prints the tables, or puts them into a page."""
    parser = command_line.Parser('benchmarks.table', __doc__)
    parser.add_argument(
        '--results',
        metavar='FILE',
        type=command_line.local_path,
        default='benchmarks.jsonl',
        help='what `python -m benchmarks` appended to',
    )
    parser.add_argument(
        '--page', metavar='FILE', type=command_line.local_path, help='to replace the tables in'
    )
    flags, _ = parser.parse(arguments)
    try:
        text = render(read(flags.results))
        if not flags.page:
            print(text)
            return
        files.write({flags.page: replace(pathlib.Path(flags.page).read_text(), text)})
    except (OSError, ValueError) as error:
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    main()
