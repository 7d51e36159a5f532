"""Checkpoints: state, data position and configuration in one atomic save."""

import math
import os

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from fgsep_jax.config import ConfigError


def _loss(metrics):
    return metrics['loss']


class Checkpoints:
    """The last `keep` checkpoints of a run and the one of the lowest validation loss.

    Saves are asynchronous; call `close` before the process ends. `read_only` leaves alone what a
    training run may be writing at the same time.
    """

    def __init__(self, workdir, *, keep=3, read_only=False):
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(get_metric_fn=_loss, reverse=True, n=1),
            ]
        )
        self._manager = ocp.CheckpointManager(
            os.path.abspath(os.path.join(workdir, 'checkpoints')),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                cleanup_tmp_directories=not read_only,
                create=not read_only,
                best_fn=_loss,
                best_mode='min',
            ),  # without it Orbax drops the metrics
            item_names=('state', 'position'),
        )

    def save(self, step, state, position, *, loss=None):
        """Starts saving one checkpoint.

        Args:
          step: number of steps taken.
          state: TrainState.
          position: JSON-able: state of the data iterator, what it reads, the configuration.
          loss: validation loss, where one was just measured.

        Raises:
          RuntimeError: the step has been saved already.
        """
        measured = loss is not None and math.isfinite(loss)
        saved = self._manager.save(
            step,
            metrics={'loss': loss if measured else math.inf},
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position)
            ),
        )
        if not saved:
            raise RuntimeError(f'checkpoint {step} was refused: it exists already')

    def latest_step(self):
        """Step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def best_step(self):
        """Step of the lowest validation loss measured, else the newest; None if there is none."""
        best = self._manager.best_step()
        if best is None or math.isinf(_loss(self._manager.metrics(best))):
            return self.latest_step()
        return best

    def restore(self, step, abstract_state):
        """Restores one checkpoint.

        Args:
          step: which.
          abstract_state: ShapeDtypeStructs with the shardings to restore to.

        Returns:
          (TrainState, position).

        Raises:
          ConfigError: it holds other shapes than this model has.
        """
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract_state), position=ocp.args.JsonRestore()
                ),
            )
        except ValueError as error:
            raise ConfigError(
                f'checkpoint {step} in {self._manager.directory} does not fit this model: {error}'
            ) from error
        return restored['state'], restored['position']

    def reached_preemption(self, step):
        """Whether the platform has told the hosts to leave; they agree on the step."""
        return self._manager.reached_preemption(step)

    def wait(self):
        """Blocks until the save under way has been committed."""
        self._manager.wait_until_finished()

    def close(self):
        """Waits for the save under way and frees the manager."""
        self._manager.wait_until_finished()
        self._manager.close()


def abstract(state, sharding):
    """Shapes, types and one sharding of a tree, for `Checkpoints.restore`."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state
    )
