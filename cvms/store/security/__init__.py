"""Nonces, second factors, idempotency keys, audit log and encryption at rest."""
