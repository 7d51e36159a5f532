"""Every key of the configuration is read by the code that runs: none is there for show."""

import json

import pytest

from fgsep_jax import config as config_lib, validate
from fgsep_jax.evaluation import run as evaluation
from fgsep_jax.files import flatten
from fgsep_jax.training import run as training
import synthetic
import tiny

# Read only under another value of a second key, which the test below sets.
OVERRIDES = {
    'convtasnet_glu': {'loss.power_law_weight': 0.01, 'data.remix': True},
    'blstm_m1_plus': {'data.remix': True},
}


class Recorder:
    """A ConfigDict that remembers which of its leaves were read."""

    def __init__(self, config, seen, prefix=''):
        self.__dict__.update(_config=config, _seen=seen, _prefix=prefix)

    def __getattr__(self, name):
        value = getattr(self._config, name)
        path = self._prefix + name
        if hasattr(value, 'to_dict'):
            return Recorder(value, self._seen, path + '.')
        self._seen.add(path)
        return value

    __getitem__ = __getattr__

    def to_dict(self):
        content = self._config.to_dict()
        if self._prefix:  # a section handed on whole, as keyword arguments
            self._seen.update(self._prefix + name for name in flatten(content))
        return content


@pytest.mark.slow
@pytest.mark.parametrize('name', OVERRIDES)
def test_every_key_is_read(name, tmp_path, monkeypatch):
    few = dict(train=8, validation=1, test=1)  # two steps: checkpoints are within an epoch
    data = synthetic.write(tmp_path / 'tones', adaptation=name.endswith('plus'), **few)
    once = {'training.audio_examples': 1, 'training.epochs': 1}
    config = tiny.config(data, name, **OVERRIDES[name], **once)
    seen = set()
    recorder = Recorder(config, seen)
    monkeypatch.setattr(validate, 'validate', lambda *args, **kwargs: None)
    monkeypatch.setattr(config_lib, 'to_json', lambda _, **how: json.dumps(config.to_dict()))
    training.train(recorder, str(tmp_path / 'run'))
    evaluation.evaluate(recorder, str(tmp_path / 'run'), baselines=True)
    assert set(flatten(config.to_dict())) - seen == set()


def test_the_recorder_would_notice():
    seen = set()
    recorder = Recorder(tiny.config(''), seen)
    assert recorder.training.epochs and 'training.epochs' in seen
    assert 'training.learning_rate' not in seen
