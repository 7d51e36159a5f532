"""M2: BLSTM mask estimator on PCEN features; 4,197,664 parameters.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020, Fig. 2.
Published: median SDR improvement 0.9, 1.3 and 0.5 dB above M1 on C1, C2 and C4, section V.A.
Hardware: not stated there; two CPU cores need about eleven minutes an epoch, nine hours in all.

    python -m fgsep_jax.main --config=configs/blstm_m2.py:fgbg --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/blstm_m2.py:demo
"""

from base_foreground import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, _ = base(argument, experiment='blstm_m2')
    config.features.name = 'pcen'
    return config
