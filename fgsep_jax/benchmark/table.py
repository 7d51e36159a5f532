"""The README's table out of a results file.

    python -m fgsep_jax.benchmark.table --results=docs/results/benchmarks.jsonl --readme=README.md

Of each case the latest row counts. The table stands between two marks in the README, and is
replaced there; without --readme it is printed.
"""

import argparse
import json
import pathlib

from fgsep_jax.benchmark import harness

HEADER = ('| what | peer | ours | peer\'s | ratio [quartiles] | target | of the roofline |\n'
          '|---|---|---:|---:|---:|---:|---:|')
MARKS = ('<!-- benchmarks: written by fgsep_jax.benchmark.table -->', '<!-- /benchmarks -->')


def machine_line(machine: dict, rates: dict) -> str:
    """One line: processor or device, what it reaches, and the versions."""
    versions = ', '.join(f'{name} {version}' for name, version in machine['versions'].items())
    what = machine['processor'] if machine['platform'] == 'cpu' else machine['device']
    return (f"{machine['cores']} cores of {what}: {rates['flops'] / 1e9:.0f} GFLOP/s in float32"
            f" products, {rates['bytes'] / 1e9:.0f} GB/s in copies; {versions}")


def lines(row: dict) -> list[str]:
    """The table's lines of one row of a results file: one for each peer."""
    target = ''
    if row['target'] is not None:
        sign = '≥' if row['higher'] else '≤'
        target = f"{sign} {row['target']:g}{' ' + row['unit'] if row['limit'] else ''}"
        target += ' ✓' if harness.met(row) else ' ✗'
    roofline = f"{row['ours'] / row['roofline']:.1f}" if row.get('roofline') else ''
    ours = _quantity(row['ours'], row['unit'])
    rest = [''] * max(len(row['peers']) - 1, 0)  # the target is about the first peer
    cells = [(row['case'], name, ours, _quantity(peer['value'], row['unit']),
              f"{_ratio(peer['ratio'])} [{', '.join(map(_ratio, peer['quartiles']))}]")
             for name, peer in row['peers'].items()] or [(row['case'], '', ours, '', '')]
    return [f"| {' | '.join([*cell, mark, roofline])} |"
            for cell, mark in zip(cells, [target, *rest], strict=True)]


def _ratio(value):
    return f'{value:.2f}' if value >= 0.1 else f'{value:.3f}'


def _quantity(value, unit):
    if unit != 's':
        return f'{value:,.0f} {unit}'
    for scale, name in ((1, 's'), (1e3, 'ms')):
        if value * scale >= 1:
            return f'{value * scale:.3g} {name}'
    return f'{value * 1e6:.3g} µs'


def render(rows: list[dict]) -> str:
    """The whole table, the latest row of each case, with the machines it was measured on."""
    latest = {(row['benchmark'], row['case']): row for row in rows}
    machines = dict.fromkeys(machine_line(row['machine'], row['rates']) for row in latest.values())
    body = [line for row in latest.values() for line in lines(row)]
    return '\n'.join([HEADER, *body, '', *machines])


def main(arguments=None):
    """Prints the table, or puts it into a README."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--results', default='docs/results/benchmarks.jsonl')
    parser.add_argument('--readme', help='file to replace the table in')
    flags = parser.parse_args(arguments)
    text = render([json.loads(line) for line in pathlib.Path(flags.results).read_text().split('\n')
                   if line])
    if not flags.readme:
        print(text)
        return
    path = pathlib.Path(flags.readme)
    before, rest = path.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    path.write_text(f'{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}')


if __name__ == '__main__':
    main()
