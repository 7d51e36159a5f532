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

from fgsep_jax import command_line, config as config_lib, validate
from fgsep_jax.launch import tpu
from fgsep_jax.names import counted

# JAX is imported where it is used: once the command line is understood, and told of no TPU.


def compile_step(config, devices, *, noise=False, padded=False):
    """Compiles the train step of a configuration over devices.

    Args:
      config: an experiment's ConfigDict; `data.batch_size` is split over the devices.
      devices: of a pod that need not be there.
      noise: the mixtures have noise beside the sources.
      padded: the batch carries lengths, as it does where the data set has mixtures shorter than
        a segment.

    Returns:
      The compiled step.
    """
    import jax

    from fgsep_jax.data import pipeline
    from fgsep_jax.tasks import make_task
    from fgsep_jax.training import mesh as mesh_lib, state as state_lib, step as step_lib

    task = make_task(config)
    state = jax.eval_shape(lambda: state_lib.init_state(task, config))
    parts = config.data.sources + 1 if noise else 0
    shapes = pipeline.shapes(config, parts=parts, padded=padded)
    batch = {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}
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


def _sizes(config, devices):
    """Bytes of a gradient of every parameter, in float32, and of the optimiser's state that a chip
    holds."""
    import jax

    from fgsep_jax.tasks import make_task
    from fgsep_jax.training import mesh as mesh_lib, state as state_lib

    task = make_task(config)
    state = jax.eval_shape(lambda: state_lib.init_state(task, config))
    shard = config.training.shard_optimizer
    shardings = mesh_lib.of_state(state, mesh_lib.make_mesh(devices), shard_optimizer=shard)
    gradients = 4 * state_lib.parameter_count(state.params)
    return gradients, mesh_lib.device_bytes(state.optimizer, shardings.optimizer)


def _find_largest(config, devices, chip, known, args):
    """Says the largest batch of a chip that fits; `known` as for `tpu.largest_batch`."""
    import jax

    def peak(batch):
        began = time.monotonic()
        with config.unlocked():
            config.data.batch_size = batch * len(devices)
        try:
            size = peak_memory(compile_step(config, devices, noise=args.noise, padded=args.padded))
        except jax.errors.JaxRuntimeError as error:
            size = _needed(error)
        print(f'  {batch} a chip: {_gb(size)} ({time.monotonic() - began:.0f} s)')
        return size

    good, bad = tpu.largest_batch(peak, chip.hbm, known, compiles=args.compiles)
    return (
        f'largest batch      {f"{good} a chip" if good else "none was found"};'
        f' {f"{bad} does not fit" if bad else "what does not fit was not found"}'
    )


def _run(args, config):
    batch = split(config, tpu.parse(args.topology)[1], per_chip=args.per_chip_batch)
    chip, devices = tpu.describe(args.topology)
    import jax

    print(
        f'{config.experiment}:{config.preset}, {config.model.dtype}, {batch} x'
        f' {config.data.segment_seconds:g} s a chip on {args.topology}, {len(devices)} chips;'
        ' all numbers are of one chip and step',
    )
    print('compiling; a large model takes minutes', file=sys.stderr)
    began = time.monotonic()
    try:
        compiled = compile_step(config, devices, noise=args.noise, padded=args.padded)
    except jax.errors.JaxRuntimeError as error:
        if not args.largest_batch:
            raise config_lib.ConfigError(
                f'a chip does not hold {counted(batch, "mixture")}: {_gb(_needed(error))} of'
                f' {_gb(chip.hbm)}. Lower --per_chip_batch, set'
                ' --config.model.separator.remat=True (of a Conv-TasNet), or let'
                ' --largest_batch search'
            ) from error
        print(f'  {batch} a chip: {_gb(_needed(error))}')
        print(_find_largest(config, devices, chip, {batch: _needed(error)}, args))
        return
    print(f'compiled in        {time.monotonic() - began:.0f} s')
    gradients, optimizer = _sizes(config, devices)
    found = analyse(compiled, chip, chips=len(devices), gradient_bytes=gradients)
    print(report(found, chip, batch=batch, seconds_of_audio=config.data.segment_seconds))
    print(f'optimiser          {optimizer / 1e6:.4g} MB')
    if args.hlo:
        with open(args.hlo, 'w') as file:
            file.write(compiled.as_text())
    if args.largest_batch:
        print(_find_largest(config, devices, chip, {batch: found['peak']}, args))


def _parser():
    parser = command_line.Parser('fgsep_jax.launch.compile_ahead', __doc__)
    parser.add_argument(
        '--config', metavar='FILE', help='configs/NAME.py[:preset][,data set][,seed=N]'
    )
    parser.add_argument(
        '--topology',
        default='v5e:4x4',
        help=f'generation and shape of the pod: {", ".join(tpu.EXAMPLES)}, ...',
    )
    parser.add_argument(
        '--per_chip_batch',
        type=int,
        default=0,
        help='mixtures a chip; 0: those of data.batch_size over all chips',
    )
    parser.switch('--noise', 'the mixtures have noise that is no target (wham, librimix --noise)')
    parser.switch('--padded', 'some mixtures are shorter than a segment: batches carry lengths')
    parser.add_argument(
        '--hlo',
        metavar='FILE',
        type=command_line.local_path,
        help='to write the compiled program to; `python -m benchmarks.hlo` reads it',
    )
    parser.switch('--largest_batch', 'search the largest batch of a chip, by compiling some more')
    parser.add_argument(
        '--compiles',
        type=command_line.count,
        default=5,
        help='with --largest_batch: how many compilations it may take',
    )
    return parser


def main(argv=None):
    """Runs the program; mistakes of the user's end in one message and exit status 2.

    Args:
      argv: the command line; None for this process's.

    Raises:
      SystemExit: such a mistake.
    """
    words, overrides = config_lib.split_overrides(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    args, _ = parser.parse(words)
    if 'compiles' in parser.given() and not args.largest_batch:
        parser.error('--compiles goes with --largest_batch')
    try:
        if not args.config:
            raise config_lib.needed()
        config = config_lib.load(args.config)
        config_lib.override(config, overrides)
        if argv is None:
            tpu.set_environment()
        _run(args, config)
    except (config_lib.ConfigError, OSError) as error:
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    main()
