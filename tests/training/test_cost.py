"""What a run says of its cost before it starts."""

import types

import numpy as np
import pytest

from fgsep_jax.config import ConfigError
from fgsep_jax.training import cost
from test_config import load, put


def test_a_run_that_takes_days_names_the_presets_that_fit():
    config = load('convtasnet_glu')
    text = cost.outlook(config, seconds_per_step=100.0, steps_left=18700, examples=3000)
    assert text.startswith('0.16 examples/s (measured): the training ends in 22 days')
    assert 'too slow' in text and ':demo (about' in text and ':small (about' in text
    assert ':paper' not in text


def test_a_run_that_fits_says_so_and_no_more():
    text = cost.outlook(
        load('convtasnet_glu', 'demo'), seconds_per_step=0.1, steps_left=1500, examples=3000
    )
    assert text == '80 examples/s (measured): the training ends in 2 min'


@pytest.mark.parametrize(
    'name, changes, said',
    [
        ('convtasnet', {}, 'second of audio'),
        ('blstm_m2', {'dtype': 'bfloat16'}, 'audio, bfloat16'),
        (
            'convtasnet',
            {'dtype': 'bfloat16', 'remat': True},
            'audio, bfloat16, blocks computed again in the backward pass',
        ),
    ],
)
def test_a_run_says_how_it_computes(name, changes, said):
    config = load(name, 'demo')
    put(config, {f'model.{key}': value for key, value in changes.items()})
    state = types.SimpleNamespace(params={'a': np.zeros(3)}, optimizer=())
    compiled = types.SimpleNamespace(memory_analysis=lambda: None)
    lines = cost.describe(config, state=state, compiled=compiled, examples=100, short=0, devices=1)
    assert lines.splitlines()[1].endswith(said)


@pytest.mark.parametrize('gigabytes, fits', [(0.001, True), (1e6, False)])
def test_a_step_larger_than_the_memory_is_refused(gigabytes, fits):
    memory = types.SimpleNamespace(
        argument_size_in_bytes=0, temp_size_in_bytes=int(gigabytes * 2**30)
    )
    compiled = types.SimpleNamespace(memory_analysis=lambda: memory)
    if fits:
        cost.check_memory(compiled)
    else:
        with pytest.raises(ConfigError, match='1000000.00 GiB, this machine has'):
            cost.check_memory(compiled)
