"""Parts of one's own: registered by a file outside, trained, described, evaluated, used."""

import json
import pathlib
import re
import sys
import types

import numpy as np
import pytest

from fgsep_jax import config as config_lib, describe, main, registry, rules, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.interop import model_file
from fgsep_jax.losses.si_snr import LOSSES
from fgsep_jax.models import conv_tasnet
from fgsep_jax.models.encoders import ENCODERS
from fgsep_jax.models.separators import SEPARATORS
from fgsep_jax.separation.model import about, load
from fgsep_jax.tasks import check, make_task
from fgsep_jax.training import run_folder
import synthetic
from test_config import load as load_config

EXTEND = pathlib.Path(__file__).parents[1] / 'docs' / 'extend.md'
PARTS, CONFIG = re.findall(r'```python\n(.*?)```', EXTEND.read_text(), flags=re.DOTALL)


@pytest.fixture
def mine(tmp_path):
    """A configuration's file outside; what it registers goes with the test."""
    (tmp_path / 'parts.py').write_text(PARTS)
    (tmp_path / 'mine.py').write_text(CONFIG)
    yield str(tmp_path / 'mine.py')
    forget()


def forget():
    """As a new process would be, without what a configuration registered."""
    for parts, name in ((ENCODERS, 'rectified'), (SEPARATORS, 'framewise'), (LOSSES, 'l1')):
        parts.pop(name, None)
    sys.modules.pop('parts', None)
    registry._load.cache_clear()


@pytest.mark.slow
def test_parts_of_ones_own_are_trained_and_used(mine, tmp_path, monkeypatch, capsys):
    data = synthetic.write(tmp_path / 'tones')
    run = str(tmp_path / 'run')
    tiny_keys = [
        *('data.batch_size=4', 'data.segment_seconds=0.1', 'training.epochs=3'),
        *('training.log_steps=1', 'training.audio_examples=0', 'evaluation.listen_examples=0'),
    ]
    flags = [f'--config.{key}' for key in (f'data.dir={data}', *tiny_keys)]
    # Keys that the file left out have their part's values, and are found like any other.
    flags += ['--config.model.separator.width=7', '--config.model.encoder.stride=4']
    main.main([f'--config={mine}:demo', f'--workdir={run}', *flags])
    said = capsys.readouterr().out
    assert 'MACs' in said and 'l1' in said
    lines = describe.describe(run_folder.read_config(run))
    assert any('not said by encoder rectified and separator framewise' in line for line in lines)
    assert any(line.split() == ['padding', 'changes', 'nothing'] for line in lines)
    parts = str(tmp_path / 'parts.py')
    assert run_folder.modules(run) == [parts]
    main.main(['--mode=train', f'--config={mine}:demo', f'--workdir={run}', *flags])  # is finished
    said = capsys.readouterr().out
    assert f' FGSEP_MODULES={parts} python -m fgsep_jax.main --mode=evaluate' in said

    forget()
    both = "encoder.name = 'rectified'.*separator.name = 'framewise'"
    with pytest.raises(ConfigError, match=f'{both}.*FGSEP_MODULES={parts},'):
        load(run)
    # What was only trained by is not needed any more.
    (tmp_path / 'parts.py').write_text(PARTS.replace("LOSSES['l1']", 'l1'))
    monkeypatch.setenv('FGSEP_MODULES', parts)
    registry._load.cache_clear()
    model = load(run)
    assert model.config.model.separator.width == 7 and model.config.loss.scale == 10.0
    signal_T = np.random.default_rng(0).standard_normal(3001).astype(np.float32)
    parts = model.separate(signal_T, model.sample_rate)
    assert list(parts) == list(model.sources) and {p.shape for p in parts.values()} == {(3001,)}
    assert model.config.model.encoder.window == 16

    file = str(tmp_path / 'm.safetensors')
    model_file.write(file, model.config, model.parameters, sources=model.sources)
    forget()
    monkeypatch.delenv('FGSEP_MODULES')
    for opened in (load, about):
        with pytest.raises(ConfigError, match=f'^{file}: model.{both}.*FGSEP_MODULES=parts.py,'):
            opened(file)


@pytest.mark.parametrize(
    'change, words',
    [
        (('Dense(self.basis', "Dense('12'"), 'parts.py, line .*: TypeError'),
        (
            ('*= valid_BK[..., None]', '= frame_BKW[::2]'),
            'the decoder gave .2, 800. of 4 codes',
        ),
        (('jnp.split(', 'jnp.nothing('), "line .*: AttributeError: .*'nothing'"),
        (
            ('samples=samples)', 'samples=samples - 3)'),
            'the decoder gave .2, 3997. of 2 codes for 4000',
        ),
        (
            (
                'return Encoder(window, stride, basis), Decoder(window, stride)',
                'return Encoder(window, stride, basis)',
            ),
            'encoder: its function must give a pair of modules',
        ),
        (('return -scale * (', 'return -scal * ('), "line .*: NameError: .*'scal'"),
        (('.mean(axis=-1)', '.mean()'), r'loss l1 gave \(\) of signals .2, 800.: must be .2,.,'),
        (('.mean(axis=-1)', ''), r'loss l1 gave .2, 800. of signals .2, 800.: must be .2,.'),
        (('valid=None, scale', 'scale'), "loss.name = 'l1': must take `valid`, which is False"),
        (
            ("name='basis')(frame_BKW))", "name='basis')(frame_BKW))[:, 1:]"),
            'encoder rectified gave 501 frames of 4,000 samples: 502 with framing = padded, see',
        ),
        (
            ("name='basis')(frame_BKW))", "name='basis')(frame_BKW))[0]"),
            r'encoder rectified gave shape .502, 64. of mixtures .1, 4000.: must be .1, 502, width',
        ),
        (
            ('jnp.stack(jnp.split(mask_BKD, self.sources, axis=-1), axis=1)', 'mask_BKD'),
            r'separator framewise gave masks of shape .1, 502, 128.: must be .1, 2, 502, 64.',
        ),
        (('self.width', 'self.wdith'), 'line .*: AttributeError: .*"wdith"'),
    ],
)
def test_a_part_that_does_not_work_is_said_before_anything_is_written(
    mine, tmp_path, capsys, change, words
):
    data = synthetic.write(tmp_path / 'tones')
    (tmp_path / 'parts.py').write_text(PARTS.replace(*change))
    flags = [f'--config.data.dir={data}', '--config.data.batch_size=4']
    flags += ['--config.data.segment_seconds=0.1']
    for mode in ('train', 'describe'):
        run = [f'--workdir={tmp_path / "run"}'] if mode == 'train' else []
        with pytest.raises(SystemExit) as left:
            main.main([f'--config={mine}:demo', f'--mode={mode}', *flags, *run])
        assert left.value.code == 2 and not (tmp_path / 'run').exists()
        text = capsys.readouterr().err
        assert re.search(words, text) and text.count('\n') == 1


@pytest.mark.parametrize(
    'part, stated, words',
    [
        ('encoder', {'reach': (1, 1)}, 'encoder e: its `reach` is .1, 1.: must be a whole number'),
        ('separator', {'reach': 1.5}, 'separator s: its `reach` is 1.5: must be a whole number'),
        ('encoder', {'multiply_accumulates': 3}, r'encoder e: multiply_accumulates.. must be a m'),
        (
            'separator',
            {'multiply_accumulates': lambda basis: None},
            'separator s: multiply_accumulates.basis. gave None, must be a number',
        ),
    ],
)
def test_what_a_part_states_of_itself_has_the_right_type(part, stated, words):
    made = {'window': 16, 'stride': 8, 'basis': 4, 'reach': 0}
    made['multiply_accumulates'] = lambda *basis: 1
    parts = {name: types.SimpleNamespace(**made) for name in ('encoder', 'separator')}
    vars(parts[part]).update(stated)
    model = types.SimpleNamespace(**parts, sources=2, called=('encoder e', 'separator s'))
    with pytest.raises(ConfigError, match=words):
        conv_tasnet.receptive_field(model)
        conv_tasnet.multiply_accumulates(model, sample_rate=8000)


@pytest.mark.parametrize(
    'content, words',
    [
        ('raise RuntimeError("no\\nluck")', 'RuntimeError: no luck'),
        ('import nothing_of_this_name', 'ModuleNotFoundError'),
        (None, 'No such file'),
        ('x = (', 'SyntaxError'),
    ],
)
def test_a_file_of_parts_that_cannot_be_run_is_said(tmp_path, monkeypatch, content, words):
    path = tmp_path / 'parts.py'
    if content:
        path.write_text(content)
    monkeypatch.setenv('FGSEP_MODULES', str(path))
    registry._load.cache_clear()
    config = load_config('convtasnet_glu', 'demo')
    config.model.encoder.name = 'rectified'
    with pytest.raises(ConfigError, match=f'FGSEP_MODULES = {path}: .*{words}') as error:
        validate.validate(config)
    assert '\n' not in str(error.value)
    forget()


@pytest.mark.parametrize('path, parts', [
    ('model.encoder', ENCODERS), ('model.separator', SEPARATORS), ('loss', LOSSES)
])  # fmt: skip
def test_the_base_says_every_key_of_its_parts(path, parts):
    """And its values are those of the paper, as the parts have them."""
    config = load_config('convtasnet')
    section = config
    for name in path.split('.'):
        section = section[name]
    both = {key for key, value in config.model.items() if not hasattr(value, 'keys')}
    keywords = registry.keywords(
        parts[section.name], both if 'model' in path else ['valid', 'sample_rate']
    )
    of_the_task = ('power_law_', 'clip_db')  # what it adds to a loss, and where it ends one
    own = {key: value for key, value in section.items() if not key.startswith(of_the_task)}
    assert own == {'name': section.name, **keywords}


def test_another_part_is_chosen_on_the_command_line():
    config = load_config('convtasnet', 'demo')
    config_lib.override(
        config, {'model.encoder.layers': '3', 'model.encoder.name': 'glu', 'loss.name': 'snr'}
    )
    assert (config.model.encoder.layers, config.model.encoder.basis) == (3, 64)
    assert config.loss.name == 'snr' and config.loss.power_law_hop == 64
    config_lib.override(config, {'model.encoder.name': 'linear'})
    validate.validate(config)
    assert 'layers' not in config.model.encoder
    with pytest.raises(ConfigError, match="encoder.name = 'gul': must be .* did you mean 'glu'"):
        config_lib.override(config, {'model.encoder.name': 'gul'})


def test_a_section_has_the_keys_of_its_part_alone():
    with pytest.raises(rules.RuleError, match='layers: linear has no such key'):
        registry.make(ENCODERS, {'name': 'linear', 'layers': 2}, {})
    encoder, _ = registry.make(
        ENCODERS, {'name': 'glu', 'layers': 2}, {'norm': 'cln', 'nothing': 1}
    )
    assert encoder.norm == 'cln'


def test_a_configuration_of_before_its_parts_had_sections_is_read():
    """Flat keys of Conv-TasNet, as runs and model files of earlier versions have them."""
    for name in ('convtasnet', 'convtasnet_dilated', 'convtasnet_glu', 'convtasnet_causal'):
        config = load_config(name, 'small')
        content = config.to_dict()
        model = content['model']
        old = {'encoder': model['encoder'].pop('name'), **model.pop('encoder')}
        old |= {k: v for k, v in model.pop('separator').items() if k != 'name'}
        del old['strided_bias'], old['spectrum']  # came later
        old['encoder_activation'] = 'relu' if old.pop('rectify') else 'none'
        content['model'] = {'layers': 1, 'dilated': False, 'bias': True, **model, **old}
        assert config_lib.from_json(json.dumps(content)) == config
        assert config_lib.upgraded(content)['model'] == config.model.to_dict()
    content['model'] = {'encoder': 'prelu', 'encoder_activation': 'relu', 'layers': 3}
    model = config_lib.from_json(json.dumps(content)).model
    assert (model.encoder.name, model.encoder.rectify, model.separator.hidden) == (
        'prelu', True, 512
    )  # fmt: skip


def test_a_name_stays_what_it_is(mine, tmp_path, monkeypatch):
    """Else a run of it would be another model wherever it is opened without the file."""
    config_lib.load(f'{mine}:demo')
    config_lib.load(f'{mine}:demo')  # run again, the same parts
    for parts in (ENCODERS, SEPARATORS, LOSSES):
        with pytest.raises(ValueError, match='is registered already: give this part another name'):
            parts[next(iter(parts))] = lambda: None
    (tmp_path / 'over.py').write_text(
        'from fgsep_jax.models.encoders import ENCODERS\nENCODERS["linear"] = print\n'
    )
    monkeypatch.setenv('FGSEP_MODULES', str(tmp_path / 'over.py'))
    registry._load.cache_clear()
    with pytest.raises(ConfigError, match="over.py: ValueError: 'linear' is registered already"):
        validate.validate(load_config('convtasnet', 'demo'))
    registry._load.cache_clear()


def test_a_trained_model_needs_no_loss():
    config = load_config('convtasnet', 'demo')
    with config.unlocked():
        config.loss = {**config.loss, 'name': 'sd_sdr', 'own': 1.5}
    for_training = config.copy_and_resolve_references()
    validate.validate(config, trained=True)
    assert config.loss.own == 1.5 and make_task(config).model
    with pytest.raises(ConfigError, match="loss.name = 'sd_sdr': must be one of si_snr, snr"):
        validate.validate(for_training)
    with pytest.raises(ConfigError, match="loss.name = 'sd_sdr': must be one of si_snr, snr"):
        check(config)


def test_a_loss_that_takes_the_sample_rate_has_the_data_sets(monkeypatch):
    def spectral(estimate, reference, *, valid=None, sample_rate=8000, bands=4):
        given.append(sample_rate)
        return -abs(estimate - reference).mean(axis=-1)

    given = []
    monkeypatch.setattr(registry, '_load', lambda: None)
    monkeypatch.setitem(LOSSES, 'spectral', spectral)
    config = load_config('convtasnet', 'demo')
    config_lib.override(config, {'loss.name': 'spectral', 'data.sample_rate': '16000'})
    assert config.loss.bands == 4 and 'sample_rate' not in config.loss
    check(config)
    assert {*given} == {16000}


@pytest.mark.parametrize('first', ['', 'from base_speech import base\n'])
def test_a_file_of_parts_imports_what_lies_beside_it(tmp_path, monkeypatch, first):
    (tmp_path / 'of_parts.py').write_text(PARTS)
    (tmp_path / 'parts.py').write_text(f'{first}import of_parts\n')
    monkeypatch.setenv('FGSEP_MODULES', str(tmp_path / 'parts.py'))
    registry._load.cache_clear()
    assert registry.find(ENCODERS, 'rectified').__module__ == 'of_parts'
    assert ENCODERS.files['rectified'] == str(tmp_path / 'of_parts.py')
    assert str(tmp_path) not in sys.path and 'of_parts' not in sys.modules
    forget()


def test_a_key_that_a_part_has_not_is_answered_with_those_it_has():
    config = load_config('convtasnet', 'demo')
    with pytest.raises(
        ConfigError, match='encoder.layers: linear has basis, decoder_bias, framing,'
    ):
        config_lib.override(config, {'model.encoder.layers': '2'})
    with pytest.raises(ConfigError, match="separator.hiden; did you mean 'hidden'.: tcn has"):
        config_lib.override(config, {'model.separator.hiden': '2'})


def test_a_file_of_parts_may_be_called_like_another_module(mine, tmp_path, monkeypatch):
    (tmp_path / 'parts.py').rename(tmp_path / 'calendar.py')
    monkeypatch.setenv('FGSEP_MODULES', str(tmp_path / 'calendar.py'))
    registry._load.cache_clear()
    assert registry.find(ENCODERS, 'rectified').__module__ == 'calendar'
    import calendar

    assert hasattr(calendar, 'monthrange')
