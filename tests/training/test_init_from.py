"""A training that starts from the weights of another run, or of a model file."""

import jax
import numpy as np
import pytest

from fgsep_jax import config as config_lib
from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import run as evaluation
from fgsep_jax.interop import model_file
from fgsep_jax.separation import model as model_lib
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, loop, run_folder
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
def file(data, tmp_path_factory):
    """Model file with weights that nothing has trained."""
    config = tiny.config(data)
    weights = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(make_task(config).init, jax.random.key(0)),
    )
    path = tmp_path_factory.mktemp('file') / 'm.safetensors'
    model_file.write(path, config, weights, sources=('a', 'b'))
    return path


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
    inert = {'training.schedule': 'cosine', 'training.plateau_epochs': 1}
    state = run(data, tmp_path / 'run', **{'training.init_from': init}, **inert)
    jax.tree.map(np.testing.assert_array_equal, state.params, first[2])
    said = capsys.readouterr().out
    assert f'training starts from {init}, step 4' in said
    assert 'note: training.plateau_epochs = 1 does nothing without training.schedule' in said
    # Else they would be of one device, which a run on several refuses.
    parameters, _ = checkpoint.load_initial(tiny.config(data, **{'training.init_from': init}))
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(parameters))


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
        ({'model.hidden': 9}, '--config.model.separator.hidden=8$'),
        (
            {'model.mask': 'relu', 'model.stride': 4},
            'model.encoder.stride=8 --config.model.separator.mask=sigmoid',
        ),
        ({'data.sources': 3}, '--config.data.sources=2$'),
    ],
)
@pytest.mark.parametrize('kind', [pytest.param('run', marks=pytest.mark.slow), 'file'])
def test_another_model_is_refused_with_the_flags(data, request, overrides, message, kind):
    path = request.getfixturevalue('first')[0] if kind == 'run' else request.getfixturevalue('file')
    config = tiny.config(data, **overrides, **{'training.init_from': str(path)})
    with pytest.raises(ConfigError, match=message) as error:
        checkpoint.load_initial(config)
    assert '\n' not in str(error.value)


def test_what_only_changes_the_computation_is_no_other_model(data, file):
    overrides = {'model.remat': True, 'model.dtype': 'bfloat16', 'data.sample_rate': 16000}
    config = tiny.config(data, **overrides, **{'training.init_from': str(file)})
    _, notes = checkpoint.load_initial(config)
    assert any('was trained at 8000 Hz, this run is at 16000 Hz' in note for note in notes)


@pytest.mark.parametrize(
    'init, message', [('gone.safetensors', 'no such'), ('gone', 'there is no model')]
)
def test_a_refused_start_leaves_no_run(data, tmp_path, init, message):
    with pytest.raises(ConfigError, match=message):
        run(data, tmp_path / 'run', **{'training.init_from': str(tmp_path / init)})
    assert not (tmp_path / 'run').exists()


def test_a_word_of_a_runs_config_that_lost_a_bit_is_said_with_the_file(data, tmp_path):
    text = config_lib.to_json(tiny.config(data)).replace('"float32"', '"flnat32"')
    damaged = tmp_path / 'damaged'
    damaged.mkdir()
    (damaged / 'config.json').write_text(text)
    words = rf"^{damaged}/config.json: .*model.dtype = 'flnat32': must be one of"
    for read in (model_lib.load, model_lib.about, checkpoint.load_trained, checkpoint.heard_by):
        with pytest.raises(ConfigError, match=words) as error:
            read(str(damaged))
        assert '\n' not in str(error.value)
    with pytest.raises(ConfigError, match=words):
        run(data, tmp_path / 'run', **{'training.init_from': str(damaged)})
    assert not (tmp_path / 'run').exists()


def test_a_run_in_a_folder_that_is_no_utf8_is_not_called_damaged(data, tmp_path):
    folder = tmp_path / 'l\udce9a'
    (folder / 'checkpoints' / '4').mkdir(parents=True)
    (folder / 'config.json').write_text(config_lib.to_json(tiny.config(data)))
    for read in (model_lib.load, model_lib.about, checkpoint.load_trained, run_folder.read_config):
        with pytest.raises(ConfigError, match=r'l.xe9a is no UTF-8, and checkpoints can') as error:
            read(str(folder))
        str(error.value).encode()


def test_a_model_of_another_task_is_refused(data, file):
    config = tiny.config(data, 'blstm_m2', **{'training.init_from': str(file)})
    with pytest.raises(ConfigError, match='is a speech model, this a foreground model'):
        checkpoint.load_initial(config)


def speakers(path, *, train, test=('eve',)):
    return RecordSource(
        synthetic.write(path, train=1, test=1, speakers={'train': train, 'test': test}), 'train'
    )


def test_whom_the_first_training_heard_is_known(tmp_path, file):
    """By a run, by a run that starts from it, and by one that starts from a file of that."""
    people = {'one': ['ann'], 'two': ['bob'], 'three': ['cy']}
    init, heard = '', set()
    for name, train in people.items():
        source = speakers(tmp_path / 'data' / name, train=train)
        config = tiny.config(source.directory, **{'training.init_from': init})
        run, heard = str(tmp_path / name), heard | run_folder.digests(train)
        run_folder.claim(run, config, source, before=loop._heard_before(run, config))
        found = run_folder.trained_speakers(run, config)
        assert found == (heard, True)
        assert checkpoint.heard_by(run) == found
        init = run
        if name == 'two':  # from here on by a model file
            said = model_file.header(config, sources=('a', 'b'), speakers=found.digests)
            about = model_file._about(said, 'm')
            assert {*about.speakers} == heard
            init = str(tmp_path / 'm.safetensors')
            _, weights = model_file.read(file)
            model_file.write(init, config, weights, sources=('a', 'b'), speakers=found.digests)
    # A run that goes on does not need it any more.
    (tmp_path / 'm.safetensors').unlink()
    assert loop._heard_before(run, config) == run_folder.heard_before(run)
    test = speakers(tmp_path / 'data' / 'all', train=['zoe'], test=['ann', 'bob', 'cy', 'dan'])
    source = RecordSource(test.directory, 'test')
    seen = {'speakers': 4, 'speakers_trained_on': 3}
    assert evaluation._seen(run_folder.trained_speakers(run, config), source, 'none') == seen


@pytest.mark.parametrize('init', ['gone', 'm.safetensors'])
def test_where_the_first_training_is_unknown_nobody_is_called_unheard(tmp_path, init):
    source = speakers(tmp_path / 'data', train=['ann'])
    config = tiny.config(source.directory, **{'training.init_from': str(tmp_path / init)})
    run_folder.claim(
        str(tmp_path / 'run'), config, source, before=loop._heard_before('nowhere', config)
    )
    heard = run_folder.trained_speakers(str(tmp_path / 'run'), config)
    assert heard == (run_folder.digests(['ann']), False)
    for name, test, seen in (
        ('a', ['eve'], {'speakers': 1}),
        ('b', ['eve', 'ann'], {'speakers': 2, 'speakers_trained_on': 1}),
    ):
        folder = speakers(tmp_path / name, train=['x'], test=test).directory
        assert evaluation._seen(heard, RecordSource(folder, 'test'), 'none') == seen
