"""Experiment configuration: defaults, presets, and what may stand after the colon.

`configs/*.py` are one call of `speech` each. `ml_collections.ConfigDict` goes no deeper than
tasks, data.pipeline and training; every leaf below takes keyword arguments.
"""

import difflib
import json
import os

from ml_collections import config_dict

JOBS = ('embedded', 'wsj0_2mix', 'libritts_2mix', 'vctk_2mix', 'librimix', 'folder_2mix')

# Values a preset lays over the paper's. `layers` is a cap, since the linear model has one only.
PRESETS = {
    'paper': {},
    'small': {
        'model.layers': 2, 'model.basis': 128, 'model.bottleneck': 64, 'model.hidden': 128,
        'model.skip': 64, 'model.blocks': 6, 'model.repeats': 2,
        'data.batch_size': 8, 'data.segment_seconds': 1.0,
        'training.epochs': 6,
    },
    'demo': {
        'model.layers': 2, 'model.basis': 64, 'model.bottleneck': 32, 'model.hidden': 64,
        'model.skip': 32, 'model.blocks': 6, 'model.repeats': 2,
        'data.batch_size': 8, 'data.segment_seconds': 1.0,
        'training.epochs': 4, 'training.log_steps': 50,
    },
}


class ConfigError(ValueError):
    """A configuration that cannot work; the message names the key, the value, the rule, the fix."""


def default_speech():
    """Returns the ConfigDict of paper 2's baseline: Conv-TasNet, WSJ0-2mix recipe."""
    return config_dict.ConfigDict({
        'experiment': '',
        'preset': 'paper',
        'task': 'speech',
        'seed': 0,
        'data': {
            'name': '',  # empty: whatever the data set in `dir` calls itself
            'dir': '',  # empty: the embedded corpus
            'sample_rate': 8000,  # Hz
            'sources': 2,
            'segment_seconds': 4.0,
            'batch_size': 16,  # over all devices and hosts
            'short': 'pad',  # mixtures shorter than a segment: 'pad' (masked) or 'drop'
            'read_threads': 4,
            'prefetch_batches': 8,
        },
        'model': {
            'encoder': 'linear',  # linear, prelu, glu
            'layers': 1,  # I
            'dilated': False,  # 1, 2, 4, ... in the encoder, mirrored in the decoder
            'basis': 512,  # N
            'window': 16,  # L
            'stride': 8,  # S
            'bottleneck': 128,  # B
            'hidden': 512,  # H
            'skip': 128,  # Sc; 0 for no skip connections
            'kernel': 3,  # P
            'blocks': 8,  # X
            'repeats': 3,  # R
            'norm': 'gln',  # gln, cln
            'causal': False,
            'mask': 'sigmoid',  # sigmoid, relu, softmax
            'bias': True,
            'eps': 1e-8,
            'depthwise': 'auto',  # auto, shift, conv
            'unused_residual': False,
            'remat': False,
            'dtype': 'float32',  # of the convolutions: float32, bfloat16
        },
        'loss': {
            'name': 'si_snr',  # si_snr, snr
            'eps': 1e-8,
            'power_law_weight': 0.0,  # beta; the paper's augmented objective has 0.01
            'power_law_exponent': 0.5,  # alpha
            'power_law_window': 256,
            'power_law_hop': 64,
            'power_law_reduction': 'frame',  # sum, frame, mean
        },
        'training': {
            'epochs': 100,
            'learning_rate': 1e-3,
            'clip_norm': 7.0,
            'plateau_factor': 0.5,
            'plateau_epochs': 3,
            'plateau_tolerance': 1e-4,  # dB by which the validation loss must fall
            'max_nonfinite_steps': 10,  # in a row, before the run stops
            'checkpoint_steps': 1000,  # besides the one at each epoch's end
            'keep_checkpoints': 3,  # the last ones; the best is kept besides
            'log_steps': 100,
            'audio_examples': 2,
        },
        'evaluation': {
            'batch_size': 8,
            'bucket_seconds': 1.0,  # lengths are padded to a multiple, with exact masking
            'filter_taps': 512,  # of BSS-eval v3
            'max_examples': 0,  # 0: all
        },
    })


def speech(argument, *, experiment, **overrides):
    """Builds the configuration of one experiment of paper 2.

    Args:
      argument: what stands after the colon of `--config=FILE:ARGUMENT`: a preset and/or a data
        set and `seed=N`, separated by commas, e.g. 'small,librimix,seed=3'.
      experiment: name of the experiment, used for the run folder.
      **overrides: section -> {key: value} laid over the defaults before the preset.

    Returns:
      A locked ConfigDict.

    Raises:
      ConfigError: an argument that is neither a preset, nor a data set, nor of a known type.
    """
    config = default_speech()
    config.experiment = experiment
    config.update(overrides)
    parsed = parse_argument(argument)
    config.data.name = parsed['data']
    config.seed = parsed['seed']
    if config.data.name == 'libritts_2mix':
        config.training.epochs = 60  # paper 2, section 4
    return with_preset(config, parsed['preset']).lock()


def with_preset(config, preset):
    """Returns a copy of a configuration with a preset's values laid over it."""
    config = config.copy_and_resolve_references()
    config.preset = preset
    for key, value in PRESETS[preset].items():
        section, name = key.split('.')
        if key == 'model.layers':
            value = min(value, config.model.layers)
        config[section][name] = value
    return config


def parse_argument(argument):
    """Parses 'preset,data set,key=value' into {'preset', 'data', 'seed'}; see `speech`."""
    parsed = {'preset': 'paper', 'data': '', 'seed': 0}
    words = {'preset': tuple(PRESETS), 'data': JOBS}
    seen = set()
    for item in filter(None, (part.strip() for part in (argument or '').split(','))):
        key, separator, value = item.partition('=')
        if not separator:
            key, value = next((k for k, known in words.items() if item in known), ''), item
        if key not in parsed or (key in words and value not in words[key]):
            known = [*PRESETS, *JOBS, 'seed=N']
            raise ConfigError(
                f"config argument '{item}' is not known{did_you_mean(item, known)} Known presets:"
                f" {', '.join(PRESETS)}; data sets: {', '.join(JOBS)}; and seed=N.")
        if key in seen:
            raise ConfigError(f"config argument '{item}': {key} is given twice in '{argument}'.")
        seen.add(key)
        if key == 'seed':
            if not value.isdigit():
                raise ConfigError(f"config argument 'seed={value}': a whole number is needed.")
            value = int(value)
        parsed[key] = value
    return parsed


def embedded_dir():
    """Folder of the embedded corpus: $FGSEP_DATA_DIR/embedded, else data/embedded."""
    return os.path.join(os.environ.get('FGSEP_DATA_DIR') or 'data', 'embedded')


def data_dir(config):
    """Folder of the experiment's data set.

    Raises:
      ConfigError: a data set other than the embedded one is named, and no folder.
    """
    if config.data.dir:
        return config.data.dir
    if config.data.name in ('', 'embedded'):
        return embedded_dir()
    raise ConfigError(
        f'data.name = {config.data.name!r} but data.dir is empty. Build it with `python -m'
        f' data_prep.{config.data.name} --input_dir=... --output_dir=DIR`, then give'
        ' --config.data.dir=DIR.')


def segment_samples(config):
    """Length of a training segment in samples."""
    return round(config.data.segment_seconds * config.data.sample_rate)


def to_json(config):
    """Canonical JSON text of a ConfigDict: sorted keys, two spaces."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'


def from_json(text):
    """Inverse of `to_json`; a locked ConfigDict."""
    return config_dict.ConfigDict(json.loads(text)).lock()


def did_you_mean(word, known):
    """Returns "; did you mean 'x'?" for the nearest known word, else a full stop."""
    close = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean '{close[0]}'?" if close else '.'
