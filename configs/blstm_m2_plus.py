"""M2+: M2 with an auxiliary network on a background segment; 4,308,088 parameters.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020, Fig. 2.
Published: SIR like M2, lower SAR and hence lower SDR, section V.A.
Hardware: not stated there; two CPU cores need about eleven minutes an epoch, nine hours in all.

    python -m fgsep_jax.main --config=configs/blstm_m2_plus.py:fgbg --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/blstm_m2_plus.py:demo
"""

from base_foreground import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, _ = base(argument, experiment='blstm_m2_plus')
    config.features.name = 'pcen'
    config.model.auxiliary = True
    config.data.adaptation_seconds = 2.0
    return config
