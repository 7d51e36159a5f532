"""SI-SNR of all pairs, the best permutation and the gradient: beside PyTorch and the train step.

The loss of 16 mixtures of 4 s at 8 kHz, as `fgsep_jax.tasks.speech` forms it, in float32.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.harness import Case
from benchmarks.torch_twins import pit_loss
from benchmarks.train_step import SMALL, TrainStep, noise
from fgsep_jax import config as config_lib
from fgsep_jax.losses.pit import pit_of
from fgsep_jax.losses.si_snr import si_snr

STEP_BATCH = 2  # mixtures of the train step that is measured


@jax.jit
def loss_and_gradient(estimate_BST, reference_BST):
    """Our mean loss of a batch and its gradient by the estimates."""

    def mean_loss(estimate_BST):
        return pit_of(si_snr, estimate_BST, reference_BST)[0].mean()

    return jax.value_and_grad(mean_loss)(estimate_BST)


def train_step_seconds(sources, *, seconds, model):
    """Median seconds of a train step of Conv-TasNet on STEP_BATCH mixtures.

    Args:
      sources: speakers in a mixture.
      seconds: length of a mixture.
      model: keys of the config's section `model`; none for the paper's sizes.
    """
    config = config_lib.base(
        'speech',
        experiment='benchmark',
        model=model,
        data=dict(batch_size=STEP_BATCH, sources=sources, segment_seconds=float(seconds)),
    )
    step, times = TrainStep(config, source_BST=noise(config)), []
    for _ in range(5):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return float(np.median(times[2:]))


def cases(small=False):
    """Yields the cases; with `small` two sources for a fraction of a second."""
    batch, seconds = (2, 0.05) if small else (16, 4)
    for sources, target in ((2, 1.0), (4, 1.0), (10, 5.0))[: 1 if small else 3]:
        yield from _cases(
            sources, target, batch, seconds, config_lib.nested_model(SMALL if small else {})
        )


def _cases(sources, target, batch, seconds, model):
    rng = np.random.default_rng(0)
    reference_BST = rng.normal(0, 0.1, (batch, sources, round(8000 * seconds))).astype(np.float32)
    noise_BST = rng.normal(0, 0.03, reference_BST.shape).astype(np.float32)
    estimate_BST = (reference_BST + noise_BST)[:, ::-1].copy()
    placed = jnp.asarray(estimate_BST), jnp.asarray(reference_BST)
    tensors = torch.from_numpy(estimate_BST), torch.from_numpy(reference_BST)

    def ours():
        return jax.block_until_ready(loss_and_gradient(*placed))

    def theirs():
        estimate_BST = tensors[0].clone().requires_grad_()
        pit_loss(estimate_BST, tensors[1]).mean().backward()
        return estimate_BST.grad

    step = []

    def share():
        if not step:  # in a step all is linear in the batch
            step.append(
                train_step_seconds(sources, seconds=seconds, model=model) * batch / STEP_BATCH
            )
            ours()
        began = time.perf_counter()
        ours()
        return 100 * (time.perf_counter() - began) / step[0]

    name = f'PIT of {sources} sources, {batch} x {seconds:g} s, with gradient'
    # Per sample and pair some ten for products, residuals and their sums; as much for the gradient
    # of the chosen pairs.
    yield Case(
        name,
        ours,
        {'PyTorch': theirs},
        target=1.0,
        flops=10 * reference_BST.size * (sources + 1),
        bytes=3 * reference_BST.nbytes,
    )
    yield Case(
        f'{name}: share of a train step ({batch // STEP_BATCH} times one of {STEP_BATCH})',
        share,
        target=target,
        limit=True,
        unit='%',
    )
