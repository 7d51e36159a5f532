"""Beam jobs that turn corpora as delivered into data sets of mixtures; see docs/data.md."""

from fgsep_jax import stopping  # noqa: F401  Ctrl-C from here on, while all else is imported

# isort: split
import logging

# Beam warns at import that Google Cloud's clients are missing, which only Dataflow needs.
logging.getLogger().addFilter(lambda record: 'apitools' not in record.getMessage())
