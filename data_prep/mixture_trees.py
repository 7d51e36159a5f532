"""Walk trees that are mixed already (WSJ0-2mix as MERL's scripts leave it, LibriMix), and lists."""

import collections
import os
import re

from data_prep import corpora, delimited
from data_prep.corpora import TreeError, Utterance, plural, printable
from data_prep.plans import Listed

SPLITS = ('train', 'validation', 'test')
WSJ0_PARTS = {'tr': 'train', 'cv': 'validation', 'tt': 'test'}
_WSJ0_TOGETHER = ('train', 'validation')  # tr and cv are of the same speakers, as published
_MOST_DB = 50  # of a level; published are 2.5, and 16 bits hold 96 between the two
WSJ0_COUNTS = {'train': 20000, 'validation': 5000, 'test': 3000}
LIBRIMIX_PARTS = {
    'train-100': 'train',
    'train-360': 'train',
    'train': 'train',  # MiniLibriMix
    'dev': 'validation',
    'val': 'validation',  # MiniLibriMix
    'test': 'test',
}


def _refuse_remote(root: str) -> None:
    if '://' in root:
        raise TreeError(
            f"{root}: this tree is listed with the operating system's own calls, so it must be on "
            'a local path; copy it, or mount the bucket (e.g. with gcsfuse) and give that folder'
        )


def _refuse_shared(
    root: str,
    utterances: list[Utterance],
    listed: list[Listed],
    *,
    together: tuple[str, ...] = (),
) -> None:
    """As `plans.random_pairs`: a speaker belongs to one split, or to those published `together`;
    and a mixture to one."""

    def refuse(noun: str, pairs: list[tuple[str, str]], together: tuple[str, ...] = ()) -> None:
        splits = {}
        for name, split in pairs:
            splits.setdefault(name, set()).add(split)
        shared = sorted(
            name for name, there in splits.items() if len(there) > 1 and not there <= set(together)
        )
        if shared:
            shown = '; '.join(f'{one!r} in {", ".join(sorted(splits[one]))}' for one in shared[:5])
            raise TreeError(
                f'{root}: {len(shared)} of {plural(len(splits), noun)} in more than one split: '
                f'{shown}. A {noun} must not cross splits; take '
                f'{"their mixtures" if noun == "speaker" else "them"} out of all but one of them'
            )

    refuse('speaker', [(one.speaker, one.split) for one in utterances], together)
    refuse('mixture', [(line.id, line.split) for line in listed])


def _find_base(root: str, inner: tuple[str, ...], parts: dict[str, str], layout: str) -> str:
    """The folder of `root` that holds the parts: itself, or one of the usual ones inside it."""
    _refuse_remote(root)
    found = []
    for below in ('', *inner):
        base = os.path.join(root, below)
        if os.path.isdir(base):
            names = sorted(os.listdir(base))
            found += [os.path.join(below, name) for name in names]
            if any(os.path.isdir(os.path.join(base, part, 's1')) for part in parts):
                return base
    raise TreeError(
        f'{root} is not the tree expected.\n  expected: {layout}\n'
        f'  found: {", ".join(map(printable, found[:8])) or "nothing (is it a folder?)"}'
    )


def _by_stem(folder: str) -> dict[str, list[str]]:
    """{name without suffix: paths of its forms} of the audio files in a folder."""
    files = corpora.list_files(folder)
    stems = {name: os.path.splitext(name)[0] for name in files}
    forms = corpora.in_forms(folder, files, stems)
    return {stems[name]: [os.path.join(folder, name), *others] for name, others in forms.items()}


def _mixed(
    base: str,
    parts: dict[str, str],
    mixture: str,
    speakers_of,
    levels_of,
    layout: str,
    *,
    splits: tuple[str, ...],
):
    """Two utterances and one line for each mixture of each part, and a line without utterances for
    each that breaks a rule.

    Raises:
        TreeError: if one of `splits` has none.
    """
    utterances, listed, strays = [], [], []
    for part, split in parts.items():
        if not os.path.isdir(os.path.join(base, part)):
            continue
        folders = [os.path.join(base, part, name) for name in (mixture, 's1', 's2')]
        missing = [folder for folder in folders if not os.path.isdir(folder)]
        if missing:
            raise TreeError(f'{base}: no folder {missing[0]}.\n  expected: {layout}')
        mixtures, *sources = [_by_stem(folder) for folder in folders]
        names = {stem: paths for one in sources for stem, paths in one.items()}
        for stem, paths in sorted(names.items()):
            name = os.path.basename(paths[0])
            speakers = speakers_of(stem)
            if speakers is None:  # not one of the mixtures; the report counts it
                strays.append(paths[0])
                continue
            ready = tuple(mixtures.get(stem, [os.path.join(folders[0], name)]))
            try:
                levels = levels_of(stem)
                _refuse_one_speaker(*speakers)
            except ValueError as error:
                problem = ('name breaks a rule', str(error))
                listed.append(Listed(printable(stem), split, (), (), ready, problem))
                continue
            ids = tuple(f'{part}/{printable(stem)}/s{i}' for i in (1, 2))
            for id_, speaker, folder, one in zip(ids, speakers, folders[1:], sources):
                path, *others = one.get(stem, [os.path.join(folder, name)])
                utterances.append(Utterance(id_, speaker, path, split, others=tuple(others)))
            if ready[1:]:  # which one is good is found out, and the bad ones are counted
                id_ = f'{part}/{printable(stem)}/{mixture}'
                utterances.append(Utterance(id_, speakers[0], ready[0], split, others=ready[1:]))
            listed.append(Listed(printable(stem), split, ids, levels, ready))
    if strays and not listed:
        raise TreeError(f'{printable(strays[0])} is not named as expected: {layout}')
    there = {line.split for line in listed if not line.problem}
    for split in splits:
        if split not in there:
            folders = ' or '.join(part for part, name in parts.items() if name == split)
            left = ','.join(name for name in splits if name in there)
            way = f'--splits={left} does without it' if left else f'expected: {layout}'
            bad = next((line for line in listed if line.split == split), None)
            bad = f'; {bad.id}: {bad.problem[1]}' if bad else ''
            raise TreeError(
                f'{base} has no mixtures for the split {split} (folder {folders}){bad}; {way}'
            )
    return utterances, listed


def _wsj0_name(stem: str):
    number = r'[-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf)'
    return re.fullmatch(rf'(?P<u1>[^_]+)_(?P<g1>{number})_(?P<u2>[^_]+)_(?P<g2>{number})', stem)


def _wsj0_speakers(stem: str):
    match = _wsj0_name(stem)
    return match and (match['u1'][:3], match['u2'][:3])


def _wsj0_levels(stem: str) -> tuple[float, float]:
    match = _wsj0_name(stem)
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


def _refuse_one_speaker(first: str, second: str) -> None:
    if first == second:
        raise ValueError(f'both sources are of speaker {first!r}, a mixture is of two')


def incomplete(listed: list[Listed]) -> list[str]:
    """A line for each split of WSJ0-2mix that is not as large as published."""
    found = collections.Counter(line.split for line in listed if not line.problem)
    return [
        f'WSJ0-2mix has {WSJ0_COUNTS[split]} mixtures in {split}, this tree {count}'
        for split, count in sorted(found.items())
        if count != WSJ0_COUNTS[split]
    ]


def wsj0_2mix(
    root: str, *, splits: tuple[str, ...] = SPLITS
) -> tuple[list[Utterance], list[Listed]]:
    """`2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}/<utt1>_<snr1>_<utt2>_<snr2>.wav`.

    Speakers are the first three letters of an utterance; levels are those in the name.

    Raises:
        TreeError: if the tree is another one, a split is not there, or a speaker of the test set is
            in another split.
    """
    layout = '[2speakers/wav8k/min/]{tr,cv,tt}/{mix,s1,s2}/<utt1>_<snr1>_<utt2>_<snr2>.wav'
    base = _find_base(root, ('min', 'wav8k/min', '2speakers/wav8k/min'), WSJ0_PARTS, layout)
    parts = {part: split for part, split in WSJ0_PARTS.items() if split in splits}
    utterances, listed = _mixed(
        base, parts, 'mix', _wsj0_speakers, _wsj0_levels, layout, splits=splits
    )
    _refuse_shared(root, utterances, listed, together=_WSJ0_TOGETHER)
    return utterances, listed


def librimix(
    root: str, *, train_parts: tuple[str, ...] = (), splits: tuple[str, ...] = ()
) -> tuple[list[Utterance], list[Listed]]:
    """`[Libri2Mix/][wav8k/min/]{train-100,train-360,dev,test}/{mix_clean,s1,s2}/*.wav`, or
    MiniLibriMix's `{train,val}`.

    Args:
        root: the folder.
        train_parts: which of the training parts to take; empty: all that are there.
        splits: to take; empty: all that the corpus is published with (MiniLibriMix has no test).
    Raises:
        TreeError: if the tree is another one, a split is not there, or a speaker is in two.
    """
    layout = (
        '[Libri2Mix/][wav8k/min/]{train-100,train-360,dev,test}/{mix_clean,s1,s2}/*.wav, '
        "or MiniLibriMix's {train,val}"
    )
    inner = ['min', 'wav8k/min'] + [
        f'{name}/{below}'.rstrip('/')
        for name in ('Libri2Mix', 'MiniLibriMix')
        for below in ('wav8k/min', '')
    ]
    base = _find_base(root, tuple(inner), LIBRIMIX_PARTS, layout)
    if not splits:
        mini = any(os.path.isdir(os.path.join(base, part)) for part in ('train', 'val'))
        splits = SPLITS[:2] if mini else SPLITS
    parts = {
        part: split
        for part, split in LIBRIMIX_PARTS.items()
        if split in splits and (split != 'train' or not train_parts or part in train_parts)
    }
    absent = [part for part in train_parts if not os.path.isdir(os.path.join(base, part))]
    if absent:
        there = ', '.join(map(printable, sorted(os.listdir(base))))
        raise TreeError(f'{base} has no {", ".join(absent)}; it has {there}')

    def speakers_of(stem):
        names = stem.split('_')
        return tuple(name.split('-')[0] for name in names) if len(names) == 2 else None

    utterances, listed = _mixed(
        base, parts, 'mix_clean', speakers_of, lambda stem: (), layout, splits=splits
    )
    _refuse_shared(root, utterances, listed)
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
    _refuse_one_speaker(*map(_speaker, paths))
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


def wsj0_lists(
    wsj0_dir: str, lists_dir: str, *, splits: tuple[str, ...] = SPLITS
) -> tuple[list[Utterance], list[Listed]]:
    """WSJ0 itself (`si_tr_s/01t/01to030v.wav` or `.wv1`) and the MERL lists
    `mix_2_spk_{tr,cv,tt}.txt` with lines `path snr path snr`.

    Only the head-mounted microphone (`wv1`) is taken; `wv2` is never read. A listed file that is
    not there is counted as missing, with its mixtures.

    Raises:
        TreeError: if a line breaks a rule, nothing of a split is there, or a speaker of the test
            set is in another split.
    """
    layout = 'si_tr_s/01t/01to030v.wav (or .wv1, .flac) below --wsj0_dir'
    for folder in (wsj0_dir, lists_dir):
        _refuse_remote(folder)
    files = corpora.list_files(wsj0_dir, ('.wav', '.flac', '.wv1'))
    # A converted file wins over the SPHERE file beside it.
    by_wish = sorted(files, key=lambda path: not path.endswith('.wv1'))
    forms = corpora.in_forms(wsj0_dir, files, {path: _key(path) for path in by_wish})
    by_key = {_key(path): path for path in forms}
    utterances, listed = {}, []
    for part, split in WSJ0_PARTS.items():
        if split not in splits:
            continue
        path = os.path.join(lists_dir, f'mix_2_spk_{part}.txt')
        if not os.path.isfile(path):
            raise TreeError(
                f"{path} is missing; --lists_dir must hold MERL's mix_2_spk_{{tr,cv,tt}}.txt"
            )
        lines = {}
        for number, line in enumerate(delimited.read_lines(path), start=1):
            if not line.strip():
                continue
            try:
                mixture, levels, names = _listed(line)
                if mixture in lines:
                    raise ValueError(f'the mixture of line {lines[mixture]} once more')
            except ValueError as error:
                raise TreeError(f'{path}:{number}: {error}, found {line.strip()[:200]!r}') from None
            lines[mixture] = number
            # cv and tr share files as well as speakers; ids are unique within a split.
            ids = {f'{part}/{_key(name)}': name for name in names}
            for id_, name in ids.items():
                found = by_key.get(_key(name))
                utterances[id_] = Utterance(
                    id=id_,
                    speaker=_speaker(name),
                    path=os.path.join(wsj0_dir, found or name),
                    split=split,
                    others=forms.get(found, ()),
                )
            listed.append(Listed(mixture, split, tuple(ids), levels))
    _refuse_shared(lists_dir, list(utterances.values()), listed, together=_WSJ0_TOGETHER)
    present = {one.path: None for one in utterances.values() if os.path.isfile(one.path)}
    if not present:
        shown = ', '.join(map(printable, [*files][:5])) or 'no such audio files at all'
        raise TreeError(
            f'{wsj0_dir} holds none of the listed files.\n  expected: {layout}\n  found: {shown}'
        )
    first = next(iter(present))
    if first.endswith('.wv1'):
        _refuse_shorten(first)
    there = {
        line.split
        for line in listed
        if all(utterances[name].path in present for name in line.utterances)
    }
    for split in splits:
        if split not in there:
            listed_here = [one for one in utterances.values() if one.split == split]
            absent = next((one.path for one in listed_here if one.path not in present), '')
            left = ','.join(name for name in splits if name in there)
            raise TreeError(
                f'{wsj0_dir}: no mixture of the split {split} has its files, e.g. {absent} is '
                f'missing (expected: {layout}); '
                + (f'--splits={left} does without it' if left else 'look at --wsj0_dir')
            )
    return list(utterances.values()), listed
