"""Foreground-background separation by a mask on the STFT (paper 1)."""

import functools
from typing import Any

import jax.numpy as jnp

from fgsep_jax.config import adaptation_samples, segment_samples
from fgsep_jax.dsp import mel as mel_lib, pcen as pcen_lib
from fgsep_jax.dsp.oracle import ideal_ratio_mask
from fgsep_jax.dsp.stft import check, frames, istft, stft
from fgsep_jax.models.mask_blstm import MaskBLSTM, multiply_accumulates
from fgsep_jax.pcm import to_float
from fgsep_jax.rules import RuleError, Rules, section

PCEN = ('smoothing', 'eps', 'gain', 'bias', 'power', 'start')  # keys of `features`, with pcen_


class ForegroundTask:
    """STFT -> mel features -> BLSTM mask -> STFT mask -> the two sources, in this order:
    foreground, background. Models M1, M1+, M2 and M2+ of paper 1."""

    source_names = ('foreground', 'background')

    def __init__(self, config):
        features, problems = config.features, _broken(config)
        self._features, self._normalization = features, config.loss.normalization
        self._sample_rate = config.data.sample_rate
        self._stft = dict(window=features.window, hop=features.hop)
        self._pcen = {name: features[f'pcen_{name}'] for name in PCEN}
        with section('features.', problems):
            check(**self._stft, overlap=3)
        with section('features.pcen_', problems):
            pcen_lib.check(**self._pcen)
        with section('model.', problems):
            model = config.model.to_dict()
            self._on_bins = model.pop('mask_domain') == 'stft'
            outputs = (features.window // 2 + 1) * self._on_bins
            self.model: Any = MaskBLSTM(bands=features.bands, outputs=outputs, **model)
        if not problems:  # a matrix of any size would be made
            with section('features.', problems, scale='mel_scale'):
                self._matrix_FM = mel_lib.mel_matrix(
                    sample_rate=self._sample_rate,
                    window=features.window,
                    bands=features.bands,
                    low=features.low,
                    high=features.high or None,
                    scale=features.mel_scale,
                )
        if problems:
            raise RuleError(problems)

    def init(self, rng):
        """Returns the initial parameters; they depend on no signal length."""
        silence_BKM = jnp.zeros((1, 2, self._features.bands))
        adaptation_BAM = silence_BKM if self.model.auxiliary else None
        return self.model.init(rng, silence_BKM, adaptation_BAM=adaptation_BAM)['params']

    def check_data(self, config):
        """Raises RuleError where the section `data` does not suit the model: none is left here."""

    def multiply_accumulates(self):
        """Returns how many a second of audio takes to separate."""
        return multiply_accumulates(
            self.model, frames_per_second=self._sample_rate / self._features.hop
        )

    def separate(self, params, mixture_BT, length_B=None, adaptation_BT=None):
        """Returns estimate_BST = (foreground, background), which sum to the mixture; see
        `base.Task`. Equation 4 with the mixture's phase."""
        spectrum_BKF = stft(mixture_BT, **self._stft)
        mask_BKM, valid_BK = self._mask(params, self._mel(spectrum_BKF), length_B, adaptation_BT)
        mask_BKF = self._over_bins(mask_BKM)
        pair_BSKF = jnp.stack(mel_lib.apply_mask(spectrum_BKF, mask_BKF), axis=1)
        return self._signal(
            pair_BSKF, mixture_BT.shape[-1], None if valid_BK is None else valid_BK[:, None]
        )

    def mask(self, params, mixture_BT, length_B=None, adaptation_BT=None):
        """Returns the foreground's share of each bin of the STFT, mask_BKF; arguments as in
        `base.Task.separate`."""
        spectrum_BKF = stft(mixture_BT, **self._stft)
        mask_BKM, _ = self._mask(params, self._mel(spectrum_BKF), length_B, adaptation_BT)
        return self._over_bins(mask_BKM)

    def _over_bins(self, mask_BKM):
        return mask_BKM if self._on_bins else mel_lib.mask_to_linear(mask_BKM, self._matrix_FM)

    def masked(self, mask_BKF, signal_BT, length_B=None):
        """Returns what a `mask` lets through of a signal, e.g. of one of a recording's channels."""
        spectrum_BKF, _ = mel_lib.apply_mask(stft(signal_BT, **self._stft), mask_BKF)
        valid_BK = self._frames(spectrum_BKF.shape[1], length_B)
        return self._signal(spectrum_BKF, signal_BT.shape[-1], valid_BK)

    def _signal(self, spectrum_KF, length, valid_K):
        return istft(spectrum_KF, length=length, **self._stft, valid_K=valid_K)

    def probe(self, params, mixture_BT, length_B):
        """Returns {}: nothing in the model is gated; see `base.Task`."""
        del params, mixture_BT, length_B
        return {}

    def oracles(self):
        """The ideal ratio mask on mel bands, the paper's upper bound, and on the STFT's bins."""
        return {
            name: functools.partial(ideal_ratio_mask, matrix_FM=matrix_FM, **self._stft)
            for name, matrix_FM in (('ideal_mel_mask', self._matrix_FM), ('ideal_ratio_mask', None))
        }

    def scored(self, batch):
        """Returns all [B]: equation 5 has a value where a source is silent, too."""
        return jnp.ones(batch['source_BST'].shape[:1], bool)

    def loss(self, params, batch, rng):
        """Equation 5: || M * |X|_mel - |F|_mel ||^2, normalised as `loss.normalization` says.

        'sum' is the equation itself; 'frame' divides it by the number of frames, 'mean' by that
        of frames and bands, 'energy' by ||F_mel||^2 + ||B_mel||^2, so that loud and soft mixtures
        count alike. 'mel_snr' is ||F_mel||^2 over the equation in dB, nan without foreground. Where
        the mask is over bins, so are the spectrograms, and it is 'stft_snr'. See `base.Task` for
        arguments and returns.
        """
        del rng
        source_BST = to_float(batch['source_BST'])
        length_B = batch.get('length_B')
        adaptation_BT = to_float(batch.get('adaptation_BT'))
        signals = [source_BST.sum(axis=1), source_BST[:, 0]]
        if self._normalization == 'energy':
            signals.append(source_BST[:, 1])
        signal_BST = jnp.stack(signals, axis=1)
        if self._on_bins:
            spectrum_BSKF = stft(signal_BST, **self._stft)
            heard_BKM = self._mel(spectrum_BSKF[:, 0])
            level_BSKM = jnp.abs(spectrum_BSKF)
        else:
            level_BSKM = mel_lib.mel_of_signal(signal_BST, self._matrix_FM, **self._stft)
            heard_BKM = level_BSKM[:, 0]
        mixture_BKM, foreground_BKM, *background_BKM = jnp.moveaxis(level_BSKM, 1, 0)
        mask_BKM, valid_BK = self._mask(params, heard_BKM, length_B, adaptation_BT)
        if valid_BK is None:
            valid_BK = jnp.ones(mask_BKM.shape[:2], bool)
        error_B = _energy(mask_BKM * mixture_BKM - foreground_BKM, valid_BK)
        foreground_B = _energy(foreground_BKM, valid_BK)
        normalizer_B = {
            'sum': jnp.ones_like(error_B),
            'frame': valid_BK.sum(axis=1),
            'mean': valid_BK.sum(axis=1) * mixture_BKM.shape[-1],
            'energy': sum((_energy(m, valid_BK) for m in background_BKM), foreground_B) + 1e-8,
        }[self._normalization]
        snr_B = 10 * jnp.log10((foreground_B + 1e-8) / (error_B + 1e-8))
        name = 'stft_snr' if self._on_bins else 'mel_snr'
        return error_B / normalizer_B, {name: jnp.where(foreground_B > 0, snr_B, jnp.nan)}

    def _mel(self, spectrum_KF):
        return mel_lib.mel_spectrogram(spectrum_KF, self._matrix_FM)

    def _mask(self, params, mixture_BKM, length_B, adaptation_BT):
        """The model's mask and, where lengths are given, which frames exist (1 or 0)."""
        valid_BK, adaptation = self._frames(mixture_BKM.shape[1], length_B), {}
        if self.model.auxiliary:
            if adaptation_BT is None:
                raise ValueError('the auxiliary network needs adaptation_BT, a background segment')
            adaptation_BAM = mel_lib.mel_of_signal(adaptation_BT, self._matrix_FM, **self._stft)
            adaptation = {'adaptation_BAM': self._feature(adaptation_BAM)}
        mask_BKM = self.model.apply(
            {'params': params}, self._feature(mixture_BKM), valid_BK, **adaptation
        )
        return mask_BKM, valid_BK

    def _frames(self, count, length_B):
        """Which of `count` frames exist where lengths are given (1 or 0) [B, K]; else None."""
        if length_B is None:
            return None
        count_B = frames(length_B, hop=self._features.hop)
        return jnp.arange(count)[None, :] < count_B[:, None]

    def _feature(self, mel_BKM):
        settings = self._features
        if settings.name == 'log_mel':
            feature_BKM = mel_lib.log_mel(mel_BKM, floor=settings.log_floor)
            return (feature_BKM - settings.log_shift) / settings.log_scale
        feature_BKM = pcen_lib.pcen(mel_BKM, **self._pcen)
        return (feature_BKM - settings.pcen_shift) / settings.pcen_scale


def _energy(value_BKM, valid_BK):
    return (jnp.square(value_BKM) * valid_BK[:, :, None]).sum(axis=(1, 2))


def _broken(config):
    """Broken rules of this task that no part of it knows, pairs (key, text)."""
    problems: list[tuple[str, str]] = []
    features, data, auxiliary = config.features, config.data, config.model.auxiliary
    rules = Rules(features)
    rules.one_of('name', ('log_mel', 'pcen'))
    rules.at_least_one('bands')
    rules.positive('log_floor log_scale pcen_scale')
    rules.finite('log_shift pcen_shift')
    rules.not_negative('low high')
    rules.rule(
        features.bands < features.window // 2,
        'bands',
        f'must be below half of features.window = {features.window}',
    )
    with section('features.', problems):
        rules.check()
    rules = Rules(config.model)
    rules.one_of('mask_domain', ('mel', 'stft'))
    with section('model.', problems):
        rules.check()
    rules = Rules(config.loss)
    rules.one_of('normalization', ('sum', 'frame', 'mean', 'energy'))
    with section('loss.', problems):
        rules.check()
    rules = Rules(data)
    rules.rule(data.sources == 2, 'sources', 'must be 2: the foreground and the background')
    rules.rule(not data.targets, 'targets', 'must be empty: a mask gives foreground and background')
    if 0 < data.segment_seconds <= 86_400:
        rules.rule(segment_samples(config) >= 1, 'segment_seconds', 'holds no sample')
    if 0 <= data.adaptation_seconds <= 86_400:
        rules.rule(
            not auxiliary or adaptation_samples(config) >= 1,
            'adaptation_seconds',
            'holds no sample: the auxiliary network reads an adaptation segment',
        )
    rules.rule(
        auxiliary or data.adaptation_seconds == 0,
        'adaptation_seconds',
        'must be 0: only the auxiliary network (model.auxiliary) reads it',
    )
    with section('data.', problems):
        rules.check()
    return problems
