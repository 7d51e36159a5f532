"""Mixtures that a table lists: mixtures.csv of a data set made before, or a table of your own.

python -m data_prep.listed --mixtures=mixtures.csv --input_dir=recordings --output_dir=data/again
"""

import functools

from data_prep import fgbg, mix, mixtures, options, tables
from data_prep.mixtures import Mixture
from data_prep.recordings import Recording
from data_prep.tables import TreeError, printable
from fgsep_jax import command_line

SPLITS = ('train', 'validation', 'test', *mixtures.TEST_SUBSETS)
RULES = {
    'ready': "snr_db is the table's, or the ratio of the first source's mean power and the "
    "others', measured; the sources are the files' own samples.",
    'levels': "snr_db is the table's, or the level of the first source over the others': each is "
    'brought to its level by ITU-T P.56 (no input filter) over the stretch that the table names, '
    'all are cut to the shortest, then one common factor brings the largest peak of mixture and '
    'sources to 0.9.',
}


def kind_of(row: Mixture) -> str:
    """How a row is mixed: `ready`, `scene` or `levels`; see `mix.mix`."""
    return 'ready' if row.ready else 'scene' if row.onset is not None else 'levels'


def check(rows: list[Mixture], table: str) -> str:
    """How all rows are mixed.

    Args:
        rows: of the table.
        table: its name.
    Raises:
        TreeError: with the mixture and the rule, where a row is not like the others or lacks what
            its kind needs.
    """
    whole = [row for row in rows if not row.problem]
    if not whole:
        raise TreeError(f'{table} lists no mixture')
    kind, count = kind_of(whole[0]), len(whole[0].sources)
    for row in whole:
        segment = (row.adaptation_start, row.adaptation_stop, row.adaptation_overlap)
        for wrong, rule in (
            (row.split not in SPLITS, f'its split must be one of {", ".join(SPLITS)}'),
            (len(row.sources) < 2, 'it needs two sources at least, path_1 and path_2'),
            (len(row.sources) != count, f'it needs {count} sources, as the first mixture has'),
            (kind_of(row) != kind, 'ready mixtures, events with an onset, and others do not mix'),
            (any(0 < x.stop <= x.start for x in row.sources), 'a stop must be after its start'),
            (
                kind == 'scene' and (count > 2 or not row.samples or None in segment),
                'an event with an onset needs one background, samples, adaptation_start, '
                'adaptation_stop and adaptation_overlap',
            ),
            (
                kind == 'scene' and (segment[1] or 0) <= (segment[0] or 0),
                'adaptation_stop must be after adaptation_start',
            ),
        ):
            if wrong:
                name = f'{row.split}/{row.id}'
                raise TreeError(f'{table}, mixture {printable(name)}: {rule}')
    return kind


def recordings_of(rows: list[Mixture], roots: dict[str, str]) -> list[Recording]:
    """The files that rows name, each once in a split.

    Args:
        rows: of the table.
        roots: {flag: folder}.
    """
    files = {}

    def add(row, path, source, role='', others=()):
        name = '_'.join(f'{row.split}/{tables.below(path, roots)}'.split())
        files.setdefault(
            (row.split, path),
            Recording(
                name,
                source.source_id,
                path,
                row.split,
                source.source_class,
                role,
                others=others,
            ),
        )

    for row in rows:
        roles = ('foreground', 'background') if kind_of(row) == 'scene' else ('',) * 99
        for source, role in zip(row.sources, roles):
            add(row, source.path, source, role)
        if row.ready[1:]:  # which one is good is found out, and the bad ones are counted
            add(row, row.ready[0], row.sources[0], others=row.ready[1:])
    return list(files.values())


def _prepare(args) -> dict:
    roots = options.folders(args)
    rows = mixtures.from_csv(args.mixtures, roots)
    kind = check(rows, printable(args.mixtures))
    fgbg.check_level(args)
    shortest = fgbg.LUFS_SECONDS * args.sample_rate
    for row in rows:
        lengths = row.samples, (row.adaptation_stop or 0) - (row.adaptation_start or 0)
        if kind == 'scene' and args.level == 'lufs' and min(lengths) < shortest:
            raise ValueError(
                f'--level=lufs: {printable(row.id)} is of {min(lengths)} samples; loudness is '
                f'measured in blocks of {fgbg.LUFS_SECONDS} s; --level=rms takes shorter ones'
            )
    files = recordings_of([row for row in rows if not row.problem], roots)
    metadata, warnings = options.sexes(args, files)
    if kind == 'scene':
        metadata['source_unit'] = 'source recordings'
    return dict(
        job='listed',
        utterances=files,
        also_used=[path for row in rows for path in row.ready[:1]],
        plan=functools.partial(mixtures.listed, rows=rows),
        mix=functools.partial(mix.mix, level=args.level),
        max_clipped=args.max_clipped,
        snr_rule=RULES.get(kind) or fgbg.snr_rule(args.level),
        extra_metadata=metadata,
        warnings=warnings,
    )


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(__spec__.name, __doc__, input_dir='', min_seconds=0.0)
    parser.add_argument(
        '--mixtures',
        type=command_line.local_path,
        required=True,
        help='csv or tsv with the columns split, id, path_1, path_2, ...; see docs/data.md',
    )
    for flag in ('input_dir', 'wsj0_dir', 'desed_dir', 'audioset_dir'):
        where = 'nothing in front' if flag == 'input_dir' else f'{{{flag}}}/ in front'
        parser.add_argument(
            f'--{flag}', type=command_line.path, help=f'where the paths with {where} lie'
        )
    fgbg.level_flags(parser)
    options.speakers_flag(parser)
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
