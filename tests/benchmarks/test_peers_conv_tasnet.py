"""PyTorch's twins of our Conv-TasNets are the same models."""

import importlib.util

import jax
import numpy as np
import pytest

from fgsep_jax.models.conv_tasnet import conv_tasnet

torch = pytest.importorskip('torch')
if importlib.util.find_spec('torchaudio') is None:
    pytest.skip('needs torchaudio', allow_module_level=True)

from benchmarks import conv_tasnet as bench, peers_conv_tasnet  # noqa: E402

SMALL = dict(basis=12, bottleneck=6, hidden=10, skip=6, blocks=2, repeats=2)


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(encoder='prelu', layers=3),
        dict(encoder='prelu', layers=3, dilations=(1, 2)),
        dict(encoder='glu', layers=3),
    ],
)
def test_same_estimates(options):
    model = conv_tasnet(**SMALL, **options)
    # With as many samples both pad to the same frames, see `interop.torch_weights`.
    mixture_BT = np.random.default_rng(0).standard_normal((2, 401)).astype(np.float32)
    params = jax.jit(model.init)(jax.random.key(1), mixture_BT)['params']
    ours_BST = jax.jit(model.apply)({'params': params}, mixture_BT)
    peer = peers_conv_tasnet.make_model(model, params)
    with torch.no_grad():
        theirs_BST = peer(torch.from_numpy(mixture_BT)[:, None]).numpy()
    np.testing.assert_allclose(ours_BST, theirs_BST, atol=2e-5 * np.abs(ours_BST).max())


@pytest.mark.parametrize('name', bench.MODELS)
def test_same_losses_and_gradients(name):
    sides = bench.Sides({**bench.MODELS[name], **bench.SMALL}, batch=2, seconds=401 / 8000)
    gradient = jax.grad(lambda params: sides.task.loss(params, sides.step.batch, None)[0].mean())(
        sides.params
    )
    assert sides.step() == pytest.approx(sides.peer_step(), rel=1e-5)
    # Weights in PyTorch's layout are weights in ours, some transposed; so are their gradients.
    ours = peers_conv_tasnet.make_model(sides.task.model, gradient).state_dict()
    theirs = {name: weights.grad for name, weights in sides.peer.named_parameters()}
    assert set(theirs) == set(ours)
    scale = norm(theirs) / norm(ours)  # theirs may be clipped
    for key, weights in theirs.items():
        np.testing.assert_allclose(
            weights, scale * ours[key], atol=1e-5 * norm(theirs), err_msg=key
        )


def norm(tree):
    return np.sqrt(sum(float(leaf.square().sum()) for leaf in tree.values()))
