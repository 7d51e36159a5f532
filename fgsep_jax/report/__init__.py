"""Reads what runs left on disk; needs neither jax nor the data."""

from fgsep_jax.report.frame import load_runs

__all__ = ['load_runs']
