"""Settings of the whole suite."""

from absl import flags
import jax

# A shape that broadcasts by accident is an error.
jax.config.update('jax_numpy_rank_promotion', 'raise')
# grain reads absl flags, which nobody parses under pytest.
flags.FLAGS.mark_as_parsed()
