"""Experiment configuration: how one is made, read, changed; what may stand after the colon.

Every value of an experiment stands in its file of `configs/` or in the one base that this imports,
`base_speech.py` or `base_foreground.py`. `ml_collections.ConfigDict` goes no deeper than tasks,
data.pipeline and training; every leaf below takes keyword arguments.
"""

import ast
import copy
import dataclasses
import difflib
import functools
import importlib
import importlib.machinery
import json
import os
import signal
import traceback
import types

from ml_collections import config_dict

from fgsep_jax import command_line, files as files_lib, registry
from fgsep_jax.names import shown
from fgsep_jax.rules import ConfigError, RuleError, did_you_mean

# Data sets that a task can train on: the jobs of `data_prep`, each as its data set is called; the
# first is built where none is given.
JOBS = {
    'speech': (
        'embedded',
        'wsj0_2mix',
        'libritts_2mix',
        'vctk_2mix',
        'librimix',
        'folder_2mix',
        'wham',
    ),
    'foreground': ('embedded_fgbg', 'fgbg'),
}
TASKS = tuple(JOBS)
OF_FOLDERS = {'speech': 'folder_2mix', 'foreground': 'fgbg'}  # the jobs for anybody's recordings
EMBEDDED = {task: jobs[0] for task, jobs in JOBS.items()}
# What the sources of a task's data sets are called, in their order; others have numbers from 1 on.
SOURCE_NAMES = {'speech': (), 'foreground': ('foreground', 'background')}
SIZES = ('paper', 'narrow', 'small', 'demo')
# Sections whose keys are those of the part that `name` in them chooses: see `registry`.
PARTS = {
    'speech': {
        'model.encoder': ('fgsep_jax.models.encoders', 'ENCODERS'),
        'model.separator': ('fgsep_jax.models.separators', 'SEPARATORS'),
        'loss': ('fgsep_jax.losses.si_snr', 'LOSSES'),
    },
    'foreground': {},
}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What stands after the colon of --config=FILE:ARGUMENT; see `parse`."""

    preset: str
    data: str
    seed: int

    def size(self, **values):
        """The value of the chosen size, of one for each of `SIZES`."""
        if values.keys() != {*SIZES}:
            raise ConfigError(f'size({", ".join(values)}): needs a value for each of {SIZES}')
        return values[self.preset]


def parse(argument, task):
    """Reads what stands after the colon of --config=FILE:ARGUMENT.

    Args:
      argument: a size and/or a data set and `seed=N`, separated by commas, e.g.
        'small,librimix,seed=3'.
      task: one of `TASKS`.

    Returns:
      A Chosen.

    Raises:
      ConfigError: a word that is neither a size, nor a data set of the task, nor a seed.
    """
    parsed = {'preset': SIZES[0], 'data': '', 'seed': 0}
    jobs = JOBS[task]
    words = {'preset': SIZES, 'data': jobs}
    seen = set()
    for item in filter(None, (part.strip() for part in (argument or '').split(','))):
        key, separator, value = item.partition('=')
        if not separator:
            key, value = next((k for k, choices in words.items() if item in choices), ''), item
        if key not in parsed or (key in words and value not in words[key]):
            near = did_you_mean(item, [*SIZES, *jobs, 'seed=N'])
            raise ConfigError(
                f"config argument '{item}' is not known{near}"
                f' Known presets: {", ".join(SIZES)}; data sets: {", ".join(jobs)}; and seed=N.'
            )
        if key in seen:
            raise ConfigError(f"config argument '{item}': {key} is given twice in '{argument}'.")
        seen.add(key)
        if key == 'seed':
            if not (value.isascii() and value.isdecimal() and len(value) <= 10):
                raise ConfigError(
                    f"config argument 'seed={value}': a whole number below 2**32 is needed."
                )
            value = int(value)
        parsed[key] = value
    return Chosen(**parsed)


def make(**sections):
    """A ConfigDict of all values of an experiment; `load` locks it, `complete` fills it up."""
    return config_dict.ConfigDict(sections)


def base(task, **sections):
    """The paper's plain configuration of a task, with {section: {key: value}} laid over it."""
    path = os.path.join(shipped_folder(), f'base_{task}.py')
    config, _ = _module(path).base()
    config.update(sections)
    return config.lock()


@functools.cache
def defaults(task):
    """The paper's plain configuration as nested dicts, not to be changed: which keys there are, of
    which types, but for the parts of `PARTS` that another name chooses."""
    return _module(os.path.join(shipped_folder(), f'base_{task}.py')).base()[0].to_dict()


def pattern(content, *, parts=True, trained=False):
    """Which keys a configuration has, of which types, by what its parts are.

    Args:
      content: of the configuration, nested dicts.
      parts: whether parts that the base does not have are looked up, which brings JAX along; else
        their sections are taken as they are.
      trained: whether a loss that there is not is taken as it is, too: only training needs one.

    Returns:
      Nested dicts with a default for each key.

    Raises:
      ConfigError: parts have names that are in no registry.
    """
    plain = defaults(content['task'])
    made, unknown = copy.deepcopy(plain), []
    for path, (module, registered) in PARTS[content['task']].items():
        sections = path.split('.')
        given, before = _section(content, sections), _section(plain, sections)
        name = given.get('name', before['name'])
        if name == before['name'] or not isinstance(name, str):
            continue
        part = given
        if parts:
            named = getattr(importlib.import_module(module), registered)
            theirs = [key for key, value in plain['model'].items() if not isinstance(value, dict)]
            not_own = theirs if path.startswith('model.') else ['valid', 'sample_rate']
            try:
                keys = registry.keywords(registry.find(named, name), not_own)
                of_before = registry.keywords(named[before['name']], not_own)
                shared = {key: value for key, value in before.items() if key not in of_before}
                part = {**shared, 'name': name, **keys}
            except RuleError as error:
                unknown += [] if trained and path == 'loss' else [f'{path}.{error}']
        _section(made, sections[:-1])[sections[-1]] = part
    if unknown:
        raise ConfigError('; '.join(unknown))
    return made


def modules(config):
    """Files outside of the package that registered parts of a configuration, as far as known."""
    found = []
    for path, (module, registered) in PARTS[config.task].items():
        named = getattr(importlib.import_module(module), registered)
        found.append(named.files.get(_section(config, path.split('.')).get('name')))
    return [*dict.fromkeys(filter(None, found))]


def check_parts(config, files, *, where):
    """Raises ConfigError where parts of a trained model are in no registry.

    Args:
      config: ConfigDict.
      files: that registered them where it was trained, as far as known.
      where: what holds the model, for the message.
    """
    try:
        pattern(config.to_dict(), trained=True)
    except ConfigError as error:
        raise ConfigError(f'{where}: {registry.with_files(str(error), files)}') from error


def complete(config, *, trained=False):
    """Gives a ConfigDict the keys that its parts have and their sections lack; see `pattern`.

    Raises:
      ConfigError: a part that there is not, a key that none has, a value of another type.
    """
    content = config.to_dict()
    keys = pattern(content, trained=trained)
    unknown, wrong = files_lib.misfits(content, keys)
    wrong += [f'there is no key {key}{_keys_of(content, keys, key)}' for key in unknown]
    if wrong:
        raise ConfigError('; '.join(wrong))
    _set(config, filled(content, keys))


def _keys_of(content, tree, key):
    """What a part has where a key is none of its keys; '' for a key elsewhere."""
    section = key.rpartition('.')[0]
    if section not in PARTS[content['task']]:
        return ''
    part = _section(tree, section.split('.'))
    return f': {part["name"]} has {", ".join(name for name in part if name != "name")}'


def filled(content, keys):
    """The content of a config.json with the default of each key that it lacks.

    Args:
      content: nested dicts.
      keys: as of `pattern`.
    """
    made = dict(keys)
    for key, value in content.items():
        both = isinstance(value, dict) and isinstance(keys.get(key), dict)
        made[key] = filled(value, keys[key]) if both else value
    return made


# Of keys by their first letters: whether anything reads them, by {key: value} of all, and what they
# need else.
_READ = (
    (
        ('training.plateau_factor', 'training.plateau_epochs'),
        lambda flat: flat['training.schedule'] == 'plateau',
        'training.schedule=plateau',
    ),
    (
        'training.plateau_tolerance',
        lambda flat: flat['training.schedule'] == 'plateau' or flat['training.patience_epochs'],
        'training.schedule=plateau or patience_epochs',
    ),
    ('data.remix_db', lambda flat: flat['data.remix'], 'data.remix=True'),
    (
        'loss.power_law_',
        lambda flat: flat.get('loss.power_law_weight'),
        'loss.power_law_weight',
    ),
    ('features.pcen_', lambda flat: flat['features.name'] == 'pcen', 'features.name=pcen'),
    ('features.log_', lambda flat: flat['features.name'] == 'log_mel', 'features.name=log_mel'),
)


def without_effect(flat):
    """{key: what it needs} of those keys of a configuration, {key: value}, that nothing reads."""
    return {
        key: needs
        for start, is_read, needs in _READ
        for key in flat
        if key.startswith(start) and not is_read(flat)
    }


def unread(config):
    """Keys that somebody has set and that another one's value leaves without effect, as sentences.
    A run with them goes on nevertheless, and is evaluated."""
    usual, now = (files_lib.flatten(of) for of in (defaults(config.task), config.to_dict()))
    return [
        f'{key} = {now[key]!r} does nothing without {needs}'
        for key, needs in without_effect(now).items()
        if now[key] != usual.get(key, now[key])
    ]


def resized(config, preset):
    """The same experiment at another size, with all that was changed in it.

    Returns:
      A ConfigDict, or None where the file that made it is not at hand.
    """
    path = _LOADED.get(config.experiment, config.experiment)
    # Of a data set the file may have other values; one of another name is none that it knows.
    data = config.data.name if config.data.name in JOBS[config.task] else ''
    try:
        before, after = (load(f'{path}:{size},{data}').unlock() for size in (config.preset, preset))
    except ConfigError:
        return None
    plain = files_lib.flatten(before.to_dict())
    flat = files_lib.flatten(config.to_dict())
    put(after, {key: value for key, value in flat.items() if value != plain.get(key)})
    return after.lock()


def put(config, values):
    """Sets {'section.key': value} in a ConfigDict; a part of another name gets its own keys."""
    tree = config.to_dict()
    for key in sorted(values, key=lambda key: not key.endswith('.name')):
        *sections, name = key.split('.')
        section = tree
        for above in sections:
            section = section[above]
        section[name] = values[key]
        if '.'.join(sections) in PARTS.get(tree['task'], {}):
            keys = _section(pattern(tree), sections)
            for old in [old for old in section if old not in keys]:
                del section[old]
            section.update({key: value for key, value in keys.items() if key not in section})
    _set(config, tree)


def _set(config, tree):
    with config.unlocked():
        for key, value in tree.items():
            config[key] = config_dict.ConfigDict(value) if isinstance(value, dict) else value


def _section(tree, names):
    """A section of nested dicts, {} where there is none."""
    for name in names:
        tree = tree.get(name)
        if not isinstance(tree, (dict, config_dict.ConfigDict)):
            return {}
    return tree


def _folders():
    """Where configurations are: here, beside the package in its repository, or installed in it."""
    package = os.path.dirname(os.path.abspath(__file__))
    return [os.path.join(top, 'configs') for top in ('', os.path.dirname(package), package)]


def shipped_folder():
    """The folder of the project's own configurations."""
    return next(filter(os.path.isdir, _folders()[1:]), _folders()[-1])


_LOADED = {}  # {experiment: file that made its configuration}


def _module(path):
    """Runs a configuration's file, which may import others of its folder, or ours, by name."""
    folders = [os.path.dirname(os.path.abspath(path)), shipped_folder()]
    loader = importlib.machinery.SourceFileLoader('fgsep_jax_config', path)
    module = types.ModuleType(loader.name)
    module.__file__ = path
    with registry.importing_from(folders):
        loader.exec_module(module)
    return module


def files():
    """The configurations at hand, {path: first line of the file's docstring}."""
    for folder in _folders():
        found = {}
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for path in (os.path.join(folder, name) for name in names if name.endswith('.py')):
            try:
                tree = ast.parse(files_lib.read_bytes(path, ValueError))
            except (ValueError, SyntaxError):
                continue
            if any(getattr(node, 'name', '') == 'get_config' for node in tree.body):
                found[path] = (ast.get_docstring(tree) or '').partition('\n')[0]
        if found:
            return found
    return {}


def needed():
    """The ConfigError of a command line without --config: it lists the configurations."""
    known = files()
    width = max(map(len, known), default=0)
    lines = [f'  {path:{width}}  {about}' for path, about in known.items()]
    presets = ', '.join(f':{name}' for name in SIZES)
    return ConfigError(
        '--config=FILE is needed, e.g. --config=convtasnet_glu:demo, or a folder of recordings;'
        ' there are\n'
        + '\n'.join(lines)
        + f'\nand behind each a size ({presets}; the first if none is given), seed=N, or both:'
        ' :demo,seed=1'
    )


def load(argument):
    """The configuration that a file makes.

    Args:
      argument: FILE, or FILE:ARGUMENT with what its `get_config` takes, see `parse`; the name of
        one of `files` will do, e.g. 'convtasnet_glu:demo'.

    Returns:
      A locked ConfigDict.

    Raises:
      ConfigError: there is no such file, or it makes no configuration.
    """
    path, _, rest = argument.partition(':')
    try:
        path = command_line.local_path(path)
    except command_line.FlagError as error:
        raise ConfigError(f'--config={argument}: {error}') from error
    if not os.path.isfile(path):
        path = _by_name(path)
    try:
        module = _module(path)
        if not hasattr(module, 'get_config'):
            raise ConfigError(
                f'{path} has no function get_config, which makes a configuration; a file of parts'
                f' is imported by one, or named by {registry.NAME}={path}'
            )
        config = module.get_config(*([rest] if rest else []))
    except ConfigError:
        raise
    except BaseException as error:  # whatever a file of a user's own may raise, or leave by
        # In a program of ours Ctrl-C is no exception (see `stopping`), elsewhere it is this one.
        handler = signal.getsignal(signal.SIGINT)
        if isinstance(error, KeyboardInterrupt) and handler is signal.default_int_handler:
            raise
        lines = [
            one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == path
        ]
        line = getattr(error, 'lineno', None) or (lines or [None])[-1]
        where = f'{path}, line {line}' if line else path
        try:
            said = f': {shown(error)}' if str(error) else ''
        except Exception:  # its own __str__
            said = ''
        raise ConfigError(f'{where}: {type(error).__name__}{said}') from error
    if not isinstance(config, config_dict.ConfigDict) or config.get('task') not in TASKS:
        raise ConfigError(
            f'{path}: get_config must return a configuration as configs/base_speech.py or'
            ' base_foreground.py make it'
        )
    content = config.to_dict()
    keys = pattern(content, parts=False)
    unknown, wrong = files_lib.misfits(content, keys)
    wrong += [f'{key} is missing' for key in files_lib.misfits(keys, content)[0]]
    wrong += [f'there is no key {key}' for key in unknown]
    if wrong:
        raise ConfigError(f'{path}: get_config returns a wrong configuration: {"; ".join(wrong)}')
    _LOADED[config.experiment] = path
    return config.lock()


def _by_name(path):
    """The file of a configuration that is given by its name, or as configs/NAME.py from elsewhere.

    Raises:
      ConfigError: there is none.
    """
    folder, name = os.path.split(path)
    known = {os.path.basename(found).removesuffix('.py'): found for found in files()}
    if folder in ('', 'configs') and name.removesuffix('.py') in known:
        return known[name.removesuffix('.py')]
    near = difflib.get_close_matches(os.path.splitext(name)[0], known, n=3)
    there = f'the configurations are {", ".join(known)}'
    if near:
        there = f'did you mean {" or ".join(known[one] for one in near)}?'
    elif not known:
        there = 'the configurations are in the folder configs/ of the repository'
    what = f'{path} is a folder' if os.path.isdir(path) else f'there is no file {path}'
    raise ConfigError(f'{what}; {there}')


def split_overrides(argv):
    """Takes --config.KEY=VALUE out of a command line.

    Returns:
      What is left, all behind `--` too, and {key: text}; that of a key without a value is 'True'.
    """
    rest, overrides, words = [], {}, list(argv)
    while words:
        word = words.pop(0)
        if word == '--':
            return [*rest, word, *words], overrides
        if not word.startswith('--config.'):
            rest.append(word)
            continue
        key, separator, text = word.removeprefix('--config.').partition('=')
        if not separator:
            text = words.pop(0) if words and not words[0].startswith('--') else 'True'
        overrides[key] = text
    return rest, overrides


def override(config, overrides):
    """Sets values as they are typed on the command line.

    Args:
      config: ConfigDict, changed in place.
      overrides: {'section.key': text}.

    Raises:
      ConfigError: there is no such key, or the text is no value of its type.
    """
    for key, text in sorted(overrides.items(), key=lambda item: not item[0].endswith('.name')):
        *sections, name = key.split('.')
        is_of_part = '.'.join(sections) in PARTS[config.task]
        if is_of_part and name not in _section(config, sections):
            complete(config)  # a key that the file left to the part
        parent = _section(config, sections)
        if name not in parent:
            where = _where_it_is(config, key)
            if is_of_part:
                has = _keys_of(config.to_dict(), config.to_dict(), key)
                where = did_you_mean(name, parent).rstrip('.') + has
            raise ConfigError(f'no configuration key {key}{where}')
        if isinstance(parent[name], config_dict.ConfigDict):
            raise ConfigError(
                f'--config.{key}={text}: {key} is a section; its keys are'
                f' {", ".join(f"{key}.{below}" for below in parent[name])}'
            )
        try:
            value = command_line.value(type(parent[name]), text)
        except command_line.FlagError as error:
            raise ConfigError(f'--config.{key}={text}: {error}') from None
        if is_of_part and name == 'name':
            put(config, {key: value})
        else:
            parent[name] = value


def _where_it_is(config, key):
    """What is known of a key that is misspelt, in another section, or the other task's."""
    tasks = sorted(TASKS, key=lambda task: task != config.task)
    for cutoff in (1.0, 0.6):  # the very name somewhere else, before one that is like it
        for task in tasks:
            known = _keys(config.to_dict() if task == config.task else defaults(task))
            for word in (key, key.rpartition('.')[2]):
                if close := difflib.get_close_matches(word, known, n=1, cutoff=cutoff):
                    name = known[close[0]]
                    return (
                        f'; did you mean {name}?'
                        if task == config.task
                        else f'; {name} is one where the task is {task}'
                    )
    return '; --show_config prints them all'


def _keys(tree):
    """{'name', 'section.name', or all of it: 'section.part.name'} of nested dicts."""
    keys = {}
    for key in filter(lambda key: '.' in key, files_lib.flatten(tree)):
        first, last = key.partition('.')[0], key.rpartition('.')[2]
        keys |= {last: key, f'{first}.{last}': key, key: key}
    return keys


def known_keys():
    """'section.name' of every key that the base of some task has."""
    return sorted({key for task in TASKS for key in _keys(defaults(task)).values()})


def embedded_dir(task='speech'):
    """Folder of a task's embedded data set, in $FGSEP_DATA_DIR or else in data/.

    Raises:
      ConfigError: the variable is no path.
    """
    folder = _path('FGSEP_DATA_DIR', os.environ.get('FGSEP_DATA_DIR') or 'data')
    return os.path.join(folder, EMBEDDED[task])


def data_dir(config):
    """Folder of the experiment's data set.

    Raises:
      ConfigError: a data set other than the embedded one is named, and no folder.
    """
    if config.data.dir:
        return _path('data.dir', config.data.dir)
    if config.data.name in ('', EMBEDDED[config.task]):
        return embedded_dir(config.task)
    raise ConfigError(
        f'data.name = {config.data.name!r} but data.dir is empty. Build it with `python -m'
        f' data_prep.{config.data.name} --input_dir=... --output_dir=DIR`, then give'
        ' --config.data.dir=DIR.'
    )


def _path(key, text):
    try:
        return command_line.path(text)
    except command_line.FlagError as error:
        raise ConfigError(f'{key} = {text!r}: {error}') from error


def adaptation_samples(config):
    """Length of the adaptation segment in samples, 0 for none."""
    return round(config.data.adaptation_seconds * config.data.sample_rate)


def segment_samples(config):
    """Length of a training segment in samples."""
    return round(config.data.segment_seconds * config.data.sample_rate)


def text(config):
    """A configuration as lines 'section.key = value', in the order of the keys."""
    return '\n'.join(
        f'{key} = {value!r}' for key, value in files_lib.flatten(config.to_dict()).items()
    )


def to_json(config, *, digest=False):
    """Canonical JSON text of a ConfigDict, sorted keys, two spaces; with its digest if asked."""
    content = config.to_dict()
    content = files_lib.with_digest(content) if digest else content
    return json.dumps(content, indent=2, sort_keys=True) + '\n'


def from_json(data, *, where='the configuration'):
    """Inverse of `to_json`; a locked ConfigDict. Keys that the text lacks get their default.

    Args:
      data: text or bytes.
      where: name of the file, for the message.

    Raises:
      ConfigError: it is damaged, or of a version that has other keys.
    """
    data = data.encode() if isinstance(data, str) else data
    content = files_lib.parse_json(data, ConfigError, where=where, halves=True)
    task = content.get('task')
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(f'{where}: task is {task!r:.60}, must be one of {", ".join(TASKS)}')
    if files_lib.is_damaged(content):
        raise ConfigError(
            f'{where} is damaged: its digest does not match. Copy it back; if it was changed on'
            ' purpose, make its "digest" the empty text ""'
        )
    content.pop('digest', None)
    content = upgraded(content)
    keys = pattern(content, parts=False)
    unknown, wrong = files_lib.misfits(content, keys)
    if wrong:
        raise ConfigError(f'{where} is damaged: {"; ".join(wrong)}')
    if unknown:
        raise ConfigError(
            f'{where} has {", ".join(unknown)}, which this version of fgsep_jax does not know: use'
            ' the version that wrote it, or take out what it can do without'
        )
    return config_dict.ConfigDict(filled(content, keys)).lock()


# Keys of Conv-TasNet that stood in `model` itself before its parts had sections.
_ENCODER = ('basis', 'window', 'stride', 'framing', 'layers', 'dilated', 'bias', 'decoder_bias')
_SEPARATOR = ('bottleneck', 'hidden', 'skip', 'kernel', 'blocks', 'repeats', 'input_norm', 'prelu')
_SEPARATOR += ('padding', 'mask', 'depthwise', 'unused_residual', 'remat')
MOVED = {
    'encoder': 'encoder.name',
    'encoder_activation': 'encoder.rectify',
    'rectify': 'encoder.rectify',
    **{key: f'encoder.{key}' for key in _ENCODER},
    **{key: f'separator.{key}' for key in _SEPARATOR},
}


def upgraded(content):
    """The content of a config.json of an earlier version as it is now: nested dicts."""
    model = content.get('model')
    if content.get('task') != 'speech' or not isinstance(model, dict):
        return content
    if not any(key in MOVED and not isinstance(value, dict) for key, value in model.items()):
        return content
    model = nested_model(model)
    # What no earlier version said, so that runs of both stand as one where they are one.
    parts = {'encoder': {'strided_bias': False, 'spectrum': False}, 'separator': {'name': 'tcn'}}
    model |= {name: {**later, **model.get(name, {})} for name, later in parts.items()}
    return {**content, 'model': model}


def nested_model(flat):
    """Keys of Conv-TasNet, as `MOVED` has them, in their sections."""
    flat = {'encoder': 'linear', **flat}
    if flat['encoder'] == 'linear':
        flat = {k: v for k, v in flat.items() if k not in ('layers', 'dilated', 'bias')}
    made = {}
    for key, value in flat.items():
        section, _, name = MOVED.get(key, key).rpartition('.')
        if key == 'encoder_activation' and value in ('none', 'relu'):
            value = value == 'relu'
        (made.setdefault(section, {}) if section else made)[name] = value
    return made
