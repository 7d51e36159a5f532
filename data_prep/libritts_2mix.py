"""Two-speaker mixtures from LibriTTS: train-clean-100 and -360, dev-clean, test-clean.

python -m data_prep.libritts_2mix --input_dir=LibriTTS --output_dir=data/libritts_2mix
"""

from data_prep import options
from data_prep.readers import libritts


def _prepare(args) -> dict:
    copies = []
    utterances = libritts.read(args.input_dir, copies=copies)
    metadata, warnings = options.sexes(args, utterances)
    return dict(
        job='libritts_2mix',
        utterances=utterances,
        plan=options.random_pairs(args),
        copies=copies,
        warnings=warnings,
        extra_metadata=metadata,
    )


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name,
        __doc__,
        input_dir='LibriTTS as delivered: [LibriTTS/]train-clean-100/<speaker>/<chapter>/*, ...',
    )
    options.pair_flags(parser, dict.fromkeys(('train', 'validation', 'test')))
    options.speakers_flag(parser)
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
