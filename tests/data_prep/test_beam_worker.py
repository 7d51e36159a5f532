"""Beam's worker processes."""

import subprocess
import sys
import textwrap

from data_prep import engine

BEAM = b'apache_beam.runners.worker.sdk_worker_main'


def test_a_worker_ends_with_the_job_that_was_killed(tmp_path, monkeypatch):
    """One that has not reached Beam's server yet would wait for it for ever."""
    fake = tmp_path / BEAM.decode().replace('.', '/')
    fake.parent.mkdir(parents=True)
    for folder in list(fake.parents)[:3]:
        (folder / '__init__.py').touch()
    fake.with_suffix('.py').write_text(
        'import time\nmain = lambda argv: (print("works", flush=True), time.sleep(30))\n'
    )
    worker = engine.own_worker(f'{sys.executable} -m '.encode() + BEAM).decode()
    job = textwrap.dedent(f"""
        import subprocess
        subprocess.Popen({worker!r}, shell=True).wait()  # as Beam does
    """)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv('PYTHONPATH', ':'.join(filter(None, sys.path)))
    process = subprocess.Popen([sys.executable, '-c', job], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'works\n'
    process.kill()
    process.communicate(timeout=10)  # ends when nobody holds its output any more
