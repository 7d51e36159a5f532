"""Where the bytes and the operations of a compiled program go, instruction by instruction.

XLA's `cost_analysis` gives sums only; it counts the body of a loop once, and what stays in a TPU's
vector memory as if it went to HBM. Here each instruction counts for what it reads and writes in
HBM, tiles filled up, times the trips of the loops around it.
"""

import collections
import dataclasses
import re

from fgsep_jax.launch import hlo_text

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
      instruction: the hlo_text.Instruction.
      times: how often it runs.
      op_name: where in the program it comes from; of a copy, where its consumer or producer does.
      read: bytes from HBM, of all times.
      written: bytes to HBM.
      touched: bytes read and written in any memory, tiles not filled up: as XLA counts.
      flops: operations of its matrix products, those within a fusion included.
      operands: bytes of the operands alone, in any memory.
      claimed: bytes that a custom call says it moves; None if it says nothing.
    """

    instruction: hlo_text.Instruction
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
    computations, entry = hlo_text.parse(text)
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
                trips = hlo_text.trips(instruction, computations)
                if trips is None:
                    unknown.append(instruction.name)
                inner = times * (1 if trips is None else trips)
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
    return hlo_text.matmul_flops(instruction, computation)


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
