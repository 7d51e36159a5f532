"""What every separator promises, joined with every encoder; and what each one is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_conv_tasnet import normal, parameters, shapes

from fgsep_jax.models import attractor, pyramid, tcn
from fgsep_jax.models.conv_tasnet import conv_tasnet, multiply_accumulates, receptive_field
from fgsep_jax.models.separators import SEPARATORS
from fgsep_jax.rules import RuleError

ENCODERS = {
    'linear': dict(name='linear', basis=6),
    'prelu': dict(name='prelu', basis=6, layers=3, dilated=True),
    'glu': dict(name='glu', basis=6, layers=2),
    'spectrum': dict(
        name='linear', basis=6, window=20, stride=5, rectify=True, strided_bias=True,
        spectrum=True,
    ),
}  # fmt: skip
SMALL = {
    'tcn': dict(bottleneck=4, hidden=5, skip=3, blocks=2, repeats=2),
    'attractor': dict(bottleneck=4, hidden=5, blocks=2, repeats=2, embedding=3, anchors=3),
    'pyramid': dict(bottleneck=4, hidden=5, skip=3, blocks=2, repeats=2, branches=2, weightor=5),
    'dual_path': dict(channels=4, chunk=6, repeats=2, layers=2, heads=2, inner=7),
}
each = pytest.mark.parametrize('name', SMALL)


def build(name, encoder='linear', *, sources=2, dtype='float32', **keys):
    separator = {'name': name, **SMALL[name], **keys}
    return conv_tasnet(sources=sources, encoder=ENCODERS[encoder], separator=separator, dtype=dtype)


def test_all_are_here():
    assert set(SMALL) == set(SEPARATORS)


@pytest.mark.few(4)
@pytest.mark.parametrize('name, encoder', list(itertools.product(SMALL, ENCODERS)))
def test_as_many_samples_out_as_in(name, encoder):
    model = build(name, encoder, sources=3)
    variables = shapes(model)
    for samples in (1, 20, 333):
        mixture_BT = jax.ShapeDtypeStruct((2, samples), jnp.float32)
        estimate_BST = jax.eval_shape(model.apply, variables, mixture_BT)
        assert (estimate_BST.shape, estimate_BST.dtype) == ((2, 3, samples), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    'name, encoder',
    [('tcn', 'spectrum'), ('attractor', 'spectrum'), ('pyramid', 'glu'), ('dual_path', 'spectrum')],
)
def test_padding_changes_nothing(name, encoder):
    model = build(name, encoder)
    variables, apply = parameters(model), jax.jit(model.apply)
    lengths = np.array([1, 37, 90, 200])
    mixture_BT = normal(len(lengths), 200)
    valid_BT = np.arange(200)[None] < lengths[:, None]
    together_BST = apply(variables, mixture_BT, lengths)
    other_BT = np.where(valid_BT, mixture_BT, normal(len(lengths), 200, seed=1))
    np.testing.assert_array_equal(apply(variables, other_BT, lengths), together_BST)
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(together_BST[row, :, length:], 0)
        alone_ST = apply(variables, mixture_BT[row : row + 1, :length])[0]
        scale = float(jnp.abs(alone_ST).max())
        assert scale > 1e-4
        np.testing.assert_allclose(together_BST[row, :, :length], alone_ST, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['attractor', 'pyramid', 'dual_path'])  # tcn: test_tcn.py
def test_gradients_are_finite_and_remat_changes_none(name):
    models = [build(name, 'spectrum', remat=remat) for remat in (False, True)]
    variables = parameters(models[0])
    mixture_BT = normal(2, 90)
    mixture_BT[0] = 0  # silence, and padding in the other
    lengths = np.array([90, 60])

    def gradient(model):
        def loss(v):
            return (model.apply(v, mixture_BT, lengths) ** 2).sum()

        return jax.jit(jax.grad(loss))(variables)

    plain, remat = map(gradient, models)
    for (path, leaf), other in zip(
        jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(remat)
    ):
        assert jnp.isfinite(leaf).all(), path
        np.testing.assert_allclose(leaf, other, atol=1e-4 * float(jnp.abs(leaf).max()) + 1e-9)
        # Of a scan the last repeat's residual output, and of one chunk what compares places.
        assert float(jnp.abs(leaf).max()) > 0 or 'branch' in str(path), path


@pytest.mark.slow
@pytest.mark.parametrize('name', ['attractor', 'pyramid', 'dual_path'])
def test_bfloat16_is_near(name):
    exact, rough = build(name), build(name, dtype='bfloat16')
    variables, mixture_BT = parameters(exact), normal(2, 400)
    exact_BST = jax.jit(exact.apply)(variables, mixture_BT)
    rough_BST = jax.jit(rough.apply)(variables, mixture_BT)
    assert rough_BST.dtype == jnp.float32
    error = jnp.square(rough_BST - exact_BST).sum() / jnp.square(exact_BST).sum()
    assert 0 < error < 3e-2


def products(jaxpr):
    """Multiply-accumulates of a traced program's matrix products and convolutions."""
    total = 0
    for equation in jaxpr.eqns:
        operands = [v.aval.shape for v in equation.invars]
        if equation.primitive.name == 'dot_general':
            (contracted, _), _ = equation.params['dimension_numbers']
            depth = np.prod([operands[0][axis] for axis in contracted])
            total += np.prod(equation.outvars[0].aval.shape) * depth
        if equation.primitive.name == 'conv_general_dilated':
            total += np.prod(equation.outvars[0].aval.shape) * np.prod(operands[1][:-1])
        times = equation.params.get('length', 1) if equation.primitive.name == 'scan' else 1
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, 'eqns')):
            inner = getattr(value, 'jaxpr', value)
            total += times * products(inner) if hasattr(inner, 'eqns') else 0
    return total


@each
def test_multiply_accumulates_are_those_of_the_traced_program(name):
    how = {'chunk': 200} if name == 'dual_path' else {'depthwise': 'conv'}
    model = build(name, **how)
    samples = 8 * 1000 - 15  # 1,000 frames
    mixture_BT = jax.ShapeDtypeStruct((1, samples), jnp.float32)
    counted = products(jax.make_jaxpr(model.apply)(shapes(model), mixture_BT).jaxpr)
    stated = multiply_accumulates(model, sample_rate=8000)
    # Of an attractor the choices of anchors, of SepFormer the attention across chunks, of a pyramid
    # its weights come on top.
    assert counted == pytest.approx(
        stated, rel={'dual_path': 0.35, 'attractor': 0.1}.get(name, 1e-3)
    )


@pytest.mark.slow
def test_parameters_are_the_papers():
    def size(**keys):
        return sum(leaf.size for leaf in jax.tree.leaves(shapes(conv_tasnet(**keys))))

    yang = dict(ENCODERS['spectrum'], basis=256)
    assert size(encoder=yang, separator=dict(name='attractor')) == 9_956_178
    furca = size(separator=dict(name='pyramid'))
    assert abs(furca / 51.4e6 - 1) < 0.02  # a sibling's published number
    sepformer = dict(encoder=dict(basis=256, rectify=True), separator=dict(name='dual_path'))
    assert abs(size(**sepformer) / 25.7e6 - 1) < 0.01


@pytest.mark.parametrize('name', ['attractor', 'pyramid', 'dual_path'])
def test_what_sees_ahead_is_no_causal_model(name):
    with pytest.raises(RuleError, match='causal = True: '):
        conv_tasnet(separator={'name': name, **SMALL[name]}, causal=True, norm='cln')


@pytest.mark.parametrize('name, keys, words', [
    ('attractor', dict(anchors=1), 'anchors = 1: must be at least sources = 2'),
    ('attractor', dict(embedding=0), 'embedding = 0: must be at least 1'),
    ('pyramid', dict(branches=0), 'branches = 0'),
    ('pyramid', dict(skip=0), 'skip = 0'),
    ('dual_path', dict(chunk=7), 'chunk = 7: must be even'),
    ('dual_path', dict(heads=3), 'channels = 4: must be a multiple of heads = 3'),
    ('dual_path', dict(mask='tanh'), 'mask = .tanh.: must be one of'),
])  # fmt: skip
def test_what_cannot_work_is_said(name, keys, words):
    with pytest.raises(RuleError, match=f'separator.{words}'):
        build(name, **keys)


def test_receptive_fields():
    assert receptive_field(build('attractor')) == receptive_field(build('tcn'))
    wide = receptive_field(build('pyramid')) - receptive_field(build('tcn'))
    assert wide == 2 * 3 * 2 * 8  # two taps more, over dilations 1 and 2, twice; stride 8
    assert receptive_field(build('dual_path')) is None


def test_attractors_of_two_blobs_are_their_centres():
    rng = np.random.default_rng(0)
    centre_SD = np.array([[9.0, 0, 0], [0, 9.0, 0]], np.float32)
    which_BKN = rng.integers(0, 2, (1, 12, 5))
    embedding_BKND = centre_SD[which_BKN] + 0.01 * rng.standard_normal((1, 12, 5, 3), np.float32)
    made_BSD = attractor.attractors(embedding_BKND, centre_SD / 9, sources=2)
    np.testing.assert_allclose(made_BSD[0], centre_SD, atol=0.1)
    # Of three anchors the pair is taken whose attractors are least alike; padding is left out.
    anchor_AD = np.stack([centre_SD[0], centre_SD[0] + [0, 0, 1e-3], centre_SD[1]]) / 9
    valid_BK = np.arange(12)[None] < 8
    embedding_BKND[:, 8:] = 100
    chosen_BSD = attractor.attractors(
        embedding_BKND, anchor_AD.astype(np.float32), valid_BK, sources=2
    )
    expected_BSD = attractor.attractors(
        embedding_BKND[:, :8], anchor_AD[[0, 2]].astype(np.float32), sources=2
    )
    np.testing.assert_allclose(chosen_BSD, expected_BSD, atol=2e-2)


def test_attractors_by_hand():
    """Softmax and weighted means by numpy, in float64."""
    rng = np.random.default_rng(1)
    embedding_BKND, anchor_AD = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 5))
    share = np.exp(embedding_BKND @ anchor_AD.T)
    share /= share.sum(axis=-1, keepdims=True)
    expected = np.einsum('bkns,bknd->bsd', share, embedding_BKND) / share.sum((1, 2))[..., None]
    made = attractor.attractors(
        embedding_BKND.astype(np.float32), anchor_AD.astype(np.float32), sources=2
    )
    np.testing.assert_allclose(made, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.slow
def test_one_branch_with_open_gates_is_a_tcn():
    keys = dict(bottleneck=4, hidden=5, skip=3, blocks=2, repeats=2, sources=2)
    plain = tcn.TCN(**keys, unused_residual=True, depthwise='shift')
    model = pyramid.Pyramid(**keys, branches=1, depthwise='shift')
    code_BKN = normal(2, 30, 6)
    theirs = parameters_of(plain, code_BKN)
    ours = jax.tree.map(np.array, parameters_of(model, code_BKN))
    for key in ('norm', 'bottleneck', 'prelu', 'mask'):
        ours[key] = theirs[key]
    for repeat, index in itertools.product(range(2), range(2)):
        block = theirs[f'block_{2 * repeat + index}']
        for name, layer in block.items():
            for leaf, value in layer.items():
                ours['branch_0'][f'block_{index}'][name][leaf][repeat] = value
        for gate in ('expand_gate', 'output_gate'):
            ours['branch_0'][f'block_{index}'][gate]['kernel'][:] = 0
            ours['branch_0'][f'block_{index}'][gate]['bias'][:] = 30
    made = [jax.jit(m.apply)({'params': p}, code_BKN) for m, p in ((plain, theirs), (model, ours))]
    np.testing.assert_allclose(*made, atol=2e-6)


def parameters_of(module, *given):
    """Random ones, near what norms and slopes start with."""
    wanted = jax.eval_shape(module.init, jax.random.key(0), *given)['params']
    random = np.random.default_rng(0)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            {'scale': 1.0, 'slope': 0.25}.get(path[-1].key, 0.0)
            + 0.3 * random.standard_normal(leaf.shape).astype(np.float32)
        ),
        wanted,
    )


def test_weights_of_branches_sum_to_one_and_move_with_the_utterance():
    model, code_BKN = pyramid.Weightor(5, 3), 3 * normal(4, 30, 6)
    variables = {'params': parameters_of(model, code_BKN)}
    weight_BW = model.apply(variables, code_BKN)
    np.testing.assert_allclose(weight_BW.sum(axis=1), 1, rtol=1e-6)
    assert np.ptp(weight_BW[:, 0]) > 1e-2
    valid_BK = np.broadcast_to(np.arange(30)[None] < 11, (4, 30))
    np.testing.assert_allclose(
        model.apply(variables, code_BKN, valid_BK),
        model.apply(variables, code_BKN[:, :11]),
        rtol=1e-5,
    )
