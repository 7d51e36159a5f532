"""M1: BLSTM mask estimator on log-mel features; 4,197,664 parameters.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020, Fig. 2.
Published: SDR improvement about the same on all four subsets, section V.B.
Hardware: not stated there; two CPU cores need about eleven minutes an epoch, nine hours in all.

    python -m fgsep_jax.main --config=configs/blstm_m1.py:fgbg --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/blstm_m1.py:demo
"""

from base_foreground import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, _ = base(argument, experiment='blstm_m1')
    return config
