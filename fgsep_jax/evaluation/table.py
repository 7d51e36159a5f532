"""Text tables of evaluations."""

from fgsep_jax.metrics.quality import LABELS
from fgsep_jax.names import markdown_table
from fgsep_jax.report.intervals import Estimate
from fgsep_jax.report.parts import cell_text

# (heading, metric, statistic, its ends). The papers give means (2) and box plots (1).
COLUMNS = (
    ('SI-SNR', 'si_snr', 'mean', 'ci95'),
    ('SI-SNRi', 'si_snri', 'mean', 'ci95'),
    ('SDR', 'sdr', 'mean', 'ci95'),
    ('SDRi', 'sdri', 'mean', 'ci95'),
)
NAMED_COLUMNS = (
    ('SDRi', 'sdri', 'median', 'quartiles'),
    ('SIRi', 'siri', 'median', 'quartiles'),
    ('SAR', 'sar', 'median', 'quartiles'),
    ('SI-SNRi', 'si_snri', 'median', ''),
)


def columns(source_names=(), quality=()):
    """Columns of a table: of the first source whole, of the others and of all SDRi alone; then what
    of `metrics.quality` was measured."""
    if not source_names:
        return (*COLUMNS, *((LABELS[name], name, 'mean', 'ci95') for name in quality))
    first, *others = source_names
    return (
        *((f'{first} {LABELS[q]}', f'{q}_{first}', 'median', 'quartiles') for q in quality),
        *((f'{first} {label}', f'{key}_{first}', *how) for label, key, *how in NAMED_COLUMNS),
        *((f'{name} SDRi', f'sdri_{name}', 'median', '') for name in others),
        ('both SDRi', 'sdri', 'median', ''),
    )


def render(title, systems, columns=COLUMNS):
    """Formats the statistics of several systems as a Markdown table.

    Args:
      title: heading line.
      systems: {name: {metric: statistics as `report.intervals.describe` gives them}}.
      columns: from `columns`.

    Returns:
      Text; improvements carry their 95 % interval, or the quartiles.
    """
    heads = ['system', *(label + ' (dB)' * (not _has_no_unit(key)) for label, key, *_ in columns)]
    rows = [
        [name, *(cell_text(_cell(metrics[key], *how)) for _, key, *how in columns)]
        for name, metrics in systems.items()
    ]
    return f'{title}\n\n' + markdown_table(heads, rows, [False] + [True] * len(columns))


def _has_no_unit(key):
    return key.partition('_')[0] in LABELS


def _cell(value, statistic, ends):
    if value[statistic] is None:
        return None
    quartiles = value.get('q25'), value.get('q75')
    between = quartiles if ends == 'quartiles' else value.get(ends)
    return Estimate(value[statistic], *(between or ()))
