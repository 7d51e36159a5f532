"""What cannot be printed never stops the work, and no file takes a closed stream's place."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

import pytest

from fgsep_jax import streams

ROOT = pathlib.Path(__file__).parent.parent
# Prints more than a pipe or a buffer holds, writes a file, and starts a process that prints, too.
PROGRAM = """
import os, subprocess, sys
from fgsep_jax import command_line
with open('result', 'w') as file:
    for number in range(9000):
        print('line', number, flush=number % 1000 == 0)
        print('note', number, file=sys.stderr)
    sys.stdin and sys.stdin.read()
    subprocess.run(['echo', 'child'])
    file.write('all')
os.write(2, b'also')
if 'show' in sys.argv:
    command_line.show('the work')
sys.exit(int(sys.argv[1]))
"""
STREAMS = ['> /dev/full', '2> /dev/full', '>&-', '2>&-', '<&-', '>&- 2>&- <&-', '| head -1']


def run(folder, redirection, *words):
    package = folder / 'benchmarks'  # as programs of ours are called
    package.mkdir(exist_ok=True)
    (package / '__init__.py').write_text('import fgsep_jax')
    (package / 'program.py').write_text(PROGRAM)
    command = f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}'
    words = [sys.executable, '-m', 'benchmarks.program', *words]
    return subprocess.run(
        ['bash', '-c', command, 'bash', *words],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
    )


@pytest.mark.few(3)
@pytest.mark.parametrize('redirection', STREAMS)
def test_the_work_is_done_whatever_becomes_of_its_streams(tmp_path, redirection):
    for status in (0, 2):
        done = run(tmp_path, redirection, str(status))
        assert done.returncode == status
        assert (tmp_path / 'result').read_text() == 'all'
        notes = [] if '2>' in redirection else done.stderr.splitlines()
        assert len(notes) in (0, 9001) and not any('rror' in note for note in notes)


@pytest.mark.few(3)
@pytest.mark.parametrize('redirection', ['', *STREAMS])
def test_where_the_text_is_the_work_its_loss_is_said(tmp_path, redirection):
    done = run(tmp_path, redirection, '0', 'show')
    lost = redirection not in ('', '<&-') and not redirection.startswith('2')
    assert done.returncode == lost
    if '2>' not in redirection:
        assert done.stderr.count('error: standard output: ') == lost


def test_help_that_does_not_arrive_is_said():
    command = f'{sys.executable} -m fgsep_jax --help > /dev/full'
    done = subprocess.run(['bash', '-c', command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'No space left' in done.stderr


def test_words_of_a_library_are_left_out_and_no_others(capfd):
    words = re.compile(rb'^lib: .*\n?', re.MULTILINE)

    def others():
        for number in range(200):
            os.write(2, f'other {number}\n'.encode())

    thread = threading.Thread(target=others)
    thread.start()
    for _ in range(50):
        with streams.error_without(words):
            os.write(2, b'lib: one\nmine\nlib: two\n')
    with pytest.raises(KeyError), streams.error_without(words):
        os.write(2, b'mine\nlib: cut')
        raise KeyError
    thread.join()
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == sorted(['mine'] * 51 + [f'other {number}' for number in range(200)])


def test_a_forked_process_has_the_true_standard_error(capfd):
    inside, leave = threading.Event(), threading.Event()

    def decode():
        with streams.error_without(re.compile(b'x')):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=decode)
    thread.start()
    inside.wait(10)
    threading.Timer(0.1, leave.set).start()
    if not (child := os.fork()):
        os.write(2, b'of the child\n')
        with streams.error_without(re.compile(b'x')):
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    said = capfd.readouterr().err.splitlines()
    # Beam's gRPC, where it runs in this process, has a line of its own on forks.
    assert [line for line in said if 'fork_posix.cc' not in line] == ['of the child']
    thread.join()


def test_without_standard_error_or_room_for_another_all_goes_on(tmp_path, monkeypatch):
    before = os.dup(2)
    os.close(2)
    try:
        with streams.error_without(re.compile(b'x')):
            pass
    finally:
        os.dup2(before, 2)
        os.close(before)
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'none'))
    with streams.error_without(re.compile(b'x')):
        pass
    os.fstat(2)


def test_a_line_is_there_when_it_is_printed(tmp_path):
    package = tmp_path / 'benchmarks'
    package.mkdir()
    (package / '__init__.py').write_text('import fgsep_jax')
    (package / 'program.py').write_text(
        'import sys\nprint("a line")\nsys.stdin.readline()\nprint("more")'
    )
    process = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.program'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(20, process.kill)
    timer.start()
    assert process.stdout.readline() == 'a line\n'  # while it waits
    timer.cancel()
    assert process.communicate('\n')[0] == 'more\n'
