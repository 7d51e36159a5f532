"""Causal Conv-TasNet with cumulative layer norm, for signals that are separated as they come.

Paper: Luo and Mesgarani, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for Speech
Separation", 2019. Published: 10.6 dB SI-SNRi on WSJ0-2mix (causal, cLN). Latency: a window, 2 ms.
On two CPU cores use `:demo` or `:small`.

    python -m fgsep_jax.main --config=configs/convtasnet_causal.py:wsj0_2mix --config.data.dir=DIR
"""

from base_speech import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, _ = base(argument, experiment='convtasnet_causal')
    config.model.update(causal=True, norm='cln')
    return config
