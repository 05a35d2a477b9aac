"""Checks of what must hold before and while the service runs, for `cvms check` and `/ready`."""
