"""Conv-TasNet with a deep encoder/decoder of gated linear units: I = 4; 14.4 M parameters.

Paper: Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020, Table 1, row 5.
Published: 16.2 dB SI-SNRi on WSJ0-2mix. Hardware: not stated there; the recipe (100 epochs of 4 s
segments, batch 16) wants an accelerator. On two CPU cores use `:demo` or `:narrow`.

    python -m fgsep_jax.main --config=configs/convtasnet_glu.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/convtasnet_glu.py:demo
"""

from base_speech import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, size = base(argument, experiment='convtasnet_glu')
    layers = size(paper=4, narrow=4, small=2, demo=2)
    config.model.encoder.update(name='glu', layers=layers, dilated=False, bias=True)
    return config
