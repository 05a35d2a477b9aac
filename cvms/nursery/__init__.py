"""Who runs and who talks to whom: composition root, supervision, channels, one module per task."""
