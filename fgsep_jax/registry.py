"""Parts of a model and losses by name: made from a section of a configuration.

A registry is a dict {name: function or module}, in the module that its parts are in:
`models.encoders.ENCODERS`, `models.separators.SEPARATORS`, `losses.si_snr.LOSSES`. A part's keyword
arguments are the keys of its section, their defaults its values and types. Whoever has parts of
their own adds them to the dict, in the file of a configuration or in a module that it imports; so
that a trained run is found to be made of them wherever it is used, $FGSEP_MODULES names these
files.
"""

import contextlib
import functools
import importlib.machinery
import inspect
import os
import shlex
import sys
import types

from fgsep_jax.names import shown
from fgsep_jax.rules import ConfigError, RuleError, Rules

NAME = 'FGSEP_MODULES'
_UNKNOWN = f'{NAME}=FILE.py'


class Registry(dict):
    """A dict whose entries stay what they are: another part needs another name.

    A run says by names what it is made of; were one of them to mean something else elsewhere, the
    run would be another model there.

    Attributes:
      files: {name: file that registered it}, of parts that came later.
    """

    def __init__(self, *args, **parts):
        super().__init__(*args, **parts)
        self.files: dict[str, str] = {}

    def __setitem__(self, name, part):
        """Registers a part; the same one anew, as a file that is run twice does, is no other."""
        if name in self and _origin(self[name]) != _origin(part):
            raise ValueError(f'{name!r} is registered already: give this part another name')
        super().__setitem__(name, part)
        self.files[name] = os.path.abspath(inspect.currentframe().f_back.f_code.co_filename)


def _origin(part):
    part = getattr(part, 'func', part)
    return getattr(part, '__module__', None), getattr(part, '__qualname__', None)


def find(parts, name):
    """The part of a registry that has a name.

    Raises:
      RuleError: there is none; the names that there are.
    """
    _load()
    if not isinstance(name, str) or name not in parts:
        rules = Rules(dict(name=name))
        rules.one_of('name', parts)
        (key, text) = rules.problems[0]
        raise RuleError([(key, f'{text} One of your own: {_UNKNOWN}, which registers it')])
    return parts[name]


def prefix(files):
    """What stands before a command that is to find what files registered; '' without any."""
    return f'{NAME}={shlex.quote(os.pathsep.join(files))} ' if files else ''


def with_files(message, files):
    """The message of `find`, with the files that registered the parts where that is known."""
    return message.replace(_UNKNOWN, shown(prefix(files).rstrip())) if files else message


@contextlib.contextmanager
def importing_from(folders):
    """Within, files of some folders are imported by name; afterwards none of them stays."""
    before = {*sys.modules}
    added = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    sys.path += added
    try:
        yield
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)
        # Another folder's file of the same name is another file.
        for name in {*sys.modules} - before:
            if os.path.dirname(getattr(sys.modules[name], '__file__', None) or '') in folders:
                del sys.modules[name]


def keywords(part, but=()):
    """{keyword: default} of a part, without some that are not its own to choose."""
    skip = {'parent', 'name', 'sources', *but}
    return {
        name: parameter.default
        for name, parameter in inspect.signature(part).parameters.items()
        if name not in skip and parameter.default is not inspect.Parameter.empty
    }


def bind(parts, section):
    """A function of a registry with the keywords of its section, as `make`."""
    section = dict(section)
    function = find(parts, name := section.pop('name'))
    _refuse_unknown(name, function, section)
    return functools.partial(function, **section)


def make(parts, section, both):
    """Makes a part from its section.

    Args:
      parts: the registry.
      section: {'name': of the part, keyword: value}.
      both: {keyword: value} that are handed on where the part has them.

    Raises:
      RuleError: there is no such part, it has no such keyword, or its values cannot work.
    """
    section = dict(section)
    part = find(parts, name := section.pop('name'))
    takes = _refuse_unknown(name, part, section)
    return part(**section, **{key: value for key, value in both.items() if key in takes})


def _refuse_unknown(name, part, section):
    takes = inspect.signature(part).parameters
    if unknown := [key for key in section if key not in takes]:
        has = ', '.join(keywords(part))
        raise RuleError([(key, f': {name} has no such key; it has {has}') for key in unknown])
    return takes


@functools.cache
def _load():
    """Runs the files that $FGSEP_MODULES names, once."""
    for path in filter(None, os.environ.get(NAME, '').split(os.pathsep)):
        name = os.path.splitext(os.path.basename(path))[0]
        there = getattr(sys.modules.get(name), '__file__', None)
        if there and os.path.realpath(there) == os.path.realpath(path):
            continue
        loader = importlib.machinery.SourceFileLoader(name, path)
        module = types.ModuleType(name)
        module.__file__ = path
        try:
            if name not in sys.modules:  # another module of that name stays what it is
                sys.modules[name] = module
            with importing_from(_folders(path)):
                loader.exec_module(module)
        except Exception as error:
            if sys.modules.get(name) is module:
                del sys.modules[name]
            said = ' '.join(str(error).split())
            raise ConfigError(f'{NAME} = {path}: {type(error).__name__}: {said}') from error


def _folders(path):
    """Where a file finds what it imports: beside it, and a configuration its base."""
    from fgsep_jax.config import shipped_folder  # which imports this module

    return [os.path.dirname(os.path.abspath(path)), shipped_folder()]
