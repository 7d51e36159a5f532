"""The embedded corpus: the same bytes every time, speakers and sentences kept apart."""

import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('espeakng_loader', reason='pip install fgsep_jax[demo]')
pytest.importorskip('apache_beam', reason='pip install fgsep_jax[data_prep]')

from data_prep import embedded, embedded_speech, espeak
from fgsep_jax import config
from fgsep_jax.data import source

SMALL = [
    '--utterances_per_voice=2',
    '--train_pairs=30',
    '--validation_pairs=4',
    '--test_pairs=4',
]


def _hashes(folder):
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(os.listdir(folder))
    }


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    """Built where the package looks for it when no folder is named."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FGSEP_DATA_DIR', str(tmp_path_factory.mktemp('data')))
        embedded.main(SMALL)
        return pathlib.Path(config.embedded_dir())


@pytest.mark.slow
def test_the_same_bytes_from_another_process(corpus, tmp_path):
    again = tmp_path / 'again'
    command = [sys.executable, '-m', 'data_prep.embedded', f'--output_dir={again}']
    subprocess.run([*command, '--name=embedded', *SMALL], check=True, capture_output=True)
    assert _hashes(again) == _hashes(corpus)


def test_splits_hold_their_own_voices_only(corpus):
    own = {
        split: {voice.name for voice in espeak.VOICES if voice.split == split}
        for split in embedded_speech.MIXTURES
    }
    for split, count in {'train': 30, 'validation': 4, 'test': 4}.items():
        data = source.RecordSource(str(corpus), split)
        assert len(data) == count
        for i in range(count):
            heard = set(data[i].source_ids)
            assert len(heard) == 2
            assert heard <= own[split]


def test_mixtures_are_sane_speech(corpus):
    data = source.RecordSource(str(corpus), 'train')
    correlation = []
    for i in range(len(data)):
        example = data[i]
        source_ST = example.sources_ST / 32768.0
        power_S = np.square(source_ST).mean(axis=1)
        correlation.extend((source_ST[:, 1:] * source_ST[:, :-1]).mean(axis=1) / power_S)
        rms_db_S = 10 * np.log10(power_S)
        assert example.sample_rate == 8000
        assert 1.5 < source_ST.shape[1] / 8000 < 8.0
        assert 0.4 < np.abs(source_ST.sum(axis=0)).max() < 0.91
        assert rms_db_S.min() > -35 and rms_db_S.max() < -10
        assert -5 <= example.snr_db < 5
        assert rms_db_S[0] - rms_db_S[1] == pytest.approx(example.snr_db, abs=3.0)
    assert np.median(correlation) > 0.5  # of neighbouring samples; noise has 0


def test_no_sentence_is_said_twice():
    texts = embedded_speech.texts(80)
    assert list(texts) == [voice.name for voice in espeak.VOICES]
    assert all(len(lines) == 80 for lines in texts.values())
    assert len({line for lines in texts.values() for line in lines}) == 80 * len(texts)


def test_a_second_run_finds_it_and_another_corpus_is_not_overwritten(corpus, capsys):
    before = _hashes(corpus)
    with pytest.raises(SystemExit) as stop:
        embedded.main([f'--output_dir={corpus}', *SMALL])
    assert stop.value.code == 0
    assert 'complete already' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='holds another data set'):
        embedded.main([f'--output_dir={corpus}', *SMALL, '--seed=1'])
    assert _hashes(corpus) == before
    (shard, *_) = sorted(corpus.glob('*test*-of-*'))
    shard.rename(shard.with_suffix('.away'))
    with pytest.raises(SystemExit, match=f'lacks {shard.name}: --overwrite'):
        embedded.main([f'--output_dir={corpus}', *SMALL])
    shard.with_suffix('.away').rename(shard)


def test_metadata_says_what_the_voices_are(corpus):
    metadata = source.RecordSource(str(corpus), 'test').metadata
    assert metadata['synthesiser'] == espeak.version()
    assert 'eSpeak NG' in metadata['licence']
    assert metadata['speakers'] == {voice.name: voice.sex.upper() for voice in espeak.VOICES}


def test_the_task_leaves_no_trace_in_a_data_set_of_speech(corpus, capsys):
    with pytest.raises(SystemExit) as stop:  # finds it complete: the same options
        embedded.main(['--task=speech', f'--output_dir={corpus}', *SMALL])
    assert stop.value.code == 0
    metadata = source.RecordSource(str(corpus), 'test').metadata
    assert (metadata['job'], metadata['name']) == ('embedded', 'embedded')
    assert set(metadata['config']) == {
        'max_seconds',
        'min_seconds',
        'sample_rate',
        'seed',
        'snr_db',
        'utterances_per_voice',
        'train_pairs',
        'validation_pairs',
        'test_pairs',
    }
