"""Two-speaker mixtures from any `<speaker>/**/*` tree, split by speaker or by recording.

python -m data_prep.folder_2mix --input_dir=recordings --output_dir=data/mine
"""

import functools
import posixpath

from data_prep import options
from data_prep.readers import folder
from data_prep.tables import printable


def _prepare(args) -> dict:
    copies = []
    utterances = folder.read(
        args.input_dir,
        validation=args.validation_fraction,
        test=args.test_fraction,
        seed=args.seed,
        copies=copies,
        split_by=args.split_by,
    )
    folders = {
        posixpath.relpath(recording.path, args.input_dir).split('/')[0] for recording in utterances
    }
    *_, warnings = folder.twins(map(printable, folders))
    metadata, unnamed = options.sexes(args, utterances)
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
    plan = options.random_pairs(args)
    if args.fewer:
        plan = functools.partial(plan, fewer=True)
    if args.split_by == 'recording':
        plan = functools.partial(plan, shares=shares)
        warnings.append(
            'split by recording: who is heard in one split is heard in the others, so that scores '
            'say nothing about voices that were not trained on'
        )
    return dict(
        job='folder_2mix',
        utterances=utterances,
        plan=plan,
        warnings=[*warnings, *unnamed],
        copies=copies,
        extra_metadata=metadata,
    )


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name, __doc__, input_dir='a folder for each speaker: <speaker>/**/* of audio files'
    )
    for split in ('validation', 'test'):
        parser.add_argument(
            f'--{split}_fraction',
            type=float,
            default=0.1,
            help="of the speakers, or of each speaker's recordings",
        )
    parser.add_argument(
        '--split_by',
        choices=('speaker', 'recording'),
        default='speaker',
        help='recording: every speaker is in every split, with other recordings, or, where there '
        'are few, with other segments of --max_seconds; two speakers are enough',
    )
    parser.switch('--fewer', 'all the pairs there are will do where more are asked for')
    options.pair_flags(parser, dict.fromkeys(('train', 'validation', 'test')))
    options.speakers_flag(parser)
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
