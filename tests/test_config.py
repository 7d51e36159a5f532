import json
import os
import pathlib
import sys

import pytest

from fgsep_jax import config as config_lib, files, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.training import augment

FOLDER = pathlib.Path(__file__).parent.parent / 'configs'
CONFIGS = sorted(path for path in FOLDER.glob('*.py') if not path.stem.startswith('base_'))


def load(name, argument=''):
    """The configuration of configs/NAME.py:ARGUMENT."""
    return config_lib.load(f'{FOLDER / name}.py:{argument}')


def put(config, values):
    """Sets {'section.key': value}; of Conv-TasNet 'model.hidden' is 'model.separator.hidden'."""
    if config.task == 'speech':
        of_part = {f'model.{old}': f'model.{new}' for old, new in config_lib.MOVED.items()}
        values = {of_part.get(key, key): value for key, value in values.items()}
    config_lib.put(config, values)


def changed(argument='', name='convtasnet_glu', **values):
    config = load(name, argument)
    put(config, {key.replace('__', '.'): value for key, value in values.items()})
    return config


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize('preset', config_lib.SIZES)
def test_every_config_is_valid_and_named_after_its_file(path, preset):
    config = load(path.stem, preset)
    validate.validate(config)
    assert config.experiment == path.stem
    assert config.preset == preset
    assert path.read_text().startswith('"""') and 'Published' in path.read_text()


def test_the_paper_preset_is_the_paper():
    config = load('convtasnet')
    encoder, tcn = config.model.encoder, config.model.separator
    assert (encoder.basis, encoder.window, encoder.stride) == (512, 16, 8)
    assert (tcn.bottleneck, tcn.hidden, tcn.skip, tcn.kernel) == (128, 512, 128, 3)
    assert (tcn.blocks, tcn.repeats) == (8, 3)
    assert (config.data.batch_size, config.data.segment_seconds) == (16, 4.0)
    training = config.training
    assert (training.learning_rate, training.clip_norm, training.epochs) == (1e-3, 7.0, 100)
    assert (training.plateau_factor, training.plateau_epochs) == (0.5, 3)
    assert load('convtasnet', 'libritts_2mix').training.epochs == 60
    big = load('convtasnet_big').model
    assert (big.encoder.basis, big.separator.repeats) == (1024, 4)
    assert load('convtasnet_dilated').model.encoder.layers == 5


@pytest.mark.parametrize('preset', ['narrow', 'small', 'demo'])
def test_presets_keep_the_experiments_apart(preset):
    plain, big, prelu, dilated = (
        load(f'convtasnet{suffix}', preset).model for suffix in ('', '_big', '_prelu', '_dilated')
    )
    assert big.encoder.basis == 2 * plain.encoder.basis
    assert big.separator.repeats == plain.separator.repeats + 1
    assert 'layers' not in plain.encoder and dilated.encoder.layers == prelu.encoder.layers + 1 > 2


WIDTHS = {'basis', 'bottleneck', 'hidden', 'skip', 'weightor', 'channels', 'inner', 'projection'}
RECIPE = {'batch_size', 'segment_seconds', 'epochs', 'learning_rate', 'log_steps'}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_narrow_models_have_the_layers_of_the_paper(path):
    paper, narrow = (
        config_lib.files_lib.flatten(load(path.stem, preset).to_dict())
        for preset in ('paper', 'narrow')
    )
    changed = {key for key in paper if paper[key] != narrow[key]} - {'preset'}
    assert {key.rpartition('.')[2] for key in changed if key.startswith('model.')} <= {
        *WIDTHS,
        'remat',
    }
    assert {key.rpartition('.')[2] for key in changed if not key.startswith('model.')} <= RECIPE
    assert not any(key.startswith(('features.', 'loss.')) for key in changed)


def test_the_paper_preset_of_the_mask_models_is_the_paper():
    config = load('blstm_m2_plus')
    model, features = config.model, config.features
    assert (model.layers, model.hidden, model.projection) == (3, 300, 256)
    assert (model.auxiliary, model.auxiliary_hidden) == (True, 128)
    assert (features.window, features.hop, features.bands) == (2048, 512, 128)
    assert (features.pcen_smoothing, features.pcen_eps, features.pcen_gain) == (0.025, 1e-6, 0.98)
    assert (features.pcen_bias, features.pcen_power) == (2, 0.5)
    assert (config.data.sample_rate, config.data.segment_seconds) == (44100, 2.0)
    names = [
        (load(f'blstm_{m}').features.name, load(f'blstm_{m}').model.auxiliary)
        for m in ('m1', 'm1_plus', 'm2', 'm2_plus')
    ]
    assert names == [('log_mel', False), ('log_mel', True), ('pcen', False), ('pcen', True)]


def test_a_preset_outranks_what_a_data_set_lays_over():
    assert load('convtasnet', 'libritts_2mix,demo').training.epochs == 4


def test_arguments_are_typed_and_combined():
    config = load('convtasnet_glu', 'small,librimix,seed=3')
    assert (config.preset, config.data.name, config.seed) == ('small', 'librimix', 3)
    assert config == load('convtasnet_glu', 'seed=3,data=librimix,preset=small')


@pytest.mark.parametrize(
    'argument, part',
    [
        ('dmeo', "did you mean 'demo'?"),
        ('wsj0_3mix', 'wsj0_2mix'),
        ('seed=x', 'whole number'),
        ('demo,small', 'given twice'),
        ('epochs=3', 'Known presets: paper, narrow, small, demo'),
    ],
)
def test_unknown_arguments_name_the_known(argument, part):
    with pytest.raises(ConfigError, match=part.replace('?', r'\?')):
        load('convtasnet_glu', argument)


@pytest.mark.parametrize(
    'key, value, part',
    [
        ('model__stride', 7, 'model.encoder.window = 16: must be a multiple of stride = 7'),
        ('model__layers', 1, 'at least 2, the strided one counted'),
        ('model__causal', True, "model.norm = 'gln': sees the whole utterance"),
        ('model__kernel', 4, 'must be odd'),
        ('data__segment_seconds', 0.001, 'fewer than model.encoder.window'),
        ('data__segment_seconds', 0.5001, 'not a multiple of model.encoder.stride'),
        (
            'data__batch_size',
            3,
            'batch_size = 3: must be a multiple of the 2 devices; on 1, 3 it can',
        ),
        ('data__sources', 0, 'must be at least 1'),
        ('training__learning_rate', float('nan'), 'must be a finite number above 0'),
        ('loss__power_law_hop', 100, 'loss.power_law_hop = 100: must divide window = 256'),
    ],
)
def test_what_cannot_work_is_said_with_key_value_and_rule(key, value, part):
    config = changed('demo', **{key: value})
    with pytest.raises(ConfigError) as error:
        validate.validate(config, devices=2)
    assert part in str(error.value)


@pytest.mark.parametrize(
    'key, value, part',
    [
        ('features__name', 'pcn', "did you mean 'pcen'"),
        ('features__hop', 500, 'features.hop = 500: must divide window = 2048'),
        ('features__hop', 2048, 'into at least 3 parts'),
        ('features__high', 30000.0, 'half the sample rate, 22050 Hz'),
        ('features__low', 22050.0, 'must lie 1 Hz below the upper edge'),
        ('features__bands', 1024, 'below half of features.window = 2048'),
        ('features__pcen_bias', 0.0, 'must be a finite number above 0'),
        ('features__log_shift', float('nan'), 'must be a finite number'),
        ('features__pcen_smoothing', 1.5, 'must be in (0, 1]'),
        ('features__pcen_scale', 0.0, 'must be a finite number above 0'),
        ('loss__normalization', 'none', 'must be one of sum'),
        ('data__sources', 3, 'must be 2'),
        ('data__adaptation_seconds', 0.0, 'the auxiliary network reads an adaptation segment'),
        ('data__adaptation_seconds', 1e-6, 'holds no sample'),
        ('model__auxiliary', False, 'must be 0: only the auxiliary network'),
        ('evaluation__splits', 'c1,,c2', 'names of splits'),
        ('evaluation__listen_examples', 10**20, 'at most 1000000'),
        ('evaluation__max_examples', 10**20, 'at most 1000000000'),
    ],
)
def test_what_cannot_work_of_the_mask_models(key, value, part):
    with pytest.raises(ConfigError) as error:
        validate.validate(changed('demo', 'blstm_m2_plus', **{key: value}))
    assert part in str(error.value)


@pytest.mark.parametrize('value', [-1, 10**20])
def test_every_whole_number_has_bounds(value):
    seen = set()
    for path in CONFIGS:
        has = files.flatten(load(path.stem, 'demo').to_dict())
        for key in [key for key in has if type(has[key]) is int]:
            part = has.get(f'{key.rpartition(".")[0]}.name')
            if (key, part) not in seen:
                seen.add((key, part))
                with pytest.raises(ConfigError, match=f'{key} = {value}: '):
                    validate.validate(changed('demo', path.stem, **{key: value}))
    assert len(seen) > 50


def test_the_task_is_that_of_the_file():
    for task in ('speech', 'foregound'):
        config = changed('demo', 'blstm_m1')
        config.task = task
        with pytest.raises(ConfigError, match=f"task = '{task}'"):
            validate.validate(config)


def test_an_adaptation_segment_must_be_there():
    metadata = {'name': 'fgbg', 'sample_rate': 44100, 'sources': 2, 'adaptation': False}
    validate.check_data(load('blstm_m2'), metadata, 'd')
    with pytest.raises(ConfigError, match='have no adaptation segment'):
        validate.check_data(load('blstm_m2_plus'), metadata, 'd')
    validate.check_data(load('blstm_m2_plus'), {**metadata, 'adaptation': True}, 'd')


def test_a_speed_below_one_step_is_refused():
    with pytest.raises(ConfigError, match='data.speed = 0.0002: must be 0 or at least 1/4096'):
        validate.validate(changed(data__speed=0.0002))
    assert augment.STEPS == 4096


@pytest.mark.parametrize('key, value', [('remix', True), ('speed', 0.05)])
def test_speakers_are_not_taken_from_their_reverberation(key, value):
    config = load('convtasnet')
    splits = {'train': {'examples': 3}}
    about = dict(name='x', sample_rate=8000, sources=2, splits=splits, reverberation=True)
    validate.check_data(config, about, 'd', ['train'])
    config.data[key] = value
    with pytest.raises(config_lib.ConfigError, match=f'data.{key} = {value}: the noise of d'):
        validate.check_data(config, about, 'd', ['train'])
    validate.check_data(config, about, 'd')  # to be evaluated on


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        validate.validate(changed(model__mask='relo', data__short='cut'))
    assert 'model.separator.mask' in str(error.value) and 'data.short' in str(error.value)


@pytest.mark.parametrize('key, found', [('sample_rate', 16000), ('sources', 3), ('name', 'mine')])
def test_a_data_set_that_is_not_the_configured_one(key, found):
    metadata = {'name': 'librimix', 'sample_rate': 8000, 'sources': 2}
    config = load('convtasnet_glu', 'librimix')
    validate.check_data(config, metadata, 'd')
    with pytest.raises(ConfigError, match=f'data.{key}'):
        validate.check_data(config, {**metadata, key: found}, 'd')


def test_a_named_data_set_without_a_folder_names_its_job():
    with pytest.raises(ConfigError, match='python -m data_prep.wsj0_2mix'):
        config_lib.data_dir(load('convtasnet', 'wsj0_2mix'))
    assert config_lib.data_dir(load('convtasnet')) == config_lib.embedded_dir()
    assert config_lib.data_dir(load('blstm_m1', 'embedded_fgbg')).endswith('embedded_fgbg')


def test_json_round_trip():
    config = load('convtasnet_glu', 'demo')
    assert config_lib.from_json(config_lib.to_json(config)) == config
    config = load('blstm_m1_plus', 'small')
    assert config_lib.from_json(config_lib.to_json(config)) == config


def test_json_of_an_older_version_gets_the_defaults():
    config = load('blstm_m1', 'small')
    content = config.to_dict()
    del content['features']['log_scale'], content['data']['adaptation_seconds']
    assert config_lib.from_json(json.dumps(content)) == config


def test_another_size_keeps_what_was_changed():
    config = changed('seed=4', loss__power_law_weight=0.5, model__hidden=7)
    before = config_lib.to_json(config)
    demo = config_lib.resized(config, 'demo')
    assert (demo.preset, demo.model.encoder.basis, demo.model.encoder.layers, demo.seed) == (
        'demo',
        64,
        2,
        4,
    )
    assert (demo.loss.power_law_weight, demo.model.separator.hidden) == (0.5, 7)
    assert config_lib.to_json(config) == before
    libritts = load('convtasnet_glu', 'libritts_2mix')  # its epochs are the paper's size's alone
    assert (libritts.training.epochs, config_lib.resized(libritts, 'demo').training.epochs) == (
        60,
        4,
    )
    config = config_lib.base('speech', experiment='of no file')
    assert config_lib.resized(config, 'demo') is None


def test_a_file_elsewhere_imports_ours_and_its_neighbours_by_name(tmp_path):
    for folder, width in (('a', 5), ('b', 6)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'widths.py').write_text(f'WIDTH = {width}\n')
        (tmp_path / folder / 'mine.py').write_text(
            'import widths\nfrom base_speech import base\n\n\ndef get_config(argument=""):\n'
            '    config, size = base(argument, experiment="mine")\n'
            '    width = size(paper=widths.WIDTH, narrow=1, small=1, demo=1)\n'
            '    config.model.separator.hidden = width\n'
            '    return config\n'
        )
        config = config_lib.load(str(tmp_path / folder / 'mine.py'))
        demo = config_lib.resized(config, 'demo')
        assert (config.model.separator.hidden, demo.model.separator.hidden) == (width, 1)
    (tmp_path / 'b' / 'widths.py').write_text('WIDTH = size(paper=1)\n')
    with pytest.raises(ConfigError, match='mine.py, line 1: NameError'):
        config_lib.load(str(tmp_path / 'b' / 'mine.py'))


def test_a_value_is_chosen_for_every_size():
    chosen = config_lib.parse('demo', 'speech')
    assert chosen.size(paper=3, narrow=2, small=2, demo=1) == 1
    with pytest.raises(ConfigError, match=r'size\(paper, small, demo\): needs a value for each of'):
        chosen.size(paper=3, small=2, demo=1)


def test_a_pipe_among_the_configurations_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'mine.py').write_text('"""Mine."""\ndef get_config(): pass\n')
    os.mkfifo(tmp_path / 'configs' / 'pipe.py')
    monkeypatch.chdir(tmp_path)
    assert config_lib.files() == {'configs/mine.py': 'Mine.'}


def test_a_file_leaves_the_places_of_modules_as_they_were(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    before = [*sys.path]
    config_lib.load(f'{FOLDER}/convtasnet.py')
    assert sys.path == before


def test_a_file_that_there_is_not_is_answered_with_names_alone():
    with pytest.raises(ConfigError, match='no file mine/x9.py; the configurations are blstm_m1, '):
        config_lib.load('mine/x9.py:demo')
