"""What a model is made of, and what it costs on this device: --mode=describe."""

import time

import jax
import numpy as np

from fgsep_jax.models import conv_tasnet
from fgsep_jax.names import counted
from fgsep_jax.separation.model import Separator

RUNS = 3  # of which the fastest counts


def describe(config, params=None, *, step=0, sources=()):
    """Describes a model.

    Args:
      config: ConfigDict.
      params: its weights; None: initial ones, which cost the same.
      step: that they were taken at.
      sources: names of what it gives; empty for the usual ones.

    Returns:
      Lines of text.
    """
    trained = 'untrained' if params is None else f'step {step}' if step else 'trained elsewhere'
    if params is None:
        from fgsep_jax.tasks import make_task

        params = jax.jit(make_task(config).init)(jax.random.key(config.seed))
    separator = Separator(config, params, step=step, sources=sources)
    rate, how = separator.sample_rate, separator.how
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    rows = [
        ('model', f'{separator.name}, {trained}'),
        ('gives', f'{", ".join(separator.sources)} at {rate:,} Hz'),
        ('parameters', f'{total:,} ({4 * total / 2**20:.1f} MiB)'),
        *((f'  {name}', f'{count:,}') for name, count in _layers(params).items()),
        ('MACs', f'{separator.task.multiply_accumulates() / 1e9:.3g} G per second of audio'),
        ('hears', _hears(separator, rate)),
        ('latency', _latency(separator, rate)),
        ('padding', _padding(separator, rate)),
    ]
    seconds, memory = _cost(separator, how)
    window = how.batch * how.segment
    rows += [
        ('memory', f'{memory / 2**20:,.0f} MiB for windows of {how.batch} x {how.segment:g} s'),
        (
            'speed',
            f'{window / seconds:.1f} times real time on {jax.device_count()} x'
            f' {jax.default_backend()}; {window / seconds * _gain(how):.1f} with windows that'
            f' overlap by {how.overlap:g} s',
        ),
    ]
    return [f'{label:<28}{text}' for label, text in rows]


def _layers(params):
    """{part: parameters}, equal parts that follow one another as one line."""
    counts = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [key.key for key in path[:-1]] or [path[-1].key]
        name = '/'.join(names[:2] if names[0] in ('encoder', 'separator', 'decoder') else names[:1])
        counts[name] = counts.get(name, 0) + leaf.size
    merged = {}
    for name in sorted(counts, key=_natural):
        stem, _, number = name.rpartition('_')
        key = (stem, counts[name]) if number.isdigit() and stem else (name, counts[name])
        merged.setdefault(key, []).append(name)
    return {
        names[0] if len(names) == 1 else f'{names[0]} to {names[-1].rpartition("_")[2]}': (
            counts[names[0]] * len(names)
        )
        for names in merged.values()
    }


def _natural(name):
    stem, _, number = name.rpartition('_')
    return (stem, int(number)) if number.isdigit() and stem else (name, -1)


def _hears(separator, rate):
    model = separator.task.model
    if not isinstance(model, conv_tasnet.ConvTasNet):
        return 'the whole window: recurrent in both directions'
    samples = conv_tasnet.receptive_field(model)
    parts = model.encoder, model.separator
    if any(getattr(part, 'reach', 0) is None for part in parts):
        return 'the whole window'
    if samples is None:
        silent = [called for part, called in zip(parts, model.called) if not hasattr(part, 'reach')]
        return f'as far as its parts reach, which is not said by {" and ".join(silent)}'
    norms = {'gln': '; its norms the whole window', 'cln': '; its norms all before'}
    norm = separator.config.model.norm if _has_norms(*parts) else ''
    return f'{counted(samples, "sample")} ({samples / rate:.2f} s){norms.get(norm, "")}'


def _has_norms(encoder, separator):
    gated = getattr(encoder, 'activation', 'glu') == 'glu' and getattr(encoder, 'dilations', True)
    return hasattr(separator, 'norm') or bool(gated and hasattr(encoder, 'norm'))


def _latency(separator, rate):
    if not getattr(separator.config.model, 'causal', False):
        return 'sees ahead: a whole window'
    window = separator.task.model.encoder.window
    return f'{window / rate * 1000:g} ms, one frame ({window} samples)'


def _padding(separator, rate):
    """Whether an example is the same with zeros behind it: `base.Task.separate` promises it."""
    samples, parts = rate // 4 + 3, []
    noise_T = 0.1 + 0.1 * np.random.default_rng(0).standard_normal(samples)
    length_B = np.full(1, samples, np.int32)
    adaptation_BT = _background(separator, noise_T[None])
    separate = jax.jit(separator.task.separate)
    for more in (0, samples):
        mixture_BT = np.pad(noise_T, (0, more))[None].astype(np.float32)
        made = separate(separator.parameters, mixture_BT, length_B, adaptation_BT)
        parts.append(np.asarray(made, np.float64)[..., :samples])
    alone, padded = parts
    error = np.abs(alone - padded).max() / max(np.abs(alone).max(), 1e-30)
    few_bits = getattr(separator.config.model, 'dtype', '') == 'bfloat16'
    if error < (0.1 if few_bits else 1e-3):
        return 'changes nothing'
    return (
        f'CHANGES the estimates, by {error:.1g} of their peak: scores depend on what a batch is'
        ' padded to; a part looks beyond valid_BK'
    )


def _background(separator, mixture_BT):
    """Background for mixtures, where the model takes it: the first one's sound."""
    seconds = separator.network.adaptation_seconds
    if not seconds:
        return None
    shape = len(mixture_BT), round(seconds * separator.sample_rate)
    return np.resize(mixture_BT[:1], shape).astype(np.float32)


def _gain(how):
    return 1 - how.overlap / how.segment


def _cost(separator, how):
    """(seconds, bytes) of one batch of windows."""
    task, samples = separator.task, round(how.segment * separator.sample_rate)
    mixture_BT = np.zeros((how.batch, samples), np.float32)
    mixture_BT += 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)[None]
    length_B = np.full(how.batch, samples, np.int32)
    given = (separator.parameters, mixture_BT, length_B, _background(separator, mixture_BT))
    compiled = jax.jit(task.separate).lower(*given).compile()
    about = compiled.memory_analysis()
    memory = about.temp_size_in_bytes + about.argument_size_in_bytes + about.output_size_in_bytes
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*given))
        times.append(time.perf_counter() - began)
    return min(times), memory
