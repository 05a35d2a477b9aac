"""Tasks that run on a timer."""
