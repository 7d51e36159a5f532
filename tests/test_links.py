"""Nothing is written through a link inside a folder of ours, nor in a link's place: it is named."""

import json
import os
import types

import pytest

from data_prep import folder_2mix, output
from fgsep_jax import command_line, files, lock
from fgsep_jax.evaluation import run as evaluation
from fgsep_jax.report import runs, write as report_write
from fgsep_jax.separation import writing
from fgsep_jax.training import logging, run_folder
import tiny

PARTS = ('config.json', *(name for name in run_folder.CONTENTS if name != 'checkpoints'))


@pytest.fixture
def elsewhere(tmp_path):
    """A file, a folder with a file, and nothing, outside the folder that is written to."""
    (tmp_path / 'else' / 'folder').mkdir(parents=True)
    (tmp_path / 'else' / 'file').write_text('mine')
    (tmp_path / 'else' / 'folder' / 'file').write_text('mine')
    return tmp_path / 'else'


TARGETS = ('file', 'folder', 'nowhere')


def refused(elsewhere, link, target, error, act):
    """`act` is refused in one line that names the link; nothing changed."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere / target)
    with pytest.raises(error) as problem:
        act()
    line = str(command_line.refusal(problem.value).args[0])
    assert str(link) in line and str(elsewhere / target) in line, line
    assert os.readlink(link) == str(elsewhere / target)
    assert sorted(os.listdir(elsewhere)) == ['file', 'folder']
    assert (elsewhere / 'file').read_text() == 'mine'
    assert os.listdir(elsewhere / 'folder') == ['file']


@pytest.mark.parametrize('target', TARGETS)
@pytest.mark.parametrize(
    'act',
    [
        lambda path: files.write({path: 'x'}),
        lambda path: files.write({path.with_name('other'): 'x', path: 'x'}),
        lambda path: files.write_in_place(path, 'x'),
        lambda path: logging._Appended(str(path), print),
        lambda path: writing.Output(str(path)),
        lambda path: files.refuse_links(path.parent.parent, f'{path.parent.name}/{path.name}/x/y'),
    ],
)
def test_no_file_is_written_to_where_a_link_leads(elsewhere, tmp_path, act, target):
    link = tmp_path / 'run' / 'x'
    refused(elsewhere, link, target, OSError, lambda: act(link))
    assert os.listdir(tmp_path / 'run') == ['x']


@pytest.mark.parametrize('target', TARGETS)
@pytest.mark.parametrize('part', PARTS)
def test_a_part_of_a_run_is_no_link(elsewhere, tmp_path, part, target):
    run, config = tmp_path / 'run', tiny.config('convtasnet_glu')
    refused(elsewhere, run / part, target, OSError, lambda: run_folder.check(str(run), config))


def test_a_run_and_its_checkpoints_may_lie_on_another_disk(elsewhere, tmp_path):
    (tmp_path / 'disk' / 'checkpoints').mkdir(parents=True)
    (tmp_path / 'disk' / 'run').mkdir()
    (tmp_path / 'run').symlink_to(tmp_path / 'disk' / 'run')
    (tmp_path / 'run' / 'checkpoints').symlink_to(tmp_path / 'disk' / 'checkpoints')
    config = tiny.config('convtasnet_glu')
    run_folder.check(str(tmp_path / 'run'), config)
    files.write({tmp_path / 'run' / 'config.json': 'x'})
    assert (tmp_path / 'disk' / 'run' / 'config.json').read_text() == 'x'
    check = lambda: run_folder.check(str(tmp_path / 'other'), config)  # noqa: E731
    refused(elsewhere, tmp_path / 'other' / 'checkpoints', 'nowhere', ValueError, check)


@pytest.mark.parametrize('target', TARGETS)
@pytest.mark.parametrize(
    'part',
    [
        'evaluation',
        'evaluation/tones',
        'evaluation/tones/summary.json',
        'evaluation/tones/examples.csv',
        'audio',
        'audio/tones',
        'audio/tones/.written.json',
    ],
)
def test_an_evaluation_is_refused_before_it_begins(elsewhere, tmp_path, part, target):
    config = tiny.config('convtasnet_glu')
    source = types.SimpleNamespace(
        metadata={'name': 'tones'}, split='test', directory='x', speakers=()
    )
    run = tmp_path / 'run'
    act = lambda: evaluation.evaluate_on(config, str(run), [source])  # noqa: E731
    name = evaluation.result_name(source, config.evaluation.max_examples)
    refused(elsewhere, run / part.replace('tones', name), target, OSError, act)


@pytest.mark.parametrize('target', TARGETS)
@pytest.mark.parametrize(
    'part', [output.STAGING, 'dataset.json', 'index-train.npy', 'x-train.tfrecord-00000-of-00001']
)
def test_a_data_set_is_not_written_through_links(elsewhere, tmp_path, part, target):
    out = tmp_path / 'out'
    act = lambda: output.prepare(str(out), 'x', True)  # noqa: E731
    refused(elsewhere, out / part, target, OSError, act)


def test_a_job_says_so_in_one_line(elsewhere, tmp_path, capsys):
    (tmp_path / 'in' / 'a').mkdir(parents=True)
    (tmp_path / 'in' / 'a' / 'x.wav').write_text('x')
    act = lambda: folder_2mix.main(  # noqa: E731
        [f'--input_dir={tmp_path}/in', f'--output_dir={tmp_path}/out', '--split_by=recording']
    )
    refused(elsewhere, tmp_path / 'out' / lock.NAME, 'folder', SystemExit, act)
    assert capsys.readouterr().err.startswith(f'error: {tmp_path}/out/{lock.NAME}: a link to')


@pytest.mark.parametrize('target', ['file', 'nowhere'])
@pytest.mark.parametrize('part', ['report.md', 'report_files.json', 'tables/t.csv'])
def test_a_report_replaces_no_link(elsewhere, tmp_path, part, target):
    (tmp_path / 'out').mkdir()
    listed = json.dumps({'files': ['index.html', 'report.md', 'tables/t.csv']})
    (tmp_path / 'out' / 'report_files.json').write_text(listed)
    link = tmp_path / 'out' / part
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(elsewhere / target)
    with pytest.raises(runs.ResultsError, match=str(link)):
        report_write.check(str(tmp_path / 'out'))
    assert link.is_symlink() and (elsewhere / 'file').read_text() == 'mine'
