"""SepFormer's masks are those of speechbrain's module with the same weights."""

import jax
import numpy as np
import pytest

from fgsep_jax.models.dual_path import DualPath

torch = pytest.importorskip('torch')

CHANNELS, BASIS, SOURCES, LAYERS, REPEATS, CHUNK, HEADS, INNER = 8, 6, 2, 3, 2, 10, 2, 12


def peer(dual_path):
    """Its masking network, with random weights."""

    def transformer():
        return dual_path.SBTransformerBlock(
            LAYERS, CHANNELS, HEADS, INNER, dropout=0.0, use_positional_encoding=True,
            norm_before=True,
        )  # fmt: skip

    model = dual_path.Dual_Path_Model(
        BASIS, CHANNELS, transformer(), transformer(), num_layers=REPEATS, norm='ln', K=CHUNK,
        num_spks=SOURCES, skip_around_intra=True, linear_layer_after_inter_intra=False,
    )  # fmt: skip
    torch.manual_seed(0)
    for weight in model.parameters():
        weight.data = 0.3 * torch.randn(weight.shape)
    return model.eval()


def as_ours(state):
    """Its weights as our parameters."""
    state = {name: value.numpy() for name, value in state.items()}

    def norm(name):
        return {'scale': state[f'{name}.weight'], 'bias': state[f'{name}.bias']}

    def dense(name, weight='.weight', bias='.bias'):
        kernel = state[f'{name}{weight}']
        made = {'kernel': kernel.reshape(kernel.shape[:2]).T}
        return made | ({'bias': state[f'{name}{bias}']} if bias else {})

    def layer(at):
        return {
            'norm_1': norm(f'{at}.norm1.norm'),
            'norm_2': norm(f'{at}.norm2.norm'),
            'attention_in': dense(f'{at}.self_att.att', '.in_proj_weight', '.in_proj_bias'),
            'attention_out': dense(f'{at}.self_att.att.out_proj'),
            'feed_1': dense(f'{at}.pos_ffn.ffn.0'),
            'feed_2': dense(f'{at}.pos_ffn.ffn.3'),
        }

    made = {
        'norm': norm('norm'),
        'enter': dense('conv1d', bias=''),
        'prelu': {'slope': state['prelu.weight'][0]},
        'sources': dense('conv2d'),
        'output': dense('output.0'),
        'gate': dense('output_gate.0'),
        'mask': dense('end_conv1x1', bias=''),
    }
    for index in range(REPEATS):
        for ours, theirs in (('within', 'intra'), ('across', 'inter')):
            at = f'dual_mdl.{index}.{theirs}'
            layers = [layer(f'{at}_mdl.mdl.layers.{i}') for i in range(LAYERS)]
            made[f'{ours}_{index}'] = {
                'layers': jax.tree.map(lambda *leaves: np.stack(leaves), *layers),
                'norm': norm(f'{at}_mdl.mdl.norm.norm'),
            }
            made[f'{ours}_{index}_norm'] = norm(f'{at}_norm')
    return made


@pytest.mark.slow
def test_masks_are_speechbrains(speechbrain_models):
    """Of whole codes and of rows of a padded batch, however short."""
    theirs = peer(speechbrain_models[1])
    ours = DualPath(
        sources=SOURCES, channels=CHANNELS, chunk=CHUNK, repeats=REPEATS, layers=LAYERS,
        heads=HEADS, inner=INNER,
    )  # fmt: skip
    params = as_ours(theirs.state_dict())
    code_BKN = np.random.default_rng(0).standard_normal((4, 37, BASIS)).astype(np.float32)
    shapes = jax.eval_shape(ours.init, jax.random.key(0), code_BKN)['params']
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == jax.tree.map(np.shape, params)
    lengths = [37, 30, 11, 1]
    valid_BK = np.arange(37)[None] < np.array(lengths)[:, None]
    mask_BSKN = jax.jit(ours.apply)({'params': params}, code_BKN, valid_BK)
    for row, length in enumerate(lengths):
        with torch.no_grad():
            expected = theirs(torch.from_numpy(code_BKN[row : row + 1, :length].swapaxes(1, 2)))
        expected_SKN = expected[:, 0].numpy().swapaxes(1, 2)
        assert np.abs(expected_SKN).max() > 0.1
        np.testing.assert_allclose(mask_BSKN[row, :, :length], expected_SKN, atol=1e-5)
