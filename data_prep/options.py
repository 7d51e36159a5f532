"""Command lines of the jobs: own flags, Beam's flags, and an error for anything else."""

import argparse
import collections
from collections.abc import Callable, Sequence
import contextlib
import functools
import importlib.util
import json
import logging
import os
import posixpath
import re
import sys
import tempfile
import types
import unicodedata

from data_prep import mixtures, pairing, progress, recordings, report as reports, tables
from data_prep.mixtures import Mixture
from data_prep.output import check_free, check_name, own_files
from data_prep.recordings import Recording
from fgsep_jax import buckets, command_line, lock, names
from fgsep_jax.names import counted

# Beam takes seconds to import: whatever needs it is imported where used, once the flags are known
# to be understood. That goes for the jobs, too.

# Warnings that `survey` leads to, too.
_SURVEYED = r'skipped \d|split by recording|split \w+ has only \d+ (?!mixture)'
_TABLES = ('classes', 'groups', 'speakers', 'mixtures')  # flags of files to be read
# Flags that are no options of the data set: the same corpus elsewhere gives the same metadata.
_OF_THE_RUN = ('name', 'overwrite', 'dry_run', 'surveyed', 'task', *_TABLES)

# Flags that came later, and what leaves them out, so that data sets are those of before.
LATER = {
    'speakers_a_mixture': 2,
    'noise': False,
    'adaptation': 'outside',
    'events': (1, 1),
    'repeat_share': 0.0,
}

_MANY_RULE = (
    "snr_db is the first source's active speech level (ITU-T P.56) over the sum of the others', "
    'over the part that is in the mixture (its difference to each of them was drawn); then one '
    'common factor brings the largest peak of mixture and sources to 0.9.'
)

MEASURED_RULE = (
    "snr_db is the ratio of the first source's mean power and the others' over the whole mixture, "
    "measured, noise not counted; sources and noise are the tree's own samples."
)

LONGEST = 86400  # seconds, a day; with more, sums of samples leave what a computer counts in


def parser(
    module: str, about: str, *, input_dir: str = 'the corpus, as delivered', **defaults
) -> command_line.Parser:
    """A parser with the flags that every job has.

    Args:
        module: the job's `__spec__.name`.
        about: the job's docstring.
        input_dir: what that flag's folder holds; '': there is no such flag.
        **defaults: of flags, in place of those here.
    """
    result = command_line.Parser(
        module,
        about,
        epilog='Other flags go to Beam, e.g. --direct_running_mode=multi_processing '
        '--direct_num_workers=8, or --runner=DataflowRunner.',
    )
    result.job = module.rpartition('.')[2]
    path = command_line.path
    if input_dir:
        result.add_argument('--input_dir', type=path, required=True, help=input_dir)
    result.add_argument(
        '--output_dir',
        type=path,
        required='output_dir' not in defaults,
        help='folder of the data set',
    )
    result.add_argument(
        '--name', type=check_name, help="of the data set; default: its folder's name"
    )
    result.add_argument(
        '--sample_rate', type=within(1000, 768_000, 'Hz', kind=int), default=8000, help='in hertz'
    )
    result.add_argument('--min_seconds', type=SECONDS, default=1.0, help='skip shorter files')
    result.add_argument('--seed', type=int, default=0, help='of pairs, levels and crops')
    result.switch('--overwrite', 'replace a finished data set')
    result.switch('--dry_run', 'counts and one mixture only')
    result.switch(
        '--surveyed', 'print no warnings on what a survey tells: files skipped, how few there are'
    )
    result.set_defaults(**defaults)
    return result


def beam_flags() -> set[str]:
    """Names of Beam's flags, read in its source, since to import it takes seconds."""
    beam = importlib.util.find_spec('apache_beam')
    if beam is None:
        return set()
    flags = set()
    for source in ('options/pipeline_options.py', 'runners/dask/dask_runner.py'):
        path = os.path.join(beam.submodule_search_locations[0], source)
        with contextlib.suppress(FileNotFoundError), open(path) as file:
            flags |= set(re.findall(r'[\'"](--[\w-]+)[\'"]', file.read()))
    return flags


def parse(
    job_parser: command_line.Parser, argv: Sequence[str] | None
) -> tuple[types.SimpleNamespace, list[str]]:
    """Own flags, and the flags left for Beam; a flag that neither knows is an error."""
    args, rest = job_parser.parse(argv, others=beam_flags())
    check(job_parser, args)
    if importlib.util.find_spec('apache_beam') is None:
        job_parser.error(
            "this needs Apache Beam, which is not installed: pip install 'fgsep_jax[data-prep]'"
        )
    if rest:
        from apache_beam.options.pipeline_options import PipelineOptions

        if any('dask' in word.lower() for word in rest):
            with contextlib.suppress(ImportError):  # `engine.check` says so
                import apache_beam.runners.dask.dask_runner  # noqa: F401  its flags
        beam = argparse.ArgumentParser(allow_abbrev=False)
        beam.error = lambda message: job_parser.error(message.removeprefix('argument '))
        for cls in {str(cls): cls for cls in PipelineOptions.__subclasses__()}.values():
            cls._add_argparse_args(beam)
        _, unknown = beam.parse_known_args(rest)
        if unknown:
            job_parser.error(f'neither this job nor Beam knows {" ".join(unknown)}')
        from data_prep import engine

        try:
            faults = engine.check(rest)
        except ValueError as error:
            faults = [str(error)]
        if faults:
            job_parser.error('; '.join(fault.removesuffix('.') for fault in faults))
    return args, rest


def check(job_parser: command_line.Parser, args: types.SimpleNamespace) -> None:
    """Stop with the flag, its value and the rule where numbers do not go together."""
    given = vars(args)
    for flag in ('seconds', 'adaptation_seconds'):
        if given.get(flag, 1) * args.sample_rate < 1:
            job_parser.error(f'--{flag}={given[flag]:g}: must be one sample or more')
    if sum(value for flag, value in given.items() if flag.endswith('_fraction')) > 1:
        job_parser.error(
            f'--validation_fraction={given["validation_fraction"]:g} and '
            f'--test_fraction={given["test_fraction"]:g}: their sum must be at most 1, '
            'the rest is for training'
        )
    shortest = max(args.min_seconds, 1 / args.sample_rate)
    if 0 < given.get('max_seconds', 0) < shortest:
        job_parser.error(
            f'--max_seconds={args.max_seconds:g}: must be 0 (never cut) or at least {shortest:g}, '
            '--min_seconds and one sample'
        )


def within(low: float, high: float, unit: str = '', *, kind: type = float) -> Callable:
    """A kind of flag: a number from `low` to `high`.

    Args:
        low: the least.
        high: the most.
        unit: behind them in the refusal.
        kind: int or float.
    """

    def parse(text: str) -> float:
        number = command_line.value(kind, text)
        if not low <= number <= high:  # nor nan
            raise command_line.FlagError(f'must be from {low:,} to {high:,} {unit}'.rstrip())
        return number

    return parse


def span(number: Callable, mark: str, rule: str, *, may_be_one: bool = False) -> Callable:
    """A kind of flag: two numbers, the second not below the first.

    Args:
        number: kind of each, see `within`.
        mark: between them.
        rule: for the refusal.
        may_be_one: whether one number will do, which is both.
    """

    def parse(text: str) -> tuple[float, float]:
        parts = text.split(mark)
        try:
            first, second = map(number, parts * 2 if may_be_one and len(parts) == 1 else parts)
        except ValueError:
            raise command_line.FlagError(rule) from None
        if first > second:
            raise command_line.FlagError('the first must not exceed the second')
        return first, second

    return parse


def reals(low: float, high: float, unit: str) -> Callable:
    """A kind of flag: `-5,5` -> (-5.0, 5.0)."""
    rule = f'must be two numbers from {low:g} to {high:g} {unit}, --FLAG=low,high'
    return span(within(low, high, unit), ',', rule)


def wholes(low: int, high: int) -> Callable:
    """A kind of flag: `1..3` -> (1, 3), `2` -> (2, 2)."""
    rule = f'must be a number from {low} to {high}, or two of them, as {low}..{high}'
    return span(within(low, high, kind=int), '..', rule, may_be_one=True)


SNR_DB = reals(-100, 100, 'dB')
SECONDS = within(0, LONGEST, 's')
SHARE = within(0, 1)


def names_of(choices: Sequence[str]) -> Callable:
    """A kind of flag: `c1,c3` -> ('c1', 'c3'), some of the names to choose from, in their order."""

    def chosen(text: str) -> tuple[str, ...]:
        given = [name.strip() for name in text.split(',') if name.strip()]
        unknown = [name for name in given if name not in choices]
        if unknown or not given:
            raise command_line.FlagError(
                f'must be one or more of {", ".join(choices)}, separated by commas'
            )
        return tuple(name for name in choices if name in given)

    return chosen


def pair_flags(
    job_parser: command_line.Parser,
    splits: dict[str, int | None],
    *,
    hours: dict[str, float] | None = None,
) -> None:
    """Adds the flags of random pairs.

    Args:
        job_parser: of the job.
        splits: {split: pairs by default}; None: each utterance is used once on either side.
        hours: {split: hours of mixtures by default} where no number of pairs is given; None:
            there is no such flag.
    """
    for split, pairs in splits.items():
        otherwise = f'as --{split}_hours has it' if hours else 'each utterance once on either side'
        job_parser.add_argument(
            f'--{split}_pairs',
            type=command_line.count,
            default=pairs,
            help=f'mixtures in {split}; 0: no such split' + f'; default: {otherwise}' * (not pairs),
        )
    for split, number in (hours or {}).items():
        job_parser.add_argument(
            f'--{split}_hours',
            type=within(0, 10**6, 'hours'),
            default=number,
            help=f'as many mixtures in {split} as come to this, each utterance at most '
            f'{pairing.MOST_PASSES} times on either side; 0: each once',
        )
    job_parser.add_argument(
        '--snr_db',
        type=SNR_DB,
        default=(-5.0, 5.0),
        help='--snr_db=low,high, uniform, of the first source over each other',
    )
    speakers_a_mixture_flag(job_parser)
    job_parser.add_argument(
        '--max_seconds',
        type=SECONDS,
        default=0.0,
        help='cut longer utterances into equal segments; 0: never',
    )


def speakers_a_mixture_flag(job_parser: command_line.Parser) -> None:
    """Add the flag of how many speakers a mixture has."""
    job_parser.add_argument(
        '--speakers_a_mixture',
        type=within(2, 9, kind=int),
        default=2,
        help='different ones, from 2 to 9; a model that separates them has --config.data.sources=N',
    )


def splits_flag(job_parser: command_line.Parser, splits: Sequence[str], default=None) -> None:
    """Add the flag of the splits to make, by default all; `()`: as the corpus is published."""
    job_parser.add_argument(
        '--splits',
        type=names_of(splits),
        default=tuple(splits) if default is None else default,
        help='to make; the job stops where one of them is not there'
        + ('; default: all that the corpus is published with' if default == () else ''),
    )


def speakers_flag(job_parser: command_line.Parser) -> None:
    """Add the flag of a table of speakers, for `sexes`."""
    job_parser.add_argument(
        '--speakers',
        type=command_line.local_path,
        default=None,
        help='csv or tsv with the columns speaker and sex (f, m), by which results are told apart',
    )


def sexes(args: types.SimpleNamespace, utterances: Sequence[Recording]) -> tuple[dict, list[str]]:
    """Metadata on the sexes of speakers, and a line where table and tree name different ones.

    Args:
        args: with the flag of `speakers_flag`, or without.
        utterances: whose speakers they are.
    Returns:
        `speakers`: {name: sex} of every speaker of whom the table says it; lines for the report.
    Raises:
        TreeError: it is no such table, or knows none of them.
    """
    if not getattr(args, 'speakers', None):
        return {}, []
    table = tables.read_sexes(args.speakers)
    people = {x.source_id for x in utterances if x.role != mixtures.NOISE}
    composed = {name: unicodedata.normalize('NFC', name) for name in people}
    named = {name: table[same] for name, same in sorted(composed.items()) if same in table}
    if not named:
        raise tables.TreeError(
            f'{args.speakers} knows none of the speakers, e.g. {min(composed)}; it has '
            f'{", ".join(list(table)[:3]) or "no lines"}'
        )
    parts = []
    for lacking, count, where in (
        (composed.keys() - named.keys(), len(composed), 'of the tree it does not name'),
        (table.keys() - set(composed.values()), len(table), 'that it names the tree does not have'),
    ):
        if lacking:
            examples = [*map(names.shown, sorted(lacking)[:3]), '...'][: len(lacking)]
            speakers = counted(count, 'speaker')
            parts.append(f'{len(lacking)} of {speakers} {where} ({", ".join(examples)})')
    line = f'{names.shown(os.path.basename(args.speakers))}: {"; ".join(parts)}'
    sexes_of = {name: sex for name, sex in named.items() if sex}
    return {'speakers': sexes_of}, [line] if parts else []


def random_pairs(args: types.SimpleNamespace) -> dict:
    """Arguments of `build.run` that the flags of `pair_flags` ask for: the plan, its rule, and what
    is said where it falls short."""

    def given(end):
        return {k.removesuffix(end): v for k, v in vars(args).items() if k.endswith(end)}

    pairs, hours = given('_pairs'), given('_hours')
    plan = functools.partial(
        pairing.random_pairs,
        pairs=pairs,
        snr_db=args.snr_db,
        max_seconds=args.max_seconds,
        speakers=args.speakers_a_mixture,
    )
    more = {'snr_rule': _MANY_RULE} if args.speakers_a_mixture > 2 else {}
    if hours:
        plan = functools.partial(plan, hours=hours)
    if hours and not args.dry_run:  # which looks into some of the files
        wanted = {split: number for split, number in hours.items() if pairs[split] is None}
        how = dict(wanted=wanted, sample_rate=args.sample_rate)
        more['notes'] = functools.partial(_fewer_hours, **how)
    return {'plan': plan, **more}


def _fewer_hours(_, rows: list[Mixture], *, wanted: dict[str, float], sample_rate: int) -> dict:
    """Chapters of the report, see `build.run`: one line where there are too few utterances."""
    samples = collections.Counter()
    for row in rows:
        samples[row.split] += row.samples
    made = {split: samples[split] / sample_rate / 3600 for split in wanted}
    short = [
        f'{split} comes to {made[split]:.3g} of {number:g} hours'
        for split, number in wanted.items()
        if made[split] < number
    ]
    if not short:
        return {}
    line = (
        f'{", ".join(short)}: there are too few utterances, each of which is used '
        f'{pairing.MOST_PASSES} times at most on either side; --SPLIT_hours=N asks for fewer, '
        '--SPLIT_pairs=N for more of the same files'
    )
    return {'Warnings': [line]}


def pairs_of(args: types.SimpleNamespace, read: Callable[..., list[Recording]]) -> dict:
    """Arguments of `build.run` for random pairs of what a reader of a corpus finds.

    Args:
        args: of `pair_flags`, and of `speakers_flag` where the job has it.
        read: `read(input_dir, copies=)`, see `recordings.distinct`.
    """
    copies = recordings.LeftOut()
    utterances = read(args.input_dir, copies=copies)
    metadata, warnings = sexes(args, utterances)
    return dict(
        utterances=utterances,
        **random_pairs(args),
        copies=copies,
        warnings=warnings,
        extra_metadata=metadata,
    )


def listed(utterances: list[Recording], rows: list[Mixture]) -> dict:
    """Arguments of `build.run` for mixtures that a tree or a table lists."""
    return dict(
        utterances=utterances,
        also_used=[path for row in rows for path in row.ready[:1]],
        plan=functools.partial(mixtures.listed, rows=rows),
    )


def _last_part(folder: str) -> str:
    return (folder if '://' in folder else os.path.abspath(folder)).rstrip('/').split('/')[-1]


def name_of(output_dir: str, job: str) -> str:
    """What a data set in a folder is called: as the folder, in small letters, digits and `_`."""
    return names.identifier(_last_part(output_dir), otherwise=job)


def folders(args: types.SimpleNamespace) -> dict[str, str]:
    """{flag: folder} of those that the flags name to be read."""
    return {
        flag: folder
        for flag, folder in vars(args).items()
        if flag.endswith('_dir') and flag != 'output_dir' and folder
    }


def config_of(args: types.SimpleNamespace) -> dict:
    """The options of a data set, for its metadata.

    Paths stay out of it: the same corpus elsewhere gives the same bytes.
    """
    return {
        key: value
        for key, value in vars(args).items()
        if not key.endswith('_dir')
        and key not in _OF_THE_RUN
        and not (key in LATER and value == LATER[key])
    }


def _refuse_overlap(args: types.SimpleNamespace) -> None:
    """Refuse an output folder that is one to be read, or lies in one; above it nothing mixes."""

    def real(folder: str) -> str:
        return posixpath.join(folder if '://' in folder else os.path.realpath(folder), '')

    output = real(args.output_dir)
    for flag, folder in folders(args).items():
        if output.startswith(real(folder)):
            what = 'is' if output == real(folder) else 'lies in'
            raise ValueError(
                f'--output_dir={names.shown(args.output_dir)} {what} the folder of --{flag}, which '
                'is only read; give another one, e.g. --output_dir=data/mine'
            )


def _refuse_removed(args: types.SimpleNamespace) -> None:
    """Refuse a table that is of the data set which the job is to replace."""
    folder = args.output_dir
    removed = [] if args.dry_run or '://' in folder else own_files(folder)
    ours = {os.path.realpath(os.path.join(folder, name)) for name in removed}
    for flag in _TABLES:
        table = getattr(args, flag, None)
        if table and os.path.realpath(table) in ours:
            raise ValueError(
                f'--{flag}={names.shown(table)} is of the data set that this would replace; give '
                'another --output_dir, or copy the table to another folder first'
            )


def _refuse_missing(job_parser: command_line.Parser, args: types.SimpleNamespace) -> None:
    for flag, folder in folders(args).items():
        if '://' in folder:
            continue
        what = 'is not a folder' if os.path.lexists(folder) else 'there is no such folder'
        if os.path.isdir(folder):
            what = '' if os.access(folder, os.R_OK | os.X_OK) else 'you may not read this folder'
        if what:
            raise ValueError(
                f'--{flag}={names.shown(folder)}: {what}; looked for: {job_parser.about(flag)}'
            )


@contextlib.contextmanager
def _temporary_files():
    """Puts what Beam, its workers and ffmpeg need for a while into one folder.

    A later job removes it where this one is killed.
    """
    with lock.scratch('fgsep-data-') as folder:
        before = os.environ.get('TMPDIR'), tempfile.tempdir
        os.environ['TMPDIR'] = tempfile.tempdir = folder
        try:
            yield
        finally:
            os.environ.pop('TMPDIR')
            os.environ |= {'TMPDIR': before[0]} if before[0] is not None else {}
            tempfile.tempdir = before[1]


def run(
    job_parser: command_line.Parser,
    argv: Sequence[str] | None,
    prepare: Callable,
    *,
    may_be_finished: bool = False,
) -> None:
    """Parse, let `prepare` walk the corpus, run the pipeline, print the counts.

    Args:
        job_parser: with all of the job's flags.
        argv: the command line.
        prepare: `prepare(args)` -> keyword arguments of `build.run`, and `job`, its name, where
            that is not its module's.
        may_be_finished: whether `prepare` deals with a data set that is there already.
    Raises:
        SystemExit: with one message and status 2, for the mistakes of the person who typed the
            command; the folder is another job's.
    """
    args, beam_argv = parse(job_parser, argv)
    command_line.lend_caches()
    # Beam logs at import already, which would make this call do nothing without `force`.
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', force=True)
    # What it logs of errors, it raises, too.
    logging.getLogger('apache_beam').setLevel(logging.CRITICAL)
    config = config_of(args)
    if args.dry_run:
        output = contextlib.nullcontext()
    else:
        output = lock.held(args.output_dir, 'data_prep', flag='--output_dir')
    try:
        _refuse_overlap(args)
        with output, _temporary_files():
            if os.path.isfile(os.path.join(args.output_dir, 'training_data.json')):
                raise ValueError(
                    f'{args.output_dir} is the folder of a run; give another --output_dir'
                )
            if not (may_be_finished or args.dry_run or buckets.is_url(args.output_dir)):
                name = args.name or name_of(args.output_dir, job_parser.job)
                check_free(args.output_dir, name, args.overwrite)
            _refuse_removed(args)
            _refuse_missing(job_parser, args)
            keywords = prepare(args)
            job = keywords.pop('job', job_parser.job)
            used = [recording.path for recording in keywords['utterances']] + keywords.pop(
                'also_used', []
            )
            copies = keywords.pop('copies', [])
            warnings = [*keywords.pop('warnings', ()), *recordings.shared(copies)]
            roots = sorted({x for flag, x in folders(args).items() if flag != 'lists_dir'})
            name = args.name or name_of(args.output_dir, job)
            from data_prep import build  # Beam, once there is something to mix

            report = build.run(
                name=name,
                output_dir=args.output_dir,
                roots={**folders(args), **keywords.pop('roots', {})},
                extra_metadata={'job': job, 'config': config, **keywords.pop('extra_metadata', {})},
                sample_rate=args.sample_rate,
                min_seconds=args.min_seconds,
                seed=args.seed,
                argv=beam_argv,
                dry_run=args.dry_run,
                overwrite=args.overwrite,
                warnings=warnings,
                beside=recordings.unused(roots, used, copies),
                **keywords,
            )
    except (ValueError, OSError) as error:
        raise command_line.refusal(error) from error
    except progress.EngineError as error:
        refused = command_line.refusal(error)
        refused.code = os.EX_UNAVAILABLE
        raise refused from error
    if args.dry_run:
        print(
            f'dry run: nothing is written to {args.output_dir}; what the job would start from, and'
            ' one mixture made in memory, as JSON:',
            file=sys.stderr,  # a program may read the JSON
        )
        command_line.show(json.dumps(report, indent=2, ensure_ascii=False, default=str))
        return
    for line in report.get('notes', {}).get('Warnings', []):
        if not (args.surveyed and re.match(_SURVEYED, line)):
            print(f'warning: {line}')
    unit = report.get('source_unit', 'speakers').removesuffix('s')
    for split, about in report['splits'].items():
        size = f'{counted(about["examples"], "mixture")}, {reports.duration(about["hours"])}'
        print(f'{split}: {size}, {counted(about["num_speakers"], unit)}')
    print(
        f'skipped {counted(len(report["skipped_files"]), "file")} and '
        f'{counted(len(report["skipped_mixtures"]), "mixture")}; '
        f'see {buckets.join(args.output_dir, "report.md")}'
    )
    if not args.name and name != _last_part(args.output_dir):
        print(f'the data set of this folder is called {name}; --name=NAME calls it otherwise')
