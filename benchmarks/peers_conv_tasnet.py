"""Conv-TasNet in PyTorch: torchaudio's, and the paper's deep variants around its separator."""

import importlib.util
import itertools
import os

import jax
import numpy as np
import scipy.optimize
import torch

from fgsep_jax.interop.torch_weights import to_torchaudio


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
