"""M2: BLSTM mask estimator on PCEN features; 4.2 M parameters.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020,
sections III and IV. Published: median SDR improvement over M1: +0.9, +1.3, +0.5 dB on C1, C2, C4 (section V.A).
Hardware: Grid'5000, not stated further; a full epoch takes some 20 minutes on two CPU cores.

    python -m fgsep_jax.main --config=configs/blstm_m2.py:fgbg --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/blstm_m2.py:demo
"""

from fgsep_jax import config


def get_config(argument=''):
    """Configuration of the experiment; `config.make` says what may stand after the colon."""
    return config.foreground(argument, experiment='blstm_m2', features=dict(name='pcen'))
