import contextlib
import functools
import json
import os
import shutil
import signal
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax import lock, pcm, stopping
from fgsep_jax.config import ConfigError
from fgsep_jax.data import pipeline
from fgsep_jax.data.source import RecordSource
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, loop, run_folder, step as step_lib
from fgsep_jax.training.optimizer import make_optimizer, make_plateau, update_plateau
from fgsep_jax.training.state import init_state
import synthetic
import tiny


class MeanTask:
    """Learns one number: the mean amplitude; an example whose id ends in 3 gives nan if `bad`."""

    def __init__(self, bad=()):
        self.bad = bad

    def init(self, rng):
        del rng
        return {'mean': jnp.ones(())}

    def multiply_accumulates(self):
        return 1

    def scored(self, batch):
        return jnp.ones(len(batch['source_BST']), bool)

    def loss(self, params, batch, rng):
        del rng
        first_B = batch['source_BST'][:, 0, 0].astype(jnp.float32)
        loss_B = jnp.square(params['mean'] - 0.5) + 0 * first_B
        for value in self.bad:
            loss_B = jnp.where(first_B == value, jnp.nan, loss_B)
        return loss_B, {'square': loss_B}

    def separate(self, params, mixture_BT, length_B=None, adaptation_BT=None):
        del length_B, adaptation_BT
        return params['mean'] * jnp.stack([mixture_BT, mixture_BT], axis=1)


@pytest.fixture
def data(tmp_path):
    return synthetic.write(tmp_path / 'tones')


def run(data, workdir, task=None, monkeypatch=None, **overrides):
    config = tiny.config(data, **overrides)
    if task:
        monkeypatch.setattr(loop, 'make_task', lambda config: task)
    return loop.train(
        config,
        str(workdir),
        train_source=RecordSource(data, 'train'),
        validation_source=RecordSource(data, 'validation'),
    )


def rows(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


@pytest.mark.slow
def test_a_tiny_model_learns_and_logs(data, tmp_path):
    state = run(data, tmp_path / 'run', **{'training.epochs': 5, 'training.accumulate': 2})
    validation = [row['loss'] for row in rows(tmp_path / 'run') if row['kind'] == 'validation']
    assert int(state.step) == 20 and len(validation) == 5
    assert validation[-1] < validation[0] - 1
    assert {'loss', 'si_snr', 'gradient_norm', 'learning_rate', 'examples_per_second'} <= set(
        rows(tmp_path / 'run')[0]
    )
    assert list((tmp_path / 'run' / 'tensorboard').iterdir())


@pytest.mark.parametrize('names', [(), ('foreground', 'background')])
def test_references_are_heard_beside_estimates_by_their_names(data, tmp_path, monkeypatch, names):
    """Of a model that separates perfectly, where it may in another order, scale and sign."""
    task = MeanTask()
    segments = pipeline.first_segments([RecordSource(data, 'validation')[0]], tiny.config(data))
    reference_BST = jnp.asarray(pcm.to_float(segments['source_BST']))
    estimate_BST = reference_BST if names else -3 * reference_BST[:, ::-1]
    task.source_names, task.separate = names, lambda *_: estimate_BST
    heard, texts = [], []
    monkeypatch.setattr(loop.RunLog, 'sounds', lambda _, *what: heard.append(what))
    monkeypatch.setattr(loop.RunLog, 'text', lambda _, *what: texts.append(what))
    run(data, tmp_path, task, monkeypatch, **{'training.epochs': 1, 'training.audio_examples': 1})
    ((step, signals, rate),) = heard
    assert (step, rate) == (4, 8000)
    names = names or ('speaker 1', 'speaker 2')
    pairs = [f'0/{name}/{what}' for name in names for what in ('reference', 'estimate')]
    assert list(signals) == ['0/mixture', *pairs]
    for name, reference_T in zip(names, reference_BST[0]):
        np.testing.assert_array_equal(signals[f'0/{name}/reference'], reference_T)
        np.testing.assert_allclose(signals[f'0/{name}/estimate'], reference_T, atol=1e-3)
    ((step, tag, markdown),) = texts
    assert (step, tag) == (0, 'config') and '"segment_seconds": 0.1' in markdown


def test_bad_steps_are_skipped_and_counted_with_their_ids(data, tmp_path, monkeypatch, capsys):
    source = RecordSource(data, 'train')
    # With segments as long as the mixtures the first sample tells the example.
    bad = source[3]
    task = MeanTask(bad=[int(bad.sources_ST[0, 0])])
    state = run(data, tmp_path / 'run', task, monkeypatch, **{'data.segment_seconds': 0.3})
    skipped = [row for row in rows(tmp_path / 'run') if row['kind'] == 'skipped']
    assert len(skipped) == 3 == int(state.skipped)  # once an epoch
    assert all(row['ids'] == [bad.id] for row in skipped)
    assert bad.id in capsys.readouterr().out
    assert np.isfinite(state.params['mean'])


def test_a_run_of_bad_steps_stops(data, tmp_path, monkeypatch):
    source = RecordSource(data, 'train')
    task = MeanTask(bad=[int(source[i].sources_ST[0, 0]) for i in range(len(source))])
    with pytest.raises(loop.TrainingError, match='3 steps in a row') as error:
        run(
            data,
            tmp_path / 'run',
            task,
            monkeypatch,
            **{'data.segment_seconds': 0.3, 'training.max_nonfinite_steps': 3},
        )
    assert 'mixture_' in str(error.value)


class Picky(MeanTask):
    """Squares of the distance to an example's first sample; 0 is not scored, 3 has no 'square'."""

    def scored(self, batch):
        return batch['source_BST'][:, 0, 0] != 0

    def loss(self, params, batch, rng):
        first_B = batch['source_BST'][:, 0, 0].astype(jnp.float32)
        loss_B = jnp.square(params['mean'] - first_B) + 1e6 * (first_B == 0)
        return loss_B, {'square': jnp.where(first_B == 3, jnp.nan, loss_B)}


@pytest.mark.parametrize(
    'first, loss, gradient, square',
    [
        ([2, 0, 4, 0], 5.0, 4.0, 5.0),
        ([2, 3, 4, 0], 14 / 3, 4.0, 5.0),
        ([0, 0, 3, 0], 4.0, 4.0, np.nan),
        ([0, 0, 0, 0], np.nan, 0.0, np.nan),
    ],
)
def test_means_are_over_the_examples_that_are_scored(first, loss, gradient, square):
    task, config = Picky(), tiny.config('')
    state = init_state(task, config)  # mean = 1
    batch = {'source_BST': jnp.array(first, jnp.int16)[:, None, None], 'valid_B': jnp.ones(4, bool)}
    how = dict(task=task, optimizer=make_optimizer(config), learning_rate=lambda *_: 0.1, seed=0)
    after, metrics, finite_B = step_lib.train_step(state, batch, **how)
    np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-6)
    np.testing.assert_allclose(metrics['gradient_norm'], gradient, rtol=1e-6)
    np.testing.assert_allclose(metrics['square'], square, rtol=1e-6)
    assert int(metrics['unscored']) == first.count(0) and metrics['finite'] and finite_B.all()
    assert (after.params['mean'] != state.params['mean']) == any(first)
    means = step_lib.validation_step(state.params, batch, task=task)
    assert int(means['loss'].count) == 4 - first.count(0)
    np.testing.assert_allclose(means['loss'].compute(), loss, rtol=1e-6)
    np.testing.assert_allclose(means['square'].compute(), square, rtol=1e-6)


def silent_batch(silent, rows=4, samples=200, length=150):
    """A batch in which a source of some rows is silent where it counts."""
    source_BST = np.random.default_rng(0).integers(-8000, 8000, (rows, 2, samples))
    source_BST[..., length:] = 0
    for row, value in silent.items():
        source_BST[row, row % 2, :length] = value
    return {
        'source_BST': source_BST.astype(np.int16),
        'length_B': np.full(rows, length, np.int32),
        'valid_B': np.ones(rows, bool),
    }


@pytest.fixture(scope='module')
def tiny_step():
    """(state, train step, validation step) of SI-SNR with a power-law term."""
    config = tiny.config('', **{'loss.power_law_weight': 0.01, 'loss.power_law_window': 64})
    config.loss.power_law_hop = 16
    task, optimizer = make_task(config), make_optimizer(config)
    state = jax.jit(lambda: init_state(task, config))()
    how = dict(task=task, optimizer=optimizer, learning_rate=lambda *_: 0.1, seed=0)
    train = jax.jit(functools.partial(step_lib.train_step, **how))
    return state, train, jax.jit(functools.partial(step_lib.validation_step, task=task))


@pytest.mark.slow
def test_a_segment_with_a_silent_source_counts_for_nothing(tiny_step):
    state, train, validate = tiny_step
    batch = silent_batch({1: 0, 2: 321})  # zeros, and an offset alone
    heard = {name: value[[0, 3, 0, 3]] for name, value in batch.items()}
    (after, metrics, finite_B), (expected, alone, _) = train(state, batch), train(state, heard)
    assert int(metrics.pop('unscored')) == 2 and int(alone.pop('unscored')) == 0
    assert finite_B.all()
    for name in alone:
        np.testing.assert_allclose(metrics[name], alone[name], rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        (after.params, after.optimizer),
        (expected.params, expected.optimizer),
    )
    means = {name: mean.compute() for name, mean in validate(state.params, batch).items()}
    assert validate(state.params, batch)['loss'].count == 2
    np.testing.assert_allclose(means['loss'], alone['loss'], rtol=1e-4)
    assert set(means) == {'loss', 'si_snr', 'power_law'}


@pytest.mark.slow
def test_a_step_without_a_single_score_changes_nothing_but_the_counters(tiny_step):
    state, train, _ = tiny_step
    state, *_ = train(state, silent_batch({}))  # now there is momentum
    after, metrics, _ = train(state, silent_batch(dict.fromkeys(range(4), 0)))
    jax.tree.map(
        np.testing.assert_array_equal,
        (after.params, after.optimizer),
        (state.params, state.optimizer),
    )
    assert int(after.step) == 2 and int(after.skipped) == 0 and metrics['finite']
    assert int(metrics['unscored']) == 4 and np.isnan(metrics['loss'])


def test_a_foreground_that_is_silent_trains_but_has_no_ratio():
    config = tiny.config('', 'blstm_m1')
    task = make_task(config)
    batch = silent_batch({0: 0}, rows=3, samples=800, length=800)
    assert np.asarray(task.scored(batch)).all()
    params = jax.jit(task.init)(jax.random.key(0))
    means = jax.jit(functools.partial(step_lib.validation_step, task=task))(params, batch)
    assert means['loss'].count == 3 and means['mel_snr'].count == 2
    assert np.isfinite([mean.compute() for mean in means.values()]).all()


def test_a_validation_split_that_cannot_be_scored_is_told_first(tmp_path):
    one_can = synthetic.write(tmp_path / 'one', train=8, silent=(900, 900, 900, 0))
    none_can = synthetic.write(tmp_path / 'none', train=8, silent=(900,))
    config = tiny.config(one_can)
    loop._check_validation(make_task(config), RecordSource(one_can, 'validation'), config)
    with pytest.raises(ConfigError) as error:
        run(none_can, tmp_path / 'run')
    assert str(error.value).startswith(
        'data.segment_seconds = 0.1: in the first 0.1 s of each of the 4 validation mixtures in '
    )
    assert not (tmp_path / 'run' / 'config.json').exists()


def test_a_skipped_step_changes_nothing_but_the_counters():
    task, config = MeanTask(bad=[7]), tiny.config('')
    state = init_state(task, config)
    batch = {'source_BST': jnp.array([[[7]], [[1]]], jnp.int16)}
    keywords = dict(
        task=task, optimizer=make_optimizer(config), learning_rate=lambda *_: 0.1, seed=0
    )
    after, metrics, finite_B = step_lib.train_step(state, batch, **keywords)
    assert after.params == state.params and int(after.skipped_in_row) == 1
    assert not metrics['finite'] and finite_B.tolist() == [False, True]
    good = {'source_BST': jnp.ones((2, 1, 1), jnp.int16)}
    after, _, _ = step_lib.train_step(after, good, **keywords)
    assert int(after.skipped) == 1 and int(after.skipped_in_row) == 0
    # Adam's first step is the learning rate, whatever the gradient.
    np.testing.assert_allclose(after.params['mean'], 0.9, rtol=1e-5)


@pytest.mark.parametrize(
    'losses, scale',
    [
        ([-1.0] * 3, 1.0),
        ([-1.0] * 4, 0.5),
        ([-1.0] * 7, 0.25),
        ([-1, -2, -3, -4, -5], 1.0),
        ([-1, -1, -1, -1.1, -1.1, -1.1], 1.0),
        ([float('nan')] * 3 + [-1.0], 0.5),
    ],
)
def test_the_rate_is_halved_after_three_epochs_without_improvement(losses, scale):
    plateau = make_plateau(tiny.config(''))
    state = plateau.init({})
    for loss in losses:
        state = update_plateau(plateau, state, loss)
    np.testing.assert_allclose(state.scale, scale)


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    state = init_state(MeanTask(), tiny.config(''))
    for step, loss in enumerate([3.0, 1.0, 2.0, None, 2.5, 2.6], start=1):
        checkpoints.save(step, state, {'iterator': {}, 'hosts': 1}, loss=loss)
    checkpoints.wait()
    assert (checkpoints.best_step(), checkpoints.latest_step()) == (2, 6)
    assert sorted(checkpoints._manager.all_steps()) == [2, 5, 6]
    with pytest.raises(Exception, match='6'):
        checkpoints.save(6, state, {})
    checkpoints.close()


@pytest.mark.slow
@pytest.mark.parametrize('number', stopping.NAMES)
def test_a_signal_saves_and_leaves_within_a_step(data, tmp_path, monkeypatch, number):
    step, at = loop._Run.step, []

    def signalled(self, state, before, steps_left):
        if before == 5:
            at.append(before)
            os.kill(os.getpid(), number)
        return step(self, state, before, steps_left)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, 'step', signalled)
        with pytest.raises(loop.Preempted, match='the same command resumes') as notice:
            run(data, tmp_path / 'run', MeanTask(), patch)
    assert notice.value.number == number
    saved = max(int(path.name) for path in (tmp_path / 'run' / 'checkpoints').iterdir())
    assert at == [5] and saved in (6, 7)
    ended = run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    undisturbed = run(data, tmp_path / 'other', MeanTask(), monkeypatch)
    jax.tree.map(np.testing.assert_array_equal, ended, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize('epoch', [1, 3])
def test_a_validation_is_left_at_once_and_made_up_for(data, tmp_path, monkeypatch, epoch):
    validate, stopped = loop._Run.validate, []

    def signalled(self, state, step, current, stop):
        if current == epoch and len(stopped) < 2:
            stopped.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
            until = time.monotonic() + 10
            while not stop.at_once and time.monotonic() < until:
                time.sleep(0.001)
        return validate(self, state, step, current, stop)

    monkeypatch.setattr(loop._Run, 'validate', signalled)
    for _ in range(2):  # the second time as the first thing after the resumption
        with pytest.raises(loop.Preempted):
            run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    assert stopped == [4 * epoch] * 2
    ended = run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    undisturbed = run(data, tmp_path / 'other', MeanTask(), monkeypatch)
    jax.tree.map(np.testing.assert_array_equal, ended, undisturbed)
    for kind in ('train', 'validation'):
        losses = [
            [(row['step'], row['loss']) for row in rows(tmp_path / name) if row['kind'] == kind]
            for name in ('run', 'other')
        ]
        assert losses[0] == losses[1]
    best = [checkpoint.Checkpoints(tmp_path / name).best_step() for name in ('run', 'other')]
    assert best[0] == best[1]


@pytest.mark.parametrize('number', [None, signal.SIGTERM, signal.SIGHUP])
def test_a_host_stops_at_the_step_that_jax_names(monkeypatch, number):
    """Whichever host the signal came to: one that has it tells JAX, which knows SIGTERM alone."""
    told = []
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    monkeypatch.setattr(os, 'kill', lambda pid, number: told.append((pid, number)))
    checkpoints = types.SimpleNamespace(reached_preemption=lambda step: step == 7)
    stop = loop._Stop(types.SimpleNamespace(number=number), checkpoints)
    assert [stop.requested(step) for step in (5, 6, 7, 8)] == [False, False, True, True]
    assert stop.number == (number or signal.SIGTERM) and not stop.at_once
    assert {*told} == ({(os.getpid(), signal.SIGTERM)} if number else set())


def test_another_configuration_in_the_same_folder_is_refused(data, tmp_path):
    run_folder.claim(tmp_path, tiny.config(data), RecordSource(data, 'train'))
    run_folder.check(tmp_path, tiny.config(data, **{'training.epochs': 9}))
    with pytest.raises(ConfigError, match='model.encoder.basis: 8 before, 16 now'):
        run_folder.check(tmp_path, tiny.config(data, **{'model.basis': 16}))


def test_a_configuration_that_came_while_the_lock_was_waited_for_is_refused(
    data, tmp_path, monkeypatch
):
    hold = loop.mesh_lib.hold

    @contextlib.contextmanager
    def late(workdir, *args, **kwargs):
        with hold(workdir, *args, **kwargs) as held:
            other = tiny.config(data, **{'model.basis': 16})
            run_folder.claim(workdir, other, RecordSource(data, 'train'))
            yield held

    monkeypatch.setattr(loop.mesh_lib, 'hold', late)
    with pytest.raises(ConfigError, match='model.encoder.basis: 16 before, 8 now'):
        run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    assert not (tmp_path / 'run' / 'metrics.jsonl').exists()
    assert run_folder.read_config(str(tmp_path / 'run')).model.encoder.basis == 16


def test_a_lost_lock_ends_the_training_before_anything_is_saved(data, tmp_path, monkeypatch):
    read = loop._Run.read_metrics

    def lose(self):
        shutil.rmtree(tmp_path / 'run' / lock.NAME)
        return read(self)

    monkeypatch.setattr(loop._Run, 'read_metrics', lose)
    with pytest.raises(lock.Lost, match='the lock of .*run was removed, or taken'):
        run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    assert checkpoint.Checkpoints(tmp_path / 'run').latest_step() is None


def test_a_lock_that_is_seen_to_be_lost_ends_the_training_at_the_next_step(
    data, tmp_path, monkeypatch
):
    step, made = loop._Run.step, []
    monkeypatch.setattr(lock, 'BEAT', 0.01)

    def lose(self, *args):
        made.append(step(self, *args))
        if len(made) == 2:
            (held,) = [each for each in lock._held if each.folder == str(tmp_path / 'run')]
            shutil.rmtree(tmp_path / 'run' / lock.NAME)
            while not held.lost:
                time.sleep(0.01)
        return made[-1]

    monkeypatch.setattr(loop._Run, 'step', lose)
    with pytest.raises(lock.Lost, match='the lock of .*run was removed, or taken'):
        run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    assert len(made) == 2


@pytest.mark.slow
def test_a_configuration_changed_after_the_checkpoint_is_refused(data, tmp_path):
    config = tiny.config(data)
    task = make_task(config)
    checkpoints = checkpoint.Checkpoints(tmp_path)
    position = {'iterator': {}, 'hosts': 1, 'config': config.to_dict()}
    state = jax.jit(lambda: init_state(task, config))()
    checkpoints.save(3, state, position, loss=1.0)
    checkpoints.close()
    assert checkpoint.load_best(str(tmp_path), config, task)[0] == 3
    config.training.epochs += 1  # which may change
    assert checkpoint.load_best(str(tmp_path), config, task)[0] == 3
    config.data.batch_size += 1
    with pytest.raises(ConfigError, match='config.json was changed.*batch_size = 5, saved with 4'):
        checkpoint.load_best(str(tmp_path), config, task)


def test_a_log_that_was_emptied_is_noted_where_the_run_is_opened(
    data, tmp_path, monkeypatch, capsys
):
    for damage in (False, True):
        run(data, tmp_path, MeanTask(), monkeypatch, **{'training.epochs': 1 + damage})
        assert 'metrics.jsonl is not what was logged' not in capsys.readouterr().out
    (tmp_path / 'metrics.jsonl').write_text('')
    run(data, tmp_path, MeanTask(), monkeypatch, **{'training.epochs': 2})
    assert 'metrics.jsonl is not what was logged up to step 8 (0 b' in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_command_on_a_finished_run_does_nothing(data, tmp_path, monkeypatch):
    first = run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    before = (tmp_path / 'run' / 'metrics.jsonl').read_text()
    second = run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert (tmp_path / 'run' / 'metrics.jsonl').read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    'seconds, step, up',
    [
        (0.0, 0, False),
        (41.0, 20, False),  # the next epoch would end at 61.5 s, nearer to a minute
        (49.0, 20, True),  # it would end at 73.5 s
        (71.0, 21, False),  # an epoch is ended, be it the first
        (71.0, 9, False),
        (72.0, 9, True),  # but not at any cost
        (500.0, 10, True),
    ],
)
def test_a_training_ends_with_the_epoch_nearest_to_its_minutes(seconds, step, up):
    clock = loop._Clock(tiny.config('', **{'training.minutes': 1.0}), 10, seconds)
    assert clock.is_up(step) == up
    assert clock.left == max(60 - seconds, 0) and clock.seconds == seconds  # not started
    endless = loop._Clock(tiny.config(''), 10, seconds)
    assert not endless.is_up(step) and endless.left == float('inf')


@pytest.mark.slow
def test_minutes_count_over_all_starts_of_a_run(data, tmp_path, monkeypatch, capsys):
    now = [0.0]
    ticking = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(loop, 'time', ticking)

    class Slow(loop._Run):
        def validate(self, *args):
            now[0] += 20  # each epoch
            return super().validate(*args)

    monkeypatch.setattr(loop, '_Run', Slow)
    train = functools.partial(run, data, tmp_path / 'run', MeanTask(), monkeypatch)
    epoch = 4  # steps
    most = {'training.epochs': 50}
    assert train(**most, **{'training.minutes': 1.0}).step == 3 * epoch
    told = capsys.readouterr().out
    assert '50 epochs at most, 1 min' in told and 'starting at step 0\n' in told
    assert train(**most, **{'training.minutes': 1.0}).step == 3 * epoch
    assert (
        'is trained: 12 steps, 3 epochs; training.minutes = 1 are over' in capsys.readouterr().out
    )
    now[0] = 0.0
    assert train(**most, **{'training.minutes': 2.0}).step == 6 * epoch
    assert train(**{'training.epochs': 7}).step == 7 * epoch


def test_an_epoch_that_takes_far_too_long_is_broken_off_validated_and_gone_on_with(
    data, tmp_path, monkeypatch, capsys
):
    now = [0.0]
    monkeypatch.setattr(loop, 'time', types.SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(loop._Run):
        def step(self, *args):
            now[0] += 40
            return super().step(*args)

    monkeypatch.setattr(loop, '_Run', Slow)
    train = functools.partial(run, data, tmp_path / 'run', MeanTask(), monkeypatch)
    assert train(**{'training.minutes': 1.0}).step == 2
    assert 'step 2  validation loss' in capsys.readouterr().out
    assert train(**{'training.minutes': 1.0}).step == 2
    assert 'is trained: 2 steps, 0 epochs' in capsys.readouterr().out
    assert train(**{'training.epochs': 1}).step == 4
    validated = [row['step'] for row in rows(tmp_path / 'run') if row['kind'] == 'validation']
    assert validated == [2, 4]


@pytest.mark.slow
def test_fewer_epochs_than_a_run_has_leave_its_folder_as_it_is(data, tmp_path, monkeypatch, capsys):
    run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    names = ('config.json', 'training_data.json', 'metrics.jsonl')
    before = [(tmp_path / 'run' / name).read_text() for name in names]
    run(data, tmp_path / 'run', MeanTask(), monkeypatch, **{'training.epochs': 1})
    assert 'training.epochs = 1 asks for fewer' in capsys.readouterr().out
    assert [(tmp_path / 'run' / name).read_text() for name in names] == before


@pytest.mark.slow
@pytest.mark.parametrize('steps', [4, 12])
def test_a_speed_is_told_from_five_steps_and_the_ends_of_a_curve_are_logged(
    data, tmp_path, monkeypatch, steps
):
    told, outlooks = [], []
    monkeypatch.setattr(loop.RunLog, 'progress', lambda self, step, **what: told.append(what))
    monkeypatch.setattr(loop.cost, 'outlook', lambda *_, **what: outlooks.append(what) or '')
    how = {'training.epochs': steps // 4, 'training.log_steps': 5}
    run(data, tmp_path / 'run', MeanTask(), monkeypatch, **how)
    speeds = [what['examples_per_second'] for what in told]
    assert speeds[:5] == [None] * min(5, steps)
    assert len(speeds) == steps and all(speed > 0 for speed in speeds[5:])
    assert all((what['seconds_left'] is None) == (i < 5) for i, what in enumerate(told))
    assert len(outlooks) == (steps > 5)
    logged = [row['step'] for row in rows(tmp_path / 'run') if row['kind'] == 'train']
    assert logged == {4: [1, 4], 12: [1, 5, 10, 12]}[steps]


def test_a_warm_up_that_never_ends_is_refused(data, tmp_path):
    config = tiny.config(data, **{'training.warmup_steps': 12})
    sources = {f'{name}_source': RecordSource(data, name) for name in ('train', 'validation')}
    with pytest.raises(ConfigError, match='warmup_steps = 12: must be below the 12 steps'):
        loop.train(config, str(tmp_path / 'run'), **sources)
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_another_data_set_in_the_same_folder_is_refused(data, tmp_path, monkeypatch):
    run(data, tmp_path / 'run', MeanTask(), monkeypatch)
    other = synthetic.write(tmp_path / 'other', train=17)
    with pytest.raises(ConfigError, match=r'tones \(16 mixtures.*cannot go on with.*tones \(17 m'):
        run(other, tmp_path / 'run', MeanTask(), monkeypatch, **{'training.epochs': 9})
    assert run_folder.read_config(str(tmp_path / 'run')) == tiny.config(data)
    other = synthetic.write(tmp_path / 'validated', validation=7)
    with pytest.raises(ConfigError, match='validated on.*cannot go on with.*7 mixtures'):
        run(other, tmp_path / 'run', MeanTask(), monkeypatch, **{'training.epochs': 9})


@pytest.mark.slow
def test_what_is_of_another_run_is_refused(data, tmp_path, monkeypatch):
    other = synthetic.write(tmp_path / 'other', train=17)
    mine, theirs, elsewhere = (tmp_path / name for name in ('mine', 'theirs', 'elsewhere'))
    run(data, mine, MeanTask(), monkeypatch)
    run(data, theirs, MeanTask(), monkeypatch, seed=1)
    run(other, elsewhere, MeanTask(), monkeypatch)
    config = tiny.config(data)
    shutil.copy(elsewhere / 'training_data.json', mine)
    with pytest.raises(ConfigError, match='says.*examples=17, its.*examples=16,.*another run'):
        checkpoint.load_best(str(mine), config, MeanTask())
    shutil.rmtree(mine / 'checkpoints')
    shutil.copytree(theirs / 'checkpoints', mine / 'checkpoints')
    before = synthetic.files_in(mine)
    with pytest.raises(ConfigError, match='seed = 0, saved with 1.*those of another run'):
        run(data, mine, MeanTask(), monkeypatch, **{'training.epochs': 9})
    assert synthetic.files_in(mine) == before


def test_seeds_do_not_share_a_folder(data):
    config = tiny.config(data)
    assert run_folder.default(config) == 'runs/convtasnet_glu-demo'
    with config.unlocked():
        config.seed = 3
    assert run_folder.default(config) == 'runs/convtasnet_glu-demo-seed3'
