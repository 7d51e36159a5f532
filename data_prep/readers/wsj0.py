"""WSJ0-2mix: the tree of MERL's scripts, or WSJ0 itself and MERL's lists."""

import collections
import os
import re

from data_prep import recordings, tables
from data_prep.mixtures import Mixture, Source
from data_prep.readers import mixed
from data_prep.readers.mixed import SPLITS
from data_prep.recordings import Recording, TreeError, printable

PARTS = {'tr': 'train', 'cv': 'validation', 'tt': 'test'}
_TOGETHER = ('train', 'validation')  # tr and cv are of the same speakers, as published
_MOST_DB = 50  # of a level; published are 2.5, and 16 bits hold 96 between the two
COUNTS = {'train': 20000, 'validation': 5000, 'test': 3000}


def _name(stem: str):
    number = r'[-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf)'
    return re.fullmatch(rf'(?P<u1>[^_]+)_(?P<g1>{number})_(?P<u2>[^_]+)_(?P<g2>{number})', stem)


def _speakers(stem: str):
    match = _name(stem)
    return match and (match['u1'][:3], match['u2'][:3])


def _levels_named(stem: str) -> tuple[float, float]:
    match = _name(stem)
    return _levels(match['g1'], match['g2'])


def _levels(*texts: str) -> tuple[float, ...]:
    """Levels in dB, as text. Raises ValueError with the rule that one breaks."""
    for text in texts:
        try:
            good = abs(float(text)) <= _MOST_DB
        except ValueError:
            good = False
        if not good:
            raise ValueError(f'the level {text} is no number of dB from -{_MOST_DB} to {_MOST_DB}')
    return tuple(map(float, texts))


def incomplete(listed: list[Mixture]) -> list[str]:
    """A line for each split of WSJ0-2mix that is not as large as published."""
    counts = collections.Counter(line.split for line in listed if not line.problem)
    return [
        f'WSJ0-2mix has {COUNTS[split]} mixtures in {split}, this tree {count}'
        for split, count in sorted(counts.items())
        if count != COUNTS[split]
    ]


def read(root: str, *, splits: tuple[str, ...] = SPLITS) -> tuple[list[Recording], list[Mixture]]:
    """`2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}/<utt1>_<snr1>_<utt2>_<snr2>.wav`.

    Speakers are the first three letters of an utterance; levels are those in the name.

    Raises:
        TreeError: if the tree is another one, a split is not there, or a speaker of the test set is
            in another split.
    """
    layout = '[2speakers/wav8k/min/]{tr,cv,tt}/{mix,s1,s2}/<utt1>_<snr1>_<utt2>_<snr2>.wav'
    base = mixed.find_base(root, ('min', 'wav8k/min', '2speakers/wav8k/min'), PARTS, layout)
    parts = {part: split for part, split in PARTS.items() if split in splits}
    utterances, listed = mixed.read(
        base, parts, 'mix', _speakers, _levels_named, layout, splits=splits
    )
    mixed.refuse_shared(root, utterances, listed, together=_TOGETHER)
    return utterances, listed


def _key(path: str) -> str:
    """`.../wsj0/si_tr_s/01t/01to030v.wv1.wav` -> `si_tr_s/01t/01to030v`."""
    tail = '/'.join(path.lower().split('/')[-3:])
    return re.sub(r'(\.wv1)?(\.wav|\.flac)?$', '', tail)


def _speaker(path: str) -> str:
    return _key(path).split('/')[-1][:3]


def _listed(line: str) -> tuple[str, tuple[float, ...], tuple[str, str]]:
    """Name, levels and paths of the mixture in a line of a list.

    Raises:
        ValueError: the rule that it breaks.
    """
    fields = line.split()
    if len(fields) != 4:
        raise ValueError('expected `path snr path snr`')
    paths, levels = fields[::2], _levels(*fields[1::2])
    for path in paths:
        if path.startswith('/') or '..' in path.split('/'):
            raise ValueError(f'the path {path!r} must be relative and stay below --wsj0_dir')
    mixed.refuse_one_speaker(*map(_speaker, paths))
    stems = [_key(path).split('/')[-1] for path in paths]
    name = '_'.join(f'{stem}_{level:.5g}' for stem, level in zip(stems, levels))
    return name, levels, tuple(paths)


def _refuse_shorten(path: str) -> None:
    with open(path, 'rb') as file:
        if b'shorten' in file.read(1024):
            raise TreeError(
                f'{path} is a shorten-compressed SPHERE file, which libsndfile cannot read; '
                'convert every *.wv1 first, e.g. `sph2pipe -f wav -p x.wv1 x.wav`'
            )


def read_lists(
    wsj0_dir: str, lists_dir: str, *, splits: tuple[str, ...] = SPLITS
) -> tuple[list[Recording], list[Mixture]]:
    """The recordings of WSJ0 itself, and the mixtures that MERL's lists make of them.

    WSJ0's are `si_tr_s/01t/01to030v.wav` or `.wv1`, the lists `mix_2_spk_{tr,cv,tt}.txt` have lines
    `path snr path snr`. Only the head-mounted microphone (`wv1`) is taken; `wv2` is never read. A
    listed file that is not there is counted as missing, with its mixtures.

    Raises:
        TreeError: if a line breaks a rule, nothing of a split is there, or a speaker of the test
            set is in another split.
    """
    layout = 'si_tr_s/01t/01to030v.wav (or .wv1, .flac) below --wsj0_dir'
    for folder in (wsj0_dir, lists_dir):
        mixed.refuse_remote(folder)
    files = recordings.list_files(wsj0_dir, ('.wav', '.flac', '.wv1'))
    # A converted file wins over the SPHERE file beside it.
    by_wish = sorted(files, key=lambda path: not path.endswith('.wv1'))
    forms = recordings.in_forms(wsj0_dir, files, {path: _key(path) for path in by_wish})
    by_key = {_key(path): path for path in forms}
    utterances, listed = {}, []
    for part, split in PARTS.items():
        if split not in splits:
            continue
        table = os.path.join(lists_dir, f'mix_2_spk_{part}.txt')
        if not os.path.isfile(table):
            raise TreeError(
                f"{table} is missing; --lists_dir must hold MERL's mix_2_spk_{{tr,cv,tt}}.txt"
            )
        lines = {}
        for number, line in enumerate(tables.read_lines(table), start=1):
            if not line.strip():
                continue
            try:
                mixture, levels, names = _listed(line)
                if mixture in lines:
                    raise ValueError(f'the mixture of line {lines[mixture]} once more')
            except ValueError as error:
                raise TreeError(
                    f'{table}:{number}: {error}, found {line.strip()[:200]!r}'
                ) from None
            lines[mixture] = number
            # cv and tr share files as well as speakers; ids are unique within a split.
            sources = []
            for name, level_db in zip(names, levels):
                path = by_key.get(_key(name))
                recording = Recording(
                    id=f'{part}/{_key(name)}',
                    source_id=_speaker(name),
                    path=os.path.join(wsj0_dir, path or os.path.normpath(name)),
                    split=split,
                    others=forms.get(path, ()),
                )
                recording = utterances.setdefault(recording.id, recording)
                sources.append(Source(recording.path, recording.source_id, level_db=level_db))
            listed.append(Mixture(mixture, split, tuple(sources)))
    mixed.refuse_shared(lists_dir, list(utterances.values()), listed, together=_TOGETHER)
    present = {
        recording.path: None for recording in utterances.values() if os.path.isfile(recording.path)
    }
    if not present:
        shown = ', '.join(map(printable, [*files][:5])) or 'no such audio files at all'
        raise TreeError(
            f'{wsj0_dir} holds none of the listed files.\n  expected: {layout}\n  found: {shown}'
        )
    first = next(iter(present))
    if first.endswith('.wv1'):
        _refuse_shorten(first)
    made = {row.split for row in listed if all(source.path in present for source in row.sources)}
    for split in splits:
        if split not in made:
            listed_here = [
                recording for recording in utterances.values() if recording.split == split
            ]
            absent = next(
                (recording.path for recording in listed_here if recording.path not in present), ''
            )
            left = ','.join(name for name in splits if name in made)
            raise TreeError(
                f'{wsj0_dir}: no mixture of the split {split} has its files, e.g. {absent} is '
                f'missing (expected: {layout}); '
                + (f'--splits={left} does without it' if left else 'look at --wsj0_dir')
            )
    return list(utterances.values()), listed
