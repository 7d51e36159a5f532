"""What a job did, as numbers (report.json) and as a page (report.md)."""

import collections
from collections.abc import Iterable
import math

import numpy as np

from data_prep.corpora import plural
from fgsep_jax import pcm
from fgsep_jax.names import markdown

SHOWN = 20  # skipped files of a kind listed in report.md; report.json lists all


def histogram(values: Iterable[float], *, width: float) -> dict[str, int]:
    """Counts in bins of `width`, keyed by the lower edge; non-finite values under `none`."""
    counts = collections.Counter(
        math.floor(value / width) * width if math.isfinite(value) else None for value in values
    )
    keys = sorted(key for key in counts if key is not None)
    rows = {f'{key:g}': counts[key] for key in keys}
    if None in counts:
        rows['none'] = counts[None]
    return rows


def rms_db(pcm_T: np.ndarray) -> float:
    """RMS level of int16 PCM in dB re full scale."""
    power = float(np.mean(np.square(pcm_T, dtype=np.float64))) / pcm.FULL_SCALE**2
    return 10.0 * math.log10(power) if power else -math.inf


def by_kind(skipped: list[dict]) -> dict[str, int]:
    """How many of `skipped` there are of each kind."""
    return dict(sorted(collections.Counter(one['kind'] for one in skipped).items()))


def _bars(rows: dict[str, int], unit: str) -> list[str]:
    most = max(rows.values(), default=1)
    lines = [
        f'{edge:>7} {unit}  {count:>8}  {"#" * max(1, round(40 * count / most))}'
        for edge, count in rows.items()
    ]
    return ['```', *lines, '```']


def _note(note: list[str] | dict[str, dict]) -> list[str]:
    """Lines as a list, rows as a table."""
    if not note:
        return ['None.']
    if isinstance(note, list):
        return [f'- {markdown(line)}' for line in note]
    columns = list(next(iter(note.values())))
    rows = [['', *columns], ['---'] * (len(columns) + 1)]
    rows += [[name, *(row[column] for column in columns)] for name, row in note.items()]
    return [_row(row) for row in rows]


def _row(cells: list) -> str:
    return f'| {" | ".join(markdown(cell, cell=True) for cell in cells)} |'


def beside(found: dict) -> list[str]:
    """Lines on what lies in the trees beside the files of the job; see `corpora.unused`."""
    lines = [
        f'- {markdown(suffix)}: {plural(count, "file")}, no audio'
        for suffix, count in found.get('other', {}).items()
    ]
    lines += [
        f'- {markdown(suffix)}: {plural(count, "file")} not where, or not named, as this job '
        f'expects, e.g. {markdown(found["example"])}'
        for suffix, count in found.get('audio', {}).items()
    ]
    if found.get('companions'):
        lines.append(
            f'- {plural(found["companions"], "companion")} (hidden, system and thumbnail files and '
            'folders), not looked into'
        )
    return lines


def to_markdown(report: dict) -> str:
    """The report as a page."""
    lines = [f'# {report["name"]}', '', report['snr_rule'], '']
    unit = report.get('source_unit', 'speakers')
    lines += [f'| split | mixtures | hours | {unit} | shards |', '|---|---|---|---|---|']
    for split, one in report['splits'].items():
        hours = f'{one["hours"]:.2f}'
        lines.append(_row([split, one['examples'], hours, one['num_speakers'], one['shards']]))
    for split, one in report['splits'].items():
        if 'adaptation_disjoint' in one:
            share = 100 * one['adaptation_disjoint']
            lines += ['', f'{split}: {share:.1f} % of adaptation segments outside their mixture.']
    for title, note in report.get('notes', {}).items():
        lines += ['', f'## {title}', '', *_note(note)]
    files = report['files']
    lines += ['', '## Files', '', f'{files["good"]} of {files["total"]} used.']
    for note, count in files['converted'].items():
        lines.append(f'- {markdown(note)}: {count}')
    lines += beside(files.get('beside', {}))
    for title in ('Skipped files', 'Skipped mixtures'):
        key = title.lower().replace(' ', '_')
        lines += ['', f'## {title}', '']
        if not report[key]:
            lines.append('None.')
        for kind, count in by_kind(report[key]).items():
            lines.append(f'- {markdown(kind)}: {count}')
            named = [one for one in report[key] if one['kind'] == kind]
            lines += [
                f'  - {markdown(one["name"])}: {markdown(one["detail"])}' for one in named[:SHOWN]
            ]
            if count > SHOWN:
                lines.append(f'  - and {count - SHOWN} more, see report.json')
    for split, one in report['splits'].items():
        for title, key, unit in (
            ('SNR', 'snr_db', 'dB'),
            ('length', 'seconds', 's'),
            ('level of the sources (RMS re full scale)', 'source_rms_db', 'dB'),
            ('level of the mixtures (RMS re full scale)', 'mixture_rms_db', 'dB'),
        ):
            lines += ['', f'## {split}: {title}', '', *_bars(one['histograms'][key], unit)]
    return '\n'.join(lines) + '\n'
