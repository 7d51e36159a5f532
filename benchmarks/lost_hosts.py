"""How soon hosts end that have lost one, and what a run is that goes on with as many, or others.

    python -m benchmarks.lost_hosts

Trains `convtasnet:demo` on noise for 30 steps as processes of this machine that find one another by
flags, kills one (`kill -9`) or has it stand still, and starts what is left again.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from benchmarks import input as input_lib
from fgsep_jax import command_line, config as config_lib
from fgsep_jax.separation import model as model_lib

TRAIN = (
    '--config=convtasnet:demo',
    '--mode=train',
    '--config.data.batch_size=12',  # among one to four
    '--config.training.epochs=1',
    '--config.training.log_steps=1',
    '--config.training.checkpoint_steps=10',
)
MIXTURES = 360  # of an epoch of 30 steps
LOSSES = (  # (hosts, which one, how, what that is)
    (3, 0, signal.SIGKILL, 'process 0 of 3 is killed'),
    (3, 2, signal.SIGKILL, 'another of 3 is killed'),
    (2, 0, signal.SIGSTOP, 'process 0 of 2 stands still'),
)


@contextlib.contextmanager
def started(folder, hosts):
    """Yields the processes of a training in a run folder, and kills what is left of them."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        place = f'--coordinator=127.0.0.1:{probe.getsockname()[1]}'
    command = [sys.executable, '-m', 'fgsep_jax.main', *TRAIN, f'--workdir={folder}']
    if hosts > 1:
        command += [place, f'--processes={hosts}']
    numbers = [[f'--process={k}'] if hosts > 1 else [] for k in range(hosts)]
    command += [f'--config.data.dir={os.path.join(os.path.dirname(folder), "noise")}']
    how = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    processes = [subprocess.Popen([*command, *number], **how) for number in numbers]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def train(folder, hosts):
    """Trains to the end.

    Raises:
      RuntimeError: a process ended by anything but its end.
    """
    with started(folder, hosts) as processes:
        ended = [process.wait() for process in processes]
    if any(ended):
        raise RuntimeError(f'{folder}: {hosts} hosts ended with {ended}')


def lose(folder, hosts, which, number, *, checkpoints):
    """Trains until there are so many checkpoints and a step more, sends one host a signal.

    Returns:
      Seconds until each of the others ended, by their numbers.
    """
    kept, log = os.path.join(folder, 'checkpoints'), os.path.join(folder, 'metrics.jsonl')

    def lines():
        with contextlib.suppress(OSError), open(log) as file:
            return len(file.readlines())
        return 0

    with started(folder, hosts) as processes:
        while not os.path.isdir(kept) or sum(x.isdigit() for x in os.listdir(kept)) < checkpoints:
            time.sleep(0.05)
            if processes[0].poll() is not None:
                raise RuntimeError(f'{folder}: it ended before a host was lost')
        before = lines()
        while lines() == before:
            time.sleep(0.05)
        processes[which].send_signal(number)
        began, ended = time.monotonic(), {}
        while len(ended) < hosts - 1:
            for k, process in enumerate(processes):
                if k != which and k not in ended and process.poll() is not None:
                    ended[k] = time.monotonic() - began, process.returncode
            time.sleep(0.05)
    return ended


def main(arguments=None):
    """Prints both tables."""
    command_line.Parser('benchmarks.lost_hosts', __doc__).parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, 'noise')
        os.mkdir(data)
        config = config_lib.load('convtasnet:demo').copy_and_resolve_references()
        splits = ('train', 'validation')
        input_lib.write(data, config, mixtures=MIXTURES, longest=1.0, splits=splits)
        print('| lost | the others end after, with status |\n|---|---|', flush=True)
        for number, (hosts, which, how, words) in enumerate(LOSSES):
            run = os.path.join(folder, f'lost{number}')
            ended = lose(run, hosts, which, how, checkpoints=1)
            said = (f'{k}: {seconds:.1f} s, {code}' for k, (seconds, code) in sorted(ended.items()))
            print(f'| {words} | {"; ".join(said)} |', flush=True)
        whole, lost = os.path.join(folder, 'whole'), os.path.join(folder, 'lost')
        train(whole, 2)
        lose(lost, 2, 1, signal.SIGKILL, checkpoints=2)
        expected = jax.tree.leaves(model_lib.load(whole).parameters)
        print('\n| two hosts, one lost, then | parameters differ by at most |\n|---|---|')
        for hosts in (2, 1, 4):
            run = shutil.copytree(lost, os.path.join(folder, f'on{hosts}'))
            train(run, hosts)
            found = jax.tree.leaves(model_lib.load(run).parameters)
            apart = max(float(np.abs(x - y).max()) for x, y in zip(expected, found, strict=True))
            print(f'| {hosts} | {apart:.2g} |', flush=True)


if __name__ == '__main__':
    main()
