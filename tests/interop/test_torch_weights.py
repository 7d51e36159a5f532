"""Our linear Conv-TasNet against torchaudio's, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.torch_weights import from_torchaudio, to_torchaudio
from tiny import build

SIZES = {
    'small': dict(basis=12, bottleneck=6, hidden=10, kernel=3, blocks=2, repeats=2),
    'relu': dict(basis=12, bottleneck=6, hidden=10, kernel=3, blocks=1, repeats=3, mask='relu'),
    'three_sources': dict(
        basis=10, bottleneck=7, hidden=9, kernel=3, blocks=3, repeats=1, sources=3, window=20
    ),
    'medium': dict(basis=128, bottleneck=32, hidden=64, kernel=3, blocks=6, repeats=2),
}
sizes = pytest.mark.parametrize('size', SIZES.values(), ids=SIZES.keys())


@pytest.fixture(scope='module')
def torch():
    return pytest.importorskip('torch')


def ours(size):
    window = size.get('window', 16)
    return build(**size | dict(skip=size['bottleneck'], stride=window // 2))


def parameters(model):
    """Random ones, made without compiling the initialiser."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 80)))['params']
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: random.uniform(-0.5, 0.5, x.shape).astype(np.float32), shapes)


@pytest.fixture(autouse=True)
def seeded(torch):
    """The peer's first weights are the same whichever tests ran before."""
    torch.manual_seed(0)


def theirs(cls, size):
    return cls(
        num_sources=size.get('sources', 2),
        enc_kernel_size=size.get('window', 16),
        enc_num_feats=size['basis'],
        msk_kernel_size=size['kernel'],
        msk_num_feats=size['bottleneck'],
        msk_num_hidden_feats=size['hidden'],
        msk_num_layers=size['blocks'],
        msk_num_stacks=size['repeats'],
        msk_activate=size.get('mask', 'sigmoid'),
    )


def randomise(torch, module):
    """Weights away from their special first values (norms at 1 and 0, slopes at 0.25)."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return {name: value.numpy() for name, value in module.state_dict().items()}


@pytest.mark.slow
@sizes
def test_outputs_and_gradients_equal_torchaudio(torch, torchaudio_model, size):
    peer, model = theirs(torchaudio_model, size), ours(size)
    params = from_torchaudio(randomise(torch, peer))
    window = size.get('window', 16)
    samples = 20 * window + 3  # a length at which both pad to the same frames
    rng = np.random.default_rng(0)
    mixture_BT = rng.standard_normal((2, samples)).astype(np.float32)
    weight_BST = rng.standard_normal((2, model.sources, samples)).astype(np.float32)

    def loss(p):
        estimate_BST = model.apply({'params': p}, mixture_BT)
        return (weight_BST * estimate_BST + estimate_BST**2).mean(), estimate_BST

    (_, estimate_BST), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    peer_BST = peer(torch.from_numpy(mixture_BT)[:, None])
    (torch.from_numpy(weight_BST) * peer_BST + peer_BST**2).mean().backward()

    assert float(jnp.abs(estimate_BST).max()) > 0.1
    np.testing.assert_allclose(estimate_BST, peer_BST.detach().numpy(), atol=1e-5)
    gradient = to_torchaudio(gradient)
    for name, weight in peer.named_parameters():
        expected = weight.grad.numpy()
        error = np.linalg.norm(gradient.pop(name) - expected) / np.linalg.norm(expected)
        assert error < 1e-4, f'{name}: relative error of the gradient {error:.2e}'
    assert not gradient


@pytest.mark.slow
def test_lengths_at_which_both_pad_alike(torch, torchaudio_model):
    """As the module's docstring says, and at no other length."""
    size = dict(basis=6, bottleneck=4, hidden=5, kernel=3, blocks=1, repeats=1)
    peer, model = theirs(torchaudio_model, size), ours(size)
    variables = {'params': from_torchaudio(randomise(torch, peer))}
    window = 16
    apply = jax.jit(model.apply)
    for samples in (32, 33, 36, 39, 40, 41, 47):
        mixture_BT = np.random.default_rng(0).standard_normal((1, samples)).astype(np.float32)
        peer_BST = peer(torch.from_numpy(mixture_BT)[:, None]).detach().numpy()
        difference = np.abs(apply(variables, mixture_BT) - peer_BST).max()
        alike = (samples - 1) % window < window / 2 - 1
        assert (difference < 1e-5) == alike, f'{samples} samples'


@sizes
def test_there_and_back(torch, torchaudio_model, size):
    params = parameters(ours(size))
    state = to_torchaudio(params)
    theirs(torchaudio_model, size).load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    )
    jax.tree.map(np.testing.assert_array_equal, params, from_torchaudio(state))


def test_paper_model_has_torchaudios_names_and_shapes(torch, torchaudio_model):
    params = parameters(build())
    with torch.device('meta'):
        peer = torchaudio_model()
    expected = {name: tuple(value.shape) for name, value in peer.state_dict().items()}
    assert {name: array.shape for name, array in to_torchaudio(params).items()} == expected


def test_unused_residual_is_left_out():
    sizes = SIZES['small'] | dict(skip=6)
    model, without = build(**sizes, unused_residual=True), build(**sizes)
    mixture_BT = np.random.default_rng(0).standard_normal((1, 80)).astype(np.float32)
    variables = {'params': parameters(model)}
    params = from_torchaudio(to_torchaudio(variables['params']))
    np.testing.assert_allclose(
        jax.jit(without.apply)({'params': params}, mixture_BT),
        jax.jit(model.apply)(variables, mixture_BT),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(encoder='glu', layers=2), 'the encoder has layer_1'),
        (dict(skip=4), 'bottleneck=6'),
        (dict(skip=0), 'bottleneck=6'),
    ],
)
def test_models_without_counterpart_are_errors(options, message):
    model = build(**SIZES['small'] | dict(skip=6) | options)
    params = parameters(model)
    with pytest.raises(ValueError, match=message):
        to_torchaudio(params)


def test_wrong_state_dicts_are_errors():
    params = parameters(ours(SIZES['small']))
    state = to_torchaudio(params)
    with pytest.raises(ValueError, match='extra is no layer of the Conv-TasNet of torchaudio'):
        from_torchaudio(state | {'extra': np.zeros(1)})
    del state['decoder.weight']
    with pytest.raises(ValueError, match='decoder.weight is missing'):
        from_torchaudio(state)
