"""Rules that a configuration must keep, checked before anything compiles or is written."""

import math

from fgsep_jax.config import (
    JOBS,
    SOURCE_NAMES,
    TASKS,
    ConfigError,
    adaptation_samples,
    defaults,
    did_you_mean,
    segment_samples,
)


class _Rules:
    """Collects one line for each rule that a configuration breaks."""

    def __init__(self, config):
        self._config, self.problems = config, []

    def value(self, key):
        """What the configuration has under a key."""
        section, _, name = key.rpartition('.')
        return (self._config[section] if section else self._config)[name]

    def rule(self, holds, key, text):
        """Adds a line on a key unless its rule holds."""
        if not holds:
            self.problems.append(f'{key} = {self.value(key)!r}: {text}')

    def choice(self, key, *known):
        """A value must be one of some."""
        value = self.value(key)
        self.rule(
            value in known,
            key,
            f'must be one of {", ".join(known)}{did_you_mean(str(value), known)}',
        )

    def _each(self, section, names, holds, text):
        """Adds a line for each of the names (spaces between) whose value does not hold."""
        for name in names.split():
            self.rule(holds(self._config[section][name]), f'{section}.{name}', text)

    def at_least_one(self, section, names):
        """Counts that JAX takes: from 1 to below 2**31."""
        self._each(section, names, lambda value: value >= 1, 'must be at least 1')
        self._each(section, names, lambda value: value < 2**31, 'must be below 2**31')

    def at_most(self, section, limits):
        """Values must not be above {name: limit}; NaN is for another rule."""
        for name, most in limits.items():
            self.rule(
                not self._config[section][name] > most,
                f'{section}.{name}',
                f'must be at most {most}',
            )

    def positive(self, section, names):
        """Values must be finite and above 0."""
        self._each(
            section,
            names,
            lambda value: math.isfinite(value) and value > 0,
            'must be a finite number above 0',
        )

    def not_negative(self, section, names):
        """Values must be finite, and 0 or above."""
        self._each(
            section,
            names,
            lambda value: math.isfinite(value) and value >= 0,
            'must be a finite number, not negative',
        )


def validate(config, *, devices=1, hosts=1):
    """Checks everything that can be known before anything is compiled or written.

    Args:
      config: an experiment's ConfigDict.
      devices: number of devices over all hosts.
      hosts: number of processes.

    Raises:
      ConfigError: all that cannot work, one line each.
    """
    known = defaults(config.task) if config.task in TASKS else {}
    if set(known) != set(config.keys()):
        raise ConfigError(
            f'task = {config.task!r}: is not the one this configuration was made for; use a file'
            f' of configs/ that has it ({", ".join(TASKS)})'
        )
    rules = _Rules(config)
    rules.choice('data.short', 'pad', 'drop')
    rules.choice('model.dtype', 'float32', 'bfloat16')
    rules.at_least_one('data', 'sample_rate sources batch_size read_threads prefetch_batches')
    rules.at_least_one(
        'training',
        'epochs plateau_epochs max_nonfinite_steps checkpoint_steps keep_checkpoints log_steps',
    )
    rules.at_least_one('evaluation', 'batch_size filter_taps')
    rules.positive('data', 'segment_seconds')
    rules.positive('training', 'learning_rate clip_norm plateau_tolerance')
    rules.positive('evaluation', 'bucket_seconds')
    rules.not_negative('data', 'adaptation_seconds')
    rules.not_negative('training', 'audio_examples minutes')
    rules.not_negative('evaluation', 'max_examples listen_examples')
    # What is far beyond these fills the memory before anything can tell.
    rules.at_most('data', {'segment_seconds': 86_400, 'adaptation_seconds': 86_400})
    rules.at_most('data', {'sample_rate': 10_000_000, 'sources': 1000})
    rules.at_most(
        'evaluation',
        {
            'batch_size': 4096,
            'filter_taps': 8192,
            'bucket_seconds': 3600,
            'max_examples': 10**9,
            'listen_examples': 10**6,
        },
    )
    targets = config.data.targets.split(',')
    rules.rule(
        not config.data.targets or all(targets) and len({*targets}) == len(targets),
        'data.targets',
        'must be different sources of the data set, separated by commas',
    )
    rules.rule(
        not config.data.targets or len(targets) == config.data.sources,
        'data.targets',
        f'must be as many as the model estimates, data.sources = {config.data.sources}',
    )
    rules.rule(0 <= config.seed < 2**32, 'seed', 'must not be negative, and below 2**32')
    rules.rule(
        0 < config.training.plateau_factor <= 1, 'training.plateau_factor', 'must be in (0, 1]'
    )
    rules.rule(
        all(config.evaluation.splits.split(',')),
        'evaluation.splits',
        'must be names of splits, separated by commas',
    )
    rules.rule(
        config.data.batch_size % devices == 0,
        'data.batch_size',
        f'must be a multiple of the number of devices, {devices}',
    )
    rules.rule(
        devices % hosts == 0,
        'data.batch_size',
        f'is split evenly, and {devices} devices on {hosts} hosts are not even',
    )
    {'speech': _speech, 'foreground': _foreground}[config.task](config, rules)
    if rules.problems:
        separator = '\n  ' if len(rules.problems) > 1 else ' '
        raise ConfigError(
            f'this configuration cannot work:{separator}' + separator.join(rules.problems)
        )


def _speech(config, rules):
    """Rules of Conv-TasNet and its losses."""
    model, loss = config.model, config.loss
    rules.choice('model.encoder', 'linear', 'prelu', 'glu')
    rules.choice('model.norm', 'gln', 'cln', 'frame')
    rules.choice('model.input_norm', 'same', 'gln', 'cln', 'frame', 'none')
    rules.choice('model.prelu', 'shared', 'channel')
    rules.choice('model.padding', 'zeros', 'reflect')
    rules.choice('model.framing', 'padded', 'aligned', 'plain')
    rules.choice('model.encoder_activation', 'none', 'relu')
    rules.choice('model.mask', 'sigmoid', 'relu', 'softmax')
    rules.choice('model.depthwise', 'auto', 'shift', 'conv')
    rules.choice('loss.name', 'si_snr', 'snr')
    rules.choice('loss.power_law_reduction', 'sum', 'frame', 'mean')
    rules.at_least_one(
        'model', 'layers basis window stride bottleneck hidden kernel blocks repeats'
    )
    rules.at_least_one('loss', 'power_law_window power_law_hop')
    rules.positive('model', 'eps')
    rules.positive('loss', 'power_law_exponent eps')
    rules.not_negative('model', 'skip')
    rules.not_negative('loss', 'power_law_weight')
    rules.rule(
        config.data.adaptation_seconds == 0,
        'data.adaptation_seconds',
        'must be 0: Conv-TasNet has no auxiliary network',
    )
    rules.rule(
        model.stride < 1 or model.window % model.stride == 0,
        'model.window',
        f'must be a multiple of model.stride = {model.stride}',
    )
    rules.rule(model.kernel % 2 == 1, 'model.kernel', 'must be odd')
    rules.rule(
        model.encoder != 'linear' or model.layers == 1,
        'model.layers',
        'a linear encoder has one layer; set model.encoder to prelu or glu for more',
    )
    rules.rule(
        model.encoder == 'linear' or model.layers > 1,
        'model.layers',
        f'a deep encoder ({model.encoder}) has at least 2 layers, the strided one counted',
    )
    rules.rule(
        not model.dilated or model.encoder != 'linear',
        'model.dilated',
        'only a deep encoder (model.encoder = prelu or glu) has layers to dilate',
    )
    for key in ('norm', 'input_norm'):
        rules.rule(
            not model.causal or model[key] != 'gln',
            f'model.{key}',
            f'a causal model cannot use a norm over the whole utterance; set model.{key} to cln',
        )
    rules.rule(
        not model.causal or model.padding != 'reflect',
        'model.padding',
        'a causal model cannot see what is mirrored at its end; set model.padding to zeros',
    )
    length, stride = _segment(config), max(model.stride, 1)
    nearest = round(length / stride) * stride / max(config.data.sample_rate, 1)
    rules.rule(
        length >= model.window,
        'data.segment_seconds',
        f'gives {length} samples at {config.data.sample_rate} Hz, fewer than model.window ='
        f' {model.window}',
    )
    rules.rule(
        length % stride == 0,
        'data.segment_seconds',
        f'gives {length} samples, not a multiple of model.stride = {stride}; the nearest'
        f' that does: {nearest}',
    )
    rules.rule(
        loss.power_law_hop < 1 or loss.power_law_window % loss.power_law_hop == 0,
        'loss.power_law_window',
        f'must be a multiple of loss.power_law_hop = {loss.power_law_hop}',
    )


def _foreground(config, rules):
    """Rules of the features and the mask estimator."""
    data, features = config.data, config.features
    rules.choice('features.name', 'log_mel', 'pcen')
    rules.choice('features.mel_scale', 'slaney', 'htk')
    rules.choice('features.pcen_start', 'first', 'librosa')
    rules.choice('loss.normalization', 'sum', 'frame', 'mean', 'energy')
    rules.at_least_one('features', 'window hop bands')
    rules.at_least_one('model', 'layers hidden projection auxiliary_hidden')
    rules.positive(
        'features', 'log_floor log_scale pcen_smoothing pcen_eps pcen_bias pcen_power pcen_scale'
    )
    rules.not_negative('features', 'low high pcen_gain')
    for name in ('log_shift', 'pcen_shift'):
        rules.rule(math.isfinite(features[name]), f'features.{name}', 'must be a finite number')
    nyquist = data.sample_rate / 2
    rules.rule(
        features.high <= nyquist,
        'features.high',
        f'lies above half the sample rate, {nyquist:g} Hz; 0 stands for that',
    )
    rules.rule(
        features.low < (features.high or nyquist),
        'features.low',
        f'must lie below the upper edge, {features.high or nyquist:g} Hz',
    )
    rules.rule(features.pcen_smoothing <= 1, 'features.pcen_smoothing', 'must be in (0, 1]')
    rules.rule(
        features.hop < 1
        or features.window % features.hop == 0
        and features.window >= 3 * features.hop
        and features.window % 2 == 0,
        'features.window',
        f'must be even and a multiple of features.hop = {features.hop}, three times it at least',
    )
    rules.rule(
        features.bands < features.window // 2,
        'features.bands',
        f'must be below half of features.window = {features.window}',
    )
    rules.rule(data.sources == 2, 'data.sources', 'must be 2: the foreground and the background')
    rules.rule(
        not data.targets, 'data.targets', 'must be empty: a mask gives foreground and background'
    )
    rules.rule(_segment(config) >= 1, 'data.segment_seconds', 'holds no sample')
    rules.rule(
        not config.model.auxiliary or _adaptation(config) >= 1,
        'data.adaptation_seconds',
        'holds no sample: the auxiliary network reads an adaptation segment',
    )
    rules.rule(
        config.model.auxiliary or data.adaptation_seconds == 0,
        'data.adaptation_seconds',
        'must be 0: only the auxiliary network (model.auxiliary) reads it',
    )


def _segment(config):
    seconds = config.data.segment_seconds
    return segment_samples(config) if 0 < seconds <= 86_400 else 0


def _adaptation(config):
    return adaptation_samples(config) if 0 < config.data.adaptation_seconds <= 86_400 else 0


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
    if not config.data.targets:
        check_kind(config.task, metadata, directory)
        if count != config.data.sources:
            raise ConfigError(
                f'{directory} holds mixtures of {count} sources, the model separates'
                f' {config.data.sources}; which of them, --config.data.targets='
                f'{",".join((names or called)[: config.data.sources])} would say'
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
    for key, found in (
        ('name', metadata['name']),
        ('sample_rate', metadata['sample_rate']),
        ('sources', metadata['sources']),
    ):
        wanted = config.data[key]
        if wanted not in ('', found) and (key != 'sources' or not config.data.targets):
            raise ConfigError(
                f'data.{key} = {wanted!r}, but the data set in {directory} has {found!r}. Set'
                f' --config.data.{key}={found}, or build another with `python -m data_prep.NAME`.'
                + (' Of more sources data.targets says which are meant.' * (key == 'sources'))
            )
    check_sources(config, metadata, directory)
    check_adaptation(config, metadata, directory)
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
