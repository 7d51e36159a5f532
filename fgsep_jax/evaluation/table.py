"""Text tables of evaluations, and separated examples as files to listen to."""

import os

import numpy as np
import soundfile

# (heading, metric, how it is shown). The papers give means (2) and box plots (1).
COLUMNS = (('SI-SNR', 'si_snr', 'mean'), ('SI-SNRi', 'si_snri', 'mean'), ('SDR', 'sdr', 'mean'),
           ('SDRi', 'sdri', 'mean'))
NAMED_COLUMNS = (('SDRi', 'sdri', 'quartiles'), ('SIRi', 'siri', 'quartiles'),
                 ('SAR', 'sar', 'quartiles'), ('SI-SNRi', 'si_snri', 'median'))


def columns(source_names=()):
    """Columns of a table: of the first source whole, of the others and of all SDRi alone."""
    if not source_names:
        return COLUMNS
    first, *others = source_names
    return (*((f'{first} {label}', f'{metric}_{first}', style)
              for label, metric, style in NAMED_COLUMNS),
            *((f'{name} SDRi', f'sdri_{name}', 'median') for name in others),
            ('both SDRi', 'sdri', 'median'))


def render(title, systems, columns=COLUMNS):
    """Formats the statistics of several systems as a Markdown table.

    Args:
      title: heading line.
      systems: {name: {metric: statistics as `metrics.aggregate.summarize` gives them}}.
      columns: from `columns`.

    Returns:
      Text; improvements carry their 95 % interval, or the quartiles.
    """
    lines = [title, '', '| system | ' + ' | '.join(f'{label} (dB)' for label, _, _ in columns)
             + ' |', '|---|' + '---:|' * len(columns)]
    for name, metrics in systems.items():
        cells = [_cell(metrics[key], style) for _, key, style in columns]
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _cell(value, style):
    center = value['mean' if style == 'mean' else 'median']
    if center is None:
        return '-'
    text = f'{center:.2f}'
    interval = value.get('ci95')
    if style == 'mean' and interval and None not in interval:
        text += f' ± {(interval[1] - interval[0]) / 2:.2f}'
    if style == 'quartiles' and value.get('q25') is not None:
        text += f" [{value['q25']:.2f}, {value['q75']:.2f}]"
    return text


def write_sounds(folder, *, mixture_T, reference_ST, estimate_ST, sample_rate, source_names=()):
    """Writes mixture, references and estimates as 16-bit wav files.

    Where the sources have no names, SI-SNR leaves the estimates' scale free, and each is brought
    to the RMS level of its reference. All files share one gain, so that nothing clips and levels
    can be compared.

    Args:
      folder: where to.
      mixture_T: the mixture.
      reference_ST: the sources.
      estimate_ST: the estimates, in the order of the references.
      sample_rate: in hertz.
      source_names: of the files; numbers by default.
    """
    def rms(x):
        return np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True))

    if not source_names:
        estimate_ST = estimate_ST * rms(reference_ST) / np.maximum(rms(estimate_ST), 1e-9)
    files = {'mixture': mixture_T}
    names = source_names or range(1, len(reference_ST) + 1)
    for name, reference_T, estimate_T in zip(names, reference_ST, estimate_ST):
        files[f'reference_{name}'], files[f'estimate_{name}'] = reference_T, estimate_T
    gain = 0.9 / max(max(np.abs(x).max(initial=0.0) for x in files.values()), 0.9)
    os.makedirs(folder, exist_ok=True)
    for name, signal_T in files.items():
        path = os.path.join(folder, f'{name}.wav')
        soundfile.write(path + '.partial', gain * signal_T, sample_rate, 'PCM_16', format='WAV')
        os.replace(path + '.partial', path)
