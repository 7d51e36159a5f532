"""What a run keeps for Fig. 4 of paper 2, and of its training data."""

import functools
import json

import jax
import numpy as np
import pytest

from fgsep_jax import pcm
from fgsep_jax.data import pipeline
from fgsep_jax.data.source import RecordSource
from fgsep_jax.report import runs
from fgsep_jax.tasks import make_task
from fgsep_jax.training import gates, loop, run_folder
from fgsep_jax.training.state import init_state
import synthetic
import tiny

pytestmark = pytest.mark.slow  # each takes seconds, or waits for what does

GLU = {'model.encoder': 'glu', 'model.layers': 2}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """(config, folder, source, state, what hooks saw) of a gated run of 12 steps."""
    root = tmp_path_factory.mktemp('gated')
    data = synthetic.write(root / 'tones')
    config = tiny.config(data, **GLU)
    source, seen = RecordSource(data, 'test'), []

    def watch(*, workdir, task, config, total, say):
        assert workdir == str(root / 'run') and total == 12 and callable(say)
        return lambda step, state: seen.append((step, int(state.step)))

    sources = dict(
        train_source=RecordSource(data, 'train'),
        validation_source=RecordSource(data, 'validation'),
        hooks=[watch, functools.partial(gates.GateLog, source=source), watch],
    )
    state = loop.train(config, str(root / 'run'), **sources)
    return config, root / 'run', source, state, seen


def probed(task, state, batch):
    """The gate of a batch of one."""
    mixture_BT = pcm.to_float(batch['source_BST']).sum(axis=1)
    return np.asarray(task.probe(state.params, mixture_BT, batch['length_B'])['gate_BKN'][0])


def test_gates_are_saved_at_powers_of_two_and_at_the_end(run):
    config, folder, source, state, _ = run
    found = runs.open_run(str(folder))
    assert sorted(found.gates.frames) == [0, 1, 2, 4, 8, 12]
    assert found.gates.of == f'test utterance {source[0].id}'
    task = make_task(config)
    batch = pipeline.first_segments([source[0]], config)
    gate_KN = probed(task, state, batch)
    assert gate_KN.shape[0] < gates.FRAMES  # short enough to be kept whole
    np.testing.assert_allclose(found.gates.frames[12], gate_KN, atol=0.5 / 255 + 1e-6)
    assert found.gates.frames[0].shape == gate_KN.shape and 0 < gate_KN.min() < gate_KN.max() < 1
    assert np.abs(found.gates.frames[0] - found.gates.frames[12]).max() > 2 / 255


def test_means_are_over_all_frames_of_the_whole_split(run, tmp_path):
    config, _, _, state, _ = run
    lengths = (2400, 500, 2400)
    data = synthetic.write(tmp_path / 'odd', test=9, lengths=lengths)  # the last batch is filled up
    source, task = RecordSource(data, 'test'), make_task(config)
    log = gates.GateLog(workdir=str(tmp_path), task=task, config=config, source=source, total=1)
    log(1, state)
    kept = []
    for i in range(9):
        batch = pipeline.first_segments([source[i]], config)
        # What is padding has no part in it, nor in the norm before the gate.
        batch['source_BST'] = batch['source_BST'][..., : batch['length_B'][0]]
        kept.append(probed(task, state, batch))
    with np.load(tmp_path / 'gates' / '000000001.npz') as content:
        np.testing.assert_allclose(content['mean_N'], np.concatenate(kept).mean(0), rtol=1e-5)
        assert content['examples'] == 9 and content['trained_on'] == source.metadata['name']


def test_long_utterances_are_averaged_in_blocks(run, tmp_path):
    config, _, source, state, _ = run
    config = config.copy_and_resolve_references()
    config.data.segment_seconds = 0.3
    task = make_task(config)
    log = gates.GateLog(workdir=str(tmp_path), task=task, config=config, source=source, total=1)
    log(1, state)
    batch = pipeline.first_segments([source[0]], config)
    gate_KN = probed(task, state, batch)
    with np.load(tmp_path / 'gates' / '000000001.npz') as content:
        pooled_KN = content['gate_KN'] / 255
    assert len(gate_KN) > gates.FRAMES == len(pooled_KN)
    edges = np.linspace(0, len(gate_KN), gates.FRAMES + 1).astype(int)
    expected = [gate_KN[low:high].mean(axis=0) for low, high in zip(edges[:-1], edges[1:])]
    np.testing.assert_allclose(pooled_KN, expected, atol=0.5 / 255 + 1e-6)


def test_models_without_gates_save_none(run, tmp_path):
    config, _, source, *_ = run
    plain = tiny.config(config.data.dir)
    task = make_task(plain)
    log = gates.GateLog(workdir=str(tmp_path), task=task, config=plain, source=source, total=1)
    log(0, jax.jit(functools.partial(init_state, task, plain))())
    assert not list(tmp_path.iterdir())


def test_hooks_see_every_step(run):
    *_, seen = run
    assert seen == [(step, step) for step in range(13) for _ in range(2)]


def test_a_run_says_what_it_was_trained_on(run):
    config, folder, source, *_ = run
    about = json.loads((folder / 'training_data.json').read_text())
    train = source.metadata['splits']['train']
    assert about.pop('digest')
    assert about == {
        'name': 'tones',
        'dir': config.data.dir,
        'sample_rate': 8000,
        'train': {
            'examples': 16,
            'speakers': len(train['speakers']),
            'speaker_digests': sorted(run_folder.digests(train['speakers'])),
            'fingerprint': train.get('fingerprint'),
        },
    }
    found = runs.open_run(str(folder))
    assert found.trained_on == 'tones' and found.training_data == about['train']
