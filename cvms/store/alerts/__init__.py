"""Alerts, their lifecycle and what the monitor reads."""
