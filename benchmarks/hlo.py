"""Where the bytes and the operations of a compiled program go, instruction by instruction.

    python -m fgsep_jax.launch.compile_ahead --config=... --topology=v5e:4x4 --hlo=step.txt
    python -m benchmarks.hlo step.txt [--topology=v5e:4x4] [--instructions=20]

For work on a model's speed on a TPU. XLA's own `cost_analysis` gives sums only; it counts the body
of a loop once, and what stays in a TPU's vector memory as if it went to HBM. Here each instruction
counts for what it reads and writes in HBM, tiles filled up, times the trips of the loops around
it, and sums are shown by direction and place in the model. The text has no contract: a later XLA
may write it otherwise, and what is not understood is an error or stands under "loops".

XLA prints one instruction a line, `%name = result opcode(operands), attributes`, and each shape
as `f32[16,4000,512]{2,1,0:T(8,128)S(1)}`: type, dimensions, the order of the axes from the fastest,
the tiles that those are padded to on a TPU, and the memory, 0 (HBM) where no S stands.
"""

import collections
import dataclasses
import math
import pathlib
import re

from fgsep_jax import command_line
from fgsep_jax.config import ConfigError
from fgsep_jax.launch import tpu

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


COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'collective-permute', 'all-to-all')
# These move nothing themselves; what loops and calls run is counted where it stands.
_MOVE_NOTHING = {
    'parameter',
    'constant',
    'get-tuple-element',
    'tuple',
    'bitcast',
    'after-all',
    'opt-barrier',
    'partition-id',
    'replica-id',
    'while',
    'call',
    'conditional',
    'async-start',
    'async-update',
}
# Custom calls of the compiler's own that are names for memory, not work.
_BOOKKEEPING = {
    'ConcatBitcast',
    'AllocateBuffer',
    'Sharding',
    'SPMDFullToShardShape',
    'SPMDShardToFullShape',
    'AssumeGatherIndicesInBound',
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one instruction costs in a run of the program.

    Attributes:
      instruction: the Instruction.
      times: how often it runs.
      op_name: where in the program it comes from; of a copy, where its consumer or producer does.
      read: bytes from HBM, of all times.
      written: bytes to HBM.
      touched: bytes read and written in any memory, tiles not filled up: as XLA counts.
      flops: operations of its matrix products, those within a fusion included.
      operands: bytes of the operands alone, in any memory.
      claimed: bytes that a custom call says it moves; None if it says nothing.
    """

    instruction: Instruction
    times: int
    op_name: str
    read: float
    written: float
    touched: float
    flops: float
    operands: float
    claimed: float | None = None

    @property
    def bytes(self):
        """Bytes read from and written to HBM."""
        return self.read + self.written

    @property
    def cycles(self):
        """Cycles that the compiler expects, of all times."""
        return self.times * self.instruction.cycles


def _target(instruction):
    found = re.search(r'custom_call_target="([^"]*)"', instruction.attributes)
    return found[1] if found else ''


def _moved(instruction, computation, computations, measure):
    """(bytes read of each operand, bytes written), each Shape measured by `measure`."""
    opcode = instruction.opcode
    if opcode in _MOVE_NOTHING or opcode.endswith('-done') or _target(instruction) in _BOOKKEEPING:
        return [], 0.0
    reads = [
        sum(map(measure, computation[name].results)) if name in computation else 0.0
        for name in instruction.operands
    ]
    results = instruction.results
    if opcode == 'slice-start':  # ((operand), slice, semaphore)
        return [measure(dataclasses.replace(results[0], dims=results[1].dims))], measure(results[1])
    if opcode == 'copy-start':  # (copy, operand, semaphore)
        return reads, measure(results[0])
    if opcode in ('all-gather-start', 'collective-permute-start'):  # (operand, result, ...)
        return reads, measure(results[1])
    written = sum(map(measure, results))
    if opcode in ('slice', 'dynamic-slice', 'gather'):
        source = computation[instruction.operands[0]].results[0]
        return [measure(dataclasses.replace(source, dims=results[0].dims))], written
    if opcode == 'dynamic-update-slice':
        return [reads[1]], reads[1]
    if opcode == 'fusion':
        return _fused(computations[instruction.called['calls']], reads, written, measure)
    return reads, written


def _fused(inside, reads, written, measure):
    """Corrects what a fusion moves: slices of an operand count, updates in place likewise."""
    users = collections.defaultdict(list)
    for one in inside.values():
        for name in set(one.operands):
            users[name].append(one)
    for parameter in inside.values():
        if parameter.opcode != 'parameter' or int(parameter.arguments) >= len(reads):
            continue
        index, readers = int(parameter.arguments), users[parameter.name]
        while len(readers) == 1 and readers[0].opcode == 'bitcast':
            readers = users[readers[0].name]
        # A fused operand has no memory of its own: scale the part by what the whole was worth.
        whole = parameter.results[0].bytes if parameter.results else 0.0
        scale = reads[index] / whole if whole else 0.0
        if readers and all(one.opcode in ('slice', 'dynamic-slice') for one in readers):
            reads[index] = min(reads[index], scale * sum(one.results[0].bytes for one in readers))
        elif (
            len(readers) == 1
            and readers[0].opcode == 'dynamic-update-slice'
            and (parameter.results[0].bytes == readers[0].results[0].bytes)
        ):
            update = inside[readers[0].operands[1]].results[0].bytes
            written -= scale * (whole - update)
            reads[index] = 0.0
    return reads, max(written, 0.0)


def _origin(instruction, computation, users):
    """An instruction's op_name; of a nameless one its consumer's into VMEM, else its producer's."""
    if instruction.op_name:
        return instruction.op_name
    forward = bool(instruction.results) and any(
        not shape.in_hbm for shape in instruction.results[:2]
    )
    if instruction.opcode == 'copy-start':
        forward = not instruction.results[0].in_hbm
    for ahead in (forward, not forward):
        one = instruction
        for _ in range(8):
            near = (
                users[one.name]
                if ahead
                else [computation[name] for name in one.operands[:1] if name in computation]
            )
            named = next((other for other in near if other.op_name), None)
            if named:
                return named.op_name
            if not near:
                break
            one = near[0]
    return ''


def costs(text):
    """Costs of all instructions that a program runs.

    Args:
      text: of the compiled module, `compiled.as_text()`.

    Returns:
      ([Cost], names of the loops whose number of trips is not known and that count once).
    """
    computations, entry = parse(text)
    found, unknown = [], []

    def walk(name, times):
        computation = computations[name]
        users = collections.defaultdict(list)
        for instruction in computation.values():
            for operand in instruction.operands:
                users[operand].append(instruction)
        for instruction in computation.values():
            inner, called = times, instruction.called
            if instruction.opcode == 'while':
                count = trips(instruction, computations)
                if count is None:
                    unknown.append(instruction.name)
                inner = times * (1 if count is None else count)
            if instruction.opcode in ('while', 'call', 'conditional', 'async-start'):
                branches = re.search(r'branch_computations=\{([^}]*)\}', instruction.attributes)
                for other in {
                    *(
                        called.get(key)
                        for key in (
                            'body',
                            'calls',
                            'to_apply',
                            'true_computation',
                            'false_computation',
                        )
                    ),
                    *re.findall(r'%([\w.\-]+)', branches[1] if branches else ''),
                } - {None}:
                    walk(other, inner)
            found.append(_cost(instruction, computation, computations, users, times))

    walk(entry, 1)
    return found, unknown


def _cost(instruction, computation, computations, users, times):
    reads, written = _moved(instruction, computation, computations, lambda s: s.hbm_bytes)
    touched, also = _moved(instruction, computation, computations, lambda s: s.bytes)
    inside = {instruction.name: instruction}
    if instruction.opcode == 'fusion':
        inside = computations[instruction.called['calls']]
    claim = re.search(r'"bytes_accessed":"?(\d+)', instruction.attributes)
    return Cost(
        instruction,
        times,
        _origin(instruction, computation, users),
        times * sum(reads),
        times * written,
        times * (sum(touched) + also),
        times
        * sum(
            _flops(one, inside if len(inside) > 1 else computation, computations)
            for one in inside.values()
        ),
        times
        * sum(
            shape.bytes
            for name in instruction.operands
            if name in computation
            for shape in computation[name].results
        ),
        times * float(claim[1]) if claim else None,
    )


def _flops(instruction, computation, computations):
    """Of a matrix product, and of fusions within a fusion."""
    if instruction.opcode == 'fusion' and instruction.name in computation:
        inside = computations[instruction.called['calls']]
        return sum(_flops(one, inside, computations) for one in inside.values())
    return matmul_flops(instruction, computation)


def direction(op_name):
    """'forward', 'again' (remat), 'backward' or, outside the gradient, 'update'; '' unnamed."""
    if 'rematted_computation' in op_name:
        return 'again'
    if 'transpose(' in op_name:
        return 'backward'
    return ('forward' if 'jvp(' in op_name else 'update') if op_name else ''


def place(op_name):
    """The part of the program that an op_name names: 'separator/block_*/expand', 'stft'."""
    parts = []
    for part in op_name.split('/')[:-1]:  # the last one is the operation itself
        if '(' in part:
            if re.match(r'(jvp|transpose)\(', part):  # under remat the path begins anew
                parts = []
            parts += [name for name in re.findall(r'\bjit\((\w+)\)', part) if name != 'train_step']
        elif not re.fullmatch(
            'checkpoint|rematted_computation|while|body|closed_call|cond|branch_[0-9]+_fun', part
        ):
            parts.append(part)
    return re.sub(r'(block|layer|blstm)_\d+', r'\1_*', '/'.join(parts)) or '-'


def by_place(found):
    """Sums Costs over direction and place: {(direction, place): [Cost]}, most bytes first."""
    groups = collections.defaultdict(list)
    for cost in found:
        groups[direction(cost.op_name), place(cost.op_name)].append(cost)
    return dict(sorted(groups.items(), key=lambda item: -sum(one.bytes for one in item[1])))


def collectives(found):
    """Bytes that each kind of collective takes in, whatever memory they lie in."""
    totals = collections.Counter()
    for cost in found:
        opcode = cost.instruction.opcode.removesuffix('-start')
        if opcode in COLLECTIVES:
            totals[opcode] += cost.operands
    return dict(totals)


def custom_calls(found):
    """Kernels that the compiler cannot look into: {target: [Cost]}."""
    groups = collections.defaultdict(list)
    for cost in found:
        target = _target(cost.instruction)
        if cost.instruction.opcode == 'custom-call' and target not in _BOOKKEEPING:
            groups[target].append(cost)
    return dict(groups)


def summary(found, unknown):
    """The sums over a program: a text.

    Args:
      found: [Cost].
      unknown: names of the loops that count once.
    """
    flops, moved, cycles = (
        sum(getattr(one, name) for one in found) for name in ('flops', 'bytes', 'cycles')
    )
    calls = [
        f'{len(group)} x {name}, {_gb(sum(one.bytes for one in group))} in HBM by their'
        ' operands, claiming '
        + (
            _gb(sum(one.claimed for one in group))
            if all(one.claimed is not None for one in group)
            else 'nothing'
        )
        for name, group in custom_calls(found).items()
    ]
    sizes = [f'{kind} {size / 1e6:.3f} MB' for kind, size in collectives(found).items()]
    lines = [
        f'FLOPs              {flops / 1e12:.3f} T of matrix products',
        f'bytes in HBM       {_gb(moved)}',
        f'collectives        {", ".join(sizes) or "none"}',
        f'custom calls       {"; ".join(calls) or "none"}',
        f'compiler expects   {cycles / 1e6:.1f} M cycles of a core, copies left out',
    ]
    if unknown:
        lines.append(f'loops              {len(unknown)} whose trips are not known count once')
    return '\n'.join(lines)


def table(found, *, rows=40):
    """Where the bytes go, by direction and place: a text, most bytes first."""
    total = sum(one.bytes for one in found) or 1.0
    lines = ['   GB in HBM      %  GB anywhere  GFLOP  Mcycles  where']
    for (direction, place), group in list(by_place(found).items())[:rows]:
        moved, touched, flops, cycles = (
            sum(getattr(one, name) for one in group)
            for name in ('bytes', 'touched', 'flops', 'cycles')
        )
        if moved or touched:
            lines.append(
                f'{moved / 1e9:12.3f} {100 * moved / total:6.1f} {touched / 1e9:12.3f}'
                f' {flops / 1e9:6.0f} {cycles / 1e6:8.2f}  {direction:9}{place}'
            )
    return '\n'.join(lines)


def largest(found, rows):
    """The instructions that move most in HBM: a text, one a line with its shapes."""
    lines = ['   GB read  written  times  instruction']
    for one in sorted(found, key=lambda one: -one.bytes)[:rows]:
        made = ' '.join(
            f'{s.kind}[{",".join(map(str, s.dims))}]' for s in one.instruction.results[:3]
        )
        lines.append(
            f'{one.read / 1e9:10.3f} {one.written / 1e9:8.3f} {one.times:6}'
            f'  {one.instruction.name} -> {made}  {direction(one.op_name)}'
            f' {place(one.op_name)}/{one.op_name.rpartition("/")[2]}'
        )
    return '\n'.join(lines)


def _gb(size):
    return f'{size / 1e9:.3f} GB'


def main(arguments=None):
    """Prints what a file's program costs."""
    parser = command_line.Parser('benchmarks.hlo', __doc__, words='FILE')
    parser.add_argument('--topology', help='the pod, e.g. v5e:4x4: prints the roofline of a chip')
    parser.add_argument(
        '--instructions',
        type=command_line.count,
        default=0,
        help='how many to list, by bytes in HBM',
    )
    flags, files = parser.parse(arguments)
    if len(files) > 1:
        parser.error(f'{" ".join(files)}: one file at a time')
    try:
        pod = flags.topology and tpu.parse(flags.topology)
        found, unknown = costs(pathlib.Path(command_line.local_path(files[0])).read_text())
    except (ConfigError, OSError, ValueError) as error:
        raise command_line.refusal(error) from error
    print(summary(found, unknown))
    if pod:
        bounds = tpu.bounds(
            pod[0],
            flops=sum(one.flops for one in found),
            hbm_bytes=sum(one.bytes for one in found),
            reduced_bytes=sum(collectives(found).values()),
            chips=pod[1],
        )
        print(tpu.roofline(bounds))
    print('\n' + table(found))
    if flags.instructions:
        print('\n' + largest(found, flags.instructions))


if __name__ == '__main__':
    main()
