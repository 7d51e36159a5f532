"""Where the bytes of a compiled program go, read from the text of its optimised HLO.

XLA's own `cost_analysis` gives one sum, counts the body of a loop once, and counts what stays in a
TPU's vector memory as if it went to HBM. Here each instruction is counted by itself: what it reads
and writes in HBM, in the tiles that the layout pads it to, times the trips of the loops around it.
"""

import collections
import dataclasses
import json
import math
import re

_BITS = {'pred': 8, 'token': 0, 's4': 4, 'u4': 4, 's2': 2, 'u2': 2, 'bf16': 16}
_SHAPE = re.compile(r'\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](?:\{([^}]*)\})?')
_NO_TRAFFIC = {'parameter', 'constant', 'get-tuple-element', 'tuple', 'bitcast', 'after-all',
               'partition-id', 'replica-id', 'opt-barrier', 'iota', 'while', 'call', 'conditional'}
COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'collective-permute', 'all-to-all')


@dataclasses.dataclass
class Instruction:
    """One line of HLO: `name = result opcode(operands), attributes`."""

    name: str
    opcode: str
    result: str
    operands: list[str]
    arguments: str
    attributes: str
    root: bool

    @property
    def op_name(self):
        """Where in the program it comes from, '' if nobody said."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ''

    @property
    def called(self):
        """Names of the computations that it runs, by the attribute that names them."""
        return dict(re.findall(r'\b(calls|body|condition|to_apply)=%?([\w.\-]+)', self.attributes))

    @property
    def trips(self):
        """How often a while loop runs its body, 1 where the compiler does not know."""
        found = re.search(r'known_trip_count"?:?\s*\{"n":"(\d+)"', self.attributes)
        return int(found[1]) if found else 1

    @property
    def cycles(self):
        """Cycles that the compiler expects it to take; 0 where it does not say."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.attributes)
        return int(found[1]) if found else 0


def _until_closed(text, start):
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
    """
    computations, entry, current = {}, None, None
    for line in text.splitlines():
        head = re.match(r'(ENTRY )?%?([\w.\-]+) \(.*\{$', line)
        if head:
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
            continue
        found = re.match(r'\s+(ROOT )?%?([\w.\-]+) = ', line)
        if not found or current is None:
            continue
        rest = line[found.end():]
        end = _until_closed(rest, 0) if rest[0] == '(' else rest.index(' ')
        opening = rest.index('(', end)
        closing = _until_closed(rest, opening)
        arguments = rest[opening + 1:closing - 1]
        current[found[2]] = Instruction(
            name=found[2], opcode=rest[end:opening].strip(), result=rest[:end],
            operands=re.findall(r'%([\w.\-]+)', arguments), arguments=arguments,
            attributes=rest[closing:], root=bool(found[1]))
    return computations, entry


def shapes(text):
    """Shapes in a piece of HLO text: [(element type, dimensions, layout)]."""
    return [(kind, [int(n) for n in dims.split(',') if n], layout or '')
            for kind, dims, layout in _SHAPE.findall(text)]


def hbm_bytes(shape):
    """Bytes that a shape takes in HBM: padded to its tiles, 0 in any other memory."""
    kind, dims, layout = shape
    if re.search(r'S\([1-9]\d*\)', layout):
        return 0
    bits = _BITS.get(kind) or int((re.search(r'\d+', kind) or ['0'])[0])
    order = [int(n) for n in layout.split(':')[0].split(',') if n]
    tile = re.search(r'T\(([\d,]+)\)', layout)
    dims = list(dims)
    if tile and order:
        sizes = [int(n) for n in tile[1].split(',')][::-1]
        for axis, size in zip(order, sizes):
            if len(sizes) > 1:  # a one-dimensional tile pads what is one vector anyway
                dims[axis] = -(-dims[axis] // size) * size
    return math.prod(dims) * bits / 8


def _size(text):
    return sum(hbm_bytes(shape) for shape in shapes(text))


def traffic(instruction, computation, computations):
    """Bytes (read, written) in HBM by one instruction, those of the computations it calls left out.

    Of an operand that a fusion only slices, the slices count; of a buffer that it updates in
    place, the update.
    """
    opcode = instruction.opcode
    if opcode in _NO_TRAFFIC or opcode.endswith('-done'):
        return 0.0, 0.0
    results = shapes(instruction.result)
    if opcode.endswith('-start') and opcode.removesuffix('-start') not in COLLECTIVES:
        results = results[:1] if opcode == 'copy-start' else results[1:2]
    elif opcode in ('all-gather-start', 'collective-permute-start'):
        results = results[1:2]
    written = sum(hbm_bytes(shape) for shape in results)
    reads = [_size(computation[name].result) if name in computation else 0
             for name in instruction.operands]
    inside = computations.get(instruction.called.get('calls'), {})
    if opcode == 'fusion':
        reads, written = _sliced(inside, reads, written)
    elif opcode in ('dynamic-slice', 'slice', 'gather'):
        reads = [min(reads[0], written or reads[0])] if reads else []
    elif opcode == 'dynamic-update-slice':
        reads, written = reads[1:2], reads[1]
    return float(sum(reads)), float(written)


def _sliced(inside, reads, written):
    """Corrects what a fusion reads and writes for slices and for updates in place."""
    reads = list(reads)
    for parameter in inside.values():
        if parameter.opcode != 'parameter' or int(parameter.arguments) >= len(reads):
            continue
        index = int(parameter.arguments)
        users = [user for user in inside.values() if parameter.name in user.operands]
        if not users:
            continue
        if all(user.opcode in ('slice', 'dynamic-slice') for user in users):
            reads[index] = min(reads[index], sum(_size(user.result) for user in users))
        elif all(user.opcode == 'dynamic-update-slice' and user.operands[0] == parameter.name
                 for user in users):
            for user in users:
                update = _size(inside[user.operands[1]].result)
                written -= max(min(reads[index], written) - update, 0)
            reads[index] = 0
    return reads, written


@dataclasses.dataclass
class Cost:
    """What one instruction costs in a run of the program."""

    instruction: Instruction
    times: int
    read: float
    written: float
    inside: list[str]  # op_names within a fusion

    @property
    def bytes(self):
        """Bytes in HBM, of all trips."""
        return self.times * (self.read + self.written)


def costs(text):
    """Costs of all instructions that run, those in loops with their number of trips.

    Args:
      text: `compiled.as_text()`.

    Returns:
      [Cost].
    """
    computations, entry = parse(text)
    found = []

    def walk(name, times):
        computation = computations.get(name, {})
        for instruction in computation.values():
            called = instruction.called
            if instruction.opcode == 'while':
                walk(called['body'], times * instruction.trips)
            elif instruction.opcode == 'call':
                walk(called.get('to_apply') or called.get('calls'), times)
            read, written = traffic(instruction, computation, computations)
            inside = computations.get(called.get('calls'), {})
            found.append(Cost(instruction, times, read, written, [
                one.op_name for one in inside.values() if one.op_name]))

    walk(entry, 1)
    return found


def direction(op_name):
    """'forward', 'recomputed' (by remat), 'backward' or 'update', from an op_name."""
    if 'rematted_computation' in op_name:
        return 'recomputed'
    if 'transpose(' in op_name:
        return 'backward'
    return 'forward' if 'jvp(' in op_name else 'update'


def place(op_name):
    """The part of the model that an op_name names: 'separator/block_*/expand'."""
    parts = re.sub(r'jit\(\w+\)/', '', op_name).split('/')[:-1]
    parts = [part for part in parts
             if not re.match(r'(transpose|jvp|vmap|checkpoint|remat)', part)]
    return re.sub(r'_\d+(?=/|$)', lambda m: m[0] if 'norm' in op_name[:0] else '_*',
                  '/'.join(parts)) or '(top level)'


def by_place(found):
    """Sums costs over direction and place.

    Returns:
      [(direction, place, instructions, bytes, cycles)], most bytes first.
    """
    sums = collections.defaultdict(lambda: [0, 0.0, 0])
    for cost in found:
        if cost.bytes or cost.instruction.cycles:
            name = cost.instruction.op_name
            key = direction(name) if name else 'unnamed', place(name) if name else (
                cost.instruction.opcode)
            sums[key][0] += cost.times
            sums[key][1] += cost.bytes
            sums[key][2] += cost.times * cost.instruction.cycles
    return sorted(((*key, *value) for key, value in sums.items()), key=lambda row: -row[3])


def collective_bytes(found):
    """Bytes of the operands of collectives: {opcode: bytes}, in whatever memory they lie."""
    totals = collections.Counter()
    for cost in found:
        opcode = cost.instruction.opcode.removesuffix('-start')
        if opcode in COLLECTIVES:
            listed = shapes(cost.instruction.result)
            totals[opcode] += cost.times * sum(
                hbm_bytes((kind, dims, '')) for kind, dims, _ in listed)
    return dict(totals)


def custom_calls(found):
    """Custom calls by target: {target: (number, bytes of operands and results, claimed bytes)}."""
    totals = {}
    for cost in found:
        if cost.instruction.opcode == 'custom-call':
            target = re.search(r'custom_call_target="([^"]*)"', cost.instruction.attributes)[1]
            claim = re.search(r'"bytes_accessed":"?(\d+)', cost.instruction.attributes)
            number, moved, claimed = totals.get(target, (0, 0.0, 0))
            totals[target] = (number + cost.times, moved + cost.bytes,
                              claimed + cost.times * int(claim[1] if claim else 0))
    return totals
