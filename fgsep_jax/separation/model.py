"""A trained model as something to use: `load`, and what the loaded model does with recordings."""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import inspect
import math
import os
import time
from typing import NamedTuple

import jax
import numpy as np

from fgsep_jax import buckets, config as config_lib, names
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.data.resample import plain
from fgsep_jax.interop import model_file
from fgsep_jax.models.conv_tasnet import ConvTasNet
from fgsep_jax.rules import did_you_mean
from fgsep_jax.separation import engine, writing
from fgsep_jax.separation.order import channels_in_order
from fgsep_jax.separation.recording import ArrayRecording, FileRecording, floats
from fgsep_jax.separation.whole import Whole
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, run_folder

NOT_NORMALISED = (
    'has no norms over all of a recording, or parts that cannot be computed one by one: leave it at'
    " 'window'"
)
WRITING = 0.15  # of the time that a long file takes, about


class Network:
    """A task with its parameters, compiled for windows of one shape.

    Attributes:
      sample_rate: in hertz.
      outputs: estimates that it makes.
      ordered: whether each is always the same source.
      rest: whether one more source is what the others leave of the mixture.
      adaptation_seconds: of the background that it is given; 0 for none.
      least_seconds: of which it can make something: a window of its STFT; 0 for none.
    """

    def __init__(self, task, params, config):
        self._task, self._params = task, params
        self.sample_rate = config.data.sample_rate
        self.adaptation_seconds = config.data.adaptation_seconds if task.source_names else 0.0
        window = config.features.window if self.adaptation_seconds else 0
        self.least_seconds = window / self.sample_rate
        self.rest = bool(task.source_names)
        self.ordered = bool(task.source_names) or config.data.sources == 1
        self.outputs = 1 if self.rest else config.data.sources

    @functools.cached_property
    def whole(self):
        """What separates by the statistics of whole recordings; None without global norms."""
        model = self._task.model
        is_one = isinstance(model, ConvTasNet) and Whole.takes(model)
        return Whole(model, self._params) if is_one else None

    @functools.cached_property
    def _separate(self):
        return jax.jit(self._task.separate)

    @functools.cached_property
    def _mask(self):
        return jax.jit(self._task.mask)

    @functools.cached_property
    def _masked(self):
        return jax.jit(self._task.masked)

    def run(self, cut, *, window, batch, gain, adaptation_T=None) -> Iterator[np.ndarray]:
        """Separates windows.

        Args:
          cut: windows [channels, samples], one after another.
          window: samples that each is padded to.
          batch: how many go together.
          gain: applied to each before.
          adaptation_T: background alone, if the model takes it.

        Yields:
          float32 [outputs, channels, samples] for each window.
        """
        waiting = []
        for window_CT in cut:
            waiting.append(window_CT * np.float32(gain))
            if len(waiting) == batch:
                yield from self._batch(waiting, window, batch, adaptation_T)
                waiting = []
        if waiting:
            yield from self._batch(waiting, window, batch, adaptation_T)

    def _batch(self, windows, window, batch, adaptation_T):
        length_B = np.ones(batch, np.int32)
        length_B[: len(windows)] = [w.shape[1] for w in windows]
        channels = len(windows[0])
        mixture_BCT = np.zeros((batch, channels, window), np.float32)
        for row, window_CT in enumerate(windows):
            mixture_BCT[row, :, : window_CT.shape[1]] = window_CT
        if all(w.shape[1] == window for w in windows):
            length_B = None  # nothing to mask, which takes a tenth of the time
        separate = functools.partial(self._separate, self._params)
        if self.rest:
            adaptation = None
            if adaptation_T is not None:
                adaptation = np.broadcast_to(adaptation_T, (batch, adaptation_T.size))
            mask_BKF = self._mask(self._params, mixture_BCT.mean(axis=1), length_B, adaptation)
            separate = functools.partial(self._masked, mask_BKF)
        made = [np.asarray(separate(mixture_BCT[:, c], length_B)) for c in range(channels)]
        estimate_BSCT = np.stack([m.reshape(batch, self.outputs, -1) for m in made], axis=2)
        for row, window_CT in enumerate(windows):
            estimate_SCT = estimate_BSCT[row, ..., : window_CT.shape[1]]
            if channels > 1 and not self.ordered:
                (estimate_SCT,) = channels_in_order([estimate_SCT])
            yield estimate_SCT


class Separator:
    """A trained model that takes recordings apart.

    Attributes:
      sources: their names, in the order of the estimates.
      sample_rate: that it was trained at, in hertz.
      config: the run's ConfigDict.
      parameters: the tree of its weights.
      step: that they were taken at.
      name: what it is called in messages and manifests.
      how: default `engine.How`.
      notes: sentences on checkpoints that were passed over.
      identity: see `About`; '' where it was not loaded from a path.
    """

    def __init__(self, config, parameters, *, step=0, name='', sources=(), notes=(), identity=''):
        self.config, self.parameters, self.step = config, parameters, step
        self.identity = identity
        self.name = name or f'{config.experiment}:{config.preset}'
        self.notes = tuple(notes)
        self.task = make_task(config)
        self.network = Network(self.task, parameters, config)
        self.sample_rate = config.data.sample_rate
        self.sources = tuple(sources) or model_file.usual_names(config)
        self.how = _default(self.network, config)

    def __reduce__(self):  # what is compiled stays behind
        names = ('step', 'name', 'sources', 'notes', 'identity')
        more = {name: getattr(self, name) for name in names}
        return functools.partial(Separator, **more), (self.config, self.parameters)

    def __repr__(self):
        return f'<Separator {self.name}: {", ".join(self.sources)} at {self.sample_rate:,} Hz>'

    def separate(self, signal, rate, *, channels='each', background=None, output_rate=0, **how):
        """Separates a signal.

        Args:
          signal: numpy or jax, [T], [channels, T] or [batch, channels, T], floats in [-1, 1].
          rate: in hertz.
          channels: 'each', or, for one channel, 'mean' or the number of one from 1 on.
          background: for a model with an auxiliary network, (start, stop) in seconds of what is
            background alone, or a signal [T] or [channels, T] of the same rate; None: the quietest
            stretch. The first seconds are heard, as many as the model was trained with.
          output_rate: of the results in hertz; 0: the signal's.
          **how: `segment`, `overlap` in seconds, `batch`; see `engine.How`.

        Returns:
          {name of the source: float32 array of the signal's shape and rate}; of one channel where
          `channels` takes one of several.

        Raises:
          ValueError: the signal is empty, not finite, or of another shape.
        """
        _check_words(self.separate, how)
        forms = ('[T]', '[channels, T]', '[batch, channels, T]')
        signal = floats('signal', signal, forms)
        if not signal.size:
            raise ValueError(f'empty: signal is {list(signal.shape)}')
        _check_axes('signal', signal)
        rate = engine.checked_rate('rate', rate)
        if output_rate != 0 or isinstance(output_rate, bool):
            engine.checked_rate('output_rate', output_rate)
        how = self._how(channels=channels, rate=output_rate, **how)
        span, background = self._background(background, _is_sound, 'finite floats [T]')
        if background is not None:
            background = np.atleast_2d(np.asarray(background))
            _check_axes('background', background)
            background = ArrayRecording(background, rate)
        batch_BCT = signal.reshape((1,) * (3 - signal.ndim) + signal.shape)
        rows = []
        for signal_CT in batch_BCT:
            recording = ArrayRecording(signal_CT, rate)
            try:
                made = self._made(recording, how, background=background, stretch=span)
            except BadInput as bad:
                raise ValueError(f'{bad.kind}: {bad.detail}') from bad
            rows.append(np.concatenate(list(made.blocks())).transpose(1, 2, 0))
        estimate_BSCT = np.stack(rows)
        return {
            name: estimate_BSCT[:, index].reshape(
                signal.shape[: -2 if signal.ndim > 1 else 0]
                + (estimate_BSCT.shape[2:] if signal.ndim > 1 else estimate_BSCT.shape[3:])
            )
            for index, name in enumerate(self.sources)
        }

    def separate_file(
        self,
        path,
        folder='.',
        *,
        outputs=None,
        form='wav',
        bits='16',
        labels=False,
        start=0.0,
        seconds=0.0,
        background=None,
        truncated=False,
        scratch='',
        progress=None,
        about_to_rename=None,
        **how,
    ):
        """Separates a file of any length and writes its parts.

        Args:
          path: of the file.
          folder: where `FILE_SOURCE.wav` go, and with `labels` `FILE_labels.txt` and
            `FILE_selections.txt`; earlier files of these names are replaced.
          outputs: {part: path} to write instead, of some sources; the part 'residual' is what the
            others leave.
          form, bits, labels, about_to_rename: see `writing.write`.
          start, seconds: the part of the recording; all from there on where `seconds` is 0.
          background: path of a recording of any rate, or (start, stop) in seconds; see `separate`.
          truncated: whether of a recording that was cut short what is there is taken.
          scratch: folder of temporary files; the system's if empty.
          progress: called with seconds of audio done.
          **how: see `engine.How`.

        Returns:
          A `writing.Written`.

        Raises:
          BadInput: whatever is wrong with the recording, or, of the kind 'background', with that.
          ValueError: an argument that cannot be.
          OSError: the parts cannot be written.
        """
        _check_words(self.separate_file, how)
        span, background = self._background(
            background, lambda value: isinstance(value, (str, os.PathLike)), 'the path of a file'
        )
        began, path = time.monotonic(), os.path.expanduser(os.fsdecode(path))
        folder, bits = os.path.expanduser(os.fsdecode(folder)), str(bits)
        if buckets.is_url(folder):
            raise ValueError(f'folder = {folder!r}: must be on this machine, not a URL')
        writing.check(form, bits)
        how = self._how(**how)
        start, seconds = engine.checked_span(start, seconds)
        if outputs is None:
            stem = os.path.join(folder, _stem(path))
            outputs = {part: f'{stem}_{names.part(part)}.{form}' for part in self.sources}
        inputs = [path, *filter(None, [background])]
        writing.check_outputs(outputs, self.sources, inputs, form)
        with _of(path), contextlib.ExitStack() as stack:
            cut = set() if truncated else None

            def opened(path, **part):
                recording = FileRecording(os.fspath(path), **part, folder=scratch, cut=cut)
                return stack.enter_context(contextlib.closing(recording))

            recording = opened(path, start=start, seconds=seconds)
            writing.check_form(
                form,
                rate=round(how.rate or recording.rate),
                channels=recording.channels if how.channels == 'each' else 1,
            )
            if background is not None:
                background = self.hear(background, how.channels, folder=scratch, cut=cut)
            elif span:  # of all of it, wherever its part begins
                background = opened(path)
            made = self._made(
                recording,
                how,
                background=background,
                stretch=span,
                folder=scratch,
                progress=progress and (lambda done: progress((1 - WRITING) * done)),
            )

            def about_to_rename_it():
                recording.check_unchanged()
                if about_to_rename is not None:
                    about_to_rename()

            gain, faint = writing.write(
                made,
                self.sources,
                outputs,
                form=form,
                bits=bits,
                labels=labels,
                start=start,
                progress=progress and (lambda share: progress(WRITING * share * made.seconds)),
                about_to_rename=about_to_rename_it,
            )
        first, last = made.background if span else (0.0, math.inf)
        return writing.Written(
            outputs=outputs,
            seconds=made.seconds,
            rate=round(made.rate),
            channels=made.channels,
            gain=gain,
            low_margin_seconds=made.low_margin_seconds,
            background=made.background
            and tuple((0 if span else start) + at for at in made.background),
            native_rate=recording.rate,
            real_time_factor=made.seconds / (time.monotonic() - began),
            truncated=', '.join(cut or ()),
            faint=faint,
            little=engine.little(last - first, self.network.adaptation_seconds),
        )

    def _made(self, recording, how, **more):
        """`engine.separate` by this model.

        Raises:
          BadInput: there is no memory for so much at once, or whatever is wrong with the recording.
        """
        try:
            return engine.separate(self.network, recording, how, **more)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if not isinstance(error, MemoryError) and 'RESOURCE_EXHAUSTED' not in str(error):
                raise
            at_once = f'batch={how.batch}, segment={how.segment:g}'
            helps = 'fewer or shorter windows take less'
            raise BadInput('out of memory', f'{at_once}: {helps}') from error

    def hear(self, path, channels='mean', *, folder='', cut=None):
        """What the auxiliary network hears of a file with background alone.

        Args:
          path: of the file.
          channels: as in `engine.How`.
          folder, cut: see `recording.FileRecording`.

        Returns:
          An `ArrayRecording` of one channel.

        Raises:
          BadInput: of the kind 'background', whatever is wrong with the file.
        """
        try:
            with contextlib.closing(
                FileRecording(os.fspath(path), folder=folder, cut=cut)
            ) as recording:
                seconds, least = self.network.adaptation_seconds, self.network.least_seconds
                heard_T, _ = engine.heard(recording, None, seconds, channels, least=least)
                return ArrayRecording(heard_T[None], recording.rate)
        except BadInput as bad:
            raise BadInput('background', f'{path}: {bad}') from bad

    def stream(self, rate):
        """Separates a signal while it comes, where the model is causal; see `stream.Stream`."""
        from fgsep_jax.separation.stream import Stream

        return Stream(self, rate)

    def _background(self, background, is_one, must):
        """A background as ((start, stop) in seconds, None), or as (None, another recording)."""
        if background is None:
            return None, None
        if not self.network.adaptation_seconds:
            raise ValueError(f'background: {self.name} has no auxiliary network that would hear it')
        if isinstance(background, (tuple, list)) and engine.is_stretch(*background[:3]):
            return tuple(map(plain, background)), None
        if not is_one(background):
            raise ValueError(f'background: must be (start, stop) in seconds, or {must}')
        return None, background

    def _how(self, **changes):
        changes = {name: value for name, value in changes.items() if value is not None}
        own = vars(self.how) | ({'overlap': None} if 'segment' in changes else {})
        how = engine.How(**own | changes)
        if how.statistics == 'file' and self.network.whole is None:
            raise ValueError(f"statistics = 'file': {self.name} {NOT_NORMALISED}")
        return how


@contextlib.contextmanager
def _of(path):
    """Within, a BadInput says of which file it is."""
    try:
        yield
    except BadInput as bad:
        bad.path = bad.path or path
        raise


def _is_sound(value):
    """Whether it is an array of finite floats, [T] or [channels, T], and no mere start and stop."""
    array = np.asarray(value) if hasattr(value, 'dtype') else np.zeros(0, int)
    is_whole = np.issubdtype(array.dtype, np.floating) and not np.ma.is_masked(value)
    is_long = array.ndim in (1, 2) and array.size > 2
    return is_whole and is_long and np.isfinite(array).all()


def _check_axes(name, signal):
    """Raises ValueError where a signal [..., channels, T] has them the other way round."""
    if signal.ndim > 1 and signal.shape[-2] > max(signal.shape[-1], 64):
        raise ValueError(
            f'{name} is {list(signal.shape)}: {signal.shape[-2]:,} channels of'
            f' {signal.shape[-1]:,} samples; give its transpose, [channels, T]'
        )


def _check_words(method, how):
    """Raises TypeError for a keyword of a call that neither its method takes nor `engine.How`."""
    own = [word for word in inspect.signature(method).parameters if word != 'how']
    known = dict.fromkeys([*own, *(field.name for field in dataclasses.fields(engine.How))])
    for word in how:
        if word not in known:
            near = did_you_mean(word, known)
            raise TypeError(f'{word}: {method.__name__} takes {", ".join(known)}{near}')


def _segment(config):
    """Seconds of windows that suit a model: short ones for masks and one voice, whose surroundings
    change; long ones where the order of speakers must be kept."""
    return 4.0 if config.data.sources == 1 or make_task(config).source_names else 8.0


def _channels(config):
    """One mask serves all channels, so that each stays where it is; voices are of their mean."""
    return 'each' if make_task(config).source_names else 'mean'


def _default(network, config):
    return engine.How(
        segment=_segment(config),
        channels=_channels(config),
        batch=1 if jax.default_backend() == 'cpu' and not network.rest else 8,
    )


class About(NamedTuple):
    """What is known of a model before its weights are read.

    Attributes:
      name: what it is called.
      sources: names of what it gives.
      sample_rate: in hertz.
      identity: tells it from others that may have its name.
      adapts: whether it is given background alone, too.
      normalises: whether `--statistics=file` can compute it, see `whole.Whole.takes`.
      segment: seconds of its windows, unless others are asked for.
      channels: that are separated, as in `engine.How`, unless others are asked for.
    """

    name: str
    sources: tuple[str, ...]
    sample_rate: int
    identity: str
    adapts: bool
    normalises: bool
    segment: float
    channels: str


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _name(path):
    return os.path.basename(os.path.abspath(path)).removesuffix(model_file.SUFFIX)


@contextlib.contextmanager
def here(model):
    """Within, a model is on this machine's disk, so that it can be read; see `load`.

    Raises:
      ConfigError: it is in a bucket, and cannot be read there.
    """
    if buckets.is_url(model) and os.fspath(model).endswith(model_file.SUFFIX):
        raise config_lib.ConfigError(
            f'{model}: runs are read in buckets, model files are not: copy it here'
        )
    try:
        with buckets.copies():
            yield buckets.local(model, run_folder.MODEL)
    except config_lib.ConfigError as error:
        error.args = (buckets.named(str(error)),)
        raise
    except buckets.Unreachable as error:
        raise config_lib.ConfigError(str(error)) from error


def about(model):
    """What is known of a model before its weights are read; see `load`."""
    with here(model) as model:
        return _about(model)


def _about(model):
    path = model_file.located(model)
    if model_file.is_model_file(path):
        described = model_file.read_about(path)
        config_lib.check_parts(described.config, described.modules, where=path)
    else:
        config, best = run_folder.read_config(path), checkpoint.find_best(path)
        names = model_file.usual_names(config)
        described = model_file.About(config, names, best.step, digest=best.digest)
    config = described.config
    return About(
        name=_name(path),
        sources=described.sources,
        sample_rate=config.data.sample_rate,
        identity=_identity(path, described),
        adapts=config.data.adaptation_seconds > 0,
        normalises=config.task == 'speech' and Whole.takes(make_task(config).model),
        segment=_segment(config),
        channels=_channels(config),
    )


def _identity(path, described):
    """What tells the model of a path from others of its name, by its `model_file.About`."""
    if not model_file.is_model_file(path):
        return f'{config_lib.to_json(described.config)}{described.step}{described.digest}'
    stat = os.stat(path)
    return described.digest or f'{stat.st_size} {stat.st_mtime_ns}'


def load(model):
    """Loads a trained model.

    Args:
      model: a run folder, here or in a bucket, a model file (NAME.safetensors), or the name of a
        shipped one (`shipped` of `interop.model_file`).

    Returns:
      A Separator.

    Raises:
      ConfigError: there is no trained model, or it is damaged.
    """
    with here(model) as model:
        described, params, notes = checkpoint.load_trained(model)
        identity = _identity(model_file.located(model), described)
        notes = [*map(buckets.named, notes)]
    return Separator(
        described.config,
        params,
        step=described.step,
        name=_name(model),
        sources=described.sources,
        notes=notes,
        identity=identity,
    )
