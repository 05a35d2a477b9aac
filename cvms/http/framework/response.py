"""What a view answers, and how that becomes a response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quart import Response

from cvms.errors import CvmsError
from cvms.http.framework.problems import problem_of, problem_response, unexpected
from cvms.http.framework.request import json_response


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view answers: a value of the type that its route declares for the status."""

    value: Any
    status: int = 200


def response_of(outcome: Answer | CvmsError) -> Response:
    """The response for an answer, or for an outcome that is not success."""
    if isinstance(outcome, CvmsError):
        return problem_response(problem_of(outcome) or unexpected())
    return json_response(outcome.value, outcome.status)
