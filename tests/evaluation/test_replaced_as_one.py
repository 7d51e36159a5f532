"""examples.csv and summary.json belong together at whatever instant an evaluation is killed."""

import os

import pytest

from fgsep_jax import buckets, files
from fgsep_jax.evaluation import evaluate
from fgsep_jax.report import runs


class Killed(BaseException):
    """Stands for kill -9: nothing is tidied up after it."""


def content(value, *, count=3):
    rows = [
        {'id': f'{i}', 'source': '1', 'seconds': 1.0, 'snr_db': 0.0, 'sdr': value}
        for i in range(count)
    ]
    summary = dict.fromkeys(('system', 'preset', 'data_set', 'split'), 'x') | {
        'step': 1,
        'parameters': 1,
        'metrics': {'sdr': {'median': 0, 'q25': 0, 'q75': 0}},
    }
    summary |= {'examples': count, 'value': value}
    return rows, summary


def read(run):
    """The one value that all of a result is of."""
    found = runs.read_result(run, 'tones')
    (value,) = {found.summary['value'], *found.columns['sdr']}
    return value


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'evaluation' / 'tones'


@pytest.mark.parametrize('earlier', [True, False])
@pytest.mark.parametrize('instant', range(6))
def test_killed_at_any_instant_it_is_old_or_new(tmp_path, folder, monkeypatch, instant, earlier):
    evaluate.write(folder, *content(1.0))
    if earlier:  # written by a version that said nothing of its examples
        summary = files.read_json(folder / 'summary.json', ValueError)
        del summary['examples_digest'], summary['digest']
        files.write({folder / 'summary.json': files.json.dumps(summary)})
    left = [instant]

    def dies(function):
        def call(*arguments, **keywords):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return function(*arguments, **keywords)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files.os, 'replace', dies(os.replace))
        patch.setattr(files, 'open', dies(open), raising=False)
        patch.setattr(files.os, 'unlink', dies(os.unlink))
        try:
            evaluate.write(folder, *content(2.0))
            ended = True
        except Killed:
            ended = False
    assert read(tmp_path) == (2.0 if instant >= 3 else 1.0)
    assert ended == (instant >= 4)
    evaluate.settle(folder)
    assert sorted(os.listdir(folder)) == ['examples.csv', 'summary.json']
    assert read(tmp_path) == (2.0 if instant >= 3 else 1.0)


def test_examples_of_another_summary_are_refused(tmp_path, folder):
    evaluate.write(folder, *content(1.0))
    (folder / 'examples.csv').write_text(
        (folder / 'examples.csv').read_text().replace('1.0\n', '9.0\n')
    )
    with pytest.raises(runs.ResultsError, match='not of this examples.csv; evaluate again'):
        runs.read_result(tmp_path, 'tones')


def test_killed_between_two_files_a_bucket_has_no_result(memory, monkeypatch):
    """There each is put by itself, and the partial name of a file stays here."""

    def evaluate_there(value):
        with buckets.copies():
            run = buckets.local('memory://b/run')
            evaluate.write(f'{run}/evaluation/tones', *content(value))

    def found():
        with buckets.copies():
            return read(buckets.local('memory://b/run'))

    def dies_at_summary(path, file):
        if path.endswith('summary.json'):
            raise Killed
        return put(path, file)

    put = buckets.put
    evaluate_there(1.0)
    assert found() == 1.0
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(buckets, 'put', dies_at_summary)
        evaluate_there(2.0)
    with pytest.raises(runs.ResultsError, match='not of this examples.csv; evaluate again'):
        found()
    evaluate_there(2.0)
    assert found() == 2.0


def test_litter_of_ours_alone_is_removed(tmp_path):
    for name in (f'{files.PARTIAL}a', f'{files.PARTIAL}b/c', 'a.partial', '.partial-x', 'x/y'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / f'{files.PARTIAL}link').symlink_to(tmp_path / 'x')
    files.clean(tmp_path)
    files.clean(tmp_path / 'nowhere')
    assert sorted(os.listdir(tmp_path)) == ['.partial-x', 'a.partial', 'x']
    assert os.listdir(tmp_path / 'x') == ['y']


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / 'a').write_text('old')
    with pytest.raises(OSError):
        files.write({tmp_path / 'a': 'new', tmp_path / 'nowhere' / 'b': 'new'})
    assert os.listdir(tmp_path) == ['a'] and (tmp_path / 'a').read_text() == 'old'


def test_a_full_disk_names_the_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        files.write_in_place('/dev/full', 'x')
