"""Cells of a table of mixtures that a person edits: taken, or refused by line, column and rule."""

import functools
import re

import pytest

from data_prep import listed, mixtures, tables
import trees

PAIR = dict(split='test', id='a', path_1='spk0/u0.wav', path_2='spk1/u0.wav')
LEVELS = PAIR | dict(level_db_1='2', level_db_2='-2')
EVENT = PAIR | dict(
    samples='4000',
    onset='0.5',
    stop_2='4000',
    adaptation_start='4000',
    adaptation_stop='8000',
    adaptation_overlap='0',
)
ROW = dict(split='train', id='a', path_1='u.wav', path_2='v.wav', source_id_1='A', source_id_2='B')
READY = PAIR | dict(ready='spk2/u0.wav')


def refused(tmp_path, text):
    (tmp_path / 'in').mkdir(exist_ok=True)
    (tmp_path / 't.csv').write_text(text)
    flags = [f'--mixtures={tmp_path}/t.csv', f'--input_dir={tmp_path}/in']
    with pytest.raises(SystemExit) as stop:
        listed.main([*flags, f'--output_dir={tmp_path}/out'])
    assert stop.value.code == 2 and '\n' not in str(stop.value)
    assert not [path for path in tmp_path.rglob('out/*') if not path.name.startswith('.')]
    return str(stop.value)


def table(*rows):
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [','.join(row.get(name, '') for name in columns) for row in rows]
    return '\n'.join([','.join(columns), *lines]) + '\n'


@pytest.mark.parametrize(
    'row, cells, said',
    [
        (PAIR, {'samples': '999999999999999'}, "samples is '999999999999999': must be a whole num"),
        (PAIR, {'samples': '0'}, "samples is '0': must be a whole number from 1 to"),
        (PAIR, {'start_1': '-1'}, "start_1 is '-1': must be a whole number from 0 to"),
        (PAIR, {'start_2': '1.5'}, "start_2 is '1.5': must be a whole number from 0 to"),
        (PAIR, {'start_2': '9', 'stop_2': '8'}, 'stop_2 is 8: a stop must be after its start, 9'),
        (PAIR, {'samples': '9', 'stop_2': '8'}, 'samples is 9: start_2 to stop_2 are fewer'),
        (PAIR, {'channel_1': '-1'}, "channel_1 is '-1': must be a whole number from 0"),
        (PAIR, {'scale_2': '0'}, "scale_2 is '0': must be a finite number from 4.9"),
        (PAIR, {'scale_2': '-1'}, "scale_2 is '-1': must be a finite number from 4.9"),
        (PAIR, {'scale_2': 'inf'}, "scale_2 is 'inf': must be a finite number"),
        (PAIR, {'offset_1': '1-2'}, "offset_1 is '1-2': must be a finite number"),
        (PAIR, {'snr_db': '1e'}, "snr_db is '1e': must be a finite number from -200 to 200"),
        (
            LEVELS,
            {'level_db_1': '1e999'},
            "level_db_1 is '1e999': must be a finite number from -20",
        ),
        (
            LEVELS,
            {'level_db_2': '201'},
            "level_db_2 is '201': must be a finite number from -200 to",
        ),
        (LEVELS, {'level_db_2': ''}, 'level_db_2 is empty: all sources must have one, or none'),
        (LEVELS, {'level_db_1': ''}, 'level_db_2 is -2: all sources must have one, or none'),
        (LEVELS, {'snr_db': '4.02'}, 'snr_db is 4.02: the levels make it 4.00'),
        (PAIR | {'path_3': 'z'}, {'snr_db': '3'}, 'snr_db is 3: the levels make it -3.01'),
        (EVENT, {'onset': '1'}, "onset is '1': must be a finite number from 0 to 0.9999999999"),
        (EVENT, {'onset': '-0.1'}, "onset is '-0.1': must be a finite number from 0"),
        (EVENT, {'stretch': '0'}, "stretch is '0': must be a finite number from 0.1 to 10"),
        (EVENT, {'semitones': '49'}, "semitones is '49': must be a finite number from -48 to 48"),
        (EVENT, {'adaptation_overlap': '1.1'}, "adaptation_overlap is '1.1': must be a finite"),
        (EVENT, {'adaptation_stop': ''}, 'an event with an onset needs one background, samples, a'),
        (EVENT, {'adaptation_stop': '4000'}, 'adaptation_stop is 4000: must be after adaptation_s'),
        (
            EVENT,
            {'adaptation_stop': '999999999999'},
            'segment of 999999995999: must be at most 691200000',
        ),
        (
            EVENT,
            {'samples': '2000000000', 'stop_2': '2000000000'},
            'must be at most 691200000, a day',
        ),
        (EVENT, {'stop_2': ''}, 'stop_2 is 0: must be start_2 and samples, 4000'),
        (EVENT, {'start_1': '5'}, 'start_1 is 5: an event with an onset is of the whole file'),
        (EVENT, {'onset': ''}, 'it has no onset: only events that have one may have adaptation_st'),
        (PAIR, {'adaptation_start': '4'}, 'it has no onset: only events that have one may have'),
        (
            PAIR,
            {'stretch': '1.1'},
            'it has no onset: only events that have one may have adaptation',
        ),
        (READY, {'samples': '9', 'stop_2': '8'}, 'samples is 9: start_2 to stop_2 are fewer'),
        (READY, {'start_2': '5'}, 'start_2 is 5: a ready mixture is of the whole file'),
        (PAIR, {'anywhere': 'ja'}, "anywhere is 'ja': must be true or false"),
        (PAIR, {'split': '../esc/x'}, "split is '../esc/x': its split must be one of train"),
        (PAIR, {'split': '../esc/x', 'problem': 'x'}, "split is '../esc/x': its split must be"),
        (PAIR, {'split': 'Train'}, "split is 'Train': its split must be one of train"),
        (PAIR, {'split': 'tr ain'}, "split is 'tr ain': its split must be one of train"),
        (PAIR, {'path_2': ''}, 'it needs two sources at least, path_1 and path_2'),
        (PAIR, {'path_2': '', 'path_3': 'z'}, "path_3 is 'z': path_2 must not be empty"),
        (PAIR, {'path_3': '', 'level_db_3': '1'}, "level_db_3 is '1': path_3 must not be empty"),
        (PAIR, {'path_3': 'z'}, 'it needs 2 sources, as the first mixture has'),
        (PAIR, {'path_2': 'spk0/u0.wav'}, "source_id_1 is 'spk0/u0.wav', twice: two speakers must"),
        (ROW, {'source_id_2': 'A'}, "source_id_1 is 'A', twice: two speakers"),
        (ROW, {'source_id_1': 'Zo\u00eb', 'source_id_2': 'Zoe\u0308'}, 'twice: two speakers must'),
        (PAIR, {'path_1': '{input_dir}//etc/passwd'}, 'must stay below its folder, without empty'),
        (PAIR, {'path_1': 'x//y.wav'}, "path_1 is 'x//y.wav': must stay below its folder, without"),
        (PAIR, {'path_1': 'x%00.wav'}, "path_1 is 'x%00.wav': must stay below its folder, without"),
        (PAIR, {'path_1': './'}, "path_1 is './': must stay below its folder, without"),
        (PAIR, {'path_1': '.'}, "path_1 is '.': must stay below its folder, without"),
        (PAIR, {'path_2': './.'}, "path_2 is './.': must stay below its folder, without"),
        (READY, {'ready': '{input_dir}/.'}, "ready is '{input_dir}/.': must stay below its folder"),
    ],
)
def test_a_bad_cell_is_refused_in_one_line(tmp_path, row, cells, said):
    message = refused(tmp_path, table(row | {'id': 'good'}, row | cells))
    assert f'{tmp_path}/t.csv, line 3: ' in message and said in message


@pytest.mark.parametrize(
    'column, near',
    [
        ('snr', "; did you mean 'snr_db'?"),
        ('sorce_id_2', "; did you mean 'source_id_2'?"),
        ('path_0', ''),
        ('zzz', ''),
    ],
)
def test_a_column_that_no_mixture_has_is_refused(tmp_path, column, near):
    message = refused(tmp_path, table(PAIR | {column: '1'}))
    assert f"t.csv: no mixture has a column '{column}'{near}" in message


def test_what_spreadsheets_write_is_taken(tmp_path):
    (tmp_path / 't.csv').write_text(
        'Split,ID,path_1,path_2,samples,stop_2,anywhere,,,\n'
        'test,a,x,y,20665.0,20665.,TRUE,,,\n,,,,,,,,,\ntest,b,x,y,1,1,False\n'
    )
    first, second = mixtures.from_csv(str(tmp_path / 't.csv'), {'input_dir': '/in'})
    assert (first.samples, first.sources[1].stop, first.anywhere) == (20665, 20665, True)
    assert (second.samples, second.anywhere, second.sources[0].path) == (1, False, '/in/x')


@pytest.mark.parametrize(
    'path', ['x.wav', './x.wav', '/in/x.wav', '/in//x.wav', '/in/./x.wav', '/in/a/../x.wav']
)
def test_a_file_has_one_name(path):
    roots = {'input_dir': '/in'}
    assert tables.resolved(path, roots) == '/in/x.wav'
    assert tables.below('/in/x.wav', roots) == 'x.wav'


def test_a_folder_where_a_file_should_be_is_a_file_skipped(tmp_path, capsys):
    root = trees.folder(tmp_path / 'in', speakers=2, files=1)
    (tmp_path / 't.csv').write_text(table(PAIR, PAIR | {'id': 'b', 'path_1': f'{root}/'}))
    flags = [f'--mixtures={tmp_path}/t.csv', f'--input_dir={root}']
    listed.main([*flags, f'--output_dir={tmp_path}/out'])
    assert 'skipped 1 file and 1 mixture' in capsys.readouterr().out


def test_what_lies_beyond_a_file_is_not_blamed_on_its_sound(tmp_path):
    trees.folder(tmp_path / 'in', speakers=2, files=1)
    for row, cells in (
        (PAIR, {'start_1': '99999'}),
        (PAIR, {'stop_2': '99999'}),
        (PAIR, {'samples': '99999'}),
        (READY | {'ready': 'spk1/u0.wav'}, {'samples': '99999'}),
        (EVENT, {'stop_1': '99999'}),
    ):
        message = refused(tmp_path, table(row | cells))
        assert re.search(r'u0.wav has 9,600 samples, the table asks for (99999|100000)', message)


@pytest.mark.parametrize(
    'first, second, said',
    [
        (
            ROW,
            {'path_2': 'u.wav'},
            "source_id_2 is 'B': this stretch of its file is of 'A' in path_1 of train/a",
        ),
        (
            ROW,
            {'path_2': './u.wav'},
            "source_id_2 is 'B': this stretch of its file is of 'A' in path_1 of train/a",
        ),
        (
            ROW,
            {'source_id_1': 'Aa'},
            "source_id_1 is 'Aa': this stretch of its file is of 'A' in path_1 of train/a",
        ),
        (
            ROW,
            {'split': 'test', 'path_1': 'v.wav', 'path_2': 'w.wav'},
            "source_id_1 is 'A': this stretch of its file is of 'B' in path_2 of train/a",
        ),
        (
            ROW | {'source_class_2': 'dog'},
            {'source_class_2': 'dgo'},
            "source_class_2 is 'dgo': its file has 'dog' in path_2 of train/a",
        ),
        (
            EVENT | {'source_id_2': 'rain1'},
            {'source_id_2': 'rain2'},
            "source_id_2 is 'rain2': this stretch of its file is of 'rain1' in path_2 of test/a",
        ),
        (
            ROW | {'path_3': 'w.wav', 'source_id_3': 'C', 'ready': 'm.wav'},
            {'path_3': 'u.wav', 'ready': 'n.wav'},
            "source_id_3 is 'C': this stretch of its file is of 'A' in path_1 of train/a",
        ),
        (ROW, {'path_1': 'w.wav', 'path_2': 'v.wav', 'source_id_1': 'B'}, "is 'B', twice: two"),
        (ROW, {'path_2': 'w.wav', 'source_id_1': '', 'source_id_2': 'A'}, "is 'A', twice: two"),
    ],
)
def test_a_file_is_of_one_source(tmp_path, first, second, said):
    message = refused(tmp_path, table(first, first | {'id': 'b'} | second))
    assert f'{tmp_path}/t.csv, line 3: ' in message and said in message


def test_a_file_may_come_again_and_be_named_once(tmp_path):
    rows = [
        ROW | {'source_id_1': '', 'path_3': 'n.wav', 'source_class_3': 'noise'},
        ROW | {'id': 'b', 'source_id_2': '', 'path_3': 'n.wav', 'source_class_3': 'noise'},
    ]
    (tmp_path / 't.csv').write_text(table(*rows))
    check = functools.partial(listed.check, sample_rate=8000, known={})
    found = mixtures.from_csv(str(tmp_path / 't.csv'), {'input_dir': '/in'}, check)
    assert [[x.source_id for x in row.sources] for row in found] == [['A', 'B', 'n.wav']] * 2


@pytest.mark.parametrize('mark', ';,\t|')
def test_a_decimal_comma_is_read_between_semicolons_only(tmp_path, mark):
    lines = [['split', 'id', 'path_1', 'path_2', 'level_db_1', 'level_db_2', 'samples']]
    lines += [['test', '1,5', 'x', 'a,5', '3,5', '-,25', '4000']]
    cell = '"{}"'.format if mark == ',' else str
    text = '\n'.join(mark.join(map(cell, line)) for line in lines) + '\n'
    if mark != ';':
        assert "level_db_1 is '3,5': must be a finite number" in refused(tmp_path, text)
        return
    (tmp_path / 't.csv').write_text(text)
    (row,) = mixtures.from_csv(str(tmp_path / 't.csv'), {'input_dir': '/in'})
    assert [source.level_db for source in row.sources] == [3.5, -0.25]
    assert (row.id, row.sources[1].path) == ('1,5', '/in/a,5')


@pytest.mark.parametrize(
    'cells, said',
    [
        ('1.000,5;', "level_db_1 is '1.000,5': must be a finite number"),
        ('3,5,1;', "level_db_1 is '3,5,1': must be a finite number"),
        (';20,665', "samples is '20,665': must be a whole number"),
    ],
)
def test_a_comma_that_is_no_decimal_one_is_refused(tmp_path, cells, said):
    text = f'split;id;path_1;path_2;level_db_1;samples\ntest;a;x;y;{cells}\n'
    assert said in refused(tmp_path, text)
