"""Selection of endpoints by their health."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvms.chain.rpc.transport.adaptive_rate import MAX_RETRY_AFTER_SECONDS
from cvms.chain.rpc.transport.endpoint_pool import (
    CAUGHT_UP_SLOTS,
    FAILURES_BEFORE_DOWN,
    FIRST_DOWN_SECONDS,
    FORGET_SECONDS,
    LAG_SLOTS,
    MAX_DOWN_SECONDS,
    MAX_SLOT,
    ROLLED_BACK_SLOTS,
    Endpoint,
    EndpointPool,
    Health,
)
from cvms.errors import ConfigurationError
from cvms.secret_urls import host_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pool(*urls: str, jitter: float = 1.0) -> tuple[EndpointPool, Clock]:
    clock = Clock()
    return EndpointPool(urls, clock=clock, jitter=lambda: jitter), clock


def hosts(endpoints: EndpointPool, *, at_slot: int = 0) -> list[str]:
    return [endpoint.host for endpoint in endpoints.candidates(at_slot=at_slot)]


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
    assert pauses[-1] == pytest.approx(MAX_DOWN_SECONDS)


def test_it_is_shown_as_failing_before_it_is_down_and_as_down_until_it_has_answered() -> None:
    endpoints, clock = pool("http://a")
    [endpoint] = endpoints.all()
    shown = [endpoint.health]
    for _ in range(FAILURES_BEFORE_DOWN):
        endpoints.failed(endpoint)
        shown.append(endpoint.health)
    clock.now = endpoint.down_until
    assert endpoints.available  # it is tried again …
    shown.append(endpoint.health)  # … and has not answered
    endpoints.succeeded(endpoint)
    failing = [Health.FAILING] * (FAILURES_BEFORE_DOWN - 1)
    assert [*shown, endpoint.health] == [Health.UP, *failing, Health.DOWN, Health.DOWN, Health.UP]


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
    with endpoints.trial(endpoint):
        assert not endpoints.available
    assert endpoints.available  # it was cancelled: the next may try
    with endpoints.trial(endpoint):
        endpoints.succeeded(endpoint)
        assert endpoints.available


def test_retry_after_is_respected_within_bounds() -> None:
    endpoints, clock = pool("http://a")
    [endpoint] = endpoints.all()
    for _ in range(FAILURES_BEFORE_DOWN):
        endpoints.failed(endpoint, retry_after=9999)
    assert endpoint.down_until - clock.now == pytest.approx(MAX_DOWN_SECONDS)


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


def test_two_endpoints_of_one_provider_can_be_told_apart() -> None:
    endpoints, _ = pool("https://rpc.example/key1", "https://other", "https://rpc.example/key2")
    assert hosts(endpoints) == ["rpc.example#1", "other", "rpc.example#2"]


def test_another_endpoint_is_used_only_while_the_first_lags_by_a_margin() -> None:
    endpoints, _ = pool("http://a", "http://b")
    a, b = endpoints.all()
    endpoints.saw(b, 1000 + LAG_SLOTS, newest=True)
    endpoints.saw(a, 1000, newest=True)
    assert hosts(endpoints) == ["a", "b"]
    endpoints.saw(b, 1001 + LAG_SLOTS, newest=True)
    endpoints.saw(a, 1000, newest=True)
    assert hosts(endpoints) == ["b", "a"]
    for behind in (LAG_SLOTS, CAUGHT_UP_SLOTS + 1):  # nearly there: they do not take turns
        endpoints.saw(a, b.slot - behind, newest=True)
        assert hosts(endpoints) == ["b", "a"]
    endpoints.saw(a, b.slot - CAUGHT_UP_SLOTS, newest=True)
    assert hosts(endpoints) == ["a", "b"]


def test_a_finalized_response_does_not_count_as_a_lag() -> None:
    endpoints, _ = pool("http://a", "http://b")
    a, b = endpoints.all()
    endpoints.saw(b, 1000, newest=True)
    endpoints.saw(a, 1000 - 32, newest=False)
    assert hosts(endpoints) == ["a", "b"]


def test_an_endpoint_that_is_down_or_not_trusted_does_not_make_others_lag() -> None:
    endpoints, _ = pool("http://a", "http://b")
    a, b = endpoints.all()

    def a_is_preferred() -> bool:
        endpoints.saw(a, 1000, newest=True)
        preferred = hosts(endpoints)[0] == "a"
        endpoints.saw(a, 5000, newest=True)  # caught up, for the next look
        return preferred

    endpoints.saw(b, 5000, newest=True)
    assert not a_is_preferred()
    endpoints.failed(b)
    assert a_is_preferred()
    endpoints.succeeded(b)
    endpoints.refuse(b, "no")
    assert a_is_preferred()
    endpoints.refuse(b, None)
    b.disagrees = True
    assert a_is_preferred()
    b.disagrees = False
    assert not a_is_preferred()


def test_old_failures_and_lags_are_forgotten() -> None:
    endpoints, clock = pool("http://a", "http://b")
    a, b = endpoints.all()
    endpoints.saw(b, 5000, newest=True)
    endpoints.saw(a, 1000, newest=True)
    assert hosts(endpoints) == ["b", "a"]
    clock.now += FORGET_SECONDS
    assert hosts(endpoints) == ["a", "b"]
    endpoints.failed(a)
    assert hosts(endpoints) == ["b", "a"]
    clock.now += FORGET_SECONDS
    assert hosts(endpoints) == ["a", "b"]


def test_an_endpoint_that_often_fails_is_avoided_until_it_is_reliable_again() -> None:
    endpoints, _ = pool("http://a", "http://b")
    a, _ = endpoints.all()
    successes = 0
    for _ in range(6):
        endpoints.failed(a)
        endpoints.succeeded(a)
    assert hosts(endpoints) == ["b", "a"]
    while hosts(endpoints) == ["b", "a"]:
        endpoints.succeeded(a)
        successes += 1
    assert 3 <= successes <= 20


def test_an_endpoint_known_to_be_at_the_slot_comes_first_even_if_it_is_the_second() -> None:
    endpoints, _ = pool("http://a", "http://b")
    a, b = endpoints.all()
    endpoints.saw(a, 1000, newest=True)
    endpoints.saw(b, 1004, newest=True)
    assert hosts(endpoints, at_slot=1000) == ["a", "b"]
    assert hosts(endpoints, at_slot=1002) == ["b", "a"]
    assert hosts(endpoints, at_slot=2000) == ["a", "b"]


def test_an_old_slot_of_a_restarted_node_counts_and_an_impossible_one_does_not() -> None:
    endpoints, _ = pool("http://a")
    [a] = endpoints.all()
    endpoints.saw(a, 100_000, newest=True)
    endpoints.saw(a, 100_000 - ROLLED_BACK_SLOTS, newest=False)
    assert a.slot == 100_000
    endpoints.saw(a, 200, newest=True)
    assert a.slot == 200
    for nonsense in (-1, 0, MAX_SLOT, 2**200):
        endpoints.saw(a, nonsense, newest=True)
    assert a.slot == 200


def test_an_endpoint_on_another_chain_is_never_used_and_one_that_disagrees_is_used_last() -> None:
    endpoints, _ = pool("http://a", "http://b", "http://c")
    a, b, c = endpoints.all()
    endpoints.refuse(a, "another chain")
    b.disagrees = True
    assert hosts(endpoints) == ["c", "b"]
    for _ in range(FAILURES_BEFORE_DOWN):
        endpoints.failed(c)
    assert hosts(endpoints) == ["b"]
    endpoints.refuse(a, None)
    assert hosts(endpoints) == ["a", "b"]


class Life:
    """Three endpoints with arbitrary events, and the one that responded last."""

    def __init__(self) -> None:
        self.endpoints, self.clock = pool("http://a", "http://b", "http://c", jitter=0.5)
        self.trials: list[ExitStack] = []
        self.answered: set[str] = set()

    def fail(self, endpoint: Endpoint, amount: int) -> None:
        self.endpoints.failed(endpoint, retry_after=amount)
        self.answered.discard(endpoint.host)

    def succeed(self, endpoint: Endpoint, amount: int) -> None:
        self.endpoints.succeeded(endpoint, amount / 10)
        self.answered.add(endpoint.host)

    def cancel(self, endpoint: Endpoint, amount: int) -> None:
        before = hosts(self.endpoints)
        with self.endpoints.trial(endpoint):
            pass
        assert hosts(self.endpoints) == before

    def throttle(self, endpoint: Endpoint, amount: int) -> None:
        endpoint.rate_limiter.sent(amount + 1)
        endpoint.rate_limiter.refused(began=self.clock.now, retry_after=amount)

    def finalized(self, endpoint: Endpoint, amount: int) -> None:
        self.endpoints.saw(endpoint, 1000 + 10 * amount, newest=False)

    def confirmed(self, endpoint: Endpoint, amount: int) -> None:
        self.endpoints.saw(endpoint, 1000 + 10 * amount, newest=True)

    def begin(self, endpoint: Endpoint, amount: int) -> None:
        stack = ExitStack()
        stack.enter_context(self.endpoints.trial(endpoint))
        self.trials.append(stack)

    def end(self, endpoint: Endpoint, amount: int) -> None:
        if self.trials:
            self.trials.pop().close()

    def wait(self, endpoint: Endpoint, amount: int) -> None:
        self.clock.now += amount

    def disagree(self, endpoint: Endpoint, amount: int) -> None:
        endpoint.disagrees = not endpoint.disagrees


HAPPENINGS = [
    *(Life.fail, Life.succeed, Life.cancel, Life.throttle, Life.finalized, Life.confirmed),
    *(Life.begin, Life.end, Life.wait, Life.disagree),
]


@given(st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 2), st.integers(0, 40))))
def test_an_endpoint_that_responds_is_always_used_in_the_end(
    steps: list[tuple[Callable[[Life, Endpoint, int], None], int, int]],
) -> None:
    life = Life()
    for happens, which, amount in steps:
        happens(life, life.endpoints.all()[which], amount)
        assert life.answered <= set(hosts(life.endpoints))
    for stack in life.trials:
        stack.close()
    life.clock.now += MAX_DOWN_SECONDS
    assert sorted(hosts(life.endpoints)) == ["a", "b", "c"]
    life.clock.now += MAX_RETRY_AFTER_SECONDS
    assert not any(each.rate_limiter.paused for each in life.endpoints.all())
