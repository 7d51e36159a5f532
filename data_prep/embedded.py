"""The embedded data sets: mixtures made from nothing, in about a minute.

    python -m data_prep.embedded [--task=speech|foreground] [--output_dir=DIR] [Beam flags]

No recordings and no network are needed: voices of eSpeak NG say sentences, or dogs, bells and
vacuum cleaners are made by rule, and the mixtures come from the same pipeline as those of any
other data set. The same versions of the programs that make the sounds give the same bytes. They
are meant for demonstrations and tests; results on them say little about people and real sounds.
"""

import functools
import importlib
import json
import os

from data_prep import mix, options
from fgsep_jax import command_line, files, lock
from fgsep_jax.config import embedded_dir
from fgsep_jax.data import records

TASKS = ('speech', 'foreground')  # each is data_prep/embedded_<task>.py


def _already_made(args, *, job: str, synthesiser: str) -> bool:
    """Whether `output_dir` holds the finished result of the same options and versions.

    Raises:
        ValueError: it holds another data set, which may not be overwritten.
    """
    path = os.path.join(args.output_dir, records.DATASET_FILE)
    if args.overwrite or args.dry_run or not os.path.exists(path):
        return False
    metadata = files.read_json(path, ValueError)
    origin = {'job': job, 'synthesiser': synthesiser, 'rules_version': mix.RULES_VERSION}
    wanted = json.loads(json.dumps(options.config_of(args))) | origin
    held = metadata.get('config', {}) | {key: metadata.get(key) for key in origin}
    kept = {key: (options.LATER | held).get(key) for key in held | wanted}
    asked = {key: (options.LATER | wanted).get(key) for key in held | wanted}
    other = [
        f'{key} {value!r}, not {asked[key]!r}' for key, value in kept.items() if value != asked[key]
    ]
    if other:
        raise ValueError(
            f'{args.output_dir} holds another data set, made with {", ".join(other)}; '
            'give another --output_dir, or --overwrite'
        )
    for split, about in metadata['splits'].items():
        which, count = (metadata['name'], split), about['shards']
        shards = (records.shard_name(*which, k, count) for k in range(count))
        for name in (records.index_name(split), *shards):
            if not os.path.exists(os.path.join(args.output_dir, name)):
                raise ValueError(
                    f'{args.output_dir} lacks {name}: --overwrite makes the data set anew'
                )
    return True


def _prepare(args, *, maker, folder: str) -> dict:
    """Sounds in `folder` and the arguments of the pipeline that mixes them."""
    synthesiser = maker.version()
    if _already_made(args, job=maker.JOB, synthesiser=synthesiser):
        print(f'{args.output_dir} is complete already, nothing to do (--overwrite makes it anew)')
        raise SystemExit(0)
    keywords = maker.job(args, folder)
    origin = {'synthesiser': synthesiser, 'licence': maker.LICENCE}
    return {
        **keywords,
        'job': maker.JOB,
        'roots': {'input_dir': folder},
        'extra_metadata': {**keywords.get('extra_metadata', {}), **origin},
    }


def _parser(task: str) -> command_line.Parser:
    maker = importlib.import_module(f'data_prep.embedded_{task}')
    parser = options.parser(
        __spec__.name,
        f'{maker.DESCRIPTION}\n{__doc__.partition(chr(10))[2]}',
        input_dir='',
        output_dir=embedded_dir(task),
        **maker.DEFAULTS,
    )
    # For --help: main has read it, and it is no option of the data set.
    parser.add_argument(
        '--task',
        choices=TASKS,
        help=f'whose data set, {TASKS[0]} by default; the other flags shown are those of {task}',
    )
    maker.add_flags(parser)
    return parser


def _refuse_flags_of_others(parsers: dict, task: str, argv: list[str]) -> None:
    for other in (name for name in TASKS if name != task):
        foreign = parsers[other].known.keys() - parsers[task].known
        for flag in (word.split('=')[0] for word in argv):
            if flag in foreign:
                parsers[task].error(
                    f'{flag} is a flag of --task={other}, this is --task={task}: leave it out, or '
                    f'give --task={other}'
                )


def main(argv=None) -> None:
    """Runs the job."""
    try:
        parsers = {task: _parser(task) for task in TASKS}
    except ValueError as error:
        raise command_line.refusal(error) from error
    chooser = command_line.Parser(__spec__.name, '')
    chooser.add_argument('--task', choices=TASKS, default=TASKS[0], help='to build data for')
    others = options.beam_flags().union(*(parser.known for parser in parsers.values()))
    chosen, argv = chooser.parse(argv, others)
    _refuse_flags_of_others(parsers, chosen.task, argv)
    maker = importlib.import_module(f'data_prep.embedded_{chosen.task}')
    # Stopped with Ctrl-C, Python's own helper of the processes that render would speak up.
    os.environ.setdefault('PYTHONWARNINGS', 'ignore:resource_tracker')
    with lock.scratch(f'fgsep-{chosen.task}-') as folder:
        options.run(
            parsers[chosen.task],
            argv,
            functools.partial(_prepare, maker=maker, folder=folder),
            may_be_finished=True,
        )


if __name__ == '__main__':
    main()
