"""Rules that a configuration must keep, checked before anything compiles or is written."""

import math

from fgsep_jax.config import ConfigError, did_you_mean, segment_samples


def validate(config, *, devices=1, hosts=1):
    """Checks everything that can be known before anything is compiled or written.

    Args:
      config: an experiment's ConfigDict.
      devices: number of devices over all hosts.
      hosts: number of processes.

    Raises:
      ConfigError: all that cannot work, one line each.
    """
    data, model, loss, training = config.data, config.model, config.loss, config.training
    problems = []

    def rule(holds, key, text):
        if not holds:
            section, _, name = key.rpartition('.')
            value = (config[section] if section else config)[name]
            problems.append(f'{key} = {value!r}: {text}')

    def choice(key, known):
        section, name = key.split('.')
        value = config[section][name]
        rule(value in known, key,
             f"must be one of {', '.join(map(str, known))}{did_you_mean(str(value), known)}")

    choice('data.short', ('pad', 'drop'))
    choice('model.encoder', ('linear', 'prelu', 'glu'))
    choice('model.norm', ('gln', 'cln'))
    choice('model.mask', ('sigmoid', 'relu', 'softmax'))
    choice('model.depthwise', ('auto', 'shift', 'conv'))
    choice('model.dtype', ('float32', 'bfloat16'))
    choice('loss.name', ('si_snr', 'snr'))
    choice('loss.power_law_reduction', ('sum', 'frame', 'mean'))
    for section, names in (
            ('data', 'sample_rate sources batch_size read_threads prefetch_batches'),
            ('model', 'layers basis window stride bottleneck hidden kernel blocks repeats'),
            ('training', 'epochs plateau_epochs max_nonfinite_steps checkpoint_steps'
                         ' keep_checkpoints log_steps'),
            ('loss', 'power_law_window power_law_hop'),
            ('evaluation', 'batch_size filter_taps')):
        for name in names.split():
            rule(config[section][name] >= 1, f'{section}.{name}', 'must be at least 1')
    for key in ('data.segment_seconds', 'training.learning_rate', 'training.clip_norm',
                'training.plateau_tolerance', 'loss.power_law_exponent', 'model.eps', 'loss.eps',
                'evaluation.bucket_seconds'):
        section, name = key.split('.')
        value = config[section][name]
        rule(math.isfinite(value) and value > 0, key, 'must be a finite number above 0')
    for key in ('model.skip', 'loss.power_law_weight', 'training.audio_examples',
                'evaluation.max_examples'):
        section, name = key.split('.')
        rule(config[section][name] >= 0, key, 'must not be negative')
    rule(config.seed >= 0, 'seed', 'must not be negative')
    rule(0 < training.plateau_factor <= 1, 'training.plateau_factor', 'must be in (0, 1]')
    rule(model.stride < 1 or model.window % model.stride == 0, 'model.window',
         f'must be a multiple of model.stride = {model.stride}')
    rule(model.kernel % 2 == 1, 'model.kernel', 'must be odd')
    rule(model.encoder != 'linear' or model.layers == 1, 'model.layers',
         'a linear encoder has one layer; set model.encoder to prelu or glu for more')
    rule(model.encoder == 'linear' or model.layers > 1, 'model.layers',
         f'a deep encoder ({model.encoder}) has at least 2 layers, the strided one counted')
    rule(not model.dilated or model.encoder != 'linear', 'model.dilated',
         'only a deep encoder (model.encoder = prelu or glu) has layers to dilate')
    rule(not model.causal or model.norm == 'cln', 'model.norm',
         'a causal model cannot use a norm over the whole utterance; set model.norm to cln')
    seconds = data.segment_seconds
    length = segment_samples(config) if math.isfinite(seconds) and seconds > 0 else 0
    stride = max(model.stride, 1)
    nearest = round(length / stride) * stride / max(data.sample_rate, 1)
    rule(length >= model.window, 'data.segment_seconds',
         f'gives {length} samples at {data.sample_rate} Hz, fewer than model.window ='
         f' {model.window}')
    rule(length % stride == 0, 'data.segment_seconds',
         f'gives {length} samples, not a multiple of model.stride = {stride}; the nearest that'
         f' does: {nearest}')
    rule(data.batch_size % devices == 0, 'data.batch_size',
         f'must be a multiple of the number of devices, {devices}')
    rule(devices % hosts == 0, 'data.batch_size',
         f'is split evenly, and {devices} devices on {hosts} hosts are not even')
    rule(loss.power_law_hop < 1 or loss.power_law_window % loss.power_law_hop == 0,
         'loss.power_law_window',
         f'must be a multiple of loss.power_law_hop = {loss.power_law_hop}')
    if problems:
        raise ConfigError('this configuration cannot work:\n  ' + '\n  '.join(problems))


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
    for key, found in (('name', metadata['name']), ('sample_rate', metadata['sample_rate']),
                       ('sources', metadata['sources'])):
        wanted = config.data[key]
        if wanted not in ('', found):
            raise ConfigError(
                f'data.{key} = {wanted!r}, but the data set in {directory} has {found!r}. Set'
                f' --config.data.{key}={found}, or build another with `python -m data_prep.NAME`.')
    missing = [split for split in splits if not metadata['splits'].get(split, {}).get('examples')]
    if missing:
        raise ConfigError(
            f"the data set in {directory} has no {' and no '.join(missing)} split; it has"
            f" {', '.join(metadata['splits'])}. Data sets for evaluation only go with"
            ' --mode=evaluate --data_dirs=DIR; training without a test split with --mode=train.')
