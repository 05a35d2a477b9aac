"""Grafana dashboards, made by `make dashboards` from these modules into the JSON beside them."""
