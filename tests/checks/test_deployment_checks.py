"""Chains without programs, authority or a mint that can be used, and roles that one key has."""

from __future__ import annotations

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID

from cvms.chain.program import instructions
from cvms.checks.deployment import RUNS_WITH_SAME_HASH, DeploymentReader
from cvms.checks.program_check import shipped_hashes
from cvms.dev.chain_setup import bundled_programs
from cvms.localnet.ledger import program_deployment
from tests.checks.chains import asking, govern, prepare, set_account, set_mint, start_chain
from tests.checks.conftest import Setup
from tests.harness.localnet import Localnet

MULTISIG, _ = Pubkey.find_program_address([b"multisig"], Pubkey.default())


def deploy_again(chain: Localnet, *, authority: Pubkey | None, padding: bytes = b"") -> None:
    [vault, *_] = bundled_programs(chain.programs)
    program_deployment.deploy(
        chain.running.chain, vault.program_id, vault.elf + padding, authority=authority
    )


async def test_a_bare_chain_has_no_program(setup: Setup, nursery: trio.Nursery) -> None:
    setup.use_chain(await start_chain(nursery, programs=False))
    checked = await setup.check("--only", "programs")
    assert checked.status == 1
    line = checked.line("program_exists", "collateral_vault")
    assert line.level == "failure"
    assert line.advice == "deploy it (`cvms bootstrap`), or set PROGRAM_ID to where it is"
    assert checked.line("program_exists", "yield_pool").level == "warning"


async def test_an_account_that_is_no_program_fails(deployed: Setup, localnet: Localnet) -> None:
    deployed.set(PROGRAM_ID=str(localnet.programs.mint))
    checked = await deployed.check("--only", "programs")
    line = checked.line("program_exists", "collateral_vault")
    assert (line.level, checked.status) == ("failure", 1)
    assert line.seen.endswith("is not executable")


async def test_code_is_read_again_once_it_is_deployed_again(localnet: Localnet) -> None:
    async with asking(localnet) as rpc:
        reader = DeploymentReader(rpc, localnet.programs)

        async def hash_now() -> str | None:
            return (await reader.read()).own["collateral_vault"].hash

        shipped = shipped_hashes()["collateral_vault"]
        assert await hash_now() == shipped
        deploy_again(localnet, authority=MULTISIG, padding=b"\1")
        changed = await hash_now()
        assert changed != shipped
        # The same header: the local chain deploys again without a newer slot.
        deploy_again(localnet, authority=MULTISIG)
        assert await hash_now() == changed
        for _ in range(RUNS_WITH_SAME_HASH - 1):
            await hash_now()
        assert await hash_now() == shipped


async def test_a_program_without_an_authority_and_a_mint(
    setup: Setup, nursery: trio.Nursery
) -> None:
    chain = await start_chain(nursery, programs=True)
    setup.use_chain(chain)
    checked = await setup.check("--only", "authority")
    assert (checked.status, checked.failures) == (1, {"authority_exists"})
    checked = await setup.check("--only", "mint")
    assert (checked.status, checked.failures) == (1, {"mint_exists"})
    await prepare(chain)
    for group in ("authority", "mint", "programs"):
        assert (await setup.check("--only", group)).status == 0


async def test_a_mint_that_cannot_be_used(deployed: Setup, localnet: Localnet) -> None:
    await set_mint(localnet, program=TOKEN_2022_PROGRAM_ID)
    checked = await deployed.check("--only", "mint")
    assert (checked.status, checked.failures) == (1, {"mint_exists"})
    assert "Token-2022" in checked.line("mint_exists").seen
    await set_mint(localnet, decimals=9)
    checked = await deployed.check("--only", "mint")
    assert (checked.status, checked.failures) == (1, {"mint_decimals"})
    await set_mint(localnet, initialized=0)
    checked = await deployed.check("--only", "mint")
    assert "not an initialized mint" in checked.line("mint_exists").seen
    deployed.set(USDT_MINT=str(localnet.operator.pubkey()))
    checked = await deployed.check("--only", "mint")
    assert "not SPL Token" in checked.line("mint_exists").seen


async def test_other_code_is_a_warning_with_both_hashes(
    deployed: Setup, localnet: Localnet
) -> None:
    deploy_again(localnet, authority=MULTISIG, padding=b"\0" * 100)
    hashes = (await deployed.check("--only", "programs")).line("program_hash", "collateral_vault")
    assert (hashes.level, hashes.seen) == ("ok", shipped_hashes()["collateral_vault"])
    deploy_again(localnet, authority=MULTISIG, padding=b"\1")
    checked = await deployed.check("--only", "programs")
    hashes = checked.line("program_hash", "collateral_vault")
    assert hashes.level == "warning"
    assert shipped_hashes()["collateral_vault"] in hashes.seen
    assert hashes.seen.count(", this version has ") == 1
    assert checked.status == 0


async def test_who_can_replace_the_code(deployed: Setup, localnet: Localnet) -> None:
    async def seen() -> list[tuple[str, str]]:
        checked = await deployed.check("--only", "programs")
        lines = checked.lines_of("upgrade_authority", "collateral_vault")
        return [(each.level, each.seen.partition(", ")[2]) for each in lines]

    assert await seen() == [
        ("warning", "which is governance too"),
        ("warning", "which is the operator too"),
    ]
    deploy_again(localnet, authority=Keypair().pubkey())
    assert await seen() == [("warning", "which is a single key")]
    deploy_again(localnet, authority=MULTISIG)
    assert await seen() == [("ok", "")]
    deploy_again(localnet, authority=None)
    assert await seen() == [("ok", "")]


async def test_a_listed_program_that_does_not_exist_is_a_warning(
    deployed: Setup, localnet: Localnet
) -> None:
    program = Keypair().pubkey()
    governance = localnet.operator.pubkey()
    step = instructions.add_authorized_program(
        localnet.programs, governance=governance, program=program
    )
    await govern(localnet, step)
    line = (await deployed.check("--only", "programs")).line("program_exists", str(program))
    assert line.level == "warning"


async def test_limits_freeze_and_pause_are_shown(deployed: Setup, localnet: Localnet) -> None:
    checked = await deployed.check("--only", "authority")
    assert checked.line("governance").seen.endswith("its key is on this machine")
    assert [checked.line(each).level for each in ("freeze", "pause")] == ["ok", "ok"]
    governance = localnet.operator.pubkey()
    for step in (
        instructions.set_transfer_limits(
            localnet.programs, governance=governance, vault_daily=7, total_daily=70
        ),
        instructions.set_freeze_flag(localnet.programs, governance=governance, freeze=True),
        instructions.pause_withdrawals(localnet.programs, governance=governance, seconds=3600),
        instructions.propose_governance(localnet.programs, authority=governance, proposed=MULTISIG),
    ):
        await govern(localnet, step)
    checked = await deployed.check("--only", "authority")
    assert checked.line("transfer_limits").seen == "7 a vault, 70 in all"
    assert [checked.line(each).level for each in ("freeze", "pause", "pending_governance")] == [
        "warning",
        "warning",
        "warning",
    ]
    assert checked.status == 0


@pytest.mark.parametrize(
    ("lamports", "level", "status"),
    [(0, "failure", 1), (49_999_999, "warning", 0), (99_999_999, "warning", 0), (10**8, "ok", 0)],
)
async def test_the_operator_needs_sol(
    deployed: Setup, localnet: Localnet, lamports: int, level: str, status: int
) -> None:
    await set_account(localnet, localnet.operator.pubkey(), lamports=lamports)
    checked = await deployed.check("--only", "operator")
    line = checked.line("operator_balance")
    assert (line.level, checked.status) == (level, status)
    assert f"has {lamports} lamports" in line.seen
