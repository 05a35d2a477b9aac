"""Supervisor, leader election, readiness and worker processes."""
