"""Tasks of the service: composition root, supervision, channels, and one module for each task."""
