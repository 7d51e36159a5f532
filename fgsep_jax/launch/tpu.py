"""Generations of TPU: what a chip can do, and what bounds a step on it."""

import dataclasses
import importlib.util
import math
import os

from fgsep_jax.config import ConfigError, did_you_mean

EXAMPLES = ('v4:2x2x2', 'v5e:2x2', 'v5e:4x4', 'v5e:16x16', 'v5p:2x2x1', 'v5p:4x4x4', 'v6e:4x4')


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of one chip.

    Attributes:
      flops: bfloat16 operations a second, also of float32 matrix products at JAX's default
        precision, which reads their operands as bfloat16.
      hbm_bandwidth: bytes a second.
      hbm: bytes of memory.
      ici_bandwidth: bytes a second that leave the chip over all its links.
      largest: shape of the largest slice, smallest side first.
      options: of the compiler, so that one device is one chip.
    """

    flops: float
    hbm_bandwidth: float
    hbm: float
    ici_bandwidth: float
    largest: tuple
    options: tuple = ()


# docs.cloud.google.com/tpu/docs/v4, v5e, v5p and v6e, read in 2026; their memory in GB is 2^30
# bytes, as the page of v4 writes. Their ICI bandwidth counts both directions, v5e 400, v5p 1200,
# v6e 800 GB/s: half of it leaves. v4's is 6 links of 50 GB/s (Jouppi et al., "TPU v4", ISCA 2023).
CHIPS = {
    'v4': Chip(
        275e12, 1200e9, 32 * 2**30, 300e9, (16, 16, 16), (('chip_config_name', 'megacore'),)
    ),
    'v5e': Chip(197e12, 819e9, 16 * 2**30, 200e9, (16, 16)),
    'v5p': Chip(459e12, 2765e9, 95 * 2**30, 600e9, (16, 16, 24)),
    'v6e': Chip(918e12, 1638e9, 32 * 2**30, 400e9, (16, 16)),
}


def set_environment():
    """Lets libtpu load where there is no TPU, and keeps JAX from looking for one.

    To be called before JAX is imported.
    """
    os.environ.update(
        JAX_PLATFORMS='cpu',
        TPU_SKIP_MDS_QUERY='1',  # asks no metadata server what machine this is
        ALLOW_MULTIPLE_LIBTPU_LOAD='1',
    )  # nothing runs on a TPU: two may compile at once
    # What the metadata server would have said.
    os.environ.setdefault('TPU_ACCELERATOR_TYPE', 'v5litepod-1')
    os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')


def parse(name):
    """Reads the name of a pod.

    Args:
      name: generation and shape, e.g. 'v5e:4x4'.

    Returns:
      (Chip, how many there are).

    Raises:
      ConfigError: there is no such pod.
    """
    generation = name.partition(':')[0]
    if generation not in CHIPS:
        raise ConfigError(
            f'--topology={name}: the generation must be one of {", ".join(CHIPS)}'
            f'{did_you_mean(name, EXAMPLES)} Examples: {", ".join(EXAMPLES)}.'
        )
    chip, shape = CHIPS[generation], name.partition(':')[2].split('x')
    if (
        len(shape) != len(chip.largest)
        or not all(n.isdecimal() and int(n) for n in shape)
        or any(n > most for n, most in zip(sorted(map(int, shape)), chip.largest))
    ):
        raise ConfigError(
            f'--topology={name}: the shape of {generation} must be {len(chip.largest)} numbers from'
            f' 1 to {"x".join(map(str, chip.largest))}, e.g. {", ".join(EXAMPLES)}.'
        )
    return chip, math.prod(map(int, shape))


def describe(name):
    """Describes a pod that need not be there.

    Args:
      name: as of `parse`.

    Returns:
      (Chip, its devices, one a chip).

    Raises:
      ConfigError: no such pod, or no libtpu.
    """
    chip, _ = parse(name)
    if importlib.util.find_spec('libtpu') is None:
        raise ConfigError(
            'compiling for a TPU needs its compiler, libtpu, which is not installed: `pip install'
            " 'fgsep_jax[compile-ahead]'`, on Linux; no TPU is needed"
        )
    from jax.experimental import topologies  # after set_environment

    try:
        described = topologies.get_topology_desc(name, platform='tpu', **dict(chip.options))
    except RuntimeError as error:  # jax.errors.JaxRuntimeError
        raise ConfigError(
            f'--topology={name} is not a shape that XLA knows ({error}). Examples:'
            f' {", ".join(EXAMPLES)}.'
        ) from error
    return chip, described.devices


def bounds(chip, *, flops, hbm_bytes, reduced_bytes, chips):
    """Least seconds that a step takes by each of the chip's rates; the largest is the roofline.

    Args:
      chip: a Chip.
      flops: of matrix products, a chip.
      hbm_bytes: read and written, a chip.
      reduced_bytes: what a chip gives into all-reduces. A ring passes 2 (n-1)/n of it on, at best
        over all links at once.
      chips: their number n.

    Returns:
      {'matrix units', 'HBM', 'ICI'} -> seconds.
    """
    return {
        'matrix units': flops / chip.flops,
        'HBM': hbm_bytes / chip.hbm_bandwidth,
        'ICI': 2 * (chips - 1) / chips * reduced_bytes / chip.ici_bandwidth,
    }


def roofline(seconds):
    """The line of a report on what `bounds` found."""
    each = ', '.join(f'{name} {1e3 * least:.2f} ms' for name, least in seconds.items())
    return f'roofline           {each}'


def largest_batch(peak, limit, known, *, compiles):
    """Searches the largest batch whose memory fits, in few compilations.

    Memory grows about linearly with the batch, so a line through two of them points at the
    answer and the next ones verify it; near the limit the compiler computes things again to save
    memory and leaves the line.

    Args:
      peak: batch -> bytes, or None where the compiler found no way to fit it.
      limit: bytes of memory.
      known: {batch: bytes} of compilations already done, one at least.
      compiles: how many more may be done.

    Returns:
      (largest batch that was seen to fit, smallest seen not to or None); 0 if none fitted.
    """
    known = dict(known)

    def fits(batch):
        return known[batch] is not None and known[batch] <= limit

    for _ in range(compiles):
        good = max((batch for batch in known if fits(batch)), default=0)
        bad = min((batch for batch in known if not fits(batch)), default=None)
        measured = sorted(batch for batch in known if known[batch] is not None)
        if bad is not None and bad - good <= 1:
            break
        if len(measured) < 2:
            trial = max((good or bad) // 2, 1) if not good or good > 1 else 2
        else:
            low, high = measured[-2:]
            slope = max((known[high] - known[low]) / (high - low), 1.0)
            trial = high + math.floor((limit - known[high]) / slope)
            if trial <= good:  # the line ends here: is one more too many?
                trial = good + 1
        if bad is not None and not good < trial < bad:
            trial = (good + bad) // 2
        if trial in known or trial < 1:
            break
        known[trial] = peak(trial)
    return (
        max((batch for batch in known if fits(batch)), default=0),
        min((batch for batch in known if not fits(batch)), default=None),
    )
