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

from fgsep_jax import stopping

if sys.argv[:1] == ['-m']:  # a program of ours is being loaded: Ctrl-C ends it in one line already
    stopping.use()

__version__ = '0.1.0'
