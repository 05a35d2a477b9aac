"""The rules, the Alertmanager's configuration and the dashboards of `deploy/monitoring/`."""
