"""Synthetic speech by eSpeak NG, driven through ctypes from the `espeakng-loader` wheel.

eSpeak NG is free software under the GPL, version 3 or later. It is therefore an optional extra,
`pip install fgsep_jax[demo]`, loaded at run time and never shipped; what it says is not under
the GPL.
"""

import _ctypes
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


VOICES = (  # name, split, sex, language, variant, rate, pitch, pitch range, volume
    Voice('m1', 'train', 'm', 'en-us', 'm1', 155, 42, 50),
    Voice('m2', 'train', 'm', 'en-gb-scotland', 'm2', 145, 58, 40),
    Voice('m3', 'train', 'm', 'en-gb-x-rp', 'm3', 165, 70, 50),
    Voice('m4', 'train', 'm', 'de', 'm4', 150, 35, 60),
    Voice('m7', 'train', 'm', 'it', 'm7', 155, 62, 60),
    Voice('andy', 'train', 'm', 'en-029', 'Andy', 140, 50, 50, 30),
    Voice('denis', 'train', 'm', 'en-us-nyc', 'Denis', 160, 66, 45),
    Voice('hugo', 'train', 'm', 'fr', 'Hugo', 150, 45, 55),
    Voice('boris', 'train', 'm', 'nl', 'boris', 145, 30, 40),
    Voice('ed', 'train', 'm', 'es', 'ed', 155, 55, 60, 30),
    Voice('lee', 'train', 'm', 'en-gb-x-gbclan', 'Lee', 140, 40, 50),
    Voice('marco', 'train', 'm', 'en-us', 'Marco', 165, 50, 50, 30),
    Voice('tweaky', 'train', 'm', 'sv', 'Tweaky', 165, 75, 50, 30),
    Voice('max', 'train', 'm', 'en-gb-x-gbcwmd', 'max', 165, 50, 35),
    Voice('quincy', 'train', 'm', 'pl', 'quincy', 160, 35, 60),
    Voice('gustave', 'train', 'm', 'pt-br', 'gustave', 165, 60, 60),
    Voice('michel', 'train', 'm', 'cs', 'michel', 140, 72, 40),
    Voice('gene2', 'train', 'm', 'en-us-nyc', 'Gene2', 165, 78, 55),
    Voice('f1', 'train', 'f', 'en-us', 'f1', 155, 50, 50),
    Voice('f2', 'train', 'f', 'en-gb-x-rp', 'f2', 160, 57, 50),
    Voice('f3', 'train', 'f', 'de', 'f3', 150, 60, 50),
    Voice('f5', 'train', 'f', 'en-gb-scotland', 'f5', 165, 62, 60),
    Voice('aunty', 'train', 'f', 'en-us-nyc', 'aunty', 145, 40, 40),
    Voice('linda', 'train', 'f', 'en-us', 'linda', 160, 50, 50),
    Voice('shelby', 'train', 'f', 'en-gb-x-gbcwmd', 'shelby', 140, 50, 50),
    Voice('anika', 'train', 'f', 'it', 'anika', 130, 42, 50),
    Voice('zac', 'train', 'f', 'en-029', 'zac', 155, 30, 50),
    Voice('nguyen', 'train', 'f', 'fi', 'Nguyen', 165, 55, 60),
    Voice('storm', 'validation', 'm', 'en-us', 'Storm', 160, 55, 50, 35),
    Voice('travis', 'validation', 'm', 'en-gb-x-rp', 'travis', 150, 70, 50),
    Voice('ian', 'validation', 'm', 'en-029', 'ian', 165, 40, 50),
    Voice('annie', 'validation', 'f', 'en-gb-scotland', 'Annie', 155, 45, 40),
    Voice('andrea', 'validation', 'f', 'en-us', 'Andrea', 130, 50, 50),
    Voice('grandma', 'validation', 'f', 'en-us-nyc', 'grandma', 160, 55, 60),
    Voice('m8', 'test', 'm', 'en-gb-x-rp', 'm8', 155, 45, 50),
    Voice('pablo', 'test', 'm', 'en-us', 'pablo', 150, 55, 50),
    Voice('michael', 'test', 'm', 'en-gb-scotland', 'Michael', 165, 72, 50),
    Voice('steph', 'test', 'f', 'en-us', 'steph', 160, 42, 50),
    Voice('belinda', 'test', 'f', 'en-gb-x-rp', 'belinda', 150, 50, 50),
    Voice('alicia', 'test', 'f', 'en-us-nyc', 'Alicia', 170, 55, 50),
)


def version() -> str:
    """Returns the versions of eSpeak NG and of the wheel it came in."""
    library = _load()
    try:
        library.espeak_Info.restype = ctypes.c_char_p
        number = library.espeak_Info(None).decode()
    finally:
        _unload(library)
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

    library = _load()
    try:
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
    finally:
        _unload(library)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16), native_rate


def _load() -> ctypes.CDLL:
    """Loads the library; an error if this process holds it already, because of its state."""
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
    return ctypes.CDLL(path)


def _unload(library: ctypes.CDLL) -> None:
    if os.name == 'nt':
        _ctypes.FreeLibrary(library._handle)
    else:
        _ctypes.dlclose(library._handle)


def _is_loaded(path: str) -> bool:
    if not hasattr(os, 'RTLD_NOLOAD'):
        return False
    try:
        _ctypes.dlclose(ctypes.CDLL(path, mode=os.RTLD_NOLOAD)._handle)
    except OSError:
        return False
    return True
