import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from fgsep_jax.config import ConfigError
from fgsep_jax.metrics.improvement import evaluate_example
from fgsep_jax.tasks import make_task
import tiny

NAMES = ('blstm_m1', 'blstm_m2_plus')  # which differ in all that the four differ in


@functools.cache
def parameters(name, domain='mel'):
    task = make_task(tiny.config('', name, **{'model.mask_domain': domain}))
    return jax.jit(task.init)(jax.random.key(0))


def make(name='blstm_m1', **overrides):
    """A task and parameters; none that is overridden here changes these."""
    return make_task(tiny.config('', name, **overrides)), parameters(name)


def batch(task, samples=800):
    """A click train over noise, and noise to adapt to where the model reads it."""
    rng = np.random.default_rng(0)
    source_BST = rng.normal(0, 1500, (3, 2, samples))
    source_BST[:, 0] = 0
    source_BST[:, 0, 150::250] = 12000
    made = {'source_BST': source_BST.astype(np.int16)}
    if task.model.auxiliary:
        made['adaptation_BT'] = rng.normal(0, 1500, (3, 400)).astype(np.int16)
    return made


def adaptation(made):
    return np.float32(made['adaptation_BT'] / 32768) if 'adaptation_BT' in made else None


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_every_shipped_config_takes_a_step(name):
    task, params = make(name)

    @jax.jit
    def step(params):
        loss, gradient = jax.value_and_grad(lambda p: task.loss(p, batch(task), None)[0].mean())(
            params
        )
        return loss, jax.tree.map(lambda p, g: p - 1e-3 * g / (1e-9 + jnp.abs(g)), params, gradient)

    first, params = step(params)
    second, _ = step(params)
    assert second < first


@pytest.mark.parametrize('name, samples', [('blstm_m1', 5), ('blstm_m2_plus', 811)])
def test_the_estimates_sum_to_the_mixture(name, samples):
    task, params = make(name)
    made = batch(task, samples)
    mixture_BT = np.float32(made['source_BST'].sum(axis=1) / 32768)
    estimate_BST = jax.jit(task.separate)(params, mixture_BT, None, adaptation(made))
    assert estimate_BST.shape == (3, 2, samples)
    np.testing.assert_allclose(estimate_BST.sum(axis=1), mixture_BT, atol=1e-5)


@pytest.mark.slow
def test_the_mask_keeps_the_foreground():
    """Equation 4 with librosa: the first estimate is M X, the second (1 - M) X."""
    task, params = make(**{'features.mel_scale': 'htk'})
    mixture_T = batch(task)['source_BST'][0].sum(axis=0) / 32768
    spectrum_FK = librosa.stft(mixture_T, n_fft=128, hop_length=32, pad_mode='constant')
    matrix_MF = librosa.filters.mel(sr=8000, n_fft=128, n_mels=8, htk=True)
    feature_KM = (np.log((matrix_MF @ np.abs(spectrum_FK)).T + 1e-5) + 3.6) / 2.1
    mask_KM = np.asarray(task.model.apply({'params': params}, np.float32(feature_KM[None]))[0])
    mask_FK = (mask_KM @ (matrix_MF / np.maximum(matrix_MF.sum(axis=0), 1e-9))).T
    mask_FK[0], mask_FK[-1] = mask_FK[1], mask_FK[-2]
    estimate_ST = jax.jit(task.separate)(params, np.float32(mixture_T[None]))[0]
    for s, share_FK in enumerate((mask_FK, 1 - mask_FK)):
        by_hand_T = librosa.istft(share_FK * spectrum_FK, n_fft=128, hop_length=32, length=800)
        np.testing.assert_allclose(estimate_ST[s], by_hand_T, atol=1e-5)


@pytest.mark.slow
def test_pcen_features_are_the_configured_ones():
    values = {'smoothing': 0.1, 'eps': 1e-4, 'gain': 0.7, 'bias': 1.5, 'power': 0.3}
    task, _ = make(
        'blstm_m2',
        **{f'features.pcen_{k}': v for k, v in values.items()},
        **{'features.pcen_start': 'librosa'},
    )
    mel_KM = np.random.default_rng(0).uniform(0, 1, (20, 8)).astype(np.float32)
    expected_KM = librosa.pcen(mel_KM.T, b=0.1, eps=1e-4, gain=0.7, bias=1.5, power=0.3).T
    np.testing.assert_allclose(
        task._feature(mel_KM[None])[0], (expected_KM - 0.32) / 0.25, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize('normalization', ['sum', 'frame', 'mean', 'energy'])
def test_the_loss_is_equation_5(normalization):
    task, params = make(**{'loss.normalization': normalization, 'features.mel_scale': 'htk'})
    made = batch(task)
    loss_B, values = jax.jit(task.loss)(params, made, None)
    for b, source_ST in enumerate(made['source_BST'] / 32768):

        def mel(signal_T):
            magnitude_FK = np.abs(
                librosa.stft(signal_T, n_fft=128, hop_length=32, pad_mode='constant')
            )
            return librosa.filters.mel(sr=8000, n_fft=128, n_mels=8, htk=True) @ magnitude_FK

        mixture, foreground, background = map(mel, (source_ST.sum(axis=0), *source_ST))
        feature_BKM = np.float32((np.log(mixture + 1e-5).T[None] + 3.6) / 2.1)
        mask_MK = np.asarray(task.model.apply({'params': params}, feature_BKM))[0].T
        error = np.square(mask_MK * mixture - foreground).sum()
        expected = (
            error
            / {
                'sum': 1,
                'frame': mixture.shape[1],
                'mean': mixture.size,
                'energy': np.square(foreground).sum() + np.square(background).sum(),
            }[normalization]
        )
        np.testing.assert_allclose(loss_B[b], expected, rtol=1e-3)
        np.testing.assert_allclose(
            values['mel_snr'][b], 10 * np.log10(np.square(foreground).sum() / error), atol=1e-2
        )


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_padding_changes_neither_loss_nor_gradient_nor_estimate(name):
    task, params = make(name)
    short = batch(task, 500)
    padded = {
        **short,
        'length_B': np.full(3, 500, np.int32),
        'source_BST': np.pad(short['source_BST'], ((0, 0), (0, 0), (0, 300))),
    }
    gradient = jax.jit(
        jax.value_and_grad(lambda params, batch: task.loss(params, batch, None)[0].mean())
    )
    for one, other in zip(*[jax.tree.leaves(gradient(params, b)) for b in (short, padded)]):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    separate = jax.jit(task.separate)
    alone, within = [
        separate(
            params,
            np.float32(b['source_BST'].sum(axis=1) / 32768),
            b.get('length_B'),
            adaptation(b),
        )
        for b in (short, padded)
    ]
    np.testing.assert_allclose(alone, within[..., :500], atol=1e-6)


@pytest.mark.slow
def test_the_auxiliary_network_listens_to_the_segment():
    task, params = make('blstm_m1_plus')
    made = batch(task)
    loss = jax.jit(task.loss)
    first = loss(params, made, None)[0]
    quieter = {**made, 'adaptation_BT': made['adaptation_BT'] // 8}
    assert (jnp.abs(first / loss(params, quieter, None)[0] - 1) > 1e-4).all()
    with pytest.raises(ValueError, match='needs adaptation_BT'):
        task.separate(params, np.zeros((1, 800), np.float32))


@pytest.mark.parametrize('name, kind', [('blstm_m1', 'log'), ('blstm_m2', 'pcen')])
def test_shift_and_scale_are_of_the_features(name, kind):
    def feature(shift, scale):
        task, _ = make(name, **{f'features.{kind}_shift': shift, f'features.{kind}_scale': scale})
        return task._feature(np.ones((1, 4, 8), np.float32))

    np.testing.assert_allclose(feature(-3.0, 2.0), (feature(0.0, 1.0) + 3) / 2, rtol=1e-5)


@pytest.mark.slow
def test_oracles_by_hand_and_in_order():
    task, _ = make()
    source_BST = np.float32(batch(task)['source_BST'] / 32768)
    estimates = {name: np.asarray(f(source_BST, None)) for name, f in task.oracles().items()}
    assert set(estimates) == {'ideal_mel_mask', 'ideal_ratio_mask'}
    magnitude_SFK = np.abs(librosa.stft(source_BST[0], n_fft=128, hop_length=32))
    spectrum_FK = librosa.stft(source_BST[0].sum(axis=0), n_fft=128, hop_length=32)
    by_hand_T = librosa.istft(
        magnitude_SFK[0] / magnitude_SFK.sum(axis=0) * spectrum_FK,
        n_fft=128,
        hop_length=32,
        length=800,
    )
    np.testing.assert_allclose(estimates['ideal_ratio_mask'][0, 0], by_hand_T, atol=1e-5)
    matrix_MF = librosa.filters.mel(sr=8000, n_fft=128, n_mels=8)
    share_MK = (matrix_MF @ magnitude_SFK[0]) / (matrix_MF @ magnitude_SFK).sum(axis=0)
    mask_FK = (matrix_MF / np.maximum(matrix_MF.sum(axis=0), 1e-9)).T @ share_MK
    mask_FK[0], mask_FK[-1] = mask_FK[1], mask_FK[-2]
    by_hand_T = librosa.istft(mask_FK * spectrum_FK, n_fft=128, hop_length=32, length=800)
    np.testing.assert_allclose(estimates['ideal_mel_mask'][0, 0], by_hand_T, atol=1e-5)
    padded_BST = np.pad(source_BST[:, :, :500], ((0, 0), (0, 0), (0, 300)))
    for oracle in task.oracles().values():
        alone, within = oracle(source_BST[:, :, :500]), oracle(padded_BST, np.full(3, 500))
        np.testing.assert_allclose(alone, within[..., :500], atol=1e-6)
    score = {
        name: evaluate_example(
            estimate[0],
            source_BST[0],
            source_BST[0].sum(axis=0),
            filter_length=32,
            fixed_order=True,
        )['sdri']
        for name, estimate in estimates.items()
    }
    assert score['ideal_ratio_mask'] > score['ideal_mel_mask'] > 1


@pytest.mark.slow
@pytest.mark.parametrize('normalization', ['mean', 'energy'])
def test_a_mask_over_bins_is_learnt_by_equation_5_on_bins(normalization):
    """Footnote 1 of the paper: the network reads mel features all the same."""
    on_bins = {'model.mask_domain': 'stft', 'loss.normalization': normalization}
    task = make_task(tiny.config('', 'blstm_m1', **on_bins))
    params = parameters('blstm_m1', 'stft')
    assert params['mask']['kernel'].shape == (5, 65)
    made = batch(task)
    loss_B, values = jax.jit(task.loss)(params, made, None)
    matrix_FM = np.asarray(task._matrix_FM)
    source_BST = made['source_BST'] / 32768
    estimate_BST = np.asarray(jax.jit(task.separate)(params, np.float32(source_BST.sum(axis=1))))
    np.testing.assert_allclose(estimate_BST.sum(axis=1), source_BST.sum(axis=1), atol=1e-4)
    for b, source_ST in enumerate(source_BST):
        mixture, foreground, background = (
            np.abs(librosa.stft(signal_T, n_fft=128, hop_length=32, pad_mode='constant'))
            for signal_T in (source_ST.sum(axis=0), *source_ST)
        )
        feature_BKM = np.float32((np.log(mixture.T @ matrix_FM + 1e-5)[None] + 3.6) / 2.1)
        mask_FK = np.asarray(task.model.apply({'params': params}, feature_BKM))[0].T
        error = np.square(mask_FK * mixture - foreground).sum()
        expected = {
            'frame': mixture.shape[1],
            'mean': mixture.size,
            'energy': np.square(foreground).sum() + np.square(background).sum(),
        }
        np.testing.assert_allclose(loss_B[b], error / expected[normalization], rtol=1e-3)
        ratio = 10 * np.log10(np.square(foreground).sum() / error)
        np.testing.assert_allclose(values['stft_snr'][b], ratio, atol=1e-2)
        spectrum_FK = librosa.stft(
            source_ST.sum(axis=0), n_fft=128, hop_length=32, pad_mode='constant'
        )
        heard_T = librosa.istft(mask_FK * spectrum_FK, hop_length=32, n_fft=128, length=800)
        np.testing.assert_allclose(estimate_BST[b, 0], heard_T, atol=2e-3)


def test_a_mask_is_over_bands_or_bins():
    with pytest.raises(ConfigError, match="model.mask_domain = 'lin': must be one of mel, stft"):
        make_task(tiny.config('', 'blstm_m1', **{'model.mask_domain': 'lin'}))
