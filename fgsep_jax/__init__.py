"""Sound separation in JAX: Conv-TasNet variants and foreground-background mask models.

Array names carry their shape as a suffix. The letters, declared once for the whole package:

    B  batch                     T  samples                     N  encoder basis filters
    S  sources                   K  frames                      C  bottleneck channels
    R  reference axis of a pair  F  frequency bins              H  hidden channels
    E  estimate axis of a pair   M  mel bands

so that `mixture_BT` is a batch of mixtures, `source_BST` the sources they are the exact sum of,
`estimate_BST` what a model makes of them and `loss_BRE` the loss of every pair.
"""

import importlib
import signal
import sys

# Public names, {name: module}; imported when they are first used, for some bring JAX along.
_PUBLIC = {
    'load': 'separation.model',
    'Separator': 'separation.model',
    'bss_eval': 'metrics.bss_eval',
    'evaluate_example': 'metrics.improvement',
    'si_snr': 'losses.si_snr',
    'pit': 'losses.pit',
    'power_law': 'losses.spectral',
    'stft': 'dsp.stft',
    'istft': 'dsp.stft',
    'mel_matrix': 'dsp.mel',
    'pcen': 'dsp.pcen',
    'resample': 'data.resample',
    'load_runs': 'report',
}


def start_program():
    """From now on this process is a program of ours: whatever stops it, it ends in one line."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # waits for who will answer it
    from fgsep_jax import stopping, streams

    streams.use()
    stopping.use()


if sys.argv[:1] == ['-m']:  # a program is being loaded
    word = sys.orig_argv[-len(sys.argv)]
    module = word.partition('m')[2] if word.startswith('-') else word
    if module.partition('.')[0] in ('fgsep_jax', 'data_prep', 'benchmarks'):
        start_program()

__version__ = '0.1.0'


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_PUBLIC[name]}'), name)


def __dir__():
    return sorted([*_PUBLIC, '__version__'])
