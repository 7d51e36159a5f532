"""Recordings in, recordings out: what makes a trained model something to use."""
