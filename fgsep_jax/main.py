"""Trains, resumes and evaluates experiments.

python -m fgsep_jax.main --config=configs/convtasnet_glu.py:demo
python -m fgsep_jax.main --mode=evaluate --workdir=runs/NAME --data_dirs=DIR[,DIR...]
python -m fgsep_jax.main --mode=cross_evaluate --runs=runs --data_dirs=DIR[,DIR...]
"""

import os
import sys

from fgsep_jax import huge_pages

if __name__ == '__main__':
    huge_pages.use()

from absl import app, flags, logging
import jax
from ml_collections import config_flags

from fgsep_jax import compilation_cache, config as config_lib, cross, experiment, validate
from fgsep_jax.data.records import RecordError
from fgsep_jax.training import loop, run_folder

_CONFIG = config_flags.DEFINE_config_file(
    'config', help_string='configs/NAME.py[:preset][,data set][,seed=N]'
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Run folder; default runs/EXPERIMENT-PRESET.')
_MODE = flags.DEFINE_enum(
    'mode',
    'train_and_evaluate',
    ['train_and_evaluate', 'train', 'evaluate', 'cross_evaluate'],
    'What to do.',
)
_DATA_DIRS = flags.DEFINE_list(
    'data_dirs',
    [],
    'With --mode=evaluate and cross_evaluate: data sets to evaluate on; default'
    " of evaluate: the run's own.",
)
_RUNS = flags.DEFINE_list(
    'runs', [], 'With --mode=cross_evaluate: folders with run folders in or below them.'
)
_SPLITS = flags.DEFINE_list(
    'splits', [], 'Splits to evaluate on; default: those of evaluation.splits.'
)
_BASELINES = flags.DEFINE_bool(
    'baselines',
    False,
    'With --mode=evaluate and cross_evaluate: score the untrained model and the oracles too.',
)
_MULTIHOST = flags.DEFINE_bool(
    'multihost', False, 'Join the other processes of a pod before anything else.'
)


def _main(argv):
    if len(argv) > 1:
        raise app.UsageError(f'arguments not understood: {argv[1:]}')
    if not flags.FLAGS['verbosity'].present:
        logging.set_verbosity(logging.WARNING)  # the libraries' progress is not the user's
    compilation_cache.use()
    if _MULTIHOST.value:
        jax.distributed.initialize()
    if _RUNS.value and _MODE.value != 'cross_evaluate':
        raise config_lib.ConfigError('--runs goes with --mode=cross_evaluate')
    if _MODE.value == 'cross_evaluate':
        if _WORKDIR.value:
            raise config_lib.ConfigError('--mode=cross_evaluate takes --runs=FOLDER, not --workdir')
        cross.cross_evaluate(
            _RUNS.value,
            _DATA_DIRS.value,
            splits=_SPLITS.value,
            baselines=_BASELINES.value,
            overrides=_CONFIG.value.evaluation if _CONFIG.value is not None else None,
        )
        return
    if _MODE.value == 'evaluate':
        if not _WORKDIR.value:
            raise config_lib.ConfigError('--mode=evaluate needs --workdir=RUN, a trained run')
        config = run_folder.read_config(_WORKDIR.value)
        if _CONFIG.value is not None:  # the model is the run's; how to evaluate may be overridden
            config.evaluation.update(_CONFIG.value.evaluation)
        experiment.evaluate(
            config,
            _WORKDIR.value,
            data_dirs=_DATA_DIRS.value,
            splits=_SPLITS.value,
            baselines=_BASELINES.value,
        )
        return
    config = _CONFIG.value
    if config is None:
        raise config_lib.ConfigError('--config=configs/NAME.py[:preset] is needed')
    if _DATA_DIRS.value:
        raise config_lib.ConfigError('--data_dirs goes with --mode=evaluate and cross_evaluate')
    if '://' in _WORKDIR.value:
        raise config_lib.ConfigError(
            f'--workdir={_WORKDIR.value}: must be a folder of a file system, on several hosts one'
            ' that all of them see'
        )
    validate.validate(config, devices=jax.device_count(), hosts=jax.process_count())
    workdir = _WORKDIR.value or os.path.join('runs', f'{config.experiment}-{config.preset}')
    evaluating = _MODE.value == 'train_and_evaluate'
    splits = _SPLITS.value or config.evaluation.splits.split(',')
    experiment.train(config, workdir, then=splits if evaluating else [])
    if evaluating:
        experiment.evaluate(config, workdir, splits=splits, baselines=True, announce=False)


def _parse(argv):
    """Parses the flags; a wrong key or argument of the configuration becomes one clear line."""
    try:
        remaining = flags.FLAGS(argv)
        # A file that could not be loaded says so only when something is read of it.
        getattr(_CONFIG.value, 'experiment', None)
        return remaining
    except (KeyError, AttributeError, flags.Error, OSError) as error:
        raise config_lib.mistake(error) from error


def run():
    """Runs the program; mistakes of the user's end in one message and exit status 2."""
    try:
        app.run(_main, flags_parser=_parse)
    except loop.Preempted as notice:
        print(notice, file=sys.stderr)
    except (config_lib.ConfigError, RecordError, OSError, loop.TrainingError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    run()
