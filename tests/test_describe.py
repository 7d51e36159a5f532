"""--mode=describe: what is said of a model is what it is."""

import re
import types

import flax.linen as nn
import jax
import numpy as np
import pytest

from fgsep_jax import buckets, config as config_lib, data_sets, describe, main, registry
from fgsep_jax.interop import model_file
from fgsep_jax.models import encoders, tcn
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint
import tiny


def table(text):
    """{label: the rest} of what is printed."""
    return {label.strip(): rest for label, rest in re.findall('(.{28})(.*)', text)}


@pytest.mark.few(1)
@pytest.mark.parametrize('name', ['convtasnet_glu', 'convtasnet_causal', 'blstm_m2_plus'])
def test_parts_add_up(name):
    config = tiny.config('', name)
    text = '\n'.join(describe.describe(config))
    task = make_task(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    said = table(text)
    assert said['parameters'].startswith(f'{total:,} ')
    parts = re.findall('^  .{26}([\\d,]+)$', text, flags=re.M)
    assert sum(int(part.replace(',', '')) for part in parts) == total
    assert ('one frame (16 samples)' in said['latency']) == (name == 'convtasnet_causal')
    assert 'times real time on 1 x cpu' in said['speed'] or jax.device_count() > 1
    giga = float(said['MACs'].removesuffix(' G per second of audio'))
    assert giga == pytest.approx(task.multiply_accumulates() / 1e9, rel=5e-3)


def test_a_background_may_be_longer_than_a_window():
    shapes = []

    def separate(params, mixture_BT, length_B, adaptation_BT):
        shapes.append(adaptation_BT.shape)
        return mixture_BT + adaptation_BT.mean()

    separator = types.SimpleNamespace(
        task=types.SimpleNamespace(separate=separate),
        sample_rate=100,
        parameters={},
        network=types.SimpleNamespace(adaptation_seconds=9.0),
    )
    describe._cost(separator, types.SimpleNamespace(batch=2, segment=4.0))
    assert shapes == [(2, 900)]


# Frames of `window` samples, `stride` apart; three taps each at 1, 2, 4 ... frames' distance.
@pytest.mark.few(1)
@pytest.mark.parametrize(
    'window, stride, blocks, repeats', [(16, 8, 2, 1), (32, 8, 2, 2), (16, 8, 3, 1)]
)
def test_what_it_hears_and_needs(monkeypatch, window, stride, blocks, repeats):
    monkeypatch.setattr(describe, 'RUNS', 1)
    keys = dict(window=window, stride=stride, blocks=blocks, repeats=repeats, basis=64)
    config = tiny.config('', **{f'model.{key}': value for key, value in keys.items()})
    said = table('\n'.join(describe.describe(config)))
    samples = stride * 2 * repeats * (2**blocks - 1) + 2 * window - stride
    assert said['hears'].startswith(f'{samples} samples ({samples / 8000:.2f} s); ')
    memory, batch, seconds = map(
        int, re.match('(\\d+) MiB for windows of (\\d+) x (\\d+) s', said['memory']).groups()
    )
    cut = batch * seconds * 8000
    outside = 4 * cut * (1 + 2)  # the mixtures and two estimates of each
    inside = 4 * cut // stride * 64  # what the encoder gives
    assert outside + inside < memory * 2**20 < outside + 20 * inside


class Leaky(nn.Module):
    """Takes a mean over all frames off, those of padding too."""

    encoder: nn.Module
    window: int
    stride: int
    basis: int

    def __call__(self, mixture_BT, valid_BK=None):
        code_BKN = self.encoder(mixture_BT, valid_BK)
        return code_BKN - code_BKN.mean(axis=1, keepdims=True)


@pytest.mark.parametrize('leaks', [False, True])
def test_padding_that_changes_an_example_is_told(monkeypatch, leaks):
    def made(*, basis=8, window=16, stride=8):
        encoder, decoder = encoders.linear(basis=basis, window=window, stride=stride)
        return Leaky(encoder, window, stride, basis) if leaks else encoder, decoder

    monkeypatch.setattr(registry, '_load', lambda: None)
    monkeypatch.setitem(encoders.ENCODERS, 'mine', made)
    monkeypatch.setattr(describe, '_cost', lambda model, how: (1.0, 0))
    config = tiny.config('', 'convtasnet')
    config_lib.override(config, {'model.encoder.name': 'mine'})
    said = table('\n'.join(describe.describe(config)))
    assert said['padding'].startswith('CHANGES the estimates, by ' if leaks else 'changes nothing')
    of_tcn = 'as far as its parts reach, which is not said by encoder mine'
    assert (said['hears'] == of_tcn) == leaks


def test_norms_are_said_to_hear_where_there_are_some():
    linear, prelu, glu = (encoders.ENCODERS[name]()[0] for name in ('linear', 'prelu', 'glu'))
    assert describe._has_norms(linear, tcn.TCN())
    without = types.SimpleNamespace()
    assert not describe._has_norms(linear, without) and not describe._has_norms(prelu, without)
    assert describe._has_norms(glu, without)


def test_a_model_file_is_described_by_what_is_in_it(tmp_path, monkeypatch, capsys):
    config, given = tiny.config(''), []
    shapes = jax.eval_shape(make_task(config).init, jax.random.key(0))
    weights = jax.tree.map(lambda x: np.full(x.shape, 0.25, x.dtype), shapes)
    model_file.write(tmp_path / 'm.safetensors', config, weights, sources=('low', 'high'), step=7)
    monkeypatch.setattr(main, '_begin', lambda args: None)
    cost = describe._cost
    monkeypatch.setattr(
        describe, '_cost', lambda model, how: given.append(model.parameters) or cost(model, how)
    )
    main.main(['--mode=describe', f'--workdir={tmp_path}/m.safetensors'])
    said = table(capsys.readouterr().out)
    assert said['model'] == 'convtasnet_glu:demo, step 7'
    assert said['gives'] == 'low, high at 8,000 Hz'
    assert all((leaf == 0.25).all() for leaf in jax.tree.leaves(given))
    monkeypatch.setattr(describe, '_cost', lambda model, how: (1.0, 0))
    main.main(['--mode=describe', '--workdir=voices'])
    said = table(capsys.readouterr().out)
    shipped = model_file.read_about(model_file.shipped()['voices'])
    assert said['model'].endswith(f', step {shipped.step}')


def test_a_model_must_be_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(['--mode=describe'])
    assert stop.value.code == 2
    assert '--mode=describe needs --workdir=RUN or --config=NAME' in capsys.readouterr().err


def test_a_run_in_a_bucket_is_called_by_its_address(memory, monkeypatch, capsys):
    about = types.SimpleNamespace(config=None, step=3, sources=())
    with buckets.copies():
        args, _ = main._parser().parse(['--mode=describe', '--workdir=memory://b/run'])
        args.workdir = buckets.local(args.workdir)
        loaded = about, None, [f'{args.workdir}: checkpoint 4 is damaged']
        monkeypatch.setattr(main, '_begin', lambda args: None)
        monkeypatch.setattr(data_sets, 'model_of', lambda path: ('a model', ''))
        monkeypatch.setattr(checkpoint, 'load_trained', lambda path: loaded)
        monkeypatch.setattr(describe, 'describe', lambda *_, **__: [f'model {args.workdir}'])
        main._describe(args, None)
    said = capsys.readouterr().out
    assert said == 'note: memory://b/run: checkpoint 4 is damaged\nmodel memory://b/run\n'
