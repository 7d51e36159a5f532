"""What every benchmark shares: a case, how it is run, and what is written of it.

Absolute times tell about a machine, ratios about the code: ours and each peer take turns in one
process, and what counts is the ratio of each turn, its median and quartiles.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Instructions as Linux names them, widest first, and as their makers do.
VECTORS = {'avx512f': 'AVX-512', 'avx2': 'AVX2', 'avx': 'AVX'}


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison: a row of the table.

    Attributes:
      name: what is done, on how much.
      ours: runs our side once and waits for the result.
      peers: name -> the same of a peer; the target is about the first.
      target: largest ratio, ours over the first peer's, or with `limit` the largest value of ours.
      limit: the target is about our value itself; peers may then be left out.
      flops: floating-point operations that the arithmetic needs; 0 where they do not matter.
      bytes: least bytes that must move between memory and processor; 0 where not counted.
      rounds: turns; in each a side that is timed runs twice, and the second time counts.
      unit: of the values: 's' is timed; of any other, each run returns its own value.
    """

    name: str
    ours: Callable[[], Any]
    peers: dict[str, Callable[[], Any]] = dataclasses.field(default_factory=dict)
    target: float | None = None
    limit: bool = False
    flops: float = 0
    bytes: float = 0
    rounds: int = 9
    unit: str = 's'


def value_of(case: Case, run: Callable[[], Any]) -> float:
    """What one run is worth: the seconds it took, or in another unit what it returned."""
    began = time.perf_counter()
    returned = run()
    return time.perf_counter() - began if case.unit == 's' else float(returned)


def compare(case: Case, rates: dict[str, float]) -> dict:
    """Runs a case.

    Args:
      case: the Case.
      rates: as `machine_rates` returns them, for the roofline.

    Returns:
      A row as the results file holds it: medians, and for each peer the quartiles of the ratios.
    """
    # A side's first run after another's takes memory and caches back from it, which a program that
    # runs alone never has to: of each turn the second run counts.
    unmeasured = 1 if case.unit == 's' else 0
    runs = {'': case.ours, **case.peers}
    values = {name: [] for name in runs}
    for turn in range(case.rounds):
        for name, run in runs.items():
            for _ in range(unmeasured if turn else 2 * unmeasured):  # compiles first
                run()
            values[name].append(value_of(case, run))
    ours = np.array(values.pop(''))
    row = {
        'case': case.name,
        'unit': case.unit,
        'ours': float(np.median(ours)),
        'peers': {},
        'target': case.target,
        'limit': case.limit,
        'rounds': case.rounds,
    }
    for name, theirs in values.items():
        ratio = ours / np.array(theirs)
        row['peers'][name] = {
            'value': float(np.median(theirs)),
            'ratio': float(np.median(ratio)),
            'quartiles': [float(q) for q in np.quantile(ratio, [0.25, 0.75])],
        }
    if case.unit == 's' and (case.flops or case.bytes):
        row['roofline'] = max(case.flops / rates['flops'], case.bytes / rates['bytes'])
        row['flops'], row['bytes'] = case.flops, case.bytes
    return row


def met(row: dict) -> bool | None:
    """Whether a row's target is met; None where it has none."""
    if row['target'] is None:
        return None
    value = row['ours'] if row['limit'] else next(iter(row['peers'].values()))['ratio']
    return value <= row['target']


def machine_rates(*, size: int = 2048, megabytes: int = 256) -> dict[str, float]:
    """What this machine reaches: {'flops': of a float32 matrix product, 'bytes': of a copy}.

    Args:
      size: of the square matrices.
      megabytes: of the array; read once and written once.

    Returns:
      Operations and bytes a second, the best of several tries each.
    """
    if jax.default_backend() != 'cpu':
        return _accelerator_rates(size, megabytes)
    matrix = jnp.ones((size, size))
    product = jax.jit(jnp.matmul)
    array = np.ones(megabytes * 2**20 // 4, np.float32)
    target = np.empty_like(array)
    halves = [slice(0, len(array) // 2), slice(len(array) // 2, None)]

    def copy():  # one thread an array half: a single one may not saturate the memory
        list(pool.map(lambda half: np.copyto(target[half], array[half]), halves))

    def best(run):
        run()
        case = Case('', run)
        return min(value_of(case, run) for _ in range(5))

    with ThreadPoolExecutor(len(halves)) as pool:
        seconds = best(copy)
    return {
        'flops': 2 * size**3 / best(lambda: product(matrix, matrix).block_until_ready()),
        'bytes': 2 * array.nbytes / seconds,
    }


def _accelerator_rates(size, megabytes):
    """As `machine_rates`, many runs a reading: one is over before the host has asked for it."""
    runs, matrix = 50, jnp.ones((4 * size, 4 * size))
    array = jnp.ones((16 * megabytes * 2**20 // 4,))

    def seconds(function, x):
        def run():
            out = [function(x) for _ in range(runs)][-1]
            out.block_until_ready()

        run()
        return min(value_of(Case('', run), run) for _ in range(3)) / runs

    return {
        'flops': 2 * (4 * size) ** 3 / seconds(jax.jit(lambda x: x @ x), matrix),
        'bytes': 2 * array.nbytes / seconds(jax.jit(lambda x: x + 1), array),
    }


def busy_cores(seconds: float = 1.0) -> float | None:
    """How many cores are at work for others, while this sleeps; None where nobody says."""

    def ticks():  # user nice system idle iowait irq softirq steal ...
        with open('/proc/stat') as file:
            return np.array(file.readline().split()[1:9], float)

    try:
        before = ticks()
        time.sleep(seconds)
        spent = ticks() - before
    except OSError:
        return None
    return float(os.cpu_count() * (1 - spent[3:5].sum() / spent.sum()))


def machine() -> dict:
    """What the results should be read with: processor, device, versions, others' load, time."""
    versions = {}
    for package in ('jax', 'flax', 'torch', 'librosa', 'mir_eval', 'fast_bss_eval', 'grain'):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        'device': jax.devices()[0].device_kind,
        'platform': jax.default_backend(),
        'cores': len(os.sched_getaffinity(0)),
        'processor': _processor(),
        'versions': versions,
        'load': busy_cores(),
        'when': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }


def _processor():
    """Model, and the widest vectors it has: a virtual machine's model may be a family's name."""
    try:
        with open('/proc/cpuinfo') as file:
            found = dict(map(str.strip, line.split(':', 1)) for line in file if ':' in line)
    except OSError:
        return platform.processor()
    features = found.get('flags', '').split()
    widest = [name for flag, name in VECTORS.items() if flag in features][:1]
    return ', '.join([found.get('model name', platform.machine()), *widest])


def append(path: str, rows: list[dict]) -> None:
    """Appends rows to a results file, one JSON object a line, peers in their order."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'a+b') as file:
        if file.tell():  # a line that was cut short must not take the next one with it
            file.seek(-1, os.SEEK_END)
            rows = [*rows] if file.read() == b'\n' else [None, *rows]
        file.write(b''.join((json.dumps(row) if row else '').encode() + b'\n' for row in rows))
