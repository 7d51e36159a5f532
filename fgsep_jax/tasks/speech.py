"""Speech separation in the waveform domain with permutation-invariant training (paper 2)."""

import functools
import inspect
from typing import Any

import jax.numpy as jnp

from fgsep_jax import registry
from fgsep_jax.config import segment_samples
from fgsep_jax.dsp.oracle import ideal_ratio_mask
from fgsep_jax.losses.pit import pit_of, reorder
from fgsep_jax.losses.si_snr import LOSSES
from fgsep_jax.losses.spectral import check, power_law
from fgsep_jax.models.conv_tasnet import conv_tasnet, multiply_accumulates
from fgsep_jax.pcm import to_float
from fgsep_jax.rules import ConfigError, RuleError, Rules, section
from fgsep_jax.tasks.base import sounding

POWER_LAW = ('weight', 'exponent', 'window', 'hop', 'reduction')  # keys of `loss`, with power_law_


class SpeechTask:
    """Conv-TasNet and its deep variants under SI-SNR with PIT, equation 4 of paper 2."""

    source_names = ()

    def __init__(self, config):
        problems: list[tuple[str, str]] = []
        model, loss = config.model.to_dict(), config.loss.to_dict()
        with section('model.', problems):
            sources = max(config.data.sources, 1)  # fewer are refused of the data
            self.model: Any = conv_tasnet(sources=sources, **model)
        with section('loss.', problems):
            self._loss, self._clip, self._weight, self._power_law = _measures(loss)
        if problems:
            raise RuleError(problems)
        self._sample_rate, self._sources = config.data.sample_rate, config.data.sources

    @functools.cached_property
    def _measure(self):
        """What training makes large; nothing else needs it, and may be without its file.

        Raises:
          RuleError: it is not there, or cannot be asked.
        """
        problems: list[tuple[str, str]] = []
        name, given = self._loss['name'], {}
        with section('loss.', problems):
            takes = inspect.signature(registry.find(LOSSES, name)).parameters
            if 'valid' not in takes:
                text = f' = {name!r}: must take `valid`, which is False where a sample is padding'
                raise RuleError([('name', text)])
            if 'sample_rate' in takes:
                given = {'sample_rate': self._sample_rate}
            measure = functools.partial(registry.bind(LOSSES, self._loss), **given)
        if problems:
            raise RuleError(problems)

        def measured(estimate, reference, *, valid):
            try:
                value = measure(estimate, reference, valid=valid)
            except RuleError as error:
                own = [(f'loss.{key}', text) for key, text in error.problems]
                raise RuleError(own) from error
            if jnp.shape(value) != estimate.shape[:-1]:
                raise ConfigError(
                    f'loss {name} gave {jnp.shape(value)} of signals {estimate.shape}: must be'
                    f' {estimate.shape[:-1]}, a number each'
                )
            return value

        return measured

    def init(self, rng):
        """Returns the initial parameters; they depend on no signal length."""
        return self.model.init(rng, jnp.zeros((1, 4000)))['params']

    def check_data(self, config):
        """Raises RuleError where the section `data` does not suit the model."""
        data, encoder = config.data, self.model.encoder
        rules = Rules(data)
        rules.rule(
            data.adaptation_seconds == 0,
            'adaptation_seconds',
            'must be 0: Conv-TasNet has no auxiliary network',
        )
        window, stride = encoder.window, encoder.stride
        # Others are refused as such.
        if data.sample_rate > 0 and 0 < data.segment_seconds <= 86_400:
            length = segment_samples(config)
            nearest = round(length / stride) * stride / data.sample_rate
            rules.rule(
                length >= window,
                'segment_seconds',
                f'gives {length} samples at {data.sample_rate} Hz, fewer than'
                f' model.encoder.window = {window}',
            )
            rules.rule(
                length % stride == 0,
                'segment_seconds',
                f'gives {length} samples, not a multiple of model.encoder.stride = {stride}; the'
                f' nearest that does: {nearest}',
            )
        rules.check()

    def multiply_accumulates(self):
        """Returns how many a second of audio takes to separate."""
        return multiply_accumulates(self.model, sample_rate=self._sample_rate)

    def separate(self, params, mixture_BT, length_B=None, adaptation_BT=None):
        """Returns estimate_BST; see `base.Task`."""
        del adaptation_BT
        return self.model.apply({'params': params}, mixture_BT, length_B)

    def probe(self, params, mixture_BT, length_B):
        """Returns the gate of a gated encoder's first deep layer; see `base.Task`."""
        valid_BK = self.model.valid_frames(length_B, mixture_BT.shape[1])
        _, sown = self.model.encoder.apply(
            {'params': params.get('encoder', {})}, mixture_BT, valid_BK, mutable=['intermediates']
        )
        layer = sown.get('intermediates', {}).get('layer_1', {})
        return {'gate_BKN': layer['gate'][0], 'valid_BK': valid_BK} if 'gate' in layer else {}

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

        loss_B, permutation_BS = pit_of(self._measure, estimate_BET, reference_BRT, valid=valid_BT)
        values = {self._loss['name']: -loss_B}
        if self._clip:
            loss_B = jnp.maximum(loss_B, self._clip)
        if self._weight:
            term_BS = power_law(
                reorder(estimate_BET, permutation_BS),
                reference_BRT,
                valid=None if valid_BT is None else valid_BT[:, None, :],
                **self._power_law,
            )
            values['power_law'] = term_BS.mean(axis=1)
            loss_B = loss_B + self._weight * values['power_law']
        return loss_B, values


def _measures(loss):
    """What a section `loss` says.

    Returns:
      (the section of the measure alone, the least that its loss may be (0: anything), weight of the
      power-law term, its keywords).
    """
    own, law = dict(loss), {}
    for key in POWER_LAW:
        law[key] = own.pop(f'power_law_{key}')
    rules = Rules(loss)
    rules.not_negative('power_law_weight')
    rules.finite('clip_db')
    rules.rule(not own.pop('clip_db') > 0, 'clip_db', 'must be below 0, or 0 for none')
    if 'eps' in own:
        rules.positive('eps')
    weight, law['alpha'] = law.pop('weight'), law.pop('exponent')
    with section('power_law_', rules.problems, alpha='exponent'):
        check(**law)
    rules.check()
    return own, loss['clip_db'], weight, law
