"""A stream gives what the model makes of the whole, however the signal is cut."""

import types

import jax
import numpy as np
import pytest

from fgsep_jax.models.norms import Norm
from fgsep_jax.separation import stream as stream_lib
from fgsep_jax.separation.recording import Resampler, length_at, resampled
from fgsep_jax.separation.stream import Stream
import models

pytestmark = pytest.mark.slow  # each takes seconds, or waits for what does

RATE = 8000
LONGEST = 2601  # samples: some more frames than are computed at once
CAUSAL = {'model.causal': True, 'model.norm': 'cln'}


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


MODELS = {
    'glu': {'model.encoder': 'glu', 'model.layers': 3, 'model.dilated': True},
    'prelu, aligned frames': {
        'model.encoder': 'prelu', 'model.layers': 2, 'model.skip': 0, 'model.framing': 'aligned',
    },
    'even kernel, long window': {'model.kernel': 2, 'model.window': 32, 'model.stride': 8},
    'plain frames': {'model.framing': 'plain', 'model.decoder_bias': True},
}  # fmt: skip


@pytest.fixture(scope='module', params=MODELS)
def stream(request):
    return models.separator('convtasnet_glu', **CAUSAL, **MODELS[request.param]).stream(RATE)


@pytest.fixture(scope='module')
def whole(stream):
    """A function that gives what the model makes of a signal: one program for all lengths."""
    apply = jax.jit(stream._model.apply)

    def separated(signal_T):
        padded_BT = np.pad(signal_T, (0, LONGEST - len(signal_T)))[None]
        estimate_BST = apply({'params': stream._params}, padded_BT, np.array([len(signal_T)]))
        return np.asarray(estimate_BST)[0, :, : len(signal_T)]

    return separated


def test_frames_are_counted_for_days():
    """A float32 alone ends at 2^24, which are five hours."""
    norm, before = Norm('cln'), 2.0**24
    frame_BKN = np.float32([[[3.0, -3.0]]])
    params = norm.init(jax.random.key(0), frame_BKN)['params']
    totals = np.float32([[[before], [0]], [[0], [0]], [[2 * before], [0]]])  # of frames [1, -1]
    stream = {'totals': totals}
    for _ in range(4):
        variables = {'params': params, 'stream': stream}
        made_BKN, after = norm.apply(variables, frame_BKN, mutable=['stream'])
        stream = after['stream']
    assert np.float64(stream['totals']).sum(axis=1)[0] == before + 4
    np.testing.assert_allclose(made_BKN, frame_BKN, rtol=1e-5)  # their deviation is still 1


@pytest.mark.parametrize('samples', [1, 7, 100, LONGEST])
def test_however_it_is_cut(stream, whole, samples):
    signal_T = noise(samples)
    wanted_ST = whole(signal_T)
    generator = np.random.default_rng(samples)
    for longest in (1 if samples < 1000 else 40, 300, 5000):
        made, at = [], 0
        while at < samples:
            count = int(generator.integers(0, longest + 1))
            made.append(stream.push(signal_T[at : at + count]))
            at += count
        made.append(stream.flush())
        for name, wanted_T in zip(('speaker_1', 'speaker_2'), wanted_ST):
            made_T = np.concatenate([one[name] for one in made])
            assert made_T.shape == wanted_T.shape
            np.testing.assert_allclose(made_T, wanted_T, atol=1e-5)


def test_an_estimate_waits_for_one_window(stream):
    given = 0
    for taken in range(1, 200):
        given += len(stream.push(noise(1))['speaker_1'])
        assert taken - given <= round(stream.latency * RATE)
    stream.flush()


@pytest.mark.parametrize('rate', [1000, 6000, 48_000, 768_000])
def test_what_resamplers_hold_back_is_known(rate):
    there, back, taken, given, most = Resampler(rate, RATE, 1), Resampler(RATE, rate, 1), 0, 0, 0
    step = max(rate // 1000, 1)
    for _ in range(3000):
        taken += step
        given += len(back.take(there.take(np.zeros((step, 1), np.float32))))
        most = max(most, taken - given)
    bound = stream_lib.RESAMPLING / min(rate, RATE) * rate
    assert bound / 2 < most <= bound


@pytest.fixture(scope='module')
def separator():
    return models.separator('convtasnet_glu', **CAUSAL)


@pytest.mark.parametrize('rate, samples', [(44_100, 13_600), (8001, 13_604), (16_000, 1777)])
def test_another_rate_is_that_of_the_whole_to_its_end(separator, rate, samples):
    """soxr's own end comes a sample before a signal's length at another rate, at times."""
    signal_T, stream = noise(samples), separator.stream(rate)
    cuts = np.split(signal_T, [samples // 3, samples // 2])
    made = [*map(stream.push, cuts), stream.flush()]
    here = resampled(iter([signal_T[:, None]]), rate, RATE, samples=length_at(samples, rate, RATE))
    whole_T = np.concatenate([*here])[:, 0]
    estimate_BST = stream._model.apply({'params': stream._params}, whole_T[None])
    back = resampled(iter([np.asarray(estimate_BST)[0].T]), RATE, rate, samples=samples)
    for name, wanted_T in zip(('speaker_1', 'speaker_2'), np.concatenate([*back]).T, strict=True):
        made_T = np.concatenate([one[name] for one in made])
        np.testing.assert_allclose(made_T, wanted_T, atol=1e-5 * np.abs(wanted_T).max())


@pytest.mark.parametrize(
    ('samples', 'said'),
    [
        (np.array([0.0, np.nan]), 'not finite.*nan at 0.19 s'),
        ([0.0, -float('inf')], 'not finite.*-inf'),
        (np.full(3, 1e39), 'too loud: 1e.39'),
        (np.ones(5, np.int16), r'samples is int16\[5\]: must be floats .T.; divide 16-bit'),
        (np.zeros((1, 5), np.float32), r'float32\[1, 5\]: must be floats .T.'),
    ],
)
def test_what_is_refused_does_not_reach_the_state(stream, samples, said):
    signal_T = noise(3000)
    wanted_T = stream.push(signal_T)['speaker_1'], stream.flush()['speaker_1']
    made = [stream.push(signal_T[:1500])['speaker_1']]
    with pytest.raises(ValueError, match=said) as refused:
        stream.push(samples)
    assert '\n' not in str(refused.value)
    made += [stream.push(signal_T[1500:])['speaker_1'], stream.flush()['speaker_1']]
    np.testing.assert_allclose(np.concatenate(made), np.concatenate(wanted_T), atol=1e-5)


def test_nothing_gives_nothing(stream):
    assert len(stream.flush()['speaker_1']) == 0


def test_a_model_that_sees_ahead_is_refused():
    with pytest.raises(ValueError, match='sees ahead'):
        models.separator('convtasnet').stream(RATE)
    with pytest.raises(ValueError, match='sees ahead'):
        models.separator('blstm_m2').stream(RATE)


def test_parts_that_remember_nothing_are_refused():
    """A separator of one's own may be causal, and still forget what was before a block."""
    model = models.separator('convtasnet_glu', **CAUSAL, **MODELS['glu'])
    own = types.SimpleNamespace(encoder=model.task.model.encoder, separator=types.SimpleNamespace())
    mine = types.SimpleNamespace(
        name='mine', config=model.config, task=types.SimpleNamespace(model=own)
    )
    with pytest.raises(ValueError, match='mine cannot separate a signal while it comes: only'):
        Stream(mine, RATE)
