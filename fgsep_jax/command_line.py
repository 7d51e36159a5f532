"""How every program starts: flags and paths as people type them, and one line for a mistake.

Nothing heavier than absl's flags is imported here: whoever mistypes gets an answer at once.
"""

import atexit
import contextlib
import functools
import os
import re
import sys
import types

from absl import flags

from fgsep_jax import buckets, lock, streams
from fgsep_jax.names import shown
from fgsep_jax.rules import did_you_mean


class FlagError(ValueError):
    """A value that a flag cannot have."""


def path(text):
    """A path or URL of a flag; `~` and `~user` in front become home folders.

    Raises:
      FlagError: it is empty, or there is no such home.
    """
    if not text:
        raise FlagError('is empty, must be a path')
    if '\0' in text:
        raise FlagError('a path holds no zero byte')
    expanded = os.path.expanduser(text)
    if expanded.startswith('~'):
        user = text.partition('/')[0]
        raise FlagError(f'there is no home folder {user}; of a file write ./{text}')
    try:
        return buckets.address(expanded)
    except buckets.Unreachable as error:
        raise FlagError(error) from error


def local_path(text):
    """As `path`, of a file system.

    Raises:
      FlagError: it is a URL.
    """
    text = path(text)
    if buckets.is_url(text):
        raise FlagError(
            'must be on this machine, not a URL: copy it, e.g. by `gcloud storage cp -r`'
        )
    return text


def words(text):
    """What stands between commas."""
    return [word.strip() for word in text.split(',') if word.strip()]


def some(kind):
    """A list of `kind` between commas, one at least."""

    def parse(text):
        found = [kind(word) for word in words(text)]
        if not found:
            raise FlagError('is empty, must name one at least')
        return found

    return parse


def count(text):
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdecimal()):
        raise FlagError('must be a whole number, 0 or more')
    return int(text)


def boolean(text):
    """True or False."""
    if text.lower() not in ('true', 'false', '1', '0'):
        raise FlagError('must be True or False')
    return text.lower() in ('true', '1')


def value(kind, text):
    """A text as bool, int, float, str or what another function makes of it, or a FlagError."""
    try:
        return boolean(text) if kind is bool else kind(text)
    except ValueError as error:
        rules = {int: 'a whole number', float: 'a number'}
        raise FlagError(f'must be {rules[kind]}' if kind in rules else error) from None


class _Kind(flags.ArgumentParser):
    """absl's parser of a flag: a function of its text, and the form that --help shows."""

    def __init__(self, read, form):
        self._read, self.syntactic_help = read, form

    def parse(self, argument):
        return self._read(argument) if isinstance(argument, str) else argument  # a default


class Parser:
    """absl's flags of one program; whatever they do not understand is one line, and exit status 2.

    Args:
      module: that is run, e.g. 'fgsep_jax.report'.
      about: what it does, and how it is called; the first thing that --help shows.
      epilog: the last.
      words: what stands beside the flags, as the usage shows it, in brackets where it may be
        missing; '': nothing does.
    """

    def __init__(self, module, about, *, epilog='', words=''):
        usage = f'usage: python -m {module} {words} --FLAG=VALUE ...'.replace('  ', ' ')
        self._about = f'{usage}\n\n{about.strip()}\n\nflags:'
        self._epilog, self._required, self._words = epilog, [], words
        self._alone = {}  # flag: what it means without a value
        self.meant = {}  # what is typed for a flag: the flag
        self._values = flags.FlagValues()  # of its own: a process may run several programs
        self._values.set_gnu_getopt()  # flags may follow words
        self.known = {'--help': False, '-h': False}  # what may be typed: whether it needs a value

    def add_argument(
        self,
        flag,
        *,
        help,
        type=str,
        default=None,
        metavar='',
        choices=(),
        required=False,
        short=None,
        alone='',
    ):
        """Adds a flag; the arguments mean what they do in argparse, `short` is its one letter.

        With `alone` it may stand without a value, which is then this, and a value needs its `=`.
        """
        name = flag.removeprefix('--')
        read = flags.EnumParser(choices).parse if choices else functools.partial(value, type)
        form = metavar or ('{' + ','.join(choices) + '}' if choices else name.upper())
        form = '[=BOOL]' if type is bool else f'[={form}]' if alone else f'={form}'
        kind = _Kind(read, form)
        self._alone |= {flag: f'{flag}={alone}'} if alone else {}
        flags.DEFINE(
            kind, name, default, help, self._values, boolean=type is bool, short_name=short
        )
        self._required += [flag] if required else []
        self.known |= {f'-{short}': type is not bool} if short else {}
        self.known |= {flag: False, f'--no{name}': False} if type is bool else {flag: not alone}

    def switch(self, flag, about, *, default=False):
        """Adds a flag that is on or off: `--flag`, `--flag=True`, `--flag=False`, `--noflag`."""
        self.add_argument(flag, type=bool, default=default, help=about)

    def about(self, name):
        """What --help says of a flag."""
        return self._values[name].help

    def given(self):
        """Names of the flags that the command line sets."""
        return [name for name in self._values if self._values[name].present]

    def set_defaults(self, **defaults):
        """Replaces defaults of flags."""
        for name, default in defaults.items():
            self._values.set_default(name, default)

    def parse(self, argv, others=()):
        """Parses the command line, once.

        Args:
          argv: the command line; None for this process's.
          others: further flags that are understood elsewhere.

        Returns:
          Namespace of the flags, and what belongs to the `others` or is no flag; behind `--`
          nothing is.
        """
        argv = sys.argv[1:] if argv is None else list(argv)
        end = argv.index('--') if '--' in argv else len(argv)
        argv, behind = argv[:end], argv[end + 1 :]  # which are words, whatever they look like
        with contextlib.suppress(AttributeError):  # a path may be no UTF-8, and is printed
            sys.stdout.reconfigure(errors='backslashreplace')
        for word, following in zip(argv, [*argv[1:], '--']):
            flag = word.partition('=')[0]
            if re.match('--|-[a-zA-Z]', flag) and flag not in {*self.known, *others}:
                if flag in self.meant:
                    self.error(f"there is no flag {flag}; did you mean '{self.meant[flag]}'?")
                near = did_you_mean(flag, self.known)
                near = did_you_mean(flag, others) if near == '.' else near
                if self._words and os.path.lexists(word):
                    near = f'; the file is written ./{word}'
                self.error(f'there is no flag {flag}{near}')
            if self.known.get(word) and following.startswith('--'):  # absl takes it for the value
                self.error(f'{word}: needs a value: --NAME=VALUE')
        if {'-h', '--help'} & {*argv} - {*others}:
            self._help()
        try:
            argv = [self._alone.get(word, word) for word in argv]
            rest = self._values(['', *argv], known_only=bool(others))[1:]
        except (flags.Error, ValueError) as error:
            self.error(str(error).removeprefix('flag '))
        strange = behind if others else rest + behind
        if strange and not self._words:
            self.error(f'{" ".join(strange)} not understood: flags are written --NAME=VALUE')
        rest += behind
        args = types.SimpleNamespace(**self._values.flag_values_dict())
        if self._words and not rest and not self._words.startswith('['):
            self.error(f'{self._words} is needed')
        missing = [flag for flag in self._required if vars(args)[flag[2:]] is None]
        if missing:
            self.error(f'these flags are needed: {", ".join(missing)}')
        return args, rest

    def _help(self):
        """Shows what the program does and its flags, and leaves."""
        lines = [self._about]
        for flag in dict.fromkeys(self._values[name] for name in self._values):
            name, default = flag.name, flag.default
            text = ','.join(map(str, default)) if isinstance(default, (list, tuple)) else default
            text = '' if text in (None, '') or text is False else f'; default: {text}'
            form = flag.parser.syntactic_help
            short = f'-{flag.short_name} {form.removeprefix("=")}, ' if flag.short_name else ''
            text = f'{short}--{name}{form}  {flag.help}{text}'
            lines.append(flags.text_wrap(text, indent=' ' * 6, firstline_indent='  '))
        show('\n'.join([*lines, '', flags.text_wrap(self._epilog)]).rstrip())
        raise SystemExit(0)

    def error(self, message):
        """Says what is wrong and leaves."""
        message += '' if message.endswith(('.', '?')) else '.'
        raise refusal(f'{shown(message)} --help lists the flags.')


def lend_caches():
    """Gives libraries a folder for their caches, until this process ends, where there is no home.

    A container's user may have no name, no $HOME, or one that cannot be written to. librosa and
    numba do not even import then, and matplotlib complains.
    """
    home = os.path.expanduser('~')
    if os.path.isabs(home) and os.access(home, os.W_OK | os.X_OK):
        return
    until_the_end = contextlib.ExitStack()
    folder = until_the_end.enter_context(lock.scratch('fgsep-caches-'))
    atexit.register(until_the_end.close)
    for name in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'MPLCONFIGDIR', 'NUMBA_CACHE_DIR'):
        os.environ.setdefault(name, folder)


def quiet():
    """Lets libraries say no more than warnings: their progress is not the user's."""
    from absl import logging

    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().addFilter(_is_news)


def _is_news(record):
    """Whether a line of a library is not said by us anyway, or nobody's concern: threads of Orbax
    print pages of what is then raised here, too, and what it keeps beside a checkpoint (`Metadata
    file`) is not what we restore from."""
    return not record.exc_info and 'Metadata file' not in str(record.msg)


def show(text):
    """Prints what a program was asked for; where it does not arrive the exit status is 1."""
    print(buckets.named(text))
    if reason := streams.lost():
        print(f'error: standard output: {reason.strerror}', file=sys.stderr)
        raise SystemExit(1)


class Refusal(SystemExit):
    """The end of a program that cannot do what was asked; the line is printed.

    Attributes:
      code: exit status: 2; sysexits.h's EX_TEMPFAIL where a later start may succeed.
    """

    def __init__(self, line, *, again=False):
        super().__init__(line)
        self.code = os.EX_TEMPFAIL if again else 2


def refusal(error):
    """Prints a mistake as one line for the person at the terminal; returns the Refusal to raise."""
    again = isinstance(error, Exception) and buckets.may_pass(error)
    if isinstance(error, Exception):
        error = buckets.of_a_full_disk(error, in_copy=True) or error
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        error = f'{error.filename}: {error.strerror}'
    line = buckets.named(f'error: {error}')
    print(line, file=sys.stderr)
    return Refusal(line, again=again)
