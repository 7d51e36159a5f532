"""Foreground-background separation by a mask on the STFT (paper 1)."""

import functools
from typing import Any

import jax.numpy as jnp

from fgsep_jax.dsp import mel as mel_lib
from fgsep_jax.dsp.oracle import ideal_ratio_mask
from fgsep_jax.dsp.pcen import pcen
from fgsep_jax.dsp.stft import frames, istft, stft
from fgsep_jax.models.mask_blstm import MaskBLSTM, multiply_accumulates
from fgsep_jax.pcm import to_float


class ForegroundTask:
    """STFT -> mel features -> BLSTM mask -> STFT mask -> the two sources, in this order:
    foreground, background. Models M1, M1+, M2 and M2+ of paper 1."""

    source_names = ('foreground', 'background')

    def __init__(self, config):
        model = config.model.to_dict()
        self._features, self._normalization = config.features, config.loss.normalization
        self._sample_rate = config.data.sample_rate
        self._stft = dict(window=self._features.window, hop=self._features.hop)
        self._matrix_FM = mel_lib.mel_matrix(
            sample_rate=self._sample_rate,
            window=self._features.window,
            bands=self._features.bands,
            low=self._features.low,
            high=self._features.high or None,
            scale=self._features.mel_scale,
        )
        self.model: Any = MaskBLSTM(bands=self._features.bands, **model)

    def init(self, rng):
        """Returns the initial parameters; they depend on no signal length."""
        silence_BKM = jnp.zeros((1, 2, self._features.bands))
        adaptation_BAM = silence_BKM if self.model.auxiliary else None
        return self.model.init(rng, silence_BKM, adaptation_BAM=adaptation_BAM)['params']

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
        mask_BKF = mel_lib.mask_to_linear(mask_BKM, self._matrix_FM)
        pair_BSKF = jnp.stack(mel_lib.apply_mask(spectrum_BKF, mask_BKF), axis=1)
        return self._signal(
            pair_BSKF, mixture_BT.shape[-1], None if valid_BK is None else valid_BK[:, None]
        )

    def mask(self, params, mixture_BT, length_B=None, adaptation_BT=None):
        """Returns the foreground's share of each bin of the STFT, mask_BKF; arguments as in
        `base.Task.separate`."""
        spectrum_BKF = stft(mixture_BT, **self._stft)
        mask_BKM, _ = self._mask(params, self._mel(spectrum_BKF), length_B, adaptation_BT)
        return mel_lib.mask_to_linear(mask_BKM, self._matrix_FM)

    def masked(self, mask_BKF, signal_BT, length_B=None):
        """Returns what a `mask` lets through of a signal, e.g. of one of a recording's channels."""
        spectrum_BKF, _ = mel_lib.apply_mask(stft(signal_BT, **self._stft), mask_BKF)
        valid_BK = self._frames(spectrum_BKF.shape[1], length_B)
        return self._signal(spectrum_BKF, signal_BT.shape[-1], valid_BK)

    def _signal(self, spectrum_KF, length, valid_K):
        return istft(spectrum_KF, length=length, **self._stft, valid_K=valid_K)

    def probe(self, params, mixture_BT):
        """Returns {}: nothing in the model is gated; see `base.Task`."""
        del params, mixture_BT
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
        count alike. 'mel_snr' is ||F_mel||^2 over the equation in dB, nan without foreground. See
        `base.Task` for arguments and returns.
        """
        del rng
        source_BST = to_float(batch['source_BST'])
        length_B = batch.get('length_B')
        adaptation_BT = to_float(batch.get('adaptation_BT'))
        signals = [source_BST.sum(axis=1), source_BST[:, 0]]
        if self._normalization == 'energy':
            signals.append(source_BST[:, 1])
        mel_BSKM = mel_lib.mel_of_signal(jnp.stack(signals, axis=1), self._matrix_FM, **self._stft)
        mixture_BKM, foreground_BKM, *background_BKM = jnp.moveaxis(mel_BSKM, 1, 0)
        mask_BKM, valid_BK = self._mask(params, mixture_BKM, length_B, adaptation_BT)
        if valid_BK is None:
            valid_BK = jnp.ones(mask_BKM.shape[:2], bool)
        error_B = _energy(mask_BKM * mixture_BKM - foreground_BKM, valid_BK)
        foreground_B = _energy(foreground_BKM, valid_BK)
        normalizer_B = {
            'sum': jnp.ones_like(error_B),
            'frame': valid_BK.sum(axis=1),
            'mean': valid_BK.sum(axis=1) * self._features.bands,
            'energy': sum((_energy(m, valid_BK) for m in background_BKM), foreground_B) + 1e-8,
        }[self._normalization]
        mel_snr_B = 10 * jnp.log10((foreground_B + 1e-8) / (error_B + 1e-8))
        return error_B / normalizer_B, {'mel_snr': jnp.where(foreground_B > 0, mel_snr_B, jnp.nan)}

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
        feature_BKM = pcen(
            mel_BKM,
            smoothing=settings.pcen_smoothing,
            eps=settings.pcen_eps,
            gain=settings.pcen_gain,
            bias=settings.pcen_bias,
            power=settings.pcen_power,
            start=settings.pcen_start,
        )
        return (feature_BKM - settings.pcen_shift) / settings.pcen_scale


def _energy(value_BKM, valid_BK):
    return (jnp.square(value_BKM) * valid_BK[:, :, None]).sum(axis=(1, 2))
