"""Evaluates a system on a prepared data set: examples.csv and summary.json."""

import collections
import concurrent.futures
import csv
import io
import json
import os
import sys

import jax
import librosa
import numpy as np
import tqdm

from fgsep_jax.metrics.aggregate import summarize
from fgsep_jax.metrics.improvement import SkipExample, evaluate_example
from fgsep_jax.training.mesh import gather
from fgsep_jax.training.run_folder import write_text

METRICS = ('si_snr', 'si_snri', 'sdr', 'sdri', 'si_snr_mixture', 'sdr_mixture')


def load(source, i, *, sample_rate):
    """Reads one example as float64 sources [S, T] at a sample rate.

    Returns:
      (Example, source_ST in [-1, 1]); resampled by soxr where the rates differ.
    """
    example = source[i]
    source_ST = example.sources_ST / 32768.0
    if example.sample_rate != sample_rate:
        source_ST = librosa.resample(
            source_ST, orig_sr=example.sample_rate, target_sr=sample_rate)
    return example, source_ST


def batches(lengths, *, batch_size, bucket):
    """Groups examples of similar length, so that few shapes are compiled and little is padded.

    Args:
      lengths: samples of each example.
      batch_size: examples a batch.
      bucket: padded lengths are multiples of this many samples.

    Returns:
      List of (indices, padded length); every index stands in exactly one of them.
    """
    groups = collections.defaultdict(list)
    for i, length in enumerate(lengths):
        groups[-(-int(length) // bucket) * bucket].append(i)
    return [(group[first:first + batch_size], padded)
            for padded, group in sorted(groups.items())
            for first in range(0, len(group), batch_size)]


def evaluate_examples(system, source, indices, *, sample_rate, batch_size, bucket_seconds,
                      filter_taps):
    """Scores a system on some examples.

    Args:
      system: function (source_BST, length_B) -> estimate_BST.
      source: RecordSource.
      indices: examples to score.
      sample_rate: of the system, in hertz; data of another rate is resampled to it.
      batch_size: examples the system gets at once.
      bucket_seconds: lengths are padded to a multiple.
      filter_taps: of BSS-eval.

    Returns:
      (rows, skipped): a dict an example that could be scored, and {id: reason} of the others.
    """
    rows, skipped = [], {}
    lengths = np.ceil(np.asarray(source.lengths)[indices] * sample_rate
                      / source.metadata['sample_rate'])
    bucket = max(round(bucket_seconds * sample_rate), 1)

    def score(example, reference_ST, estimate_ST):
        try:
            values = evaluate_example(estimate_ST, reference_ST, reference_ST.sum(axis=0),
                                      filter_length=filter_taps)
        except SkipExample as error:
            return example.id, error.reason
        return {
            'id': example.id, 'sources': ' '.join(example.source_ids),
            'seconds': reference_ST.shape[1] / sample_rate, 'snr_db': example.snr_db,
            **_columns(values)}

    def collect(futures):
        for future in futures:
            result = future.result()
            if isinstance(result, dict):
                rows.append(result)
            else:
                skipped[result[0]] = result[1]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = []
        made = batches(lengths, batch_size=batch_size, bucket=bucket)
        for members, padded in tqdm.tqdm(made, 'evaluating', unit='batch', leave=False,
                                         disable=not sys.stderr.isatty()):
            loaded = [load(source, int(indices[i]), sample_rate=sample_rate) for i in members]
            loaded_rows = loaded + [loaded[0]] * (batch_size - len(loaded))  # one shape a bucket
            source_BST = np.stack([
                np.pad(s_ST, ((0, 0), (0, padded - s_ST.shape[1]))) for _, s_ST in loaded_rows
            ]).astype(np.float32)
            length_B = np.array([s_ST.shape[1] for _, s_ST in loaded_rows], np.int32)
            estimate_BST = system(source_BST, length_B)
            # The batch before is scored while this one is separated; no more is held in memory.
            collect(pending)
            pending = [
                pool.submit(score, example, s_ST, estimate_ST[:, :s_ST.shape[1]])
                for (example, s_ST), estimate_ST in zip(loaded, estimate_BST)]
        collect(pending)
    return rows, skipped


def evaluate(system, source, *, sample_rate, batch_size, bucket_seconds, filter_taps,
             max_examples=0):
    """Scores a system on a data set, each host its share, every example exactly once.

    Args: see `evaluate_examples`; max_examples: only the first so many, 0 for all.

    Returns:
      (rows, skipped) over all hosts, rows sorted by id.
    """
    count = min(len(source), max_examples or len(source))
    mine = np.arange(jax.process_index(), count, jax.process_count())
    rows, skipped = evaluate_examples(
        system, source, mine, sample_rate=sample_rate, batch_size=batch_size,
        bucket_seconds=bucket_seconds, filter_taps=filter_taps)
    shares = gather({'rows': rows, 'skipped': skipped})
    rows = sorted((row for share in shares for row in share['rows']), key=lambda row: row['id'])
    return rows, {name: why for share in shares for name, why in share['skipped'].items()}


def summary(rows, skipped, **context):
    """Content of summary.json.

    Args:
      rows: as `evaluate` returns them.
      skipped: {id: reason}.
      **context: whatever identifies system and data set.

    Returns:
      Dict with the statistics of each metric, counts of examples and of skipped ones by reason.
    """
    return {
        **context,
        'examples': len(rows),
        'skipped': dict(collections.Counter(skipped.values())),
        'metrics': {name: summarize([row[name] for row in rows]) for name in METRICS}}


def write(folder, rows, content):
    """Writes examples.csv and summary.json, each beside itself and renamed."""
    os.makedirs(folder, exist_ok=True)
    text = io.StringIO()
    columns = list(rows[0]) if rows else ['id']
    writer = csv.DictWriter(text, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_text(os.path.join(folder, 'examples.csv'), text.getvalue())
    write_text(os.path.join(folder, 'summary.json'), json.dumps(content, indent=2) + '\n')


def _columns(values):
    """Flattens {'sdr_S': array} into {'sdr_1': number, 'sdr_2': ...}."""
    flat = {}
    for name, value in values.items():
        if np.ndim(value):
            stem = name.removesuffix('_S')
            for s, one in enumerate(np.asarray(value).tolist(), start=1):
                flat[f'{stem}_{s}'] = one
        else:
            flat[name] = value
    return flat
