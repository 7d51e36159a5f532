"""M2+: BLSTM mask estimator on PCEN features with the auxiliary network on a background segment; 4.3 M parameters.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020,
sections III and IV. Published: SIR like M2, lower SAR and hence lower SDR (Fig. 2, section V.A).
Hardware: Grid'5000, not stated further; a full epoch takes some 20 minutes on two CPU cores.

    python -m fgsep_jax.main --config=configs/blstm_m2_plus.py:fgbg --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/blstm_m2_plus.py:demo
"""

from fgsep_jax import config


def get_config(argument=''):
    """Configuration of the experiment; `config.make` says what may stand after the colon."""
    return config.foreground(
        argument, experiment='blstm_m2_plus', data=dict(adaptation_seconds=2.0),
        features=dict(name='pcen'), model=dict(auxiliary=True))
