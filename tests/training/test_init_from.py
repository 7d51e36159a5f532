"""A training that starts from the weights of another run, or of a model file."""

import jax
import numpy as np
import pytest

from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.interop import model_file
from fgsep_jax.training import checkpoint, loop
import synthetic
import tiny

STILL = {'training.learning_rate': 1e-30, 'training.epochs': 1}  # a step changes nothing


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp('data') / 'tones')


def run(data, workdir, **overrides):
    return loop.train(
        tiny.config(data, **{**STILL, **overrides}),
        str(workdir),
        train_source=RecordSource(data, 'train'),
        validation_source=RecordSource(data, 'validation'),
    )


@pytest.fixture(scope='module')
def first(data, tmp_path_factory):
    """(run folder, model file of it, weights)."""
    folder = tmp_path_factory.mktemp('first')
    run(data, folder / 'run', **{'training.learning_rate': 1e-2})
    about, parameters, _ = checkpoint.load_trained(folder / 'run')
    path = folder / 'm.safetensors'
    model_file.write(path, about.config, parameters, sources=about.sources, step=about.step)
    return folder / 'run', path, parameters


@pytest.mark.slow
@pytest.mark.parametrize('kind', [0, 1], ids=['run', 'file'])
def test_it_starts_there(data, first, tmp_path, capsys, kind):
    init = str(first[kind])
    state = run(data, tmp_path / 'run', **{'training.init_from': init})
    jax.tree.map(np.testing.assert_array_equal, state.params, first[2])
    assert f'training starts from {init}, step 4' in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_resumed_does_not_read_it_again(data, first, tmp_path):
    path = tmp_path / 'm.safetensors'
    path.write_bytes(first[1].read_bytes())
    options = {'training.init_from': str(path), 'training.learning_rate': 1e-3}
    once = run(data, tmp_path / 'run', **options)
    path.unlink()
    state = run(data, tmp_path / 'run', **options, **{'training.epochs': 2})
    assert int(state.step) == 2 * int(once.step)
    whole = run(data, tmp_path / 'whole', **options | {
        'training.init_from': str(first[1]), 'training.epochs': 2
    })  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, state.params, whole.params)


@pytest.mark.parametrize(
    'overrides, message',
    [
        ({'model.hidden': 9}, '--config.model.hidden=8$'),
        ({'model.mask': 'relu', 'model.stride': 4}, 'model.mask=sigmoid --config.model.stride=8'),
        ({'data.sources': 3}, '--config.data.sources=2$'),
    ],
)
@pytest.mark.parametrize('kind', [0, 1], ids=['run', 'file'])
def test_another_model_is_refused_with_the_flags(data, first, overrides, message, kind):
    config = tiny.config(data, **overrides, **{'training.init_from': str(first[kind])})
    with pytest.raises(ConfigError, match=message) as error:
        checkpoint.load_initial(config)
    assert '\n' not in str(error.value)


def test_what_only_changes_the_computation_is_no_other_model(data, first):
    overrides = {'model.remat': True, 'model.dtype': 'bfloat16', 'data.sample_rate': 16000}
    config = tiny.config(data, **overrides, **{'training.init_from': str(first[1])})
    _, notes = checkpoint.load_initial(config)
    assert any('was trained at 8000 Hz, this run is at 16000 Hz' in note for note in notes)


@pytest.mark.parametrize(
    'init, message', [('gone.safetensors', 'no such'), ('gone', 'there is no model')]
)
def test_a_refused_start_leaves_no_run(data, tmp_path, init, message):
    with pytest.raises(ConfigError, match=message):
        run(data, tmp_path / 'run', **{'training.init_from': str(tmp_path / init)})
    assert not (tmp_path / 'run' / 'config.json').exists()


def test_a_model_of_another_task_is_refused(data, first):
    config = tiny.config(data, 'blstm_m2', **{'training.init_from': str(first[1])})
    with pytest.raises(ConfigError, match='is a speech model, this a foreground model'):
        checkpoint.load_initial(config)
