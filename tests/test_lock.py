"""One writer a folder, whoever dies when."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from fgsep_jax import buckets, files, lock

# Processes that take one lock again and again, each kill -9'd after a while; `flock` on a file of
# their own, which the kernel gives back, tells whether two were ever in at once.
CROWD = """
import fcntl, os, random, signal, sys, time
from fgsep_jax import buckets, files, lock
folder, processes, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
def live(seed):
    random.seed(seed)
    while True:
        try:
            with lock.held(folder + '/x', 'test'), open(folder + '/witness', 'w') as witness:
                try:
                    fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    open(folder + '/two', 'w')
                os.write(2, b'.')
                time.sleep(random.random() / 100)
        except lock.Locked:
            time.sleep(random.random() / 200)
def start():
    seed = random.random()
    pid = os.fork()
    if not pid:
        live(seed)
    return pid
pids = {start() for _ in range(processes)}
until = time.time() + seconds
while time.time() < until:
    time.sleep(random.random() / 30)
    pid = random.choice(sorted(pids))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pids = pids - {pid} | {start()}
for pid in pids:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


def crowd(folder, processes, seconds):
    environment = {**os.environ, 'PYTHONPATH': str(pathlib.Path(__file__).parent.parent)}
    command = [sys.executable, '-c', CROWD, str(folder), str(processes), str(seconds)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended


def owner(folder, **changes):
    """A lock as a process leaves it that is gone, or with some other content."""
    content = {**lock._here(), 'pid': 2**22 + 1, 'born': '1', 'since': 'then', **changes}
    path = folder / lock.NAME / 'a.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return path


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.mark.slow
def test_killed_at_any_instant_never_two_are_in_and_nothing_is_left(tmp_path):
    ended = crowd(tmp_path, processes=24, seconds=2)
    assert not (tmp_path / 'two').exists()
    assert ended.stderr.count('.') > 5
    for path in (tmp_path / 'x').rglob('*'):
        age(path, lock.SILENCE + 5)
    with lock.held(tmp_path / 'x', 'test'):
        assert os.listdir(tmp_path / 'x') == [lock.NAME]


def test_the_second_is_refused_in_one_line_and_the_folder_is_as_before(tmp_path):
    folder = tmp_path / 'a' / 'run'
    with lock.held(folder, 'training', flag='--workdir'):
        assert lock.holder(folder).startswith(f'process {os.getpid()} on ')
        with pytest.raises(lock.Locked) as error, lock.held(folder, 'training', flag='--workdir'):
            pass
        assert [entry.name for entry in folder.iterdir()] == [lock.NAME]
    message = str(error.value)
    for part in (str(folder), str(os.getpid()), lock._here()['host'], 'training', '--workdir'):
        assert part in message
    assert '\n' not in message and lock.holder(folder) == ''
    assert not (tmp_path / 'a').exists()  # nothing was written: nothing is left
    folder.mkdir(parents=True)
    (folder / 'mine').touch()
    with lock.held(folder, 'training'):
        pass
    assert [entry.name for entry in folder.iterdir()] == ['mine']


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'pid': os.getpid()},  # the number is another process's now
        {'pid': -1},
        {'pid': '7'},
        {'pid': 10**18},
        {'pid': None},
    ],
)
def test_a_dead_owner_is_followed_at_once(tmp_path, changes):
    owner(tmp_path, **changes)
    assert lock.holder(tmp_path) == ''
    with lock.held(tmp_path, 'training'):
        assert json.loads(next((tmp_path / lock.NAME).iterdir()).read_text())['pid'] == os.getpid()


@pytest.mark.parametrize(
    'changes', [{'host': 'other'}, {'boot': 'other'}, {'container': 'pid:[1]'}]
)
def test_an_owner_elsewhere_is_followed_after_a_silence(tmp_path, changes):
    path = owner(tmp_path, **changes)
    with pytest.raises(lock.Locked, match='remove .*fgsep_lock'), lock.held(tmp_path, 'training'):
        pass
    age(path, lock.SILENCE + 5)
    with lock.held(tmp_path, 'training'):
        pass


DAMAGED = [
    '',
    '[]',
    '{"pid"',
    'null',
    '"x"',
    '[' * 100_000,
    '{"a":' * 100_000,
    '{"pid": 1' + '0' * 30 + '}',
]


@pytest.mark.parametrize('content', DAMAGED)
def test_a_damaged_lock_is_followed_after_a_silence(tmp_path, content):
    path = owner(tmp_path)
    path.write_text(content)
    with pytest.raises(lock.Locked, match='unknown'), lock.held(tmp_path, 'training'):
        pass
    age(path, lock.SILENCE + 5)
    with lock.held(tmp_path, 'training'):
        pass


def test_a_copy_of_a_folder_that_is_written_to_is_free(tmp_path):
    (tmp_path / 'run').mkdir()
    with lock.held(tmp_path / 'run', 'training') as mine:
        shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
        assert lock.holder(tmp_path / 'copy') == ''
        with lock.held(tmp_path / 'copy', 'training'), pytest.raises(lock.Locked):
            lock.Lock(tmp_path / 'copy', 'training').take()
        assert lock.holder(tmp_path / 'run') and not mine.lost
        shutil.copytree(tmp_path / 'run', tmp_path / 'copy', dirs_exist_ok=True)
    assert lock.holder(tmp_path / 'copy') == ''
    (tmp_path / 'run').rmdir()
    assert lock.holder(tmp_path / 'copy')  # it may be the original: nobody can tell


def test_a_folder_that_moves_while_it_is_written_to_stays_locked(tmp_path, monkeypatch):
    (tmp_path / 'runs').mkdir()
    with lock.held(tmp_path / 'runs' / 'run', 'training'):
        (tmp_path / 'runs').rename(tmp_path / 'moved')
        (tmp_path / 'link').symlink_to(tmp_path / 'moved')
        for parent in ('moved', 'link'):
            assert lock.holder(tmp_path / parent / 'run')
            monkeypatch.chdir(tmp_path / parent / 'run')
            assert lock.holder('.') and lock.holder('')
        shutil.copytree(tmp_path / 'moved', tmp_path / 'runs')  # even with a copy in its place
        assert lock.holder(tmp_path / 'moved' / 'run')


@pytest.mark.parametrize('place', [None, 7, '', 'no', '/\0', '/\ud800', [], {}])
def test_a_lock_that_does_not_say_where_it_was_taken_counts(tmp_path, place):
    ours = {'pid': os.getpid(), 'born': lock._born(os.getpid())}
    owner(tmp_path, **ours, path=place, inode=place)
    assert lock.holder(tmp_path)


def test_a_lock_that_is_no_file_is_not_waited_for(tmp_path):
    path = owner(tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert 'unknown' in lock.holder(tmp_path)
    with pytest.raises(lock.Locked, match='unknown'), lock.held(tmp_path, 'training'):
        pass


def test_what_a_lock_says_is_one_printable_line(tmp_path):
    hostile = dict.fromkeys(('pid', 'host', 'since', 'doing'), 'a\nb\x1b[2J�')
    owner(tmp_path, **hostile)
    assert lock.holder(tmp_path).isprintable()
    with pytest.raises(lock.Locked) as error, lock.held(tmp_path, 'training'):
        pass
    assert str(error.value).isprintable()


def test_the_living_show_it_and_see_when_their_lock_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'BEAT', 0.02)
    with pytest.raises(lock.Lost), lock.held(tmp_path, 'training') as mine:
        path = next((tmp_path / lock.NAME).iterdir())
        age(path, 1000)
        until = time.monotonic() + 10
        while time.time() - path.stat().st_mtime > 100 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 100 and not mine.lost
        path.unlink()
        while not mine.lost and time.monotonic() < until:
            time.sleep(0.01)
        assert mine.lost


@pytest.mark.parametrize('taken', (False, True))
@pytest.mark.parametrize('fails', (False, True))
def test_who_lost_a_folder_puts_nothing_in_place_and_ends(tmp_path, taken, fails):
    words = 'the lock of .* was removed, or taken by another process'
    with pytest.raises(lock.Lost, match=words), lock.held(tmp_path, 'training'):
        files.write({tmp_path / 'x': 'early'})
        shutil.rmtree(tmp_path / lock.NAME)
        if taken:
            owner(tmp_path, host='elsewhere')
        for _ in range(2):
            with pytest.raises(lock.Lost):
                files.write({tmp_path / 'x': 'late', tmp_path / 'y': 'late'})
        files.write({tmp_path.parent / f'{tmp_path.name}-other': 'not held'})
        if fails:
            raise FileNotFoundError('what the other owner has removed')
    assert (tmp_path / 'x').read_text() == 'early'
    assert {path.name for path in tmp_path.iterdir()} == {'x', *[lock.NAME] * taken}
    shutil.rmtree(tmp_path / lock.NAME, ignore_errors=True)
    with lock.held(tmp_path, 'training'):
        files.write({tmp_path / 'x': 'anew'})


def test_a_bucket_s_folder_is_given_up_with_its_lock(memory, monkeypatch):
    with buckets.copies():
        folder = pathlib.Path(buckets.local('memory://b/run'))
        with pytest.raises(lock.Lost), lock.held(folder, 'evaluation'):
            memory.rm(f'/b/run/{lock.NAME}')
            (folder / 'x').write_text('late')
    assert memory.find('/b/run') == []


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with (
        pytest.raises(OSError, match='file is a file, not a folder'),
        lock.held(tmp_path / 'file', 'training'),
    ):
        pass
    (tmp_path / lock.NAME / 'foreign').mkdir(parents=True)
    with pytest.raises(lock.Locked, match='in the way'), lock.held(tmp_path, 'training'):
        pass
    assert sorted(os.listdir(tmp_path)) == [lock.NAME, 'file']
    assert os.listdir(tmp_path / lock.NAME) == ['foreign']
    (tmp_path / 'other').mkdir()
    for make in (pathlib.Path.touch, os.mkfifo):
        make(tmp_path / 'other' / lock.NAME)
        with (
            pytest.raises(lock.Locked, match=f'{lock.NAME} is no folder, and in the way'),
            lock.held(tmp_path / 'other', 'training'),
        ):
            pass
        os.unlink(tmp_path / 'other' / lock.NAME)


def test_a_folder_that_its_maker_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    mkdir, removed = os.mkdir, []

    def slow(path, *mode):
        if os.path.basename(path).startswith(lock.NAME) and not removed:
            removed.append(os.rmdir(tmp_path / 'run'))  # as another's end does just then
        mkdir(path, *mode)

    monkeypatch.setattr(os, 'mkdir', slow)
    with lock.held(tmp_path / 'run', 'training'):
        assert removed and lock.holder(tmp_path / 'run')


def test_only_what_killed_starts_left_is_swept(tmp_path):
    dead, young, empty = (f'{lock.NAME}-{letter * 32}' for letter in 'abc')
    owner(tmp_path)
    (tmp_path / lock.NAME).rename(tmp_path / dead)
    (tmp_path / young).mkdir()
    (tmp_path / empty).mkdir()
    age(tmp_path / empty, lock.SILENCE + 5)
    (tmp_path / f'{lock.NAME}-mine').mkdir()
    with lock.held(tmp_path, 'training'):
        pass
    assert sorted(os.listdir(tmp_path)) == [young, f'{lock.NAME}-mine']


def test_temporary_folders_of_the_dead_alone_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock.tempfile, 'tempdir', str(tmp_path))
    for name in ('fgsep-x-dead', 'fgsep-x-foreign', 'fgsep-y-dead'):
        (tmp_path / name).mkdir()
    for name in ('fgsep-x-dead', 'fgsep-y-dead'):
        owner(tmp_path / name)
    with lock.scratch('fgsep-x-') as mine, lock.scratch('fgsep-x-') as other:
        names = {os.path.basename(path) for path in (mine, other)}
        assert set(os.listdir(tmp_path)) == names | {'fgsep-x-foreign', 'fgsep-y-dead'}
    assert sorted(os.listdir(tmp_path)) == ['fgsep-x-foreign', 'fgsep-y-dead']
