"""Routes of administrators: audit trail, tasks, reconciliation, alerts and governance."""
