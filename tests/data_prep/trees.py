"""Tiny source trees, written as each corpus is delivered."""

import zlib

import numpy as np
import soundfile

from fgsep_jax.data import source


def speechlike(seconds, *, seed, sample_rate=8000, peak=0.3):
    """Bursts of a buzz with pauses: something that has an active level. float [T]."""
    rng = np.random.default_rng(seed)
    time_T = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = rng.uniform(90, 250)
    voice_T = sum(np.sin(2 * np.pi * pitch * k * time_T) / k for k in range(1, 8))
    burst_T = np.clip(np.sin(2 * np.pi * rng.uniform(1, 3) * time_T + rng.uniform(0, 6)), 0, 1)
    audio_T = voice_T * burst_T + 0.003 * rng.normal(size=time_T.size)
    return audio_T * peak / np.abs(audio_T).max()


def write(path, audio_T, sample_rate=8000, **keywords):
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio_T, sample_rate, **keywords)


def told_apart(contents, name):
    """A WAV of 16 bits whose last two samples say its name: equal files are copies to a job."""
    return contents[:-4] + zlib.crc32(name).to_bytes(4, 'little')


def folder(root, *, speakers=8, files=3, sample_rate=8000, suffix='wav', seed=0):
    """`<speaker>/*.wav`."""
    for speaker in range(speakers):
        for file in range(files):
            audio_T = speechlike(
                1.2 + 0.2 * file, seed=seed + 100 * speaker + file, sample_rate=sample_rate
            )
            write(root / f'spk{speaker}' / f'u{file}.{suffix}', audio_T, sample_rate)
    return root


def mixed(base, names_by_part, *, mixture='mix', subtype='PCM_16', speakers=2, noise=False):
    """`{part}/{mix,s1,s2}/<name>.wav`, as MERL's and LibriMix's scripts leave them; more speakers,
    and `noise`, if asked."""
    for part, names in names_by_part.items():
        for i, name in enumerate(names):
            seconds = 1.0 + 0.1 * i
            sounds = {f's{s}': speechlike(seconds, seed=10 * i + s) for s in range(1, speakers + 1)}
            if noise:
                rng = np.random.default_rng(i)
                sounds['noise'] = rng.normal(0, 0.01, round(8000 * seconds))
            sounds[mixture] = sum(sounds.values())
            for folder_name, audio_T in sounds.items():
                write(base / part / folder_name / f'{name}.wav', audio_T, subtype=subtype)
    return base


WSJ0_NAMES = {
    'tr': ['01to030v_0.4498_029o0311_-0.4498', '02co0101_2.1_01to030w_-2.1'],
    'cv': ['01to0401_1.5_02co0102_-1.5'],
    'tt': ['050a0501_0.46634_441o0308_-0.46634', '22ga0101_1e-05_053a0502_-1e-05'],
}


def examples(folder, split):
    """All examples of a split of a finished data set."""
    one = source.RecordSource(folder, split)
    return [one[i] for i in range(len(one))]
