"""Readers: one file a corpus, from its tree as delivered to recordings (and listed mixtures)."""
