"""Signal-to-noise ratios in dB, scale-invariant and plain."""

import jax
import jax.numpy as jnp

from fgsep_jax.registry import Registry


@jax.jit
def si_snr(
    estimate: jax.Array,
    reference: jax.Array,
    *,
    valid: jax.Array | None = None,
    eps: float = 1e-8,
) -> jax.Array:
    """Scale-invariant signal-to-noise ratio; higher is better.

    Both signals lose their mean, the estimate is projected on the reference, and the power of the
    projection is divided by the power of what is left:

        target = <estimate, reference> / |reference|^2 * reference
        SI-SNR = 10 log10(|target|^2 / |estimate - target|^2)

    `eps` is an amplitude: each mean power is raised by eps^2, that is, by a floor at -160 dBFS
    (full scale is 1). It changes the result by more than 0.01 dB only where target or noise
    lies under -134 dBFS: a source at -60 dBFS reads true up to 73 dB, one at -40 dBFS up to 93
    dB. It keeps values and gradients finite everywhere: a perfect estimate at -20 dBFS reads
    about 140 dB, an estimate of a silent reference -160 dB minus its own level in dBFS, a
    silent estimate 0 dB with no gradient.

    Args:
        estimate: Separated signal, [..., T].
        reference: True signal, [..., T], of the same rank; its other axes may broadcast.
        valid: False where a sample is padding, bool [..., T], of the same rank. The result
            is that of the signals cut to their valid samples.
        eps: RMS amplitude of the floor. eps^2 must be a normal float32 number.

    Returns:
        SI-SNR [...] in dB, float32 (float64 if the signals are).

    Raises:
        ValueError: The ranks or the last axes differ.

    Reference:
        Y. Luo and N. Mesgarani, "TasNet", ICASSP 2018; J. Le Roux et al., "SDR - half-baked or
        well done?", ICASSP 2019.
    """
    estimate, reference, valid, count = _prepare(estimate, reference, valid)
    estimate = (estimate - _mean(estimate, count)) * valid
    reference = (reference - _mean(reference, count)) * valid
    scale = _mean(estimate * reference, count) / (_power(reference, count) + eps**2)
    target = scale * reference
    # The residual is formed sample by sample: in float32, 1 - cos^2 is wrong from 60 dB on.
    return _ratio_db(target, estimate - target, count, eps)


@jax.jit
def snr(
    estimate: jax.Array,
    reference: jax.Array,
    *,
    valid: jax.Array | None = None,
    eps: float = 1e-8,
) -> jax.Array:
    """Signal-to-noise ratio 10 log10(|reference|^2 / |estimate - reference|^2); higher is better.

    Neither mean nor scale is adjusted.

    Args:
        estimate: Separated signal, [..., T].
        reference: True signal, [..., T], of the same rank; its other axes may broadcast.
        valid: False where a sample is padding, bool [..., T], of the same rank.
        eps: RMS amplitude of the floor under both powers, as in `si_snr`.

    Returns:
        SNR [...] in dB, float32 (float64 if the signals are).

    Raises:
        ValueError: The ranks or the last axes differ.
    """
    estimate, reference, valid, count = _prepare(estimate, reference, valid)
    return _ratio_db(reference * valid, (estimate - reference) * valid, count, eps)


# {name: function of an estimate, a reference, `valid` and keyword arguments with defaults}; what it
# returns is better the higher it is, its keywords are keys of `loss` in a configuration.
LOSSES = Registry(si_snr=si_snr, snr=snr)


def check_shapes(estimate, reference, valid):
    """Raises ValueError unless all have the same number of axes and the same last axis."""
    shapes = [jnp.shape(x) for x in (estimate, reference, valid) if x is not None]
    # A valid [B, T] beside signals [B, S, T] would broadcast silently wherever B == S.
    if len({(len(shape), shape[-1:]) for shape in shapes}) > 1 or not shapes[0]:
        raise ValueError(
            f'estimate, reference and valid have shapes {", ".join(map(str, shapes))}: they must '
            'have the same number of axes and the same last axis (samples). Add axes with '
            '[:, None, :].'
        )


def _prepare(estimate, reference, valid):
    check_shapes(estimate, reference, valid)
    dtype = jnp.promote_types(jnp.result_type(estimate, reference), jnp.float32)
    estimate, reference = jnp.asarray(estimate, dtype), jnp.asarray(reference, dtype)
    if valid is None:
        valid = jnp.ones((1,) * (reference.ndim - 1) + reference.shape[-1:], bool)
    valid = jnp.asarray(valid, dtype)
    count = jnp.maximum(valid.sum(-1, keepdims=True), 1)
    return estimate * valid, reference * valid, valid, count


def _mean(x, count):
    return x.sum(-1, keepdims=True) / count


def _power(x, count):
    return _mean(jnp.square(x), count)


def _ratio_db(signal, noise, count, eps):
    log_ratio = jnp.log(_power(signal, count) + eps**2) - jnp.log(_power(noise, count) + eps**2)
    return 10 / jnp.log(10.0) * log_ratio[..., 0]
