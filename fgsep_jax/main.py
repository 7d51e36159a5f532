"""Trains, resumes and evaluates experiments.

python -m fgsep_jax.main --config=configs/convtasnet_glu.py:demo
python -m fgsep_jax.main FOLDER [--minutes=N], of recordings: SPEAKER/*, or foreground/CLASS/* and
    background/CLASS/*
python -m fgsep_jax.main --mode=evaluate --workdir=runs/NAME --data_dirs=DIR[,DIR...]
python -m fgsep_jax.main --mode=cross_evaluate --runs=runs --data_dirs=DIR[,DIR...]
python -m fgsep_jax.main --mode=describe --workdir=runs/NAME, or --config=...
"""

import os
import shlex
import sys

from fgsep_jax import (
    buckets,
    command_line,
    config as config_lib,
    data_sets,
    folder as folder_lib,
    hosts,
    huge_pages,
    lock,
    registry,
    stopping,
    validate,
)
from fgsep_jax.data.records import RecordError
from fgsep_jax.data.source import open_dataset
from fgsep_jax.training import run_folder
from fgsep_jax.training.endings import Preempted, TrainingError

MODES = ('train_and_evaluate', 'train', 'evaluate', 'cross_evaluate', 'describe')


def _parser():
    parser = command_line.Parser(
        'fgsep_jax.main',
        __doc__,
        epilog='--config.SECTION.KEY=VALUE sets any value of the configuration, e.g.'
        ' --config.data.dir=DIR or --config.training.epochs=3; --show_config prints them all.',
        words='[FOLDER]',
    )
    parser.add_argument(
        '--config',
        metavar='FILE',
        help='configs/NAME.py[:preset][,data set][,seed=N]; without it: that of the run in'
        ' --workdir, or the list of configurations',
    )
    parser.add_argument(
        '--workdir',
        type=command_line.path,
        help='run folder; default: runs/EXPERIMENT-PRESET[-seedN]; with --mode=evaluate (results go'
        ' to NAME-results) and describe also a model file NAME.safetensors, or a shipped NAME',
    )
    parser.add_argument('--mode', choices=MODES, default=MODES[0], help='what to do')
    parser.add_argument(
        '--data_dirs',
        metavar='DIR[,DIR...]',
        type=command_line.some(command_line.path),
        default=[],
        help='with --mode=evaluate and cross_evaluate: data sets to evaluate on; default of'
        " evaluate: the run's own",
    )
    parser.add_argument(
        '--runs',
        metavar='DIR[,DIR...]',
        type=command_line.some(command_line.path),
        default=[],
        help='with --mode=cross_evaluate: folders with run folders in or below them, model files'
        ' NAME.safetensors, names of shipped models (results go to NAME-results)',
    )
    parser.add_argument(
        '--splits',
        metavar='NAME[,NAME...]',
        type=command_line.some(str),
        default=[],
        help='splits to evaluate on; default: those of evaluation.splits',
    )
    parser.switch(
        '--baselines',
        'with --mode=evaluate and cross_evaluate: score the untrained model and the oracles too',
    )
    parser.add_argument(
        '--minutes',
        type=float,
        help='with FOLDER: of training, by which the model is chosen; default:'
        f' {folder_lib.MINUTES:g}',
    )
    parser.switch('--show_config', 'print every value of what would run, and end')
    hosts.flags(parser)
    return parser


def _begin(args):
    """Imports JAX as this program uses it, once nothing is left to refuse without it."""
    if args.restart:
        huge_pages.use()
    command_line.lend_caches()
    from absl import flags

    from fgsep_jax import compilation_cache

    flags.FLAGS.mark_as_parsed()  # grain reads its own
    command_line.quiet()
    sys.unraisablehook = lambda unraisable: None
    compilation_cache.use()
    if args.several:
        hosts.join(args)


def _from_folder(args, words, overrides):
    """Configuration of a training on a folder of recordings, of which a data set is made."""
    _refuse(args, 'data_dirs', 'runs', 'show_config')
    if len(words) > 1:
        raise config_lib.ConfigError(f'{" ".join(words)}: one folder of recordings is trained on')
    if args.several or 'data.dir' in overrides:
        flag = '--config.data.dir'
        if args.several:
            flag = '--multihost' if args.multihost else '--coordinator'
        raise config_lib.ConfigError(
            f'{flag} goes with a data set that is there; of FOLDER one is made'
        )
    if args.minutes is not None and not 0 < args.minutes < float('inf'):
        raise config_lib.ConfigError(f'--minutes={args.minutes:g}: must be above 0')
    try:
        folder = command_line.local_path(words[0])
    except command_line.FlagError as error:
        raise config_lib.ConfigError(f'{words[0]}: {error}') from error
    folder_lib.check(folder)
    args.workdir = args.workdir or folder_lib.default_workdir(folder)
    _begin(args)
    return folder_lib.prepare(
        folder,
        args.workdir,
        minutes=args.minutes,
        argument=args.config or '',
        overrides=overrides,
        say=print,
    )


def _train(args, config):
    _refuse(args, 'data_dirs', 'runs')
    validate.validate(config)
    workdir = args.workdir or run_folder.default(config)
    evaluating = args.mode == 'train_and_evaluate'
    splits = args.splits or config.evaluation.splits.split(',')
    run_folder.check(workdir, config)
    if not args.several:  # else the first process of the pod may have it already
        lock.check(workdir, flag='--workdir')
    then = splits if evaluating else []
    data_sets.check(config, config_lib.data_dir(config), ('train', 'validation', *then))
    _begin(args)
    import jax

    from fgsep_jax.evaluation import run as evaluation
    from fgsep_jax.tasks import check
    from fgsep_jax.training import run as training

    validate.validate(config, devices=jax.device_count(), hosts=jax.process_count())
    check(config)
    training.train(config, workdir, then=then)
    if evaluating:
        evaluation.evaluate(config, workdir, splits=splits, baselines=True, announce=False)
    elif jax.process_index() == 0:
        command = registry.prefix(run_folder.modules(workdir))
        command += f'python -m fgsep_jax.main --mode=evaluate --workdir={shlex.quote(workdir)}'
        there = open_dataset(config_lib.data_dir(config))['splits']
        if not there.keys() >= set(splits):
            command += f' --splits={",".join(split for split in there if split != "train")}'
        print(buckets.named(f'next               {command}'))


def _evaluate(args, settings):
    _refuse(args, 'runs', 'show_config')
    if not args.workdir:
        raise config_lib.ConfigError('--mode=evaluate needs --workdir=RUN, a trained run')
    model, workdir = data_sets.model_of(args.workdir)
    if model:
        if not args.data_dirs:
            raise config_lib.ConfigError(
                f'--workdir={args.workdir}: a model file has no data set beside it: --data_dirs=DIR'
            )
        from fgsep_jax.interop import model_file  # brings JAX along

        config = model_file.read_about(model).config
        run_folder.check(workdir, config)
    else:
        config = run_folder.read_config(workdir)
    config.update(settings)
    validate.validate(config, trained=True)
    directories = args.data_dirs
    if not directories:
        directories = [run_folder.data_dir(workdir, config)]
        data_sets.check(config, *directories, run=workdir)
    splits = args.splits or config.evaluation.splits.split(',')
    if args.data_dirs or not data_sets.is_embedded(config):
        tasks = [] if config.data.targets else [config.task]
        data_sets.check_splits(directories, splits, tasks=tasks)
    if not args.several:  # else the first process of the pod may have begun
        data_sets.check_results(config, workdir, directories, splits)
    _begin(args)
    from fgsep_jax.evaluation import run as evaluation

    evaluation.evaluate(
        config,
        workdir,
        model=model,
        data_dirs=args.data_dirs,
        splits=args.splits,
        baselines=args.baselines,
    )


def _cross_evaluate(args, settings):
    _refuse(args, 'workdir', 'show_config')
    for name, value in (('runs', args.runs), ('data_dirs', args.data_dirs)):
        if not value:
            raise config_lib.ConfigError(f'--mode=cross_evaluate needs --{name}=DIR[,DIR...]')
    data_sets.check_splits(args.data_dirs, [])
    try:
        found = data_sets.find_runs(args.runs)
    except config_lib.ConfigError as error:
        raise config_lib.ConfigError(f'--runs: {error}') from error
    data_sets.check_runs(found, args.data_dirs)
    runs = [run for run, _ in found]
    targets = settings.get('data') or any(run.config.get('data.targets') for run in runs)
    data_sets.check_splits(args.data_dirs, args.splits, tasks=[] if targets else [runs[0].task])
    _begin(args)
    from fgsep_jax.evaluation import cross

    cross.cross_evaluate(
        args.runs,
        args.data_dirs,
        splits=args.splits,
        baselines=args.baselines,
        overrides=settings,
    )


def _describe(args, config):
    """Prints what the model of a run, a model file or a configuration is made of and costs."""
    _refuse(args, 'data_dirs', 'runs', 'splits', 'baselines', 'show_config')
    model, workdir = '', args.workdir
    trained = config is None
    if trained:
        model, workdir = data_sets.model_of(args.workdir)
    if not model:
        config = run_folder.read_config(workdir) if trained else config
        validate.validate(config, trained=trained)
    _begin(args)
    from fgsep_jax.describe import describe
    from fgsep_jax.training import checkpoint

    params, more = None, {}
    if trained:
        about, params, notes = checkpoint.load_trained(model or workdir)
        config, more = about.config, dict(step=about.step, sources=about.sources)
        for note in notes:
            buckets.say(f'note: {note}')
    else:
        from fgsep_jax.tasks import check

        check(config)
    buckets.say('\n'.join(describe(config, params, **more)))


def _settings(args, config, overrides):
    """{section: {key: value}} that --config and --config.KEY=VALUE lay over how a run evaluates:
    of its section `evaluation`, and which sources of the data set are meant."""
    for key in overrides:
        if not key.startswith('evaluation.') and key != 'data.targets':
            raise config_lib.ConfigError(
                f'--config.{key}: --mode={args.mode} takes the model from the run, and'
                ' evaluation.* and data.targets alone can be changed; --data_dirs=DIR names other'
                ' data'
            )
    changed = config or config_lib.base('speech')
    config_lib.override(changed, overrides)
    settings = {} if config is None else {'evaluation': changed.evaluation.to_dict()}
    for section, _, name in (key.partition('.') for key in overrides):
        settings.setdefault(section, {})[name] = changed[section][name]
    return settings


def _of_run(workdir):
    """The configuration that a run is resumed with where the command line names none."""
    if not workdir or not os.path.lexists(os.path.join(workdir, 'config.json')):
        raise config_lib.needed()
    config = run_folder.read_config(workdir)
    if config.data.dir:
        config.data.dir = run_folder.data_dir(workdir, config)
    return config


def _refuse_bucket(workdir):
    """Raises ConfigError where no checkpoint can be saved, before that bucket is asked."""
    is_bucket = buckets.is_url(workdir) and buckets.is_known(workdir.partition('://')[0])
    if is_bucket and not buckets.at_orbax(workdir):
        raise config_lib.ConfigError(
            f'--workdir={workdir}: Orbax saves checkpoints to gs:// and to file systems, and not'
            ' there; train in a folder and copy it: it is evaluated and reported from there'
        )


def _refuse(args, *names):
    """Raises ConfigError where a flag is given that the mode has no use for."""
    modes = {
        'runs': '--mode=cross_evaluate',
        'data_dirs': '--mode=evaluate and cross_evaluate; a training reads --config.data.dir=DIR',
        'workdir': 'the other modes; --mode=cross_evaluate takes --runs=FOLDER',
        'splits': 'the modes that evaluate',
        'baselines': '--mode=evaluate and cross_evaluate',
        'show_config': '--config=NAME, or the --workdir of a run, that would be trained',
    }
    for name in names:
        if getattr(args, name):
            raise config_lib.ConfigError(f'--{name} goes with {modes[name]}')


def _do(args, folder, overrides):
    """Does what the flags ask for."""
    config = config_lib.load(args.config) if args.config else None
    if folder and not args.mode.startswith('train'):
        raise config_lib.ConfigError(f'{" ".join(folder)} not understood by --mode={args.mode}')
    if args.minutes is not None and not folder:
        raise config_lib.ConfigError('--minutes goes with a FOLDER of recordings')
    if args.mode == 'describe':
        if config is None and not args.workdir:
            raise config_lib.ConfigError('--mode=describe needs --workdir=RUN or --config=NAME')
        if config is not None and args.workdir:
            raise config_lib.ConfigError(
                '--mode=describe takes --workdir=RUN or --config=NAME, not both'
            )
        if config is not None:
            config_lib.override(config, overrides)
        elif overrides:
            raise config_lib.ConfigError(
                f'--config.{min(overrides)}: --mode=describe takes the model from the run in'
                ' --workdir; of --config=NAME it can be changed'
            )
        _describe(args, config)
    elif args.mode in ('evaluate', 'cross_evaluate'):
        mode = _evaluate if args.mode == 'evaluate' else _cross_evaluate
        mode(args, _settings(args, config, overrides))
    elif folder:
        _train(args, _from_folder(args, folder, overrides))
        if args.mode == 'train_and_evaluate':
            folder_lib.finish(args.workdir)
    else:
        if config is None:
            config = _of_run(args.workdir)
        config_lib.override(config, overrides)
        if args.show_config:
            validate.validate(config)
            print(config_lib.text(config))
        else:
            _train(args, config)


def main(argv=None):
    """Runs the program.

    Args:
      argv: the command line; None for this process's.

    Raises:
      SystemExit: a mistake of the user's, with status 2, or a training stopped early, with 128 and
        the signal's number, or one whose other hosts are gone, with `hosts.LOST`; its one message
        is printed.
    """
    with hosts.together():
        _run(argv)


def _run(argv):
    words, overrides = config_lib.split_overrides(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    # --data.dir=DIR is --config.data.dir=DIR.
    parser.meant |= {f'--{key}': f'--config.{key}' for key in config_lib.known_keys()}
    args, folder = parser.parse(words)
    args.restart = argv is None
    try:
        if args.mode.startswith('train') and not args.show_config:
            _refuse_bucket(args.workdir or '')
        args.several = hosts.check(args)
        if args.restart and any(map(buckets.is_url, [args.workdir or '', *args.runs])):
            huge_pages.use()  # now, or all is brought twice
        with buckets.copies():
            args.workdir = buckets.local(args.workdir, run_folder.OWN)
            args.runs = [buckets.local(folder, run_folder.OWN_BELOW) for folder in args.runs]
            _do(args, folder, overrides)
    except Preempted as notice:
        stopping.say(buckets.named(str(notice)))
        raise SystemExit(128 + notice.number) from notice
    except (config_lib.ConfigError, RecordError, OSError, TrainingError) as error:
        hosts.await_reason(error)
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    stopping.run(main)
