"""Numbers and claims printed in the papers, never mixed with ours, and what decides on a claim.

Paper 2: Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020, all on WSJ0-2mix unless
said. Paper 1: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020.
"""

# Table 1 of paper 2: model: (I, non-linearity, first-layer filters, SI-SNRi in dB).
TABLE_1 = {
    'Conv-TasNet': (1, 'linear', 512, 15.4),
    'Big-Conv-TasNet': (1, 'linear', 1024, 15.3),
    'Deep w/ PReLU': (4, 'PReLU', 512, 16.1),
    'Deep w/ dilation': (5, 'PReLU', 512, 16.0),
    'Deep w/ GLU': (4, 'GLU', 512, 16.2),
}
# Table 2 of paper 2: model: (SDRi in dB, parameters).
TABLE_2 = {
    'Conv-TasNet': (15.6, '5.0M'),
    'Deep w/ PReLU': (16.6, '9.7M'),
    'Yang et al.': (16.9, '10M'),
    'FurcaPy': (18.4, 'N/A'),
}
# Fig. 5 of paper 2: model, objective; of these the second was trained on WSJ0-2mix alone.
FIGURE_5 = (
    ('Conv-TasNet', 'SI-SNR'),
    ('Conv-TasNet', 'SI-SNR + power law'),
    ('Deep w/ PReLU', 'SI-SNR'),
    ('Deep w/ PReLU', 'SI-SNR + power law'),
)
ONCE = FIGURE_5[1]
# What the paper's conclusion calls the next step, and a separator for it: no numbers of the paper.
NEXT_STEP = ('SepFormer', 'SepFormer w/ PReLU', 'SepFormer w/ GLU')

# Section 4.2 of paper 2, averages in dB: what is claimed of SI-SNRi.
# The mean over the training sets, and of each (in-dataset by Table 1).
DEEP_IN = '+0.65', {'wsj0_2mix': '+0.7'}
DEEP_CROSS = (
    '+0.35 (WSJ), +0.95 (LibriTTS)',
    {'wsj0_2mix': '+0.35', 'libritts_2mix': '+0.95'},
)
POWER_LAW_DEEP = '+0.25', '+0.65'  # in-dataset, cross-dataset
POWER_LAW_LINEAR = '-0.9 (WSJ)', '-0.7 (WSJ)'
POWER_LAW_DEEP_OVER_PLAIN = '+1.2'
DROPS = '6.25 (WSJ) - 4.5 (LibriTTS) = +1.75'
# Of its four drops, each an average over models, of training on one and testing on another.
DROP = {
    ('wsj0_2mix', 'libritts_2mix'): '6.2',
    ('wsj0_2mix', 'vctk_2mix'): '6.3',
    ('libritts_2mix', 'wsj0_2mix'): '1.7',
    ('libritts_2mix', 'vctk_2mix'): '7.3',
}
# On VCTK both drop, by 6.3 and 7.3 dB: scale and diversity "alone may not be sufficient".
MORE_DATA, MORE_DATA_NEUTRAL = 'yes, on average', 'not sufficient (VCTK)'

# Section V of paper 1: median SDR improvement of M2 over M1 in dB.
M2_OVER_M1 = {'c1': '+0.9', 'c2': '+1.3', 'c4': '+0.5'}

# What the papers' models are where the paper is full: (parameters by our count, layers: I of
# paper 2, BLSTM layers of paper 1).
FULL = {
    'Conv-TasNet': (4_984_881, 1),
    'Big-Conv-TasNet': (6_811_713, 1),
    'Deep w/ PReLU': (9_706_551, 4),
    'Deep w/ dilation': (11_280_441, 5),
    'Deep w/ GLU': (14_434_353, 4),
    'Yang et al.': (9_956_178, 1),
    'FurcaPy': (52_071_558, 1),
    'M1': (4_197_664, 3),
    'M1+': (4_308_088, 3),
    'M2': (4_197_664, 3),
    'M2+': (4_308_088, 3),
}

NEAR = 0.5  # dB: what differs by less is level
NOTE = (
    'The verdict goes by the 95 % interval over examples and seeds: reproduced, if all of it is'
    ' on the side of the claim; not reproduced, if all of it is on the other; else undecided.'
    f' "Level" means by less than {NEAR:g} dB, "no better" that, and not surely above 0.'
    ' With fewer than three seeds'
    ' nothing is claimed.'
)


def verdict(estimate, kind, reached=''):
    """What an interval says of a claim.

    Args:
      estimate: Estimate, or None.
      reached: with which models, as `common.reached` words it.
      kind: what is claimed of the difference: 'above' or 'below' 0, 'not above' (0 is in the
        interval or above it, and all of it is below NEAR), 'level' (all of it within NEAR).

    Returns:
      Text, a word and in brackets how it was reached; None without an estimate.
    """
    if estimate is None:
        return None
    if estimate.low is None or estimate.note:
        return f'no claim ({estimate.note})'
    low, high = estimate.low, estimate.high
    if kind == 'below':
        low, high = -high, -low
    yes, no = {
        'above': (low > 0, high < 0),
        'below': (low > 0, high < 0),
        'not above': (low <= 0 and high < NEAR, low > 0),
        'level': (low > -NEAR and high < NEAR, low > NEAR or high < -NEAR),
    }[kind]
    word = 'reproduced' if yes else 'not reproduced' if no else 'undecided'
    return f'{word} ({reached})' if reached else word
