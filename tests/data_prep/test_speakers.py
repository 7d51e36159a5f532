"""Tables of speakers: what they may look like, and where the sexes arrive."""

import json

import pytest

from data_prep import delimited, folder_2mix, libritts_2mix
from data_prep.corpora import TreeError
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
        '# LibriTTS\nREADER\tGENDER\tSUBSET\tNAME\n1\tF\tx\ty\n2\tM\tx\ty\n3\t-\tx\ty\n',
    ],
)
def test_known_tables(tmp_path, text):
    (tmp_path / 'speakers.tsv').write_bytes(text.encode('utf-16' if '?' in text else 'utf-8'))
    assert delimited.read_sexes(str(tmp_path / 'speakers.tsv')) == {'1': 'F', '2': 'M', '3': ''}


@pytest.mark.parametrize(
    'text, said',
    [
        ('name,sex\nx,f\n', "line 2: found name='x', sex='f'; a line needs a speaker"),
        ('speaker\nx\n', 'a line needs a speaker'),
        ('speaker,sex\nx,f\nx,m\n', "line 3: speaker 'x'"),
        ('', 'is empty'),
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
        delimited.read_sexes(str(tmp_path / 't.csv'))
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
    for row in rows:
        assert [row['sex_1'], row['sex_2']] == [
            sexes.get(name, '') for name in json.loads(row['sources'])
        ]
    assert any(row['sex_1'] for row in rows)


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
