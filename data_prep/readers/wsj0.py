"""WSJ0-2mix and -3mix: MERL's tree, or WSJ0 itself and MERL's lists; and WHAM!, WHAMR! after it."""

import collections
import functools
import os
import re

from data_prep import recordings, tables
from data_prep.mixtures import Mixture, Source
from data_prep.readers import mixed
from data_prep.readers.mixed import SPLITS
from data_prep.recordings import Recording, TreeError

PARTS = {'tr': 'train', 'cv': 'validation', 'tt': 'test'}
_TOGETHER = ('train', 'validation')  # tr and cv are of the same speakers, as published
_MOST_DB = 50  # of a level; published are 2.5, and 16 bits hold 96 between the two
COUNTS = {'train': 20000, 'validation': 5000, 'test': 3000}
_NUMBER = r'[-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf)'


def _named(stem: str, *, speakers: int, levels: bool) -> tuple[tuple, tuple] | None:
    """Speakers that a mixture's name tells, and the levels if asked; None: of so many it is none's.

    Raises:
        ValueError: the rule that a level breaks.
    """
    if not re.fullmatch('_'.join([rf'[^_]+_{_NUMBER}'] * speakers), stem):
        return None
    utterances, numbers = stem.split('_')[::2], stem.split('_')[1::2]
    return tuple(map(_speaker, utterances)), _levels(*numbers) if levels else ()


def _speaker(utterance: str) -> str:
    """Whose an utterance is. Raises ValueError where it is not named as WSJ0's are."""
    if not re.fullmatch('[0-9a-z]{8}', utterance.lower()):
        form = "named as WSJ0's utterances are, 8 letters and digits, the speaker's 3 first"
        raise mixed.unknown_speaker(utterance, form)
    return utterance[:3].lower()


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


def incomplete(listed: list[Mixture], name: str = 'WSJ0-2mix') -> list[str]:
    """A line for each split of WSJ0-2mix, or one like it, that is not as large as published."""
    counts = collections.Counter(line.split for line in listed if not line.problem)
    return [
        f'{name} has {COUNTS[split]} mixtures in {split}, this tree {count}'
        for split, count in sorted(counts.items())
        if count != COUNTS[split]
    ]


def read(
    root: str, *, splits: tuple[str, ...] = SPLITS, speakers: int = 2
) -> tuple[list[Recording], list[Mixture]]:
    """`2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}/<utt1>_<snr1>_<utt2>_<snr2>.wav`, or of more.

    Speakers are the first three of an utterance's eight letters; levels are those in the name.

    Raises:
        TreeError: if the tree is another one, a split is not there, or a speaker of the test set is
            in another split.
    """
    sources = mixed.folders_of(speakers)
    name = '_'.join(f'<utt{i}>_<snr{i}>' for i in range(1, speakers + 1))
    layout = (
        f'[{speakers}speakers/wav8k/min/]{{tr,cv,tt}}/{{{",".join(["mix", *sources])}}}/{name}.wav'
    )
    inner = ('min', 'wav8k/min', f'{speakers}speakers/wav8k/min')
    base = mixed.find_base(root, inner, PARTS, layout)
    named = functools.partial(_named, speakers=speakers, levels=True)
    how = dict(splits=splits, sources=sources, together=_TOGETHER)
    return mixed.read(root, base, PARTS, 'mix', named, layout, **how)


def read_wham(
    root: str,
    *,
    splits: tuple[str, ...] = SPLITS,
    clean: bool = False,
    room: str | None = None,
    target: str | None = None,
) -> tuple[list[Recording], list[Mixture]]:
    """WHAM!, `wav8k/min/{tr,cv,tt}/{mix_both,s1,s2,noise}/*.wav`, or WHAMR!.

    WHAMR! has `mix_both_reverb`, `s1_anechoic`, `s1_reverb`, ... Files are called as WSJ0-2mix's.

    Args:
        root: the folder.
        splits: to take.
        clean: whether to take `mix_clean`, not `mix_both`.
        room: of the mixtures of WHAMR!, `reverb` (None: this) or `anechoic`.
        target: what of a speaker is to be found in them, `anechoic` (None: this) or `reverb`.
    Raises:
        TreeError: if the tree is another one, a split is not there, a speaker of the test set is
            in another split, or one that is not WHAMR! is asked for a room.
        ValueError: no such target is in such a mixture.
    """
    what = ['mix_clean', 's1', 's2'] if clean else ['mix_both', 's1', 's2', 'noise']
    layout = (
        f'[wav8k/min/]{{tr,cv,tt}}/{{{",".join(what)}}}/<utt1>_<snr1>_<utt2>_<snr2>.wav (WHAM!), '
        f'or {what[0]}, s1 and s2 each with _anechoic and _reverb (WHAMR!)'
    )
    inner = ('min', 'wav8k/min', '2speakers/wav8k/min')
    base = mixed.find_base(root, inner, PARTS, layout, firsts=('s1', 's1_anechoic'))
    mixture, sources, heard = what[0], ('s1', 's2'), ()
    if any(os.path.isdir(os.path.join(base, part, 's1_anechoic')) for part in PARTS):
        room, target = room or 'reverb', target or 'anechoic'
        if (room, target) == ('anechoic', 'reverb'):
            raise ValueError(
                '--target=reverb: mixtures of --room=anechoic hold no reverberation; '
                '--target=anechoic, or --room=reverb'
            )
        mixture, rooms = f'{mixture}_{room}', tuple(f'{source}_{room}' for source in sources)
        sources = tuple(f'{source}_{target}' for source in sources)
        heard = () if sources == rooms else rooms
    elif room or target:
        flag, value = ('room', room) if room else ('target', target)
        raise TreeError(
            f'--{flag}={value}: {base} is WHAM!, whose mixtures and sources are of one kind; leave '
            'it out'
        )
    return mixed.read(
        root,
        base,
        PARTS,
        mixture,
        functools.partial(_named, speakers=2, levels=False),
        layout,
        splits=splits,
        sources=sources,
        heard=heard,
        noise='' if clean else 'noise',
        together=_TOGETHER,
    )


def _key(path: str) -> str:
    """`.../wsj0/si_tr_s/01t/01to030v.wv1.wav` -> `si_tr_s/01t/01to030v`."""
    tail = '/'.join(path.lower().split('/')[-3:])
    return re.sub(r'(\.wv1)?(\.wav|\.flac)?$', '', tail)


def _stem(path: str) -> str:
    return _key(path).split('/')[-1]


def _listed(line: str, speakers: int) -> tuple[str, tuple[float, ...], tuple[str, ...]]:
    """Name, levels and paths of the mixture in a line of a list.

    Raises:
        ValueError: the rule that it breaks.
    """
    fields = line.split()
    if len(fields) != 2 * speakers:
        raise ValueError(f'expected `{" ".join(["path snr"] * speakers)}`')
    paths, levels = fields[::2], _levels(*fields[1::2])
    for path in paths:
        if path.startswith('/') or '..' in path.split('/'):
            raise ValueError(f'the path {path!r} must be relative and stay below --wsj0_dir')
    stems = [_stem(path) for path in paths]
    mixed.refuse_one_speaker(*map(_speaker, stems))
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
    wsj0_dir: str, lists_dir: str, *, splits: tuple[str, ...] = SPLITS, speakers: int = 2
) -> tuple[list[Recording], list[Mixture]]:
    """The recordings of WSJ0 itself, and the mixtures that MERL's lists make of them.

    WSJ0's are `si_tr_s/01t/01to030v.wav` or `.wv1`, the lists `mix_2_spk_{tr,cv,tt}.txt` have lines
    `path snr path snr`, and `mix_3_spk_...` of three. Only the head-mounted microphone (`wv1`) is
    taken; `wv2` is never read. A listed file that is not there is counted as missing, with its
    mixtures.

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
        table = os.path.join(lists_dir, f'mix_{speakers}_spk_{part}.txt')
        if not os.path.isfile(table):
            raise TreeError(
                f"{table} is missing; --lists_dir must hold MERL's "
                f'mix_{speakers}_spk_{{tr,cv,tt}}.txt'
            )
        lines = {}
        for number, line in enumerate(tables.read_lines(table), start=1):
            if not line.strip():
                continue
            try:
                mixture, levels, names = _listed(line, speakers)
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
                    source_id=_speaker(_stem(name)),
                    path=os.path.join(wsj0_dir, path or os.path.normpath(name)),
                    split=split,
                    others=forms.get(path, ()),
                )
                recording = utterances.setdefault(recording.id, recording)
                sources.append(Source(recording.path, recording.source_id, level_db=level_db))
            listed.append(Mixture(mixture, split, tuple(sources)))
        if not lines:
            way = mixed.without(splits, {*splits} - {split})
            raise TreeError(f'{table} lists no mixture{f"; {way}" if way else ""}')
    mixed.refuse_shared(lists_dir, list(utterances.values()), listed, together=_TOGETHER)
    present = {
        recording.path: None for recording in utterances.values() if os.path.isfile(recording.path)
    }
    if not present:
        what = 'holds none of the listed files'
        raise recordings.wrong_tree(wsj0_dir, layout, files, what=what)
    first = next(iter(present))
    if first.endswith('.wv1'):
        _refuse_shorten(first)
    made = {row.split for row in listed if all(source.path in present for source in row.sources)}
    for split in splits:
        if split not in made:
            paths = (x.path for x in utterances.values() if x.split == split)
            absent = next((path for path in paths if path not in present), '')
            raise TreeError(
                f'{wsj0_dir}: no mixture of the split {split} has its files, e.g. {absent} is '
                f'missing (expected: {layout}); '
                f'{mixed.without(splits, made) or "look at --wsj0_dir"}'
            )
    return list(utterances.values()), listed
