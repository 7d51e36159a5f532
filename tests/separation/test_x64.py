"""With JAX's 64-bit switch on, models are float32 all the same: those of before load, and no array
in training, separation or a stream is of 64 bits."""

import functools
import re

import jax
import numpy as np
import pytest

from fgsep_jax.config import adaptation_samples, segment_samples
from fgsep_jax.data import pipeline
from fgsep_jax.separation.model import Separator
from fgsep_jax.tasks import make_task
from fgsep_jax.training.augment import augment
from fgsep_jax.training.optimizer import make_optimizer, make_plateau, make_rate, update_plateau
from fgsep_jax.training.state import init_state
from fgsep_jax.training.step import train_step
import models
from test_config import CONFIGS
import tiny


def of_64_bits(function, *args):
    """Arrays of two axes and more in a program whose floats have 64 bits."""
    return {*re.findall(r'(?:f64|c128)\[\d+,.*?\]', str(jax.make_jaxpr(function)(*args)))}


def types(tree):
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


@pytest.mark.few(6)
@pytest.mark.parametrize('name', [path.stem for path in CONFIGS])
def test_no_array_of_64_bits_is_made(name):
    training = {'training.ema': 0.9, 'training.weight_decay': 0.1, 'training.accumulate': 2}
    config = tiny.config('', name, **training)
    if config.task == 'speech':
        more = {'data.remix': True, 'data.speed': 0.05, 'model.encoder.decoder_bias': True}
        tiny.put(config, more)
    task, made = make_task(config), dict(remix=config.data.remix, remix_db=3, speed=0.05)
    batch = {key: jax.ShapeDtypeStruct(*of) for key, of in pipeline.shapes(config).items()}
    step = functools.partial(
        train_step,
        task=task,
        optimizer=make_optimizer(config),
        learning_rate=make_rate(config, 10),
        seed=0,
        augment='row_B' in batch
        and functools.partial(augment, samples=segment_samples(config), **made),
        accumulate=2,
        ema=0.9,
    )
    signal_BT, length_B = jax.ShapeDtypeStruct((2, 800), 'float32'), np.int32([800, 700])
    heard_BT = jax.ShapeDtypeStruct((2, adaptation_samples(config)), 'float32')
    with jax.enable_x64(True):
        state = jax.eval_shape(lambda: init_state(task, config))
        assert types(state) == {'float32', 'int32'}
        assert not of_64_bits(step, state, batch)
        assert types(jax.eval_shape(step, state, batch)[0]) == {'float32', 'int32'}
        plateau = functools.partial(update_plateau, make_plateau(config), loss=1.0)
        assert types(jax.eval_shape(plateau, state.plateau)) == {'float32', 'int32'}
        for lengths in (None, length_B):
            assert not of_64_bits(task.separate, state.params, signal_BT, lengths, heard_BT)


@pytest.mark.parametrize('name', ['convtasnet_causal', 'blstm_m2'])
def test_a_separation_is_the_same(name):
    before, signal_T = models.separator(name), np.float32(np.sin(np.arange(3000) ** 1.3))
    want = before.separate(signal_T, 8000, segment=0.25)
    with jax.enable_x64(True):
        separator = Separator(before.config, before.parameters)
        got = separator.separate(signal_T, 8000, segment=0.25)
        np.testing.assert_allclose([*got.values()], [*want.values()], atol=1e-5)
        if name == 'convtasnet_causal':
            stream, given = separator.stream(8000), before.stream(8000)
            assert types(stream._state) == {'float32'}
            np.testing.assert_allclose(
                [*stream.push(signal_T).values()], [*given.push(signal_T).values()], atol=1e-5
            )
