"""A trained model as one file, NAME.safetensors: weights by name, and all about them in its header.

The weights stand under the paths of the parameters ('encoder/kernel'); the header's metadata hold
the configuration, the sources' names, where the model comes from, and a digest of the whole.
"""

from collections.abc import Mapping
import contextlib
import json
import os
import types
from typing import NamedTuple

import jax
from ml_collections import config_dict
import numpy as np

from fgsep_jax import __version__, buckets, config as config_lib, files
from fgsep_jax.config import ConfigError
from fgsep_jax.names import RESIDUAL, counted, shown
from fgsep_jax.tasks import make_task

SUFFIX = '.safetensors'
FORMAT = 'fgsep_jax'
VERSION = '1'  # of this format


class About(NamedTuple):
    """What the header of a model file says.

    Attributes:
      config: the model's ConfigDict.
      sources: names of what it gives, in order.
      step: of the training, at which the weights were taken.
      origin: what it was trained on, or where it comes from.
      licence: of the weights; empty where nobody said.
      scores: {data set: {metric: value}}, as far as known.
      digest: of all the file says and holds, or of the arrays of a run's checkpoint; empty in a
        file that another program made.
      speakers: digests of those that it was trained on; empty where unknown.
      modules: names of the files that registered its parts, where they are not the package's.
    """

    config: config_dict.ConfigDict
    sources: tuple[str, ...]
    step: int = 0
    origin: str = ''
    licence: str = ''
    scores: Mapping = {}
    digest: str = ''
    speakers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


def shipped():
    """Names of the small models that the package brings along, see docs/models.md."""
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'shipped')
    found = os.listdir(folder) if os.path.isdir(folder) else []
    paths = {name.removesuffix(SUFFIX): os.path.join(folder, name) for name in sorted(found)}
    return {name: path for name, path in paths.items() if path.endswith(SUFFIX)}


def located(model):
    """The path that is meant by what was typed for a model: itself, or that of a shipped name."""
    try:
        path = buckets.address(os.path.expanduser(os.fspath(model)))
    except buckets.Unreachable as error:
        raise ConfigError(f'{shown(os.fspath(model))}: {error}') from error
    known = shipped()
    no_run = os.path.isdir(path) and not os.path.lexists(os.path.join(path, 'config.json'))
    if path in known and no_run:
        raise ConfigError(
            f'{path}: a folder of this name is here, no run, and hides the shipped model: give'
            f' that by its path, {shown(known[path])}'
        )
    if os.path.lexists(path) or path.endswith(SUFFIX):
        return path
    if path not in known:
        names = f', or one of {", ".join(known)}, which are shipped' if known else ''
        raise ConfigError(
            f'there is no model {shown(path)}: a run folder or a model file (NAME{SUFFIX}) is'
            f' needed{names}'
        )
    return known[path]


def is_model_file(path):
    """Whether what a path names is to be taken for a model file: a folder is a run."""
    path = os.fspath(path)
    return os.path.isfile(path) or (path.endswith(SUFFIX) and not os.path.isdir(path))


def usual_names(config):
    """Names of what a model gives where nobody has named them."""
    count, targets = config.data.sources, config.data.targets
    if count == 1:
        return (targets if targets and not targets.isdecimal() else 'speech',)
    speakers = tuple(f'speaker_{s}' for s in range(1, count + 1))
    return make_task(config).source_names or speakers


def flat(parameters):
    """{path in the tree, e.g. 'encoder/kernel': leaf}."""
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(parameters)
    }


def check_fit(config, tensors, *, where):
    """Holds tensors against what a configuration's model has.

    Args:
      config: ConfigDict.
      tensors: {name: anything with `shape` and `dtype`}.
      where: what holds them, for the message.

    Returns:
      The tree of the model's parameters, each leaf its name.

    Raises:
      ConfigError: names the first tensor that is missing, of another shape, or left over, or says
        why there can be no such model.
    """
    tcn = config.model.get('separator')
    if tcn is not None and tcn.get('blocks', 0) * tcn.get('repeats', 0) > len(tensors):
        raise ConfigError(
            f'{where} does not fit its configuration: {counted(len(tensors), "tensor")},'
            f' model.separator.blocks = {tcn.blocks}, model.separator.repeats = {tcn.repeats}'
        )
    try:
        wanted = jax.eval_shape(make_task(config).init, jax.random.key(0))
    except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise ConfigError(
            f'{where}: there can be no model of its configuration: {error}'
        ) from error
    for name, leaf in flat(wanted).items():
        if name not in tensors:
            raise ConfigError(f'{where} does not fit its configuration: {name} is missing')
        found = tensors[name]
        if tuple(found.shape) != leaf.shape or str(found.dtype) != str(leaf.dtype):
            raise ConfigError(
                f'{where} does not fit its configuration: {name} is'
                f' {found.dtype}{list(found.shape)}, must be {leaf.dtype}{list(leaf.shape)}'
            )
    if more := sorted(set(tensors) - set(flat(wanted))):
        raise ConfigError(
            f'{where} does not fit its configuration: the model has no {shown(more[0])}'
        )
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator='/'), wanted
    )


def check_texts(**texts):
    """Raises ConfigError for a text, by its flag's name, that holds bytes that are no UTF-8."""
    for flag, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f'{flag} = {shown(text)[:80]}: must be UTF-8; --{flag}=TEXT says it'
            ) from error


def header(config, *, sources, step=0, origin='', licence='', scores=None, speakers=()):
    """{key: text} of what a model file says of its model; arguments: see `About`.

    Where the data lie is nobody's business who gets the file: `origin` says what they are.

    Raises:
      ConfigError: see `check_texts`.
    """
    check_texts(origin=origin, licence=licence)
    config = config.copy_and_resolve_references().unlock()
    config.data.dir = config.training.init_from = ''
    modules = [*map(os.path.basename, config_lib.modules(config))]
    return {
        'format': FORMAT,
        'format_version': VERSION,
        'written_by': f'fgsep_jax {__version__}',
        'config': config_lib.to_json(config),
        'sample_rate': str(config.data.sample_rate),
        'sources': json.dumps(list(sources)),
        'step': str(step),
        'origin': origin,
        'licence': licence,
        'scores': json.dumps(scores or {}),
        **({'speakers': json.dumps(sorted(speakers))} if speakers else {}),
        **({'modules': os.pathsep.join(modules)} if modules else {}),
    }


def pack(config, parameters, *, where, **said):
    """The bytes of a model file.

    Args:
      config: the model's ConfigDict.
      parameters: the tree of its weights.
      where: its path, for messages.
      **said: the other arguments of `header`.

    Raises:
      ConfigError: weights that do not fit the configuration or are not finite, or not one name for
        each source.
    """
    import safetensors.numpy

    tensors = {name: np.array(leaf, order='C') for name, leaf in flat(parameters).items()}
    check_fit(config, tensors, where=where)
    _check_values(tensors, where=where)
    metadata = header(config, **said)
    metadata['digest'] = _digest(metadata, tensors)
    _about(metadata, where)
    return safetensors.numpy.save(tensors, metadata)


def check_path(path):
    """Raises ConfigError where a model file cannot be called so, or there is no folder for it."""
    if not path.endswith(SUFFIX):
        raise ConfigError(f'{shown(path)}: the name of a model file ends in {SUFFIX}')
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigError(f'{shown(path)} cannot be written: there is no folder {shown(folder)}')


def write(path, config, parameters, **said):
    """Writes a model file, whole or not at all.

    Args:
      path: ends in .safetensors.
      config, parameters, **said: as in `pack`.

    Raises:
      ConfigError: see `check_path` and `pack`.
    """
    path = os.fspath(path)
    check_path(path)
    content = pack(config, parameters, where=shown(path), **said)
    try:
        files.write({path: content})
    except OSError as error:
        raise ConfigError(f'{shown(path)} cannot be written: {files.why(error)}') from error


def read_about(path):
    """What the header of a model file says, its weights not read.

    Raises:
      ConfigError: it is no model file, or its header is damaged.
    """
    with _opened(path) as file:
        return _about(file.metadata(), shown(path))


def read(path):
    """Reads a model file.

    Returns:
      (About, the tree of the parameters).

    Raises:
      ConfigError: it is no model file, is damaged, or does not fit its own configuration; the
        message names the tensor.
    """
    where = shown(path)
    with _opened(path) as file:
        metadata = file.metadata()
        about = _about(metadata, where)
        config_lib.check_parts(about.config, about.modules, where=where)
        stored = {name: _stored(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
        names = check_fit(about.config, stored, where=where)
        tensors = {name: file.get_tensor(name) for name in stored}
    _check_values(tensors, where=where)
    if about.digest and _digest(metadata, tensors) != about.digest:  # which names nothing: the last
        raise ConfigError(f'{where} is damaged: its digest does not match')
    return about, jax.tree.map(tensors.get, names)


def _stored(tensor):
    """Shape and kind of a tensor of a file, which is not read: numpy has not all kinds."""
    kind = tensor.get_dtype().replace('F', 'float').lower()
    return types.SimpleNamespace(shape=tuple(tensor.get_shape()), dtype=kind)


def _opened(path):
    """A safetensors file, open."""
    import safetensors

    path = os.fspath(path)
    try:
        if not os.path.isfile(path):
            there = os.path.lexists(path)
            raise ConfigError(
                f'{shown(path)}: {"is no file" if there else "there is no such file"}'
            )
        with open(path, 'rb') as file:  # before all of it is parsed
            count = int.from_bytes(file.read(8), 'little')
        if count > files.MOST_BYTES:
            raise ConfigError(_foreign(shown(path), f' (a header of {count:,} bytes)'))
        return safetensors.safe_open(path, framework='numpy')
    except OSError as error:
        raise ConfigError(f'{shown(path)} cannot be read: {error.strerror or error}') from error
    except safetensors.SafetensorError as error:
        raise ConfigError(_foreign(shown(path), f' (damaged, or no {SUFFIX}: {error})')) from error


def _foreign(where, why=''):
    return (
        f'{where} is no model file of fgsep_jax{why}; weights of other programs become one by'
        f' `python -m fgsep_jax.interop.import_model {where} --output=NAME{SUFFIX}`'
    )


def _about(metadata, where):
    """The About of a header, or a ConfigError."""
    metadata = metadata or {}
    if metadata.get('format') != FORMAT:
        raise ConfigError(_foreign(where))
    if metadata.get('format_version') != VERSION:
        raise ConfigError(
            f'{where} has format {metadata.get("format_version")!r:.20}, and this version of'
            f' fgsep_jax reads {VERSION}: use the version that wrote it'
        )
    if missing := {'config', 'sample_rate', 'sources'} - set(metadata):
        raise ConfigError(f'{where} is damaged: its header has no {", ".join(sorted(missing))}')
    config = config_lib.from_json(metadata['config'], where=f'the configuration in {where}')
    count = config.data.sources
    said = {'step': '0', 'scores': '{}', 'speakers': '[]', **metadata}
    sources, step, scores, speakers, rate = (
        _parsed(said[key]) for key in ('sources', 'step', 'scores', 'speakers', 'sample_rate')
    )
    for key, fits, must in (
        (
            'sources',
            _is_texts(sources)
            and all(sources)
            and len({*sources}) == len(sources) == count
            and RESIDUAL not in sources,
            f'{count} different names, none of them {RESIDUAL!r}',
        ),
        (
            'sample_rate',
            rate == config.data.sample_rate,
            f'{config.data.sample_rate}, as its configuration says',
        ),
        ('step', type(step) is int and step >= 0, 'a whole number, 0 or more'),
        ('scores', isinstance(scores, dict), 'a JSON object'),
        ('speakers', _is_texts(speakers), 'a JSON list of texts'),
    ):
        if not fits:
            raise ConfigError(f'{where}: {key} = {shown(said[key])[:80]}: must be {must}')
    return About(
        config,
        tuple(sources),
        step,
        metadata.get('origin', ''),
        metadata.get('licence', ''),
        scores,
        metadata.get('digest', ''),
        tuple(speakers),
        tuple(filter(None, metadata.get('modules', '').split(os.pathsep))),
    )


def _parsed(text):
    """What a field of a header holds; None, which is none of them, where that is no JSON."""
    with contextlib.suppress(ValueError):
        content = f'{{"": {text}}}'.encode()
        (value,) = files.parse_json(content, ValueError, where='', halves=True).values()
        return value
    return None


def _is_texts(value):
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _check_values(tensors, *, where):
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ConfigError(f'{where}: {name} holds nan or inf')


def _digest(metadata, tensors):
    """SHA-256 of a header without its digest, and of all tensors."""
    kinds = {
        name: [str(tensor.dtype), list(tensor.shape), files.digest(tensor.tobytes())]
        for name, tensor in tensors.items()
    }
    said = {key: value for key, value in metadata.items() if key != 'digest'}
    return files.digest(json.dumps([said, kinds], sort_keys=True).encode())
