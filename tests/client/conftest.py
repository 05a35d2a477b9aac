"""Fixtures of the service's own tests."""

from tests.http.conftest import front, service, system

__all__ = ["front", "service", "system"]
