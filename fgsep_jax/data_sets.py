"""Which data sets a run reads: its own, found or built, and those to evaluate on."""

import os
import shlex
import subprocess
import sys
import time

from fgsep_jax import config as config_lib, files, lock, validate
from fgsep_jax.data import records
from fgsep_jax.data.source import open_dataset
from fgsep_jax.names import alike, shown
from fgsep_jax.report import runs as runs_lib
from fgsep_jax.training import run_folder

EMBEDDED = {'speech': 'corpus of synthetic speech', 'foreground': 'bank of synthetic sounds'}


def is_embedded(config):
    """Whether a run reads its task's embedded data set."""
    return not config.data.dir


def check(config, directory, splits=(), *, run=''):
    """Looks a run's own data set up before anything heavy is imported; as `open_data`, but that a
    missing embedded one may still be built, and that a `run` folder can be evaluated on another."""
    if not (is_embedded(config) and _to_be_built(directory)):
        _open(config, directory, splits, run)


def check_splits(directories, splits, *, tasks=()):
    """Looks data sets to evaluate on up before anything heavy is imported.

    Args:
      directories: of the data sets.
      splits: those that will be read.
      tasks: of the models.

    Raises:
      ConfigError: one of them is missing, of another task, named twice, or lacks one of the splits.
      RecordError: see `open_dataset`.
    """
    places = {}
    for directory in directories:
        place = directory.rstrip('/') if '://' in directory else os.path.realpath(directory)
        if place in places:
            raise config_lib.ConfigError(
                f'--data_dirs={places[place]},{directory} is one data set twice: name it once'
            )
        places[place] = directory
    for directory in directories:
        try:
            metadata = open_dataset(directory)
        except FileNotFoundError as error:
            raise config_lib.ConfigError(f'--data_dirs={directory}: {error}') from error
        for task in tasks:
            validate.check_kind(task, metadata, directory)
        there = metadata['splits']
        missing = [split for split in splits if split not in there]
        if missing:
            raise config_lib.ConfigError(
                f'{directory} has no split {" and no split ".join(missing)}; it has'
                f' {", ".join(there)}: choose with --splits={",".join(there)}'
            )


def model_of(word):
    """(model file, folder of its results) that a run's place names, or ('', that place): a file
    NAME.safetensors, or the name of a shipped one where nothing else has it."""
    if os.path.isdir(word):
        return '', word
    if word.endswith('.safetensors'):
        return word, _results_of(word)
    if word and os.path.basename(word) == word and not os.path.lexists(word):
        from fgsep_jax.interop import model_file  # brings JAX along

        if word in model_file.shipped():
            return model_file.shipped()[word], f'{word}-results'
    return '', word


def _results_of(model):
    return f'{model.removesuffix(".safetensors")}-results'


def find_runs(places):
    """All runs in some folders and below them, and model files as the runs that they stand for.

    Args:
      places: folders, model files, names of shipped models.

    Returns:
      [(report.runs.Run, its model file or '')], each once.

    Raises:
      ConfigError: a folder without runs, or one that cannot be read, or no model file.
    """
    by_path = {}
    for place in filter(None, places):
        model, folder = model_of(place)
        try:
            runs = [_run_of(model, folder)] if model else runs_lib.find(place)
        except runs_lib.ResultsError as error:
            raise config_lib.ConfigError(str(error)) from error
        for run in runs:
            path = os.path.realpath(run.path)
            beside = f'{path.removesuffix("-results")}.safetensors'
            trained = os.path.isdir(os.path.join(path, 'checkpoints'))
            if not model and _results_of(beside) == path and os.path.isfile(beside) and not trained:
                by_path.setdefault(path, (_run_of(beside, run.path, run.name), beside))
            else:
                by_path.setdefault(path, (run, model))
    return list(by_path.values())


def _run_of(model, folder, name=''):
    """A model file as the run whose folder has its results."""
    from fgsep_jax.interop import model_file

    about = model_file.read_about(model)
    name = name or os.path.basename(folder).removesuffix('-results')
    return runs_lib.Run(
        folder, name, files.flatten(about.config.to_dict()), about.origin or 'unknown', {}
    )


def check_runs(pairs, directories):
    """Raises ConfigError where runs of both tasks are to be evaluated together.

    Args:
      found: as `find_runs` gives them.
      directories: of the data sets.
    """
    # As they are given: a model file by its path, a shipped one by its name.
    place = {
        run: model if _results_of(model) == run.path else run.path.removesuffix('-results')
        for run, model in pairs
        if model
    }
    runs = [run for run, _ in pairs]
    tasks = {run.task for run in runs}
    if len(tasks) < 2:
        return

    def fits(task):
        try:
            check_splits(directories, [], tasks=[task])
        except config_lib.ConfigError:
            return False
        return True

    fitting = [task for task in sorted(tasks) if fits(task)]
    task = (fitting or sorted(tasks))[0]
    those = ','.join(shlex.quote(place.get(run, run.path)) for run in runs if run.task == task)
    others = ', '.join(
        f'{shown(place.get(run, run.path))} ({run.task})' for run in runs if run.task != task
    )
    raise config_lib.ConfigError(
        f'speech and foreground runs are evaluated each kind by itself: {others} does not go with'
        f' the {task} runs. Give those alone: --runs={those}'
    )


def result_name(name, split, first=0):
    """Name of the results on a split of the data set called `name`, or on its first examples: a
    part must not replace the results of the whole."""
    called = name if split == 'test' else f'{name}-{split}'
    return called + (f'-first-{first}' if first else '')


def check_names(called):
    """Raises ConfigError where results of two data sets would share a folder."""
    if alike(called):
        raise config_lib.ConfigError(
            f"data sets of one name ({', '.join(map(shown, called))}) would overwrite each other's"
            ' results: evaluate them in separate run folders, or build one anew with another --name'
        )


def check_results(config, workdir, directories, splits):
    """Looks up, before anything heavy is imported, where the results of a run will be written.

    Raises:
      ConfigError: two of them would share a folder.
      Locked: a process of this machine writes there.
    """
    there = [directory for directory in directories if not _to_be_built(directory)]
    called = [
        result_name(open_dataset(directory)['name'], split, config.evaluation.max_examples)
        for directory in there
        for split in dict.fromkeys(splits)
    ]
    check_names(called)
    for name in called:
        lock.check(run_folder.results(workdir, name))


def open_data(config, directory='', *, splits=(), hosts=1, say=print):
    """Finds the experiment's data set, building the embedded one where it is not there yet.

    Args:
      config: an experiment's ConfigDict.
      directory: of the data set; that of the configuration if empty.
      splits: those that will be read.
      hosts: number of processes.
      say: called with the line that announces the data set.

    Returns:
      Folder of the data set.

    Raises:
      ConfigError: it is missing, or not what the configuration says.
    """
    directory, embedded = directory or config_lib.data_dir(config), is_embedded(config)
    if embedded and _to_be_built(directory):
        if hosts > 1:
            raise config_lib.ConfigError(
                f'no embedded data in {directory}: build them once, where all hosts see them, with'
                f' `python -m data_prep.embedded --task={config.task} --output_dir=DIR`, and set'
                ' FGSEP_DATA_DIR'
            )
        run_job(
            'embedded',
            [f'--task={config.task}', f'--output_dir={directory}'],
            directory,
            f'no embedded data in {directory} yet',
            say=say,
            otherwise=" it needs `pip install 'fgsep_jax[demo]'`. With data of your own give"
            ' --config.data.dir=DIR.',
        )
    metadata = _open(config, directory, splits)
    say(
        f'data               {shown(metadata["name"])} in {directory}, {metadata["sample_rate"]} Hz'
        + (f' (data.dir is unset: the embedded {EMBEDDED[config.task]})' if embedded else '')
    )
    return directory


def run_job(job, flags, directory, lacking, *, say=print, otherwise=''):
    """Runs a job of data_prep, or waits until another process has done so.

    Args:
      job: its name.
      flags: its command line.
      directory: of the data set.
      lacking: what is said before it begins.
      say: called with the lines that say what happens.
      otherwise: a sentence for where it fails.

    Raises:
      ConfigError: it failed.
    """
    command = [sys.executable, '-m', f'data_prep.{job}', *flags]
    waiting = False
    while _to_be_built(directory):
        if holder := lock.holder(directory):
            if not waiting:
                say(f'{lacking}: waiting for {holder}')
            waiting = True
            time.sleep(1)
            continue
        say(f'{lacking}: building them')
        if not subprocess.run(command, check=False).returncode:
            return
        if not lock.holder(directory):  # else another process was quicker
            raise config_lib.ConfigError(
                f'the {job} data could not be built by `{shlex.join(command[1:])}`, whose message'
                f' stands above;{otherwise}'
            )


def _to_be_built(directory):
    return not os.path.exists(os.path.join(directory, 'dataset.json'))


def _folders_for(directory):
    """(input, output) folder of the job that makes a data set for who gave this folder: out of the
    recordings in it where it holds something else than a data set that was not finished."""
    there = os.listdir(directory) if os.path.isdir(directory) else []
    if all(name.startswith('.') for name in there) or any(records.SHARD in name for name in there):
        return '...', shlex.quote(directory)
    path = os.path.abspath(directory)
    other = os.path.join('data', os.path.basename(path))
    other = f'{path}_mixtures' if os.path.abspath(other) == path else other
    return shlex.quote(directory), shlex.quote(other)


def _open(config, directory, splits, run=''):
    try:
        metadata = open_dataset(directory)
    except FileNotFoundError as error:
        if run:
            raise config_lib.ConfigError(
                f'{shown(run)} was trained on a data set that is not where it was: {error}.'
                ' --data_dirs=DIR names it, or others'
            ) from error
        jobs = config_lib.JOBS[config.task][1:]
        job = config.data.name or config_lib.OF_FOLDERS[config.task]
        others = f' (or another of {", ".join(jobs)})' if not config.data.name and jobs[1:] else ''
        recordings, output = _folders_for(directory)
        then = f', then --config.data.dir={output}' if recordings != '...' else ''
        raise config_lib.ConfigError(
            f'data.dir = {directory!r}: {error}. The job that builds it: `python -m'
            f' data_prep.{job} --input_dir={recordings} --output_dir={output}`{others}{then}.'
        ) from error
    validate.check_data(config, metadata, directory, splits)
    return metadata
