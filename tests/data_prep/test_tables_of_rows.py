"""files.csv and mixtures.csv: what is written is what is read, whatever the names."""

import csv
import dataclasses
import json
import tracemalloc

from hypothesis import given, settings, strategies as st
import pytest

from data_prep import mixtures, recordings, tables
from data_prep.mixtures import Mixture, Source
from data_prep.recordings import Recording, Take, TreeError
import test_jobs
import trees

ROOTS = {'input_dir': '/in', 'desed_dir': '/in/desed', 'audioset_dir': '/clips'}
TEXTS = st.text(
    st.characters(
        exclude_categories=['Cs'], exclude_characters='\0/'
    )  # and what Python makes of bytes that are no UTF-8
    | st.sampled_from(' ,"#%\'=+-@|{}\n\r\t;~\\\udcff\udc80')
    | st.sampled_from([*'41aF'])
).filter(lambda text: text not in ('', '.', '..'))
PATHS = st.builds('/'.join, st.lists(TEXTS, min_size=1, max_size=3)).flatmap(
    lambda name: st.sampled_from([f'{root}/{name}' for root in ROOTS.values()])
)
IDS = TEXTS.map(lambda text: Recording(text, '', '', '').id)
NUMBERS = st.floats(-200, 200) | st.integers(-9, 9).map(float)
TAKES = st.builds(Take, st.integers(0, 3), NUMBERS, st.sampled_from([1.0, 0.5]))


@settings(deadline=None)  # on a busy machine one may take long
@given(
    st.lists(
        st.builds(
            Recording,
            id=IDS,
            source_id=TEXTS,
            path=PATHS,
            split=st.sampled_from(['train', 'c1']),
            source_class=st.sampled_from(['speech', 'dog']),
            role=st.sampled_from(['', 'foreground']),
            bank=st.sampled_from(['', 'test']),
            others=st.lists(PATHS, max_size=3).map(tuple),
            samples=st.integers(1, 10**9),
            rms_db=NUMBERS,
            take=TAKES,
            converted=st.sampled_from([(), ('resampled',), ('resampled', 'a, b')]),
            problem=st.sampled_from(['', 'empty']),
            detail=TEXTS,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_recordings_come_back(tmp_path_factory, some):
    path = tmp_path_factory.mktemp('files') / 'files.csv'
    path.write_bytes(recordings.to_csv(some, ROOTS))
    assert recordings.from_csv(str(path), ROOTS) == some


def test_parts_of_a_cell_keep_the_apostrophe_that_is_theirs(tmp_path):
    texts = ("'=1", "a'-b", "'@x", '=2')
    paths = ("/in/'=1", "/in/'+x/y.wav")
    row = Recording('x', 's', '/in/x', 'train', converted=texts, others=paths)
    (tmp_path / 'files.csv').write_bytes(recordings.to_csv([row], ROOTS))
    assert recordings.from_csv(str(tmp_path / 'files.csv'), ROOTS) == [row]


SOURCES = st.builds(
    Source,
    PATHS,
    source_id=IDS,
    start=st.integers(0, 10**6),
    stop=st.integers(0, 10**9),
    level_db=st.none() | NUMBERS,
    take=TAKES,
)


@settings(deadline=None)  # on a busy machine one may take long
@given(
    st.lists(
        st.builds(
            Mixture,
            IDS,
            st.sampled_from(['train', 'test', 'c4']),
            st.lists(SOURCES, min_size=1, max_size=3).map(tuple),
            st.integers(0, 10**9),
            st.none() | NUMBERS,
            ready=st.lists(PATHS, max_size=2).map(tuple),
            adaptation_start=st.none() | st.integers(0, 9),
            onset=st.none() | st.floats(0, 1, exclude_max=True),
            anywhere=st.booleans(),
            stretch=st.sampled_from([1.0, 0.81]),
            problem=st.sampled_from(['', 'x']),
            detail=st.just('') | TEXTS,
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda row: (row.split, row.id),
    )
)
def test_mixtures_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp('mixtures') / 'mixtures.csv'
    path.write_bytes(mixtures.to_csv(rows, ROOTS))
    assert mixtures.from_csv(str(path), ROOTS) == rows


@pytest.mark.parametrize(
    'line, said',
    [
        ('train,a,x.wav,1.5,,', "start_1 is '1.5': must be a whole number"),
        ('train,a,x.wav,,nan,', "level_db_1 is 'nan': must be a finite number from -200 to 200"),
        ('train,a,x.wav,,,maybe', "anywhere is 'maybe': must be true or false"),
        ('train,a,{nosuch_dir}/x.wav,,,', "path_1 is '{nosuch_dir}/x.wav': --nosuch_dir must name"),
        ('train,a,../x.wav,,,', "path_1 is '../x.wav': must stay below its folder"),
        ('train,,x.wav,,,', 'split and id must not be empty'),
        ('test,m,y.wav,,,', 'the mixture of line 2 once more'),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(tmp_path, line, said):
    path = tmp_path / 't.csv'
    path.write_text(f'split,id,path_1,start_1,level_db_1,anywhere\ntest,m,x.wav,,,\n{line}\n')
    with pytest.raises(TreeError) as refused:
        mixtures.from_csv(str(path), ROOTS)
    assert f'{path}, line 3: {said}' in str(refused.value)


def test_what_a_job_leaves_can_be_read(tmp_path):
    root = trees.folder(tmp_path / 'in', speakers=6, files=2)
    (root / 'spk0' / 'bad.wav').write_bytes(b'no sound')
    test_jobs.run_folder(root, tmp_path / 'out', '--train_pairs=3')
    with open(tmp_path / 'out' / 'files.csv', newline='') as file:
        files = {row['path']: row for row in csv.DictReader(file)}
    assert len(files) == 13 and files['spk0/bad.wav']['problem'] == 'unreadable'
    rows = mixtures.from_csv(str(tmp_path / 'out' / 'mixtures.csv'), {'input_dir': str(root)})
    made = {split: trees.examples(tmp_path / 'out', split) for split in ('train', 'test')}
    assert sum(row.split == 'train' for row in rows) == 3
    for row in rows:
        for example in made.get(row.split, ()):
            if example.id == row.id:
                assert example.sources_ST.shape == (len(row.sources), row.samples)
                assert example.snr_db == pytest.approx(row.snr_db)
    about = json.loads((tmp_path / 'out' / 'dataset.json').read_text())
    again = mixtures.to_csv(rows, {'input_dir': str(root)})
    assert again == (tmp_path / 'out' / 'mixtures.csv').read_bytes() and about['mixtures']


def test_files_of_people_split_by_recording_say_the_splits_they_were_dealt_to(tmp_path):
    root = tmp_path / 'in'
    for i, (name, seconds) in enumerate(
        {'Ann': [14], 'Bob': [3, 2, 2.5], 'Cy': [1.5], 'Di': [6, 7]}.items()
    ):
        for j, length in enumerate(seconds):
            trees.write(root / name / f'{j}.wav', trees.speechlike(length, seed=10 * i + j))
    (root / 'Bob' / 'bad.wav').write_bytes(b'no sound')
    test_jobs.run_folder(root, tmp_path / 'out', '--split_by=recording', '--max_seconds=2')
    files, rows = (
        read(str(tmp_path / 'out' / f'{name}.csv'), {'input_dir': str(root)})
        for name, read in (('files', recordings.from_csv), ('mixtures', mixtures.from_csv))
    )
    heard = {(source.path, row.split) for row in rows for source in row.sources}
    assert {(x.path, split) for x in files for split in x.split.split('+') if split} == heard
    split_of = {x.path.removeprefix(f'{root}/'): x.split for x in files}
    assert split_of['Ann/0.wav'] == 'train+validation+test' and split_of['Cy/0.wav'] == 'train'
    assert {split_of[f'Bob/{j}.wav'] for j in range(3)} == {'train', 'validation', 'test'}
    assert split_of['Bob/bad.wav'] == ''


def test_columns_with_nothing_in_them_are_left_out():
    row = Mixture('m', 'train', (Source('/in/x.wav', 's', level_db=0.0, stop=9),), 9, 0.0)
    assert mixtures.to_csv([row], ROOTS).splitlines()[0] == (
        b'split,id,samples,snr_db,path_1,source_id_1,source_class_1,start_1,stop_1,level_db_1'
    )
    moved = dataclasses.replace(row, sources=(Source('/elsewhere/x.wav', 's'),))
    assert b'/elsewhere/x.wav' in mixtures.to_csv([moved], ROOTS)
    assert tables.below('/in/desed/a.wav', ROOTS) == '{desed_dir}/a.wav'


def test_a_table_of_many_rows_takes_little_more_than_its_bytes():
    def row(i):
        sources = (Source(f'/in/{i}/{k}.wav', f's{i}', stop=9 + i, level_db=i / 7) for k in (1, 2))
        return Mixture(f'm{i}', 'train', tuple(sources), 9, i / 3)

    rows = [row(i) for i in range(20_000)]
    tracemalloc.start()
    table = mixtures.to_csv(rows, ROOTS)
    (_, peak), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
    assert table.count(b'\n') == 1 + len(rows) and peak < 6 * len(table)


@pytest.mark.parametrize('kind', [str, tables.PATH])
@pytest.mark.parametrize(
    'text, plain',
    [
        *((text, True) for text in ('b+c', 'Z/9.wav', 'x_-@')),
        *((text, False) for text in ('', '-1', '=a', '+a', '@a', '/a', '.a', '{b}', 'a b', 'a%41')),
        *((text, False) for text in ('a\nb', 'é', 'a:b', 'a://b', 'a|b', "'a", 'a\r', 'a\udc80')),
    ],
)
def test_cells_of_texts_that_need_nothing_are_those_texts(kind, text, plain):
    roots = {'input_dir': '/in'}
    contents = [f'/in/{text}', '/in/a'] if kind == tables.PATH else [text, 'a']
    fast = tables._as_they_are(kind, contents, roots)
    slow = tables._each(tables._cell_of(kind, roots), contents)
    assert fast == (slow if plain else None)
    assert tables._as_they_are(kind, [*contents, None], roots) is None
    assert kind is str or tables._as_they_are(kind, [*contents, '/out/x'], roots) is None
