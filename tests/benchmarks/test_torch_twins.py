"""PyTorch's twins of our models are the same models, and learn the same from a step."""

import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest

torch = pytest.importorskip('torch')
if importlib.util.find_spec('torchaudio') is None:
    pytest.skip('needs torchaudio', allow_module_level=True)

from benchmarks import conv_tasnet as bench, mask_blstm, separate, torch_twins  # noqa: E402
from fgsep_jax import config as config_lib  # noqa: E402
import synthetic  # noqa: E402
import tiny  # noqa: E402
from tiny import build  # noqa: E402

# The linear one is held against torchaudio's in tests/interop.
DEEP = [name for name, model in bench.MODELS.items() if model]


@pytest.fixture(scope='module')
def cases():
    """The small cases of each deep Conv-TasNet: train step, forward."""
    made = list(bench.cases(small=True))
    return dict(zip(DEEP, zip(made[::2], made[1::2], strict=True), strict=True))


def norm(arrays):
    return np.sqrt(sum(float(np.square(array).sum()) for array in arrays))


@pytest.mark.slow
@pytest.mark.parametrize('name', DEEP)
def test_conv_tasnets_are_the_same(cases, run, name):
    sides = cases[name][0].peers['PyTorch'].__self__
    ours_BST, theirs_BST = sides.forward(), sides.peer_forward().numpy()
    np.testing.assert_allclose(ours_BST, theirs_BST, atol=2e-5 * np.abs(ours_BST).max())
    # The first steps: their losses, and the gradients after clipping, which ours leaves in Adam.
    assert sides.step() == pytest.approx(sides.peer_step(), rel=1e-5)
    gradient = jax.tree.map(lambda moment: moment / 0.1, sides.step.state.optimizer[1].mu)
    # Weights in PyTorch's layout are weights in ours, some transposed; so are their gradients.
    ours = torch_twins.make_model(sides.task.model, gradient).state_dict()
    theirs = {name: weights.grad.numpy() for name, weights in sides.peer.named_parameters()}
    assert set(theirs) == set(ours) and norm(theirs.values()) > 0.1
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, atol=1e-5 * norm(theirs.values()), err_msg=key)
    run(cases[name])


def test_a_dilated_encoder_is_the_same():
    sizes = dict(basis=12, bottleneck=6, hidden=10, skip=6, blocks=1, repeats=1)
    model = build(**sizes, encoder='prelu', layers=3, dilated=True)
    # With as many samples both pad to the same frames, see `benchmarks.torch_weights`.
    mixture_BT = np.random.default_rng(0).standard_normal((2, 401)).astype(np.float32)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: rng.uniform(-0.5, 0.5, leaf.shape).astype(np.float32),
        jax.eval_shape(model.init, jax.random.key(0), mixture_BT)['params'],
    )
    ours_BST = jax.jit(model.apply)({'params': params}, mixture_BT)
    with torch.no_grad():
        theirs_BST = torch_twins.make_model(model, params)(torch.from_numpy(mixture_BT)[:, None])
    np.testing.assert_allclose(ours_BST, theirs_BST, atol=2e-5 * np.abs(ours_BST).max())


@pytest.mark.slow
def test_mask_estimators_are_the_same(run):
    made = list(mask_blstm.cases(small=True))  # checks the gradients, features included
    assert [case.target for case in made] == [1.0, None, None]
    assert all(case.flops > 0 and case.bytes > 0 for case in made)
    sides = made[0].peers['PyTorch'].__self__
    np.testing.assert_allclose(sides.forward(), sides.peer_forward(), atol=1e-5)
    before = jax.device_get(sides.params)
    assert sides.step() == pytest.approx(sides.peer_step(), rel=1e-5)
    after = jax.device_get(sides.step.state.params)
    moved = torch_twins.TorchMaskBLSTM(sides.task.model, after).state_dict()
    for name, weights in sides.peer.network.state_dict().items():
        if 'bias' not in name or 'dense' in name:  # their LSTMs have two biases, each moved
            np.testing.assert_allclose(moved[name], weights, atol=2e-5, err_msg=name)
    assert np.abs(after['mask']['bias'] - before['mask']['bias']).min() > 5e-4
    run(made)


def test_mask_estimators_apart_are_no_benchmark(monkeypatch):
    monkeypatch.setattr(
        mask_blstm, 'Sides', lambda small: type('Sides', (), {'apart': lambda self: 2e-3})()
    )
    with pytest.raises(RuntimeError, match='2.0e-03 of their norm apart'):
        next(mask_blstm.cases(small=True))


def test_other_experiments_are_refused():
    config = config_lib.base('foreground', experiment='m1')
    with pytest.raises(ValueError, match="features.name = 'log_mel'.*must be 'pcen'"):
        torch_twins.Trainer(config, None, None, None)


@pytest.mark.slow
def test_a_twin_is_trained_as_a_run_is(tmp_path):
    data = synthetic.write(tmp_path / 'tones')
    config = tiny.config(
        data, 'convtasnet', **{'data.short': 'drop', 'training.epochs': 1, 'training.log_steps': 1}
    )
    torch_twins.check_training(config)
    torch_twins.train(config, str(tmp_path / 'run'))
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    losses = [row['loss'] for row in map(json.loads, lines) if row['kind'] == 'train']
    assert len(losses) == 4 and np.isfinite(losses).all()
    summary = json.loads((tmp_path / 'run/evaluation/tones/summary.json').read_text())
    assert summary['step'] == 4 and summary['system'] == 'torchaudio ConvTasNet'


@pytest.mark.parametrize(
    'arguments, said',
    [
        ([], '--config=FILE is needed'),
        (['--config=configs/convtasnet.py:demo'], '--workdir=DIR is needed'),
        (
            [
                '--config=configs/convtasnet_glu.py:demo',
                '--config.model.separator.skip=2',
                '--workdir=x',
            ],
            "model.encoder.name = 'glu', not 'linear'; model.separator.skip = 2, not 32; data",
        ),
    ],
)
def test_a_training_without_a_twin_is_refused(monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(pathlib.Path(__file__).parents[2])
    monkeypatch.setattr(torch_twins, 'train', None)
    with pytest.raises(SystemExit) as left:
        torch_twins.main(arguments)
    assert left.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.slow
def test_separation_beside_pytorch_runs(run):
    run(separate.cases(small=True))
