"""Checks of the operator: its key, and the balance that pays fees."""

from __future__ import annotations

from pathlib import Path

from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.checks.finding import Finding, failure, ok, warning

FUND = "send SOL to the operator"


def key_finding(operator: Pubkey, path: str | None) -> Finding:
    """Check where the operator's key is kept; `path` is that of its file, if it is in one.

    A file that others can read is refused when the settings are loaded.
    """
    if path is None:
        seen = f"{operator}, from DEPLOYER_KEYPAIR_BASE64"
        advice = (
            "keep it in a file (DEPLOYER_KEYPAIR_PATH): processes can see each other's variables"
        )
        return warning("operator_key", seen, advice)
    mode = Path(path).expanduser().stat().st_mode & 0o777
    return ok("operator_key", f"{operator}, in a file with mode {mode:04o}")


async def balance_finding(
    rpc: RpcClient, operator: Pubkey, *, minimum: int, alert_below: int
) -> Finding:
    """Check the balance against OPERATOR_MIN_LAMPORTS and FEE_PAYER_MINIMUM_LAMPORTS.

    Raises ChainUnavailable and RpcError.
    """
    lamports = await rpc.get_balance(operator)
    seen = f"{operator} has {lamports} lamports"
    if lamports == 0:
        return failure("operator_balance", seen, f"{FUND}: it can pay for nothing")
    if lamports < minimum:
        advice = f"{FUND}: below {minimum} (OPERATOR_MIN_LAMPORTS) owners pay for themselves"
        return warning("operator_balance", seen, advice)
    if lamports < alert_below:
        return warning("operator_balance", seen, f"{FUND}, up to {alert_below} at least")
    return ok("operator_balance", seen)
