"""The roofline and the search for the largest batch, without a compiler."""

import importlib.util

import pytest

from fgsep_jax.config import ConfigError
from fgsep_jax.launch import tpu


def test_the_roofline_is_each_amount_over_its_rate():
    chip = tpu.Chip(flops=100.0, hbm_bandwidth=10.0, hbm=1.0, ici_bandwidth=5.0, largest=(2, 2))
    found = tpu.bounds(chip, flops=200, hbm_bytes=40, reduced_bytes=30, chips=4)
    assert found == {'matrix units': 2, 'HBM': 4, 'ICI': 2 * 3 / 4 * 30 / 5}
    assert tpu.roofline(found) == (
        'roofline           matrix units 2000.00 ms, HBM 4000.00 ms, ICI 9000.00 ms'
    )
    assert tpu.bounds(chip, flops=1, hbm_bytes=1, reduced_bytes=9, chips=1)['ICI'] == 0


@pytest.mark.parametrize(
    'size, compiles, expected, most',
    [
        (
            lambda batch: 10 + 7 * batch,
            5,
            (12, 13),
            3,
        ),  # a line: two points, and one more is too many
        (lambda batch: 10 + 7 * batch if batch <= 10 else None, 6, (10, 11), 5),  # ends before it
        (lambda batch: 10 + 7 * batch if batch < 9 else 80 + batch // 2, 12, (41, 42), 12),  # remat
        (lambda batch: 101 + batch, 9, (0, 1), 9),  # nothing fits
    ],
)
def test_the_search_finds_the_largest_batch_in_few_compilations(size, compiles, expected, most):
    asked = []

    def peak(batch):
        asked.append(batch)
        return size(batch)

    assert tpu.largest_batch(peak, 100, {8: size(8)}, compiles=compiles) == expected
    assert len(asked) == len(set(asked)) <= most


def test_a_search_cut_short_says_what_it_knows():
    assert tpu.largest_batch(lambda batch: batch, 100, {8: 8}, compiles=0) == (8, None)
    assert tpu.largest_batch(lambda batch: batch, 100, {8: 8}, compiles=1) == (8, None)


@pytest.mark.parametrize(
    'topology, message',
    [
        ('v5x:2x2', "generation must be one of v4, v5e, v5p, v6e; did you mean 'v5e"),
        ('v5e:0x4', 'the shape of v5e must be 2 numbers from 1 to 16x16'),
        ('v5e:4x4x4', 'the shape of v5e must be 2 numbers'),
        ('v5e:4x', 'the shape of v5e must be 2 numbers'),
        ('v5p:16x24x24', 'the shape of v5p must be 3 numbers from 1 to 16x16x24'),
    ],
)
def test_a_pod_that_there_is_not_is_refused(topology, message):
    with pytest.raises(ConfigError, match=message):
        tpu.describe(topology)


@pytest.mark.parametrize(
    'topology, chip, chips', [('v5e:4x4', 'v5e', 16), ('v5p:16x24x16', 'v5p', 6144)]
)
def test_a_pod_is_read_off_its_name(topology, chip, chips):
    assert tpu.parse(topology) == (tpu.CHIPS[chip], chips)


def test_a_missing_compiler_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'fgsep_jax\[compile-ahead\]'"):
        tpu.describe('v5e:4x4')
