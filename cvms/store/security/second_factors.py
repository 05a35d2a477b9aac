"""Second factors: each owner's encrypted TOTP secret, and which codes are used up.

A secret is pending from its setup until one of its codes is shown; then it is enabled, until it is
removed. A code is checked while holding the owner's row (`lock`), so the checks for one owner are
serialized. Every time is by the database's clock.

Steps only go forward. But a clock that was ahead may have left a last step that lies in the future,
which would block the owner until then, so that one does not count. Used steps are therefore kept
one by one too. Once there are STEPS_KEPT, the earliest is forgotten for each new one, and nothing
before those that are kept is valid: no code takes effect twice, wherever the clock goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cvms.errors import Conflict, SecondFactorUsed
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one, fetch_value
from cvms.store.security.encryption import SecretBox
from cvms.store.security.reseal import reseal_table

BEGIN = """
INSERT INTO twofa (owner, secret, created_at)
VALUES (%(owner)s, %(secret)s, clock_timestamp())
ON CONFLICT (owner) DO UPDATE
SET secret = EXCLUDED.secret,
    created_at = EXCLUDED.created_at,
    failures = 0
WHERE twofa.enabled_at IS NULL
"""

FORGET_RECOVERY_CODES = """
DELETE FROM twofa_recovery_codes
WHERE owner = %(owner)s
"""

ADD_RECOVERY_CODES = """
INSERT INTO twofa_recovery_codes (owner, hash)
SELECT %(owner)s, unnest(%(hashes)s::BYTEA[])
"""

LOCK = """
SELECT owner,
       secret AS sealed,
       created_at,
       enabled_at,
       last_step,
       used_steps,
       failures,
       locked_until,
       clock_timestamp() AS now
FROM twofa
WHERE owner = %(owner)s
FOR UPDATE
"""

ENABLE = """
UPDATE twofa
SET enabled_at = clock_timestamp(),
    last_step = %(step)s,
    used_steps = ARRAY[%(step)s::BIGINT],
    failures = 0
WHERE owner = %(owner)s
  AND enabled_at IS NULL
RETURNING enabled_at
"""

FAIL = """
UPDATE twofa
SET failures = failures + 1,
    locked_until = %(locked_until)s
WHERE owner = %(owner)s
"""

USE_STEP = """
UPDATE twofa
SET last_step = %(step)s,
    used_steps = ARRAY(
        SELECT used
        FROM unnest(used_steps || %(step)s::BIGINT) AS used
        ORDER BY used DESC
        LIMIT %(kept)s
    ),
    failures = 0,
    locked_until = NULL
WHERE owner = %(owner)s
  AND enabled_at IS NOT NULL
  AND (last_step < %(step)s OR last_step > %(newest)s)
  AND %(step)s <> ALL (used_steps)
  AND (cardinality(used_steps) < %(kept)s OR %(step)s > ANY (used_steps))
"""

# With a full list, no step before the last one of it is valid.
USE_UP_STEPS = """
UPDATE twofa
SET last_step = newest.step,
    used_steps = ARRAY(SELECT generate_series(newest.step - %(kept)s + 1, newest.step))
FROM (SELECT floor(extract(EPOCH FROM clock_timestamp()) / 30)::BIGINT + 1 AS step) AS newest
WHERE enabled_at IS NOT NULL
"""

STEPS_KEPT = 100
"""One is used in 30 s at most: a clock that is ahead for less than 50 minutes blocks nobody."""

USE_RECOVERY_CODE = """
UPDATE twofa_recovery_codes
SET used_at = clock_timestamp()
WHERE owner = %(owner)s
  AND hash = %(hash)s
  AND used_at IS NULL
"""

UNLOCK = """
UPDATE twofa
SET failures = 0,
    locked_until = NULL
WHERE owner = %(owner)s
"""

RECOVERY_CODE = """
SELECT used_at IS NOT NULL AS used
FROM twofa_recovery_codes
WHERE owner = %(owner)s
  AND hash = %(hash)s
"""

STATUS = """
SELECT enabled_at AS since,
       (
           SELECT count(*)
           FROM twofa_recovery_codes AS code
           WHERE code.owner = twofa.owner
             AND code.used_at IS NULL
       ) AS recovery_codes_left
FROM twofa
WHERE owner = %(owner)s
  AND enabled_at IS NOT NULL
"""

REMOVE = """
DELETE FROM twofa
WHERE owner = %(owner)s
"""

PRUNE = """
DELETE FROM twofa
WHERE enabled_at IS NULL
  AND created_at < now() - %(age)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """An owner's second factor as of `now`; enabled if `enabled_at` is set.

    `failures` counts wrong codes in a row.
    """

    owner: str
    sealed: bytes = field(repr=False)
    created_at: datetime
    enabled_at: datetime | None
    last_step: int
    used_steps: list[int]
    failures: int
    locked_until: datetime | None
    now: datetime

    def secret(self, secret_box: SecretBox) -> str:
        """Return the secret in base32. Raises as `SecretBox.open` does."""
        return secret_box.open(self.sealed, about=_about(self.owner)).decode()

    def step_used(self, step: int, *, newest: int) -> bool:
        """Return whether `use_step` would raise SecondFactorUsed."""
        used = self.used_steps
        forgotten = len(used) >= STEPS_KEPT and step < min(used)
        return step in used or forgotten or step <= self.last_step <= newest


@dataclass(frozen=True, slots=True)
class Status:
    """Time at which a second factor was enabled, and the number of unused recovery codes."""

    since: datetime
    recovery_codes_left: int


async def begin(
    conn: Connection,
    owner: str,
    *,
    secret: str,
    hashes: Sequence[bytes],
    secret_box: SecretBox,
) -> None:
    """Store a pending secret and the hashes of recovery codes, replacing a pending one.

    Raises Conflict if the owner's second factor is enabled, EncryptionDisabled without a key.
    """
    sealed = secret_box.seal(secret.encode(), about=_about(owner))
    cursor = await conn.execute(BEGIN, {"owner": owner, "secret": sealed})
    if cursor.rowcount == 0:
        raise Conflict(f"The second factor of {owner} is on: disable it first.")
    await conn.execute(FORGET_RECOVERY_CODES, {"owner": owner})
    await conn.execute(ADD_RECOVERY_CODES, {"owner": owner, "hashes": list(hashes)})


async def lock(conn: Connection, owner: str) -> Factor | None:
    """Return the owner's second factor, locked until the transaction ends."""
    return await fetch_one(conn, Factor, LOCK, {"owner": owner})


async def enable(conn: Connection, owner: str, step: int) -> datetime:
    """Enable the pending secret with the code of `step`; return since when it is enabled.

    Raises Conflict if it is enabled already.
    """
    since: datetime | None = await fetch_value(conn, ENABLE, {"owner": owner, "step": step})
    if since is None:
        raise Conflict(f"The second factor of {owner} is on already.")
    return since


async def fail(conn: Connection, owner: str, locked_until: datetime | None) -> None:
    """Count a wrong code and set until when the factor is locked."""
    await conn.execute(FAIL, {"owner": owner, "locked_until": locked_until})


async def use_up_steps(conn: Connection) -> None:
    """Use up every owner's codes that are valid now; those of the minute after are not."""
    await conn.execute(USE_UP_STEPS, {"kept": STEPS_KEPT})


async def use_step(conn: Connection, owner: str, step: int, *, newest: int) -> None:
    """Use up this step and all earlier ones. Raises SecondFactorUsed.

    `newest` is the last step whose code is valid now.
    """
    cursor = await conn.execute(
        USE_STEP, {"owner": owner, "step": step, "newest": newest, "kept": STEPS_KEPT}
    )
    if cursor.rowcount == 0:
        raise SecondFactorUsed("This code, or one after it, was used before: take the next.")


async def use_recovery_code(conn: Connection, owner: str, code: bytes) -> None:
    """Use up the recovery code with this hash. Raises SecondFactorUsed."""
    cursor = await conn.execute(USE_RECOVERY_CODE, {"owner": owner, "hash": code})
    if cursor.rowcount == 0:
        raise SecondFactorUsed("This recovery code was used before: each is good for once.")
    await conn.execute(UNLOCK, {"owner": owner})


async def recovery_code_used(conn: Connection, owner: str, code: bytes) -> bool | None:
    """Return whether the recovery code with this hash is used up; None if there is no such code."""
    used: bool | None = await fetch_value(conn, RECOVERY_CODE, {"owner": owner, "hash": code})
    return used


async def status(conn: Connection, owner: str) -> Status | None:
    """Return the status of the owner's second factor, None unless it is enabled."""
    return await fetch_one(conn, Status, STATUS, {"owner": owner})


async def remove(conn: Connection, owner: str) -> None:
    """Delete the owner's second factor and its recovery codes."""
    await conn.execute(REMOVE, {"owner": owner})


async def reseal(conn: Connection, secret_box: SecretBox) -> int:
    """Encrypt every secret with the first key; see `reseal_table`."""
    return await reseal_table(conn, secret_box, table="twofa", key="owner", about=_about)


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the pending secrets older than `age`; return how many."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount


def _about(owner: str) -> str:
    return f"twofa:{owner}"
