"""Two-speaker mixtures from any `<speaker>/**/*` tree of audio files, split by speaker.

python -m data_prep.folder_2mix --input_dir=recordings --output_dir=data/mine
"""

import posixpath

from data_prep import corpora, options


def _prepare(args) -> dict:
    copies = []
    utterances = corpora.folder(
        args.input_dir,
        validation=args.validation_fraction,
        test=args.test_fraction,
        seed=args.seed,
        copies=copies,
    )
    folders = {posixpath.relpath(one.path, args.input_dir).split('/')[0] for one in utterances}
    *_, told = corpora.twins(map(corpora.printable, folders))
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
    return dict(
        job='folder_2mix',
        utterances=utterances,
        plan=options.random_pairs(args),
        told=[*told, *unnamed],
        copies=copies,
        extra_metadata=metadata,
    )


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name, __doc__, input_dir='a folder for each speaker: <speaker>/**/* of audio files'
    )
    parser.add_argument('--validation_fraction', type=float, default=0.1, help='of the speakers')
    parser.add_argument('--test_fraction', type=float, default=0.1, help='of the speakers')
    options.pair_flags(parser, dict.fromkeys(('train', 'validation', 'test')))
    options.speakers_flag(parser)
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
