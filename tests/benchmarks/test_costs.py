"""What a cloud costs, on paper: the tables of the docs are what the command prints."""

import pathlib

import pytest

from benchmarks import costs
from fgsep_jax.launch import tpu


def test_the_docs_have_what_is_printed(capsys):
    costs.main([])
    docs = pathlib.Path(__file__).parents[2].joinpath('docs', 'pods.md').read_text()
    printed = capsys.readouterr().out.strip().split('\n\n')
    assert len(printed) == 3 and all(table in docs for table in printed)


def test_prices_are_flags(capsys):
    costs.main(['--core_dollars=0', '--memory_dollars=0', '--storage_dollars=1'])
    row = capsys.readouterr().out.split('\n')[2].split(' | ')
    assert row[3] == '0.00' and row[4].removesuffix(' |') == '4.95'  # of 43 hours


def test_an_epoch_by_hand():
    chip = tpu.Chip(1e12, 1e9, 1, 1e9, (1,))
    # 16 segments move 23.8 GB, which decides; on two chips half of it.
    assert costs.seconds_of_epoch(chip, 1, 16, 32) == pytest.approx(2 * 23.8)
    assert costs.seconds_of_epoch(chip, 2, 16, 32) == pytest.approx(23.8)
    slow = tpu.Chip(1e9, 1e15, 1, 1e15, (1,))
    assert costs.seconds_of_epoch(slow, 1, 32, 32) == pytest.approx(2 * 2009)
    apart = tpu.Chip(1e15, 1e15, 1, 1e6, (1,))
    assert costs.seconds_of_epoch(apart, 4, 16, 16) == pytest.approx(2 * 19.94)


def test_a_training_by_hand(capsys):
    costs.main(['--tpu_dollars=10', '--gpus_dollars=0'])
    rows = [row.split(' | ') for row in capsys.readouterr().out.split('\n\n')[2].split('\n')[2:]]
    # 30 hours of two signals, a hundred times; 1,250 steps of 23.8 GB / 16 at 819 GB/s.
    assert rows[0][1:] == ['20,000 x 100', '346', '0.063', '10.09', '0.031', '0.00 |']
    # 937 steps in each of which 33.6 MB of gradients leave at 200 GB/s; and no gradients.
    assert rows[3][3] == f'{937 * 50 * 2 * 4 * 4_197_664 / 200e9 / 3600:.3f}' == '0.002'
    assert rows[4][1:4] == ['31,536,000 x 1', '2,781', '0.015']


def test_bytes_of_shards():
    hour = costs.Corpus(hours=1, rate=8000, signals=2, speed=1)
    assert hour.gigabytes == pytest.approx(0.1152)
