"""Whole-utterance evaluation: one row an example, one number a metric."""
