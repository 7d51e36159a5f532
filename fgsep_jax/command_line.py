"""How every program starts: flags and paths as people type them, and one line for a mistake.

Nothing but the standard library is imported here: whoever mistypes gets an answer at once.
"""

import argparse
import atexit
import contextlib
import difflib
import os
import re
import shutil
import sys
import tempfile


class FlagError(argparse.ArgumentTypeError, ValueError):
    """A value that a flag cannot have."""


def path(text):
    """A path or URL of a flag; `~` and `~user` in front become home folders.

    Raises:
      FlagError: it is empty, or there is no such home.
    """
    if not text:
        raise FlagError('is empty, must be a path')
    if '\0' in text:
        raise FlagError(f'{text!r}: a path holds no zero byte')
    expanded = os.path.expanduser(text)
    if expanded.startswith('~'):
        user = text.partition('/')[0]
        raise FlagError(f'{text}: there is no home folder {user}; of a file write ./{text}')
    return expanded


def local_path(text):
    """As `path`, of a file system.

    Raises:
      FlagError: it is a URL.
    """
    if '://' in text:
        raise FlagError(
            f'{text}: must be a path of a file system, not a URL; write to or read from a local'
            ' folder and copy it'
        )
    return path(text)


def words(text):
    """What stands between commas, for argparse."""
    return [word.strip() for word in text.split(',') if word.strip()]


def some(kind):
    """A list of `kind` between commas, one at least, for argparse."""

    def parse(text):
        found = [kind(word) for word in words(text)]
        if not found:
            raise FlagError('is empty, must name one at least')
        return found

    return parse


def count(text):
    """A whole number, 0 or more, for argparse."""
    if not (text.isascii() and text.isdecimal()):
        raise FlagError(f'{text}: must be a whole number, 0 or more')
    return int(text)


def boolean(text):
    """True or False, for argparse."""
    if text.lower() not in ('true', 'false', '1', '0'):
        raise FlagError(f'{text}: must be True or False')
    return text.lower() in ('true', '1')


def did_you_mean(word, known):
    """Returns "; did you mean 'x'?" for the nearest known word, else a full stop."""
    close = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean '{close[0]}'?" if close else '.'


class Parser(argparse.ArgumentParser):
    """The flags of one program; whatever it does not understand is one line, and exit status 2.

    Args:
      module: that is run, e.g. 'fgsep_jax.report'.
      about: what it does, and how it is called; the first thing that --help shows.
    """

    def __init__(self, module, about, **settings):
        super().__init__(
            prog=f'python -m {module}',
            usage='%(prog)s --FLAG=VALUE ...',
            description=about.strip(),
            formatter_class=_Formatter,
            allow_abbrev=False,
            **settings,
        )

    def switch(self, flag, about):
        """Adds a flag that is on or off: `--flag`, `--flag=True`, `--flag=False`."""
        self.add_argument(
            flag, nargs='?', type=boolean, const=True, default=False, metavar='BOOL', help=about
        )

    def parse(self, argv, others=()):
        """Parses the command line.

        Args:
          argv: the command line; None for this process's.
          others: further flags that are understood elsewhere.

        Returns:
          Namespace of the flags, and what belongs to the `others`.
        """
        argv = sys.argv[1:] if argv is None else list(argv)
        with contextlib.suppress(AttributeError):  # a path may be no UTF-8, and is printed
            sys.stdout.reconfigure(errors='backslashreplace')
        known = {name for action in self._actions for name in action.option_strings}
        for word in argv:
            flag = word.partition('=')[0]
            if re.match('--|-[a-zA-Z]', flag) and flag not in known | set(others):
                near = did_you_mean(flag, known)
                near = did_you_mean(flag, others) if near == '.' else near
                self.error(f'there is no flag {flag}{near}')
        args, rest = self.parse_known_args(argv)
        if rest and not others:
            self.error(f'{" ".join(rest)} not understood: flags are written --NAME=VALUE')
        return args, rest

    def error(self, message):
        """Says what is wrong and leaves."""
        message = message.removeprefix('argument ')
        message = message.replace('expected one argument', 'needs a value: --NAME=VALUE')
        message += '' if message.endswith(('.', '?')) else '.'
        raise refusal(f'{message} --help lists the flags.')


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows a flag as it is written here, --flag=VALUE, and what it is by default."""

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._metavar_formatter(action, action.dest.upper())(1)[0]
        value = f'[={value}]' if action.nargs == '?' else f'={value}'
        return ', '.join(name + value for name in action.option_strings)

    def _get_help_string(self, action):
        shown = action.help or ''
        if '%(default)' in shown or action.default is False:
            return shown
        if action.default in (None, '', argparse.SUPPRESS):
            return shown
        if isinstance(action.default, (list, tuple)):
            return shown + (
                '; default: ' + ','.join(map(str, action.default)) if action.default else ''
            )
        return f'{shown}; default: %(default)s'


def lend_caches():
    """Gives libraries a folder for their caches, until this process ends, where there is no home.

    A container's user may have no name, no $HOME, or one that cannot be written to. librosa and
    numba do not even import then, and matplotlib complains.
    """
    home = os.path.expanduser('~')
    if os.path.isabs(home) and os.access(home, os.W_OK | os.X_OK):
        return
    folder = tempfile.mkdtemp(prefix='fgsep-caches-')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'MPLCONFIGDIR', 'NUMBA_CACHE_DIR'):
        os.environ.setdefault(name, folder)


class Refusal(SystemExit):
    """The end of a program that cannot do what was asked: exit status 2, the line is printed."""

    def __init__(self, line):
        super().__init__(line)
        self.code = 2


def refusal(error):
    """Prints a mistake as one line for the person at the terminal; returns the Refusal to raise."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        error = f'{error.filename}: {error.strerror}'
    line = f'error: {error}'
    print(line, file=sys.stderr)
    return Refusal(line)
