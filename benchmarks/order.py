"""How often the order of two voices along a recording is wrong, by four ways to keep it.

    python -m benchmarks.order MODEL SPEECH_FOLDER [--conversations=N] [--segment=S]

SPEECH_FOLDER holds <speaker>/**/*.flac (or wav) of speakers that the model was not trained on. Two
of them take turns, with pauses; then they talk at the same time. Windows in which the model's
estimates say nothing (both speakers silent, or an order that is right by less than 1 dB) do not
count.
"""

import glob
import os

import numpy as np
import soundfile

from fgsep_jax import command_line
from fgsep_jax.data.resample import resample
from fgsep_jax.separation import model as model_lib, windows
from fgsep_jax.separation.order import Order

WAYS = ("the model's own", 'best correlation of overlaps', 'the same, at a margin of 0.5', 'path')
PAUSE = (0.5, 3.0)  # seconds between turns
SECONDS = 120.0  # of a conversation


def utterances(folder, rate):
    """{speaker: their utterances [T] one after another} of those with most speech."""
    found = {}
    for speaker in sorted(os.listdir(folder)):
        paths = sorted(
            path
            for kind in ('flac', 'wav')
            for path in glob.glob(
                os.path.join(glob.escape(folder), speaker, '**', f'*.{kind}'), recursive=True
            )
        )
        pieces = []
        for path in paths:
            signal_T, native_rate = soundfile.read(path, dtype='float32')
            pieces.append(resample(signal_T, native_rate, rate))
        if pieces and sum(map(len, pieces)) > 6 * rate:
            found[speaker] = pieces
    return found


def conversation(first, second, rate, generator, *, together):
    """Two voices [2, T]: taking turns with pauses, or at the same time."""
    source_ST = np.zeros((2, round(SECONDS * rate)), np.float32)
    at, turn = [0, 0], 0
    voices = [np.concatenate(pieces) for pieces in (first, second)]
    voices = [voice_T / np.abs(voice_T).std() * 0.05 for voice_T in voices]
    read = [0, 0]
    while min(at) < source_ST.shape[1]:
        speaker = turn % 2
        length = round(generator.uniform(1.5, 5.0) * rate)
        start = at[speaker] if together else max(at)
        stop = min(start + length, source_ST.shape[1])
        if stop <= start:
            at[speaker] = source_ST.shape[1]
            turn += 1
            continue
        source_ST[speaker, start:stop] = np.resize(
            np.roll(voices[speaker], -read[speaker]), stop - start
        )
        read[speaker] += stop - start
        at[speaker] = stop + round(generator.uniform(*PAUSE) * rate)
        if not together:
            at = [max(at)] * 2
        turn += 1
    return source_ST


def orders(estimates, hop, rate):
    """{way: whether each window is swapped [W]} for two sources."""
    order, followed, margin = Order(rate), [False], [False]
    for index, estimate_ST in enumerate(estimates):
        order.add(estimate_ST[:, None], hop if index else 0)
        if not index:
            continue
        before_ST, now_ST = estimates[index - 1][:, hop:], estimate_ST[:, :-hop]
        link = np.corrcoef(before_ST, now_ST)[:2, 2:]
        link = np.nan_to_num(link)
        keep, swap = np.trace(link), link[0, 1] + link[1, 0]
        followed.append(followed[-1] ^ bool(swap > keep))
        margin.append(margin[-1] ^ bool(swap > keep + 0.5))
    path_WS, _ = order.path()
    own = np.zeros(len(estimates), bool)
    return dict(zip(WAYS, (own, np.array(followed), np.array(margin), path_WS[:, 0] == 1)))


def truth(estimates, source_ST, starts):
    """(whether each window is swapped [W], whether that can be told [W])."""
    swapped, told = [], []
    for estimate_ST, start in zip(estimates, starts):
        reference_ST = source_ST[:, start : start + estimate_ST.shape[1]]
        energy_S = np.sum(reference_ST**2, axis=1)
        normal_ST = estimate_ST / np.maximum(np.linalg.norm(estimate_ST, axis=1), 1e-9)[:, None]
        match_SS = np.abs(normal_ST @ reference_ST.T) ** 2  # energy that each explains of each
        keep, swap = match_SS[0, 0] + match_SS[1, 1], match_SS[0, 1] + match_SS[1, 0]
        swapped.append(swap > keep)
        told.append(energy_S.sum() > 1e-3 and abs(10 * np.log10((swap + 1e-9) / (keep + 1e-9))) > 1)
    return np.array(swapped), np.array(told)


def main(argv=None):
    """Measures, and prints a table."""
    parser = command_line.Parser('benchmarks.order', __doc__, words='MODEL SPEECH_FOLDER')
    parser.add_argument('--conversations', type=command_line.count, default=20, help='of each kind')
    parser.add_argument('--segment', type=float, default=8.0, help='seconds of a window')
    args, words = parser.parse(argv)
    if len(words) != 2:
        parser.error('MODEL and SPEECH_FOLDER are needed')
    separator = model_lib.load(words[0])
    rate, generator = separator.sample_rate, np.random.default_rng(0)
    speech = utterances(words[1], rate)
    window = round(args.segment * rate)
    rows = []
    for kind, together in (('turns with pauses', False), ('at the same time', True)):
        wrong, total = dict.fromkeys(WAYS, 0), 0
        for _ in range(args.conversations):
            names = generator.choice(sorted(speech), 2, replace=False)
            source_ST = conversation(
                *(speech[n] for n in names), rate, generator, together=together
            )
            mixture_T = source_ST.sum(axis=0)
            starts = windows.positions(len(mixture_T), window, window // 2)
            cut = (mixture_T[None, at : at + window] for at in starts)
            gain = 0.9 / np.abs(mixture_T).max()
            made = separator.network.run(cut, window=window, batch=1, gain=gain)
            estimates = [estimate_SCW[:, 0] for estimate_SCW in made]
            swapped_W, told_W = truth(estimates, source_ST, starts)
            total += told_W.sum()
            for way, order_W in orders(estimates, window // 2, rate).items():
                bad = (order_W ^ swapped_W) & told_W
                wrong[way] += min(bad.sum(), told_W.sum() - bad.sum())
        rows.append([f'{kind}, {args.segment:g} s', total, *wrong.values()])
    for cells in (['two voices', 'windows', *WAYS], ['---'] + ['---:'] * 5, *rows):
        print(f'| {" | ".join(map(str, cells))} |')


if __name__ == '__main__':
    main()
