"""Evaluation metrics in float64, and means and summaries over many examples."""
