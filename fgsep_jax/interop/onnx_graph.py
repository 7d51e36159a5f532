"""Reads an ONNX file of a Conv-TasNet: weights by their names, the rest from its operations."""

import os

import numpy as np

from fgsep_jax import files
from fgsep_jax.config import ConfigError
from fgsep_jax.names import counted, is_below, shown

# Operations that compute nothing, between a layer and its activation.
_SHAPING = {'Reshape', 'Unsqueeze', 'Squeeze', 'Transpose', 'Identity', 'Cast'}
_ACTIVATIONS = {'Relu', 'Sigmoid', 'Softmax', 'Tanh', 'LeakyRelu', 'Elu', 'Gelu', 'Softplus'}
# Inputs that operations cannot do without.
_INPUTS = {'Conv': 2, 'ConvTranspose': 2, 'PRelu': 2, 'ReduceMean': 1, 'Sqrt': 1}
_MASKS = {'Relu': 'relu', 'Sigmoid': 'sigmoid', 'Softmax': 'softmax'}


def read(path):
    """Reads weights and the model's configuration.

    Returns:
      As `foreign_files.read`.

    Raises:
      ConfigError: it cannot be read, its weights have lost their names, or an operation is none
        that `conv_tasnet` has.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(
            f"{shown(path)}: reading ONNX needs the package onnx: pip install 'fgsep_jax[interop]'"
        ) from error
    folder = os.path.dirname(os.path.abspath(path))
    try:
        graph = _Graph(onnx.load(path, load_external_data=False), onnx, folder)
    except Exception as error:  # of protobuf and of onnx's conversions
        raise ConfigError(f'{shown(path)} cannot be read as ONNX: {files.why(error)}') from error
    try:
        return graph.state(), graph.told()
    except ValueError as error:
        raise ConfigError(f'{shown(path)}: {files.why(error)}') from error
    except Exception as error:  # of operations that nobody would think of
        why = files.why(error)
        raise ConfigError(
            f'{shown(path)}: its operations are not as ONNX has them: {why}'
        ) from error


class _Graph:
    def __init__(self, model, onnx, folder):
        """
        Args:
          model: ModelProto.
          onnx: the package.
          folder: that of the file, in which other files may hold its weights.
        """
        self._nodes, self._onnx, self._folder = list(model.graph.node), onnx, folder
        value = onnx.helper.get_attribute_value
        self._arrays = {}
        for tensor in model.graph.initializer:
            if tensor.name in self._arrays:
                raise ValueError(f'{shown(tensor.name)} is in it twice')
            self._arrays[tensor.name] = self._array(tensor)
        self._attributes = {
            id(node): {item.name: value(item) for item in node.attribute} for node in self._nodes
        }
        for node in self._nodes:
            if len(node.input) < _INPUTS.get(node.op_type, 0) or not node.output:
                raise ValueError(
                    f'{self._called(node)} has {counted(len(node.input), "input")} and'
                    f' {counted(len(node.output), "output")}, too few'
                )
            if node.op_type == 'Constant' and 'value' in self._attributes[id(node)]:
                self._arrays[node.output[0]] = self._array(self._attributes[id(node)]['value'])
        self._readers, self._makers = {}, {}
        for node in self._nodes:
            self._makers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def _array(self, tensor):
        if not isinstance(tensor, self._onnx.TensorProto):
            raise ValueError(f'a Constant is {tensor!r:.40}, must be a tensor')
        if self._onnx.external_data_helper.uses_external_data(tensor):
            place = {item.key: item.value for item in tensor.external_data}.get('location', '')
            there = os.path.isfile(os.path.join(self._folder, place))
            if not there or not is_below(place, self._folder):
                raise ValueError(
                    f'{shown(tensor.name)} is kept in {shown(place)}, which is no file in the'
                    ' folder of the ONNX file'
                )
        try:
            return self._onnx.numpy_helper.to_array(tensor, self._folder)
        except Exception as error:  # of many kinds, by what is in it
            raise ValueError(f'{shown(tensor.name)}: {files.why(error)}') from error

    def _called(self, node):
        """What a node is called in messages: by its weights, if it has any."""
        weights = [name for name in node.input if name in self._arrays]
        return f'its {shown(node.op_type)} {shown((weights or [node.name])[0])}'.rstrip()

    def _numbers(self, node, key, default, least, count=1):
        """An attribute of a node: whole numbers, `count` of them; one or more where that is 0."""
        value = self._attributes[id(node)].get(key, default)
        if (
            not isinstance(value, list)
            or (len(value) != count if count else not value)
            or not all(isinstance(one, int) and one >= least for one in value)
        ):
            some = counted(count, 'whole number') if count else 'whole numbers'
            raise ValueError(
                f'{self._called(node)}: its {key} are {shown(f"{value!r:.40}")}, must be {some}'
                f' from {least} on'
            )
        return value

    def state(self):
        """{name: array}; slopes, whose names are lost, by the names of asteroid's layers."""
        slopes = [node.input[1] for node in self._nodes if node.op_type == 'PRelu']
        named = {
            name: array
            for name, array in self._arrays.items()
            if array.dtype.kind == 'f' and array.size > 1 and name not in slopes
        }
        lost = any(name.startswith('onnx::') for name in slopes)
        blocks = len({name.split('.')[2] for name in named if name.startswith('masker.TCN.')})
        places = [f'TCN.{i}.shared_block.{j}' for i in range(blocks) for j in (1, 4)]
        places.append('mask_net.0')
        if lost and len(slopes) != len(places):
            raise ValueError(
                f'its {len(slopes)} PReLUs have lost their names, and {len(places)} are needed'
            )
        if strange := [name for name in slopes if name not in self._arrays]:
            raise ValueError(f'the slope {shown(strange[0])} of a PRelu is none of its weights')
        # As many as there are, and in the order that they are computed in.
        called = [f'masker.{place}.weight' for place in places] if lost else slopes
        return named | {
            name: self._arrays[slope].reshape(-1) for name, slope in zip(called, slopes)
        }

    def _layers(self, kind):
        """[(node, name of its weights)] in the order of computation."""
        layers = [
            (node, node.input[1])
            for node in self._nodes
            if node.op_type == kind and node.input[1] in self._arrays
        ]
        for _, name in layers:
            if self._arrays[name].ndim != 3:
                axes = self._arrays[name].ndim
                raise ValueError(f'{shown(name)}, of a {kind}, has {axes} axes: must be 3')
        return layers

    def told(self):
        """The keys of a configuration that the operations say."""
        convolutions, transposed = self._layers('Conv'), self._layers('ConvTranspose')
        if len(convolutions) < 4 or not transposed:
            raise ValueError(
                f'it has {len(convolutions)} Conv and {len(transposed)} ConvTranspose with weights,'
                ' fewer than a Conv-TasNet'
            )
        first, last = convolutions[0][0], convolutions[-1][0]
        both = [first, transposed[-1][0]]
        (stride,) = self._only('strides', both, [1], 1)
        pads = tuple(self._only('pads', both, [0, 0], 0))
        framings = {(0, 0): 'plain', (stride, stride): 'aligned'}
        if pads not in framings:
            raise ValueError(f'{shown(first.input[1])} pads by {pads}: must be 0, or the stride')
        told = {'stride': stride, 'framing': framings[pads]}
        activation = self._activation(first.output[0])
        if activation not in ('', 'Relu'):
            raise ValueError(f'{activation} follows its encoder: must be a ReLU or nothing')
        told['rectify'] = activation == 'Relu'
        mask = self._activation(last.output[0])
        told['mask'] = _MASKS.get(mask, mask or 'none')
        if mask == 'Softmax' and self._attributes[id(self._after(last.output[0]))].get(
            'axis', -1
        ) not in (1, -3):
            raise ValueError(f'{shown(last.input[1])}: its softmax is not over the sources')
        return {**told, **self._dilations(convolutions), **self._norms(convolutions)}

    def _only(self, key, nodes, default, least):
        """An attribute that nodes share."""
        values = [self._numbers(node, key, default, least, len(default)) for node in nodes]
        if any(value != values[0] for value in values):
            raise ValueError(f'its encoder and its decoder have {key} {values[0]} and {values[-1]}')
        return values[0]

    def _after(self, name):
        """The first node that does something to an array, if but one reads it."""
        readers = self._readers.get(name, [])
        for _ in self._nodes:
            if len(readers) != 1 or readers[0].op_type not in _SHAPING:
                break
            readers = self._readers.get(readers[0].output[0], [])
        return readers[0] if len(readers) == 1 else None

    def _activation(self, name):
        node = self._after(name)
        return node.op_type if node is not None and node.op_type in _ACTIVATIONS else ''

    def _dilations(self, convolutions):
        """Blocks of a repeat, and causality, from the depthwise convolutions."""
        dilations, pads = [], set()
        for node, name in convolutions:
            group = self._attributes[id(node)].get('group', 1)
            if not isinstance(group, int):
                raise ValueError(
                    f'{self._called(node)}: its group is {group!r:.40}, must be a number'
                )
            if group > 1:
                (dilation,) = self._numbers(node, 'dilations', [1], 1)
                taps = self._arrays[name].shape[-1]
                dilations.append(dilation)
                left, right = self._numbers(node, 'pads', [0, 0], 0, 2)
                pads.add((left / dilation / max(taps - 1, 1), right / dilation / max(taps - 1, 1)))
        blocks = dilations.index(1, 1) if dilations.count(1) > 1 else len(dilations)
        if dilations != [2 ** (index % blocks) for index in range(len(dilations))]:
            raise ValueError(
                f'its dilations are {dilations}: must be 1, 2, 4, ..., again and again'
            )
        causal = pads in ({(1, 1)}, {(1, 0)})
        if not causal and pads != {(0.5, 0.5)}:
            raise ValueError('its depthwise convolutions pad by what is neither same nor causal')
        return {'blocks': blocks, 'causal': causal}

    def _norms(self, convolutions):
        """Kinds of norms before and after the second convolution, and their eps."""
        bottleneck = self._nodes.index(convolutions[1][0])
        kinds, eps = ({}, {}), set()
        for at, node in enumerate(self._nodes):
            kind = 'cln' if node.op_type == 'CumSum' else ''
            if node.op_type == 'ReduceMean':
                given = [self._arrays[name] for name in node.input[1:] if name in self._arrays]
                given = given[0].reshape(-1).tolist() if given else []
                axes = {axis % 3 for axis in self._numbers(node, 'axes', given, -3, 0)}
                kind = {(1, 2): 'gln', (1,): 'frame'}.get(tuple(sorted(axes)), f'of axes {axes}')
            if kind:
                kinds[at > bottleneck][kind] = True
            if node.op_type == 'Sqrt' and (maker := self._makers.get(node.input[0])) is not None:
                eps |= {
                    float(self._arrays[name].reshape(-1)[0])
                    for name in maker.input
                    if maker.op_type == 'Add' and name in self._arrays and self._arrays[name].size
                }
        if len(kinds[1]) != 1 or len(kinds[0]) > 1 or len(eps) != 1:
            raise ValueError(
                f'its norms are {[*kinds[0]]} and {[*kinds[1]]}, with eps {sorted(eps)}: one kind'
                ' and one eps are needed'
            )
        (norm,), (first,) = kinds[1], kinds[0] or ('none',)
        # A float32, of which the shortest text is meant.
        return {'norm': norm, 'input_norm': first, 'eps': float(str(np.float32(eps.pop())))}
