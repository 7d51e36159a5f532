"""The shipped configurations, shrunk until they compile in a second or two."""

from fgsep_jax import config as config_lib
from fgsep_jax.models.conv_tasnet import conv_tasnet
from test_config import load, put

SHRUNK = {
    'model.encoder': 'linear',
    'model.basis': 8,
    'model.bottleneck': 4,
    'model.hidden': 8,
    'model.skip': 4,
    'model.blocks': 2,
    'model.repeats': 1,
    'data.batch_size': 4,
    'data.segment_seconds': 0.1,
    'training.epochs': 3,
    'training.log_steps': 1,
    'training.checkpoint_steps': 3,
    'training.audio_examples': 0,
}
SHRUNK_MASK = {
    'data.sample_rate': 8000,
    'data.batch_size': 4,
    'data.segment_seconds': 0.1,
    'features.window': 128,
    'features.hop': 32,
    'features.bands': 8,
    'model.layers': 2,
    'model.hidden': 6,
    'model.projection': 5,
    'training.epochs': 3,
    'training.log_steps': 1,
    'training.checkpoint_steps': 3,
    'training.audio_examples': 0,
}


def build(sources=2, **keys):
    """A Conv-TasNet by keys of the section `model` without those of its parts."""
    return conv_tasnet(sources=sources, **config_lib.nested_model(keys))


def config(data, name='convtasnet_glu', **overrides):
    """ConfigDict of a tiny run on the data set in a folder; overrides as of `put`."""
    made = load(name, 'demo')
    made.data.dir = str(data)
    if made.task == 'foreground':
        made.evaluation.splits = 'test'
        if made.model.auxiliary:
            made.data.adaptation_seconds = 0.05
    values = {**(SHRUNK if made.task == 'speech' else SHRUNK_MASK), **overrides}
    if 'model.encoder' not in overrides and name != 'convtasnet_glu':
        values = {k: v for k, v in values.items() if k != 'model.encoder'}
    put(made, values)
    return made


def whole(rows):
    """Rows of an evaluation, one an example and source, as one an example: numbers are the means
    over the sources, and stand once more with the source behind their names."""
    examples = {}
    for row in rows:
        examples.setdefault(row['id'], []).append(row)
    made = []
    for parts in examples.values():
        numbers = [key for key in parts[0] if isinstance(parts[0][key], (int, float))]
        made.append(
            {**parts[0]}
            | {key: sum(row[key] for row in parts) / len(parts) for key in numbers}
            | {f'{key}_{row["source"]}': value for row in parts for key, value in row.items()}
        )
    return made
