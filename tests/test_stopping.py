"""Signals end a program in one line, or are a request where there is something to save."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from fgsep_jax import lock, stopping

ROOT = pathlib.Path(__file__).parent.parent
# Says when it is ready, and is then inside C code that gives nothing back for a long time.
BUSY = """
import ctypes, subprocess, sys
from fgsep_jax import lock, stopping
stopping.use()
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
with lock.held(sys.argv[1], 'test'):
    print(child.pid, flush=True)
    while True:
        ctypes.CDLL(None).sleep(60)
"""
LOSING = """
import time
from fgsep_jax import stopping
stopping.use()
with stopping.losing('outer'):
    with stopping.losing('inner'):
        pass
    print('ready', flush=True)
    time.sleep(60)
"""
SAVING = """
import sys, time
from fgsep_jax import stopping
stopping.use()
with stopping.deferred() as request:
    print('ready', flush=True)
    while not request.number:
        time.sleep(0.01)
    print('saving', flush=True)
    time.sleep(float(sys.argv[1]))
stopping.run(lambda: sys.exit(128 + request.number))
"""


def start(program, *arguments, ignored=None):
    command = [sys.executable, '-c', program, *map(str, arguments)]
    if ignored:  # as by nohup, or a script's &
        command = ['sh', '-c', f'trap "" {ignored:d}; exec "$@"', 'sh', *command]
    process = subprocess.Popen(
        command,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return process, line(process)


def line(process):
    """The next line that a process prints; '' where none comes."""
    timer = threading.Timer(30, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        return process.stdout.readline().strip()
    finally:
        timer.cancel()


def end(process, status):
    try:
        _, errors = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == status and 'Traceback' not in errors
    return errors.splitlines()


@pytest.mark.parametrize('number, name', stopping.NAMES.items())
def test_a_program_leaves_at_once_with_all_that_is_its(tmp_path, number, name):
    process, child = start(BUSY, tmp_path / 'held')
    assert lock.holder(tmp_path / 'held')
    os.killpg(process.pid, number)  # as a terminal does
    assert end(process, 128 + number) == [f'stopped by {name}']
    assert not (tmp_path / 'held' / lock.NAME).exists()
    until = time.monotonic() + 10
    while lock._born(int(child)) is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert lock._born(int(child)) is None


def test_what_is_not_kept_is_said():
    process, _ = start(LOSING)
    process.send_signal(signal.SIGTERM)
    assert end(process, 143) == ['stopped by SIGTERM: outer']


@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGINT])
def test_what_was_ignored_stays_ignored(tmp_path, number):
    process, _ = start(BUSY, tmp_path, ignored=number)
    process.send_signal(number)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert end(process, 143) == ['stopped by SIGTERM']


@pytest.mark.parametrize('number', stopping.NAMES)
def test_where_there_is_something_to_save_it_is_saved(number):
    process, _ = start(SAVING, 0)
    process.send_signal(number)
    assert line(process) == 'saving'
    assert len(end(process, 128 + number)) == 1


def test_only_a_second_ctrl_c_leaves_at_once():
    process, _ = start(SAVING, 60)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
        time.sleep(0.3)
    assert line(process) == 'saving' and process.poll() is None
    process.send_signal(signal.SIGINT)
    assert end(process, 130)[1:] == ['stopped by Ctrl-C']


def test_a_library_listens_while_it_has_to_only():
    before = [signal.getsignal(number) for number in stopping.NAMES]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    for number in stopping.NAMES:
        with stopping.deferred() as request:
            os.kill(os.getpid(), number)
            until = time.monotonic() + 10
            while request.number is None and time.monotonic() < until:
                time.sleep(0.001)
            assert request.number == number
        assert [signal.getsignal(number) for number in stopping.NAMES] == before
    assert signal.set_wakeup_fd(wakeup) == wakeup
    seen = []
    thread = threading.Thread(target=lambda: seen.append(stopping.deferred().__enter__().number))
    thread.start()
    thread.join()
    assert seen == [None]  # another thread cannot listen, and goes on without


@pytest.mark.parametrize('program, said', [('of_a_user', 'mine'), ('benchmarks', '')])
def test_programs_of_ours_alone_listen_from_their_first_line(tmp_path, program, said):
    package = tmp_path / program
    package.mkdir()
    (package / '__init__.py').write_text('import fgsep_jax')
    (package / 'train.py').write_text(
        'import os, signal, time\n'
        'signal.signal(2, signal.default_int_handler) if signal.getsignal(2) == 1 else 0\n'
        'try:\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    time.sleep(30)\n'
        'except KeyboardInterrupt:\n'
        '    print("mine")\n'
    )
    for words in (['-m', f'{program}.train', '--x'], ['-X', 'dev', f'-Bm{program}.train']):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == said, done.stderr
        assert done.returncode == (0 if said else 130)


@pytest.mark.parametrize('number, name', stopping.NAMES.items())
@pytest.mark.parametrize(
    'before, after',
    [
        ('', '    time.sleep(0.3)'),  # the process ends while it is being stopped
        ('sys.setswitchinterval(60)\n', ''),  # and before any other thread has run
        ('sys.setswitchinterval(60)\n', '    sys.exit(3)'),
    ],
)
def test_a_stop_at_the_end_is_no_success(before, after, number, name):
    """Whoever reads that it was stopped does not find the status of one that was not."""
    program = (
        'import os, sys, time\n'
        'from fgsep_jax import stopping\n'
        f'stopping.use()\n{before}'
        'with stopping.finishing(lambda: time.sleep(1)):\n'
        f'    os.kill(os.getpid(), {number:d})\n{after}'
    )
    process = subprocess.run(
        [sys.executable, '-c', program],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (128 + number, f'stopped by {name}\n')


# A program of ours starts another, as a study does, or a job its workers.
STARTS = """
import os, subprocess, sys, time
from fgsep_jax import stopping
stopping.use()
if sys.argv[1:] == ['worker']:
    os.execv(sys.executable, [*sys.orig_argv, 'again'])
if sys.argv[1:]:
    print('ready', flush=True)
    time.sleep(60)
sys.exit(subprocess.run([sys.executable, '-c', sys.orig_argv[2], 'worker']).returncode)
"""


@pytest.mark.parametrize('number, name', stopping.NAMES.items())
def test_of_programs_that_started_one_another_one_speaks(number, name):
    process, said = start(STARTS)
    assert said == 'ready'
    os.killpg(process.pid, number)
    assert end(process, 128 + number) == [f'stopped by {name}']


def test_processes_that_render_do_not_see_ctrl_c():
    program = (
        'import signal\n'
        'from fgsep_jax import stopping\n'
        'from data_prep import progress\n'
        'stopping.use()\n'
        'mask = signal.pthread_sigmask\n'
        'made = progress.in_processes(mask, [signal.SIG_BLOCK], [[]], stage="", unit="")\n'
        'print(*map(int, next(made)), *map(int, mask(signal.SIG_BLOCK, [])))\n'
    )
    process, blocked = start(program)
    assert blocked == f'{signal.SIGINT:d} {signal.SIGINT:d}'
    end(process, 0)


INTERRUPTED = """
import os, signal, sys
def hook(event, arguments):
    if event == 'import' and arguments[0] == os.environ['AT']:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hook)
"""
SCRIPT = 'import sys; from fgsep_jax.scripts import report; sys.exit(report())'


@pytest.mark.parametrize(
    'words, at',
    [
        (['-m', 'fgsep_jax.report'], 'fgsep_jax.stopping'),
        (['-m', 'fgsep_jax.main'], 'fgsep_jax.lock'),
        (['-m', 'data_prep.vctk_2mix'], 'logging'),
        (['-c', SCRIPT], 'fgsep_jax.streams'),
    ],
)
def test_ctrl_c_while_a_program_is_imported_is_one_line(tmp_path, words, at):
    (tmp_path / 'sitecustomize.py').write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}', 'AT': at},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (130, 'stopped by Ctrl-C\n')
