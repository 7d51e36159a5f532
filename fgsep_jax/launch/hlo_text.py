"""Reads the text of a compiled program: its instructions, their shapes and the trips of its loops.

XLA prints one instruction a line, `%name = result opcode(operands), attributes`, and each shape
as `f32[16,4000,512]{2,1,0:T(8,128)S(1)}`: type, dimensions, the order of the axes from the fastest,
the tiles that those are padded to on a TPU, and the memory, 0 (HBM) where no S stands.
"""

import dataclasses
import math
import re

_SHAPE = re.compile(r'\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](?:\{([^}]*)\})?')
_ATTRIBUTE = re.compile(
    r'\b(calls|body|condition|to_apply|true_computation|false_computation)'
    r'=%?([\w.\-]+)'
)


@dataclasses.dataclass(frozen=True)
class Shape:
    """One array: its element type, its dimensions and what stands in its layout."""

    kind: str
    dims: tuple[int, ...]
    layout: str = ''

    @property
    def in_hbm(self):
        """Whether it lies in HBM and not in a smaller memory of the core."""
        return not re.search(r'S\([1-9]\d*\)', self.layout)

    @property
    def bytes(self):
        """Bytes of its elements."""
        bits = {'pred': 8}.get(self.kind) or int((re.search(r'\d+', self.kind) or ['0'])[0])
        return math.prod(self.dims) * bits / 8

    @property
    def hbm_bytes(self):
        """Bytes that it takes in HBM, tiles filled up; 0 in another memory."""
        if not self.in_hbm:
            return 0.0
        tile = re.search(r'T\((\d+),(\d+)\)', self.layout)  # a vector's tile pads next to nothing
        order = [int(axis) for axis in self.layout.split(':')[0].split(',') if axis]
        if not tile or not math.prod(self.dims):
            return self.bytes
        dims = list(self.dims)
        for axis, size in zip(order, (int(tile[2]), int(tile[1]))):
            dims[axis] = -(-dims[axis] // size) * size
        return self.bytes * math.prod(dims) / math.prod(self.dims)


def shapes(text):
    """The Shapes in a piece of HLO text."""
    return [
        Shape(kind, tuple(int(n) for n in dims.split(',') if n), layout)
        for kind, dims, layout in _SHAPE.findall(text)
    ]


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of HLO; `arguments` is what stands in the brackets, `operands` the names in it."""

    name: str
    opcode: str
    results: tuple[Shape, ...]
    operands: tuple[str, ...]
    arguments: str
    attributes: str
    root: bool

    @property
    def op_name(self):
        """Where in the program it comes from; '' if the compiler does not say."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ''

    @property
    def called(self):
        """The computations that it runs: {attribute: name}."""
        return dict(_ATTRIBUTE.findall(self.attributes))

    @property
    def cycles(self):
        """Cycles that the compiler for TPUs expects it to take; 0 where it does not say."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.attributes)
        return int(found[1]) if found else 0


def _behind_bracket(text, start):
    """Index behind the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in '({[') - (text[at] in ')}]')
        if not depth:
            return at + 1
    raise ValueError(f'not a line of HLO: {text[:200]}')


def parse(text):
    """Reads HLO text.

    Args:
      text: of a compiled module, `compiled.as_text()`.

    Returns:
      ({computation: {name: Instruction}}, name of the entry computation).

    Raises:
      ValueError: there is no entry computation.
    """
    computations, entry, current = {}, None, {}
    for line in text.splitlines():
        head = re.match(r'(ENTRY )?%?([\w.\-]+) \(.*\{$', line)
        if head:
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
            continue
        found = re.match(r'\s+(ROOT )?%?([\w.\-]+) = ', line)
        if found:
            rest = line[found.end() :]
            end = _behind_bracket(rest, 0) if rest[0] == '(' else rest.index(' ')
            opening = rest.index('(', end)
            closing = _behind_bracket(rest, opening)
            arguments = rest[opening + 1 : closing - 1]
            current[found[2]] = Instruction(
                name=found[2],
                opcode=rest[end:opening].strip(),
                results=tuple(shapes(rest[:end])),
                operands=tuple(re.findall(r'%([\w.\-]+)', arguments)),
                arguments=arguments,
                attributes=rest[closing:],
                root=bool(found[1]),
            )
    if entry is None:
        raise ValueError('not the text of a compiled program: it has no ENTRY computation')
    return computations, entry


def trips(loop, computations):
    """How often a while loop runs: the bound of its counter, which starts at 0 under `lax.scan`.

    Returns:
      The number, or None where the condition is no comparison with a constant.
    """
    found = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
    if found:
        return int(found[1])
    condition = computations[loop.called['condition']]
    constants = [
        int(one.arguments)
        for one in condition.values()
        if one.opcode == 'constant' and one.arguments.lstrip('-').isdigit()
    ]
    return constants[0] if len(constants) == 1 else None


def matmul_flops(instruction, computation):
    """Operations of a dot or a convolution, to which a TPU turns every dot; 0 of anything else.

    Positions of a window that lie in the padding are not counted, as XLA does not.
    """
    if instruction.opcode not in ('dot', 'convolution'):
        return 0.0
    left, right = (computation[name].results[0].dims for name in instruction.operands[:2])
    out = instruction.results[0].dims
    if instruction.opcode == 'dot':
        axes = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', instruction.attributes)
        return 2.0 * math.prod(out) * math.prod(left[int(a)] for a in axes[1].split(',') if a)
    labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', instruction.attributes)
    window = dict(
        re.findall(
            r'(\w+)=([\w\-]+)',
            (re.search(r'window=\{([^}]*)\}', instruction.attributes) or ['', ''])[1],
        )
    )
    groups = re.search(r'batch_group_count=(\d+)', instruction.attributes)
    count = (
        right[labels[2].index('i')]
        * right[labels[2].index('o')]
        * left[labels[1].index('b')]
        / int(groups[1] if groups else 1)
    )
    for axis in range(sum(label.isdigit() for label in labels[1])):
        stride, left_step, right_step = (
            int(window[key].split('x')[axis]) if key in window else 1
            for key in ('stride', 'lhs_dilate', 'rhs_dilate')
        )
        pad = int(window['pad'].split('x')[axis].split('_')[0]) if 'pad' in window else 0
        length = (left[labels[1].index(str(axis))] - 1) * left_step
        count *= sum(
            0 <= at <= length and at % left_step == 0
            for position in range(out[labels[3].index(str(axis))])
            for tap in range(right[labels[2].index(str(axis))])
            for at in (position * stride + tap * right_step - pad,)
        )
    return 2.0 * count
