"""Model files: what was written is read, and whatever does not fit is refused by name."""

import json
import os
import tempfile

from hypothesis import given, settings, strategies as st
import jax
import numpy as np
import pytest
import safetensors.numpy

import damage
import fgsep_jax
from fgsep_jax import config as config_lib, files
from fgsep_jax.config import ConfigError
from fgsep_jax.interop import model_file
from fgsep_jax.separation import model as model_lib
from fgsep_jax.tasks import make_task
import tiny

SOURCES = {'convtasnet_glu': ('low', 'high'), 'blstm_m2': ('foreground', 'background')}


def weights(config):
    """Random ones, made without compiling the initialiser."""
    shapes = jax.eval_shape(make_task(config).init, jax.random.key(0))
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: random.uniform(-0.5, 0.5, x.shape).astype(x.dtype), shapes)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """(path, ConfigDict, weights) of a model file."""
    config = tiny.config('')
    path, parameters = str(tmp_path_factory.mktemp('m') / 'two.safetensors'), weights(config)
    model_file.write(
        path, config, parameters, sources=SOURCES['convtasnet_glu'], step=7, origin='tones',
        licence='CC0', scores={'tones-test': {'si_snri': 3.25}},
    )  # fmt: skip
    return path, config, parameters


@pytest.mark.parametrize('name', SOURCES)
def test_there_and_back(name, tmp_path):
    config = tiny.config('', name)
    path, parameters = tmp_path / 'm.safetensors', weights(config)
    model_file.write(path, config, parameters, sources=SOURCES[name], step=3)
    about, again = model_file.read(path)
    jax.tree.map(np.testing.assert_array_equal, parameters, again)
    assert config_lib.to_json(about.config) == config_lib.to_json(config)
    assert (about.sources, about.step) == (SOURCES[name], 3)
    assert os.listdir(tmp_path) == ['m.safetensors']


def test_the_header_says_all_without_the_weights(whole):
    path, config, _ = whole
    about = model_file.read_about(path)
    assert about.config.model == config.model
    assert about[1:6] == (
        ('low', 'high'), 7, 'tones', 'CC0', {'tones-test': {'si_snri': 3.25}}
    )  # fmt: skip


def test_a_model_file_separates_as_its_run_would(whole):
    path, config, parameters = whole
    signal_T = np.random.default_rng(0).uniform(-0.5, 0.5, 800).astype(np.float32)
    made = fgsep_jax.load(path).separate(signal_T, 8000, segment=0)
    told = model_lib.about(path)
    assert tuple(made) == told.sources == ('low', 'high')
    assert (told.name, told.sample_rate) == ('two', 8000)
    run = model_lib.Separator(config, parameters).separate(signal_T, 8000, segment=0)
    for mine, theirs in zip(made.values(), run.values()):
        np.testing.assert_array_equal(mine, theirs)


def test_another_model_has_another_identity(whole, tmp_path):
    path, config, parameters = whole
    other = tmp_path / 'two.safetensors'
    parameters = jax.tree.map(lambda x: x + 1, parameters)
    model_file.write(other, config, parameters, sources=('low', 'high'), step=7)
    assert model_lib.about(path).identity != model_lib.about(other).identity


def changed(path, to, *, tensors=None, drop=('digest',), **header):
    """Writes a copy of a model file in which some things are others, or `drop`ped."""
    with safetensors.safe_open(path, 'numpy') as file:
        metadata = file.metadata() | header
        kept = {name: file.get_tensor(name) for name in file.keys() if name not in drop}  # noqa: SIM118
    metadata = {key: value for key, value in metadata.items() if key not in drop}
    to.write_bytes(safetensors.numpy.save(kept | (tensors or {}), metadata))
    return to


ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(drop=['decoder/kernel']), 'decoder/kernel is missing'),
        (dict(drop=['decoder/kernel'], tensors={'decoder/core': ONES}), 'decoder/kernel is miss'),
        (
            dict(tensors={'encoder/kernel': ONES}),
            r'encoder/kernel is float32\[2, 3\], must be float32\[16, 8\]',
        ),
        (
            dict(tensors={'separator/prelu/slope': np.ones((), np.float16)}),
            r'separator/prelu/slope is float16\[\], must be float32\[\]',
        ),
        (dict(tensors={'separator/extra': ONES}), 'the model has no separator/extra'),
        (
            dict(tensors={'separator/prelu/slope': np.array(np.nan, np.float32)}),
            'separator/prelu/slope holds nan or inf',
        ),
        (dict(sources='["a"]'), 'must be 2 different names'),
        (dict(sources='["a", "a"]'), 'must be 2 different names'),
        (dict(sources='["a", 3]'), 'must be 2 different names'),
        (dict(sources='["a", "b"'), r'sources = \["a", "b": must be 2 different names'),
        (dict(sources='a'), 'sources = a: must be 2 different names'),
        (dict(sample_rate='16000'), 'sample_rate = 16000: must be 8000, as its configuration says'),
        (dict(sample_rate='x'), 'sample_rate = x: must be 8000'),
        (dict(step='-1'), 'step = -1: must be a whole number, 0 or more'),
        (dict(step='true'), 'step = true: must be a whole number'),
        (dict(step='x'), 'step = x: must be a whole number'),
        (dict(step='1, "scores": {}'), 'step = 1, "scores": {}: must be a whole number'),
        (dict(scores='[]'), r'scores = \[\]: must be a JSON object'),
        (dict(scores='null'), 'scores = null: must be a JSON object'),
        (dict(scores='x'), 'scores = x: must be a JSON object'),
        (dict(speakers='[3]'), r'speakers = \[3\]: must be a JSON list of texts'),
        (dict(speakers='x'), 'speakers = x: must be a JSON list of texts'),
        (dict(format_version='2'), "has format '2'"),
        (dict(format='pt'), 'import_model'),
        (dict(drop=['config']), 'its header has no config'),
        (dict(config='{}'), 'task is None'),
    ],
)
def test_what_does_not_fit_is_named(whole, tmp_path, change, message):
    drop = change.pop('drop', [])
    for with_digest in ((), ('digest',)):
        path = changed(whole[0], tmp_path / 'x.safetensors', drop=(*drop, *with_digest), **change)
        with pytest.raises(ConfigError, match=message) as error:
            model_lib.load(path)
        assert '\n' not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize('kind, said', [('F16', 'float16'), ('BF16', 'bfloat16'), ('F8_E5M2', '')])
def test_a_tensor_of_a_kind_that_numpy_has_not_is_named(whole, tmp_path, kind, said):
    with open(whole[0], 'rb') as file:
        data = file.read()
    count = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + count])
    name, size = 'encoder/kernel', {'F8_E5M2': 1}.get(kind, 2)
    about = header[name]
    start, stop = about['data_offsets']
    about |= {'dtype': kind, 'shape': [(stop - start) // size]}
    text = json.dumps(header).encode()
    path = tmp_path / 'x.safetensors'
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data[8 + count :])
    with pytest.raises(ConfigError, match=rf'encoder/kernel is {said}.*, must be float32\[16, 8'):
        model_file.read(path)


def test_another_number_is_found_by_the_digest(whole, tmp_path):
    slope = {'separator/prelu/slope': np.array(0.5, np.float32)}
    path = changed(whole[0], tmp_path / 'x.safetensors', tensors=slope, drop=())
    with pytest.raises(ConfigError, match='is damaged: its digest does not match'):
        model_file.read(path)


@pytest.mark.parametrize(
    'key, value',
    [('blocks', 10**9), ('stride', 0), ('kernel', 2), ('hidden', 0), ('mask', 'x'), ('basis', -1)],
)
def test_a_configuration_of_no_model(whole, tmp_path, key, value):
    content = whole[1].to_dict()
    part = 'encoder' if key in ('stride', 'basis') else 'separator'
    content['model'][part][key] = value
    path = changed(whole[0], tmp_path / 'x.safetensors', config=json.dumps(content))
    with pytest.raises(ConfigError, match=rf'{key}|configuration'):
        model_file.read(path)


def test_keys_that_came_later_get_their_default(whole, tmp_path):
    content = whole[1].to_dict()
    del content['model']['separator']['mask'], content['training']['gates']
    about, _ = model_file.read(
        changed(whole[0], tmp_path / 'x.safetensors', config=json.dumps(content))
    )
    assert about.config.model.separator.mask == 'sigmoid'


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(sources=('a',)), '2 different names'),
        (dict(sources=('a', 'b'), path='m.npz'), 'ends in .safetensors'),
        (dict(sources=('a', 'b'), path='gone/m.safetensors'), 'there is no folder .*gone'),
        (dict(sources=('a', 'b'), origin='\udcff'), r'origin = \\xff: must be UTF-8; --origin='),
    ],
)
def test_what_cannot_be_written(whole, tmp_path, options, message):
    path = str(tmp_path / options.pop('path', 'm.safetensors'))
    with pytest.raises(ConfigError, match=message):
        model_file.write(path, whole[1], whole[2], **options)
    assert not os.listdir(tmp_path)


def test_weights_of_another_model_are_not_written(whole, tmp_path):
    other = tiny.config('', **{'model.hidden': 9})
    with pytest.raises(ConfigError, match='does not fit its configuration: .*separator/block_0'):
        model_file.write(tmp_path / 'm.safetensors', other, whole[2], sources=('a', 'b'))


@pytest.mark.parametrize('kind', ['nothing', 'a wav', 'a folder'])
def test_what_is_no_model_file(tmp_path, kind):
    path = tmp_path / ('m.safetensors' if kind == 'nothing' else 'm.pth')
    if kind == 'a wav':
        path.write_bytes(b'RIFF....WAVE' * 9)
    elif kind == 'a folder':
        path.mkdir()
    words = {'nothing': 'no such file', 'a wav': 'import_model', 'a folder': 'holds no run'}[kind]
    for use in (model_lib.load, model_lib.about):
        with pytest.raises(ConfigError, match=words):
            use(path)


def test_a_header_of_any_size_is_not_read(whole, monkeypatch):
    monkeypatch.setattr(files, 'MOST_BYTES', 500)
    for read in (model_file.read, model_file.read_about):
        with pytest.raises(ConfigError, match='a header of [0-9,]+ bytes') as error:
            read(whole[0])
        assert '\n' not in str(error.value)


@settings(deadline=None, max_examples=150)
@given(draw=st.data())
def test_any_damage_is_found(whole, draw):
    with open(whole[0], 'rb') as file:
        data = file.read()
    broken = draw.draw(damage.damaged_bytes(data))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'm.safetensors')
        with open(path, 'wb') as file:
            file.write(broken)
        try:
            about, parameters = model_file.read(path)
        except ConfigError as error:
            assert '\n' not in str(error)
            return
    jax.tree.map(np.testing.assert_array_equal, parameters, whole[2])
    assert about.sources == ('low', 'high') and about.step == 7
