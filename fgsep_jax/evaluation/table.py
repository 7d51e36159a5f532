"""Text tables of evaluations."""

from fgsep_jax.names import markdown_table

# (heading, metric, how it is shown). The papers give means (2) and box plots (1).
COLUMNS = (
    ('SI-SNR', 'si_snr', 'mean'),
    ('SI-SNRi', 'si_snri', 'mean'),
    ('SDR', 'sdr', 'mean'),
    ('SDRi', 'sdri', 'mean'),
)
NAMED_COLUMNS = (
    ('SDRi', 'sdri', 'quartiles'),
    ('SIRi', 'siri', 'quartiles'),
    ('SAR', 'sar', 'quartiles'),
    ('SI-SNRi', 'si_snri', 'median'),
)


def columns(source_names=()):
    """Columns of a table: of the first source whole, of the others and of all SDRi alone."""
    if not source_names:
        return COLUMNS
    first, *others = source_names
    return (
        *(
            (f'{first} {label}', f'{metric}_{first}', style)
            for label, metric, style in NAMED_COLUMNS
        ),
        *((f'{name} SDRi', f'sdri_{name}', 'median') for name in others),
        ('both SDRi', 'sdri', 'median'),
    )


def render(title, systems, columns=COLUMNS):
    """Formats the statistics of several systems as a Markdown table.

    Args:
      title: heading line.
      systems: {name: {metric: statistics as `metrics.aggregate.summarize` gives them}}.
      columns: from `columns`.

    Returns:
      Text; improvements carry their 95 % interval, or the quartiles.
    """
    heads = ['system', *(f'{label} (dB)' for label, _, _ in columns)]
    rows = [
        [name, *(_cell(metrics[key], style) for _, key, style in columns)]
        for name, metrics in systems.items()
    ]
    return f'{title}\n\n' + markdown_table(heads, rows, [False] + [True] * len(columns))


def _cell(value, style):
    center = value['mean' if style == 'mean' else 'median']
    if center is None:
        return '-'
    text = f'{center:.2f}'
    interval = value.get('ci95')
    if style == 'mean' and interval and None not in interval:
        text += f' ± {(interval[1] - interval[0]) / 2:.2f}'
    if style == 'quartiles' and value.get('q25') is not None:
        text += f' [{value["q25"]:.2f}, {value["q75"]:.2f}]'
    return text
