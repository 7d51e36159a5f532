"""Experiment configuration: how one is made, and what may stand after the colon.

`configs/*.py` are one call of `speech` or `foreground` each, on top of `defaults.py`.
`ml_collections.ConfigDict` goes no deeper than tasks, data.pipeline and training; every leaf
below takes keyword arguments.
"""

import copy
import difflib
import json
import os
import re

from ml_collections import config_dict

from fgsep_jax import defaults


class ConfigError(ValueError):
    """A configuration that cannot work; the message names the key, the value, the rule, the fix."""


def speech(argument, *, experiment, **sections):
    """Configuration of one experiment of paper 2; see `make`."""
    return make('speech', argument, experiment=experiment, **sections)


def foreground(argument, *, experiment, **sections):
    """Configuration of one experiment of paper 1; see `make`."""
    return make('foreground', argument, experiment=experiment, **sections)


def make(task, argument, *, experiment, **sections):
    """Builds the configuration of one experiment.

    Args:
      task: a key of `defaults.DEFAULTS`.
      argument: what stands after the colon of `--config=FILE:ARGUMENT`: a preset and/or a data
        set and `seed=N`, separated by commas, e.g. 'small,librimix,seed=3'.
      experiment: name of the experiment, used for the run folder.
      **sections: section -> {key: value} laid over the defaults before the preset.

    Returns:
      A locked ConfigDict.

    Raises:
      ConfigError: an argument that is neither a preset, nor a data set, nor of a known type.
    """
    config = config_dict.ConfigDict(copy.deepcopy(defaults.DEFAULTS[task]))
    config.experiment = experiment
    config.update(sections)
    parsed = parse_argument(argument, task=task)
    config.data.name = parsed['data']
    config.seed = parsed['seed']
    _lay_over(config, defaults.OF_DATA_SETS.get(config.data.name, {}))
    return with_preset(config, parsed['preset']).lock()


def with_preset(config, preset):
    """Returns a copy of a configuration with a preset's values laid over it."""
    config = config.copy_and_resolve_references()
    config.preset = preset
    _lay_over(config, defaults.PRESETS[config.task][preset])
    return config


def _lay_over(config, values):
    plain = defaults.DEFAULTS[config.task]['model']
    for key, value in values.items():
        section, name = key.split('.')
        # What sets the experiment apart from the plain model sets it apart at every size.
        if key == 'model.layers' and config.task == 'speech':
            value = min(value + config.model.dilated, config.model.layers)
        elif key == 'model.basis':
            value = value * config.model.basis // plain['basis']
        elif key == 'model.repeats':
            value += config.model.repeats - plain['repeats']
        config[section][name] = value


def parse_argument(argument, *, task='speech'):
    """Parses 'preset,data set,key=value' into {'preset', 'data', 'seed'}; see `make`."""
    parsed = {'preset': 'paper', 'data': '', 'seed': 0}
    presets, jobs = tuple(defaults.PRESETS[task]), defaults.JOBS[task]
    words = {'preset': presets, 'data': jobs}
    seen = set()
    for item in filter(None, (part.strip() for part in (argument or '').split(','))):
        key, separator, value = item.partition('=')
        if not separator:
            key, value = next((k for k, known in words.items() if item in known), ''), item
        if key not in parsed or (key in words and value not in words[key]):
            known = [*presets, *jobs, 'seed=N']
            raise ConfigError(
                f"config argument '{item}' is not known{did_you_mean(item, known)} Known presets:"
                f' {", ".join(presets)}; data sets: {", ".join(jobs)}; and seed=N.'
            )
        if key in seen:
            raise ConfigError(f"config argument '{item}': {key} is given twice in '{argument}'.")
        seen.add(key)
        if key == 'seed':
            if not value.isdigit():
                raise ConfigError(f"config argument 'seed={value}': a whole number is needed.")
            value = int(value)
        parsed[key] = value
    return parsed


def embedded_dir(task='speech'):
    """Folder of a task's embedded data set, in $FGSEP_DATA_DIR or else in data/."""
    return os.path.join(os.environ.get('FGSEP_DATA_DIR') or 'data', defaults.EMBEDDED[task])


def data_dir(config):
    """Folder of the experiment's data set.

    Raises:
      ConfigError: a data set other than the embedded one is named, and no folder.
    """
    if config.data.dir:
        return config.data.dir
    if config.data.name in ('', defaults.EMBEDDED[config.task]):
        return embedded_dir(config.task)
    raise ConfigError(
        f'data.name = {config.data.name!r} but data.dir is empty. Build it with `python -m'
        f' data_prep.{config.data.name} --input_dir=... --output_dir=DIR`, then give'
        ' --config.data.dir=DIR.'
    )


def adaptation_samples(config):
    """Length of the adaptation segment in samples, 0 for none."""
    return round(config.data.adaptation_seconds * config.data.sample_rate)


def segment_samples(config):
    """Length of a training segment in samples."""
    return round(config.data.segment_seconds * config.data.sample_rate)


def to_json(config):
    """Canonical JSON text of a ConfigDict: sorted keys, two spaces."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'


def from_json(text):
    """Inverse of `to_json`; a locked ConfigDict. Keys that the text lacks get their default."""
    content = json.loads(text)
    config = config_dict.ConfigDict(copy.deepcopy(defaults.DEFAULTS[content['task']]))
    config.update(content)
    return config.lock()


def mistake(error):
    """What a mistake on the command line, as absl and ml_collections report it, means to its maker.

    Args:
      error: KeyError or AttributeError of an unknown key, else what loading the file raised.

    Returns:
      A ConfigError of one clear line.
    """
    text = str(error).replace('\\n', ' ')
    if isinstance(error, (KeyError, AttributeError)):
        words = re.findall(r'[\w.]+', text)
        if len(words) > 4:
            return ConfigError(f'no configuration key {words[0]}; did you mean {words[4]}?')
        return ConfigError(f'no configuration key {words[0]}{_where_it_is(words[0])}')
    if missing := re.search(r"No such file or directory: '([^']+)'", text):
        folder = os.path.dirname(missing[1]) or '.'
        known = (
            [
                os.path.join(folder, name)
                for name in sorted(os.listdir(folder))
                if name.endswith('.py')
            ]
            if os.path.isdir(folder)
            else []
        )
        return ConfigError(f'there is no file {missing[1]}{did_you_mean(missing[1], known)}')
    if wrong := re.search(r"flag --([\w.]+)=(.*?): \('Non-boolean", text):
        return ConfigError(f'{wrong[1]}={wrong[2]}: must be True or False')
    if wrong := re.search(r'flag --([\w.]+)=(.*?): invalid literal for int', text):
        return ConfigError(f'{wrong[1]}={wrong[2]}: must be a whole number')
    return ConfigError(text.split('ConfigError: ')[-1].strip())


def _where_it_is(leaf):
    """What is known of a key that stands in another section, or in the other task's."""
    found = {}
    for task, sections in defaults.DEFAULTS.items():
        for section, keys in sections.items():
            for key in difflib.get_close_matches(leaf, keys if isinstance(keys, dict) else [], n=1):
                found.setdefault(f'{section}.{key}', []).append(task)
    for name, tasks in found.items():
        if len(tasks) < len(defaults.DEFAULTS):
            return f'; {name} is one where the task is {tasks[0]}'
        return f'; did you mean {name}?'
    return ' there'


def did_you_mean(word, known):
    """Returns "; did you mean 'x'?" for the nearest known word, else a full stop."""
    close = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean '{close[0]}'?" if close else '.'
