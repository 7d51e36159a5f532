"""Training losses: jitted pure functions that return one value an example; the caller reduces."""
