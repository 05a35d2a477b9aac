"""Health, readiness, metrics, IDLs and the OpenAPI document."""
