"""Times STFT, mel spectrogram and PCEN beside librosa's on a clip and on a long recording.

    python -m fgsep_jax.benchmark.features

Ours is one jitted program; rounds alternate between the two in one process. Prints medians, the
time per second of audio, and librosa's time over ours. The long recording takes some 3 GB.
"""

import time

import jax
import jax.numpy as jnp
import librosa
import numpy as np

from fgsep_jax.dsp.mel import log_mel, mel_matrix, mel_spectrogram
from fgsep_jax.dsp.pcen import pcen
from fgsep_jax.dsp.stft import stft

RATE = 44100
LENGTHS = (('2 s', 2, 41), ('10 min', 600, 5))  # name, seconds, rounds


def make_stages(signal_T):
    """The stages as (name, ours, librosa's), each a function of no arguments that waits."""
    matrix_FM = mel_matrix(sample_rate=RATE)
    matrix_MF = np.ascontiguousarray(matrix_FM.T)
    placed_T = jnp.asarray(signal_T)
    spectrum_KF = jax.jit(stft)(placed_T)
    mel_KM = mel_spectrogram(spectrum_KF, matrix_FM)
    theirs_FK, theirs_MK = np.asarray(spectrum_KF).T, np.asarray(mel_KM).T.copy()

    def ours_all(signal_T):
        mel_KM = mel_spectrogram(stft(signal_T), matrix_FM)
        return log_mel(mel_KM), pcen(mel_KM)

    def theirs_stft():
        return librosa.stft(signal_T, n_fft=2048, hop_length=512, pad_mode='constant')

    def theirs_mel(spectrum_FK):
        return librosa.feature.melspectrogram(S=abs(spectrum_FK), mel_basis=matrix_MF)

    def theirs_pcen(mel_MK):
        return librosa.pcen(mel_MK, gain=0.98, bias=2, power=0.5, b=0.025, eps=1e-6)

    def theirs_all():
        mel_MK = matrix_MF @ abs(theirs_stft())
        return np.log(mel_MK + 1e-5), theirs_pcen(mel_MK)

    ours_all = jax.jit(ours_all)
    return (
        ('STFT', lambda: stft(placed_T).block_until_ready(), theirs_stft),
        ('mel', lambda: mel_spectrogram(spectrum_KF, matrix_FM).block_until_ready(),
         lambda: matrix_MF @ abs(theirs_FK)),
        ('PCEN', lambda: pcen(mel_KM).block_until_ready(), lambda: theirs_pcen(theirs_MK)),
        ('log-mel and PCEN from samples', lambda: jax.block_until_ready(ours_all(placed_T)),
         theirs_all),
    )


def median_seconds(runs, rounds):
    """Median time of each run, the runs taking turns; the first turn, a warm-up, is left out."""
    times = [[] for _ in runs]
    for _ in range(1 + rounds):
        for run, run_times in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            run_times.append(time.perf_counter() - began)
    return [np.median(run_times[1:]) for run_times in times]


def main():
    """Prints the table."""
    rng = np.random.default_rng(0)
    print('| | audio | ours ms | ms per s of audio | librosa ms | librosa / ours |\n'
          '|---|---|---:|---:|---:|---:|')
    for length, seconds, rounds in LENGTHS:
        signal_T = rng.normal(0, 0.1, seconds * RATE).astype(np.float32)
        for name, ours, theirs in make_stages(signal_T):
            ours_s, theirs_s = median_seconds((ours, theirs), rounds)
            print(f'| {name} | {length} | {1e3 * ours_s:.1f} | {1e3 * ours_s / seconds:.3f} |'
                  f' {1e3 * theirs_s:.1f} | {theirs_s / ours_s:.2f} |', flush=True)


if __name__ == '__main__':
    main()
