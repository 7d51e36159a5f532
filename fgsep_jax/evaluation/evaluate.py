"""Evaluates a system on a prepared data set: examples.csv and summary.json."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import math
import os
import sys
import time

import jax
import numpy as np
import tqdm

from fgsep_jax import config as config_lib, files, names, pcm
from fgsep_jax.data.resample import resample
from fgsep_jax.metrics.improvement import RULES, SkipExample, evaluate_example
from fgsep_jax.metrics.quality import PACKAGES
from fgsep_jax.report import intervals
from fgsep_jax.training.mesh import gather

METRICS = ('si_snr', 'si_snri', 'sdr', 'sdri', 'si_snr_mixture', 'sdr_mixture')
FULL_METRICS = (*METRICS, 'sir', 'siri', 'sar', 'sir_mixture')
IMPROVEMENTS = ('si_snri', 'sdri', 'siri')
SILENCE = 60.0  # seconds at least between two lines on how far an evaluation is
BATCH_SECONDS = 16  # a batch holds no more audio than `batch_size` examples of this length


@dataclasses.dataclass(frozen=True)
class How:
    """How examples are separated and scored.

    Attributes:
      sample_rate: of the systems, in hertz; data of another rate is resampled to it.
      batch_size: examples a system gets at once, fewer of those longer than BATCH_SECONDS.
      bucket_seconds: lengths are padded to multiples, see `pad_length`.
      filter_taps: of BSS-eval.
      max_examples: only the first so many, 0 for all.
      source_names: what each source is, where the order of the estimates is fixed; SIR and SAR
        are added. Empty: the sources are '1', '2', ..., and the best order counts.
      adaptation_seconds: of the background segment that the system is given; 0 for none.
      quality: what is measured besides, see `metrics.quality`.
    """

    sample_rate: int
    batch_size: int
    bucket_seconds: float
    filter_taps: int
    max_examples: int = 0
    source_names: tuple = ()
    adaptation_seconds: float = 0.0
    quality: tuple = ()

    @property
    def bucket(self):
        """Samples of a bucket, at least 1."""
        return max(round(self.bucket_seconds * self.sample_rate), 1)


def load(source, i, how):
    """Reads one example as float64 sources [S, T] at the systems' sample rate.

    Returns:
      (Example, source_ST in [-1, 1], whose sum is the mixture: what is noise comes last); resampled
      by soxr where the rates differ.
    """
    example = source[i]
    return example, _resampled(example.parts_ST, example, how)


def _resampled(pcm_T, example, how):
    return resample(pcm.to_float(pcm_T, np.float64), example.sample_rate, how.sample_rate)


def separate(system, loaded, *, padded, rows, how):
    """Runs a system on a few examples as one batch of a fixed shape.

    Args:
      system: see `systems`.
      loaded: (Example, source_ST) as `load` gives them, at most `rows`.
      padded: samples that each is zero-padded to.
      rows: of the batch; the first example fills it up.
      how: see `How`; an adaptation segment that is shorter is repeated.

    Returns:
      An estimate_ST for each example, of its own length.
    """
    filled = loaded + [loaded[0]] * (rows - len(loaded))
    source_BST = np.stack(
        [np.pad(s_ST, ((0, 0), (0, padded - s_ST.shape[1]))) for _, s_ST in filled]
    ).astype(np.float32)
    length_B = np.array([s_ST.shape[1] for _, s_ST in filled], np.int32)
    adaptation_BT, samples = None, round(how.adaptation_seconds * how.sample_rate)
    if how.adaptation_seconds:
        heard = [_resampled(example.adaptation_T, example, how) for example, _ in filled]
        adaptation_BT = np.stack([np.resize(h_T, samples) for h_T in heard]).astype(np.float32)
    estimate_BST = system(source_BST, length_B, adaptation_BT)
    return [estimate_ST[:, : s_ST.shape[1]] for estimate_ST, (_, s_ST) in zip(estimate_BST, loaded)]


def score(estimate_ST, source_ST, how):
    """The metrics of one example; see `evaluate_example`, which raises SkipExample.

    Args:
      estimate_ST, source_ST: what a system makes of the sum of the sources, and these: first those
        that it estimates, then what is noise to it.
      how: see `How`.
    """
    return evaluate_example(
        estimate_ST,
        source_ST[: len(estimate_ST)],
        source_ST.sum(axis=0),
        filter_length=how.filter_taps,
        full=bool(how.source_names),
        fixed_order=bool(how.source_names),
        quality=how.quality,
        sample_rate=how.sample_rate,
    )


def pad_length(length, bucket):
    """Samples that an example is padded to: a multiple of `bucket` or, from 16 buckets on, of a
    power of two times it, so that there are 8 lengths an octave and at most an eighth is padded."""
    buckets = -(-int(length) // bucket)
    step = 2 ** max(buckets.bit_length() - 4, 0)
    return -(-buckets // step) * step * bucket


def batches(lengths, *, batch_size, bucket, most):
    """Groups examples of similar length, so that few shapes are compiled and little is padded.

    The examples of one padded length are dealt over batches of one size, which are as few as may
    be, so that less than one row a batch is a copy.

    Args:
      lengths: samples of each example.
      batch_size: examples a batch, at most.
      bucket: see `pad_length`.
      most: samples of a batch, padding counted, at most; one example may have more.

    Returns:
      List of (indices, padded length, rows of the batch); every index stands in exactly one.
    """
    groups = collections.defaultdict(list)
    for i, length in enumerate(lengths):
        groups[pad_length(length, bucket)].append(i)
    made = []
    for padded, group in sorted(groups.items()):
        limit = max(min(batch_size, most // padded), 1)
        rows = -(-len(group) // -(-len(group) // limit))
        made += [
            (group[first : first + rows], padded, rows) for first in range(0, len(group), rows)
        ]
    return made


def own_share(source, how, devices=1):
    """This host's `batches` of a data set, one for each of its devices in one.

    All hosts plan the same batches and take turns in them, so that it is the same examples that
    share one, in the same shape, whatever hosts and devices there are.
    """
    count = min(len(source), how.max_examples or len(source))
    lengths = np.asarray(source.lengths)[:count] * how.sample_rate
    planned = batches(
        np.ceil(lengths / source.metadata['sample_rate']),
        batch_size=how.batch_size,
        bucket=how.bucket,
        most=round(how.batch_size * BATCH_SECONDS * how.sample_rate),
    )[jax.process_index() :: jax.process_count()]
    shares = []
    for _, alike in itertools.groupby(planned, key=lambda batch: batch[1:]):
        alike = list(alike)
        for first in range(0, len(alike), devices):
            together, padded, rows = zip(*alike[first : first + devices])
            shares.append((list(itertools.chain(*together)), padded[0], rows[0] * devices))
    return shares


def evaluate(system, source, *, name='model', label='', **settings):
    """Scores a system on a data set, each host its share, every example exactly once.

    Args:
      system: see `systems`.
      source: RecordSource.
      name: of the system, 'model' or a baseline's.
      label: what is evaluated, for whoever waits.
      **settings: those of `How`.

    Returns:
      (rows, skipped) over all hosts: a dict for each source of an example that could be scored,
      sorted by id, those of an example together, and {id: reason} of the others.
    """
    how, rows, skipped = How(**settings), [], {}
    sexes = source.metadata.get('speakers', {})

    def scored(example, source_ST, estimate_ST):
        try:
            values = score(estimate_ST, source_ST, how)
        except SkipExample as error:
            return [], {example.id: error.reason}
        sources = how.source_names or [str(s) for s in range(1, len(estimate_ST) + 1)]
        order = {'permutation_S'} if how.source_names else set()  # it is the sources' own
        metrics = [key[:-2] for key in values if key.endswith('_S') and key not in order]
        return [
            {
                'id': example.id,
                'system': name,
                'source': source,
                **_identity(example, s, bool(how.source_names), sexes, len(sources)),
                'seconds': source_ST.shape[1] / how.sample_rate,
                'snr_db': example.snr_db,
                **{metric: values[f'{metric}_S'][s].item() for metric in metrics},
                'empty_estimates': values['empty_estimates'],
            }
            for s, source in enumerate(sources)
        ], {}

    def collect(futures):
        for future in futures:
            of_example, left_out = future.result()
            rows.extend(of_example)
            skipped.update(left_out)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = []
        run = getattr(system, 'on_all', system)
        planned = own_share(source, how, getattr(system, 'devices', 1))
        for members, padded, batch_rows in _watched(planned, label):
            loaded = [load(source, i, how) for i in members]
            estimates = separate(run, loaded, padded=padded, rows=batch_rows, how=how)
            # The batch before is scored while this one is separated; no more is held in memory.
            collect(pending)
            pending = [
                pool.submit(scored, *example, estimate_ST)
                for example, estimate_ST in zip(loaded, estimates)
            ]
        collect(pending)
    shares = gather({'rows': rows, 'skipped': skipped})
    rows = sorted((row for share in shares for row in share['rows']), key=lambda row: row['id'])
    return rows, {name: why for share in shares for name, why in share['skipped'].items()}


def _watched(batches, label):
    """The batches, with a bar on a terminal, else a line a minute, for whoever waits."""
    title = f'evaluating {label}'.rstrip()
    if sys.stderr.isatty():
        yield from tqdm.tqdm(batches, title, unit='batch', leave=False)
        return
    said, done, total = time.monotonic(), 0, sum(len(members) for members, *_ in batches)
    for batch in batches:
        yield batch
        done += len(batch[0])
        if time.monotonic() - said >= SILENCE and jax.process_index() == 0:
            said = time.monotonic()
            print(f'{title}: {done} of {names.counted(total, "example")}', file=sys.stderr)


def summary(rows, skipped, *, source_names=(), **context):
    """Content of summary.json.

    Args:
      rows: as `evaluate` returns them.
      skipped: {id: reason}.
      source_names: as given to `evaluate`.
      **context: whatever identifies system and data set.

    Returns:
      Dict with the statistics of each metric over all examples, of the system and of the mixture
      itself, the version of the rules, counts of examples, of those with an estimate that is
      empty (see `metrics.improvement.evaluate_example`) and of skipped ones by reason; with source
      names the metrics of each source too, and its classes' under 'classes'.
    """
    names = FULL_METRICS if source_names else METRICS
    measured = [name for name in PACKAGES if rows and name in rows[0]]
    names = (*names, *measured, *(f'{name}_mixture' for name in measured))
    sources, of_class = (None, *source_names), {}
    for row in rows if source_names else ():
        of_class.setdefault(row['source'], {}).setdefault(row['class'], []).append(row)
    statistics = _statistics(rows, names, sources)
    classes = {
        source: {
            label: _statistics(ours, names, [source])
            for label, ours in sorted(of_class.get(source, {}).items())
        }
        for source in source_names
    }
    nothing = dict.fromkeys(('mean', 'median', 'q25', 'q75', 'ci95'))
    level = {**nothing, 'mean': 0.0, 'median': 0.0}  # what the mixture improves over itself
    mixture = {
        _key(name, source): level
        if name in IMPROVEMENTS
        else statistics.get(_key(f'{name}_mixture', source), nothing)
        for source in sources
        for name in names
        if not name.endswith('_mixture')
    }
    return {
        **context,
        'rules': RULES,
        'examples': len({row['id'] for row in rows}),
        'empty_estimates': len({row['id'] for row in rows if row.get('empty_estimates')}),
        'skipped': dict(collections.Counter(skipped.values())),
        'metrics': statistics,
        'mixture': mixture,
        **({'classes': classes} if classes else {}),
    }


def _key(name, source):
    return name if source is None else f'{name}_{source}'


def _statistics(rows, metrics, sources):
    """{metric of a source: statistics}; with None as source of the means over the sources of each
    example."""
    parts = {}
    for row in rows:
        parts.setdefault(row['source'], []).append(row)
    kinds = [kind for kind in ('recording', 'speaker') if rows and kind in rows[0]]
    clusters = ()
    if kinds:
        label_SN = [[row[kinds[0]] for row in part] for part in parts.values()]
        clusters = intervals.clusters(kinds[0], np.transpose(label_SN))
    statistics = {}
    for source in sources:
        ours = [parts[key] for key in parts if source in (None, key)]
        for name in metrics:
            value_SN = [[row[name] for row in part] for part in ours]
            value_N = np.mean(value_SN, axis=0) if rows else []
            statistics[_key(name, source)] = intervals.describe(value_N, clusters)
    return statistics


def read_summary(folder):
    """What the summary.json in a folder says, {} where none can be read."""
    with contextlib.suppress(ValueError):
        path = os.path.join(folder, 'summary.json')
        return files.read_json(path, ValueError, finite=False, halves=True)
    return {}


def check_folder(folder, data_set, split, targets=''):
    """Holds results that are in a folder against those to come.

    Raises:
      ConfigError: they are of a data set, or a split, of another name, or of other sources
        (`data.targets`), and would be lost.
    """
    now = {'data_set': data_set, 'split': split, 'targets': targets}
    content = {'targets': '', **read_summary(folder)}
    there = {key: content[key] for key in now if key in content}
    if there.keys() == now.keys() and there != now:
        before, after = (
            ' '.join(map(names.shown, filter(None, each.values()))) for each in (there, now)
        )
        raise config_lib.ConfigError(
            f'{folder} holds results on {before}, which those on {after} would replace: move it'
            ' away, or evaluate in another run folder'
        )


def write(folder, rows, content):
    """Writes examples.csv and summary.json as one.

    The summary says of which examples it is. Killed between the two renames, this leaves a summary
    that does not, and beside it the new one still under its partial name: readers take that, and
    `settle` puts it into its place.
    """
    os.makedirs(folder, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ['id']
    cells = [[row.get(column) for column in columns] for row in rows]
    # An id may be no UTF-8.
    examples = names.csv_text([columns, *cells]).encode(errors='surrogatepass')
    content = files.with_digest({**content, 'examples_digest': files.digest(examples)})
    files.write(
        {
            os.path.join(folder, 'examples.csv'): examples,
            os.path.join(folder, 'summary.json'): json.dumps(content, indent=2) + '\n',
        }
    )


def note(folder, **values):
    """Adds to a summary.json what became of a result after it was written."""
    path = os.path.join(folder, 'summary.json')
    content = {**files.read_json(path, OSError, finite=False, halves=True), **values}
    files.write({path: json.dumps(files.with_digest(content), indent=2) + '\n'})


def settle(folder):
    """Ends what a killed evaluation left between two renames, and removes what it left else."""
    summary = os.path.join(folder, 'summary.json')
    with contextlib.suppress(OSError, ValueError):
        examples = files.read_bytes(os.path.join(folder, 'examples.csv'), ValueError, most=math.inf)
        content = files.read_json(files.partial(summary), ValueError, finite=False, halves=True)
        if content.get('examples_digest') == files.digest(examples):
            files.put_in_place(files.partial(summary), summary)
    files.clean(folder)


def _identity(example, s, named, sexes, estimated):
    """What a row says of source number `s`: class and recording where sources have names, else the
    speaker and the speaker's sex, '' where the data set does not tell."""
    if named:
        about = {'class': example.source_classes[s], 'recording': example.source_ids[s]}
        if example.adaptation_overlap is not None:
            about['adaptation_overlap'] = example.adaptation_overlap
        return about
    speaker, noise = example.source_ids[s], example.source_ids[estimated:]
    about = {'speaker': speaker, 'sex': sexes.get(speaker, '')}
    return about | ({'noise': json.dumps(noise)} if noise else {})
