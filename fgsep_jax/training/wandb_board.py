"""Weights & Biases beside TensorBoard, where `training.wandb` names a project."""

import importlib
import os

from fgsep_jax import files
from fgsep_jax.config import ConfigError


def check(config):
    """Raises ConfigError where the library is asked for and missing."""
    if config.training.wandb:
        _library(config)


def _library(config):
    try:
        return importlib.import_module('wandb')
    except ImportError as error:
        raise ConfigError(
            f"training.wandb = {config.training.wandb!r}: needs pip install 'fgsep_jax[wandb]'"
            f' ({error})'
        ) from error


class Board:
    """A run at Weights & Biases, which a resumed training goes on with.

    What it cannot take never ends the training: that is said once, and nothing more is sent.

    Args:
      config: the run's ConfigDict.
      workdir: its folder; what the library keeps goes to `wandb` in it.
      failed: prints a line.
    """

    def __init__(self, config, workdir, *, failed):
        self._wandb, self._failed, self._run = _library(config), failed, None
        path = os.path.join(workdir, 'wandb', 'id')
        if os.path.lexists(path):
            name = files.read_bytes(path, ConfigError).decode().strip()
        else:
            name = os.urandom(8).hex()
            os.makedirs(os.path.dirname(path), exist_ok=True)
            files.write({path: name + '\n'})
        self._do(self._start, config, workdir, name)

    def _start(self, config, workdir, name):
        self._run = self._wandb.init(
            project=config.training.wandb,
            name=os.path.basename(os.path.abspath(workdir)),
            id=name,
            resume='allow',
            dir=workdir,
            config=files.flatten(config.to_dict()),
        )
        # Of its own steps none may be less than one before, as where a resumed run begins again.
        self._run.define_metric('step')
        self._run.define_metric('*', step_metric='step')

    def _do(self, function, *args):
        try:
            function(*args)
        except Exception as error:  # of the network, or of whoever asks for credentials
            self._run = None
            self._failed(f'Weights & Biases: nothing more is sent ({files.why(error)})')

    def _log(self, step, content):
        if self._run:
            self._do(self._run.log, {'step': step, **content})

    def scalars(self, step, values):
        """Sends numbers, {tag: number}."""
        self._log(step, values)

    def sound(self, step, tag, signal_T, sample_rate):
        """Sends a signal in [-1, 1]."""
        self._log(step, {tag: self._wandb.Audio(signal_T, sample_rate=sample_rate)})

    def image(self, step, tag, picture):
        """Sends a picture, uint8 [height, width, 3]."""
        self._log(step, {tag: self._wandb.Image(picture)})

    def text(self, step, tag, markdown):
        """Nothing: the configuration is the run's already."""

    def close(self):
        """Ends the run there."""
        if self._run:
            self._do(self._run.finish)
