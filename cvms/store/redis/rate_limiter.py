"""Rate limits by GCRA, a token bucket stored as one number for each key.

The number is the theoretical arrival time: when the bucket would be full again. A request advances
it by one interval, and is refused if that would put it more than a whole bucket ahead of now.
Requests against several keys are counted on all of them or on none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
import trio

from cvms.metrics import Metrics
from cvms.store.redis.calls import Command, Reply
from cvms.store.redis.connection import RedisAway
from cvms.store.redis.redis_client import RedisClient, ScriptUnknown

# Keys in memory, some 200 bytes each. Beyond that the oldest are dropped: their buckets are full.
MAX_KEYS = 100_000
MICROSECONDS = 1_000_000
PREFIX = "cvms:limit:"

log = structlog.get_logger(__name__)

# KEYS: the buckets. ARGV: the interval of each in microseconds, and its size.
# Returns how far each is from refusal, in microseconds; if any is negative, none is counted.
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrivals, slacks, refused = {}, {}, false
for index, key in ipairs(KEYS) do
  local interval, size = tonumber(ARGV[2 * index - 1]), tonumber(ARGV[2 * index])
  local full = now + interval * size
  local arrival = math.max(math.min(tonumber(redis.call('GET', key) or '0'), full), now) + interval
  local slack = full - arrival
  arrivals[index], slacks[index] = arrival, slack
  refused = refused or slack < 0
end
if not refused then
  for index, key in ipairs(KEYS) do
    local arrival = string.format('%.0f', arrivals[index])
    redis.call('SET', key, arrival, 'PX', math.ceil((arrivals[index] - now) / 1000))
  end
end
return slacks
"""
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Rate:
    """The size of a bucket in requests, and the seconds in which an empty one fills again."""

    requests: int
    seconds: float

    @property
    def interval(self) -> int:
        """Microseconds in which one request comes back."""
        return max(1, round(self.seconds * MICROSECONDS / self.requests))


@dataclass(frozen=True, slots=True)
class Claim:
    """One request against the bucket of `key`."""

    key: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Allowance:
    """The state of a bucket: its size, what is left, and in how many seconds it is full again.

    `retry_after`, in seconds, is None for an admitted request.
    """

    limit: int
    remaining: int
    reset_after: float
    retry_after: float | None = None


class Limiter(Protocol):
    """Counts requests against rate limits."""

    async def take(self, claims: Sequence[Claim]) -> Allowance:
        """Take one request from every bucket or from none; return the state of the scarcest."""


class MemoryLimiter:
    """A Limiter for this process only."""

    def __init__(self) -> None:
        self._arrivals: dict[str, int] = {}

    async def take(self, claims: Sequence[Claim]) -> Allowance:
        return self.take_now(claims)

    def take_now(self, claims: Sequence[Claim]) -> Allowance:
        now = round(trio.current_time() * MICROSECONDS)
        arrivals = [
            max(self._arrivals.get(claim.key, 0), now) + claim.rate.interval for claim in claims
        ]
        slacks = [
            now + claim.rate.interval * claim.rate.requests - arrival
            for claim, arrival in zip(claims, arrivals, strict=True)
        ]
        if min(slacks) >= 0:
            for claim, arrival in zip(claims, arrivals, strict=True):
                self._arrivals[claim.key] = arrival
            self._make_room(now)
        return _allowance(claims, slacks)

    def _make_room(self, now: int) -> None:
        if len(self._arrivals) <= MAX_KEYS:
            return
        self._arrivals = {key: at for key, at in self._arrivals.items() if at > now}
        while len(self._arrivals) > MAX_KEYS // 2:
            del self._arrivals[next(iter(self._arrivals))]


class RedisLimiter:
    """A Limiter shared by all replicas; each counts alone while Redis is unavailable."""

    def __init__(self, client: RedisClient, *, metrics: Metrics) -> None:
        self._client = client
        self._fallback = MemoryLimiter()
        self._metrics = metrics

    async def take(self, claims: Sequence[Claim]) -> Allowance:
        try:
            slacks = await self._take_in_redis(claims)
        except RedisAway:
            self._metrics.http.limits_local.set(1)
            return self._fallback.take_now(claims)
        self._metrics.http.limits_local.set(0)
        return _allowance(claims, slacks)

    async def _take_in_redis(self, claims: Sequence[Claim]) -> list[int]:
        keys = [PREFIX + claim.key for claim in claims]
        sizes = [size for claim in claims for size in (claim.rate.interval, claim.rate.requests)]
        arguments: Command = (len(keys), *keys, *sizes)
        read = partial(_slacks, claims)
        try:
            return await self._client.ask(read, ("EVALSHA", SCRIPT_SHA, *arguments))
        except ScriptUnknown:  # a new server, which holds it from now on
            return await self._client.ask(read, ("EVAL", SCRIPT, *arguments))


def limiter(client: RedisClient | None, *, metrics: Metrics) -> Limiter:
    """Return a limiter in this Redis, or one for this process only without Redis."""
    return MemoryLimiter() if client is None else RedisLimiter(client, metrics=metrics)


def _slacks(claims: Sequence[Claim], replies: list[Reply]) -> list[int]:
    """Return what SCRIPT has returned. Raises ValueError if no bucket can be like that."""
    [slacks] = replies
    if not isinstance(slacks, list) or len(slacks) != len(claims):
        raise ValueError("the script returned something else")
    for claim, slack in zip(claims, slacks, strict=True):
        if not isinstance(slack, int) or abs(slack) > claim.rate.interval * claim.rate.requests:
            raise ValueError("the script returned something else")
    return slacks


def _allowance(claims: Sequence[Claim], slacks: Sequence[int]) -> Allowance:
    def left(claim: Claim, slack: int) -> int:
        return slack // claim.rate.interval

    refused = [pair for pair in zip(claims, slacks, strict=True) if pair[1] < 0]
    if refused:
        claim, slack = min(refused, key=lambda pair: pair[1])
        wait = -slack / MICROSECONDS
        full = claim.rate.interval * (claim.rate.requests - 1) / MICROSECONDS
        return Allowance(claim.rate.requests, 0, full + wait, retry_after=wait)
    claim, slack = min(zip(claims, slacks, strict=True), key=lambda pair: left(*pair))
    full = claim.rate.interval * claim.rate.requests - slack
    return Allowance(claim.rate.requests, left(claim, slack), full / MICROSECONDS)
