"""A vault with every list at its capacity, by the instructions that fill them."""

from collections.abc import Sequence

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from .instructions import build
from .ledger import Ledger, govern

SIGNERS, DELEGATES, TIMELOCKS, REQUESTS, WHITELIST, PROGRAMS = 10, 16, 64, 64, 32, 64
DELAY = 60


def made_up(count: int, kind: int) -> list[Pubkey]:
    """Keys that are the same at every run: what they cost to compare must not vary."""
    return [Keypair.from_seed(bytes([kind, at] * 16)).pubkey() for at in range(count)]


KEYS = made_up(WHITELIST, 1)


def fill_timelocks(ledger: Ledger, owner: Keypair, *, seconds: int = DELAY) -> None:
    """64 of one unit each, a second apart, of which the last is due after `seconds`."""
    for at in range(seconds - TIMELOCKS + 1, seconds + 1):
        key = owner.pubkey()
        ledger.must(build("schedule_timelock", key, amount=1, duration_seconds=at), owner)


def fill_requests(ledger: Ledger, owner: Keypair) -> None:
    """64 of 1, 2, 3 and so on units, due after DELAY."""
    ledger.must(build("set_withdraw_min_delay", owner.pubkey(), seconds=DELAY), owner)
    for amount in range(1, REQUESTS + 1):
        ledger.must(build("request_withdraw", owner.pubkey(), amount=amount), owner)


def fill_vault(
    ledger: Ledger,
    owner: Keypair,
    *,
    signers: Sequence[Pubkey] = KEYS[:SIGNERS],
    threshold: int = 0,
    delegates: Sequence[Pubkey] = KEYS[:DELEGATES],
) -> None:
    """Fills every list of a vault that holds at least 64 units, and sets a rate limit."""
    key = owner.pubkey()
    fill_timelocks(ledger, owner, seconds=TIMELOCKS)
    fill_requests(ledger, owner)
    for address in KEYS:
        ledger.must(build("add_withdraw_whitelist", key, address=address), owner)
    for delegate in delegates:
        ledger.must(build("add_delegate", key, delegate=delegate), owner)
    rate = build("set_withdraw_rate_limit", key, window_seconds=9, max_amount=2**63)
    ledger.must(rate, owner)
    multisig = build("set_vault_multisig", key, signers=signers, threshold=threshold)
    ledger.must(multisig, owner)


def fill_programs(
    ledger: Ledger, governance: Keypair, kind: str, *last: Pubkey, count: int = PROGRAMS
) -> None:
    """Fills the authority's list of the `authorized` or the `yield` programs, `last` at its end."""
    for program in [*made_up(count - len(last), 2), *last]:
        add = govern(f"add_{kind}_program", governance.pubkey(), value=program)
        ledger.must(add, governance)
