"""Beam jobs that turn corpora as delivered into data sets of mixtures; see docs/data.md."""

import logging

from fgsep_jax import stopping  # noqa: F401  Ctrl-C from here on, while Beam is being imported

# Beam warns at import that Google Cloud's clients are missing, which only Dataflow needs.
logging.getLogger().addFilter(lambda record: 'apitools' not in record.getMessage())
