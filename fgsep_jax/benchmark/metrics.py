"""Times BSS-eval beside mir_eval and fast_bss_eval on one two-speaker example of 4 s at 8 kHz.

    python -m fgsep_jax.benchmark.metrics

Rounds alternate between the peers in one process; prints medians and their ratio to mir_eval's.
"""

import time
import warnings

import fast_bss_eval
import mir_eval
import numpy as np
import scipy.signal

from fgsep_jax.metrics import bss_eval

ROUNDS = 9


def make_example(*, seconds=4.0, sample_rate=8000, seed=0):
    """Two sources of low-passed noise, and estimates with 10 dB of interference and some noise."""
    rng = np.random.default_rng(seed)
    white_ST = rng.normal(0, 0.1, (2, round(seconds * sample_rate)))
    reference_ST = scipy.signal.lfilter([1.0], [1.0, -0.9], white_ST)
    return reference_ST, reference_ST + 0.3 * reference_ST[::-1] + 0.01 * white_ST


def main():
    """Prints the table."""
    reference_ST, estimate_ST = make_example()
    peers = {
        'mir_eval': lambda: mir_eval.separation.bss_eval_sources(
            reference_ST, estimate_ST, compute_permutation=False),
        'fast_bss_eval SDR': lambda: fast_bss_eval.sdr(reference_ST, estimate_ST),
        'ours, SDR': lambda: bss_eval.sdr(estimate_ST[None], reference_ST[None]),
        'ours, SDR SIR SAR': lambda: bss_eval.bss_eval(estimate_ST[None], reference_ST[None]),
    }
    times = {name: [] for name in peers}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # mir_eval's notice that it drops these
        for _ in range(ROUNDS):
            for name, run in peers.items():
                began = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - began)
    base = np.median(times['mir_eval'])
    print('| | median ms | of mir_eval |\n|---|---:|---:|')
    for name, seconds in times.items():
        print(f'| {name} | {1e3 * np.median(seconds):.1f} | {np.median(seconds) / base:.3f} |')


if __name__ == '__main__':
    main()
