"""Configurations as files and words: each is one that works, or refused in one message."""

import contextlib
import json
import math

from hypothesis import given, settings, strategies as st
import pytest

import damage
from fgsep_jax import config as config_lib, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.training import run_folder
from test_config import load

CONFIG = {'speech': 'convtasnet_glu', 'foreground': 'blstm_m2_plus'}


@pytest.mark.parametrize('kind', damage.NOT_JSON)
def test_config_json_that_is_no_json(tmp_path, kind):
    (tmp_path / 'config.json').write_bytes(damage.NOT_JSON[kind])
    with pytest.raises(ConfigError, match='config.json') as error:
        run_folder.read_config(str(tmp_path))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('kind', ['folder', 'pipe', 'loop', 'huge'])
def test_what_stands_in_the_place_of_config_json(tmp_path, kind):
    damage.not_a_file(tmp_path / 'config.json', kind)
    with pytest.raises(ConfigError, match='config.json'):
        run_folder.read_config(str(tmp_path))


def test_a_byte_order_mark_is_no_damage(tmp_path):
    text = config_lib.to_json(load('convtasnet_glu', 'demo'))
    (tmp_path / 'config.json').write_bytes(b'\xef\xbb\xbf' + text.encode())
    assert config_lib.to_json(run_folder.read_config(str(tmp_path))) == text


def _content(task='speech'):
    return json.loads(config_lib.to_json(load(CONFIG[task], 'demo')))


@pytest.mark.parametrize(
    'path, value, words',
    [
        (('task',), 'music', 'must be one of speech, foreground'),
        (('task',), ['speech'], 'must be one of speech, foreground'),
        (('seed',), '0', 'seed = .0. must be of type int'),
        (('seed',), True, 'seed = True must be of type int'),
        (('model',), 3, 'model = 3 must be of type dict'),
        (
            ('model', 'separator', 'hidden'),
            64.0,
            'model.separator.hidden = 64.0 must be of type int',
        ),
        (('model', 'encoder'), None, 'model.encoder.name = None must be of type str'),
        (('model', 'encoder', 'name'), [], 'model.encoder.name = .* must be of type str'),
        (('model', 'separator'), [], 'model.separator = .* must be of type dict'),
        (('loss', 'eps'), '0', "loss.eps = '0' must be of type float"),
        (('model', 'attention'), 8, 'model.attention, which this version .* does not know'),
        (('optimizer',), {'name': 'lion'}, 'optimizer, which this version'),
    ],
)
def test_types_and_keys_of_a_configuration(path, value, words):
    text = json.dumps(damage.changed(_content(), path, value))
    with pytest.raises(ConfigError, match=words) as error:
        config_lib.from_json(text)
    assert '\n' not in str(error.value)


def test_keys_that_an_earlier_version_did_not_have_get_their_default():
    content = damage.without(_content(), ('model', 'separator', 'remat'))
    content = damage.without(content, ('model', 'encoder', 'layers'))
    config = config_lib.from_json(json.dumps(content))
    validate.validate(config)  # of a part that the base does not have it knows the keys
    assert config.model.separator.remat is False and config.model.encoder.layers == 4
    for key, words in (('bias', 'model.encoder.bias = 1 must be of type bool'), ('x', 'no key')):
        config = config_lib.from_json(
            json.dumps(damage.changed(content, ('model', 'encoder', key), 1))
        )
        with pytest.raises(ConfigError, match=words):
            validate.validate(config)
    content['data']['segment_seconds'] = 1  # a whole number for a fraction
    assert config_lib.from_json(json.dumps(content)).data.segment_seconds == 1.0


@pytest.mark.slow
@pytest.mark.parametrize('task', CONFIG)
@settings(deadline=None, max_examples=100)
@given(draw=st.data())
def test_random_damage_of_a_configuration(task, draw):
    data = draw.draw(damage.damaged_json(_content(task)))
    try:
        config = config_lib.from_json(data, where='config.json')
        validate.validate(config)
    except ConfigError as error:
        assert 'Traceback' not in str(error)
        return
    assert config_lib.from_json(config_lib.to_json(config)) == config


@pytest.mark.parametrize(
    'argument',
    ['seed=²', 'seed=٣', 'seed=', 'seed=-1', 'seed=1e3', 'seed=' + '9' * 5000, 'seed=1=2'],
)
def test_words_that_are_no_seed(argument):
    with pytest.raises(ConfigError, match='seed'):
        config_lib.parse(argument, 'speech')


WORDS = st.sampled_from(
    (
        'demo',
        'small',
        'paper',
        'librimix',
        'seed=1',
        'seed=²',
        'demo,',
        '=',
        ',',
        ' ',
        '\0',
        '\ud800',
    )
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=4), st.sampled_from(list(CONFIG)))
def test_random_words_after_the_colon(words, task):
    try:
        parsed = config_lib.parse(','.join(words), task)
    except ConfigError:
        return
    assert parsed.preset in config_lib.SIZES and parsed.seed >= 0


@pytest.mark.parametrize('seed', [-1, 2**32, 2**40, 10**30])
def test_a_seed_that_jax_would_cut_off_is_refused(seed):
    config = load('convtasnet_glu', 'demo')
    config.seed = seed
    with pytest.raises(ConfigError, match='seed = .* below 2..32'):
        validate.validate(config)


@pytest.mark.parametrize(
    'key, value',
    [
        ('filter_taps', 0),
        ('filter_taps', 10**9),
        ('bucket_seconds', float('nan')),
        ('bucket_seconds', float('inf')),
        ('bucket_seconds', 1e9),
        ('bucket_seconds', 0.0),
        ('batch_size', 0),
        ('batch_size', 100_000),
        ('max_examples', -1),
        ('listen_examples', -3),
        ('splits', ''),
        ('splits', 'test,,dev'),
    ],
)
def test_how_a_run_is_evaluated_is_checked_as_a_training_is(tmp_path, key, value):
    from fgsep_jax import main

    config = load('convtasnet_glu', 'demo')
    (tmp_path / 'config.json').write_text(config_lib.to_json(config))
    with pytest.raises(SystemExit) as error:
        main.main(
            ['--mode=evaluate', f'--workdir={tmp_path}', f'--config.evaluation.{key}={value}']
        )
    assert error.value.code == 2 and f'evaluation.{key} = ' in str(error.value.args)


@pytest.mark.parametrize('task', CONFIG)
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -1.0, 0.0, 1e308, 1e-308])
def test_numbers_that_cannot_be_are_refused_and_break_no_rule(task, value):
    """Every fraction of the configuration, one after the other."""
    content = _content(task)
    for path in damage.places(content):
        if isinstance(path and _at(content, path), float):
            config = config_lib.from_json(json.dumps(content))
            config[path[0]][path[1]] = value
            refused = contextlib.suppress if math.isfinite(value) else pytest.raises
            with refused(ConfigError):
                validate.validate(config)


def _at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def test_a_folder_that_cannot_be_entered_is_not_said_to_be_empty(tmp_path):
    (tmp_path / 'run').symlink_to('run')
    with pytest.raises(config_lib.ConfigError, match='run/config.json cannot be read: Too many'):
        run_folder.read_config(str(tmp_path / 'run'))
