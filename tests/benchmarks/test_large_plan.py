"""The plan of very many files is that of the job, up to where mixing begins."""

import re

import pytest

from benchmarks import large_plan


@pytest.mark.slow
def test_the_job_is_planned_and_nothing_is_left(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr(large_plan.tempfile, 'tempdir', None)
    large_plan.main(['--files=2000'])
    told = capfd.readouterr().out
    assert re.search(r'walk \d+\.\d s, plan \d+\.\d s of a core, \d+\.\d\d GB\n\d+ s\n$', told), (
        told
    )
    assert not [*tmp_path.iterdir()]


def test_no_two_files_are_copies(tmp_path):
    large_plan.make(tmp_path / 'tree', 1100)
    files = [*(tmp_path / 'tree').rglob('*.wav')]
    assert len({path.read_bytes() for path in files}) == 1100
    assert len({path.parent for path in files}) == large_plan.SPEAKERS
