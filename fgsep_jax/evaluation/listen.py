"""Separated examples as files to listen to, the same examples for every run."""

import json
import os
import shutil

import numpy as np
import soundfile

from fgsep_jax.evaluation import evaluate
from fgsep_jax.metrics.improvement import SkipExample, as_references, evaluate_example

SCORES = ('si_snr', 'si_snri', 'sdr', 'sdri', 'sir', 'siri', 'sar')


def write_examples(
    folder,
    data_set,
    source,
    compared,
    *,
    count,
    sample_rate,
    batch_size,
    bucket_seconds,
    filter_taps,
    max_examples=0,
    source_names=(),
    adaptation_seconds=0.0,
):
    """Separates a few examples with every system and writes their sounds.

    The examples stand at even distances in the split; one that cannot be scored gives way to the
    next. Those of an earlier evaluation are replaced.

    Args:
      folder: where the examples' folders go.
      data_set: name of the folder of results that they belong to.
      source: RecordSource.
      compared: {name: system}; the model's name is ''.
      count: examples to write.
      sample_rate: of the systems, in hertz.
      batch_size, bucket_seconds, filter_taps, source_names, adaptation_seconds, max_examples: as
        in `evaluate`.
    """
    total = min(len(source), max_examples or len(source))
    bucket = evaluate.bucket_samples(bucket_seconds, sample_rate)
    # The shapes that the evaluation has compiled.
    rows = {
        padded: rows
        for _, padded, rows in evaluate.plan(
            source,
            evaluate.own_share(source, max_examples),
            sample_rate=sample_rate,
            batch_size=batch_size,
            bucket_seconds=bucket_seconds,
        )
    }
    done, written = set(), set()
    for start in np.linspace(0, total, count, endpoint=False).astype(int):
        for i in range(start, total):
            if i in done:
                continue
            loaded = evaluate.load(source, i, sample_rate=sample_rate)
            example, reference_ST = loaded
            padded = evaluate.pad_length(reference_ST.shape[1], bucket)
            estimates = {
                name: evaluate.separate(
                    system,
                    [loaded],
                    padded=padded,
                    rows=rows.get(padded, 1),
                    sample_rate=sample_rate,
                    adaptation_seconds=adaptation_seconds,
                )[0]
                for name, system in compared.items()
            }
            try:
                scores = {
                    name: evaluate_example(
                        estimate_ST,
                        reference_ST,
                        reference_ST.sum(axis=0),
                        filter_length=filter_taps,
                        full=bool(source_names),
                        fixed_order=bool(source_names),
                    )
                    for name, estimate_ST in estimates.items()
                }
            except SkipExample:
                continue
            done.add(i)
            written.add(
                _write(
                    folder,
                    data_set,
                    example,
                    reference_ST,
                    estimates,
                    scores,
                    sample_rate,
                    source_names,
                )
            )
            break
    for name in set(os.listdir(folder) if os.path.isdir(folder) else ()) - written:
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _write(folder, data_set, example, reference_ST, estimates, scores, sample_rate, source_names):
    """Writes one example: the sounds beside, example.json last, then the folder renamed.

    Returns:
      Name of the example's folder.
    """
    names = [str(name) for name in source_names or range(1, len(reference_ST) + 1)]
    if not source_names:
        estimates = {
            system: as_references(estimate_ST, reference_ST)
            for system, estimate_ST in estimates.items()
        }
    sounds = {'mixture.wav': ({'role': 'mixture'}, reference_ST.sum(axis=0))}
    for s, name in enumerate(names):
        sounds[f'reference_{name}.wav'] = ({'role': 'reference', 'source': name}, reference_ST[s])
        for system, estimate_ST in estimates.items():
            values = scores[system]
            about = {
                'role': 'estimate',
                'source': name,
                'system': system,
                'scores': {
                    metric: float(values[f'{metric}_S'][s])
                    for metric in SCORES
                    if f'{metric}_S' in values
                },
            }
            sounds[os.path.join(system, f'estimate_{name}.wav')] = about, estimate_ST[s]
    # A path's parts may have 255 bytes; an id is made of the names of two files.
    short = example.id.encode()[:150].decode(errors='ignore')
    target = os.path.join(folder, short)
    partial = target + '.partial'
    shutil.rmtree(partial, ignore_errors=True)
    # One gain for all, so that nothing clips and levels can be compared.
    peak = max(np.abs(signal_T).max(initial=0.0) for _, signal_T in sounds.values())
    for path, (_, signal_T) in sounds.items():
        path = os.path.join(partial, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        soundfile.write(path, signal_T * 0.9 / max(peak, 0.9), sample_rate, 'PCM_16')
    content = {
        'id': example.id,
        'data_set': data_set,
        'sample_rate': sample_rate,
        'snr_db': float(example.snr_db),
        'seconds': reference_ST.shape[1] / sample_rate,
        'files': {path: about for path, (about, _) in sounds.items()},
    }
    with open(os.path.join(partial, 'example.json'), 'w') as file:
        json.dump(content, file, indent=2)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    return short
