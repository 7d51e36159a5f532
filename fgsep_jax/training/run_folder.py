"""The run folder: one configuration, written once, held against every later start."""

import os

from fgsep_jax import config as config_lib

# What may change between two starts of one run without making it another run.
MAY_CHANGE = ('training.epochs', 'training.log_steps', 'training.checkpoint_steps',
              'training.keep_checkpoints', 'training.audio_examples', 'data.read_threads',
              'data.prefetch_batches', 'data.dir', 'evaluation.batch_size',
              'evaluation.bucket_seconds', 'evaluation.filter_taps', 'evaluation.max_examples',
              'evaluation.splits')


def flatten(tree, prefix=''):
    """Turns nested dicts into {'a.b': value}."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[prefix + key] = value
    return flat


def write_text(path, text):
    """Writes a file beside itself and renames it, so that it is whole or not there."""
    partial = f'{path}.partial'
    with open(partial, 'w') as file:
        file.write(text)
    os.replace(partial, path)


def check(workdir, config):
    """Checks that a folder holds no run, or one of the same configuration.

    Raises:
      ConfigError: the folder holds a run of another configuration.
    """
    if not os.path.exists(os.path.join(workdir, 'config.json')):
        return
    before = flatten(read_config(workdir).to_dict())
    now = flatten(config.to_dict())
    changed = [f'  {key}: {before.get(key)!r} before, {now.get(key)!r} now'
               for key in sorted(before.keys() | now.keys())
               if before.get(key) != now.get(key) and key not in MAY_CHANGE]
    if changed:
        raise config_lib.ConfigError(
            f'{workdir} holds a run of another configuration:\n' + '\n'.join(changed)
            + '\nGive another --workdir, or the same configuration to resume it.')


def claim(workdir, config):
    """Makes the run folder and writes the configuration, once nothing can refuse it any more."""
    os.makedirs(workdir, exist_ok=True)
    write_text(os.path.join(workdir, 'config.json'), config_lib.to_json(config))


def read_config(workdir):
    """Configuration of the run in a folder.

    Raises:
      ConfigError: there is no run.
    """
    path = os.path.join(workdir, 'config.json')
    if not os.path.exists(path):
        raise config_lib.ConfigError(
            f'{workdir} holds no run: {path} is missing. Train one with `python -m fgsep_jax.main'
            f' --config=configs/convtasnet_glu.py --workdir={workdir}`.')
    with open(path) as file:
        return config_lib.from_json(file.read())
