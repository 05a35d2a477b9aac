"""`cvms audit`: verification of the audit trail, and the key that signs its heads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from solders.pubkey import Pubkey

from cvms.cli.environment import read_environment
from cvms.cli.proof_files import read_log
from cvms.config.environment import environment
from cvms.config.loader import load_database_url, load_operators, load_signing
from cvms.errors import ConfigurationError, DatabaseUnavailable, ProofInvalid

if TYPE_CHECKING:
    from cvms.store.security.audit_heads import Head, SignedHead
    from cvms.store.security.audit_verification import Verdict

VERIFY_HELP = """\
Check that no entry of the audit trail was changed or removed: that each entry's hash follows from
the one before it, and that the newest signed head, and every published one that is given, is in the
trail. It reads the database; no server needs to run.

Whoever can write to the database can cut off the newest entries and restore an older signed head
with them. Only what is published outside the database shows that: the log events
"audit_head_signed". Collect them on a machine that the database's administrators do not control,
and give them with --head. The log of proofs of reserves (docs/proofs.md) is public, and each of its
entries has the trail's head: give a copy of it with --proofs.

The keys are those of "cvms audit key". Without --key they are derived from the operator's key,
DEPLOYER_KEYPAIR_PATH or OPERATOR_SIGNER.

Exit status: 0 if every entry is unchanged, and a signed or published head attests the end of the
trail; 1 if an entry was changed or removed, or a head is not signed with the key; 2 for a bad
setting or argument; 3 if it cannot be judged: the entries are unchanged, but no head attests that
none is missing at the end, or the database is unavailable.
"""

KEY_HELP = """\
Print the public key that signs the audit trail's heads, in hexadecimal (Ed25519); of several keys
in OPERATOR_SIGNER, one line for each. It is derived from the operator's key, where that is in a
file; a key in an HSM or in Vault signs the heads itself. With it, "cvms audit verify" needs no
secret but the database's password.
"""

UNCHANGED, CHANGED, UNKNOWN = 0, 1, 3
OPERATOR_SETTINGS = ("DEPLOYER_KEYPAIR_PATH", "DEPLOYER_KEYPAIR_BASE64", "OPERATOR_SIGNER")
HASH_BYTES = 32


def cmd_audit_key(_: argparse.Namespace) -> int:
    for key in _own_keys():
        print(key.hex())
    return 0


def cmd_audit_verify(options: argparse.Namespace) -> int:
    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.store.security.audit_verification import verify  # noqa: PLC0415

    environ = read_environment()
    url = load_database_url(environ)
    keys: list[bytes] = options.key
    if not keys and any(map(environ.get, OPERATOR_SETTINGS)):
        keys = _own_keys()
    logged = _heads_in(options.head) if options.head else []
    if (logged or options.proofs) and not keys:
        option = "--head" if logged else "--proofs"
        raise ConfigurationError(
            f"{option} needs --key or DEPLOYER_KEYPAIR_PATH, to check signatures"
        )
    proven = _heads_of_proofs(options.proofs, keys) if options.proofs else {}

    async def run() -> Verdict:
        async with open_with_schema(url) as database, database.dedicated() as conn:
            return await verify(conn, [*options.expected, *logged, *proven.values()])

    try:
        verdict = trio.run(run)
    except DatabaseUnavailable as error:
        print(f"cvms: {error}", file=sys.stderr)
        return UNKNOWN
    signed = [*logged, *([verdict.stored] if verdict.stored and keys else [])]
    fault = _fault(verdict, signed, keys)
    if fault is not None:
        print(fault, file=sys.stderr)
        return CHANGED
    print(f"every entry of the audit trail is unchanged, up to entry {verdict.entries}")
    heads = [*signed, *options.expected, *proven.values()]
    attested = max((head.id for head in heads), default=None)
    if attested is None:
        print(
            "no signed or published head attests that no entry is missing at the end; "
            + ("no head is stored yet" if keys else "give --key, --head or --expected"),
            file=sys.stderr,
        )
        return UNKNOWN
    print(f"a head attests the entries up to {attested}")
    if proven:
        number = max(proven)
        print(f"entry {number} of the log of proofs attests those up to {proven[number].id}")
    return UNCHANGED


def parse_head(text: str) -> Head:
    """Return the head in `SEQ:HASH`. Raises ValueError."""
    from cvms.store.security.audit_heads import Head  # noqa: PLC0415

    number, _, digest = text.partition(":")
    if (entry := int(number)) < 1:
        raise ValueError("expected an id of an entry")
    return Head(id=entry, hash=_bytes(digest))


def parse_key(text: str) -> bytes:
    """Return the key in hexadecimal. Raises ValueError."""
    return _bytes(text)


def _bytes(text: str) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != HASH_BYTES:
        raise ValueError(f"expected {HASH_BYTES} bytes")
    return value


def _own_keys() -> list[bytes]:
    """Return the keys of the configured operator, the preferred one first."""
    from cvms.signing.audit_signer import audit_signers  # noqa: PLC0415
    from cvms.signing.open_signers import open_signers  # noqa: PLC0415

    async def read() -> list[bytes]:
        environ = environment()
        async with open_signers(load_operators(environ), load_signing(environ)) as signers:
            return audit_signers(signers).public

    return trio.run(read)


def _heads_in(path: Path) -> list[SignedHead]:
    """Return the heads in a log, whose other lines are skipped. Raises ConfigurationError."""
    from cvms.store.security.audit_heads import read_published  # noqa: PLC0415

    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            heads = [head for line in lines if (head := read_published(line)) is not None]
    except OSError as error:
        raise ConfigurationError(f"--head {path}: {error.strerror}") from None
    if not heads:
        raise ConfigurationError(f'--head {path}: no line is a JSON event "audit_head_signed"')
    return heads


def _heads_of_proofs(path: Path, keys: Sequence[bytes]) -> dict[int, Head]:
    """Return the trail's heads in a copy of the log of proofs, by the numbers of its entries.

    Raises ConfigurationError if it is no copy, or is not signed with one of the keys.
    """
    from cvms.proofs.log_entry import verify_log  # noqa: PLC0415
    from cvms.store.security.audit_heads import Head  # noqa: PLC0415

    entries = read_log(path)
    addresses = {str(Pubkey.from_bytes(key)) for key in keys}
    try:
        verify_log(entries)
    except ProofInvalid as error:
        raise ConfigurationError(f"--proofs {path}: {error}") from None
    found = {}
    for signed in entries:
        entry = signed.read()
        if signed.key not in addresses:
            problem = f"entry {entry.number} is signed with {signed.key}, which is not the key"
            raise ConfigurationError(f"--proofs {path}: {problem}")
        if entry.audit.id:
            found[entry.number] = Head(id=entry.audit.id, hash=bytes.fromhex(entry.audit.hash))
    return found


def _fault(verdict: Verdict, signed: Sequence[SignedHead], keys: Sequence[bytes]) -> str | None:
    """Return what is wrong with the trail, None if nothing is."""
    if verdict.broken is not None:
        return f"entry {verdict.broken} of the audit trail was changed or removed"
    for head in signed:
        if not any(head.is_signed_by(key) for key in keys):
            return f"the head of entry {head.id} is not signed with the key: it was forged"
    if (head_not_found := verdict.contradicted) is None:
        return None
    if head_not_found.id > verdict.entries:
        return (
            f"the audit trail ends with entry {verdict.entries}, but a head of entry "
            f"{head_not_found.id} was signed or published: the newest entries were removed"
        )
    return (
        f"entry {head_not_found.id} of the audit trail is not the one that was signed or "
        "published: it, or an entry before it, was changed or removed"
    )
