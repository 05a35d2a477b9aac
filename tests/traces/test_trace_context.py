"""The header `traceparent` is read as W3C Trace Context says."""

from __future__ import annotations

import pytest

from cvms.traces.trace_context import RequestTrace, TraceContext, new_trace, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_valid_header_names_a_span_and_is_written_as_it_was() -> None:
    text = f"00-{TRACE}-{SPAN}-01"
    parsed = parse_traceparent([text])
    assert parsed == TraceContext(TRACE, SPAN)
    assert parsed.traceparent == text
    unsampled = parse_traceparent([f"00-{TRACE}-{SPAN}-00"])
    assert unsampled is not None
    assert not unsampled.sampled
    # A later version may have more fields.
    assert parse_traceparent([f"cc-{TRACE}-{SPAN}-01-more"]) == parsed


@pytest.mark.parametrize(
    "given",
    [
        [],
        [f"00-{TRACE}-{SPAN}-01"] * 2,
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE.upper()}-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN}-01-more"],
        [f"cc-{TRACE}-{SPAN}-01-{'x' * 300}"],
        ["junk"],
    ],
)
def test_anything_else_is_no_parent(given: list[str]) -> None:
    assert parse_traceparent(given) is None


def test_a_request_joins_the_trace_of_its_submission_unless_its_client_gave_one() -> None:
    first, own = new_trace(), new_trace()
    joining, given = RequestTrace(own), RequestTrace(own.child(), own)
    for each in (joining, given):
        each.join(first.traceparent)
    assert (joining.context.trace_id, joining.parent) == (first.trace_id, first)
    assert (given.context.trace_id, given.parent) == (own.trace_id, own)
