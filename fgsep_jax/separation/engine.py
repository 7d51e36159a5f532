"""Separates one recording of any length, in constant memory: windows, order, level, blocks.

The recording is decoded as often as it is needed and never held. It is brought to a peak of 0.9,
as training mixtures have it, so that one at -100 dB is separated like any other; cut into windows
of one shape; what comes out is put into order, joined by cross-fades, and scaled once for the whole
file. Estimates wait in a tape, a temporary file where they are many.
"""

from collections.abc import Callable, Iterable, Iterator
import dataclasses
import math
import numbers
import tempfile
import weakref

import numpy as np

from fgsep_jax import files
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.data.resample import plain
from fgsep_jax.separation import windows
from fgsep_jax.separation.order import MARGIN, Order, channels_in_order
from fgsep_jax.separation.recording import LOUDEST, Puller, length_at, resampled, too_loud

PEAK = 0.9  # that a recording is brought to before the network sees it
FAINTEST = 1e-30  # peak from which on float32 has room for the gain and back
IN_MEMORY = 64 << 20  # bytes of a tape, before it becomes a file
_LARGEST = 1e37  # scale that float32 holds
PADDED = 30.0  # seconds of the longest window that shorter recordings are filled up to
FILLED = 4096  # windows of the largest batch that is filled up: more are as many as there are
QUIET_STEP = 0.25  # seconds between the stretches that are compared for the quietest


@dataclasses.dataclass(frozen=True)
class How:
    """How recordings are cut and joined.

    Attributes:
      segment: length of a window in seconds; 0: the whole recording as one.
      overlap: of two windows, in seconds, at most half of one; None: half.
      channels: 'each', 'mean', or the number of one, from 1 on.
      batch: windows that the network gets at once.
      rate: of the results in hertz; 0: the recording's.
      statistics: of global norms, each 'window's own or those of the whole 'file', see `whole`.
    """

    segment: float = 8.0
    overlap: float | None = None
    channels: str | int = 'mean'
    batch: int = 1
    rate: float = 0
    statistics: str = 'window'

    def __post_init__(self):
        for name, value in vars(self).items():
            if _is_number(value):
                object.__setattr__(self, name, plain(value))
        if self.overlap is None and _is_number(self.segment):
            object.__setattr__(self, 'overlap', self.segment / 2)
        _check(self)


def _is_number(value, kind=numbers.Real):
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_word(value, *words):
    return isinstance(value, str) and value in words


LONGEST = 1e9  # seconds that anything can take
_CHANNELS = "'each', 'mean' or the number of one, from 1 on"
SECONDS = 'a number of seconds from 0 to 1e9'


def is_seconds(value) -> bool:
    """Whether a value is one of `SECONDS`."""
    return _is_number(value) and 0 <= plain(value) <= LONGEST


def is_stretch(start=None, stop=None, *more) -> bool:
    """Whether values are the start and the stop of a stretch, in seconds."""
    return not more and is_seconds(start) and is_seconds(stop) and start < stop


RATES = 'a number of hertz from 1,000 to 768,000'


def is_rate(value) -> bool:
    """Whether a value is one of `RATES`."""
    return _is_number(value) and 1000 <= plain(value) <= 768_000


def checked_rate(name: str, value) -> float:
    """A rate as Python's number; raises ValueError where the argument of that name is none."""
    if not is_rate(value):
        raise ValueError(f'{name} = {value!r}: must be {RATES}')
    return plain(value)


def checked_span(start: float, seconds: float) -> tuple[float, float]:
    """Both as Python's numbers; raises ValueError where they cut no part out of a recording."""
    for name, value in (('start', start), ('seconds', seconds)):
        if not is_seconds(value):
            raise ValueError(f'{name} = {value!r}: must be {SECONDS}')
    return plain(start), plain(seconds)


def _check(how: How) -> None:
    """Raises ValueError where recordings cannot be cut so."""

    def need(name, rule, must):
        if not rule:
            raise ValueError(f'{name} = {getattr(how, name)!r}: must be {must}')

    number = _is_number(how.channels, numbers.Integral) and how.channels >= 1
    need('channels', number or _is_word(how.channels, 'each', 'mean'), _CHANNELS)
    for name in ('segment', 'overlap'):
        need(name, is_seconds(getattr(how, name)), SECONDS)
    need('segment', not how.segment or how.segment >= 0.1, '0, or 0.1 s at least')
    half = how.segment / 2
    need('overlap', how.overlap <= half, f'half of the segment at most, {half:g} s')
    if how.rate != 0 or isinstance(how.rate, bool):
        checked_rate('rate', how.rate)
    need('statistics', _is_word(how.statistics, 'window', 'file'), "'window' or 'file'")
    whole = _is_number(how.batch, numbers.Integral) and how.batch >= 1
    need('batch', whole, 'a whole number, 1 or more')


def windows_in(seconds: float, how: How) -> int:
    """Windows that a recording of so many seconds is cut into, to one or so."""
    if not how.segment:
        return 1
    return 1 + math.ceil(max(seconds - how.segment, 0) / (how.segment - how.overlap))


@dataclasses.dataclass
class Separated:
    """What one recording came to.

    Attributes:
      rate: of the results in hertz.
      samples: of each.
      channels: of each.
      seconds: of the recording.
      low_margin_seconds: in which the order of the sources was decided by little; nan where a model
        has an order.
      background: (start, stop) in seconds of what the auxiliary network was given, or None: it is
        none, or what it was given another recording is.
      blocks: a function that gives float32 [samples, sources, channels] from the start to the end,
        as often as it is called.
      mixture: the same of what was separated, [samples, channels], at `rate`.
    """

    rate: float
    samples: int
    channels: int
    seconds: float
    low_margin_seconds: float
    background: tuple[float, float] | None
    blocks: Callable[[], Iterator[np.ndarray]]
    mixture: Callable[[], Iterator[np.ndarray]]


class Tape:
    """Arrays of one shape after another, in memory or a temporary file.

    Args:
      folder: where the file goes; the system's if empty.
      arrays: the first ones.
    """

    def __init__(self, folder: str = '', arrays: Iterable[np.ndarray] = ()):
        self._folder = folder or tempfile.gettempdir()
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=self._folder)
        weakref.finalize(self, self._file.close)
        self._shapes = []
        for array in arrays:
            self.add(array)

    def add(self, array: np.ndarray) -> None:
        """Writes one more."""
        self._shapes.append(array.shape)
        with files.located(self._folder):
            self._file.write(np.ascontiguousarray(array, np.float32).tobytes())

    def __iter__(self) -> Iterator[np.ndarray]:
        at = 0
        for shape in self._shapes:
            self._file.seek(at)
            data = self._file.read(4 * math.prod(shape))
            at += len(data)
            yield np.frombuffer(data, np.float32).reshape(shape)


@dataclasses.dataclass(frozen=True)
class _Scan:
    samples: int
    peak: float
    quiet: float  # where the quietest stretch begins, in seconds


def scan(recording, *, channels, quiet_seconds: float = 0.0) -> _Scan:
    """Decodes a recording once: its length, its peak, where it is quietest.

    Args:
      recording: see `recording`.
      channels: as in `How`.
      quiet_seconds: length of the stretch to find; digital silence is none.

    Raises:
      BadInput: it is empty, or not finite.
    """
    samples, peak, powers = 0, 0.0, []
    step = max(round(QUIET_STEP * recording.rate), 1)
    for block_TC in chosen(recording.blocks(), channels):
        low, high = float(block_TC.min()), float(block_TC.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            at = samples + int(np.argmax(~np.isfinite(block_TC).all(axis=1)))
            raise BadInput('not finite', f'nan or inf at {at / recording.rate:.2f} s')
        peak = max(peak, -low, high)
        if quiet_seconds:
            power_T = np.square(block_TC, dtype=np.float64).sum(axis=1)
            bins = (samples + np.arange(len(power_T))) // step
            powers += [0.0] * (int(bins[-1]) + 1 - len(powers))
            for at, power in zip(*_sums(bins, power_T)):
                powers[at] += power
        samples += len(block_TC)
    if not samples:
        start = getattr(recording, 'start', 0.0)
        raise empty(start)
    if peak > LOUDEST:
        raise too_loud(peak)
    quiet = 0.0
    if quiet_seconds:
        width = max(min(round(quiet_seconds / QUIET_STEP), samples // step), 1)
        sum_P = np.convolve(powers[: max(samples // step, 1)], np.ones(width), 'valid')
        sum_P = np.where(sum_P > 1e-12 * max(sum_P.max(), 1e-30), sum_P, np.inf)
        quiet = int(np.argmin(sum_P)) * step / recording.rate
    return _Scan(samples, peak, quiet)


def _sums(bins, values):
    first = np.concatenate([[0], np.flatnonzero(np.diff(bins)) + 1])
    return bins[first].tolist(), np.add.reduceat(values, first).tolist()


def empty(start: float) -> BadInput:
    """What is wrong with a recording that has nothing from `start` seconds on."""
    return BadInput('empty', f'it ends before {start:g} s' if start else 'no samples')


def check_channel(channel: int, count: int) -> None:
    """Raises BadInput where there is no such channel; the first is 1."""
    if channel > count:
        raise BadInput('too few channels', f'{count}; channels={channel}')


def chosen(blocks, channels) -> Iterator[np.ndarray]:
    """The channels that are separated: 'each', their 'mean', or one by its number from 1 on."""
    for block_TC in blocks:
        if channels == 'mean':
            block_TC = block_TC.mean(axis=1, keepdims=True)
        elif channels != 'each':
            check_channel(channels, block_TC.shape[1])
            block_TC = block_TC[:, channels - 1 : channels]
        yield block_TC


def separate(
    network, recording, how: How, *, background=None, stretch=None, folder='', progress=None
):
    """Separates one recording.

    Args:
      network: a `model.Network`.
      recording: with `rate`, `channels` and `blocks()`.
      how: see `How`.
      background: recording that holds background alone, for a model with an auxiliary network;
        None: this one.
      stretch: (start, stop) in seconds of where, of which its first `adaptation_seconds` are heard;
        None: the start of another, the quietest of this one.
      folder: where temporary files go.
      progress: called with seconds of audio done.

    Returns:
      A Separated.

    Raises:
      BadInput: it cannot be read, is empty or not finite.
    """
    adaptation = network.adaptation_seconds
    about = scan(recording, channels=how.channels, quiet_seconds=adaptation)
    rate, out_rate = network.sample_rate, how.rate or recording.rate
    gain = PEAK / about.peak if about.peak > FAINTEST else 1.0
    samples = length_at(about.samples, recording.rate, rate)
    out_samples = length_at(about.samples, recording.rate, out_rate)
    channels = recording.channels if how.channels == 'each' else 1

    def mixture(at_rate, count):
        blocks = chosen(recording.blocks(), how.channels)
        return resampled(blocks, recording.rate, at_rate, samples=count)

    adaptation_T, span = None, None
    if adaptation:
        least = 0.0 if background is None and stretch is None else network.least_seconds
        if background is None:
            stretch = stretch or (about.quiet, about.quiet + adaptation)
            background = recording
        heard_T, span = heard(background, stretch, adaptation, how.channels, least=least)
        length = length_at(len(heard_T), background.rate, rate)
        heard_T1 = [*resampled(iter([heard_T[:, None]]), background.rate, rate, samples=length)]
        adaptation_T = np.resize(np.concatenate(heard_T1)[:, 0], round(adaptation * rate))
        adaptation_T = adaptation_T * np.float32(gain)

    window, low_margin = round(how.segment * rate) or samples, math.nan
    if fitted := window > PADDED * rate:  # to fill it up would cost more than to compile anew
        window = min(window, samples)
    if how.statistics == 'file':
        joined = network.whole.separate(
            lambda: mixture(rate, samples),
            samples=samples,
            channels=channels,
            window=window,
            gain=gain,
            folder=folder,
            progress=progress and (lambda share: progress(share * samples / rate)),
        )
        if channels > 1 and not network.ordered:
            joined = channels_in_order(Tape(folder, joined))
    else:
        overlap = min(round(how.overlap * rate), window // 2) if window < samples else 0
        starts = windows.positions(samples, window, max(window - overlap, 1))
        cut = windows.cut(mixture(rate, samples), starts, window)
        batch = min(how.batch, len(starts)) if fitted or how.batch > FILLED else how.batch
        made = network.run(cut, window=window, batch=batch, gain=gain, adaptation_T=adaptation_T)
        made = _counted(made, starts, samples, rate, progress)
        if not network.ordered:
            made, low_margin = _in_order(made, starts, rate, folder)
        joined = windows.joined(made, starts, samples=samples, overlap=overlap)
    tape, level = Tape(folder), None
    if not network.rest:  # a mask leaves the level as it is, a waveform model has one of its own
        level, aligned = Level(network.outputs), Puller(mixture(rate, samples))
    for block_SCT in joined:
        if level:
            level.add(block_SCT, aligned.take(block_SCT.shape[-1]))
        tape.add(block_SCT)
    scale_S = level.scale_S() if level else np.full(network.outputs, 1 / gain, np.float32)

    def blocks():
        flat = (
            (block_SCT * scale_S[:, None, None]).reshape(-1, block_SCT.shape[-1]).T
            for block_SCT in tape
        )
        inputs = Puller(mixture(out_rate, out_samples)) if network.rest else None
        for block in resampled(flat, rate, out_rate, samples=out_samples):
            block_TSC = block.reshape(len(block), network.outputs, channels)
            if inputs is not None:  # so that the parts sum to the recording at any rate
                rest_TC = inputs.take(len(block)) - block_TSC.sum(axis=1)
                block_TSC = np.concatenate([block_TSC, rest_TC[:, None]], axis=1)
            yield block_TSC

    return Separated(
        rate=out_rate,
        samples=out_samples,
        channels=channels,
        seconds=about.samples / recording.rate,
        low_margin_seconds=low_margin,
        background=stretch and span,
        blocks=blocks,
        mixture=lambda: mixture(out_rate, out_samples),
    )


def _in_order(made, starts, rate, folder):
    """Estimates of windows in one order of sources, and the seconds decided by little."""
    raw, order = Tape(folder), Order(rate)
    for index, estimate_SCW in enumerate(made):
        order.add(estimate_SCW, starts[index] - starts[max(index - 1, 0)])
        raw.add(estimate_SCW)
    order_WS, margin_W = order.path()
    low = sum(b - a for a, b, m in zip(starts, starts[1:], margin_W) if m < MARGIN) / rate
    return (estimate_SCW[order_S] for estimate_SCW, order_S in zip(raw, order_WS)), float(low)


def _counted(made, starts, samples, rate, progress):
    """Hands on, and tells how far the windows have come."""
    for index, estimate_SCW in enumerate(made):
        if progress is not None:
            after = starts[index + 1] if index + 1 < len(starts) else samples
            progress((after - starts[index]) / rate)
        yield estimate_SCW


def heard(
    recording, stretch, seconds: float, channels='mean', *, least: float = 0.0
) -> tuple[np.ndarray, tuple]:
    """What an auxiliary network hears of a recording.

    Args:
      recording: with background alone, at `stretch` at least.
      stretch: (start, stop) in seconds; None: from the start on.
      seconds: that are heard of it at most.
      channels: as in `How`; the mean of 'each', and of a recording that has no such channel.
      least: seconds that there must be, and of which something must sound; 0: whatever there is.

    Returns:
      (float32 [samples] at the recording's rate, their (start, stop) in seconds).

    Raises:
      BadInput: there is nothing, or less than that, or it is not finite.
    """
    start, asked = stretch or (0.0, seconds)
    stop = min(asked, start + seconds)
    first, last = (round(at * recording.rate) for at in (start, stop))
    if channels == 'each' or (channels != 'mean' and channels > recording.channels):
        channels = 'mean'
    parts, at = [], 0
    for block_TC in chosen(recording.blocks(), channels):
        parts.append(block_TC[max(first - at, 0) : max(last - at, 0), 0])
        at += len(block_TC)
        if at >= last:
            break
    heard_T, end = np.concatenate([*parts, np.zeros(0, np.float32)]), at / recording.rate
    if not len(heard_T):
        raise BadInput('too short', f'no background in {start:g}-{asked:g} s: it has {end:g} s')
    if not np.isfinite(heard_T).all():
        raise BadInput('not finite', 'nan or inf in the background')
    if len(heard_T) < round(least * recording.rate):
        found = f'{len(heard_T) / recording.rate:g} s of background'
        needs = f'the model needs {least:g} s at least, and was trained with {seconds:g} s'
        raise BadInput('too short', f'{found}: {needs}')
    if least and not heard_T.any():
        span = f'{start:g}-{min(stop, end):g} s'
        raise BadInput('silent', f'nothing sounds in {span} of the background')
    return heard_T, (start, min(stop, end))


def little(heard_seconds: float, seconds: float) -> str:
    """A sentence where an auxiliary network heard less than half of the `seconds` that its model
    was trained with; else ''."""
    if heard_seconds >= seconds / 2:
        return ''
    trained = f'the model was trained with {seconds:g} s'
    return f'only {heard_seconds:g} s of background are heard; {trained}'


class Level:
    """The scale of each source with which together they come nearest the mixture.

    SI-SNR leaves scale and sign free. Least squares over the whole recording, gathered block by
    block; sources that cannot be told apart share what they have in common.
    """

    def __init__(self, sources: int):
        self._gram_SS, self._with_mixture_S = np.zeros((sources, sources)), np.zeros(sources)

    def add(self, estimate_SCT: np.ndarray, mixture_TC: np.ndarray) -> None:
        """Takes a block of estimates and the mixture that they belong to."""
        flat_ST = estimate_SCT.reshape(len(estimate_SCT), -1).astype(np.float64)
        self._gram_SS += flat_ST @ flat_ST.T
        self._with_mixture_S += flat_ST @ mixture_TC.T.reshape(-1).astype(np.float64)

    def scale_S(self) -> np.ndarray:
        """The scales [sources]; 0 of a silent one."""
        norm_S = np.sqrt(np.diagonal(self._gram_SS))
        inverse_S = np.divide(1.0, norm_S, out=np.zeros_like(norm_S), where=norm_S > 0)
        correlation_SS = self._gram_SS * inverse_S[:, None] * inverse_S[None]
        target_S = self._with_mixture_S * inverse_S
        scale_S, *_ = np.linalg.lstsq(correlation_SS, target_S, rcond=1e-6)
        return np.clip(scale_S * inverse_S, -_LARGEST, _LARGEST).astype(np.float32)
