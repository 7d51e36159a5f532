"""Seconds and memory of a report of very many rows and steps, each report in a process of its own.

    python -m benchmarks.large_report [--config=convtasnet] [--rows=1000000] [--runs=1]
        [--steps=1000000] [--events]

Makes run folders of random numbers, a row an example and speaker, and deletes them. With --events
it is TensorBoard, which must be installed, that reads one log.
"""

import importlib.util
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from fgsep_jax import command_line, config as config_lib, files
from fgsep_jax.evaluation import evaluate
from fgsep_jax.training import tensorboard

RECORDINGS = 2000  # or speakers
REPORT = """
from fgsep_jax.report import __main__ as report
assert not report.main(['--runs=runs', '--output_dir=report'])
"""
READ = """
from tensorboard.backend.event_processing import event_accumulator
event_accumulator.EventAccumulator('.').Reload()
"""
PEAK = """
print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""


def make(folder, rows, *, system='convtasnet', seed=0, steps=0):
    """Writes a run folder with one result and a log.

    Args:
      folder: where to.
      rows: of examples.csv, two an example.
      system: as configs/ name it; one that masks has classes and recordings, others speakers.
      seed: of the run; its scores differ, its examples do not.
      steps: that were logged, each.
    """
    config = config_lib.load(f'{system}:demo').copy_and_resolve_references()
    config.seed, config.data.dir = seed, 'made'
    sources, metrics = ('1', '2'), evaluate.METRICS
    named = config.task == 'foreground'
    if named:
        sources, metrics = ('foreground', 'background'), evaluate.FULL_METRICS
    shared, own = np.random.default_rng(0), np.random.default_rng(1 + seed)
    count = rows // 2
    recording_NS = shared.integers(0, RECORDINGS, (count, 2))
    about_N2 = shared.uniform((2, -5), (9, 5), (count, 2)).tolist()
    level_NS1 = shared.normal(10, 1.5, (count, 1, 1))
    score_NSM = level_NS1 + own.normal(0, 1, (count, 2, len(metrics)))
    about = ('class', 'recording') if named else ('speaker', 'sex')

    def row(i, s):
        number = int(recording_NS[i, s])
        who = [f'class {number % 10}', f'recording {number}']
        who = who if named else [f'speaker {number}', 'FM'[number % 2]]
        return [f'{i:07d}', 'model', sources[s], *who, *about_N2[i], *score_NSM[i, s].tolist()]

    heads = ['id', 'system', 'source', *about, 'seconds', 'snr_db', *metrics]
    lines = itertools.chain([heads], (row(i, s) for i in range(count) for s in (0, 1)))
    examples = ''.join(','.join(map(str, line)) + '\n' for line in lines).encode()
    few = [dict(zip(heads, row(i, s))) for i in range(3) for s in (0, 1)]
    said = {'system': system, 'preset': 'demo', 'data_set': 'made', 'split': 'test'}
    summary = evaluate.summary(
        few, {}, source_names=sources * named, **said, step=max(steps, 1), parameters=1
    )
    summary |= {'examples': count, 'examples_digest': files.digest(examples)}
    where = os.path.join(folder, 'evaluation', 'made')
    os.makedirs(where)
    log = (
        json.dumps({'step': step, 'kind': 'train', 'loss': -5 * np.log(step), 'gradient_norm': 2.5})
        for step in range(1, steps + 1)
    )
    files.write(
        {
            os.path.join(folder, 'config.json'): config_lib.to_json(config),
            os.path.join(folder, 'training_data.json'): '{"name": "made"}',
            os.path.join(folder, 'metrics.jsonl'): ''.join(line + '\n' for line in log),
            os.path.join(where, 'examples.csv'): examples,
            os.path.join(where, 'summary.json'): json.dumps(files.with_digest(summary)),
        }
    )


def make_events(folder, steps):
    """Writes a log of so many steps for TensorBoard, two numbers each; returns its bytes."""
    with open(tensorboard.path(folder), 'wb') as file:
        writer = tensorboard.EventWriter(file, purge_step=1)
        for step in range(1, steps + 1):
            writer.scalars(step, {'train/loss': -5 * np.log(step), 'train/gradient_norm': 2.5})
        return file.tell()


def _timed(code, folder):
    """What a process of Python takes, in words."""
    command = [sys.executable, '-c', code + PEAK]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # whose memory would count ours, too
    busy, most = usage.ru_utime + usage.ru_stime, int(done.stdout.split()[-1])
    return f'{seconds:.0f} s ({busy:.0f} s of a core), {most / 1e6:.2f} GB'


def main(arguments=None):
    """Prints what a report takes."""
    parser = command_line.Parser('benchmarks.large_report', __doc__)
    for name, default, words in (
        ('rows', 1_000_000, 'of all results together'),
        ('runs', 1, 'that share them, of a seed each'),
        ('steps', 1_000_000, 'that each log has'),
    ):
        parser.add_argument(f'--{name}', type=command_line.count, default=default, help=words)
    parser.add_argument('--config', default='convtasnet', help='of the runs, as configs/ name it')
    parser.switch('--events', 'time TensorBoard, which reads one such log, and no report')
    flags, _ = parser.parse(arguments)
    if flags.events and not importlib.util.find_spec('tensorboard'):
        parser.error('--events: pip install tensorboard')
    with tempfile.TemporaryDirectory() as folder:
        if flags.events:
            size = make_events(folder, flags.steps)
            print(f'{_timed(READ, folder)}, events {size / 1e6:.0f} MB')
            return
        for seed in range(flags.runs):
            where = os.path.join(folder, 'runs', str(seed))
            make(where, flags.rows // flags.runs, system=flags.config, seed=seed, steps=flags.steps)
        taken = _timed(REPORT, folder)
        page = os.path.getsize(os.path.join(folder, 'report', 'index.html'))
    print(f'{taken}, page {page / 1e3:.0f} kB')


if __name__ == '__main__':
    main()
