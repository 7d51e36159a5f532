"""Per-channel energy normalisation of mel spectrograms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fgsep_jax.rules import Rules

STARTS = ('first', 'librosa')


@functools.partial(jax.jit, static_argnames=('smoothing', 'eps', 'gain', 'bias', 'power', 'start'))
def pcen(
    mel_KM: jax.Array,
    *,
    smoothing: float = 0.025,
    eps: float = 1e-6,
    gain: float = 0.98,
    bias: float = 2.0,
    power: float = 0.5,
    start: str = 'first',
) -> jax.Array:
    """Divides each band by its own recent level, then compresses it.

        PCEN = (mel / (eps + smooth)^gain + bias)^power - bias^power

    with `smooth` the mel spectrogram through the first-order filter of `smooth`. Trailing padded
    frames change nothing before them, for the filter looks back only.

    Args:
        mel_KM: Mel spectrogram of magnitudes, [..., K, M], >= 0. `eps` is in its units.
        smoothing: s of the paper, in (0, 1]; 0.025 remembers some 40 frames.
        eps: epsilon of the paper, > 0: bands well below it are left to fade rather than lifted.
        gain: alpha of the paper, >= 0; at 1, loudness of the recording cancels out.
        bias: delta of the paper, > 0.
        power: r of the paper, > 0.
        start: The filter's state before the first frame. "first": the first frame itself, so that
            its memory starts at the level of the recording; "librosa": 1.0 in every band, as in
            librosa.pcen, which suits audio scaled to 32-bit integers: in audio of -1..1, 1.0 is
            so loud that it takes some 157 frames (1.8 s) to be forgotten.

    Returns:
        Normalised mel spectrogram [..., K, M], >= 0, float32.

    Raises:
        ValueError: A parameter outside its range.

    Reference:
        Y. Wang et al., "Trainable frontend for robust and far-field keyword spotting", ICASSP
        2017, equations 1 and 2. Same as librosa.pcen(b=smoothing, ...) with start="librosa".
    """
    check(smoothing=smoothing, eps=eps, gain=gain, bias=bias, power=power, start=start)
    mel_KM = jnp.asarray(mel_KM)
    mel_KM = mel_KM.astype(jnp.promote_types(mel_KM.dtype, jnp.float32))
    first_1M = mel_KM[..., :1, :]
    smooth_KM = smooth(
        mel_KM, first_1M if start == 'first' else jnp.ones_like(first_1M), smoothing=smoothing
    )
    normalised_KM = mel_KM * jnp.exp(-gain * jnp.log(eps + smooth_KM))  # faster than a power
    # (y + bias)^power - bias^power without the difference of two nearly equal numbers.
    if power == 0.5:  # a third of the time
        return normalised_KM / (jnp.sqrt(normalised_KM + bias) + bias**0.5)
    return bias**power * jnp.expm1(power * jnp.log1p(normalised_KM / bias))


def smooth(mel_KM: jax.Array, before_1M: jax.Array, *, smoothing: float, block: int = 32):
    """First-order recursive average over frames.

        smooth[k] = (1 - s) smooth[k - 1] + s mel[k]

    A block of frames at a time, as a product with the filter's impulse responses plus the fading
    state: all weights lie in 0..1, so nothing overflows or cancels. On two CPU cores the PCEN of
    10 minutes (51,680 x 128) takes 53 ms so and 91 ms with jax.lax.associative_scan, whose passes
    over memory are the cost; frame by frame takes 46 ms, but would be slow on an accelerator.

    Args:
        mel_KM: Any sequence of frames, [..., K, M].
        before_1M: The state before the first frame, [..., 1, M].
        smoothing: s, in (0, 1].
        block: Frames in a block.

    Returns:
        Averages [..., K, M].

    Raises:
        ValueError: The state's shape is not that of one frame.
    """
    shapes = jnp.shape(mel_KM), jnp.shape(before_1M)
    if shapes[1] != (*shapes[0][:-2], 1, *shapes[0][-1:]):
        raise ValueError(f'before_1M{list(shapes[1])} is not one frame of mel_KM{list(shapes[0])}.')
    # Frames first, all else last: one plain matrix product a block.
    frame_KC = jnp.moveaxis(mel_KM, -2, 0)
    lead = frame_KC.shape[1:]
    frame_KC = frame_KC.reshape(frame_KC.shape[0], -1)
    frames, channels = frame_KC.shape
    blocks = -(-frames // block)
    frame_KC = jnp.pad(frame_KC, ((0, blocks * block - frames), (0, 0)))

    decay = 1.0 - smoothing
    age = np.arange(block)[:, None] - np.arange(block)
    response = np.where(age >= 0, smoothing * decay ** np.maximum(age, 0), 0)
    fading = decay ** np.arange(1, block + 1)[:, None]
    response, fading = response.astype(frame_KC.dtype), fading.astype(frame_KC.dtype)

    def one_block(state_1C, frame_LC):
        # Accelerators would multiply float32 matrices in fewer bits: 1e-3 off.
        smooth_LC = jnp.matmul(response, frame_LC, precision=jax.lax.Precision.HIGHEST)
        smooth_LC = smooth_LC + fading * state_1C
        return smooth_LC[-1:], smooth_LC

    _, smooth_KC = jax.lax.scan(
        one_block, before_1M.reshape(1, channels), frame_KC.reshape(blocks, block, channels)
    )
    smooth_KC = smooth_KC.reshape(blocks * block, channels)[:frames]
    return jnp.moveaxis(smooth_KC.reshape(frames, *lead), 0, -2)


def check(*, smoothing, eps, gain, bias, power, start):
    """Raises RuleError for parameters of `pcen` outside their ranges."""
    values = dict(smoothing=smoothing, eps=eps, gain=gain, bias=bias, power=power, start=start)
    rules = Rules(values)
    rules.one_of('start', STARTS)
    rules.rule(0 < smoothing <= 1, 'smoothing', 'must be in (0, 1]; the paper has 0.025')
    rules.not_negative('gain')
    rules.positive('eps bias power')
    rules.check()
