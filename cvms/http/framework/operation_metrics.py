"""The metric that counts operations by outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cvms.errors import CvmsError
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import problem_of


@contextmanager
def counted(deps: Dependencies, operation: str) -> Iterator[None]:
    """Count the operation by its outcome: `accepted`, `cancelled`, or the code of the problem."""
    outcome = "cancelled"
    try:
        yield
        outcome = "accepted"
    except CvmsError as error:
        problem = problem_of(error)
        outcome = problem.code if problem else "internal_error"
        raise
    except Exception:
        outcome = "internal_error"
        raise
    finally:
        deps.metrics.operations.labels(operation=operation, outcome=outcome).inc()
