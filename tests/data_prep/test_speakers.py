"""Tables of speakers: what they may look like, and where the sexes arrive."""

import json
import types
import unicodedata

import pytest

from data_prep import folder_2mix, libritts_2mix, options, tables
from data_prep.recordings import Recording, TreeError
from fgsep_jax.data.source import RecordSource
from fgsep_jax.evaluation import evaluate
import trees


@pytest.mark.parametrize(
    'text',
    [
        'speaker,sex\n1,f\n2,M\n3,\n',
        'speaker_id\tseconds\tsex\n1\t5\tFemale\n2\t6\tmale\n3\t7\t?\n',
        '; of LibriSpeech\n;ID |SEX| SUBSET | NAME\n1 | F | x | |y| z\n2 | M | x | y\n3|-|x|y\n',
        'speaker|sex\r\n1|f\r\n2|m\r\n3|\r\n',
        'speaker;weight;sex\n1;5,5;f\n2;6;m\n3;7;\n',
        'sep=;\r\nspeaker;sex;age, weight\r\n1;f;5\r\n2;m;6\r\n3;;7\r\n',
        '"sep=,"\nspeaker,sex,a;b\n1,f,\n2,m,\n3,,\n',
        'sep=\t\nsex\tspeaker\nf\t1\nm\t2\n?\t3\n',
        # The separator is the one by which the first line names most columns.
        'speaker;sex;height, weight\n1;f;1,7\n2;m;\n3;;\n',
        'speaker,sex,born; died\n1,f,;\n2,m,1;2\n3,,\n',
        'speaker\tsex\ta, b; c|d\n1\tf\t,\n2\tm\t;\n3\t\t|\n',
        'height, weight|speaker|sex\n1,7|1|f\n|2|m\n2|3|\n',
        'Speaker,SEX,a|b\n1,f,\n2,m,x|y\n3,,;|\n',
        'sex;speaker;note\nf;1;a|b\nM;2;\n;3;c|d\n',
        'sex,speaker,note\nf,1,\nM,2,;x|y\n,3,\n',
        '# LibriTTS\nREADER\tGENDER\tSUBSET\tNAME\n1\tF\tx\ty\n2\tM\tx\ty\n3\t-\tx\ty\n',
    ],
)
def test_known_tables(tmp_path, text):
    (tmp_path / 'speakers.tsv').write_bytes(text.encode('utf-16' if '?' in text else 'utf-8'))
    assert tables.read_sexes(str(tmp_path / 'speakers.tsv')) == {'1': 'F', '2': 'M', '3': ''}


@pytest.mark.parametrize(
    'text, said',
    [
        ('name,sex\nx,f\n', "line 2: found name='x', sex='f'; a line needs a speaker"),
        ('speaker\nx\n', 'a line needs a speaker'),
        ('speaker,sex\nx,f\nx,m\n', "line 3: speaker 'x'"),
        ('', 'is empty'),
        ('sep=;\nname;sex\nx;f\n', "line 3: found name='x', sex='f'; a line needs a speaker"),
        ('sep=;\nspeaker,sex\nx,f\n', "found speaker,sex='x,f'"),
        ('speaker,sex\nx,woman\n', "line 2: found the sex 'woman'"),
        ('speaker,sex,sex\nx,f,m\n', 'named twice'),
        ('speaker,sex\nx\0,f\n', 'line 2: holds a NUL'),
        ('speaker,sex\n' + 'x' * 200_000 + ',f\n', r'line 2: found .{,300}\.\.\..*field larger'),
        (b'speaker,sex\ny,f\nJos\xe9,m\n', 'line 3 is not UTF-8'),
        (b'\xff\xfes\0x', 'not UTF-8|truncated'),
    ],
)
def test_other_tables_are_refused(tmp_path, text, said):
    (tmp_path / 't.csv').write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TreeError, match=said) as refused:
        tables.read_sexes(str(tmp_path / 't.csv'))
    assert len(str(refused.value)) < 600


def test_the_sexes_arrive_in_the_rows_of_an_evaluation(tmp_path):
    trees.folder(tmp_path / 'tree', speakers=8)
    names = sorted(path.name for path in (tmp_path / 'tree').iterdir())
    (tmp_path / 's.csv').write_text(
        'speaker,sex\n'
        + ''.join(f'{name},{"fm"[i % 2]}\n' for i, name in enumerate(names[:-1]))
        + 'nobody,f\n'
    )
    folder_2mix.main(
        [
            f'--input_dir={tmp_path}/tree',
            f'--output_dir={tmp_path}/out',
            '--test_fraction=0.4',
            f'--speakers={tmp_path}/s.csv',
        ]
    )
    metadata = json.loads((tmp_path / 'out' / 'dataset.json').read_text())
    sexes = {name: 'FM'[i % 2] for i, name in enumerate(names[:-1])}
    assert metadata['speakers'] == sexes and 'speakers' not in metadata['config']
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['notes']['Warnings'][0] == (
        f's.csv: 1 of 8 speakers of the tree it does not name ({names[-1]}); 1 of 8 speakers that '
        'it names the tree does not have (nobody)'
    )
    source = RecordSource(str(tmp_path / 'out'), 'test')
    rows, _ = evaluate.evaluate(
        lambda source_BST, length_B, adaptation_BT: source_BST,
        source,
        sample_rate=8000,
        batch_size=4,
        bucket_seconds=1.0,
        filter_taps=16,
    )
    assert rows
    assert all(row['sex'] == sexes.get(row['speaker'], '') for row in rows)
    assert any(row['sex'] for row in rows)


def test_a_table_of_others_is_refused(tmp_path):
    trees.folder(tmp_path / 'tree', speakers=8)
    (tmp_path / 's.csv').write_text('speaker,sex\nnobody,f\n')
    with pytest.raises(SystemExit, match='knows none of the speakers'):
        folder_2mix.main(
            [
                f'--input_dir={tmp_path}/tree',
                f'--output_dir={tmp_path}/out',
                f'--speakers={tmp_path}/s.csv',
            ]
        )
    assert not (tmp_path / 'out' / 'dataset.json').exists()


@pytest.mark.parametrize(
    'table, line',
    [
        (['a', 'e\u0301', 'c'], ''),
        (['a'], '2 of 3 speakers of the tree it does not name (c, \u00e9)'),
        (['a', '\u00e9', 'c', 'x'], '1 of 4 speakers that it names the tree does not have (x)'),
        (
            ['a', 'c', *'zyxw'],
            '1 of 3 speakers of the tree it does not name (\u00e9); 4 of 6 speakers that it names '
            'the tree does not have (w, x, y, ...)',
        ),
        (
            ['c', 'y'],
            '2 of 3 speakers of the tree it does not name (a, \u00e9); 1 of 2 speakers that'
            ' it names the tree does not have (y)',
        ),
    ],
)
def test_a_table_that_fits_in_part_is_told(tmp_path, table, line):
    (tmp_path / 's.csv').write_text('speaker,sex\n' + ''.join(f'{name},f\n' for name in table))
    utterances = [Recording(f'{name}1', name, 'x.wav', 'train') for name in ('a', '\u00e9', 'c')]
    args = types.SimpleNamespace(speakers=str(tmp_path / 's.csv'))
    metadata, told = options.sexes(args, utterances)
    assert told == ([f's.csv: {line}'] if line else [])
    named = {unicodedata.normalize('NFC', name) for name in table}
    assert metadata == {'speakers': {name: 'F' for name in ('a', '\u00e9', 'c') if name in named}}


def test_no_table_no_sexes(tmp_path):
    for part in ('train-clean-100', 'dev-clean', 'test-clean'):
        for speaker in ('11', '12'):
            trees.write(
                tmp_path
                / 'LibriTTS'
                / part
                / f'{speaker}{len(part)}'
                / '1'
                / f'{speaker}{len(part)}_1_000001_000000.wav',
                trees.speechlike(1.5, seed=int(speaker) + 100 * len(part)),
            )
    libritts_2mix.main([f'--input_dir={tmp_path}/LibriTTS', f'--output_dir={tmp_path}/out'])
    assert 'speakers' not in json.loads((tmp_path / 'out' / 'dataset.json').read_text())


def test_few_people_are_split_by_recording(tmp_path, capsys):
    for i, name in enumerate(('Ann', 'Bob')):
        trees.write(tmp_path / 'tree' / name / 'talk.wav', trees.speechlike(14, seed=i))
    flags = [f'--input_dir={tmp_path}/tree', f'--output_dir={tmp_path}/out', '--max_seconds=2']
    with pytest.raises(SystemExit):
        folder_2mix.main(flags)
    assert '--split_by=recording' in capsys.readouterr().err
    folder_2mix.main([*flags, '--split_by=recording'])
    assert 'scores say nothing about voices that were not trained on' in capsys.readouterr().out
    metadata = json.loads((tmp_path / 'out' / 'dataset.json').read_text())
    assert metadata['config']['split_by'] == 'recording'
    assert {name: one['speakers'] for name, one in metadata['splits'].items()} == dict.fromkeys(
        ('test', 'train', 'validation'), ['Ann', 'Bob']
    )
    assert metadata['splits']['train']['examples'] > metadata['splits']['test']['examples'] > 0
