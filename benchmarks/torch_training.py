"""Trains torchaudio's Conv-TasNet in PyTorch as a run of ours would be trained.

Same initial weights, data, batches, loss, clipping, optimiser and steps as `fgsep_jax.main` with
the same configuration, so that curves and tables can be laid side by side:

    python -m benchmarks.torch_training --config=configs/convtasnet.py:small \
        --config.data.short=drop --workdir=DIR

Needs torch and torchaudio (which needs no C extension here). No checkpoints: it starts afresh.
"""

import functools
import os
import time

from absl import app, flags
import jax
from ml_collections import config_flags
import numpy as np
import torch

from benchmarks import peers_conv_tasnet
from benchmarks.peers import Descent
from fgsep_jax import data_sets, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.data import pipeline
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import evaluate, table
from fgsep_jax.tasks import make_task
from fgsep_jax.training import cost, run_folder
from fgsep_jax.training.logging import RunLog
from fgsep_jax.training.optimizer import make_plateau, update_plateau

_CONFIG = config_flags.DEFINE_config_file('config')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Run folder.', required=True)


def check(config):
    """Raises ConfigError for what the peer does not have, lest it be compared all the same."""
    has = {
        'model.encoder': 'linear',
        'model.norm': 'gln',
        'model.causal': False,
        'model.dtype': 'float32',
        'model.skip': config.model.bottleneck,
        'loss.name': 'si_snr',
        'loss.power_law_weight': 0.0,
        'data.sources': 2,
        'data.short': 'drop',
    }
    flat = run_folder.flatten(config.to_dict())
    wrong = [
        f'{key} = {flat[key]!r}, not {value!r}' for key, value in has.items() if flat[key] != value
    ]
    if wrong:
        raise ConfigError(f"torchaudio's Conv-TasNet and this script have no {'; '.join(wrong)}")


def _sources(batch):
    return torch.from_numpy(batch['source_BST'].astype(np.float32) / 32768)


def _validation_loss(model, source, config):
    total = count = 0.0
    with torch.no_grad():
        for batch in pipeline.validation_batches(source, config):
            source_BST, mask_B = _sources(batch), torch.from_numpy(batch['mask_B'])
            loss_B = peers_conv_tasnet.pit_loss(model(source_BST.sum(1, keepdim=True)), source_BST)
            total, count = total + float((loss_B * mask_B).sum()), count + float(mask_B.sum())
    return total / count


def _system(model, source_BST, length_B):
    # gLN sees padding, and this model has no masks: one example at a time, at its true length.
    estimate_BST = np.zeros_like(source_BST)
    with torch.no_grad():
        for b, length in enumerate(length_B):
            mixture_1T = torch.from_numpy(source_BST[b, :, :length].sum(axis=0, keepdims=True))
            estimate_BST[b, :, :length] = model(mixture_1T[None])[0].numpy()
    return estimate_BST


def train(config, workdir):
    """Trains the peer and evaluates it on the test split."""
    directory = data_sets.open_data(config, splits=('train', 'validation', 'test'))
    source, validation = (RecordSource(directory, s) for s in ('train', 'validation'))
    run_folder.check(workdir, config)
    run_folder.claim(workdir, config, source)
    task, settings = make_task(config), config.training
    model = peers_conv_tasnet.make_model(task.model, task.init(jax.random.key(config.seed)))
    descend = Descent(model, config)
    plateau = make_plateau(config)
    plateau_state = plateau.init({})
    indices, _ = pipeline.usable(source, config)
    epoch_steps = cost.steps_per_epoch(config, len(indices))
    total = epoch_steps * settings.epochs
    batches = pipeline.train_batches(source, config)
    log, began = RunLog(workdir, step=0, total=total), time.monotonic()
    for step in range(1, total + 1):
        source_BST = _sources(next(batches))
        estimate_BST = model(source_BST.sum(1, keepdim=True))
        loss = descend(peers_conv_tasnet.pit_loss(estimate_BST, source_BST).mean())
        rate = config.data.batch_size * step / (time.monotonic() - began)
        if step % settings.log_steps == 0:
            log.scalars(step, {'loss': loss, 'examples_per_second': rate}, kind='train')
        log.progress(
            step,
            loss=loss,
            examples_per_second=rate,
            seconds_left=(total - step) * config.data.batch_size / rate,
        )
        if step % epoch_steps == 0:
            value = _validation_loss(model, validation, config)
            plateau_state = update_plateau(plateau, plateau_state, value)
            for group in descend.optimizer.param_groups:
                group['lr'] = settings.learning_rate * float(plateau_state.scale)
            log.scalars(step, {'loss': value}, kind='validation')
            log.say(f'epoch {step // epoch_steps}  step {step}  validation loss {value:.3f}')
    log.close()
    test = RecordSource(directory, 'test')
    rows, skipped = evaluate.evaluate(
        functools.partial(_system, model),
        test,
        sample_rate=config.data.sample_rate,
        batch_size=config.evaluation.batch_size,
        bucket_seconds=config.evaluation.bucket_seconds,
        filter_taps=config.evaluation.filter_taps,
        max_examples=config.evaluation.max_examples,
    )
    content = evaluate.summary(
        rows,
        skipped,
        system='torchaudio ConvTasNet',
        step=total,
        data_set=test.metadata['name'],
        preset=config.preset,
    )
    evaluate.write(os.path.join(workdir, 'evaluation', test.metadata['name']), rows, content)
    log.say(table.render(test.metadata['name'], {'torchaudio': content['metrics']}))


def main(argv):
    del argv
    validate.validate(_CONFIG.value)
    check(_CONFIG.value)
    train(_CONFIG.value, _WORKDIR.value)


if __name__ == '__main__':
    app.run(main)
