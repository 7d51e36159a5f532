"""From a spec to an example: read the clips, apply the rules of `mixing`, pack."""

import math

import numpy as np

from data_prep import audio, mixing
from data_prep.audio import BadInput
from data_prep.corpora import plural, printable
from data_prep.plans import MixtureSpec
from fgsep_jax import pcm
from fgsep_jax.data.records import Example


def pack(
    spec: MixtureSpec, sources_ST: np.ndarray, *, sample_rate: int, snr_db: float, **adaptation
) -> Example:
    """The example of a spec from its mixed sources.

    Args:
        spec: names and classes of the sources.
        sources_ST: in [-1, 1); rounded to int16.
        sample_rate: in hertz.
        snr_db: what the record says.
        **adaptation: the fields of `Example` on the adaptation segment, where there is one.
    Raises:
        BadInput: if a source or the mixture does not fit int16.
    """
    try:
        pcm_ST = mixing.quantise(sources_ST)
    except ValueError as error:
        raise BadInput('mixture clips', str(error)) from error
    return Example(
        id=spec.id,
        sources_ST=pcm_ST,
        sample_rate=sample_rate,
        source_ids=tuple(clip.source_id for clip in spec.clips),
        source_classes=tuple(clip.source_class for clip in spec.clips),
        snr_db=snr_db,
        **adaptation,
    )


def mix_at_levels(spec: MixtureSpec, *, sample_rate: int) -> Example:
    """Sources at the spec's P.56 active levels, cut to the shortest, one common scale to 0.9.

    The level is taken over each clip as the spec names it: over what is in the mixture where the
    plan has cropped already (`random_pairs`), over the whole file, before the cut to the
    shortest, where it has not (`listed_pairs`, as the MERL scripts do).

    Raises:
        BadInput: if a clip cannot be read or is silent.
    """
    clips, level_db_S = [], []
    for clip in spec.clips:
        clip_T = audio.read(
            clip.path,
            sample_rate=sample_rate,
            start=clip.start,
            stop=clip.stop,
            take=clip.take,
        )
        if clip_T.size < spec.samples:
            raise BadInput(
                'unreadable',
                f'{printable(clip.path)}: {plural(clip_T.size, "sample")} left of {clip.stop}',
            )
        level_db, _ = mixing.active_speech_level(clip_T, sample_rate=sample_rate)
        heard_db, offset = level_db, float(np.mean(clip_T, dtype=np.float64))
        if abs(offset) > 1e-3:  # a constant has a level, but nobody hears it
            heard_db, _ = mixing.active_speech_level(clip_T - offset, sample_rate=sample_rate)
        if heard_db < -60.0:
            raise BadInput(
                'silent part', f'{printable(clip.path)}: {heard_db:.0f} dB where it was cropped'
            )
        clips.append(clip_T[: spec.samples])
        level_db_S.append(level_db)
    sources_ST = mixing.scale_to_levels(np.stack(clips), level_db_S, spec.level_db)
    return pack(spec, mixing.scale_to_peak(sources_ST), sample_rate=sample_rate, snr_db=spec.snr_db)


def mix_as_made(spec: MixtureSpec, *, sample_rate: int, tolerance: int = 2) -> Example:
    """Sources of a tree that is already mixed, sample for sample.

    Without a listed level the SNR is the ratio of the sources' mean powers, offsets not counted.

    Args:
        spec: its `extra` are paths of the ready mixture, in one form or several; the first that
            can be read is checked against the sum.
        sample_rate: of the data set.
        tolerance: of that check, in int16 steps (each file was rounded on its own).
    Raises:
        BadInput: if the sources differ in length, or the mixture is not their sum.
    """
    lengths = {clip.stop for clip in spec.clips}
    if len(lengths) > 1:
        raise BadInput('lengths differ', f'sources of {sorted(lengths)} samples')
    # As they are, so that they add up to the mixture.
    takes = [audio.Take(clip.take.channel) for clip in spec.clips]
    sources_ST = np.stack(
        [
            audio.read(clip.path, sample_rate=sample_rate, take=take)
            for clip, take in zip(spec.clips, takes)
        ]
    )
    mixture_T = audio.read_first(spec.extra, sample_rate=sample_rate)
    if mixture_T.shape != sources_ST.shape[1:]:
        raise BadInput('lengths differ', f'mixture {mixture_T.size}, sources {sorted(lengths)}')
    error = float(np.abs(sources_ST.sum(axis=0) - mixture_T).max()) * pcm.FULL_SCALE
    if error > tolerance:
        raise BadInput('mixture is not the sum', f'differs by {error:.0f} steps of int16')
    snr_db = spec.snr_db
    if math.isnan(snr_db):
        offset_S1 = np.array([[clip.take.offset] for clip in spec.clips], np.float32)
        power_S = np.mean(np.square(sources_ST - offset_S1, dtype=np.float64), axis=1)
        snr_db = float(10.0 * np.log10(power_S[0] / power_S[1]))
    return pack(spec, sources_ST, sample_rate=sample_rate, snr_db=snr_db)
