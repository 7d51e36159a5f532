"""What Weights & Biases is sent, by a stand-in of its library; what it cannot take ends no run."""

import sys
import types

import numpy as np
import pytest

from fgsep_jax import files
from fgsep_jax.config import ConfigError
from fgsep_jax.training import wandb_board
from fgsep_jax.training.logging import RunLog
import tiny


class Library(types.ModuleType):
    """Remembers what it is told; `broken` raises at a send."""

    def __init__(self):
        super().__init__('wandb')
        self.started, self.sent, self.metrics, self.broken, self.finished = [], [], [], False, 0

    def init(self, **how):
        self.started.append(how)
        return self

    def define_metric(self, *names, **how):
        self.metrics.append((names, how))

    def log(self, content):
        if self.broken:
            raise ConnectionError('nobody answers')
        self.sent.append(content)

    def finish(self):
        self.finished += 1

    def Audio(self, signal_T, sample_rate):
        return 'sound', len(signal_T), sample_rate

    def Image(self, picture):
        return 'picture', picture.shape[-1]


@pytest.fixture
def library(monkeypatch):
    made = Library()
    monkeypatch.setitem(sys.modules, 'wandb', made)
    return made


CONFIG = {'training.wandb': 'voices', 'training.epochs': 7}


def log(folder, step=0):
    return RunLog(str(folder), step=step, total=10, config=tiny.config('', **CONFIG))


def test_numbers_and_sounds_are_sent_with_their_steps(library, tmp_path):
    made = log(tmp_path / 'run')
    made.scalars(3, {'loss': 1.5}, kind='train')
    made.sounds(4, {'0/mixture': np.zeros(800)}, 8000)
    made.close()
    (how,) = library.started
    assert (how['project'], how['name'], how['resume']) == ('voices', 'run', 'allow')
    assert how['config']['training.epochs'] == 7 and how['dir'] == str(tmp_path / 'run')
    assert library.sent == [
        {'step': 3, 'train/loss': 1.5},
        {'step': 4, '0/mixture': ('sound', 800, 8000)},
        {'step': 4, '0/mixture/spectrogram': ('picture', 3)},
    ]
    assert library.finished == 1


def test_a_resumed_run_is_the_same_one_there(library, tmp_path):
    for folder in ('a', 'a', 'b'):
        log(tmp_path / folder).close()
    first, again, other = (how['id'] for how in library.started)
    assert first == again != other


def test_what_it_cannot_take_is_said_once_and_ends_nothing(library, tmp_path, capsys):
    library.broken = True
    made = log(tmp_path)
    for step in (1, 2):
        made.scalars(step, {'loss': 1.0}, kind='train')
    made.close()
    assert capsys.readouterr().out.count('nothing more is sent (nobody answers)') == 1
    assert len(files.read_bytes(tmp_path / 'metrics.jsonl', ValueError).splitlines()) == 2


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    wandb_board.check(tiny.config(''))
    with pytest.raises(ConfigError, match=r"training.wandb = 'voices'.*fgsep_jax\[wandb\]"):
        wandb_board.check(tiny.config('', **CONFIG))
