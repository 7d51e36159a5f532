"""Compiles the train step for a TPU that is not there, and says what it costs a chip.

    python -m fgsep_jax.launch.compile_ahead --config=configs/convtasnet.py --topology=v5e:4x4
    python -m fgsep_jax.launch.compile_ahead --config=configs/blstm_m2.py --topology=v5p:2x2x1 \\
        --per_chip_batch=16 --by_op --largest_batch

The function is the one that a run uses, sharded over the pod's chips; nothing is allocated.
"""

import re
import sys
import time

from fgsep_jax.launch import tpu

if __name__ == '__main__':
    tpu.set_environment()

from absl import app, flags
import jax
import jax.numpy as jnp
from ml_collections import config_flags

from fgsep_jax import config as config_lib, validate
from fgsep_jax.launch import hlo_bytes
from fgsep_jax.tasks import make_task
from fgsep_jax.training import mesh as mesh_lib, state as state_lib, step as step_lib


def compile_step(config, devices, *, padded=False):
    """Compiles the train step of a configuration over devices.

    Args:
      config: an experiment's ConfigDict; `data.batch_size` is split over the devices.
      devices: of a pod that need not be there.
      padded: the batch carries lengths, as it does where the data set has mixtures shorter than
        a segment.

    Returns:
      The compiled step.
    """
    task, data = make_task(config), config.data
    state = jax.eval_shape(lambda: state_lib.init_state(task, config))
    batch = {
        'source_BST': jax.ShapeDtypeStruct(
            (data.batch_size, data.sources, config_lib.segment_samples(config)), jnp.int16
        )
    }
    if padded:
        batch['length_B'] = jax.ShapeDtypeStruct((data.batch_size,), jnp.int32)
    if data.adaptation_seconds:
        batch['adaptation_BT'] = jax.ShapeDtypeStruct(
            (data.batch_size, config_lib.adaptation_samples(config)), jnp.int16
        )
    step = step_lib.jit_train_step(task, config, mesh_lib.make_mesh(devices))
    return step.lower(state, batch).compile()


def peak_memory(compiled):
    """Bytes of a chip's memory that a compiled step takes: what goes in and comes out, donated
    buffers once, temporaries and the program."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )


def analyse(compiled, chip, chips):
    """Everything that the report says of a compiled step, as numbers of one chip.

    Returns:
      {'flops', 'xla_flops', 'hbm_bytes', 'xla_bytes', 'arguments', 'temporaries', 'peak',
      'collectives', 'bounds' [s], 'cycles', 'costs', 'custom_calls', 'unknown_loops'}.
    """
    found, unknown = hlo_bytes.costs(compiled.as_text())
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    flops, moved = (sum(getattr(one, name) for one in found) for name in ('flops', 'bytes'))
    collectives = hlo_bytes.collectives(found)
    return {
        'flops': flops,
        'xla_flops': cost['flops'],
        'hbm_bytes': moved,
        'xla_bytes': cost['bytes accessed'],
        'arguments': memory.argument_size_in_bytes,
        'temporaries': memory.temp_size_in_bytes,
        'peak': peak_memory(compiled),
        'collectives': collectives,
        'cycles': sum(one.cycles for one in found),
        'bounds': tpu.bounds(
            chip, flops=flops, hbm_bytes=moved, chips=chips, reduced_bytes=sum(collectives.values())
        ),
        'costs': found,
        'custom_calls': hlo_bytes.custom_calls(found),
        'unknown_loops': unknown,
    }


def report(found, chip, *, batch, seconds_of_audio):
    """The lines of the report on what `analyse` found; `batch` is that of one chip."""
    bounds, bound = found['bounds'], max(found['bounds'], key=found['bounds'].get)
    calls = [
        f'{len(group)} x {name}, {_gb(sum(one.bytes for one in group))} in HBM by their'
        ' operands, '
        + (
            'claiming ' + _gb(sum(one.claimed for one in group))
            if all(one.claimed is not None for one in group)
            else 'claiming nothing'
        )
        for name, group in found['custom_calls'].items()
    ]
    return '\n'.join(
        [
            f'FLOPs              {found["flops"] / 1e12:.3f} T of matrix products'
            f" (XLA's count of everything, loops once: {found['xla_flops'] / 1e12:.3f} T)",
            f'bytes in HBM       {_gb(found["hbm_bytes"])}'
            f" (XLA's count, vector memory too, loops once: {_gb(found['xla_bytes'])})",
            f'peak memory        {_gb(found["peak"])} of {_gb(chip.hbm)}: arguments'
            f' {_gb(found["arguments"])}, temporaries {_gb(found["temporaries"])}',
            'collectives        '
            + (
                ', '.join(
                    f'{kind} {size / 1e6:.3f} MB' for kind, size in found['collectives'].items()
                )
                or 'none'
            ),
            'custom calls       ' + ('; '.join(calls) or 'none'),
            f'compiler expects   {found["cycles"] / 1e6:.1f} M cycles of a core, copies left out',
            'roofline           '
            + ', '.join(f'{name} {1e3 * seconds:.2f} ms' for name, seconds in bounds.items()),
            f'bound by           {bound}: {1e3 * bounds[bound]:.2f} ms a step,'
            f' {batch * seconds_of_audio / bounds[bound]:,.0f} s of audio a second and chip'
            ' at best',
            *(
                [
                    f'loops              {len(found["unknown_loops"])} whose trips are not known'
                    ' count once'
                ]
                if found['unknown_loops']
                else []
            ),
        ]
    )


def table(costs, *, rows=40):
    """Where the bytes go, by direction and place: a text, most bytes first."""
    total = sum(one.bytes for one in costs) or 1.0
    lines = ['   GB in HBM      %  GB anywhere  GFLOP  Mcycles  where']
    for (direction, place), group in list(hlo_bytes.by_place(costs).items())[:rows]:
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


def largest(costs, rows):
    """The instructions that move most in HBM: a text, one a line with its shapes."""
    lines = ['   GB read  written  times  instruction']
    for one in sorted(costs, key=lambda one: -one.bytes)[:rows]:
        made = ' '.join(
            f'{s.kind}[{",".join(map(str, s.dims))}]' for s in one.instruction.results[:3]
        )
        lines.append(
            f'{one.read / 1e9:10.3f} {one.written / 1e9:8.3f} {one.times:6}'
            f'  {one.instruction.name} -> {made}  {hlo_bytes.direction(one.op_name)}'
            f' {hlo_bytes.place(one.op_name)}/{one.op_name.rpartition("/")[2]}'
        )
    return '\n'.join(lines)


def _gb(size):
    return f'{size / 1e9:.3f} GB'


def _needed(error):
    """Bytes that a compilation could not have, as XLA's error says; another error is raised."""
    size = re.search(r'([\d.]+)([KMGT])\)? (?:exceeds|of) ', str(error))
    if 'RESOURCE_EXHAUSTED' not in str(error) or size is None:
        raise error
    return float(size[1]) * 2.0 ** {'K': 10, 'M': 20, 'G': 30, 'T': 40}[size[2]]


def _find_largest(config, devices, chip, known):
    """Says the largest batch of a chip that fits; `known` as for `tpu.largest_batch`."""

    def peak(batch):
        began = time.monotonic()
        with config.unlocked():
            config.data.batch_size = batch * len(devices)
        try:
            size = peak_memory(compile_step(config, devices, padded=_PADDED.value))
        except jax.errors.JaxRuntimeError as error:
            size = _needed(error)
        print(f'  {batch} a chip: {_gb(size)} ({time.monotonic() - began:.0f} s)', flush=True)
        return size

    good, bad = tpu.largest_batch(peak, chip.hbm, known, compiles=_COMPILES.value)
    return (
        f'largest batch      {f"{good} a chip" if good else "none was found"};'
        f' {f"{bad} does not fit" if bad else "what does not fit was not found"}'
    )


def _main(argv):
    if len(argv) > 1:
        raise app.UsageError(f'arguments not understood: {argv[1:]}')
    config = _CONFIG.value
    if config is None:
        raise config_lib.ConfigError('--config=configs/NAME.py[:preset] is needed')
    chip, devices = tpu.describe(_TOPOLOGY.value)
    if _BATCH.value < 0:
        raise config_lib.ConfigError(f'--per_chip_batch={_BATCH.value}: must not be negative')
    if _BATCH.value:
        config.data.batch_size = _BATCH.value * len(devices)
    elif config.data.batch_size % len(devices):
        raise config_lib.ConfigError(
            f'data.batch_size = {config.data.batch_size} cannot be split over {len(devices)} chips:'
            ' --per_chip_batch=N says how many mixtures each gets'
        )
    validate.validate(config, devices=len(devices))
    batch = config.data.batch_size // len(devices)
    print(
        f'{config.experiment}:{config.preset}, {config.model.dtype}, {batch} x'
        f' {config.data.segment_seconds:g} s a chip on {_TOPOLOGY.value}, {len(devices)} chips;'
        ' all numbers are of one chip and step',
        flush=True,
    )
    print('compiling; a large model takes minutes', file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        compiled = compile_step(config, devices, padded=_PADDED.value)
    except jax.errors.JaxRuntimeError as error:
        if not _LARGEST_BATCH.value:
            raise config_lib.ConfigError(
                f'{batch} mixtures a chip do not fit: they take {_gb(_needed(error))} of'
                f' {_gb(chip.hbm)}. Lower --per_chip_batch, set --config.model.remat=True (of a'
                ' Conv-TasNet), or let --largest_batch search'
            ) from error
        print(f'  {batch} a chip: {_gb(_needed(error))}', flush=True)
        print(_find_largest(config, devices, chip, {batch: _needed(error)}))
        return
    print(f'compiled in        {time.monotonic() - began:.0f} s')
    found = analyse(compiled, chip, len(devices))
    print(report(found, chip, batch=batch, seconds_of_audio=config.data.segment_seconds))
    if _HLO.value:
        with open(_HLO.value, 'w') as file:
            file.write(compiled.as_text())
    if _BY_OP.value:
        print('\n' + table(found['costs']))
    if _LARGEST.value:
        print('\n' + largest(found['costs'], _LARGEST.value))
    if _LARGEST_BATCH.value:
        print(_find_largest(config, devices, chip, {batch: found['peak']}))


def _parse(argv):
    try:
        remaining = flags.FLAGS(argv)
        # A file that could not be loaded says so only when something is read of it.
        getattr(_CONFIG.value, 'experiment', None)
        return remaining
    except (KeyError, AttributeError, flags.Error, OSError) as error:
        raise config_lib.mistake(error) from error


def run():
    """Runs the program; mistakes of the user's end in one message and exit status 2."""
    try:
        app.run(_main, flags_parser=_parse)
    except (config_lib.ConfigError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    _CONFIG = config_flags.DEFINE_config_file(
        'config', help_string='configs/NAME.py[:preset][,data set][,seed=N]'
    )
    _TOPOLOGY = flags.DEFINE_string(
        'topology', 'v5e:4x4', f'Generation and shape of the pod: {", ".join(tpu.EXAMPLES)}, ...'
    )
    _BATCH = flags.DEFINE_integer(
        'per_chip_batch', 0, 'Mixtures a chip; 0: those of data.batch_size over all chips.'
    )
    _PADDED = flags.DEFINE_bool(
        'padded', False, 'Some mixtures are shorter than a segment: batches carry lengths.'
    )
    _BY_OP = flags.DEFINE_bool('by_op', False, 'List where in the model the bytes go.')
    _LARGEST = flags.DEFINE_integer(
        'instructions', 0, 'List that many instructions, those that move most bytes.'
    )
    _HLO = flags.DEFINE_string('hlo', '', 'File to write the optimised HLO to.')
    _LARGEST_BATCH = flags.DEFINE_bool(
        'largest_batch', False, 'Search the largest batch of a chip, by compiling some more.'
    )
    _COMPILES = flags.DEFINE_integer('compiles', 5, 'How many compilations the search may take.')
    run()
