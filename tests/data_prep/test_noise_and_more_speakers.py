"""Three speakers and more, and noise that is no target: pairs' rules, and trees mixed already."""

import collections
import functools
import itertools
import json
import random

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest
import soundfile

from data_prep import (
    audio,
    build,
    embedded,
    embedded_speech,
    folder_2mix,
    librimix,
    mix,
    mixtures,
    options,
    pairing,
    report as reports,
    wham,
    wsj0_2mix,
)
from data_prep.mixtures import Mixture, Source
from data_prep.readers import folder as people, librimix as librimix_tree, wsj0
from data_prep.recordings import Recording, TreeError
import test_listed
import trees

corpora = st.lists(st.integers(1, 4), min_size=3, max_size=6)


def corpus(files_of):
    return [
        Recording(f'{s}-{f}', f'speaker{s}', f'{s}/{f}.wav', 'train', samples=8000 + 100 * f + s)
        for s, files in enumerate(files_of)
        for f in range(files)
    ]


def groups_of(inspected, size):
    """Every ordered choice of `size` recordings of different speakers."""
    return {
        tuple(x.path for x in group)
        for group in itertools.permutations(inspected, size)
        if len({x.source_id for x in group}) == size
    }


@settings(max_examples=60, deadline=None)
@given(files_of=corpora, size=st.integers(2, 4), wanted=st.integers(1, 60), seed=st.integers(0, 9))
def test_mixtures_are_of_different_speakers_and_differ(files_of, size, wanted, seed):
    inspected = corpus(files_of)
    how = dict(sample_rate=8000, pairs={'train': wanted}, fewer=True, speakers=size, seed=seed)
    if size > len(files_of):
        with pytest.raises(ValueError, match=f'mixtures need {size}; give it more speakers'):
            pairing.random_pairs(inspected, **how)
        return
    rows = pairing.random_pairs(inspected, **how)
    random.Random(seed).shuffle(inspected)
    assert pairing.random_pairs(inspected, **how) == rows
    everything = groups_of(inspected, size)
    made = [tuple(source.path for source in row.sources) for row in rows]
    assert len({*made}) == len(made) == min(wanted, len(everything)) and {*made} <= everything
    for row in rows:
        levels = [source.level_db for source in row.sources]
        assert sum(levels) == pytest.approx(0, abs=1e-9)
        assert all(-5 <= levels[0] - level <= 5 for level in levels[1:])
        assert row.snr_db == pytest.approx(mixtures.snr_of(levels))
        assert {x.stop - x.start for x in row.sources} == {row.samples}


def test_a_pass_takes_each_utterance_once_in_each_place():
    inspected = corpus([5] * 6)
    rows = pairing.random_pairs(inspected, sample_rate=8000, speakers=3)
    for place in range(3):
        counts = collections.Counter(row.sources[place].path for row in rows)
        assert counts == dict.fromkeys((x.path for x in inspected), 1)
    orders = [[row.sources[place].path for row in rows] for place in range(3)]
    assert len({row.sources[1].source_id for row in rows}) == 6
    assert sum(a == b for a, b in zip(*orders[1:])) == 0


def test_more_groups_than_there_are_is_said():
    with pytest.raises(ValueError, match='3 speakers give 6 different mixtures; ask for fewer'):
        pairing.random_pairs(corpus([1] * 3), sample_rate=8000, pairs={'train': 7}, speakers=3)
    with pytest.raises(ValueError, match='cannot make test, training with 3 each.*need 3; --test'):
        people.split_speakers(set('abcde'), validation=0, test=0.1, least=3)
    splits = people.split_speakers(set('abcdef'), validation=0, test=0.1, least=3)
    assert sorted(splits.values()) == ['test'] * 3 + ['train'] * 3


def read(folder, stem, name):
    return soundfile.read(folder / name / f'{stem}.wav')[0]


def level(pcm_T):
    return mix.active_speech_level(pcm_T / 32768, sample_rate=8000)[0]


def shown(folder):
    return json.loads((folder / 'dataset.json').read_text())


def test_three_speakers_of_a_folder(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=9, files=2)
    flags = (f'--input_dir={root}', '--test_pairs=4')
    out = test_listed.made(tmp_path, folder_2mix, *flags, '--speakers_a_mixture=3')
    about = shown(out)
    assert (about['sources'], about['schema_version'], 'noise' in about) == (3, 1, False)
    assert about['config']['speakers_a_mixture'] == 3 and 'sum of the others' in about['snr_rule']
    for example in trees.examples(out, 'test'):
        assert len({*example.source_ids}) == len(example.sources_ST) == 3
        assert mixtures.snr_of([*map(level, example.sources_ST)]) == pytest.approx(
            example.snr_db, abs=0.5
        )
        loudest = max(np.abs(example.sources_ST).max(), np.abs(example.mixture_T).max())
        assert loudest == pytest.approx(0.9 * 32768, abs=2)
    test_listed.alike(out, test_listed.again(tmp_path, f'--input_dir={root}'))


def test_flags_that_came_later_leave_other_data_sets_as_they_were(tmp_path, capsys):
    root = trees.folder(tmp_path / 'in', speakers=6, files=1)
    out = test_listed.made(tmp_path, folder_2mix, f'--input_dir={root}')
    assert not shown(out)['config'].keys() & options.LATER.keys()
    assert shown(out)['snr_rule'] == build.SPEECH_RULE
    # And the embedded ones are not taken for those of more speakers.
    flags = dict(output_dir=str(out), overwrite=False, dry_run=False, speakers_a_mixture=2)
    args = type('Args', (), {})()
    vars(args).update(flags)
    metadata = shown(out) | {'job': 'embedded', 'synthesiser': 'x', 'config': {}}
    (out / 'dataset.json').write_text(json.dumps(metadata))
    how = dict(job=embedded_speech.JOB, synthesiser='x')
    assert embedded._already_made(args, **how)
    args.speakers_a_mixture = 3
    with pytest.raises(ValueError, match='another data set, made with speakers_a_mixture 2, not 3'):
        embedded._already_made(args, **how)


THREE = {
    'train-100': ['1-2-3_4-5-6_7-8-9', '1-2-4_4-5-7_7-8-10'],
    'dev': ['11-2-3_14-5-6_17-8-9'],
    'test': ['21-2-3_24-5-6_27-8-9'],
}
TWO = {part: ['_'.join(name.split('_')[:2]) for name in names] for part, names in THREE.items()}


@pytest.mark.few(2)
@pytest.mark.parametrize('speakers', [2, 3])
@pytest.mark.parametrize('noise', [False, True])
def test_librimix_of_more_and_with_noise(tmp_path, speakers, noise):
    names = THREE if speakers == 3 else TWO
    base = tmp_path / 'in' / f'Libri{speakers}Mix' / 'wav8k' / 'min'
    mixture = 'mix_both' if noise else 'mix_clean'
    trees.mixed(base, names, mixture=mixture, speakers=speakers, noise=noise)
    flags = [f'--input_dir={tmp_path}/in', f'--noise={noise}', f'--speakers_a_mixture={speakers}']
    out = test_listed.made(tmp_path, librimix, *flags)
    about = shown(out)
    assert (about['sources'], about['schema_version']) == (speakers, 1 + noise)
    assert about.get('noise', False) == noise
    assert about['splits']['test']['speakers'] == ['21', '24', '27'][:speakers]
    (example,) = trees.examples(out, 'test')
    heard = functools.partial(read, base / 'test', names['test'][0])
    read_ST = [heard(f's{s}') for s in range(1, speakers + 1)]
    np.testing.assert_array_equal(example.sources_ST / 32768, read_ST)
    np.testing.assert_allclose(example.mixture_T / 32768, heard(mixture), atol=4 / 32768)
    assert (example.noise_T is not None) == noise
    if noise:
        np.testing.assert_array_equal(example.noise_T / 32768, heard('noise'))
        report = json.loads((out / 'report.json').read_text())
        assert sum(report['splits']['test']['histograms']['noise_rms_db'].values()) == 1
        assert 'level of the noise' in (out / 'report.md').read_text()
    power_S = np.square(read_ST).mean(axis=1)
    assert example.snr_db == pytest.approx(10 * np.log10(power_S[0] / power_S[1:].sum()), abs=1e-4)
    test_listed.alike(out, test_listed.again(tmp_path, f'--input_dir={tmp_path}/in'))


def test_a_tree_of_more_speakers_than_asked_for_names_the_flag(tmp_path):
    trees.mixed(tmp_path / '3', {'test': THREE['test']}, mixture='mix_clean', speakers=3)
    with pytest.raises(TreeError, match='test holds s3, too: --speakers_a_mixture=3 takes its mix'):
        librimix_tree.read(str(tmp_path / '3'), splits=('test',))
    trees.mixed(tmp_path / '2', {'test': TWO['test']}, mixture='mix_clean')
    with pytest.raises(TreeError, match=r'(?s)no folder .*test/s3.*{mix_clean,s1,s2,s3}'):
        librimix_tree.read(str(tmp_path / '2'), splits=('test',), speakers=3)
    with pytest.raises(TreeError, match=r'(?s)no folder .*mix_both.*{mix_both,s1,s2,noise}'):
        librimix_tree.read(str(tmp_path / '2'), splits=('test',), noise=True)


def test_a_mixture_without_its_noise_is_counted(tmp_path):
    base = tmp_path / 'in'
    trees.mixed(base, {'test': ['1-2-3_4-5-6', '1-2-4_4-5-7']}, mixture='mix_both', noise=True)
    (base / 'test' / 'noise' / '1-2-4_4-5-7.wav').unlink()
    flags = (f'--input_dir={base}', '--noise', '--splits=test')
    out = test_listed.made(tmp_path, librimix, *flags)
    (lost,) = json.loads((out / 'report.json').read_text())['skipped_mixtures']
    assert lost['detail'] == 'without test/1-2-4_4-5-7/noise'
    # Noise of another mixture: the sum tells.
    one, other = (
        base / 'test' / 'noise' / f'{name}.wav' for name in ('1-2-3_4-5-6', '1-2-4_4-5-7')
    )
    trees.write(other, np.random.default_rng(9).normal(0, 0.01, 8800))
    out = test_listed.made(tmp_path, librimix, *flags, '--overwrite')
    (lost,) = json.loads((out / 'report.json').read_text())['skipped_mixtures']
    assert (lost['name'], lost['kind']) == ('1-2-4_4-5-7', 'mixture is not the sum')


NAMES = trees.WSJ0_NAMES
THREE_NAMES = {
    'tr': ['01to030v_1.2_029o0311_-1.2_02co0101_0'],
    'cv': ['01to0401_1.5_02co0102_-1.5_029o0312_0'],
    'tt': ['050a0501_0.4_441o0308_-0.4_22ga0101_0'],
}


def test_wsj0_of_three(tmp_path):
    base = tmp_path / 'in' / '3speakers' / 'wav8k' / 'min'
    trees.mixed(base, THREE_NAMES, speakers=3)
    flags = (f'--input_dir={tmp_path}/in', '--speakers_a_mixture=3')
    out = test_listed.made(tmp_path, wsj0_2mix, *flags)
    (example,) = trees.examples(out, 'test')
    assert example.source_ids == ('050', '441', '22g')
    assert example.snr_db == pytest.approx(mixtures.snr_of([0.4, -0.4, 0]))
    warnings = json.loads((out / 'report.json').read_text())['notes']['Warnings']
    assert 'WSJ0-3mix has 20000 mixtures in train, this tree 1' in warnings
    test_listed.alike(out, test_listed.again(tmp_path, f'--input_dir={tmp_path}/in'))


def test_lists_of_three(tmp_path):
    files = ['si_et_05/050/050a0501', 'si_et_05/441/441o0308', 'si_et_05/22g/22ga0101']
    for i, file in enumerate(files):
        trees.write(tmp_path / 'in' / f'{file}.wav', trees.speechlike(1.5 + i / 10, seed=i))
    levels = (1.5, -1.5, 0)
    line = ' '.join(f'wsj0/{file}.wav {level}' for file, level in zip(files, levels))
    (tmp_path / 'in' / 'mix_3_spk_tt.txt').write_text(f'{line}\n')
    flags = (f'--wsj0_dir={tmp_path}/in', f'--lists_dir={tmp_path}/in', '--splits=test')
    out = test_listed.made(tmp_path, wsj0_2mix, *flags, '--speakers_a_mixture=3')
    (example,) = trees.examples(out, 'test')
    assert example.id == '050a0501_1.5_441o0308_-1.5_22ga0101_0'
    assert example.sources_ST.shape == (3, 12000)
    whole = [trees.speechlike(1.5 + i / 10, seed=i) for i in range(3)]
    measured = [mix.active_speech_level(x_T, sample_rate=8000)[0] for x_T in whole]
    gain_S = 10 ** ((np.array(levels) - measured) / 20)
    scaled_ST = np.stack([gain * x_T[:12000] for gain, x_T in zip(gain_S, whole)])
    peak = max(np.abs(scaled_ST).max(), np.abs(scaled_ST.sum(axis=0)).max())
    expected_ST = scaled_ST * 0.9 / peak
    np.testing.assert_allclose(example.sources_ST / 32768, expected_ST, atol=2e-4)
    with pytest.raises(TreeError, match='mix_2_spk_tt.txt is missing'):
        wsj0.read_lists(str(tmp_path / 'in'), str(tmp_path / 'in'), splits=('test',))
    for text, said in (
        (line.rpartition(' ')[0], 'expected `path snr path snr path snr`'),
        (line.replace('22g', '050'), "two sources are of speaker '050', a mixture is of 3"),
    ):
        (tmp_path / 'in' / 'mix_3_spk_tt.txt').write_text(f'{text}\n')
        with pytest.raises(TreeError, match=said):
            wsj0.read_lists(
                str(tmp_path / 'in'), str(tmp_path / 'in'), splits=('test',), speakers=3
            )


def whamr(base, names_by_part):
    """WHAMR!: sources without and with a room, noise, and the mixtures of both; float samples."""
    for part, names in names_by_part.items():
        for i, name in enumerate(names):
            rng = np.random.default_rng(i)
            sounds = {'noise': rng.normal(0, 0.01, 9600)}
            for s in (1, 2):
                dry_T = 0.5 * trees.speechlike(1.2, seed=10 * i + s)
                sounds[f's{s}_anechoic'] = dry_T
                sounds[f's{s}_reverb'] = (
                    dry_T + 0.4 * np.roll(dry_T, 400) + 0.2 * np.roll(dry_T, 900)
                )
            for room in ('anechoic', 'reverb'):
                sounds[f'mix_clean_{room}'] = sounds[f's1_{room}'] + sounds[f's2_{room}']
                sounds[f'mix_both_{room}'] = sounds[f'mix_clean_{room}'] + sounds['noise']
            for folder_name, audio_T in sounds.items():
                trees.write(base / part / folder_name / f'{name}.wav', audio_T, subtype='FLOAT')


def test_wham(tmp_path):
    trees.mixed(tmp_path / 'in' / 'wav8k' / 'min', NAMES, mixture='mix_both', noise=True)
    out = test_listed.made(tmp_path, wham, f'--input_dir={tmp_path}/in')
    about = shown(out)
    assert (about['sources'], about['noise'], about['schema_version']) == (2, True, 2)
    assert about['job'] == 'wham' and about['splits']['test']['speakers'] == [
        '050',
        '053',
        '22g',
        '441',
    ]
    for example in trees.examples(out, 'test'):
        assert example.noise_T.any() and len(example.source_ids) == 2
    tfds = json.loads((out / 'dataset_info.json').read_text())
    assert tfds['version'] == '2.0.0'
    for flag in ('room', 'target'):
        with pytest.raises(
            SystemExit, match=f'--{flag}=reverb: .*is WHAM!, whose mixtures and sour'
        ):
            wham.main(
                [f'--input_dir={tmp_path}/in', f'--output_dir={tmp_path}/x', f'--{flag}=reverb']
            )
    test_listed.alike(out, test_listed.again(tmp_path, f'--input_dir={tmp_path}/in'))


def mixed_from(root, **how):
    """The one example of WHAMR!'s test set, made without a job, or why it cannot be made."""
    utterances, rows = wsj0.read_wham(str(root), splits=('test',), **how)
    inspected = [audio.inspect_forms(x, sample_rate=8000)[-1] for x in utterances]
    (row,) = mixtures.listed(inspected, rows=rows)
    return row, mix.mix(row, sample_rate=8000)


@pytest.mark.parametrize('room', [None, 'reverb', 'anechoic'])
@pytest.mark.parametrize('target', [None, 'reverb', 'anechoic'])
@pytest.mark.parametrize('clean', [False, True])
def test_whamr_by_room_and_target(tmp_path, room, target, clean):
    whamr(tmp_path, {'tt': NAMES['tt'][:1]})
    how = dict(room=room, target=target, clean=clean)
    room, target = room or 'reverb', target or 'anechoic'
    if (room, target) == ('anechoic', 'reverb'):
        with pytest.raises(
            ValueError, match='--target=reverb: mixtures of --room=anechoic hold no'
        ):
            mixed_from(tmp_path, **how)
        return
    _, example = mixed_from(tmp_path, **how)
    heard = functools.partial(read, tmp_path / 'tt', NAMES['tt'][0])
    for s in (1, 2):
        source_T = example.sources_ST[s - 1] / 32768
        np.testing.assert_allclose(source_T, heard(f's{s}_{target}'), atol=1 / 32768)
    mixture_T = heard(f'mix_{"clean" if clean else "both"}_{room}')
    np.testing.assert_allclose(example.mixture_T / 32768, mixture_T, atol=2 / 32768)
    assert (example.noise_T is None) == (clean and room == target)
    if not clean and room == target:
        np.testing.assert_allclose(example.noise_T / 32768, heard('noise'), atol=1 / 32768)
    if room != target:
        # What is taken for the source with its room must be in the mixture, and be there.
        path = tmp_path / 'tt' / 's1_reverb' / f'{NAMES["tt"][0]}.wav'
        trees.write(path, heard('s2_reverb'), subtype='FLOAT')
        with pytest.raises(audio.BadInput, match='mixture is not the sum'):
            mixed_from(tmp_path, **how)
        trees.write(path, heard('s2_reverb')[1:], subtype='FLOAT')
        with pytest.raises(audio.BadInput, match='as heard 9599, sources .9600'):
            mixed_from(tmp_path, **how)
        path.write_bytes(b'no sound')
        utterances, rows = wsj0.read_wham(str(tmp_path), splits=('test',), **how)
        inspected = [audio.inspect_forms(x, sample_rate=8000)[-1] for x in utterances]
        (row,) = mixtures.listed(inspected, rows=rows)
        assert row.detail == f'without tt/{NAMES["tt"][0]}/s1_reverb'


def test_whamr_once_more_from_its_table(tmp_path):
    whamr(tmp_path / 'in', {'tt': NAMES['tt']})
    out = test_listed.made(tmp_path, wham, f'--input_dir={tmp_path}/in', '--splits=test')
    about = shown(out)
    assert about['noise'] and 'its reverberation' in about['snr_rule']
    assert about['reverberation']
    test_listed.alike(out, test_listed.again(tmp_path, f'--input_dir={tmp_path}/in'))


def test_a_table_of_ones_own_with_noise(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=3, files=1)
    trees.write(root / 'noise' / 'n.wav', np.random.default_rng(0).normal(0, 0.05, 9600))
    table = tmp_path / 't.csv'
    table.write_text(
        'split,id,path_1,path_2,path_3,level_db_1,level_db_2,level_db_3,role_3\n'
        'test,a,spk0/u0.wav,spk1/u0.wav,noise/n.wav,1,-1,-6,noise\n'
        'train,b,spk1/u0.wav,spk2/u0.wav,noise/n.wav,0,0,0,noise\n'
    )
    ids = ('spk0/u0.wav', 'spk1/u0.wav', 'spk2/u0.wav')
    (tmp_path / 's.csv').write_text('speaker,sex\n' + ''.join(f'{name},f\n' for name in ids))
    flags = (f'--input_dir={root}', f'--speakers={tmp_path}/s.csv')
    out = test_listed.again(tmp_path, *flags, table=table)
    assert shown(out)['speakers'] == dict.fromkeys(ids, 'F')
    (example,) = trees.examples(out, 'test')
    assert example.sources_ST.shape == (2, 9600) and example.snr_db == 2
    assert level(example.sources_ST[0]) - level(example.noise_T) == pytest.approx(7, abs=0.5)
    loudest = np.abs([*example.parts_ST, example.mixture_T]).max()
    assert loudest == pytest.approx(0.9 * 32768, abs=2)
    report = json.loads((out / 'report.json').read_text())
    said, *others = report['notes']['Warnings']
    assert not any('does not name' in line for line in others)
    assert said.startswith('splits share') and '1 mixture' not in said
    assert '2 files (e.g. noise/n.wav in train and test)' in said


HEAD = (
    'split,id,path_1,path_2,path_3,level_db_1,level_db_2,level_db_3,role_1,role_3,ready,heard_1\n'
)


@pytest.mark.parametrize(
    'row, said',
    [
        ('0,0,0,,loud,,', "role_3 is 'loud': must be noise, event, or empty"),
        ('0,0,0,noise,,,', "role_1 is 'noise': the last source alone may be noise"),
        (',,,,noise,,', 'level_db_3 is empty: with noise, all sources need a level'),
        ('0,0,0,,,,h.wav', 'heard_1 is given: only a target of a ready mixture may have it'),
    ],
)
def test_a_table_with_noise_that_breaks_a_rule(tmp_path, row, said):
    (tmp_path / 'in').mkdir()
    (tmp_path / 't.csv').write_text(f'{HEAD}test,a,x.wav,y.wav,z.wav,{row}\n')
    with pytest.raises(SystemExit) as stop:
        test_listed.again(tmp_path, f'--input_dir={tmp_path}/in', table=tmp_path / 't.csv')
    assert f'line 2: {said}' in str(stop.value) and '\n' not in str(stop.value)


def test_rows_with_noise_and_without_do_not_mix(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 't.csv').write_text(f'{HEAD}test,a,x,y,z,0,0,0,,,,\ntest,b,x,y,n,0,0,0,,noise,,\n')
    with pytest.raises(SystemExit, match='line 3: it has noise and the first mixture none'):
        test_listed.again(tmp_path, f'--input_dir={tmp_path}/in', table=tmp_path / 't.csv')
    (tmp_path / 't.csv').write_text(
        'split,id,path_1,path_2,level_db_1,level_db_2,role_2\ntest,a,x,y,0,0,noise\n'
    )
    with pytest.raises(SystemExit, match='it needs two sources at least that are no noise'):
        test_listed.again(tmp_path, f'--input_dir={tmp_path}/in', table=tmp_path / 't.csv')


def test_noise_is_no_speaker_and_in_no_snr(tmp_path):
    noise = dict(source_class='noise', role='noise')
    sounds = [
        Recording(name, name, str(tmp_path / f'{name}.wav'), 'test', samples=9600, **about)
        for name, about in (('a', {}), ('b', {}), ('c', {}), ('n', noise))
    ]
    for i, x in enumerate(sounds):
        trees.write(tmp_path / f'{x.id}.wav', trees.speechlike(1.2, seed=i))
    sources = tuple(
        Source(x.path, x.source_id, x.source_class, level_db=level_db, role=x.role)
        for x, level_db in zip(sounds, (3.0, 0.0, 0.0, 9.0))
    )
    (row,) = mixtures.listed(sounds, rows=[Mixture('m', 'test', sources)])
    example = mix.mix(row, sample_rate=8000)
    assert example.snr_db == pytest.approx(3 - 10 * np.log10(2))
    assert example.source_ids == ('a', 'b', 'c') and example.noise_T.any()
    # Three of six speakers are half of them; of seven they would be fewer.
    spare = [Recording(f'd{i}', f'd{i}', 'x', 'test', samples=1) for i in range(3)]
    warnings = functools.partial(reports.warnings, beside={}, sample_rate=8000, unit='speakers')
    lines = warnings([*sounds, *spare], [row], flags={'test_pairs': 1})
    assert not any('hold' in line for line in lines)
