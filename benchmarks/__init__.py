"""Comparisons with peers: `python -m benchmarks NAME`, or all."""
