"""BSS-eval beside mir_eval and fast_bss_eval, on two voices of 4 s at 8 kHz, in float64.

All give SDR, SIR and SAR. fast_bss_eval's NumPy path finds the permutation too, for without it
(`compute_permutation=False`) it fails under NumPy 2; its PyTorch path does without. By default it
solves densely; ten steps of conjugate gradients, its other way, are less exact.
"""

import functools
import warnings

import fast_bss_eval
import mir_eval
import numpy as np
import scipy.signal
import torch

from benchmarks.harness import Case
from fgsep_jax.metrics import bss_eval


def voice(rng, *, pitch, seconds, sample_rate):
    """A voice [samples] of pulses and a little noise through three formants, in syllables.

    Spectra with such peaks, and pauses, cost conjugate gradients the steps that speech does (on
    examples of LibriSpeech 7 to 20, on these 7 to 16, on noise 6).

    Args:
      rng: NumPy's generator.
      pitch: its mean, in Hz.
      seconds: length.
      sample_rate: in Hz.
    """
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    periods = (
        np.cumsum(pitch * (1 + 0.2 * np.sin(2 * np.pi * (0.7 * t + rng.random())))) / sample_rate
    )
    voice_T = np.diff(np.floor(periods), prepend=0) + rng.normal(0, 0.03, t.size)
    for low, high, width in ((300, 800, 80), (900, 1900, 100), (2000, 3200, 150)):
        radius = np.exp(-np.pi * width / sample_rate)
        angle = 2 * np.pi * rng.uniform(low, high) / sample_rate
        voice_T = scipy.signal.lfilter(
            [1 - radius], [1, -2 * radius * np.cos(angle), radius**2], voice_T
        )
    voice_T = scipy.signal.lfilter([1.0], [1.0, -0.9], voice_T)
    voice_T *= np.maximum(np.sin(2 * np.pi * (3 * t + rng.random())) + 0.3, 0)
    return np.round(0.1 / voice_T.std() * voice_T * 32768) / 32768


def make_examples(*, examples, seconds, sample_rate=8000, seed=1):
    """References of two synthetic voices; estimates with 10 dB of interference, 30 of artifacts.

    Args:
      examples: how many, B.
      seconds: their length.
      sample_rate: in Hz.
      seed: of all that is random.

    Returns:
      reference_BST, estimate_BST with two sources.
    """
    rng = np.random.default_rng(seed)
    reference_BST = np.array(
        [
            [
                voice(rng, pitch=pitch, seconds=seconds, sample_rate=sample_rate)
                for pitch in (110, 190)
            ]
            for _ in range(examples)
        ]
    )
    noise_BST = rng.normal(0, 0.1, reference_BST.shape)
    return reference_BST, reference_BST + 0.3 * reference_BST[:, ::-1] + 0.03 * noise_BST


def by_mir_eval(reference_BST, estimate_BST):
    """mir_eval's SDR, SIR and SAR of each example."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # its notice that it drops these
        return [
            mir_eval.separation.bss_eval_sources(*pair, compute_permutation=False)[:3]
            for pair in zip(reference_BST, estimate_BST)
        ]


def cases(small=False):
    """Yields the cases; with `small` short examples."""
    seconds = 0.5 if small else 4
    for examples, name, rounds in ((1, 'an example', 15), (2 if small else 16, '16 examples', 3)):
        pair = make_examples(examples=examples, seconds=seconds)
        tensors = [torch.from_numpy(x_BST) for x_BST in pair]
        everything = functools.partial(bss_eval.bss_eval, *pair[::-1])
        mir = functools.partial(by_mir_eval, *pair)
        fast = functools.partial(fast_bss_eval.bss_eval_sources, *pair)
        if examples == 1:
            yield Case(
                'SDR of an example',
                functools.partial(bss_eval.sdr, *pair[::-1]),
                {'mir_eval': mir, 'fast_bss_eval': functools.partial(fast_bss_eval.sdr, *pair)},
                rounds=rounds,
            )
        yield Case(
            f'SDR, SIR, SAR of {name}', everything, {'mir_eval': mir}, target=0.05, rounds=rounds
        )
        yield Case(
            f'SDR, SIR, SAR of {name} beside fast_bss_eval',
            everything,
            {
                'fast_bss_eval': fast,
                'fast_bss_eval, torch': functools.partial(
                    fast_bss_eval.bss_eval_sources, *tensors, compute_permutation=False
                ),
                'fast_bss_eval, ten steps': functools.partial(fast, use_cg_iter=10),
            },
            target=1.0,
            rounds=rounds,
        )
