"""The service's instruction builders: the programs accept what each of them builds."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.guard_changes import TransferAllowance, WithdrawMinDelay
from cvms.chain.types import Programs
from tests.program.harness import positions
from tests.program.harness.full_vault import made_up
from tests.program.harness.ledger import (
    MINT,
    POSITION_IDL,
    POSITION_MANAGER,
    PROGRAM,
    START,
    TOKEN,
    VAULT_IDL,
    Ledger,
    Outcome,
    mint_data,
    summary_address,
    token_address,
    vault_address,
)
from tests.program.harness.pools import YIELD_POOL
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet
from tests.program.harness.venues import YEAR, open_venue

PROGRAMS = Programs(
    vault=PROGRAM, position_manager=POSITION_MANAGER, yield_pool=YIELD_POOL, mint=MINT
)
[NEW_MINT] = made_up(1, 4)


@dataclass(slots=True)
class Backend:
    """A runner of what the builders build, which collects their names."""

    ledger: Ledger
    run: set[str] = field(default_factory=set)

    def do(self, name: str, *signers: Keypair, **arguments: Any) -> Outcome:
        self.run.add(name)
        built = getattr(instructions, name)(PROGRAMS, **arguments)
        outcome = self.ledger.must(built, *signers)
        assert f"Program log: Instruction: {title(name)}" in outcome.logs
        return outcome

    def let_puppet(self, name: str, payer: Keypair, **arguments: Any) -> None:
        """Run an instruction that only a program may call, with the puppet as the caller."""
        self.run.add(name)
        built = getattr(instructions, name)(PROGRAMS, caller_program=PUPPET, **arguments)
        outcome = self.ledger.must(puppet_call(self.ledger, built), payer)
        assert f"Program log: Instruction: {title(name)}" in outcome.logs


def title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


@pytest.fixture
def backend(ledger: Ledger) -> Backend:
    """A chain with all the programs, nothing initialized."""
    ledger.svm.add_program(POSITION_MANAGER, positions.ELF.read_bytes())
    ledger.put(NEW_MINT, TOKEN, mint_data())
    return Backend(with_puppet(ledger))


def test_the_programs_accept_every_built_instruction(backend: Backend) -> None:
    ledger, do = backend.ledger, backend.do
    governance = ledger.wallet()
    owner, other, friend = (ledger.wallet(usdt=10_000) for _ in range(3))
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    summaries = [summary_address(vault)]

    govern(backend, governance)
    for each in (owner, other):
        do("initialize_vault", each, user=each.pubkey())
        do("init_position_summary", each, payer=each.pubkey(), owner=each.pubkey())
    do("get_vault_info", friend, owner=key)
    do("add_delegate", owner, owner=key, delegate=friend.pubkey())
    do("deposit", owner, authority=key, owner=key, amount=9_000)
    do("deposit", friend, authority=friend.pubkey(), owner=key, amount=1_000)
    move_collateral(backend, owner, other, governance)
    do("remove_delegate", owner, owner=key, delegate=friend.pubkey())
    earn(backend, owner, governance)
    leave(backend, owner, governance)
    available = ledger.vault(key)["available_balance"]

    cosign(backend, owner, friend, other)
    guard(backend, owner)
    do("add_withdraw_whitelist", owner, owner=key, address=friend.pubkey())
    do("set_withdraw_min_delay", owner, owner=key, seconds=60)
    do("request_withdraw", owner, owner=key, amount=2_000)
    do("set_withdraw_rate_limit", owner, owner=key, window_seconds=60, max_amount=2_000)
    ledger.set_time(ledger.svm.get_clock().unix_timestamp + 60)
    withdrawal = {"owner": key, "authority": key, "position_summaries": summaries}
    to_friend = token_address(friend.pubkey())
    do("withdraw", owner, **withdrawal, recipient_token_account=to_friend, amount=1_000)
    assert ledger.tokens(friend.pubkey()) == 9_000 + 1_000
    do("remove_withdraw_whitelist", owner, owner=key, address=friend.pubkey())

    do("emergency_withdraw", owner, authority=key, owner=key, amount=1_000)
    rest = available - 2_000
    do("emergency_withdraw", governance, authority=governance.pubkey(), owner=key, amount=rest)
    assert ledger.vault(key)["total_balance"] == 0
    for mint in (NEW_MINT, MINT):
        do("update_usdt_mint", governance, governance=governance.pubkey(), owner=key, new_mint=mint)
        assert ledger.vault(key)["usdt_mint"] == mint
    do("close_vault", owner, user=key)
    assert ledger.data(vault) == b""

    assert backend.run == VAULT_IDL.instructions.keys() | POSITION_IDL.instructions.keys()
    assert len(backend.run) == 51


def govern(backend: Backend, governance: Keypair) -> None:
    do, by = backend.do, {"governance": governance.pubkey()}
    do("initialize", governance)
    backend.ledger.set_upgrade_authority(governance.pubkey())
    do("initialize_vault_authority", governance, **by, authorized_programs=[PUPPET], freeze=True)
    do("add_authorized_program", governance, **by, program=POSITION_MANAGER)
    do("set_freeze_flag", governance, **by, freeze=False)
    do("set_cpi_enforced", governance, **by, cpi_enforced=True)
    do("set_risk_level", governance, **by, risk_level=7)
    key = governance.pubkey()
    do("propose_governance", governance, authority=key, proposed=key)
    do("accept_governance", governance, new_governance=key)
    do("pause_withdrawals", governance, **by, seconds=60)
    do("pause_withdrawals", governance, **by, seconds=0)
    authority = backend.ledger.authority()
    assert authority["authorized_programs"] == [PUPPET, POSITION_MANAGER]
    settings = (authority["freeze"], authority["cpi_enforced"], authority["risk_level"])
    assert settings == (False, True, 7)


def move_collateral(backend: Backend, owner: Keypair, other: Keypair, governance: Keypair) -> None:
    """Move collateral through the position manager and another program, 300 of it away."""
    do, key, taker = backend.do, owner.pubkey(), other.pubkey()
    do("open_position", owner, authority=key, owner=key, amount=500)
    backend.let_puppet("lock_collateral", other, owner=key, amount=70)
    assert backend.ledger.vault(key)["locked_balance"] == 570
    backend.let_puppet("unlock_collateral", other, owner=key, amount=70)
    do("close_position", owner, authority=key, owner=key, amount=500)
    by = governance.pubkey()
    between = {"from_owner": key, "to_owner": taker}
    backend.ledger.change_vault(key, transfer_allowance=300)
    do("rebalance_collateral", governance, authority=by, **between, amount=200)
    backend.let_puppet("transfer_collateral", other, **between, amount=100)
    assert backend.ledger.vault(taker)["available_balance"] == 300
    do("set_transfer_limits", governance, governance=by, vault_daily=300, total_daily=300)
    do("remove_authorized_program", governance, governance=by, program=PUPPET)
    assert backend.ledger.vault(key)["available_balance"] == 10_000 - 300


def earn(backend: Backend, owner: Keypair, governance: Keypair) -> None:
    """Earn a year's five percent on 1,000."""
    ledger, do, key = backend.ledger, backend.do, owner.pubkey()
    venue = open_venue(ledger, governance)
    venue.enter(owner)
    # Opening the venue listed its program; the builders must list it themselves.
    by = {"governance": governance.pubkey(), "program": venue.program}
    do("remove_yield_program", governance, **by)
    do("add_yield_program", governance, **by)
    move: dict[str, Any] = {"authority": key, "owner": key, "yield_program": venue.program}
    move |= {"yield_accounts": venue.accounts(key)}
    do("yield_deposit", owner, **move, amount=1_000)
    ledger.set_time(START + YEAR)
    do("compound_yield", owner, **move, compounded_amount=50)
    do("yield_withdraw", owner, **move, amount=1_050)
    assert ledger.vault(key)["available_balance"] == 10_000 - 300 + 50


def cosign(backend: Backend, owner: Keypair, one: Keypair, two: Keypair) -> None:
    """Create a timelock with two signers, which a third one releases."""
    do, key, now = backend.do, owner.pubkey(), backend.ledger.svm.get_clock().unix_timestamp
    signers: list[Pubkey] = [one.pubkey(), two.pubkey()]
    do("set_vault_multisig", owner, owner=key, signers=signers, threshold=2)
    lock = {"authority": one.pubkey(), "owner": key, "amount": 40, "duration_seconds": 5}
    do("schedule_timelock", one, two, **lock, extra_signers=[two.pubkey()])
    backend.ledger.set_time(now + 5)
    do("release_timelocks", two, authority=two.pubkey(), owner=key)
    assert backend.ledger.vault(key)["timelocks"] == []
    do("disable_vault_multisig", owner, one, two, owner=key, extra_signers=signers)


def leave(backend: Backend, owner: Keypair, governance: Keypair) -> None:
    """Take back what is claimed by nobody: locked, timelocked, or sent to the vault by mistake."""
    ledger, do, key = backend.ledger, backend.do, owner.pubkey()
    available, by = ledger.vault(key)["available_balance"], {"governance": governance.pubkey()}
    do("add_authorized_program", governance, **by, program=PUPPET)
    backend.let_puppet("lock_collateral", owner, owner=key, amount=70)
    do("remove_authorized_program", governance, **by, program=PUPPET)
    do("request_exit", owner, owner=key)
    ledger.set_time(ledger.vault(key)["exit_at"])
    summaries = [summary_address(vault_address(key))]
    do("release_unclaimed", owner, owner=key, position_summaries=summaries)

    lock = {"authority": key, "owner": key, "amount": 30, "duration_seconds": YEAR}
    do("schedule_timelock", owner, **lock)
    [entry] = ledger.vault(key)["timelocks"]
    do("cancel_timelock", owner, owner=key, **entry)
    assert ledger.vault(key)["available_balance"] == available

    ledger.put_tokens(vault_address(key), available + 5)
    at = {"token_account": token_address(vault_address(key))}
    before = ledger.tokens(key)
    do("sweep", owner, owner=key, **at, recipient_token_account=token_address(key))
    assert ledger.tokens(key) == before + 5

    do("open_position", owner, authority=key, owner=key, amount=available)
    do("emergency_withdraw", governance, authority=governance.pubkey(), owner=key, amount=10)
    do("settle_position_summary", owner, owner=key)
    do("close_position", owner, authority=key, owner=key, amount=available - 10)
    do("deposit", owner, authority=key, owner=key, amount=10)


def guard(backend: Backend, owner: Keypair) -> None:
    """Change the guards and drop them again."""
    ledger, do, key = backend.ledger, backend.do, owner.pubkey()
    do("set_transfer_allowance", owner, owner=key, amount=5)
    do("set_withdraw_min_delay", owner, owner=key, seconds=60)
    do("request_withdraw", owner, owner=key, amount=3)
    [request] = ledger.vault(key)["pending_withdrawals"]
    due = {"amount": 3, "executable_at": request["executable_at"]}
    do("cancel_withdraw_request", owner, owner=key, **due)
    more, none = TransferAllowance(amount=9), WithdrawMinDelay(seconds=0)
    do("request_guard_change", owner, owner=key, change=more)
    do("cancel_guard_change", owner, authority=key, owner=key, change=more)
    do("request_guard_change", owner, owner=key, change=none)
    ledger.set_time(ledger.svm.get_clock().unix_timestamp + 60)
    do("apply_guard_change", owner, owner=key, change=none)
    vault = ledger.vault(key)
    assert (vault["min_withdraw_delay_seconds"], vault["transfer_allowance"]) == (0, 5)
