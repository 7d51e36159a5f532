"""Two-speaker mixtures from LibriTTS: train-clean-100 and -360, dev-clean, test-clean.

python -m data_prep.libritts_2mix --input_dir=LibriTTS --output_dir=data/libritts_2mix
"""

from data_prep import options
from data_prep.readers import libritts


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name,
        __doc__,
        input_dir='LibriTTS as delivered: [LibriTTS/]train-clean-100/<speaker>/<chapter>/*, ...',
    )
    options.pair_flags(parser, dict.fromkeys(('train', 'validation', 'test')))
    options.speakers_flag(parser)
    options.run(parser, argv, lambda args: options.pairs_of(args, libritts.read))


if __name__ == '__main__':
    main()
