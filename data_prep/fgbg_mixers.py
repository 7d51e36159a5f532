"""From a spec to a foreground-background example with its adaptation segment."""

import math

import numpy as np

from data_prep import audio, augment, mixers, mixing
from data_prep.audio import BadInput
from data_prep.corpora import printable
from data_prep.fgbg_plans import Scene
from data_prep.plans import Clip, MixtureSpec
from fgsep_jax.data.records import Example

SILENCE_DB = -70.0  # RMS re full scale, offset removed: ten steps of int16
KEPT = 0.5  # of an event stays in the window, however late it begins


def find_onset(
    sound_T: np.ndarray, *, sample_rate: int, frame: float = 0.02, drop_db: float = 20.0
) -> int:
    """The sample at which the loudest event begins.

    Frames of `frame` seconds; from the one with the most energy back to the last one before it
    that lies `drop_db` below.
    """
    hop = max(1, round(frame * sample_rate))
    padded_T = np.pad(np.asarray(sound_T, np.float64), (0, -sound_T.size % hop))
    energy_K = np.square(padded_T).reshape(-1, hop).sum(axis=1)
    loudest = int(np.argmax(energy_K))
    below = np.flatnonzero(energy_K[:loudest] < energy_K[loudest] * 10.0 ** (-drop_db / 10.0))
    return hop * (int(below[-1]) + 1) if below.size else 0


def onset_in_window(
    length: int, onset: int, *, samples: int, draw: float, anywhere: bool = False
) -> int:
    """Where in the window of `samples` the event begins.

    Args:
        length: of the sound.
        onset: where the event begins in it.
        samples: of the window.
        draw: in [0, 1).
        anywhere: the event may begin at any time that keeps `KEPT` of it in the window, after
            silence if the sound has nothing before. Otherwise the window is cut from the sound,
            so that the event begins in its first half if there is enough sound after that, and a
            sound shorter than the window begins with it.
    """
    if anywhere:
        event = min(length - onset, samples)
        low, high = 0, samples - math.ceil(KEPT * event)
    elif length < samples:
        return onset
    else:
        low = max(0, onset - (length - samples))
        high = max(low, min(onset, samples // 2))
    return low + int(draw * (high - low + 1))


def place(sound_T: np.ndarray, onset: int, *, position: int, samples: int) -> np.ndarray:
    """The window [samples] in which the sound's `onset` falls on `position`.

    Before the sound's start there is silence; after its end it is repeated.
    """
    start = onset - position
    silence = max(0, -start)
    return np.concatenate(
        [
            np.zeros(silence, sound_T.dtype),
            np.resize(np.roll(sound_T, -max(0, start)), samples - silence),
        ]
    )


def foreground(sound_T: np.ndarray, scene: Scene, *, samples: int, sample_rate: int) -> np.ndarray:
    """The window of the foreground that the scene asks for, its pitch and length changed first."""
    onset = find_onset(sound_T, sample_rate=sample_rate)
    length, moved = round(sound_T.size * scene.stretch), round(onset * scene.stretch)
    position = onset_in_window(
        length, moved, samples=samples, draw=scene.onset, anywhere=scene.anywhere
    )
    if (scene.semitones, scene.stretch) != (0.0, 1.0):
        if length >= samples:  # change no more of a long recording than is heard
            begin = max(0, onset - math.ceil(position / scene.stretch))
            end = onset + math.ceil((samples - position) / scene.stretch)
            sound_T, onset = sound_T[begin:end], onset - begin
        sound_T = augment.change(
            sound_T, sample_rate=sample_rate, semitones=scene.semitones, stretch=scene.stretch
        )
        onset = round(onset * scene.stretch)
    return place(sound_T, onset, position=position, samples=samples)


def _looped(clip: Clip, start: int, stop: int, *, sample_rate: int) -> np.ndarray:
    """Samples `start` to `stop` of a clip's file, which begins again where it ends."""
    excerpt_T = audio.read(
        clip.path, sample_rate=sample_rate, start=start, stop=stop, take=clip.take
    )
    if excerpt_T.size == stop - start:
        return excerpt_T
    whole_T = audio.read(clip.path, sample_rate=sample_rate, take=clip.take)
    if not whole_T.size:
        raise BadInput('unreadable', f'{printable(clip.path)}: no samples left')
    return np.resize(np.roll(whole_T, -start), stop - start)


def _rms_db(audio_T: np.ndarray) -> float:
    power = float(np.mean(np.square(audio_T, dtype=np.float64)))
    return 10.0 * math.log10(power) if power else -math.inf


def level_db(audio_T: np.ndarray, *, sample_rate: int, rule: str = 'rms') -> float:
    """Level over the whole window: RMS re full scale [dB], or loudness after ITU-R BS.1770 [LUFS].

    Raises:
        ValueError: if `rule` is neither `rms` nor `lufs`.
    """
    if rule == 'rms':
        return _rms_db(audio_T)
    if rule == 'lufs':
        import pyloudnorm

        return float(pyloudnorm.Meter(sample_rate).integrated_loudness(audio_T.astype(np.float64)))
    raise ValueError(f'level {rule!r}: must be rms or lufs')


def mix(spec: MixtureSpec, *, sample_rate: int, level: str = 'rms') -> Example:
    """The foreground at the spec's SNR over the background, and the background's adaptation
    segment, scaled as the background is.

    One common factor brings the largest of |mixture|, |foreground| and |background| to 0.9. A
    segment that would then exceed 0.9 itself is brought to it, so that a loud moment elsewhere in
    the recording does not turn the mixture down.

    Raises:
        BadInput: if a file cannot be read, or a piece is silent, before or after rounding.
    """
    scene = spec.extra[0]
    event, ground = spec.clips
    sound_T = audio.read(event.path, sample_rate=sample_rate, take=event.take)
    if not sound_T.size:
        raise BadInput('unreadable', f'{printable(event.path)}: no samples left')
    pieces = {
        event.path: foreground(sound_T, scene, samples=spec.samples, sample_rate=sample_rate),
        ground.path: _looped(ground, ground.start, ground.stop, sample_rate=sample_rate),
    }
    adaptation_T = _looped(ground, *scene.adaptation, sample_rate=sample_rate)
    level_S = []
    for path, piece_T in (*pieces.items(), (ground.path, adaptation_T)):
        heard_db = _rms_db(piece_T - np.mean(piece_T, dtype=np.float64))
        measured = level_db(piece_T, sample_rate=sample_rate, rule=level)
        if heard_db < SILENCE_DB or not math.isfinite(measured):
            raise BadInput(
                'silent part', f'{printable(path)}: {heard_db:.0f} dB where it was cropped'
            )
        level_S.append(measured)
    gain_S = 10.0 ** ((np.asarray(spec.level_db) - level_S[:2]) / 20.0)
    sources_ST = np.stack(list(pieces.values())) * gain_S[:, None]
    scaled_ST = mixing.scale_to_peak(sources_ST)
    scale = np.abs(scaled_ST).max() / np.abs(sources_ST).max()
    adaptation_T = adaptation_T * gain_S[1] * scale
    adaptation_T *= min(1.0, 0.9 / np.abs(adaptation_T).max())
    example = mixers.pack(
        spec,
        scaled_ST,
        sample_rate=sample_rate,
        snr_db=spec.snr_db,
        adaptation_T=mixing.quantise(adaptation_T[None])[0],
        adaptation_overlap=scene.overlap,
    )
    if not (example.sources_ST.any(axis=1).all() and example.adaptation_T.any()):
        raise BadInput(
            'silent part',
            f'{spec.snr_db:.1f} dB of SNR leave nothing of one of '
            + ', '.join(map(printable, pieces)),
        )
    return example
