"""Rules that no part of a model knows: of data, devices, training and evaluation.

Those of a model, its features and its loss stand where the values act, and its task raises them.
"""

from fgsep_jax.config import JOBS, SOURCE_NAMES, TASKS, ConfigError, complete, defaults
from fgsep_jax.metrics import quality
from fgsep_jax.rules import Rules, did_you_mean, section


def validate(config, *, devices=1, hosts=1, trained=False):
    """Checks everything that can be known before anything is compiled or written.

    Args:
      config: an experiment's ConfigDict; it gets what a part's section lacks, see
        `config.complete`.
      devices: number of devices over all hosts.
      hosts: number of processes.
      trained: whether it is of a model that is trained, which needs no loss.

    Raises:
      ConfigError: all that cannot work, one line each.
    """
    from fgsep_jax.tasks import make_task  # brings JAX along

    if config.task not in TASKS or {*config} != {*defaults(config.task)}:
        raise ConfigError(
            f'task = {config.task!r}: is not the one this configuration was made for; use a file'
            f' of configs/ that has it ({", ".join(TASKS)})'
        )
    complete(config, trained=trained)
    checked = {'data.': Rules(config.data), 'training.': Rules(config.training)}
    checked |= {'evaluation.': Rules(config.evaluation), '': Rules(config)}
    _data(checked['data.'], devices, hosts)
    _training(checked['training.'], devices, config.data.batch_size)
    _evaluation(checked['evaluation.'])
    checked[''].rule(0 <= config.seed < 2**32, 'seed', 'must not be negative, and below 2**32')
    problems = [
        (f'{prefix}{key}', text)
        for prefix, rules in checked.items()
        for key, text in rules.problems
    ]
    with section('', problems):
        task = make_task(config)
        with section('data.', problems):
            task.check_data(config)
    if problems:
        separator = '\n  ' if len(problems) > 1 else ' '
        lines = dict.fromkeys(f'{key}{text}' for key, text in problems)
        raise ConfigError(f'this configuration cannot work:{separator}{separator.join(lines)}')


# Values far beyond what is allowed here fill the memory before anything can tell.


def _data(rules, devices, hosts):
    rules.one_of('short', ('pad', 'drop'))
    rules.at_least_one('sample_rate sources batch_size read_threads prefetch_batches')
    rules.at_most(sample_rate=10_000_000, sources=1000)
    rules.positive('segment_seconds')
    rules.not_negative('remix_db speed')
    alone = rules.value('remix') and rules.value('batch_size') == 1
    rules.rule(
        not alone, 'remix', 'deals the sources of a batch, and data.batch_size = 1 has one row'
    )
    rules.at_most(remix_db=60, speed=0.5)
    small = 0 < rules.value('speed') < 1 / 4096  # a step of training.augment
    rules.rule(not small, 'speed', 'must be 0 or at least 1/4096: speeds are in such steps')
    rules.not_negative('adaptation_seconds')
    rules.at_most(segment_seconds=86_400, adaptation_seconds=86_400)
    targets, sources = rules.value('targets').split(','), rules.value('sources')
    rules.rule(
        targets == [''] or all(targets) and len({*targets}) == len(targets),
        'targets',
        'must be different sources of the data set, separated by commas',
    )
    rules.rule(
        targets == [''] or len(targets) == sources,
        'targets',
        f'must be as many as the model estimates, data.sources = {sources}',
    )
    size = rules.value('batch_size')
    divisors = [str(n) for n in range(1, size + 1) if size % n == 0] if 0 < size <= 4096 else []
    on = f'; on {", ".join(divisors)} it can be split' if divisors else ''
    rules.rule(
        size % devices == 0, 'batch_size', f'must be a multiple of the {devices} devices{on}'
    )
    rules.rule(
        devices % hosts == 0,
        'batch_size',
        f'is split evenly, and {devices} devices on {hosts} hosts are not even',
    )


def _training(rules, devices, batch_size):
    rules.at_least_one('epochs plateau_epochs max_nonfinite_steps')
    rules.at_least_one('checkpoint_steps keep_checkpoints log_steps accumulate')
    rules.positive('learning_rate clip_norm plateau_tolerance')
    rules.none_or_more('audio_examples warmup_steps patience_epochs')
    rules.not_negative('minutes weight_decay ema')
    rules.one_of('schedule', ('plateau', 'cosine'))
    rules.rule(rules.value('ema') < 1, 'ema', 'must be below 1')
    rules.rule(
        not (rules.value('schedule') == 'cosine' and rules.value('minutes')),
        'schedule',
        'needs the last step, which training.minutes leaves open: set training.minutes to 0',
    )
    rules.rule(0 < rules.value('plateau_factor') <= 1, 'plateau_factor', 'must be in (0, 1]')
    parts = rules.value('accumulate')
    rules.rule(
        parts < 1 or batch_size % devices or batch_size % (parts * devices) == 0,
        'accumulate',
        f'parts of equal size on {devices} devices cannot be made of data.batch_size ='
        f' {batch_size}',
    )


def _evaluation(rules):
    rules.at_least_one('batch_size filter_taps')
    rules.positive('bucket_seconds')
    rules.not_negative('max_examples listen_examples')
    rules.at_most(batch_size=4096, filter_taps=8192, bucket_seconds=3600)
    rules.at_most(max_examples=10**9, listen_examples=10**6)
    measured = [name for name in rules.value('quality').split(',') if name]
    unknown = [name for name in measured if name not in quality.PACKAGES]
    known = ', '.join(quality.PACKAGES)
    rules.rule(not unknown, 'quality', f'must be of {known}, separated by commas')
    missing = [] if unknown else quality.missing(measured)
    rules.rule(not missing, 'quality', "needs pip install 'fgsep_jax[metrics]'")
    rules.rule(
        all(rules.value('splits').split(',')),
        'splits',
        'must be names of splits, separated by commas',
    )


def check_kind(task, metadata, directory):
    """Raises ConfigError where a data set was made by a job of another task."""
    job = metadata.get('job')
    for other, jobs in JOBS.items():
        if other != task and job in jobs:
            raise ConfigError(
                f'{directory} is a {other} data set, made by the job {job}, and the model is a'
                f' {task} model: it takes data sets made by {", ".join(JOBS[task])}'
                + (', or one source of this with --config.data.targets' * (task == 'speech'))
            )


def check_sources(config, metadata, directory):
    """Which sources of a data set a model estimates.

    Args:
      config: an experiment's ConfigDict.
      metadata: content of the data set's dataset.json.
      directory: where it was read, for the message.

    Returns:
      Their indices; () for all in their order.

    Raises:
      ConfigError: it has no such sources, another number of them, or is made for another task.
    """
    count, job = metadata['sources'], metadata.get('job')
    task = next((task for task, jobs in JOBS.items() if job in jobs), config.task)
    called = [str(s) for s in range(1, count + 1)]
    names = SOURCE_NAMES[task] if len(SOURCE_NAMES[task]) == count else ()
    if SOURCE_NAMES[config.task] and metadata.get('noise'):
        named = ' and '.join(SOURCE_NAMES[config.task])
        raise ConfigError(
            f'{directory} holds noise beside its sources, and the mask of a {config.task} model'
            f' gives {named} alone: take a speech model'
        )
    if not config.data.targets:
        check_kind(config.task, metadata, directory)
        if count != config.data.sources:
            wanted = config.data.sources
            way_out = f'it takes data sets made with --speakers_a_mixture={wanted}'
            if count > wanted:
                some = ','.join((names or called)[:wanted])
                way_out = f'which of them, --config.data.targets={some} would say'
            raise ConfigError(
                f'{directory} holds mixtures of {count} sources, the model separates {wanted};'
                f' {way_out}'
            )
        return ()
    rows = []
    for target in config.data.targets.split(','):
        known = [*names, *called]
        if target not in known:
            raise ConfigError(
                f'data.targets = {config.data.targets!r}: the sources of {directory} are called'
                f' {", ".join(names or called)}{did_you_mean(target, known)}'
            )
        rows.append(known.index(target) % count)
    if len({*rows}) < len(rows):
        raise ConfigError(f'data.targets = {config.data.targets!r}: names a source twice')
    return tuple(rows)


def check_adaptation(config, metadata, directory):
    """Raises ConfigError where the model needs adaptation segments and the data set has none."""
    if config.data.adaptation_seconds and not metadata.get('adaptation'):
        raise ConfigError(
            f'data.adaptation_seconds = {config.data.adaptation_seconds:g}, but the mixtures in'
            f' {directory} have no adaptation segment: use a data set made by `python -m'
            ' data_prep.fgbg` with --adaptation_seconds above 0, or a model without the auxiliary'
            ' network.'
        )


def check_data(config, metadata, directory, splits=()):
    """Holds the data set's metadata against the configuration.

    Args:
      config: an experiment's ConfigDict.
      metadata: content of the data set's dataset.json.
      directory: where it was read, for the message.
      splits: those that will be read.

    Raises:
      ConfigError: another data set, sample rate or number of sources than configured, or a
        split is not there.
    """
    if not config.data.targets:
        check_kind(config.task, metadata, directory)
    for key in ('name', 'sample_rate', *([] if config.data.targets else ['sources'])):
        wanted, found = config.data[key], metadata[key]
        if wanted in ('', found):
            continue
        how = more = ''
        if key == 'sources':
            how = f' --speakers_a_mixture={wanted}' if wanted > 1 else ''
            more = ' Of more sources data.targets says which are meant.' if found > wanted else ''
        raise ConfigError(
            f'data.{key} = {wanted!r}, but the data set in {directory} has {found!r}. Set'
            f' --config.data.{key}={found}, or build another with `python -m data_prep.NAME{how}`.'
            f'{more}'
        )
    check_sources(config, metadata, directory)
    check_adaptation(config, metadata, directory)
    for key in ('remix', 'speed') if 'train' in splits and metadata.get('reverberation') else ():
        if config.data[key]:
            raise ConfigError(
                f'data.{key} = {config.data[key]}: the noise of {directory} holds the reverberation'
                ' of its speakers, which would be left without them; set it to'
                f' {type(config.data[key])()}, or make the data set with --target=reverb'
            )
    missing = [split for split in splits if not metadata['splits'].get(split, {}).get('examples')]
    if missing:
        there = ', '.join(metadata['splits'])
        way_out = (
            'A data set for evaluation alone goes with --mode=evaluate --workdir=RUN'
            ' --data_dirs=DIR; flags like --validation_fraction make the jobs of data_prep split'
            if {'train', 'validation'} & set(missing)
            else 'Choose among them with --splits=NAME, e.g. --splits=validation, or train alone'
            ' with --mode=train'
        )
        raise ConfigError(
            f'the data set in {directory} has no {" and no ".join(missing)} split; it has {there}.'
            f' {way_out}.'
        )
