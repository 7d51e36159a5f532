"""SepFormer behind the gated deep encoder/decoder of paper 2: I = 4; 28.0 M parameters.

Paper: Subakan et al., "Attention is all you need in speech separation", ICASSP 2021.
Published: no number; it is what the conclusion of Kadioglu et al. calls the promising next step.
Hardware: one GPU of 32 GB for some 200 epochs there. On two CPU cores use `:demo`.

    python -m fgsep_jax.main --config=configs/sepformer_glu.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/sepformer_glu.py:demo
"""

from base_speech import base
import sepformer


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config = sepformer.get_config(argument, experiment='sepformer_glu')
    _, size = base(argument)
    layers = size(paper=4, narrow=4, small=2, demo=2)
    config.model.encoder.update(name='glu', rectify=False, layers=layers, dilated=False, bias=True)
    return config
