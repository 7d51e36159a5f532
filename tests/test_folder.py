"""A folder of recordings becomes a data set, a configuration and a trained model."""

import dataclasses
import functools
import json
import os
import pathlib
import shlex
import shutil
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep import pairing, recordings, scenes, survey
from data_prep.readers import folder as reader, sounds as banks
from data_prep.recordings import Recording
from fgsep_jax import config as config_lib, folder, main, separate, validate
from fgsep_jax.data import pipeline
from fgsep_jax.dsp import mel
from fgsep_jax.report import __main__ as report
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, cost
from fgsep_jax.training.mesh import make_mesh
from fgsep_jax.training.state import init_state
from fgsep_jax.training.step import jit_train_step

sys.path.insert(0, str(pathlib.Path(__file__).parent / 'data_prep'))
import sound_trees
import trees


def speech(*people, rate=8000):
    """A survey of people, given as the seconds of the recordings of each."""
    entries = [
        {'role': '', 'name': f'p{i}', 'recording': f'p{i}-{j}', 'seconds': float(s), 'rate': rate}
        for i, lengths in enumerate(people)
        for j, s in enumerate(lengths)
    ]
    return {'kind': 'speech', 'recordings': entries, **nothing()}


def sounds(rate=44100, **classes):
    """A survey of sounds: foreground_NAME or background_NAME = recordings."""
    entries = [
        {'role': role, 'name': name, 'recording': f'{key}{i}', 'seconds': 2.0, 'rate': rate}
        for key, count in classes.items()
        for role, _, name in [key.partition('_')]
        for i in range(count)
    ]
    return {'kind': 'sounds', 'recordings': entries, **nothing()}


def nothing():
    return {'unusable': {}, 'left_out': {}, 'copies': 0, 'elsewhere': 0, 'doubts': [], 'digest': ''}


def flags_of(words):
    return dict(word.removeprefix('--').partition('=')[::2] for word in words)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    'people, least',
    [
        ([[12.0], [12.0]], 2),
        ([[3.0] * 4] * 5, 80),  # two recordings of each, four others, on either side
        ([[600.0], [3.0] * 3, [2.0]], 200),
        ([[9.0]] * 6, 5),
        ([[15.0] * 10] * 7, 500),
        ([[3600.0], *[[2.0, 5.0]] * 8], 500),
        ([[6.0] * 20] * 30, 500),
    ],
)
def test_as_many_mixtures_as_there_are_pairs_are_made(people, least):
    found = speech(*people)
    folder.check_enough(found)
    name, words = folder.job(found, rate=8000, mixtures=500)
    flags = flags_of(words)
    assert name == 'folder_2mix' and flags['sample_rate'] == '8000'
    splits, shares = {}, None
    if flags.get('split_by') == 'recording':
        shares = {s: float(flags[f'{s}_fraction']) for s in ('validation', 'test')}
        shares['train'] = 1 - sum(shares.values())
    else:
        names = {one['name'] for one in found['recordings']}
        splits = reader.split_speakers(names, validation=0.1, test=0.1)
    inspected = [
        Recording(
            one['recording'],
            one['name'],
            '',
            splits.get(one['name'], 'train'),
            samples=round(8000 * one['seconds']),
        )
        for one in found['recordings']
    ]
    pairs = {s: flags.get(f'{s}_pairs') for s in ('train', 'validation', 'test')}
    pairs = {split: count and int(count) for split, count in pairs.items()}
    specs = pairing.random_pairs(
        inspected,
        sample_rate=8000,
        pairs=pairs,
        shares=shares,
        max_seconds=float(flags['max_seconds']),
        fewer='fewer' in flags,
    )
    counts = {s: sum(spec.split == s for spec in specs) for s in pairs}
    assert all(0 < counts[s] <= pairs[s] for s in pairs)
    assert counts['train'] >= least


@pytest.mark.parametrize(
    'found, subsets',
    [
        (dict(foreground_dog=3, background_rain=3), 'c1'),
        (dict(foreground_dog=1, foreground_cat=2, background_rain=9), 'c1'),
        (dict(foreground_others=1, foreground_cat=2, background_rain=4, background_fan=1), 'c1'),
        ({**{f'foreground_f{i}': 3 + i for i in range(8)}, 'background_rain': 5}, 'c1,c3'),
        ({f'{r}_{r[0]}{i}': 4 for r in banks.ROLES for i in range(6)}, 'c1,c2,c3,c4'),
    ],
)
def test_a_class_table_is_made_of_which_its_subsets_can_be(tmp_path, found, subsets):
    found = sounds(**found)
    folder.check_enough(found)
    text, made = folder.class_table(found)
    assert ','.join(made) == subsets
    (tmp_path / 'classes.csv').write_text(text)
    classes = banks.read_classes(str(tmp_path / 'classes.csv'))
    bank = [
        recordings.Recording(
            f'{one["role"]}{i}', one['recording'], '', '', classes[one['name']].name,
            role=one['role'], seen=classes[one['name']].seen,
        )
        for i, one in enumerate(found['recordings'])
    ]  # fmt: skip
    name, words = folder.job(found, rate=44100, mixtures=20)
    flags = flags_of(words)
    assert name == 'fgbg' and flags['subsets'] == subsets
    assert flags['max_clipped'] == '0.0001'  # no clipped target, which the job would keep
    bank, _ = banks.split(bank)
    counts = {'train': 20, 'validation': 2, **dict.fromkeys(made, 2)}
    specs = scenes.scenes(
        [dataclasses.replace(one, samples=88200) for one in bank], sample_rate=44100, counts=counts
    )
    assert {spec.split for spec in specs} == set(counts)


@pytest.mark.parametrize(
    'found, said',
    [
        (speech([100.0] * 9), 'found p0 (9 recordings, 15.0 minutes): two people are needed'),
        (speech([5.0], [60.0]), 'two people are needed, a folder each, with 3 recordings or 12 s'),
        (sounds(foreground_dog=9), '0 recordings in background/CLASS/*: 3 at least'),
        (sounds(foreground_dog=2, background_rain=5), '2 recordings in foreground/CLASS/*'),
        (
            sounds(background_c=4) | {'left_out': {'foreground/c': 4}},
            'test; 4 files left out: foreground/c is in both roles, and a class has one',
        ),
        (
            folder.at_rate(sounds(foreground_dog=3, rate=8000), 16000),
            'test; 3 files left out: below 16000 Hz',
        ),
        (speech([9.0]) | {'unusable': {'damaged': 2}}, 'of each; 2 files left out: damaged'),
    ],
)
def test_too_little_is_refused(found, said):
    with pytest.raises(config_lib.ConfigError) as refused:
        folder.check_enough(found)
    assert said in str(refused.value) and '0 files' not in str(refused.value)


@pytest.mark.parametrize(
    'rates, kind, rate',
    [
        ([48000] * 9 + [22050], 'sounds', 44100),
        ([48000] * 8 + [22050] * 2, 'sounds', 22050),
        ([44100] * 6 + [4000] * 4, 'sounds', 44100),
        ([11025, 11025], 'sounds', 11025),
        ([48000] * 9 + [8000], 'speech', 8000),
        ([4000] * 3, 'sounds', None),
    ],
)
def test_the_rate_is_the_highest_that_most_recordings_reach(rates, kind, rate):
    found = {'kind': kind, 'recordings': [{'rate': one} for one in rates]}
    if rate is None:
        with pytest.raises(config_lib.ConfigError, match='less than 8000 Hz'):
            folder.rate_of(found)
    else:
        assert folder.rate_of(found) == rate


def test_what_is_too_little_is_said():
    lines = '\n'.join(folder.describe(speech([60.0], [60.0]), 8000))
    assert 'found              2 people, 2 recordings, 2.0 minutes; 8000 Hz' in lines
    assert 'taken for          voices, a folder each (p0, p1); of sounds make' in lines
    assert 'scores say nothing about voices that were not trained on' in lines
    assert '2.0 minutes of speech are little' in lines
    lines = '\n'.join(folder.describe(speech(*[[3600.0]] * 40), 8000))
    assert '40.0 hours' in lines and 'note' not in lines
    assert 'a folder each (p0, p1, p10, p11, ...);' in lines
    doubted = {**speech(*[[3600.0]] * 40), 'doubts': ['each speaker is a folder of folders']}
    assert 'note: each speaker is a folder of folders' in folder.describe(doubted, 8000)
    found = sounds(foreground_dog=4, foreground_cat=1, background_rain=5)
    found |= {'unusable': {'needs ffmpeg': 2}, 'elsewhere': 1}
    lines = '\n'.join(folder.describe(found, 44100))
    assert 'foreground: 2 classes, 5 recordings, 10 seconds; background: 1 class, 5' in lines
    assert 'of foreground cat there are fewer than 3 recordings, too few' in lines
    assert 'fewer than 6 foreground and background classes of 3 recordings: none is' in lines
    assert '10 sounds are few' in lines
    assert '2 files left out: needs ffmpeg' in lines and '1 file left out: outside the' in lines


@pytest.mark.parametrize(
    'rates, size',
    [((50, 10, 2), 'small'), ((1, 9, 9), 'demo'), ((9000, 6000, 200), 'paper'), ((9, 4), 'demo')],
)
@pytest.mark.parametrize('found', [speech([9.0]), sounds(rate=16000)], ids=['speech', 'sounds'])
def test_the_largest_model_that_sees_enough_is_chosen(found, rates, size):
    rate = 8000 if found['kind'] == 'speech' else 16000
    configs = folder.configurations(found, rate=rate)
    by_size = dict(zip((one.preset for one in configs), rates))
    lines = []
    config, speed = folder.choose(
        configs, 1800, say=lines.append, measured=lambda config: by_size.get(config.preset, 0.01)
    )
    assert (config.preset, config.data.sample_rate) == (size, rate)
    assert speed == by_size[size]
    bigger = [line for line in lines if 'too slow' in line or ' in the time' not in line]
    assert len(bigger) == (size != 'paper')  # why no larger one
    for one in configs:
        validate.validate(one)


def test_a_file_of_one_size_has_that_size(tmp_path):
    (tmp_path / 'mine.py').write_text(
        'import fgsep_jax.config\n\n\ndef get_config():\n'
        '    config = fgsep_jax.config.load("convtasnet:narrow").unlock()\n'
        '    config.experiment = "mine"\n    return config\n'
    )
    argument = f'{tmp_path}/mine.py'
    (config,) = folder.configurations(speech([9.0]), rate=16000, argument=argument)
    assert (config.experiment, config.data.sample_rate) == ('mine', 16000)
    assert config.model.encoder.basis == 64


@pytest.mark.parametrize('found', [speech([9.0]), sounds(rate=16000)], ids=['speech', 'sounds'])
def test_more_minutes_and_a_faster_machine_never_choose_a_smaller_model(found):
    configs = folder.configurations(found, rate=8000)
    sizes = [one.preset for one in configs]
    speeds = dict(zip(sizes, (25.0, 8.0, 0.2)))  # examples/s, about those of two cores

    def chosen(factor, minutes):
        config, speed = folder.choose(
            configs,
            60 * minutes,
            say=lambda line: None,
            measured=lambda config: factor * speeds[config.preset],
        )
        assert speed == factor * speeds[config.preset]
        return sizes.index(config.preset)

    chosen_FM = np.array([[chosen(f, m) for m in (1, 30, 600, 20_000)] for f in (0.1, 1, 10, 500)])
    assert (np.diff(chosen_FM, axis=0) >= 0).all() and (np.diff(chosen_FM, axis=1) >= 0).all()
    assert {*chosen_FM.flat} == {0, 1, 2} and chosen_FM[1, 1] == 1


@pytest.mark.slow
@pytest.mark.parametrize('size', ['small', 'paper'])  # of the smallest see below
@pytest.mark.parametrize('found', [speech([9.0]), sounds(rate=16000)], ids=['speech', 'sounds'])
def test_each_size_that_can_be_chosen_takes_a_step(found, size, monkeypatch):
    rate = 16000
    small = {'data.batch_size': '1', 'data.segment_seconds': '0.2'}
    if found['kind'] == 'speech':  # one block compiles sooner, and is as wide
        rate, small = 8000, {**small, 'model.separator.blocks': '1', 'model.separator.repeats': '1'}
    configs = folder.configurations(found, rate=rate, overrides=small)
    enough = [*folder.ENOUGH][: [*folder.ENOUGH].index(size) + 1]
    config, _ = folder.choose(
        configs, 1800, measured=lambda config: 1e5 if config.preset in enough else 1e-9
    )
    assert config.preset == size
    if (size, found['kind']) == ('small', 'sounds'):
        monkeypatch.setattr(cost, 'MEASURED_SECONDS', 0.0)
        assert cost.measure(config) > 0
        return
    task = make_task(config)  # what could go wrong is seen without compiling
    state = jax.eval_shape(lambda: init_state(task, config))
    batch = {name: jax.ShapeDtypeStruct(*of) for name, of in pipeline.shapes(config).items()}
    after, *_ = jax.eval_shape(jit_train_step(task, config, make_mesh()), state, batch)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


@pytest.mark.parametrize('rate', folder.RATES)
def test_features_at_each_rate_hear_something_in_every_band(rate):
    for config in folder.configurations(sounds(rate=rate), rate=rate):
        validate.validate(config)
        features = config.features
        assert 0.02 < features.window / rate < 0.07
        bands_FM = mel.mel_matrix(sample_rate=rate, window=features.window, bands=features.bands)
        assert (bands_FM > 0).any(axis=0).all()


def a_run(gain, best, last=10, of='', **config):
    """A report's run of `last` validations, the `best`-th the lowest, that gained so many dB."""
    middle = 'median' if of else 'mean'
    score = {f'{metric}{of}': {middle: gain - 0.1} for metric in ('si_snr', 'sdr')}
    score[f'si_snri{of}'] = {middle: gain}
    mixture = {f'{metric}{of}': {middle: -0.1} for metric in ('si_snr', 'sdr')}
    summary = {'metrics': score, 'mixture': mixture, 'examples': 48}
    losses_N = np.abs(np.arange(1, last + 1) - best).astype(float)
    return types.SimpleNamespace(
        task='foreground' if of else 'speech',
        config={'training.minutes': 30.0, **config},
        results={
            ('voices', ''): types.SimpleNamespace(summary=summary),
            ('voices', 'untrained'): None,
        },
        curves={('validation', 'loss'): (np.arange(1, last + 1), losses_N)},
    )


@pytest.mark.parametrize(
    'run, said, unsaid',
    [
        (
            a_run(5.0, 10),
            'mean of 48 mixtures (mean SI-SNR from -0.1 to 4.9 dB, SDR from -0.1',
            'note',
        ),
        (a_run(6.0, 10, of='_foreground'), 'SI-SNR +6.0 dB against the mixture', 'note'),
        (
            a_run(1.0, 10),
            'hardly hears that anything was done; it was still getting',
            'doing nothi',
        ),
        (a_run(-0.4, 9), 'no better than doing nothing: do not use it; it was still', 'hardly'),
        (a_run(0.0, 10), 'the same command with --minutes=60 goes on', 'more recordings'),
        (a_run(1.0, 26, last=32), 'best after 81% of the training: more', 'goes on'),
        (a_run(1.0, 30, last=32), 'it was still getting better', 'best after'),
        (a_run(-2.0, 3), 'best after 30% of the training: more minutes will not help', 'goes on'),
        (a_run(1.0, 3), 'help, more recordings would. A training that starts from a', 'goes'),
        (a_run(1.0, 10), '--minutes=60 goes on. A training that starts from', 'recordings'),
        (a_run(1.0, 3), ' more: --config.training.init_from=voices with another --work', 'goes'),
        (a_run(1.0, 3, of='_foreground'), '--config.training.init_from=sounds with', '=voices'),
        (a_run(1.0, 3, **{'training.init_from': 'voices'}), 'recordings would', 'init_from'),
        (a_run(1.0, 10, **{'training.minutes': 0.0}), '--minutes=60 goes on', 'recordings'),
    ],
)
def test_a_poor_model_is_called_one_and_what_would_help(run, said, unsaid):
    told = '\n'.join(folder.verdict(run))
    assert said in told and unsaid not in told and told.startswith('scores             voices: ')


@pytest.mark.parametrize(
    'error', [config_lib.ConfigError('16 GiB'), jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED')]
)
def test_a_size_that_does_not_fit_into_memory_is_not_chosen(error):
    def measured(config):
        if config.preset in too_large:
            raise error
        return 1e4

    configs, too_large, lines = folder.configurations(speech([9.0]), rate=8000), ['paper'], []
    config, _ = folder.choose(configs, 1800, say=lines.append, measured=measured)
    assert config.preset == 'small' and 'glu:paper cannot be trained on this machine' in lines[-1]
    too_large += ['demo']
    with pytest.raises(type(error)):
        folder.choose(configs, 1800, say=lines.append, measured=measured)


def test_a_configuration_may_be_chosen():
    made = functools.partial(folder.configurations, speech([9.0]), rate=8000)
    assert [x.preset for x in made(argument='convtasnet')] == ['demo', 'small', 'paper']
    assert [x.preset for x in made(argument='convtasnet:small,seed=2')] == ['small']
    assert [x.preset for x in made(argument='convtasnet:narrow')] == ['narrow']
    only = made(argument='convtasnet:paper', overrides={'model.separator.hidden': '8'})
    assert [(x.preset, x.model.separator.hidden) for x in only] == [('paper', 8)]
    with pytest.raises(config_lib.ConfigError, match='e.g. --config=convtasnet_glu'):
        made(argument='blstm_m2')


@pytest.mark.parametrize(
    'found, name, rate', [(speech([9.0]), 'voices', 8000), (sounds(rate=48000), 'sounds', 44100)]
)
def test_a_training_may_start_from_a_shipped_model(found, name, rate):
    first = checkpoint.load_trained(name)[0].config
    assert folder.rate_of(found, first.data.sample_rate) == rate
    made = functools.partial(folder.configurations, first=first, rate=rate)
    (config,) = made(found, overrides={'training.init_from': name})
    assert config.training.learning_rate < first.training.learning_rate and not config.data.name
    validate.validate(config)
    checkpoint.load_initial(config)  # of the same shapes
    assert len(made(found, argument=folder.MODELS[config.task])) == 3
    with pytest.raises(config_lib.ConfigError, match='init_from names a (speech|foreground) model'):
        made(sounds() if config.task == 'speech' else speech([9.0]))
    first.data.sources = 1
    with pytest.raises(config_lib.ConfigError, match='init_from names a model of 1 source; of a'):
        made(found)


@pytest.mark.parametrize('rates, rate', [([48000] * 9, 32000), ([24000] * 9, 24000)])
def test_the_rate_is_that_of_the_model_to_start_from_where_recordings_reach_it(rates, rate):
    found = {'kind': 'sounds', 'recordings': [{'rate': one} for one in rates]}
    assert folder.rate_of(found, 32000) == rate


def test_a_folder_is_surveyed(tmp_path):
    trees.folder(tmp_path / 'voices', speakers=2, files=2, suffix='flac')
    trees.write(tmp_path / 'voices' / 'nobody.wav', trees.speechlike(1, seed=1))
    (tmp_path / 'voices' / 'spk1' / 'broken.wav').write_bytes(b'RIFF')
    (tmp_path / 'voices' / 'spk1' / 'gone.wav').symlink_to(tmp_path / 'nowhere.wav')
    found = survey.survey(str(tmp_path / 'voices'))
    assert (found['kind'], len(found['recordings']), found['elsewhere']) == ('speech', 4, 1)
    assert sum(found['unusable'].values()) == 2 and found['unusable']['unreadable'] == 1
    assert {(x['name'], x['rate']) for x in found['recordings']} == {('spk0', 8000), ('spk1', 8000)}
    assert found['recordings'][0]['seconds'] == pytest.approx(1.2)
    before = found['digest']
    trees.write(tmp_path / 'voices' / 'spk1' / 'new.wav', trees.speechlike(1, seed=9))
    assert survey.survey(str(tmp_path / 'voices'))['digest'] != before

    root = sound_trees.general(tmp_path / 'sounds', files=2)
    trees.write(root / 'background' / 'dog' / 'x.wav', sound_trees.ground(7))
    found = survey.survey(str(root))
    assert found['kind'] == 'sounds' and len(found['recordings']) == 14
    assert found['left_out'] == {'background/dog': 1}
    assert {x['role'] for x in found['recordings']} == set(banks.ROLES)
    trees.write(root / 'rejected' / 'y.wav', sound_trees.ground(8))
    found = survey.survey(str(root))
    assert found['kind'] == 'sounds' and found['elsewhere'] == 1


@pytest.mark.parametrize(
    'tops, named',
    [
        ('Foreground Background', 'Background and Foreground'),
        ('BACKGROUND foreground rejected', 'BACKGROUND and foreground'),
        ('Background', 'Background'),
        ('foreground Foreground background', ''),
        ('Background Ann', ''),
    ],
)
def test_roles_in_capitals_are_not_taken_for_people(tmp_path, tops, named):
    for seed, top in enumerate(tops.split()):
        trees.write(tmp_path / top / 'dog' / f'{seed}.wav', sound_trees.ground(seed))
    if named:
        with pytest.raises(ValueError, match=f'{named} would be taken for people: call the folde'):
            survey.survey(str(tmp_path))
    else:
        assert survey.survey(str(tmp_path))['recordings']


def test_what_no_data_set_can_use_is_not_counted(tmp_path, monkeypatch):
    trees.write(tmp_path / 'Ann' / 'a.wav', trees.speechlike(3, seed=0))
    trees.write(tmp_path / 'Ann' / 'b.wav', trees.speechlike(0.5, seed=1))
    trees.write(tmp_path / 'Bob' / 'c.wav', trees.speechlike(3, seed=2, sample_rate=6000), 6000)
    monkeypatch.setattr(folder.subprocess, 'run', in_process)
    found = folder.look(str(tmp_path))
    assert [one['rate'] for one in found['recordings']] == [8000, 6000]
    lines = folder.describe(found, 8000)
    assert 'rate               8000 Hz; 1 below it are left out' in lines
    assert 'note: 1 file left out: shorter than 1 s' in lines
    assert len(folder.at_rate(found, 8000)['recordings']) == 1
    shutil.rmtree(tmp_path / 'Ann')
    (tmp_path / 'Bob' / 'c.wav').rename(tmp_path / 'c.wav')
    with pytest.raises(config_lib.ConfigError, match=r'has no recordings .*1 not in a folder of'):
        folder.look(str(tmp_path))


def test_what_the_survey_has_refused_is_said_once(tmp_path, capfd):
    (tmp_path / 'Foreground/dog').mkdir(parents=True)
    (tmp_path / 'Foreground/dog/a.wav').write_bytes(b'')
    with pytest.raises(SystemExit) as end:
        folder.look(str(tmp_path))
    said = capfd.readouterr().err
    assert end.value.code == 2 and said.count('\n') == 1 and 'taken for people' in said


def in_process(command, **_):
    *_, argument = command
    found = survey.survey(argument.partition('=')[2])
    return types.SimpleNamespace(returncode=0, stdout=json.dumps(found).encode())


@pytest.mark.parametrize(
    'argv, said',
    [
        (['no/such'], 'no/such: there is no such folder'),
        (['{}', '{}'], 'one folder of recordings is trained on'),
        (['{}', '--minutes=0'], '--minutes=0: must be above 0'),
        (['{}', '--config.data.dir=x'], 'of FOLDER one is made'),
        (['{}', '--mode=evaluate'], 'not understood by --mode=evaluate'),
        (['{}', '--data_dirs=x'], '--data_dirs goes with'),
        (['{}', '--config=convtasnet_gl'], 'did you mean'),
        (['--minutes=3'], '--minutes goes with a FOLDER'),
        (['{}/data'], 'holds no recordings, it is a data set: --config=NAME --config.data.dir='),
        (['{}/run'], 'holds no recordings, it is a run: --workdir='),
    ],
)
def test_a_mistake_is_refused(tmp_path, capsys, argv, said):
    data = dict(name='x', splits={}, schema_version=1)
    for name, content in (('data/dataset', data), ('run/config', dict(task='x', experiment='y'))):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    with pytest.raises(SystemExit) as end:
        main.main([word.format(tmp_path) for word in argv])
    assert end.value.code == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count('\n') == 1 and not told.out


@pytest.mark.parametrize('name', ['dataset.json', 'config.json'])
@pytest.mark.parametrize('content', ['{"device": "Zoom H5"}', 'rate=48000', '[1]'])
def test_a_recorders_own_file_is_no_run_and_no_data_set(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    folder.check(str(tmp_path))


def test_the_data_set_lies_beside_the_folder_and_never_in_it(tmp_path, monkeypatch):
    (tmp_path / 'mine').mkdir()
    monkeypatch.chdir(tmp_path / 'mine')
    assert folder.data_folder('.') == f'{tmp_path}/mine-data'
    monkeypatch.chdir(tmp_path)
    assert folder.data_folder('mine/') == 'mine-data'
    assert folder.default_workdir('mine/') == 'runs/mine'
    assert folder.default_workdir('My, voices') == 'runs/My_voices'
    monkeypatch.setattr(folder.os, 'access', lambda *_: False)
    assert folder.data_folder('mine') == 'data/mine'
    (tmp_path / 'data' / 'mine').mkdir(parents=True)
    (tmp_path / 'data' / 'mine' / 'letter.txt').write_text('')
    with pytest.raises(config_lib.ConfigError, match='was not made of mine: move one of them'):
        folder.check_directory('mine', 'data/mine')


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A folder F2 whose data set is in F2-data, with a run in runs/F2 on it."""
    monkeypatch.chdir(tmp_path)
    config = config_lib.load('convtasnet_glu:demo').unlock()
    config.data.dir = 'F2-data'
    for path, text in (
        ('runs/F2/config.json', config_lib.to_json(config, digest=True)),
        ('F2-data/dataset.json', '{}'),
        ('F2-data/folder.json', json.dumps({'folder': f'{tmp_path}/F2', 'digest': 'before'})),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(folder, 'look', lambda _: speech([15.0], [15.0]))
    return lambda argument='': folder.prepare('F2', 'runs/F2', argument=argument, overrides={})


def test_a_run_whose_data_set_is_gone_is_begun_anew(begun, tmp_path, capsys):
    (tmp_path / 'F2-data').rename(tmp_path / 'elsewhere')
    said = (
        'runs/F2 holds a run on F2-data, which is not there: bring it back; or remove runs/F2, or'
        ' give another --workdir, and the same command makes both anew'
    )
    with pytest.raises(config_lib.ConfigError, match=said):
        begun()
    assert not capsys.readouterr().out


def test_another_configuration_of_a_run_is_refused_before_anything_is_measured(
    begun, capsys, monkeypatch
):
    monkeypatch.setattr(folder, 'choose', lambda *_, **__: pytest.fail('measured'))
    with pytest.raises(config_lib.ConfigError, match='a run of convtasnet_glu, not of convtasnet:'):
        begun('convtasnet')
    assert not capsys.readouterr().out


def test_what_to_remove_is_named_where_recordings_have_changed(
    begun, tmp_path, capsys, monkeypatch
):
    begun()
    said = 'note: F2 has changed since; remove F2-data and runs/F2 to begin anew\n'
    assert said in capsys.readouterr().out
    shutil.rmtree(tmp_path / 'runs')
    monkeypatch.setattr(folder, 'open_dataset', lambda _: {'sample_rate': 8000})
    monkeypatch.setattr(folder, 'choose', lambda configs, *_, **__: (configs[0], 9.0))
    with pytest.raises(KeyError, match='splits'):  # the data set of this test has none
        begun()
    said = 'note: F2 has changed since; remove F2-data to begin anew\n'
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    'writable, said',
    [
        (
            '',
            '{} cannot be written to, and the data set of F2 is to lie in data/F2: change that, or'
            ' start the command in a folder that can be, with the whole path of F2',
        ),
        ('F2-data', '--workdir=runs/F2: {} cannot be written to; give another --workdir'),
    ],
)
def test_a_place_that_cannot_be_written_to_is_said_before_anything_is_measured(
    begun, tmp_path, monkeypatch, writable, said
):
    shutil.rmtree(tmp_path / 'runs')
    shutil.rmtree(tmp_path / 'F2-data')
    may = os.access
    monkeypatch.setattr(os, 'access', lambda path, mode: not mode & os.W_OK and may(path, mode))
    if writable:
        monkeypatch.setattr(folder, 'data_folder', lambda _: writable)
        monkeypatch.setattr(folder, 'check_directory', lambda *_: None)
    monkeypatch.setattr(folder, 'choose', lambda *_, **__: pytest.fail('measured'))
    with pytest.raises(config_lib.ConfigError) as refused:
        begun()
    assert str(refused.value) == said.format(tmp_path)


TINY = [
    '--config.model.encoder.basis=8', '--config.model.separator.bottleneck=4',
    '--config.model.separator.hidden=8',
    '--config.model.separator.skip=4', '--config.model.separator.blocks=1',
    '--config.model.separator.repeats=1',
    '--config.data.segment_seconds=0.1', '--config.training.epochs=2',
    '--config.training.audio_examples=0', '--config.evaluation.filter_taps=8',
    '--config.evaluation.listen_examples=1', '--config.training.checkpoint_steps=1000',
]  # fmt: skip


@pytest.mark.slow
def test_a_folder_of_two_people_becomes_a_model(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folder, 'FEWEST_MIXTURES', 12)
    for i, name in enumerate(('Ann', 'Bob')):
        audio_T = trees.speechlike(14, seed=i, sample_rate=16000)
        trees.write(tmp_path / 'voices' / name / 'talk.flac', audio_T, 16000)
    (tmp_path / 'voices' / 'Bob' / 'page.wav').write_text('<html>')
    argv = ['voices', '--minutes=0.001', '--config=convtasnet:demo', *TINY]
    main.main(argv)
    told, error = capfd.readouterr()
    for once in ('unreadable', 'that were not trained on', 'are called as some'):
        assert (told + error).count(once) == 1, once
    report_md = (tmp_path / 'voices-data' / 'report.md').read_text()
    assert 'skipped 1 of 3 files: unreadable' in report_md and 'split by recording' in report_md
    assert 'found              2 people, 2 recordings, 28 seconds; 16000 Hz' in told
    assert 'called as some that this run was trained on' in told
    *_, page, following, _ = told.splitlines()
    assert '\nscores             voices_data: ' in told and page.endswith('index.html')
    assert following.startswith('next               fgsep-separate runs/voices runs/voices/audio/')
    assert (tmp_path / 'runs' / 'voices-report' / 'index.html').exists()
    metadata = json.loads((tmp_path / 'voices-data' / 'dataset.json').read_text())
    assert metadata['config']['split_by'] == 'recording' and 'surveyed' not in metadata['config']
    assert len(list((tmp_path / 'voices').rglob('*'))) == 5
    # What it leaves is a run like any other, and the line to type next works as it stands.
    main.main(['--workdir=runs/voices'])
    main.main(['--mode=evaluate', '--workdir=runs/voices', '--splits=validation'])
    told = capfd.readouterr().out
    assert 'is trained: ' in told and 'voices_data-validation' in told
    assert report.main(['--runs=runs', '--output_dir=all']) == 0
    _, command, *words = shlex.split(following)
    assert command == 'fgsep-separate' and not separate.main([*words, '-o', 'parts'])
    assert len(list((tmp_path / 'parts').glob('**/*.wav'))) == 2
    config = json.loads((tmp_path / 'runs' / 'voices' / 'config.json').read_text())
    assert config['training']['minutes'] == 0.001
    # Once more: data set and run are there; other recordings are said.
    trees.write(tmp_path / 'voices' / 'Bob' / 'more.wav', trees.speechlike(2, seed=7))
    main.main(['voices', '--mode=train'])
    told = capfd.readouterr().out
    assert 'mixtures           in voices-data already' in told
    assert 'voices has changed since' in told and 'goes on as it was begun' in told
    assert 'is trained: ' in told
    main.main(['voices', '--minutes=9', '--config.training.epochs=3', '--mode=train'])
    told = capfd.readouterr().out
    assert 'epoch 3  step' in told and 'goes on as it was begun' not in told
