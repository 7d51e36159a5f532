"""The training loop: batches in, checkpoints and logs out, for every task alike."""

import collections
import contextlib
import functools
import math
import os
import re
import signal
import time
from typing import Any

import jax
import numpy as np

from fgsep_jax import buckets, config as config_lib, files, pcm, stopping
from fgsep_jax.data import pipeline
from fgsep_jax.metrics.aggregate import merge_all
from fgsep_jax.metrics.improvement import as_references, finite
from fgsep_jax.names import counted, shown
from fgsep_jax.tasks import make_task
from fgsep_jax.training import cost, mesh as mesh_lib, run_folder
from fgsep_jax.training.checkpoint import Checkpoints, abstract, heard_by, load_initial
from fgsep_jax.training.endings import Preempted, TrainingError
from fgsep_jax.training.logging import RunLog
from fgsep_jax.training.optimizer import make_plateau, make_rate, update_plateau
from fgsep_jax.training.state import init_state
from fgsep_jax.training.step import jit_train_step, jit_validation_step

OVERDUE = 1.2  # times the minutes of a training, at which even an epoch is broken off
NOTICED = 1.5  # seconds in which all hosts hear of a SIGTERM: JAX looks for one each second
MEASURED = 5  # steps, at least, that a speed is told from: the first ones after a start are slow


def train(config, workdir, *, train_source, validation_source, hooks=()):
    """Trains, or resumes, the run in a folder until its last epoch, or until its time is up.

    Killed at any instant and called again, it ends with the parameters of an undisturbed run, or
    with as many minutes of training.

    Args:
      config: an experiment's ConfigDict, validated.
      workdir: run folder.
      train_source: RecordSource of the training split.
      validation_source: RecordSource of the validation split.
      hooks: makers of what watches the training. Each is called with the keywords `workdir`,
        `task`, `config`, `total` (steps) and `say` (prints a line), and what it returns with (step,
        state) before the first step and after each.

    Returns:
      The final TrainState.

    Raises:
      ConfigError: the folder holds another run, or no validation mixture has a loss.
      TrainingError: `training.max_nonfinite_steps` steps in a row had a loss or gradient that
        was not finite.
      Preempted: SIGTERM, SIGHUP, Ctrl-C or the platform's notice came; the state is saved.
    """
    hosts, host = jax.process_count(), jax.process_index()
    indices, short = pipeline.usable(train_source, config)
    epoch_steps = cost.steps_per_epoch(config, len(indices))
    total = epoch_steps * config.training.epochs
    if config.training.warmup_steps >= total:
        raise config_lib.ConfigError(
            f'training.warmup_steps = {config.training.warmup_steps}: must be below the'
            f' {counted(total, "step")} of the training, else the rate is never reached'
        )
    mesh, task = mesh_lib.make_mesh(), make_task(config)
    _check_validation(task, validation_source, config)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(mesh_lib.hold(workdir, 'training', flag='--workdir'))
        run_folder.check(workdir, config)
        batches = pipeline.train_batches(train_source, config, host=host, hosts=hosts)
        checkpoints = stack.enter_context(
            contextlib.closing(Checkpoints(workdir, keep=config.training.keep_checkpoints))
        )
        reads = {'data': repr(train_source), 'validation': repr(validation_source)}
        state, position = _restore_or_init(checkpoints, task, config, mesh, batches, reads)
        run_folder.check_saved(workdir, config, position.get('config', {}))
        step, unvalidated = int(state.step), position.get('unvalidated', False)
        clock = _Clock(config, epoch_steps, position.get('seconds', 0.0))
        patience = _Patience(config, *position.get('patience', (None, 0)))
        over = step >= total or clock.is_up(step) or patience.is_over
        trained = over and not unvalidated
        if host == 0 and not trained:  # else the folder stays what the training made it
            run_folder.claim(workdir, config, train_source, before=_heard_before(workdir, config))
        checkpoints.open()  # all hosts at once, as nothing can refuse the run any more
        log = stack.enter_context(
            contextlib.closing(
                RunLog(
                    workdir,
                    step=step,
                    total=None if config.training.minutes else total,
                    active=host == 0,
                    unvalidated=unvalidated,
                    config=config,
                    logged=position.get('logged'),
                )
            )
        )
        for note in [*checkpoints.notes, *config_lib.unread(config)]:
            log.say(f'note: {note}')
        if trained:
            epochs = counted(step // epoch_steps, 'epoch')
            more = f'; training.epochs = {config.training.epochs} asks for fewer' * (step > total)
            if step < total:
                time_is_up = f'training.minutes = {config.training.minutes:g} are over'
                more = f'; {patience.said if patience.is_over else time_is_up}'
            log.say(f'{workdir} is trained: {counted(step, "step")}, {epochs}{more}')
            return state
        run = _Run(
            config, task, mesh, log, checkpoints, batches, validation_source, clock, steps=total
        )
        run.unscored = position.get('unscored', 0)
        run.compile(state, len(indices), short, total - step)
        how = dict(workdir=workdir, task=task, config=config, total=total, say=log.say)
        watching = [make(**how) for make in hooks]
        log.text(step, 'config', f'```\n{config_lib.to_json(config)}\n```')
        of = '' if config.training.minutes else f' of {total}'  # where time decides, the most
        log.say(f'{"resuming at" if step else "starting at"} step {step}{of}')
        for hook in watching:
            hook(step, state)
        # From here on there is something to lose. On a pod JAX itself listens to SIGTERM.
        numbers = [n for n in stopping.NAMES if hosts == 1 or n != signal.SIGTERM]
        stop = _Stop(stack.enter_context(stopping.deferred(numbers)), checkpoints)
        clock.start()
        while step < total and not clock.is_up(step) and not patience.is_over or unvalidated:
            saved = unvalidated  # by a process that was stopped before it had validated
            if not saved:
                state = run.step(state, step, total - step)
                if held and held.lost:
                    files.check_locks(workdir)
                step += 1
                for hook in watching:
                    hook(step, state)
            epoch_end = step % epoch_steps == 0
            if hosts == 1 or epoch_end:
                clock.agree()
            epoch_end |= saved or clock.is_up(step)
            leaving = stop.requested(step)
            loss = None
            if epoch_end:
                validated = run.validate(state, step, step // epoch_steps, stop)
                unvalidated = validated is None
                if saved and unvalidated:
                    break
                state, loss = validated or (state, None)
                if loss is not None:
                    patience.see(float(loss))
                clock.agree()
            if epoch_end or leaving or step % config.training.checkpoint_steps == 0:
                run.read_metrics()
                files.check_locks(workdir)
                try:  # the curves, before the checkpoint that counts on them
                    buckets.put_up(workdir)
                except OSError as error:  # the next time will do
                    log.say(f'note: {files.why(error)}; the training goes on')
                checkpoints.save(
                    step,
                    state,
                    {
                        **reads,
                        'hosts': hosts,
                        'iterator': batches.get_state(),
                        'unscored': run.unscored,
                        'unvalidated': unvalidated,
                        'seconds': clock.seconds,
                        'patience': [patience.best, patience.epochs],
                        'logged': log.logged,
                        'config': config.to_dict(),
                    },
                    loss=loss,
                    replace=saved,
                )
            if leaving or unvalidated:
                break
        checkpoints.wait()
        stop.hear_out(step)
        if patience.is_over and step < total:
            log.say(f'the training ends: {patience.said}')
        if stop.number:
            raise Preempted(
                f'asked to stop by {stopping.NAMES[stop.number]}: saved step {step}{of} in'
                f' {workdir}; the same command resumes it',
                stop.number,
            )
        return state


def _heard_before(workdir, config):
    """Heard by the weights that a run starts from, or did; None for random ones."""
    path = config.training.init_from
    if not path:
        return None
    recorded = run_folder.heard_before(workdir)
    if recorded is not None:
        return recorded
    try:
        return heard_by(path)
    except config_lib.ConfigError:  # the run goes on long after these are gone
        return run_folder.Heard()


def _restore_or_init(checkpoints, task, config, mesh, batches, reads):
    """(state, position) as newly saved, the iterator behind its last batch; or a fresh one, {}."""
    shapes = jax.eval_shape(lambda: init_state(task, config))
    sharding = mesh_lib.of_state(shapes, mesh, shard_optimizer=config.training.shard_optimizer)
    restored = checkpoints.restore_latest(abstract(shapes, sharding))
    if restored is None:
        parameters = None
        if config.training.init_from:
            parameters, notes = load_initial(config)
            checkpoints.notes.extend(notes)
        start = functools.partial(init_state, task, config)
        return jax.jit(start, out_shardings=sharding)(parameters), {}
    state, position = restored
    for key, verb, why in (
        ('data', 'trained', 'how far it has come in its data belongs to that'),
        ('validation', 'validated', 'which of its checkpoints is the best was told by that'),
    ):
        # Earlier versions did not say what they validated on.
        if position.get(key, reads[key] if key == 'validation' else None) != reads[key]:
            before, now = _in_words(position.get(key)), _in_words(reads[key])
            raise config_lib.ConfigError(
                f'the run was {verb} on {before} and cannot go on with {now}: {why}. Give another'
                ' --workdir'
            )
    # The position is that of the batches of all hosts together: any number of hosts goes on there.
    before, now = position.get('hosts', 1), jax.process_count()
    if before != now:
        checkpoints.notes.append(
            f'{counted(before, "host")} saved the checkpoint, {counted(now, "host")} now'
            f' {"go" if now > 1 else "goes"} on from it'
        )
    batches.set_state(position['iterator'])
    return state, position


def _in_words(data):
    """The data set of a RecordSource's repr, for a person."""
    found = re.fullmatch(r'RecordSource\((.*), split=.*, (.*), fingerprint=(.*)\)', str(data))
    if not found:
        return f'data = {data}'
    name, examples, digest = (text.rpartition('=')[2] for text in found.groups())
    made = f', made as {digest[:8]}' if digest else ''
    return f'the data set {shown(name)} ({counted(int(examples), "mixture")}{made})'


def _check_validation(task, source, config):
    """Raises ConfigError where no validation mixture has a loss, before anything is compiled."""
    # All rows on every host, so that all say the same.
    for batch in pipeline.validation_batches(source, config):
        if (np.asarray(task.scored(batch)) & (batch['valid_B'])).any():
            return
    seconds = config.data.segment_seconds
    raise config_lib.ConfigError(
        f'data.segment_seconds = {seconds:g}: in the first {seconds:g} s of each of the'
        f' {counted(len(source), "validation mixture")} in {source.directory} a source is silent'
        ' throughout,'
        ' so that none can be scored; raise data.segment_seconds'
    )


class _Run:
    """One process's share of a run: the compiled steps and what they report to."""

    def __init__(
        self, config, task, mesh, log, checkpoints, batches, validation_source, clock, *, steps
    ):
        self._clock, self._steps = clock, steps
        self._rate = make_rate(config, steps)
        self._config, self._task, self._mesh, self._log = config, task, mesh, log
        self._checkpoints, self._batches = checkpoints, batches
        self._validation_source = validation_source
        self._validation_step = jit_validation_step(task, mesh)
        self._separate = jax.jit(task.separate)
        self._update_plateau = jax.jit(
            functools.partial(update_plateau, make_plateau(config)),
            out_shardings=mesh_lib.replicated(mesh),
        )
        self._limit = config.training.max_nonfinite_steps
        self.unscored = 0  # examples of the whole run that counted for nothing
        self._pending = None
        # (step, seconds but for those of validations) of the steps that the speed is measured over.
        self._times = collections.deque(maxlen=max(config.training.log_steps, MEASURED) + 1)
        self._paused = 0.0

    def compile(self, state, examples, short, steps_left):
        """Compiles the train step and says what it costs."""
        self._examples = examples
        warning = cost.forecast(
            self._config,
            self._task,
            mesh_lib.local_copy(state.params),
            steps=steps_left,
            examples=examples,
            most=self._clock.left,
        )
        if warning:
            self._log.say(warning)
        position = self._batches.get_state()
        batch = mesh_lib.place_batch(next(self._batches), self._mesh)
        self._batches.set_state(position)
        began = time.monotonic()
        self._train_step = (
            jit_train_step(self._task, self._config, self._mesh, steps=self._steps)
            .lower(state, batch)
            .compile()
        )
        self._log.say(
            cost.describe(
                self._config,
                state=state,
                compiled=self._train_step,
                examples=examples,
                short=short,
                devices=jax.device_count(),
            )
        )
        self._log.say(f'compiled           in {time.monotonic() - began:.0f} s')
        cost.check_memory(self._train_step)

    def step(self, state, step, steps_left):
        """Dispatches one step, then reads what the one before it reported."""
        batch = next(self._batches)
        state, metrics, finite_B = self._train_step(state, mesh_lib.place_batch(batch, self._mesh))
        self.read_metrics()
        self._pending = (step + 1, steps_left - 1, batch['id'], metrics, finite_B)
        return state

    def read_metrics(self):
        """Reads the metrics of the last dispatched step: logs, counts, stops on too many bad."""
        if self._pending is None:
            return
        (step, steps_left, ids, metrics, finite_B), self._pending = self._pending, None
        metrics = jax.device_get(metrics)
        self.unscored += int(metrics.pop('unscored'))
        metrics['unscored'] = self.unscored
        if not metrics.pop('finite'):
            self._report_skipped(step, ids, finite_B, int(metrics['skipped_in_row']))
        self._times.append((step, time.monotonic() - self._paused))
        (first, began), (last, now) = self._times[0], self._times[-1]
        seconds = (now - began) / (last - first) if last > first else math.nan
        rate = self._config.data.batch_size / seconds if seconds else math.nan
        measured = last - first >= MEASURED and rate > 0
        if step % self._config.training.log_steps == 0 or step == 1 or not steps_left:
            self._log.scalars(step, {**metrics, 'examples_per_second': rate}, kind='train')
        self._log.progress(
            step,
            loss=float(metrics['loss']),
            examples_per_second=rate if measured else None,
            seconds_left=min(seconds * steps_left, self._clock.left) if measured else None,
        )
        if measured and self._examples:  # once
            self._log.say(
                cost.outlook(
                    self._config,
                    seconds_per_step=seconds,
                    steps_left=steps_left,
                    examples=self._examples,
                    most=self._clock.left,
                )
            )
            self._examples = 0

    def _report_skipped(self, step, ids, finite_B, in_row):
        local_B = mesh_lib.local_rows(finite_B)
        shares = mesh_lib.gather([[name, bool(finite)] for name, finite in zip(ids, local_B)])
        rows = [row for share in shares for row in share]
        # Where every loss is finite and the gradient is not, any of them may be at fault.
        bad = [name for name, finite in rows if not finite] or [name for name, _ in rows]
        self._log.event(step, 'skipped', ids=bad)
        told = ', '.join(map(shown, bad))
        self._log.say(
            f'step {step} skipped: loss or gradient not finite ({in_row} in a row);'
            f' examples: {told}'
        )
        if in_row >= self._limit:
            raise TrainingError(
                f'{counted(in_row, "step")} in a row had a loss or gradient that was not finite'
                f' (training.max_nonfinite_steps = {self._limit}), the last at step {step} with'
                f' {told}. Look at these examples; or train in another --workdir with a lower'
                ' training.learning_rate or training.clip_norm, from the last checkpoint (which is'
                ' kept) by training.init_from or anew.'
            )

    def validate(self, state, step, epoch, stop):
        """Measures the validation loss and lets the learning-rate rule see it.

        Returns:
          (state, validation loss); None where it is to stop at once.
        """
        self.read_metrics()
        began = time.monotonic()
        totals: Any = None
        for batch in pipeline.validation_batches(
            self._validation_source,
            self._config,
            host=jax.process_index(),
            hosts=jax.process_count(),
        ):
            if stop.at_once:
                return None
            sums = self._validation_step(state.evaluated, mesh_lib.place_batch(batch, self._mesh))
            totals = sums if totals is None else merge_all(totals, sums)
        values = {name: mean.compute() for name, mean in totals.items()}
        plateau = self._update_plateau(state.plateau, values['loss'])
        state = state.replace(plateau=plateau)
        rate = float(self._rate(step, float(plateau.scale)))
        unscored = len(self._validation_source) - int(totals['loss'].count)
        self._log.scalars(
            step,
            {**values, 'next_learning_rate': rate, 'unscored': unscored},
            kind='validation',
        )
        self._log.say(
            f'epoch {epoch}  step {step}  '
            + '  '.join(f'validation {k} {v:.3f}' for k, v in values.items())
            + f'  learning rate {rate:.2g}'
        )
        self._sounds(state, step)
        self._paused += time.monotonic() - began
        return state, values['loss']

    def _sounds(self, state, step):
        count = min(self._config.training.audio_examples, len(self._validation_source))
        if jax.process_index() or not count:
            return
        rate = self._config.data.sample_rate
        params = mesh_lib.local_copy(state.evaluated)
        for i in range(count):
            batch = pipeline.first_segments([self._validation_source[i]], self._config)
            reference_BST = pcm.to_float(batch['source_BST'])
            mixture_BT = reference_BST.sum(axis=1)
            adaptation_BT = pcm.to_float(batch.get('adaptation_BT'))
            estimate_BST = self._separate(params, mixture_BT, batch['length_B'], adaptation_BT)
            estimate_ST = finite(np.asarray(estimate_BST[0]))
            reference_ST = reference_BST[0, : len(estimate_ST)]
            names = self._task.source_names
            if not names:
                names = [f'speaker {s + 1}' for s in range(len(reference_ST))]
                estimate_ST = as_references(estimate_ST, reference_ST)
            signals = {f'{i}/mixture': mixture_BT[0]}
            for name, reference_T, estimate_T in zip(names, reference_ST, estimate_ST):
                signals |= {
                    f'{i}/{name}/reference': reference_T,
                    f'{i}/{name}/estimate': estimate_T,
                }
            self._log.sounds(step, signals, rate)


class _Clock:
    """How long a run has been trained, all its starts together, and how long it is to be.

    Args:
      config: an experiment's ConfigDict.
      epoch_steps: steps of an epoch.
      seconds: of the starts before this one.
    """

    def __init__(self, config, epoch_steps, seconds):
        self._limit = 60 * config.training.minutes or math.inf
        self._epoch_steps, self._before = epoch_steps, seconds
        self._agreed, self._began = seconds, None

    def start(self):
        """Counts from now on."""
        self._began = time.monotonic()

    @property
    def seconds(self):
        """Of training so far."""
        now = time.monotonic()
        return self._before + now - (now if self._began is None else self._began)

    @property
    def left(self):
        """Seconds to go; infinity where epochs alone count."""
        return max(self._limit - self.seconds, 0.0)

    def agree(self):
        """Looks at the first host's clock; all hosts at the same step."""
        if self._limit < math.inf:
            self._agreed = mesh_lib.gather(self.seconds)[0]

    def is_up(self, step):
        """Whether the time ends nearer to the epoch's end at this step than to the next one's, or
        is over by so much that the end of the epoch is not waited for."""
        if self._agreed >= OVERDUE * self._limit:
            return step > 0
        if not step or step % self._epoch_steps:
            return False
        return self._agreed * (1 + self._epoch_steps / step / 2) >= self._limit


class _Patience:
    """Whether a run has gone without improvement for as long as it may.

    Attributes:
      best: validation loss, None before there is one.
      epochs: since then.
    """

    def __init__(self, config, best, epochs):
        self._limit = config.training.patience_epochs
        self._tolerance = config.training.plateau_tolerance
        self.best, self.epochs = best, epochs

    def see(self, loss):
        """Counts an epoch of a validation loss, which need not be finite."""
        if math.isfinite(loss) and (self.best is None or loss < self.best - self._tolerance):
            self.best, self.epochs = loss, 0
        else:
            self.epochs += 1

    @property
    def is_over(self):
        return 0 < self._limit <= self.epochs

    @property
    def said(self):
        return (
            f'no improvement for {counted(self.epochs, "epoch")}'
            f' (training.patience_epochs = {self._limit})'
        )


class _Stop:
    """A request to stop on which all hosts agree.

    Attributes:
      number: of the signal; None as long as there is none.
    """

    def __init__(self, request, checkpoints):
        self._request, self._checkpoints = request, checkpoints
        self._alone, self._agreed = jax.process_count() == 1, None

    @property
    def number(self):
        return self._request.number if self._alone else self._agreed

    @property
    def at_once(self):
        """Whether a validation is to be left; hosts agree after a step only."""
        return self._alone and self.number is not None

    def requested(self, step):
        """Whether the run should save and leave after this step."""
        if not self._alone and self._agreed is None:
            if self._request.number:
                os.kill(os.getpid(), signal.SIGTERM)  # which JAX tells the other hosts
            if self._checkpoints.reached_preemption(step):
                self._agreed = self._request.number or signal.SIGTERM
        return self.number is not None

    def hear_out(self, step):
        """Looks for a request that came behind the last step, which no later one is there to stop
        at; all hosts at once."""
        if not self._alone and self._agreed is None:
            stopping.hear()  # what comes from here on is the request's, not JAX's
            time.sleep(NOTICED)
            told = self._checkpoints.reached_preemption(step + 1) * signal.SIGTERM
            self._agreed = max(mesh_lib.gather(self._request.number or told)) or None
