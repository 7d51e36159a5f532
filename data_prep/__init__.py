"""Beam jobs that turn corpora as delivered into data sets of mixtures; see README.md."""

import logging

# Beam warns at import that Google Cloud's clients are missing, which only Dataflow needs.
logging.getLogger().addFilter(lambda record: 'apitools' not in record.getMessage())
