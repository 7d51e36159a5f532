"""--mode=describe: what is said of a model is what it is."""

import re

import jax
import pytest

from fgsep_jax import describe, main
from fgsep_jax.tasks import make_task
import tiny


@pytest.mark.parametrize('name', ['convtasnet_glu', 'convtasnet_causal', 'blstm_m2_plus'])
def test_parts_add_up(name):
    config = tiny.config('', name)
    text = '\n'.join(describe.describe(config))
    shapes = jax.eval_shape(make_task(config).init, jax.random.key(0))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    said = {label.strip(): rest for label, rest in re.findall('(.{28})(.*)', text)}
    assert said['parameters'].startswith(f'{total:,} ')
    parts = re.findall('^  .{26}([\\d,]+)$', text, flags=re.M)
    assert sum(int(part.replace(',', '')) for part in parts) == total
    assert ('one frame (16 samples)' in said['latency']) == (name == 'convtasnet_causal')
    assert 'times real time on 1 x cpu' in said['speed'] or jax.device_count() > 1


def test_a_model_must_be_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(['--mode=describe'])
    assert stop.value.code == 2
    assert '--mode=describe needs --workdir=RUN or --config=NAME' in capsys.readouterr().err
