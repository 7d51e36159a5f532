"""A checkpoint that cannot be written ends a run in one line, and the whole one before it stays."""

import errno
import os
import subprocess

import pytest

from fgsep_jax.data.source import RecordSource
from fgsep_jax.training import loop
from fgsep_jax.training.checkpoint import Checkpoints
from fgsep_jax.training.endings import TrainingError
import synthetic
import tiny


@pytest.fixture
def train(tmp_path):
    data = synthetic.write(tmp_path / 'tones')

    def run(workdir):
        return loop.train(
            tiny.config(data, **{'training.checkpoint_steps': 3, 'training.keep_checkpoints': 1}),
            str(workdir),
            train_source=RecordSource(data, 'train'),
            validation_source=RecordSource(data, 'validation'),
        )

    return run


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, where making one is permitted."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=320k', 'tmpfs', str(folder)]
    try:
        permitted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        permitted = False
    if not permitted:
        pytest.skip('no file system may be mounted here')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


def whole(workdir):
    return Checkpoints(workdir).latest_step()


@pytest.mark.slow
def test_a_real_full_disk(train, small_disk, capsys):
    with pytest.raises(TrainingError, match='no space left.*the same command resumes') as error:
        train(small_disk / 'run')
    assert '\n' not in str(error.value)
    assert whole(small_disk / 'run') in (3, 4, 6, 8, 9)


@pytest.mark.slow
def test_a_save_that_fails_in_its_thread(train, tmp_path, monkeypatch):
    """What Orbax's threads raise, of whatever kind, at the third checkpoint and after it."""
    from orbax.checkpoint._src.metadata import array_metadata_store

    write, saves = array_metadata_store.Store.write, []

    async def fail(self, checkpoint_dir, *arguments, **keywords):
        saves.append(checkpoint_dir)
        if len(saves) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return await write(self, checkpoint_dir, *arguments, **keywords)

    monkeypatch.setattr(array_metadata_store.Store, 'write', fail)
    with pytest.raises(TrainingError, match='no space left.*the same command resumes'):
        train(tmp_path / 'run')
    assert whole(tmp_path / 'run') == 4
    monkeypatch.undo()
    assert int(train(tmp_path / 'run').step) == 12
