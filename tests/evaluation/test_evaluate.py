import csv
import json
import re
import shutil
import sys

from hypothesis import given, settings, strategies as st
import jax
import numpy as np
import pytest

from fgsep_jax import files as files_lib, lock
from fgsep_jax.config import ConfigError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import evaluate, run as evaluation, systems
from fgsep_jax.metrics.improvement import evaluate_example
from fgsep_jax.tasks import make_task
from fgsep_jax.training import run as training
import synthetic
import tiny

SETTINGS = dict(sample_rate=8000, batch_size=3, bucket_seconds=0.1, filter_taps=32)


def swap(source_BST, length_B, adaptation_BT=None):
    """A system that returns the sources in the wrong order, scaled, with a little noise."""
    noise_BST = np.random.default_rng(0).normal(0, 1e-3, source_BST.shape)
    return 7 * source_BST[:, ::-1] + noise_BST.astype(np.float32)


@pytest.fixture
def data(tmp_path):
    return synthetic.write(tmp_path / 'tones', test=7, lengths=(2400, 700, 1100))


def test_batches_hold_every_example_once_and_pad_little():
    lengths = np.random.default_rng(0).integers(1, 5000, 100)
    made = evaluate.batches(lengths, batch_size=8, bucket=500, most=8 * 5000)
    assert sorted(i for members, *_ in made for i in members) == list(range(100))
    for members, padded, rows in made:
        assert len(members) <= rows <= 8 and padded % 500 == 0
        assert all(padded - 500 < lengths[i] <= padded for i in members)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 100_000), min_size=1, max_size=60),
    batch_size=st.integers(1, 9),
    most=st.integers(1, 50_000),
)
def test_batches_are_of_what_is_there_and_no_larger_than_asked(lengths, batch_size, most):
    made = evaluate.batches(lengths, batch_size=batch_size, bucket=100, most=most)
    assert sorted(i for members, *_ in made for i in members) == list(range(len(lengths)))
    for padded in {padded for _, padded, _ in made}:
        of_length = [(members, rows) for members, other, rows in made if other == padded]
        (rows,) = {rows for _, rows in of_length}  # one shape is compiled a length
        assert 1 <= rows <= batch_size and (rows == 1 or rows * padded <= most)
        assert sum(rows - len(members) for members, rows in of_length) < len(of_length)
        for i in (i for members, _ in of_length for i in members):
            assert lengths[i] <= padded < lengths[i] + max(100, lengths[i] / 8 + 1)
    assert len({evaluate.pad_length(i, 100) for i in range(100 * 2**9, 100 * 2**10)}) <= 9


@pytest.mark.parametrize('hosts, devices', [(1, 4), (2, 1), (3, 2)])
def test_hosts_and_devices_share_the_batches_of_one(data, monkeypatch, hosts, devices):
    source, how = RecordSource(data, 'test'), evaluate.How(**SETTINGS)
    whole, parts = evaluate.own_share(source, how), []
    monkeypatch.setattr(jax, 'process_count', lambda: hosts)
    for host in range(hosts):
        monkeypatch.setattr(jax, 'process_index', lambda host=host: host)
        for members, padded, rows in evaluate.own_share(source, how, devices):
            one = rows // devices
            parts += [(members[i : i + one], padded, one) for i in range(0, len(members), one)]
    assert sorted(parts) == sorted(whole)


def test_rows_are_the_metrics_of_each_whole_example(data):
    source = RecordSource(data, 'test')
    rows, skipped = evaluate.evaluate(swap, source, **SETTINGS)
    assert [row['source'] for row in rows] == ['1', '2'] * 7
    assert {row['system'] for row in rows} == {'model'} and set(rows[0]) >= {'speaker', 'sex'}
    rows = tiny.whole(rows)
    assert [row['id'] for row in rows] == sorted(source[i].id for i in range(7)) and not skipped
    by_id = {source[i].id: source[i] for i in range(7)}
    for row in rows:
        source_ST = by_id[row['id']].sources_ST / 32768
        assert row['seconds'] == source_ST.shape[1] / 8000
        assert (row['permutation_1'], row['permutation_2']) == (1, 0)
        mixture = evaluate_example(source_ST, source_ST, source_ST.sum(axis=0), filter_length=32)
        np.testing.assert_allclose(row['si_snr_mixture'], mixture['si_snr_mixture'])
        np.testing.assert_allclose(row['sdri'], row['sdr'] - row['sdr_mixture'])
        assert row['si_snri'] > 40


@pytest.mark.slow
def test_a_model_gets_each_example_as_if_alone(data):
    config = tiny.config(data)
    task = make_task(config)
    params = jax.jit(task.init)(jax.random.key(0))
    separate = jax.jit(task.separate)
    source = RecordSource(data, 'test')
    rows, _ = evaluate.evaluate(systems.ModelSystem(task, params), source, **SETTINGS)
    for row in tiny.whole(rows):
        one = next(source[i] for i in range(7) if source[i].id == row['id'])
        source_ST = one.sources_ST / 32768
        mixture_T = source_ST.sum(axis=0)
        estimate_ST = separate(params, np.float32(mixture_T[None]))[0]
        alone = evaluate_example(np.asarray(estimate_ST), source_ST, mixture_T, filter_length=32)
        np.testing.assert_allclose(row['si_snr'], alone['si_snr'], atol=1e-3)
        np.testing.assert_allclose(row['sdr'], alone['sdr'], atol=1e-3)


def test_long_examples_go_by_fewer_and_nobody_is_there_twice(data, monkeypatch):
    monkeypatch.setattr(evaluate, 'BATCH_SECONDS', 0.1)
    seen = []

    def system(source_BST, length_B, adaptation_BT=None):
        seen.append(source_BST.shape[::2])
        return swap(source_BST, length_B)

    rows, _ = evaluate.evaluate(system, RecordSource(data, 'test'), **SETTINGS)
    assert len(rows) == 2 * 7
    assert sorted(seen) == [(1, 1600), (1, 1600), (1, 2400), (1, 2400), (1, 2400), (2, 800)]


def test_an_empty_estimate_is_counted_in_the_mean_and_said(data):
    source = RecordSource(data, 'test')
    whole, _ = evaluate.evaluate(swap, source, **SETTINGS)

    def broken(source_BST, length_B, adaptation_BT):
        estimate_BST = swap(source_BST, length_B)
        estimate_BST[0, 0], estimate_BST[1:2, 1, 5] = 0, np.nan
        return estimate_BST

    rows, skipped = evaluate.evaluate(broken, source, **SETTINGS)
    content = evaluate.summary(rows, skipped, system='broken')
    assert len(rows) == 2 * 7 and not skipped and content['skipped'] == {}
    empty = sum(row['empty_estimates'] for row in tiny.whole(rows))
    assert empty == content['empty_estimates'] > 3
    for name in ('si_snri', 'sdri'):
        assert content['metrics'][name]['count'] == 7
        mean = np.mean([row[name] for row in whole])
        np.testing.assert_allclose(
            content['metrics'][name]['mean'], mean - empty * 75 / 7, atol=empty * 15 / 7
        )


@pytest.mark.parametrize('scored', [1, 2, 3])
def test_mixtures_that_share_speakers_are_fewer(scored):
    """However many speakers are scored: twelve mixtures of a few tell less than of as many."""

    def width(speakers_of):
        rows = [
            {'id': str(i), 'source': str(s), 'speaker': speakers_of(i, s)}
            | dict.fromkeys(evaluate.METRICS, 5.0 * (i % 4))
            for i in range(12)
            for s in range(scored)
        ]
        low, high = evaluate.summary(rows, {})['metrics']['si_snri']['ci95']
        return high - low

    assert width(lambda i, s: f'{i % 4}-{s}') > 1.5 * width(lambda i, s: f'{i}-{s}')


def test_what_cannot_be_scored_is_skipped_and_counted(tmp_path):
    tree = synthetic.write(tmp_path / 'tones', test=3, lengths=(2400, 20))
    rows, skipped = evaluate.evaluate(swap, RecordSource(tree, 'test'), **SETTINGS)
    content = evaluate.summary(rows, skipped, system='swap')
    assert content['skipped'] == {'shorter than the distortion filter': 1}
    assert content['examples'] == len(rows) / 2 == content['metrics']['sdr']['count'] == 2


def test_the_oracle_beats_the_mixture_and_keeps_the_length(data):
    system = systems.oracle_systems(make_task(tiny.config(data)))['ideal_ratio_mask']
    rows, _ = evaluate.evaluate(system, RecordSource(data, 'test'), **SETTINGS)
    assert min(row['si_snri'] for row in rows) > 5
    assert system(np.ones((1, 2, 37), np.float32), None).shape == (1, 2, 37)


def test_files_are_whole_and_summed_up(data, tmp_path):
    rows, skipped = evaluate.evaluate(swap, RecordSource(data, 'test'), max_examples=5, **SETTINGS)
    evaluate.write(tmp_path / 'out', rows, evaluate.summary(rows, skipped, system='swap'))
    with open(tmp_path / 'out' / 'examples.csv') as file:
        read = list(csv.DictReader(file))
    assert len(read) == 2 * 5
    content = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    mean = np.mean([float(row['sdri']) for row in read])
    np.testing.assert_allclose(content['metrics']['sdri']['mean'], mean)
    low, high = content['metrics']['sdri']['ci95']
    assert low < mean < high
    assert len(list((tmp_path / 'out').iterdir())) == 2


@pytest.mark.slow
def test_train_evaluate_and_other_data_sets(data, tmp_path, capsys):
    """The whole way, then a data set of another rate, which is resampled and says so."""
    synthetic.write(tmp_path / 'tones', test=7, speakers={'train': ['ann']})
    config, workdir = tiny.config(data), str(tmp_path / 'run')
    training.train(config, workdir)
    evaluation.evaluate(config, workdir, baselines=True)
    printed = capsys.readouterr().out
    for word in ('mixture', 'Untrained', 'IRM, STFT bins', 'convtasnet_glu:demo', 'listen'):
        assert word in printed
    assert len(list((tmp_path / 'run' / 'audio').rglob('*.wav'))) == 3 * (3 + 3 * 2)

    speakers = {'validation': ['ann', 'eve']}
    other = synthetic.write(
        tmp_path / 'other', name='other', sample_rate=16000, lengths=(4800,), speakers=speakers
    )
    evaluation.evaluate(config, workdir, data_dirs=[other, data], splits=['validation'])
    printed = capsys.readouterr().out
    assert 'other-validation is at 16000 Hz and is resampled to' in printed
    assert '1 of the 2 speakers or recordings of other-validation are called as some' in printed
    content = json.loads(
        (tmp_path / 'run' / 'evaluation' / 'other-validation' / 'summary.json').read_text()
    )
    assert content['resampled_from'] == 16000 and content['examples'] == 4
    assert (content['speakers'], content['speakers_trained_on']) == (2, 1)
    assert (tmp_path / 'run' / 'evaluation' / 'tones-validation' / 'summary.json').exists()

    three = synthetic.write(tmp_path / 'three', sources=3)
    with pytest.raises(ConfigError, match='3 sources, the model separates 2'):
        evaluation.evaluate(config, workdir, data_dirs=[three])
    with pytest.raises(ConfigError, match='no checkpoint'):
        evaluation.evaluate(config, str(tmp_path / 'nowhere'))


def test_sounds_do_not_clip_and_keep_levels(tmp_path):
    import soundfile

    from fgsep_jax.evaluation import listen

    source = RecordSource(synthetic.write(tmp_path / 'tones', test=3), 'test')

    def soft(source_BST, length_B, adaptation_BT=None):
        return np.array([[1e-3], [-2e-3]], 'f') * (source_BST + 1e-2 * source_BST[:, ::-1])[:, ::-1]

    listen.write_examples(
        tmp_path / 'audio',
        'tones',
        source,
        {'': soft},
        count=1,
        sample_rate=8000,
        batch_size=2,
        bucket_seconds=0.1,
        filter_taps=32,
    )
    (folder,) = (tmp_path / 'audio').glob('[!.]*')
    files = {path.stem: soundfile.read(path)[0] for path in folder.glob('*.wav')}
    assert len(files) == 5 and max(np.abs(x).max() for x in files.values()) < 0.91
    for s in (1, 2):  # in the order, at the level and with the sign of the references
        np.testing.assert_allclose(files[f'estimate_{s}'], files[f'reference_{s}'], atol=0.03)
    about = json.loads((folder / 'example.json').read_text())
    assert about['files']['estimate_2.wav']['role'] == 'estimate'
    assert about['digest'] and not files_lib.is_damaged(about)
    for path, file in about['files'].items():  # by which a report tells that one was changed
        assert file['digest'] == files_lib.digest((folder / path).read_bytes())
    # A later evaluation replaces them.
    others = RecordSource(synthetic.write(tmp_path / 'others', train=7, test=2), 'test')
    listen.write_examples(
        tmp_path / 'audio',
        'tones',
        others,
        {'': soft},
        count=1,
        sample_rate=8000,
        batch_size=2,
        bucket_seconds=0.1,
        filter_taps=32,
    )
    assert [path.name for path in (tmp_path / 'audio').glob('[!.]*')] == [others[0].id]
    assert others[0].id != folder.name


def test_who_waits_is_told_how_far_it_is(data, monkeypatch, capsys):
    source = RecordSource(data, 'test')
    evaluate.evaluate(swap, source, **SETTINGS)
    assert capsys.readouterr() == ('', '')  # it took no minute
    monkeypatch.setattr(evaluate, 'SILENCE', 0.0)
    evaluate.evaluate(swap, source, label='swap on tones', **SETTINGS)
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert not printed.out and lines[-1] == 'evaluating swap on tones: 7 of 7 examples'
    done = [int(re.search(r': (\d+) of 7 examples$', line)[1]) for line in lines]
    assert len(done) > 1 and done == sorted(set(done))
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    evaluate.evaluate(swap, source, label='swap on tones', **SETTINGS)
    assert 'evaluating swap on tones:   0%' in capsys.readouterr().err


def test_results_are_not_put_into_a_folder_that_is_another_s_by_now(tmp_path):
    row = dict.fromkeys(('id', 'system', 'source', 'speaker', 'sex', 'seconds', 'snr_db'), '1')
    row |= dict.fromkeys(evaluate.METRICS, 1.0)
    summary = evaluate.summary([row], {}, system='swap')
    with pytest.raises(lock.Lost), lock.held(tmp_path, 'evaluation'):
        evaluate.write(tmp_path, [row], summary)
        before = (tmp_path / 'summary.json').read_bytes()
        shutil.rmtree(tmp_path / lock.NAME)
        evaluate.write(tmp_path, [row], {**summary, 'system': 'other'})
    assert (tmp_path / 'summary.json').read_bytes() == before
