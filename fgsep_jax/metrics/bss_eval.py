"""BSS-eval version 3: SDR, SIR and SAR with one 512-tap filter over the whole signal, in float64.

This is the "SDR" of the speech separation literature, equal to mir_eval's `bss_eval_sources` with
`compute_permutation=False` and much faster: spectra and correlations are formed once for all
pairs, block by block; each reference's Toeplitz matrix is inverted once by Levinson's recursion (in
the form of Gohberg and Semencul, which multiplies by FFT); and with these inverses as
preconditioner, from the projections on single references, a few steps of conjugate gradients lead
to the joint one. Where they fail, a dense solver takes over.

Of an estimate x, with the projections P_r on the copies of reference r delayed by 0 to 511 samples
and P on those of all references,

    SDR = |P_r x|^2 / |x - P_r x|^2
    SIR = |P_r x|^2 / |P x - P_r x|^2
    SAR = |P x|^2 / |x - P x|^2

Nothing is taken off the signals, as in mir_eval: an offset counts as signal, and one that estimate
and reference share as perfectly separated. `improvement.evaluate_example` takes off the means.

The energies are taken of the signals themselves, so that a small error of the filter costs the SDR
no more than that error squared.

Silence has no ratio: all three are nan for a silent reference and for a silent estimate, and a
silent reference is left out of P. A value is inf where the denominator is exactly zero. Trailing
zeros in all signals change nothing.

Reference: E. Vincent, R. Gribonval and C. Fevotte, "Performance measurement in blind audio source
separation", TASLP 2006; version 3 of the toolbox, E. Vincent et al., Signal Processing 92, 2012.
"""

import functools

import numpy as np
import scipy.fft

from fgsep_jax.metrics.projection import project


def sdr(
    estimate_BST: np.ndarray,
    reference_BST: np.ndarray,
    *,
    filter_length: int = 512,
    length_B: np.ndarray | None = None,
    pairwise: bool = False,
) -> np.ndarray:
    """Signal-to-distortion ratio, without the costly joint projection that SIR and SAR need.

    Args:
      estimate_BST: Separated signals; estimate s belongs to reference s. With `pairwise` any
        number of signals [B, E, T], for example the mixture beside the estimates.
      reference_BST: True signals.
      filter_length: Taps of the distortion filter that is forgiven; 512 in the literature.
      length_B: Valid samples of each example, for padded batches; all by default.
      pairwise: Whether to score every estimate against every reference.

    Returns:
      SDR [B, S] in dB, or [B, R, E] with `pairwise`; nan for silence.

    Raises:
      ValueError: The shapes do not match, a length is none, or a sample is not finite.
    """
    return _batched(estimate_BST, reference_BST, filter_length, length_B, pairwise, joint=False)[0]


def bss_eval(
    estimate_BST: np.ndarray,
    reference_BST: np.ndarray,
    *,
    filter_length: int = 512,
    length_B: np.ndarray | None = None,
    pairwise: bool = False,
) -> dict[str, np.ndarray]:
    """Signal-to-distortion, -interference and -artifacts ratios.

    Args:
      estimate_BST: As in `sdr`, and so all arguments.
      reference_BST: True signals, the whole set of an example's sources: interference is what the
        other references explain, so with a single one SIR is inf.
      filter_length: Taps of the distortion filter.
      length_B: Valid samples of each example.
      pairwise: Whether to score every estimate against every reference.

    Returns:
      `sdr`, `sir` and `sar`, each [B, S] in dB, or [B, R, E] with `pairwise`; nan for silence.

    Raises:
      ValueError: The shapes do not match, a length is none, or a sample is not finite.
    """
    values = _batched(estimate_BST, reference_BST, filter_length, length_B, pairwise, joint=True)
    return dict(zip(('sdr', 'sir', 'sar'), values))


def _batched(estimate_BET, reference_BRT, filter_length, length_B, pairwise, joint):
    estimate_BET, reference_BRT = np.asarray(estimate_BET), np.asarray(reference_BRT)
    shapes = estimate_BET.shape, reference_BRT.shape
    if (
        estimate_BET.ndim != 3
        or reference_BRT.ndim != 3
        or not (shapes[0][::2] == shapes[1][::2] if pairwise else shapes[0] == shapes[1])
    ):
        raise ValueError(
            f'BSS-eval was given estimates {shapes[0]} and references {shapes[1]}; it needs '
            '[batch, sources, samples] of equal shapes (with pairwise=True the numbers of sources '
            'may differ).'
        )
    batch, _, samples = shapes[0]
    length_B = np.full(batch, samples) if length_B is None else np.asarray(length_B)
    if (
        length_B.shape != (batch,)
        or not np.issubdtype(length_B.dtype, np.integer)
        or ((length_B < 1) | (length_B > samples)).any()
    ):
        raise ValueError(
            f'length_B = {length_B.tolist()} must hold a whole number of samples, 1 to {samples}, '
            f'for each of the {batch} examples.'
        )
    values = [
        _score(estimate_ET[:, :length], reference_RT[:, :length], filter_length, pairwise, joint)
        for estimate_ET, reference_RT, length in zip(estimate_BET, reference_BRT, length_B)
    ]
    sources = (shapes[1][1], shapes[0][1]) if pairwise else (shapes[1][1],)
    return np.moveaxis(np.reshape(values, (-1, 3 if joint else 1, *sources)), 1, 0)


def _score(estimate_ET, reference_RT, filter_length, pairwise, joint):
    """SDR, and with `joint` SIR and SAR, of one example: [1 or 3, R, E], or [1 or 3, S]."""
    peak_R, peak_E = _peaks(reference_RT), _peaks(estimate_ET)
    if not (np.isfinite(peak_R).all() and np.isfinite(peak_E).all()):
        raise ValueError('BSS-eval was given samples that are not finite; leave such examples out.')
    out_XRE = np.full((3 if joint else 1, len(peak_R), len(peak_E)), np.nan)
    sounding, heard = np.flatnonzero(peak_R), np.flatnonzero(peak_E)
    wanted_ER = np.equal.outer(heard, sounding) | pairwise
    if wanted_ER.any():
        scores = _score_sounding(
            functools.partial(_blocks, estimate_ET, heard, peak_E, filter_length),
            functools.partial(_blocks, reference_RT, sounding, peak_R, filter_length),
            wanted_ER,
            filter_length,
            joint,
        )
        e_P, r_P = np.nonzero(wanted_ER)
        out_XRE[:, sounding[r_P], heard[e_P]] = scores
    return out_XRE if pairwise else np.einsum('xss->xs', out_XRE)


def _peaks(signal_ST):
    high_S, low_S = signal_ST.max(axis=1, initial=0), signal_ST.min(axis=1, initial=0)
    return np.maximum(high_S.astype(np.float64), -low_S.astype(np.float64))


def _blocks(signal_NT, some_S, peak_N, taps):
    """Yields blocks [S, L - 1 + K] of some of the signals, at peak 1: K samples, and those before.

    The dB are free of scale; unit peaks keep the squares of very small signals from vanishing.
    Blocks are short to stay in the cache, and are made afresh when needed again: for what is small
    the allocator needs no new pages. The last one holds the tails of the filters, L taps long.
    """
    samples = signal_NT.shape[1]
    count = -(-(samples + taps - 1) // max(8 * taps, 4096))
    size = -(-(samples + taps - 1) // count)
    for start in range(1 - taps, samples, size):
        block_SK = np.zeros((len(some_S), taps - 1 + size))
        part_SK = signal_NT[some_S, max(start, 0) : start + taps - 1 + size]
        first = max(-start, 0)
        np.divide(part_SK, peak_N[some_S, None], out=block_SK[:, first : first + part_SK.shape[1]])
        yield block_SK


def _score_sounding(estimate_blocks, reference_blocks, wanted_ER, taps, joint):
    """`_score` [1 or 3, P] of the wanted pairs of signals that sound, by functions to `_blocks`."""
    references = wanted_ER.shape[1]
    span = next(reference_blocks()).shape[1]
    length = scipy.fft.next_fast_len(span, real=True)
    kept = slice(taps - 1, span)  # of a filtered block, what no sample is missing from
    pairs = np.argwhere(wanted_ER | joint)
    e_P, r_P = pairs.T
    # Which of the signals, references first, each reference is correlated with.
    wanted_RS = np.concatenate([np.eye(references, dtype=bool), wanted_ER.T], axis=1) | joint
    some_R = [slice(None) if joint else np.flatnonzero(wanted_S) for wanted_S in wanted_RS]
    sum_RSF = np.zeros((*wanted_RS.shape, length // 2 + 1), np.complex128)
    window_RFs, energy_E = [], 0.0
    for estimate_EK, reference_RK in zip(estimate_blocks(), reference_blocks()):
        new_SK = np.concatenate([reference_RK, estimate_EK])[:, taps - 1 :]
        conjugate_SF = scipy.fft.rfft(new_SK, length).conj()
        window_RF = scipy.fft.rfft(reference_RK, length)
        for r, some in enumerate(some_R):
            sum_RSF[r, some] += window_RF[r] * conjugate_SF[some]
        window_RFs.append(window_RF)
        energy_E = energy_E + _energy(new_SK[references:])
    correlation_RST = scipy.fft.irfft(sum_RSF, length)[..., taps - 1 :: -1]  # lags 0 .. L - 1
    own_PT, joint_ERT = project(
        correlation_RST[:, :references],
        correlation_RST[r_P, references + e_P][:, None],
        pairs,
        energy_E if joint else None,
    )

    wanted_P = wanted_ER[e_P, r_P]
    e_P, r_P = e_P[wanted_P], r_P[wanted_P]
    own_PF = scipy.fft.rfft(own_PT[wanted_P], length)
    joint_ERF = scipy.fft.rfft(joint_ERT, length) if joint else None
    over_XP, under_XP = np.zeros((2, 3 if joint else 1, len(e_P)))
    for estimate_EK, window_RF in zip(estimate_blocks(), window_RFs):
        estimate_PK = estimate_EK[e_P, taps - 1 :]
        target_PK = scipy.fft.irfft(own_PF * window_RF[r_P], length)[:, kept]
        over_XP[:2] += _energy(target_PK)
        under_XP[0] += _energy(estimate_PK - target_PK)
        if joint_ERF is not None:
            joint_EF = np.einsum('erf,rf->ef', joint_ERF, window_RF)
            joint_PK = scipy.fft.irfft(joint_EF, length)[e_P, kept]
            under_XP[1] += _energy(joint_PK - target_PK)
            over_XP[2] += _energy(joint_PK)
            under_XP[2] += _energy(estimate_PK - joint_PK)
    return _decibel(over_XP, under_XP)


def _energy(signal_PK):
    return np.einsum('pk,pk->p', signal_PK, signal_PK)


def _decibel(numerator, denominator):
    with np.errstate(divide='ignore', invalid='ignore'):
        return 10 * np.log10(np.divide(numerator, denominator))
