"""What a job refuses is said in one line, and refusing destroys nothing."""

import pytest

from data_prep import build, embedded, fgbg, folder_2mix, pairing
from data_prep.recordings import Recording
import trees


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    return trees.folder(tmp_path_factory.mktemp('corpus'), speakers=8, files=1)


def run_folder(input_dir, output_dir, *flags):
    folder_2mix.main([f'--input_dir={input_dir}', f'--output_dir={output_dir}', *flags])


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


@pytest.mark.slow
def test_overwrite_keeps_the_old_data_set_until_the_new_one_is_planned(
    corpus, tmp_path, monkeypatch
):
    run_folder(corpus, tmp_path)
    before = contents(tmp_path)
    for flag in ('--min_seconds=100', '--train_pairs=5000', '--name=Not-a-name'):
        with pytest.raises(SystemExit):
            run_folder(corpus, tmp_path, '--overwrite', flag)
        assert contents(tmp_path) == before

    def first_shard(place, **_):
        assert not (tmp_path / 'dataset.json').exists() and not list(tmp_path.glob('*.tfrecord-*'))
        raise RuntimeError('seen')

    monkeypatch.setattr(build, 'write_shard', first_shard)
    with pytest.raises(RuntimeError, match='seen'):
        run_folder(corpus, tmp_path, '--overwrite')


@pytest.mark.slow
@pytest.mark.parametrize(
    'beam_flags', [(), ('--direct_running_mode=multi_processing', '--direct_num_workers=2')]
)
def test_a_refused_plan_is_one_line(corpus, tmp_path, caplog, capfd, beam_flags):
    with pytest.raises(SystemExit) as stop:
        run_folder(corpus, tmp_path / 'out', '--train_pairs=5000', *beam_flags)
    message = str(stop.value)
    assert message.startswith("error: split 'train': 5,000 mixtures wanted")
    assert '\n' not in message and 'while running' not in message
    out, err = capfd.readouterr()
    assert 'Traceback' not in caplog.text + out + err
    assert 'apache_beam' not in out + err and 'INFO:' not in out + err  # the workers' own talk
    assert not (tmp_path / 'out').exists()


def fail(spec, *, sample_rate):
    raise build.audio.BadInput('silent part', 'nothing to hear')


def test_a_split_without_mixtures_is_one_line(corpus, tmp_path, caplog):
    utterances = [
        Recording(f'u{i}', f's{i}', str(corpus / f'spk{i}' / 'u0.wav'), 'train') for i in range(4)
    ]
    with pytest.raises(ValueError, match="^split 'train': no mixture could be made.*silent part"):
        build.run(
            name='x',
            utterances=utterances,
            output_dir=str(tmp_path / 'out'),
            plan=pairing.random_pairs,
            mix=fail,
        )
    assert 'Traceback' not in caplog.text
    assert not (tmp_path / 'out' / 'dataset.json').exists()


@pytest.mark.parametrize(
    'flags, message',
    [
        (['--train_pairs=-3'], '--train_pairs=-3: must be a whole number, 0 or more'),
        (['--test_fraction=1.5'], '--test_fraction=1.5: must be from 0 to 1'),
        (['--validation_fraction=-0.1'], '--validation_fraction=-0.1: must be from'),
        (['--test_fraction=nan'], '--test_fraction=nan: must be from'),
        (['--validation_fraction=0.6', '--test_fraction=0.5'], 'sum must be at most 1'),
        (['--sample_rate=0'], '--sample_rate=0: must be from 1,000 to 768,000 Hz'),
        (['--sample_rate=1'], '--sample_rate=1: must be from 1,000'),
        (['--sample_rate=999'], '--sample_rate=999: must be from 1,000'),
        (['--min_seconds=-1'], '--min_seconds=-1: must be from 0'),
        (['--min_seconds=inf'], '--min_seconds=inf: must be from 0'),
        (['--max_seconds=-2'], '--max_seconds=-2: must be from 0'),
        (['--max_seconds=0.5'], '--max_seconds=0.5: must be 0 (never cut) or at least 1'),
        (['--max_seconds=1e-5', '--min_seconds=0'], '--max_seconds=1e-05: must be 0'),
        (['--max_seconds=1e308'], '--max_seconds=1e308: must be from 0 to 86,400 s'),
        (['--max_seconds=86401'], 'from 0 to 86,400 s'),
        (['--min_seconds=1e308'], '--min_seconds=1e308: must be from 0 to 86,400 s'),
        ([f'--sample_rate={10**400}'], '0: must be from 1,000 to 768,000 Hz'),
        ([f'--train_pairs=-{10**400}'], '0: must be a whole number, 0 or more'),
        (['--snr_db=-inf,5'], '--snr_db=-inf,5: must be two numbers from'),
        (['--snr_db=nan,nan'], '--snr_db=nan,nan: must be two numbers from'),
        (['--snr_db=5'], '--snr_db=5: must be two numbers'),
        (['--name=+3'], '--name=+3: must be small letters, digits and _'),
        (['--name=a('], '--name=a(: must be small letters'),
        (['--name=Not-a-name'], '--name=Not-a-name: must be small letters'),
        (['--name=con'], '--name=con: must be small letters'),
        (['--name='], '--name=: must be small letters'),
    ],
)
def test_nonsense_is_refused_before_anything_is_read(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        run_folder(tmp_path / 'nowhere', tmp_path / 'out', *flags)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('flag', ['seconds', 'adaptation_seconds'])
def test_a_window_is_a_day_at_most(tmp_path, capsys, flag):
    with pytest.raises(SystemExit):
        fgbg.main([f'--input_dir={tmp_path}', f'--output_dir={tmp_path / "o"}', f'--{flag}=1e308'])
    message = f'--{flag}=1e308: must be from 0 to 86,400 s'
    assert message in capsys.readouterr().err


def test_embedded_wants_utterances(tmp_path, capsys):
    with pytest.raises(SystemExit):
        embedded.main([f'--output_dir={tmp_path / "out"}', '--utterances_per_voice=0'])
    assert '--utterances_per_voice=0: must be from 1' in capsys.readouterr().err


@pytest.mark.parametrize('inside', ['', 'below'])
def test_an_output_that_cannot_be_a_folder_is_one_line(corpus, tmp_path, inside):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(SystemExit, match='^error: .*file') as stop:
        run_folder(corpus, tmp_path / 'file' / inside, '--overwrite')
    assert '\n' not in str(stop.value)
    assert (tmp_path / 'file').read_text() == 'mine'


def test_folders_that_differ_in_capitals_are_named(corpus, tmp_path, capsys):
    for seed, name in enumerate(('Spk0', 'spk0'), start=1):
        trees.folder(tmp_path / 'in' / name, speakers=1, files=1, seed=seed)
    for path in corpus.iterdir():
        (tmp_path / 'in' / path.name.replace('spk0', 'other')).symlink_to(path)
    run_folder(tmp_path / 'in', tmp_path / 'out', '--dry_run')
    assert "'Spk0' and 'spk0' differ in small" in capsys.readouterr().out
