"""Supervisor of tasks, leader election, readiness probe and worker processes."""
