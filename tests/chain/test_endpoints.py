"""Which endpoint is tried, and when none is."""

from __future__ import annotations

import pytest

from cvms.chain.endpoints import (
    FAILURES_BEFORE_DOWN,
    FIRST_DOWN_SECONDS,
    LONGEST_DOWN_SECONDS,
    EndpointPool,
    host_of,
)
from cvms.errors import ConfigurationError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pool(*urls: str, jitter: float = 1.0) -> tuple[EndpointPool, Clock]:
    clock = Clock()
    return EndpointPool(urls, clock=clock, jitter=lambda: jitter), clock


def hosts(endpoints: EndpointPool) -> list[str]:
    return [endpoint.host for endpoint in endpoints.candidates()]


def test_the_healthiest_endpoint_comes_first_and_success_clears_its_failures() -> None:
    endpoints, _ = pool("http://a", "http://b")
    [first, _] = endpoints.candidates()
    endpoints.failed(first)
    assert hosts(endpoints) == ["b", "a"]
    endpoints.succeeded(first)
    assert hosts(endpoints) == ["a", "b"]


def test_it_is_down_after_three_failures_in_a_row_for_a_growing_capped_while() -> None:
    endpoints, clock = pool("http://a")
    [endpoint] = endpoints.all()
    for _ in range(FAILURES_BEFORE_DOWN - 1):
        endpoints.failed(endpoint)
        assert endpoints.available
    pauses = []
    for _ in range(12):
        endpoints.failed(endpoint)
        assert not endpoints.available
        pauses.append(endpoint.down_until - clock.now)
        clock.now = endpoint.down_until
        assert endpoints.available
    assert pauses[:3] == pytest.approx([FIRST_DOWN_SECONDS * 2**n for n in range(3)])
    assert pauses[-1] == pytest.approx(LONGEST_DOWN_SECONDS)


def test_jitter_takes_up_to_half_off() -> None:
    endpoints, clock = pool("http://a", jitter=0.0)
    [endpoint] = endpoints.all()
    for _ in range(FAILURES_BEFORE_DOWN):
        endpoints.failed(endpoint)
    assert endpoint.down_until - clock.now == pytest.approx(FIRST_DOWN_SECONDS / 2)


def test_one_caller_tries_an_endpoint_that_was_down_while_the_others_fail_at_once() -> None:
    endpoints, clock = pool("http://a")
    [endpoint] = endpoints.all()
    for _ in range(FAILURES_BEFORE_DOWN):
        endpoints.failed(endpoint)
    clock.now = endpoint.down_until
    endpoints.trial(endpoint, 5.0)
    assert not endpoints.available
    endpoints.succeeded(endpoint)
    assert endpoints.available


def test_a_node_that_says_when_to_come_back_is_heard_within_bounds() -> None:
    endpoints, clock = pool("http://a")
    [endpoint] = endpoints.all()
    for _ in range(FAILURES_BEFORE_DOWN):
        endpoints.failed(endpoint, retry_after=9999)
    assert endpoint.down_until - clock.now == pytest.approx(LONGEST_DOWN_SECONDS)


def test_only_host_and_port_of_a_url_are_ever_shown() -> None:
    url = "https://user:secret@rpc.example:8443/secret/path?api-key=secret"
    endpoints, _ = pool(url)
    assert host_of(url) == "rpc.example:8443"
    assert host_of("http://[::1]:8899") == "[::1]:8899"
    assert "secret" not in repr(endpoints.all())
    for bad in ("http://", "http://x:secret", "http://[secret"):
        with pytest.raises(ConfigurationError) as caught:
            host_of(bad)
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        pool()
