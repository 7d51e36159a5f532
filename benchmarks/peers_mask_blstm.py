"""The BLSTM mask estimator in PyTorch: its network, its features, its loss and its train step."""

import jax
import numpy as np
import torch

from benchmarks.peers import Descent
from fgsep_jax.interop import torch_lstm


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
            lstm = torch.nn.LSTM(
                weights['weight_ih_l0'].shape[1], model.hidden, batch_first=True, bidirectional=True
            )
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
        layer.load_state_dict(
            {
                'weight': torch.tensor(np.array(weights['kernel'].T)),
                'bias': torch.tensor(np.array(weights['bias'])),
            }
        )
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

    def gradients(self):
        """What the last backward pass left, as a tree of numpy arrays like our parameters."""
        tree = {}
        for index, lstm in enumerate(self.lstms, 1):
            layer = torch_lstm.from_torch({k: v.grad for k, v in lstm.named_parameters()})
            # Each of PyTorch's two biases has the gradient of our one.
            tree[f'blstm_{index}'] = {**layer, 'bias': layer['bias'] / 2}
        for name, layer in self.dense.items():
            weights = {'kernel': layer.weight.grad.numpy().T, 'bias': layer.bias.grad.numpy()}
            if name.startswith('auxiliary_'):
                tree.setdefault('auxiliary', {})[name.removeprefix('auxiliary_')] = weights
            else:
                tree[name] = weights
        return tree


class Trainer:
    """`training.step.train_step` of an experiment without auxiliary network, in PyTorch.

    Args:
      config: ConfigDict of the experiment: PCEN features, loss a frame.
      model: our model.
      params: its parameters.
      matrix_FM: mel filters.

    Raises:
      ValueError: an experiment of which this has no features or no loss.
    """

    def __init__(self, config, model, params, matrix_FM):
        if config.features.name != 'pcen' or config.loss.normalization != 'frame':
            raise ValueError(
                f"features.name = '{config.features.name}', loss.normalization ="
                f" '{config.loss.normalization}': must be 'pcen' and 'frame'"
            )
        self.network = TorchMaskBLSTM(model, jax.device_get(params))
        self._features = config.features
        self._matrix_MF = torch.tensor(np.ascontiguousarray(matrix_FM.T))
        self._window = torch.hann_window(config.features.window)
        self._smoother = pcen_smoother(config.features.pcen_smoothing)
        self._descend = Descent(self.network, config)

    def mel(self, spectrum_BFK):
        """Mel spectrograms [batch, frames, bands] of complex spectra."""
        return torch.matmul(self._matrix_MF, spectrum_BFK.abs()).transpose(1, 2)

    def feature(self, mel_BKM):
        """What the network sees of mel spectrograms."""
        settings = self._features
        smooth_BKM = self._smoother(mel_BKM)
        normal_BKM = mel_BKM * torch.exp(
            -settings.pcen_gain * torch.log(settings.pcen_eps + smooth_BKM)
        )
        bias, power = settings.pcen_bias, settings.pcen_power
        pcen_BKM = bias**power * torch.expm1(power * torch.log1p(normal_BKM / bias))
        return (pcen_BKM - settings.pcen_shift) / settings.pcen_scale

    def loss(self, source_BST):
        """Mean loss of a batch of 16-bit sources."""
        with torch.no_grad():
            source_BST = source_BST.float() / 32768
            spectrum_BSFK = torch.stft(
                source_BST.flatten(0, 1),
                self._features.window,
                self._features.hop,
                window=self._window,
                pad_mode='constant',
                return_complex=True,
            ).unflatten(0, source_BST.shape[:2])
            mixture_BKM = self.mel(spectrum_BSFK.sum(1))
            foreground_BKM = self.mel(spectrum_BSFK[:, 0])
            feature_BKM = self.feature(mixture_BKM)
        error_BKM = self.network(feature_BKM) * mixture_BKM - foreground_BKM
        return (error_BKM.square().sum((1, 2)) / error_BKM.shape[1]).mean()

    def step(self, source_BST):
        """One step of gradient descent; returns the loss."""
        return self._descend(self.loss(source_BST))


def pcen_smoother(smoothing, *, block=32):
    """PCEN's recursion from the first frame on, a block of frames at a time, as in `dsp.pcen`.

    Args:
      smoothing: s, in (0, 1].
      block: frames in a block.

    Returns:
      A function of mel spectrograms [batch, frames, bands].
    """
    decay = 1 - smoothing
    age = np.arange(block)[:, None] - np.arange(block)
    response = torch.tensor(
        np.where(age >= 0, smoothing * decay ** np.maximum(age, 0), 0), dtype=torch.float32
    )
    fading = torch.tensor(decay ** np.arange(1, block + 1)[:, None], dtype=torch.float32)

    def smooth(mel_BKM):
        frame_KC = mel_BKM.transpose(0, 1).flatten(1)
        state_1C, blocks = frame_KC[:1], []
        for frame_LC in frame_KC.split(block):
            count = len(frame_LC)
            blocks.append(response[:count, :count] @ frame_LC + fading[:count] * state_1C)
            state_1C = blocks[-1][-1:]
        return torch.cat(blocks).unflatten(1, (len(mel_BKM), -1)).transpose(0, 1)

    return smooth
