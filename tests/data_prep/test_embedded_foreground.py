"""The embedded data set of the foreground task: six splits from sounds made by rule."""

import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('apache_beam', reason='pip install fgsep_jax[data_prep]')

from data_prep import embedded, embedded_foreground
from fgsep_jax import config
from fgsep_jax.data import source

RATE = 8000
COUNTS = {'train': 24, 'validation': 6, 'c1': 5, 'c2': 5, 'c3': 5, 'c4': 5}
SMALL = [
    '--foregrounds_per_class=3',
    '--backgrounds_per_class=3',
    '--train_mixtures=24',
    '--validation_mixtures=6',
    '--test_mixtures=5',
    f'--sample_rate={RATE}',
]


def _hashes(folder):
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(os.listdir(folder))
    }


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Built where the package looks for it, on a machine that has no eSpeak NG."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FGSEP_DATA_DIR', str(tmp_path_factory.mktemp('data')))
        patch.setitem(sys.modules, 'espeakng_loader', None)
        embedded.main(['--task=foreground', *SMALL])
        return pathlib.Path(config.embedded_dir('foreground'))


@pytest.mark.slow
def test_six_splits_of_the_classes_that_belong_there(made):
    seen = {one.name: one.seen for one in embedded_foreground.classes().values()}
    role = {one.name: one.role for one in embedded_foreground.classes().values()}
    for split, count in COUNTS.items():
        data = source.RecordSource(str(made), split)
        assert len(data) == count
        for i in range(count):
            foreground, background = data[i].source_classes
            assert (role[foreground], role[background]) == ('foreground', 'background')
            assert seen[foreground] == (split not in ('c3', 'c4'))
            assert seen[background] == (split not in ('c2', 'c4'))


@pytest.mark.slow
def test_no_recording_is_heard_in_two_of_training_validation_and_evaluation(made):
    heard = {split: set() for split in COUNTS}
    for split, count in COUNTS.items():
        data = source.RecordSource(str(made), split)
        for i in range(count):
            heard[split] |= set(data[i].source_ids)
    evaluation = heard['c1'] | heard['c2'] | heard['c3'] | heard['c4']
    assert not heard['train'] & heard['validation']
    assert not (heard['train'] | heard['validation']) & evaluation


@pytest.mark.slow
@pytest.mark.parametrize('split', COUNTS)
def test_mixtures_are_whole(made, split):
    data = source.RecordSource(str(made), split)
    for i in range(COUNTS[split]):
        example = data[i]
        source_ST = example.sources_ST / 32768.0
        level_db_S = 10 * np.log10(np.square(source_ST).mean(axis=1))
        assert example.sample_rate == RATE
        assert source_ST.shape == (2, 2 * RATE)
        assert example.adaptation_T.shape == (2 * RATE,)
        assert example.adaptation_overlap == 0.0  # backgrounds are long enough
        assert np.std(example.adaptation_T) > 100
        assert np.abs(source_ST.sum(axis=0)).max() < 0.91
        assert -3 <= example.snr_db <= 3
        assert level_db_S[0] - level_db_S[1] == pytest.approx(example.snr_db, abs=0.1)


@pytest.mark.slow
def test_the_same_bytes_from_another_process(made, tmp_path):
    again = tmp_path / 'again'
    command = [sys.executable, '-m', 'data_prep.embedded', '--task', 'foreground']
    subprocess.run(
        [*command, f'--output_dir={again}', '--name=embedded_fgbg', *SMALL],
        check=True,
        capture_output=True,
    )
    assert _hashes(again) == _hashes(made)


@pytest.mark.slow
def test_metadata_holds_its_own_flags_and_where_the_sounds_come_from(made):
    metadata = source.RecordSource(str(made), 'c1').metadata
    assert (metadata['job'], metadata['name']) == ('embedded_fgbg', 'embedded_fgbg')
    assert 'numpy' in metadata['synthesiser'] and 'no recordings' in metadata['licence']
    assert metadata['config']['train_mixtures'] == 24
    strangers = {'task', 'utterances_per_voice', 'train_pairs', 'max_seconds'}
    assert not strangers & set(metadata['config'])


@pytest.mark.slow
def test_a_second_run_finds_it_and_another_data_set_is_not_overwritten(made, capsys):
    before = _hashes(made)
    here = f'--output_dir={made}'
    with pytest.raises(SystemExit) as stop:
        embedded.main(['--task=foreground', here, *SMALL])
    assert stop.value.code == 0
    assert 'complete already' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='holds another data set'):
        embedded.main(['--task=foreground', here, *SMALL, '--seed=1'])
    assert _hashes(made) == before


@pytest.mark.parametrize(
    'task, flag, owner',
    [
        ('speech', '--foregrounds_per_class=3', 'foreground'),
        ('speech', '--train_mixtures', 'foreground'),
        ('foreground', '--utterances_per_voice=3', 'speech'),
        ('foreground', '--train_pairs=3', 'speech'),
    ],
)
def test_a_flag_of_the_other_task_is_refused(task, flag, owner, capsys):
    with pytest.raises(SystemExit):
        embedded.main([f'--task={task}', flag])
    message = capsys.readouterr().err
    assert f'{flag.split("=")[0]} is a flag of --task={owner}, this is --task={task}' in message


def test_an_unknown_task_is_refused(capsys):
    with pytest.raises(SystemExit):
        embedded.main(['--task=music'])
    assert '--task=music: value should be one of <speech|foreground>' in capsys.readouterr().err


def test_too_few_sounds_for_three_splits_are_refused(tmp_path):
    with pytest.raises(SystemExit, match='--backgrounds_per_class=2: must be from 3'):
        embedded.main(
            ['--task=foreground', f'--output_dir={tmp_path}', '--backgrounds_per_class=2']
        )
