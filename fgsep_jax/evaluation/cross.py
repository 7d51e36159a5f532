"""Cross-dataset evaluation (paper 2, section 4.2): every run on every test set."""

import contextlib
import dataclasses
import functools
import importlib.util

import jax

from fgsep_jax import buckets, config as config_lib, data_sets, lock, names as names_lib, validate
from fgsep_jax.data.records import RecordError
from fgsep_jax.evaluation import run as run_lib
from fgsep_jax.interop import model_file
from fgsep_jax.metrics.improvement import RULES
from fgsep_jax.report import runs as runs_lib, scores
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, run_folder


def cross_evaluate(folders, data_dirs, *, splits=(), baselines=False, overrides=None):
    """Evaluates all runs below some folders on all data sets and prints the matrix.

    Results that a run already has of the same checkpoint, on the same examples and by the same
    rules are kept, so that a call that was interrupted goes on where it stopped.

    Args:
      folders: searched for run folders; model files and shipped names, too.
      data_dirs: prepared data sets.
      splits: of each; those of each run's `evaluation.splits` if empty.
      baselines: whether to score the untrained models and the oracles too.
      overrides: {section: {key: value}} to use instead of each run's own, or None.

    Raises:
      ConfigError: nothing to evaluate, or some run cannot be evaluated on some data set; all such
        pairs are named before anything runs.
    """
    if not any(folders):
        raise config_lib.ConfigError(
            '--mode=cross_evaluate needs --runs=FOLDER[,FOLDER...], where the run folders are'
        )
    if not data_dirs:
        raise config_lib.ConfigError(
            '--mode=cross_evaluate needs --data_dirs=DIR[,DIR...], the data sets to evaluate on'
        )
    jobs = _plan(folders, data_dirs, splits, baselines, overrides)
    chief = jax.process_index() == 0
    for number, (run, model, config, pending, kept) in enumerate(jobs, start=1):
        if chief:
            there = f' (kept: {", ".join(kept)})' if kept else ''
            what = ', '.join(map(run_lib.result_name, pending)) or 'nothing to do'
            line = names_lib.shown(f'{run.name}: {what}{there}')
            buckets.say(f'\nrun {number} of {len(jobs)}    {line}')
        if pending:
            run_lib.evaluate_on(
                config,
                run.path,
                pending,
                model=model,
                baselines=baselines,
                say=buckets.say if chief else lambda text: None,
            )
    if chief:
        _print_matrix(jobs)


def _print_matrix(jobs):
    if importlib.util.find_spec('pandas') is None:
        print(
            '\nthe matrix of all runs is printed where pandas is installed: pip install'
            " 'fgsep_jax[report]', then the same command, which keeps what is evaluated"
        )
        return
    from fgsep_jax.report import foreground, parts, speech

    notes = []
    results = scores.of([run for run, *_ in jobs], notes)
    for note in notes:
        buckets.say(f'note: {names_lib.shown(note)}')
    names = results.data_sets()
    if results.task == 'speech':
        makers = speech.cross_table, speech.cross_means, speech.cross_differences
        tables = [make(results, names) for make in makers]
    else:
        tables = [
            table
            for family in foreground.families(names)
            for table in foreground.medians(results, family)
        ]
    for table in filter(None, tables):
        # The papers' other models, which a report has a row for, are not what was asked for.
        rows = [row for row in table.rows if any(isinstance(cell, tuple) for cell in row)]
        buckets.say(f'\n{parts.markdown(dataclasses.replace(table, rows=rows))}')


def _plan(folders, data_dirs, splits, baselines, overrides):
    """[(run, its model file or '', config, sources to evaluate on, names of results to keep)], or
    one ConfigError that names all that is in the way."""
    runs = data_sets.find_runs(folders)
    problems, jobs = [], []
    data_sets.check_runs(runs, data_dirs)
    for run, model in runs:
        about = model and model_file.read_about(model)
        try:
            config = about.config if model else run_folder.read_config(run.path)
            if model:
                run_folder.check(run.path, config)
            config.update(overrides or {})
            validate.validate(config, trained=True)
        except config_lib.ConfigError as error:
            problems.append(f'{run.name}: {error}')
            continue
        found = sources = None
        with _noted(problems):
            found = about or checkpoint.find_best(run.path)
        if config.evaluation.max_examples:
            problems.append(
                f'{run.name}: evaluation.max_examples ='
                f' {config.evaluation.max_examples} leaves examples out; a matrix is'
                ' of whole test sets, set it to 0'
            )
        with _noted(problems, RecordError, OSError):
            sources = run_lib.open_sources(config, data_dirs, splits)
        if sources is None:
            continue
        for source in sources:
            problems += [f'{run.name}: {problem}' for problem in _misfits(config, source)]
        there = functools.partial(_is_there, run.path, config, baselines)
        kept = [source for source in sources if found and there(found, source)]
        if found and len(kept) < len(sources):
            with _noted(problems):  # now, so that no run is refused after hours of the others
                if model:
                    model_file.read(model)
                    run_lib.check_file(config, run.path, sources, model)
                else:  # where the best is damaged another one is scored, and may be already
                    found = checkpoint.load_best(run.path, config, make_task(config))
                    kept = [source for source in sources if there(found, source)]
        pending = [source for source in sources if source not in kept]
        if jax.process_count() == 1:  # else the first process of the pod may have begun
            for source in pending:
                with _noted(problems, lock.Locked):
                    lock.check(run_folder.results(run.path, run_lib.result_name(source)))
        jobs.append((run, model, config, pending, [run_lib.result_name(s) for s in kept]))
    if problems:
        raise config_lib.ConfigError(
            'these runs and data sets do not go together; nothing was evaluated:\n  '
            + '\n  '.join(dict.fromkeys(problems))
        )
    return jobs


@contextlib.contextmanager
def _noted(problems, *kinds):
    """Within, a ConfigError, or an error of more kinds, is a problem that ends what is within."""
    try:
        yield
    except (config_lib.ConfigError, *kinds) as error:
        problems.append(str(error))


def _misfits(config, source):
    """Why a run cannot be compared on a data set, as sentences."""
    try:
        run_lib.check_source(config, source)
    except config_lib.ConfigError as error:
        yield str(error)
    rate = source.metadata['sample_rate']
    if rate != config.data.sample_rate:
        yield (
            f'{source.directory} is at {rate} Hz, the run at {config.data.sample_rate} Hz:'
            ' numbers at two rates cannot stand in one matrix. Prepare the data set with'
            f' --sample_rate={config.data.sample_rate}, or see what resampling gives with'
            ' --mode=evaluate'
        )


def _is_there(path, config, baselines, found, source):
    """Whether the run holds all results of a checkpoint or model file on these very examples.

    Args:
      path: of the run.
      config: the run's ConfigDict.
      baselines: whether those of the baselines are wanted, too.
      found: the checkpoint's `Best`, or the file's `About`.
      source: RecordSource.
    """
    settings, name = config.evaluation, names_lib.part(run_lib.result_name(source))
    wanted = {
        'step': found.step,
        'filter_taps': settings.filter_taps,
        'rules': RULES,
        'data_fingerprint': source.metadata['splits'][source.split].get('fingerprint'),
        'targets': config.data.targets,
    }
    # Runs' results of earlier versions have the step alone.
    is_run = isinstance(found, checkpoint.Best)
    earlier = {'targets': '', **({'model_digest': found.digest} if is_run else {})}
    if found.digest:
        wanted['model_digest'] = found.digest
    systems = ['']
    if baselines:
        systems += ['untrained', *make_task(config).oracles()]
    for system in systems:
        try:
            result = runs_lib.read_result(path, name, system)
        except runs_lib.ResultsError:
            return False
        summary = {**earlier, **result.summary}
        if (
            runs_lib.strange(result, system, config)
            or (not system and not _can_be_heard(path, name, summary, settings.listen_examples))
            or not {*run_lib.quality(config)} <= summary['metrics'].keys()
            or any(summary.get(key) != value for key, value in wanted.items())
        ):
            return False
    return True


def _can_be_heard(path, name, summary, wanted):
    """Whether so many of the examples that were scored lie in a run's folder as sounds."""
    # The number is written once they are all there; earlier versions wrote none.
    said = summary.get('listen_examples', wanted)
    least = min(wanted, summary['examples'])
    return (
        said is not None and said >= wanted and len(runs_lib.read_examples(path, [], name)) >= least
    )
