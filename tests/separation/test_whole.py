"""With the statistics of the whole, a recording in windows comes out as if it were not cut."""

import numpy as np
import pytest

import models

RATE = 8000


def loud_and_faint(samples, channels=2):
    noise_CT = np.random.default_rng(0).standard_normal((channels, samples))
    level_T = np.where(np.arange(samples) < samples // 2, 0.2, 0.02)
    return (noise_CT * level_T).astype(np.float32)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ('experiment', 'changes'),
    [
        ('convtasnet', {}),
        ('convtasnet', {'padding': 'reflect'}),
        ('convtasnet', {'skip': 0, 'framing': 'plain', 'decoder_bias': True}),
        ('convtasnet', {'prelu': 'channel', 'framing': 'aligned', 'input_norm': 'none'}),
        ('convtasnet', {'unused_residual': True, 'input_norm': 'frame', 'mask': 'softmax'}),
        ('convtasnet_glu', {}),
        ('convtasnet_dilated', {}),
    ],
)
def test_cut_equals_whole(experiment, changes):
    model = models.separator(experiment, **{f'model.{k}': v for k, v in changes.items()})
    signal_CT = loud_and_faint(3 * RATE + 13)
    whole, cut, windows = (
        model.separate(signal_CT, RATE, **how)
        for how in (
            dict(segment=0),
            dict(segment=0.5, statistics='file'),
            dict(segment=0.5, overlap=0.25),
        )
    )
    for name in model.sources:
        largest = np.abs(whole[name]).max()
        assert np.abs(cut[name] - whole[name]).max() < 1e-4 * largest
        assert np.abs(windows[name] - whole[name]).max() > 1e-2 * largest


@pytest.mark.few(1)
@pytest.mark.parametrize('samples', [1, 7, 100, 4001])
def test_what_fits_into_one_window(samples):
    model = models.separator('convtasnet')
    signal_T = loud_and_faint(samples, channels=1)[0]
    cut, whole = (model.separate(signal_T, RATE, statistics=s) for s in ('file', 'window'))
    for name in model.sources:
        np.testing.assert_allclose(cut[name], whole[name], atol=1e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ('experiment', 'changes'),
    [
        ('blstm_m2', {}),
        ('convtasnet', {'norm': 'frame'}),
        ('yang', {}),
        ('sepformer', {}),
        ('convtasnet', {'input_norm': 'cln'}),
    ],
)
def test_models_without_such_statistics_say_so(experiment, changes):
    model = models.separator(experiment, **{f'model.{k}': v for k, v in changes.items()})
    with pytest.raises(ValueError, match='no norms over all of a recording'):
        model.separate(loud_and_faint(800), RATE, statistics='file')
