"""Evaluates a run, or a model file, on data sets: opens them, scores, writes, prints the tables."""

import collections
import contextlib
import glob
import os

import jax

from fgsep_jax import buckets, config as config_lib, data_sets, files, names, stopping, validate
from fgsep_jax.data.source import RecordSource, open_dataset
from fgsep_jax.evaluation import evaluate as evaluate_lib, listen, systems, table
from fgsep_jax.interop import model_file
from fgsep_jax.metrics.improvement import LIMIT
from fgsep_jax.report import runs
from fgsep_jax.tasks import make_task
from fgsep_jax.training import (
    checkpoint,
    mesh as mesh_lib,
    run_folder,
    state as state_lib,
)


def evaluate(config, workdir, *, model='', data_dirs=(), splits=(), baselines=False, announce=True):
    """Evaluates a run's best checkpoint and prints a table for each data set and split.

    Args:
      config: the run's ConfigDict.
      workdir: run folder.
      model: a model file to evaluate instead of the run's checkpoint; the results go to `workdir`.
      data_dirs: data sets; the run's own if empty.
      splits: which splits of each; those of `evaluation.splits` if empty.
      baselines: whether to score the untrained model and the task's oracles too.
      announce: whether to say which data set the run's own is.

    Raises:
      ConfigError: no checkpoint, or a data set that the model cannot be evaluated on.
    """
    say = buckets.say if jax.process_index() == 0 else lambda text: None
    directories = list(data_dirs)
    if not directories:
        where = run_folder.data_dir(workdir, config)
        tell = say if announce else lambda text: None
        directories = [data_sets.open_data(config, where, hosts=jax.process_count(), say=tell)]
    sources = open_sources(config, directories, splits)
    for source in sources:
        check_source(config, source)
    own = os.path.abspath(run_folder.data_dir(workdir, config))
    if any(
        os.path.abspath(source.directory) == own
        and run_folder.was_rebuilt(workdir, source.metadata)
        for source in sources
    ):
        say(
            f'note: {names.shown(own)} was built anew after this run was trained on it: sounds of'
            ' its test split may have been trained on'
        )
    evaluate_on(config, workdir, sources, model=model, baselines=baselines, say=say)


def open_sources(config, directories, splits=()):
    """Opens splits of several data sets to evaluate a run's model on.

    Args:
      config: the run's ConfigDict.
      directories: of the data sets.
      splits: of each; those of `evaluation.splits` if empty.

    Raises:
      ConfigError: one has not the sources that `data.targets` names, or two of them are called
        alike, so that their results would share a folder.
    """
    sources = []
    for directory in directories:
        first = ()
        if config.data.targets:
            first = validate.check_sources(config, open_dataset(directory), directory)
        for split in dict.fromkeys(splits or config.evaluation.splits.split(',')):
            sources.append(RecordSource(directory, split, first))
    data_sets.check_names([result_name(source) for source in sources])
    return sources


def check_source(config, source):
    """Raises ConfigError where a run's model cannot be evaluated on a data set."""
    validate.check_sources(config, source.metadata, source.directory)
    validate.check_adaptation(config, source.metadata, source.directory)


def check_file(config, workdir, sources, model):
    """Raises ConfigError where a model file's folder has results of a file of another content that
    those on `sources` do not replace: a report takes all in it for one model's."""
    digest = model_file.read_about(model).digest
    replaced = {_folder(config, workdir, source) for source in sources}
    there = os.path.join(glob.escape(os.fspath(workdir)), 'evaluation', '*', 'summary.json')
    for path in sorted(glob.glob(there)):
        folder = os.path.dirname(path)  # earlier versions wrote no digest
        before = evaluate_lib.read_summary(folder).get('model_digest', digest)
        if before != digest and folder not in replaced:
            raise config_lib.ConfigError(
                f'{folder} holds results of a {os.path.basename(model)} of another content: move'
                f' {workdir} away, or give the file another name'
            )


def evaluate_on(config, workdir, sources, *, model='', baselines=False, say=buckets.say):
    """Scores a run's best checkpoint, or a model file, on RecordSources, writes the results, prints
    the tables."""
    if jax.process_count() > 1:
        stopping.hear()
    task = make_task(config)
    with contextlib.ExitStack() as stack:
        for source in sources:  # all at once, so that none is refused after hours
            folder = _folder(config, workdir, source)
            name = os.path.basename(folder)
            written = [os.path.join('evaluation', name, each) for each in runs.RESULT]
            written.append(os.path.join('audio', name, listen.WRITTEN))
            files.refuse_links(workdir, *written, *['config.json'] * bool(model))
            stack.enter_context(mesh_lib.hold(folder, 'evaluation'))
            evaluate_lib.check_folder(
                folder, source.metadata['name'], source.split, config.data.targets
            )
        if model:
            check_file(config, workdir, sources, model)
        made = {'trained_on': config.data.dir or f'the embedded {data_sets.EMBEDDED[config.task]}'}
        if model:
            about, params = model_file.read(model)
            step, notes = about.step, ()
            made = {'trained_on': about.origin or 'unknown', 'model_digest': about.digest}
            if jax.process_index() == 0:  # so that the report takes the results for a run's
                config_json = os.path.join(workdir, 'config.json')
                files.write({config_json: config_lib.to_json(about.config)})
        else:
            step, digest, params, notes = checkpoint.load_best(workdir, config, task)
            made |= {'model_digest': digest} if digest else {}
        mesh_lib.check_alike(
            config,
            systems=['model', *['baselines'] * baselines],
            model=[step, made.get('model_digest')],
            **{f'data_{k}': repr(source) for k, source in enumerate(sources, 1)},
        )
        for note in notes:
            say(f'note: {note}')
        untrained = jax.jit(task.init)(jax.random.key(config.seed))
        compared = {'': systems.ModelSystem(task, params)}
        if baselines:
            compared['untrained'] = systems.ModelSystem(task, untrained)
            compared |= systems.oracle_systems(task)
        for source in sources:
            name = names.shown(result_name(source, config.evaluation.max_examples))
            again = f'{name} is not evaluated to its end; the same command evaluates it'
            with stopping.losing(again):
                if jax.process_index() == 0:
                    for system in compared:
                        evaluate_lib.settle(_folder(config, workdir, source, system))
                _evaluate_on(
                    config,
                    workdir,
                    source,
                    task,
                    compared,
                    step=step,
                    made=made,
                    say=say,
                    heard=run_folder.Heard.of([*about.speakers]) if model else None,
                )


def quality(config):
    """What `evaluation.quality` names, a tuple."""
    return tuple(filter(None, config.evaluation.quality.split(',')))


def result_name(source, first=0):
    """Name of the results on a RecordSource, or on its first examples."""
    return data_sets.result_name(source.metadata['name'], source.split, first)


def _folder(config, workdir, source, system=''):
    """Folder that an evaluation writes a system's results to; the model's own system is ''."""
    name = result_name(source, config.evaluation.max_examples)
    return run_folder.results(workdir, name, system)


def _evaluate_on(config, workdir, source, task, compared, *, step, made, say, heard=None):
    """Scores systems on one split of a data set, writes their files, prints the table."""
    metadata, rate, settings = source.metadata, config.data.sample_rate, config.evaluation
    name, split = result_name(source, settings.max_examples), source.split
    resampled = metadata['sample_rate'] if metadata['sample_rate'] != rate else None
    if resampled:
        say(
            f"note: {names.shown(name)} is at {resampled} Hz and is resampled to the model's"
            f' {rate} Hz'
        )
    how = dict(
        sample_rate=rate,
        batch_size=settings.batch_size,
        bucket_seconds=settings.bucket_seconds,
        filter_taps=settings.filter_taps,
        max_examples=settings.max_examples,
        source_names=task.source_names,
        adaptation_seconds=config.data.adaptation_seconds,
        quality=quality(config),
    )
    heard = run_folder.trained_speakers(workdir, config) if heard is None else heard
    seen = _seen(heard, source, _folder(config, workdir, source))
    if 'speakers_trained_on' not in seen:
        why = run_folder.damage(workdir) or 'its training data are gone'
        if heard.complete:
            why = f'{names.shown(name)} does not name them'
        elif heard.digests:
            why = f'whom {names.shown(config.training.init_from)} was trained on is not known'
        say(
            f'note: whether this run was trained on speakers or recordings of {names.shown(name)}'
            f' could not be checked: {why}'
        )
    elif seen['speakers_trained_on']:
        say(
            f'note: {seen["speakers_trained_on"]} of the {seen["speakers"]} speakers or recordings'
            f' of {names.shown(name)} are called as some that this run was trained on'
        )
    rows_of_table, own = {}, None
    for system_name, system in compared.items():
        label = names.shown(f'{system_name or config.experiment} on {name}')
        rows, skipped = evaluate_lib.evaluate(
            system, source, name=system_name or 'model', label=label, **how
        )
        if not rows and not system_name:
            reasons = collections.Counter(skipped.values()).items()
            raise config_lib.ConfigError(
                f'none of the examples of {source.directory} could be scored'
                f' ({", ".join(f"{n}: {why}" for why, n in reasons)}); earlier results are kept'
            )
        content = evaluate_lib.summary(
            rows,
            skipped,
            source_names=task.source_names,
            system=system_name or config.experiment,
            preset=config.preset,
            step=step,
            seed=config.seed,
            parameters=state_lib.parameter_count(jax.eval_shape(task.init, jax.random.key(0))),
            results=name,
            split=split,
            data_set=metadata['name'],
            data_dir=source.directory,
            data_fingerprint=metadata['splits'][split].get('fingerprint'),
            **made,
            sample_rate=rate,
            targets=config.data.targets,
            resampled_from=resampled,
            filter_taps=settings.filter_taps,
            # Until they are there; the model's alone.
            **({} if system_name else {'listen_examples': None}),
            **seen,
        )
        if jax.process_index() == 0:
            evaluate_lib.write(_folder(config, workdir, source, system_name), rows, content)
        label = {'': f'{config.experiment}:{config.preset}, step {step}'}.get(
            system_name, runs.SYSTEMS.get(system_name, system_name)
        )
        own = content if not system_name else own
        rows_of_table[label] = content['metrics']
    empty = own['empty_estimates']
    skips = f', {empty} with an empty estimate at {-LIMIT:g} dB' if empty else ''
    skips += ''.join(f', {n} skipped: {why}' for why, n in own['skipped'].items())
    shown = 'median [quartiles]' if task.source_names else 'mean [95 % interval]'
    say(
        '\n'
        + table.render(
            f'{names.shown(name)} ({names.counted(own["examples"], "mixture")}{skips}; {shown})',
            {'mixture': own['mixture'], **dict(reversed(rows_of_table.items()))},
            table.columns(task.source_names, quality(config)),
        )
    )
    if jax.process_index() == 0:
        folder, count = os.path.join(workdir, 'audio', names.part(name)), settings.listen_examples
        # With none asked for, those of an earlier model go nevertheless.
        listen.write_examples(folder, name, source, compared, count=count, **how)
        evaluate_lib.note(_folder(config, workdir, source), listen_examples=count)
        buckets.put_up(workdir)
        if count:
            say(f'\nlisten             {folder}/*/*.wav')


def _seen(heard, source, folder):
    """What a summary says of the names that training and test data share.

    Args:
      heard: see `run_folder.trained_speakers`.
      source: RecordSource that is evaluated on.
      folder: of the results, where an evaluation may have known what cannot be known any more.

    Returns:
      {'speakers': names in the test data, 'speakers_trained_on': those of them in the training data
      too}, without what is not known.
    """
    tested = run_folder.digests(source.speakers)
    both = len(tested & heard.digests)
    if tested and (heard.complete or both):
        return {'speakers': len(tested), 'speakers_trained_on': both}
    seen = {'speakers': len(tested)} if tested else {}
    before = evaluate_lib.read_summary(folder)
    fingerprint = source.metadata['splits'][source.split].get('fingerprint')
    known = fingerprint and before.get('data_fingerprint') == fingerprint
    if known and not files.is_damaged(before):
        seen |= {key: before[key] for key in runs.SEEN if type(before.get(key)) is int}
    return seen
