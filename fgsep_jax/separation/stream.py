"""Separates a signal while it comes: causal models, block by block, one window of latency."""

import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax.models.encoders import Encoder, frame_count
from fgsep_jax.models.tcn import TCN
from fgsep_jax.separation import engine, windows
from fgsep_jax.separation.recording import LOUDEST, Resampler, floats, length_at

# Samples of the lower rate that soxr's two streams hold back at most: 2,576 were measured, of
# models of 8 to 44.1 kHz and signals of 1 to 768 kHz.
RESAMPLING = 2600
CHUNKS = (256, 16, 1)  # frames that are computed at once; each size is compiled once


class Stream:
    """A signal that is separated as it comes, in constant memory and time a block.

    All that is given back is what the model makes of the whole signal, however it was cut. The
    scale is the model's own: what it would be over the whole is not known before its end.

    Args:
      separator: a `Separator` of a causal model.
      rate: of the signal in hertz; another than the model's adds the latency of two resamplers.

    Attributes:
      latency: seconds from a sample to its estimate at most: one window, and what two resamplers
        hold back where the rate is not the model's.

    Raises:
      ValueError: the model sees ahead, is of parts that do not say what they have to remember from
        block to block, or the rate is none.
    """

    def __init__(self, separator, rate):
        rate = engine.checked_rate('rate', rate)
        model = getattr(separator.task, 'model', None)
        if not getattr(separator.config.model, 'causal', False):
            raise ValueError(
                f'{separator.name} sees ahead and cannot separate a signal while it comes: train'
                ' one with model.causal=True (configs/convtasnet_causal.py)'
            )
        own = isinstance(model.encoder, Encoder) and isinstance(model.separator, TCN)
        if not own:
            parts = f'{type(model.encoder).__name__}, {type(model.separator).__name__}'
            raise ValueError(
                f'{separator.name} cannot separate a signal while it comes: only the encoders and'
                f' the TCN of this package remember what was before a block, and it is of {parts}'
            )
        self._model, self._params, self._names = model, separator.parameters, separator.sources
        encoder = model.encoder
        self._how = model.framing
        self._rate, self._own_rate = rate, separator.sample_rate
        self._left = 0 if encoder.framing == 'plain' else encoder.stride
        self.latency = encoder.window / separator.sample_rate
        if rate != separator.sample_rate:
            self.latency += RESAMPLING / min(rate, separator.sample_rate)
        self._offset = float(self._params['decoder']['bias']) if model.decoder.offset else 0.0
        self._step = jax.jit(self._separate)
        zero_1KW = jnp.zeros((1, 1, encoder.window), jnp.float32)
        _, shapes = jax.eval_shape(
            lambda params: model.apply(
                {'params': params}, zero_1KW, method='separate_frames', mutable=['stream']
            ),
            self._params,
        )
        self._blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        self._begin()

    def _separate(self, params, state, frame_1KW):
        return self._model.apply(
            {'params': params, **state}, frame_1KW, method='separate_frames', mutable=['stream']
        )

    def _begin(self):
        sources, window, stride = len(self._names), self._how['window'], self._how['stride']
        self._state = self._blank
        self._pending_T = np.zeros(self._left, np.float32)  # samples of frames to come
        self._sum_ST = np.zeros((sources, window - stride), np.float32)  # of frames that overlap
        self._frames = 0
        self._taken = self._given = 0  # samples in and out, at the model's rate
        self._raw_taken = self._raw_given = 0  # the same at the signal's
        self._resamplers = None
        if self._rate != self._own_rate:
            pair = (self._rate, self._own_rate)
            self._resamplers = Resampler(*pair, 1), Resampler(*pair[::-1], sources)

    def push(self, samples):
        """Takes the next samples.

        Args:
          samples: [T], floats in [-1, 1], of any length.

        Returns:
          {source: float32 [t]}: the estimates that are complete by now, of all samples so far but
          the last `latency`.

        Raises:
          ValueError: they are no finite floats [T]; the stream is as before.
        """
        samples_T = floats('samples', samples, ['[T]'])
        good_T = np.abs(samples_T) <= np.float64(LOUDEST)
        if not good_T.all():
            at = (self._raw_taken + int(np.argmin(good_T))) / self._rate
            raise ValueError(
                f'not finite, or too loud: {samples_T[np.argmin(good_T)]} at {at:.2f} s'
            )
        samples_T = samples_T.astype(np.float32)
        self._raw_taken += len(samples_T)
        if self._resamplers:
            samples_T = self._resamplers[0].take(samples_T[:, None])[:, 0]
        self._taken += len(samples_T)
        return self._back(self._advance(samples_T))

    def flush(self):
        """The estimates of what is left, so that all are as long as the signal; begins anew."""
        made = [np.zeros((len(self._names), 0), np.float32)]
        if self._resamplers:
            rest_T = self._resamplers[0].take(np.zeros((0, 1), np.float32), last=True)[:, 0]
            whole = length_at(self._raw_taken, self._rate, self._own_rate)
            rest_T = _of_length(rest_T[None], whole - self._taken)[0]
            self._taken += len(rest_T)
            made.append(self._advance(rest_T))
        if self._taken:
            window, stride = self._how['window'], self._how['stride']
            frames = int(frame_count(self._taken, **self._how)) - self._frames
            if frames:
                missing = (frames - 1) * stride + window - len(self._pending_T)
                made.append(self._advance(np.zeros(max(missing, 0), np.float32)))
            made.append(self._sum_ST + np.float32(self._offset))
        estimate_ST = np.concatenate(made, axis=1)
        given = self._given - sum(part.shape[1] for part in made[1:-1])
        estimates = self._back(_of_length(estimate_ST, self._taken - given), last=True)
        self._begin()
        return estimates

    def _back(self, estimate_ST, last=False):
        """Estimates at the signal's rate, by name; the `last` ones make them as long as it."""
        if self._resamplers:
            estimate_ST = self._resamplers[1].take(estimate_ST.T, last=last).T
            if last:
                estimate_ST = _of_length(estimate_ST, self._raw_taken - self._raw_given)
            self._raw_given += estimate_ST.shape[1]
        return dict(zip(self._names, estimate_ST))

    def _advance(self, samples_T):
        """Takes samples at the model's rate; gives the estimates that are complete [S, t]."""
        window, stride = self._how['window'], self._how['stride']
        self._pending_T = np.concatenate([self._pending_T, samples_T])
        made = [np.zeros((len(self._names), 0), np.float32)]
        for chunk in CHUNKS:
            while len(self._pending_T) >= window + (chunk - 1) * stride:
                made.append(self._chunk(chunk))
        estimate_ST = np.concatenate(made, axis=1)
        self._given += estimate_ST.shape[1]
        return estimate_ST

    def _chunk(self, frames):
        """Separates the next frames; gives the samples that no later frame will add to [S, t]."""
        window, stride = self._how['window'], self._how['stride']
        view_KW = np.lib.stride_tricks.sliding_window_view(self._pending_T, window)
        frame_1KW = np.ascontiguousarray(view_KW[: (frames - 1) * stride + 1 : stride])[None]
        made, self._state = self._step(self._params, self._state, frame_1KW)
        made_SKW = np.asarray(made)[0]
        self._pending_T = self._pending_T[frames * stride :]
        sum_ST, self._sum_ST = windows.added(made_SKW, self._sum_ST, stride)
        dropped = min(max(self._left - self._frames * stride, 0), frames * stride)  # the padding
        self._frames += frames
        return sum_ST[:, dropped:] + np.float32(self._offset)


def _of_length(signal_ST, samples):
    """Cut, or filled up with zeros."""
    return np.pad(signal_ST[:, :samples], ((0, 0), (0, max(samples - signal_ST.shape[1], 0))))
