"""Tables from result files alone: no model, no data set, no JAX."""
