"""Checks of the programs on the chain: that they run, their code, and who can replace it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import read_vault_authority
from cvms.chain.program.bundled_programs import PROGRAM_NAMES, PROGRAM_SETTINGS, bundled_elf
from cvms.chain.program.upgradeable_loader import executable_hash, read_program_data
from cvms.checks.deployment import Deployment, ProgramAccounts
from cvms.checks.finding import Finding, failure, ok, warning
from cvms.errors import DecodeError

VAULT = PROGRAM_NAMES[0]
DEPLOY = "deploy it (`cvms bootstrap`), or set {setting} to where it is"


def shipped_hashes() -> dict[str, str]:
    """Return the hashes of the programs of this package by their names."""
    return {name: executable_hash(bundled_elf(name)) for name in PROGRAM_NAMES}


def program_findings(
    deployment: Deployment, *, shipped: Mapping[str, str], operator: Pubkey | None
) -> Iterator[Finding]:
    """Check the service's own programs and those that the vault authority lists.

    `operator` is None if it is not known.
    """
    governance = _governance(deployment)
    for name, program in deployment.own.items():
        missing = _missing(name, program)
        if missing is not None:
            yield missing
            continue
        yield ok("program_exists", str(program.address), subject=name)
        yield _hash_finding(name, program, shipped[name])
        yield from _upgrade_findings(name, program, governance, operator)
    for program in deployment.listed:
        name = str(program.address)
        if program.account is None or not program.account.executable:
            yield warning(
                "program_exists",
                "the vault authority lists it, and it is no program",
                "deploy it, or remove it from the list: whoever deploys there may move collateral",
                subject=name,
                kind="listed_program_missing",
            )
            continue
        yield from _upgrade_findings(name, program, governance, operator)


def _missing(name: str, program: ProgramAccounts) -> Finding | None:
    advice = DEPLOY.format(setting=PROGRAM_SETTINGS[name])
    account = program.account
    if account is None:
        seen = f"no program at {program.address}"
    elif not account.executable:
        seen = f"the account {program.address} is not executable"
    else:
        return None
    if name == VAULT:
        return failure("program_exists", seen, advice, subject=name, kind="no_program")
    return warning("program_exists", seen, advice, subject=name)


def _hash_finding(name: str, program: ProgramAccounts, shipped: str) -> Finding:
    if program.hash == shipped:
        return ok("program_hash", shipped, subject=name)
    return warning(
        "program_hash",
        f"the chain has {program.hash or 'code of another loader'}, this version has {shipped}",
        "find out who has deployed that code; upgrade the program, or run the version of its code",
        subject=name,
        kind="program_differs",
    )


def _upgrade_findings(
    name: str, program: ProgramAccounts, governance: Pubkey | None, operator: Pubkey | None
) -> Iterator[Finding]:
    check = "upgrade_authority"
    try:
        data = read_program_data(program.data)
    except DecodeError as error:
        yield warning(check, str(error), "compare the program with an explorer", subject=name)
        return
    authority = None if data is None else data.authority
    if authority is None:
        yield ok(check, "none: nobody can replace the code", subject=name)
        return
    separate = "give it to a multisig (`cvms program set-authority`)"
    risks = [
        ("governance", authority == governance, "upgrade_authority_is_governance"),
        ("the operator", authority == operator, "upgrade_authority_is_operator"),
    ]
    found = [(whose, kind) for whose, same, kind in risks if same]
    for whose, kind in found:
        yield warning(
            check, f"{authority}, which is {whose} too", separate, subject=name, kind=kind
        )
    if not found and authority.is_on_curve():
        yield warning(check, f"{authority}, which is a single key", separate, subject=name)
    elif not found:
        yield ok(check, str(authority), subject=name)


def _governance(deployment: Deployment) -> Pubkey | None:
    try:
        authority = read_vault_authority(deployment.authority, deployment.programs)
    except DecodeError:
        return None  # reported by the check of the authority
    return None if authority is None else authority.governance
