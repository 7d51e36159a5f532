"""Averages, schedules, parts of a batch, decay, patience: each against its closed form."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fgsep_jax import config as config_lib, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, loop, step as step_lib
from fgsep_jax.training.optimizer import make_optimizer, make_rate
from fgsep_jax.training.state import init_state
import synthetic
import tiny


class Line:
    """A line through points (first, second sample): slope `kernel`, offset `bias`."""

    def init(self, rng):
        del rng
        return {'kernel': jnp.ones(()), 'bias': jnp.zeros(())}

    def multiply_accumulates(self):
        return 1

    def scored(self, batch):
        return batch['source_BST'][:, 0, 0] != 99

    def loss(self, params, batch, rng):
        point_BT = batch['source_BST'][:, 0].astype(jnp.float32)
        error_B = params['kernel'] * point_BT[:, 0] + params['bias'] - point_BT[:, 1]
        return jnp.square(error_B), {'error': jnp.abs(error_B)}

    def separate(self, params, mixture_BT, length_B=None, adaptation_BT=None):
        return jnp.stack([mixture_BT, mixture_BT], axis=1)

    def probe(self, params, mixture_BT):
        return {}


def points(*pairs):
    return {'source_BST': jnp.array(pairs, jnp.int16)[:, None]}


def keywords(config, **more):
    rate = make_rate(config, more.pop('steps', 10))
    how = dict(optimizer=make_optimizer(config), learning_rate=rate, seed=0)
    return {'task': Line(), **how, 'ema': config.training.ema, **more}


def test_a_batch_in_parts_is_the_batch():
    config = tiny.config('')
    batch = points((1, 5), (2, -7), (99, 0), (4, 1), (5, 2), (-6, 3), (99, 9), (8, 0))
    state = init_state(Line(), config)
    after, values, finite_B = step_lib.train_step(state, batch, **keywords(config))
    for count in (2, 4):
        again, same, finite = step_lib.train_step(
            state, batch, **keywords(config, accumulate=count)
        )
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5), (again, same), (after, values)
        )
        np.testing.assert_array_equal(finite, finite_B)


def test_the_bad_row_of_a_part_is_named():
    class Bad(Line):
        def loss(self, params, batch, rng):
            loss_B, values = super().loss(params, batch, rng)
            return jnp.where(batch['source_BST'][:, 0, 0] == 4, jnp.nan, loss_B), values

    config = tiny.config('')
    state = init_state(Line(), config)
    batch = points((1, 5), (2, -7), (3, 0), (4, 1))
    how = {**keywords(config, accumulate=2), 'task': Bad()}
    after, values, finite_B = step_lib.train_step(state, batch, **how)
    assert finite_B.tolist() == [True, True, True, False] and not values['finite']
    assert after.params == state.params


def test_the_average_is_of_the_weights_after_each_step():
    config = tiny.config('', **{'training.ema': 0.3})
    state = init_state(Line(), config)
    expected, seen = np.ones(1), []
    for step in range(6):
        state, *_ = step_lib.train_step(state, points((1, 5), (2, 7)), **keywords(config))
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * float(state.params['kernel'])
        seen.append(float(state.params['kernel']))
        np.testing.assert_allclose(state.evaluated['kernel'], expected[0], rtol=1e-6)
    assert min(seen) < float(state.average['kernel']) < max(seen)
    unscored, *_ = step_lib.train_step(state, points((99, 5), (99, 7)), **keywords(config))
    assert unscored.average == state.average and int(unscored.step) == 7
    plain = init_state(Line(), tiny.config(''))
    assert plain.average == () and plain.evaluated is plain.params


def test_decay_is_adamws_and_spares_offsets():
    config = tiny.config('', **{'training.weight_decay': 0.1, 'training.learning_rate': 0.01})
    state = init_state(Line(), config)
    reference = optax.adamw(0.01, weight_decay=0.1, mask={'kernel': True, 'bias': False})
    params = {'kernel': jnp.ones(()), 'bias': jnp.ones(())}
    state, moments = state.replace(params=params), reference.init(params)
    batch, loss = points((1, 1), (1, 3)), lambda p: Line().loss(p, batch, None)[0].mean()
    for _ in range(5):
        state, *_ = step_lib.train_step(state, batch, **keywords(config))
        updates, moments = reference.update(jax.grad(loss)(params), moments, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), state.params, params)


@pytest.mark.parametrize(
    'keys, expected',
    [
        ({}, lambda step: 0.5),
        ({'warmup_steps': 4}, lambda step: 0.5 * min((step + 1) / 4, 1)),
        ({'schedule': 'cosine'}, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / 20)),
        (
            {'schedule': 'cosine', 'warmup_steps': 5},
            lambda step: (
                min((step + 1) / 5, 1) * (0.5 + 0.5 * math.cos(math.pi * max(step - 5, 0) / 15))
            ),
        ),
    ],
)
def test_the_rate_follows_its_schedule(keys, expected):
    config = tiny.config('', **{f'training.{key}': value for key, value in keys.items()})
    config.training.learning_rate = 1.0
    rate = make_rate(config, 20)
    scale = 0.5 if 'schedule' not in keys else 0.1  # which a cosine does not hear of
    made = [float(rate(step, scale)) for step in range(20)]
    np.testing.assert_allclose(made, [expected(step) for step in range(20)], atol=1e-6)


def test_patience_counts_epochs_without_improvement():
    patience = loop._Patience(tiny.config('', **{'training.patience_epochs': 3}), None, 0)
    for loss, over in [(5, 0), (4, 0), (4, 0), (math.nan, 0), (3.9, 0), (4, 0), (4, 0), (4, 1)]:
        patience.see(loss)
        assert patience.is_over == bool(over), loss
    never = loop._Patience(tiny.config(''), 1.0, 10**6)
    assert not never.is_over


def test_a_run_without_improvement_ends_and_stays_ended(tmp_path, monkeypatch, capsys):
    data = synthetic.write(tmp_path / 'tones')
    task = Line()
    task.loss = lambda params, batch, rng: (jnp.ones(len(batch['source_BST'])), {})
    monkeypatch.setattr(loop, 'make_task', lambda config: task)

    def train(**more):
        config = tiny.config(data, **{'training.epochs': 9, 'training.patience_epochs': 2, **more})
        sources = {f'{s}_source': RecordSource(data, s) for s in ('train', 'validation')}
        return int(loop.train(config, str(tmp_path / 'run'), **sources).step)

    assert train() == 12  # the first epoch is an improvement over none
    assert 'the training ends: no improvement for 2 epochs' in capsys.readouterr().out
    assert train() == 12
    assert 'no improvement for 2 epochs (training.patience_epochs = 2)' in capsys.readouterr().out
    assert train(**{'training.patience_epochs': 4}) == 20
    said = (tmp_path / 'run' / 'run.log').read_text().splitlines()
    assert sum('the training ends: no' in line for line in said) == 2 and said[0][:2] == '20'


def test_a_loss_counts_no_further_than_its_threshold():
    config = tiny.config('', **{'loss.clip_db': -10.0})
    plain, clipped = make_task(tiny.config('')), make_task(config)
    rng = np.random.default_rng(0)
    source_BST = rng.integers(-9000, 9000, (3, 2, 800)).astype(np.int16)
    noise_BST = np.array([0.01, 0.1, 3.0])[:, None, None] * rng.normal(0, 5000, source_BST.shape)
    for task in (plain, clipped):
        task.separate = lambda params, *_: (source_BST + params * noise_BST) / 32768

    def losses(task):
        return lambda p: task.loss(p, {'source_BST': source_BST}, None)[0]

    free_B = losses(plain)(1.0)
    assert free_B[0] < free_B[1] < -10 < free_B[2]
    np.testing.assert_allclose(losses(clipped)(1.0), np.maximum(free_B, -10.0))
    slope_B = jax.jacfwd(losses(clipped))(1.0)
    assert not slope_B[:2].any() and slope_B[2]
    _, values = clipped.loss(1.0, {'source_BST': source_BST}, None)
    np.testing.assert_allclose(values['si_snr'], -free_B, rtol=1e-6)


@pytest.mark.parametrize(
    'key, value, said',
    [
        ('training.ema', 1.0, 'must be below 1'),
        ('training.accumulate', 3, 'parts of equal size on 1 devices cannot be made of'),
        ('training.schedule', 'cosin', "did you mean 'cosine'?"),
        ('training.warmup_steps', -1, 'must be at least 0'),
        ('data.speed', 0.7, 'must be at most 0.5'),
        ('data.remix_db', -1.0, 'not negative'),
        ('data.remix', True, 'data.batch_size = 1 has one row'),
        ('loss.clip_db', 30.0, 'must be below 0, or 0 for none'),
    ],
)
def test_what_cannot_work_is_said(key, value, said):
    with pytest.raises(ConfigError) as error:
        alone = {'data.batch_size': 1} if key == 'data.remix' else {}
        validate.validate(tiny.config('', **{key: value, **alone}))
    assert key in str(error.value) and said in str(error.value)


def test_a_cosine_needs_to_know_its_end(tmp_path):
    config = tiny.config('', **{'training.schedule': 'cosine', 'training.minutes': 5.0})
    with pytest.raises(ConfigError, match='training.schedule.*training.minutes'):
        validate.validate(config)


UNREAD = {
    'training.plateau_factor': (0.4, {'training.schedule': 'cosine'}, {}),
    'training.plateau_tolerance': (
        0.1,
        {'training.schedule': 'cosine'},
        {'training.schedule': 'cosine', 'training.patience_epochs': 3},
    ),
    'data.remix_db': (4.0, {}, {'data.remix': True}),
    'loss.power_law_hop': (32, {}, {'loss.power_law_weight': 0.1}),
    'features.pcen_gain': (0.5, {'features.name': 'log_mel'}, {'features.name': 'pcen'}),
    'features.log_floor': (0.1, {'features.name': 'pcen'}, {'features.name': 'log_mel'}),
}


@pytest.mark.parametrize('key', UNREAD)
def test_what_nothing_reads_is_said(key):
    value, *settings = UNREAD[key]
    name = 'blstm_m2' if key.startswith('features') else 'convtasnet_glu'
    without, read = (
        config_lib.unread(tiny.config('', name, **{key: value, **x})) for x in settings
    )
    assert [line.partition(' = ')[0] for line in without] == [key] and not read


@pytest.mark.slow
def test_what_is_evaluated_is_the_average(tmp_path):
    data = synthetic.write(tmp_path / 'tones')
    config = tiny.config(data, **{'training.ema': 0.9, 'training.epochs': 2})
    sources = {f'{s}_source': RecordSource(data, s) for s in ('train', 'validation')}
    state = loop.train(config, str(tmp_path / 'run'), **sources)
    task = make_task(config)
    step, _, parameters, _ = checkpoint.load_best(str(tmp_path / 'run'), config, task)
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    losses = {row['step']: row['loss'] for row in rows if row['kind'] == 'validation'}
    assert step == min(losses, key=losses.get) == int(state.step)
    jax.tree.map(np.testing.assert_array_equal, parameters, state.average)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state.average, state.params))))
