"""A damaged checkpoint is found, named and passed over; what is restored is what was saved."""

import contextlib
import errno
import json
import logging
import os
import pathlib
import random
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax import command_line, files
from fgsep_jax.config import ConfigError
from fgsep_jax.training import checkpoint
from fgsep_jax.training.endings import TrainingError

STATE = {
    'step': jnp.int32(3),
    'kernel': jnp.asarray(np.random.default_rng(0).normal(size=(40, 50)), jnp.float32),
    'half': jnp.linspace(-1, 1, 300, dtype=jnp.bfloat16),
}
POSITION = {'data': 'tones', 'hosts': 1, 'iterator': {'next_index': 12}, 'config': {'seed': 7}}
KEY = '0a' * 16  # in the names of folders that come and go
ABSTRACT = checkpoint.abstract(STATE, jax.sharding.SingleDeviceSharding(jax.devices()[0]))


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """Run folder with the checkpoints 1 (loss 2), 2 (loss 1, the best) and 3 (no loss)."""
    workdir = tmp_path_factory.mktemp('saved')
    checkpoints = checkpoint.Checkpoints(workdir)
    for step, loss in ((1, 2.0), (2, 1.0), (3, None)):
        checkpoints.save(step, _state(step), POSITION, loss=loss)
    checkpoints.close()
    return workdir


@pytest.fixture
def workdir(saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _state(step):
    return {**STATE, 'step': jnp.int32(step)}


def assert_whole(restored, step):
    found, state, position = restored
    assert found == step
    assert {key: position[key] for key in POSITION} == POSITION
    for name, array in _state(step).items():
        assert state[name].dtype == array.dtype
        assert np.asarray(state[name]).tobytes() == np.asarray(array).tobytes()


def best(workdir):
    """((step, state, position) of the best whole checkpoint, notes)."""
    checkpoints = checkpoint.Checkpoints(workdir)
    try:
        return checkpoints.restore_best(ABSTRACT), checkpoints.notes
    finally:
        checkpoints.close()


def latest(workdir):
    """(position of the newest whole checkpoint as training goes on from it, notes)."""
    checkpoints = checkpoint.Checkpoints(workdir)
    try:
        _, position = checkpoints.restore_latest(ABSTRACT)
        return position, checkpoints.notes
    finally:
        checkpoints.close()


def names(workdir):
    return sorted(path.name for path in (workdir / 'checkpoints').iterdir())


@pytest.mark.parametrize(
    'content, step',
    [
        (None, 3),
        (b'', 3),
        (b'{"item_handlers": {"me', 3),
        (b'\xff\xfe', 3),
        (b'null', 3),
        ('pipe', 2),
        (b'[1]', 2),
        (b'{"item_handlers": 3}', 2),
        (b'{"commit_timestamp_nsecs": 99999999999999999999999999}', 2),
    ],
)
def test_what_orbax_says_of_its_own_files_is_not_printed(
    workdir, content, step, monkeypatch, caplog
):
    """It does without most of them; what its manager would fail on is passed over."""
    logger = logging.getLogger('absl')
    monkeypatch.setattr(logger, 'filters', [])
    command_line.quiet()
    path = workdir / 'checkpoints' / '3' / '_CHECKPOINT_METADATA'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.unlink()
    if content == 'pipe':
        os.mkfifo(path)
    checkpoints = checkpoint.Checkpoints(workdir)
    state, _ = checkpoints.restore_latest(ABSTRACT)
    checkpoints.open()
    checkpoints.close()
    assert int(state['step']) == step
    assert bool(checkpoints.notes) == (step == 2)
    assert not checkpoints.notes or '_CHECKPOINT_METADATA' in checkpoints.notes[0]
    assert not caplog.records
    logger.warning('the disk of %s is slow', workdir)
    assert len(caplog.records) == 1


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def flips(workdir, draw, *, each):
    """Flips single bits of every file of the best checkpoint; yields file and whether noticed."""
    for path in sorted((workdir / 'checkpoints' / '2').rglob('*')):
        if not path.is_file():
            continue
        data = path.read_bytes()
        for _ in range(each):
            flip(path, draw.randrange(8 * len(data)))
            restored, notes = best(workdir)
            assert_whole(restored, 1 if notes else 2)
            path.write_bytes(data)
            yield path, bool(notes)


@pytest.mark.slow
def test_a_flipped_bit_is_found_or_harmless(workdir):
    found = {}
    for path, noticed in flips(workdir, random.Random(0), each=2):
        part = path.relative_to(workdir / 'checkpoints' / '2').parts[0]
        found.setdefault(part, []).append(noticed)
    assert all(found['position'][2:]), 'commit_success.txt stands before metadata'
    assert sum(found['state']) >= 4


def test_a_flipped_bit_of_a_large_array_is_found(workdir):
    """Orbax checks its nodes; what is too large to stand in them it does not."""
    kernel = np.asarray(STATE['kernel'])
    [path] = [
        path
        for path in (workdir / 'checkpoints' / '2' / 'state').rglob('d/*')
        if path.stat().st_size > 0.8 * kernel.nbytes
    ]
    flip(path, 8 * (path.stat().st_size // 2))
    restored, notes = best(workdir)
    assert_whole(restored, 1)
    assert 'the values of 1 of 3 arrays are not those that were saved, e.g. of kernel' in notes[0]


def test_a_changed_digit_of_the_data_position_is_found(workdir):
    """Only the digest of the position can tell: the file is valid JSON, of the right step."""
    path = workdir / 'checkpoints' / '2' / 'position' / 'metadata'
    text = path.read_text()
    assert text.count('"next_index": 12') == 1
    path.write_text(text.replace('"next_index": 12', '"next_index": 13'))
    restored, notes = best(workdir)
    assert_whole(restored, 1)
    assert 'position/metadata: its digest does not match' in notes[0]


def test_a_position_may_name_a_folder_that_is_no_utf8(tmp_path):
    position = {**POSITION, 'config': {'data': {'dir': 'b\udcffd'}}}
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, _state(1), position)
    checkpoints.close()
    (_, _, restored), notes = best(tmp_path)
    assert restored['config'] == position['config'] and not notes


def _remove(folder):
    shutil.rmtree(folder / 'state')


def _empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def _no_folder(folder):
    shutil.rmtree(folder)
    folder.write_text('')


def _cut(folder):
    for path in (folder / 'state').rglob('*'):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-7])


def _zero(folder):  # what a machine that loses its power leaves
    for path in folder.rglob('*'):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))


def _another_step(folder):
    shutil.rmtree(folder)
    shutil.copytree(folder.parent / '1', folder)


def _other_loss(folder):
    (folder / 'metrics' / 'metrics').write_text('{"loss": -50.0}')


TEARS = (_remove, _empty, _no_folder, _cut, _zero, _another_step, _other_loss)


@pytest.mark.parametrize('tear', TEARS)
def test_a_torn_newest_checkpoint_is_set_aside_and_training_goes_on(workdir, tear):
    tear(workdir / 'checkpoints' / '3')
    position, notes = latest(workdir)
    assert position['step'] == 2
    assert f'{workdir}/checkpoints/3' in notes[0] and 'checkpoint 2, which is whole' in notes[0]
    assert notes[1].endswith('checkpoints/3.torn')
    assert names(workdir) == ['1', '2', '3.torn']  # nothing is deleted
    checkpoints = checkpoint.Checkpoints(workdir)
    checkpoints.save(3, _state(3), POSITION)  # its step is free again
    checkpoints.close()
    position, notes = latest(workdir)
    assert position['step'] == 3 and not notes
    _empty(workdir / 'checkpoints' / '3')
    latest(workdir)
    assert names(workdir) == ['1', '2', '3.torn', '3.torn-2']


def test_a_checkpoint_that_may_not_be_read_is_not_torn(workdir, monkeypatch):
    stat, kept = os.stat, str(workdir / 'checkpoints' / '3')

    def refused(path, *args, **keys):
        if str(path).startswith(f'{kept}/'):
            raise PermissionError(errno.EACCES, 'Permission denied', path)
        return stat(path, *args, **keys)

    monkeypatch.setattr(files.os, 'stat', refused)
    for read in (best, latest):
        with pytest.raises(ConfigError, match=f'{kept}/.* cannot be read: Permission denied'):
            read(workdir)
    assert names(workdir) == ['1', '2', '3']


@pytest.mark.parametrize('tear', TEARS)
def test_an_evaluation_takes_the_best_whole_one_and_changes_nothing(workdir, tear):
    tear(workdir / 'checkpoints' / '2')
    before = names(workdir)
    restored, notes = best(workdir)
    assert_whole(restored, 1)
    assert f'{workdir}/checkpoints/2' in notes[0]
    assert names(workdir) == before


def test_without_a_whole_one_nothing_is_touched_and_all_are_named(workdir):
    for step in '123':
        _remove(workdir / 'checkpoints' / step)
    for read in (best, latest):
        with pytest.raises(ConfigError, match='no whole checkpoint in') as error:
            read(workdir)
        assert '\n' not in str(error.value)
        assert all(f'checkpoints/{step}: ' in str(error.value) for step in '123')
    assert names(workdir) == ['1', '2', '3']


def test_strays_are_no_checkpoints(workdir):
    folder = workdir / 'checkpoints'
    unfinished = f'3.orbax-checkpoint-tmp-{KEY}'
    for name in ('3 (copy)', 'best', unfinished, '-5', '007', '٣', '3.orbax-checkpoint-tmp-mine'):
        (folder / name).mkdir()
    shutil.copytree(folder / '2', folder / '2.replaced')
    (folder / 'notes.txt').write_text('')
    os.symlink('nowhere', folder / 'link')
    before = set(names(workdir)) - {unfinished}
    assert_whole(best(workdir)[0], 2)
    with contextlib.closing(checkpoint.Checkpoints(workdir)) as checkpoints:
        assert checkpoints.restore_latest(ABSTRACT)[1]['step'] == 3
        checkpoints.open()
        assert not checkpoints.notes
    assert set(names(workdir)) == before


def test_what_somebody_put_into_a_checkpoint_keeps_it(workdir):
    folder, mine = workdir / 'checkpoints', []
    for step, below in (('1', '.'), ('3', 'state'), (f'4.orbax-checkpoint-tmp-{KEY}', 'state')):
        (folder / step / below).mkdir(parents=True, exist_ok=True)
        mine.append(folder / step / below / 'notes.md')
        mine[-1].write_text('mine')
    shutil.copytree(folder / '3', folder / f'3.replaced-{KEY}')  # killed when the new one was whole
    mine.append(folder / f'3.replaced-{KEY}' / 'state' / 'notes.md')
    os.symlink(workdir, folder / '2' / 'metrics' / 'd')  # of a name that a save writes
    with contextlib.closing(checkpoint.Checkpoints(workdir, keep=1)) as checkpoints:
        checkpoints.restore_latest(ABSTRACT)
        checkpoints.open()
        for path, what in (
            *zip(mine, ('notes.md', *['state/notes.md'] * 3)),
            (folder, 'metrics/d'),
        ):
            assert any(what in note and ' is kept' in note for note in checkpoints.notes), path
        for step in (5, 6, 7):
            checkpoints.save(step, _state(step), POSITION, loss=0.1 * step)
            checkpoints.wait()
            (folder / f'{step}/@eaDir').mkdir()  # as a file server adds to any folder
            (folder / f'{step}/@eaDir/metrics@x').write_text('')
        assert set(names(workdir)) >= {'1', '2', '3', '5', '7'} and '6' not in names(workdir)
    assert all(path.read_text() == 'mine' for path in mine)


def test_a_stray_folder_of_a_later_step_does_not_block_saving(workdir):
    (workdir / 'checkpoints' / '99').mkdir()
    (workdir / 'checkpoints' / '99' / 'mine').write_text('')
    position, notes = latest(workdir)
    assert position['step'] == 3 and 'checkpoints/99' in notes[0]
    assert (workdir / 'checkpoints' / '99.torn' / 'mine').exists()


def test_another_model_is_no_damage(workdir):
    other = {**ABSTRACT, 'kernel': jax.ShapeDtypeStruct((40, 51), jnp.float32)}
    checkpoints = checkpoint.Checkpoints(workdir)
    with pytest.raises(ConfigError, match=r'kernel is float32\[40, 50\] there and float32\[40, 51'):
        checkpoints.restore_latest(other)
    checkpoints.close()
    assert names(workdir) == ['1', '2', '3']


def test_checkpoints_of_an_earlier_version_are_restored_with_a_note(workdir):
    for path in pathlib.Path(workdir).glob('checkpoints/*/position/metadata'):
        path.write_text(json.dumps(POSITION))
    restored, notes = best(workdir)
    assert_whole(restored, 2)
    assert len(notes) == 1 and 'earlier version without digests' in notes[0]
    assert latest(workdir)[0] == POSITION


def test_what_is_saved_again_is_there_until_the_new_one_is(tmp_path, monkeypatch):
    with contextlib.closing(checkpoint.Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(1, _state(1), POSITION)
    with contextlib.closing(checkpoint.Checkpoints(tmp_path)) as checkpoints:
        checkpoints.restore_latest(ABSTRACT)
        checkpoints.open()
        with monkeypatch.context() as patch, pytest.raises(TrainingError, match='no space left'):
            full = OSError(errno.ENOSPC, 'No space left on device')
            patch.setattr(checkpoints._manager, 'save', lambda *_, **__: raised(full))
            checkpoints.save(1, _state(1), POSITION, loss=1.0, replace=True)
    (aside,) = os.listdir(tmp_path / 'checkpoints')
    assert re.fullmatch('1[.]replaced-[0-9a-f]{32}', aside)
    assert latest(tmp_path)[0]['loss'] is None
    with contextlib.closing(checkpoint.Checkpoints(tmp_path)) as checkpoints:
        checkpoints.restore_latest(ABSTRACT)
        checkpoints.save(1, _state(1), POSITION, loss=1.0, replace=True)
        assert os.listdir(tmp_path / 'checkpoints') == ['1']
    shutil.copytree(tmp_path / 'checkpoints' / '1', tmp_path / 'checkpoints' / aside)
    assert latest(tmp_path)[0]['loss'] == 1.0  # killed when the new one was whole
    assert os.listdir(tmp_path / 'checkpoints') == ['1']


def raised(error):
    raise error
