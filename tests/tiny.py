"""The shipped configurations, shrunk until they compile in a second or two."""

from fgsep_jax import config as config_lib, files
from fgsep_jax.models.conv_tasnet import conv_tasnet
from test_config import load, put

SHRUNK = {
    'model.encoder.name': 'linear',
    'model.encoder.basis': 8,
    'model.separator.bottleneck': 4,
    'model.separator.hidden': 8,
    'model.separator.skip': 4,
    'model.separator.blocks': 2,
    'model.separator.repeats': 1,
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
    has = files.flatten(made.to_dict())
    shrunk = SHRUNK if made.task == 'speech' else SHRUNK_MASK
    shrunk = {key: value for key, value in shrunk.items() if key in has}
    if name != 'convtasnet_glu':  # of the others the encoder is what they are
        shrunk.pop('model.encoder.name', None)
    put(made, {**shrunk, **overrides})
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
