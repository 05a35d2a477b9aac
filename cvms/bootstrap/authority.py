"""The vault authority: created by the upgrade authority, limited, and handed to governance.

All that is missing goes into one transaction, so nobody ever meets a half of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.programs.program_steps import deployed_program
from cvms.bootstrap.steps import Cost, Prices, Step
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.chain.program import instructions
from cvms.chain.program.accounts import (
    TransferLimits,
    VaultAuthority,
    read_transfer_limits,
    read_vault_authority,
)
from cvms.chain.program.addresses import transfer_limits_address, vault_authority_address
from cvms.chain.types import Programs
from cvms.errors import DecodeError, StepFailed

TITLE = "vault authority"
AUTHORITY_LENGTH, LIMITS_LENGTH = 4_212, 96


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that programs may transfer in a day, in token units: of one vault, and of all."""

    vault: int
    total: int


@dataclass(frozen=True, slots=True)
class WantedAuthority:
    """The governance that is wanted. None leaves what is."""

    governance: Pubkey | None
    limits: Limits | None
    yield_program: bool


@dataclass(frozen=True, slots=True)
class Change:
    """An instruction that is missing. `signer` has to sign it, and pays `length` bytes of rent."""

    text: str
    signer: Pubkey
    instruction: Instruction
    length: int = 0


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """The accounts of governance as they are, and who upgrades the vault program."""

    authority: VaultAuthority | None
    limits: TransferLimits | None
    upgrade_authority: Pubkey | None


@dataclass(frozen=True, slots=True)
class AuthoritySetup:
    """The vault authority of `programs`. `keys` are the keys that are here, by their addresses."""

    cluster: Cluster
    sender: TransactionSender
    programs: Programs
    keys: Mapping[Pubkey, Keypair]
    wanted: WantedAuthority
    deployer: Pubkey
    """The upgrade authority of a vault program that is not deployed yet."""

    async def state(self) -> AuthorityState:
        """Read the accounts. Raises StepFailed if others are at their addresses."""
        programs = self.programs
        accounts = await self.cluster.accounts(
            vault_authority_address(programs), transfer_limits_address(programs)
        )
        program = await deployed_program(self.cluster, programs.vault)
        try:
            authority = read_vault_authority(accounts[0], programs)
            limits = read_transfer_limits(accounts[1], programs)
        except DecodeError as error:
            raise StepFailed(f"{TITLE}: {error}") from None
        return AuthorityState(authority, limits, program.authority if program else self.deployer)

    async def step(self, prices: Prices) -> Step:
        """Return the step that makes the authority what is wanted."""
        state = await self.state()
        changes = missing_changes(self.programs, state, self.wanted, self.keys)
        shown = _described(state, vault_authority_address(self.programs))
        ours = [each for each in changes if each.signer in self.keys]
        notes = "\n".join(_note(each) for each in changes if each.signer not in self.keys)
        if not ours:
            return Step(TITLE, shown, waits_for=notes)
        signatures = 1 + len({each.signer for each in ours})
        cost = Cost(await self._rent(ours), prices.fees(signatures=signatures))
        actions = tuple(each.text for each in ours)
        return Step(TITLE, shown, actions, cost, self.run, waits_for=notes)

    async def run(self) -> None:
        """Make what is missing now. Raises StepFailed."""
        changes = missing_changes(self.programs, await self.state(), self.wanted, self.keys)
        ours = [each for each in changes if each.signer in self.keys]
        if not ours:
            return
        payer, first = self.sender.payer.pubkey(), ours[0].signer
        paid = paid_for(payer, first, await self._rent(ours))
        signers = {each.signer: self.keys[each.signer] for each in ours}
        instructions = (*paid, *(each.instruction for each in ours))
        await self.sender.send(Draft(TITLE, instructions, tuple(signers.values())))

    async def _rent(self, changes: Sequence[Change]) -> int:
        """Return the rent of what the changes create. The signer of the first one pays it."""
        return sum([await self.cluster.rent(each.length) for each in changes if each.length])


def paid_for(payer: Pubkey, signer: Pubkey, lamports: int) -> Sequence[Instruction]:
    """Return what gives a signer the rent that it pays in the same transaction."""
    if payer == signer or not lamports:
        return []
    params = TransferParams(from_pubkey=payer, to_pubkey=signer, lamports=lamports)
    return [transfer(params)]


def missing_changes(
    programs: Programs,
    state: AuthorityState,
    wanted: WantedAuthority,
    keys: Mapping[Pubkey, Keypair],
) -> list[Change]:
    """Return what makes the authority what is wanted, in order.

    Raises StepFailed if nobody can create the authority.
    """
    authority = state.authority
    signer = authority.governance if authority else state.upgrade_authority
    if signer is None:
        raise StepFailed(
            f"{programs.vault} has no upgrade authority, so nobody can create the vault authority"
        )

    changes = _listings(programs, authority, signer, yields=wanted.yield_program)
    if wanted.limits is not None and not _has_limits(state.limits, wanted.limits):
        vault, total = wanted.limits.vault, wanted.limits.total
        limit = instructions.set_transfer_limits(
            programs, governance=signer, vault_daily=vault, total_daily=total
        )
        text = f"limit transfers to {vault} units a vault and {total} in all a day"
        changes.append(Change(text, signer, limit, 0 if state.limits else LIMITS_LENGTH))
    return changes + _hand_over(programs, authority, signer, wanted.governance, keys)


def _listings(
    programs: Programs, authority: VaultAuthority | None, signer: Pubkey, *, yields: bool
) -> list[Change]:
    """Return what creates the authority, and lists the programs that it has to know."""
    changes = []
    manager, pool = programs.position_manager, programs.yield_pool
    if authority is None:
        create = instructions.initialize_vault_authority(
            programs, governance=signer, authorized_programs=[manager], freeze=False
        )
        text = "create it, with the position manager authorized"
        changes.append(Change(text, signer, create, AUTHORITY_LENGTH))
    elif manager not in authority.authorized_programs:
        add = instructions.add_authorized_program(programs, governance=signer, program=manager)
        changes.append(Change(f"authorize {manager}", signer, add))
    if yields and (authority is None or pool not in authority.yield_whitelist):
        add = instructions.add_yield_program(programs, governance=signer, program=pool)
        changes.append(Change(f"list the yield program {pool}", signer, add))
    return changes


def _hand_over(
    programs: Programs,
    authority: VaultAuthority | None,
    signer: Pubkey,
    wanted: Pubkey | None,
    keys: Mapping[Pubkey, Keypair],
) -> list[Change]:
    if wanted is None or wanted == signer:
        return []
    changes = []
    proposed = authority is not None and authority.pending_governance == wanted
    if not proposed:
        propose = instructions.propose_governance(programs, authority=signer, proposed=wanted)
        changes.append(Change(f"propose {wanted} as governance", signer, propose))
    if proposed or signer in keys:
        accept = instructions.accept_governance(programs, new_governance=wanted)
        changes.append(Change(f"accept governance as {wanted}", wanted, accept))
    return changes


def _has_limits(limits: TransferLimits | None, wanted: Limits) -> bool:
    if limits is None:
        return False
    pending = (limits.pending_vault_daily, limits.pending_total_daily)
    in_force = (limits.vault_daily, limits.total_daily)
    return (pending if limits.pending_at else in_force) == (wanted.vault, wanted.total)


def _described(state: AuthorityState, address: Pubkey) -> str:
    authority, limits = state.authority, state.limits
    if authority is None:
        return "not there"
    shown = f"{address}, governance {authority.governance}"
    if authority.pending_governance != Pubkey.default():
        shown += f" (proposed: {authority.pending_governance})"
    if limits is None:
        return f"{shown}, transfers without limits"
    return f"{shown}, transfers up to {limits.vault_daily} a vault and {limits.total_daily} a day"


def _note(change: Change) -> str:
    """Return what the holder of a key that is not here has to sign."""
    step = change.instruction
    flags = {(True, True): ":sw", (True, False): ":s", (False, True): ":w", (False, False): ""}
    accounts = " ".join(
        f"{meta.pubkey}{flags[meta.is_signer, meta.is_writable]}" for meta in step.accounts
    )
    return (
        f"{change.signer} has to sign: {change.text}\n"
        f"  program {step.program_id}\n  accounts {accounts}\n  data {bytes(step.data).hex()}"
    )
