"""Run folders as training and evaluation leave them, from random numbers and in no time."""

import json
import os
import zlib

import numpy as np
import soundfile

from fgsep_jax import files
from fgsep_jax.config import to_json
from fgsep_jax.evaluation import evaluate
from test_config import load

SPEECH = ('si_snr', 'si_snri', 'sdr', 'sdri', 'si_snr_mixture', 'sdr_mixture')


def run(
    folder,
    experiment,
    *,
    seed=0,
    trained_on='alpha',
    test_sets=('alpha',),
    gain=0.0,
    examples=12,
    oracle=True,
    sounds=True,
    steps=40,
    gates=None,
    **overrides,
):
    """Writes one run folder.

    Args:
        folder: where to.
        experiment: 'convtasnet', 'blstm_m2', ...
        seed: of the run.
        trained_on: name of its training data.
        test_sets: data sets it has results on; for mask models c1..c4 of each are made.
        gain: dB added to every score.
        examples: rows a result.
        oracle: whether the ideal mask was scored too.
        sounds: whether listening examples were written.
        steps: of the run.
        gates: whether gate outputs were saved; default: for the GLU.
        **overrides: 'section__key'=value of the configuration.
    """
    config = load(experiment, f'demo,seed={seed}')
    config.data.dir = f'/nowhere/{trained_on}'
    for key, value in overrides.items():
        section, leaf = key.split('__')
        config[section][leaf] = value
    os.makedirs(folder, exist_ok=True)
    write(os.path.join(folder, 'config.json'), to_json(config))
    write(
        os.path.join(folder, 'training_data.json'),
        json.dumps(
            {
                'name': trained_on,
                'dir': config.data.dir,
                'sample_rate': config.data.sample_rate,
                'train': {'examples': 100, 'speakers': 10},
            }
        ),
    )
    rng = np.random.default_rng(seed + 17)
    lines = []
    for step in range(5, steps + 1, 5):
        gradient = 70.0 if step == 20 and experiment == 'convtasnet_prelu' else 2.0
        lines.append({'step': step, 'kind': 'train', 'loss': -step / 10, 'si_snr': step / 10})
        lines[-1]['gradient_norm'] = gradient
        if step % 10 == 0:
            lines.append(
                {'step': step, 'kind': 'validation', 'loss': -step / 12, 'si_snr': step / 12}
            )
    write(os.path.join(folder, 'metrics.jsonl'), ''.join(json.dumps(line) + '\n' for line in lines))
    if gates or (gates is None and experiment == 'convtasnet_glu'):
        os.makedirs(os.path.join(folder, 'gates'), exist_ok=True)
        for step in (0, 1, 2, 4, 8, 16, 32, steps):
            gate_KN = rng.uniform(0, 255, (50, 16)).astype(np.uint8)
            # Of sixteen channels one more closes every time, and the last is open.
            mean_N = np.full(16, 0.5, np.float32)
            mean_N[: step.bit_length()], mean_N[-1] = 0.05, 0.95
            np.savez_compressed(
                os.path.join(folder, 'gates', f'{step:09d}.npz'),
                gate_KN=gate_KN,
                mean_N=mean_N,
                id='utterance',
                split='test',
            )
    named = config.task == 'foreground'
    names = [f'{name}-c{i}' for name in test_sets for i in (1, 2, 3, 4)] if named else test_sets
    for name in names:
        systems = ['', 'untrained'] + (
            (['ideal_mel_mask'] if named else []) + ['ideal_ratio_mask'] if oracle else []
        )
        scored = {}
        for system in systems:
            level = gain + {'': 2.0, 'untrained': -20.0}.get(system, 13.0)
            rows = result(folder, config, name, system, level, examples, seed)
            scored[system] = {(row['id'], row['source']): row for row in rows}
        if sounds:
            listening(folder, config, name, scored)


def generator(*what):
    """Random numbers of their own for each `what`."""
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def _rows(config, name, system, level, count, seed):
    rng = generator(name, level, config.experiment, config.loss.items(), config.data.dir, seed)
    shared = generator(name).normal(0, 1.5, count)  # the same for all systems
    rows = []
    named = config.task == 'foreground'
    sources = ('foreground', 'background') if named else ('1', '2')
    for i in range(count):
        value = level + shared[i] + rng.normal(0, 0.3)
        for s, source in enumerate(sources):
            row = {'id': f'{name}-{i:03d}', 'system': system or 'model', 'source': source}
            if named:
                row |= {
                    'class': 'rain' if s else 'dog' if i % 2 else 'door',
                    'recording': f'b{i % 6}' if s else f'f{i % 7}',
                }
            else:  # names may hold spaces
                row |= {
                    'speaker': f'b {i % 5}' if s else f'a {i % 4}',
                    'sex': 'F' if i % (3 if s else 2) else 'M',
                }
            row |= {'seconds': 1.5 + 0.25 * i, 'snr_db': -5.0 + 10 * i / count}
            for m, metric in enumerate(evaluate.FULL_METRICS if named else evaluate.METRICS):
                row[metric] = (  # no two columns alike
                    0.05 * m
                    + 0.01 * s
                    + (
                        0.1 * i
                        if 'mixture' in metric
                        else value + (0.0 if metric.endswith('i') else 0.1 * i)
                    )
                )
            rows.append(row)
    return rows


def result(folder, config, name, system, level, count, seed):
    """Writes examples.csv and summary.json of one system on one data set; returns its rows."""
    rows = _rows(config, name, system, level, count, seed)
    names = ('foreground', 'background') if config.task == 'foreground' else ()
    data_set, _, split = name.partition('-')
    content = evaluate.summary(
        rows,
        {},
        source_names=names,
        system=system or config.experiment,
        preset=config.preset,
        step=40,
        seed=config.seed,
        parameters=137497,
        split=split or 'test',
        data_set=data_set,
        data_dir=f'/nowhere/{data_set}',
        data_fingerprint=f'print of {name}',
        trained_on=config.data.dir,
        sample_rate=config.data.sample_rate,
        resampled_from=None,
    )
    where = os.path.join(folder, 'evaluation', name, system)
    evaluate.write(where, rows, content)
    # As of a version that did not say which examples a summary is of: tests change them.
    files.write({os.path.join(where, 'summary.json'): json.dumps(content, indent=2) + '\n'})
    return rows


def listening(folder, config, name, scored):
    """Writes the sounds of one example and what they are."""
    example = f'{name}-003'
    where = os.path.join(folder, 'audio', name, example)
    rate = config.data.sample_rate
    seconds = 0.5 if config.task == 'foreground' else 1.0
    time_T = np.arange(int(seconds * rate)) / rate
    names = ('foreground', 'background') if config.task == 'foreground' else ('1', '2')
    source = {one: 0.3 * np.sin(2 * np.pi * 300 * (i + 1) * time_T) for i, one in enumerate(names)}
    files = {'mixture.wav': ({'role': 'mixture'}, sum(source.values()))}
    for one in names:
        files[f'reference_{one}.wav'] = ({'role': 'reference', 'source': one}, source[one])
        for system, rows in scored.items():
            row = rows.get((example, one), {})
            files[os.path.join(system, f'estimate_{one}.wav')] = (
                {
                    'role': 'estimate',
                    'source': one,
                    'system': system,
                    'scores': {metric: row.get(metric, 2.5) for metric in ('si_snri', 'sdri')},
                },
                0.5 * source[one],
            )
    for path, (_, signal_T) in files.items():
        os.makedirs(os.path.dirname(os.path.join(where, path)), exist_ok=True)
        soundfile.write(os.fsencode(os.path.join(where, path)), signal_T, rate, 'PCM_16')
    write(
        os.path.join(where, 'example.json'),
        json.dumps(
            {
                'id': example,
                'data_set': name,
                'sample_rate': rate,
                'snr_db': 1.5,
                'seconds': seconds,
                'files': {path: about for path, (about, _) in files.items()},
            }
        ),
    )


def write(path, text):
    """Writes a text file."""
    with open(path, 'w') as file:
        file.write(text)


def everything(root):
    """A folder of runs that fills every part of a report: three seeds of two speech models, one
    GLU, two objectives, two training sets; all four mask models."""
    for seed in range(3):
        for experiment, gain in (('convtasnet', 0.0), ('convtasnet_prelu', 0.7)):
            for weight in (0.0, 0.01):
                for trained_on in ('alpha', 'beta'):
                    suffix = '-power_law' if weight else ''
                    run(
                        os.path.join(root, f'{experiment}{suffix}-{trained_on}-seed{seed}'),
                        experiment,
                        seed=seed,
                        trained_on=trained_on,
                        gain=gain,
                        test_sets=('alpha', 'beta'),
                        oracle=not seed,
                        sounds=not seed,
                        loss__power_law_weight=weight,
                    )
        for experiment, gain in (
            ('blstm_m1', 0.0),
            ('blstm_m1_plus', -1.0),
            ('blstm_m2', 1.0),
            ('blstm_m2_plus', 0.9),
        ):
            run(
                os.path.join(root, f'{experiment}-seed{seed}'),
                experiment,
                seed=seed,
                trained_on='fgbg',
                test_sets=('fgbg',),
                gain=gain,
                sounds=not seed,
                oracle=not seed,
            )
    run(
        os.path.join(root, 'convtasnet_glu-alpha-seed0'),
        'convtasnet_glu',
        gain=0.8,
        test_sets=('alpha', 'beta'),
    )
    return str(root)
