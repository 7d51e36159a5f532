import json
import os
import shutil
import sys
import types

import pytest

from fgsep_jax import buckets, lock, stopping
from fgsep_jax.config import ConfigError
from fgsep_jax.evaluation import cross, evaluate, listen, run as run_lib
from fgsep_jax.interop import model_file
from fgsep_jax.report import runs as reading
from fgsep_jax.training import checkpoint, run as training
import synthetic
import tiny

pytestmark = pytest.mark.slow  # each takes seconds, or waits for what does


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Two data sets, and two runs trained on one each."""
    root = tmp_path_factory.mktemp('cross')
    for name, lengths in (('low', (2400,)), ('high', (1700, 2400))):
        data = synthetic.write(root / name, name=name, lengths=lengths, test=6)
        config = tiny.config(data, **{'training.epochs': 1})
        config.evaluation.listen_examples = 0
        training.train(config, str(root / 'runs' / f'on_{name}'))
    return root


def results(root):
    return {
        path.relative_to(root / 'runs').parent: path.stat().st_mtime_ns
        for path in (root / 'runs').rglob('evaluation/**/summary.json')
    }


def test_every_run_on_every_data_set_and_no_more_than_once(root, capsys, monkeypatch):
    sets = [str(root / 'low'), str(root / 'high')]
    cross.cross_evaluate([str(root / 'runs')], sets)
    printed = capsys.readouterr().out
    made = results(root)
    assert {str(path) for path in made} == {
        f'on_{run}/evaluation/{name}' for run in ('low', 'high') for name in ('low', 'high')
    }
    content = json.loads((root / 'runs/on_low/evaluation/high/summary.json').read_text())
    assert content['data_set'] == 'high' and content['examples'] == 6
    mean = f'{content["metrics"]["si_snri"]["mean"]:.2f} ['
    row = next(
        line
        for line in printed.splitlines()
        if line.startswith('| Deep w/ GLU') and '| low |' in line
    )
    assert 'Big-Conv-TasNet' not in printed  # what there is no run of
    assert row.split('|')[-5].strip().startswith(mean)  # on high; on low, others, drop follow

    cross.cross_evaluate([str(root / 'runs')], sets)
    assert results(root) == made
    assert capsys.readouterr().out.count('nothing to do (kept: low, high)') == 2
    with monkeypatch.context() as patch:  # the core does without pandas, and says what it would do
        patch.setitem(sys.modules, 'pandas', None)
        cross.cross_evaluate([str(root / 'runs')], sets)
    assert "pip install 'fgsep_jax[report]'" in capsys.readouterr().out

    # One result lost, one of another filter length: these two are made, the others kept.
    shutil.rmtree(root / 'runs/on_low/evaluation/low')
    path = root / 'runs/on_high/evaluation/low/summary.json'
    path.write_text(path.read_text().replace('"filter_taps": 512', '"filter_taps": 64'))
    cross.cross_evaluate([str(root / 'runs')], sets)
    again = results(root)
    assert {str(name) for name in again if again[name] != made[name]} == {
        'on_low/evaluation/low',
        'on_high/evaluation/low',
    }
    assert '"filter_taps": 512' in path.read_text()


def test_stopped_before_its_sounds_are_whole_it_is_not_done(root, capsys, monkeypatch, tmp_path):
    runs, sets = tmp_path / 'runs', [str(root / 'low')]
    shutil.copytree(root / 'runs' / 'on_low', runs / 'a')
    overrides = {'evaluation': {'listen_examples': 2}}
    with monkeypatch.context() as patch:
        lost = []

        def stopped(*_):
            lost.append(stopping._lost)
            raise KeyboardInterrupt

        patch.setattr(listen, '_write', stopped)
        with pytest.raises(KeyboardInterrupt):
            cross.cross_evaluate([str(runs)], sets, overrides=overrides)
        assert lost == ['low is not evaluated to its end; the same command evaluates it']
        assert not stopping._lost
    cross.cross_evaluate([str(runs)], sets, overrides=overrides)
    assert 'nothing to do' not in capsys.readouterr().out
    assert len(list((runs / 'a' / 'audio').rglob('example.json'))) == 2
    assert {name for name, _ in reading.open_run(runs / 'a').examples} == {'low'}
    cross.cross_evaluate([str(runs)], sets, overrides=overrides)
    assert 'nothing to do' in capsys.readouterr().out
    # Nor where fewer were wanted, or the same step was of other weights.
    cross.cross_evaluate([str(runs)], sets, overrides={'evaluation': {'listen_examples': 3}})
    assert 'nothing to do' not in capsys.readouterr().out
    evaluate.note(runs / 'a' / 'evaluation' / 'low', model_digest='0' * 8)
    cross.cross_evaluate([str(runs)], sets, overrides=overrides)
    assert 'nothing to do' not in capsys.readouterr().out


def test_results_whose_sounds_are_gone_or_damaged_are_made_again(root, capsys, tmp_path):
    runs, sets = tmp_path / 'runs', [str(root / 'low')]
    shutil.copytree(root / 'runs' / 'on_low', runs / 'a')
    overrides = {'evaluation': {'listen_examples': 2}}

    def evaluated():
        capsys.readouterr()
        cross.cross_evaluate([str(runs)], sets, overrides=overrides)
        return 'nothing to do' not in capsys.readouterr().out

    assert evaluated() and not evaluated()
    audio = runs / 'a' / 'audio'
    sounds = {path.relative_to(audio): path.read_bytes() for path in audio.rglob('*.wav')}
    shutil.rmtree(audio)
    assert evaluated() and not evaluated()
    some = min(sounds)
    (audio / some).write_bytes(sounds[some][:-2])
    assert evaluated() and not evaluated()
    assert sounds == {path.relative_to(audio): path.read_bytes() for path in audio.rglob('*.wav')}
    shutil.rmtree(audio)
    overrides = {'evaluation': {'listen_examples': 0}}  # whoever wants none
    assert not evaluated()


def test_where_the_best_is_damaged_the_next_is_scored_once(root, capsys, tmp_path):
    runs, sets = tmp_path / 'runs', [str(root / 'low')]
    shutil.copytree(root / 'runs' / 'on_low', runs / 'a')
    shutil.rmtree(runs / 'a' / 'evaluation', ignore_errors=True)
    folder = runs / 'a' / 'checkpoints'
    best = checkpoint.find_best(runs / 'a').step
    (other,) = {int(path.name) for path in folder.iterdir()} - {best}
    (array,) = sorted((folder / str(best) / 'state').rglob('d/*'))[:1]
    array.write_bytes(b'damaged')
    cross.cross_evaluate([str(runs)], sets)
    assert json.loads((runs / 'a/evaluation/low/summary.json').read_text())['step'] == other
    capsys.readouterr()
    cross.cross_evaluate([str(runs)], sets)
    assert 'nothing to do' in capsys.readouterr().out


def test_copies_beside_the_baselines_are_nothing_to_it(root, capsys, tmp_path):
    runs, sets = tmp_path / 'runs', [str(root / 'low')]
    shutil.copytree(root / 'runs' / 'on_low', runs / 'a')
    cross.cross_evaluate([str(runs)], sets, baselines=True)
    there = runs / 'a' / 'evaluation' / 'low'
    assert {path.name for path in there.iterdir() if path.is_dir()} == {*[*reading.SYSTEMS][:2]}
    shutil.copytree(there / 'ideal_ratio_mask', there / 'ideal_ratio_mask-old')
    capsys.readouterr()
    cross.cross_evaluate([str(runs)], sets, baselines=True)
    assert 'nothing to do' in capsys.readouterr().out
    assert not reading.open_run(runs / 'a').problems
    shutil.rmtree(there / 'ideal_ratio_mask')
    cross.cross_evaluate([str(runs)], sets, baselines=True)
    assert 'nothing to do' not in capsys.readouterr().out


def test_all_that_does_not_fit_is_named_before_anything_runs(root, tmp_path):
    fast = synthetic.write(tmp_path / 'fast', name='fast', sample_rate=16000, lengths=(4800,))
    three = synthetic.write(tmp_path / 'three', name='three', sources=3)
    before = results(root)
    empty = tmp_path / 'more' / 'empty'
    os.makedirs(empty)
    shutil.copy(root / 'runs/on_low/config.json', empty)
    with pytest.raises(ConfigError) as caught:
        cross.cross_evaluate(
            [str(root / 'runs'), str(tmp_path / 'more')], [fast, three, str(root / 'low')]
        )
    text = str(caught.value)
    for run in ('on_low', 'on_high', 'empty'):
        assert f'{run}: {fast} is at 16000 Hz, the run at 8000 Hz' in text
        assert f'{run}: {three} holds mixtures of 3 sources, the model separates 2' in text
    assert f'{empty} holds no checkpoint' in text and text.count('\n') == 7
    assert results(root) == before


def test_checkpoints_that_cannot_be_restored_are_named_before_anything_runs(root, tmp_path):
    runs = tmp_path / 'runs'
    for name in ('on_low', 'on_high'):
        shutil.copytree(root / 'runs' / name, runs / name)
        shutil.rmtree(runs / name / 'evaluation', ignore_errors=True)
    for path in (runs / 'on_low' / 'checkpoints').glob('*/state/**/*'):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    file = tmp_path / 'm.safetensors'
    about, params, _ = checkpoint.load_trained(str(runs / 'on_high'))
    model_file.write(file, about.config, params, sources=about.sources)
    file.write_bytes(file.read_bytes()[:-1] + b'x')
    with pytest.raises(ConfigError) as caught:
        cross.cross_evaluate([str(runs), str(file)], [str(root / 'low')])
    text = str(caught.value)
    assert f'no whole checkpoint in {runs}/on_low/checkpoints' in text and str(file) in text
    assert 'nothing was evaluated' in text
    assert not list(tmp_path.rglob('summary.json'))


def test_results_of_two_model_files_of_one_name_do_not_mix(root, tmp_path):
    """A report would take them for those of one model."""
    file, low, high = tmp_path / 'm.safetensors', str(root / 'low'), str(root / 'high')
    about, params, _ = checkpoint.load_trained(str(root / 'runs' / 'on_low'))

    def exported(origin):
        model_file.write(file, about.config, params, sources=about.sources, origin=origin)
        return model_file.read_about(file).digest

    def scored(*sets):
        cross.cross_evaluate([str(file)], sets, overrides={'evaluation': {'listen_examples': 0}})
        found = (tmp_path / 'm-results').glob('evaluation/*/summary.json')
        return [json.loads(path.read_text())['model_digest'] for path in found]

    assert [exported('one')] == scored(low)
    digest = exported('two')
    where, how = str(tmp_path / 'm-results'), dict(model=str(file), data_dirs=[high])
    for evaluated in (lambda: scored(high), lambda: run_lib.evaluate(about.config, where, **how)):
        with pytest.raises(ConfigError, match='m-results/evaluation/low .* of another content'):
            evaluated()
    assert scored(high, low) == [digest] * 2


def test_results_that_another_process_writes_are_named_before_anything_runs(root, tmp_path):
    runs = tmp_path / 'runs'
    for name in ('on_low', 'on_high'):
        shutil.copytree(root / 'runs' / name, runs / name)
        shutil.rmtree(runs / name / 'evaluation', ignore_errors=True)
    folder = runs / 'on_high' / 'evaluation' / 'low'
    with lock.held(folder, 'evaluation'), pytest.raises(ConfigError) as caught:
        cross.cross_evaluate([str(runs)], [str(root / 'high'), str(root / 'low')])
    assert f'{folder} is being written to by process' in str(caught.value)
    assert not list(runs.rglob('summary.json'))


def test_refusals(root, tmp_path):
    runs, low = [str(root / 'runs')], str(root / 'low')
    twin = synthetic.write(tmp_path / 'twin', name='low')
    for call, words in (
        (([], [low]), 'needs --runs'),
        ((runs, []), 'needs --data_dirs'),
        (([str(tmp_path)], [low]), 'holds no runs'),
        ((runs, [low, twin]), 'data sets of one name'),
        ((runs, [str(tmp_path / 'nowhere')]), 'no data set at'),
    ):
        with pytest.raises(ConfigError, match=words):
            cross.cross_evaluate(*call)
    with pytest.raises(
        ConfigError, match="no split 'dev'; it has test, train, val|train, validation, test"
    ):
        cross.cross_evaluate(runs, [low], splits=['dev'])
    part = tiny.config(low).evaluation
    part.max_examples = 2
    with pytest.raises(ConfigError, match='on_low: evaluation.max_examples = 2 leaves'):
        cross.cross_evaluate(runs, [low], overrides={'evaluation': part})


def test_notes_on_runs_in_a_bucket_name_it(memory, monkeypatch, capsys):
    results = types.SimpleNamespace(data_sets=lambda: [], task='foreground')
    with buckets.copies():
        folder = buckets.local('memory://b/runs')

        def tables(runs, notes):
            notes.append(f'{folder}/a is damaged')
            return results

        monkeypatch.setattr(cross.scores, 'of', tables)
        cross._print_matrix([])
    assert capsys.readouterr().out == 'note: memory://b/runs/a is damaged\n'
