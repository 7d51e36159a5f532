"""Gate outputs over training (paper 2, Fig. 4): a small file at chosen steps of a run."""

import io
import os
from typing import Any

import jax
import numpy as np

from fgsep_jax import files, pcm
from fgsep_jax.data import pipeline
from fgsep_jax.training.mesh import local_copy

FRAMES = 256  # at most, in a file; more are averaged in blocks


class GateLog:
    """Saves what the first gated layer lets through of one utterance, at steps 0, 1, 2, 4, 8, ...
    and the last; a hook of `training.loop.train`. Does nothing for a model without gates.

    Args:
      workdir: run folder.
      task: the run's task.
      config: its ConfigDict.
      source: RecordSource whose first example is the utterance.
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
        source_BST = pipeline.first_segments([example], config)['source_BST']
        self._mixture_BT = pcm.to_float(source_BST).sum(axis=1)
        self._origin: Any = dict(id=np.array(example.id), split=np.array(source.split))
        shapes = jax.eval_shape(task.init, jax.random.key(0))
        self._active = bool(jax.eval_shape(task.probe, shapes, self._mixture_BT))
        self._probe = jax.jit(task.probe)

    def __call__(self, step, state):
        """Writes gates/STEP.npz where the step is one of those: gate_KN as bytes, 255 for open.

        Args:
          step: steps taken.
          state: TrainState then.
        """
        if not self._active or (step & (step - 1) and step != self._total):
            return
        gate_KN = self._probe(local_copy(state.evaluated), self._mixture_BT)['gate_BKN'][0]
        gate_KN = np.asarray(gate_KN, np.float32)
        edges = np.linspace(0, len(gate_KN), min(FRAMES, len(gate_KN)) + 1).astype(int)
        pooled_KN = np.add.reduceat(gate_KN, edges[:-1]) / np.diff(edges)[:, None]
        path = os.path.join(self._folder, f'{step:09d}.npz')
        try:
            os.makedirs(self._folder, exist_ok=True)
            content = io.BytesIO()
            gate_KN = np.rint(255 * pooled_KN).astype(np.uint8)
            np.savez_compressed(content, gate_KN=gate_KN, **self._origin)
            files.write({path: content.getvalue()})
        except OSError as error:  # a training does not end for want of a picture
            self._say(f'{path} could not be written ({error.strerror}); the training goes on')
