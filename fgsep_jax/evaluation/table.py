"""Text tables of evaluations."""

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


def columns(source_names=()):
    """Columns of a table: of the first source whole, of the others and of all SDRi alone."""
    if not source_names:
        return COLUMNS
    first, *others = source_names
    return (
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
    heads = ['system', *(f'{label} (dB)' for label, *_ in columns)]
    rows = [
        [name, *(cell_text(_cell(metrics[key], *how)) for _, key, *how in columns)]
        for name, metrics in systems.items()
    ]
    return f'{title}\n\n' + markdown_table(heads, rows, [False] + [True] * len(columns))


def _cell(value, statistic, ends):
    if value[statistic] is None:
        return None
    quartiles = value.get('q25'), value.get('q75')
    between = quartiles if ends == 'quartiles' else value.get(ends)
    return Estimate(value[statistic], *(between or ()))
