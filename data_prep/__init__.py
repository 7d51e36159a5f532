"""Beam jobs that turn corpora as delivered into data sets of mixtures; see README.md."""
