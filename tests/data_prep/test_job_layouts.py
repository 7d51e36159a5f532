"""The jobs of the published corpora, each from its own layout to records."""

import json

import numpy as np
import pytest
import soundfile

from data_prep import audio, librimix, libritts_2mix, mix, vctk_2mix, wsj0_2mix
from data_prep.readers import libritts
from fgsep_jax.data import source
import trees


def test_wsj0_tree_keeps_the_samples(tmp_path):
    base = trees.mixed(tmp_path / 'in/2speakers/wav8k/min', trees.WSJ0_NAMES)
    name = trees.WSJ0_NAMES['tr'][0]
    soundfile.write(base / 'tr' / 'mix' / f'{trees.WSJ0_NAMES["tr"][1]}.wav', np.zeros(8800), 8000)
    wsj0_2mix.main([f'--input_dir={tmp_path}/in', f'--output_dir={tmp_path / "out"}'])
    (train,) = trees.examples(tmp_path / 'out', 'train')
    assert train.id == name
    for i, source_T in enumerate(train.sources_ST):
        expected_T, _ = soundfile.read(base / 'tr' / f's{i + 1}' / f'{name}.wav', dtype='int16')
        np.testing.assert_array_equal(source_T, expected_T)
    assert train.source_ids == ('01t', '029')
    assert train.snr_db == pytest.approx(0.8996)
    assert len(trees.examples(tmp_path / 'out', 'test')) == 2
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert [one['kind'] for one in report['skipped_mixtures']] == ['mixture is not the sum']


def test_wsj0_from_lists_levels_and_lengths(tmp_path):
    parts = {'si_tr_s/01t/01to030v': 1.6, 'si_tr_s/029/029o0311': 1.3}
    for seed, (name, seconds) in enumerate(parts.items()):
        audio_T = trees.speechlike(seconds, seed=seed, sample_rate=16000, peak=0.1 + 0.3 * seed)
        trees.write(tmp_path / 'wsj0' / f'{name}.wav', audio_T, 16000)
    (tmp_path / 'lists').mkdir()
    first, second = (f'wsj0/{name}.wav' for name in parts)
    (tmp_path / 'lists' / 'mix_2_spk_tt.txt').write_text(
        f'{first} 2.25 {second} -2.25\n{first} 1.0 wsj0/si_tr_s/02a/02ac0101.wav -1.0\n'
    )
    wsj0_2mix.main(
        [
            f'--wsj0_dir={tmp_path / "wsj0"}',
            f'--lists_dir={tmp_path / "lists"}',
            f'--output_dir={tmp_path / "out"}',
            '--splits=test',
        ]
    )
    (example,) = trees.examples(tmp_path / 'out', 'test')
    assert example.sources_ST.shape == (2, 10400)
    assert example.snr_db == 4.5
    # Levels are those of the whole utterances: compare the gains with them.
    clips = [audio.read(str(tmp_path / p), sample_rate=8000) for p in (first, second)]
    gains = [
        20 * np.log10(np.std(x_T / 32768) / np.std(clip_T[:10400]))
        for x_T, clip_T in zip(example.sources_ST, clips)
    ]
    for x_T, clip_T in zip(example.sources_ST, clips):
        assert np.corrcoef(x_T, clip_T[:10400])[0, 1] > 0.999  # cut at the end, not the start
    levels = [mix.active_speech_level(clip_T, sample_rate=8000)[0] for clip_T in clips]
    assert (levels[0] + gains[0]) - (levels[1] + gains[1]) == pytest.approx(4.5, abs=0.01)
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert {one['kind'] for one in report['skipped_files']} == {'missing'}


def test_wsj0_wants_one_kind_of_input(tmp_path):
    (tmp_path / 'in').mkdir()
    with pytest.raises(SystemExit, match='either --input_dir'):
        wsj0_2mix.main([f'--output_dir={tmp_path}/out', f'--wsj0_dir={tmp_path}/in'])


def test_librimix_measures_the_snr(tmp_path):
    names = {'train': ['1-2-3_4-5-6'], 'val': ['7-8-9_10-11-12']}
    trees.mixed(tmp_path / 'in' / 'MiniLibriMix', names, mixture='mix_clean', subtype='FLOAT')
    librimix.main([f'--input_dir={tmp_path}/in', f'--output_dir={tmp_path / "out"}'])
    (example,) = trees.examples(tmp_path / 'out', 'validation')
    power_S = np.mean(example.sources_ST.astype(np.float64) ** 2, axis=1)
    assert example.snr_db == pytest.approx(10 * np.log10(power_S[0] / power_S[1]), abs=0.01)
    assert example.source_ids == ('7', '10')


def test_libritts_and_vctk(tmp_path, capsys):
    for number, part in enumerate(libritts.SPLITS):
        for speaker in (10 + number, 20 + number):
            for i in range(2):
                name = f'{speaker}/7/{speaker}_7_00000{i}_000000.wav'
                audio_T = trees.speechlike(1.3, seed=100 * speaker + i, sample_rate=24000)
                trees.write(tmp_path / 'in' / 'LibriTTS' / part / name, audio_T, 24000)
    flags = [f'--input_dir={tmp_path}/in', '--train_hours=0.007', '--validation_pairs=3']
    libritts_2mix.main([*flags, f'--output_dir={tmp_path / "a"}'])
    metadata = source.open_dataset(tmp_path / 'a')
    # Of 1.3 s: 8 utterances make 25.2 s, as asked for; 4 do not make 8.5 hours.
    made = {s: one['examples'] for s, one in metadata['splits'].items()}
    assert made.pop('test') in (4, 8, 12) and made == {'train': 20, 'validation': 3}
    assert {k: v for k, v in metadata['config'].items() if k.endswith('hours')} == {
        'train_hours': 0.007,
        'validation_hours': 9.0,
        'test_hours': 8.5,
    }
    (line,) = [x for x in capsys.readouterr().out.splitlines() if 'hours:' in x]
    assert line.startswith('warning: test comes to 0.00') and ' of 8.5 hours: ' in line
    libritts_2mix.main([*flags, f'--output_dir={tmp_path / "a"}', '--dry_run'])
    assert ' hours: ' not in capsys.readouterr().out  # of some of the files nothing can be said
    for speaker in ('p225', 'p280'):
        for i in range(3):
            audio_T = trees.speechlike(1.2, seed=int(speaker[1:]) + i, sample_rate=48000)
            name = f'wav48_silence_trimmed/{speaker}/{speaker}_00{i}_mic1.flac'
            trees.write(tmp_path / 'VCTK' / name, audio_T, 48000)
    vctk_2mix.main(
        [f'--input_dir={tmp_path / "VCTK"}', f'--output_dir={tmp_path / "b"}', '--test_pairs=10']
    )
    assert list(source.open_dataset(tmp_path / 'b')['splits']) == ['test']
    assert len(trees.examples(tmp_path / 'b', 'test')) == 10
