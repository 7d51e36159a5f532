"""Libri2Mix, Libri3Mix, ... or MiniLibriMix as their scripts leave them."""

import os
import re

from data_prep.mixtures import Mixture
from data_prep.readers import mixed
from data_prep.recordings import Recording, TreeError, printable

PARTS = {
    'train-100': 'train',
    'train-360': 'train',
    'train': 'train',  # MiniLibriMix
    'dev': 'validation',
    'val': 'validation',  # MiniLibriMix
    'test': 'test',
}


def read(
    root: str,
    *,
    train_parts: tuple[str, ...] = (),
    splits: tuple[str, ...] = (),
    speakers: int = 2,
    noise: bool = False,
) -> tuple[list[Recording], list[Mixture]]:
    """Recordings and ready mixtures of Libri2Mix, Libri3Mix, ..., or of MiniLibriMix.

    They lie in `[Libri2Mix/][wav8k/min/]{train-100,train-360,dev,test}/{mix_clean,s1,s2}/*.wav`, or
    in MiniLibriMix's `{train,val}`; with noise in `mix_both`, and the noise in `noise`.

    Args:
        root: the folder.
        train_parts: which of the training parts to take; empty: all that are there.
        splits: to take; empty: all that the corpus is published with (MiniLibriMix has no test).
        speakers: of a mixture.
        noise: whether to take the mixtures with noise.
    Raises:
        TreeError: if the tree is another one, a split is not there, or a speaker is in two.
    """
    mixture, sources = 'mix_both' if noise else 'mix_clean', mixed.folders_of(speakers)
    below = ','.join([mixture, *sources, *(['noise'] if noise else [])])
    name = '_'.join(['<speaker>-<chapter>-<n>'] * speakers)
    layout = (
        f'[Libri{speakers}Mix/][wav8k/min/]{{train-100,train-360,dev,test}}/{{{below}}}/{name}.wav'
        + ", or MiniLibriMix's {train,val}" * (speakers == 2)
    )
    inner = ['min', 'wav8k/min'] + [
        f'{corpus}/{below}'.rstrip('/')
        for corpus in (f'Libri{speakers}Mix', 'MiniLibriMix')
        for below in ('wav8k/min', '')
    ]
    base = mixed.find_base(root, tuple(inner), PARTS, layout)
    if not splits:
        here = {part for part in PARTS if os.path.isdir(os.path.join(base, part))}
        mini = bool(here & {'train', 'val'}) and 'test' not in here
        splits = mixed.SPLITS[:2] if mini else mixed.SPLITS
    parts = {
        part: split
        for part, split in PARTS.items()
        if split != 'train' or not train_parts or part in train_parts
    }
    absent = [part for part in train_parts if not os.path.isdir(os.path.join(base, part))]
    if absent:
        names = ', '.join(map(printable, sorted(os.listdir(base))))
        raise TreeError(f'{base} has no {", ".join(absent)}; it has {names}')

    def named(stem):
        utterances = stem.split('_')
        if len(utterances) != speakers or not all(utterances):
            return None
        for utterance in utterances:
            if not re.fullmatch(r'\d+-\d+-\d+', utterance):
                raise mixed.unknown_speaker(
                    utterance, '<speaker>-<chapter>-<n>, numbers as LibriSpeech has'
                )
        return tuple(utterance.split('-')[0] for utterance in utterances), ()

    return mixed.read(
        root,
        base,
        parts,
        mixture,
        named,
        layout,
        splits=splits,
        sources=sources,
        noise='noise' if noise else '',
    )
