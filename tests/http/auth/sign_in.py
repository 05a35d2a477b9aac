"""Sign-In-With-Solana messages, as a wallet signs them for the page of a domain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from solders.pubkey import Pubkey

from cvms.config.settings import SignIn

ALLOWED = SignIn(domains=("app.example", "localhost:3000"), chain_id="mainnet")


def message_of(
    owner: Pubkey,
    statement: str,
    nonce: str,
    *,
    domain: str = "app.example",
    uri: str = "https://app.example/vault",
    version: str = "1",
    chain_id: str = "mainnet",
    issued: str | None = None,
    expires: str | None = None,
) -> str:
    """Return the message, by default issued now and valid for five minutes."""
    now = datetime.now(UTC)
    issued = now.isoformat() if issued is None else issued
    expires = (now + timedelta(minutes=5)).isoformat() if expires is None else expires
    return (
        f"{domain} wants you to sign in with your Solana account:\n{owner}\n\n{statement}\n\n"
        f"URI: {uri}\nVersion: {version}\nChain ID: {chain_id}\nNonce: {nonce}\n"
        f"Issued At: {issued}\nExpiration Time: {expires}"
    )
