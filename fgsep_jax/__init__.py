"""Sound separation in JAX: Conv-TasNet variants and foreground-background mask models.

Array names carry their shape as a suffix. The letters, declared once for the whole package:

    B  batch                     T  samples                     N  encoder basis filters
    S  sources                   K  frames                      C  bottleneck channels
    R  reference axis of a pair  F  frequency bins              H  hidden channels
    E  estimate axis of a pair   M  mel bands

so that `mixture_BT` is a batch of mixtures, `source_BST` the sources they are the exact sum of,
`estimate_BST` what a model makes of them and `loss_BRE` the loss of every pair.
"""

import sys

from fgsep_jax import stopping, streams

if sys.argv[:1] == ['-m']:  # a program is being loaded; one of ours ends in one line from here on
    word = sys.orig_argv[-len(sys.argv)]
    module = word.partition('m')[2] if word.startswith('-') else word
    if module.partition('.')[0] in ('fgsep_jax', 'data_prep', 'benchmarks'):
        streams.use()
        stopping.use()

__version__ = '0.1.0'
