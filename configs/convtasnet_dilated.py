"""Conv-TasNet with a dilated deep encoder/decoder: I = 5 layers; 11.3 M parameters.

Dilations 1, 2, 4, 8 in the encoder and 8, 4, 2, 1 in the decoder.

Paper: Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020, Table 1, row 4.
Published: 16.0 dB SI-SNRi on WSJ0-2mix. Hardware: not stated there; the recipe (100 epochs of 4 s
segments, batch 16) wants an accelerator. On two CPU cores use `:demo` or `:narrow`.

    python -m fgsep_jax.main --config=configs/convtasnet_dilated.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/convtasnet_dilated.py:demo
"""

from base_speech import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, size = base(argument, experiment='convtasnet_dilated')
    layers = size(paper=5, narrow=5, small=3, demo=3)
    config.model.encoder.update(name='prelu', layers=layers, dilated=True, bias=True)
    return config
