"""While it comes: from a pipe and from a microphone."""

import contextlib
import io
import os
import queue
import shutil
import sys
import types

import numpy as np
import pytest
import soundfile

from fgsep_jax import stopping
from fgsep_jax.separation import live, writing
import models
from models import command as run

RATE = 8000


@pytest.fixture(scope='module')
def causal(tmp_path_factory):
    return models.run(
        tmp_path_factory.mktemp('runs') / 'causal',
        'convtasnet_causal',
        **{'model.causal': True, 'model.norm': 'cln'},
    )


@pytest.mark.slow
def test_a_pipe(causal, tmp_path, monkeypatch, capsys):
    signal_T = (3000 * np.random.default_rng(0).standard_normal(5001)).astype('<i2')
    data = io.BufferedReader(content := io.BytesIO(signal_T.tobytes() + b'\0'))
    monkeypatch.setattr('sys.stdin', types.SimpleNamespace(buffer=data))
    words = [causal, '-', '--live', f'--raw_rate={RATE}', '-o', tmp_path]
    assert run(*words) == 0
    assert capsys.readouterr().out.count('standard input: truncated (half a sample') == 1
    assert soundfile.info(tmp_path / 'stdin_speaker_1.wav').frames == 5001
    assert run(*words) == 2
    assert run(*words, '--overwrite') == 1  # nothing comes any more, and the parts stay
    assert soundfile.info(tmp_path / 'stdin_speaker_1.wav').frames == 5001
    content.seek(0)
    assert run(*words, '--overwrite') == 0


def test_what_clips_is_counted_at_the_end(causal, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(live, 'separate', lambda *_, **__: (1.0, 1234))
    assert run(causal, '-', '--live', f'--raw_rate={RATE}', '-o', tmp_path) == 0
    said = capsys.readouterr().out
    assert '1,234 samples of the parts clipped: --bits=float keeps them' in said


def test_a_microphone(causal, tmp_path, monkeypatch):
    class Request:
        number = None

    class InputStream:
        def __init__(self, *, callback, blocksize, **_):
            self.callback, self.blocksize = callback, blocksize

        def __enter__(self):
            for _ in range(3):
                self.callback(np.full((self.blocksize, 1), 0.1, np.float32), 0, 0, 0)

        def __exit__(self, *_):
            pass

    class Deferred:
        def __enter__(self):
            return Request

        def __exit__(self, *_):
            pass

    class Heard:
        def __init__(self):
            self.blocks = []

        def put(self, block):
            self.blocks.append(block)

        def qsize(self):
            return len(self.blocks)

        def get(self, timeout):
            if len(self.blocks) == 1:
                Request.number = 2
            if not self.blocks:
                raise queue.Empty
            return self.blocks.pop(0)

    monkeypatch.setitem(sys.modules, 'sounddevice', types.SimpleNamespace(InputStream=InputStream))
    monkeypatch.setattr(stopping, 'deferred', lambda **_: Deferred())
    monkeypatch.setattr(live, 'queue', types.SimpleNamespace(SimpleQueue=Heard, Empty=queue.Empty))
    assert run(causal, '--live', '-o', tmp_path) == 0
    assert soundfile.info(tmp_path / 'live_speaker_2.wav').frames == 3 * 160


def test_what_was_heard_before_the_stop_is_handed_on(monkeypatch, capsys):
    """And what PortAudio lost is counted, what waits long is said."""

    class InputStream:
        def __init__(self, *, callback, blocksize, **_):
            self.callback, self.blocksize = callback, blocksize

        def __enter__(self):
            for number in range(9):
                status = types.SimpleNamespace(input_overflow=number in (3, 5))
                self.callback(np.full((self.blocksize, 1), number, np.float32), 160, None, status)

        def __exit__(self, *_):
            pass

    class Request:
        answers = iter([None, None])
        number = property(lambda self: next(self.answers, 2))  # while most of it waits

    @contextlib.contextmanager
    def deferred(**_):
        yield Request()

    monkeypatch.setitem(sys.modules, 'sounddevice', types.SimpleNamespace(InputStream=InputStream))
    monkeypatch.setattr(stopping, 'deferred', deferred)
    monkeypatch.setattr(live, 'PATIENCE', 0.1)
    lost = []
    assert [block_T[0] for block_T in live.microphone(RATE, lost)] == [*range(9)]
    assert len(lost) == 2
    assert capsys.readouterr().err.count('slower than the microphone') == 1


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['M', 'a.wav', '--live'], '--live takes the microphone'),
        (['M', '-', '--live'], 'needs --raw_rate'),
        (['M', '--live'], "pip install 'fgsep_jax[live]'"),
        (['W', '-', '--live', '--raw_rate=8000'], 'sees ahead'),
    ],
)
def test_mistakes(causal, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setitem(sys.modules, 'sounddevice', None)
    if 'W' in words:
        words[0] = models.run(tmp_path / 'run', 'convtasnet')
    words = [causal if word == 'M' else word for word in words]
    assert run(*words, '-o', tmp_path / 'out') == 2
    printed = capsys.readouterr()
    assert said in printed.err and 'ends it' not in printed.out


@pytest.mark.parametrize('flag', ['--format=flac', '--start=1', '--sources=speaker_1', '--json'])
def test_a_flag_that_would_mean_nothing_is_refused(tmp_path, capsys, flag):
    assert run(tmp_path, '--live', flag) == 2
    assert f'{flag.partition("=")[0]}: not with --live' in capsys.readouterr().err


@pytest.mark.parametrize('flags', [['--live'], []])
@pytest.mark.parametrize('data', [b'', b'\0'])
def test_an_empty_pipe_is_a_failure(causal, tmp_path, monkeypatch, capsys, data, flags):
    data = io.BufferedReader(io.BytesIO(data))
    monkeypatch.setattr('sys.stdin', types.SimpleNamespace(buffer=data))
    assert run(causal, '-', *flags, f'--raw_rate={RATE}', '-o', tmp_path / 'out') == 1
    error = capsys.readouterr().err
    assert 'standard input: empty' in error and error.count('\n') == 1
    assert not [*tmp_path.rglob('*.wav')]


def test_a_full_disk_is_said(causal, tmp_path, monkeypatch, capsys):
    data = io.BufferedReader(io.BytesIO(bytes(1 << 16)))
    monkeypatch.setattr('sys.stdin', types.SimpleNamespace(buffer=data))
    monkeypatch.setattr(writing.Output, 'write', _full)
    assert run(causal, '-', '--live', f'--raw_rate={RATE}', '-o', tmp_path) == 1
    error = capsys.readouterr().err
    assert 'No space left on device' in error and error.count('\n') == 1


def test_a_lock_that_is_lost_ends_it(causal, tmp_path, monkeypatch, capsys):
    seen, out = [], tmp_path / 'out'

    def pipe(cut):
        for _ in range(9):
            yield np.zeros(800, np.float32)
            seen.append(shutil.rmtree(out, ignore_errors=True))

    monkeypatch.setattr(live, 'pipe', pipe)
    assert run(causal, '-', '--live', f'--raw_rate={RATE}', '-o', out) == os.EX_TEMPFAIL
    error = capsys.readouterr().err
    assert error.startswith(f'error: the lock of {out} was') and error.count('\n') == 1
    assert len(seen) == 1


def _full(self, data):
    self.error = OSError(28, 'No space left on device')
    return len(data)
