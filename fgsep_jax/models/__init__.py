"""Separation models: encoder/decoder pairs, the TCN separator, and the models made of them."""
