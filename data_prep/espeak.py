"""Synthetic speech by eSpeak NG, driven through ctypes from the `espeakng-loader` wheel.

eSpeak NG is free software under the GPL, version 3 or later. It is therefore an optional extra,
`pip install fgsep_jax[demo]`, loaded at run time and never shipped; what it says is not under
the GPL.
"""

import _ctypes
from collections.abc import Iterator
import contextlib
import csv
import ctypes
import dataclasses
import importlib.metadata
import os

import numpy as np
import soxr

from fgsep_jax import pcm
from fgsep_jax.data.resample import resample

_SYNCHRONOUS_RETRIEVAL = 2  # espeak_AUDIO_OUTPUT: samples go to the callback, in this thread
_UTF8 = 1  # espeakCHARS_UTF8
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_LIMITER = 0.95  # above this level eSpeak NG turns its gain down, which distorts
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclasses.dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Attributes:
        name: the speaker's name in the data set, unique.
        split: "train", "validation" or "test"; a voice is heard in one of them only.
        sex: "f" or "m", as the variant is meant to sound.
        language: eSpeak NG language whose rules read the (English) text: the accent.
        variant: eSpeak NG voice variant: formants, voice quality, pitch. Used by one voice only.
        rate: speed [words / minute].
        pitch: 0 to 99; 50 leaves the variant's own pitch.
        pitch_range: 0 (monotone) to 99; 50 leaves the variant's own range.
        volume: 0 to 100; lower where the variant would clip.
    """

    name: str
    split: str
    sex: str
    language: str
    variant: str
    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50
    volume: int = 50


def _voices() -> tuple[Voice, ...]:
    with open(os.path.join(os.path.dirname(__file__), 'voices.csv')) as file:
        rows = [*csv.DictReader(file)]
    numbers = ('rate', 'pitch', 'pitch_range', 'volume')
    return tuple(Voice(**{**row, **{name: int(row[name]) for name in numbers}}) for row in rows)


VOICES = _voices()


def version() -> str:
    """Returns the versions of eSpeak NG and of the wheel it came in."""
    with _loaded() as library:
        library.espeak_Info.restype = ctypes.c_char_p
        number = library.espeak_Info(None).decode()
    wheel = importlib.metadata.version('espeakng-loader')
    return f'eSpeak NG {number} (espeakng-loader {wheel}, soxr {soxr.__version__})'


def render(voice: Voice, text: str, *, sample_rate: int = 8000) -> np.ndarray:
    """Speaks a text.

    The samples depend on the arguments alone: the library keeps state from one utterance to the
    next (the phase of the pitch flutter, filter memories, a noise generator that later versions
    seed by the clock), so it is loaded afresh for every utterance, in some milliseconds. As that
    state is global, one process renders one utterance at a time.

    Args:
        voice: who speaks.
        text: what is said.
        sample_rate: of the result [Hz], at most the 22,050 Hz of eSpeak NG.
    Returns:
        The speech without leading and trailing silence, float32 [T] in -1..1.
    Raises:
        ImportError: espeakng-loader is not installed.
        ValueError: eSpeak NG has no such voice or rate, or the voice clips or says nothing.
    """
    samples_T, native_rate = _synthesize(voice, text)
    if samples_T.size == 0 or not samples_T.any():
        raise ValueError(f'voice {voice.name!r} says nothing for the text {text!r}: use words')
    if np.abs(pcm.to_float(samples_T)).max() > _LIMITER:
        raise ValueError(f'voice {voice.name!r} clips at volume {voice.volume}: lower its volume')
    if sample_rate > native_rate:
        raise ValueError(f'eSpeak NG speaks at {native_rate} Hz, {sample_rate} Hz are asked for')
    speech_T = resample(pcm.to_float(samples_T), native_rate, sample_rate)
    return trim(speech_T, sample_rate=sample_rate)


def trim(
    speech_T: np.ndarray, *, sample_rate: int, floor_db: float = -40.0, margin_s: float = 0.02
) -> np.ndarray:
    """Removes leading and trailing silence.

    Args:
        speech_T: samples [T], not all zero.
        sample_rate: [Hz].
        floor_db: samples under this level, relative to the largest [dB], are silence.
        margin_s: silence kept at either end [s].
    Returns:
        A part of the samples, [T'] with T' <= T.
    """
    level_T = np.abs(speech_T)
    loud = np.flatnonzero(level_T > level_T.max() * 10 ** (floor_db / 20))
    margin = int(margin_s * sample_rate)
    return speech_T[max(loud[0] - margin, 0) : loud[-1] + 1 + margin]


def _synthesize(voice: Voice, text: str) -> tuple[np.ndarray, int]:
    """Returns int16 samples [T] and their rate [Hz], from a freshly loaded library."""
    import espeakng_loader

    with _loaded() as library:
        data_path = os.fsencode(espeakng_loader.get_data_path())
        native_rate = library.espeak_Initialize(_SYNCHRONOUS_RETRIEVAL, 0, data_path, 0)
        if native_rate <= 0:
            raise ValueError(f'eSpeak NG found no usable voice data in {data_path!r}')
        pieces = []

        @_CALLBACK
        def keep(samples, count, _):
            if samples and count > 0:
                pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        library.espeak_SetSynthCallback(keep)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        name = f'{voice.language}+{voice.variant}'
        # An unknown variant leaves the plain language, and no error.
        variant_path = os.path.join(data_path, b'voices', b'!v', os.fsencode(voice.variant))
        failed = library.espeak_SetVoiceByName(name.encode())
        if failed or not os.path.exists(variant_path):
            raise ValueError(f'eSpeak NG has no voice {name!r} (language+variant)')
        for parameter, value in (
            (_RATE, voice.rate),
            (_VOLUME, voice.volume),
            (_PITCH, voice.pitch),
            (_PITCH_RANGE, voice.pitch_range),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, _UTF8, None, None)
        library.espeak_Terminate()
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16), native_rate


@contextlib.contextmanager
def _loaded() -> Iterator[ctypes.CDLL]:
    """The library; an error if this process holds it already, because of its state."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise ImportError(
            'the embedded corpus is spoken by eSpeak NG, whose wheel espeakng-loader (GPL-3) is '
            'not installed: pip install fgsep_jax[demo]'
        ) from error
    path = espeakng_loader.get_library_path()
    if _is_loaded(path):
        raise RuntimeError(
            f'{path} is already loaded in this process and carries state from earlier speech: '
            'render in a process of its own, one utterance at a time'
        )
    library = ctypes.CDLL(path)
    try:
        yield library
    finally:
        _ctypes.dlclose(library._handle)


def _is_loaded(path: str) -> bool:
    try:
        _ctypes.dlclose(ctypes.CDLL(path, mode=os.RTLD_NOLOAD)._handle)
    except OSError:
        return False
    return True
