"""A model of fewer sources than its data set has: those that `data.targets` names."""

import csv
import json

import jax
import numpy as np
import pytest

from fgsep_jax import data_sets, main, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import cross, run as evaluation
from fgsep_jax.interop import model_file
from fgsep_jax.losses.si_snr import si_snr
from fgsep_jax.metrics import improvement
from fgsep_jax.report import runs as runs_lib
from fgsep_jax.tasks import make_task
from fgsep_jax.training import checkpoint, run as training
import synthetic
import tiny

ONE = {'data.sources': 1, 'data.targets': '2', 'training.epochs': 1}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp('data') / 'tones', sources=3, job='fgbg')


def test_targets_come_first_and_the_mixture_stays(data):
    plain, moved = RecordSource(data, 'test'), RecordSource(data, 'test', (2, 0))
    for i in range(len(plain)):
        np.testing.assert_array_equal(moved[i].sources_ST, plain[i].sources_ST[[2, 0, 1]])
        np.testing.assert_array_equal(moved[i].mixture_T, plain[i].mixture_T)
        assert moved[i].source_ids == tuple(plain[i].source_ids[s] for s in (2, 0, 1))
    assert repr(moved) == repr(plain)


@pytest.mark.slow
def test_the_loss_is_of_the_targets_in_the_whole_mixture():
    task = make_task(tiny.config('', **{**ONE, 'data.sources': 2, 'data.targets': '2,1'}))
    source_BST = synthetic.example(0, sources=3).sources_ST[None]
    params = task.init(jax.random.key(0))
    loss_B, _ = task.loss(params, {'source_BST': source_BST}, jax.random.key(0))
    float_ST = source_BST[0] / np.float32(32768)
    estimate_ST = task.separate(params, float_ST.sum(axis=0)[None])[0]
    ratio_SS = [[float(si_snr(e[None], r[None])[0]) for e in estimate_ST] for r in float_ST[:2]]
    best = max(ratio_SS[0][0] + ratio_SS[1][1], ratio_SS[0][1] + ratio_SS[1][0]) / 2
    assert float(loss_B[0]) == pytest.approx(-best, abs=1e-3)
    # Silence where no target is does not matter.
    for silent, scored in ((2, True), (1, False)):
        quiet_BST = source_BST.copy()
        quiet_BST[:, silent] = 0
        assert bool(task.scored({'source_BST': quiet_BST})[0]) == scored


@pytest.mark.slow
def test_a_run_of_one_source(data, tmp_path, capsys):
    """Trained, evaluated, listened to, named, exported, evaluated as a model file and crossed."""
    config = tiny.config(data, **ONE, **{'training.audio_examples': 1})
    validate.validate(config)
    workdir = str(tmp_path / 'run')
    training.train(config, workdir)
    evaluation.evaluate(config, workdir, baselines=True)
    folder = tmp_path / 'run' / 'evaluation' / 'tones'
    assert json.loads((folder / 'summary.json').read_text())['targets'] == '2'
    with open(folder / 'examples.csv', newline='') as file:
        rows = {row['id']: row for row in csv.DictReader(file)}
    params = checkpoint.load_best(workdir, config, make_task(config)).parameters
    source = RecordSource(data, 'test')
    for i in range(len(source)):
        source_ST = source[i].sources_ST / 32768
        mixture_T = source_ST.sum(axis=0)
        estimate_ST = make_task(config).separate(params, mixture_T[None].astype('f'))[0]
        expected = improvement.evaluate_example(estimate_ST, source_ST[1:2], mixture_T)
        assert float(rows[source[i].id]['si_snri']) == pytest.approx(expected['si_snri'], abs=1e-2)
        assert rows[source[i].id]['source'] == '1' and 'sex' in rows[source[i].id]
    oracle = json.loads((folder / 'ideal_ratio_mask' / 'summary.json').read_text())
    assert oracle['metrics']['si_snri']['mean'] > 5
    heard = next((tmp_path / 'run' / 'audio' / 'tones').glob('*/example.json')).parent
    assert {path.name for path in heard.glob('*.wav')} == {
        'mixture.wav', 'reference_1.wav', 'estimate_1.wav',
    }  # fmt: skip

    path = str(tmp_path / 'm.safetensors')
    about, parameters, _ = checkpoint.load_trained(workdir)
    assert about.sources == ('speech',)
    model_file.write(path, config, parameters, sources=about.sources, step=about.step)
    cross.cross_evaluate([workdir, path], [data])
    assert capsys.readouterr().out.count('run 2 of 2    m: tones\n') == 1
    made = json.loads((tmp_path / 'm-results/evaluation/tones/summary.json').read_text())
    kept = json.loads((folder / 'summary.json').read_text())
    one, other = (runs_lib.open_run(str(tmp_path / name)) for name in ('run', 'm-results'))
    one, other = (runs_lib.made_by(run.results['tones', ''].summary) for run in (one, other))
    assert not runs_lib.unlike(one, other)
    assert made['metrics'] == kept['metrics'] and made['targets'] == '2'
    # Again, found by the file and beside it: once, and nothing to do.
    cross.cross_evaluate([str(tmp_path), path], [data])
    assert capsys.readouterr().out.count('nothing to do (kept: tones)') == 2
    # Other weights under the name of the file are another model.
    other = jax.tree.map(lambda leaf: leaf * 1.5, parameters)
    model_file.write(path, config, other, sources=about.sources, step=about.step)
    cross.cross_evaluate([path], [data])
    assert 'run 1 of 1    m: tones\n' in capsys.readouterr().out
    assert [run.name for run in runs_lib.find(str(tmp_path))] == ['m-results', 'run']

    # Of a model that does not say which source it gives the command line does.
    config.data.targets, path = '', str(tmp_path / 'other.safetensors')
    model_file.write(path, config, parameters, sources=about.sources, step=about.step)
    with pytest.raises(ConfigError, match='is a foreground data set.*data.targets'):
        cross.cross_evaluate([path], [data])
    evaluate = ['--mode=evaluate', f'--workdir={path}', f'--data_dirs={data}']
    main.main([*evaluate, '--config.data.targets=2'])
    made = json.loads((tmp_path / 'other-results/evaluation/tones/summary.json').read_text())
    assert made['metrics'] == kept['metrics']
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main.main([*evaluate, '--config.data.targets=1'])
    assert 'holds results on tones test 2, which those on tones test 1 would' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    'name, changes, message',
    [
        ('convtasnet_glu', {'data.targets': '1'}, 'must be as many as the model estimates'),
        ('convtasnet_glu', {'data.targets': '1,1'}, 'must be different sources'),
        ('convtasnet_glu', {'data.targets': '1,'}, 'must be different sources'),
        ('blstm_m2', {'data.targets': '1,2'}, 'must be empty: a mask gives'),
    ],
)
def test_what_can_be_no_target(name, changes, message):
    with pytest.raises(ConfigError, match=f'data.targets = .*{message}'):
        validate.validate(tiny.config('', name, **changes))


TWO = {'name': 'x', 'sample_rate': 8000, 'sources': 2, 'splits': {}, 'job': 'fgbg'}


@pytest.mark.parametrize(
    'changes, targets, rows',
    [
        ({}, 'foreground', (0,)),
        ({}, 'background', (1,)),
        ({}, '2', (1,)),
        ({}, 'background,1', (1, 0)),
        ({'job': 'librimix'}, '2', (1,)),
        ({'job': 'librimix'}, '', ()),
        ({}, 'forground', "are called foreground, background; did you mean 'foreground'"),
        ({}, '3', 'are called foreground, background'),
        ({'job': 'librimix'}, 'foreground', 'are called 1, 2'),
        ({'sources': 3}, 'foreground', 'are called 1, 2, 3'),
        ({}, 'foreground,1', 'names a source twice'),
        ({}, '', 'is a foreground data set.*or one source of this with --config.data.targets'),
        ({'job': 'librimix', 'sources': 3}, '', 'separates 2; .*data.targets=1,2 would say'),
        ({'job': 'librimix', 'sources': 1}, '', 'of 1 sources.*made with --speakers_a_mixture=2$'),
    ],
)
def test_which_sources_are_meant(changes, targets, rows):
    count = len(targets.split(',')) if targets else 2
    config = tiny.config('', **{'data.targets': targets, 'data.sources': count})
    if isinstance(rows, tuple):
        assert validate.check_sources(config, {**TWO, **changes}, 'D') == rows
        validate.check_data(config, {**TWO, **changes}, 'D')
        return
    with pytest.raises(ConfigError, match=rows) as error:
        validate.check_sources(config, {**TWO, **changes}, 'D')
    assert '\n' not in str(error.value)


def test_what_a_place_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (path,) = [model_file.shipped()['voices']]
    assert data_sets.model_of('voices') == (path, 'voices-results')
    assert data_sets.model_of('a/m.safetensors') == ('a/m.safetensors', 'a/m-results')
    assert data_sets.model_of('runs') == ('', 'runs')
    ((run, model),) = data_sets.find_runs(['voices', 'voices'])
    assert (run.name, run.path, run.task, model) == ('voices', 'voices-results', 'speech', path)
    with pytest.raises(ConfigError, match=r'voices \(speech\) does not .*: --runs=sounds$'):
        data_sets.check_runs(data_sets.find_runs(['voices', 'sounds']), [])
    with pytest.raises(ConfigError, match=r'm\.safetensors: there is no such file'):
        data_sets.find_runs(['a/m.safetensors'])
    (tmp_path / 'voices').mkdir()
    assert data_sets.model_of('voices') == ('', 'voices')
    with pytest.raises(ConfigError, match='voices holds no run'):
        data_sets.find_runs(['voices'])


@pytest.mark.parametrize(
    'targets, sources, names',
    [('foreground', 1, ('foreground',)), ('1', 1, ('speech',)), ('1,2', 2, 'speaker_1 speaker_2')],
)
def test_names_of_what_it_gives(targets, sources, names):
    config = tiny.config('', **{'data.targets': targets, 'data.sources': sources})
    assert model_file.usual_names(config) == (names if sources == 1 else tuple(names.split()))


def test_results_of_other_targets_stand_apart():
    of_all, of_one = map(runs_lib.made_by, ({}, {'targets': '2'}))
    assert runs_lib.unlike(of_one, of_all) == 'targets is 2, not all'
    assert of_all == runs_lib.made_by({'targets': ''})
