"""Vaults and authority lists filled to capacity by real instructions."""

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import Ledger, govern

SIGNERS, DELEGATES, TIMELOCKS, REQUESTS, WHITELIST, PROGRAMS = 10, 16, 64, 64, 32, 64
DELAY = 64


def made_up(count: int, kind: int) -> list[Pubkey]:
    """Return keys that are the same in every run: the cost to compare them must not vary."""
    return [Keypair.from_seed(bytes([kind, at] * 16)).pubkey() for at in range(count)]


KEYS = made_up(WHITELIST, 1)


def fill_vault(ledger: Ledger, owner: Keypair, *, entries: int = 64) -> None:
    """Add `entries` entries to every list of a vault, or as many as it holds, and set a rate limit.

    The timelocks hold one unit each and mature after 1, 2, 3 … seconds. The requests are for 1, 2,
    3 … units and mature after DELAY. The threshold of the signers is zero.
    """
    key = owner.pubkey()
    rate = build("set_withdraw_rate_limit", key, window_seconds=1_000, max_amount=2**63)
    ledger.must(rate, owner)
    for seconds in range(1, min(entries, TIMELOCKS) + 1):
        ledger.must(build("schedule_timelock", key, amount=1, duration_seconds=seconds), owner)
    for address in KEYS[:entries]:
        ledger.must(build("add_withdraw_whitelist", key, address=address), owner)
    for delegate in KEYS[: min(entries, DELEGATES)]:
        ledger.must(build("add_delegate", key, delegate=delegate), owner)
    signers = KEYS[: min(entries, SIGNERS)]
    ledger.must(build("set_vault_multisig", key, signers=signers, threshold=0), owner)
    # Last, because the delay holds up what is above.
    ledger.must(build("set_withdraw_min_delay", key, seconds=DELAY), owner)
    for amount in range(1, min(entries, REQUESTS) + 1):
        ledger.must(build("request_withdraw", key, amount=amount), owner)


def list_programs(
    ledger: Ledger, governance: Keypair, kind: str, *last: Pubkey, entries: int = PROGRAMS
) -> None:
    """Fill the authority's list of `authorized` or `yield` programs up to `entries` entries."""
    for program in [*made_up(entries - len(last), 2), *last]:
        add = govern(f"add_{kind}_program", governance.pubkey(), value=program)
        ledger.must(add, governance)
