"""How long the windows should be that recordings are cut into: what each length gains.

    python -m benchmarks.windows MODEL SPEECH_FOLDER                     # several voices
    python -m benchmarks.windows MODEL FOREGROUND_FOLDER BACKGROUND_FOLDER  # one, or sounds

Folders as in `benchmarks.order`. Two voices take turns or talk at the same time; or sounds of the
first folder come and go over sounds of the second, another one every 10 to 20 s. The same again
where all of it changes its level by up to 24 dB every 10 to 20 s. Each recording is one minute
(voices: two); its gain in SI-SNR is that of the whole of it, those changes undone.
"""

import itertools

import numpy as np

from benchmarks.order import conversation, utterances
from fgsep_jax import command_line
from fgsep_jax.metrics.improvement import si_snr
from fgsep_jax.separation import model as model_lib

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
SECONDS = 60.0


def scene(foreground, background, rate, generator):
    """Sounds that come and go over others that change [2, T]."""
    source_ST = np.zeros((2, round(SECONDS * rate)), np.float32)
    for row, sounds, lengths, pauses in (
        (source_ST[0], foreground, (0.5, 4.0), (0.5, 4.0)),
        (source_ST[1], background, (10.0, 20.0), (0.0, 0.0)),
    ):
        at = 0
        while at < len(row):
            sound_T = sounds[generator.integers(len(sounds))]
            length = min(round(generator.uniform(*lengths) * rate), len(row) - at)
            sound_T = np.resize(sound_T, length) if row is source_ST[1] else sound_T[:length]
            power = np.sqrt(np.mean(np.square(sound_T))) + 1e-9
            level = 0.05 * 10 ** (generator.uniform(-3, 3) / 20)
            row[at : at + len(sound_T)] = level / power * sound_T
            at += len(sound_T) + round(generator.uniform(*pauses) * rate)
    return source_ST


def recordings(separator, folders, count):
    """[(kind, sources [2, T], level [T])] of recordings."""
    rate, generator = separator.sample_rate, np.random.default_rng(0)
    found = [utterances(folder, rate) for folder in folders]
    if len(found) == 2:
        foreground, background = ([*itertools.chain(*one.values())] for one in found)
        for _ in range(count):
            yield from _twice(
                'over sounds that change',
                scene(foreground, background, rate, generator),
                rate,
                generator,
            )
        return
    for together, kind in ((False, 'turns with pauses'), (True, 'at the same time')):
        for _ in range(count):
            two = generator.choice(sorted(found[0]), 2, replace=False)
            pieces = (found[0][name] for name in two)
            yield from _twice(
                kind, conversation(*pieces, rate, generator, together=together), rate, generator
            )


def _twice(kind, source_ST, rate, generator):
    level_T = np.ones(source_ST.shape[1], np.float32)
    yield kind, source_ST, level_T
    at, level_T = 0, level_T.copy()
    while at < len(level_T):
        stop = at + round(generator.uniform(10, 20) * rate)
        level_T[at:stop] = 10 ** (generator.uniform(-12, 12) / 20)
        at = stop
    yield f'{kind}, level changing', source_ST, level_T


def gain(separator, source_ST, level_T, **how):
    """dB of SI-SNR that separating gains, under the better order of the sources."""
    mixture_T = source_ST.sum(axis=0)
    parts = separator.separate(level_T * mixture_T, separator.sample_rate, **how)
    estimate_ET = np.stack([*parts.values()]) / level_T
    wanted_ST = source_ST if len(separator.sources) > 1 else source_ST[:1]
    scores_SE = si_snr(estimate_ET, wanted_ST)
    if not separator.network.ordered:
        order = max(
            itertools.permutations(range(len(estimate_ET))),
            key=lambda order: sum(scores_SE[s, e] for s, e in enumerate(order)),
        )
        scores_SE = scores_SE[:, order]
    before_S = si_snr(mixture_T[None], wanted_ST)[:, 0]
    return float(np.mean(np.diagonal(scores_SE) - before_S))


def main(argv=None):
    """Measures, and prints a table."""
    parser = command_line.Parser('benchmarks.windows', __doc__, words='MODEL FOLDER...')
    parser.add_argument('--recordings', type=command_line.count, default=10, help='of each kind')
    args, words = parser.parse(argv)
    separator = model_lib.load(words[0])
    several = not separator.network.ordered
    if len(words) != (2 if several else 3):
        parser.error('MODEL and a folder of speech, or folders of foreground and background')
    ways = {f'{length:g} s': dict(segment=length) for length in LENGTHS}
    if separator.network.whole is not None:
        ways |= {'statistics=file': dict(statistics='file')}
    gains = {}
    for kind, source_ST, level_T in recordings(separator, words[1:], args.recordings):
        for way, how in ways.items():
            gains.setdefault(kind, {}).setdefault(way, []).append(
                gain(separator, source_ST, level_T, **how)
            )
    print(f'| recordings | {" | ".join(ways)} |')
    print(f'|---|{"---:|" * len(ways)}')
    for kind, by_way in gains.items():
        cells = [f'{np.mean(values):.2f}' for values in by_way.values()]
        print(f'| {kind} ({len(by_way[next(iter(ways))])}) | {" | ".join(cells)} |')


if __name__ == '__main__':
    main()
