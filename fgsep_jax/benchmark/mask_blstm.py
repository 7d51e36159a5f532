"""Times a training step of the BLSTM mask estimator beside the same model in PyTorch.

    python -m fgsep_jax.benchmark.lstm

Full size: 16 examples of 173 frames (2 s at 44.1 kHz), 128 bands, three layers of 300 cells a
direction. A step is the forward and the backward pass to the gradients of all parameters. Both
start from the same weights; their rounds alternate in one process. Prints medians, minima and the
ratio to PyTorch's, and how far loss and gradients lie apart.
"""

import os
import time

from fgsep_jax import huge_pages

if __name__ == '__main__':
    huge_pages.use()  # as `fgsep_jax.main` does; PyTorch does not gain from it, and does not lose

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from fgsep_jax.interop import torch_lstm  # noqa: E402
from fgsep_jax.models.mask_blstm import MaskBLSTM  # noqa: E402

ROUNDS, BATCH, FRAMES = 15, 16, 173


class TorchMaskBLSTM(torch.nn.Module):
    """The model of `models.mask_blstm` out of PyTorch's own layers, with the weights of ours.

    Args:
      model: our model.
      params: its parameters, as `model.init` returns them under 'params'.
    """

    def __init__(self, model, params):
        super().__init__()
        self.auxiliary = model.auxiliary
        self.lstms = torch.nn.ModuleList()
        self.dense = torch.nn.ModuleDict()
        for index in range(1, model.layers + 1):
            weights = torch_lstm.to_torch(params[f'blstm_{index}'])
            lstm = torch.nn.LSTM(weights['weight_ih_l0'].shape[1], model.hidden,
                                 batch_first=True, bidirectional=True)
            lstm.load_state_dict({k: torch.tensor(np.array(v)) for k, v in weights.items()})
            self.lstms.append(lstm)
            self._add_dense(f'dense_{index}', params[f'dense_{index}'])
        self._add_dense('mask', params['mask'])
        if model.auxiliary:
            for name in ('dense_1', 'dense_2'):
                self._add_dense(f'auxiliary_{name}', params['auxiliary'][name])
            self._add_dense('scale', params['scale'])

    def _add_dense(self, name, weights):
        layer = torch.nn.Linear(*weights['kernel'].shape)
        layer.load_state_dict({'weight': torch.tensor(np.array(weights['kernel'].T)),
                               'bias': torch.tensor(np.array(weights['bias']))})
        self.dense[name] = layer

    def forward(self, x_BKM, adaptation_BAM=None):
        """Masks [batch, frames, bands] of features; no padding."""
        for index, lstm in enumerate(self.lstms, 1):
            x_BKM, _ = lstm(x_BKM)
            if self.auxiliary and index == 1:
                lambda_BAH = adaptation_BAM
                for name in ('auxiliary_dense_1', 'auxiliary_dense_2'):
                    lambda_BAH = torch.relu(self.dense[name](lambda_BAH))
                x_BKM = x_BKM * self.dense['scale'](lambda_BAH.mean(1))[:, None]
            x_BKM = torch.tanh(self.dense[f'dense_{index}'](x_BKM))
        return torch.sigmoid(self.dense['mask'](x_BKM))


def make_steps(*, model, batch, frames, seed=0):
    """Two functions that run one step: ours and PyTorch's, each -> loss, {name: gradient}."""
    rng = np.random.default_rng(seed)
    feature_BKM, target_BKM = rng.standard_normal((2, batch, frames, model.bands)).astype('f')
    params = jax.jit(model.init)(jax.random.key(seed), feature_BKM)['params']

    @jax.jit
    def step(params, feature_BKM, target_BKM):
        def loss(params):
            return jnp.square(model.apply({'params': params}, feature_BKM) - target_BKM).mean()

        return jax.value_and_grad(loss)(params)

    ours_inputs = jax.device_put((params, feature_BKM, target_BKM))
    peer = TorchMaskBLSTM(model, params)
    peer_feature, peer_target = torch.tensor(feature_BKM), torch.tensor(target_BKM)

    def ours():
        return jax.block_until_ready(step(*ours_inputs))

    def pytorch():
        peer.zero_grad()
        loss = (peer(peer_feature) - peer_target).square().mean()
        loss.backward()
        return loss.item(), peer

    return ours, pytorch


def main():
    """Prints the table."""
    ours, pytorch = make_steps(model=MaskBLSTM(), batch=BATCH, frames=FRAMES)
    runs = {'torch.nn.LSTM': pytorch, 'ours': ours}
    (peer_loss, peer), (loss, gradients) = pytorch(), ours()  # and warms both up
    names = [f'blstm_{index + 1}' for index in range(len(peer.lstms))]
    apart = max(
        np.abs(np.asarray(gradients[name]['recurrence']['kernel'])
               - torch_lstm.from_torch({k: v.grad.numpy() for k, v in lstm.named_parameters()})
               ['recurrence']['kernel']).max() for name, lstm in zip(names, peer.lstms))
    times = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    base = np.median(times['torch.nn.LSTM'])
    print(f'{BATCH} x {FRAMES} frames, {os.cpu_count()} cores, {torch.get_num_threads()} threads;'
          f' loss {float(loss):.6f} and {float(peer_loss):.6f},'
          f' recurrent gradients at most {apart:.1e} apart\n')
    print('| | median s | minimum s | of torch.nn.LSTM |\n|---|---:|---:|---:|')
    for name, seconds in times.items():
        print(f'| {name} | {np.median(seconds):.3f} | {min(seconds):.3f} |'
              f' {np.median(seconds) / base:.2f} |')


if __name__ == '__main__':
    main()
