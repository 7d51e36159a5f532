"""Foreground-background mixtures from isolated sounds: training, validation and C1 to C4.

    python -m data_prep.fgbg --input_dir=sounds --output_dir=data/mine
    python -m data_prep.fgbg --desed_dir=DESED --audioset_dir=clips --output_dir=data/paper

The inputs: any folder with foreground/<class>/* and background/<class>/*, the DESED sound bank as
delivered, folders of AudioSet clips, or several of them together. What is not there is listed in
the report; nothing is downloaded.
"""

import collections
import functools
import importlib.util
import itertools
import os
import types

from data_prep import audio, mix, mixtures, options, scenes
from data_prep.readers import sounds as banks
from data_prep.recordings import grouped
from data_prep.tables import TreeError, printable
from fgsep_jax import command_line
from fgsep_jax.names import counted

TREES = {
    'input_dir': banks.folder,
    'desed_dir': banks.desed,
    'audioset_dir': banks.audioset,
}
# Flags that say how scenes are planned, see `scenes.scenes`.
PLANNED = (
    *('seconds', 'adaptation_seconds', 'adaptation', 'events', 'snr_db'),
    *('draw', 'seed', 'repeat_share'),
    *('augment_onset', 'augment_pitch', 'augment_stretch'),
)
LUFS_SECONDS = 0.4
# Isolated foregrounds and backgrounds of the paper's mixtures (Olvera et al., section IV.A).
OF_THE_PAPER = {'train': (604, 786), 'validation': (131, 175), 'evaluation': (194, 326)}
BESIDE_THE_PAPER = 'Isolated sounds of the mixtures, beside those of Olvera et al. (section IV.A)'
LEVELS = {
    'rms': 'RMS levels',
    'lufs': 'loudnesses (ITU-R BS.1770, integrated, in LUFS)',
}


def snr_rule(level: str, *, several: bool = False) -> str:
    """What metadata and report say of a scene's SNR; `several`: where it may have more events."""
    events = ' The foreground is the sum of its events, brought to one level first.' * several
    return (
        f"snr_db is the difference of foreground's and background's {LEVELS[level]} over the whole "
        'mixture; then one common factor brings the largest peak of mixture and sources to 0.9. '
        'The adaptation segment is scaled as the background is, and no higher than 0.9.' + events
    )


def level_flags(parser: command_line.Parser) -> None:
    """Add the flags of levels and of files that are left out."""
    parser.add_argument(
        '--max_clipped',
        type=options.SHARE,
        default=audio.CLIPPED,
        help='skip files with a larger share of clipped samples, e.g. 0.0001; 1: none',
    )
    parser.add_argument(
        '--level', choices=sorted(LEVELS), default='rms', help='what the SNR is a difference of'
    )


def check_level(args: types.SimpleNamespace) -> None:
    """Refuse a level that nothing here can measure.

    Raises:
        ValueError: with what to install, or which there are.
    """
    if args.level not in LEVELS:  # of a data set's metadata: a flag has been checked
        raise ValueError(f'level {args.level!r}: must be one of {", ".join(sorted(LEVELS))}')
    if args.level == 'lufs' and importlib.util.find_spec('pyloudnorm') is None:
        raise ValueError('--level=lufs needs pyloudnorm: pip install pyloudnorm')


def add_flags(parser: command_line.Parser) -> None:
    """Add the flags of splits, mixtures, levels and augmentation, by default the paper's."""
    for split, fraction in (('validation', 0.14), ('test', 0.21)):
        parser.add_argument(
            f'--{split}_fraction',
            type=options.SHARE,
            default=fraction,
            help="of each seen class's source recordings",
        )
    for split, count, note in (
        ('train', 15000, ''),
        ('validation', 6000, ''),
        ('test', 1000, ', each of C1 to C4'),
    ):
        parser.add_argument(
            f'--{split}_mixtures',
            type=command_line.count,
            default=count,
            help=f'0: no such split{note}',
        )
    parser.add_argument(
        '--subsets',
        type=options.names_of(scenes.TEST_SUBSETS),
        default=scenes.TEST_SUBSETS,
        help='of the evaluation set: classes of both sides seen in training, the background '
        'unseen, the foreground unseen, both unseen',
    )
    parser.add_argument('--seconds', type=options.SECONDS, default=2.0, help='length of a mixture')
    parser.add_argument(
        '--adaptation_seconds',
        type=options.SECONDS,
        default=2.0,
        help='length of the segment of the same background beside each mixture',
    )
    parser.add_argument(
        '--adaptation',
        choices=scenes.ADAPTATIONS,
        default=scenes.ADAPTATIONS[0],
        help='where that segment lies: in the same recording outside the excerpt that is in the '
        'mixture, right before it, or in it (what is in the mixture, without the foreground)',
    )
    parser.add_argument(
        '--events',
        type=options.wholes(1, 9),
        default=(1, 1),
        help='of a scene: --events=1..3, uniform; they are brought to one level, and their sum is '
        'the foreground',
    )
    parser.add_argument(
        '--snr_db', type=options.SNR_DB, default=(-3.0, 3.0), help='--snr_db=low,high, uniform'
    )
    level_flags(parser)
    parser.add_argument(
        '--draw',
        choices=('sound', 'class'),
        default='sound',
        help='use all sounds equally often, or all classes',
    )
    parser.switch(
        '--augment_onset',
        'training events begin anywhere in the window, with at least half of them inside',
        default=True,
    )
    parser.add_argument(
        '--repeat_share',
        type=options.SHARE,
        default=0.0,
        help='of training events that do not, but fill the window as those of validation and test '
        'do, a short one repeated',
    )
    parser.add_argument(
        '--augment_pitch',
        type=options.reals(-48, 48, 'semitones'),
        default=(-2.0, 2.0),
        help='of training events, in semitones; 0,0: off',
    )
    parser.add_argument(
        '--augment_stretch',
        type=options.reals(0.1, 10, 'times the length'),
        default=(0.8, 1.2),
        help='new over old length of training events; 1,1: off',
    )


def beside_the_paper(rows: list[mixtures.Mixture]) -> dict[str, dict]:
    """How many files the mixtures of each set are made of, and how many the paper's were."""
    table = {}
    for name, counts in OF_THE_PAPER.items():
        splits = scenes.TEST_SUBSETS if name == 'evaluation' else (name,)
        chosen = [row for row in rows if row.split in splits]
        foregrounds = {event.path for row in chosen for event, _ in row.events}
        backgrounds = {row.targets[1].path for row in chosen}
        table[name] = {}
        for role, files, theirs in zip(banks.ROLES, (foregrounds, backgrounds), counts):
            table[name] |= {f'{role}s here': len(files), f"{role}s, paper's": theirs}
    return table


def notes(good, rows, *, absent: list[str], warnings: list[str]) -> dict:
    """What report.md says beside the numbers of every job; see `build.run`."""
    by_split, table = grouped(rows, lambda row: row.split), {}
    for sound in sorted(good, key=lambda sound: (sound.role, sound.source_class)):
        counts = table.setdefault(
            f'{sound.role} {sound.source_class}',
            {'set': 'seen' if sound.seen else 'unseen', 'train': 0, 'validation': 0, 'test': 0},
        )
        counts[sound.split] += 1
    used, several = {}, any(len(row.events) > 1 for row in rows)
    for split in (name for name in scenes.SUBSETS if name in by_split):
        chosen = by_split[split]
        backgrounds = [row.targets[1] for row in chosen]
        met = [(event, row.targets[1]) for row in chosen for event, _ in row.events]
        placed = [how for row in chosen for _, how in row.events]
        used[split] = {
            'foregrounds': len({event.path for event, _ in met}),
            'backgrounds': len({source.path for source in backgrounds}),
            'pairs of classes': len({(f.source_class, b.source_class) for f, b in met}),
            'pairs of sounds': len({(f.path, b.path) for f, b in met}),
            'event may begin late': sum(event.anywhere for event in placed),
            'pitch changed': sum(event.semitones != 0.0 for event in placed),
            'length changed': sum(event.stretch != 1.0 for event in placed),
            **({'events': len(met)} if several else {}),
        }
    return {
        'Warnings': list(warnings),
        'Classes of the table without a sound': absent,
        'Usable sounds by class and split': table,
        'What the mixtures are made of': used,
    }


def job(args: types.SimpleNamespace, sounds: list, *, classes=None, warnings=(), table='') -> dict:
    """Arguments of the pipeline (`options.run`'s `prepare`) for the flags of `add_flags`.

    Args:
        args: parsed flags of `add_flags` and `options.parser`.
        sounds: recordings, not split yet.
        classes: the class table, to list the classes without a sound.
        warnings: further lines for the report's warnings.
        table: the class table's name, for a refusal; empty: the job has no flags for another one.
    Raises:
        ValueError: for flags that do not go together.
    """
    check_level(args)
    if args.level == 'lufs' and min(args.seconds, args.adaptation_seconds) < LUFS_SECONDS:
        raise ValueError(
            f'--seconds={args.seconds:g}, --adaptation_seconds={args.adaptation_seconds:g}: '
            f'loudness is measured in blocks of {LUFS_SECONDS} s; both must be that long, or '
            '--level=rms'
        )
    if args.adaptation == 'mixture' and args.adaptation_seconds > args.seconds:
        raise ValueError(
            f'--adaptation_seconds={args.adaptation_seconds:g}: with --adaptation=mixture it must '
            f'be at most --seconds={args.seconds:g}, which is all of the background that is in a '
            'mixture'
        )
    shares = {'validation': args.validation_fraction, 'test': args.test_fraction}
    split = functools.partial(banks.split, **shares, seed=args.seed)
    sounds, split_lines = split(sounds)
    counts = {'train': args.train_mixtures, 'validation': args.validation_mixtures}
    counts |= dict.fromkeys(args.subsets, args.test_mixtures)
    present = {sound.source_class for sound in sounds}
    rows = dict.fromkeys((classes or {}).values())
    absent = [f'{x.role} {x.name}' for x in rows if x.name not in present]
    members = sorted({(sound.role, sound.seen, sound.source_class) for sound in sounds})
    return dict(
        utterances=sounds,
        plan=functools.partial(
            scenes.scenes,
            sample_rate=args.sample_rate,
            counts=counts,
            table=table,
            **{name: vars(args)[name] for name in PLANNED},
        ),
        resplit=lambda good: {x.source_id: x.split for x in split(good)[0]},
        mix=functools.partial(mix.mix, level=args.level),
        max_clipped=args.max_clipped,
        notes=functools.partial(notes, absent=absent, warnings=[*warnings, *split_lines]),
        snr_rule=snr_rule(args.level, several=args.events[1] > 1),
        extra_metadata={
            'source_unit': 'source recordings',
            'classes': {
                role: {
                    name: [x for *key, x in members if key == [role, name == 'seen']]
                    for name in banks.SETS
                }
                for role in banks.ROLES
            },
        },
    )


def check_apart(by_flag: dict[str, list], roots: dict[str, str]) -> None:
    """Refuse a file that two flags deliver: it would count as two sounds.

    Raises:
        TreeError: with the two flags, how many files they share and one of them.
    """
    files = {
        flag: {os.path.realpath(sound.path) for sound in sounds} for flag, sounds in by_flag.items()
    }
    for a, b in itertools.combinations(files, 2):
        if shared := files[a] & files[b]:
            raise TreeError(
                f'--{a}={roots[a]} and --{b}={roots[b]} name overlapping folders: '
                f'{counted(len(shared), "file")} in both, e.g. {printable(min(shared))}; each file '
                'must come by one flag'
            )


def read_trees(args: types.SimpleNamespace) -> dict:
    """Walk the trees that the flags name; arguments of the pipeline."""
    roots = {flag: getattr(args, flag) for flag in TREES if getattr(args, flag)}
    if not roots:
        raise TreeError(
            'no sounds given: name at least one of ' + ', '.join(f'--{flag}' for flag in TREES)
        )
    classes = banks.read_classes(args.classes or banks.TABLE_1)
    table = printable(args.classes or 'data_prep/table_1.csv')
    groups = banks.read_groups(args.groups) if args.groups else None
    warnings, ignored = [], collections.Counter()
    by_flag = {
        flag: TREES[flag](root, classes=classes, groups=groups, ignored=ignored, table=table)
        for flag, root in roots.items()
    }
    check_apart(by_flag, roots)
    if 'input_dir' in roots:
        warnings += banks.alike(roots['input_dir'], by_flag['input_dir'])
    by_tree, lines = banks.of_their_source(
        {flag.removesuffix('_dir'): sounds for flag, sounds in by_flag.items()}, classes
    )
    warnings += lines
    copies = []
    sounds = banks.distinct([sound for members in by_tree.values() for sound in members], copies)
    if groups is not None:
        unlisted = [x for x in sounds if not banks.listed_group(x.path, groups)]
        if len(unlisted) == len(sounds):
            raise TreeError(
                f'{args.groups} lists none of the {counted(len(sounds), "sound")}, e.g. '
                f'{printable(sounds[0].path)}; its column path must end as the files do (class '
                'folder and file name)'
            )
        if unlisted:
            warnings.append(
                f'{os.path.basename(args.groups)} does not list {len(unlisted)} of '
                f'{counted(len(sounds), "sound")}, e.g. {unlisted[0].id}; source recordings are '
                'taken from names there'
            )
    cut = [sound for sound in by_flag.get('input_dir', ()) if banks.looks_cut(sound.path)]
    if cut and groups is None:
        warnings.append(
            f'{counted(len(cut), "sound")} named as cuts of a recording could be, e.g. '
            f'{cut[0].id}; each counts as a recording of its own; if they are cuts, '
            'say so with --groups, or give AudioSet clips by --audioset_dir'
        )
    if ignored:
        named = ', '.join(f'{printable(name)} ({count})' for name, count in sorted(ignored.items()))
        warnings.append(
            f'{counted(ignored.total(), "file")} left out, in folders that the class table {table} '
            f'has no use for: {named}; --classes names another table'
        )
        table += f', which has no use for the folders {named}'
    keywords = job(
        args, banks.unique_ids(sounds, roots), classes=classes, warnings=warnings, table=table
    )
    ours = keywords['notes']
    keywords['notes'] = lambda good, rows: {
        **ours(good, rows),
        BESIDE_THE_PAPER: beside_the_paper(rows),
    }
    return {**keywords, 'copies': copies}


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name, __doc__, input_dir='', sample_rate=44100, min_seconds=0.1
    )
    path, table = command_line.path, command_line.local_path
    parser.add_argument(
        '--input_dir', type=path, help='foreground/<class>/* and background/<class>/*'
    )
    parser.add_argument('--desed_dir', type=path, help='the DESED sound bank, as delivered')
    parser.add_argument('--audioset_dir', type=path, help='AudioSet clips in folders by class')
    parser.add_argument(
        '--classes', type=table, help="class table; default: Table I's, data_prep/table_1.csv"
    )
    parser.add_argument('--groups', type=table, help='table with the columns path and source_group')
    add_flags(parser)
    parser.set_defaults(max_clipped=1.0)  # the paper leaves no recording out
    options.run(parser, argv, read_trees)


if __name__ == '__main__':
    main()
