"""Attractors over a Conv-TasNet trunk that reads time and frequency; 10.0 M parameters.

Paper: Yang, Tuan, Lee, Lee, "Improved speech separation with time-and-frequency cross-domain joint
embedding and clustering", Interspeech 2019; Table 2, row 3 of Kadioglu et al., "An empirical study
of Conv-TasNet", ICASSP 2020. Published: 16.9 dB SDRi on WSJ0-2mix. Hardware: the recipe here (100
epochs of 4 s segments, batch 16) wants an accelerator. On two CPU cores use `:demo` or `:narrow`.

    python -m fgsep_jax.main --config=configs/yang.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/yang.py:demo
"""

from base_speech import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, size = base(argument, experiment='yang')
    config.model.encoder.update(
        basis=size(paper=256, narrow=32, small=64, demo=32),
        window=20,
        stride=10,
        rectify=True,
        strided_bias=True,
        spectrum=True,
    )
    config.model.separator = dict(
        name='attractor',
        bottleneck=size(paper=256, narrow=32, small=64, demo=32),
        hidden=size(paper=512, narrow=64, small=128, demo=64),
        kernel=3,
        blocks=size(paper=8, narrow=8, small=6, demo=6),
        repeats=size(paper=4, narrow=4, small=2, demo=2),
        embedding=size(paper=20, narrow=20, small=20, demo=10),  # numbers for a channel of a frame
        anchors=2,
        prelu='channel',  # slopes: shared (one a layer), channel
        depthwise='auto',  # auto, shift, conv
        remat=False,  # blocks and embeddings, 65 MB an example of 4 s
    )
    return config
