"""Compiles the train step for a TPU that is not there, and says what it costs a chip.

    python -m fgsep_jax.launch.compile_ahead --config=configs/convtasnet.py --topology=v5e:4x4
    python -m fgsep_jax.launch.compile_ahead --config=configs/blstm_m2.py --topology=v5p:2x2x1 \\
        --per_chip_batch=16 --largest_batch

The function is the one that a run uses, sharded over the pod's chips; nothing is allocated. All
counts are XLA's own.
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


def analyse(compiled, chip, *, chips, gradient_bytes):
    """Everything that the report says of a compiled step, as numbers of one chip.

    Args:
      compiled: the step.
      chip: a tpu.Chip.
      chips: how many it was compiled for.
      gradient_bytes: what they sum up over one another.

    Returns:
      {'flops', 'bytes', 'arguments', 'temporaries', 'peak', 'gradients', 'loops', 'bounds' [s]};
      FLOPs and bytes are XLA's count, which takes the body of a loop once.
    """
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return {
        'flops': cost['flops'],
        'bytes': cost['bytes accessed'],
        'arguments': memory.argument_size_in_bytes,
        'temporaries': memory.temp_size_in_bytes,
        'peak': peak_memory(compiled),
        'gradients': gradient_bytes,
        'loops': len(re.findall(r' while\(', compiled.as_text())),
        'bounds': tpu.bounds(
            chip,
            flops=cost['flops'],
            hbm_bytes=cost['bytes accessed'],
            chips=chips,
            reduced_bytes=gradient_bytes,
        ),
    }


def report(found, chip, *, batch, seconds_of_audio):
    """The lines of the report on what `analyse` found; `batch` is that of one chip."""
    bounds, bound = found['bounds'], max(found['bounds'], key=found['bounds'].get)
    lines = [
        f'FLOPs              {found["flops"] / 1e12:.4g} T',
        f'bytes accessed     {_gb(found["bytes"])}, of HBM and of the memory in a core',
        f'peak memory        {_gb(found["peak"])} of {_gb(chip.hbm)}: arguments'
        f' {_gb(found["arguments"])}, temporaries {_gb(found["temporaries"])}',
        f'gradients          {found["gradients"] / 1e6:.4g} MB in float32, summed over the chips',
        tpu.roofline(bounds),
        f'bound by           {bound}: {1e3 * bounds[bound]:.2f} ms a step,'
        f' {batch * seconds_of_audio / bounds[bound]:,.0f} s of audio a second and chip',
    ]
    if found['loops']:
        lines.append(
            f'loops              {found["loops"]}, of which XLA counts the body once, as of an LSTM'
            ' over frames; `python -m benchmarks.hlo` counts trips in what --hlo=FILE writes'
        )
    return '\n'.join(lines)


def _gb(size):
    return f'{size / 1e9:.4g} GB'


def _needed(error):
    """Bytes that a compilation could not have, as XLA's error says; another error is raised."""
    size = re.search(r'([\d.]+)([KMGT])\)? (?:exceeds|of) ', str(error))
    if 'RESOURCE_EXHAUSTED' not in str(error) or size is None:
        raise error
    return float(size[1]) * 2.0 ** {'K': 10, 'M': 20, 'G': 30, 'T': 40}[size[2]]


def split(config, chips, *, per_chip=0):
    """Sets `data.batch_size` to as many mixtures a chip and validates the configuration.

    Args:
      config: an experiment's ConfigDict.
      chips: how many.
      per_chip: mixtures; 0 for those of the configuration, over all chips.

    Returns:
      Mixtures a chip.

    Raises:
      ConfigError: they cannot be split, or the configuration cannot work.
    """
    if per_chip < 0:
        raise config_lib.ConfigError(f'--per_chip_batch={per_chip}: must not be negative')
    if per_chip:
        config.data.batch_size = per_chip * chips
    elif config.data.batch_size % chips:
        raise config_lib.ConfigError(
            f'data.batch_size = {config.data.batch_size} cannot be split over {chips} chips:'
            ' --per_chip_batch=N says how many mixtures each gets'
        )
    validate.validate(config, devices=chips)
    return config.data.batch_size // chips


def _gradient_bytes(config):
    """Bytes of a gradient of every parameter, in float32."""
    return 4 * state_lib.parameter_count(jax.eval_shape(make_task(config).init, jax.random.key(0)))


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
    batch = split(config, len(devices), per_chip=_BATCH.value)
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
    found = analyse(compiled, chip, chips=len(devices), gradient_bytes=_gradient_bytes(config))
    print(report(found, chip, batch=batch, seconds_of_audio=config.data.segment_seconds))
    if _HLO.value:
        with open(_HLO.value, 'w') as file:
            file.write(compiled.as_text())
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
    _HLO = flags.DEFINE_string(
        'hlo', '', 'File to write the compiled program to; `python -m benchmarks.hlo` reads it.'
    )
    _LARGEST_BATCH = flags.DEFINE_bool(
        'largest_batch', False, 'Search the largest batch of a chip, by compiling some more.'
    )
    _COMPILES = flags.DEFINE_integer('compiles', 5, 'How many compilations the search may take.')
    run()
