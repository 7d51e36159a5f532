"""Trains, evaluates and reports all runs that the tables and figures of a paper need.

python -m fgsep_jax.study conv_tasnet --data_dirs=DIR[,DIR...] --output_dir=STUDY
python -m fgsep_jax.study foreground --data_dirs=DIR[,DIR...] --output_dir=STUDY --part=2/4

Each run is one `python -m fgsep_jax.main` on its folder of STUDY/runs, then one of its cross
evaluation. Killed at any instant and typed again it goes on; many may work in one STUDY.
"""

import collections
import concurrent.futures
import contextlib
import fnmatch
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

from fgsep_jax import (
    command_line,
    config as config_lib,
    data_sets,
    files,
    huge_pages,
    lock,
    names,
    stopping,
    validate,
)
from fgsep_jax.data.records import RecordError, parts_of
from fgsep_jax.data.source import open_dataset
from fgsep_jax.report import runs as runs_lib
from fgsep_jax.training import run_folder

LAW = {'loss.power_law_weight': '0.01'}


class Model(NamedTuple):
    """What is trained: a configuration, values laid over it and their name in run folders, and
    whether it is on the first data set alone."""

    config: str
    name: str = ''
    values: dict = {}
    first_only: bool = True


STUDIES = {
    # Kadioglu et al.: Table 1 and Fig. 4, the seven runs of Fig. 5 (four on the first data set,
    # three on another), Table 2.
    'conv_tasnet': (
        Model('convtasnet', first_only=False),
        Model('convtasnet_prelu', first_only=False),
        Model('convtasnet_prelu', 'power_law', LAW, first_only=False),
        Model('convtasnet', 'power_law', LAW),
        Model('convtasnet_glu'),
        Model('convtasnet_dilated'),
        Model('convtasnet_big'),
        Model('yang'),
        Model('furcapy'),
    ),
    # Olvera et al.: Figs. 2 and 3.
    'foreground': tuple(
        Model(f'blstm_{name}', first_only=False) for name in ('m1', 'm2', 'm1_plus', 'm2_plus')
    ),
    # What the conclusion of Kadioglu et al. names: a better separator with each encoder.
    'next_step': (Model('sepformer'), Model('sepformer_prelu'), Model('sepformer_glu')),
}
MARK = 'study.json'  # in a run folder: what it was when it had been trained and evaluated
WAIT = 5.0  # seconds between looks at runs that another process has


class Run(NamedTuple):
    """One run of a study.

    Attributes:
      name: of its folder in the study's folder of runs.
      folder: its path.
      config: ConfigDict.
      words: of the command line that trains it.
      baselines: whether oracles and the untrained model are scored beside it.
      parts: of each mixture that it trains on, the noise counted.
      steps: of the training, at most.
      state: what `MARK` holds once it is done.
      results: folders of its results.
    """

    name: str
    folder: str
    config: Any
    words: list
    baselines: bool
    parts: int
    steps: int
    state: str
    results: list


def plan(study, directories, tests, *, size, seeds, output, overrides, only=''):
    """The runs of a study, those of the first seed first.

    Args:
      study: one of `STUDIES`.
      directories: data sets to train and evaluate on.
      tests: data sets to evaluate on alone.
      size: one of `config.SIZES`.
      seeds: how many.
      output: folder of the study.
      overrides: {'section.key': text} for all runs.
      only: pattern of the names of those that are wanted, e.g. 'convtasnet_glu*'; '': all.

    Returns:
      [Run].

    Raises:
      ConfigError: a run cannot be trained or evaluated on its data sets, or its folder holds
        another one; or none has such a name.
    """
    for key in sorted(overrides.keys() & {'data.dir', 'data.name', 'seed', *LAW}):
        raise config_lib.ConfigError(f'--config.{key}: the study sets it itself')
    everywhere = [*directories, *tests]
    data_sets.check_splits(everywhere, [])
    opened = {directory: open_dataset(directory) for directory in everywhere}
    _, *corpora = config_lib.JOBS['foreground' if study == 'foreground' else 'speech']
    wanted = {}
    for seed in range(seeds):
        for directory in directories:
            for model in STUDIES[study]:
                if model.first_only and directory != directories[0]:
                    continue
                parts = model.config, model.name, size, opened[directory]['name'], f'seed{seed}'
                name = names.part('-'.join(filter(None, parts)))
                values = {'data.dir': directory, **model.values, **overrides}
                argument = f'{model.config}:{size},seed={seed}'
                if opened[directory]['name'] in corpora:
                    # Its recipe: LibriTTS has 60 epochs, not 100. The name would bind evaluations.
                    argument += f',{opened[directory]["name"]}'
                    values['data.name'] = ''
                wanted[name] = argument, values
    chosen = [name for name in wanted if fnmatch.fnmatchcase(name, only or '*')]
    if not chosen:
        known = ', '.join(wanted)
        raise config_lib.ConfigError(f'--only={only}: fits no run; there are {known}')
    first = next(iter(wanted))
    return [_run(name, *wanted[name], opened, output, baselines=name == first) for name in chosen]


def _run(name, argument, values, opened, output, *, baselines):
    """A Run; `opened` is {data set to evaluate on: its metadata}."""
    config = config_lib.load(argument)
    config_lib.override(config, values)
    validate.validate(config)
    if config.evaluation.max_examples:
        raise config_lib.ConfigError('--config.evaluation.max_examples: must be 0: whole test sets')
    splits = config.evaluation.splits.split(',')
    data_sets.check(config, config.data.dir, ('train', 'validation', *splits))
    for directory, metadata in opened.items():
        validate.check_data(config, metadata, directory, splits)
    tested = [(data, split) for data in opened.values() for split in splits]
    called = [data_sets.result_name(data['name'], split) for data, split in tested]
    data_sets.check_names(called)
    folder = os.path.join(output, 'runs', name)
    run_folder.check(folder, config)
    from fgsep_jax.metrics.improvement import RULES
    from fgsep_jax.training import cost  # brings JAX along, as `validate` does

    own, content = opened[config.data.dir], config.to_dict()
    epoch = cost.steps_per_epoch(config, own['splits']['train']['examples'])
    content['data']['dir'] = ''
    made = [
        [data['name'], split, data['splits'][split].get('fingerprint')]
        for data, split in [(own, 'train'), (own, 'validation'), *tested]
    ]
    return Run(
        name=name,
        folder=folder,
        config=config,
        words=[f'--config={argument}', *(f'--config.{k}={v}' for k, v in values.items())],
        baselines=baselines,
        parts=parts_of(own),
        steps=epoch * config.training.epochs,
        state=files.digest(files.to_json([content, made, baselines, RULES]).encode()),
        results=[run_folder.results(folder, each) for each in called],
    )


def is_done(run):
    """Whether a run was trained and evaluated as it is now wanted, by what its folder holds."""
    try:
        mark = files.read_json(os.path.join(run.folder, MARK), ValueError)
    except ValueError:
        return False
    there = (_is_there(run, folder) for folder in run.results)
    return mark.get('done') == run.state and all(there)


def _is_there(run, folder):
    """Whether the results in a folder can be read, and are of the run."""
    for system in ('', *['untrained'] * run.baselines):
        try:
            result = runs_lib.read_result(run.folder, os.path.basename(folder), system)
        except runs_lib.ResultsError:
            return False
        if runs_lib.strange(result, system, run.config):
            return False
    return True


def share(runs, part):
    """Of some runs each n-th from the k-th on, for a part 'k/n'; all for ''.

    Raises:
      ConfigError: it is no such part.
    """
    first, _, count = (part or '1/1').partition('/')
    numbers = [int(text) if text.isascii() and text.isdecimal() else 0 for text in (first, count)]
    if not 1 <= numbers[0] <= numbers[1]:
        raise config_lib.ConfigError(f'--part={part}: must be K/N, e.g. 2/4, the second of four')
    return runs[numbers[0] - 1 :: numbers[1]]


def _kind(run):
    """Digest of what the time of a training step depends on."""
    content = run.config.to_dict()
    content['data'] |= {'dir': '', 'name': ''}
    content['training'] |= {'epochs': 0, 'minutes': 0.0}
    del content['seed'], content['evaluation']
    if run.parts > run.config.data.sources:
        content['parts'] = run.parts
    return files.digest(files.to_json(content).encode())[:16]


def speeds_file(output):
    """Path of what this host measured."""
    return os.path.join(output, names.part(f'speeds-{socket.gethostname()}.json'))


def _speeds(output):
    """{kind of run: [parameters, training examples a second]} as this host measured them."""
    with contextlib.suppress(ValueError):
        speeds = files.read_json(speeds_file(output), ValueError)
        if all(isinstance(s, list) and [*map(type, s)] == [int, float] for s in speeds.values()):
            return speeds
    return {}


def measure(runs, output):
    """Times a few training steps of each kind of run that this host has not timed yet."""
    import jax

    from fgsep_jax.tasks import make_task
    from fgsep_jax.training import cost
    from fgsep_jax.training.state import parameter_count

    speeds = _speeds(output)
    for run in runs:
        config, kind = run.config, _kind(run)
        if kind in speeds:
            continue
        params = jax.eval_shape(make_task(config).init, jax.random.key(0))
        try:
            speed = cost.measure(config, parts=run.parts)
        except (config_lib.ConfigError, jax.errors.JaxRuntimeError) as error:  # of memory
            print(f'{run.name}: cannot be trained on this machine: {str(error).splitlines()[0]}')
            speed = 0.0
        speeds[kind] = [parameter_count(params), speed]
        print(f'timed              {config.experiment}:{config.preset} {speed:.3g} examples/s')
        os.makedirs(output, exist_ok=True)
        files.write({speeds_file(output): files.to_json(speeds)})


def listing(runs, output):
    """Lines that tell what runs there are, how far they are and what they will take."""
    from fgsep_jax.training.logging import duration

    speeds = _speeds(output)
    rows, left = [('run', 'parameters', 'steps', 'training', '')], 0.0
    for run in runs:
        parameters, speed = speeds.get(_kind(run), (0, 0.0))
        seconds = run.steps * run.config.data.batch_size / speed if speed else 0.0
        if run.config.training.minutes:
            seconds = min(seconds, 60 * run.config.training.minutes)
        done = is_done(run)
        left += 0.0 if done else seconds
        begun = os.path.exists(os.path.join(run.folder, 'config.json'))
        state = 'done' if done else f'at work: {held}' if (held := _holder(run)) else ''
        rows.append(
            (
                run.name,
                f'{parameters:,}' if parameters else '-',
                f'{run.steps:,}',
                duration(seconds) if seconds else '-',
                state or 'begun' * begun,
            )
        )
    width = max(len(row[0]) for row in rows)
    lines = [f'{a:{width}} {b:>12} {c:>9} {d:>9}  {e}'.rstrip() for a, b, c, d, e in rows]
    done = sum(map(is_done, runs))
    return [
        *lines,
        f'{names.counted(len(runs), "run")}, {done} done: {duration(left)} of training at most on'
        ' this machine, one after the other (by a few steps of each, timed; validation and'
        ' evaluation come on top)',
    ]


def _holder(run):
    """Who writes to a run or its results, in words; '' if nobody does."""
    return next(filter(None, map(lock.holder, (run.folder, *run.results))), '')


class _Work:
    """What processes of one study do: one run after the other, as many at a time as asked."""

    def __init__(self, runs, output, everywhere, jobs):
        self._pending, self._output = collections.deque(runs), output
        self._everywhere, self._jobs = everywhere, jobs
        self._mutex, self._told = threading.Lock(), set()
        self.failed = []
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
        # No cores are all of them.
        self._cores = [cores[i::jobs] if len(cores) >= jobs > 1 else [] for i in range(jobs)]

    def all(self):
        """Does the runs; returns once none is left, those included that others began."""
        with concurrent.futures.ThreadPoolExecutor(self._jobs) as pool:
            for future in [pool.submit(self._some, job) for job in range(self._jobs)]:
                future.result()

    def _some(self, job):
        while True:
            with self._mutex:
                if not self._pending:
                    return
                run = self._pending.popleft()
            try:
                with lock.held(os.path.join(self._output, 'locks', run.name), 'a study'):
                    if held := _holder(run):  # a training whose study was killed, or without one
                        raise lock.Locked(f'{run.folder} is being written to by {held}')
                    if not is_done(run):
                        self._one(run, job)
            except lock.Locked as error:
                if run.name not in self._told:
                    print(f'{run.name}: waiting, {error}')
                self._told.add(run.name)
                self._pending.append(run)
                time.sleep(WAIT)
            except OSError as error:
                self._fail(run, str(error))

    def _one(self, run, job):
        log = os.path.join(self._output, 'logs', f'{run.name}.log')
        print(f'{_clock()}  {run.name}: begins, see {log}')
        began = time.monotonic()
        places = ','.join(self._everywhere)
        evaluation = ['--mode=cross_evaluate', f'--runs={run.folder}', f'--data_dirs={places}']
        for words in (
            ['--mode=train', *run.words, f'--workdir={run.folder}'],
            evaluation + ['--baselines'] * run.baselines,
        ):
            if status := call('main', words, log=log, **self._resources(job)):
                self._fail(run, f'exit status {status}: {_last_line(log)}')
                return
        mark = json.dumps({'done': run.state}) + '\n'
        files.write({os.path.join(run.folder, MARK): mark})
        from fgsep_jax.training.logging import duration

        took = duration(time.monotonic() - began)
        print(f'{_clock()}  {run.name}: trained and evaluated in {took}')

    def _resources(self, job):
        """What of the machine one of several runs at a time has, as keywords of `call`."""
        if self._jobs == 1:
            return {}
        memory = {'XLA_PYTHON_CLIENT_MEM_FRACTION': f'{0.9 / self._jobs:.2f}'}  # an accelerator's
        return {'environment': {**memory, **os.environ}, 'cores': self._cores[job]}

    def _fail(self, run, why):
        self.failed.append(run.name)
        print(f'{_clock()}  {run.name}: failed, {names.shown(why)}')


def call(module, words, *, log='', environment=None, cores=()):
    """Runs a program of the package.

    Args:
      module: its name.
      words: its command line.
      log: file that what it prints is added to; '': it prints.
      environment: of the process; None for this one's.
      cores: their numbers; empty: all.

    Returns:
      Exit status.
    """
    command = [sys.executable, '-m', f'fgsep_jax.{module}', *words]
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(open(log, 'ab')) if log else None
        kinds = {'stdin': subprocess.DEVNULL, 'stdout': said, 'stderr': said}
        process = subprocess.Popen(command, env=environment, **kinds)
        with contextlib.suppress(OSError):  # it has ended
            if cores:
                os.sched_setaffinity(process.pid, cores)
        return process.wait()


def _clock():
    return time.strftime('%H:%M')


def _last_line(log):
    with open(log, 'rb') as file:
        file.seek(max(os.path.getsize(log) - 4096, 0))
        lines = file.read().decode(errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), 'it said nothing')


def _parser():
    parser = command_line.Parser(
        'fgsep_jax.study',
        __doc__,
        epilog='--config.SECTION.KEY=VALUE sets a value of all runs, e.g.'
        f' --config.training.epochs=3. The studies: {", ".join(STUDIES)}.',
        words='STUDY',
    )
    parser.add_argument(
        '--data_dirs',
        metavar='DIR[,DIR...]',
        type=command_line.some(command_line.path),
        required=True,
        help='data sets to train and evaluate on; the first has all models',
    )
    parser.add_argument(
        '--test_dirs',
        metavar='DIR[,DIR...]',
        type=command_line.some(command_line.path),
        default=[],
        help='further data sets to evaluate on',
    )
    parser.add_argument('--size', choices=config_lib.SIZES, default='narrow', help='of all models')
    parser.add_argument('--seeds', type=command_line.count, default=3, help='runs of each kind')
    parser.add_argument(
        '--output_dir',
        metavar='DIR',
        type=command_line.local_path,
        required=True,
        help='folder of the study, where its runs, logs and report are',
    )
    parser.add_argument('--only', metavar='GLOB', default='', help='of the runs, by name')
    parser.add_argument(
        '--part', metavar='K/N', default='', help='of the runs: the K-th of N processes has these'
    )
    parser.add_argument('--jobs', type=command_line.count, default=1, help='runs at a time')
    parser.switch('--dry_run', 'time a few steps of each model, list the runs and end')
    return parser


def _study(args, words, overrides, argv):
    if words[1:] or words[0] not in STUDIES:
        raise config_lib.ConfigError(f'{" ".join(words)}: must be one of {", ".join(STUDIES)}')
    for flag in ('seeds', 'jobs'):
        if not vars(args)[flag]:
            raise config_lib.ConfigError(f'--{flag}=0: must be 1 or more')
    output = args.output_dir
    if ',' in output:
        raise config_lib.ConfigError(f'--output_dir={output}: a comma separates folders elsewhere')
    files.check_folder(output)
    if run_folder.is_data_set(output):
        raise config_lib.ConfigError(
            f'--output_dir={output} is the folder of a data set; give the study a folder of its own'
        )
    runs = plan(
        words[0],
        args.data_dirs,
        args.test_dirs,
        size=args.size,
        seeds=args.seeds,
        output=output,
        overrides=overrides,
        only=args.only,
    )
    runs = share(runs, args.part)
    if not args.dry_run:
        for folder in ('runs', 'logs', 'locks'):
            os.makedirs(os.path.join(output, folder), exist_ok=True)
        _begin(runs, output, argv)
        return _finish(args, runs, output)
    command_line.quiet()
    from fgsep_jax import compilation_cache

    compilation_cache.use()
    measure(runs, output)
    command_line.show('\n'.join(listing(runs, output)))
    return 0


def _begin(runs, output, argv):
    """Says what the runs will take, timed in a process of its own: this one is to hold no
    accelerator."""
    speeds = _speeds(output)
    if all(_kind(run) in speeds or is_done(run) for run in runs):
        print('\n'.join(listing(runs, output)))
        return
    if status := call('study', ['--dry_run', *argv]):
        print(f'note: what the runs take could not be told (exit status {status})')


def _finish(args, runs, output):
    """Does the runs and writes the report; returns the exit status."""
    work = _Work(runs, output, [*args.data_dirs, *args.test_dirs], args.jobs)
    work.all()
    status = 0
    if any(map(is_done, runs)):
        report = os.path.join(output, 'report')
        words = [f'--runs={os.path.join(output, "runs")}', f'--output_dir={report}']
        if held := lock.holder(report):
            print(f'the report is being written by {held}: the same command writes it again')
        else:
            status = call('report', words)
    if work.failed:
        failed = ', '.join(sorted(work.failed))
        print(f'failed: {failed}; the same command tries them again', file=sys.stderr)
    return 1 if work.failed or status else 0


def main(argv=None):
    """Runs the program; mistakes end in one line and exit status 2.

    Args:
      argv: the command line; None for this process's.

    Returns:
      Exit status: 1 if a run, or the report, failed.
    """
    restart, argv = argv is None, sys.argv[1:] if argv is None else list(argv)
    words, overrides = config_lib.split_overrides(argv)
    parser = _parser()
    parser.meant |= {f'--{key}': f'--config.{key}' for key in config_lib.known_keys()}
    args, rest = parser.parse(words)
    if args.dry_run and restart:
        huge_pages.use()
    try:
        return _study(args, rest, overrides, argv)
    except (config_lib.ConfigError, RecordError, OSError) as error:
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    stopping.run(lambda: sys.exit(main()))
