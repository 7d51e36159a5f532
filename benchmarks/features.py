"""STFT, mel spectrogram and PCEN beside librosa's, on a long recording and on a training batch.

Each side computes the same numbers (tests/dsp) from the same float32 samples; ours is one jitted
program.
"""

import jax
import jax.numpy as jnp
import librosa
import numpy as np

from benchmarks.harness import Case
from fgsep_jax.dsp.mel import mel_matrix, mel_of_signal
from fgsep_jax.dsp.pcen import pcen
from fgsep_jax.dsp.stft import frames, stft

RATE, WINDOW, HOP, BANDS = 44100, 2048, 512, 128
PCEN = dict(gain=0.98, bias=2, power=0.5, eps=1e-6)


def cases(small=False):
    """Yields the cases; with `small` on a fraction of a second."""
    yield from _cases('10 min at 44.1 kHz', (round(600 * RATE) if not small else 9000,), 5, 0.3)
    yield from _cases('16 x 2 s at 44.1 kHz', (16, 2 * RATE) if not small else (2, 9000), 21, 1.0)


def _cases(name, shape, rounds, target):
    signal_T = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    placed_T = jnp.asarray(signal_T)
    matrix_FM = mel_matrix(sample_rate=RATE, window=WINDOW, bands=BANDS)
    matrix_MF = np.ascontiguousarray(matrix_FM.T)

    @jax.jit
    def ours(signal_T):
        return pcen(
            mel_of_signal(signal_T, matrix_FM, window=WINDOW, hop=HOP),
            smoothing=0.025,
            start='librosa',
            **PCEN,
        )

    def theirs_stft():
        return librosa.stft(signal_T, n_fft=WINDOW, hop_length=HOP, pad_mode='constant')

    def theirs():
        return librosa.pcen(matrix_MF @ np.abs(theirs_stft()), b=0.025, **PCEN)

    count, bins = frames(shape[-1], hop=HOP) * signal_T.size // shape[-1], WINDOW // 2 + 1
    transform = 2.5 * WINDOW * np.log2(WINDOW)
    yield Case(
        f'STFT, {name}',
        lambda: stft(placed_T).block_until_ready(),
        {'librosa': theirs_stft},
        rounds=rounds,
        flops=count * (WINDOW + transform),
        bytes=signal_T.nbytes + 8 * count * bins,
    )
    # A bin lies in two filters at most, and PCEN's powers count as ten operations each.
    yield Case(
        f'STFT, mel, PCEN, {name}',
        lambda: ours(placed_T).block_until_ready(),
        {'librosa': theirs},
        target=target,
        rounds=rounds,
        flops=count * (WINDOW + transform + 4 * bins + 4 * bins + 30 * BANDS),
        bytes=signal_T.nbytes + 4 * count * BANDS,
    )
