"""Checks of Redis, which is optional."""

from __future__ import annotations

from cvms.checks.finding import Finding, failure, ok, warning
from cvms.store.redis.calls import Reply
from cvms.store.redis.connection import RedisAway
from cvms.store.redis.redis_client import open_redis

MINIMUM_VERSION = 6
NO_EVICTION = "noeviction"


async def redis_findings(url: str | None) -> list[Finding]:
    """Check that Redis answers, its version, and what it does when its memory is full."""
    if url is None:
        return [ok("redis_reachable", "not configured: each process limits rates by itself")]
    async with open_redis(url) as client:
        assert client is not None
        try:
            info = await client.ask(_read_info, ("INFO", "server"), ("INFO", "memory"))
        except RedisAway as away:
            reason = type(away.__cause__).__name__ if away.__cause__ else "no answer in time"
            advice = "start it, and check REDIS_URL and the network: rates are limited less without"
            return [failure("redis_reachable", reason, advice)]
    version = info.get("redis_version", "unknown")
    found = [ok("redis_reachable", "answers")]
    if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) >= MINIMUM_VERSION:
        found.append(ok("redis_version", version))
    else:
        advice = f"upgrade it to Redis {MINIMUM_VERSION} or later"
        found.append(failure("redis_version", version, advice))
    policy = info.get("maxmemory_policy", "unknown")
    if policy == NO_EVICTION or policy.startswith("volatile-"):
        found.append(ok("redis_eviction", policy))
    else:
        advice = "set maxmemory-policy to volatile-ttl: other keys of that Redis may be evicted"
        found.append(warning("redis_eviction", policy, advice))
    return found


def _read_info(replies: list[Reply]) -> dict[str, str]:
    """Return the lines of INFO by their names. Raises ValueError."""
    if not all(isinstance(each, bytes) for each in replies):
        raise ValueError("not the answer to INFO")
    lines = b"\n".join(replies).decode("utf-8", "replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines) if value}
