"""Two-speaker mixtures from LibriTTS: train-clean-100 and -360, dev-clean, test-clean.

python -m data_prep.libritts_2mix --input_dir=LibriTTS --output_dir=data/libritts_2mix
"""

from data_prep import options
from data_prep.readers import libritts

# Of Kadioglu et al., section 4.2: of speech there is as much, and a mixture ends with its shorter
# utterance.
HOURS = {'train': 245.0, 'validation': 9.0, 'test': 8.5}


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name,
        __doc__,
        input_dir='LibriTTS as delivered: [LibriTTS/]train-clean-100/<speaker>/<chapter>/*, ...',
    )
    options.pair_flags(parser, dict.fromkeys(HOURS), hours=HOURS)
    options.speakers_flag(parser)
    options.run(parser, argv, lambda args: options.pairs_of(args, libritts.read))


if __name__ == '__main__':
    main()
