"""All metrics of one separated example, and their improvement over the mixture."""

import numpy as np

from fgsep_jax.metrics import bss_eval
from fgsep_jax.metrics.quality import MEASURES, WORST

# Version of the rules by which `evaluate_example` scores: 2 takes off means before BSS-eval and
# counts empty estimates. What was evaluated before there were versions has none.
RULES = 2
# dB that a score is kept within: the references have 16 bits, and a ratio of zero would have no
# mean. An estimate without a signal has no ratio; it counts as the worst.
LIMIT = 100.0


class SkipExample(Exception):
    """An example that has no score. The caller counts it by `reason` and leaves it out.

    Attributes:
      reason: What is the matter, e.g. 'silent reference'.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def si_snr(estimate_ET: np.ndarray, reference_RT: np.ndarray, *, eps: float = 1e-8) -> np.ndarray:
    """Scale-invariant signal-to-noise ratio of all pairs in float64.

    The definition, and the amplitude `eps`, are those of `losses.si_snr`.

    Args:
      estimate_ET: Separated signals.
      reference_RT: True signals.
      eps: RMS amplitude of the floor under signal and noise.

    Returns:
      SI-SNR [R, E] in dB.

    Raises:
      ValueError: A signal does not have two axes, or the numbers of samples differ.
    """
    shapes = np.shape(estimate_ET), np.shape(reference_RT)
    if not len(shapes[0]) == len(shapes[1]) == 2 or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f'estimates have the shape {shapes[0]}, references {shapes[1]}: they must be [signals, '
            'samples] of the same samples.'
        )
    estimate_ET = estimate_ET - estimate_ET.mean(axis=-1, keepdims=True)
    reference_RT = reference_RT - reference_RT.mean(axis=-1, keepdims=True)
    power_R = np.square(reference_RT).mean(axis=-1)
    scale_RE = reference_RT @ estimate_ET.T / reference_RT.shape[-1] / (power_R + eps**2)[:, None]
    target_RE = np.square(scale_RE) * power_R[:, None]
    noise_RET = estimate_ET[None] - scale_RE[:, :, None] * reference_RT[:, None]
    noise_RE = np.square(noise_RET).mean(axis=-1)
    return 10 * np.log10((target_RE + eps**2) / (noise_RE + eps**2))


def evaluate_example(
    estimate_ST: np.ndarray,
    reference_ST: np.ndarray,
    mixture_T: np.ndarray,
    *,
    filter_length: int = 512,
    full: bool = False,
    fixed_order: bool = False,
    quality: tuple[str, ...] = (),
    sample_rate: int = 0,
) -> dict[str, float | np.ndarray]:
    """Scores one example, if need be under the permutation with the best mean SI-SNR.

    All signals lose their mean first, which SI-SNR ignores by its definition and BSS-eval does not:
    to it an offset that estimate and reference share is a perfectly separated signal.

    An estimate is never a reason to leave an example out. One that is empty, that is, silent
    (constant) or not finite, scores -LIMIT in every ratio, and what it improves is that less the
    mixture's score. All ratios are kept within -LIMIT and LIMIT.

    Args:
      estimate_ST: Separated signals in any order and, where their order is free, at any scale.
      reference_ST: True signals.
      mixture_T: What was separated; it is scored against each reference in turn.
      filter_length: Taps of BSS-eval's distortion filter.
      full: Whether to add SIR and SAR, which takes several times longer.
      fixed_order: Whether estimate i is of reference i by its making.
      quality: Of `quality.MEASURES`, what is measured besides, of estimates and mixture.
      sample_rate: In hertz, for these.

    Returns:
      Means over the sources in dB: `si_snr`, `si_snr_mixture`, `si_snri` (their difference),
      `sdr`, `sdr_mixture`, `sdri`, with `full` also `sir`, `sir_mixture`, `siri` and `sar` (the
      mixture has no artifacts, hence no improvement in SAR); the values of each reference
      under the same names with the suffix `_S`; `permutation_S`, where permutation_S[r] is
      the index of the estimate assigned to reference r; and `empty_estimates`, how many are.

    Raises:
      SkipExample: A reference or the mixture is not finite, or silent (constant), or the signals
        are no longer than the filter.
      ValueError: The shapes do not match.
    """
    estimate_ST, reference_ST, mixture_T = (
        np.asarray(signal, np.float64) for signal in (estimate_ST, reference_ST, mixture_T)
    )
    if estimate_ST.shape != reference_ST.shape or reference_ST.shape[1:] != mixture_T.shape:
        raise ValueError(
            f'estimates {estimate_ST.shape}, references {reference_ST.shape} and mixture '
            f'{mixture_T.shape} do not match: they must be [sources, samples] twice and [samples].'
        )
    given = dict(reference=reference_ST, mixture=mixture_T)
    for name, signal in given.items():
        if not np.isfinite(signal).all():
            raise SkipExample(f'non-finite {name}')
    for name, signal in given.items():
        if _silent(signal).any():
            raise SkipExample(f'silent {name}')

    if len(mixture_T) <= filter_length:
        raise SkipExample('shorter than the distortion filter')  # which would explain anything

    estimate_ST = finite(estimate_ST)
    empty_S = _silent(estimate_ST)
    as_given = estimate_ST, reference_ST, mixture_T
    reference_ST, mixture_T = _zero_mean(reference_ST), _zero_mean(mixture_T)
    # At the mixture's level, for an estimate of a free scale may be far below the floor of eps.
    estimate_ST = np.where(empty_S[:, None], 0, _zero_mean(estimate_ST))
    estimate_ST *= rms(mixture_T) / np.where(empty_S, 1, rms(estimate_ST))[:, None]

    si_snr_RE = si_snr(np.concatenate([estimate_ST, mixture_T[None]]), reference_ST)
    source_S = permutation_S = np.arange(len(reference_ST))
    if not fixed_order:
        _, permutation_S = _best_order(si_snr_RE[:, :-1])
    ratio_RE = dict(si_snr=np.column_stack([si_snr_RE[:, permutation_S], si_snr_RE[:, -1]]))
    candidate_ET = np.concatenate([estimate_ST[permutation_S], mixture_T[None]])
    signals = candidate_ET[None], reference_ST[None]
    if full:
        ratios = bss_eval.bss_eval(*signals, filter_length=filter_length, pairwise=True)
        ratio_RE |= {name: ratio_BRE[0] for name, ratio_BRE in ratios.items()}
    else:
        ratio_RE['sdr'] = bss_eval.sdr(*signals, filter_length=filter_length, pairwise=True)[0]

    per_source = {}
    for name, value_RE in ratio_RE.items():
        value_S = np.where(empty_S[permutation_S], -LIMIT, value_RE[source_S, source_S])
        per_source[name] = np.clip(value_S, -LIMIT, LIMIT)
        if name != 'sar':
            per_source[f'{name}_mixture'] = np.clip(value_RE[:, -1], -LIMIT, LIMIT)
            per_source[f'{name}i'] = per_source[name] - per_source[f'{name}_mixture']
    estimate_ST, reference_ST, mixture_T = as_given
    for name in quality:
        measure, worst = MEASURES[name], WORST[name]
        per_source[name] = np.array(
            [
                worst if empty_S[e] else measure(estimate_ST[e], reference_T, sample_rate)
                for e, reference_T in zip(permutation_S, reference_ST)
            ]
        )
        per_source[f'{name}_mixture'] = np.array(
            [measure(mixture_T, reference_T, sample_rate) for reference_T in reference_ST]
        )
    means = {name: float(value_S.mean()) for name, value_S in per_source.items()}
    per_source['permutation'] = permutation_S
    return {
        **means,
        **{f'{name}_S': value_S for name, value_S in per_source.items()},
        'empty_estimates': int(empty_S.sum()),
    }


def as_references(estimate_ST: np.ndarray, reference_ST: np.ndarray) -> np.ndarray:
    """Estimates whose order, scale and sign SI-SNR leaves free, to be heard beside the references.

    Args:
      estimate_ST: Separated signals.
      reference_ST: True signals.

    Returns:
      Estimates [S, T] in the order of the references, each at its reference's level and with the
      sign of its projection on it; silence where an estimate is empty.
    """
    estimate_ST = finite(np.asarray(estimate_ST, np.float64))
    _, permutation_S = _best_order(si_snr(estimate_ST, reference_ST))
    estimate_ST, zero_mean_ST = estimate_ST[permutation_S], _zero_mean(estimate_ST[permutation_S])
    correlation_S = (zero_mean_ST * reference_ST).sum(axis=-1)
    rms_S, wanted_S = rms(zero_mean_ST), rms(_zero_mean(reference_ST))
    gain_S = np.where(rms_S > 0, wanted_S / np.where(rms_S > 0, rms_S, 1), 0)
    return estimate_ST * np.where(correlation_S < 0, -gain_S, gain_S)[:, None]


def finite(estimate_ST: np.ndarray) -> np.ndarray:
    """Silence in the place of each estimate that is not finite throughout."""
    return np.where(np.isfinite(estimate_ST).all(axis=-1, keepdims=True), estimate_ST, 0)


def _best_order(si_snr_RE):
    import scipy.optimize  # not before something is scored: it takes a sixth of a start

    return scipy.optimize.linear_sum_assignment(si_snr_RE, maximize=True)


def rms(signal_T: np.ndarray) -> np.ndarray:
    """Root mean square over the last axis."""
    return np.sqrt(np.square(signal_T).mean(axis=-1))


def _silent(signal_T):
    return np.ptp(signal_T, axis=-1) == 0


def _zero_mean(signal_T):
    return signal_T - signal_T.mean(axis=-1, keepdims=True)
