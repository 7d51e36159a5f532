"""What every separator promises, joined with every encoder; and what each one is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_conv_tasnet import normal, parameters, shapes

from fgsep_jax import registry
from fgsep_jax.models import attractor, encoders, pyramid, tcn
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
    'tcn': dict(bottleneck=4, hidden=5, skip=3, blocks=2, repeats=1),
    'attractor': dict(bottleneck=4, hidden=5, blocks=2, repeats=1, embedding=3, anchors=3),
    'pyramid': dict(bottleneck=4, hidden=5, skip=3, blocks=1, repeats=2, branches=2, weightor=5),
    'dual_path': dict(channels=4, chunk=6, repeats=1, layers=2, heads=2, inner=7),
}
each = pytest.mark.parametrize('name', SMALL)


def build(name, encoder='linear', *, sources=2, dtype='float32', **keys):
    separator = {'name': name, **SMALL[name], **keys}
    return conv_tasnet(sources=sources, encoder=ENCODERS[encoder], separator=separator, dtype=dtype)


def test_all_are_here():
    assert set(SMALL) == set(SEPARATORS)


@pytest.mark.slow
@pytest.mark.parametrize(
    'name, encoder',
    [('tcn', 'spectrum'), ('attractor', 'spectrum'), ('pyramid', 'glu'), ('dual_path', 'spectrum')],
)
def test_padding_changes_nothing(name, encoder):
    model = build(name, encoder, sources=3)
    variables, apply = parameters(model), jax.jit(model.apply)
    lengths = np.array([1, 30, 90])  # frames after 30 samples reach back into them
    mixture_BT = normal(len(lengths), 90)
    valid_BT = np.arange(90)[None] < lengths[:, None]
    together_BST = apply(variables, mixture_BT, lengths)
    assert (together_BST.shape, together_BST.dtype) == ((3, 3, 90), jnp.float32)
    other_BT = np.where(valid_BT, mixture_BT, normal(len(lengths), 90, seed=1))
    np.testing.assert_array_equal(apply(variables, other_BT, lengths), together_BST)
    for row, length in enumerate(lengths[:2]):
        np.testing.assert_array_equal(together_BST[row, :, length:], 0)
        # Each length is a program of its own; one sample is less than a chunk.
        if length == 1 and name != 'dual_path':
            continue
        alone_ST = apply(variables, mixture_BT[row : row + 1, :length])[0]
        assert alone_ST.shape == (3, length)
        scale = float(jnp.abs(alone_ST).max())
        assert scale > 1e-4
        np.testing.assert_allclose(together_BST[row, :, :length], alone_ST, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['attractor', 'pyramid', 'dual_path'])  # tcn: test_tcn.py
def test_gradients_are_finite_with_silence_and_padding(name):
    model = build(name, 'spectrum' if name == 'attractor' else 'linear')
    variables = parameters(model)
    mixture_BT = normal(2, 90)
    mixture_BT[0] = 0  # silence, and padding in the other
    lengths = np.array([90, 60])
    gradient = jax.jit(jax.grad(lambda v: (model.apply(v, mixture_BT, lengths) ** 2).sum()))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables)):
        assert jnp.isfinite(leaf).all(), path
        # Of a scan the last repeat's residual output, and of one chunk what compares places.
        assert float(jnp.abs(leaf).max()) > 0 or 'branch' in str(path), path


@pytest.mark.parametrize('name', ['attractor', 'pyramid', 'dual_path'])
def test_remat_stores_less_for_the_same_gradients(name):
    """That they are equal is by JAX's checkpoints; that memory is saved, by what is stored."""
    stored, gradients = [], []
    for remat in (False, True):
        model = build(name, remat=remat, **({} if name == 'dual_path' else dict(hidden=50)))
        variables, mixture_BT = shapes(model), normal(1, 400)

        def backward(v, model=model, mixture_BT=mixture_BT):
            return jax.vjp(lambda v: model.apply(v, mixture_BT), v)[1]

        stored.append(
            sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(backward, variables)))
        )
        gradients.append(variables)
    assert gradients[0] == gradients[1]  # names and shapes
    assert stored[1] < 0.7 * stored[0], stored


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
    how = {'chunk': 200} if name == 'dual_path' else {'depthwise': 'conv', 'blocks': 2}
    model = build(name, **how, repeats=2)
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
    def size(name, encoder=None):
        """By the first block and by a second one, for all are equal."""
        one, two = (
            sum(leaf.size for leaf in jax.tree.leaves(shapes(conv_tasnet(**keys))))
            for blocks in (1, 2)
            for keys in [dict(encoder=encoder, separator=dict(name=name, blocks=blocks, repeats=1))]
        )
        default = SEPARATORS[name]()
        return one + (default.blocks * default.repeats - 1) * (two - one)

    assert size('attractor', dict(ENCODERS['spectrum'], basis=256)) == 9_956_178
    assert abs(size('pyramid') / 51.4e6 - 1) < 0.02  # a sibling's published number
    sepformer = dict(encoder=dict(basis=256, rectify=True), separator=dict(name='dual_path'))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes(conv_tasnet(**sepformer))))
    assert abs(total / 25.7e6 - 1) < 0.01


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


@each
def test_one_source_has_no_shares(name):
    """A softmax over one source is 1 whatever the separator says: it would never learn."""
    if name != 'attractor':  # whose masks have no activation
        with pytest.raises(RuleError, match='separator.mask = .softmax.: is 1 everywhere'):
            build(name, mask='softmax', sources=1)
    mixture_BT = jax.ShapeDtypeStruct((2, 99), jnp.float32)
    assert jax.eval_shape(build(name, sources=1).init, jax.random.key(0), mixture_BT)


def test_a_norm_that_no_part_has_is_refused():
    dual_path = {'name': 'dual_path', **SMALL['dual_path']}
    with pytest.raises(RuleError, match='^norm = .cln.: the separator dual_path knows no such'):
        conv_tasnet(separator=dual_path, norm='cln')
    assert conv_tasnet(encoder=ENCODERS['glu'], separator=dual_path, norm='cln')  # its gates have


def test_a_separator_that_knows_nothing_of_causality_makes_no_causal_model(monkeypatch):
    def ahead(*, sources=2):
        return pyramid.Pyramid(sources=sources)

    monkeypatch.setattr(registry, '_load', lambda: None)
    monkeypatch.setitem(SEPARATORS, 'ahead', ahead)
    assert conv_tasnet(separator={'name': 'ahead'})
    with pytest.raises(RuleError, match='^causal = True: the separator ahead knows no such thing'):
        conv_tasnet(separator={'name': 'ahead'}, causal=True)


def test_nor_does_such_an_encoder(monkeypatch):
    def ahead(*, basis=64):
        return encoders.linear(basis=basis)

    monkeypatch.setattr(registry, '_load', lambda: None)
    monkeypatch.setitem(encoders.ENCODERS, 'ahead', ahead)
    assert conv_tasnet(encoder={'name': 'ahead'})
    with pytest.raises(RuleError, match='^causal = True: the encoder ahead knows no such thing'):
        conv_tasnet(encoder={'name': 'ahead'}, norm='cln', causal=True)
    for name in ('linear', 'prelu', 'glu'):
        assert conv_tasnet(encoder={'name': name}, norm='cln', causal=True)


def test_receptive_fields():
    plain, attractive, wide = (
        receptive_field(build(name, blocks=2, repeats=2))
        for name in ('tcn', 'attractor', 'pyramid')
    )
    assert attractive == plain
    assert wide - plain == 2 * 3 * 2 * 8  # two taps more, over dilations 1 and 2, twice; stride 8
    assert receptive_field(build('dual_path')) is None


def test_attractors_of_two_blobs_are_their_centres():
    rng = np.random.default_rng(0)
    centre_SD = np.array([[9.0, 0, 0], [0, 9.0, 0]], np.float32)
    which_BKN = rng.integers(0, 2, (1, 12, 5))
    embedding_BKND = centre_SD[which_BKN] + 0.01 * rng.standard_normal((1, 12, 5, 3), np.float32)
    made_of = jax.jit(attractor.attractors, static_argnames='sources')
    made_BSD = made_of(embedding_BKND, centre_SD / 9, sources=2)
    np.testing.assert_allclose(made_BSD[0], centre_SD, atol=0.1)
    # Of three anchors the pair is taken whose attractors are least alike; padding is left out.
    anchor_AD = np.stack([centre_SD[0], centre_SD[0] + [0, 0, 1e-3], centre_SD[1]]) / 9
    valid_BK = np.arange(12)[None] < 8
    embedding_BKND[:, 8:] = 100
    chosen_BSD = made_of(embedding_BKND, anchor_AD.astype(np.float32), valid_BK, sources=2)
    expected_BSD = made_of(embedding_BKND[:, :8], anchor_AD[[0, 2]].astype(np.float32), sources=2)
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
    apply = jax.jit(model.apply)
    weight_BW = apply(variables, code_BKN)
    np.testing.assert_allclose(weight_BW.sum(axis=1), 1, rtol=1e-6)
    assert np.ptp(weight_BW[:, 0]) > 1e-2
    valid_BK = np.broadcast_to(np.arange(30)[None] < 11, (4, 30))
    np.testing.assert_allclose(
        apply(variables, code_BKN, valid_BK),
        apply(variables, code_BKN[:, :11]),
        rtol=1e-5,
    )
