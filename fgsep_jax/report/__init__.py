"""Reads what runs left on disk; needs neither jax nor the data."""


def load_runs(folder):
    """All scores of the runs below a folder as one DataFrame; see `load.load_runs`."""
    from fgsep_jax.report import load  # pandas takes half a second to import

    return load.load_runs(folder)
