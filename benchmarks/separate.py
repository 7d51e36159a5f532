"""Separating a recording with the paper's Conv-TasNet at 8 kHz, beside PyTorch and onnxruntime.

All sides cut the recording into the same windows and join them by the same cross-fade; ours also
keeps the order of the sources and scales them.
"""

import jax
import numpy as np
import torch

from benchmarks import torch_twins
from benchmarks.harness import Case
from benchmarks.train_step import SMALL
from fgsep_jax import config as config_lib
from fgsep_jax.interop import export_model
from fgsep_jax.models.conv_tasnet import multiply_accumulates
from fgsep_jax.separation import windows
from fgsep_jax.separation.model import Separator
from fgsep_jax.tasks import make_task

RATE = 8000


def cases(*, small=False):
    """Yields the cases; `small` ones end at once and mean nothing."""
    seconds, model = (1, config_lib.nested_model(SMALL)) if small else (30, {})
    config = config_lib.base('speech', experiment='convtasnet', model=model)
    task = make_task(config)
    params = jax.jit(task.init)(jax.random.key(0))
    separator, twin = Separator(config, params), torch_twins.make_model(task.model, params).eval()
    signal_T = 0.1 * np.random.default_rng(0).standard_normal(seconds * RATE).astype(np.float32)
    how = separator.how
    window, overlap = (round(s * RATE) for s in (how.segment, how.overlap))
    starts = windows.positions(len(signal_T), min(window, len(signal_T)), window - overlap)

    def windowed(peer):
        cut = (signal_T[None, at : at + window] for at in starts)
        made = (peer(mixture_1T) for mixture_1T in cut)
        joined = windows.joined(made, starts, samples=len(signal_T), overlap=overlap)
        return np.concatenate(list(joined), axis=-1)

    def in_torch(mixture_1T):
        with torch.inference_mode():
            return twin(torch.from_numpy(mixture_1T)[:, None])[0].numpy()

    peers = {'PyTorch': in_torch, **_in_onnxruntime(separator)}
    audio = (len(starts) - 1) * how.overlap + min(how.segment, seconds)
    counted = 2 * audio * multiply_accumulates(task.model, sample_rate=RATE)
    for name, peer in peers.items():
        yield Case(
            f'Conv-TasNet, {seconds} s in half overlapped windows of {how.segment:g} s; {name}',
            lambda: separator.separate(signal_T, RATE),
            {name: lambda peer=peer: windowed(peer)},
            target=0.8,
            flops=counted,
            rounds=5,
        )
    yield Case(
        f'Conv-TasNet, {seconds} s of audio, a quarter of real time',
        lambda: separator.separate(signal_T, RATE),
        target=seconds / 4,
        limit=True,
        rounds=5,
    )


def _in_onnxruntime(separator):
    """The model as export_model writes it, where what writes it is installed."""
    try:
        import onnxruntime

        content = export_model.to_onnx(separator, {'written_by': 'benchmarks'})
    except ImportError:
        return {}
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    return {
        'onnxruntime': lambda mixture_1T: np.concatenate(session.run(None, {'mixture': mixture_1T}))
    }
