"""WSJ0-2mix (or -3mix), from the mixed tree of MERL's scripts or from WSJ0 and MERL's lists.

python -m data_prep.wsj0_2mix --input_dir=wsj0-mix --output_dir=data/wsj0_2mix
python -m data_prep.wsj0_2mix --wsj0_dir=wsj0 --lists_dir=lists --output_dir=data/wsj0_2mix
"""

from data_prep import options
from data_prep.readers import mixed, wsj0
from fgsep_jax import command_line

_RULE_MANY_MADE = (
    "snr_db is the level of the first source over the sum of the others', after the mixture's name "
    "(each source was brought to its level by P.56); the sources are the tree's own samples."
)
_RULE_MANY_LISTED = (
    "snr_db is the listed level of the first source over the sum of the others': each whole "
    'utterance, at this rate, is brought to its level by ITU-T P.56 (no input filter), all are cut '
    'to the shortest, then one common factor brings the largest peak of mixture and sources to '
    "0.9, as in MERL's scripts."
)
_RULE_MADE = (
    "snr_db is the difference of the two levels in the mixture's name (each source was brought "
    "to its level by P.56); the sources are the tree's own samples."
)
_RULE_LISTED = (
    'snr_db is the difference of the two listed levels: each whole utterance, at this rate, is '
    'brought to its level by ITU-T P.56 (no input filter), both are cut to the shorter, then one '
    "common factor brings the largest peak of mixture and sources to 0.9, as in MERL's scripts."
)


def _prepare(args) -> dict:
    if bool(args.input_dir) == bool(args.wsj0_dir) or bool(args.wsj0_dir) != bool(args.lists_dir):
        raise ValueError('give either --input_dir (mixed tree), or --wsj0_dir and --lists_dir')
    count = args.speakers_a_mixture
    how = dict(splits=args.splits, speakers=count)
    if args.input_dir:
        utterances, rows = wsj0.read(args.input_dir, **how)
        rule = _RULE_MADE if count == 2 else _RULE_MANY_MADE
    else:
        utterances, rows = wsj0.read_lists(args.wsj0_dir, args.lists_dir, **how)
        rule = _RULE_LISTED if count == 2 else _RULE_MANY_LISTED
    return {
        **options.listed(utterances, rows),
        'snr_rule': rule,
        'warnings': wsj0.incomplete(rows, f'WSJ0-{count}mix') if count < 4 else [],
    }


def main(argv=None) -> None:
    """Run the job."""
    parser = options.parser(__spec__.name, __doc__, input_dir='', min_seconds=0.0)
    path = command_line.path
    parser.add_argument(
        '--input_dir', type=path, help='tree with 2speakers/wav8k/min/{tr,cv,tt} (or 3speakers/...)'
    )
    parser.add_argument(
        '--wsj0_dir', type=path, help='WSJ0 itself, as wav files (or plain SPHERE .wv1)'
    )
    parser.add_argument(
        '--lists_dir', type=path, help='folder of mix_2_spk_{tr,cv,tt}.txt (or mix_3_...)'
    )
    options.splits_flag(parser, mixed.SPLITS)
    options.speakers_a_mixture_flag(parser)
    options.run(parser, argv, _prepare)


if __name__ == '__main__':
    main()
