"""Big-Conv-TasNet: linear encoder/decoder, 1024 filters, four repeats; 6.8 M parameters.

Paper: Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020, Table 1, row 2.
Published: 15.3 dB SI-SNRi on WSJ0-2mix. Hardware: not stated there; the recipe (100 epochs of 4 s
segments, batch 16) wants an accelerator. On two CPU cores use `:demo` or `:narrow`.

    python -m fgsep_jax.main --config=configs/convtasnet_big.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/convtasnet_big.py:demo
"""

from base_speech import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, size = base(argument, experiment='convtasnet_big')
    config.model.encoder.basis = size(paper=1024, narrow=128, small=256, demo=128)
    config.model.separator.repeats = size(paper=4, narrow=4, small=3, demo=3)
    return config
