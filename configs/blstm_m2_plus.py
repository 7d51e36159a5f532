"""M2+: M2 with an auxiliary network on a background segment; 4,308,088 parameters.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020, Fig. 2.
Published: SIR like M2, lower SAR and hence lower SDR, section V.A.
Hardware: not stated there; two CPU cores need about eleven minutes an epoch, nine hours in all.

    python -m fgsep_jax.main --config=configs/blstm_m2_plus.py:fgbg --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/blstm_m2_plus.py:demo
"""

from fgsep_jax import config


def get_config(argument=''):
    """Configuration of the experiment; `config.make` says what may stand after the colon."""
    return config.foreground(
        argument,
        experiment='blstm_m2_plus',
        data=dict(adaptation_seconds=2.0),
        features=dict(name='pcen'),
        model=dict(auxiliary=True),
    )
