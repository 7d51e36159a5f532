"""Two-speaker mixtures from VCTK (0.92 or 0.80), for evaluation only: 4,000 pairs.

python -m data_prep.vctk_2mix --input_dir=VCTK-Corpus-0.92 --output_dir=data/vctk_2mix
"""

from data_prep import options
from data_prep.readers import vctk


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(
        __spec__.name,
        __doc__,
        input_dir='VCTK as delivered: wav48_silence_trimmed/<speaker>/* or wav48/<speaker>/*',
    )
    options.pair_flags(parser, {'test': 4000})
    options.run(parser, argv, lambda args: options.pairs_of(args, vctk.read))


if __name__ == '__main__':
    main()
