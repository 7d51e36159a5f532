"""Records, data sets and the input pipeline."""
