"""Speech separation in the waveform domain with permutation-invariant training (paper 2)."""

from typing import Any

import jax.numpy as jnp

from fgsep_jax.dsp.oracle import ideal_ratio_mask
from fgsep_jax.losses.pit import pit_of, reorder
from fgsep_jax.losses.si_snr import si_snr, snr
from fgsep_jax.losses.spectral import power_law
from fgsep_jax.models.conv_tasnet import conv_tasnet, multiply_accumulates
from fgsep_jax.pcm import to_float
from fgsep_jax.tasks.base import sounding


class SpeechTask:
    """Conv-TasNet and its deep variants under SI-SNR with PIT, equation 4 of paper 2."""

    source_names = ()

    def __init__(self, config):
        model = config.model.to_dict()
        dilated, layers = model.pop('dilated'), model['layers']
        dilations = tuple(2**i if dilated else 1 for i in range(layers - 1))
        self.model: Any = conv_tasnet(sources=config.data.sources, dilations=dilations, **model)
        self._loss, self._sample_rate = config.loss, config.data.sample_rate
        self._sources = config.data.sources

    def init(self, rng):
        """Returns the initial parameters; they depend on no signal length."""
        return self.model.init(rng, jnp.zeros((1, 4000)))['params']

    def multiply_accumulates(self):
        """Returns how many a second of audio takes to separate."""
        return multiply_accumulates(self.model, sample_rate=self._sample_rate)

    def separate(self, params, mixture_BT, length_B=None, adaptation_BT=None):
        """Returns estimate_BST; see `base.Task`."""
        del adaptation_BT
        return self.model.apply({'params': params}, mixture_BT, length_B)

    def probe(self, params, mixture_BT):
        """Returns the gate of a gated encoder's first deep layer; see `base.Task`."""
        encoder = self.model.encoder
        if not encoder.dilations or encoder.activation != 'glu':
            return {}
        _, sown = encoder.apply(
            {'params': params['encoder']}, mixture_BT, mutable=['intermediates']
        )
        return {'gate_BKN': sown['intermediates']['layer_1']['gate'][0]}

    def scored(self, batch):
        """Returns where all sources that are estimated sound [B]: no ratio to silence has a
        value."""
        return sounding(batch)[:, : self._sources].all(axis=1)

    def oracles(self):
        """The ideal ratio mask on a Hann STFT of 32 ms at 8 kHz."""

        def mask(source_BST, length_B=None):
            estimate_BST = ideal_ratio_mask(source_BST, length_B, window=256, hop=64)
            return estimate_BST[:, : self._sources]

        return {'ideal_ratio_mask': mask}

    def loss(self, params, batch, rng):
        """Negative SI-SNR [dB] under the best permutation, plus beta times the power-law term.

        The permutation is the one that SI-SNR chooses; the power-law term is then added for
        that assignment. See `base.Task` for arguments and returns.
        """
        del rng
        source_BST = to_float(batch['source_BST'])
        reference_BRT = source_BST[:, : self._sources]  # what follows is noise
        length_B = batch.get('length_B')
        valid_BT = None
        if length_B is not None:
            samples_T = jnp.arange(source_BST.shape[-1])
            valid_BT = samples_T[None, :] < length_B[:, None]
        estimate_BET = self.separate(params, source_BST.sum(axis=1), length_B)

        settings = self._loss
        measure = {'si_snr': si_snr, 'snr': snr}[settings.name]
        loss_B, permutation_BS = pit_of(
            measure, estimate_BET, reference_BRT, valid=valid_BT, eps=settings.eps
        )
        values = {settings.name: -loss_B}
        if settings.power_law_weight:
            term_BS = power_law(
                reorder(estimate_BET, permutation_BS),
                reference_BRT,
                valid=None if valid_BT is None else valid_BT[:, None, :],
                alpha=settings.power_law_exponent,
                window=settings.power_law_window,
                hop=settings.power_law_hop,
                reduction=settings.power_law_reduction,
            )
            values['power_law'] = term_BS.mean(axis=1)
            loss_B = loss_B + settings.power_law_weight * values['power_law']
        return loss_B, values
