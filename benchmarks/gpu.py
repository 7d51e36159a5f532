"""On a GPU: Conv-TasNets and M2's network beside PyTorch's, and which of our ways is faster there.

    python -m benchmarks gpu

Needs JAX and PyTorch built for CUDA (`pip install -e '.[cuda,test]'`). Precisions are named in
each row: TF32 is what both sides make of float32 products here, bfloat16 is `model.dtype` of ours
and autocast of PyTorch's. Rows of several of our own ways (depthwise convolutions, LSTM by scan
or by cuDNN) have the default first, so that a ratio above 1 says which default to change.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.conv_tasnet import MODELS, Sides, flops, sizes
from benchmarks.harness import Case
from benchmarks.torch_twins import TorchMaskBLSTM
from fgsep_jax.config import ConfigError
from fgsep_jax.models.lstm import BLSTM
from fgsep_jax.models.mask_blstm import MaskBLSTM, multiply_accumulates


def cases(*, small=False, device='cuda'):
    """An iterator of the cases.

    Args:
      small: tiny sizes, which mean nothing.
      device: PyTorch's; 'cpu' shows that the code runs where no GPU is at hand.

    Raises:
      ConfigError: JAX or PyTorch sees no GPU.
    """
    on_gpu = jax.default_backend() == 'gpu' and torch.cuda.is_available()
    if device == 'cuda' and not on_gpu:
        raise ConfigError(
            f'benchmark gpu: JAX runs on {jax.default_backend()}, PyTorch'
            f' {"sees" if torch.cuda.is_available() else "sees no"} GPU; both need one.'
            " Install with pip install -e '.[cuda,test]' on a machine that has one."
        )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return itertools.chain(_conv_tasnet_cases(device, small), _mask_blstm_cases(device, small))


def _waiting(run, device):
    def waits():
        returned = run()
        if device == 'cuda':
            torch.cuda.synchronize()
        return returned

    return waits


def _conv_tasnet_cases(device, small):
    size = dict(batch=2, seconds=0.0505) if small else dict(batch=16, seconds=4)
    what = f'{size["batch"]} x {size["seconds"]} s'
    for name, model in list(MODELS.items())[: 1 if small else None]:
        model = sizes(model, small=small)
        for dtype, label in (('float32', 'TF32'), ('bfloat16', 'bfloat16')):
            sides = Sides({**model, 'dtype': dtype}, **size, device=device, peer_dtype=dtype)
            peers = {'PyTorch': _waiting(sides.peer_step, device)}
            if not small:
                module = torch.compile(sides.peer)
                peers['torch.compile'] = _waiting(lambda: sides.peer_step(module), device)
            yield Case(
                f'{name}, train step, {what}, {label}',
                sides.step,
                peers,
                flops=3 * flops(sides.task.model, **size),
            )
    ways = {
        how: Sides(sizes({'depthwise': how}, small=small), **size, device=device)
        for how in ('auto', 'shift', 'conv')
    }
    yield Case(
        f'depthwise auto, train step, {what}',
        ways.pop('auto').step,
        {f'ours, {how}': sides.step for how, sides in ways.items()},
    )


def _mask_blstm_cases(device, small):
    model = MaskBLSTM(**(dict(bands=8, layers=2, hidden=6, projection=5) if small else {}))
    batch, frames = (2, 9) if small else (16, 173)
    rng = np.random.default_rng(0)
    feature_BKM, target_BKM = rng.standard_normal((2, batch, frames, model.bands)).astype('f')
    params = jax.jit(model.init)(jax.random.key(0), feature_BKM)['params']
    peer = TorchMaskBLSTM(model, params).to(device)
    theirs = [torch.from_numpy(array).to(device) for array in (feature_BKM, target_BKM)]

    @jax.jit
    def gradient(params, feature_BKM, target_BKM):
        return jax.grad(
            lambda params: jnp.square(
                model.apply({'params': params}, feature_BKM) - target_BKM
            ).mean()
        )(params)

    def pytorch():
        peer.zero_grad()
        (peer(theirs[0]) - theirs[1]).square().mean().backward()

    ours = jax.device_put((feature_BKM, target_BKM))
    macs = batch * frames * multiply_accumulates(model, frames_per_second=1)
    yield Case(
        f'M2, network, forward and backward, {batch} x {frames} frames',
        lambda: jax.block_until_ready(gradient(params, *ours)),
        {'PyTorch (cuDNN)': _waiting(pytorch, device)},
        flops=6 * macs,
    )
    if device == 'cuda':
        yield _scan_beside_cudnn(batch, frames, 2 * model.hidden, model.hidden)


def _scan_beside_cudnn(batch, frames, channels, hidden):
    """One bidirectional layer, forward and backward: our scan and cuDNN's through JAX."""
    from jax.experimental import rnn  # exists where there is a GPU

    x_BKN = jax.random.normal(jax.random.key(0), (batch, frames, channels))
    layer = BLSTM(hidden)
    params = layer.init(jax.random.key(1), x_BKN)
    sizes = dict(
        input_size=channels, hidden_size=hidden, num_layers=1, dropout=0.0, bidirectional=True
    )
    weights = rnn.init_lstm_weight(
        jax.random.key(2), input_size=channels, hidden_size=hidden, num_layers=1, bidirectional=True
    )
    state = jnp.zeros((2, batch, hidden))
    lengths = jnp.full((batch,), frames, jnp.int32)

    scan = jax.jit(jax.grad(lambda p, x: jnp.square(layer.apply(p, x)).mean(), argnums=(0, 1)))
    cudnn = jax.jit(
        jax.grad(
            lambda w, x: jnp.square(rnn.lstm(x, state, state, w, lengths, **sizes)[0]).mean(),
            argnums=(0, 1),
        )
    )
    return Case(
        f'one BLSTM layer, {batch} x {frames} frames',
        lambda: jax.block_until_ready(scan(params, x_BKN)),
        {'ours by cuDNN': lambda: jax.block_until_ready(cudnn(weights, x_BKN))},
    )
