"""What a report of many rows and steps costs beside one of few: no more a row."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from benchmarks import large_report

REPORT = """
import json, resource, time
from fgsep_jax.report import __main__ as command
found = []
for name in ('few', 'many'):
    began = time.process_time()
    assert command.main([f'--runs={name}', f'--output_dir={name}-report']) == 0
    found.append((time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
print(json.dumps(found))
"""


def test_what_tensorboard_takes_is_printed(tmp_path, monkeypatch, capsys):
    """By one of that name, which is not installed here."""
    package = tmp_path / 'tensorboard' / 'backend' / 'event_processing'
    package.mkdir(parents=True)
    (package / 'event_accumulator.py').write_text(
        'import os\n'
        'class EventAccumulator:\n'
        '    def __init__(self, folder): [self.file] = os.listdir(folder)\n'
        '    def Reload(self): assert self.file.startswith("events.out.tfevents."), self.file\n'
    )
    with pytest.raises(SystemExit), monkeypatch.context() as patch:
        patch.setattr(importlib.util, 'find_spec', lambda name: None)
        large_report.main(['--events'])
    assert 'pip install tensorboard' in capsys.readouterr().err
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    large_report.main(['--events', '--steps=10000'])
    took = r'\d+ s \(\d+ s of a core\), \d\.\d\d GB, events 1 MB\n'
    assert re.fullmatch(took, capsys.readouterr().out)


@pytest.mark.slow
def test_time_and_memory_of_a_row_and_a_step(tmp_path):
    """Sixty thousand rows and steps: no more than two reports' time, and few kilobytes each."""
    few, many = 2000, 60_000
    for name, rows in (('few', few), ('many', many)):
        large_report.make(tmp_path / name / 'run', rows, steps=rows)
    done = subprocess.run(
        [sys.executable, '-c', REPORT], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (seconds_few, before), (seconds_many, after) = json.loads(done.stdout.splitlines()[-1])
    assert seconds_many < 3 * seconds_few
    assert after - before < 5 * (many - few), 'kilobytes'
    pages = [tmp_path / f'{name}-report' / 'index.html' for name in ('few', 'many')]
    assert pages[1].stat().st_size < 1.5 * pages[0].stat().st_size
    assert 'Conv-TasNet' in (tmp_path / 'many-report' / 'tables' / 'scores-made.csv').read_text()
