"""From a row of mixtures.csv to an example: the rules on arrays, and `mix`, which applies them."""

import math

import numpy as np
import scipy

from data_prep import audio, augment
from data_prep.audio import BadInput
from data_prep.mixtures import Mixture, Source, snr_of
from data_prep.recordings import Take, printable
from fgsep_jax import pcm
from fgsep_jax.data.records import Example
from fgsep_jax.names import counted

# Of the rules by which files become examples, in dataset.json: raised where equal files give other
# bytes. 2: resampled by soxr (files of a higher rate, the embedded voices), offsets taken off.
# 3: another phase vocoder (fgbg's training events), files that only ffmpeg reads are taken, and
# speakers who share a file are of one split.
RULES_VERSION = 3
# Kinds of fault that show once all of a mixture's files are read.
REFUSED = ('silent part', 'mixture clips', 'lengths differ', 'mixture is not the sum')


def active_speech_level(
    audio_T: np.ndarray,
    *,
    sample_rate: int,
    margin_db: float = 15.9,
    time_constant: float = 0.03,
    hangover: float = 0.2,
) -> tuple[float, float]:
    """Active speech level, ITU-T P.56 method B (unweighted, no input filter).

    The envelope (two first-order smoothers of |x|) is compared with thresholds in octaves; time
    within `hangover` of an exceedance is active. The level is where the mean power over the
    active time lies `margin_db` above the threshold, interpolated between two thresholds.

    Args:
        audio_T: signal [T], full scale 1.
        sample_rate: in hertz.
        margin_db: the recommendation's M.
        time_constant: of each smoother, in seconds.
        hangover: in seconds.
    Returns:
        Level in dB re a full-scale square wave (-inf for silence), and the share of active time.
    """
    audio_T = np.asarray(audio_T, np.float64)
    energy = float(np.square(audio_T).sum())
    if energy == 0.0:
        return -math.inf, 0.0
    pole = math.exp(-1.0 / (time_constant * sample_rate))
    envelope_T = scipy.signal.lfilter(
        [(1.0 - pole) ** 2], [1.0, -2.0 * pole, pole**2], np.abs(audio_T)
    )
    hold = math.ceil(hangover * sample_rate) + 1
    held_T = scipy.ndimage.maximum_filter1d(  # over the last `hold` samples
        envelope_T, hold, origin=(hold - 1) // 2, mode='constant'
    )
    # Thresholds 2^-15 ... 1: a sample is active for all those up to its own octave.
    # (frexp gives 0 the exponent 0, hence the floor.)
    octave_T = np.clip(np.frexp(np.maximum(held_T, 2.0**-17))[1] - 1, -16, 0) + 16
    active_J = np.cumsum(np.bincount(octave_T, minlength=17)[::-1])[::-1][1:]
    active_J = active_J[active_J > 0]
    if not active_J.size:  # quieter than the lowest threshold throughout
        return 10.0 * math.log10(energy / audio_T.size), 1.0
    power_db_J = 10.0 * np.log10(energy / active_J)
    threshold_db_J = 20.0 * math.log10(2.0) * (np.arange(active_J.size) - 15)
    excess_db_J = power_db_J - threshold_db_J - margin_db
    crossing = np.flatnonzero(excess_db_J <= 0)
    upper = crossing[0] if crossing.size else active_J.size - 1
    lower = max(upper - 1, 0)  # between these two the excess falls through zero
    level = float(np.interp(0.0, -excess_db_J[lower : upper + 1], power_db_J[lower : upper + 1]))
    return level, energy / audio_T.size / 10.0 ** (level / 10.0)


def gains(level_db_S: list[float], wanted_db_S: list[float]) -> np.ndarray:
    """Factors that bring measured levels to the wanted ones; only their ratios matter."""
    return 10.0 ** ((np.asarray(wanted_db_S) - np.asarray(level_db_S)) / 20.0)


def scale_to_peak(sources_ST: np.ndarray, *, peak: float = 0.9) -> np.ndarray:
    """One common factor, as the MERL scripts do: peak / max(|mixture|, |source 1|, ...)."""
    largest = max(np.abs(sources_ST).max(), np.abs(sources_ST.sum(axis=0)).max())
    return sources_ST * (peak / largest)


def quantise(sources_ST: np.ndarray) -> np.ndarray:
    """float [S, T], full scale 1, rounded to int16 PCM.

    Raises:
        ValueError: if a source or their sum does not fit int16.
    """
    pcm_ST = pcm.to_int16(sources_ST)
    pcm.to_int16(pcm.to_float(pcm_ST, np.float64).sum(axis=0))
    return pcm_ST


def mix(row: Mixture, *, sample_rate: int, level: str = 'rms') -> Example:
    """The example that a row asks for.

    Args:
        row: of mixtures.csv: ready mixtures are taken as they are, events are placed in a scene,
            and all else is brought to its levels.
        sample_rate: of the data set.
        level: what the levels of a scene are: `rms` or `lufs`, see `level_db`.
    Raises:
        BadInput: it cannot be made.
    """
    if row.ready:
        return mix_as_made(row, sample_rate=sample_rate)
    if row.onset is not None:
        return mix_scene(row, sample_rate=sample_rate, level=level)
    return mix_at_levels(row, sample_rate=sample_rate)


def pack(
    row: Mixture, parts_ST: np.ndarray, *, sample_rate: int, snr_db: float, **adaptation
) -> Example:
    """The example of a row from its mixed parts.

    Args:
        row: names and classes of the sources.
        parts_ST: the sources, and behind them the noise, if any, in [-1, 1); rounded to int16.
        sample_rate: in hertz.
        snr_db: what the record says.
        **adaptation: the fields of `Example` on the adaptation segment, where there is one.
    Raises:
        BadInput: if a source, the noise or the mixture does not fit int16.
    """
    try:
        pcm_ST = quantise(parts_ST)
    except ValueError as error:
        raise BadInput('mixture clips', str(error)) from error
    count = len(row.targets)
    source_ids, source_classes = zip(*row.labels)
    return Example(
        id=row.id,
        sources_ST=pcm_ST[:count],
        sample_rate=sample_rate,
        source_ids=source_ids,
        source_classes=source_classes,
        snr_db=snr_db,
        noise_T=pcm_ST[count] if row.noisy else None,
        **adaptation,
    )


def mix_at_levels(row: Mixture, *, sample_rate: int) -> Example:
    """Sources at the row's P.56 active levels, cut to the shortest, one common scale to 0.9.

    The level is taken over each source as the row names it: over what is in the mixture where that
    is cropped already (`random_pairs`), over the whole file, before the cut to the shortest, where
    it is not (`listed`, as the MERL scripts do).

    Raises:
        BadInput: if a source cannot be read or is silent.
    """
    pieces, level_db_S = [], []
    for source in row.sources:
        piece_T = audio.read(
            source.path,
            sample_rate=sample_rate,
            start=source.start,
            stop=source.stop,
            take=source.take,
        )
        if piece_T.size < row.samples:
            raise BadInput(
                'unreadable',
                f'{printable(source.path)}: {counted(piece_T.size, "sample")} left of '
                f'{source.stop}',
            )
        level_db, _ = active_speech_level(piece_T, sample_rate=sample_rate)
        heard_db, offset = level_db, float(np.mean(piece_T, dtype=np.float64))
        if abs(offset) > 1e-3:  # a constant has a level, but nobody hears it
            heard_db, _ = active_speech_level(piece_T - offset, sample_rate=sample_rate)
        if heard_db < -60.0:
            raise BadInput(
                'silent part',
                f'{printable(source.path)}: {audio.shown_db(heard_db)} where it was cropped',
            )
        pieces.append(piece_T[: row.samples])
        level_db_S.append(level_db)
    wanted_db_S = [source.level_db or 0.0 for source in row.sources]
    sources_ST = np.stack(pieces) * gains(level_db_S, wanted_db_S)[:, None]
    snr_db = row.snr_db
    if snr_db is None:
        snr_db = snr_of(wanted_db_S[: len(row.targets)])
    return pack(row, scale_to_peak(sources_ST), sample_rate=sample_rate, snr_db=snr_db)


def mix_as_made(row: Mixture, *, sample_rate: int) -> Example:
    """Sources of a tree that is already mixed, sample for sample.

    Without an SNR of the row it is the ratio of the sources' mean powers, offsets not counted.
    What a source has more in the mixture than by itself (`Source.heard`) is noise.

    Args:
        row: of its `ready` forms, the first that can be read is checked against the sum, to one
            int16 step a file (each was rounded on its own). Of files that are longer than its
            `samples`, the beginning is taken.
        sample_rate: of the data set.
    Raises:
        BadInput: if the sources differ in length, or the mixture is not their sum.
    """
    lengths = {source.stop for source in row.sources}
    if len(lengths) > 1:
        raise BadInput('lengths differ', f'sources of {sorted(lengths)} samples')

    def read(path, source):  # as it is, so that all add up to the mixture
        return audio.read(path, sample_rate=sample_rate, take=Take(source.take.channel))

    sources = [read(source.path, source) for source in row.sources]
    stop = row.samples if any(0 < row.samples < x_T.size for x_T in sources) else None
    sources_ST = np.stack([x_T[:stop] for x_T in sources])
    mixture_T = audio.read_first(row.ready, sample_rate=sample_rate)[:stop]
    heard = {s: read(x.heard, x)[:stop] for s, x in enumerate(row.sources) if x.heard}
    if stop and not sources_ST.any(axis=1).all():
        raise BadInput('silent part', f'a source is digital silence in its first {stop} samples')
    for what, signal_T in (('mixture', mixture_T), *(('as heard', x_T) for x_T in heard.values())):
        if signal_T.shape != sources_ST.shape[1:]:
            raise BadInput('lengths differ', f'{what} {signal_T.size}, sources {sorted(lengths)}')
    heard_ST = sources_ST
    if heard:
        heard_ST = np.stack([heard.get(s, x_T) for s, x_T in enumerate(sources_ST)])
    error = float(np.abs(heard_ST.sum(axis=0) - mixture_T).max()) * pcm.FULL_SCALE
    if error > len(sources_ST):
        raise BadInput('mixture is not the sum', f'differs by {error:.0f} steps of int16')
    snr_db = row.snr_db
    if snr_db is None:
        targets = row.targets
        offset_S1 = np.array([[source.take.offset] for source in targets], np.float32)
        power_S = np.mean(
            np.square(sources_ST[: len(targets)] - offset_S1, dtype=np.float64), axis=1
        )
        snr_db = float(10.0 * np.log10(power_S[0] / power_S[1:].sum()))
    if heard:
        noise_T = (heard_ST - sources_ST).sum(axis=0) + sources_ST[len(row.targets) :].sum(axis=0)
        sources_ST = np.concatenate([sources_ST[: len(row.targets)], noise_T[None]])
    return pack(row, sources_ST, sample_rate=sample_rate, snr_db=snr_db)


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


def foreground(
    sound_T: np.ndarray, row: Mixture | Source, *, samples: int, sample_rate: int
) -> np.ndarray:
    """The window of an event that a row asks for, its pitch and length changed first."""
    onset = find_onset(sound_T, sample_rate=sample_rate)
    length, moved = round(sound_T.size * row.stretch), round(onset * row.stretch)
    position = onset_in_window(
        length, moved, samples=samples, draw=row.onset, anywhere=row.anywhere
    )
    if (row.semitones, row.stretch) != (0.0, 1.0):
        if length >= samples:  # change no more of a long recording than is heard
            begin = max(0, onset - math.ceil(position / row.stretch))
            end = onset + math.ceil((samples - position) / row.stretch)
            sound_T, onset = sound_T[begin:end], onset - begin
        sound_T = augment.change(
            sound_T, sample_rate=sample_rate, semitones=row.semitones, stretch=row.stretch
        )
        onset = round(onset * row.stretch)
    return place(sound_T, onset, position=position, samples=samples)


def _looped(source: Source, start: int, stop: int, *, sample_rate: int) -> np.ndarray:
    """Samples `start` to `stop` of a source's file, which begins again where it ends."""
    excerpt_T = audio.read(
        source.path, sample_rate=sample_rate, start=start, stop=stop, take=source.take
    )
    if excerpt_T.size == stop - start:
        return excerpt_T
    whole_T = audio.read(source.path, sample_rate=sample_rate, take=source.take)
    if not whole_T.size:
        raise BadInput('unreadable', f'{printable(source.path)}: no samples left')
    return np.resize(np.roll(whole_T, -start), stop - start)


def level_db(audio_T: np.ndarray, *, sample_rate: int, rule: str = 'rms') -> float:
    """Level over the whole window: RMS re full scale [dB], or loudness after ITU-R BS.1770 [LUFS].

    Raises:
        ValueError: if `rule` is neither `rms` nor `lufs`.
    """
    if rule == 'rms':
        return audio.rms_db(audio_T)
    if rule == 'lufs':
        import pyloudnorm

        return float(pyloudnorm.Meter(sample_rate).integrated_loudness(audio_T.astype(np.float64)))
    raise ValueError(f'level {rule!r}: must be rms or lufs')


def mix_scene(row: Mixture, *, sample_rate: int, level: str = 'rms') -> Example:
    """The foreground at the row's SNR over the background, with an adaptation segment.

    Several events are brought to their levels and added up, and then their sum is to the first's.
    The segment is a piece of the background's recording, scaled as the background is.
    One common factor brings the largest of |mixture|, |foreground| and |background| to 0.9. A
    segment that would then exceed 0.9 itself is brought to it, so that a loud moment elsewhere in
    the recording does not turn the mixture down.

    Raises:
        BadInput: if a file cannot be read, or a piece is silent, before or after rounding.
    """
    event, ground = row.targets

    def measured(path, piece_T):
        heard_db = audio.rms_db(piece_T - np.mean(piece_T, dtype=np.float64))
        found = level_db(piece_T, sample_rate=sample_rate, rule=level)
        if heard_db < SILENCE_DB or not math.isfinite(found):
            raise BadInput(
                'silent part',
                f'{printable(path)}: {audio.shown_db(heard_db)} where it was cropped',
            )
        return found

    parts = []
    for source, placed in row.events:
        sound_T = audio.read(source.path, sample_rate=sample_rate, take=source.take)
        sound_T = sound_T[: source.stop or None]
        if not sound_T.size:
            raise BadInput('unreadable', f'{printable(source.path)}: no samples left')
        parts.append(foreground(sound_T, placed, samples=row.samples, sample_rate=sample_rate))
    event_T = parts[0]
    if len(parts) > 1:
        event_T = sum(
            part_T * 10.0 ** (((x.level_db or 0.0) - measured(x.path, part_T)) / 20.0)
            for (x, _), part_T in zip(row.events, parts)
        )
    ground_T = _looped(ground, ground.start, ground.stop, sample_rate=sample_rate)
    adaptation_T = _looped(
        ground, row.adaptation_start, row.adaptation_stop, sample_rate=sample_rate
    )
    pieces = ((event.path, event_T), (ground.path, ground_T), (ground.path, adaptation_T))
    level_S = [measured(path, piece_T) for path, piece_T in pieces]
    gain_S = gains(level_S[:2], [event.level_db or 0.0, ground.level_db or 0.0])
    sources_ST = np.stack([event_T, ground_T]) * gain_S[:, None]
    scaled_ST = scale_to_peak(sources_ST)
    scale = np.abs(scaled_ST).max() / np.abs(sources_ST).max()
    adaptation_T = adaptation_T * gain_S[1] * scale
    adaptation_T *= min(1.0, 0.9 / np.abs(adaptation_T).max())
    example = pack(
        row,
        scaled_ST,
        sample_rate=sample_rate,
        snr_db=row.snr_db,
        adaptation_T=quantise(adaptation_T[None])[0],
        adaptation_overlap=row.adaptation_overlap,
    )
    if not (example.sources_ST.any(axis=1).all() and example.adaptation_T.any()):
        raise BadInput(
            'silent part',
            f'{row.snr_db:.1f} dB of SNR leave nothing of one of '
            f'{printable(event.path)}, {printable(ground.path)}',
        )
    return example
