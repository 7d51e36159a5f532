"""Text tables of evaluations, and separated examples as files to listen to."""

import os

import numpy as np
import soundfile

COLUMNS = (('si_snr', 'SI-SNR'), ('si_snri', 'SI-SNRi'), ('sdr', 'SDR'), ('sdri', 'SDRi'))


def mixture_row(metrics):
    """Statistics of the unprocessed mixture, from those of any system on the same examples."""
    zero = {'mean': 0.0}
    return {'si_snr': metrics['si_snr_mixture'], 'si_snri': zero,
            'sdr': metrics['sdr_mixture'], 'sdri': zero}


def render(title, systems):
    """Formats mean values as a Markdown table.

    Args:
      title: heading line.
      systems: {name: {metric: {'mean', optional 'ci95'}}}.

    Returns:
      Text; improvements carry their 95 % interval.
    """
    lines = [title, '', '| system | ' + ' | '.join(f'{label} (dB)' for _, label in COLUMNS) + ' |',
             '|---|' + '---:|' * len(COLUMNS)]
    for name, metrics in systems.items():
        cells = [_cell(metrics[key]) for key, _ in COLUMNS]
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _cell(value):
    if value['mean'] is None:
        return '-'
    interval = value.get('ci95')
    half = f' ± {(interval[1] - interval[0]) / 2:.2f}' if interval and None not in interval else ''
    return f"{value['mean']:.2f}{half}"


def write_sounds(folder, *, mixture_T, reference_ST, estimate_ST, sample_rate):
    """Writes mixture, references and estimates as 16-bit wav files.

    Each estimate is brought to the RMS level of its reference, since SI-SNR leaves its scale
    free, and all files share one gain, so that nothing clips and levels can be compared.

    Args:
      folder: where to.
      mixture_T: the mixture.
      reference_ST: the sources.
      estimate_ST: the estimates, in the order of the references.
      sample_rate: in hertz.
    """
    def rms(x):
        return np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True))

    estimate_ST = estimate_ST * rms(reference_ST) / np.maximum(rms(estimate_ST), 1e-9)
    files = {'mixture': mixture_T}
    for s, (reference_T, estimate_T) in enumerate(zip(reference_ST, estimate_ST), start=1):
        files[f'reference_{s}'], files[f'estimate_{s}'] = reference_T, estimate_T
    gain = 0.9 / max(max(np.abs(x).max(initial=0.0) for x in files.values()), 0.9)
    os.makedirs(folder, exist_ok=True)
    for name, signal_T in files.items():
        path = os.path.join(folder, f'{name}.wav')
        soundfile.write(path + '.partial', gain * signal_T, sample_rate, 'PCM_16', format='WAV')
        os.replace(path + '.partial', path)
