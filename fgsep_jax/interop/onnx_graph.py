"""Reads an ONNX file of a Conv-TasNet: weights by their names, the rest from its operations."""

import numpy as np

from fgsep_jax import files
from fgsep_jax.config import ConfigError
from fgsep_jax.names import shown

# Operations that compute nothing, between a layer and its activation.
_SHAPING = {'Reshape', 'Unsqueeze', 'Squeeze', 'Transpose', 'Identity', 'Cast'}
_ACTIVATIONS = {'Relu', 'Sigmoid', 'Softmax', 'Tanh', 'LeakyRelu', 'Elu', 'Gelu', 'Softplus'}
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
    try:
        graph = _Graph(onnx.load(path, load_external_data=False), onnx)
    except Exception as error:  # of protobuf and of onnx's conversions
        raise ConfigError(f'{shown(path)} cannot be read as ONNX: {files.why(error)}') from error
    try:
        return graph.state(), graph.told()
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(f'{shown(path)}: {files.why(error)}') from error


class _Graph:
    def __init__(self, model, onnx):
        self._nodes = list(model.graph.node)
        to_array, value = onnx.numpy_helper.to_array, onnx.helper.get_attribute_value
        self._arrays = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
        self._attributes = {
            id(node): {item.name: value(item) for item in node.attribute} for node in self._nodes
        }
        for node in self._nodes:
            if node.op_type == 'Constant' and 'value' in self._attributes[id(node)]:
                self._arrays[node.output[0]] = to_array(self._attributes[id(node)]['value'])
        self._readers, self._makers = {}, {}
        for node in self._nodes:
            self._makers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

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
        # As many as there are, and in the order that they are computed in.
        called = [f'masker.{place}.weight' for place in places] if lost else slopes
        return named | {
            name: self._arrays[slope].reshape(-1) for name, slope in zip(called, slopes)
        }

    def _layers(self, kind):
        """[(node, name of its weights)] in the order of computation."""
        return [
            (node, node.input[1])
            for node in self._nodes
            if node.op_type == kind and node.input[1] in self._arrays
        ]

    def told(self):
        """The keys of a configuration that the operations say."""
        convolutions, transposed = self._layers('Conv'), self._layers('ConvTranspose')
        if len(convolutions) < 4 or not transposed:
            raise ValueError(
                f'it has {len(convolutions)} Conv and {len(transposed)} ConvTranspose with weights,'
                ' fewer than a Conv-TasNet'
            )
        first, last = convolutions[0][0], convolutions[-1][0]
        stride = self._only('strides', [first, transposed[-1][0]], [1])[0]
        pads = tuple(self._only('pads', [first, transposed[-1][0]], [0, 0]))
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

    def _only(self, key, nodes, default):
        """An attribute that nodes share."""
        values = [self._attributes[id(node)].get(key, default) for node in nodes]
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
            about = self._attributes[id(node)]
            if about.get('group', 1) > 1:
                dilation, taps = about.get('dilations', [1])[0], self._arrays[name].shape[-1]
                dilations.append(dilation)
                left, right = about.get('pads', [0, 0])
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
                axes = self._attributes[id(node)].get('axes')
                if axes is None:
                    axes = self._arrays[node.input[1]].tolist()
                axes = {axis % 3 for axis in axes}
                kind = {(1, 2): 'gln', (1,): 'frame'}.get(tuple(sorted(axes)), f'of axes {axes}')
            if kind:
                kinds[at > bottleneck][kind] = True
            if node.op_type == 'Sqrt' and (maker := self._makers.get(node.input[0])) is not None:
                eps |= {
                    float(self._arrays[name].reshape(-1)[0])
                    for name in maker.input
                    if maker.op_type == 'Add' and name in self._arrays
                }
        if len(kinds[1]) != 1 or len(kinds[0]) > 1 or len(eps) != 1:
            raise ValueError(
                f'its norms are {[*kinds[0]]} and {[*kinds[1]]}, with eps {sorted(eps)}: one kind'
                ' and one eps are needed'
            )
        (norm,), (first,) = kinds[1], kinds[0] or ('none',)
        # A float32, of which the shortest text is meant.
        return {'norm': norm, 'input_norm': first, 'eps': float(str(np.float32(eps.pop())))}
