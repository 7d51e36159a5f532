"""A port of this machine behind which another machine's is; run by its path, as a process.

It prints the number of its port, and a line wherever something changes: why the other cannot be
reached, or `ended` where the other has closed a connection, of which who is connected here hears
only later. It ends with the process that started it.

A process, and no thread: whoever waits for an answer may keep Python's lock meanwhile.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time

HELD = 30.0  # seconds that a connection is kept open here after the other side has closed it


def _say(text):
    with contextlib.suppress(OSError):
        os.write(1, f'{text}\n'.encode())


def _serve(listener, there):
    while True:
        here, _ = listener.accept()
        try:
            other = socket.create_connection(there, timeout=10)
        except OSError as error:  # the caller tries again
            _say(error.strerror or error)
            here.close()
            continue
        other.settimeout(None)
        closed = threading.Event()  # by the caller
        for one in (here, other):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((here, other), (other, here)):
            threading.Thread(
                target=_pass_on, args=(source, target, source is here, closed), daemon=True
            ).start()


def _pass_on(source, target, is_caller, closed):
    by_caller = is_caller
    with contextlib.suppress(OSError):  # reset, which is an end, too
        while data := source.recv(1 << 16):
            by_caller = not is_caller
            target.sendall(data)
            by_caller = is_caller
    if by_caller:
        closed.set()
    if not closed.is_set():
        _say('ended')
        time.sleep(HELD)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def main(host, port):
    """Serves until the process that started this one is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # which are that process's
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    listener = socket.create_server(('127.0.0.1', 0))
    _say(listener.getsockname()[1])
    threading.Thread(target=_serve, args=(listener, (host, int(port))), daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.5)


if __name__ == '__main__':
    main(*sys.argv[1:])
