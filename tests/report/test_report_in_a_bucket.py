"""Reports of runs in buckets, and written there."""

import os

import pytest

import fabricate
from fgsep_jax import buckets, folder
from fgsep_jax.report import __main__ as report_command
from fgsep_jax.training import run_folder
import synthetic


@pytest.mark.slow
def test_a_report_of_a_bucket_is_that_of_a_folder(memory, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fabricate.run(tmp_path / 'runs' / 'a', 'convtasnet', seed=0)
    fabricate.run(tmp_path / 'runs' / 'b', 'convtasnet_prelu', seed=1)
    memory.put('runs/', '/b/runs/', recursive=True)
    for runs, out in (('runs', 'out'), ('memory://b/runs', 'memory://b/out')):
        assert report_command.main([f'--runs={runs}', f'--output_dir={out}']) == 0
        assert capsys.readouterr().out == f'2 runs; the report: {out}/index.html\n'
    memory.get('/b/out/', str(tmp_path / 'there'), recursive=True)
    assert synthetic.files_in('there') == synthetic.files_in('out')
    assert {*os.listdir()} == {'runs', 'out', 'there'}
    # Written anew, the files of the earlier one are its own; those of others are not.
    memory.pipe_file('/b/out/mine.txt', b'')
    assert report_command.main(['--runs=memory://b/runs', '--output_dir=memory://b/out']) == 0
    memory.pipe_file('/b/other/mine.txt', b'')
    assert report_command.main(['--runs=memory://b/runs', '--output_dir=memory://b/other']) == 2
    error = capsys.readouterr().err
    assert 'memory://b/other/mine.txt is there, and no report wrote it' in error
    assert memory.find('/b/other') == ['/b/other/mine.txt']


def test_the_page_of_a_model_of_a_folder_lies_beside_its_run(memory, tmp_path, capsys):
    fabricate.run(tmp_path / 'run', 'convtasnet')
    memory.put(f'{tmp_path}/run/', '/b/run/', recursive=True)
    with buckets.copies():
        folder.finish(buckets.local('memory://b/run', run_folder.OWN))
    said = capsys.readouterr().out
    assert memory.exists('/b/run-report/index.html') and 'memory://b/run-report/index' in said
    assert 'fgsep-separate memory://b/run RECORDING.wav\n' in said, said
