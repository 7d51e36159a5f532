"""`python -m data_prep.fgbg` from the trees to a data set that both worlds open."""

import json
import pathlib
import posixpath
import re

import numpy as np
import pytest
import soundfile

from data_prep import build, fgbg, listed, mixtures
from fgsep_jax.data import records, source
import sound_trees
import trees

SMALL = (
    '--sample_rate=8000',
    '--seconds=0.5',
    '--adaptation_seconds=0.5',
    '--train_mixtures=70',
    '--validation_mixtures=6',
    '--test_mixtures=5',
)


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
    root = tmp_path_factory.mktemp('bank')
    sound_trees.general(root / 'sounds')
    sound_trees.write_classes(root / 'classes.csv')
    return root


def run(root, output, *flags):
    fgbg.main(
        [
            f'--input_dir={root}/sounds',
            f'--classes={root}/classes.csv',
            f'--output_dir={output}',
            '--name=made',
            *SMALL,
            *flags,
        ]
    )


def shard_bytes(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if '.tfrecord-' in p.name}


@pytest.fixture(scope='module')
def dataset(bank, tmp_path_factory):
    output = tmp_path_factory.mktemp('dataset') / 'made'
    run(bank, output)
    return output


def test_contents(dataset):
    metadata = source.open_dataset(dataset)
    assert (metadata['job'], metadata['sources'], metadata['adaptation']) == ('fgbg', 2, True)
    assert {split: one['examples'] for split, one in metadata['splits'].items()} == {
        'train': 70,
        'validation': 6,
        'c1': 5,
        'c2': 5,
        'c3': 5,
        'c4': 5,
    }
    assert metadata['classes'] == {
        'foreground': {'seen': ['bell', 'dog'], 'unseen': ['squeak']},
        'background': {'seen': ['fan', 'frying'], 'unseen': ['noise']},
    }
    assert 'RMS' in metadata['snr_rule'] and 'classes.csv' not in json.dumps(metadata)
    held = {'train': set(), 'validation': set(), 'test': set()}
    for split in metadata['splits']:
        for example in trees.examples(dataset, split):
            foreground, background = example.source_classes
            assert (foreground == 'squeak') == (split in ('c3', 'c4'))
            assert (background == 'noise') == (split in ('c2', 'c4'))
            assert example.sources_ST.shape == (2, 4000) and example.adaptation_T.shape == (4000,)
            assert example.adaptation_overlap == 0.0
            power_S = np.mean(np.square(example.sources_ST, dtype=np.float64), axis=1)
            snr_db = 10 * np.log10(power_S[0] / power_S[1])
            assert snr_db == pytest.approx(example.snr_db, abs=0.02)
            held['test' if split[0] == 'c' else split] |= set(example.source_ids)
    assert not held['train'] & held['validation']
    assert not held['test'] & (held['train'] | held['validation'])


def test_adaptation_is_the_same_background_elsewhere(bank, dataset):
    for example in trees.examples(dataset, 'c1'):
        name = posixpath.basename(example.source_ids[1])
        whole_T, _ = soundfile.read(
            bank / 'sounds' / 'background' / example.source_classes[1] / f'{name}.wav'
        )
        found = []
        for piece_T in (example.sources_ST[1], example.adaptation_T):
            match_T = np.correlate(whole_T, piece_T / 32768.0)
            gain = match_T.max() / np.square(whole_T[np.argmax(match_T) :][:4000]).sum()
            found.append((int(np.argmax(match_T)), gain))
        (start, gain), (segment, same_gain) = found
        assert abs(start - segment) >= 4000
        assert same_gain == pytest.approx(gain, rel=1e-3)


@pytest.mark.parametrize('where', ['before', 'mixture'])
def test_another_place_of_the_adaptation_segment(bank, tmp_path, where):
    flags = ('--train_mixtures=0', '--validation_mixtures=0', '--subsets=c1')
    run(bank, tmp_path / 'made', *flags, f'--adaptation={where}', '--adaptation_seconds=0.25')
    metadata = source.open_dataset(tmp_path / 'made')
    assert metadata['config']['adaptation'] == where
    sounds = {p.stem: p for p in (bank / 'sounds' / 'background').glob('*/*.wav')}
    for example in trees.examples(tmp_path / 'made', 'c1'):
        ground_T, segment_T = example.sources_ST[1], example.adaptation_T
        assert example.adaptation_overlap == (where == 'mixture')
        whole_T, _ = soundfile.read(sounds[posixpath.basename(example.source_ids[1])])
        start = int(np.argmax(np.correlate(whole_T, ground_T / 32768.0)))
        segment = int(np.argmax(np.correlate(whole_T, segment_T / 32768.0)))
        if where == 'before':
            assert segment + segment_T.size == start
        else:
            begin = segment - start
            np.testing.assert_allclose(segment_T, ground_T[begin:][:2000], atol=1)
    report = json.loads((tmp_path / 'made' / 'report.json').read_text())
    assert report['splits']['c1']['adaptation_disjoint'] == (where == 'before')


def test_several_events_and_their_table(bank, tmp_path, capsys):
    few = ('--train_mixtures=12', '--test_mixtures=4', '--validation_mixtures=0')
    few += ('--test_fraction=0.4',)
    run(bank, tmp_path / 'made', *few, '--events=1..3')
    metadata = source.open_dataset(tmp_path / 'made')
    assert metadata['config']['events'] == [1, 3] and 'sum of its events' in metadata['snr_rule']
    rows = mixtures.from_csv(
        str(tmp_path / 'made' / 'mixtures.csv'), {'input_dir': f'{bank}/sounds'}
    )
    rows = {(row.split, row.id): row for row in rows}
    assert {len(row.events) for row in rows.values()} == {1, 2, 3}
    for split, about in metadata['splits'].items():
        found = {example.id: example for example in trees.examples(tmp_path / 'made', split)}
        for name, example in found.items():
            row = rows[split, name]
            classes = {event.source_class for event, _ in row.events}
            assert set(example.source_classes[0].split('+')) == classes
            assert (classes == {'squeak'}) == (split in ('c3', 'c4'))
            assert example.source_ids == tuple(name for name, _ in row.labels)
        heard = {x.source_id for row in rows.values() if row.split == split for x in row.sources}
        assert set(about['speakers']) == heard  # each recording by itself
    report = json.loads((tmp_path / 'made' / 'report.json').read_text())
    used = report['notes']['What the mixtures are made of']['train']
    assert used['events'] == used['pitch changed'] > 12
    listed.main(
        [
            f'--mixtures={tmp_path}/made/mixtures.csv',
            f'--input_dir={bank}/sounds',
            f'--output_dir={tmp_path}/again',
            '--name=made',
            '--sample_rate=8000',
        ]
    )
    assert shard_bytes(tmp_path / 'again') == shard_bytes(tmp_path / 'made')
    again = json.loads((tmp_path / 'again' / 'dataset.json').read_text())
    assert 'sum of its events' in again['snr_rule']
    table = (tmp_path / 'made' / 'mixtures.csv').read_text().splitlines()
    heads = table[0].split(',')
    for column, cell, rule in (
        ('role_3', '', 'onset_3 must be there if role_3 is event'),
        ('onset_3', '', 'onset_3 must be there if role_3 is event'),
        ('role_2', 'event', 'two sources at least that are no noise and no further event'),
        ('onset', '', 'role_3 is event: further events stand behind'),
        ('start_3', '5', 'start_3 is 5: an event with an onset is of the whole file'),
    ):
        cells = next(x.split(',') for x in table[1:] if x.split(',')[heads.index('role_3')])
        extra = [x for x in ('role_2',) if x not in heads]
        cells = dict(zip([*heads, *extra], [*cells, *[''] * len(extra)])) | {column: cell}
        text = f'{",".join(cells)}\n{",".join(cells.values())}\n'
        (tmp_path / 'mine.csv').write_text(text)
        with pytest.raises(SystemExit, match=rule):
            listed.main(
                [
                    f'--mixtures={tmp_path}/mine.csv',
                    f'--input_dir={bank}/sounds',
                    f'--output_dir={tmp_path}/no',
                    '--sample_rate=8000',
                ]
            )


def test_a_segment_longer_than_the_mixture_that_it_lies_in_is_refused(bank, tmp_path):
    message = '--adaptation_seconds=0.75: with --adaptation=mixture .* at most --seconds=0.5'
    with pytest.raises(SystemExit, match=message):
        run(bank, tmp_path / 'made', '--adaptation=mixture', '--adaptation_seconds=0.75')
    assert not (tmp_path / 'made' / 'dataset.json').exists()


def test_tfds_reads_the_overlap(dataset):
    tfds = pytest.importorskip('tensorflow_datasets')
    builder = tfds.builder_from_directory(dataset)
    file = builder.info.splits['c1'].filepaths[0]
    data = pathlib.Path(file).read_bytes()
    payload = records.read_record(data[: int.from_bytes(data[:8], 'little') + 16])
    example = builder.info.features.deserialize_example_np(payload)
    assert example['adaptation_overlap'] == 0.0
    np.testing.assert_array_equal(example['adaptation'], records.decode(payload).adaptation_T)


def test_report(dataset):
    report = json.loads((dataset / 'report.json').read_text())
    assert report['splits']['train']['adaptation_disjoint'] == 1.0
    table = report['notes']['Usable sounds by class and split']
    assert table['foreground dog'] == {'set': 'seen', 'train': 4, 'validation': 1, 'test': 1}
    assert table['background noise'] == {'set': 'unseen', 'train': 0, 'validation': 0, 'test': 6}
    used = report['notes']['What the mixtures are made of']
    assert used['train'] == {
        'foregrounds': 8,
        'backgrounds': 8,
        'pairs of classes': 4,
        'pairs of sounds': 64,
        'event may begin late': 70,
        'pitch changed': 70,
        'length changed': 70,
    }
    assert used['c4']['pitch changed'] == used['validation']['event may begin late'] == 0
    page = (dataset / 'report.md').read_text()
    assert '| foreground dog | seen | 4 | 1 | 1 |' in page
    assert 'c1: 100.0 % of adaptation segments' in page and 'speakers' not in page
    assert 'foreground/peel (6)' in page


def test_what_the_paper_had_stands_beside(dataset):
    sets = {'train': (604, 786), 'validation': (131, 175), 'evaluation': (194, 326)}
    rows = mixtures.from_csv(str(dataset / 'mixtures.csv'), {'input_dir': 'x'})
    wanted = {}
    for name, theirs in sets.items():
        splits = ('c1', 'c2', 'c3', 'c4') if name == 'evaluation' else (name,)
        sources = [row.sources for row in rows if row.split in splits]
        ours = [len({source.path for source in side}) for side in zip(*sources)]
        wanted[name] = {
            'foregrounds here': ours[0],
            "foregrounds, paper's": theirs[0],
            'backgrounds here': ours[1],
            "backgrounds, paper's": theirs[1],
        }
    assert wanted['train']['foregrounds here'] == 8
    report = json.loads((dataset / 'report.json').read_text())
    assert report['notes'][fgbg.BESIDE_THE_PAPER] == wanted
    page = (dataset / 'report.md').read_text()
    assert fgbg.BESIDE_THE_PAPER in page and '| train | 8 | 604 | 8 | 786 |' in page


@pytest.mark.slow
def test_same_bytes_from_two_processes(bank, dataset, tmp_path):
    run(bank, tmp_path, '--direct_running_mode=multi_processing', '--direct_num_workers=2')
    assert shard_bytes(tmp_path) == shard_bytes(dataset)


@pytest.mark.slow
def test_same_bytes_after_a_kill(bank, dataset, tmp_path, monkeypatch):
    def die(*_, **__):
        raise RuntimeError('power cut')

    monkeypatch.setattr(build, 'finish', die)
    with pytest.raises(RuntimeError, match='power cut'):
        run(bank, tmp_path, '--train_mixtures=20')
    monkeypatch.undo()
    run(bank, tmp_path)
    assert shard_bytes(tmp_path) == shard_bytes(dataset)


def test_all_three_trees_together(tmp_path, bank, capsys):
    sound_trees.desed(tmp_path / 'desed')
    sound_trees.audioset(tmp_path / 'clips')
    flags = (f'--desed_dir={tmp_path}/desed', f'--audioset_dir={tmp_path}/clips', '--dry_run')
    run(bank, tmp_path / 'out', *flags)
    shown = json.loads(capsys.readouterr().out)
    table = shown['notes']['Usable sounds by class and split']
    assert sum(table['foreground dog'][x] for x in ('train', 'validation', 'test')) == 6 + 8 + 4
    assert table['foreground dog']['test'] >= 4  # DESED's evaluation bank
    assert shown['example']['row']['adaptation_stop'] and not (tmp_path / 'out').exists()


def test_classes_come_from_the_bank_that_table_1_names(tmp_path, capsys):
    sound_trees.desed(tmp_path / 'desed')
    sound_trees.audioset(tmp_path / 'clips')
    fgbg.main(
        [
            f'--desed_dir={tmp_path}/desed',
            f'--audioset_dir={tmp_path}/clips',
            f'--output_dir={tmp_path}/out',
            '--dry_run',
            *SMALL,
        ]
    )
    notes = json.loads(capsys.readouterr().out)['notes']
    dogs = notes['Usable sounds by class and split']['foreground dog']
    assert sum(dogs[x] for x in ('train', 'validation', 'test')) == 8  # and 4 of AudioSet's
    line = '4 sounds of --audioset_dir left out, since the class table takes these from --desed_dir'
    assert f'{line}: dog (4)' in notes['Warnings']


def test_partial_mirror_names_what_is_missing(tmp_path, bank):
    sound_trees.audioset(tmp_path / 'clips', clips=6)
    fgbg.main(
        [
            f'--audioset_dir={tmp_path}/clips',
            f'--output_dir={tmp_path}/out',
            *SMALL,
            '--train_mixtures=10',
        ]
    )
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    absent = report['notes']['Classes of the table without a sound']
    assert len(absent) == 21 and 'foreground coins' in absent and 'foreground dog' not in absent
    assert set(report['splits']) == {'train', 'validation', 'c1', 'c2', 'c3', 'c4'}


def test_a_subset_that_cannot_be_made_is_refused(tmp_path, bank):
    table = sound_trees.CLASSES.replace('background,noise,unseen', 'background,noise,seen')
    (tmp_path / 'classes.csv').write_text(table)
    (tmp_path / 'sounds').symlink_to(bank / 'sounds')
    with pytest.raises(SystemExit, match='for c2: no usable.*; c4: no.*--subsets=c1,c3'):
        run(tmp_path, tmp_path / 'out', '--train_mixtures=4')
    assert not (tmp_path / 'out').exists()
    run(tmp_path, tmp_path / 'out', '--train_mixtures=4', '--subsets=c3,c1')
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert set(report['splits']) == {'train', 'validation', 'c1', 'c3'}


def test_a_test_set_alone(tmp_path, bank):
    flags = ['--train_mixtures=0', '--validation_mixtures=0']
    run(bank, tmp_path, *flags, '--validation_fraction=0', '--test_fraction=1', '--subsets=c1')
    report = json.loads((tmp_path / 'report.json').read_text())
    assert set(report['splits']) == {'c1'}
    table = report['notes']['Usable sounds by class and split']
    assert {(row['train'], row['validation'], row['test']) for row in table.values()} == {(0, 0, 6)}
    assert not [line for line in report['notes']['Warnings'] if 'only' in line]  # 5 were asked for


def test_clipped_sounds_are_kept_as_in_the_paper_and_left_out_on_demand(tmp_path, bank):
    sound_trees.general(tmp_path / 'sounds')
    path = 'foreground/dog/dog0.wav'
    trees.write(tmp_path / 'sounds' / path, np.clip(30 * sound_trees.event(1), -1, 1), 8000)
    flags = [f'--input_dir={tmp_path}/sounds', f'--classes={bank}/classes.csv', *SMALL]
    for flag, kept in (('--seed=0', True), ('--max_clipped=0.0001', False)):
        output = tmp_path / flag.strip('-')
        fgbg.main([*flags, f'--output_dir={output}', flag])
        assert (path in (output / 'mixtures.csv').read_text()) == kept
        page = (output / 'report.md').read_text()
        assert ('- clipped in more than 0.01 % of its samples, and kept: 1' in page) == kept
        assert ('- clipped: 1' in page) != kept
        assert source.open_dataset(output)['config']['max_clipped'] == (1.0 if kept else 1e-4)


def test_groups_from_a_table(tmp_path, bank, capsys):
    lines = ['path,source_group']
    for path in sorted((bank / 'sounds').rglob('*.wav')):
        group = 'kitchen' if path.stem in ('dog1', 'squeak0', 'fan3') else path.stem
        lines.append(f'sounds/{path.parent.parent.name}/{path.parent.name}/{path.name},{group}')
    (tmp_path / 'groups.csv').write_text('\n'.join(lines[:-1]))
    run(bank, tmp_path / 'out', f'--groups={tmp_path}/groups.csv', '--dry_run')
    warnings = json.loads(capsys.readouterr().out)['notes']['Warnings']
    assert any(line.startswith('2 sounds of seen classes') for line in warnings)
    assert any(line.startswith('groups.csv does not list 1 of 36 sounds') for line in warnings)


@pytest.mark.parametrize(
    'flags, message',
    [
        (('--train_mixtures=-1',), 'train_mixtures=-1: must be a whole number, 0 or more'),
        (('--seconds=0',), 'seconds=0: must be one sample'),
        (('--augment_stretch=0,1',), '--augment_stretch=0,1: must be two numbers from 0.1 to 10'),
        (('--augment_stretch=1,11',), '--augment_stretch=1,11: must be two numbers from 0.1 to 10'),
        (
            ('--augment_pitch=-50,0',),
            '--augment_pitch=-50,0: must be two numbers from -48 to 48 sem',
        ),
        (('--augment_pitch=500,500',), '--augment_pitch=500,500: must be two numbers from -48'),
        (('--snr_db=100,200',), '--snr_db=100,200: must be two numbers from -100 to 100 dB'),
        (('--snr_db=3,-3',), 'first must not exceed'),
        (('--events=0..3',), '--events=0..3: must be a number from 1 to 9, or two of them'),
        (('--events=3..1',), '--events=3..1: the first must not exceed the second'),
        (('--events=2..',), '--events=2..: must be a number from 1 to 9, or two of them'),
        (('--level=peak',), '--level=peak: value should be one of <lufs.rms>'),
    ],
)
def test_numbers_that_make_no_sense(bank, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit):
        run(bank, tmp_path / 'out', *flags)
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize('dry_run', [(), ('--dry_run',)])
@pytest.mark.parametrize(
    'flags, why',
    [
        (
            ['--sample_rate=44100'],
            r'rate too low: 36 \(e.g. 8000 Hz, 44100 Hz wanted; see --sample_rate\)',
        ),
        (
            ['--min_seconds=1'],
            r'too short: 18 \(e.g. 0.80 s, 1 s wanted; see --min_seconds\)',
        ),
    ],
)
def test_a_refusal_says_why_files_were_skipped(bank, tmp_path, flags, why, dry_run):
    with pytest.raises(SystemExit, match=f'no mixtures for train: .*skipped files: {why}$'):
        run(bank, tmp_path / 'out', *flags, *dry_run)


def test_skipped_mixtures_are_a_warning(bank, tmp_path, capsys):
    run(bank, tmp_path, '--snr_db=80,100', '--train_mixtures=40', '--test_mixtures=20')
    report = json.loads((tmp_path / 'report.json').read_text())
    made, skipped = report['splits']['train']['examples'], len(report['skipped_mixtures'])
    assert 0 < made < 40 and skipped
    lines = [x for x in report['notes']['Warnings'] if x.startswith('split train')]
    assert lines == [
        f'split train has {made} mixtures, 40 were asked for; skipped mixtures: '
        f'silent part: {40 - made}'
    ]
    assert f'warning: {lines[0]}' in capsys.readouterr().out
    assert f'- {lines[0]}' in (tmp_path / 'report.md').read_text()
    for example in trees.examples(tmp_path, 'train'):
        assert example.sources_ST.any(axis=1).all() and example.adaptation_T.any()


@pytest.mark.parametrize('other', ['sounds', 'sounds/background', 'linked'])
def test_two_flags_for_the_same_files_are_refused(bank, tmp_path, other):
    (tmp_path / 'sounds').symlink_to(bank / 'sounds')
    (tmp_path / 'linked').symlink_to(bank / 'sounds')
    (tmp_path / 'classes.csv').write_text(sound_trees.CLASSES)
    message = '--input_dir=.*/sounds and --audioset_dir=.* name overlapping folders: [13][86] files'
    with pytest.raises(SystemExit, match=message):
        run(tmp_path, tmp_path / 'out', f'--audioset_dir={tmp_path}/{other}')


def test_one_recording_for_both_sides_is_refused(tmp_path):
    for seed, path in enumerate(('foreground/dog/a.wav', 'background/fan/a.wav')):
        trees.write(tmp_path / 'sounds' / path, sound_trees.ground(seed), sound_trees.RATE)
    (tmp_path / 'classes.csv').write_text(sound_trees.CLASSES)
    with pytest.raises(SystemExit, match="pair in the train split shares one recording, 'a'"):
        run(tmp_path, tmp_path / 'out')
    with pytest.raises(
        SystemExit, match='no mixtures for validation: no usable sound of .*: no us'
    ):
        run(tmp_path, tmp_path / 'out', '--train_mixtures=0')


def test_folders_without_a_class_are_told_with_the_table_and_its_flag(tmp_path, capsys):
    sounds = sound_trees.general(tmp_path / 'sounds', files=1)
    flags = [f'--input_dir={sounds}', f'--output_dir={tmp_path}/out', *SMALL, '--dry_run']
    told = (
        'data_prep/table_1.csv, which has no use for the folders background/fan (1), '
        'foreground/bell (1), foreground/peel (1), or do without'
    )
    with pytest.raises(SystemExit) as stop:  # of the paper's classes, few are there
        fgbg.main(flags)
    assert '--classes names another class table than ' in str(stop.value)
    assert told in str(stop.value)
    (tmp_path / 'mine.csv').write_text('role,class,set,names\nforeground,owl,seen,\n')
    with pytest.raises(SystemExit, match='the class table .*/mine.csv names .--classes gives'):
        fgbg.main([*flags, f'--classes={tmp_path}/mine.csv'])
    sound_trees.write_classes(tmp_path / 'mine.csv')
    sound_trees.general(sounds)
    fgbg.main([*flags, f'--classes={tmp_path}/mine.csv'])
    warnings = json.loads(capsys.readouterr().out)['notes']['Warnings']
    assert warnings[0] == (
        f'6 files left out, in folders that the class table {tmp_path}/mine.csv has no use for: '
        'foreground/peel (6); --classes names another table'
    )


def test_errors_for_humans(bank, tmp_path):
    with pytest.raises(SystemExit, match='no sounds given: .*--input_dir, --desed_dir, --aud'):
        fgbg.main([f'--output_dir={tmp_path}/out'])
    with pytest.raises(
        SystemExit, match='--desed_dir=nowhere: there is no such folder; looked for: the DESED'
    ):
        fgbg.main(['--desed_dir=nowhere', f'--output_dir={tmp_path}/out'])
    (tmp_path / 'groups.csv').write_text('path,source_group\nx/y.wav,z\n')
    with pytest.raises(SystemExit, match='lists none of the 36 sounds'):
        run(bank, tmp_path / 'out', f'--groups={tmp_path}/groups.csv')
    with pytest.raises(SystemExit, match='no mixtures for train: .*a seen foreground'):
        (tmp_path / 'unseen.csv').write_text(sound_trees.CLASSES.replace(',seen', ',unseen'))
        run(bank, tmp_path / 'out', f'--classes={tmp_path}/unseen.csv')
    assert not (tmp_path / 'out' / 'dataset.json').exists()
