"""Conv-TasNet and its deep variants at the paper's sizes beside the same models in PyTorch.

Train steps are whole: loss with PIT, gradients, clipping, Adam. Both sides start from the same
weights and see the same batch of two mixtures of 4 s at 8 kHz.
"""

import functools

import jax
import numpy as np
import torch

from benchmarks import torch_twins
from benchmarks.harness import Case
from benchmarks.train_step import SMALL, TrainStep, noise
from fgsep_jax import config as config_lib
from fgsep_jax.models.conv_tasnet import multiply_accumulates

MODELS = {
    'Conv-TasNet': {},
    'deep PReLU': {'encoder': 'prelu', 'layers': 4},
    'GLU': {'encoder': 'glu', 'layers': 4},
}


class Sides:
    """Ours and PyTorch's side of one model: same weights, same batch.

    Args:
      model: keys of the config's section `model`.
      batch: mixtures.
      seconds: their length.
      device: PyTorch's device; ours is JAX's default.
      peer_dtype: PyTorch's type of products, by autocast where it is not float32.

    Attributes:
      step: our TrainStep; task and params are its own.
      peer: PyTorch's model.
    """

    def __init__(self, model, *, batch, seconds, device='cpu', peer_dtype='float32'):
        config = config_lib.base(
            'speech',
            experiment='benchmark',
            model=model,
            data=dict(batch_size=batch, segment_seconds=float(seconds)),
        )
        source_BST = noise(config)
        self.step = TrainStep(config, source_BST=source_BST)
        self.task, self.params = self.step.task, self.step.params
        self._mixture_BT = jax.device_put(source_BST.sum(axis=1) / np.float32(32768))
        self._separate = jax.jit(self.task.separate)
        self.peer = torch_twins.make_model(self.task.model, self.params).to(device)
        self._source_BST = torch.from_numpy(source_BST / np.float32(32768)).to(device)
        self._autocast = functools.partial(
            torch.autocast, device, getattr(torch, peer_dtype), enabled=peer_dtype != 'float32'
        )
        self._descend = torch_twins.Descent(self.peer, config)

    def forward(self):
        """Our estimates [batch, sources, samples]."""
        return self._separate(self.params, self._mixture_BT).block_until_ready()

    def peer_forward(self, model=None):
        """PyTorch's estimates."""
        with torch.no_grad(), self._autocast():
            return (self.peer if model is None else model)(self._source_BST.sum(1, keepdim=True))

    def peer_step(self, model=None):
        """One step of PyTorch's; returns the loss."""
        model = self.peer if model is None else model
        with self._autocast():
            estimate_BST = model(self._source_BST.sum(1, keepdim=True)).float()
        return self._descend(torch_twins.pit_loss(estimate_BST, self._source_BST).mean())


def sizes(model, *, small):
    """Keys of the config's section `model`: one of `MODELS`, at the paper's size or a tiny one."""
    small = {**SMALL, **({'layers': 2} if model else {})} if small else {}
    return config_lib.nested_model({**model, **small})


def flops(model, *, batch, seconds):
    """Operations of the convolutions of a forward pass; a train step needs three times as many."""
    return 2 * batch * seconds * multiply_accumulates(model, sample_rate=8000)


def least_bytes(model, *, batch, seconds, train):
    """Least bytes of the separator: each block's hidden arrays written and read once.

    Of a block, u1 and u2 [batch, frames, hidden] are written and read: four passes; a train step
    reads them once more, and writes and reads their gradients: ten.
    """
    tcn = model.separator
    frames = seconds * 8000 / model.encoder.stride
    hidden = 4 * batch * frames * tcn.hidden * tcn.blocks * tcn.repeats
    return (10 if train else 4) * hidden


def cases(*, small=False):
    """Yields the cases; `small` ones, of the deep models alone, end at once and mean nothing."""
    # Of a length at which both pad to the same frames, see `benchmarks.torch_weights`.
    batch, seconds = (2, 0.0505) if small else (2, 4)
    size, what = dict(batch=batch, seconds=seconds), f'{batch} x {seconds} s'
    for name, model in list(MODELS.items())[1 if small else 0 :]:
        sides = Sides(sizes(model, small=small), **size)
        ours = sides.task.model
        counted = {'flops': flops(ours, **size), 'bytes': least_bytes(ours, **size, train=False)}
        step = _step_cost(ours, size)
        yield Case(
            f'{name}, train step, {what}',
            sides.step,
            {'PyTorch': sides.peer_step},
            target=0.8,
            **step,
        )
        yield Case(
            f'{name}, forward, {what}',
            sides.forward,
            {'PyTorch': sides.peer_forward},
            target=None if model else 0.7,
            **counted,
        )
    # Last and by themselves: beside them PyTorch's other steps take half as long again.
    for name, model in () if small else MODELS.items():
        sides = Sides(sizes(model, small=False), **size)
        run = functools.partial(sides.peer_step, torch.compile(sides.peer))
        yield Case(
            f'{name}, train step beside torch.compile, {what}',
            sides.step,
            {'torch.compile': run},
            **_step_cost(sides.task.model, size),
        )


def _step_cost(model, size):
    return {'flops': 3 * flops(model, **size), 'bytes': least_bytes(model, **size, train=True)}
