"""Every key of the configuration is read by the code that runs: none is there for show."""

import json

from fgsep_jax import config as config_lib, experiment, validate
from fgsep_jax.training.run_folder import flatten
import synthetic
import tiny

# Read only under another value of a second key, which the test below sets.
OVERRIDES = {'loss.power_law_weight': 0.01}


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
            self._seen.update(self._prefix + name for name in content)
        return content


def test_every_key_is_read(tmp_path, monkeypatch):
    data = synthetic.write(tmp_path / 'tones')
    config = tiny.config(data, **OVERRIDES, **{'training.audio_examples': 1})
    seen = set()
    recorder = Recorder(config, seen)
    monkeypatch.setattr(validate, 'validate', lambda *args, **kwargs: None)
    monkeypatch.setattr(config_lib, 'to_json', lambda _: json.dumps(config.to_dict()))
    experiment.train(recorder, str(tmp_path / 'run'))
    experiment.evaluate(recorder, str(tmp_path / 'run'), baselines=True)
    assert set(flatten(config.to_dict())) - seen == set()


def test_the_recorder_would_notice():
    seen = set()
    recorder = Recorder(tiny.config(''), seen)
    assert recorder.training.epochs and 'training.epochs' in seen
    assert 'training.learning_rate' not in seen
