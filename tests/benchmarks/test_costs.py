"""What a cloud costs, on paper: the tables of the docs are what the command prints."""

import pathlib

import pytest

from benchmarks import costs
from fgsep_jax.launch import tpu


def test_the_docs_have_what_is_printed(capsys):
    costs.main([])
    docs = pathlib.Path(__file__).parents[2].joinpath('docs', 'pods.md').read_text()
    printed = capsys.readouterr().out.strip().split('\n\n')
    assert len(printed) == 2 and all(table in docs for table in printed)


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


def test_bytes_of_shards():
    hour = costs.Corpus(hours=1, rate=8000, signals=2, speed=1)
    assert hour.gigabytes == pytest.approx(0.1152)
