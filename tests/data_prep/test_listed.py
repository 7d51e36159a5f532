"""A table of mixtures is input, too: a data set's own makes its shards once more."""

import json
import pathlib

import numpy as np
import pytest

from data_prep import fgbg, folder_2mix, librimix, listed, mixtures, wsj0_2mix
from fgsep_jax.data import records
import sound_trees
import test_bad_cells
import test_jobs
import trees


def made(tmp_path, job, *flags):
    job.main([*flags, f'--output_dir={tmp_path}/first', '--name=same'])
    return tmp_path / 'first'


def again(tmp_path, *flags, table=None, name='again'):
    table = table or tmp_path / 'first' / 'mixtures.csv'
    listed.main([f'--mixtures={table}', *flags, f'--output_dir={tmp_path / name}', '--name=same'])
    return tmp_path / name


def alike(first, second):
    shards = test_jobs.shard_bytes(first)
    assert shards and test_jobs.shard_bytes(second) == shards
    tables = [(folder / 'mixtures.csv').read_bytes() for folder in (first, second)]
    assert tables[0] == tables[1]
    one, other = (json.loads((x / 'report.json').read_text()) for x in (first, second))
    assert one['splits'] == other['splits']
    assert one['skipped_mixtures'] == other['skipped_mixtures']


def test_pairs_once_more_from_a_tree_elsewhere(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=6, files=2)
    trees.write(root / 'spk0' / 'w, "x"%41\n# .wav', trees.speechlike(2, seed=50) * 0.1 + 0.4)
    for i, name in enumerate(('x 1.wav', 'x_1.wav', 'x\n1.wav')):
        trees.write(root / 'spk0' / name, trees.speechlike(2, seed=51 + i))
    flags = ('--max_seconds=1.1', '--train_pairs=6')
    first = made(tmp_path, folder_2mix, f'--input_dir={root}', *flags)
    root = root.rename(tmp_path / 'elsewhere')
    alike(first, again(tmp_path, f'--input_dir={root}'))


def test_what_was_refused_as_it_was_mixed_says_why(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=4, files=4)
    pause_T = np.concatenate([trees.speechlike(1.2, seed=9), np.zeros(8000 * 12)])
    trees.write(root / 'spk0' / 'pause, long.wav', pause_T)
    flags = ('--validation_fraction=0', '--test_fraction=0', '--max_seconds=2', '--train_pairs=36')
    first = made(tmp_path, folder_2mix, f'--input_dir={root}', *flags)
    report = json.loads((first / 'report.json').read_text())
    rows = mixtures.from_csv(str(first / 'mixtures.csv'), {'input_dir': str(root)})
    told = {(row.id, row.problem, row.detail) for row in rows if row.problem}
    assert told == {(x['name'], x['kind'], x['detail']) for x in report['skipped_mixtures']}
    assert {kind for _, kind, _ in told} == {'silent part'}
    count, shards = (report['splits']['train'][key] for key in ('examples', 'shards'))
    assert shards == 2 and count <= 32 < count + len(told)  # of which one shard would do
    assert not listed.not_its_plan(str(first / 'mixtures.csv'))
    alike(first, again(tmp_path, f'--input_dir={root}'))


@pytest.mark.slow
def test_scenes_once_more(tmp_path):
    root = sound_trees.general(tmp_path / 'in')
    classes = sound_trees.write_classes(tmp_path / 'classes.csv')
    sizes = ('--train_mixtures=12', '--validation_mixtures=3', '--test_mixtures=2')
    flags = (f'--input_dir={root}', '--sample_rate=8000')
    first = made(tmp_path, fgbg, *flags, *sizes, f'--classes={classes}', '--seconds=1', '--seed=2')
    second = again(tmp_path, *flags)
    alike(first, second)
    about = json.loads((second / 'dataset.json').read_text())
    assert about['adaptation'] and about['source_unit'] == 'source recordings'


@pytest.mark.slow
def test_ready_mixtures_and_lists_once_more(tmp_path):
    names = {'train': ['1-2-3_4-5-6'], 'val': ['7-8-9_10-11-12']}
    trees.mixed(tmp_path / 'in' / 'MiniLibriMix', names, mixture='mix_clean', subtype='FLOAT')
    first = made(tmp_path, librimix, f'--input_dir={tmp_path}/in')
    alike(first, again(tmp_path, f'--input_dir={tmp_path}/in'))
    root = tmp_path / 'lists'
    for seed, name in enumerate(('01t/01to030v', '029/029o0311')):
        trees.write(root / 'si_tr_s' / f'{name}.wav', trees.speechlike(1.5, seed=seed))
    line = 'si_tr_s/01t/01to030v.wav 1.5 si_tr_s/029/029o0311.wav -1.5\n'
    (root / 'mix_2_spk_tt.txt').write_text(line + line.replace('029/029o0311', '029//029o0399'))
    flags = (f'--wsj0_dir={root}', f'--lists_dir={root}', '--splits=test')
    (tmp_path / 'merl').mkdir()
    first = made(tmp_path / 'merl', wsj0_2mix, *flags)
    alike(first, again(tmp_path / 'merl', f'--wsj0_dir={root}'))


def test_a_table_of_ones_own_with_three_sources(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=3, files=1)
    (root / 'spk2' / 'bad.wav').write_bytes(b'no sound')
    files = [f'spk{i}/u0.wav' for i in range(3)]
    table = tmp_path / 't.csv'
    table.write_text(
        'split;id;path_1;path_2;path_3;level_db_1;level_db_2;level_db_3;source_id_2\n'
        f'test;a;{";".join(files)};6;0;0;Bob\n'
        f'test;b;{files[1]};{files[0]};spk2/bad.wav;;;;\n'
    )
    out = again(tmp_path, f'--input_dir={root}', table=table)
    (example,) = trees.examples(out, 'test')
    assert example.sources_ST.shape == (3, 9600)
    assert example.source_ids == (files[0], 'Bob', files[2])
    assert example.snr_db == pytest.approx(6 - 10 * np.log10(2))
    report = json.loads((out / 'report.json').read_text())
    assert [x['detail'] for x in report['skipped_mixtures']] == ['without test/spk2/bad.wav']


def test_a_file_may_have_several_speakers_in_stretches_of_its_own(tmp_path):
    """As recordings of meetings have them."""
    root = trees.folder(tmp_path / 'in', speakers=2, files=1)  # of 9,600 samples each
    (tmp_path / 'sexes.csv').write_text('speaker,sex\nAnn,f\nBob,m\nCem,m\n')
    table = tmp_path / 't.csv'
    table.write_text(
        'split,id,path_1,path_2,source_id_1,source_id_2,start_1,stop_1,start_2,stop_2\n'
        'test,a,spk0/u0.wav,spk0/u0.wav,Ann,Bob,0,4000,4000,8000\n'
        'test,b,spk0/u0.wav,spk1/u0.wav,Bob,Cem,4500,9000,0,4500\n'
        'test,c,spk0/u0.wav,spk1/u0.wav,Ann,Cem,100,3000,0,2900\n'
    )
    flags = (f'--input_dir={root}', f'--speakers={tmp_path}/sexes.csv')
    out = again(tmp_path, *flags, table=table)
    found = {x.id: x for x in trees.examples(out, 'test')}
    ids = {name: x.source_ids for name, x in found.items()}
    assert ids == {'a': ('Ann', 'Bob'), 'b': ('Bob', 'Cem'), 'c': ('Ann', 'Cem')}
    first_T, second_T = found['a'].sources_ST
    assert len(first_T) == 4000 and not np.array_equal(first_T, second_T)
    about = json.loads((out / 'dataset.json').read_text())
    assert about['splits']['test']['speakers'] == ['Ann', 'Bob', 'Cem']
    assert about['speakers'] == {'Ann': 'F', 'Bob': 'M', 'Cem': 'M'}
    alike(out, again(tmp_path, *flags, table=out / 'mixtures.csv', name='third'))


def test_an_snr_alone_is_a_level_for_two(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=2, files=1)
    (tmp_path / 't.csv').write_text(
        'split,id,snr_db,path_1,path_2\ntest,a,4.5,spk0/u0.wav,spk1/u0.wav\n'
    )
    out = again(tmp_path, f'--input_dir={root}', table=tmp_path / 't.csv')
    (example,) = trees.examples(out, 'test')
    power_S = np.mean(np.square(example.sources_ST, dtype=np.float64), axis=1)
    assert example.snr_db == 4.5 and 10 * np.log10(power_S[0] / power_S[1]) > 2


@pytest.mark.parametrize(
    'text, said',
    [
        ('split,id,path_1\ntest,a,x.wav\n', 'line 2: it needs two sources at least'),
        (
            'split,id,path_1,path_2\ndev,a,x.wav,y.wav\n',
            "line 2: split is 'dev': its split must be one of train, v",
        ),
        (
            'split,id,path_1,path_2,path_3\ntest,a,x,y,\ntest,b,x,y,z\n',
            'line 3: it needs 2 sources, as the first mixture has',
        ),
        ('split,id,path_1,path_2,onset\ntest,a,x,y,0.5\n', 'line 2: an event with an onset needs'),
        ('split,id,path_1,path_2,ready\ntest,a,x,y,\ntest,b,x,y,z\n', 'line 3: ready mixtures,'),
        ('split,id,path_1,path_2,start_1,stop_1\ntest,a,x,y,5,5\n', 'a stop must be after'),
        (
            'split,id,path_1,path_2,source_id_1,source_id_2,start_1,stop_1\n'
            'test,a,x,y,A,B,0,50\ntest,b,x,z,C,D,40,90\n',
            "line 3: source_id_1 is 'C': this stretch of its file is of 'A' in path_1 of test/a;",
        ),
        (
            'split,id,path_1,path_2,source_id_1,source_id_2,start_1,stop_1\n'
            'test,a,x,y,A,B,0,50\ntest,b,x,z,C,D,50,0\ntest,c,x,z,,D,9,20\n',
            'line 4: source_id_1 is empty: other rows give its file several',
        ),
        (
            'split,id,path_1,path_2,source_class_1\ntest,a,x,y,rain\ntest,b,x,z,dog\n',
            "line 3: source_class_1 is 'dog': its file has 'rain' in path_1 of test/a;",
        ),
        ('split,id,path_1,path_2\n', 'lists no mixture'),
        ('split,id,path_1,path_2\ntest,a,{wsj0_dir}/x,y\n', '--wsj0_dir must name its folder'),
        ('split,path_1\ntest,a\n', 'the first line must name split, id, path_1'),
        ('split,id,path_1,path_2\ntest,a,x.wav,y.wav\n', 'none of its 1 mixture can be made'),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / 'in').mkdir()
    (tmp_path / 't.csv').write_text(text)
    with pytest.raises(SystemExit) as stop:
        again(tmp_path, f'--input_dir={tmp_path}/in', table=tmp_path / 't.csv')
    assert said in str(stop.value) and '\n' not in str(stop.value) and stop.value.code == 2


@pytest.mark.parametrize('flag, link', [('mixtures', False), ('mixtures', True), ('speakers', 0)])
def test_a_job_never_removes_the_table_that_it_reads(tmp_path, flag, link):
    root = trees.folder(tmp_path / 'in', speakers=2, files=1)
    (tmp_path / 't.csv').write_text('split,id,path_1,path_2\ntest,a,spk0/u0.wav,spk1/u0.wav\n')
    flags = f'--input_dir={root}', '--overwrite'
    out = again(tmp_path, *flags, table=tmp_path / 't.csv')
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    table = out / ('mixtures.csv' if flag == 'mixtures' else 'files.csv')
    if link:
        table = tmp_path / 'link.csv'
        table.symlink_to(out / 'mixtures.csv')
    with pytest.raises(SystemExit) as stop:
        again(tmp_path, *flags, f'--{flag}={table}', table=tmp_path / 't.csv')
    assert str(stop.value).startswith(f'error: --{flag}={table} is of the data set that this would')
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    if flag == 'mixtures':
        again(tmp_path, *flags, '--dry_run', table=table)


def test_a_data_sets_table_is_read_as_it_was_made(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=2, files=1, sample_rate=16000)
    table = tmp_path / 'mixtures.csv'
    table.write_text(
        'split,id,path_1,path_2,stop_1,stop_2\ntest,a,spk0/u0.wav,spk1/u0.wav,9000,9000\n'
    )
    about = {'sample_rate': 16000, 'config': {'max_clipped': 0.25, 'level': 'lufs'}}
    (tmp_path / 'dataset.json').write_text(json.dumps(about))
    made = json.loads(
        (again(tmp_path, f'--input_dir={root}', table=table) / 'dataset.json').read_text()
    )
    config = {'sample_rate': 16000, 'max_clipped': 0.25, 'level': 'rms'}
    assert made['sample_rate'] == 16000 and config.items() <= made['config'].items()
    for flag, said in (
        ('--sample_rate=8000', 'is of a data set with sample_rate 16000'),
        ('--level=lufs', 'has no events with an onset'),
    ):
        with pytest.raises(SystemExit) as stop:
            again(tmp_path, f'--input_dir={root}', flag, table=table, name='other')
        assert str(stop.value).startswith(f'error: {flag}: {table} {said}')
    again(tmp_path, f'--input_dir={root}', '--max_clipped=0.5', '--dry_run', table=table, name='x')


def test_a_data_set_beside_a_table_that_is_not_its_plan_gives_no_rate(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=2, files=1, sample_rate=16000)
    table = tmp_path / 'mixtures.csv'
    table.write_text('split,id,path_1,path_2\ntest,a,spk0/u0.wav,spk1/u0.wav\n')
    about = {'sample_rate': 16000, 'mixtures': records.digest(b'another table')}
    (tmp_path / 'dataset.json').write_text(json.dumps(about))
    with pytest.raises(SystemExit, match='--sample_rate is needed: .* with sample_rate 16000$'):
        again(tmp_path, f'--input_dir={root}', table=table)
    out = again(tmp_path, f'--input_dir={root}', '--sample_rate=8000', table=table)
    assert json.loads((out / 'dataset.json').read_text())['sample_rate'] == 8000


def test_the_levels_of_events_are_those_of_the_data_set(tmp_path):
    (tmp_path / 'in').mkdir()
    table = tmp_path / 'mixtures.csv'
    table.write_text(
        'split,id,path_1,path_2,samples,onset,stop_2,adaptation_start,adaptation_stop,'
        'adaptation_overlap\ntest,a,x.wav,y.wav,4000,0.5,4000,4000,8000,0\n'
    )
    (tmp_path / 'dataset.json').write_text('{"sample_rate": 8000, "config": {"level": "rms"}}')
    with pytest.raises(SystemExit, match='--level=lufs: .* is of a data set with level rms'):
        again(tmp_path, f'--input_dir={tmp_path}/in', '--level=lufs', table=table)
    (tmp_path / 'dataset.json').write_text('{"sample_rate": 16000, "config": {"level": "lufs"}}')
    with pytest.raises(SystemExit, match='--level=lufs(: a is of 4000| needs pyloudnorm)'):
        again(tmp_path, f'--input_dir={tmp_path}/in', table=table)
    (tmp_path / 'dataset.json').write_text('{"sample_rate": 8000, "config": {"level": "loud"}}')
    with pytest.raises(SystemExit, match="level 'loud': must be one of "):
        again(tmp_path, f'--input_dir={tmp_path}/in', table=table)


@pytest.mark.parametrize(
    'cells', [{'stop_1': 5000, 'stop_2': 5000}, {'samples': 5000}, {'stop_1': 5000}]
)
def test_of_a_ready_mixture_the_beginning_is_taken(tmp_path, cells):
    root = tmp_path / 'in'
    first_T, second_T = (trees.speechlike(1.0, seed=i, peak=0.2) for i in range(2))
    for name, audio_T in {'a': first_T, 'b': second_T, 'm': first_T + second_T}.items():
        trees.write(root / f'{name}.wav', audio_T)
    row = {'split': 'test', 'id': 'x', 'path_1': 'a.wav', 'path_2': 'b.wav', 'ready': 'm.wav'}
    (tmp_path / 't.csv').write_text(
        test_bad_cells.table(row | {k: str(n) for k, n in cells.items()})
    )
    if len(cells) == 1 and 'stop_1' in cells:
        with pytest.raises(SystemExit, match='lengths differ.*sources of .5000, 8000. samples'):
            again(tmp_path, f'--input_dir={root}', table=tmp_path / 't.csv')
        return
    out = again(tmp_path, f'--input_dir={root}', table=tmp_path / 't.csv')
    (example,) = trees.examples(out, 'test')
    wanted_ST = np.round(np.stack([first_T, second_T])[:, :5000] * 32768)
    assert np.abs(example.sources_ST - wanted_ST).max() <= 1
    alike(out, again(tmp_path, f'--input_dir={root}', table=out / 'mixtures.csv', name='third'))


def test_what_splits_share_is_said_and_made(tmp_path, capsys):
    root = trees.folder(tmp_path / 'in', speakers=4, files=2)
    (tmp_path / 'dataset.json').write_text('{"mixtures": "another"}')
    table = tmp_path / 'mixtures.csv'
    table.write_text(
        'split,id,path_1,path_2,source_id_1,source_id_2\n'
        'train,a,spk0/u0.wav,spk1/u0.wav,A,B\n'
        'validation,v,spk2/u0.wav,spk3/u0.wav,C,D\n'
        'test,a,spk0/u1.wav,spk1/u0.wav,A,B\n'
    )
    out = again(tmp_path, f'--input_dir={root}', table=table)
    said = (
        'splits share 2 speakers (e.g. A in train and test), 1 file (e.g. spk1/u0.wav in train and '
        'test) and 1 mixture id (e.g. a in train and test)'
    )
    lines = json.loads((out / 'report.json').read_text())['notes']['Warnings'][:2]
    assert lines[0].startswith(f'{table} is not the plan') and lines[1].startswith(said)
    printed = capsys.readouterr().out
    assert all(f'warning: {line}' in printed for line in lines)


def test_a_file_is_itself_by_whatever_link_it_is_named(tmp_path):
    root = pathlib.Path(trees.folder(tmp_path / 'in', speakers=4, files=2))
    (root / 'z9').symlink_to('spk0')
    table = tmp_path / 'mixtures.csv'
    table.write_text(
        'split,id,path_1,path_2,source_id_1,source_id_2\n'
        'train,a,spk0/u0.wav,spk1/u0.wav,A,B\n'
        'validation,v,z9/u0.wav,spk2/u0.wav,A,C\n'
        'test,t,spk3/u1.wav,spk3/u0.wav,D,E\n'
    )
    out = again(tmp_path, f'--input_dir={root}', table=table)
    lines = json.loads((out / 'report.json').read_text())['notes']['Warnings']
    assert any('1 file (e.g. spk0/u0.wav in train and validation)' in line for line in lines)
    table.write_text(table.read_text().replace('u0.wav,A,C', 'u0.wav,F,C'))
    with pytest.raises(SystemExit) as stop:
        again(tmp_path, f'--input_dir={root}', '--overwrite', table=table)
    assert "source_id_1 is 'F': this stretch of its file is of 'A'" in str(stop.value)


@pytest.mark.parametrize(
    'splits, said',
    [
        (('train', 'train'), False),
        (('c1', 'c2'), False),  # all of the sounds kept for the test
        (('c1', 'test'), False),
        (('train', 'c1'), True),
        (('validation', 'train'), True),
    ],
)
def test_subsets_of_the_test_are_one(splits, said):
    sources = (mixtures.Source('/in/x.wav', 'X', 'dog'), mixtures.Source('/in/y.wav', 'Y', 'rain'))
    rows = [mixtures.Mixture(str(i), split, sources) for i, split in enumerate(splits)]
    lines = listed.shared(rows, {'input_dir': '/in'}, unit='source recording')
    assert bool(lines) == said
    assert not said or 'share 2 source recordings (e.g. X in ' in lines[0]


@pytest.mark.parametrize(
    'name, about, told',
    [
        ('mixtures.csv', {'mixtures': records.digest(b'x')}, True),
        ('mixtures.csv', {'mixtures': records.digest(b'a table')}, False),
        ('mixtures.csv', {}, False),
        ('mine.csv', {'mixtures': records.digest(b'x')}, False),
    ],
)
def test_a_plan_that_is_not_its_data_sets_is_told_of(tmp_path, name, about, told):
    (tmp_path / name).write_bytes(b'a table')
    assert listed.not_its_plan(f'{tmp_path}/{name}') == []
    (tmp_path / 'dataset.json').write_text(json.dumps(about))
    lines = listed.not_its_plan(f'{tmp_path}/{name}')
    said = f'{tmp_path}/{name} is not the plan that the data set beside it was made by'
    assert [line.startswith(said) for line in lines] == [True] * told


@pytest.mark.parametrize(
    'rows, hint',
    [
        ('test,a,x.wav,y.wav\n', False),
        ('test,a,x.wav,y.wav\ntrain,a,spk0/u0.wav,spk1/u0.wav\n', True),
    ],
)
def test_a_split_without_mixtures_names_what_the_job_has(tmp_path, rows, hint):
    root = trees.folder(tmp_path / 'in', speakers=2, files=1)
    (tmp_path / 't.csv').write_text(f'split,id,path_1,path_2\n{rows}')
    with pytest.raises(SystemExit) as stop:
        again(tmp_path, f'--input_dir={root}', table=tmp_path / 't.csv')
    assert "split 'test': none of its 1 mixture can be made" in str(stop.value)
    assert ('; a table without its rows makes the others' in str(stop.value)) == hint
    assert '--splits' not in str(stop.value)


def test_a_job_of_splits_names_those_that_are_left(tmp_path):
    names = {'train': ['1-2-3_4-5-6'], 'val': ['7-8-9_10-11-12']}
    base = trees.mixed(tmp_path / 'in' / 'MiniLibriMix', names, mixture='mix_clean')
    for path in (base / 'val' / 's1').iterdir():
        path.write_bytes(b'no sound')
    with pytest.raises(SystemExit, match='--splits=train does without it'):
        made(tmp_path, librimix, f'--input_dir={tmp_path}/in')
