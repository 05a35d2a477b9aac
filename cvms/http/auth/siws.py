"""Sign-In With Solana: a message that wallets understand, with a request's text as its statement.

A wallet displays such a message as a sign-in, and warns if its domain is not that of the page. The
layout is that of CAIP-122 for Solana. Of the optional lines, those that the service can check are
required, and no others are allowed:

    {domain} wants you to sign in with your Solana account:
    {address}

    {statement}

    URI: {uri}
    Version: 1
    Chain ID: {chain_id}
    Nonce: {nonce}
    Issued At: {time}
    Expiration Time: {time}
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import zip_longest

from solders.pubkey import Pubkey

from cvms.config.settings import SignIn
from cvms.errors import InvalidSignature

GREETING = " wants you to sign in with your Solana account:"
# The clock of a phone is rarely off by more.
SKEW = timedelta(seconds=60)

# Index and label of the lines whose value the client chooses.
_FREE_LINES = ((5, "URI: "), (9, "Issued At: "), (10, "Expiration Time: "))
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_PATH = r"(?:/[\x21-\x7e]*)?"


def check_message(
    message: str, allowed: SignIn, *, signer: Pubkey, statement: str, nonce: str, now: datetime
) -> None:
    """Raise InvalidSignature unless the message has this signer, statement and nonce, names an
    allowed domain and chain, and is valid at `now`.
    """
    lines = message.split("\n")
    domain = lines[0].removesuffix(GREETING)
    if domain not in allowed.domains:
        raise InvalidSignature(
            f"The message's domain {domain!r} is not allowed here; see the setting SIWS_DOMAINS."
        )
    uri, issued, expires = (_value(lines, *each) for each in _FREE_LINES)
    expected = (
        f"{domain}{GREETING}",
        str(signer),
        "",
        statement,
        "",
        f"URI: {uri}",
        "Version: 1",
        f"Chain ID: {allowed.chain_id}",
        f"Nonce: {nonce}",
        f"Issued At: {issued}",
        f"Expiration Time: {expires}",
    )
    for number, (actual, wanted) in enumerate(zip_longest(lines, expected), 1):
        if actual != wanted:
            raise InvalidSignature(
                f"Line {number} of the message must be {wanted!r}; it is {actual!r}."
            )
    if not re.fullmatch(rf"https?://{re.escape(domain)}{_PATH}", uri):
        raise InvalidSignature(f"The message's URI {uri!r} must belong to its domain {domain!r}.")
    if _time(issued) > now + SKEW:
        raise InvalidSignature(f"The message's issue time {issued} is in the future.")
    if _time(expires) <= now:
        raise InvalidSignature(f"The message expired at {expires}. Sign a new one.")


def _value(lines: list[str], index: int, label: str) -> str:
    return lines[index].removeprefix(label) if index < len(lines) else ""


def _time(text: str) -> datetime:
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass  # for example a 13th month
    raise InvalidSignature(
        f"The time {text!r} in the message must have the form 2027-01-31T12:00:00Z."
    )
