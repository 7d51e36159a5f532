"""Checkpoints: state, data position and configuration in one atomic save, with their digests."""

import asyncio
import contextlib
import dataclasses
import functools
import json
import math
import os
import re
import shutil
import sys
from typing import Any, NamedTuple
import uuid

import google_crc32c
import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from fgsep_jax import buckets, files, lock
from fgsep_jax.config import ConfigError
from fgsep_jax.interop import model_file
from fgsep_jax.names import shown
from fgsep_jax.tasks import make_task
from fgsep_jax.training import mesh as mesh_lib, run_folder
from fgsep_jax.training.endings import TrainingError
from fgsep_jax.training.state import init_state

# Keys of a model that change how it is computed, and not what.
SAME_MODEL = ('model.separator.depthwise', 'model.separator.remat', 'model.dtype')
# What Orbax takes for a checkpoint, by its name alone.
_STEP = re.compile(r'0|[1-9]\d*')
_TEMPORARY = re.escape(ocp.path.atomicity.TMP_DIR_SUFFIX)
# What is being saved, or was when its process ended.
_UNFINISHED = re.compile(rf'(0|[1-9]\d*){_TEMPORARY}-[0-9a-f]{{32}}')
# One that is saved again, until the new one is whole.
_REPLACED = re.compile(r'(0|[1-9]\d*)\.replaced-[0-9a-f]{32}')
# Names of all that a save writes, at any depth. What else lies in a checkpoint is somebody's.
_SAVED = re.compile(
    r'(state|position|metrics|metadata|array_metadatas|d|[0-9a-f]{32}|(ocdbt\.)?process_\d+'
    rf'|manifest\.ocdbt|_sharding|_[A-Z_]+|commit_success\.txt)(\.__lock|{_TEMPORARY}.*)?'
)
# But for what file managers and servers add to any folder by themselves.
_ADDED = re.compile(r'\.DS_Store|\._.+|\.nfs\w+|@eaDir|Thumbs\.db|desktop\.ini', re.IGNORECASE)
_WHOLE = ocp.path.atomicity.COMMIT_SUCCESS_FILE  # of a checkpoint in a bucket, written at last
# The machine's trouble, which says nothing about what was saved, as TensorStore words it.
_NOT_DAMAGE = re.compile(r'^(PERMISSION_DENIED|UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED)')


class DamagedCheckpoint(ConfigError):
    """A checkpoint that is not what was saved."""


_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def _read_json(path, **how):
    """As `files.read_json`; what may not be read now, or not be reached, is no damage."""
    try:
        return files.read_json(path, DamagedCheckpoint, **how)
    except DamagedCheckpoint as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, _GONE):
            raise ConfigError(str(error)) from cause
        raise


def _loss(metrics):
    return metrics['loss']


class Checkpoints:
    """The last `keep` checkpoints of a run and the one of the lowest validation loss.

    Saves are asynchronous; call `close` before the process ends. Only `restore_latest` and `save`
    write; the rest leaves alone what a training run may be writing at the same time.

    Attributes:
      notes: sentences about checkpoints that were passed over, or could not be checked.
    """

    def __init__(self, workdir, *, keep=3):
        url = buckets.url_of(workdir)
        buckets.check_name(url)  # found below a folder that was given
        place = url if buckets.at_orbax(url) else os.path.abspath(workdir)
        self._folder = buckets.join(place, 'checkpoints')
        self._workdir, self._keep = workdir, keep
        self._reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler('state'))
        self.notes = []
        if getattr(sys.unraisablehook, 'func', None) is not _ignore_late_answers:
            sys.unraisablehook = functools.partial(_ignore_late_answers, sys.unraisablehook)

    @functools.cached_property
    def _key(self):
        """In the names of folders that come and go: what all hosts of this start have in common."""
        return mesh_lib.gather(uuid.uuid4().hex)[0]

    def _path(self, name):
        return buckets.join(self._folder, str(name))

    def _clear(self, name):
        """Removes a folder that a save has left; returns whether nothing is there any more."""
        if others := _foreign(self._path(name)):
            self.notes.append(f'{self._path(name)} is kept: {others} is in it, not of a save')
        else:
            _remove(self._path(name))
        return not others

    @functools.cached_property
    def _manager(self):
        """What saves and keeps. It reads the losses of all that is there, so it is opened once what
        is damaged has been set aside. Orbax itself would remove, in a bucket, all folders that are
        no checkpoints, whosever they are."""
        if jax.process_index() == 0:
            for name in _names(self._folder):
                if _UNFINISHED.fullmatch(name):
                    self._clear(name)
                elif _STEP.fullmatch(name) and (others := _foreign(self._path(name))):
                    self.notes.append(f'{self._path(name)} is kept for good: {others} is in it')
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(self._keep),
                checkpoint_managers.BestN(get_metric_fn=_loss, reverse=True, n=1),
                _WithForeign(self._path),
            ]
        )
        return ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                temporary_path_class=_unfinished(self._folder, self._workdir, self._key),
                best_fn=_loss,  # without it Orbax drops the metrics
                best_mode='min',
            ),
            item_names=('state', 'position'),
        )

    def save(self, step, state, position, *, loss=None, replace=False):
        """Starts saving one checkpoint.

        Args:
          step: number of steps taken.
          state: TrainState.
          position: JSON-able: state of the data iterator, what it reads, the configuration.
          loss: validation loss, where one was just measured.
          replace: whether this very step has been saved, without its loss.

        Raises:
          RuntimeError: the step has been saved already.
          TrainingError: this checkpoint, or the one before, cannot be written.
          lock.Lost: the run is another process's by now.
        """
        loss = float(loss) if loss is not None and math.isfinite(loss) else None
        position = {**position, 'step': step, 'loss': loss, 'arrays': _digests(state)}
        position = json.loads(json.dumps(position))  # as it will be read
        # Not where Orbax makes the folder: its threads would wait for that, and the end for them.
        files.check_locks(self._workdir)
        aside = f'{step}.replaced-{self._key}'
        with self._writing():
            if replace:
                if jax.process_index() == 0:
                    _rename(self._path(step), self._path(aside))
                mesh_lib.gather(None)
                self._manager.reload()
            saved = self._manager.save(
                step,
                metrics={'loss': math.inf if loss is None else loss},
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_stored(state)),
                    position=ocp.args.JsonSave({**position, 'digest': files.checksum(position)}),
                ),
            )
            if replace:
                self._manager.wait_until_finished()
                if jax.process_index() == 0:
                    self._clear(aside)
        if not saved:
            raise RuntimeError(f'checkpoint {step} was refused: it exists already')

    def _look(self, *, to_save=False):
        """What the first host sees without reading arrays: {step: loss or None} of what is whole,
        {name: what is wrong} of the rest; `to_save`: also what Orbax's manager would fail on."""
        losses, damaged = {}, {}
        for name in _names(self._folder):
            if not _STEP.fullmatch(name):  # no checkpoint, and Orbax takes it for none
                continue
            try:
                loss = self._read_loss(name)
                if to_save:
                    self._check_listing(name)
                losses[int(name)] = loss
            except DamagedCheckpoint as error:
                damaged[name] = str(error)
        losses, damaged = mesh_lib.gather([list(losses.items()), damaged])[0]
        return dict(losses), damaged

    def _check_listing(self, name):
        path = os.path.join(self._folder, name, '_CHECKPOINT_METADATA')
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would wait for its writer
            raise DamagedCheckpoint(f'{path} is no regular file')
        try:  # without one, or where it is no JSON, it does
            _ = ocp.step.standard_name_format().find_step(self._folder, int(name)).commit_timestamp
        except Exception as error:
            raise DamagedCheckpoint(f'{path}: {files.why(error)}') from error

    def _read_loss(self, name):
        position = self._read_position(name)
        folder = buckets.join(self._folder, name)
        if buckets.is_url(folder) and _WHOLE not in _names(folder):
            raise DamagedCheckpoint(f'{folder} was not saved to its end')
        path = buckets.join(folder, 'metrics', 'metrics')
        loss = _read_json(path, finite=False).get('loss')
        if not isinstance(loss, (int, float)):
            raise DamagedCheckpoint(f'{path} holds no loss')
        loss = loss if math.isfinite(loss) else None
        if 'arrays' in position and position['loss'] != loss:
            raise DamagedCheckpoint(f'{path} says {loss}, {position["loss"]} was saved')
        return loss

    def _read_position(self, name):
        path = buckets.join(self._folder, str(name), 'position', 'metadata')
        position = _read_json(path, halves=True)
        if 'digest' in position or 'arrays' in position:
            content = {key: value for key, value in position.items() if key != 'digest'}
            if position.get('digest') != files.checksum(content):
                raise DamagedCheckpoint(f'{path}: its digest does not match, it is damaged')
            if str(position['step']) != str(name):
                raise DamagedCheckpoint(f'{path} is of step {position["step"]}, not of {name}')
        return position

    def latest_step(self):
        """Step of the newest whole checkpoint as far as its arrays are not read, or None."""
        return max(self._look()[0], default=None)

    def best_step(self):
        """As `latest_step`, of the lowest validation loss measured, else the newest."""
        return next(iter(_best_first(self._look()[0])), None)

    def digest(self, step):
        """Digest of a checkpoint's arrays as they were saved; '' of a version without."""
        return _digest_of_arrays(self._read_position(step))

    def restore(self, step, abstract_state):
        """Restores one checkpoint, every bit of it checked.

        Args:
          step: which.
          abstract_state: ShapeDtypeStructs with the shardings to restore to.

        Returns:
          (TrainState, position).

        Raises:
          DamagedCheckpoint: it is not what was saved.
          ConfigError: it holds other arrays than this model has.
        """
        path = buckets.join(self._folder, str(step))
        position = self._read_position(step)
        saved = position.get('arrays')
        if saved is not None:
            _check_fit(path, saved, abstract_state)
        if 'state' not in _names(path):
            raise DamagedCheckpoint(f'{path}: its arrays, the folder state, are missing')
        try:
            stored = self._reader.restore(
                path, ocp.args.Composite(state=ocp.args.StandardRestore(_stored(abstract_state)))
            )['state']
            state: Any = stored
            if dataclasses.is_dataclass(abstract_state):
                state = abstract_state.replace(**stored)  # type: ignore[attr-defined]
        except (jax.errors.JaxRuntimeError, MemoryError):
            raise
        except Exception as error:  # whatever Orbax meets in damaged files
            reason = ' '.join(str(error).split())[:200]
            if _NOT_DAMAGE.match(reason) or (
                isinstance(error, OSError) and not isinstance(error, _GONE)
            ):
                raise ConfigError(f'{path} cannot be read: {reason}') from error
            if saved is None and isinstance(error, ValueError):
                raise DamagedCheckpoint(
                    f'{path} does not fit this model, or is damaged: {reason}'
                ) from error
            raise DamagedCheckpoint(f'{path}: {files.why(error)}') from error
        if saved is None:
            self.notes.append(
                f'{path} was saved by an earlier version without digests: its values are not'
                ' checked'
            )
        elif wrong := [name for name, digest in _digests(state).items() if saved[name] != digest]:
            raise DamagedCheckpoint(
                f'{path}: the values of {len(wrong)} of {len(saved)} arrays are not those that were'
                f' saved, e.g. of {wrong[0]}'
            )
        return state, position

    def restore_latest(self, abstract_state):
        """Restores the newest whole checkpoint for training to go on from; sets damaged ones aside.

        A damaged one is renamed to NAME.torn, since its step will be saved again; nothing is
        deleted, and nothing is renamed unless there is a whole one to go on from.

        Returns:
          (TrainState, position), or None where there is no checkpoint at all.

        Raises:
          ConfigError: all are damaged, or of another model.
        """
        if jax.process_index() == 0:
            self._put_back()
        mesh_lib.gather(None)
        losses, damaged = self._look(to_save=True)
        restored = None
        # A run's first may be there in part, in a bucket, where it was being put in place.
        if losses or mesh_lib.gather([*filter(self._is_whole, damaged)])[0]:
            restored = self._first_whole(sorted(losses, reverse=True), damaged, abstract_state)
        for name in damaged:
            aside = _free_name(self._folder, f'{name}.torn')
            if jax.process_index() == 0:
                _rename(buckets.join(self._folder, name), aside)
            self.notes.append(f'checkpoint {name} is kept as {aside}')
        mesh_lib.gather(None)  # no host looks before the first has renamed
        return restored and restored[1:]

    def _put_back(self):
        """Takes back what was to be replaced, where its process did not live to see that."""
        for name in _names(self._folder):
            if match := _REPLACED.fullmatch(name):
                step = match[1]
                if self._is_whole(step):
                    self._clear(name)
                    continue
                if _names(self._path(step)) and not self._clear(step):
                    _rename(self._path(step), _free_name(self._folder, f'{step}.torn'))
                _rename(self._path(name), self._path(step))

    def _is_whole(self, name):
        """Whether a checkpoint was put in place to its end."""
        path = buckets.join(self._folder, name)
        return _WHOLE in _names(path) if buckets.is_url(path) else os.path.lexists(path)

    def open(self):
        """Makes the folder ready to save to now, not in the middle of the first save; what is
        damaged has been set aside."""
        _ = self._manager

    def restore_best(self, abstract_state):
        """Restores the whole checkpoint of the lowest validation loss, else the newest.

        Returns:
          (step, TrainState, position), or None where there is no checkpoint at all.

        Raises:
          ConfigError: as of `restore_latest`.
        """
        losses, damaged = self._look()
        return self._first_whole(_best_first(losses), damaged, abstract_state)

    def _first_whole(self, steps, damaged, abstract_state):
        """(step, TrainState, position) of the first whole one, or None where there is none; adds
        to `damaged` and notes what is not whole."""
        found: Any = None
        for step in steps:
            problem = ''
            try:
                found = (step, *self.restore(step, abstract_state))
            except DamagedCheckpoint as error:
                problem = str(error)
            problem = next(filter(None, mesh_lib.gather(problem)), '')  # all hosts take the same
            if not problem:
                break
            damaged[str(step)], found = problem, None
        if damaged and found is None:
            raise ConfigError(
                f'no whole checkpoint in {self._folder}: {"; ".join(damaged.values())}. Copy one'
                ' back, or move these away (nothing was changed) to start anew'
            )
        for problem in damaged.values():
            self.notes.append(
                f'a torn or damaged checkpoint is passed over ({problem}); checkpoint {found[0]},'
                ' which is whole, is taken'
            )
        return found

    def reached_preemption(self, step):
        """Whether the platform has told the hosts to leave; they agree on the step."""
        return self._manager.reached_preemption(step)

    def wait(self):
        """Blocks until the save under way has been committed; raises TrainingError as `save`."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self):
        """Waits as `wait` does and frees what reads and saves."""
        self._reader.close()
        if '_manager' in self.__dict__:
            with self._writing():
                self._manager.wait_until_finished()
                self._manager.close()

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except ocp.checkpoint_manager.StepAlreadyExistsError:
            raise
        except Exception as error:  # of many kinds, from the threads that write
            try:
                files.check_locks(self._workdir)
            except lock.Lost as lost:  # which is why
                raise lost from error
            except OSError:
                pass  # a bucket that does not answer
            full = 'RESOURCE_EXHAUSTED' in str(error) or 'No space left' in str(error)
            reason = 'no space left' if full else str(error).strip().split('\n')[0]
            raise TrainingError(
                f'a checkpoint could not be written in {self._folder} ({reason}). The'
                ' whole ones before it are kept; once it can be written the same command resumes',
                again=buckets.is_url(self._folder),
            ) from error


class _WithForeign:
    """Orbax's policy that keeps what somebody has put something into."""

    def __init__(self, path):
        self._path = path

    def should_preserve(self, checkpoints, *, context):
        return [bool(_foreign(self._path(checkpoint.step))) for checkpoint in checkpoints]


class Best(NamedTuple):
    """A run's best whole checkpoint, on this host.

    Attributes:
      step: number of steps taken.
      digest: of its arrays as they were saved; '' of a version without.
      parameters: the weights to evaluate; None where they were not read.
      notes: list of sentences on checkpoints that were passed over.
    """

    step: int
    digest: str
    parameters: Any = None
    notes: Any = ()


def find_best(workdir):
    """The Best of a run as far as its arrays are not read.

    Raises:
      ConfigError: it has none.
    """
    with contextlib.closing(Checkpoints(workdir)) as checkpoints:
        step = checkpoints.best_step()
        if step is None:
            raise _none(workdir)
        return Best(step, checkpoints.digest(step))


def load_best(workdir, config, task):
    """A run's best whole checkpoint, every bit of it checked.

    Args:
      workdir: run folder.
      config: its ConfigDict.
      task: of the configuration.

    Returns:
      A Best.

    Raises:
      ConfigError: there is no checkpoint, or none that is whole and fits.
    """
    sharding = mesh_lib.replicated(mesh_lib.make_mesh())
    shapes = jax.eval_shape(lambda: init_state(task, config))
    with contextlib.closing(Checkpoints(workdir)) as checkpoints:
        restored = checkpoints.restore_best(abstract(shapes, sharding))
    if restored is None:
        raise _none(workdir)
    step, state, position = restored
    run_folder.check_saved(workdir, config, position.get('config', {}))
    run_folder.check_trained_on(workdir, position.get('data'))
    parameters = mesh_lib.local_copy(state.evaluated)
    return Best(step, _digest_of_arrays(position), parameters, checkpoints.notes)


def load_trained(path):
    """Weights of a run's best checkpoint, of a model file, or of a shipped model.

    Returns:
      (a `model_file.About`, parameters, notes on checkpoints that were passed over).

    Raises:
      ConfigError: there are none, or they are damaged.
    """
    path = model_file.located(path)
    if model_file.is_model_file(path):
        return *model_file.read(path), []
    config = run_folder.read_config(path)
    best = load_best(path, config, make_task(config))
    names = model_file.usual_names(config)
    about = model_file.About(config, names, best.step, digest=best.digest)
    return about, best.parameters, best.notes


def heard_by(path):
    """Heard by the training of a run, a model file or a shipped model.

    Raises:
      ConfigError: there is none, or its header is damaged.
    """
    path = model_file.located(path)
    if model_file.is_model_file(path):
        return run_folder.Heard.of([*model_file.read_about(path).speakers])
    return run_folder.trained_speakers(path, run_folder.read_config(path))


def load_initial(config):
    """The parameters that `training.init_from` names.

    Returns:
      (parameters as NumPy arrays, notes).

    Raises:
      ConfigError: they are another model's; the message has the flags that make this one the same.
    """
    path = config.training.init_from
    if buckets.is_url(path):
        raise ConfigError(
            f'training.init_from = {path!r}: must be here; copy the run or model file'
        )
    about, parameters, notes = load_trained(path)
    theirs, ours = (files.flatten(one.to_dict()) for one in (about.config, config))
    differ = {
        key: value
        for key, value in theirs.items()
        if value != ours.get(key)
        and (key in ('task', 'data.sources') or key.startswith(('model.', 'features.')))
        and key not in SAME_MODEL
    }
    if 'task' in differ:
        raise ConfigError(
            f'training.init_from = {path!r}: is a {about.config.task} model, this a {config.task}'
            ' model'
        )
    if differ:
        flags = ' '.join(f'--config.{key}={value}' for key, value in differ.items())
        raise ConfigError(
            f'training.init_from = {path!r}: is another model than this; one like it has {flags}'
        )
    model_file.check_fit(config, model_file.flat(parameters), where=shown(path))
    notes.append(f'training starts from {shown(path)}, step {about.step}')
    rates = about.config.data.sample_rate, config.data.sample_rate
    if rates[0] != rates[1]:
        notes.append(f'{shown(path)} was trained at {rates[0]} Hz, this run is at {rates[1]} Hz')
    return jax.device_get(parameters), notes  # free to go to all devices


def _none(workdir):
    return ConfigError(f'{workdir} holds no checkpoint yet; train the run first')


def abstract(state, sharding):
    """Shapes, types and shardings, one of all or a tree of them, for `Checkpoints.restore`."""
    if isinstance(sharding, jax.sharding.Sharding):
        one = sharding
        sharding = jax.tree.map(lambda _: one, state)
    return jax.tree.map(
        lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s), state, sharding
    )


def _unfinished(folder, workdir, key):
    """Orbax's class of what is being saved in a folder: under a name of this process's own, and put
    in place only as long as the lock of the run is there.

    So a process that stood still, and wakes up beside another that took the run, writes into
    nothing of the other's, and removes nothing.
    """
    of_orbax: Any = ocp.path.atomicity.AtomicRenameTemporaryPath
    if buckets.is_url(folder):
        of_orbax = ocp.path.atomicity.CommitFileTemporaryPath

    class Unfinished(of_orbax):
        @classmethod
        def from_final(cls, final_path, **how):
            own = f'{final_path}{ocp.path.atomicity.TMP_DIR_SUFFIX}-{key}'
            made = cls(type(final_path)(own), final_path, **how)
            made.place = final_path
            if buckets.is_url(folder):
                made._final_path = made._tmp_path  # where Orbax writes that it is whole
            return made

        def get_final(self):  # at which Orbax removes whatever is there before it saves
            return self.get()

        async def finalize(self):
            files.check_locks(workdir)
            await super().finalize()
            if buckets.is_url(folder):  # where nothing is renamed at once
                check = functools.partial(files.check_locks, workdir)
                before, after = str(self.get()), str(self.place)
                await asyncio.to_thread(buckets.rename, before, after, last=_WHOLE, check=check)

    return Unfinished


def _ignore_late_answers(otherwise, unraisable):
    """Says nothing of what TensorStore's threads answer to a restore that has failed already."""
    if str(unraisable.exc_value) != 'Event loop is closed':
        otherwise(unraisable)


def _stored(state):
    """{name: tree} of what a TrainState holds, but for fields that are empty, which runs of earlier
    versions have not got; any other tree as it is."""
    if not dataclasses.is_dataclass(state):
        return state
    values = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in values.items() if jax.tree.leaves(value)}


def _named(tree):
    """{path in the tree: leaf}."""
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _kind(leaf):
    return f'{leaf.dtype}{list(leaf.shape)}'


def _digests(state):
    """{path: [type and shape, CRC-32C of the bytes]} of whole arrays."""
    return {
        name: [_kind(leaf), f'{google_crc32c.value(np.asarray(leaf).tobytes()):08x}']
        for name, leaf in _named(mesh_lib.local_copy(state)).items()
    }


def _digest_of_arrays(position):
    """What tells the arrays of a checkpoint from others; '' of a version without digests."""
    return files.checksum(position['arrays']) if 'arrays' in position else ''


def _check_fit(path, saved, abstract_state):
    """Raises ConfigError where the saved arrays are not those of this model."""
    here = {name: _kind(leaf) for name, leaf in _named(abstract_state).items()}
    there = {name: kind for name, (kind, _) in saved.items()}
    differ = sorted(n for n in here.keys() | there.keys() if here.get(n) != there.get(n))
    if differ:
        raise ConfigError(
            f'{path} does not fit this model: {len(differ)} arrays differ, e.g. {differ[0]} is'
            f' {there.get(differ[0], "missing")} there and {here.get(differ[0], "missing")} here'
        )


def _best_first(losses):
    """Steps by loss, those without one last; the newest of equals first."""
    return sorted(losses, key=lambda step: (losses[step] is None, losses[step] or 0.0, -step))


def _names(folder):
    """Of what is in a folder, here or in a bucket; none where there is no folder."""
    if buckets.is_url(folder):
        return [*buckets.listing(folder)]
    return os.listdir(folder) if os.path.isdir(folder) else []


def _foreign(folder):
    """The first path in a folder of what no save has written there; '' where there is none."""
    if buckets.is_url(folder):
        paths = [*buckets.find(folder)]
    else:
        paths = [
            os.path.relpath(os.path.join(parent, name), folder)
            for parent, folders, names in os.walk(folder)
            for name in (*folders, *names)
        ]
    for path in sorted(paths):
        parts = path.split('/')
        link = not buckets.is_url(folder) and os.path.islink(os.path.join(folder, path))
        if not any(map(_ADDED.fullmatch, parts)) and (
            link or not all(map(_SAVED.fullmatch, parts))
        ):
            return shown(path)
    return ''


def _rename(before, after):
    (buckets.rename if buckets.is_url(before) else os.rename)(before, after)


def _remove(folder):
    if buckets.is_url(folder):
        buckets.remove_folder(folder)
    elif os.path.isdir(folder) and not os.path.islink(folder):
        shutil.rmtree(folder)


def _free_name(folder, name):
    """Path of a name in a folder, with a number behind it where something has it already."""
    count, free, there = 1, name, _names(folder)
    while free in there:
        count += 1
        free = f'{name}-{count}'
    return buckets.join(folder, free)
