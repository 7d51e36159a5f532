"""What a person meets who types something else than was meant: one line, at once."""

import argparse
import functools
import importlib
import io
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from data_prep import options
from fgsep_jax import command_line, config as config_lib, files, huge_pages, lock, main
from fgsep_jax.launch import compile_ahead
from fgsep_jax.report import __main__ as report_command

ROOT = pathlib.Path(__file__).parents[1]
HEAVY = 'jax flax orbax grain torch tensorflow_datasets apache_beam matplotlib scipy.signal numba'
GLU = '--config=configs/convtasnet_glu.py:demo'


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(main, '_begin', lambda args: pytest.fail('JAX would have been imported'))


def refusal(capsys, *argv, program=main.main):
    """What a program prints that refuses its command line."""
    try:
        status = program(list(argv))
    except SystemExit as left:
        status = left.code
    captured = capsys.readouterr()
    assert status == 2 and not captured.out, captured
    assert captured.err.startswith('error: ') and 'Traceback' not in captured.err
    return captured.err


@pytest.mark.parametrize(
    'argv, said',
    [
        (['--nosuchflag'], 'error: there is no flag --nosuchflag. --help lists the flags.\n'),
        (['--wrkdir=x'], "there is no flag --wrkdir; did you mean '--workdir'?"),
        (['-config=x'], "there is no flag -config; did you mean '--config'?"),
        (['train'], 'train: there is no such folder. A folder of recordings is needed'),
        (['--workdir'], '--workdir: needs a value'),
        (['--workdir='], '--workdir=: is empty'),
        (['--workdir=~nobody_here/x'], 'there is no home folder ~nobody_here'),
        (['--workdir=zz://bucket/run'], 'zz://bucket/run: zz:// is not known; buckets are gs://'),
        (['--mode=trian'], '--mode=trian: value should be one of <train_and_evaluate|train|'),
        (['--baselines=maybe'], '--baselines=maybe: must be True or False'),
        (['--nobaselines=1'], '--nobaselines=1 does not take an argument'),
        (['--noworkdir'], "there is no flag --noworkdir; did you mean '--workdir'?"),
        (['--workdir', '--mode=train'], '--workdir: needs a value'),
        (['--mode=a\nb'], '--mode=a\\nb: value should be one of'),
        (['--flagfile=README.md'], 'there is no flag --flagfile'),
        ([], 'configs/convtasnet_glu.py      Conv-TasNet with a deep encoder/decoder of gated'),
        (['--mode=train'], '--config=FILE is needed'),
        (['--config=convtasnet_gul'], 'did you mean configs/convtasnet_glu.py or'),
        (['--config=configs'], 'configs is a folder'),
        (['--config=README.md'], 'README.md, line '),
        (['--config=configs/convtasnet_glu.py:dmeo'], "did you mean 'demo'?"),
        (
            [GLU, '--config.model.hiden=3'],
            'no configuration key model.hiden; did you mean model.separator.hidden?',
        ),
        (
            [GLU, '--config.hidden=3'],
            'key hidden; did you mean model.separator.hidden?',
        ),
        ([GLU, '--config.model.low=3'], 'features.low is one where the task is foreground'),
        ([GLU, '--config.zzzzz=3'], 'no configuration key zzzzz; --show_config prints'),
        ([GLU, '--config.model=3'], 'model is a section; its keys are model.'),
        ([GLU, '--config.training.epochs=0.1'], '--config.training.epochs=0.1: must be a whole'),
        ([GLU, '--config.training.epochs'], '--config.training.epochs=True: must be a whole'),
        ([GLU, '--config.model.separator.remat=yes'], 'separator.remat=yes: must be True or False'),
        ([GLU, '--config.data.segment_seconds=x'], 'data.segment_seconds=x: must be a number'),
        ([GLU, '--config.model.encoder.stride=7'], 'must be a multiple of stride = 7'),
        ([GLU, '--config.data.dir=no/where'], "data.dir = 'no/where': no data set at no/where"),
        ([GLU, '--config.data.dir=~nobody_here'], "data.dir = '~nobody_here': "),
        ([GLU, '--data_dirs=x'], 'cross_evaluate; a training reads --config.data.dir=DIR'),
        ([GLU, '--data.dir=x'], "no flag --data.dir; did you mean '--config.data.dir'?"),
        ([GLU, '--features.bands', '3'], "did you mean '--config.features.bands'?"),
        ([GLU, '--runs=x'], '--runs goes with --mode=cross_evaluate'),
        (['--mode=evaluate'], '--mode=evaluate needs --workdir=RUN'),
        (['--mode=evaluate', '--workdir=no/run'], 'no/run holds no run'),
        (['--mode=evaluate', '--config.model.hidden=3'], 'data.targets alone can be changed'),
        (['--mode=evaluate', '--config.evaluation.batch=3'], 'did you mean evaluation.batch_size?'),
        (['--mode=cross_evaluate', '--workdir=x'], '--mode=cross_evaluate takes --runs=FOLDER'),
        (['--mode=cross_evaluate', '--runs=x', '--data_dirs=no'], '--data_dirs=no: no data set at'),
        (['--mode=cross_evaluate', '--data_dirs=no'], 'cross_evaluate needs --runs=DIR'),
        (['--mode=cross_evaluate', '--runs=x'], 'cross_evaluate needs --data_dirs=DIR'),
        (
            ['--mode=describe', '--workdir=voices', '--config.model.encoder.window=3'],
            '--config.model.encoder.window: --mode=describe takes the model from the run',
        ),
        (
            ['--mode=describe', '--workdir=no/run', '--config.evaluation.batch_size=3'],
            '--config.evaluation.batch_size: --mode=describe takes the model from the run',
        ),
        (['--mode=describe', '--workdir=voices', GLU], 'takes --workdir=RUN or --config=NAME, not'),
        (['--mode=describe', GLU, '--splits=test'], '--splits goes with'),
        (['--mode=describe', GLU, '--baselines'], '--baselines goes with'),
        (['--mode=describe', GLU, '--show_config'], '--show_config goes with'),
        (['--mode=evaluate', '--workdir=voices', '--show_config'], '--show_config goes with'),
        (['--mode=cross_evaluate', '--runs=x', '--show_config'], '--show_config goes with'),
        (['configs', '--show_config'], '--show_config goes with'),
        (['--', '--config.model.hidden=3'], '--config.model.hidden=3: there is no such folder'),
        ([GLU, '--workdir=README.md'], 'README.md is a file, not a folder'),
        ([GLU, '--workdir=README.md/x/y'], 'README.md is a file, not a folder'),
        ([GLU, '--config.data.dir=x'], 'data_prep.folder_2mix --input_dir=... --output_dir=x`'),
        (
            [GLU, '--config.data.dir=configs'],  # a folder of something else
            'data_prep.folder_2mix --input_dir=configs --output_dir=data/configs`',
        ),
    ],
)
def test_a_mistake_is_refused_without_jax(capsys, argv, said):
    text = refusal(capsys, *argv)
    assert said in text
    assert text.count('\n') == 1 or text.startswith(
        ('error: this configuration cannot work:', 'error: --config=FILE is needed')
    )


@pytest.mark.parametrize(
    'program, argv',
    [
        ('fgsep_jax.main', ['--nosuchflag']),
        ('fgsep_jax.main', [GLU, '--config.model.hiden=3']),
        ('data_prep.fgbg', ['--nosuchflag']),
        ('fgsep_jax.launch.compile_ahead', [GLU, '--topology=v5x:2x2']),
        ('data_prep.embedded', ['--help']),
    ],
)
def test_nothing_heavy_is_imported_before_a_mistake_is_known(program, argv):
    code = (
        f'import sys\nfrom {program} import main\n'
        f'try: main({argv})\nexcept SystemExit: pass\n'
        f'print(sorted(set({HEAVY.split()}) & set(sys.modules)), file=sys.stderr)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == '[]'


def test_help_shows_the_flags_of_the_project(capsys):
    with pytest.raises(SystemExit) as left:
        main.main(['--help'])
    shown = capsys.readouterr().out
    assert not left.value.code
    for flag in ('--config=FILE', '--workdir=', '--data_dirs=DIR[,DIR...]', '--config.SECTION.KEY'):
        assert flag in shown
    assert 'verbosity' not in shown


@pytest.mark.parametrize(
    'argv, on',
    [
        ([], False),
        (['--baselines'], True),
        (['--baselines=True'], True),
        (['--baselines=0'], False),
        (['--baselines', '--nobaselines'], False),
    ],
)
def test_a_switch_is_on_or_off(argv, on):
    assert main._parser().parse(argv)[0].baselines is on


def test_a_home_is_meant_by_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert command_line.path('~') == str(tmp_path)
    assert command_line.path('~/a b/ü') == f'{tmp_path}/a b/ü'
    assert command_line.path('~root/x').startswith('/') and '~' not in command_line.path('~root/x')
    assert command_line.path('./~/x') == './~/x' and command_line.path('a~b') == 'a~b'
    assert command_line.path('gs://b/~x') == 'gs://b/~x'
    given = main._parser().parse(
        ['--workdir=~/w', '--data_dirs=~/a,b,~/c', '--runs', '~/r,s'], others=()
    )[0]
    assert given.workdir == f'{tmp_path}/w'
    assert given.data_dirs == [f'{tmp_path}/a', 'b', f'{tmp_path}/c']
    assert given.runs == [f'{tmp_path}/r', 's']
    monkeypatch.setenv('FGSEP_DATA_DIR', '~/data')
    assert config_lib.embedded_dir() == f'{tmp_path}/data/embedded'
    (tmp_path / 'mine.py').write_text((ROOT / 'configs/blstm_m1.py').read_text())
    config = config_lib.load('~/mine.py:demo')
    config_lib.override(config, {'data.dir': '~/mine'})
    assert config_lib.data_dir(config) == f'{tmp_path}/mine'


def test_values_are_set_as_they_are_typed():
    config = config_lib.load('configs/convtasnet_glu.py:demo,seed=2')
    words, overrides = config_lib.split_overrides(
        [
            '--mode=train',
            '--config.model.separator.remat',
            *('--config.training.epochs', '7'),
            '--config.seed=5',
            '--config.data.segment_seconds=2',
            '--config.evaluation.splits=a,b=c',
            '--baselines',
        ]
    )
    assert words == ['--mode=train', '--baselines']
    config_lib.override(config, overrides)
    assert config.model.separator.remat is True and config.training.epochs == 7 and config.seed == 5
    assert config.data.segment_seconds == 2.0 and config.evaluation.splits == 'a,b=c'


MADE = """from base_speech import base
def get_config():
    c = base(experiment='mine')[0].unlock()
    """


@pytest.mark.parametrize(
    'text, said',
    [
        (
            'def get_config(argument=""):\n    return {}[argument]\n',
            "mine.py, line 2: KeyError: ''",
        ),
        ('import nowhere_at_all\n', 'mine.py, line 1: ModuleNotFoundError'),
        ('x = (\n', 'mine.py, line 1: SyntaxError'),
        ('def get_config():\n    return {"task": "speech"}\n', 'mine.py: get_config must return'),
        ('x = 1\n', 'mine.py has no function get_config, which makes a configuration; a file of'),
        ('\nraise KeyboardInterrupt\n', 'mine.py, line 2: KeyboardInterrupt'),
        ('import sys\nsys.exit(0)\n', 'mine.py, line 2: SystemExit: 0'),
        ('exit()\n', 'mine.py, line 1: SystemExit'),
        ('class E(BaseException):\n  __str__ = None\nraise E\n', 'mine.py, line 3: E'),
        ('raise ValueError("a\\nb")\n', 'mine.py, line 1: ValueError: a\\nb'),
        (
            MADE + 'with c.ignore_type(): c.model = 3\n    return c',
            'configuration: model = 3 must be of type dict',
        ),
        (MADE + 'c.training.epoch = 3\n    return c', 'there is no key training.epoch'),
        (MADE + 'del c.model.norm\n    return c', 'model.norm is missing'),
    ],
)
def test_a_config_file_of_ones_own_that_fails_names_its_line(tmp_path, text, said):
    (tmp_path / 'mine.py').write_text(text)
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # as our programs have it
    try:
        with pytest.raises(config_lib.ConfigError) as error:
            config_lib.load(str(tmp_path / 'mine.py'))
    finally:
        signal.signal(signal.SIGINT, before)
    assert said in str(error.value) and '\n' not in str(error.value)


def test_ctrl_c_while_a_config_file_runs_is_ctrl_c(tmp_path):
    (tmp_path / 'mine.py').write_text(
        'import signal\nsignal.raise_signal(signal.SIGINT)\nwhile True: pass'
    )
    with pytest.raises(KeyboardInterrupt):
        config_lib.load(str(tmp_path / 'mine.py'))


def test_a_program_starts_again_only_where_nobody_watches(monkeypatch):
    started = []
    monkeypatch.setattr(os, 'execv', lambda *args: started.append(args))
    monkeypatch.setattr(os, 'environ', {})
    monkeypatch.setattr(sys, 'platform', 'linux')
    for watch in (sys.settrace, sys.setprofile):
        before = {sys.settrace: sys.gettrace, sys.setprofile: sys.getprofile}[watch]()
        watch(lambda *args: None)
        huge_pages.use()
        watch(before)
    monkeypatch.setattr(sys, 'modules', {'bdb': None})
    huge_pages.use()
    assert not started and not os.environ
    monkeypatch.setattr(sys, 'modules', {})
    if not (sys.gettrace() or sys.getprofile()):
        huge_pages.use()
        assert started == [(sys.executable, sys.orig_argv)]
        assert os.environ == {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
        huge_pages.use()
        assert len(started) == 1


JOBS = (
    'folder_2mix',
    'vctk_2mix',
    'wsj0_2mix',
    'libritts_2mix',
    'librimix',
    'wham',
    'fgbg',
    'embedded',
    'listed',
)


@pytest.mark.parametrize('job', JOBS)
@pytest.mark.parametrize(
    'argv, said',
    [
        (['--ouput_dir=x'], "error: there is no flag --ouput_dir; did you mean '--output_dir'?"),
        (['--zzzzz'], 'error: there is no flag --zzzzz. --help lists the flags.\n'),
        (['--output_dir='], '--output_dir=: is empty, must be a path'),
        (['--output_dir=~nobody_here'], '--output_dir=~nobody_here: there is no home folder'),
        (['--seed=x'], '--seed=x: must be a whole number'),
    ],
)
def test_a_job_refuses_a_mistake_in_one_line(capsys, job, argv, said):
    module = importlib.import_module(f'data_prep.{job}')
    text = refusal(capsys, *argv, program=module.main)
    assert said in text and text.count('\n') == 1


def test_beams_flags_are_known_by_its_source():
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(allow_abbrev=False)
    for cls in {str(cls): cls for cls in PipelineOptions.__subclasses__()}.values():
        cls._add_argparse_args(parser)
    known = {name for action in parser._actions for name in action.option_strings}
    assert known - {'-h', '--help'} <= options.beam_flags()


@pytest.mark.parametrize('text', [[], ['--text']])
@pytest.mark.parametrize(
    'argv, said',
    [
        ([], '--runs. --help lists the flags.'),
        (['--run=x'], "there is no flag --run; did you mean '--runs'?"),
        (['--runs='], '--runs=: is empty'),
        (['--runs=,'], '--runs=,: is empty'),
        (['--runs=zz://b/runs'], 'zz://b/runs: zz:// is not known'),
        (['--runs=a,~nobody_here/b'], 'there is no home folder ~nobody_here'),
        (['--runs=no/where'], 'no/where'),
        (['--runs=README.md'], 'README.md'),
        (['--runs=fgsep_jax/losses'], 'fgsep_jax/losses holds no'),
    ],
)
def test_a_report_refuses_a_mistake_in_one_line(capsys, tmp_path, text, argv, said):
    argv = [*argv, *(text or [f'--output_dir={tmp_path}/out'])]
    error = refusal(capsys, *argv, program=report_command.main)
    assert said in error and error.count('\n') == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'flags, said',
    [
        (['--metrics=si_snri'], '--metrics goes with --text.'),
        (['--data_sets=x', '--notext'], '--data_sets goes with --text.'),
        (['--text', '--title=x'], '--title goes with a report that is written, without --text.'),
        (['--text', '--examples=4', '--output_dir=out'], '--examples goes with a report'),
        (['--text', '--output_dir=report'], '--output_dir goes with a report'),
    ],
)
def test_a_report_refuses_flags_of_its_other_mode(capsys, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    assert said in refusal(capsys, '--runs=x', *flags, program=report_command.main)
    assert not os.listdir()


def test_a_report_is_not_written_beside_a_url(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = refusal(capsys, '--runs=.', '--output_dir=zz://b/r', program=report_command.main)
    assert text.startswith('error: zz://b/r: zz:// is not known') and not os.listdir()


@pytest.mark.parametrize(
    'argv, said',
    [
        ([], 'error: --config=FILE is needed'),
        ([GLU, '--compiles=3'], '--compiles goes with --largest_batch.'),
        (['--toplogy=v5e:4x4'], "there is no flag --toplogy; did you mean '--topology'?"),
        ([GLU, '--topology=v5x:2x2'], 'the generation must be one of v4, v5e, v5p, v6e'),
        ([GLU, '--topology=v5e:0x4'], 'the shape of v5e must be 2 numbers from 1 to 16x16'),
        (['--config=configs/convtasnet.py', '--topology=v5e:4x8'], 'cannot be split over 32 chips'),
        ([GLU, '--per_chip_batch=-1'], '--per_chip_batch=-1: must not be negative'),
        ([GLU, '--per_chip_batch=x'], '--per_chip_batch=x: must be a whole number'),
        ([GLU, '--config.model.nothing=1'], 'no configuration key model.nothing'),
        ([GLU, '--hlo=gs://b/x'], '--hlo=gs://b/x: must be on this machine, not a URL'),
    ],
)
def test_compile_ahead_refuses_a_mistake(capsys, argv, said):
    assert said in refusal(capsys, *argv, program=compile_ahead.main)


def test_libraries_have_a_cache_where_there_is_no_home(monkeypatch, tmp_path):
    given = {'PATH': os.environ['PATH'], 'HOME': str(tmp_path)}
    monkeypatch.setattr(os, 'environ', dict(given))
    command_line.lend_caches()
    assert os.environ == given
    for home in ('~', str(tmp_path / 'nowhere')):
        monkeypatch.setattr(os, 'environ', {**given, 'MPLCONFIGDIR': 'mine'})
        monkeypatch.setattr(os.path, 'expanduser', lambda path, home=home: home)
        command_line.lend_caches()
        folder = os.environ['XDG_CACHE_HOME']
        assert os.environ['NUMBA_CACHE_DIR'] == folder and os.environ['MPLCONFIGDIR'] == 'mine'
        assert os.access(folder, os.W_OK) and os.environ['HOME'] == str(tmp_path)
        assert lock.holder(folder)  # so that a later program knows whether it may go


def test_a_path_that_is_no_utf_8_can_be_printed(monkeypatch):
    screen = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(screen, 'utf-8', write_through=True))
    command_line.Parser('fgsep_jax.something', 'Does it.').parse([])
    print(os.fsdecode(b'runs/\xff'))
    assert screen.getvalue() == b'runs/\\udcff\n'


def test_words_and_flags_may_stand_in_any_order(capsys):
    parser = command_line.Parser('fgsep_jax.something', 'Does it.', words='FILE...')
    parser.add_argument('--count', type=command_line.count, help='how many')
    args, words = parser.parse(['a', '--count', '3', 'b'])
    assert args.count == 3 and words == ['a', 'b']
    with pytest.raises(SystemExit):
        parser.parse(['--help'])
    assert capsys.readouterr().out.startswith(
        'usage: python -m fgsep_jax.something FILE... --FLAG=VALUE ...\n'
    )


@pytest.mark.parametrize('word', ['-dash.wav', '--workdir', '--help', '-h', '--', '--nosuchflag=1'])
def test_behind_two_dashes_all_are_words(word):
    parser = command_line.Parser('fgsep_jax.something', 'Does it.', words='FILE...')
    parser.add_argument('--workdir', help='where')
    args, words = parser.parse(['a', '--workdir=w', '--', word, 'b'])
    assert args.workdir == 'w' and words == ['a', word, 'b']


def test_behind_two_dashes_there_is_nothing_where_no_words_are_taken(capsys):
    def program(argv, **others):
        command_line.Parser('fgsep_jax.something', 'Does it.').parse(argv, **others)

    program(['--'])
    assert '--x not understood' in refusal(capsys, '--', '--x', program=program)
    beams = functools.partial(program, others={'--x'})
    assert '--x not understood' in refusal(capsys, '--', '--x', program=beams)


def test_of_a_file_whose_name_looks_like_a_flag_it_is_said_how_it_is_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / '-dash.wav').write_text('')
    parser = command_line.Parser('fgsep_jax.something', 'Does it.', words='FILE...')
    said = refusal(capsys, '-dash.wav', program=parser.parse)
    assert 'there is no flag -dash.wav; the file is written ./-dash.wav' in said


@pytest.mark.slow
def test_a_training_starts_without_what_takes_long_to_import():
    code = 'import sys, fgsep_jax.evaluation.cross, fgsep_jax.training.run\n'
    code += 'print({"torch", "scipy.stats"} & sys.modules.keys() != set())'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == 'False\n', done.stderr


def test_the_list_of_configurations_has_a_column_as_wide_as_it_needs(tmp_path, monkeypatch, capsys):
    (tmp_path / 'configs').mkdir()
    for name in ('a', 'a_very_long_name_of_a_configuration_that_somebody_made'):
        content = '"""About it."""\ndef get_config(): pass\n'
        (tmp_path / 'configs' / f'{name}.py').write_text(content)
    monkeypatch.chdir(tmp_path)
    lines = [line for line in refusal(capsys).splitlines() if 'About it.' in line]
    assert len(lines) == 2 and all('.py  ' in line for line in lines)
    assert len({line.index('About it.') for line in lines}) == 1


def test_a_short_flag_is_shown_as_it_is_typed(capsys):
    from fgsep_jax import separate

    with pytest.raises(SystemExit):
        separate.main(['--help'])
    said = capsys.readouterr().out
    assert '\n  -o DIR, --output_dir=DIR  where' in said and '--o=' not in said
    assert said.count('where the parts go') == 1


def test_every_flag_says_what_it_is_for(capsys):
    for program in ('main', 'report.__main__', 'separate'):
        with pytest.raises(SystemExit):
            importlib.import_module(f'fgsep_jax.{program}').main(['--help'])
        assert 'no help available' not in capsys.readouterr().out, program
    with pytest.raises(TypeError, match='help'):
        command_line.Parser('x', '').add_argument('--flag')


def test_what_runs_is_shown_and_nothing_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main.main(['--config=convtasnet_glu:demo', '--show_config', '--config.training.epochs=9'])
    lines = capsys.readouterr().out.splitlines()
    assert {'model.encoder.layers = 2', 'training.epochs = 9', "experiment = 'convtasnet_glu'"} < {
        *lines
    }
    assert [line.partition(' = ')[0] for line in lines] == sorted(
        files.flatten(config_lib.load('convtasnet_glu:demo').to_dict())
    )
    assert not os.listdir(tmp_path)
