"""Routes of administrators: audit log, tasks, reconciliation, alerts and governance."""
