"""The whole model: sizes, lengths, padding, causality, receptive field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.models import encoders, norms
from fgsep_jax.models.conv_tasnet import multiply_accumulates, receptive_field
from tiny import build

SMALL = dict(basis=12, bottleneck=6, hidden=10, skip=5, blocks=2, repeats=1)
VARIANTS = {
    'dilated': dict(encoder='prelu', layers=3, dilated=True),
    'glu': dict(encoder='glu', layers=2, blocks=2),
    'causal_glu': dict(encoder='glu', layers=2, dilated=True, norm='cln', causal=True),
    'no_skip': dict(skip=0, window=16, stride=4),
    'three_sources': dict(sources=3, mask='softmax'),
    'odd_window': dict(window=15, stride=5, encoder='glu', layers=2),
    'aligned': dict(framing='aligned', prelu='channel', decoder_bias=True),
    'plain': dict(framing='plain', rectify=True, input_norm='frame', decoder_bias=True),
    'reflect': dict(padding='reflect', blocks=3, framing='plain'),
    'frame': dict(norm='frame', input_norm='none', causal=True, framing='aligned', sources=1),
}
variants = pytest.mark.parametrize('options', VARIANTS.values(), ids=VARIANTS.keys())


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 40)))


def parameters(model):
    """Random ones, away from their special first values (norms at 1 and 0, slopes at 0.25)."""
    random = np.random.default_rng(0)

    def draw(path, leaf):
        offset = {'scale': 1.0, 'slope': 0.25}.get(path[-1].key, 0.0)
        return offset + 0.3 * random.standard_normal(leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes(model))


def size(**options):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(build(**options))))


@pytest.mark.slow
def test_parameter_counts_are_the_papers():
    assert size() == 4_984_881

    def more(**options):
        """What the separator's blocks have no part in."""
        few = dict(blocks=1, repeats=1)
        return size(**few, **options) - size(**few)

    assert more(unused_residual=True) == 5_050_545 - 4_984_881
    deep = 6 * (3 * 512 * 512 + 512)
    assert more(encoder='prelu', layers=4) == deep + 6
    assert round((4_984_881 + deep + 6) / 1e6, 1) == 9.7
    assert more(encoder='glu', layers=4) == 2 * deep + 6 * 2 * 512
    assert more(encoder='prelu', layers=4, bias=False) == deep + 6 - 6 * 512
    dilated = dict(encoder='prelu', layers=5, dilated=True)
    assert more(**dilated) == more(encoder='prelu', layers=5)


@pytest.mark.slow
@variants
def test_padding_changes_nothing(options):
    model = build(**SMALL | dict(blocks=1) | options)
    variables = parameters(model)
    apply = jax.jit(model.apply)
    lengths = [1, 37, 90]
    mixture_BT = normal(len(lengths), 90)  # noise after the lengths: it must not be read
    together_BST = apply(variables, mixture_BT, jnp.asarray(lengths))
    assert together_BST.shape == (len(lengths), model.sources, 90)
    assert together_BST.dtype == jnp.float32
    valid_BT = np.arange(90)[None] < np.array(lengths)[:, None]
    other_BT = np.where(valid_BT, mixture_BT, normal(len(lengths), 90, seed=1))
    np.testing.assert_array_equal(apply(variables, other_BT, jnp.asarray(lengths)), together_BST)
    for mixture_T, together_ST, length in zip(mixture_BT, together_BST, lengths):
        np.testing.assert_array_equal(together_ST[:, length:], 0)
        # Each length is a program of its own: all of them for the two models that differ most.
        if length == 37 or options in (VARIANTS['glu'], VARIANTS['causal_glu']):
            alone_ST = apply(variables, mixture_T[None, :length])[0]
            reached = 0.85 if options.get('framing') == 'plain' else 0.95
            assert (jnp.abs(alone_ST) > 0).mean() > reached, 'every sample is reached'
            scale = float(jnp.abs(alone_ST).max())
            np.testing.assert_allclose(together_ST[:, :length], alone_ST, atol=3e-6 * scale)


def input_support(model, variables, samples, at):
    """Input samples with a gradient from output sample `at`, summed over random mixtures."""
    weight_S = normal(model.sources, seed=7)

    def output(mixture_BT):
        return (model.apply(variables, mixture_BT)[:, :, at] * weight_S[None]).sum()

    return np.flatnonzero(np.abs(jax.jit(jax.grad(output))(normal(4, samples))).sum(0))


@pytest.mark.slow
def test_causal_model_does_not_see_the_future():
    options = SMALL | dict(blocks=1, encoder='glu', layers=2, norm='cln', causal=True)
    model = build(**options)
    seen = input_support(model, parameters(model), samples=200, at=100)
    # A frame must be complete before it is coded: one window, less the sample itself.
    assert 100 < seen.max() < 100 + 16
    assert seen.min() == 0, 'the cumulative norm sees the whole past'
    anticausal = build(**options | dict(causal=False))
    assert input_support(anticausal, parameters(anticausal), samples=200, at=100).max() >= 116


@pytest.mark.parametrize(
    'options',
    [
        dict(window=15, stride=5, kernel=5, skip=0),
        VARIANTS['dilated'],
        VARIANTS['causal_glu'] | dict(kernel=2),
    ],
)
def test_receptive_field(options, monkeypatch):
    for name in norms.NORMS:  # their statistics see everything
        monkeypatch.setitem(norms.NORMS, name, lambda x_BKN, scale_N, bias_N, **_: x_BKN)
    model = build(**SMALL | options, depthwise='shift')  # 'auto' folds the norms away
    field = receptive_field(model)
    at = field + 3
    seen = input_support(model, parameters(model), samples=2 * field + 6, at=at)
    assert seen.max() - seen.min() + 1 == field


def test_receptive_field_of_the_paper_is_1_53_seconds():
    assert receptive_field(build()) / 8000 == pytest.approx(1.533, abs=1e-3)


@pytest.mark.parametrize('options', [dict(), VARIANTS['dilated'], VARIANTS['glu'], dict(skip=0)])
def test_multiply_accumulates_equal_those_of_the_traced_program(options):
    model = build(**SMALL | options | dict(depthwise='conv', kernel=3))
    variables = shapes(model)
    frames_per_s, count = 1000, 0
    mixture_BT = jax.ShapeDtypeStruct((1, 8 * frames_per_s - 15), jnp.float32)
    traced = jax.make_jaxpr(lambda v, x: model.apply(v, x))(variables, mixture_BT)
    for equation in traced.eqns:
        operands = [v.aval.shape for v in equation.invars]
        if equation.primitive.name == 'dot_general':
            count += np.prod(operands[0]) * operands[1][-1]
        if equation.primitive.name == 'conv_general_dilated':
            count += np.prod(equation.outvars[0].aval.shape) * np.prod(operands[1][:-1])
    assert multiply_accumulates(model, sample_rate=8 * frames_per_s) == count


@pytest.mark.slow
def test_bfloat16_estimate_is_close():
    exact, rough = (build(**SMALL | VARIANTS['glu'], dtype=dtype) for dtype in encoders.DTYPES)
    variables, mixture_BT = parameters(exact), normal(2, 400)
    exact_BST = jax.jit(exact.apply)(variables, mixture_BT)
    rough_BST = jax.jit(rough.apply)(variables, mixture_BT)
    assert rough_BST.dtype == jnp.float32
    error = jnp.square(rough_BST - exact_BST).sum() / jnp.square(exact_BST).sum()
    assert 0 < error < 1e-3


@pytest.mark.slow
def test_silence_is_finite_with_its_gradient():
    model = build(**SMALL | dict(blocks=1, encoder='glu', layers=2))
    variables = parameters(model)
    loss = lambda v: model.apply(v, jnp.zeros((2, 90))).sum()  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(loss))(variables)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves([value, gradient]))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(encoder='glv'), "encoder.name = 'glv': must be one of linear, .* did you mean 'glu'"),
        (dict(norm='bn'), "^norm = 'bn': must be one of"),
        (dict(mask='tanh'), "separator.mask = 'tanh'"),
        (dict(depthwise='fft'), "separator.depthwise = 'fft'"),
        (dict(dtype='float16'), "^dtype = 'float16'[^=]*$"),  # once, though it is of both
        (dict(window=16, stride=6), 'encoder.window = 16: must be a multiple of stride = 6'),
        (dict(kernel=4), 'separator.kernel = 4: must be odd'),
        (dict(hidden=0), 'separator.hidden = 0: must be at least 1'),
        (dict(skip=-1), 'separator.skip = -1'),
        (dict(sources=0), 'sources = 0'),
        (dict(encoder='glu', layers=1), 'encoder.layers = 1: a deep encoder has at least 2'),
        (dict(causal=True), "^norm = 'gln': sees the whole utterance"),
        (dict(causal=True, norm='cln', padding='reflect'), "separator.padding = 'reflect'"),
        (dict(input_norm='gln', causal=True, norm='cln'), 'separator.input_norm'),
        (dict(basis=0, mask='tanh'), "encoder.basis = 0.*; separator.mask = 'tanh'"),
    ],
)
def test_settings_that_cannot_work_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize('shape', [(40,), (2, 1, 40), (2, 0)])
def test_wrong_mixture_shape_is_an_error(shape):
    model = build(**SMALL)
    with pytest.raises(ValueError, match='must be .batch, samples.'):
        model.apply(parameters(model), jnp.zeros(shape))
