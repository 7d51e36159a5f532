"""BSS-eval version 3: SDR, SIR and SAR with one 512-tap filter over the whole signal, in float64.

This is the "SDR" of the speech separation literature, equal to mir_eval's `bss_eval_sources` with
`compute_permutation=False` and much faster: spectra and correlations are formed once for all
pairs, each reference's Toeplitz matrix is inverted once by Levinson's recursion (in the form of
Gohberg and Semencul, which multiplies by FFT), and with these inverses as preconditioner a few
steps of conjugate gradients solve for the joint projection. Where they fail, a dense solver takes
over.

Of an estimate x, with the projections P_r on the copies of reference r delayed by 0 to 511 samples
and P on those of all references,

    SDR = |P_r x|^2 / |x - P_r x|^2
    SIR = |P_r x|^2 / |P x - P_r x|^2
    SAR = |P x|^2 / |x - P x|^2

The energies are taken of the signals themselves, in the frequency domain, so that a small error of
the filter costs the SDR no more than that error squared.

Silence has no ratio: all three are nan for a silent reference and for a silent estimate, and a
silent reference is left out of P. A value is inf where the denominator is exactly zero. Trailing
zeros in all signals change nothing.

Reference: E. Vincent, R. Gribonval and C. Fevotte, "Performance measurement in blind audio source
separation", TASLP 2006; version 3 of the toolbox, E. Vincent et al., Signal Processing 92, 2012.
"""

import numpy as np
import scipy.fft
import scipy.linalg

_TOLERANCE = 1e-8  # of the projections' amplitude; measured, 5e-4 dB of an SIR of 101 dB
_MAX_STEPS = 60


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
        ValueError: The shapes do not match, or a sample is not finite.
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
        estimate_BST: Separated signals; estimate s belongs to reference s. With `pairwise` any
            number of signals [B, E, T].
        reference_BST: True signals, the whole set of an example's sources: interference is what the
            other references explain, so with a single one SIR is inf.
        filter_length: Taps of the distortion filter that is forgiven; 512 in the literature.
        length_B: Valid samples of each example, for padded batches; all by default.
        pairwise: Whether to score every estimate against every reference.

    Returns:
        `sdr`, `sir` and `sar`, each [B, S] in dB, or [B, R, E] with `pairwise`; nan for silence.

    Raises:
        ValueError: The shapes do not match, or a sample is not finite.
    """
    values = _batched(estimate_BST, reference_BST, filter_length, length_B, pairwise, joint=True)
    return dict(zip(('sdr', 'sir', 'sar'), values))


def _batched(estimate_BET, reference_BRT, filter_length, length_B, pairwise, joint):
    estimate_BET = np.asarray(estimate_BET, np.float64)
    reference_BRT = np.asarray(reference_BRT, np.float64)
    shapes = estimate_BET.shape, reference_BRT.shape
    if estimate_BET.ndim != 3 or reference_BRT.ndim != 3 or not (
        shapes[0][::2] == shapes[1][::2] if pairwise else shapes[0] == shapes[1]
    ):
        raise ValueError(
            f'BSS-eval was given estimates {shapes[0]} and references {shapes[1]}; it needs '
            '[batch, sources, samples] of equal shapes (with pairwise=True the numbers of sources '
            'may differ).'
        )
    if length_B is None:
        length_B = np.full(shapes[0][0], shapes[0][2])
    values = [
        _score(estimate_ET[:, :length], reference_RT[:, :length], filter_length, pairwise, joint)
        for estimate_ET, reference_RT, length in zip(estimate_BET, reference_BRT, length_B)
    ]
    sources = (shapes[1][1], shapes[0][1]) if pairwise else (shapes[1][1],)
    return np.moveaxis(np.reshape(values, (-1, 3 if joint else 1, *sources)), 1, 0)


def _score(estimate_ET, reference_RT, filter_length, pairwise, joint):
    """SDR, and with `joint` SIR and SAR, of one example: [1 or 3, R, E], or [1 or 3, S]."""
    if not (np.isfinite(estimate_ET).all() and np.isfinite(reference_RT).all()):
        raise ValueError('BSS-eval was given samples that are not finite; leave such examples out.')
    out_XRE = np.full((3 if joint else 1, len(reference_RT), len(estimate_ET)), np.nan)
    sounding = np.flatnonzero(reference_RT.any(axis=1))
    heard = np.flatnonzero(estimate_ET.any(axis=1))
    wanted_RE = np.equal.outer(sounding, heard) | pairwise
    if not wanted_RE.any():
        return out_XRE if pairwise else np.einsum('xss->xs', out_XRE)
    # The dB are free of scale; unit peaks keep the squares of very small signals from vanishing.
    reference_RT = reference_RT[sounding] / np.abs(reference_RT[sounding]).max(1, keepdims=True)
    estimate_ET = estimate_ET[heard] / np.abs(estimate_ET[heard]).max(1, keepdims=True)
    fft_length = scipy.fft.next_fast_len(reference_RT.shape[1] + filter_length - 1, real=True)
    reference_RF = scipy.fft.rfft(reference_RT, fft_length)
    estimate_EF = scipy.fft.rfft(estimate_ET, fft_length)

    taps = filter_length
    cross_ERT = np.empty((len(heard), len(sounding), taps))
    lag_RRT = np.zeros((len(sounding), len(sounding), 2 * taps - 1))  # lags 0 .., then 1 - taps ..
    for r, reference_F in enumerate(reference_RF):
        some = wanted_RE[r] | joint
        cross_EF = reference_F.conj() * estimate_EF[some]
        cross_ERT[some, r] = scipy.fft.irfft(cross_EF, fft_length)[:, :taps]
        for q in range(r, len(sounding) if joint else r + 1):
            lag_T = scipy.fft.irfft(reference_F.conj() * reference_RF[q], fft_length)
            lag_RRT[r, q] = np.concatenate([lag_T[:taps], lag_T[fft_length - taps + 1 :]])
            lag_RRT[q, r] = np.roll(lag_RRT[r, q, ::-1], 1)
    first_RT = [_first_column_of_inverse(lag_RRT[r, r, :taps]) for r in range(len(sounding))]

    def filtered(filter_ET, reference_F):
        return scipy.fft.rfft(filter_ET, fft_length) * reference_F

    if joint:
        filter_ERT = _solve(lag_RRT, first_RT, cross_ERT)
        joint_EF = sum(filtered(filter_ERT[:, r], s_F) for r, s_F in enumerate(reference_RF))
        artifacts_E = _energy(estimate_EF - joint_EF, fft_length)
        out_XRE[2, sounding[:, None], heard] = _decibel(_energy(joint_EF, fft_length), artifacts_E)
    for r, reference_F in enumerate(reference_RF):
        own, some = slice(r, r + 1), wanted_RE[r]
        filter_ET = _solve(lag_RRT[own, own], first_RT[own], cross_ERT[some, own])[:, 0]
        target_EF = filtered(filter_ET, reference_F)
        target_E = _energy(target_EF, fft_length)
        distortion_E = _energy(estimate_EF[some] - target_EF, fft_length)
        out_XRE[0, sounding[r], heard[some]] = _decibel(target_E, distortion_E)
        if joint:
            interference_E = _energy(joint_EF[some] - target_EF, fft_length)
            out_XRE[1, sounding[r], heard[some]] = _decibel(target_E, interference_E)
    return out_XRE if pairwise else np.einsum('xss->xs', out_XRE)


def _first_column_of_inverse(auto_T):
    """First column of the inverse of a symmetric Toeplitz matrix; None where it cannot be had."""
    try:
        first_T = scipy.linalg.solve_toeplitz(auto_T, np.eye(1, len(auto_T))[0])
    except np.linalg.LinAlgError:
        return None
    return first_T if np.isfinite(first_T).all() and first_T[0] > 0 else None


def _solve(lag_RRT, first_RT, right_ERT):
    """Solves the normal equations of the projection on the references that are given.

    Args:
        lag_RRT: Correlations of the references at lags 0 .. L - 1, then -L + 1 .. -1.
        first_RT: First column of the inverse of each reference's own Toeplitz matrix, or None.
        right_ERT: Correlations of references and estimates at lags 0 .. L - 1.

    Returns:
        Filters [E, R, L].
    """
    if all(first_T is not None for first_T in first_RT):
        filter_ERT = _conjugate_gradients(lag_RRT, np.array(first_RT), right_ERT)
        if filter_ERT is not None:
            return filter_ERT
    return _solve_dense(lag_RRT, right_ERT)


def _conjugate_gradients(lag_RRT, first_RT, right_ERT):
    taps = right_ERT.shape[-1]
    length = scipy.fft.next_fast_len(2 * taps - 1, real=True)
    padding = np.zeros((*lag_RRT.shape[:2], length - lag_RRT.shape[-1]))
    kernel_RRT = np.concatenate([lag_RRT[..., :taps], padding, lag_RRT[..., taps:]], axis=-1)
    lag_RRF = scipy.fft.rfft(kernel_RRT)
    shifted_RT = np.concatenate([np.zeros((len(first_RT), 1)), first_RT[:, :0:-1]], axis=1)
    plus_RF, minus_RF = (
        scipy.fft.rfft(x_RT / np.sqrt(first_RT[:, :1]), length) for x_RT in (first_RT, shifted_RT)
    )

    def spectrum(x_ERT):
        return scipy.fft.rfft(x_ERT, length)

    def signal(x_ERF):
        return scipy.fft.irfft(x_ERF, length)[..., :taps]

    def multiply(x_ERT):
        return signal((lag_RRF * spectrum(x_ERT)[:, None]).sum(axis=2))

    def precondition(x_ERT):  # the formula of Gohberg and Semencul, for each reference
        x_ERF = spectrum(x_ERT)
        plus_ERF = plus_RF * spectrum(signal(plus_RF.conj() * x_ERF))
        return signal(plus_ERF - minus_RF * spectrum(signal(minus_RF.conj() * x_ERF)))

    def inner(x_ERT, y_ERT):
        return (x_ERT * y_ERT).sum(axis=(1, 2), keepdims=True)

    tiny = np.finfo(np.float64).tiny
    filter_ERT = precondition(right_ERT)
    enough = _TOLERANCE**2 * inner(right_ERT, filter_ERT)
    residual_ERT = right_ERT - multiply(filter_ERT)
    ahead_ERT = step_ERT = precondition(residual_ERT)
    error = inner(residual_ERT, ahead_ERT)  # energy of the projection still missing
    for _ in range(_MAX_STEPS):
        if (np.abs(error) <= enough).all():
            return filter_ERT
        product_ERT = multiply(step_ERT)
        rate = error / np.maximum(inner(step_ERT, product_ERT), tiny)
        filter_ERT = filter_ERT + rate * step_ERT
        residual_ERT = residual_ERT - rate * product_ERT
        ahead_ERT = precondition(residual_ERT)
        last, error = error, inner(residual_ERT, ahead_ERT)
        step_ERT = ahead_ERT + error / np.maximum(last, tiny) * step_ERT
    return None


def _solve_dense(lag_RRT, right_ERT):
    taps = right_ERT.shape[-1]
    gram = np.block([
        [scipy.linalg.toeplitz(lag_T[:taps], np.roll(lag_T[::-1], 1)[:taps]) for lag_T in lag_RT]
        for lag_RT in lag_RRT
    ])  # fmt: skip
    right = right_ERT.reshape(len(right_ERT), -1).T
    # Copies of one reference, or more taps than samples, make the matrix singular: the smallest
    # ridge with which it factors leaves out what rounding has spoilt.
    for ridge in (0, 1e-13, 1e-11, 1e-9, 1e-7):
        try:
            raised = gram + ridge * gram.diagonal().max() * np.eye(len(gram))
            factor = scipy.linalg.cho_factor(raised, overwrite_a=True, check_finite=False)
            break
        except np.linalg.LinAlgError:
            continue
    solution = scipy.linalg.cho_solve(factor, right, check_finite=False)
    return solution.T.reshape(right_ERT.shape)


def _energy(spectrum_F, fft_length):
    power_F = spectrum_F.real**2 + spectrum_F.imag**2
    # Every bin but DC, and Nyquist where there is one, stands for two.
    nyquist = power_F[..., -1] if fft_length % 2 == 0 else 0.0
    return (2 * power_F.sum(axis=-1) - power_F[..., 0] - nyquist) / fft_length


def _decibel(numerator, denominator):
    with np.errstate(divide='ignore', invalid='ignore'):
        return 10 * np.log10(np.divide(numerator, denominator))
