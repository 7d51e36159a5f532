"""A pyramid of gated TCNs, weighed anew for every utterance, after FurcaPy; 52.1 M parameters.

Paper: Shi et al., "End-to-end monaural speech separation with multi-scale dynamic weighted gated
dilated convolutional pyramid network", Interspeech 2019; Table 2 of
Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020. Published: 18.4 dB SDRi on
WSJ0-2mix. Its equations are not public: what is chosen stands in docs/choices.md. Hardware: the
recipe (100 epochs of 4 s segments, batch 16) wants accelerators. On two CPU cores use `:demo`.

    python -m fgsep_jax.main --config=configs/furcapy.py:wsj0_2mix --config.data.dir=DIR
    python -m fgsep_jax.main --config=configs/furcapy.py:demo
"""

from base_speech import base


def get_config(argument=''):
    """The configuration; `fgsep_jax.config.parse` says what may stand after the colon."""
    config, size = base(argument, experiment='furcapy')
    config.model.separator = dict(
        name='pyramid',
        bottleneck=size(paper=128, narrow=16, small=64, demo=32),
        hidden=size(paper=512, narrow=32, small=128, demo=64),
        skip=size(paper=128, narrow=16, small=64, demo=32),
        branches=size(paper=4, narrow=4, small=3, demo=2),  # with kernels 3, 5, 7, 9
        blocks=size(paper=8, narrow=8, small=6, demo=6),
        repeats=size(paper=4, narrow=4, small=2, demo=2),
        weightor=size(paper=128, narrow=16, small=64, demo=32),  # units of what weighs the branches
        input_norm='gln',
        mask='sigmoid',
        depthwise='auto',  # auto, shift, conv
        remat=size(paper=True, narrow=False, small=False, demo=False),
    )
    return config
