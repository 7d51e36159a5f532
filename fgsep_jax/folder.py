"""From a folder of recordings to a model: the configuration and data set that main FOLDER means.

`speaker/*`, or `foreground/class/*` and `background/class/*`, of audio files. A job of data_prep
makes the data set, the speed of this machine decides on the size of the model, and `main` trains.
"""

import collections
import contextlib
import glob
import importlib.util
import json
import math
import os
import re
import shlex
import subprocess
import sys

from fgsep_jax import buckets, config as config_lib, data_sets, files, lock, registry
from fgsep_jax.data import records
from fgsep_jax.data.source import open_dataset
from fgsep_jax.names import counted, identifier, shown
from fgsep_jax.training import run_folder

MINUTES = 30.0
RATES = (44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)  # Hz, of models
REACH = 0.9  # share of the recordings that have the model's rate, or more
GENTLER = 0.3  # times the learning rate, of a training that starts from a trained model
SHIPPED = {'speech': 'voices', 'foreground': 'sounds'}  # models, see docs/models.md
MODELS = {'speech': 'convtasnet_glu', 'foreground': 'blstm_m2'}
# Examples without which a preset would be no better than the one below it; of `narrow`, made to
# compare systems, one trains where it is asked for.
ENOUGH = {'demo': 0, 'small': 12_000, 'paper': 150_000}
SHORTEST = {'speech': 1.0, 'sounds': 0.1}  # s, of a recording
SECONDS = 4.0  # longer recordings of speech are cut into segments: training reads no more of one
PASSES = 10  # as often a training should see each of its mixtures; more of them vary more
MOST_EPOCHS = 200
MOST_MIXTURES = {'speech': 4000, 'foreground': 2000}  # some 0.5 and 1 GB
FEWEST_MIXTURES = 200
SCORED = {'speech': 100, 'foreground': 50}  # mixtures of a split that is evaluated on
SPLITS = 3  # training, validation, test: each needs something of its own
FEW = {'people': 30, 'recordings': 100, 'hours': 1.0, 'classes': 6}
ENOUGH_DB = 3.0  # below it one hardly hears that anything was done
LATE = 0.8  # share of a training; one whose best validation came later was too short,
SINCE = 3  # unless as many after it were no better, after which the learning rate is halved
RECORD = 'folder.json'
CLASSES = 'classes.csv'
_FASTER = 4  # at most, that CPUs are with the operations of a large model than of a small one


def check(folder):
    """Refuses, before anything heavy is imported, what is no folder of recordings.

    Raises:
      ConfigError: it is missing, or a data set, or a run.
    """
    if not os.path.isdir(folder):
        what = 'is a file' if os.path.exists(folder) else 'there is no such folder'
        raise config_lib.ConfigError(
            f'{shown(folder)}: {what}. A folder of recordings is needed, with a folder for each'
            ' speaker, or foreground/CLASS and background/CLASS; all else is written --NAME=VALUE'
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise config_lib.ConfigError(f'{shown(folder)}: you may not read this folder')
    quoted = shlex.quote(folder)
    for name, keys, ways in (
        (
            records.DATASET_FILE,
            {'name', 'splits', 'schema_version'},
            f'a data set: --config=NAME --config.data.dir={quoted}',
        ),
        ('config.json', {'task', 'experiment'}, f'a run: --workdir={quoted}'),
    ):
        content = {}  # recorders and editors write files of these names, too
        with contextlib.suppress(config_lib.ConfigError):
            content = files.read_json(os.path.join(folder, name), config_lib.ConfigError)
        if keys <= content.keys():
            raise config_lib.ConfigError(f'{shown(folder)} holds no recordings, it is {ways}')


def default_workdir(folder):
    """Run folder of a training on a folder of recordings that was given none."""
    name = os.path.basename(os.path.abspath(folder))
    return os.path.join('runs', re.sub(r'\W+', '_', name).strip('_') or 'folder')


def data_folder(folder):
    """Where the data set of a folder lies: beside it, or in data/ where nothing can be written."""
    path = os.path.normpath(folder)
    if os.path.basename(path) in ('', '.', '..'):
        path = os.path.abspath(path)
    if os.access(os.path.dirname(path) or '.', os.W_OK | os.X_OK):
        return f'{path}-data'
    return os.path.join('data', os.path.basename(path))


def look(folder):
    """What lies in a folder: the content that `python -m data_prep.survey` prints.

    Raises:
      ConfigError: it cannot be looked into, or nothing can be made of what lies there.
      SystemExit: that was said already.
    """
    command = [sys.executable, '-m', 'data_prep.survey', f'--input_dir={folder}']
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode == 2:  # with one line that says why
        raise SystemExit(2)
    if done.returncode:
        raise config_lib.ConfigError(
            f'{shown(folder)} could not be looked into; the message stands above'
        )
    survey = files.parse_json(done.stdout, config_lib.ConfigError, where='data_prep.survey')
    least, count = SHORTEST[survey['kind']], len(survey['recordings'])
    survey['recordings'] = [
        recording for recording in survey['recordings'] if recording['seconds'] >= least
    ]
    if short := count - len(survey['recordings']):
        survey['unusable'][f'shorter than {least:g} s'] = short
    if not survey['recordings']:
        lost = [f'{count} {kind}' for kind, count in survey['unusable'].items()]
        lost += [f'{survey["elsewhere"]} not in a folder of their own'] * bool(survey['elsewhere'])
        raise config_lib.ConfigError(
            f'{shown(folder)} has no recordings that can be used'
            + (f' ({", ".join(lost)})' if lost else '')
            + ': expected are SPEAKER/*, or foreground/CLASS/* and background/CLASS/*, of audio'
        )
    return survey


def task_of(survey):
    """The task that a survey's recordings are for."""
    return 'foreground' if survey['kind'] == 'sounds' else 'speech'


def _by_name(survey, role=''):
    """{speaker or class: its recordings} of a survey."""
    groups = collections.defaultdict(list)
    for recording in survey['recordings']:
        if recording['role'] == role:
            groups[recording['name']].append(recording)
    return dict(groups)


def _by_role(survey):
    """{role: {class: its recordings}} of a survey of sounds."""
    return {role: _by_name(survey, role) for role in ('foreground', 'background')}


def _time(recordings):
    seconds = sum(recording['seconds'] for recording in recordings)
    if seconds < 60:
        return counted(max(1, round(seconds)), 'second')
    return f'{seconds / 3600:.1f} hours' if seconds >= 3600 else f'{seconds / 60:.1f} minutes'


def _pieces(recordings):
    return sum(max(1, -(-recording['seconds'] // SECONDS)) for recording in recordings)


def rate_of(survey, first=None):
    """Sample rate of a model: the highest usual one that most recordings reach, in Hz.

    Args:
      survey: what `look` returns.
      first: that of the model that the training starts from, which is taken if it can be.

    Raises:
      ConfigError: all are lower.
    """
    rates = [recording['rate'] for recording in survey['recordings']]
    speech = (config_lib.defaults('speech')['data']['sample_rate'],)
    allowed = RATES if survey['kind'] == 'sounds' else speech
    if first:
        allowed = (first, *(rate for rate in allowed if rate < first))
    for share in (REACH, 0.5):
        for rate in allowed:
            if sum(reached >= rate for reached in rates) >= share * len(rates):
                return rate
    raise config_lib.ConfigError(
        f'most of the recordings have less than {allowed[-1]} Hz, the lowest rate that models are'
        ' trained at here; --config.data.sample_rate=N trains one all the same'
    )


def at_rate(survey, rate):
    """A survey without the recordings of lower rates, which no data set of this one is made of."""
    kept = [recording for recording in survey['recordings'] if recording['rate'] >= rate]
    below = {f'below {rate} Hz': len(survey['recordings']) - len(kept)}
    return {**survey, 'recordings': kept, 'unusable': {**survey['unusable'], **below}}


def describe(survey, rate):
    """Lines on what a survey found, and on what is too little and what that means."""
    recordings = survey['recordings']
    rates = sorted({recording['rate'] for recording in recordings})
    at = f'{rates[0]} Hz' if len(rates) == 1 else f'{rates[0]} to {rates[-1]} Hz'
    if survey['kind'] == 'sounds':
        what = '; '.join(
            f'{role}: {counted(len(groups), "class")},'
            f' {counted(sum(map(len, groups.values())), "recording")},'
            f' {_time(sum(groups.values(), []))}'
            for role, groups in _by_role(survey).items()
        )
        lines = [f'found              {what}; {at}']
    else:
        people = [*map(shown, sorted(_by_name(survey)))]
        what = 'person' if len(people) == 1 else 'people'
        called = ', '.join([*people[:4], '...'][: len(people)])
        lines = [
            f'found              {len(people)} {what}, {counted(len(recordings), "recording")},'
            f' {_time(recordings)}; {at}',
            f'taken for          voices, a folder each ({called}); of sounds make'
            ' foreground/CLASS/* and background/CLASS/*',
        ]
    below = sum(recording['rate'] < rate for recording in recordings)
    lines.append(
        f'rate               {rate} Hz' + (f'; {below} below it are left out' if below else '')
    )
    return lines + [
        f'note: {line}'
        for line in (
            *map(shown, survey['doubts']),
            *_left_out(survey),
            *_too_little(at_rate(survey, rate)),
        )
    ]


def _left_out(survey):
    """Words on the files of which nothing is made, and why."""
    left_out = {
        **survey['unusable'],
        **{
            f'{name} is in both roles, and a class has one': count
            for name, count in survey['left_out'].items()
        },
        'copies of others': survey['copies'],
        'outside the folders of speakers or classes': survey['elsewhere'],
    }
    return [
        f'{counted(count, "file")} left out: {shown(what)}'
        for what, count in left_out.items()
        if count
    ]


def _too_little(survey):
    if survey['kind'] == 'sounds':
        count = len(survey['recordings'])
        if count < FEW['recordings']:
            yield (
                f'{count} sounds are few (the papers have thousands): the model will know these'
                ' sounds and do worse on others'
            )
        few = []
        for role, groups in _by_role(survey).items():
            small = sorted(name for name in groups if _recordings(groups[name]) < SPLITS)
            if small:
                each, taken = (' each', 'taken together') if small[1:] else ('', 'kept')
                yield (
                    f'of {role} {", ".join(small)} there are fewer than {SPLITS} recordings{each},'
                    f' too few for training, validation and test: {taken} as one class'
                )
            if len(groups) - len(small) < FEW['classes']:
                few.append(role)
        if few:
            yield (
                f'fewer than {FEW["classes"]} {" and ".join(few)} classes of {SPLITS} recordings:'
                ' none is kept unseen, so that scores say nothing about other classes'
            )
        return
    people = len(_by_name(survey))
    seconds = sum(recording['seconds'] for recording in survey['recordings'])
    if by_recording(survey):
        yield (
            f'{people} {"person is" if people == 1 else "people are"} fewer than the six that'
            ' make training, validation and test of different voices: the recordings of each are'
            ' split instead, and scores say nothing about voices that were not trained on'
        )
    elif people < FEW['people']:
        yield (
            f'{people} people are few (the papers have a hundred and more): other voices will be'
            ' separated worse than these'
        )
    if seconds < 3600 * FEW['hours']:
        yield (
            f'{_time(survey["recordings"])} of speech are little (the papers have 30 hours and'
            ' more): the model will know these recordings and do worse on others'
        )


def by_recording(survey):
    """Whether there are too few people for splits of different ones."""
    return len(_by_name(survey)) < 2 * SPLITS


def _recordings(some):
    return len({recording['recording'] for recording in some})


def check_enough(survey):
    """Refuses what no data set can be made of.

    Raises:
      ConfigError: what there is, and what would be needed.
    """
    if survey['kind'] == 'sounds':
        for role, groups in _by_role(survey).items():
            count = _recordings(sum(groups.values(), []))
            if count < SPLITS:
                needed = (
                    f'{counted(count, "recording")} in {role}/CLASS/*: {SPLITS} at least are'
                    ' needed, one each for training, validation and test'
                )
                raise config_lib.ConfigError('; '.join([needed, *_left_out(survey)]))
        return
    people = _by_name(survey)
    enough = [
        name
        for name, some in people.items()
        if len(some) >= SPLITS or _pieces(some) >= SPLITS or not by_recording(survey)
    ]
    if len(enough) < 2:
        listed = ', '.join(f'{name} ({counted(len(some), "recording")}, {_time(some)})'
                           for name, some in sorted(people.items()))  # fmt: skip
        needed = (
            f'found {shown(listed)}: two people are needed, a folder each, with {SPLITS} recordings'
            f' or {SPLITS * SECONDS:g} seconds of each'
        )
        raise config_lib.ConfigError('; '.join([needed, *_left_out(survey)]))


def class_table(survey):
    """(text of the class table, subsets of C1 to C4 that can be made) of a survey of sounds.

    Folders with fewer recordings than splits are one class together. Of six classes and more of a
    role a quarter is kept unseen, those with the fewest recordings.
    """
    lines, unseen = ['role,class,set,names'], set()
    taken = {recording['name'] for recording in survey['recordings']}
    for role, groups in _by_role(survey).items():
        counts = {name: _recordings(some) for name, some in sorted(groups.items())}
        whole = sorted((name for name in counts if counts[name] >= SPLITS), key=counts.get)
        apart = whole[: len(whole) // 4] if len(whole) >= FEW['classes'] else []
        unseen |= {role} if apart else set()
        lines += [f'{role},{name},{"unseen" if name in apart else "seen"},' for name in whole]
        if small := [name for name in counts if name not in whole]:
            numbers = ('', *range(2, len(taken) + 3))
            name = next(f'others{n}' for n in numbers if f'others{n}' not in taken)
            taken.add(name)
            lines.append(f'{role},{name},seen,{"|".join(small)}')
    subsets = {'c1': set(), 'c2': {'background'}, 'c3': {'foreground'}}
    subsets['c4'] = {'foreground', 'background'}
    return '\n'.join(lines) + '\n', [name for name, needs in subsets.items() if needs <= unseen]


def job(survey, *, rate, mixtures):
    """(name, flags) of the job that makes the data set of a survey.

    Args:
      survey: what `look` returns.
      rate: of the data set, in Hz.
      mixtures: to train on.
    """
    if survey['kind'] == 'sounds':
        scored = SCORED['foreground']
        return 'fgbg', [
            f'--sample_rate={rate}',
            f'--train_mixtures={mixtures}',
            f'--validation_mixtures={2 * scored}',
            f'--test_mixtures={scored}',
            f'--subsets={",".join(class_table(survey)[1])}',
            '--max_clipped=0.0001',  # kept by the job, as in the paper
        ]
    scored = SCORED['speech']
    flags = [
        f'--sample_rate={rate}',
        f'--max_seconds={SECONDS:g}',
        f'--train_pairs={mixtures}',
        f'--validation_pairs={scored}',
        f'--test_pairs={scored}',
        '--fewer',
    ]
    if by_recording(survey):
        flags += ['--split_by=recording', '--validation_fraction=0.15', '--test_fraction=0.15']
    return 'folder_2mix', flags


def configurations(survey, *, rate, argument='', overrides=None, first=None):
    """The sizes that a survey's model may have.

    Args:
      survey: what `look` returns.
      rate: of the model, in Hz.
      argument: of --config; a preset in it leaves no other size.
      overrides: {key: text} of the command line.
      first: ConfigDict of the model that the training starts from, the only size without an
        argument.

    Returns:
      [ConfigDict], from the smallest.

    Raises:
      ConfigError: there is no such configuration, or it is of the other task.
    """
    task, tuned = task_of(survey), first is not None and not argument
    base = first if tuned else config_lib.load(argument or MODELS[task])
    if base.task != task:
        which = 'training.init_from names' if tuned else f'--config={argument} is'
        raise config_lib.ConfigError(
            f'{which} a {base.task} model, and what was found is for a {task} one,'
            f' e.g. --config={MODELS[task]}'
        )
    if tuned and base.data.sources != 2:
        raise config_lib.ConfigError(
            f'training.init_from names a model of {counted(base.data.sources, "source")}; of a'
            ' folder mixtures of 2 are made'
        )
    if tuned:
        config = base.copy_and_resolve_references()
        config.data.update(name='', dir='', targets='', sample_rate=rate)
        config.training.learning_rate *= GENTLER
        config_lib.override(config, overrides or {})
        return [config.lock()]
    words = {word.strip() for word in argument.partition(':')[2].split(',')}
    sizes = [base]
    if not words & {*config_lib.SIZES}:
        sizes = [
            base if preset == base.preset else config_lib.resized(base, preset) for preset in ENOUGH
        ]
        if None in sizes:  # a file of one's own, of one size
            sizes = [base]
    made = []
    for config in sizes:
        config = config.copy_and_resolve_references()
        full = config.data.sample_rate
        config.data.sample_rate = rate
        if task == 'foreground' and rate < full:  # as long in time, as far as powers of two go
            window = round(math.log2(config.features.window * rate / full))
            config.features.window = 2 ** max(window, 9)
            config.features.hop = config.features.window // 4
        config_lib.override(config, overrides or {})
        made.append(config.lock())
    return made


def choose(configs, seconds, *, say=print, measured=None):
    """The largest configuration of which a training of some seconds sees enough examples.

    Args:
      configs: see `configurations`.
      seconds: of the training.
      say: called with the lines that tell of it.
      measured: function of a configuration; None: `cost.measure`.

    Returns:
      (ConfigDict, its training examples a second).
    """
    import jax

    from fgsep_jax.training import cost

    measured = measured or cost.measure
    chosen = None
    for config in configs:
        wanted = ENOUGH.get(config.preset, 0)
        name = f'speed              {config.experiment}:{config.preset}'
        # Not worth a compilation where it is far too slow; an accelerator's speed is not foreseen.
        if chosen and jax.default_backend() == 'cpu':
            before, rate = chosen
            rate *= _FASTER * cost.example_macs(before) / cost.example_macs(config)
            if rate * seconds < wanted:
                say(f'{name} not measured, too slow by far: it needs {wanted:,} examples')
                break
        try:
            rate = measured(config)
        except (config_lib.ConfigError, jax.errors.JaxRuntimeError):  # of memory
            if not chosen:
                raise
            say(f'{name} cannot be trained on this machine, most likely for its memory')
            break
        enough = rate * seconds >= wanted or not chosen
        say(
            f'{name} {rate:.3g} examples/s, {rate * seconds:,.0f} in the time'
            + ('' if enough else f': too slow, it needs {wanted:,}')
        )
        if not enough:
            break
        chosen = config, rate
    return chosen


def check_directory(folder, directory):
    """Looks up where the data set of a folder is, or will be made.

    Returns:
      Digest of the recordings that one is made of; None where it is still to be made.

    Raises:
      ConfigError: something else is there, or none can be made.
    """
    record, about = os.path.join(directory, RECORD), {}
    if os.path.exists(record):
        about = files.read_json(record, config_lib.ConfigError)
    there = os.path.isdir(directory) and os.listdir(directory)
    if there and about.get('folder') != os.path.abspath(folder):
        raise config_lib.ConfigError(
            f'{shown(directory)} is there already, and was not made of {shown(folder)}: move one of'
            ' them, the data set is to lie there'
        )
    if os.path.isfile(os.path.join(directory, records.DATASET_FILE)):
        return about.get('digest')
    above = files.nearest(directory)
    if not os.access(above, os.W_OK | os.X_OK):
        raise config_lib.ConfigError(
            f'{shown(above)} cannot be written to, and the data set of {shown(folder)} is to lie in'
            f' {shown(directory)}: change that, or start the command in a folder that can be, with'
            f' the whole path of {shown(folder)}'
        )
    if importlib.util.find_spec('apache_beam') is None:
        raise config_lib.ConfigError(
            'making a data set needs Apache Beam, which is not installed: pip install'
            " 'fgsep_jax[data-prep]'"
        )
    return None


def build(folder, survey, directory, *, rate, mixtures, say):
    """Lets a job of data_prep make the data set of a folder.

    Args:
      folder: of recordings.
      survey: what `look` returns.
      directory: of the data set.
      rate, mixtures: see `job`.
      say: called with each line for the user.

    Raises:
      ConfigError: the job failed.
    """
    name, flags = job(survey, rate=rate, mixtures=mixtures)
    called = identifier(os.path.basename(directory), otherwise='folder')
    flags = [f'--input_dir={folder}', f'--output_dir={directory}', f'--name={called}', *flags]
    flags.append('--surveyed')
    about = {'folder': os.path.abspath(folder), 'digest': survey['digest']}
    contents = {os.path.join(directory, RECORD): json.dumps(about, indent=2) + '\n'}
    if survey['kind'] == 'sounds':
        contents[os.path.join(directory, CLASSES)] = class_table(survey)[0]
        flags.append(f'--classes={os.path.join(directory, CLASSES)}')
    os.makedirs(directory, exist_ok=True)
    if not lock.holder(directory):  # else another process makes it of what it has seen
        files.write(contents)
    data_sets.run_job(name, flags, directory, f'no mixtures in {shown(directory)} yet', say=say)


def prepare(folder, workdir, *, minutes=None, argument, overrides, say=print):
    """Makes of a folder of recordings what a training needs; JAX is ready to be used.

    Args:
      folder: of recordings.
      workdir: run folder; of a run that is there, the training goes on.
      minutes: of training; None for those that the run was begun with, or `MINUTES`.
      argument: of --config.
      overrides: {key: text} of the command line.
      say: called with each line for the user.

    Returns:
      ConfigDict of the training.

    Raises:
      ConfigError: nothing can be made of it.
    """
    from fgsep_jax.training import checkpoint

    survey, directory = look(folder), data_folder(folder)
    if not argument and os.path.isfile(os.path.join(workdir, 'config.json')):
        run = _resumed(folder, survey, directory, workdir, minutes=minutes, say=say)
        config_lib.override(run, overrides)
        return run
    typed = config_lib.load(argument or MODELS[task_of(survey)])
    config_lib.override(typed, overrides)  # before anything is measured
    first = None
    if typed.training.init_from:
        first = checkpoint.load_trained(typed.training.init_from)[0].config
    if 'data.sample_rate' in overrides:
        rate = typed.data.sample_rate
    else:
        rate = rate_of(survey, None if first is None else first.data.sample_rate)
    digest = check_directory(folder, directory)
    if not os.path.isfile(os.path.join(workdir, 'config.json')):
        run_folder.check(workdir, typed)
    # The rest of its configuration is known once the speed is.
    elif (begun := run_folder.read_config(workdir).experiment) != typed.experiment:
        raise config_lib.ConfigError(
            f'--workdir={workdir} holds a run of {begun}, not of {typed.experiment}: give another'
            ' --workdir'
        )
    if digest:
        rate = open_dataset(directory)['sample_rate']
    kept = at_rate(survey, rate)
    check_enough(kept)
    for line in describe(survey, rate):
        say(line)
    configs = configurations(survey, rate=rate, argument=argument, overrides=overrides, first=first)
    if first is not None:
        checkpoint.load_initial(configs[0])  # refused before anything is made
    minutes = minutes or typed.training.minutes or MINUTES
    seconds = 60 * minutes
    config, speed = choose(configs, seconds, say=say)
    if digest:
        say(_already(folder, directory, workdir, digest == survey['digest']))
    else:
        mixtures = max(int(speed * seconds / PASSES), FEWEST_MIXTURES)
        mixtures = min(mixtures, MOST_MIXTURES[config.task])
        build(folder, kept, directory, rate=rate, mixtures=mixtures, say=say)
    metadata = open_dataset(directory)
    config = config.copy_and_resolve_references()
    config.data.dir = directory
    _fit(config, metadata, minutes)
    config_lib.override(config, overrides)
    time = f'{minutes:g} {"minute" if minutes == 1 else "minutes"}'
    say(
        f'model              {config.experiment}:{config.preset}, {time} of training'
        f' on {counted(metadata["splits"]["train"]["examples"], "mixture")}'
    )
    return config.lock()


def _already(folder, directory, workdir, same):
    both = shown(directory)
    if os.path.isfile(os.path.join(workdir, 'config.json')):
        both += f' and {shown(workdir)}'
    return f'mixtures           in {shown(directory)} already' + (
        '' if same else f'\nnote: {shown(folder)} has changed since; remove {both} to begin anew'
    )


def _resumed(folder, survey, directory, workdir, *, minutes, say):
    """Configuration of the run in a folder that was begun on these recordings."""
    config = run_folder.read_config(workdir)
    config.data.dir = run_folder.data_dir(workdir, config)
    if os.path.realpath(config.data.dir) != os.path.realpath(directory):
        raise config_lib.ConfigError(
            f'--workdir={workdir} holds a run on {shown(config.data.dir)}, not on {shown(folder)}:'
            ' give another --workdir'
        )
    if not os.path.isfile(os.path.join(directory, records.DATASET_FILE)):
        raise config_lib.ConfigError(
            f'{shown(workdir)} holds a run on {shown(directory)}, which is not there: bring it'
            f' back; or remove {shown(workdir)}, or give another --workdir, and the same command'
            ' makes both anew'
        )
    digest = check_directory(folder, directory)
    for line in describe(survey, config.data.sample_rate):
        say(line)
    say(_already(folder, directory, workdir, digest == survey['digest']))
    if minutes is None:
        say(
            f'note: the run in {shown(workdir)} goes on as it was begun; --minutes=N makes it N'
            ' minutes in all'
        )
    else:
        config.training.minutes = minutes
        config.training.epochs = max(config.training.epochs, MOST_EPOCHS)
    return config


def _fit(config, metadata, minutes):
    """Sets what depends on the data set and the time: splits, batch, the training's end."""
    import jax

    splits = {name: about['examples'] for name, about in metadata['splits'].items()}
    config.evaluation.splits = ','.join(
        name for name in splits if name not in ('train', 'validation')
    )
    batch, devices = min(config.data.batch_size, splits['train']), jax.device_count()
    config.data.batch_size = max(batch // devices, 1) * devices
    config.training.minutes = float(minutes)
    config.training.epochs = MOST_EPOCHS


def finish(workdir):
    """Writes the page of a run and says how good it is and what to type next.

    Args:
      workdir: run folder, evaluated.
    """
    from fgsep_jax.report import __main__ as report, runs

    place = buckets.url_of(workdir) or os.path.normpath(workdir)
    print()
    for run in runs.find(workdir):
        for line in verdict(run):
            print(line)
    report.main(
        [f'--runs={place}', f'--output_dir={place}-report', f'--title={shown(place)}'],
        evaluated=True,
    )
    audio = os.path.join(glob.escape(place), 'audio', '*', '*', 'mixture.wav')
    mixture = next(iter(sorted(glob.glob(audio))), 'RECORDING.wav')
    before = registry.prefix(run_folder.modules(workdir))
    print(
        f'next               {before}fgsep-separate {shlex.quote(place)} {shlex.quote(mixture)}'
        '\n                   (or any recording of yours, or a folder of them)'
    )


def verdict(run):
    """Lines that say how good the model of a run is on what was held back, and what would help.

    Args:
      run: report.runs.Run.
    """
    middle, of = ('median', '_foreground') if run.task == 'foreground' else ('mean', '')
    gains = []
    for (name, system), result in run.results.items():
        if system:
            continue
        summary = result.summary

        def score(metric, whose='metrics', summary=summary):
            return summary[whose][metric + of][middle]

        gain = score('si_snri')
        if gain is None:
            continue
        gains.append(gain)
        yield (
            f'scores             {shown(name)}: SI-SNR {gain:+.1f} dB against the mixture,'
            f' {middle} of {counted(summary["examples"], "mixture")} ({middle} SI-SNR from'
            f' {score("si_snr", "mixture"):.1f} to {score("si_snr"):.1f} dB, SDR from'
            f' {score("sdr", "mixture"):.1f} to {score("sdr"):.1f} dB)'
        )
    if not gains or min(gains) >= ENOUGH_DB:
        return
    said = 'one hardly hears that anything was done'
    if min(gains) <= 0:
        said = 'this model is no better than doing nothing: do not use it'
    minutes = run.config.get('training.minutes') or MINUTES
    steps_N, losses_N = run.curves.get(('validation', 'loss'), ((), ()))
    helps = 'more recordings would help, or a larger --minutes'
    if len(losses_N):
        best, since = steps_N[losses_N.argmin()], len(losses_N) - 1 - losses_N.argmin()
        if best > LATE * steps_N[-1] and since < SINCE:
            helps = (
                'it was still getting better in the end: the same command with'
                f' --minutes={2 * minutes:g} goes on'
            )
        else:
            helps = (
                f'it was best after {best / steps_N[-1]:.0%} of the training: more minutes will not'
                ' help, more recordings would'
            )
    if not run.config.get('training.init_from'):
        helps += (
            '. A training that starts from a trained model, e.g. the shipped one, may gain more:'
            f' --config.training.init_from={SHIPPED[run.task]} with another --workdir'
        )
    yield f'note: {said}; {helps}'
