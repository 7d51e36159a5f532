"""Two-speaker mixtures from LibriTTS: train-clean-100 and -360, dev-clean, test-clean.

    python -m data_prep.libritts_2mix --input_dir=LibriTTS --output_dir=data/libritts_2mix
"""

from data_prep import corpora, options


def _prepare(args) -> dict:
    return dict(
        job='libritts_2mix',
        utterances=corpora.libritts(args.input_dir),
        plan=options.random_pairs(args),
    )


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(__doc__.splitlines()[0])
    options.pair_flags(parser, {'train': 0, 'validation': 0, 'test': 0})
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
