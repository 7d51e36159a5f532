"""A state dict that is not whole, or of another model, is refused by ValueError."""

from hypothesis import given, settings, strategies as st
import jax
import numpy as np
import pytest

from benchmarks import torch_lstm, torch_weights


def _torchaudio():
    """A state dict by torchaudio's names and shapes, of two blocks."""
    n, window, b, h = 6, 4, 3, 5
    shapes = {
        'encoder.weight': (n, 1, window),
        'decoder.weight': (n, 1, window),
        'input_norm': (n,),
        'input_conv': (b, n, 1),
        'output_prelu.weight': (1,),
        'output_conv': (2 * n, b, 1),
    }
    for i in range(2):
        block = f'conv_layers.{i}.'
        shapes |= {f'{block}conv_layers.0': (h, b, 1), f'{block}conv_layers.1.weight': (1,)}
        shapes |= {f'{block}conv_layers.2': (h,), f'{block}conv_layers.3': (h, 1, 3)}
        shapes |= {f'{block}conv_layers.4.weight': (1,), f'{block}conv_layers.5': (h,)}
        shapes |= {f'{block}skip_out': (b, h, 1)} | (
            {f'{block}res_out': (b, h, 1)} if not i else {}
        )
    state = {}
    for name, shape in shapes.items():
        prefix = '' if name.startswith(('encoder', 'decoder')) else 'mask_generator.'
        if name.endswith('.weight'):
            state[prefix + name] = np.ones(shape, np.float32)
        else:
            state[f'{prefix}{name}.weight'] = np.ones(shape, np.float32)
            state[f'{prefix}{name}.bias'] = np.ones(shape[:1], np.float32)
    return state


def _lstm():
    shapes = {'weight_ih': (8, 3), 'weight_hh': (8, 2), 'bias_ih': (8,), 'bias_hh': (8,)}
    return {
        f'{name}_l0{suffix}': np.ones(shape, np.float32)
        for name, shape in shapes.items()
        for suffix in ('', '_reverse')
    }


KINDS = {
    'torchaudio': (torch_weights.from_torchaudio, torch_weights.to_torchaudio, _torchaudio()),
    'lstm': (torch_lstm.from_torch, torch_lstm.to_torch, _lstm()),
}


class _NoArray:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("can't call numpy() on a tensor that requires grad")


WRONG = [
    None,
    3.0,
    'x',
    [],
    [[1.0], [1.0, 2.0]],
    _NoArray(),
    np.ones((2, 2, 2, 2), np.float32),
    np.ones(0, np.float32),
    np.array(['a']),
    np.array([None]),
]


@pytest.mark.parametrize('kind', KINDS)
@settings(deadline=None, max_examples=150)
@given(draw=st.data())
def test_random_damage(kind, draw):
    read, write, state = KINDS[kind]
    state = dict(state)
    names = st.sampled_from(sorted(state))
    for name in draw.draw(st.lists(names, min_size=1, max_size=2, unique=True)):
        array = state[name]
        changes = [
            *WRONG,
            array[..., None],
            array.T,
            array[:-1],
            np.concatenate([array, array]),
            array * 1j,
        ]
        choice = draw.draw(st.integers(-2, len(changes) - 1))
        if choice == -2:
            del state[name]
        elif choice == -1:
            state[f'{name}2'] = state.pop(name)
        else:
            state[name] = changes[choice]
    try:
        params = read(state)
    except ValueError:
        return
    assert all(array.size for array in jax.tree.leaves(params))
    again = write(params)
    assert set(again) == set(state)


@pytest.mark.parametrize('kind', KINDS)
def test_every_array_has_one_shape(kind):
    read, _, state = KINDS[kind]
    read(state)
    for name, array in state.items():
        for wrong in (array[None], np.concatenate([array, array]), array[..., :0], array * 1j):
            with pytest.raises(ValueError, match=r'(must be|multiple|has no|is missing)'):
                read({**state, name: wrong})
