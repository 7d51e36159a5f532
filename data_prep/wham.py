"""WHAM! or WHAMR!: two speakers and noise that is no target, from their trees of wav files.

python -m data_prep.wham --input_dir=wham --output_dir=data/wham
"""

from data_prep import options
from data_prep.readers import mixed, wsj0

_WITH_ROOM = (
    ' What a source has more in the mixture than by itself, its reverberation, is noise, too.'
)


def _prepare(args) -> dict:
    utterances, rows = wsj0.read_wham(
        args.input_dir,
        splits=args.splits,
        clean=args.clean,
        room=args.room,
        target=args.target,
    )
    heard = any(source.heard for row in rows for source in row.sources)
    return {
        **options.listed(utterances, rows),
        'snr_rule': options.MEASURED_RULE + _WITH_ROOM * heard,
        'warnings': wsj0.incomplete(rows, 'the corpus'),
    }


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name,
        __doc__,
        input_dir="tree with [wav8k/min/]{tr,cv,tt}/{mix_both,s1,s2,noise}, or WHAMR!'s "
        '{mix_both_reverb,s1_anechoic,s1_reverb,...}',
        min_seconds=0.0,
    )
    options.splits_flag(parser, mixed.SPLITS)
    parser.switch('--clean', 'take mix_clean, without noise, not mix_both')
    rooms = ('reverb', 'anechoic')
    parser.add_argument(
        '--room', choices=rooms, default=None, help='of the mixtures of WHAMR!; default: reverb'
    )
    parser.add_argument(
        '--target',
        choices=rooms,
        default=None,
        help='what of a speaker of WHAMR! is to be found, by itself or with its room; default: '
        'anechoic',
    )
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
