"""SepFormer: Transformers within chunks of the code and across them; 25.7 M parameters.

Paper: Subakan et al., "Attention is all you need in speech separation", ICASSP 2021.
Published: 20.4 dB SI-SNRi on WSJ0-2mix (22.4 with dynamic mixing).
Hardware: one GPU of 32 GB for some 200 epochs there. On two CPU cores use `:demo`.

    python -m fgsep_jax.main --config=configs/sepformer.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/sepformer.py:demo
"""

from base_speech import base


def get_config(argument='', *, experiment='sepformer'):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, size = base(argument, experiment=experiment)
    config.model.encoder.update(basis=size(paper=256, narrow=32, small=64, demo=32), rectify=True)
    config.model.separator = dict(
        name='dual_path',
        channels=size(paper=256, narrow=32, small=64, demo=32),
        chunk=size(paper=250, narrow=250, small=100, demo=50),  # frames, which overlap by half
        repeats=size(paper=2, narrow=2, small=1, demo=1),  # of a Transformer within and one across
        layers=size(paper=8, narrow=8, small=4, demo=2),  # of each
        heads=size(paper=8, narrow=8, small=4, demo=4),
        inner=size(paper=1024, narrow=128, small=256, demo=64),  # units of the feed-forward layers
        mask='relu',
        remat=size(paper=True, narrow=False, small=False, demo=False),
    )
    config.training.update(
        learning_rate=size(paper=1.5e-4, narrow=5e-4, small=5e-4, demo=1e-3), clip_norm=5.0
    )
    return config
