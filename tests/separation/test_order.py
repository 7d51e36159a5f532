"""The order of sources along a recording, on signals whose order is known."""

import numpy as np
import pytest

from fgsep_jax.separation.order import Order, channels_in_order

RATE, HOP, WINDOW = 8000, 4000, 8000


def voices(seconds=40, pause=0.0, seed=0):
    """Two coloured noises that take turns or go together [2, T]."""
    generator = np.random.default_rng(seed)
    noise_ST = generator.standard_normal((2, seconds * RATE))
    spectrum_SF = np.fft.rfft(noise_ST)
    hz_F = np.fft.rfftfreq(noise_ST.shape[1], 1 / RATE)
    spectrum_SF[0] *= 1 / (1 + (hz_F / 400) ** 2)
    spectrum_SF[1] *= 1 / (1 + ((hz_F - 1800) / 400) ** 2)
    voice_ST = np.fft.irfft(spectrum_SF, noise_ST.shape[1])
    voice_ST /= voice_ST.std(axis=1, keepdims=True)
    if pause:
        turn_T = np.arange(noise_ST.shape[1]) / RATE % (2 * (1 + pause))
        voice_ST[0] *= turn_T < 1
        voice_ST[1] *= (turn_T >= 1 + pause) & (turn_T < 2 + pause)
    return voice_ST.astype(np.float32)


def found(voice_ST, swapped_W):
    order = Order(RATE)
    for index, swapped in enumerate(swapped_W):
        window_ST = voice_ST[:, index * HOP : index * HOP + WINDOW]
        order.add((window_ST[::-1] if swapped else window_ST)[:, None], HOP if index else 0)
    return order.path()


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('pause', [0.0, 1.5])
def test_swaps_are_undone(pause, seed):
    voice_ST = voices(pause=pause)
    count = (voice_ST.shape[1] - WINDOW) // HOP + 1
    swapped_W = np.random.default_rng(seed).random(count) < 0.3
    order_WS, margin_W = found(voice_ST, swapped_W)
    wrong_W = (order_WS[:, 0] == 1) != (swapped_W ^ swapped_W[0])
    silent_W = np.array(
        [np.abs(voice_ST[:, w * HOP : w * HOP + WINDOW]).max() < 1e-6 for w in range(count)]
    )
    assert not (wrong_W & ~silent_W).any()
    assert margin_W.shape == (count - 1,)


def test_an_order_that_holds_is_left_alone():
    voice_ST = voices(pause=2.0)
    order_WS, _ = found(voice_ST, np.zeros(60, bool))
    np.testing.assert_array_equal(order_WS, [[0, 1]] * len(order_WS))


def test_three_voices():
    voice_ST = np.concatenate([voices(), voices(seed=1)[:1] ** 3])
    choices = [[0, 1, 2], [2, 0, 1], [1, 0, 2]]
    order = Order(RATE)
    picks = [0, 1, 2, 1, 1, 0, 2, 2]
    for index, pick in enumerate(picks):
        window_ST = voice_ST[:, index * HOP : index * HOP + WINDOW]
        order.add(window_ST[choices[pick]][:, None], HOP if index else 0)
    order_WS, _ = order.path()
    for pick, order_S in zip(picks, order_WS):
        np.testing.assert_array_equal(np.array(choices[pick])[order_S], [0, 1, 2])


@pytest.mark.parametrize('sources', [5, 8])
def test_many_voices(sources):
    """Of eight there are 40,320 orders, more than can be compared each with each."""
    generator = np.random.default_rng(0)
    noise_ST = generator.standard_normal((sources, 12 * RATE)).astype(np.float32)
    order, picks = Order(RATE), [generator.permutation(sources) for _ in range(12)]
    for index, pick_S in enumerate(picks):
        window_ST = noise_ST[pick_S, index * HOP : index * HOP + WINDOW]
        order.add(window_ST[:, None], HOP if index else 0)
    order_WS, margin_W = order.path()
    for pick_S, order_S in zip(picks, order_WS):
        np.testing.assert_array_equal(pick_S[order_S], picks[0])
    assert margin_W.shape == (11,) and (margin_W > 0).all()


def test_nothing_to_decide():
    one = Order(RATE)
    one.add(np.ones((2, 1, 100), np.float32), 0)
    order_WS, margin_W = one.path()
    assert order_WS.tolist() == [[0, 1]] and not len(margin_W)


def test_doubt_is_told():
    voice_ST = voices(8)
    voice_ST[:, 3 * RATE : 5 * RATE] = 0
    voice_ST[1] = voice_ST[0][::-1]  # one colour: nothing tells them apart across the pause
    order_WS, margin_W = found(voice_ST, np.zeros(15, bool))
    assert margin_W.min() < 0.2 and margin_W[0] > 0.5
    assert order_WS[0].tolist() == [0, 1]


def test_sources_of_all_channels_have_one_order():
    """Decided over all blocks: in the first the second channel alone would say otherwise."""
    voice_ST = voices(2)
    blocks = [voice_ST[:, :100], voice_ST[:, 100:]]
    blocks = [np.stack([b, -b[::-1] if len(b[0]) > 100 else b], axis=1) for b in blocks]
    first, rest = channels_in_order(blocks)
    np.testing.assert_array_equal(rest[:, 1], -rest[:, 0])
    np.testing.assert_array_equal(first[:, 1], first[::-1, 0])


@pytest.mark.parametrize(('evidence', 'swapped'), [(0.1, False), (0.4, True)])
def test_a_slight_likeness_swaps_nobody(evidence, swapped):
    """Voices of one spectrum, so that only an overlap may tell them apart, and does by so much."""
    one_T = np.random.default_rng(0).standard_normal(HOP).astype(np.float32)
    voice_ST = np.stack([one_T, np.roll(one_T[::-1], 1)])
    odd_ST = (0.5 - evidence / 2) * voice_ST + (0.5 + evidence / 2) * voice_ST[::-1]
    order = Order(RATE)
    for index in range(6):
        first_ST = odd_ST if index == 3 else voice_ST
        order.add(np.concatenate([first_ST, voice_ST], axis=1)[:, None], HOP if index else 0)
    order_WS, _ = order.path()
    assert order_WS[:, 0].tolist() == [0, 0, 0, *3 * [int(swapped)]]
