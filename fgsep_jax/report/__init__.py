"""Reads what runs left on disk; needs neither jax nor the data."""


def load_runs(folder):
    """All scores of the runs below a folder as one DataFrame; see `scores.load_runs`."""
    from fgsep_jax.report import scores

    return scores.load_runs(folder)
