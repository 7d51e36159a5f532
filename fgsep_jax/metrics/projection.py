"""Projections on the delayed copies of signals: block Toeplitz systems, solved for BSS-eval."""

import numpy as np
import scipy.fft
import scipy.linalg

_TOLERANCE = 1e-8  # of the projections' amplitude; measured, 5e-4 dB of an SIR of 101 dB
# Or of the energies of interference and artifacts. On pairs of voices SIR is then within 3e-5 dB of
# the dense solver's, SAR within 2e-6; 1e-8 would save a twentieth of the time and give 1.5e-4 dB.
_SHARE = 1e-10
_MAX_STEPS = 60
_COPIES = 1e-12  # of a reference's energy outside the other's span: they are one, but for rounding


def project(lag_RRT, cross_P1T, pairs, energy_E):
    """Solves the normal equations of the projections on one reference and on all.

    Args:
      lag_RRT: Correlations of the references, sum_t r[t] q[t + l], at lags l = 0 .. L - 1.
      cross_P1T: Correlations of reference and estimate at the same lags, of each pair.
      pairs: The pairs (estimate, reference) [P, 2].
      energy_E: Energies of the estimates; None: no joint projections. Else `pairs` has all.

    Returns:
      Filters [P, L] of the pairs, and [E, R, L] of the estimates or None.
    """
    references, taps, r_P = len(lag_RRT), cross_P1T.shape[-1], pairs[:, 1]
    length = scipy.fft.next_fast_len(2 * taps - 1, real=True)
    padding = np.zeros((references, references, length - 2 * taps + 1))
    before_RRT = lag_RRT.swapaxes(0, 1)[..., :0:-1]  # lags 1 - L .. -1
    lag_RRF = scipy.fft.rfft(np.concatenate([lag_RRT, padding, before_RRT], axis=-1))
    inverse_2RF = _inverses(lag_RRT[range(references), range(references)], length)

    # Where references nearly agree, what they disagree in explains much of the estimate by large
    # filters and hides from the preconditioner's norm. So of two, each is projected on the other.
    beside = [0, 1] if energy_E is not None and references == 2 else []
    rows_P = np.concatenate([r_P, np.array(beside, int)])
    right_P1T = np.concatenate([cross_P1T, lag_RRT[beside, beside[::-1]][:, None]])
    own_P1T = _conjugate_gradients(
        lag_RRF[rows_P, rows_P][:, None, None], inverse_2RF[:, rows_P][:, :, None], right_P1T
    )
    share = 1e-8  # of three and more it is not known
    if own_P1T is None:
        own_P1T = np.empty_like(cross_P1T)
        for r in range(references):
            own = slice(r, r + 1)
            own_P1T[r_P == r] = _solve_dense(lag_RRT[own, own], cross_P1T[r_P == r])
    elif beside:
        inside = np.einsum('pxt,pxt->p', own_P1T[-2:], right_P1T[-2:])
        share = (1 - inside / lag_RRT[beside[::-1], beside[::-1], 0]).min()
        own_P1T, share = own_P1T[:-2], share if share > _COPIES else 1.0
    if energy_E is None:
        return own_P1T[:, 0], None
    own_ERT, cross_ERT = (x.reshape(-1, references, taps) for x in (own_P1T, cross_P1T))
    if references == 1:
        return own_P1T[:, 0], own_ERT
    joint_ERT = _conjugate_gradients(
        lag_RRF[None], inverse_2RF[:, None], cross_ERT, own_ERT, energy_E[:, None, None], share
    )
    return own_P1T[:, 0], _solve_dense(lag_RRT, cross_ERT) if joint_ERT is None else joint_ERT


def _inverses(auto_RT, length):
    """Spectra of Gohberg and Semencul's two factors of the inverse of each symmetric Toeplitz
    matrix, given by first columns: complex [2, R, F]; nan where there is no inverse."""
    factor_2RT = np.full((2, *auto_RT.shape), np.nan)
    for r, auto_T in enumerate(auto_RT):
        try:  # the first column of the inverse makes the rest
            first_T = scipy.linalg.solve_toeplitz(auto_T, np.eye(1, len(auto_T))[0])
        except np.linalg.LinAlgError:
            continue
        if np.isfinite(first_T).all() and first_T[0] > 0:
            factor_2RT[0, r] = first_T / np.sqrt(first_T[0])
            factor_2RT[1, r] = np.roll(factor_2RT[0, r, ::-1], 1)
            factor_2RT[1, r, 0] = 0
    return scipy.fft.rfft(factor_2RT, length)


def _conjugate_gradients(
    lag_PRRF, inverse_2PRF, right_PRT, start_PRT=None, energy_P11=None, share=1.0
):
    """Solves P systems of R blocks, with the inverses of the diagonal blocks as preconditioner.

    Args:
      lag_PRRF: Spectra of the blocks' circulant extensions; P may be 1 for all alike.
      inverse_2PRF: As `_inverses` returns them, at each system's blocks; P may be 1.
      right_PRT: Right-hand sides.
      start_PRT: Where to start; by default, with the preconditioner's answer.
      energy_P11: Energies of the estimates: it will then do if what is missing is little beside
        both what was missing at the start (which is interference) and the artifacts.
      share: Of a reference's energy, what the others leave unexplained. Missing energy where
        they nearly agree shows in the preconditioner's norm by no more than that share.

    Returns:
      Solutions [P, R, L]; None where the steps do not lead to one.
    """
    if np.isnan(inverse_2PRF).any():
        return None
    taps = right_PRT.shape[-1]
    length = scipy.fft.next_fast_len(2 * taps - 1, real=True)
    conjugate_2PRF = inverse_2PRF.conj()
    signed_2PRF = inverse_2PRF * np.reshape([1, -1], (2, 1, 1, 1))

    def spectrum(x_PRT):
        return scipy.fft.rfft(x_PRT, length)

    def signal(x_PRF):
        return scipy.fft.irfft(x_PRF, length)[..., :taps]

    def multiply(x_PRT):
        return signal((lag_PRRF * spectrum(x_PRT)[:, None]).sum(axis=2))

    def precondition(x_PRT):
        inner_2PRT = signal(conjugate_2PRF * spectrum(x_PRT))
        return signal((signed_2PRF * spectrum(inner_2PRT)).sum(axis=0))

    def inner(x_PRT, y_PRT):
        return np.einsum('prt,prt->p', x_PRT, y_PRT)[:, None, None]

    tiny = np.finfo(np.float64).tiny
    filter_PRT = precondition(right_PRT) if start_PRT is None else start_PRT
    enough = least = share * _TOLERANCE**2 * inner(right_PRT, filter_PRT)
    residual_PRT = right_PRT - multiply(filter_PRT)
    ahead_PRT = step_PRT = precondition(residual_PRT)
    first = error = inner(residual_PRT, ahead_PRT)  # energy of the projection still missing
    for _ in range(_MAX_STEPS):
        if energy_P11 is not None:
            artifacts = energy_P11 - inner(filter_PRT, right_PRT + residual_PRT)
            enough = np.maximum(least, share * _SHARE * np.minimum(first, artifacts))
        if (np.abs(error) <= enough).all():
            return filter_PRT
        product_PRT = multiply(step_PRT)
        rate = error / np.maximum(inner(step_PRT, product_PRT), tiny)
        filter_PRT = filter_PRT + rate * step_PRT
        residual_PRT = residual_PRT - rate * product_PRT
        ahead_PRT = precondition(residual_PRT)
        last, error = error, inner(residual_PRT, ahead_PRT)
        step_PRT = ahead_PRT + error / np.maximum(last, tiny) * step_PRT
    return None


def _solve_dense(lag_RRT, right_ERT):
    gram = np.block([
        [scipy.linalg.toeplitz(lag_T, before_T) for lag_T, before_T in zip(lag_RT, before_RT)]
        for lag_RT, before_RT in zip(lag_RRT, lag_RRT.swapaxes(0, 1))
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
