"""Libri2Mix, Libri3Mix or MiniLibriMix, clean or with noise, from its tree of wav files.

python -m data_prep.librimix --input_dir=Libri2Mix --output_dir=data/libri2mix
"""

from data_prep import options
from data_prep.readers import librimix, mixed

_RULE = (
    "snr_db is the ratio of the two sources' mean powers over the whole mixture, measured; the "
    "sources are the tree's own samples."
)


def _prepare(args) -> dict:
    train_parts = tuple(part for part in args.train_parts.split(',') if part)
    read = librimix.read(
        args.input_dir,
        train_parts=train_parts,
        splits=args.splits,
        speakers=args.speakers_a_mixture,
        noise=args.noise,
    )
    plain = args.speakers_a_mixture == 2 and not args.noise
    return {**options.listed(*read), 'snr_rule': _RULE if plain else options.MEASURED_RULE}


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name,
        __doc__,
        input_dir='[Libri2Mix/][wav8k/min/]{train-100,train-360,dev,test}/{mix_clean,s1,s2}/*',
        min_seconds=0.0,
    )
    parser.add_argument(
        '--train_parts', default='', help='e.g. train-360; default: all training parts there are'
    )
    options.splits_flag(parser, mixed.SPLITS, default=())
    options.speakers_a_mixture_flag(parser)
    parser.switch('--noise', 'take mix_both, whose noise is no target, instead of mix_clean')
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
