"""The shipped GLU configuration, shrunk until it compiles in a second or two."""

from test_config import load

SHRUNK = {
    'model.layers': 1, 'model.encoder': 'linear', 'model.basis': 8, 'model.bottleneck': 4,
    'model.hidden': 8, 'model.skip': 4, 'model.blocks': 2, 'model.repeats': 1,
    'data.batch_size': 4, 'data.segment_seconds': 0.1, 'training.epochs': 3,
    'training.log_steps': 1, 'training.checkpoint_steps': 3, 'training.audio_examples': 0,
}


def config(data, name='convtasnet_glu', **overrides):
    """ConfigDict of a tiny run on the data set in a folder; overrides as 'section.key'."""
    made = load(name, 'demo')
    made.data.dir = str(data)
    values = {**SHRUNK, **overrides}
    if 'model.encoder' not in overrides and name != 'convtasnet_glu':
        values = {k: v for k, v in values.items() if k not in ('model.encoder', 'model.layers')}
    for key, value in values.items():
        section, leaf = key.split('.')
        made[section][leaf] = value
    return made
