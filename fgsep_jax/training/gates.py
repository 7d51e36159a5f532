"""Gate outputs over training (paper 2, Fig. 4): a small file at chosen steps of a run."""

import io
import os
from typing import Any

import jax
import numpy as np

from fgsep_jax import files, lock, pcm
from fgsep_jax.data import pipeline
from fgsep_jax.training.mesh import local_copy

FRAMES = 256  # at most, in a file; more are averaged in blocks


class GateLog:
    """Saves what the first gated layer lets through, at steps 0, 1, 2, 4, 8, ... and the last: of
    one utterance frame by frame, and of all in the mean. A hook of `training.loop.train`; does
    nothing for a model without gates.

    Args:
      workdir: run folder.
      task: the run's task.
      config: its ConfigDict.
      source: RecordSource, of the data set that is trained on, whose first example is the
        utterance; of each the first segment counts.
      total: steps of the run.
      say: called with the line that says that a file could not be written.
    """

    def __init__(self, *, workdir, task, config, source, total, say=print):
        self._folder, self._total, self._say = os.path.join(workdir, 'gates'), total, say
        self._active = False
        if not len(source) or jax.process_index():
            return
        # The segment's length, so that nothing depends on how long the utterance happens to be.
        example = source[0]
        batch = pipeline.first_segments([example], config)
        self._heard = pcm.to_float(batch['source_BST']).sum(axis=1), batch['length_B']
        origin = dict(id=example.id, split=source.split, trained_on=source.metadata['name'])
        self._origin: Any = {key: np.array(value) for key, value in origin.items()}
        self._run = f'{config.experiment}:{config.preset}, seed {config.seed}'
        shapes = jax.eval_shape(task.init, jax.random.key(0))
        self._active = bool(jax.eval_shape(task.probe, shapes, *self._heard))
        self._probe = jax.jit(task.probe)
        self._task, self._source, self._config = task, source, config
        self._summed = jax.jit(self._sums)

    def __call__(self, step, state):
        """Writes gates/STEP.npz where the step is one of those: gate_KN as bytes, 255 for open, and
        mean_N, each channel's mean over all frames of all examples; and what they are of.

        Args:
          step: steps taken.
          state: TrainState then.
        """
        if not self._active or (step & (step - 1) and step != self._total):
            return
        params = local_copy(state.evaluated)
        probed = jax.device_get(self._probe(params, *self._heard))
        gate_KN = np.asarray(probed['gate_BKN'][0], np.float32)[probed['valid_BK'][0]]
        edges = np.linspace(0, len(gate_KN), min(FRAMES, len(gate_KN)) + 1).astype(int)
        pooled_KN = np.add.reduceat(gate_KN, edges[:-1]) / np.diff(edges)[:, None]
        path = os.path.join(self._folder, f'{step:09d}.npz')
        try:
            os.makedirs(self._folder, exist_ok=True)
            content = io.BytesIO()
            gate_KN = np.rint(255 * pooled_KN).astype(np.uint8)
            means = dict(mean_N=self._means(params), examples=np.array(len(self._source)))
            of = np.array(f'{self._run}, step {step}')
            np.savez_compressed(content, gate_KN=gate_KN, of=of, **means, **self._origin)
            files.write({path: content.getvalue()})
        except lock.Lost:
            raise
        except OSError as error:  # a training does not end for want of a picture
            self._say(f'{path} could not be written ({files.why(error)}); the training goes on')

    def _means(self, params):
        """Each channel's mean over the first segments of the whole split [N], float32."""
        totals = [
            self._summed(params, batch['source_BST'], batch['length_B'], batch['valid_B'])
            for batch in pipeline.validation_batches(self._source, self._config)
        ]
        total_N, frames = (
            np.sum([np.asarray(part) for part in parts], 0) for parts in zip(*totals)
        )
        return (total_N / frames).astype(np.float32)

    def _sums(self, params, source_BST, length_B, valid_B):
        """Sums over the frames of examples that are there, and how many these are."""
        probed = self._task.probe(params, pcm.to_float(source_BST).sum(axis=1), length_B)
        gate_BKN, valid_BK = probed['gate_BKN'], probed['valid_BK'] & valid_B[:, None]
        return (gate_BKN * valid_BK[..., None]).sum(axis=(0, 1)), valid_BK.sum()
