"""Exchange of models with other tools."""
