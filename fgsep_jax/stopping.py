"""Ctrl-C, SIGTERM and SIGHUP: a program leaves at once, or saves first where it has something.

Python runs a signal's handler in the main thread alone, and not before XLA's compiler gives that
back; what a handler raises may be swallowed by whoever called back into Python. So a handler here
does nothing, and a thread that waits for the signals' numbers acts on them.
"""

import atexit
import contextlib
import glob
import os
import signal
import sys
import threading
import time

from fgsep_jax import files, lock, streams

NAMES = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM', signal.SIGHUP: 'SIGHUP'}

_mutex = threading.Lock()
_listening = False
_STARTED_BY = 'FGSEP_STARTED_BY'  # variable: numbers of programs of ours, above one another
_is_started_by_ours = False
_leaving, _heard = threading.Event(), threading.Event()
_END, _ANSWER = b'\0', b'\xff'  # what is no signal's number, to the thread that waits for them
_request = None
_lost = ''  # see `losing`
_last = []  # functions of `finishing`


class Request:
    """A wish to stop.

    Args:
      answer: what is done about it, in words.

    Attributes:
      number: of the signal that was the first; None as long as there is none.
    """

    def __init__(self, answer):
        self.number, self._since, self._answer = None, 0.0, answer

    def take(self, number):
        """Whether the signal is dealt with by stopping when it suits; else it is to be at once."""
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            say(f'{NAMES[number]}: {self._answer}; a Ctrl-C now stops at once')
            return True
        # Some wrappers of commands pass on a Ctrl-C that the terminal has sent already.
        return number != signal.SIGINT or time.monotonic() - self._since < 0.5


def use():
    """From now on these signals end this process in one line, with status 128 + their number.

    Those that were ignored when it was started (nohup, `&` in a script) stay ignored. Processes
    that it starts do not see Ctrl-C, and are ended with it; a program of ours among them says
    nothing of that, as the one that started it does.
    """
    global _is_started_by_ours
    if _listening:
        return
    mine, above = str(os.getpid()), str(os.getppid())
    *_, last = numbers = os.environ.get(_STARTED_BY, '').split(' ')
    # It may have started itself again (`huge_pages`), which changes no number.
    _is_started_by_ours = numbers == [above, mine] or last == above
    os.environ[_STARTED_BY] = f'{above} {mine}' if _is_started_by_ours else mine
    pipe, _ = _listen(NAMES.keys() - {signal.SIGINT} if _is_started_by_ours else NAMES)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.register_at_fork(after_in_child=_forget)
    atexit.register(_hear_out, pipe)


def hear():
    """Takes these signals back from a library: JAX has SIGTERM for itself once it has joined hosts,
    so that trainings can agree on a step to stop at, which nothing else asks it for."""
    if threading.current_thread() is threading.main_thread():
        for number in NAMES:
            if callable(handler := signal.getsignal(number)):
                signal.signal(number, handler)


@contextlib.contextmanager
def deferred(numbers=tuple(NAMES), answer='saves after this step and stops'):
    """Within, the first signal is a request only, and a Ctrl-C after it ends the process.

    Args:
      numbers: signals to listen to where `use` has not been called; nothing is listened to where
        this is not the main thread.
      answer: what is done about the first, in words.

    Yields:
      A Request.
    """
    global _request
    with contextlib.ExitStack() as stack:
        if not _listening and threading.current_thread() is threading.main_thread():
            _, stop = _listen(numbers)
            stack.callback(stop)
        with _mutex:
            before, _request = _request, Request(answer)
            mine = _request
        try:
            yield mine
        finally:
            with _mutex:
                _request = before


@contextlib.contextmanager
def losing(what):
    """Within, whoever stops this process at once is told what is not kept.

    Args:
      what: that, and what helps, in words.
    """
    global _lost
    before, _lost = _lost, what
    try:
        yield
    finally:
        _lost = before


@contextlib.contextmanager
def finishing(do):
    """Within, a process that is stopped at once calls `do` first; its other threads run on."""
    _last.append(do)
    try:
        yield
    finally:
        _last.remove(do)


def finish():
    """Calls what `finishing` holds, before the process leaves without unwinding."""
    for do in list(_last):
        with contextlib.suppress(Exception):  # it leaves whatever happens
            do()


def run(program):
    """Runs a program, and ends the process even where the terminal is gone or threads hang."""
    try:
        program()
    except SystemExit as stop:
        if not isinstance(stop.code, int) or not stop.code:
            raise
        atexit._run_exitfuncs()  # JAX's hosts say goodbye to one another
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(stop.code)


def say(text):
    """Writes a line to standard error, if there is one."""
    is_held = streams.error_lock.acquire(timeout=1)
    with contextlib.suppress(OSError):
        os.write(2, f'\n{text}\n'.encode() if os.isatty(2) else f'{text}\n'.encode())
    if is_held:
        streams.error_lock.release()


def _listen(numbers):
    """Starts to listen; returns the end of a pipe that is written to, and what stops it."""
    global _listening
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    read, write = os.pipe()
    os.set_blocking(write, False)
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, lambda number, frame: None) for number in numbers}
    thread = threading.Thread(target=_watch, args=(read, set(numbers)), daemon=True)
    thread.start()
    _listening = True

    def stop():
        global _listening
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not Python's
        signal.set_wakeup_fd(wakeup)
        os.write(write, _END)
        thread.join()
        for end in (read, write):
            os.close(end)
        _listening = False

    return write, stop


def _watch(read, numbers):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    while (byte := os.read(read, 1)) != _END:
        if byte == _ANSWER:
            _heard.set()
        elif (number := byte[0]) in numbers:
            with _mutex:
                if _request is not None and _request.take(number):
                    watch = threading.Thread(target=_do_not_outwait, args=(number,), daemon=True)
                    watch.start()
                    continue
            line = f'stopped by {NAMES[number]}' + (f': {_lost}' if _lost else '')
            line = '' if _is_started_by_ours else line
            leave(line, 128 + number)


def _do_not_outwait(number):
    """Ends this process, which was asked to stop, where a bucket that it is to save to is silent:
    libraries try again for a quarter of an hour."""
    while silences := lock.silences():
        for url, seconds in silences.items():
            if seconds > lock.PATIENCE:
                line = (
                    f'{NAMES[number]}: {url} has not answered for {seconds:.0f} s, nothing is saved'
                )
                leave(f'error: {line}; what was saved before is kept', 128 + number)
        time.sleep(1)


def leave(line, status):
    """Ends this process, from any of its threads: says a line, if there is one, ends its children
    and gives back what it holds."""
    _leaving.set()
    streams.error_lock.acquire(timeout=1)  # for good: nothing stands in for it any more
    if line:
        say(line)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what threads have to say of the end of their processes
        os.dup2(nowhere, stream)
    finish()
    _end_children()
    files.remove_unfinished()
    lock.release_all()
    os._exit(status)


def _hear_out(pipe):
    """Lets a signal that has come, and `leave`, end this process where its main thread is through:
    the thread that waits for signals may not have run since."""
    for _ in range(2):  # a signal that finds that thread itself comes behind the first question
        _heard.clear()
        os.write(pipe, _ANSWER)
        _heard.wait(10)
    while _leaving.is_set():
        time.sleep(1)


def _end_children():
    """Ends the processes that this one, and they, have started, where /proc tells.

    One that handles SIGTERM is given the chance to do so, and one that ignores it ends by itself.
    """
    children = {}
    for path in glob.glob('/proc/[0-9]*/status'):
        with contextlib.suppress(OSError, ValueError, KeyError), open(path) as file:
            about = {name: text.strip() for name, _, text in (line.partition(':') for line in file)}
            bit = 1 << signal.SIGTERM - 1
            sets = [int(about[name], 16) & bit for name in ('SigCgt', 'SigIgn')]
            children.setdefault(int(about['PPid']), []).append((int(about['Pid']), *sets))
    pending = children.pop(os.getpid(), [])
    while pending:
        child, catches, ignores = pending.pop()
        if not catches and not ignores:
            pending += children.pop(child, [])
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGTERM if catches or ignores else signal.SIGKILL)


def _forget():
    """In a forked process, which shares nothing of this but the pipe."""
    _leaving.clear()
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
        for number in NAMES:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
