"""The fixtures of the service's own tests."""

from tests.http.conftest import service, system

__all__ = ["service", "system"]
