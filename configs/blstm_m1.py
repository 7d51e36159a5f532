"""M1: BLSTM mask estimator on log-mel features; 4.2 M parameters.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020,
sections III and IV. Published: the baseline of Fig. 2; SDR improvement about the same on all four subsets.
Hardware: Grid'5000, not stated further; a full epoch takes some 20 minutes on two CPU cores.

    python -m fgsep_jax.main --config=configs/blstm_m1.py:fgbg --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/blstm_m1.py:demo
"""

from fgsep_jax import config


def get_config(argument=''):
    """Configuration of the experiment; `config.make` says what may stand after the colon."""
    return config.foreground(argument, experiment='blstm_m1')
