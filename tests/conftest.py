"""Settings of the whole suite."""

import os

# Most of the suite's time is compilation of small programs that run once.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')

from absl import flags
import jax

# A shape that broadcasts by accident is an error.
jax.config.update('jax_numpy_rank_promotion', 'raise')
# grain reads absl flags, which nobody parses under pytest.
flags.FLAGS.mark_as_parsed()
