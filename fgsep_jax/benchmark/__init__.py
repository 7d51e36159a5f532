"""Comparisons with peers, each a program of its own: `python -m fgsep_jax.benchmark.NAME`."""
