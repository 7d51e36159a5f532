"""Conv-TasNet: linear encoder/decoder, 512 filters; 5.0 M parameters.

Paper: Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020, Table 1, row 1.
Published: 15.4 dB SI-SNRi on WSJ0-2mix. Hardware: not stated there; the recipe (100 epochs of 4 s
segments, batch 16) wants an accelerator. On two CPU cores use `:demo` or `:narrow`.

    python -m fgsep_jax.main --config=configs/convtasnet.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/convtasnet.py:demo
"""

from base_speech import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, _ = base(argument, experiment='convtasnet')
    return config
