"""Mixtures of speakers from any `<speaker>/**/*` tree, split by speaker or by recording.

python -m data_prep.folder_2mix --input_dir=recordings --output_dir=data/mine
"""

import functools
import posixpath

from data_prep import options, pairing
from data_prep.readers import folder
from data_prep.tables import printable


def _prepare(args) -> dict:
    shares = {'validation': args.validation_fraction, 'test': args.test_fraction}
    shares['train'] = max(0.0, 1 - sum(shares.values()))
    for split, share in shares.items():
        pairs = f'{split}_pairs'
        if not share and getattr(args, pairs):
            raise ValueError(
                f'--{pairs}={getattr(args, pairs)}, but the fractions leave no speakers for {split}'
            )
        if not share:
            setattr(args, pairs, 0)
    how = dict(
        validation=args.validation_fraction,
        test=args.test_fraction,
        seed=args.seed,
        least=args.speakers_a_mixture,
    )
    read = functools.partial(folder.read, split_by=args.split_by, **how)
    job = options.pairs_of(args, read)
    start = len(posixpath.join(args.input_dir, ''))
    paths = [printable(x.path[start:]) for x in job['utterances']]
    *_, warnings = folder.twins({path.partition('/')[0] for path in paths})
    warnings += folder.groups_of_people(paths)
    more = {'fewer': True} if args.fewer else {}
    if args.split_by == 'recording':
        more['shares'] = shares
        job['dealt'] = functools.partial(
            pairing.splits_dealt,
            sample_rate=args.sample_rate,
            max_seconds=args.max_seconds,
            shares=shares,
            seed=args.seed,
        )
        warnings.append(
            'split by recording: who is heard in one split is heard in the others, so that scores '
            'say nothing about voices that were not trained on'
        )
    else:
        job['resplit'] = functools.partial(folder.resplit, copies=job['copies'], **how)
    plan = functools.partial(job['plan'], **more)
    return {**job, 'plan': plan, 'warnings': [*warnings, *job['warnings']]}


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name, __doc__, input_dir='a folder for each speaker: <speaker>/**/* of audio files'
    )
    for split in ('validation', 'test'):
        parser.add_argument(
            f'--{split}_fraction',
            type=options.SHARE,
            default=0.1,
            help="of the speakers, or of each speaker's recordings",
        )
    parser.add_argument(
        '--split_by',
        choices=('speaker', 'recording'),
        default='speaker',
        help='recording: every speaker is in every split, with other recordings, or, where there '
        'are few, with other segments of --max_seconds; as many speakers as a mixture has are '
        'enough',
    )
    parser.switch('--fewer', 'all the pairs there are will do where more are asked for')
    options.pair_flags(parser, dict.fromkeys(('train', 'validation', 'test')))
    options.speakers_flag(parser)
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
