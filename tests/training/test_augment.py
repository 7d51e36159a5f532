"""Mixtures made of mixtures: who meets whom, at which level and speed, where and how often."""

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soxr

from fgsep_jax.training import augment as augment_lib
from fgsep_jax.training.augment import STEPS

SIZE, SAMPLES = 8, 400
augment = jax.jit(augment_lib.augment, static_argnames=('samples', 'remix', 'remix_db', 'speed'))
deal = jax.jit(augment_lib.deal)
resample = jax.jit(augment_lib.resample, static_argnames='samples')


def batch(sources=2, size=SIZE, names=None, samples=SAMPLES, lengths=None, adaptation=False):
    rng = np.random.default_rng(0)
    made = {
        'source_BST': rng.integers(-9000, 9000, (size, sources, samples)).astype(np.int16),
        'row_B': np.arange(size, dtype=np.int32),
        'name_BS': np.arange(size * sources, dtype=np.uint32).reshape(size, sources),
    }
    if names is not None:
        made['name_BS'] = np.array(names, np.uint32)
    if lengths is not None:
        made['length_B'] = np.array(lengths, np.int32)
        made['source_BST'] *= (np.arange(samples) < made['length_B'][:, None])[:, None]
    if adaptation:
        made['adaptation_BT'] = rng.integers(-9, 9, (size, 20)).astype(np.int16)
    return made


def key(seed):
    return jax.random.key(seed)


@settings(deadline=None, max_examples=60)
@given(
    names=st.integers(2, 3).flatmap(
        lambda sources: st.lists(
            st.lists(st.integers(0, 9), min_size=sources, max_size=sources, unique=True),
            min_size=6,
            max_size=6,
        )
    ),
    seed=st.integers(0, 1000),
)
def test_nobody_meets_themselves_and_nobody_is_lost(names, seed):
    name_BS = np.array(names, np.uint32)
    from_BS = np.asarray(deal(key(seed), name_BS))
    np.testing.assert_array_equal(np.sort(from_BS, axis=0).T, [range(6)] * name_BS.shape[1])
    np.testing.assert_array_equal(from_BS[:, -1], range(6))
    met_BS = np.take_along_axis(name_BS, from_BS, axis=0)
    assert all(len({*row}) == len(row) for row in met_BS.tolist())


def test_few_speakers_are_dealt_all_the_same():
    """Three of them: of eight rows a random order has one that meets itself nearly always."""
    name_BS = np.array([[0, 1], [1, 2], [2, 0], [0, 2], [1, 0], [2, 1], [0, 1], [1, 2]], np.uint32)
    orders = [np.asarray(deal(key(seed), name_BS))[:, 0] for seed in range(20)]
    assert sum((order != np.arange(8)).any() for order in orders) == 20


def test_pairs_are_all_equally_often():
    name_BS = np.arange(8, dtype=np.uint32).reshape(4, 2)
    keys = jax.random.split(key(0), 4000)
    from_NB = np.asarray(jax.vmap(lambda k: deal(k, name_BS)[:, 0])(keys))
    counts = np.stack([(from_NB == row).mean(axis=0) for row in range(4)])
    np.testing.assert_allclose(counts, (1 - np.eye(4)) / 3, atol=0.03)


@pytest.mark.parametrize(
    'size, sources, speakers, most',
    [(4, 2, 40, 0.0), (2, 2, 40, 0.1), (4, 3, 9, 0.05), (8, 3, 8, 0.02), (8, 3, 5, 0.25)],
)
def test_hardly_a_source_stays_with_whom_it_was_recorded(size, sources, speakers, most):
    rng = np.random.default_rng(0)
    names = [[rng.permutation(speakers)[:sources] for _ in range(size)] for _ in range(200)]
    name_NBS = np.array(names, np.uint32)
    from_NBS = jax.jit(jax.vmap(deal))(jax.random.split(key(0), 200), name_NBS)
    stays = (np.asarray(from_NBS)[..., :-1] == np.arange(size)[:, None]).mean()
    assert stays <= most


@pytest.mark.parametrize('adaptation', [False, True])
def test_what_is_dealt_keeps_its_samples_but_for_a_level(adaptation):
    before = batch(adaptation=adaptation)
    after = augment(before, key(1), samples=SAMPLES, remix=True, remix_db=3.0)
    assert {*after} == {*before} - {'row_B', 'name_BS'}
    first_BT, second_BT = np.moveaxis(np.asarray(after['source_BST']), 1, 0)
    np.testing.assert_array_equal(second_BT, before['source_BST'][:, 1])
    if adaptation:
        np.testing.assert_array_equal(after['adaptation_BT'], before['adaptation_BT'])
    gains, rows = [], []
    for first_T in first_BT:
        fits = [first_T @ row_T / (row_T @ row_T) for row_T in before['source_BST'][:, 0] * 1.0]
        rows.append(int(np.argmax(fits)))
        gains.append(20 * np.log10(max(fits)))
        np.testing.assert_allclose(
            first_T, before['source_BST'][rows[-1], 0] * max(fits), rtol=1e-4, atol=0.1
        )
    assert sorted(rows) == [*range(SIZE)] and rows != sorted(rows)
    assert max(np.abs(gains)) <= 3 and np.ptp(gains) > 2


def test_the_shorter_of_a_pair_ends_it():
    lengths = [400, 100, 400, 300, 200, 400, 250, 50]
    before = batch(lengths=lengths)
    after = augment(before, key(2), samples=SAMPLES, remix=True)
    from_B = np.asarray(deal(jax.random.split(key(2), 3)[0], before['name_BS']))[:, 0]
    expected_B = np.minimum(lengths, np.array(lengths)[from_B])
    np.testing.assert_array_equal(after['length_B'], expected_B)
    for source_ST, length in zip(np.asarray(after['source_BST']), expected_B):
        assert not source_ST[:, length:].any() and source_ST[:, :length].any(axis=1).all()


@pytest.mark.slow
def test_rows_of_many_hosts_and_devices_make_the_same_mixtures():
    """Each row is known by its number, wherever it lies."""
    before = batch(lengths=range(300, 380, 10))
    how = dict(samples=300, remix=True, remix_db=2.0, speed=0.1)
    after = augment(before, key(3), **how)
    order = np.random.default_rng(1).permutation(SIZE)
    moved = {name: value[order] for name, value in before.items()}
    again = augment(moved, key(3), **how)
    for name in after:
        np.testing.assert_array_equal(np.asarray(after[name])[order], again[name])
    other = augment(before, key(4), **how)
    assert (np.asarray(other['source_BST']) != np.asarray(after['source_BST'])).any()


@pytest.mark.parametrize('faster', [-STEPS // 10, -7, 0, 123, STEPS // 20])
def test_a_tone_is_played_faster_or_slower(faster):
    """cos(w t) at speed v is cos(w v t), up to the ends of the filter."""
    rate, samples = 1 + faster / STEPS, 2000
    place_T = np.arange(3000)
    for omega in (0.1, 1.0, 2.5):
        made_T, length = resample(
            jnp.asarray(np.cos(omega * place_T), jnp.float32), faster, 3000, samples=samples
        )
        expected_T = np.cos(omega * rate * np.arange(samples))
        assert int(length) == samples
        np.testing.assert_allclose(made_T[20:-20], expected_T[20:-20], atol=4e-3)


def test_places_are_exact_in_a_long_signal():
    samples, faster = 3_000_000, STEPS // 2  # their product has more than 32 bits
    place_T = np.arange(int(samples * 1.5) + 50)
    made_T, length = resample(
        jnp.asarray(np.cos(0.1 * place_T), jnp.float32), faster, len(place_T), samples=samples
    )
    expected_T = np.cos(0.15 * np.arange(samples))
    assert int(length) == samples
    np.testing.assert_allclose(made_T[-5000:-50], expected_T[-5000:-50], atol=4e-3)


def test_speed_agrees_with_a_resampler():
    rng = np.random.default_rng(0)
    smooth_T = soxr.resample(rng.standard_normal(2000), 3, 4)  # nothing above 3/4 of the band
    faster = STEPS // 16
    made_T, length = resample(jnp.asarray(smooth_T, jnp.float32), faster, 1500, samples=2600)
    expected_T = soxr.resample(smooth_T[:1500], STEPS + faster, STEPS, quality='VHQ')
    assert abs(int(length) - len(expected_T)) <= 1
    error_T = np.asarray(made_T)[50 : length - 50] - expected_T[50 : int(length) - 50]
    assert np.sqrt(np.mean(error_T**2) / np.mean(expected_T**2)) < 10 ** (-45 / 20)
    assert not np.asarray(made_T)[int(length) :].any()


def test_each_source_has_a_speed_of_its_own_but_the_background_of_a_segment():
    before = batch(samples=440, adaptation=True)
    after = augment(before, key(5), samples=400, speed=0.1)
    np.testing.assert_allclose(
        after['source_BST'][:, 1], before['source_BST'][:, 1, :400], atol=1e-2
    )
    first_BT = np.asarray(after['source_BST'][:, 0])
    assert (np.abs(first_BT - before['source_BST'][:, 0, :400]) > 100).any(axis=1).all()
    del before['adaptation_BT']
    both = np.asarray(augment(before, key(5), samples=400, speed=0.1)['source_BST'])
    assert (np.abs(both - before['source_BST'][..., :400]) > 100).any(axis=2).all()
