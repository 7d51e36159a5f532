"""The BLSTM mask estimator M2 at the paper's size beside the same model in PyTorch.

The train step is whole: STFT, mel and PCEN of 16-bit sources, loss, gradients, clipping, Adam.
Both sides start from the same weights and see the same 16 mixtures of 2 s at 44.1 kHz; that their
gradients agree is checked first.
"""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.harness import Case
from benchmarks.torch_twins import Trainer
from benchmarks.train_step import TrainStep, noise
from fgsep_jax import config as config_lib
from fgsep_jax.dsp.mel import mel_matrix
from fgsep_jax.dsp.stft import frames
from fgsep_jax.models.mask_blstm import multiply_accumulates
from fgsep_jax.training.state import parameter_count

SMALL = {
    'data': dict(sample_rate=8000, batch_size=2, segment_seconds=0.1),
    'features': dict(window=128, hop=32, bands=8),
    'model': dict(layers=2, hidden=6, projection=5),
}


class Sides:
    """Ours and PyTorch's side: same weights, same batch; `small` for sizes that end at once."""

    def __init__(self, *, small=False):
        sections = {'features': {}, **(SMALL if small else {})}
        sections['features'] = {**sections['features'], 'name': 'pcen'}
        self.config = config = config_lib.base('foreground', experiment='benchmark', **sections)
        batch = config.data.batch_size
        samples, settings = config_lib.segment_samples(config), config.features
        self.rows, self.samples = batch * frames(samples, hop=settings.hop), batch * samples
        rng = np.random.default_rng(0)
        source_BST = noise(config)
        self.step = TrainStep(
            config, source_BST=source_BST, length_B=np.full(batch, samples, np.int32)
        )
        self.task, self.params = self.step.task, self.step.params
        matrix_FM = mel_matrix(
            sample_rate=config.data.sample_rate, window=settings.window, bands=settings.bands
        )
        self.peer = Trainer(config, self.task.model, self.params, matrix_FM)
        self._source_BST = torch.from_numpy(source_BST)
        feature_BKM, target_BKM = rng.standard_normal(
            (2, batch, self.rows // batch, settings.bands)
        ).astype(np.float32)
        self._inputs = jax.device_put((feature_BKM, target_BKM))
        self._peer_inputs = torch.from_numpy(feature_BKM), torch.from_numpy(target_BKM)
        model = self.task.model

        def loss(params, feature_BKM, target_BKM):
            return jnp.square(model.apply({'params': params}, feature_BKM) - target_BKM).mean()

        self._gradient = jax.jit(jax.value_and_grad(loss))
        self._forward = jax.jit(lambda params, x: model.apply({'params': params}, x))

    def peer_step(self):
        """One of PyTorch's."""
        return self.peer.step(self._source_BST)

    def gradient(self):
        """Gradients of the network alone, ours."""
        return jax.block_until_ready(self._gradient(self.params, *self._inputs))

    def peer_gradient(self):
        """The same of PyTorch's; they stay in its parameters."""
        feature_BKM, target_BKM = self._peer_inputs
        self.peer.network.zero_grad()
        (self.peer.network(feature_BKM) - target_BKM).square().mean().backward()

    def forward(self):
        """Our masks."""
        return self._forward(self.params, self._inputs[0]).block_until_ready()

    def peer_forward(self):
        """PyTorch's masks."""
        with torch.no_grad():
            return self.peer.network(self._peer_inputs[0])

    def apart(self):
        """Largest difference of the two sides' gradients, features and loss included.

        Returns:
          Of all parameters, the largest norm of a difference as a share of the gradient's norm.
        """
        ours = jax.jit(
            jax.grad(lambda params: self.task.loss(params, self.step.batch, None)[0].mean())
        )(self.params)
        self.peer.network.zero_grad()
        self.peer.loss(self._source_BST).backward()
        shares = jax.tree.map(
            lambda a, b: np.linalg.norm(a - b) / np.linalg.norm(b),
            jax.device_get(ours),
            self.peer.network.gradients(),
        )
        return max(jax.tree.leaves(shares))

    def counts(self):
        """(operations, least bytes) of the network's forward pass, its whole and the train step.

        Products alone are counted, a backward pass as two forward ones but for the gradient of
        the first layer's inputs. Bytes: weights are read once a pass, and gradients and Adam
        read and write seven arrays of their size; what a layer passes on and what its backward
        pass needs of it is written once and read once: outputs, cells and four gates.
        """
        model, settings = self.task.model, self.config.features
        forward = 2 * self.rows * multiply_accumulates(model, frames_per_second=1)
        first = 2 * self.rows * model.bands * 2 * 4 * model.hidden
        weights = 4 * parameter_count(self.params)
        passed = 4 * self.rows * model.layers * (2 * model.hidden + model.projection)
        kept = 4 * self.rows * model.layers * 2 * 5 * model.hidden
        bins = settings.window // 2 + 1
        transform = 2 * self.rows * 2.5 * settings.window * np.log2(settings.window)
        # A bin lies in two filters at most.
        features = transform + 3 * self.rows * 8 * bins
        sources = self.samples * 2 * 2 + 2 * 2 * 8 * self.rows * bins
        network = 3 * forward - first, 3 * weights + 4 * passed + 2 * kept
        return (
            (forward, weights + 2 * passed),
            network,
            (network[0] + features + 12 * weights / 4, network[1] + sources + 7 * weights),
        )


def cases(*, small=False):
    """Yields the cases; `small` ones end at once and mean nothing."""
    sides = Sides(small=small)
    apart = sides.apart()
    if apart > 1e-3:
        raise RuntimeError(f"our gradients and PyTorch's lie {apart:.1e} of their norm apart")
    data = sides.config.data
    what = f'{data.batch_size} x {data.segment_seconds:g} s'
    forward, network, step = (dict(zip(('flops', 'bytes'), pair)) for pair in sides.counts())
    yield Case(
        f'M2, train step, {what}',
        sides.step,
        {'PyTorch': sides.peer_step},
        target=1.0,
        rounds=15,
        **step,
    )
    yield Case(
        f'M2, network alone, forward and backward, {what}',
        sides.gradient,
        {'PyTorch': sides.peer_gradient},
        rounds=15,
        **network,
    )
    yield Case(
        f'M2, network alone, forward, {what}',
        sides.forward,
        {'PyTorch': sides.peer_forward},
        rounds=15,
        **forward,
    )
