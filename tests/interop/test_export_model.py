"""What is exported gives what the model gives, and says what it is."""

import ast
import csv
import json
import pathlib
import re
import subprocess
import sys
import types
import wave

import jax
from jax import export
import numpy as np
import pytest

import fgsep_jax
from fgsep_jax import files, main
from fgsep_jax.data import resample
from fgsep_jax.data.source import RecordSource
from fgsep_jax.interop import export_model, model_file
from fgsep_jax.metrics.improvement import evaluate_example
from fgsep_jax.report import runs as runs_lib
from fgsep_jax.separation import model as model_lib
from fgsep_jax.tasks import make_task
import synthetic
import tiny

MODELS = {
    'linear': ('convtasnet_glu', {}),
    'gated': ('convtasnet_glu', {'model.encoder': 'glu', 'model.layers': 2, 'model.remat': True}),
    'dilated': (
        'convtasnet_dilated',
        {'model.encoder': 'prelu', 'model.layers': 3, 'model.mask': 'softmax'},
    ),
    'causal': ('convtasnet_glu', {'model.norm': 'cln', 'model.causal': True, 'model.window': 32}),
    'no skip': ('convtasnet_glu', {'model.skip': 0, 'model.mask': 'relu', 'model.blocks': 3}),
    'plain': (
        'convtasnet_glu',
        {
            'model.framing': 'plain',
            'model.rectify': True,
            'model.decoder_bias': True,
            'model.prelu': 'channel',
            'model.input_norm': 'frame',
        },
    ),
    'aligned': ('convtasnet_glu', {'model.framing': 'aligned', 'model.norm': 'frame'}),
    'three': ('convtasnet_glu', {'data.sources': 3, 'model.window': 8, 'model.kernel': 5}),
    'M1': ('blstm_m1', {}),
    'M2+': ('blstm_m2_plus', {}),
    'mirrored': ('convtasnet_glu', {'model.padding': 'reflect', 'model.blocks': 3}),
    'attractor': ('yang', {}),
    'pyramid': ('furcapy', {}),
    'dual path': ('sepformer_glu', {}),
}
WITHOUT_ONNX = ('M1', 'M2+', 'mirrored', 'attractor', 'pyramid', 'dual path')


def separator(name='linear', **changes):
    """A model of random weights."""
    config_name, overrides = MODELS[name]
    config = tiny.config('', config_name, **{**overrides, **changes})
    shapes = jax.eval_shape(make_task(config).init, jax.random.key(0))
    random = np.random.default_rng(0)
    weights = jax.tree.map(lambda x: random.uniform(-0.5, 0.5, x.shape).astype(x.dtype), shapes)
    made = fgsep_jax.Separator(config, weights, step=7, name=name)
    made.notes = []
    return made


def signals(model, batch, samples):
    """A mixture, and background alone for a model that takes it."""
    random = np.random.default_rng(samples)
    shapes = [(batch, samples), *export_model._adaptation(model, batch)]
    return [random.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]


def check(model, given, made):
    """Holds {source: [batch, samples]} against the model itself."""
    separate = jax.jit(model.task.separate)
    wanted_BST = separate(model.parameters, given[0], None, *given[1:])
    assert {*made} == {*model.sources}
    made_BST = np.stack([np.asarray(made[name]) for name in model.sources], axis=1)
    assert made_BST.shape == wanted_BST.shape
    np.testing.assert_allclose(made_BST, wanted_BST, atol=1e-4 * float(abs(wanted_BST).max()))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gated', 'causal', 'plain', 'aligned', *WITHOUT_ONNX[1:]])
def test_stablehlo_gives_what_the_model_gives(name):
    model = separator(name)
    exported = export.deserialize(bytearray(export_model.to_stablehlo(model)))
    assert exported.platforms == ('cpu', 'cuda', 'tpu')
    assert exported.fun_name == 'separate_8000_Hz'
    for batch, samples in ((2, 333), (1, export_model.least_samples(model.config))):
        given = signals(model, batch, samples)
        check(model, given, exported.call(*given))


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in MODELS if name not in WITHOUT_ONNX])
@pytest.mark.filterwarnings('ignore:Explicitly requested dtype')
def test_onnx_gives_what_the_model_gives(name):
    pytest.importorskip('jax2onnx')
    import onnxruntime

    model = separator(name)
    metadata = model_file.header(model.config, sources=model.sources, step=7)
    content = export_model.to_onnx(model, metadata)
    session = onnxruntime.InferenceSession(content)
    assert session.get_modelmeta().custom_metadata_map == metadata
    assert [(one.name, one.shape) for one in (*session.get_inputs(), *session.get_outputs())] == [
        (one, ['batch', 'samples']) for one in ('mixture', *model.sources)
    ]
    for batch, windows in ((2, 21), (1, 5)):
        given = signals(model, batch, windows * model.config.model.encoder.window)
        check(model, given, export_model._run_onnx(content, given))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['voices', 'sounds'])
def test_stablehlo_of_a_trained_model_on_people(name, talkers):
    model = fgsep_jax.load(name)
    exported = export.deserialize(bytearray(export_model.to_stablehlo(model)))
    recording_T = resample.resample(talkers[1][:16000], 16000, model.sample_rate)
    check(model, [recording_T[None]], exported.call(recording_T[None]))


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:Explicitly requested dtype')
def test_onnx_of_a_trained_model_on_people(talkers):
    pytest.importorskip('jax2onnx')
    model = fgsep_jax.load('voices')
    recording_T = resample.resample(talkers[1], 16000, model.sample_rate)
    recording_T = recording_T[: len(recording_T) // 32 * 32]
    content = export_model.to_onnx(model, model_file.header(model.config, sources=model.sources))
    check(model, [recording_T[None]], export_model._run_onnx(content, [recording_T[None]]))


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:Explicitly requested dtype')
def test_onnx_of_a_long_recording():
    """ONNX Runtime's own sums of a million squares are off by more."""
    pytest.importorskip('jax2onnx')
    model = separator(**{'model.hidden': 64})
    given = signals(model, 1, 200_000)
    given[0] += 0.3  # a mean far from zero, as after a PReLU
    content = export_model.to_onnx(model, model_file.header(model.config, sources=model.sources))
    check(model, given, export_model._run_onnx(content, given))


@pytest.mark.slow
def test_the_script_of_the_page_needs_jax_alone(tmp_path):
    page = pathlib.Path(__file__).parents[2] / 'docs' / 'export.md'
    script = re.search(r'```python\n(import sys.*?)```', page.read_text(), flags=re.S)[1]
    assert sum(bool(line) for line in script.splitlines()) <= 15
    names = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(script))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    assert {name.split('.')[0] for name in names} - sys.stdlib_module_names == {'jax'}
    model = separator()
    random = np.random.default_rng(0)
    mixture_TC = (random.uniform(-0.5, 0.5, (801, 2)) * 32768).astype('<i2')
    with wave.open(str(tmp_path / 'mixture.wav'), 'wb') as file:
        file.setparams((2, 2, 8000, 0, 'NONE', ''))
        file.writeframes(mixture_TC.tobytes())
    (tmp_path / 'm.stablehlo').write_bytes(export_model.to_stablehlo(model))
    (tmp_path / 'run.py').write_text(script)
    (tmp_path / 'fgsep_jax.py').write_text('raise ImportError')
    subprocess.run(
        [sys.executable, 'run.py', 'm.stablehlo', 'mixture.wav'], cwd=tmp_path, check=True
    )
    mixture_T = mixture_TC.mean(axis=1).astype(np.float32) / 32768
    given = mixture_T[None] * np.float32(0.9 / abs(mixture_T).max())
    (estimate_ST,) = np.asarray(jax.jit(model.task.separate)(model.parameters, given))
    scale_S = np.linalg.lstsq(estimate_ST.T, mixture_T)[0]
    for name, signal_T in zip(model.sources, scale_S[:, None] * estimate_ST):
        with wave.open(str(tmp_path / f'{name}.wav')) as file:
            assert file.getparams()[:4] == (1, 2, 8000, 801)
            written_T = np.frombuffer(file.readframes(801), '<i2') / 32768
        np.testing.assert_allclose(written_T, signal_T, atol=1e-4)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder without its checkpoint."""
    folder = tmp_path / 'run'
    monkeypatch.setattr(model_lib, 'load', lambda path: separator())
    folder.mkdir()
    train = dict(examples=9, speakers=4, speaker_digests=['0123456789ab'])
    about = dict(name='tones', sample_rate=8000, dir='/home/me', train=train)
    (folder / 'training_data.json').write_text(json.dumps(about))
    for name, changes in {
        'tones': {},
        'other': {'step': 6},
        'torn': {'metrics': []},
        'sounds': {'classes': {'foreground': {}}},
    }.items():
        values = dict(mean=3.25, median=3.5)
        metrics = dict(si_snri=values, si_snr_mixture=values, sdri=dict(mean=None, median=None))
        content = dict(results=name, step=7, examples=5, metrics=metrics, **{}) | changes
        (folder / 'evaluation' / name).mkdir(parents=True)
        (folder / 'evaluation' / name / 'summary.json').write_text(json.dumps(content))
    return folder


def test_damaged_records_of_a_run_are_named_and_left_out(run, tmp_path, capsys):
    paths = run / 'training_data.json', run / 'evaluation' / 'tones' / 'summary.json'
    for path in paths:
        content = files.with_digest(json.loads(path.read_text()))
        path.write_text(json.dumps(content).replace('tones', 'tonez'))
    export_model.main([str(run), f'--output={tmp_path}/m', '--formats=safetensors'])
    about = model_file.read_about(tmp_path / 'm.safetensors')
    assert (about.origin, [*about.speakers], 'tones' in about.scores) == ('', [], False)
    said = capsys.readouterr().err
    assert all(any(str(p) in one and 'digest' in one for one in said.splitlines()) for p in paths)


def test_a_model_file_says_what_the_run_does(run, tmp_path, capsys):
    arguments = [str(run), f'--output={tmp_path}/m', '--formats=safetensors', '--licence=CC0']
    export_model.main(arguments)
    about = model_file.read_about(tmp_path / 'm.safetensors')
    assert about.step == 7 and about.licence == 'CC0' and about.config == separator().config
    assert about.origin == 'tones, 8000 Hz, 9 examples, 4 speakers'
    assert about.speakers == ('0123456789ab',)
    assert about.scores == {
        'sounds': {'examples': 5, 'median_si_snri': 3.5},
        'tones': {'examples': 5, 'mean_si_snri': 3.25},
    }
    said = capsys.readouterr()
    assert 'speaker_1, speaker_2 at 8000 Hz' in said.out and 'm.safetensors  0.0 MB' in said.out
    assert said.err.count('\n') == 1 and 'torn' in said.err


def test_a_model_file_hands_on_what_it_says(tmp_path):
    first, model = tmp_path / 'a.safetensors', separator()
    said = dict(origin='tones', licence='CC0', scores={'tones': {'si_snri': 3.0}})
    model_file.write(first, model.config, model.parameters, sources=('low', 'high'), step=7, **said)
    export_model.main([str(first), f'--output={tmp_path}/b.safetensors', '--origin=sines'])
    about = model_file.read_about(tmp_path / 'b.safetensors')
    before = model_file.read_about(first)
    assert about._replace(digest='') == before._replace(digest='', origin='sines')


@pytest.mark.parametrize('flag', ['origin', 'licence'])
def test_a_text_that_is_no_utf_8_is_refused(tmp_path, capsys, flag):
    first, model = tmp_path / 'a.safetensors', separator()
    model_file.write(first, model.config, model.parameters, sources=('low', 'high'))
    with pytest.raises(SystemExit) as left:
        export_model.main([str(first), f'--output={tmp_path}/b.safetensors', f'--{flag}=a\udcff'])
    line = capsys.readouterr().err
    assert left.value.code == 2 and line.count('\n') == 1
    assert rf'{flag} = a\xff: must be UTF-8; --{flag}=' in line
    assert [path.name for path in tmp_path.iterdir()] == ['a.safetensors']


@pytest.mark.parametrize(
    'words, said',
    [
        ('{run} --output={tmp}/m --formats=onxn', "stablehlo, onnx; did you mean 'onnx'?"),
        ('{run} --output={tmp}/m.onnx --formats=stablehlo', 'others: leave .onnx out'),
        ('{run} --output={tmp}/v2.tflite', '/v2.tflite: .tflite is none of .safetensors, .stableh'),
        ('{run} --output={tmp}/m.PTH --formats=onnx', '.onnx, which are written: leave .PTH out'),
        ('{run} --output={tmp}/m.ONNX', 'leave .ONNX out, or give one of them'),
        ('{run} --output={tmp}/m.safetensor', 'm.safetensor: .safetensor is none of'),
        ('{run} --output={tmp}/gone/m', 'must be a NAME in a folder that is there'),
        ('{run} --output={tmp}/', 'must be a NAME in a folder that is there'),
        ('{run} --output={tmp}/.', 'must be a NAME in a folder that is there'),
        ('{run} --output=..', 'must be a NAME in a folder that is there'),
        ('{run} --output={tmp}/there', 'there.stablehlo is there already: --overwrite'),
        ('{run} --output={tmp}/folder.onnx --overwrite', 'folder.onnx is there already'),
        ('{run} {run} --output={tmp}/m', 'not understood: give one RUN'),
        ('{run}', 'these flags are needed: --output'),
        ('{tmp}/nothing --output={tmp}/m', 'there is no model'),
        ('{tmp}/there.stablehlo --output={tmp}/m', 'is no model file of fgsep_jax'),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, capsys, words, said):
    (tmp_path / 'there.stablehlo').write_text('')
    (tmp_path / 'folder.onnx').mkdir()
    with pytest.raises(SystemExit) as left:
        export_model.main(words.format(run=tmp_path / 'run', tmp=tmp_path).split())
    line = capsys.readouterr().err
    assert left.value.code == 2 and said in line and line.count('\n') == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['folder.onnx', 'there.stablehlo']


@pytest.mark.parametrize('name', ['run.v2', 'a.2026-11-28', 'lr0.001', 'pt', '.pt'])
def test_a_name_may_have_points(tmp_path, name):
    args = types.SimpleNamespace(output=f'{tmp_path}/{name}', formats=None, overwrite=False)
    paths, _ = export_model._plan(args)
    assert [*paths.values()] == [f'{tmp_path}/{name}.{one}' for one in export_model.FORMATS]


def test_what_cannot_be_made_is_said(run, tmp_path, capsys, monkeypatch):
    """Left out with a note where all that can be was asked for, refused where it was named."""
    monkeypatch.setattr(model_lib, 'load', lambda path: separator('M1'))
    monkeypatch.setattr(export_model, '_checked', lambda *args: (b'', 0.0))
    export_model.main([str(run), f'--output={tmp_path}/m'])
    assert f'note: no {tmp_path}/m.onnx: jax2onnx has no inverse FFT' in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob('m.*')) == ['m.safetensors', 'm.stablehlo']
    with pytest.raises(SystemExit):
        export_model.main([str(run), f'--output={tmp_path}/m.onnx'])
    assert 'jax2onnx has no inverse FFT' in capsys.readouterr().err
    monkeypatch.setattr(model_lib, 'load', lambda path: separator('mirrored'))
    with pytest.raises(SystemExit):
        export_model.main([str(run), f'--output={tmp_path}/m.onnx'])
    assert 'cannot mirror frames' in capsys.readouterr().err
    monkeypatch.setattr(model_lib, 'load', lambda path: separator())
    monkeypatch.setattr(export_model, '_there', lambda name: name != 'jax2onnx')
    with pytest.raises(SystemExit):
        export_model.main([str(run), f'--output={tmp_path}/m.onnx'])
    assert "jax2onnx is not installed: `pip install 'fgsep_jax[onnx]'`" in capsys.readouterr().err


@pytest.mark.parametrize(
    'convert, said',
    [
        (lambda separator: b'something else', 'no stablehlo file can be made of this model'),
        (
            lambda separator: 1 / 0,
            'no stablehlo file can be made of this model (encoder linear, separator tcn): division'
            ' by zero; --formats=safetensors,onnx does without',
        ),
    ],
)
def test_nothing_is_written_that_does_not_run(run, tmp_path, capsys, monkeypatch, convert, said):
    monkeypatch.setattr(export_model, 'to_stablehlo', convert)
    monkeypatch.setattr(export_model, '_there', lambda name: False)
    with pytest.raises(SystemExit):
        export_model.main([str(run), f'--output={tmp_path}/m', '--formats=safetensors,stablehlo'])
    line = capsys.readouterr().err.splitlines()[-1]
    assert said in line and not [*tmp_path.glob('m*')]
    export_model.main([str(run), f'--output={tmp_path}/m'])
    assert f'note: {said}' in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob('m*')] == ['m.safetensors']


@pytest.mark.parametrize('off, passes', [(0.5e-4, True), (2e-4, False), (np.nan, False)])
def test_what_gives_something_else_is_refused(off, passes):
    model = separator()

    def run(content, given):
        estimate_BST = jax.jit(model.task.separate)(model.parameters, *given)
        estimate_BST = estimate_BST + off * abs(estimate_BST).max()
        return dict(zip(model.sources, estimate_BST.swapaxes(0, 1)))

    if passes:
        assert export_model._checked('onnx', model, lambda: b'1', run)[0] == b'1'
    else:
        with pytest.raises(model_file.ConfigError, match='differs from it by'):
            export_model._checked('onnx', model, lambda: b'1', run)


@pytest.mark.slow
def test_a_model_file_is_evaluated(tmp_path, capsys, monkeypatch):
    """Its results lie beside it, as a run's do, and the report reads them."""
    monkeypatch.setattr(main, '_begin', lambda args: None)
    data, model = synthetic.write(tmp_path / 'tones', train=1, validation=1), separator()
    path = str(tmp_path / 'm.safetensors')
    said = dict(sources=('low', 'high'), step=7, origin='sines')
    model_file.write(path, model.config, model.parameters, **said)
    words = ['--mode=evaluate', f'--workdir={path}', '--config.evaluation.listen_examples=0']
    main.main([*words, f'--data_dirs={data}'])
    assert 'convtasnet_glu:demo, step 7' in capsys.readouterr().out
    (run,) = runs_lib.find(str(tmp_path / 'm-results'))
    (result,) = run.results.values()
    content = json.loads((tmp_path / 'm-results/evaluation/tones/summary.json').read_text())
    assert result and content['step'] == 7 and content['trained_on'] == 'sines'
    text = (tmp_path / 'm-results/evaluation/tones/examples.csv').read_text()
    first, second, *_ = csv.DictReader(text.splitlines())
    si_snri = (float(first['si_snri']) + float(second['si_snri'])) / 2
    source_BST = RecordSource(data, 'test')[0].sources_ST[None] / np.float32(32768)
    mixture_BT = source_BST.sum(axis=1)
    estimate_BST = np.asarray(jax.jit(model.task.separate)(model.parameters, mixture_BT))
    scores = evaluate_example(estimate_BST[0], source_BST[0], mixture_BT[0])
    np.testing.assert_allclose(si_snri, scores['si_snri'], atol=1e-3)
    other = separator('linear', **{'model.hidden': 9})
    model_file.write(path, other.config, other.parameters, **said)
    for more, why in (
        ([f'--data_dirs={data}'], 'm-results holds a run of another configuration'),
        ([], 'a model file has no data set beside it: --data_dirs=DIR'),
    ):
        with pytest.raises(SystemExit) as left:
            main.main([*words, *more])
        assert left.value.code == 2 and why in capsys.readouterr().err
