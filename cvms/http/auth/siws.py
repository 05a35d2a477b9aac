"""Sign-In With Solana: a request's text as the statement of a message that wallets understand.

A wallet shows such a message as what it is, and warns when its domain is not the page's. The layout
is CAIP-122's for Solana; of its optional lines all that can be checked must be there, and no other:

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
# Wallets' clocks: a phone's is seldom off by more.
SKEW = timedelta(seconds=60)

# Where in the message, and behind which label, what the wallet's side may choose.
_FREE_LINES = ((5, "URI: "), (9, "Issued At: "), (10, "Expiration Time: "))
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_PATH = r"(?:/[\x21-\x7e]*)?"


def check_message(
    message: str, allowed: SignIn, *, signer: Pubkey, statement: str, nonce: str, now: datetime
) -> None:
    """Raise InvalidSignature unless the message says exactly this, to us, and now."""
    lines = message.split("\n")
    domain = lines[0].removesuffix(GREETING)
    if domain not in allowed.domains:
        raise InvalidSignature(f"Messages for {domain!r} are not taken here (SIWS_DOMAINS).")
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
    for number, (line, wanted) in enumerate(zip_longest(lines, expected), 1):
        if line != wanted:
            raise InvalidSignature(f"Line {number} of the message is {line!r}, not {wanted!r}.")
    if not re.fullmatch(rf"https?://{re.escape(domain)}{_PATH}", uri):
        raise InvalidSignature(f"The message's URI {uri!r} is not one of its domain {domain!r}.")
    if _time(issued) > now + SKEW:
        raise InvalidSignature(f"The message was issued in the future, at {issued}.")
    if _time(expires) <= now:
        raise InvalidSignature(f"The message expired at {expires}.")


def _value(lines: list[str], place: int, label: str) -> str:
    return lines[place].removeprefix(label) if place < len(lines) else ""


def _time(text: str) -> datetime:
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass  # such as a 13th month
    raise InvalidSignature(f"{text!r} in the message is not a time as 2027-01-31T12:00:00Z.")
