"""The parts of a recording as files of any form, all at one gain, none of them half there."""

from collections.abc import Mapping
import contextlib
import dataclasses
import math
import os

import numpy as np
import soundfile

from fgsep_jax import buckets, files
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.names import RESIDUAL
from fgsep_jax.separation import activity
from fgsep_jax.separation.recording import Puller

FORMATS = {'wav': 'WAV', 'flac': 'FLAC', 'ogg': 'OGG', 'mp3': 'MP3'}
SUBTYPES = {'16': 'PCM_16', '24': 'PCM_24', 'float': 'FLOAT'}
_LOSSY = {'ogg': 'VORBIS', 'mp3': 'MPEG_LAYER_III'}
_BYTES = {'16': 2, '24': 3, 'float': 4}
_RATES = {'mp3': (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)}
_MOST = {'mp3': (2, 48_000), 'ogg': (255, 192_000), 'flac': (8, 655_350)}  # channels, rate
_LIMIT = 1 - 2.0**-15  # the largest sample of 16 bits
_LONGEST_WAV = (4 << 30) - 4096  # bytes that a WAV's header can count
_PIECE = 1 << 18  # samples that an encoder gets at once: of millions Vorbis runs out of stack
# libsndfile's commands: its header is right after each write; RF64 only where a WAV is too short.
_HEADER_AUTO, _RF64_AUTO = 0x1061, 0x1210

FAINT = 16  # steps of a format; where a recording's loudest part has fewer, rounding is a loss

LABELS = ('labels.txt', 'selections.txt')


@dataclasses.dataclass(frozen=True)
class Written:
    """What one recording came to on disk.

    Attributes:
      outputs: {part: path}.
      seconds: of the recording.
      rate: of the parts in hertz.
      channels: of the parts.
      gain: that all parts were given, below 1 where one would have clipped.
      low_margin_seconds, background: as of `engine.Separated`.
      native_rate: of the recording in hertz.
      real_time_factor: seconds of audio done in a second.
      truncated: how the recording was cut short, if it was.
      faint: a sentence on parts that sound and were rounded to silence, if some were.
      little: a sentence on a stretch of background that was too short, if it was.
    """

    outputs: dict
    seconds: float
    rate: int
    channels: int
    gain: float
    low_margin_seconds: float
    background: tuple[float, float] | None
    native_rate: float
    real_time_factor: float
    truncated: str = ''
    faint: str = ''
    little: str = ''

    def notes(self):
        """Sentences on what was done to the recording that one may not expect."""
        if self.truncated:
            yield f'truncated ({self.truncated}): what is there was taken'
        if self.faint:
            yield self.faint
        if self.gain < 1:
            yield f'all parts {20 * math.log10(self.gain):.1f} dB, not to clip'
        if self.background:
            start, stop = self.background
            yield f'{start:.2f}-{stop:.2f} s taken for background alone'
        if self.little:
            yield self.little
        if self.low_margin_seconds > 0:
            yield (
                f'who is who was decided by little in {self.low_margin_seconds:.1f} s: listen'
                ' whether the voices change places'
            )


def label_paths(outputs):
    """Where the labels of a recording go: beside its first part.

    Args:
      outputs: {part: path}.
    """
    first, path = next(iter(outputs.items()))
    stem = os.path.splitext(path)[0].removesuffix(f'_{first}')
    return [f'{stem}_{name}' for name in LABELS]


def check(form, bits):
    """Raises ValueError where there are no such files."""
    if not isinstance(form, str) or form not in FORMATS:
        raise ValueError(f'form = {form!r}: must be one of {", ".join(FORMATS)}')
    allowed = ('16',) if form in _LOSSY else tuple(SUBTYPES)[: 2 if form == 'flac' else 3]
    if bits not in allowed:
        raise ValueError(f'bits = {bits}: must be {" or ".join(allowed)} with {form}')


def check_outputs(outputs, sources, inputs, form):
    """Raises ValueError where the parts of a recording cannot go to some paths, {part: path}: those
    of other parts, or of its own inputs, or named as files of another form."""
    known = (*sources, RESIDUAL)
    if not isinstance(outputs, Mapping) or not outputs or not {*outputs} <= {*known}:
        raise ValueError(f'outputs = {outputs!r:.80}: must be {{part: path}} of {", ".join(known)}')
    parts = {}
    for part, path in outputs.items():
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise ValueError(f'outputs[{part!r}] = {path!r:.80}: must be a path')
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError(f'outputs[{part!r}]: {path} is there, and is no file to replace')
        if buckets.is_url(path):
            raise ValueError(f'outputs[{part!r}]: {path} must be on this machine, not a URL')
        if parts.setdefault(os.path.realpath(path), part) != part:
            raise ValueError(f'outputs: {parts[os.path.realpath(path)]} and {part} are both {path}')
        for source in filter(os.path.exists, inputs):
            if os.path.exists(path) and os.path.samefile(path, source):
                raise ValueError(f'outputs: {path} would replace what is read, {source}')
        end = os.path.splitext(path)[1][1:].lower()
        if end in FORMATS and end != form:
            raise ValueError(f'outputs: {path} would be {form}, by form = {form!r}')


def check_form(form, *, rate, channels):
    """Raises BadInput where a form cannot hold a sound."""
    most_channels, most_rate = _MOST.get(form, (1024, 1 << 31))
    if channels > most_channels:
        raise BadInput(f'{channels} channels', f'{form} holds {most_channels} at most')
    in_tens = form != 'flac' or rate < 1 << 16 or rate % 10 == 0
    if rate > most_rate or rate not in _RATES.get(form, (rate,)) or not in_tens:
        rates = ', '.join(map(str, _RATES.get(form, ()))) or f'up to {most_rate}'
        rates += ', above 65535 in tens,' if form == 'flac' else ''
        raise BadInput(f'{rate} Hz', f'{form} knows {rates} Hz; rate=N gives another')


def rounded(signal, bits):
    """Samples as libsndfile takes them for so many bits, at the nearest step: it would cut."""
    if bits == 'float':
        return signal
    full = 2 ** (int(bits) - 1)
    whole = np.clip(np.rint(signal.astype(np.float64) * full), -full, full - 1)
    return whole.astype(np.int16) if bits == '16' else (whole * 256).astype(np.int32)


class Output:
    """A file that libsndfile writes to; it does not say that a disk is full, this does."""

    def __init__(self, path):
        files.refuse_links(*os.path.split(path))
        self._path, self._file, self.error = path, open(path, 'w+b'), None

    def _kept(self, do, *args, otherwise=0):
        """What a method of the file gives; an error is kept for `check`, libsndfile sees none."""
        try:
            return do(*args)
        except OSError as error:
            self.error = self.error or error
            return otherwise

    def write(self, data):
        return self._kept(self._file.write, data, otherwise=len(data))

    def seek(self, *where):
        return self._kept(self._file.seek, *where)

    def tell(self):
        return self._kept(self._file.tell)

    def read(self, *count):
        return self._kept(self._file.read, *count, otherwise=b'')

    def flush(self):
        """Hands on what was written; raises OSError where it could not be."""
        self._kept(self._file.flush)
        self.check()

    def check(self):
        """Raises OSError where something could not be written."""
        if self.error is not None:
            raise OSError(self.error.errno, self.error.strerror, self._path)

    def close(self):
        """Closes it once all of it is on the disk."""
        self._kept(self._file.flush)
        if self.error is None:
            self._kept(os.fsync, self._file)
        self._kept(self._file.close)
        self.check()


@contextlib.contextmanager
def opened(path, *, rate, channels, subtype, kind='WAV', growing=False):
    """A file that sounds are written to: (SoundFile, its `Output`).

    `growing`: a WAV of any length, whose header counts what is there whenever the process ends.

    Raises:
      BadInput: there can be no such file.
    """
    kind = 'RF64' if growing else kind
    try:
        with (
            contextlib.closing(Output(path)) as output,
            soundfile.SoundFile(output, 'w', rate, channels, subtype, format=kind) as sound,
        ):
            for command in (_RF64_AUTO, _HEADER_AUTO) if growing else ():
                soundfile._snd.sf_command(sound._file, command, soundfile._ffi.NULL, 1)
            yield sound, output
    except soundfile.LibsndfileError as error:
        raise BadInput('cannot be written', error.error_string) from error


def write(
    made,
    sources,
    outputs,
    *,
    form='wav',
    bits='16',
    labels=False,
    start=0.0,
    progress=None,
    about_to_rename=None,
):
    """Writes parts of a recording: beside their names, and when all are there, renamed.

    Args:
      made: an `engine.Separated`.
      sources: names of what it holds.
      outputs: {part: path}; the part `RESIDUAL` is what the others leave of the recording.
      form: a key of `FORMATS`.
      bits: a key of `SUBTYPES`, of wav and flac.
      labels: whether to write where each part sounds, beside the first part.
      start: where in the recording, in seconds, they begin: labels are in its time.
      progress: called with the share of the work that is done since the last call.
      about_to_rename: called once all is written and nothing renamed.

    Returns:
      The gain that all parts were given, and `faint` as in `Written`.

    Raises:
      OSError: a disk is full, or a folder cannot be written to; no part is there.
    """
    for folder in {os.path.dirname(path) for path in outputs.values()}:
        os.makedirs(folder or '.', exist_ok=True)
    for path in outputs.values():
        files.refuse_links(*os.path.split(path))
    with files.unfinished(outputs.values()) as partials:
        paths = {part: partials[os.fspath(path)] for part, path in outputs.items()}
        meters = {part: activity.Meter(made.rate) for part in (*sources, *paths) if labels}
        how = dict(form=form, bits=bits, progress=progress)
        gain, silenced = _write(made, sources, paths, meters, **how)
        texts = {}
        if labels:
            sounding = activity.stretches(
                {part: meter.level_db() for part, meter in meters.items()},
                step=meters[sources[0]].step,
                seconds=made.samples / made.rate,
            )
            sounding = {part: [(start + a, start + b) for a, b in sounding[part]] for part in paths}
            made_of = (activity.audacity(sounding), activity.raven(sounding, made.rate))
            texts = dict(zip(label_paths(outputs), made_of))
        if about_to_rename is not None:
            about_to_rename()
        for part, path in outputs.items():
            files.put_in_place(paths[part], path)
    files.write(texts)
    which = ', '.join(silenced)
    return (
        gain,
        which and f'rounded to silence ({which}): --bits=float (of wav) keeps what is there',
    )


def _write(made, sources, paths, meters, *, form, bits, progress):
    """Writes parts to paths, and hands them and all sources to meters {part: `activity.Meter`};
    returns the gain, and which parts of a recording that is too faint for so many bits sound, and
    are silent there."""
    written = [part for part in paths if part != RESIDUAL]

    def blocks():
        mixture = Puller(made.mixture()) if RESIDUAL in paths else None
        for block_TSC in made.blocks():
            parts = dict(zip(sources, block_TSC.swapaxes(0, 1)))
            if mixture is not None:
                rest_TC = mixture.take(len(block_TSC)) - sum(parts[part] for part in written)
                parts[RESIDUAL] = rest_TC
            for at in range(0, len(block_TSC), _PIECE):
                yield {part: part_TC[at : at + _PIECE] for part, part_TC in parts.items()}
            if progress is not None:
                progress(len(block_TSC) / made.samples / (1 if bits == 'float' else 2))

    gain, silenced = 1.0, ()
    if bits != 'float':
        peak_P = np.zeros(len(paths))
        for parts in blocks():
            block_P = [np.abs(parts[part]).max(initial=0.0) for part in paths]
            np.maximum(peak_P, block_P, out=peak_P)
        gain = min(1.0, _LIMIT / max(peak_P.max(), _LIMIT))
        step_P = peak_P * 2 ** (int(bits) - 1)
        if step_P.max() < FAINT and form not in _LOSSY:
            silenced = [part for part, step in zip(paths, step_P) if 0 < step <= 0.5]
    kind, subtype = FORMATS[form], _LOSSY.get(form, SUBTYPES[bits])
    if kind == 'WAV' and made.samples * made.channels * _BYTES[bits] > _LONGEST_WAV:
        kind = 'RF64'
    with contextlib.ExitStack() as stack:
        form_of = dict(rate=round(made.rate), channels=made.channels, subtype=subtype, kind=kind)
        sounds = {
            part: stack.enter_context(opened(path, **form_of)) for part, path in paths.items()
        }
        for parts in blocks():
            parts = {part: part_TC * np.float32(gain) for part, part_TC in parts.items()}
            for part, (sound, output) in sounds.items():
                sound.write(parts[part] if form in _LOSSY else rounded(parts[part], bits))
                output.check()
            for part, meter in meters.items():
                meter.add(parts[part])
    return gain, silenced
