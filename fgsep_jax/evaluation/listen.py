"""Separated examples as files to listen to, the same examples for every run."""

import contextlib
import json
import os

import numpy as np

from fgsep_jax import buckets, files as files_lib, names
from fgsep_jax.evaluation import evaluate
from fgsep_jax.metrics.improvement import SkipExample, as_references, finite

ABOUT = 'example.json'
# In the folder of the examples: {folder of one: its files}, all that evaluations wrote there.
# Nothing else is ever removed. The dot: no example's folder has this name.
WRITTEN = '.written.json'

SCORES = ('si_snr', 'si_snri', 'sdr', 'sdri', 'sir', 'siri', 'sar')


def write_examples(folder, data_set, source, compared, *, count, **settings):
    """Separates a few examples with every system and writes their sounds.

    The examples stand at even distances in the split; one that cannot be scored gives way to the
    next. Those of an earlier evaluation are replaced; what else lies there stays.

    Args:
      folder: where the examples' folders go.
      data_set: name of the results that they belong to.
      source: RecordSource.
      compared: {name: system}; the model's name is ''.
      count: examples to write.
      **settings: those of `evaluate.How`.
    """
    how = evaluate.How(**settings)
    total = min(len(source), how.max_examples or len(source))
    # The shapes that the evaluation has compiled.
    rows = {padded: rows for _, padded, rows in evaluate.own_share(source, how)}
    done, now, before = set(), {}, _written(folder)
    for start in np.linspace(0, total, min(count, total), endpoint=False).astype(int):
        for i in range(start, total):
            if i in done:
                continue
            example, source_ST = loaded = evaluate.load(source, i, how)
            padded = evaluate.pad_length(source_ST.shape[1], how.bucket)
            shape = dict(padded=padded, rows=rows.get(padded, 1))
            estimates = {
                name: evaluate.separate(system, [loaded], **shape, how=how)[0]
                for name, system in compared.items()
            }
            try:
                scores = {
                    name: evaluate.score(estimate_ST, source_ST, how)
                    for name, estimate_ST in estimates.items()
                }
            except SkipExample:
                continue
            done.add(i)
            about, sounds = _sounds(source_ST, estimates, scores, how.source_names)
            content = {
                'id': example.id,
                'data_set': data_set,
                'sample_rate': how.sample_rate,
                'snr_db': float(example.snr_db),
                'seconds': source_ST.shape[1] / how.sample_rate,
                'files': about,
            }
            _write(folder, content, sounds, before, now)
            break
    for name, files in before.items():
        _remove(os.path.join(folder, name), files)
    if now or before:
        buckets.put_up(folder)
        files_lib.write({os.path.join(folder, WRITTEN): json.dumps(now, indent=1)})


def _sounds(source_ST, estimates, scores, source_names):
    """Names the sounds of one example; of `source_ST` the first are those that are estimated.

    Returns:
      ({path: what it is}, {path: signal_T}), the paths below the example's folder.
    """
    reference_ST = source_ST[: min(map(len, estimates.values()))]
    labels = [str(name) for name in source_names or range(1, len(reference_ST) + 1)]
    sources = _parts(labels)
    files = [
        f'{role}_{part}.wav' for role in ('reference', 'estimate') for part in sources.values()
    ]
    folders = _parts(estimates, taken=('mixture.wav', ABOUT, *files))
    estimates = {
        system: finite(estimate_ST) if source_names else as_references(estimate_ST, reference_ST)
        for system, estimate_ST in estimates.items()
    }
    about = {'mixture.wav': {'role': 'mixture'}}
    sounds = {'mixture.wav': source_ST.sum(axis=0)}
    for s, label in enumerate(labels):
        path = f'reference_{sources[label]}.wav'
        about[path], sounds[path] = {'role': 'reference', 'source': label}, reference_ST[s]
        for system, estimate_ST in estimates.items():
            path = os.path.join(folders[system] if system else '', f'estimate_{sources[label]}.wav')
            values = {
                metric: float(scores[system][f'{metric}_S'][s])
                for metric in SCORES
                if f'{metric}_S' in scores[system]
            }
            about[path] = {'role': 'estimate', 'source': label, 'system': system, 'scores': values}
            sounds[path] = estimate_ST[s]
    # One gain for all, so that nothing clips and levels can be compared.
    peak = max(np.abs(signal_T).max(initial=0.0) for signal_T in sounds.values())
    gain = 0.9 / max(peak, 0.9)
    return about, {path: gain * signal_T for path, signal_T in sounds.items()}


def _parts(wanted, taken=()):
    """{name: part of a path}, none of them alike."""
    parts = {}
    for name in wanted:
        parts[name] = names.part(name, taken=(*taken, *parts.values()))
    return parts


def _write(folder, content, sounds, before, now):
    """Writes one example in a folder that is new or was ours: the sounds, then example.json.

    Args:
      folder: where the examples' folders go.
      content: of example.json.
      sounds: {path: signal_T}.
      before: {folder: files} of earlier evaluations.
      now: the same of this one, to which the example is added.
    """
    os.makedirs(folder, exist_ok=True)
    taken = {*os.listdir(folder), *now} - before.keys()
    while True:
        name = names.part(content['id'], taken=taken)
        for earlier in [other for other in before if names.alike([other, name])]:
            _remove(os.path.join(folder, earlier), before.pop(earlier))
        if not os.path.lexists(os.path.join(folder, name)):
            break
        taken.add(name)  # somebody put something of their own into it
    now[name] = [*sounds]
    # Killed at any instant, the list knows old and new files alike.
    files_lib.write({os.path.join(folder, WRITTEN): json.dumps({**before, **now}, indent=1)})
    buckets.put_up(folder)  # in a bucket, too
    for path, signal_T in sounds.items():
        place = os.path.join(folder, name, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        sound = files_lib.wav(signal_T, content['sample_rate'])
        content['files'][path]['digest'] = files_lib.digest(sound)
        files_lib.write_in_place(place, sound)
    content = files_lib.with_digest(content)
    files_lib.write({os.path.join(folder, name, ABOUT): json.dumps(content, indent=2)})


def _written(folder):
    """{example's folder: its files} of earlier evaluations, as their list says."""
    listed = {}
    with contextlib.suppress(ValueError):
        path = os.path.join(folder, WRITTEN)
        listed = files_lib.read_json(path, ValueError, finite=False, halves=True)
    return {
        name: [path for path in files if isinstance(path, str)]
        for name, files in listed.items()
        if names.is_part(name) and isinstance(files, list)
    }


def _remove(folder, files):
    """Removes an example's files, the description first, and the folders that this empties."""
    if os.path.islink(folder):
        return
    files_lib.clean(folder)
    for path in (ABOUT, *files):
        if names.is_below(path, folder):
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, path))
            buckets.removed(os.path.join(folder, path))
    for path in {os.path.dirname(path) for path in files}:
        if names.is_below(path, folder):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(folder, path))
    with contextlib.suppress(OSError):
        os.rmdir(folder)
