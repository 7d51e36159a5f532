"""The two sides of the benchmark of M2 compute the same."""

import jax
import numpy as np
import pytest

from benchmarks import mask_blstm, peers_mask_blstm
from fgsep_jax import config as config_lib


def test_gradients_agree_from_the_sources_on():
    assert mask_blstm.Sides(small=True).apart() < 1e-4


def test_a_step_of_either_moves_the_weights_alike():
    sides = mask_blstm.Sides(small=True)
    before = jax.device_get(sides.params)
    assert sides.step() == pytest.approx(sides.peer_step(), rel=1e-5)
    after = jax.device_get(sides.step.state.params)
    moved = peers_mask_blstm.TorchMaskBLSTM(sides.task.model, after).state_dict()
    for name, weights in sides.peer.network.state_dict().items():
        if 'bias' not in name or 'dense' in name:  # their LSTMs have two biases, each moved
            np.testing.assert_allclose(moved[name], weights, atol=2e-5, err_msg=name)
    assert np.abs(after['mask']['bias'] - before['mask']['bias']).min() > 5e-4


def test_every_case_runs():
    made = list(mask_blstm.cases(small=True))
    assert [case.target for case in made] == [1.0, None, None]
    for case in made:
        assert case.flops > 0 and case.bytes > 0
        case.ours()
        case.peers['PyTorch']()


def test_other_experiments_are_refused():
    config = config_lib.foreground('', experiment='m1')
    with pytest.raises(ValueError, match="features.name = 'log_mel'.*must be 'pcen'"):
        peers_mask_blstm.Trainer(config, None, None, None)
