"""All metrics of one separated example, and their improvement over the mixture."""

import numpy as np
import scipy.optimize

from fgsep_jax.metrics import bss_eval


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
    """
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
) -> dict[str, float | np.ndarray]:
    """Scores one example, if need be under the permutation with the best mean SI-SNR.

    Args:
        estimate_ST: Separated signals in any order.
        reference_ST: True signals.
        mixture_T: What was separated; it is scored against each reference in turn.
        filter_length: Taps of BSS-eval's distortion filter.
        full: Whether to add SIR and SAR, which takes several times longer.
        fixed_order: Whether estimate i is of reference i by its making.

    Returns:
        Means over the sources in dB: `si_snr`, `si_snr_mixture`, `si_snri` (their difference),
        `sdr`, `sdr_mixture`, `sdri`, with `full` also `sir`, `sir_mixture`, `siri` and `sar` (the
        mixture has no artifacts, hence no improvement in SAR); the values of each reference
        under the same names with the suffix `_S`; and `permutation_S`, where permutation_S[r] is
        the index of the estimate assigned to reference r.

    Raises:
        SkipExample: A signal is not finite, or silent (constant, for SI-SNR ignores the mean), or
            no longer than the filter.
        ValueError: The shapes do not match.
    """
    signals = dict(reference=reference_ST, mixture=mixture_T, estimate=estimate_ST)
    signals = {name: np.asarray(signal, np.float64) for name, signal in signals.items()}
    reference_ST, mixture_T, estimate_ST = signals.values()
    if estimate_ST.shape != reference_ST.shape or reference_ST.shape[1:] != mixture_T.shape:
        raise ValueError(
            f'estimates {estimate_ST.shape}, references {reference_ST.shape} and mixture '
            f'{mixture_T.shape} do not match: they must be [sources, samples] twice and [samples].'
        )
    for name, signal in signals.items():
        if not np.isfinite(signal).all():
            raise SkipExample(f'non-finite {name}')
    for name, signal in signals.items():
        if (np.ptp(signal, axis=-1) == 0).any():
            raise SkipExample(f'silent {name}')

    if len(mixture_T) <= filter_length:
        raise SkipExample('shorter than the distortion filter')  # which would explain anything

    si_snr_RE = si_snr(np.concatenate([estimate_ST, mixture_T[None]]), reference_ST)
    source_S = permutation_S = np.arange(len(reference_ST))
    if not fixed_order:
        _, permutation_S = scipy.optimize.linear_sum_assignment(si_snr_RE[:, :-1], maximize=True)
    ordered_ST = estimate_ST[permutation_S]
    per_source = dict(si_snr=si_snr_RE[source_S, permutation_S], si_snr_mixture=si_snr_RE[:, -1])
    per_source['si_snri'] = per_source['si_snr'] - per_source['si_snr_mixture']

    candidate_ET = np.concatenate([ordered_ST, mixture_T[None]])
    keywords = dict(filter_length=filter_length, pairwise=True)
    if full:
        ratios = bss_eval.bss_eval(candidate_ET[None], reference_ST[None], **keywords)
        per_source |= {name: ratios[name][0, source_S, source_S] for name in ('sir', 'sar')}
        per_source['sir_mixture'] = ratios['sir'][0, :, -1]
        per_source['siri'] = per_source['sir'] - per_source['sir_mixture']
        sdr_RE = ratios['sdr'][0]
    else:
        sdr_RE = bss_eval.sdr(candidate_ET[None], reference_ST[None], **keywords)[0]
    per_source |= dict(sdr=sdr_RE[source_S, source_S], sdr_mixture=sdr_RE[:, -1])
    per_source['sdri'] = per_source['sdr'] - per_source['sdr_mixture']

    means = {name: float(value_S.mean()) for name, value_S in per_source.items()}
    per_source['permutation'] = permutation_S
    return means | {f'{name}_S': value_S for name, value_S in per_source.items()}
