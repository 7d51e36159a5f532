"""Comparisons with peers: `python -m fgsep_jax.benchmark NAME`, or all."""
