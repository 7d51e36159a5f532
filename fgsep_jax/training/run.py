"""Trains an experiment: finds its data and opens what it reads and watches."""

import functools

import jax

from fgsep_jax import buckets, data_sets, validate
from fgsep_jax.data.source import RecordSource, open_dataset
from fgsep_jax.training import loop, mesh as mesh_lib, wandb_board
from fgsep_jax.training.gates import GateLog


def train(config, workdir, *, then=()):
    """Trains or resumes a run; see `training.loop.train`.

    Args:
      config: an experiment's ConfigDict, validated.
      workdir: run folder.
      then: further splits that must be there, since they will be evaluated on.
    """
    say = buckets.say if jax.process_index() == 0 else lambda text: None
    directory = data_sets.open_data(
        config, splits=('train', 'validation', *then), hosts=jax.process_count(), say=say
    )
    wandb_board.check(config)
    say(f'run                {workdir}')
    first = validate.check_sources(config, open_dataset(directory), directory)
    source = RecordSource(directory, 'validation', first)
    split = next(
        (
            split
            for split in config.evaluation.splits.split(',')
            if split in source.metadata['splits']
        ),
        'validation',
    )
    hooks = []
    if config.training.gates:
        hooks = [functools.partial(GateLog, source=RecordSource(directory, split, first))]
    train_source = RecordSource(directory, 'train', first)
    mesh_lib.check_alike(config, training_data=repr(train_source), validation_data=repr(source))
    return loop.train(
        config,
        workdir,
        train_source=train_source,
        validation_source=source,
        hooks=hooks,
    )
