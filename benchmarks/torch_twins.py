"""What PyTorch has for ours: the models with our weights, the loss, a train step, a training.

Run as a program, it trains torchaudio's Conv-TasNet as a run of ours would be trained: same initial
weights, data, batches, loss, clipping, optimiser and steps as `fgsep_jax.main` with the same
configuration, so that curves and tables can be laid side by side:

    python -m benchmarks.torch_twins --config=configs/convtasnet.py:small \
        --config.data.short=drop --workdir=DIR

Needs torch, and for Conv-TasNets torchaudio (which needs no C extension here). The training writes
no checkpoints: it starts afresh.
"""

import functools
import importlib.util
import itertools
import os
import sys
import time

from absl import flags
import jax
import numpy as np
import scipy.optimize
import torch

from benchmarks import torch_lstm
from benchmarks.torch_weights import to_torchaudio
from fgsep_jax import command_line, config as config_lib, data_sets, files, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.data import pipeline
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import evaluate, table
from fgsep_jax.tasks import make_task
from fgsep_jax.tasks.base import sounding
from fgsep_jax.training import cost, run_folder
from fgsep_jax.training.logging import RunLog
from fgsep_jax.training.optimizer import make_plateau, update_plateau


def load_torchaudio_conv_tasnet():
    """Loads torchaudio's module by file: importing the package would load its C extension."""
    folder = importlib.util.find_spec('torchaudio').submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location(
        'torchaudio_conv_tasnet', os.path.join(folder, 'models', 'conv_tasnet.py')
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ConvTasNet


class DeepLayer(torch.nn.Module):
    """PReLU(conv(x)), or conv(x) * sigmoid(gLN(gate_conv(x))); [batch, channels, frames].

    Args:
      channels: in and out.
      dilation: frames between two taps of the three.
      glu: gated, else PReLU.
      transpose: transposed convolutions, as in the decoder.
    """

    def __init__(self, channels, *, dilation, glu, transpose):
        super().__init__()
        kind = torch.nn.ConvTranspose1d if transpose else torch.nn.Conv1d
        self.conv = kind(channels, channels, 3, padding=dilation, dilation=dilation)
        if glu:
            self.gate_conv = kind(channels, channels, 3, padding=dilation, dilation=dilation)
            self.gate_norm = torch.nn.GroupNorm(1, channels, eps=1e-8)
        else:
            self.prelu = torch.nn.PReLU()
        self.glu = glu

    def forward(self, x):
        if self.glu:
            return self.conv(x) * torch.sigmoid(self.gate_norm(self.gate_conv(x)))
        return self.prelu(self.conv(x))


class DeepConvTasNet(torch.nn.Module):
    """torchaudio's Conv-TasNet with deep layers after its encoder and before its decoder.

    Args:
      linear: torchaudio's ConvTasNet.
      encoder: the encoder's deep layers, in their order.
      decoder: the decoder's.
    """

    def __init__(self, linear, encoder, decoder):
        super().__init__()
        self.linear = linear
        self.deep_encoder = torch.nn.Sequential(*encoder)
        self.deep_decoder = torch.nn.Sequential(*decoder)

    def forward(self, mixture_B1T):
        """Estimates [batch, sources, samples] of mixtures [batch, 1, samples]."""
        padded, rest = self.linear._align_num_frames_with_strides(mixture_B1T)
        encoded = self.deep_encoder(self.linear.encoder(padded))
        masked = self.linear.mask_generator(encoded) * encoded.unsqueeze(1)
        flat = masked.view(-1, *masked.shape[2:])
        estimate = self.linear.decoder(self.deep_decoder(flat))
        estimate = estimate.view(len(mixture_B1T), -1, estimate.shape[-1])
        return estimate[..., :-rest] if rest else estimate


def make_model(model, params):
    """PyTorch's twin of one of our Conv-TasNets, with its weights.

    Args:
      model: a `models.conv_tasnet.ConvTasNet` with skip connections as wide as the bottleneck.
      params: its parameters.

    Returns:
      A torch module: mixtures [batch, 1, samples] -> estimates [batch, sources, samples].
    """
    encoder, tcn = model.encoder, model.separator
    linear = load_torchaudio_conv_tasnet()(
        num_sources=model.sources,
        enc_kernel_size=encoder.window,
        enc_num_feats=encoder.basis,
        msk_kernel_size=tcn.kernel,
        msk_num_feats=tcn.bottleneck,
        msk_num_hidden_feats=tcn.hidden,
        msk_num_layers=tcn.blocks,
        msk_num_stacks=tcn.repeats,
        msk_activate=tcn.mask,
    )
    params = jax.device_get(params)
    coders = {name: {'kernel': params[name]['kernel']} for name in ('encoder', 'decoder')}
    _load(linear, to_torchaudio({**params, **coders}))
    if not encoder.dilations:
        return linear
    deep = {
        name: [
            _deep_layer(params[name][f'layer_{i}'], encoder, dilation, name == 'decoder')
            for i, dilation in enumerate(dilations, 1)
        ]
        for name, dilations in (
            ('encoder', encoder.dilations),
            ('decoder', encoder.dilations[::-1]),
        )
    }
    return DeepConvTasNet(linear, **deep)


def _deep_layer(params, encoder, dilation, transpose):
    layer = DeepLayer(
        encoder.basis, dilation=dilation, glu=encoder.activation == 'glu', transpose=transpose
    )
    state = {}
    for name in {'conv', 'gate_conv'} & set(params):
        # [taps, in, out] becomes [out, in, taps], of a transposed convolution [in, out, taps].
        axes = (1, 2, 0) if transpose else (2, 1, 0)
        state[f'{name}.weight'] = params[name]['kernel'].transpose(axes)
        state[f'{name}.bias'] = params[name]['bias']
    if 'gate_norm' in params:
        state['gate_norm.weight'] = params['gate_norm']['scale']
        state['gate_norm.bias'] = params['gate_norm']['bias']
    else:
        state['prelu.weight'] = params['prelu']['slope'].reshape(1)
    _load(layer, state)
    return layer


def _load(module, state):
    module.load_state_dict({k: torch.tensor(np.array(v)) for k, v in state.items()})


def pit_loss(estimate_BST, reference_BST, *, eps=1e-8):
    """Negative SI-SNR [batch] under each example's best permutation, as in `losses`."""
    reference = (reference_BST - reference_BST.mean(-1, keepdim=True))[:, :, None]
    estimate = (estimate_BST - estimate_BST.mean(-1, keepdim=True))[:, None]
    scale = (estimate * reference).mean(-1, keepdim=True) / (
        reference.square().mean(-1, keepdim=True) + eps**2
    )
    target = scale * reference
    noise = (estimate - target).square().mean(-1) + eps**2
    loss_BRE = -10 * torch.log10((target.square().mean(-1) + eps**2) / noise)
    sources = loss_BRE.shape[1]
    if sources <= 4:
        permutation_NS = torch.tensor(list(itertools.permutations(range(sources))))
        loss_BNS = loss_BRE[:, torch.arange(sources), permutation_NS]
        return loss_BNS.mean(-1).min(dim=1).values
    chosen_BS = torch.from_numpy(
        np.stack(
            [
                scipy.optimize.linear_sum_assignment(loss_RE)[1]
                for loss_RE in loss_BRE.detach().cpu().numpy()
            ]
        )
    ).to(loss_BRE.device)
    return loss_BRE.gather(2, chosen_BS[:, :, None]).mean((1, 2))


class Descent:
    """Called with a loss, takes a step on it as ours do: gradients, clipping, Adam.

    Args:
      model: a torch module.
      config: ConfigDict of the experiment.

    Attributes:
      optimizer: Adam in PyTorch's fused form, the fastest of its three on CPU.
    """

    def __init__(self, model, config):
        self._parameters, self._clip_norm = list(model.parameters()), config.training.clip_norm
        self.optimizer = torch.optim.Adam(
            self._parameters, lr=config.training.learning_rate, fused=True
        )

    def __call__(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self.optimizer.step()
        return loss.item()


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


def check_training(config):
    """Raises ConfigError for what the twin does not have, lest it be compared all the same."""
    has = {
        'model.encoder.name': 'linear',
        'model.norm': 'gln',
        'model.causal': False,
        'model.dtype': 'float32',
        'model.separator.skip': config.model.separator.get('bottleneck'),
        'loss.name': 'si_snr',
        'loss.power_law_weight': 0.0,
        'data.sources': 2,
        'data.short': 'drop',
    }
    flat = files.flatten(config.to_dict())
    wrong = [
        f'{key} = {flat.get(key)!r}, not {value!r}'
        for key, value in has.items()
        if flat.get(key) != value
    ]
    if wrong:
        raise ConfigError(f"torchaudio's Conv-TasNet and this script have no {'; '.join(wrong)}")


def _sources(batch):
    return torch.from_numpy(batch['source_BST'].astype(np.float32) / 32768)


def _validation_loss(model, source, config):
    total = count = 0.0
    with torch.no_grad():
        for batch in pipeline.validation_batches(source, config):
            source_BST = _sources(batch)
            valid_B = torch.from_numpy(batch['valid_B'] * np.asarray(sounding(batch).all(axis=1)))
            loss_B = pit_loss(model(source_BST.sum(1, keepdim=True)), source_BST)
            total, count = total + float((loss_B * valid_B).sum()), count + float(valid_B.sum())
    return total / count


def _system(model, source_BST, length_B, adaptation_BT=None):
    del adaptation_BT
    # gLN sees padding, and this model has no masks: one example at a time, at its true length.
    estimate_BST = np.zeros_like(source_BST)
    with torch.no_grad():
        for b, length in enumerate(length_B):
            mixture_1T = torch.from_numpy(source_BST[b, :, :length].sum(axis=0, keepdims=True))
            estimate_BST[b, :, :length] = model(mixture_1T[None])[0].numpy()
    return estimate_BST


def train(config, workdir):
    """Trains torchaudio's Conv-TasNet and evaluates it on the test split."""
    directory = data_sets.open_data(config, splits=('train', 'validation', 'test'))
    source, validation = (RecordSource(directory, s) for s in ('train', 'validation'))
    run_folder.check(workdir, config)
    run_folder.claim(workdir, config, source)
    task, settings = make_task(config), config.training
    model = make_model(task.model, jax.jit(task.init)(jax.random.key(config.seed)))
    descend = Descent(model, config)
    plateau = make_plateau(config)
    plateau_state = plateau.init({})
    indices, _ = pipeline.usable(source, config)
    epoch_steps = cost.steps_per_epoch(config, len(indices))
    total = epoch_steps * settings.epochs
    batches = pipeline.train_batches(source, config)
    log, began = RunLog(workdir, step=0, total=total), time.monotonic()
    for step in range(1, total + 1):
        source_BST = _sources(next(batches))
        estimate_BST = model(source_BST.sum(1, keepdim=True))
        loss = descend(pit_loss(estimate_BST, source_BST).mean())
        rate = config.data.batch_size * step / (time.monotonic() - began)
        if step % settings.log_steps == 0:
            log.scalars(step, {'loss': loss, 'examples_per_second': rate}, kind='train')
        log.progress(
            step,
            loss=loss,
            examples_per_second=rate,
            seconds_left=(total - step) * config.data.batch_size / rate,
        )
        if step % epoch_steps == 0:
            value = _validation_loss(model, validation, config)
            plateau_state = update_plateau(plateau, plateau_state, value)
            for group in descend.optimizer.param_groups:
                group['lr'] = settings.learning_rate * float(plateau_state.scale)
            log.scalars(step, {'loss': value}, kind='validation')
            log.say(f'epoch {step // epoch_steps}  step {step}  validation loss {value:.3f}')
    log.close()
    test = RecordSource(directory, 'test')
    rows, skipped = evaluate.evaluate(
        functools.partial(_system, model),
        test,
        sample_rate=config.data.sample_rate,
        batch_size=config.evaluation.batch_size,
        bucket_seconds=config.evaluation.bucket_seconds,
        filter_taps=config.evaluation.filter_taps,
        max_examples=config.evaluation.max_examples,
    )
    content = evaluate.summary(
        rows,
        skipped,
        system='torchaudio ConvTasNet',
        step=total,
        data_set=test.metadata['name'],
        preset=config.preset,
    )
    evaluate.write(os.path.join(workdir, 'evaluation', test.metadata['name']), rows, content)
    log.say(table.render(test.metadata['name'], {'torchaudio': content['metrics']}))


def main(argv=None):
    """Runs the training that the command line asks for."""
    words, overrides = config_lib.split_overrides(sys.argv[1:] if argv is None else argv)
    parser = command_line.Parser('benchmarks.torch_twins', __doc__)
    parser.add_argument('--config', metavar='FILE', help='configs/NAME.py[:preset][,seed=N]')
    parser.add_argument('--workdir', type=command_line.local_path, help='run folder')
    args, _ = parser.parse(words)
    try:
        if not args.config:
            raise config_lib.needed()
        if not args.workdir:
            raise ConfigError('--workdir=DIR is needed')
        config = config_lib.load(args.config)
        config_lib.override(config, overrides)
        validate.validate(config)
        check_training(config)
        flags.FLAGS.mark_as_parsed()  # grain reads its own
        train(config, args.workdir)
    except (ConfigError, OSError) as error:
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    main()
